#!/usr/bin/env python3
"""What a server needs: each thing taken away, named by `pinion doctor` and `pinion quickstart` alike, and given back.

Usage: test_doctor.py BUILD_FOLDER [--gtest_output=json:FILE]. Needs root. Runs in namespaces of its own.
"""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import unittest

import harness
import world

PINION = harness.BUILD / "pinion"
TOOLS = ("ip", "nft", "crun", "runc", "mount", "umount")
PORT = 8080


class Case(unittest.TestCase):
    def setUp(self):
        harness.require_root()
        self.folder = world.temporary_folder(self)
        self.state = self.folder / "state"
        self.options = ["--state-dir", self.state, "--bind-port", PORT]
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("CONCOURSE_")}
        world.run("ip", "link", "set", "lo", "up")

    def pinion(self, command, *options, before=(), program=PINION):
        """Runs it to its end, which comes within 10 s."""
        return world.run(*before, program, command, *self.options, *options, check=False, timeout=10, env=self.environment)

    def start(self, *options):
        log = open(self.folder / "server.log", "ab")
        process = subprocess.Popen([str(word) for word in (PINION, "quickstart", *self.options, *options)], stdout=log, stderr=log,
                                   stdin=subprocess.DEVNULL, env=self.environment)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(log.close)
        world.wait_for("the server answers", lambda: process.poll() is not None or self.answers(), 60)
        self.assertIsNone(process.poll(), self.log())
        return process

    def log(self):
        return (self.folder / "server.log").read_text()[-4000:]

    def answers(self):
        return world.run("curl", "-fs", "-o", "/dev/null", f"http://127.0.0.1:{PORT}/api/v1/info", check=False).returncode == 0


class DoctorTest(Case):
    def assert_missing(self, name, *words, **how):
        """Both commands say the same of it; returns the cure."""
        done = self.pinion("doctor", **how)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        lines = [line for line in done.stdout.splitlines() if line.startswith("MISSING") and line[8:26].strip() == name]
        self.assertEqual(len(lines), 1, done.stdout)
        sentence = lines[0][26:]
        for word in words:
            self.assertIn(word, sentence)
        detail, mark, cure = sentence.partition(". Cure: ")
        self.assertTrue(detail and mark and cure, sentence)
        refused = self.pinion("quickstart", **how)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn(sentence, refused.stderr)
        return cure

    def assert_ok(self, **how):
        done = self.pinion("doctor", **how)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertNotIn("MISSING", done.stdout)

    def only(self, *tools):
        """A PATH on which only these are found."""
        folder = self.folder / "tools"
        folder.mkdir(exist_ok=True)
        for tool in tools:
            if found := shutil.which(tool):
                (folder / tool).unlink(missing_ok=True)
                (folder / tool).symlink_to(found)
        self.environment["PATH"] = str(folder)

    def test_root(self):
        # Nobody cannot enter the build folder everywhere; a copy it can.
        program = self.folder / "pinion"
        shutil.copy(PINION, program)
        program.chmod(0o755)
        self.state.mkdir()
        shutil.chown(self.state, "nobody")
        nobody = ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups")
        self.environment["ASAN_OPTIONS"] = "detect_leaks=0"
        self.assertIn("as root", self.assert_missing("root", "root", before=nobody, program=program))

    def test_cgroups(self):
        hidden = ("unshare", "--mount", "--propagation", "private", "sh", "-c", 'umount -R /sys/fs/cgroup; exec "$@"', "sh")
        self.assert_missing("cgroups", "no control groups are mounted", before=hidden)
        cured = ("unshare", "--mount", "--propagation", "private", "sh", "-c",
                 'umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; exec "$@"', "sh")
        self.assert_ok(before=cured)

    def test_runtime(self):
        self.only("ip", "nft")
        self.assertEqual(self.assert_missing("runtime", "neither crun nor runc"), "apt-get install crun")
        self.only(*TOOLS)
        self.assert_ok()

    def test_a_named_runtime(self):
        self.options += ["--worker-runtime", "no-such-runtime"]
        self.assert_missing("runtime", "no-such-runtime is not on the PATH")

    def test_nftables(self):
        self.only("ip", "crun")
        self.assertEqual(self.assert_missing("nftables", "nft is not on the PATH"), "apt-get install nftables")
        self.only(*TOOLS)
        self.assert_ok()

    def test_port(self):
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", PORT))
            taken.listen()
            self.assertIn("--bind-port", self.assert_missing("port", f"127.0.0.1:{PORT}"))
        self.assert_ok()

    def test_address(self):
        self.options += ["--bind-ip", "203.0.113.9"]
        self.assertIn("--bind-ip", self.assert_missing("port", "203.0.113.9"))
        self.options[-1] = "127.0.0.1"
        self.assert_ok()

    def test_state_folder(self):
        self.state.write_text("a file\n")
        self.assertIn("--state-dir", self.assert_missing("state folder", str(self.state)))
        self.state.unlink()
        self.assert_ok()

    def test_user_namespaces(self):
        limit = pathlib.Path("/proc/sys/user/max_user_namespaces")
        # The limit belongs to the user namespace: one of our own may be changed.
        own = ("unshare", "--user", "--map-root-user", "sh", "-c", f'echo 0 > {limit}; exec "$@"', "sh")
        if world.run(*own, "true", check=False).returncode != 0 or world.run(*own, "cat", limit).stdout.strip() != "0":
            self.skipTest("user namespaces cannot be switched off here")
        self.assertIn("max_user_namespaces", self.assert_missing("user namespaces", "switched off", before=own))

    def test_resource_types(self):
        folder = self.folder / "types"
        self.options += ["--worker-resource-types", folder]
        self.assertIn("--worker-resource-types", self.assert_missing("resource types", "no folder of resource types"))
        folder.symlink_to(harness.BUILD / "resource-types")
        self.assert_ok()

    def test_database_of_a_newer_release(self):
        server = self.start()
        server.send_signal(signal.SIGTERM)
        self.assertEqual(server.wait(10), 0, self.log())
        path = self.state / "pinion.sqlite"
        saved = self.folder / "saved.sqlite"
        with contextlib.closing(sqlite3.connect(path)) as database, contextlib.closing(sqlite3.connect(saved)) as copy:
            database.backup(copy)
            database.execute("insert into schema_migrations (version, name, applied_at) values (999, 'future', 0)")
            database.commit()
        self.assert_missing("database", "has version 999")
        for name in ("", "-wal", "-shm"):
            pathlib.Path(f"{path}{name}").unlink(missing_ok=True)
        shutil.copy(saved, path)
        self.assert_ok()
        self.start()


