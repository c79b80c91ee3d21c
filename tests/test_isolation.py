#!/usr/bin/env python3
"""What a hostile task may not do: every try runs as a real task through a real server, beside a control that succeeds where the
protection is off (the same program on the host, in a privileged task, or below a limit). `hostile.c` holds the tries.

Usage: test_isolation.py BUILD_FOLDER [--gtest_output=json:FILE]. Needs root. Runs in namespaces of its own; everything is bounded.
"""
import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tarfile
import time
import unittest
import urllib.error
import urllib.request

import harness
import world

HOSTILE = harness.BUILD / "tests/hostile"
GATEWAY = "10.80.0.1"
PORT = 7777
ABSTRACT = "pinion-isolation"
PROCESSES, FILES, LOG_MEGABYTES = 300, 5000, 12
# Nobody else's on this machine.
SLEEP = f"sleep {10_000_000 + os.getpid()}"
OTHER_SLEEP = f"sleep {20_000_000 + os.getpid()}"
THIRD_SLEEP = f"sleep {30_000_000 + os.getpid()}"
SLEEP_SEEN = SLEEP.replace(" ", "+")


def outcomes(text):
    """{try: "allowed" or "refused: …"} of what hostile.c has printed."""
    return {m[1]: m[2] for m in re.finditer(r"^(?:\[.*?\] )?([a-z-]+(?:=\S*)?) (?:\[.*?\] )?(allowed|refused: .*?)\r?$", text, re.MULTILINE)}


def on_host(*tries):
    return outcomes(world.run(HOSTILE, *tries).stdout)


