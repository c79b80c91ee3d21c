#!/usr/bin/env python3
"""Nothing is lost, doubled or left behind, whatever is killed, stopped, filled or flooded.

Usage: test_survival.py BUILD_FOLDER [--gtest_output=json:FILE]. Needs root. Runs in namespaces of its own.
STORM_KILLS (25) and STORM_SEED (the clock's) say how hard: `make test-storm`.
"""
import concurrent.futures
import os
import pathlib
import random
import signal
import time
import unittest

import harness
import storm
import world

KILLS = int(os.environ.get("STORM_KILLS", "25"))
SEED = int(os.environ.get("STORM_SEED", str(int(time.time()))))

LINES = 400

# Prints who it is, numbered lines, and who it still is; counts its starts in a volume that outlives the container.
COUNTING = f"""
me=$(cat /proc/sys/kernel/random/uuid)
echo $me >> %s/starts
echo start $me
i=1
while [ $i -le {LINES} ]; do
  echo line $i of {LINES}
  [ $((i % 10)) = 0 ] && sleep 0.05
  i=$((i + 1))
done
echo end $me
"""
NUMBERED = "".join(f"line {i} of {LINES}\n" for i in range(1, LINES + 1))


class Case(unittest.TestCase):
    """With a server of its own on SQLite."""

    OPTIONS = ["--log-level", "debug"]

    @classmethod
    def setUpClass(cls):
        harness.require_root()
        cls.folder = world.temporary_folder(cls)
        cls.outside = world.Outside(cls.folder)
        cls.addClassCleanup(cls.outside.stop)
        cls.server = storm.Server(cls.folder, *cls.OPTIONS)
        cls.server.start()
        cls.addClassCleanup(cls.server.stop)
        cls.server.login()

    def run_job(self, name, *plan, seconds=60):
        """(row, events) of a build of a new pipeline's only job."""
        self.server.set_pipeline(name, storm.pipeline(job=list(plan)))
        build = self.server.trigger("job", name)
        row = self.server.wait_for_end(build["id"], seconds)
        return row, self.server.events(build["id"])

    def start_job(self, name, *plan, says="ready"):
        """A build of a new pipeline's only job, once a step has said that word."""
        self.server.set_pipeline(name, storm.pipeline(job=list(plan)))
        build = self.server.trigger("job", name)
        self.wait_for_text(build["id"], says)
        return build["id"]

    def wait_for_text(self, build, word, seconds=30):
        world.wait_for(f"build {build} says {word!r}", lambda: word in self.server.events_so_far(build, 0.5), seconds)


