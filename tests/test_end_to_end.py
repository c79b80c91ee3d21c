#!/usr/bin/env python3
"""The whole path with real input: a push to a git repository starts builds in real containers, in an image from a registry.

Usage: test_end_to_end.py BUILD_FOLDER [--gtest_output=json:FILE]. Needs root. Runs in namespaces of its own.
"""
import json
import pathlib
import time
import unittest

import harness
import world

def task_file(registry):
    """The task as it lies in the repository, in an image from the registry."""
    return f"""
platform: linux
image_resource: {{type: registry-image, source: {{repository: {registry}/builder, insecure: true}}}}
inputs: [{{name: source}}]
outputs: [{{name: out}}]
run: {{path: sh, args: [source/build.sh]}}
"""


def pipeline(repository):
    return {
        "resources": [{"name": "source", "type": "git", "check_every": "1m", "webhook_token": "hook",
                       "source": {"uri": repository.url, "branch": "main", "username": "u", "password": "p",
                                  "git_config": [{"name": "user.name", "value": "ci"}, {"name": "user.email", "value": "ci@example.com"}]}}],
        "jobs": [
            {"name": "build", "plan": [
                {"get": "source", "trigger": True},
                {"task": "compile", "file": "source/task.yml"},
                {"put": "source", "params": {"repository": "source", "tag": "out/tag", "only_tag": True}}]},
            {"name": "deploy", "plan": [
                {"get": "source", "passed": ["build"], "trigger": True}]}]}


BUILD = """set -e
echo "building $(cat source/version)"
cat /marker
test "$(cat source/version)" != broken
cp source/version out/tag
"""


