#!/usr/bin/env python3
"""What operators do with a running server.

Usage: test_operation.py BUILD_FOLDER [--gtest_output=json:FILE]. Needs root. Runs in namespaces of its own.
"""
import json
import os
import unittest

import harness
import world

PINION = harness.BUILD / "pinion"
PIPELINE = {"resources": [{"name": "numbers", "type": "mock", "check_every": "never", "source": {"force_version": "1"}}],
            "jobs": [{"name": "get", "plan": [{"get": "numbers"}]}]}


class OperationTest(unittest.TestCase):
    def setUp(self):
        harness.require_root()
        self.folder = world.temporary_folder(self)
        world.run("ip", "link", "set", "lo", "up")
        self.server = world.Server(self.folder, "--add-local-user", "test:test", "--main-team-local-user", "test")
        self.addCleanup(self.server.stop)
        self.server.start()
        (self.folder / "fly").symlink_to(PINION)
        self.fly = world.Fly([self.folder / "fly"], self.server, self.folder / "home")
        self.fly.login()

    def curl(self, method, path, status=200):
        done = self.fly("curl", path, "--", "-sX", method, "-w", "\n%{http_code}").stdout
        body, _, code = done.rpartition("\n")
        self.assertEqual(int(code), status, done)
        return body

    def test_parts_of_the_server_are_listed_and_paused(self):
        components = {row["name"]: row for row in json.loads(self.curl("GET", "/api/v1/components"))}
        self.assertLessEqual({"scheduler", "checker", "engine", "collector", "lease", "api"}, set(components))
        self.assertIn("cannot be paused", self.curl("PUT", "/api/v1/components/lease/pause", 409))

        self.curl("PUT", "/api/v1/components/scheduler/pause")
        self.fly.set_pipeline("paused", PIPELINE)
        self.fly("trigger-job", "-j", "paused/get")
        world.wait_for("the scheduler is shown as paused", lambda: [
            row for row in json.loads(self.curl("GET", "/api/v1/components")) if row["name"] == "scheduler" and row["paused"]])
        # Nothing tells that something does not happen: a check after the trigger has gone all the way meanwhile.
        self.fly("check-resource", "-r", "paused/numbers")
        self.assertEqual([build["status"] for build in self.fly.builds("paused/get")], ["pending"])
        self.server.kill()
        self.server.start()
        self.assertEqual([build["status"] for build in self.fly.builds("paused/get")], ["pending"])
        self.curl("PUT", "/api/v1/components/scheduler/unpause")
        self.fly.wait_for_build("paused/get")

        self.curl("PUT", "/api/v1/components/pause")
        paused = {row["name"] for row in json.loads(self.curl("GET", "/api/v1/components")) if row["paused"]}
        self.assertLessEqual({"scheduler", "checker", "engine", "collector"}, paused)
        self.assertNotIn("lease", paused)
        self.curl("PUT", "/api/v1/components/unpause")

    def test_folders_may_be_relative(self):
        self.server.stop()
        self.server.options[1] = os.path.relpath(self.folder / "other")
        self.server.start()
        self.fly.login()
        self.fly.set_pipeline("relative", PIPELINE)
        self.fly("trigger-job", "-j", "relative/get")
        self.fly.wait_for_build("relative/get")


if __name__ == "__main__":
    world.enter_own_namespaces()
    harness.main()
