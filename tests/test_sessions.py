#!/usr/bin/env python3
"""Aborts and time-outs at any moment, sessions in containers that lose what they hang on, watchers that go away: hooks run, all ends, nothing is held.

Usage: test_sessions.py BUILD_FOLDER [--gtest_output=json:FILE]. Needs root. Runs in namespaces of its own.
"""
import os
import signal
import socket
import subprocess
import time

import harness
import leaks
import storm
import world

# As the events have what was printed; the task's script, which they have too, has no line's end there.
READY = r"ready\n"
ENSURED = {"ensure": storm.task("after", "echo ensured")}


class Case(storm.Case):
    def said(self, build):
        return "".join(storm.texts(self.server.events(build)).values())

    def open_files(self):
        """How many descriptors and threads the server has."""
        pid = self.server.process.pid
        return len(leaks.descriptors_of(pid)), len(leaks.names(f"/proc/{pid}/task"))

    def assert_back_to(self, before, slack=4):
        """Kept connections to the worker may be more than before by some."""
        def back():
            files, threads = self.open_files()
            return files <= before[0] + slack and threads <= before[1]
        try:
            world.wait_for("descriptors and threads are given back", back, 30)
        except AssertionError:
            self.fail(f"(descriptors, threads) were {before}, are {self.open_files()}")


class Interrupted(Case):
    STAGES = ["worker chosen", "rows written", "volumes made", "container created", "process started", "first output"]

    def test_an_abort_at_every_stage_runs_the_hooks(self):
        self.server.set_pipeline("p", storm.pipeline(job=[
            {"do": [storm.task("wait", "echo ready; sleep 1000")], **ENSURED, "on_abort": storm.task("sorry", "echo was aborted")}]))
        for stage in self.STAGES:
            for which in (1, 2):  # of the get, of the task
                since = self.server.watched.end()
                build = self.server.trigger("job")["id"]
                for _ in range(which):
                    line = self.server.watched.wait(f'"stage":"{stage}"', since, 20)
                    since = self.server.watched.lines.index(line, since) + 1 if line else since
                status, _ = self.server.ask("PUT", f"/api/v1/builds/{build}/abort")
                self.assertEqual(status, 204)
                row = self.server.wait_for_end(build, 40)
                self.assertEqual(row["status"], "aborted", stage)
                said = self.said(build)
                if '"ready' in said or "ensured" in said:  # the get was over: its hooks' step had begun
                    self.assertIn("ensured", said, stage)
                    self.assertIn("was aborted", said, stage)

    def test_time_outs_of_any_length_run_the_hooks(self):
        limits = ["1ms", "20ms", "60ms", "120ms", "300ms", "1s"]
        self.server.set_pipeline("t", {**storm.IMAGE, "jobs": [
            {"name": limit, "plan": [{"get": "image"}, {**storm.task("wait", "echo ready; sleep 1000", timeout=limit), **ENSURED,
                                                       "on_failure": storm.task("sorry", "echo took too long")}]} for limit in limits]})
        builds = {limit: self.server.trigger(limit, "t")["id"] for limit in limits}
        for limit, build in builds.items():
            row = self.server.wait_for_end(build, 60)
            self.assertEqual(row["status"], "failed", limit)
            said = self.said(build)
            self.assertIn("ensured", said, limit)
            self.assertIn("took too long", said, limit)
            self.assertIn("timeout exceeded", "".join(e["data"]["message"] for e in self.server.events(build) if e["event"] == "error"), limit)