class CommandLineTest(Case):
    def test_an_unknown_option_names_the_nearest(self):
        for command in ("quickstart", "doctor"):
            done = self.pinion(command, "--bind-prot", "1")
            self.assertEqual(done.returncode, 2)
            self.assertIn("unknown option --bind-prot: did you mean --bind-port?", done.stderr)

    def test_what_has_no_meaning_is_warned_of(self):
        self.environment["CONCOURSE_BIND_PROT"] = "1"
        done = self.pinion("doctor", "--vault-url", "http://vault.example.com")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("warning: --vault-url has no meaning here", done.stderr)
        self.assertIn("warning: CONCOURSE_BIND_PROT is not a known variable", done.stderr)

    def test_help(self):
        for command in ("quickstart", "doctor"):
            done = self.pinion(command, "--help")
            self.assertEqual(done.returncode, 0)
            self.assertIn("--state-dir", done.stdout)


class OneServerTest(Case):
    def test_a_second_server_is_refused(self):
        first = self.start()
        done = self.pinion("quickstart", "--bind-port", PORT + 1)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn(f"another server runs with the state folder {self.state}", done.stderr)
        self.assertTrue(self.answers())
        self.assertNotIn("taken over", self.log())
        first.kill()
        first.wait()
        self.start()  # a killed one leaves no lock

    def test_it_ends_soon_with_a_container_running(self):
        self.options += ["--add-local-user", "test:test", "--main-team-local-user", "test"]
        process = self.start()
        server = world.Server(self.folder)
        fly = world.Fly([PINION], server, self.folder / "home")
        fly.program = [str(self.folder / "fly")]
        (self.folder / "fly").symlink_to(PINION)
        fly.login()
        # A check that waits holds a container as a task does, and needs no image.
        fly.set_pipeline("slow", {"resources": [{"name": "slow", "type": "mock", "source": {"check_delay": "10m"}}],
                                  "jobs": [{"name": "never", "plan": [{"get": "slow"}]}]})
        fly("check-resource", "-r", "slow/slow", "--async")
        world.wait_for("the check runs", lambda: any("check" in line for line in fly("containers").stdout.splitlines()), 30)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(10), 0, self.log())


if __name__ == "__main__":
    world.enter_own_namespaces()
    harness.main()
