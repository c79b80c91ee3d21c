#!/usr/bin/env python3
"""The rules that the repository sets itself: layers, the front door, links, options.

Usage: test_house.py BUILD_FOLDER [--gtest_output=json:FILE]
"""
import csv
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

import harness

ROOT = pathlib.Path(__file__).resolve().parent.parent
FACTS = pathlib.Path(os.environ.get("PINION_FACTS", ROOT.parent / "shared/facts/upstream"))

# Options that upstream does not have, and why they are there.
OWN_OPTIONS = {
    "build-log-dir": "upstream keeps build logs in its database",
    "state-dir": "upstream has no state but PostgreSQL's and the worker's",
    "database-url": "upstream knows PostgreSQL only",
    "worker-container-processes": "upstream limits no processes",
    "worker-container-disk": "upstream limits no disk space",
    "worker-container-files": "upstream limits no files",
    "worker-container-write-rate": "upstream limits no disk throughput",
    "worker-fair-cpu": "upstream leaves that to the kernel alone",
    "worker-containers-memory": "upstream limits tasks only, not all of them together",
    "max-build-log-size": "upstream stores any amount of output",
    "one-off-build-retention": "upstream keeps builds of one-off runs for ever",
    "change-feed-retention": "upstream has no change feed",
    "gc-artifact-grace-period": "upstream's is fixed at 12 h",
    "gc-unused-cache-grace-period": "upstream's caches end with their resource's use",
    "gc-unused-scope-grace-period": "upstream's is a part of its check lifetimes",
    "worker-cache-budget": "upstream's workers have no limit",
}


def server_options():
    declared = (ROOT / "src/app/server_options.cc").read_text()
    return re.findall(r'^\s*add\("([a-z0-9-]+)"', declared, re.MULTILINE)


class LayersTest(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.copy = pathlib.Path(temporary.name)
        shutil.copytree(ROOT / "src", self.copy / "src")

    def check(self):
        done = subprocess.run([sys.executable, ROOT / "tools/check_layers.py", self.copy], capture_output=True, text=True)
        return done.returncode, done.stdout

    def test_the_sources_hold_to_the_layers(self):
        self.assertNotIn("must not include", self.check()[1])

    def plant(self, name, text):
        path = self.copy / "src" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return self.check()

    def test_a_planted_include_is_named(self):
        for name, include in (("base/planted.cc", "store/database.h"),  # from below
                              ("scheduling/planted.h", "engine/step.h"),  # from the right
                              ("worker/planted.cc", "store/database.h")):  # seen by no worker
            with self.subTest(name):
                code, output = self.plant(name, f'#include "base/error.h"\n#include "{include}"\n')
                (self.copy / "src" / name).unlink()
                self.assertEqual(code, 1)
                self.assertIn(f"src/{name}:2: module '{name.split('/')[0]}' must not include \"{include.split('/')[0]}/", output)

    def test_other_mistakes_are_named(self):
        for name, text, words in (("engine/planted.cc", "#include <boost/asio/steady_timer.hpp>\n", "planted.cc:1: Asio timers"),
                                  ("engine/planted.cc", "// " + "x" * 98 + "\n", "planted.cc:1: 101 columns"),
                                  ("engine/planted.h", "\n" * 300, "planted.h: 301 lines, 300 are allowed"),
                                  ("planted/planted.cc", "\n", "folder 'planted' is not in the layer list")):
            with self.subTest(words):
                code, output = self.plant(name, text)
                (self.copy / "src" / name).unlink()
                self.assertEqual(code, 1)
                self.assertIn(words, output)


class FrontDoorTest(unittest.TestCase):
    def test_help_lists_every_target(self):
        makefile = (ROOT / "Makefile").read_text()
        targets = {target for line in re.findall(r"^([a-z][a-z -]*):(?!=)", makefile, re.MULTILINE) for target in line.split()}
        phony = set(re.search(r"^\.PHONY:(.*)$", makefile, re.MULTILINE)[1].split())
        inner = {target for target in targets | phony if target.startswith("packages-") or target == "fuzz-build"}  # parts of others
        self.assertEqual(targets, phony)
        listed = dict(re.findall(r"^([a-z-]+)\s+(\S.*)$", subprocess.run(
            ["make", "-s", "-C", ROOT, "help"], capture_output=True, text=True, check=True).stdout, re.MULTILINE))
        self.assertEqual(set(listed), targets - inner)

    def test_documents_name_files_that_exist(self):
        pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md")] + sorted((ROOT / "docs").rglob("*.md"))
        missing = []
        for page in pages:
            for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
                path = target.split("#")[0]
                if path and "://" not in path and not (page.parent / path).exists():
                    missing.append(f"{page.relative_to(ROOT)}: {target}")
        self.assertEqual(missing, [])


class OptionsTest(unittest.TestCase):
    def test_options_are_upstreams_or_own_with_a_reason(self):
        table = FACTS / "quickstart-flags.tsv"
        if not table.exists():
            self.skipTest(f"upstream's options are not in {table}")
        with open(table, newline="") as rows:
            upstream = {row["long"] for row in csv.DictReader(rows, delimiter="\t", quoting=csv.QUOTE_NONE)}
        self.assertGreater(len(upstream), 100)
        self.assertEqual({name for name in server_options() if name not in upstream}, set(OWN_OPTIONS))

    def test_options_are_in_the_manual(self):
        manual = (ROOT / "docs/operating.md").read_text()
        documented = re.findall(r"`--([a-z0-9-]+)`", manual)
        self.assertGreater(len(server_options()), 20)
        self.assertEqual([name for name in server_options() if name not in documented], [])
        self.assertEqual([name for name in documented if name not in server_options()], [])


if __name__ == "__main__":
    harness.main()
