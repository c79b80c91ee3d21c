#!/usr/bin/env python3
"""Whatever one task takes of the machine, its neighbours' builds take at most a fifth longer.

Usage: neighbours.py BUILD_FOLDER [--gtest_output=json:FILE]. Needs root. Runs in namespaces of its own; everything is bounded.

Each hog runs as a task, while builds of another job are timed from their trigger to the end of their events, and compared with the same
builds without the hog. Other work on the machine can only make it look worse, so the best of three tries counts.
"""
import contextlib
import http.client
import os
import statistics
import time
import unittest

import harness
import soak
import world

SLOWER = 1.2
TRIES = 3
BUILDS = 5
CPUS = os.cpu_count()

WORK = "i=0; while [ $i -lt 1000000 ]; do i=$((i+1)); done; dd if=/dev/zero of=out/file bs=64k count=128; cat out/file | wc -c"
HOGS = {
    "spinning": f"for i in $(seq {8 * CPUS}); do while :; do :; done & done; echo ready; wait",
    "forking": "bomb() { bomb | bomb & }; bomb; echo ready; while :; do :; done",
    # More than all containers together may have: the kernel ends one after another.
    "remembering": f"for i in $(seq {2 * CPUS}); do while :; do dd if=/dev/zero of=/dev/null bs=300M count=1; done & done; echo ready; wait",
    "writing": "for i in 1 2 3 4; do while :; do dd if=/dev/zero of=out/$i bs=1M count=64 conv=fsync; done & done; echo ready; wait",
    "making files": "for i in 1 2 3 4; do while :; do mkdir out/$i; for j in $(seq 500); do : > out/$i/$j; done; rm -r out/$i; done & done; echo ready; wait",
}


class NeighboursTest(soak.Case):
    OPTIONS = ["--worker-container-processes", "300", "--worker-containers-memory", "1G"]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        jobs = [{"name": "work", "plan": [soak.task("work", WORK, outputs=[{"name": "out"}])]}]
        jobs += [{"name": name, "plan": [soak.task("hog", script + " 2>/dev/null", outputs=[{"name": "out"}])]} for name, script in HOGS.items()]
        cls.path = f"{cls.it.team}/pipelines/neighbours"
        cls.it.client.call("PUT", f"{cls.path}/config", {"jobs": jobs})
        cls.it.client.call("PUT", f"{cls.path}/unpause")
        cls.build_time()

    @classmethod
    def trigger(cls, job):
        return cls.it.client.call("POST", f"{cls.path}/jobs/{job.replace(' ', '%20')}/builds")["id"]

    @classmethod
    def follow(cls, build, until):
        """Reads the build's events up to that text."""
        connection = http.client.HTTPConnection("127.0.0.1", cls.it.server.port, timeout=120)
        try:
            connection.request("GET", f"/api/v1/builds/{build}/events", headers={"Authorization": cls.it.client.token})
            answer = connection.getresponse()
            text = b""
            while until not in text:
                more = answer.read1(65536)
                if not more:
                    raise AssertionError(f"the events of build {build} end without {until}: {text.decode()}")
                text += more
        finally:
            connection.close()

    @classmethod
    def build_time(cls):
        begun = time.monotonic()
        build = cls.trigger("work")
        cls.follow(build, b"event: end")
        took = time.monotonic() - begun
        assert cls.it.status({"id": build}) == "succeeded"
        return took

    def slowdown(self, hog):
        """How many times as long the builds take while it runs."""
        alone = [self.build_time() for _ in range(BUILDS)]
        build = self.trigger(hog)
        try:
            self.follow(build, b"ready")
            time.sleep(2)  # it takes a second to be noticed
            beside = [self.build_time() for _ in range(BUILDS)]
            self.assertEqual(self.it.status({"id": build}), "started")
        finally:
            self.it.abort({"id": build})
            self.it.wait({"id": build})
        ratio = statistics.median(beside) / statistics.median(alone)
        print(f"beside {hog}: {ratio:.2f} times ({statistics.median(alone):.2f} s alone, {statistics.median(beside):.2f} s beside it)", flush=True)
        return ratio

    @contextlib.contextmanager
    def server_with(self, *options):
        server = self.it.server
        usual = list(server.options)
        server.stop()
        server.options += options
        server.start()
        try:
            yield
        finally:
            server.stop()
            server.options = usual
            server.start()

    def check(self, hog):
        best = min_of_tries(lambda: self.slowdown(hog))
        self.assertLessEqual(best, SLOWER)

    def test_beside_one_that_spins(self):
        self.check("spinning")

    def test_beside_a_fork_bomb(self):
        self.check("forking")

    def test_beside_one_that_takes_memory(self):
        self.check("remembering")

    def test_beside_one_that_writes(self):
        with self.server_with("--worker-container-write-rate", "20M"):
            self.check("writing")

    def test_beside_one_that_makes_files(self):
        self.check("making files")

    def test_without_protection_builds_are_slower(self):
        if CPUS > 4:
            raise unittest.SkipTest("on many CPUs the kernel's own shares do")
        with self.server_with("--worker-fair-cpu=false"):
            self.assertGreater(self.slowdown("spinning"), SLOWER)


def min_of_tries(measure):
    best = measure()
    for _ in range(TRIES - 1):
        if best <= SLOWER:
            break
        best = min(best, measure())
    return best


if __name__ == "__main__":
    world.enter_own_namespaces()
    harness.main()
