#!/usr/bin/env python3
"""The built-in resource types' programs, run as their containers run them: a request on standard input.

Usage: test_resources.py BUILD_FOLDER [--gtest_output=json:FILE]
"""
import json
import os
import pathlib
import subprocess
import tarfile
import tempfile
import unittest

import harness


class Resource:
    """A type's program, started by the names of its actions."""

    def __init__(self, folder, name):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        for action in ("check", "in", "out"):
            (self.folder / action).symlink_to(harness.BUILD / "resources" / f"resource_{name}")
        self.home = self.folder / "home"
        self.home.mkdir()

    def run(self, action, request, *arguments):
        return subprocess.run([self.folder / action, *arguments], input=json.dumps(request), text=True, capture_output=True,
                              env={"PATH": os.environ["PATH"], "HOME": str(self.home), "GIT_CONFIG_NOSYSTEM": "1"}, timeout=60)

    def ok(self, action, request, *arguments):
        done = self.run(action, request, *arguments)
        if done.returncode != 0:
            raise AssertionError(f"{action} failed: {done.stderr}")
        return json.loads(done.stdout)


class ResourceCase(unittest.TestCase):
    TYPE = ""

    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.folder = pathlib.Path(self.temporary.name)
        self.resource = Resource(self.folder / "resource", self.TYPE)


class MockTest(ResourceCase):
    TYPE = "mock"

    def test_check_emits_the_initial_version_then_what_it_was_given(self):
        versions = self.resource.ok("check", {"source": {"initial_version": "one"}})
        self.assertEqual([v["version"] for v in versions], ["one"])
        self.assertEqual(self.resource.ok("check", {"source": {"no_initial_version": True}}), [])
        versions = self.resource.ok("check", {"source": {}, "version": {"version": "two"}})
        self.assertEqual([v["version"] for v in versions], ["two"])

    def test_in_creates_files_and_metadata(self):
        out = self.folder / "out"
        out.mkdir()
        answer = self.resource.ok("in", {"source": {"create_files": {"a/b": "START_VARxEND_VAR"}, "metadata": [{"name": "k", "value": "v"}]},
                                         "version": {"version": "1"}}, str(out))
        self.assertEqual((out / "a/b").read_text(), "((x))")
        self.assertEqual((out / "version").read_text(), "1\n")
        self.assertEqual(answer, {"version": {"version": "1"}, "metadata": [{"name": "k", "value": "v"}]})

    def test_out_takes_the_version_from_a_file(self):
        (self.folder / "file").write_text("from-file")
        answer = self.resource.ok("out", {"source": {}, "params": {"file": "file"}}, str(self.folder))
        self.assertEqual(answer["version"]["version"], "from-file")

    def test_mistakes_are_named(self):
        self.assertIn("unknown field 'typo' in source", self.resource.run("check", {"source": {"typo": 1}}).stderr)
        garbage = subprocess.run([self.resource.folder / "check"], input="{nope", text=True, capture_output=True)
        self.assertIn("line 1", garbage.stderr)
        self.assertEqual(garbage.returncode, 1)
        self.assertNotEqual(self.resource.run("check", {"source": {"check_failure": "why"}}).returncode, 0)


class TimeTest(ResourceCase):
    TYPE = "time"

    def test_interval(self):
        source = {"interval": "1h"}
        (first,) = self.resource.ok("check", {"source": source})
        self.assertEqual(self.resource.ok("check", {"source": source, "version": first}), [first])
        old = {"time": "2020-01-01T00:00:00Z"}
        versions = self.resource.ok("check", {"source": source, "version": old})
        self.assertEqual(versions[0], old)
        self.assertEqual(len(versions), 2)

    def test_range_and_days_and_location(self):
        # A range of no length at the same minute is a whole day.
        source = {"start": "12:00 AM", "stop": "12:00 AM", "location": "Europe/Berlin"}
        (version,) = self.resource.ok("check", {"source": source})
        self.assertRegex(version["time"], r"\+0[12]:00$")
        for bad, words in (({"start": "1PM"}, "must configure 'stop'"), ({"days": ["Blursday"]}, "unknown weekday"),
                           ({"location": "Mars"}, "unknown time zone"), ({"interval": "soon"}, "invalid duration")):
            done = self.resource.run("check", {"source": bad})
            self.assertIn(words, done.stderr)
            self.assertEqual(done.returncode, 1)

    def test_in_writes_the_time(self):
        out = self.folder / "out"
        out.mkdir()
        version = {"time": "2026-01-02T03:04:05.5Z"}
        self.assertEqual(self.resource.ok("in", {"source": {}, "version": version}, str(out))["version"], version)
        self.assertEqual((out / "timestamp").read_text(), "2026-01-02 03:04:05.5 +0000 UTC")
        self.assertEqual((out / "epoch").read_text(), "1767323045")