def status_of(pid, field):
    return re.search(rf"^{field}:\s*(\S+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1]


def used_cpu(pid):
    """Seconds of CPU time that a process and its ended children have used."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pids_with(command_line):
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes().replace(b"\0", b" ").strip().decode(errors="replace") == command_line:
                found.append(int(entry.name))
        except OSError:
            pass  # it has ended meanwhile
    return found


class Isolation(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        world.enter(cls)
        cls.registry = cls.outside.start_registry()
        cls.outside.push_image("hostile", {"hostile": HOSTILE.read_bytes()}, modes={"hostile": 0o755})
        cls.server = world.Server(cls.folder, "--worker-container-processes", str(PROCESSES), "--worker-container-files", str(FILES),
                                  "--max-build-log-size", f"{LOG_MEGABYTES}M")
        cls.server.start()
        cls.addClassCleanup(cls.server.stop)
        (cls.folder / "fly").symlink_to(harness.BUILD / "pinion")
        cls.fly = world.Fly(cls.folder / "fly", cls.server, cls.folder / "home")
        cls.fly.login()
        cls.jobs = 0
        cls.secret = cls.folder / "host-secret"
        cls.secret.write_text("the host's own")
        cls.listen()
        cls.start_neighbour()
        cls.run_tries()

    @classmethod
    def listen(cls):
        """What a task could reach if nothing kept it off: a port on every address, and a socket without a path."""
        for listener, address in ((socket.socket(), ("0.0.0.0", PORT)), (socket.socket(socket.AF_UNIX), "\0" + ABSTRACT)):
            listener.bind(address)
            listener.listen(50)
            cls.addClassCleanup(listener.close)

    @classmethod
    def task(cls, *command, inputs=(), outputs=(), params=None, limits=None):
        config = {"platform": "linux", "image_resource": {"type": "registry-image", "source": {"repository": f"{cls.registry}/hostile", "insecure": True}},
                  "inputs": [{"name": name} for name in inputs], "outputs": [o if isinstance(o, dict) else {"name": o} for o in outputs],
                  "params": params or {}, "run": {"path": command[0], "args": list(command[1:])}}
        return {**config, "container_limits": limits} if limits else config

    @classmethod
    def trigger(cls, *plan):
        """Starts a build of these steps (task configurations are wrapped); returns its job."""
        cls.jobs += 1
        steps = [step if "run" not in step else {"task": f"step-{i}", "config": step} for i, step in enumerate(plan)]
        cls.fly.set_pipeline(f"p{cls.jobs}", {"resources": [], "jobs": [{"name": "job", "plan": steps}]})
        cls.fly("trigger-job", "-j", f"p{cls.jobs}/job")
        return f"p{cls.jobs}/job"

    @classmethod
    def log(cls, job):
        return cls.fly("watch", "-j", job, check=False).stdout

    @classmethod
    def build(cls, *plan, status="succeeded"):
        """Runs a build to that status, or to any end; returns its log."""
        job = cls.trigger(*plan)
        if status:
            cls.fly.wait_for_build(job, status=status, seconds=90)
        else:
            world.wait_for(f"{job} ends", lambda: cls.fly.builds(job)[0]["status"] not in ("pending", "started"), 90)
        return cls.log(job)

    @classmethod
    def start_neighbour(cls):
        """Another team's build, in a way: it serves a port, holds a secret, and waits."""
        cls.neighbour = cls.trigger(cls.task("sh", "-c", f"echo neighbours > out/secret; httpd -p 7000; cat /etc/hosts; exec {SLEEP}", outputs=["out"]))
        # Containers outlive the server.
        cls.addClassCleanup(lambda: world.wait_for("the neighbour is gone", lambda: not pids_with(SLEEP)))
        cls.addClassCleanup(cls.fly, "abort-build", "-j", cls.neighbour, "-b", "1")
        (cls.neighbour_pid,) = world.wait_for("the neighbour sleeps", lambda: pids_with(SLEEP), 60)
        (cls.neighbour_secret,) = (cls.folder / "state/worker/volumes/live").glob("*/volume/secret")
        inside = pathlib.Path(f"/proc/{cls.neighbour_pid}/root/etc/hosts").read_text()
        cls.neighbour_address = re.search(r"^(10\.\S+) ", inside, re.MULTILINE)[1]
        cls.supervisor_pid = int(status_of(status_of(cls.neighbour_pid, "PPid"), "PPid"))

    @classmethod
    def run_tries(cls):
        """All tries that need nothing around them, at once: in a task, in a privileged task, and on the host."""
        volume = cls.neighbour_secret
        cls.tries = [
            f"sees={SLEEP_SEEN}", f"signals={cls.neighbour_pid}", f"opens-pid={cls.neighbour_pid}", f"traces={cls.neighbour_pid}",
            f"reads-memory={cls.neighbour_pid}", f"lists-descriptors={cls.neighbour_pid}", f"signals={cls.supervisor_pid}",
            f"traces={cls.supervisor_pid}", f"reads-memory={cls.supervisor_pid}", "traces=1", "reads-memory=1", "lists-descriptors=1", "traces-child",
            f"reads={cls.secret}", f"reads={volume}", f"reads=/proc/1/root{cls.secret}", f"reads={cls.folder}/state/pinion.sqlite",
            f"reads={cls.folder}/state/worker/garden.sock", f"opens-by-handle={cls.secret.stat().st_ino}",
            f"connects={GATEWAY}:{PORT}", f"connects={world.SERVER}:{PORT}", "connects=127.0.0.1:8080", f"connects={GATEWAY}:8080",
            f"connects={cls.neighbour_address}:7000", f"connects={world.OUTSIDE}:{world.REGISTRY_PORT}", f"connects-abstract={ABSTRACT}",
            "reads=/proc/keys", "reads=/proc/timer_list", "reads=/sys/firmware", "writes=/proc/sys/kernel/core_pattern",
            "writes=/proc/sysrq-trigger", "writes=/sys/kernel/mm/transparent_hugepage/enabled", "writes=/sys/kernel/profiling",
            "writes=/sys/fs/cgroup/memory/cgroup.procs", "writes=/sys/fs/cgroup/pids/cgroup.procs", "writes=/sys/fs/cgroup/cgroup.procs",
            "mounts=/tmp", "mounts-cgroup=/tmp", "remounts=/etc/hosts", "unmasks=/proc/keys", "unshares", "unshares-mounts", "adds-key", "loads-bpf",
            "sets-host-name", "makes-device=/tmp/hostile-device"]
        log = cls.build(cls.task("/hostile", *cls.tries, "score", "who"))
        cls.in_task = outcomes(log)
        cls.task_log = log
        mild = [t for t in cls.tries if t.split("=")[0] in ("mounts", "mounts-cgroup", "remounts", "unshares-mounts", "makes-device", "sets-host-name", "writes")]
        cls.privileged = outcomes(cls.build({"task": "privileged", "privileged": True, "config": cls.task("/hostile", *mild)}))
        cls.host = on_host(*[t for t in cls.tries if t.split("=")[0] not in ("mounts", "mounts-cgroup", "remounts", "unmasks", "unshares-mounts")])

    def check_refused(self, *names, control, words=None):
        """Each of these tries is refused in the task, and allowed where the control ran (if the machine has what it needs)."""
        seen = 0
        for one in names:
            with self.subTest(one):
                self.assertIn(one, self.in_task, self.task_log)
                self.assertTrue(self.in_task[one].startswith("refused"), self.in_task[one])
                if words:
                    self.assertRegex(self.in_task[one], words)
                if control is not None and control.get(one) == "allowed":
                    seen += 1
        if control is not None:
            self.assertGreater(seen, 0, f"no control succeeded: {[control.get(one) for one in names]}")

    # --- Processes

    def test_other_processes_are_neither_seen_nor_signalled(self):
        pid = self.neighbour_pid
        self.check_refused(f"sees={SLEEP_SEEN}", control=self.host)
        self.check_refused(f"signals={pid}", f"opens-pid={pid}", f"signals={self.supervisor_pid}", control=self.host, words="No such process")

    def test_other_processes_are_not_traced_nor_read(self):
        for pid in (self.neighbour_pid, self.supervisor_pid):
            self.check_refused(f"traces={pid}", control=self.host)
            self.check_refused(f"reads-memory={pid}", control=self.host)
        self.check_refused(f"lists-descriptors={self.neighbour_pid}", control=self.host)

    def test_the_containers_own_init_is_not_traced(self):
        # Process 1 belongs to the same user; what protects it is its own doing. Tracing as such is allowed.
        self.check_refused("traces=1", "reads-memory=1", "lists-descriptors=1", control=None)
        self.assertEqual(self.in_task["traces-child"], "allowed")

    def test_killing_everything_kills_the_task_alone(self):
        self.build(self.task("/hostile", "kills-all"), self.task("true"))
        self.assertEqual(status_of(self.neighbour_pid, "Name"), "sleep")
        self.assertTrue(self.server.answers())
        # The control: within one container it reaches what runs there.
        log = self.build(self.task("sh", "-c", f"{THIRD_SLEEP} & /hostile kills-all; echo unreach''able"), status="failed")
        self.assertNotIn("unreachable", log)
        self.assertEqual(pids_with(THIRD_SLEEP), [])

    # --- Files

    def test_files_of_the_host_and_of_other_volumes_are_out_of_reach(self):
        self.check_refused(f"reads={self.secret}", control=self.host)
        self.check_refused(f"reads={self.neighbour_secret}", control=self.host)
        self.check_refused(f"reads=/proc/1/root{self.secret}", control=None, words="denied")
        self.check_refused(f"opens-by-handle={self.secret.stat().st_ino}", control=self.host, words="not permitted")

    def test_the_database_and_sockets_are_out_of_reach(self):
        self.check_refused(f"reads={self.folder}/state/pinion.sqlite", control=self.host)
        self.check_refused(f"reads={self.folder}/state/worker/garden.sock", control=None)
        self.check_refused("connects=127.0.0.1:8080", f"connects={GATEWAY}:8080", control=self.host)
        self.check_refused(f"connects={GATEWAY}:{PORT}", control=self.host)
        self.check_refused(f"connects={world.SERVER}:{PORT}", control=self.host)
        self.check_refused(f"connects-abstract={ABSTRACT}", control=self.host)

    def test_other_containers_are_out_of_reach(self):
        self.check_refused(f"connects={self.neighbour_address}:7000", control=self.host)

    def test_hermetic_tasks_have_no_network(self):
        there = f"connects={world.OUTSIDE}:{world.REGISTRY_PORT}"
        self.assertEqual(self.in_task[there], "allowed")
        log = self.build({"task": "hermetic", "hermetic": True, "config": self.task("/hostile", there, f"connects={GATEWAY}:{PORT}")})
        self.assertEqual(len(outcomes(log)), 2, log)
        for one, outcome in outcomes(log).items():
            self.assertTrue(outcome.startswith("refused"), f"{one}: {outcome}")

    # --- Kernel

    def test_proc_and_sys_are_masked_or_read_only(self):
        self.check_refused("reads=/proc/keys", "reads=/proc/timer_list", "reads=/sys/firmware", control=self.host)
        self.check_refused("writes=/proc/sys/kernel/core_pattern", "writes=/proc/sysrq-trigger", control=self.host)
        self.check_refused("writes=/sys/kernel/mm/transparent_hugepage/enabled", "writes=/sys/kernel/profiling", control=self.host)
        self.check_refused("writes=/sys/fs/cgroup/memory/cgroup.procs", "writes=/sys/fs/cgroup/pids/cgroup.procs", "writes=/sys/fs/cgroup/cgroup.procs",
                           control=self.privileged)

    def test_mounts_and_namespaces_are_refused(self):
        self.check_refused("mounts=/tmp", "mounts-cgroup=/tmp", "remounts=/etc/hosts", "unshares-mounts", control=self.privileged)
        self.check_refused("unmasks=/proc/keys", control=None)
        self.check_refused("unshares", "adds-key", "loads-bpf", "sets-host-name", control=self.host)

    def test_device_nodes_do_not_open(self):
        self.check_refused("makes-device=/tmp/hostile-device", control=self.privileged)

    def test_tasks_go_first_when_the_machines_memory_ends(self):
        self.assertIn("[score 500]", self.task_log)
        self.assertNotIn("[score 500]", world.run(HOSTILE, "score").stdout)

    # --- What crosses the border

    def test_setuid_files_are_nobodys_outside(self):
        job = self.trigger(self.task("sh", "-c", f"cp /hostile out/set-user-id; chmod 4755 out/set-user-id; exec {OTHER_SLEEP}", outputs=["out"]))
        world.wait_for("the file is there", lambda: pids_with(OTHER_SLEEP), 30)
        (made,) = (self.folder / "state/worker/volumes/live").glob("*/volume/set-user-id")
        self.assertEqual(made.stat().st_mode & 0o7777, 0o4755)
        control = self.folder / "setuid"
        shutil.copy(HOSTILE, control)
        control.chmod(0o4755)
        # The shell between: setpriv itself would still pass any folder.
        nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c", 'exec "$0" who']
        self.assertIn("[user 0]", world.run(*nobody, control).stdout)
        control.unlink()
        natural = made.parent.parent / "layer/upper/set-user-id"
        self.assertTrue(natural.exists())
        for path in (made, natural):
            self.assertNotIn("[user 0]", world.run(*nobody, path, check=False).stdout, path)
        self.fly("abort-build", "-j", job, "-b", "1")

    def test_symlinks_in_outputs_lead_nowhere_but_into_the_volume(self):
        links = f"ln -s {self.folder} out/up; ln -s {self.secret} out/file; ln -s ../../../../../../../../..{self.secret} out/far; ls -l out"
        loads = [{"try": {"load_var": f"stolen-{i}", "file": path, "format": "raw", "reveal": True}}
                 for i, path in enumerate(("out/up/host-secret", "out/file", "out/far", "out/own"))]
        log = self.build(self.task("sh", "-ec", f"{links}; echo own > out/within; ln -s within out/own", outputs=["out"]), *loads)
        self.assertEqual(re.findall(r"var (\S+) fetched", log), ["stolen-3"], log)
        # The control: who follows them on the host gets there.
        control = self.folder / "links"
        control.mkdir()
        (control / "up").symlink_to(self.folder)
        self.assertEqual((control / "up/host-secret").read_text(), "the host's own")

    def test_outputs_below_symlinked_inputs_stay_in_the_container(self):
        log = self.build(self.task("sh", "-ec", f"ln -s {self.folder} out/link", outputs=["out"]),
                         self.task("sh", "-c", "echo x > stolen-file; ls", inputs=["out"], outputs=[{"name": "stolen", "path": "out/link/deep"}]), status=None)
        self.assertFalse((self.folder / "deep").exists(), log)

    def test_links_in_archives_do_not_leave_the_volume(self):
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            def add(name, kind=tarfile.REGTYPE, target="", content=b""):
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname, entry.size = kind, target, len(content)
                tar.addfile(entry, io.BytesIO(content))
            add("link", tarfile.SYMTYPE, str(self.folder))
            add("link/escaped-1", content=b"x")
            add("../../../escaped-2", content=b"x")
            add(f"{self.folder}/escaped-3", content=b"x")
            add("hard", tarfile.LNKTYPE, str(self.secret))
            add("hard-far", tarfile.LNKTYPE, "link/host-secret")
        token = re.search(r"value: (\S+)", (self.fly.home / ".flyrc").read_text())[1]
        for name in ("whole", "hard", "hard-far", "link/escaped-1", "../../../escaped-2", f"{self.folder}/escaped-3"):
            body = archive.getvalue() if name == "whole" else self.only(archive, name)
            request = urllib.request.Request(f"{self.server.url}/api/v1/teams/main/artifacts?platform=linux", data=body, method="POST",
                                             headers={"Authorization": f"Bearer {token}", "Content-Type": "application/octet-stream"})
            try:
                urllib.request.urlopen(request, timeout=30).read()
            except urllib.error.HTTPError as error:
                self.assertIn(b"entry '", error.read())  # refused by name
            self.assertEqual(self.secret.stat().st_nlink, 1, name)
            self.assertEqual(self.secret.read_text(), "the host's own")
            self.assertEqual([p for p in self.folder.glob("escaped-*")] + [p for p in self.folder.parent.glob("escaped-*")], [], name)
        self.assertTrue(self.server.answers())
        # The control: a careless reader of the same archive makes the link.
        control = self.folder / "careless"
        control.mkdir()
        with tarfile.open(fileobj=io.BytesIO(self.only(archive, "hard"))) as tar:
            tar.extractall(control, **({"filter": "fully_trusted"} if hasattr(tarfile, "fully_trusted_filter") else {}))
        self.assertEqual(self.secret.stat().st_nlink, 2)
        shutil.rmtree(control)

    @staticmethod
    def only(archive, name):
        """The archive with its first symlink and that entry alone."""
        out = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(archive.getvalue())) as old, tarfile.open(fileobj=out, mode="w:gz") as new:
            for entry in old:
                if entry.name in ("link", name.lstrip("/"), name):
                    new.addfile(entry, old.extractfile(entry) if entry.isreg() else None)
        return out.getvalue()

    # --- Hogs

    def test_a_huge_environment_fails_by_name(self):
        self.assertIn("100000", self.build(self.task("sh", "-c", "printf %s \"$BIG\" | wc -c", params={"BIG": "x" * 100_000})))
        log = self.build(self.task("true", params={"BIG": "x" * 200_000}), status="errored")
        self.assertRegex(log, "(?i)argument list too long")
        self.assertTrue(self.server.answers())

    def test_a_fork_bomb_ends_at_its_limit(self):
        forks = int(re.search(r"forks (\d+) of 500", self.build(self.task("/hostile", "forks=500")))[1])
        self.assertTrue(PROCESSES * 0.9 < forks < PROCESSES, forks)
        self.assertIn("forks 500 of 500", world.run(HOSTILE, "forks=500").stdout)
        # One that never stops is ended by an abort, like any other task.
        job = self.trigger(self.task("sh", "-c", "bomb() { bomb | bomb & }; bomb; while :; do :; done"))
        world.wait_for("it bombs", lambda: pids_with("sh -c bomb() { bomb | bomb & }; bomb; while :; do :; done"), 30)
        self.fly("abort-build", "-j", job, "-b", "1")
        self.fly.wait_for_build(job, status="aborted", seconds=30)
        world.wait_for("nothing of it is left", lambda: not pids_with("sh -c bomb() { bomb | bomb & }; bomb; while :; do :; done"), 30)

    def test_a_memory_hog_is_killed_alone(self):
        limits = {"memory": "64MB"}
        self.assertNotIn("taken", self.build(self.task("/hostile", "takes=200", limits=limits), status="failed"))
        self.assertIn("200 MB taken", self.build(self.task("/hostile", "takes=200")))
        self.assertEqual(status_of(self.neighbour_pid, "Name"), "sleep")
        # All containers together have a limit of their own, below the machine's memory.
        parent = pathlib.Path("/sys/fs/cgroup/memory") / self.cgroup_of(self.neighbour_pid).parent.relative_to("/") / "memory.limit_in_bytes"
        if parent.exists():
            self.assertLess(int(parent.read_text()), 0.95 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE"))

    @staticmethod
    def cgroup_of(pid):
        for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if controllers in ("memory", ""):
                return pathlib.PurePosixPath(path)
        raise AssertionError("no cgroup")

    def test_an_inode_hog_is_ended_by_name(self):
        log = self.build(self.task("sh", "-c", f"mkdir out/d; /hostile files=out/d:{FILES * 2}; sleep 60", outputs=["out"]), status="errored")
        self.assertIn(f"more than {FILES} files, its limit (--worker-container-files)", log)
        self.assertIn(f"files {FILES // 2}", self.build(self.task("sh", "-c", f"mkdir out/d; /hostile files=out/d:{FILES // 2}; sleep 2", outputs=["out"])))
        self.assertEqual(status_of(self.neighbour_pid, "Name"), "sleep")

    def test_a_flood_of_output_ends_at_the_logs_limit(self):
        before = self.rss()
        started = time.monotonic()
        job = self.trigger(self.task("/hostile", "prints=10240"))
        world.wait_for("the build errs", lambda: self.fly.builds(job)[0]["status"] == "errored", 60)
        self.flood = time.monotonic() - started
        worker_output = sum(f.stat().st_blocks * 512 for f in (self.folder / "state/worker/containers").glob("*/processes/*/stdout"))
        self.assertLess(worker_output, 150 << 20)
        stored = sum(f.stat().st_size for f in (self.folder / "state/logs").rglob("*") if f.is_file())
        self.assertLess(stored, 2 * LOG_MEGABYTES << 20)
        self.assertLess(self.rss() - before, 300 << 20)
        request = urllib.request.Request(f"{self.server.url}/api/v1/builds/{self.fly.builds(job)[0]['id']}/events",
                                         headers={"Authorization": f"Bearer {self.token()}"})
        with urllib.request.urlopen(request, timeout=30) as stream:
            # The client is the one who closes.
            events = "".join(iter(lambda: stream.readline().decode(), "event: end\n"))
        self.assertIn(f"the build has printed more than {LOG_MEGABYTES}M", events[-5000:])
        # Below the limit everything is there: the control.
        self.assertGreater(len(self.build(self.task("/hostile", "prints=1"))), 1_000_000)

    def token(self):
        return re.search(r"value: (\S+)", (self.fly.home / ".flyrc").read_text())[1]

    def rss(self):
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.server.process.pid}/status").read_text())[1]) << 10

    def test_a_busy_neighbour_takes_no_more_than_its_share(self):
        # 16 processes that spin against one that works: the kernel shares between containers, not processes.
        hog = self.trigger(self.task("/hostile", "spins=16:60000"))
        world.wait_for("the hog spins", lambda: len(pids_with("/hostile spins 16:60000")) == 17, 30)
        self.trigger(self.task("/hostile", "works=60000"))
        (worker,) = world.wait_for("the other works", lambda: pids_with("/hostile works 60000"), 30)
        hogs = pids_with("/hostile spins 16:60000")
        share = self.share(worker, hogs, 2)
        # Two thirds where the kernel weighs a group's load CPU by CPU, all of it when it moves processes.
        self.assertGreater(share, 0.6)
        self.fly("abort-build", "-j", f"p{self.jobs}/job", "-b", "1")
        self.fly("abort-build", "-j", hog, "-b", "1")
        # The control: without containers the same 16 take nearly all.
        hog = subprocess.Popen([HOSTILE, "spins=16:20000"], stdout=subprocess.DEVNULL)
        one = subprocess.Popen([HOSTILE, "works=60000"], stdout=subprocess.DEVNULL)
        try:
            world.wait_for("they run", lambda: len(pids_with(f"{HOSTILE} spins 16:20000")) == 17)
            self.assertLess(self.share(one.pid, pids_with(f"{HOSTILE} spins 16:20000"), 1), 0.4)
        finally:
            for pid in pids_with(f"{HOSTILE} spins 16:20000"):
                os.kill(pid, signal.SIGKILL)
            one.kill()
            one.wait()
            hog.wait()

    @staticmethod
    def share(worker, hogs, seconds):
        """What the worker got of its fair part of the CPU time: as much as the hogs together, but one CPU at most."""
        def look():
            return time.monotonic(), used_cpu(worker), sum(used_cpu(pid) for pid in hogs)
        before = look()
        time.sleep(seconds)  # the time that is measured
        after = look()
        passed, worked, spun = (b - a for a, b in zip(before, after))
        share = worked / min(passed, (worked + spun) / 2)
        print(f"share {share:.2f} (worked {worked:.2f} s, spun {spun:.2f} s of {passed:.2f} s)")
        return share


if __name__ == "__main__":
    world.enter_own_namespaces()
    harness.main()
