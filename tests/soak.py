#!/usr/bin/env python3
"""A soak: builds of every kind and every kind of end, with the server killed in between, then a count of what is left.

  tests/soak.py BUILD_FOLDER [--builds N] [--at-once N] [--kills N] [--seed N] [--folder DIR] [--keep]

Two processes of the server do it, without one and with kills. The first third of the builds is done under kill -9, the
rest by one process, whose memory after 500 builds is compared with that at the end. It fails if a build does not end
as it must, if something is left within two minutes after the last cause (see leaks.py), or if the memory has grown.
"""
import argparse
import base64
import collections
import http.client
import json
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import harness
import leaks
import world

QUIET_SECONDS = 120  # from the last cause to nothing left
MEMORY_FACTOR = 1.2
MEMORY_BUILDS = 500  # after which the memory is taken first
# How far the change feed is trimmed is written down at its first trimming.
GROWING_TABLES = ("settings",)
# Retention in the soak is as short as it can be, so that two minutes suffice to see its end.
RETENTION = ["--gc-interval", "2s", "--gc-one-off-grace-period", "5s", "--gc-hijack-grace-period", "5s", "--gc-artifact-grace-period", "5s",
             "--gc-unused-cache-grace-period", "5s", "--gc-unused-scope-grace-period", "5s", "--one-off-build-retention", "5s",
             "--change-feed-retention", "5s", "--default-build-logs-to-retain", "20"]
DONE = ("succeeded", "failed", "errored", "aborted")


def task(name, script, **more):
    config = {"platform": "linux", "run": {"path": "sh", "args": ["-ec", script]},
              "image_resource": {"type": "mock", "source": {"mirror_self": True, "initial_version": "soak"}, "version": {"version": "soak"}}}
    for key in ("inputs", "outputs", "caches", "params"):
        if key in more:
            config[key] = more.pop(key)
    return {"task": name, "config": config, **more}


def mock(name, **source):
    return {"name": name, "type": "mock", "source": {"initial_version": "0", "log": name, **source}, "check_every": "never"}


def pipeline(generation):
    def job(name, *plan, **more):
        return {"name": name, "plan": list(plan), **more}
    again = f"generation {generation}"
    return {
        "resource_types": [{"name": "own", "type": "mock", "source": {"mirror_self": True, "initial_version": "own"}, "check_every": "never"}],
        "resources": [mock("source", create_files={"file": again}), mock("result", no_initial_version=True), mock("broken", check_failure="no"),
                      {"name": "custom", "type": "own", "source": {"initial_version": "1"}, "check_every": "never"}],
        "jobs": [
            job("ok", task("hello", "echo hello; seq 1 200")),
            job("fail", task("fail", "echo so; exit 3"), on_failure=task("hook", "echo failed")),
            job("error", {**task("error", "true"), "timeout": "1ms"}, task("never", "true")),
            job("missing", {"task": "missing", "config": {"platform": "linux", "run": {"path": "/no/such/program"},
                                                          "image_resource": task("", "")["config"]["image_resource"]}}),
            job("wait", task("wait", "trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done"), ensure=task("tidy", "echo tidy")),
            job("deaf", task("deaf", "trap '' TERM; (trap '' TERM; sleep 1000) & sleep 1000")),
            job("rich", {"get": "source", "trigger": False}, {"get": "custom"},
                {"in_parallel": {"steps": [task("one", "cat source/file > out/one; date > cache/now", inputs=[{"name": "source"}], outputs=[{"name": "out"}],
                                                caches=[{"path": "cache"}]),
                                           task("flaky", "exit 1", attempts=2) | {"ensure": task("after", "true")}], "fail_fast": False}},
                ensure={"put": "result", "params": {"version": f"{generation}-$BUILD"}, "no_get": False}),
            job("put", task("make", "head -c 100000 /dev/urandom > made/file; echo v$RANDOM > made/version", outputs=[{"name": "made"}]),
                {"put": "result", "params": {"file": "made/version"}}),
            job("next", {"get": "result", "passed": ["put"], "trigger": True}, task("use", "ls result", inputs=[{"name": "result"}])),
            job("never", {"get": "broken"}),
            job("across", {**task("each", "echo $N", params={"N": "((.:n))"}), "across": [{"var": "n", "values": [1, 2, 3], "max_in_flight": 3}]}),
            job("privileged", task("mount", "mkdir -p /m; mount -t tmpfs none /m || true; touch /m/x", privileged=True)),
        ],
    }