class GitTest(ResourceCase):
    TYPE = "git"

    def setUp(self):
        super().setUp()
        self.origin = self.folder / "origin"
        self.git("init", "-q", "-b", "main", str(self.origin))
        self.first = self.commit("first", "a")
        self.source = {"uri": str(self.origin), "branch": "main",
                       "git_config": [{"name": "user.name", "value": "t"}, {"name": "user.email", "value": "t@example.com"}]}

    def git(self, *arguments):
        return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True,
                              env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com",
                                   "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.com"}).stdout.strip()

    def commit(self, message, file):
        (self.origin / file).write_text(message)
        self.git("-C", str(self.origin), "add", ".")
        self.git("-C", str(self.origin), "commit", "-q", "-m", message)
        return self.git("-C", str(self.origin), "rev-parse", "HEAD")

    def check(self, version=None, **extra):
        request = {"source": {**self.source, **extra}}
        if version:
            request["version"] = version
        return [v["ref"] for v in self.resource.ok("check", request)]

    def test_check_lists_what_is_new(self):
        self.assertEqual(self.check(), [self.first])
        second, third = self.commit("second", "b"), self.commit("third", "c")
        self.assertEqual(self.check({"ref": self.first}), [self.first, second, third])
        self.assertEqual(self.check(disable_ci_skip=True), [third])

    def test_check_filters_by_path_message_and_tag(self):
        subprocess.run(["rm", "-rf", "/tmp/git-resource-repo-cache"], check=True)
        self.addCleanup(subprocess.run, ["rm", "-rf", "/tmp/git-resource-repo-cache"])
        docs = self.commit("docs", "docs.md")
        self.commit("skipped [ci skip]", "z")
        self.assertEqual(self.check(paths=["*.md"]), [docs])
        subprocess.run(["rm", "-rf", "/tmp/git-resource-repo-cache"], check=True)
        self.git("-C", str(self.origin), "tag", "v1", docs)
        self.assertEqual(self.check(tag_filter="v*"), ["v1"])

    def test_in_clones_and_tells_about_the_commit(self):
        out = self.folder / "out"
        answer = self.resource.ok("in", {"source": self.source, "version": {"ref": self.first}}, str(out))
        self.assertEqual(answer["version"], {"ref": self.first})
        self.assertEqual((out / "a").read_text(), "first")
        self.assertEqual((out / ".git/ref").read_text().strip(), self.first)
        self.assertEqual((out / ".git/short_ref").read_text(), self.first[:7])
        self.assertIn({"name": "message", "value": "first", "type": "message"}, answer["metadata"])

    def test_out_pushes_tags_and_rebases(self):
        clone = self.folder / "clone"
        self.git("clone", "-q", str(self.origin), str(clone))
        self.git("-C", str(self.origin), "checkout", "-q", "--detach")
        (clone / "new").write_text("x")
        self.git("-C", str(clone), "add", ".")
        self.git("-C", str(clone), "commit", "-q", "-m", "from the clone")
        (self.folder / "tag").write_text("1.0\n")
        answer = self.resource.ok("out", {"source": self.source, "params": {"repository": "clone", "rebase": True, "tag": "tag", "tag_prefix": "v"}},
                                  str(self.folder))
        self.assertEqual(self.git("-C", str(self.origin), "rev-parse", "main"), answer["version"]["ref"])
        self.assertEqual(self.git("-C", str(self.origin), "tag"), "v1.0")

    def tearDown(self):
        subprocess.run(["rm", "-rf", "/tmp/git-resource-repo-cache"], check=True)


class RootfsTest(unittest.TestCase):
    def test_every_type_is_complete(self):
        for folder in (harness.BUILD / "resource-types").iterdir():
            metadata = json.loads((folder / "resource_metadata.json").read_text())
            self.assertEqual(metadata["type"], folder.name)
            with tarfile.open(folder / "rootfs.tgz") as archive:
                names = set(archive.getnames())
            self.assertLessEqual({"./opt/resource/check", "./opt/resource/in", "./opt/resource/out", "./bin/bash", "./etc/passwd"}, names)


if __name__ == "__main__":
    harness.main()
