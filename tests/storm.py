"""Servers that are killed, stopped and starved, for tests of what they survive: watching their log, asking their API, reading builds."""
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

import harness
import world


class Log:
    """Lines that servers write into a pipe, in a file as well; whoever waits for one hears of it at once."""

    def __init__(self, path):
        self.path = path
        self.lines = []
        self.changed = threading.Condition()
        reader, self.writer = os.pipe()
        threading.Thread(target=self._read, args=(os.fdopen(reader, "r", errors="replace"),), daemon=True).start()

    def _read(self, reader):
        with open(self.path, "a") as file:
            for line in reader:
                file.write(line)
                file.flush()
                with self.changed:
                    self.lines.append(line)
                    self.changed.notify_all()

    def end(self):
        with self.changed:
            return len(self.lines)

    def wait(self, word, start, seconds):
        """The first line from index `start` on that contains the word, or None after that time."""
        deadline = time.monotonic() + seconds
        at = start
        with self.changed:
            while True:
                while at < len(self.lines):
                    if word in self.lines[at]:
                        return self.lines[at]
                    at += 1
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self.changed.wait(left)

    def tail(self, count=40):
        with self.changed:
            return "".join(self.lines[-count:])


class Server(world.Server):
    """A server whose log can be waited for and which may die at any time. `command` is quickstart, or web and worker."""

    def __init__(self, folder, *options, database=None, command="quickstart", port=8080, name="server"):
        super().__init__(folder, *options, database=database)
        self.command = command
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.options[self.options.index("--bind-port") + 1] = str(port)
        self.options[self.options.index("--state-dir") + 1] = str(folder / name)
        self.state = folder / name
        self.watched = Log(folder / f"{name}.log")
        self.token = None
        self.environment = None
        # Containers' folders in memory; other servers of this machine have theirs beside it.
        work = str((self.state / "worker").resolve())
        self.containers = pathlib.Path("/run/pinion") / hashlib.sha256(work.encode()).hexdigest()[:8] / "containers"

    def spawn(self):
        self.begun = self.watched.end()
        self.process = subprocess.Popen([str(harness.BUILD / "pinion"), self.command, *self.options], stdout=self.watched.writer,
                                        stderr=self.watched.writer, stdin=subprocess.DEVNULL, env=self.environment)

    def start(self):
        self.spawn()
        if not self.watched.wait('"message":"ready"', self.begun, 60):
            raise AssertionError("the server does not get ready:\n" + self.watched.tail())

    def stop(self):
        if self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError("no end within 30 s of SIGTERM:\n" + self.watched.tail()) from None

    def ask(self, method, path, body=None, timeout=10, token=True):
        """(status, JSON) of an answer; status 0 if there was none."""
        request = urllib.request.Request(self.url + path, method=method, data=None if body is None else body.encode())
        if body is not None:
            request.add_header("Content-Type", "application/x-yaml")
        if token and self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                text, status = answer.read(), answer.status
        except urllib.error.HTTPError as error:
            text, status = error.read(), error.code
        except OSError:
            return 0, None
        except Exception as error:  # http.client's, when the connection ends in the middle
            return 0, str(error)
        try:
            return status, json.loads(text) if text else None
        except ValueError:
            return status, text.decode(errors="replace")

    def login(self, user="test"):
        request = urllib.request.Request(self.url + "/sky/issuer/token", method="POST", data=urllib.parse.urlencode(
            {"grant_type": "password", "username": user, "password": user, "scope": "openid profile email federated:id groups"}).encode())
        request.add_header("Authorization", "Basic Zmx5OlpteDU=")  # fly:Zmx5, upstream's client of that name
        with urllib.request.urlopen(request, timeout=10) as answer:
            self.token = json.loads(answer.read())["access_token"]

    def set_pipeline(self, name, config):
        """A pipeline in the place of any of that name."""
        self.ask("DELETE", f"/api/v1/teams/main/pipelines/{name}")
        status, answer = self.ask("PUT", f"/api/v1/teams/main/pipelines/{name}/config", json.dumps(config))
        if status not in (200, 201):
            raise AssertionError(f"set-pipeline {name}: {status} {answer}")
        self.ask("PUT", f"/api/v1/teams/main/pipelines/{name}/unpause")

    def trigger(self, job, pipeline="p"):
        status, build = self.ask("POST", f"/api/v1/teams/main/pipelines/{pipeline}/jobs/{job}/builds")
        return build if status == 200 else None

    def build(self, build):
        return self.ask("GET", f"/api/v1/builds/{build}")[1]

    def wait_for_end(self, build, seconds=60):
        def ended():
            row = self.build(build)
            return row if isinstance(row, dict) and row.get("status") not in ("pending", "started", None) else None
        try:
            return world.wait_for(f"build {build} ends", ended, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.build(build)}\n{self.watched.tail()}") from None

    def events(self, build, seconds=30):
        """The events of an ended build, in order."""
        request = urllib.request.Request(f"{self.url}/api/v1/builds/{build}/events", headers={"Authorization": f"Bearer {self.token}"})
        events, kind = [], None
        with urllib.request.urlopen(request, timeout=seconds) as stream:  # which the server leaves open
            for line in stream:
                name, _, value = line.decode(errors="replace").rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                    if kind == "end":
                        return events
                elif name == "data" and kind == "event":
                    events.append(json.loads(value))
        raise AssertionError(f"the log of build {build} has no end")

    def events_so_far(self, build, seconds):
        """What comes of the events within that time."""
        done = subprocess.run(["curl", "-sN", "-m", str(seconds), "-H", f"Authorization: Bearer {self.token}", f"{self.url}/api/v1/builds/{build}/events"],
                              capture_output=True)
        return done.stdout.decode(errors="replace")