EXPECTED = {"ok": "succeeded", "fail": "failed", "error": "failed", "missing": ("errored", "failed"), "rich": "failed", "put": "succeeded",
            "across": "succeeded", "privileged": "succeeded", "wait": "aborted", "deaf": "aborted"}
# How often each kind of work is done, in shares.
WORK = {"ok": 36, "fail": 12, "error": 3, "missing": 3, "abort": 10, "abort at once": 6, "deaf": 2, "hijack": 4, "hijack failed": 2, "rich": 6,
        "put": 4, "across": 2, "privileged": 2, "execute": 4, "check": 5, "broken check": 2, "left watcher": 3, "destroy": 1}


class Server(world.Server):
    """With a folder of its own for temporary files, so that they can be counted."""

    def start(self):
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        self.log = open(self.folder / "server.log", "ab")
        self.process = subprocess.Popen([str(harness.BUILD / "pinion"), "quickstart", *self.options], stdout=self.log, stderr=self.log,
                                        stdin=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(temporary)})
        world.wait_for("the server answers", self.answers, 60)


class Gone(Exception):
    """What was asked for is not there, as after the pipeline's end."""


class Client:
    """The API, over a connection per thread; what does not answer is asked again, for the server is killed now and then."""

    def __init__(self, port):
        self.port = port
        self.own = threading.local()
        self.token = None

    def send(self, method, path, body, headers):
        deadline = time.monotonic() + 60
        while True:
            try:
                if getattr(self.own, "connection", None) is None:
                    self.own.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
                self.own.connection.request(method, path, body, headers)
                answer = self.own.connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException):
                self.own.connection.close()
                self.own.connection = None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def login(self):
        basic = base64.b64encode(b"fly:Zmx5").decode()
        status, text = self.send("POST", "/sky/issuer/token", "grant_type=password&username=test&password=test&scope=openid",
                                 {"Content-Type": "application/x-www-form-urlencoded", "Authorization": "Basic " + basic})
        assert status == 200, text
        self.token = "Bearer " + json.loads(text)["access_token"]

    def call(self, method, path, body=None):
        text = json.dumps(body) if isinstance(body, (dict, list)) else body
        status, answer = self.send(method, path, text, {"Authorization": self.token, "Content-Type": "application/json"})
        if status in (403, 404):  # of what is being deleted nobody can tell whose it is
            raise Gone(path)
        if status >= 300:
            raise AssertionError(f"{method} {path}: {status} {answer.decode(errors='replace')}")
        try:
            return json.loads(answer or b"null")
        except ValueError:
            return answer


