#!/usr/bin/env python3
"""What a build needs is away for a while: it waits and says for what, or fails with the reason, and all goes on afterwards.

Usage: test_outages.py BUILD_FOLDER [--gtest_output=json:FILE]. Needs root. Runs in namespaces of its own.
"""
import sqlite3

import harness
import storm
import world

LINES = 200
COUNT = storm.count_lines(LINES, 0.2)


class Case(storm.Case):
    def check_counted(self, build, seconds=60):
        row = self.server.wait_for_end(build, seconds)
        events = self.server.events(build)
        self.assertEqual(row["status"], "succeeded", f"{storm.texts(events)}\n{[e for e in events if e['event'] == 'error']}")
        text = next(text for step, text in storm.texts(events).items() if text.startswith("line 1 "))
        self.assertEqual(storm.digest(text), storm.digest(storm.numbered(LINES)), text)


class FullDisk(Case):
    @classmethod
    def make_server(cls):
        state = cls.folder / "server"
        state.mkdir()
        world.run("mount", "-t", "tmpfs", "-o", "size=24m,mode=711", "none", state)
        cls.addClassCleanup(world.run, "umount", "-l", state)
        return storm.Server(cls.folder, "--log-level", "debug", "--worker-work-dir", str(cls.folder / "work"))

    def test_a_full_state_folder_stops_nothing_for_good(self):
        build = self.start("full", storm.task("count", COUNT), storm.task("after", "echo after"))
        self.wait_for_text(build, f"line 20 of {LINES}")
        filler = self.server.state / "filler"
        with open(filler, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        status, answer = self.server.ask("POST", "/api/v1/teams/main/pipelines/full/jobs/job/builds", timeout=60)
        print(f"a trigger while the disk is full: {status} {answer}", flush=True)
        self.assertIn(status, (200, 503))
        self.assertNotEqual(answer, "")
        self.wait_for_text(build, "waiting for ", 60)
        said = self.server.events_so_far(build, 1)
        self.assertRegex(said, "waiting for (room for its log|the database): [^\"]*(full|No space left)")
        self.assertEqual(self.server.build(build)["status"], "started")
        filler.unlink()
        self.check_counted(build)
        # What was half written is nowhere: the next process reads it all.
        self.server.kill()
        self.server.start()
        self.check_counted(build)
        again = self.server.trigger("job", "full")["id"]
        self.check_counted(again)


class LockedDatabase(Case):
    def test_another_program_holds_the_database(self):
        build = self.start("locked", storm.task("count", COUNT), storm.task("after", "echo after"))
        self.wait_for_text(build, f"line 20 of {LINES}")
        holder = sqlite3.connect(self.server.state / "pinion.sqlite", isolation_level=None, timeout=20)
        holder.execute("begin immediate")
        try:
            status, answer = self.server.ask("GET", "/api/v1/teams/main/pipelines/locked/jobs")
            self.assertEqual(status, 200, "reading goes on")
            self.wait_for_text(build, "waiting for the database: ", 60)
        finally:
            holder.execute("rollback")
            holder.close()
        self.check_counted(build)


class DeadRegistry(Case):
    def image_task(self, repository, **more):
        return {"task": "run", "config": {"platform": "linux", "run": {"path": "echo", "args": ["ran"]}, "image_resource": {
            "type": "registry-image", "source": {"repository": repository, "insecure": True}}}, **more}

    def test_1_names_are_not_resolved(self):
        build = self.start("names", {"ensure": storm.task("after", "echo ensured"), **self.image_task("registry.nowhere.invalid/image")})
        row = self.server.wait_for_end(build, 120)
        said = self.server.events_so_far(build, 1)
        self.assertIn(row["status"], ("errored", "failed"))
        self.assertIn("registry.nowhere.invalid", said)
        self.assertIn("ensured", said)

    def test_2_nobody_listens_and_later_somebody_does(self):
        repository = f"{world.OUTSIDE}:{world.REGISTRY_PORT}/image"
        build = self.start("dead", self.image_task(repository))
        self.assertIn(self.server.wait_for_end(build, 120)["status"], ("errored", "failed"))
        said = self.server.events_so_far(build, 1)
        self.assertIn(f"{world.OUTSIDE}", said)
        self.assertRegex(said, "(?i)connect|refused")
        self.outside.start_registry()
        self.outside.push_image("image:latest", {})
        again = self.server.trigger("job", "dead")["id"]
        row = self.server.wait_for_end(again, 120)
        self.assertEqual(row["status"], "succeeded", self.server.events_so_far(again, 1))


if __name__ == "__main__":
    world.enter_own_namespaces()
    harness.main()
