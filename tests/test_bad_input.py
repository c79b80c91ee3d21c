#!/usr/bin/env python3
"""Input that is wrong, huge or hostile: the server says what is wrong with it, stays small and goes on.

Usage: test_bad_input.py BUILD_FOLDER [--gtest_output=json:FILE]. Needs root. Runs in namespaces of its own.
"""
import base64
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import threading
import time
import unittest

import harness
import registries
import world

LIES_PORT = 5001
MEMORY_MAX_KB = 600 << 10

# Does what the source says, or what a resource does.
SCRIPT = """#!/bin/sh
input=$(cat)
case $input in
*'"on_{action}":"'*) command=${{input#*'"on_{action}":"'}}; exec sh -c "${{command%%'"'*}}";;
esac
echo '{answer}'
"""
MISDEEDS = {"garbage": "echo this is no JSON", "nothing": "true", "much": "yes"}


def serve_lies():
    """A registry on the other host whose images are not what it says."""
    registry = registries.FakeRegistry(address=(world.OUTSIDE, LIES_PORT))

    def member(name, kind=tarfile.REGTYPE, link=""):
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.mode = kind, link, 0o644
        return info

    layers = {"digest": registries.tar(("a", "one")), "truncated": registries.tar(("a", "two" * 10000)), "up": registries.tar(("../../../escaped", "x")),
              "link": registries.tar(member("way", tarfile.SYMTYPE, "/tmp"), ("way/escaped", "x")),
              "hardlink": registries.tar(member("shadow", tarfile.LNKTYPE, "/etc/shadow")),
              "device": registries.tar(member("disk", tarfile.BLKTYPE)), "noise": b"no tar at all" * 1000}
    # Whatever is wrong with the second layer, the first would do for the task.
    good = registries.tar(("bin", None), ("tmp", None), ("bin/true", pathlib.Path("/bin/busybox").read_bytes()))
    registry.add("good", registries.Image(good))
    for tag, layer in layers.items():
        image = registries.Image(good, layer)
        registry.add(tag, image)
        blob = json.loads(image.manifest)["layers"][1]["digest"]
        if tag == "digest":
            registry.blobs[blob] = registry.blobs[blob][:-1] + b"?"
        if tag == "truncated":
            registry.blobs[blob] = registry.blobs[blob][:-10]
    threading.Event().wait()


class BadInputTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        world.enter(cls)
        cls.registry = cls.outside.start_registry()
        answers = {"check": '[{"ref":"1"}]', "in": '{"version":{"ref":"1"}}', "out": '{"version":{"ref":"1"}}'}
        scripts = {f"opt/resource/{action}": SCRIPT.format(action=action, answer=answer) for action, answer in answers.items()}
        cls.outside.push_image("hostile", scripts, modes={path: 0o755 for path in scripts})
        cls.outside.processes.append(subprocess.Popen(["ip", "netns", "exec", "outside", sys.executable, __file__, "serve-lies"], stdin=subprocess.DEVNULL))
        cls.server = world.Server(cls.folder)
        # What AddressSanitizer keeps back of freed memory is not the server's.
        os.environ["ASAN_OPTIONS"] = ":".join(filter(None, (os.environ.get("ASAN_OPTIONS"), "quarantine_size_mb=16")))
        cls.server.start()
        cls.addClassCleanup(cls.server.stop)
        link = cls.folder / "fly"
        link.symlink_to(harness.BUILD / "pinion")
        cls.fly = world.Fly(link, cls.server, cls.folder / "home")
        cls.fly.login()
        cls.token = re.search(r"value: *\"?([^\s\"]+)", (cls.folder / "home/.flyrc").read_text())[1]

    def tearDown(self):
        self.assertTrue(self.server.answers())
        status = pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text()
        self.assertLess(int(re.search(r"VmRSS:\s*(\d+)", status)[1]), MEMORY_MAX_KB)

    def request(self, method, path, body=None, token=None, kind="application/json"):
        """(status, answer), which comes within 5 s."""
        file = self.folder / "body"
        file.write_bytes(body if isinstance(body, bytes) else (body or "").encode())
        started = time.monotonic()
        done = subprocess.run(["curl", "-s", "-m", "20", "-X", method, "-w", "\n%{http_code}", "-H", f"Content-Type: {kind}", "-H", "Expect:",
                               "-H", f"Authorization: Bearer {token or self.token}", *(["--data-binary", f"@{file}"] if body is not None else []),
                               f"{self.server.url}{path}"], capture_output=True, text=True)
        self.assertLess(time.monotonic() - started, 5)
        answer, _, status = done.stdout.rpartition("\n")
        return int(status), answer

    def put(self, config):
        return self.request("PUT", "/api/v1/teams/main/pipelines/bad/config", config, kind="application/x-yaml")

    def test_configs(self):
        bomb = "a: &a0 [x]\n" + "".join(f"b{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
        cases = {
            "no YAML": ("jobs: [", "line"), "a tab": ("jobs:\n\t- name: x\n", "line"), "no pipeline": ("just text", ""), "a list": ("[1, 2]", ""),
            "a wrong type": ("jobs: {a: b}", "jobs"), "a wrong inner type": ("jobs: [{name: [x], plan: []}]", "name"),
            "an unknown key": ("jobs: [{name: j, plan: [], seriall: true}]", "seriall"), "an unknown step key": ("jobs: [{name: j, plan: [{get: r, trigr: true}]}]", "trigr"),
            "an unknown resource": ("jobs: [{name: j, plan: [{get: absent}]}]", "absent"),
            "a cycle": ("resources: [{name: r, type: mock, source: {}}]\njobs: [{name: one, plan: [{get: r, passed: [two]}]}, "
                        "{name: two, plan: [{get: r, passed: [one]}]}]", "one"),
            "a bomb": (bomb, ""), "no UTF-8": (b"jobs: [{name: \xff\xfe}]", ""), "a NUL": (b"jobs: [{name: a\0b}]", ""),
            "10 MB": ("resources: [{name: r, type: mock, source: {}}]\njobs: []\nx: '" + "y" * (10 << 20) + "'\n", ""),
            "10 MB of items": ("jobs:\n" + "- {name: a, plan: []}\n" * (500 << 10), ""),
            "depth": ("jobs: " + "[" * 10000 + "]" * 10000, ""), "depth of maps": ("jobs: " + "{a: " * 10000 + "1" + "}" * 10000, ""),
            "depth of steps": ("jobs: [{name: j, plan: [" + "{do: [" * 1000 + "{get: r}" + "]}" * 1000 + "]}]", ""),
        }
        for name, (config, word) in cases.items():
            with self.subTest(name):
                status, answer = self.put(config)
                self.assertIn(status, (400, 413), answer[:500])
                self.assertIn(word, answer)
                self.assertGreater(len(answer.strip()), 10, answer)
                self.assertLess(len(answer), 1 << 20)

    def test_json_bodies(self):
        self.fly.set_pipeline("plain", {"resources": [{"name": "r", "type": "mock", "source": {}}], "jobs": [{"name": "j", "plan": [{"get": "r"}]}]})
        check = "/api/v1/teams/main/pipelines/plain/resources/r/check"
        for name, body in {"large": '{"x": "' + "y" * (40 << 20) + '"}', "deep": "[" * 100000, "cut off": '{"from": {', "text": "hello", "a list": "[1]"}.items():
            for method, path in (("POST", check), ("PUT", "/api/v1/teams/other"), ("POST", "/api/v1/teams/main/builds")):
                with self.subTest(name, path=path):
                    status, answer = self.request(method, path, body)
                    self.assertIn(status, (400, 413), answer[:500])

    def test_tokens(self):
        head, body, mac = self.token.split(".")

        def part(value):
            return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        longer = part({**claims, "exp": 1 << 33})
        for name, token in {"given more time": f"{head}.{longer}.{mac}", "forged": f"{head}.{part({**claims, 'sub': 'root'})}.{mac}", "none": f"{part({'alg': 'none'})}.{body}.",
                            "none with a signature": f"{part({'alg': 'none'})}.{body}.{mac}", "cut": self.token[:-3], "empty": "..", "text": "x",
                            "huge": "x" * 20000}.items():
            with self.subTest(name):
                status, answer = self.request("GET", "/api/v1/teams/main/containers", token=token)
                self.assertEqual(status, 401, answer)

    def test_a_token_expires(self):
        folder = world.temporary_folder(self)
        server = world.Server(folder, "--auth-duration", "1s", port=8081)
        server.start()
        self.addCleanup(server.stop)
        fly = world.Fly(self.fly.program, server, folder / "home")
        fly.login()
        told = world.wait_for("the token ends", lambda: next((done for done in [fly("containers", check=False)] if done.returncode), None), 20)
        self.assertIn("not authorized", told.stderr)

    def test_builds_of_another_team(self):
        self.fly.set_pipeline("mine", {"resources": [], "jobs": [{"name": "j", "plan": [{"load_var": "x", "file": "absent/x"}]}]})
        self.fly("trigger-job", "-j", "mine/j")
        build = self.fly.builds("mine/j")[0]
        other = world.Fly(self.fly.program, self.server, self.folder / "other")
        self.fly("set-team", "-n", "guests", "--local-user", "guest", "--non-interactive")
        other("login", "-c", self.server.url, "-n", "guests", "-u", "guest", "-p", "guest")
        token = re.search(r"value: *\"?([^\s\"]+)", (self.folder / "other/.flyrc").read_text())[1]
        for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/plan"), ("PUT", "/abort"), ("GET", "/resources")):
            with self.subTest(path):
                self.assertIn(self.request(method, f"/api/v1/builds/{build['id']}{path}", token=token)[0], (401, 403))

    def ended(self, job, seconds=60):
        def look():
            builds = [b for b in self.fly.builds(job) if b["status"] in ("failed", "errored", "succeeded", "aborted")]
            return builds[0] if builds else None
        build = world.wait_for(f"{job} ends", look, seconds)
        return build["status"], self.fly("watch", "-b", build["id"], check=False).stdout

    def test_lying_registries(self):
        repository = f"{world.OUTSIDE}:{LIES_PORT}/image"
        refused = {"digest": "digest", "truncated": r"broke off after \d+ of \d+ bytes", "up": r"\.\./\.\./\.\./escaped", "hardlink": "shadow", "noise": "archive|tar|layer"}
        # Links lead nowhere but into the image; device nodes are left out.
        survived = ("good", "link", "device")
        self.fly.set_pipeline("lies", {"resources": [], "jobs": [{"name": tag, "plan": [{"task": "t", "config": {
            "platform": "linux", "image_resource": {"type": "registry-image", "source": {"repository": repository, "tag": tag, "insecure": True}},
            "run": {"path": "/bin/true"}}}]} for tag in (*refused, *survived)]})
        for tag in (*refused, *survived):
            self.fly("trigger-job", "-j", f"lies/{tag}")
        for tag in (*refused, *survived):
            with self.subTest(tag):
                status, log = self.ended(f"lies/{tag}", 90)
                self.assertEqual(status, "errored" if tag in refused else "succeeded", log)
                self.assertRegex(log, refused.get(tag, "."))
                self.assertFalse(pathlib.Path("/tmp/escaped").exists())

    def hostile(self, pipeline, resources, jobs):
        types = [{"name": "hostile", "type": "registry-image", "source": {"repository": f"{self.registry}/hostile", "insecure": True}}]
        self.fly.set_pipeline(pipeline, {"resource_types": types, "resources": resources, "jobs": jobs})

    def test_checks(self):
        misdeeds = {**MISDEEDS, "hangs": "sleep 600"}
        self.hostile("checks", [{"name": name, "type": "hostile", "check_timeout": "5s", "check_every": "never", "source": {"on_check": deed}}
                                for name, deed in misdeeds.items()], [{"name": "j", "plan": [{"get": name} for name in misdeeds]}])
        for name in misdeeds:
            with self.subTest(name):
                done = self.fly("check-resource", "-r", f"checks/{name}", check=False, timeout=60)
                self.assertNotEqual(done.returncode, 0, done.stdout)
                self.assertRegex(done.stdout + done.stderr, "timeout|timed out" if name == "hangs" else "/opt/resource/check")

    def steps(self, action):
        misdeeds = {**MISDEEDS, "hangs": "sleep 600"}
        kind = "get" if action == "in" else "put"
        self.hostile(kind, [{"name": name, "type": "hostile", "source": {f"on_{action}": deed}} for name, deed in misdeeds.items()],
                     [{"name": name, "plan": [{kind: name, "timeout": "5s"} if name == "hangs" else {kind: name}]} for name in misdeeds])
        for name in misdeeds:
            self.fly("check-resource", "-r", f"{kind}/{name}") if kind == "get" else None
            self.fly("trigger-job", "-j", f"{kind}/{name}")
        for name in misdeeds:
            with self.subTest(name):
                status, log = self.ended(f"{kind}/{name}", 60)
                self.assertIn(status, ("failed",) if name == "hangs" else ("errored",), log[-2000:])
                self.assertIn("timeout exceeded" if name == "hangs" else f"/opt/resource/{action}", log[-2000:])

    def test_gets(self):
        self.steps("in")

    def test_puts(self):
        self.steps("out")


if __name__ == "__main__":
    if sys.argv[1:] == ["serve-lies"]:
        serve_lies()
    world.enter_own_namespaces()
    harness.main()
