#!/usr/bin/env python3
"""Garbage goes soon after its cause, with the server's default options, and one container that cannot die delays no other.

Usage: test_collection.py BUILD_FOLDER [--gtest_output=json:FILE]. Needs root. Runs in namespaces of its own.
"""
import pathlib
import time
import unittest

import harness
import leaks
import soak
import world

SECONDS = 120  # from the cause to nothing left


class CollectionTest(soak.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # What the first use of everything leaves is no garbage.
        for job in ("ok", "rich"):
            cls.it.run_job(job)

    def setUp(self):
        self.it.wrong.clear()
        self.empty_pipeline()
        self.before = self.it.count_when_idle()

    def tearDown(self):
        self.assertEqual(self.it.wrong, [])

    def empty_pipeline(self):
        old = self.it.name()
        self.it.set_pipeline()
        self.it.destroy_pipeline(old)

    def left(self):
        """What is there beside what was there; the logs and rows of builds stay, they are no garbage."""
        now = self.it.count()
        return [leak for leak in leaks.compare(self.before, now) if leak.kind in ("processes", "zombies", "supervisors", "containers", "run folders", "volumes",
                "mounts", "mounts elsewhere", "network namespaces", "veths", "links", "nftables", "cgroups", "journals", "temporary files")]

    def wait_until_clean(self, cause):
        begun = time.monotonic()
        while (left := self.left()) and time.monotonic() - begun < SECONDS:
            time.sleep(0.2)
        print(f"{cause}: {time.monotonic() - begun:.1f} s")
        self.assertEqual([str(leak) for leak in left], [], cause)

    def test_garbage_goes_soon_after_its_cause(self):
        it = self.it
        it.run_job("ok")
        self.wait_until_clean("a build has succeeded")
        it.do_check()
        self.wait_until_clean("a check has ended")

        # The containers of builds that did not succeed are kept for a look into them.
        it.run_job("fail")
        it.do_abort()
        time.sleep(3)  # two rounds of collection at least
        self.assertIn("containers", {leak.kind for leak in self.left()})
        self.empty_pipeline()
        self.wait_until_clean("the pipeline of a failed and an aborted build was destroyed")

        build = it.trigger("wait")
        it.wait(build, ("started",))
        it.server.kill()
        it.server.start()
        it.abort(build)
        it.expect("wait", build, it.wait(build))
        self.empty_pipeline()
        self.wait_until_clean("the same after kill -9 of server and worker")

        build = it.trigger("deaf")
        it.wait(build, ("started",))
        self.empty_pipeline()
        self.wait_until_clean("the pipeline of a running build was destroyed")

    def test_a_container_that_cannot_die_delays_no_other(self):
        freezer = pathlib.Path("/sys/fs/cgroup/freezer/pinion")
        if not freezer.exists():
            raise unittest.SkipTest("needs the freezer of cgroup v1: what it has frozen, no signal kills")
        it = self.it
        build = it.trigger("wait")
        it.wait(build, ("started",))
        world.wait_for("its process runs", lambda: it.count()["things"]["processes"])
        identity = leaks.Count(it.server.folder / "state").identity
        (handle,) = it.count()["things"]["containers"]
        (state,) = freezer.glob(f"{identity}/{handle}/freezer.state")
        state.write_text("FROZEN")
        self.addCleanup(lambda: state.exists() and state.write_text("THAWED"))
        world.wait_for("it is frozen", lambda: state.read_text() == "FROZEN\n")
        it.abort(build)
        for _ in range(3):
            begun = time.monotonic()
            it.run_job("ok")
            others = lambda: [name for name in it.count()["things"]["containers"] if name != handle]
            world.wait_for("the others' containers are gone", lambda: not others(), 20)
            print(f"beside one that cannot die: {time.monotonic() - begun:.1f} s for a build and its collection")
        self.assertIn(handle, it.count()["things"]["containers"])
        state.write_text("THAWED")
        it.expect("wait", build, it.wait(build))
        self.empty_pipeline()
        self.wait_until_clean("the container can die")


if __name__ == "__main__":
    world.enter_own_namespaces()
    harness.main()