class Soak:
    def __init__(self, folder, at_once, seed, options=RETENTION):
        self.folder = folder
        self.at_once = at_once
        self.random = random.Random(seed)
        self.server = Server(folder, *options)
        self.client = Client(self.server.port)
        program = folder / "fly"
        program.symlink_to(harness.BUILD / "pinion")
        self.fly = world.Fly(program, self.server, folder / "home")
        self.lock = threading.Lock()
        self.generation = 0
        self.kinds = [kind for kind, share in WORK.items() for _ in range(share)]
        self.ends = collections.Counter()
        self.wrong = []
        self.killing = False
        self.upload = folder / "upload"
        self.upload.mkdir()
        (self.upload / "file").write_bytes(os.urandom(50_000))
        self.execute_task = folder / "execute.yml"
        self.execute_task.write_text(json.dumps(task("", "cat upload/file > made/copy; echo done", inputs=[{"name": "upload"}],
                                                     outputs=[{"name": "made"}])["config"]))

    def begin(self):
        self.server.start()
        self.client.login()
        self.fly.login()
        self.set_pipeline()

    @property
    def team(self):
        return "/api/v1/teams/main"

    def name(self):
        return f"soak-{self.generation}"

    def set_pipeline(self):
        name = f"soak-{self.generation + 1}"
        path = f"{self.team}/pipelines/{name}"
        self.client.call("PUT", f"{path}/config", pipeline(self.generation + 1))
        self.client.call("PUT", f"{path}/unpause")
        for resource in ("source", "custom"):
            self.client.call("POST", f"{path}/resources/{resource}/check", {"from": None})
        self.generation += 1

    def destroy_pipeline(self, name):
        try:
            self.client.call("DELETE", f"{self.team}/pipelines/{name}")
        except Gone:
            pass  # an earlier try, whose answer the kill took

    # --- One piece of work each; all return how it ended ---------------------------------------------------

    def trigger(self, job):
        return self.client.call("POST", f"{self.team}/pipelines/{self.name()}/jobs/{job}/builds")

    def status(self, build):
        return self.client.call("GET", f"/api/v1/builds/{build['id']}")["status"]

    def wait(self, build, statuses=DONE, seconds=300):
        deadline = time.monotonic() + seconds
        pause = 0.02
        while True:
            status = self.status(build)
            if status in statuses or status in DONE:
                return status
            if time.monotonic() > deadline:
                raise AssertionError(f"build {build['id']} of {build.get('job_name')} is {status} after {seconds} s")
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    def run_job(self, job):
        build = self.trigger(job)
        status = self.wait(build)
        self.expect(job, build, status)
        return status

    def expect(self, job, build, status):
        expected = EXPECTED[job]
        if status not in ([expected] if isinstance(expected, str) else expected):
            log = self.fly("watch", "-b", build["id"], check=False).stdout[-1500:]
            self.wrong.append(f"build {build['id']} of {job} is {status}, not {expected}:\n{log}")

    def abort(self, build):
        self.client.call("PUT", f"/api/v1/builds/{build['id']}/abort")

    def do_abort(self, job="wait", at_once=False, during=None):
        build = self.trigger(job)
        if not at_once:
            self.wait(build, ("started",))
            time.sleep(random.random() * 0.6)
        try:
            if during:
                during(build)
        finally:
            self.abort(build)
        status = self.wait(build)
        self.expect(job, build, status)
        return status

    def hijack(self, build):
        # While the step starts there is no container yet, and a kill ends the session.
        for _ in range(20):
            done = self.fly("hijack", "-b", build["id"], "-s", "wait", "--", "sh", "-c", "echo inside; exit 7", check=False)
            if done.returncode == 7:
                return
            time.sleep(0.2)
        if not self.killing and self.status(build) == "started":
            self.wrong.append(f"hijack of build {build['id']}: exit status {done.returncode}: {done.stdout}{done.stderr}")

    def do_hijack_failed(self):
        build = self.trigger("fail")
        status = self.wait(build)
        self.expect("fail", build, status)
        # Perhaps another build has ended since, which took the container.
        self.fly("hijack", "-b", build["id"], "-s", "fail", "--", "sh", "-c", "sleep 1000 & exit 0", check=False)
        return status

    def do_execute(self):
        made = pathlib.Path(tempfile.mkdtemp(dir=self.folder, prefix="made-"))
        done = self.fly("execute", "-c", self.execute_task, "-i", f"upload={self.upload}", "-o", f"made={made}", check=False)
        ok = done.returncode == 0 and (made / "copy").exists()
        shutil.rmtree(made)
        if not ok and not self.killing:
            self.wrong.append(f"execute: exit status {done.returncode}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
        return "succeeded" if ok else "cut off"

    def do_check(self, resource="custom"):
        build = self.client.call("POST", f"{self.team}/pipelines/{self.name()}/resources/{resource}/check", {"from": None})
        return self.wait(build)

    def do_left_watcher(self):
        """A watcher that goes away in the middle."""
        build = self.trigger("wait")
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        try:
            connection.request("GET", f"/api/v1/builds/{build['id']}/events", headers={"Authorization": self.client.token})
            connection.getresponse().read1(100)
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        self.abort(build)
        status = self.wait(build)
        self.expect("wait", build, status)
        return status

    def do_destroy(self):
        """The pipeline goes with all that runs in it; a new one takes its place."""
        with self.lock:
            old = self.name()
            self.set_pipeline()
        self.destroy_pipeline(old)
        return "destroyed"

    def work(self, kind):
        if kind == "abort":
            return self.do_abort()
        if kind == "abort at once":
            return self.do_abort(at_once=True)
        if kind == "deaf":
            return self.do_abort("deaf")
        if kind == "hijack":
            return self.do_abort(during=self.hijack)
        if kind == "hijack failed":
            return self.do_hijack_failed()
        if kind == "execute":
            return self.do_execute()
        if kind == "check":
            return self.do_check()
        if kind == "broken check":
            return self.do_check("broken")
        if kind == "left watcher":
            return self.do_left_watcher()
        if kind == "destroy":
            return self.do_destroy()
        return self.run_job(kind)

    # --- Many of them --------------------------------------------------------------------------------------

    def run(self, builds, kills=0, all_kinds=False):
        """Does as many pieces of work, `at_once` at a time, and kills the server so many times meanwhile."""
        kinds = [self.random.choice(self.kinds) for _ in range(builds)]
        if all_kinds:
            kinds[:len(WORK)] = list(WORK)
        kill_at = sorted((self.random.uniform(0.05, 0.95) * builds for _ in range(kills)), reverse=True)
        left = list(reversed(kinds))
        self.killing = kills > 0
        errors = []

        def loop():
            while not errors:
                with self.lock:
                    if not left:
                        return
                    kind = left.pop()
                try:
                    end = self.work(kind)
                except Gone:
                    end = "gone with its pipeline"
                except BaseException as error:  # the main thread tells
                    errors.append(error)
                    return
                with self.lock:
                    self.ends[kind, end] += 1

        threads = [threading.Thread(target=loop) for _ in range(self.at_once)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            if kill_at and builds - len(left) >= kill_at[-1] and not errors:
                kill_at.pop()
                try:
                    self.server.kill()
                    self.server.start()
                except BaseException as error:  # the threads would go on asking
                    errors.append(error)
            time.sleep(0.02)
        self.killing = False
        if errors:
            raise errors[0]

    def running(self):
        """Id and job of every build that has not ended."""
        database = sqlite3.connect(f"file:{self.server.folder}/state/pinion.sqlite?mode=ro", uri=True, timeout=30)
        try:
            return database.execute("select b.id, j.name from builds b left join jobs j on j.id = b.job_id where b.status in ('pending', 'started')").fetchall()
        finally:
            database.close()

    def settle(self):
        """Waits for the end of all builds, also of those that nobody asked for by hand."""
        for build, job in self.running():
            # Asked for twice, for a kill took the first answer: nobody knows of it.
            if job in ("wait", "deaf"):
                self.abort({"id": build})
        try:
            world.wait_for("no build runs", lambda: not self.running(), 120)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.running()}") from None

    def count(self):
        return leaks.Count(self.server.folder / "state", self.server.process.pid, url=self.server.url).to_json()

    def count_when_idle(self):
        """The count once there is no container and nothing more goes away."""
        last = None
        deadline = time.monotonic() + QUIET_SECONDS
        while True:
            now = self.count()
            idle = not any(now["things"][kind] for kind in ("containers", "supervisors", "processes", "cgroups"))
            if idle and last and now["things"]["volumes"] == last["things"]["volumes"]:
                return now
            if time.monotonic() > deadline:
                raise AssertionError("containers stay:\n" + leaks.table_of(("now", now)))
            last = now
            time.sleep(1)

    def end(self):
        """Stops the server, and what it leaves running if something went wrong."""
        if self.server.process and self.server.process.poll() is None:
            self.server.stop()
        for pid in leaks.Count(self.server.folder / "state").supervisor_ids:
            os.kill(pid, 9)  # its container ends with it

    def clear(self):
        """Everything that was set up goes; the last cause of garbage."""
        for row in self.client.call("GET", f"{self.team}/pipelines"):
            self.destroy_pipeline(row["name"])

    def wait_until_clean(self, before, seconds=QUIET_SECONDS):
        """The count when nothing is left, or after so many seconds; and what is left, and the seconds that took."""
        begun = time.monotonic()
        while True:
            now = self.count()
            left = leaks.compare(before, now) + leaks.compare_rows(before, now, GROWING_TABLES)
            took = time.monotonic() - begun
            if not left or took > seconds:
                return now, left, took
            time.sleep(1)


class Case(unittest.TestCase):
    """With a server of its own that is asked for one thing after the other."""

    OPTIONS = []

    @classmethod
    def setUpClass(cls):
        harness.require_root()
        world.run("ip", "link", "set", "lo", "up")
        cls.it = Soak(world.temporary_folder(cls), at_once=1, seed=1, options=cls.OPTIONS)
        cls.addClassCleanup(cls.it.end)
        cls.it.begin()


def soak(folder, builds, at_once, kills, seed, memory_builds=MEMORY_BUILDS, memory_factor=MEMORY_FACTOR, but=()):
    """Returns the findings, a list of text; prints what it does and the counts. Work of the kinds in `but` is done once only."""
    it = Soak(folder, at_once, seed)
    started = time.monotonic()

    def say(text):
        print(f"{time.monotonic() - started:7.1f} s  {text}", flush=True)

    try:
        it.begin()
        it.run(len(WORK), all_kinds=True)
        it.settle()
        say(f"{len(WORK)} kinds of work")
        it.clear()
        it.kinds = [kind for kind in it.kinds if kind not in but]
        # The first use of everything leaves what stays: base types, the image's layers, pools of threads.
        before = it.count_when_idle()
        it.set_pipeline()
        with_kills = builds // 3 if kills else 0
        if with_kills:
            it.run(with_kills, kills)
            say(f"{with_kills} builds under {kills} kills")
            it.settle()
        early = min(memory_builds, (builds - with_kills) // 2)
        it.run(early)
        it.settle()
        after_early = it.count()
        say(f"{early} more builds, {after_early['memory'] / 1024:.1f} MB")
        rest = builds - with_kills - early
        while rest > 0:
            some = min(rest, memory_builds)
            it.run(some)
            rest -= some
            say(f"{some} more builds, {leaks.memory_of(it.server.process.pid) / 1024:.1f} MB")
        it.settle()
        last = it.count()
        it.clear()
        end, left, took = it.wait_until_clean(before)
        say(f"nothing is left after {took:.0f} s" if not left else f"something is left after {took:.0f} s")
    finally:
        it.end()
    print(leaks.table_of(("before", before), (f"after {with_kills + early}", after_early), (f"after {builds}", last), ("cleared", end)))
    for (kind, status), number in sorted(it.ends.items()):
        print(f"{number:6}  {kind}: {status}")
    if memory_factor:
        left += leaks.memory_grown(after_early, last, memory_factor)
    return [f"left: {leak}" for leak in left] + it.wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build_folder")
    parser.add_argument("--builds", type=int, default=5000)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--folder", help="of the server; a temporary one if not given")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    folder = pathlib.Path(arguments.folder or tempfile.mkdtemp(prefix="pinion-soak-"))
    folder.mkdir(exist_ok=True)
    folder.chmod(0o711)
    findings = soak(folder, arguments.builds, arguments.at_once, arguments.kills, arguments.seed)
    for finding in findings:
        print(f"FOUND {finding}")
    if findings:
        print(f"the server's folder is kept: {folder}")
    elif not arguments.folder:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if findings else 0


if __name__ == "__main__":
    world.enter_own_namespaces()
    world.run("ip", "link", "set", "lo", "up")
    sys.exit(main())
