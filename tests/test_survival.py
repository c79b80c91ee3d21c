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

# As the events have what was printed; the task's script, which they have too, has no line's end there.
READY = r"ready\n"
LINES = 400


def counting(folder, lines, pause):
    """Prints who it is, numbered lines, and who it still is; counts its starts in a volume that outlives the container."""
    return f"""
me=$(cat /proc/sys/kernel/random/uuid)
echo $me >> {folder}/starts
echo start $me
{storm.count_lines(lines, pause)}
echo end $me
"""


class Case(storm.Case):
    def run_job(self, name, *plan, seconds=60):
        """(row, events) of a build of a new pipeline's only job."""
        self.server.set_pipeline(name, storm.pipeline(job=list(plan)))
        build = self.server.trigger("job", name)
        row = self.server.wait_for_end(build["id"], seconds)
        return row, self.server.events(build["id"])


class KilledServer(Case):
    """Server and worker are one process here; supervisors are processes of their own."""

    # Stages of steps (debug lines of the engine), and other lines that come at moments worth dying at.
    MARKS = ['"stage":"worker chosen"', '"stage":"rows written"', '"stage":"volumes made"', '"stage":"container created"',
             '"stage":"process started"', '"stage":"first output"', '"stage":"process ended"', '"stage":"done"', '"stage":"concluded"',
             '"message":"build runs"', '"message":"build ended"', '"message":"containers taken up"', '"message":"lease acquired"', '"message":"ready"']

    def test_every_byte_is_there_once(self):
        dice = random.Random(SEED)
        print(f"seed {SEED}, {KILLS} kills", flush=True)
        a, b, c = (storm.task(name, counting(name, LINES, 0.05), outputs=[name]) for name in "abc")
        plan = [a, {"in_parallel": [b, c]},
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
            self.assertEqual(storm.digest(numbers), storm.digest(storm.numbered(LINES)), numbers)
        self.assertIn("3\ntold\n", logs.values(), "starts of three tasks")
        for kind in ("initialize-task", "start-task", "finish-task"):
            seen = [e["data"]["origin"]["id"] for e in events if e["event"] == kind]
            self.assertEqual(len(seen), 4, f"{kind} of each of the four tasks")
            self.assertEqual(len(set(seen)), 4, f"{kind} once for each task")


class TwoServers(unittest.TestCase):
    """Two servers on one database. Containers run on the second one's worker, which both reach; `first` runs the builds."""

    LINES = 600

    @classmethod
    def setUpClass(cls):
        world.enter(cls)
        cls.sql = world.Postgres(cls)
        options = ["--log-level", "debug", "--build-log-dir", str(cls.folder / "logs")]
        # Nothing is placed on the first one's worker: no step asks for its tag.
        cls.first = storm.Server(cls.folder, *options, "--worker-name", "first", "--worker-tag", "first", "--worker-containerd-network-pool",
                                 "10.81.0.0/16", database=cls.sql.url, port=8081, name="first")
        cls.second = storm.Server(cls.folder, *options, "--worker-name", "second", database=cls.sql.url, port=8082, name="second")
        for server in (cls.second, cls.first):
            server.start()
            cls.addClassCleanup(server.stop)
        for server in (cls.first, cls.second):
            server.login()
        cls.node = (cls.folder / "first" / "node").read_text()

    def count_slowly(self, pause):
        return [storm.task("count", counting("out", self.LINES, pause), outputs=["out"]), storm.task("tell", "cat out/starts | wc -l; echo told", inputs=["out"])]

    def start_on_first(self, job):
        """A build that the first server runs; which of the two starts one is a race."""
        for _ in range(20):
            build = self.first.trigger(job)["id"]
            owner = world.wait_for("it starts", lambda: self.sql(f"select owner_node from builds where id = {build} and owner_node is not null"))
            if owner == self.node:
                return build
            self.first.ask("PUT", f"/api/v1/builds/{build}/abort")
        self.fail("the first server starts no build")

    def check_count(self, server, build):
        self.assertEqual(server.wait_for_end(build, 120)["status"], "succeeded", storm.texts(server.events(build)))
        events = server.events(build)
        logs = list(storm.texts(events).values())
        text = next(text for text in logs if text.startswith("start "))
        first, rest = text.split("\n", 1)
        numbers, last = rest.rsplit("end ", 1)
        self.assertEqual(first.split()[1], last.strip(), "the process that ended is not the one that began")
        self.assertEqual(storm.digest(numbers), storm.digest(storm.numbered(self.LINES)), numbers)
        self.assertIn("1\ntold\n", logs, "the container was started once")
        self.assertEqual([e["data"]["status"] for e in events if e["event"] == "status"], ["started", "succeeded"])
        for kind in ("initialize-task", "start-task", "finish-task"):
            self.assertEqual(len([e for e in events if e["event"] == kind]), 2, kind)
        return storm.digest(text)

    def test_a_paused_one_is_taken_over_and_what_it_writes_is_refused(self):
        first, second = self.first, self.second
        first.set_pipeline("p", storm.pipeline(
            count=self.count_slowly(0.6),
            short=[storm.task("wait", "while [ ! -e /tmp/go ]; do sleep 0.1; [ $((n = n + 1)) -gt 40 ] && exit 0; done")]))
        build = self.start_on_first("count")
        world.wait_for("it prints", lambda: "line 20 of" in first.events_so_far(build, 0.5))
        init = {path.parent.name: path.read_text() for path in second.containers.glob(f"b{build}-*/pid")}
        self.assertTrue(init)

        # The end of another build waits in a transaction of the first server's while that is stopped.
        short = self.start_on_first("short")
        held = self.sql.hold("select id from jobs where name = 'short' for update")
        world.wait_for("the end of the short one waits", lambda: self.sql("select count(*) from pg_stat_activity where wait_event_type = 'Lock'") != "0")
        time.sleep(1)
        old = int(self.sql(f"select owner_epoch from builds where id = {build}"))
        first.process.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        since = second.watched.end()
        self.sql.let_go(held)
        self.assertTrue(second.watched.wait("took over what a dead node held", since, 60), second.watched.tail())
        print(f"taken over after {time.monotonic() - stopped:.1f} s", flush=True)
        self.assertNotEqual(self.sql(f"select owner_node from builds where id = {build}"), self.node)
        world.wait_for("the second one follows it", lambda: second.watched.wait('"stage":"first output"', since, 20))
        handle = next(iter(init))
        self.assertEqual(self.worker_answers(handle, old), "409")

        since = first.watched.end()
        first.process.send_signal(signal.SIGCONT)
        refused = first.watched.wait("the build's end was refused here", since, 20)
        self.assertTrue(refused, first.watched.tail())
        self.assertIn(f"no longer holds lease {old}", refused)
        self.assertTrue(first.watched.wait('"message":"lease acquired"', since, 20), first.watched.tail())

        digests = {self.check_count(second, build), self.check_count(first, build)}
        self.assertEqual(len(digests), 1)
        self.assertEqual(init[handle], self.container_init_seen(handle, init[handle]))
        for server in (first, second):
            self.assertEqual(server.wait_for_end(short, 60)["status"], "succeeded")
            self.assertEqual([e["data"]["status"] for e in server.events(short) if e["event"] == "status"], ["started", "succeeded"])
        self.assertEqual(self.sql(f"select count(*) from changes where kind = 'build.finished' and object_id in ({build}, {short})"), "2")
        # It goes on, under a later epoch.
        after = self.start_on_first("short")
        self.assertGreater(int(self.sql(f"select owner_epoch from builds where id = {after}")), old)
        self.assertEqual(first.wait_for_end(after)["status"], "succeeded")

    def worker_answers(self, handle, epoch):
        """The status of a call about a container in that epoch's name."""
        return world.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--unix-socket", self.second.state / "worker/garden.sock",
                         "-H", f"X-Pinion-Epoch: {epoch}", f"http://worker/containers/{handle}/properties").stdout

    def container_init_seen(self, handle, otherwise):
        path = self.second.containers / handle / "pid"
        return path.read_text() if path.exists() else otherwise

    def test_its_worker_is_away(self):
        self.first.set_pipeline("p", storm.pipeline(count=self.count_slowly(0.1)))
        build = self.start_on_first("count")
        world.wait_for("it prints", lambda: "line 20 of" in self.first.events_so_far(build, 0.5))
        self.second.kill()
        world.wait_for("it says for what it waits", lambda: "waiting for the worker: " in self.first.events_so_far(build, 0.5), 20)
        self.assertEqual(self.first.build(build)["status"], "started")
        self.second.start()
        self.check_count(self.first, build)

    def test_either_is_killed(self):
        """The second one has the worker, the first one runs the builds: the death of either is not the other's."""
        kills = max(6, KILLS // 4)
        dice = random.Random(SEED)
        self.first.set_pipeline("p", storm.pipeline(count=self.count_slowly(0.05)))
        builds, killed = [], {"first": 0, "second": 0}
        for _ in range(kills):
            row = self.first.build(builds[-1]) if builds else None
            if not builds or isinstance(row, dict) and row["status"] not in ("pending", "started"):
                build = self.first.trigger("count")
                builds += [build["id"]] if build else []
            name, server = dice.choice([("first", self.first), ("second", self.second)])
            mark = dice.choice(KilledServer.MARKS[:9])
            server.watched.wait(mark, server.watched.end(), dice.uniform(0.2, 1.5))
            server.kill()
            killed[name] += 1
            time.sleep(dice.choice([0, 0, 0.3, 1]))
            server.start()
        for build in builds:
            self.check_count(self.first, build)
        print(f"{killed} kills over {len(builds)} builds, seed {SEED}", flush=True)


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
        build = self.start("killed", {"ensure": storm.task("after", "echo ensured"), "on_error": storm.task("cure", "echo cured"),
                                          **storm.task("wait", "echo before; echo ready; sleep 1000 & sleep 1000")}, says=READY)
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
        build = self.start("down", {"ensure": storm.task("after", "echo ensured"), **storm.task("wait", "echo ready; sleep 1000")}, says=READY)
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