class Hijacked(Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        link = cls.folder / "fly"
        link.symlink_to(harness.BUILD / "pinion")
        cls.fly = world.Fly(link, cls.server, cls.folder / "home")
        cls.fly.login()

    def enter(self, build):
        """A client in the task's container, whose program has begun."""
        client = subprocess.Popen([*self.fly.program, "-t", "test", "hijack", "-b", str(build), "-s", "wait", "--", "sh", "-c", "echo inside; exec sleep 1000"],
                                  env=self.fly.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(client.stdout.close)
        self.addCleanup(client.stdin.close)
        self.addCleanup(client.kill)
        self.assertIn("inside", client.stdout.readline())
        return client

    def assert_it_ends(self, client, seconds):
        try:
            status = client.wait(seconds)
        except subprocess.TimeoutExpired:
            self.fail(f"the client does not end within {seconds} s\n{self.server.watched.tail()}")
        print(f"the client ended with {status}: {client.stdout.read()!r}", flush=True)
        self.assertNotEqual(status, 0)

    def test_1_its_container_is_killed(self):
        build = self.start("gone", storm.task("wait", "echo ready; sleep 1000"), says=READY)
        before = self.open_files()
        client = self.enter(build)
        for path in self.server.containers.glob(f"b{build}-*/pid"):
            init = path.read_text().strip()
            if init and os.path.exists(f"/proc/{init}"):
                os.kill(int(init), signal.SIGKILL)
        self.assert_it_ends(client, 20)
        self.server.wait_for_end(build)
        self.assert_back_to(before)

    def test_2_its_build_is_aborted(self):
        build = self.start("aborted", {**storm.task("wait", "echo ready; sleep 1000"), **ENSURED}, says=READY)
        before = self.open_files()
        client = self.enter(build)
        self.server.ask("PUT", f"/api/v1/builds/{build}/abort")
        row = self.server.wait_for_end(build, 40)
        self.assertEqual(row["status"], "aborted")
        self.assertIn("ensured", self.said(build))
        self.assert_it_ends(client, 40)
        self.assert_back_to(before)

    def test_3_its_client_vanishes(self):
        build = self.start("vanished", storm.task("wait", "echo ready; sleep 1000"), says=READY)
        before = self.open_files()
        client = self.enter(build)
        client.kill()
        client.wait()
        self.assert_back_to(before)
        self.server.ask("PUT", f"/api/v1/builds/{build}/abort")
        self.server.wait_for_end(build)

    def test_4_its_server_stops(self):
        build = self.start("stopped", storm.task("wait", "echo ready; sleep 1000"), says=READY)
        client = self.enter(build)
        started = time.monotonic()
        self.server.stop()
        took = time.monotonic() - started
        print(f"the server stopped in {took:.1f} s", flush=True)
        self.assert_it_ends(client, 10)
        self.assertLess(took, 15)
        self.server.start()
        self.assertEqual(self.server.build(build)["status"], "started")
        self.server.ask("PUT", f"/api/v1/builds/{build}/abort")
        self.assertEqual(self.server.wait_for_end(build, 40)["status"], "aborted")


class Watched(Case):
    def watch(self, build, receive=None):
        """A raw watcher that has sent its request."""
        connection = socket.socket()
        if receive:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", self.server.port))
        connection.sendall(f"GET /api/v1/builds/{build}/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.server.token}\r\n\r\n".encode())
        return connection

    def test_who_goes_away_costs_nothing(self):
        build = self.start("long", storm.task("print", "yes 0123456789012345678901234567890 | head -c 20000000; echo; echo printed; sleep 1000"), says="0123")
        silent = self.start("silent", storm.task("wait", "echo ready; sleep 1000"), says=READY)
        time.sleep(2)
        before, memory = self.open_files(), leaks.memory_of(self.server.process.pid)
        for round in range(3):
            watchers = []
            for number in range(60):
                connection = self.watch(build if number % 3 else silent, 4096 if number % 3 == 1 else None)
                if number % 3 == 2:  # gone in the middle
                    connection.recv(65536)
                    connection.close()
                elif number % 6 == 3:  # says that it sends nothing more, and reads nothing
                    connection.shutdown(socket.SHUT_WR)
                    watchers.append(connection)
                else:  # reads nothing
                    watchers.append(connection)
            time.sleep(1)
            for connection in watchers:  # a reset for some, an orderly end for others
                if connection.fileno() % 2:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                connection.close()
            self.assert_back_to(before)
        grown = leaks.memory_of(self.server.process.pid) - memory
        print(f"{before} descriptors and threads, {grown} kB more resident after 180 watchers", flush=True)
        if harness.BUILD.name != "dev":  # whose allocator keeps what is freed
            self.assertLess(grown, 20 << 10)
        for one in (build, silent):
            self.server.ask("PUT", f"/api/v1/builds/{one}/abort")
            self.assertEqual(self.server.wait_for_end(one, 40)["status"], "aborted")


if __name__ == "__main__":
    world.enter_own_namespaces()
    harness.main()