class Case(unittest.TestCase):
    """With a server of its own."""

    @classmethod
    def make_server(cls):
        return Server(cls.folder, "--log-level", "debug")

    @classmethod
    def setUpClass(cls):
        world.enter(cls)
        cls.server = cls.make_server()
        cls.server.start()
        cls.addClassCleanup(cls.server.stop)
        cls.server.login()

    def start(self, name, *plan, says=None):
        """A build of a new pipeline's only job; once a step has said that word, if one is given."""
        self.server.set_pipeline(name, pipeline(job=list(plan)))
        build = self.server.trigger("job", name)["id"]
        if says:
            self.wait_for_text(build, says, 60)
        return build

    def wait_for_text(self, build, word, seconds=30):
        try:
            world.wait_for(f"build {build} says {word!r}", lambda: word in self.server.events_so_far(build, 0.5), seconds)
        except AssertionError as error:
            self.fail(f"{error}\n{self.server.events_so_far(build, 1)[-2000:]}\n{self.server.watched.tail()}")


def count_lines(lines, pause):
    """A script that prints numbered() lines, with a pause of so many seconds after each ten."""
    return f"i=1; while [ $i -le {lines} ]; do echo line $i of {lines}; [ $((i % 10)) = 0 ] && sleep {pause}; i=$((i + 1)); done"


def numbered(lines):
    return "".join(f"line {i} of {lines}\n" for i in range(1, lines + 1))


def texts(events):
    """Text by the step's id, in order."""
    found = {}
    for event in events:
        if event["event"] == "log":
            found.setdefault(event["data"]["origin"].get("id", ""), []).append(event["data"]["payload"])
    return {step: "".join(parts) for step, parts in found.items()}


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


IMAGE = {"resources": [{"name": "image", "type": "mock", "source": {"mirror_self": True}}]}


def task(name, script, **more):
    config = {"platform": "linux", "run": {"path": "sh", "args": ["-c", script]}}
    for key in ("inputs", "outputs"):
        if key in more:
            config[key] = [{"name": one} for one in more.pop(key)]
    return {"task": name, "image": "image", "config": config, **more}


def pipeline(**jobs):
    """A pipeline of jobs with these plans, each after a get of the image."""
    return {**IMAGE, "jobs": [{"name": name, "plan": [{"get": "image"}, *plan]} for name, plan in jobs.items()]}


def children(pid):
    """Live processes below, found by their parents."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        below = parents.get(queue.pop(), [])
        found += below
        queue += below
    return found
