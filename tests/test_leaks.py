#!/usr/bin/env python3
"""The count of what a server leaves: one planted leak of each kind is found and named, and nothing else.

Usage: test_leaks.py BUILD_FOLDER [--gtest_output=json:FILE]
"""
import http.server
import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile
import threading
import unittest

import harness
import leaks
import world

# Stands in for the server: does one thing for each line that it is told.
STAND_IN = """
import os, sys, threading
kept = []
lock = open(sys.argv[1])
never = threading.Event()
for line in sys.stdin:
    word, _, rest = line.strip().partition(" ")
    if word == "open":
        kept.append(open(rest))
    elif word == "zombie":
        if os.fork() == 0:
            os._exit(0)
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    elif word == "wait":
        os.wait()
    elif word == "thread":
        thread = threading.Thread(target=never.wait)
        thread.start()
        kept.append(thread)
    elif word == "allocate":
        kept.append(os.urandom(int(rest)))
    elif word == "drop":
        never.set()
        for thing in kept:
            if hasattr(thing, "join") and not isinstance(thing, bytes):
                thing.join()
            elif hasattr(thing, "close"):
                thing.close()
        kept.clear()
        never = threading.Event()
    print("done", flush=True)
"""


class LeaksTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        harness.require_root()
        folder = tempfile.TemporaryDirectory(prefix="pinion-leaks-")
        cls.addClassCleanup(folder.cleanup)
        cls.state = pathlib.Path(folder.name) / "state"
        cls.work = cls.state / "worker"
        for path in ("logs/0/0", "worker/containers", "worker/run", *(f"worker/volumes/{part}" for part in ("live", "init", "dead", "shared"))):
            (cls.state / path).mkdir(parents=True)
        (cls.state / "lock").touch()
        cls.temporary = pathlib.Path(folder.name) / "tmp"
        cls.temporary.mkdir()
        cls.rows = sqlite3.connect(cls.state / "pinion.sqlite")
        cls.rows.execute("create table builds (id integer)")
        cls.rows.commit()
        if pathlib.Path("/run/netns").is_dir():
            world.run("mount", "-t", "tmpfs", "none", "/run/netns")
        world.run("ip", "link", "set", "lo", "up")
        cls.server = subprocess.Popen([sys.executable, "-c", STAND_IN, str(cls.state / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      text=True, env={**os.environ, "TMPDIR": str(cls.temporary)})
        cls.addClassCleanup(cls.end_server)
        count = leaks.Count(cls.state, cls.server.pid)
        cls.run_dir = count.run_dir
        cls.cgroup = leaks.cgroup_roots()[0] / "pinion" / count.identity
        cls.run_dir.mkdir(parents=True)
        cls.addClassCleanup(cls.run_dir.rmdir)
        cls.cgroup.mkdir(parents=True)
        cls.addClassCleanup(cls.cgroup.rmdir)

    @classmethod
    def end_server(cls):
        cls.server.kill()
        cls.server.communicate()

    def tell(self, line):
        self.server.stdin.write(line + "\n")
        self.server.stdin.flush()
        self.assertEqual(self.server.stdout.readline(), "done\n")

    url = None

    def count(self):
        return leaks.Count(self.state, url=self.url).to_json()

    def check(self, plant, remove, expected):
        """`expected`: what is named, by kind."""
        before = self.count()
        self.assertEqual(leaks.compare(before, self.count()), [])
        plant()
        try:
            found = {leak.kind: str(leak) for leak in leaks.compare(before, self.count())}
        finally:
            remove()
        self.assertEqual(set(found), set(expected))
        for kind, name in expected.items():
            self.assertIn(name, found[kind])
        self.assertEqual([str(leak) for leak in leaks.compare(before, self.count())], [])

    def check_folder(self, path, expected):
        self.check(lambda: path.mkdir(parents=True), path.rmdir, expected)

    def check_file(self, path, expected):
        self.check(path.touch, path.unlink, expected)

    def check_process(self, start, expected):
        """`start` returns a process that has said something once it is where it shall be."""
        started = []

        def plant():
            started.append(start())
            started[0].stdout.readline()

        def remove():
            started[0].kill()
            started[0].communicate()
        self.check(plant, remove, expected)

    @staticmethod
    def shell(script, *words, **options):
        return subprocess.Popen(["bash", "-c", script, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)

    def test_the_server_is_found_by_its_folder(self):
        self.assertEqual(leaks.Count(self.state).pid, self.server.pid)
        self.assertIsNone(leaks.Count(self.temporary).pid)

    def test_cgroup(self):
        self.check_folder(self.cgroup / "planted", {"cgroups": "planted"})

    def test_process_of_a_container(self):
        folder = self.cgroup / "planted"
        folder.mkdir()
        self.addCleanup(folder.rmdir)
        self.check_process(lambda: self.shell(f"echo $$ > {folder}/cgroup.procs; echo; read"), {"processes": "planted: bash", "network namespaces": "of planted"})

    def test_process_outside_of_containers(self):
        self.check_process(lambda: self.shell("echo; read", f"{self.run_dir}/x"), {"processes": "outside of containers: bash"})

    def supervisor(self, script):
        program = self.work / "run/supervisor-planted"
        if not program.exists():
            program.write_bytes(pathlib.Path("/bin/bash").resolve().read_bytes())
            program.chmod(0o700)
            self.addCleanup(program.unlink)
        return subprocess.Popen(["supervise", "-c", script], executable=program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def test_supervisor_of_a_container(self):
        folder = self.run_dir / "containers/planted"
        folder.mkdir(parents=True)
        self.addCleanup(folder.parent.rmdir)
        self.addCleanup(folder.rmdir)
        (folder / "lock").touch()
        self.addCleanup((folder / "lock").unlink)
        self.supervisor("exit").wait()  # its program is there before the first count
        self.check_process(lambda: self.supervisor(f"exec 9< {folder}/lock; echo; read"), {"supervisors": "planted"})

    def test_supervisor_without_a_container(self):
        self.supervisor("exit").wait()
        self.check_process(lambda: self.supervisor("echo; read"), {"waiting supervisors": "1 more"})

    def test_zombie(self):
        self.check(lambda: self.tell("zombie"), lambda: self.tell("wait"), {"zombies": "python"})

    def test_folder_of_a_container(self):
        self.check_folder(self.work / "containers/planted", {"containers": "planted"})

    def test_folder_below_run(self):
        (self.run_dir / "runtime").mkdir()
        self.addCleanup((self.run_dir / "runtime").rmdir)
        self.check_folder(self.run_dir / "runtime/planted", {"run folders": "runtime/planted"})

    def test_volume(self):
        self.check_folder(self.work / "volumes/live/planted", {"volumes": "planted"})
        self.check_folder(self.work / "volumes/init/planted", {"volumes": "init/planted"})
        self.check_folder(self.work / "volumes/dead/planted", {"volumes": "dead/planted"})

    def test_image_layer(self):
        self.check_folder(self.work / "volumes/shared/planted", {"image layers": "planted"})

    def test_mount(self):
        point = self.work / "volumes/live/mounted"
        point.mkdir()
        self.addCleanup(point.rmdir)
        self.check(lambda: world.run("mount", "-t", "tmpfs", "none", point), lambda: world.run("umount", point), {"mounts": str(point)})

    def test_mount_in_another_namespace(self):
        point = self.work / "volumes/live/mounted"
        point.mkdir()
        self.addCleanup(point.rmdir)
        self.check_process(lambda: subprocess.Popen(["unshare", "--mount", "bash", "-c", f"mount -t tmpfs none {point}; echo; read"],
                                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True), {"mounts elsewhere": str(point)})

    def test_network_namespace_that_is_mounted(self):
        self.check(lambda: world.run("ip", "netns", "add", "planted"), lambda: world.run("ip", "netns", "delete", "planted"),
                   {"network namespaces": "/run/netns/planted"})

    def test_network_namespace_that_the_server_holds(self):
        other = subprocess.Popen(["unshare", "--net", "bash", "-c", "echo; read"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(other.communicate)
        self.addCleanup(other.kill)
        other.stdout.readline()
        self.check(lambda: self.tell(f"open /proc/{other.pid}/ns/net"), lambda: self.tell("drop"), {"ready networks": "net:[", "descriptors": "net"})

    def test_link(self):
        self.check(lambda: world.run("ip", "link", "add", "planted", "type", "bridge"), lambda: world.run("ip", "link", "delete", "planted"), {"links": "planted"})

    def test_veth(self):
        self.check(lambda: world.run("ip", "link", "add", "planted", "type", "veth", "peer", "name", "planted-peer"),
                   lambda: world.run("ip", "link", "delete", "planted"), {"veths": "planted, planted-peer"})

    def test_firewall_rule(self):
        self.check(lambda: world.run("nft", "add table inet planted; add chain inet planted some; add rule inet planted some tcp dport 7 drop"),
                   lambda: world.run("nft", "delete table inet planted"), {"nftables": "table inet planted chain some: tcp dport 7 drop"})

    def test_log(self):
        self.check_file(self.state / "logs/0/0/7.segments", {"logs": "0/0/7.segments"})

    def test_journal(self):
        self.check_file(self.state / "logs/0/0/7.journal", {"journals": "0/0/7.journal"})

    def test_file_in_the_state_folder(self):
        self.check_file(self.work / "volumes/planted.new", {"state files": "worker/volumes/planted.new"})

    def test_temporary_file(self):
        self.check_file(self.temporary / "planted", {"temporary files": "planted"})

    def test_descriptor(self):
        self.check(lambda: self.tell("open /dev/null"), lambda: self.tell("drop"), {"descriptors": "/dev/null"})

    def test_thread(self):
        self.check(lambda: self.tell("thread"), lambda: self.tell("drop"), {"threads": "1 more"})

    def test_coroutine(self):
        live = {"http": 2, "server": 5}

        class Health(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                # With the status of a server that lacks a worker.
                self.send_response(503)
                self.end_headers()
                self.wfile.write(json.dumps({"coroutines": live}).encode())

            def log_message(self, *arguments):
                pass

        health = http.server.HTTPServer(("127.0.0.1", 0), Health)
        self.addCleanup(health.server_close)
        thread = threading.Thread(target=health.serve_forever)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(health.shutdown)
        self.url = f"http://127.0.0.1:{health.server_port}"
        self.check(lambda: live.update(planted=1), lambda: live.pop("planted"), {"coroutines": "1 more: planted"})
        self.check(lambda: live.update(http=4), lambda: live.update(http=2), {"coroutines": "2 more: http, http"})

    def test_memory(self):
        before = self.count()
        self.assertEqual(leaks.memory_grown(before, self.count(), 1.2), [])
        self.tell("allocate 100000000")
        self.addCleanup(self.tell, "drop")
        found = leaks.memory_grown(before, self.count(), 1.2)
        self.assertIn("kB before", str(found[0]))

    def test_row(self):
        before = self.count()
        self.rows.execute("insert into builds values (1)")
        self.rows.commit()
        after = self.count()
        self.assertEqual([str(leak) for leak in leaks.compare_rows(before, after)], ["table builds: 1 more"])
        self.assertEqual(leaks.compare_rows(before, after, ("builds",)), [])
        self.assertEqual(leaks.compare(before, after), [])


if __name__ == "__main__":
    world.enter_own_namespaces()
    harness.main()