class KilledServer(Case):
    """Server and worker are one process here; supervisors are processes of their own."""

    # Stages of steps (debug lines of the engine), and other lines that come at moments worth dying at.
    MARKS = ['"stage":"worker chosen"', '"stage":"rows written"', '"stage":"volumes made"', '"stage":"container created"',
             '"stage":"process started"', '"stage":"first output"', '"stage":"process ended"', '"stage":"done"', '"stage":"concluded"',
             '"message":"build runs"', '"message":"build ended"', '"message":"containers taken up"', '"message":"lease acquired"', '"message":"ready"']

    def test_every_byte_is_there_once(self):
        dice = random.Random(SEED)
        print(f"seed {SEED}, {KILLS} kills", flush=True)
        plan = [storm.task("a", COUNTING.replace("%s", "a"), outputs=["a"]), {"in_parallel": [storm.task("b", COUNTING.replace("%s", "b"), outputs=["b"]),
                                                                                  storm.task("c", COUNTING.replace("%s", "c"), outputs=["c"])]},
                storm.task("tell", "cat a/starts b/starts c/starts | wc -l; echo told", inputs=["a", "b", "c"])]
        self.server.set_pipeline("p", storm.pipeline(count=plan))
        self.builds, self.open, self.inits, self.kinds = [], None, {}, {}
        kills = 0
        while kills < KILLS:
            if self.server.process.poll() is None:
                self.keep_one_running()
            kind = self.live_until_a_moment(dice)
            if self.server.process.poll() is not None:
                self.fail(f"the server ended by itself with {self.server.process.returncode} ({kind}):\n{self.server.watched.tail()}")
            self.server.kill()
            kills += 1
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            self.note_containers()
            self.server.spawn()
            if dice.random() < 0.15:  # again, while it starts
                time.sleep(dice.uniform(0, 0.5))
                self.server.kill()
                kills += 1
                self.kinds["start"] = self.kinds.get("start", 0) + 1
                self.server.spawn()
            if dice.random() < 0.8 and not self.server.watched.wait('"message":"ready"', self.server.begun, 30):
                self.fail("the server does not come up:\n" + self.server.watched.tail())
        world.wait_for("the server is up", lambda: self.server.ask("GET", "/api/v1/info")[0] == 200, 60)
        for build in self.builds:
            self.check_build(build)
        rows = self.server.ask("GET", "/api/v1/teams/main/pipelines/p/jobs/count/builds?limit=1000")[1]
        self.assertGreaterEqual(len(rows), len(self.builds))
        for row in rows:  # also those whose trigger's answer was lost
            if row["id"] not in self.builds:
                self.check_build(row["id"])
        again = {handle: pids for handle, pids in self.inits.items() if len(pids) > 1}
        self.assertEqual(again, {}, "containers that were started more than once")
        print(f"{kills} kills over {len(rows)} builds, {len(self.inits)} containers seen alive at a kill: {self.kinds}", flush=True)

    def keep_one_running(self):
        if self.open:
            row = self.server.build(self.open)
            if not isinstance(row, dict) or row["status"] in ("pending", "started"):
                return
            self.open = None
        build = self.server.trigger("count")
        if build:
            self.open = build["id"]
            self.builds.append(self.open)

    def live_until_a_moment(self, dice):
        """Returns when it is time to die, and why then."""
        if dice.random() < 0.35:
            time.sleep(dice.uniform(0, 1.2))
            return "any time"
        mark = dice.choice(self.MARKS)
        start = self.server.begun if "message" in mark else self.server.watched.end()
        found = self.server.watched.wait(mark, start, 2)
        time.sleep(dice.uniform(0, 0.004))
        return mark.split(":")[1].strip('"') if found else "any time"

    def note_containers(self):
        """Which process is init of which container: it must stay the same one."""
        for path in self.server.containers.glob("b*/pid"):
            try:
                pid = path.read_text().strip()
                if pid and os.path.exists(f"/proc/{pid}"):
                    self.inits.setdefault(path.parent.name, set()).add(pid)
            except OSError:
                pass

    def check_build(self, build):
        # A check that was killed holds its claim for 90 s, and what was triggered waits for it.
        row = self.server.wait_for_end(build, 180)
        events = self.server.events(build)
        logs = storm.texts(events)
        self.assertEqual(row["status"], "succeeded", f"build {build}: {row}\n{logs}\n{[e for e in events if e['event'] == 'error']}\n{self.server.watched.tail(80)}")
        self.assertEqual([e["data"]["status"] for e in events if e["event"] == "status"], ["started", "succeeded"])
        counted = [text for text in logs.values() if text.startswith("start ")]
        self.assertEqual(len(counted), 3, logs)
        for text in counted:
            first, numbers, last = text.split("\n", 1)[0], text.split("\n", 1)[1].rsplit("end ", 1)[0], text.strip().rsplit("\n", 1)[1]
            self.assertEqual(first.split()[1], last.split()[1], "the process that ended is not the one that began")
            self.assertEqual(storm.digest(numbers), storm.digest(NUMBERED), numbers)
        self.assertIn("3\ntold\n", logs.values(), "starts of three tasks")
        for kind in ("initialize-task", "start-task", "finish-task"):
            seen = [e["data"]["origin"]["id"] for e in events if e["event"] == kind]
            self.assertEqual(len(seen), 4, f"{kind} of each of the four tasks")
            self.assertEqual(len(set(seen)), 4, f"{kind} once for each task")


class LongOutput(Case):
    def test_what_the_log_has_for_good_takes_no_disk_twice(self):
        self.server.set_pipeline("long", storm.pipeline(job=[storm.task("print", "yes 0123456789012345678901234567890 | head -c 60000000; sleep 1000")]))
        build = self.server.trigger("job", "long")["id"]

        def log():
            found = [path.stat() for path in self.server.state.glob(f"worker/containers/b{build}-*/processes/*/stdout")]
            return next((status for status in found if status.st_size == 60000000), None)

        world.wait_for("all is printed", log, 60)
        world.wait_for("most of it is freed", lambda: log().st_blocks * 512 < 40000000, 10)
        self.server.ask("PUT", f"/api/v1/builds/{build}/abort")
        self.assertEqual(self.server.wait_for_end(build)["status"], "aborted")