class Path:
    """The tests of one database and one client; classes below pick them."""

    DATABASE = "sqlite"

    @classmethod
    def client(cls):
        return harness.upstream("fly")

    @classmethod
    def setUpClass(cls):
        world.enter(cls)
        cls.outside.start_git()
        cls.registry = cls.outside.start_registry()
        cls.outside.push_image("builder", {"marker": "from the image\n"})
        cls.repository = world.Repository(cls.outside, "source")
        database = cls.make_database()
        cls.server = world.Server(cls.folder, database=database)
        cls.server.start()
        cls.addClassCleanup(cls.server.stop)
        cls.fly = world.Fly(cls.client(), cls.server, cls.folder / "home")
        cls.fly.login()

    @classmethod
    def make_database(cls):
        return None

    def test_1_a_push_runs_both_jobs(self):
        commit = self.repository.push("first", {"version": "v1\n", "build.sh": BUILD, "task.yml": task_file(self.registry)})
        self.fly.set_pipeline("main", pipeline(self.repository))
        build = self.fly.wait_for_build("main/build", seconds=90)
        self.fly.wait_for_build("main/deploy", seconds=60)
        log = self.fly("watch", "-b", build["id"]).stdout
        self.assertIn("building v1", log)
        self.assertIn("from the image", log)
        self.assertIn("v1", self.repository.tags())
        versions = json.loads(self.fly("resource-versions", "-r", "main/source", "--json").stdout)
        self.assertEqual(versions[0]["version"]["ref"], commit)

    def test_2_another_push_needs_no_command(self):
        self.repository.push("second", {"version": "v2\n"})
        world.run("curl", "-fs", "-X", "POST", f"{self.server.url}/api/v1/teams/main/pipelines/main/resources/source/check/webhook?webhook_token=hook")
        self.fly.wait_for_build("main/build", name="2", seconds=60)
        self.fly.wait_for_build("main/deploy", name="2", seconds=60)
        self.assertIn("v2", self.repository.tags())

    def test_3_a_broken_build_can_be_entered(self):
        self.repository.push("broken", {"version": "broken\n"})
        self.fly("check-resource", "-r", "main/source")
        build = self.fly.wait_for_build("main/build", status="failed", name="3", seconds=60)
        done = self.fly("watch", "-b", build["id"], check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("building broken", done.stdout)
        shell = self.fly("hijack", "-j", "main/build", "-b", "3", "-s", "compile", "--", "cat", "source/version")
        self.assertIn("broken", shell.stdout)

    def test_4_execute_runs_a_task_on_a_local_folder(self):
        local = self.folder / "local"
        local.mkdir(exist_ok=True)
        (local / "file").write_text("from here\n")
        task = self.folder / "execute.yml"
        task.write_text(json.dumps({"platform": "linux", "image_resource": {"type": "registry-image",
                                                                            "source": {"repository": f"{self.registry}/builder", "insecure": True}},
                                    "inputs": [{"name": "local"}], "outputs": [{"name": "made"}],
                                    "run": {"path": "sh", "args": ["-ec", "cat local/file; echo made > made/result"]}}))
        made = self.folder / "made"
        done = self.fly("execute", "-c", task, "-i", f"local={local}", "-o", f"made={made}")
        self.assertIn("from here", done.stdout)
        self.assertEqual((made / "result").read_text(), "made\n")

    def test_5_a_killed_server_takes_its_builds_up(self):
        self.fly.set_pipeline("slow", {"resources": [], "jobs": [{"name": "count", "plan": [
            {"task": "count", "config": {"platform": "linux",
                                         "image_resource": {"type": "registry-image", "source": {"repository": f"{self.registry}/builder", "insecure": True}},
                                         "run": {"path": "sh", "args": ["-c", "for i in $(seq 1 60); do echo line $i; sleep 0.1; done"]}}}]}]})
        self.fly("trigger-job", "-j", "slow/count")
        build = self.fly.wait_for_build("slow/count", status="started", seconds=30)
        for _ in range(3):
            time.sleep(0.7)  # let it print between two kills
            self.server.kill()
            self.server.start()
        self.fly.wait_for_build("slow/count", seconds=60)
        lines = [line for line in self.fly("watch", "-b", build["id"]).stdout.splitlines() if line.startswith("line ")]
        self.assertEqual(lines, [f"line {i}" for i in range(1, 61)])

    def test_6_abort_ends_the_process(self):
        self.fly.set_pipeline("abort", {"resources": [], "jobs": [{"name": "wait", "plan": [
            {"task": "wait", "config": {"platform": "linux",
                                        "image_resource": {"type": "registry-image", "source": {"repository": f"{self.registry}/builder", "insecure": True}},
                                        "run": {"path": "sh", "args": ["-c", "trap 'echo stopped; exit 3' TERM; echo ready; while :; do sleep 0.05; done"]}}}]}]})
        self.fly("trigger-job", "-j", "abort/wait")
        build = self.fly.wait_for_build("abort/wait", status="started", seconds=30)
        world.wait_for("the task runs", lambda: "ready" in self.fly("curl", f"/api/v1/builds/{build['id']}/events", "--", "-N", "-m", "1", check=False).stdout, 30)
        self.fly("abort-build", "-b", build["id"])
        self.fly.wait_for_build("abort/wait", status="aborted", seconds=20)
        self.assertIn("interrupted", self.fly("watch", "-b", build["id"], check=False).stdout)

    def test_7_a_new_version_of_a_custom_type_checks_from_scratch(self):
        # What a mock finds from scratch is the version that it is itself.
        self.fly.set_pipeline("typed", {
            "resource_types": [{"name": "custom", "type": "mock", "source": {"mirror_self": True, "initial_version": "one"}}],
            "resources": [{"name": "image", "type": "custom", "check_every": "never", "source": {"mirror_self": True}}],
            "jobs": [{"name": "show", "plan": [
                {"get": "image"},
                {"task": "show", "image": "image", "config": {"platform": "linux", "run": {"path": "env"}}}]}]})
        self.fly("check-resource", "-r", "typed/image")
        done = self.fly("trigger-job", "-j", "typed/show", "-w")
        self.assertIn("MIRRORED_VERSION=one", done.stdout)
        self.fly("check-resource-type", "-r", "typed/custom", "-f", "version:two")
        done = self.fly("trigger-job", "-j", "typed/show", "-w")
        self.assertIn("MIRRORED_VERSION=two", done.stdout)


class UpstreamFlyOnSqlite(Path, unittest.TestCase):
    pass


class UpstreamFlyOnPostgres(Path, unittest.TestCase):
    @classmethod
    def make_database(cls):
        return world.Postgres(cls).url


class OwnClientOnSqlite(Path, unittest.TestCase):
    @classmethod
    def client(cls):
        # Started by the name fly, it is the fly command line.
        link = cls.folder / "fly"
        link.symlink_to(harness.BUILD / "pinion")
        return link


if __name__ == "__main__":
    world.enter_own_namespaces()
    harness.main()
