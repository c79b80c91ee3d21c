"""What the end-to-end tests share: arguments, reports in GoogleTest's JSON, and where upstream's binaries are.

A test file is started as `test_x.py BUILD_FOLDER [--gtest_output=json:FILE] [unittest's arguments]`.
"""
import json
import os
import pathlib
import sys
import time
import unittest

BUILD = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else pathlib.Path("build/dev").resolve()
UPSTREAM = pathlib.Path(os.environ.get("PINION_UPSTREAM", pathlib.Path.home() / ".cache/pinion/upstream/bin"))


def upstream(name):
    """Path of one of upstream's binaries; skips the test that asks where it is not there."""
    path = UPSTREAM / name
    if not path.exists():
        raise unittest.SkipTest(f"upstream's {name} is not in {UPSTREAM}")
    return path


def require_root():
    if os.geteuid() != 0:
        raise unittest.SkipTest("containers need root")


class Report(unittest.TextTestResult):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.rows = []

    def startTest(self, test):
        super().startTest(test)
        self.started = time.monotonic()

    def row(self, test, **more):
        suite, name = test.id().split(".")[-2:]
        self.rows.append((suite, {"name": name, "result": "COMPLETED", "time": f"{time.monotonic() - self.started:.3f}s", **more}))

    def addSuccess(self, test):
        super().addSuccess(test)
        self.row(test)

    def addError(self, test, error):
        super().addError(test, error)
        if hasattr(self, "started"):
            self.row(test, failures=[{"failure": self._exc_info_to_string(error, test)}])

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.row(test, failures=[{"failure": self._exc_info_to_string(error, test)}])

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        if hasattr(self, "started"):
            self.row(test, result="SKIPPED", skipped=[{"message": reason}])


def main():
    output = None
    arguments = [sys.argv[0]]
    for argument in sys.argv[2:]:
        if argument.startswith("--gtest_output=json:"):
            output = argument.split(":", 1)[1]
        else:
            arguments.append(argument)
    runner = unittest.TextTestRunner(resultclass=Report, verbosity=2)
    program = unittest.main(module="__main__", argv=arguments, testRunner=runner, exit=False)
    if output:
        suites = {}
        for suite, case in program.result.rows:
            suites.setdefault(suite, []).append(case)
        pathlib.Path(output).write_text(json.dumps({"testsuites": [{"name": n, "testsuite": c} for n, c in suites.items()]}))
    sys.exit(not program.result.wasSuccessful())