class KilledSupervisor(Case):
    def supervisors(self, word):
        """(supervisor, container's handle) of running containers whose handle has that in it."""
        found = []
        for path in self.server.containers.glob(f"*{word}*/pid"):
            init = path.read_text().strip()
            if init and os.path.exists(f"/proc/{init}"):
                parent = int(pathlib.Path(f"/proc/{init}/stat").read_text().rsplit(")", 1)[1].split()[1])
                found.append((parent, path.parent))
        return found

    def left_of(self, handle):
        """What is left of a container on the machine."""
        place = f"{self.server.containers.parent.name}/{handle}"
        left = [f"process {entry.name}" for entry in pathlib.Path("/proc").iterdir()
                if entry.name.isdigit() and place in self.cgroup_of(entry)]
        for hierarchy in ["", *os.listdir("/sys/fs/cgroup")]:
            path = pathlib.Path("/sys/fs/cgroup") / hierarchy / "pinion" / place
            left += [str(path)] if path.exists() else []
        left += [str(path) for path in (self.server.containers.parent / "runtime" / handle, self.server.containers / handle) if path.exists()]
        left += [line for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines() if f"/containers/{handle}/" in line]
        return left

    @staticmethod
    def cgroup_of(entry):
        try:
            return (entry / "cgroup").read_text()
        except OSError:
            return ""

    def test_its_step_errs_and_nothing_is_left(self):
        build = self.start_job("killed", {"ensure": storm.task("after", "echo ensured"), "on_error": storm.task("cure", "echo cured"),
                                          **storm.task("wait", "echo before; echo ready; sleep 1000 & sleep 1000")})
        alive = [(pid, folder) for pid, folder in self.supervisors(f"b{build}-")
                 if any("sleep 1000" in self.command_of(child) for child in storm.children(pid))]
        self.assertEqual(len(alive), 1, alive)
        pid, folder = alive[0]
        below = storm.children(pid)
        self.assertGreaterEqual(len(below), 3, below)
        os.kill(pid, signal.SIGKILL)
        killed = time.monotonic()
        world.wait_for("the step errs", lambda: '"event":"error"' in self.server.events_so_far(build, 0.3), 10)
        took = time.monotonic() - killed
        row = self.server.wait_for_end(build, 30)
        events = self.server.events(build)
        errors = [e["data"]["message"] for e in events if e["event"] == "error"]
        print(f"errs after {took:.2f} s: {errors}", flush=True)
        self.assertLess(took, 2)
        self.assertEqual(row["status"], "errored")
        self.assertEqual(len(errors), 1)
        self.assertRegex(errors[0], "supervisor of container .* was killed")
        said = "".join(storm.texts(events).values())
        for word in ("before\nready\n", "cured", "ensured"):
            self.assertIn(word, said)
        world.wait_for("its processes end", lambda: not [p for p in below if os.path.exists(f"/proc/{p}")], 5)
        self.assert_nothing_is_left(folder.name)

    @staticmethod
    def command_of(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            return ""

    def test_it_dies_while_the_server_is_down(self):
        build = self.start_job("down", {"ensure": storm.task("after", "echo ensured"), **storm.task("wait", "echo ready; sleep 1000")})
        pid, folder = [(pid, folder) for pid, folder in self.supervisors(f"b{build}-")
                       if any("sleep 1000" in self.command_of(child) for child in storm.children(pid))][0]
        self.server.kill()
        os.kill(pid, signal.SIGKILL)
        self.server.start()
        row = self.server.wait_for_end(build, 30)
        events = self.server.events(build)
        self.assertEqual(row["status"], "errored")
        self.assertRegex("".join(e["data"]["message"] for e in events if e["event"] == "error"), "supervisor of container .* was killed")
        said = "".join(storm.texts(events).values())
        self.assertEqual(said.count("ready\n"), 1)
        self.assertIn("ensured", said)
        self.assert_nothing_is_left(folder.name)

    def assert_nothing_is_left(self, handle):
        try:
            world.wait_for("nothing is left", lambda: not self.left_of(handle), 5)
        except AssertionError:
            self.fail(f"left: {self.left_of(handle)}")


class Flood(Case):
    def test_200_triggers_within_a_second(self):
        self.server.set_pipeline("flood", {**storm.IMAGE, "jobs": [{"name": "job", "plan": [{"get": "image"}]}]})

        def trigger(_):
            return self.server.ask("POST", "/api/v1/teams/main/pipelines/flood/jobs/job/builds", timeout=60)

        started = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(16) as clients:
            answers = list(clients.map(trigger, range(200)))
        took = time.monotonic() - started
        print(f"200 triggers took {took:.2f} s", flush=True)
        self.assertEqual({status for status, _ in answers}, {200}, [a for a in answers if a[0] != 200][:3])
        ids = {build["id"] for _, build in answers}
        self.assertEqual(len(ids), 200)
        world.wait_for("every build ends", lambda: not [b for b in self.builds() if b["status"] in ("pending", "started")], 240)
        rows = self.builds()
        self.assertEqual({row["id"] for row in rows}, ids)
        self.assertEqual({row["status"] for row in rows}, {"succeeded"})
        for build in sorted(ids)[::20]:
            statuses = [e["data"]["status"] for e in self.server.events(build) if e["event"] == "status"]
            self.assertEqual(statuses, ["started", "succeeded"])
        self.assertLess(took, 10)  # 0.6 s on a quiet machine

    def builds(self):
        return self.server.ask("GET", "/api/v1/teams/main/pipelines/flood/jobs/job/builds?limit=1000")[1]


if __name__ == "__main__":
    world.enter_own_namespaces()
    harness.main()
