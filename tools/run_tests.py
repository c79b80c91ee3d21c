#!/usr/bin/env python3
"""Runs the tests of a build folder and counts their cases.

  tools/run_tests.py build/dev [name ...]

Modules' test programs (GoogleTest) and the fuzz targets run first, two at a time, then the end-to-end
tests in tests/, one by one, for they use the machine's network and containers. What failed or was skipped is named with its
reason; the last line counts.
"""
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(name, command, folder, timeout):
    result = folder / "test-results" / f"{name}.json"
    result.unlink(missing_ok=True)
    log = folder / "test-results" / f"{name}.log"
    started = time.monotonic()
    with open(log, "wb") as output:
        try:
            code = subprocess.run(
                [*command, f"--gtest_output=json:{result}"], stdout=output, stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL, timeout=timeout).returncode
        except subprocess.TimeoutExpired:
            code = f"no end within {timeout} s"
    return name, code, result, log, time.monotonic() - started


def cases(result):
    """(name, outcome, text) of every case in a report in GoogleTest's JSON."""
    for suite in json.loads(result.read_text())["testsuites"]:
        for case in suite["testsuite"]:
            name = f"{suite['name']}.{case['name']}"
            if case.get("failures"):
                yield name, "failed", case["failures"][0]["failure"]
            elif case.get("result") == "SKIPPED":
                texts = case.get("skipped") or [{"message": "no reason given"}]
                yield name, "skipped", texts[0]["message"].strip().splitlines()[-1]
            elif case.get("result") == "COMPLETED":
                yield name, "passed", ""


def main():
    folder = pathlib.Path(sys.argv[1]).resolve()
    wanted = set(sys.argv[2:])
    (folder / "test-results").mkdir(exist_ok=True)
    tests = json.loads(subprocess.run(
        ["ctest", "--show-only=json-v1"], cwd=folder, check=True, capture_output=True).stdout)["tests"]
    units = [(t["name"], t["command"] if t["name"].startswith("fuzz.") else [t["command"][0]])
             for t in tests if not wanted or t["name"] in wanted]
    whole = [(p.stem, ["/usr/bin/python3", str(p), str(folder)]) for p in sorted((ROOT / "tests").glob("test_*.py"))
             if not wanted or p.stem in wanted]
    counts = {"passed": 0, "failed": 0, "skipped": 0}

    def account(outcome):
        name, code, result, log, seconds = outcome
        bad = []
        seen = 0
        if result.exists():
            for case, verdict, text in cases(result):
                seen += 1
                counts[verdict] += 1
                if verdict == "failed":
                    bad.append(f"  FAILED {name}: {case}\n    " + text.replace("\n", "\n    "))
                elif verdict == "skipped":
                    bad.append(f"  skipped {name}: {case}: {text}")
        crashed = not result.exists() or (code != 0 and not any("FAILED" in line for line in bad))
        if crashed:
            counts["failed"] += 1
            tail = log.read_text(errors="replace").splitlines()[-60:]
            bad.append(f"  FAILED {name}: ended with {code}\n    " + "\n    ".join(tail))
        print(f"{name}: {seen} cases, {seconds:.1f} s", flush=True)
        for line in bad:
            print(line, flush=True)

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for outcome in pool.map(lambda t: run(t[0], t[1], folder, 600), units):
            account(outcome)
    for name, command in whole:
        account(run(name, command, folder, 900))
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
