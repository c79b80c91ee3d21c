#!/usr/bin/env python3
"""A small soak: builds of every kind, a kill of the server, and nothing left on the machine afterwards.

Usage: test_soak.py BUILD_FOLDER [--gtest_output=json:FILE]
"""
import time
import unittest

import harness
import soak
import world


class SoakTest(unittest.TestCase):
    def test_nothing_is_left_of_builds_of_every_kind(self):
        harness.require_root()
        world.run("ip", "link", "set", "lo", "up")
        # Memory tells nothing after so few builds, and less with a sanitizer in it.
        begun = time.monotonic()
        findings = soak.soak(world.temporary_folder(self), builds=40, at_once=8, kills=1, seed=7, memory_factor=None,
                             but=("deaf",))  # each takes the ten seconds of grace
        print(f"{time.monotonic() - begun:.0f} s")
        self.assertEqual(findings, [])


if __name__ == "__main__":
    world.enter_own_namespaces()
    harness.main()
