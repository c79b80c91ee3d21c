"""Rows of bench/run about the server's side: logs of 200 MB, large configurations, lists of many jobs."""
import json
import pathlib
import shutil
import subprocess
import threading
import time

LINES = 1_000_000
LINE_BYTES = 200
# Numbered lines that differ, as compilers print them. Python and awk make the same.
PRINTER = ('BEGIN { for (i = 0; i < %d; i++) { s = sprintf("step %%07d compiling src/module_%%d/file_%%d.cc with options %%d in %%d.%%03d s: "'
           ', i, (i * 7919) %% 131, (i * 104729) %% 9973, (i * 31) %% 65521, i %% 61, (i * 17) %% 1000);'
           ' print substr(s P, 1, %d) } }' % (LINES, LINE_BYTES - 1))
PADDING = "the quick brown fox jumps over the lazy dog and runs from the slow red one that never sleeps, again and again and again, until the night has come; "


def awk():
    return ["awk", "-v", "P=" + PADDING, PRINTER]


def config(*plan):
    return {"resources": [], "jobs": [{"name": "job", "plan": list(plan)}]}


def task(name, script, **more):
    image = {"type": "mock", "source": {"mirror_self": True, "initial_version": "bench"}, "version": {"version": "bench"}}
    return {"task": name, "config": {"platform": "linux", "run": {"path": "sh", "args": ["-c", script, *awk()]}, "image_resource": image, **more}}


# The fastest producer there is, so that the log is the bottleneck: what it prints stands in the page cache. It is made once.
COPIED = config(task("print", '[ -f log/text ] || { "$0" "$@" > log/new; mv log/new log/text; }; cat log/text', caches=[{"path": "log"}]))
# And a program that makes what it prints, on a terminal line by line.
PRINTED = config(task("print", '"$0" "$@"'))


class Programs:
    """The clients, compiled once a run."""

    def __init__(self, folder, here, port):
        self.client = folder / "client"
        self.port = str(port)
        self.terminal = folder / "floor_terminal"
        subprocess.run(["clang++-19", "-std=c++23", "-O2", "-o", self.client, here / "client.cc", "-lz"], check=True)
        subprocess.run(["clang-19", "-O2", "-o", self.terminal, here / "floor_terminal.c"], check=True)

    def through_terminal(self, folder, *command):
        """Milliseconds of the program whose output goes through a terminal to a file."""
        done = subprocess.run([self.terminal, folder / "floor-terminal", *command], stdout=subprocess.PIPE, text=True, check=True, stdin=subprocess.DEVNULL)
        if (folder / "floor-terminal").stat().st_size != LINES * LINE_BYTES:
            raise SystemExit("bench: not all went through the terminal")
        return float(done.stdout)

    def start_watch(self, client, build, fast=1, slow=0, rate=0, encoding="plain"):
        return subprocess.Popen([self.client, "watch", self.port, client.token, str(build), str(fast), str(slow), str(rate), encoding],
                                stdout=subprocess.PIPE, text=True)

    def load(self, client, path, connections, seconds, *headers):
        done = subprocess.run([self.client, "load", self.port, client.token, path, str(connections), str(seconds), *headers],
                              stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout)


def finish(watch):
    text, _ = watch.communicate(timeout=600)
    if watch.returncode != 0:
        raise SystemExit("bench: a watcher failed")
    return json.loads(text)


# --- Logs -----------------------------------------------------------------------------------------------

class Memory:
    """How much the resident set of a process grows above where it stands now, at most, in MB."""

    def __init__(self, pid):
        self.status = pathlib.Path(f"/proc/{pid}/status")
        pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")  # the high-water mark starts anew
        self.before = self.read("VmRSS")

    def read(self, name):
        line = next(line for line in self.status.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) / 1024

    def growth(self):
        return self.read("VmHWM") - self.before


def printed_to_file(folder):
    """The floor of a log: the same program piped to a file. Milliseconds."""
    target = folder / "floor-log"
    started = time.monotonic()
    with open(target, "wb") as out:
        printer = subprocess.Popen(["busybox", *awk()], stdout=subprocess.PIPE)
        subprocess.run(["cat"], stdin=printer.stdout, stdout=out, check=True)
        printer.wait()
    milliseconds = (time.monotonic() - started) * 1e3
    if target.stat().st_size != LINES * LINE_BYTES:
        raise SystemExit(f"bench: the printer prints {target.stat().st_size} bytes")
    return milliseconds


def copied_to_file(folder):
    started = time.monotonic()
    with open(folder / "floor-copy", "wb") as out:
        printer = subprocess.Popen(["busybox", "cat", folder / "floor-log"], stdout=subprocess.PIPE)
        subprocess.run(["cat"], stdin=printer.stdout, stdout=out, check=True)
        printer.wait()
    return (time.monotonic() - started) * 1e3


def cat_milliseconds(folder):
    started = time.monotonic()
    subprocess.run(["cat", folder / "floor-log"], stdout=subprocess.DEVNULL, check=True)
    return (time.monotonic() - started) * 1e3


def watched(run, programs, server, client, pipeline="log", **watchers):
    """One build of the log: when its task started, the last byte came and the build was seen as ended, and how memory grew."""
    memory = Memory(server.process.pid)
    asked = time.monotonic() * 1e3
    build = client.do("POST", f"/api/v1/teams/main/pipelines/{pipeline}/jobs/job/builds")["id"]
    watch = programs.start_watch(client, build, **watchers)
    if client.wait_until_done(build, 300) != "succeeded":
        raise SystemExit(f"bench: build {build} did not succeed")
    ended = time.monotonic() * 1e3
    seen = finish(watch)
    if seen["bytes"] < LINES * LINE_BYTES:
        raise SystemExit(f"bench: a watcher saw {seen['bytes']} bytes")
    return {"build": build, "live": seen["last_end"] - seen["started"], "took": ended - asked, "grown": memory.growth(), "all": seen["last_end"] - asked}


def fly():
    path = pathlib.Path.home() / ".cache/pinion/upstream/bin/fly"
    return path if path.exists() else None


def watched_by_fly(client, folder):
    """Milliseconds from asking for a build to the end of upstream's fly, whose output is a file."""
    home = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}
    target = [fly(), "-t", "bench"]
    if not (folder / ".flyrc").exists():
        subprocess.run([*target, "login", "-c", "http://127.0.0.1:8282", "-u", "test", "-p", "test"], env=home, check=True, stdout=subprocess.DEVNULL)
    with open(folder / "fly-log", "wb") as out:
        started = time.monotonic()
        subprocess.run([*target, "trigger-job", "-j", "log/job", "-w"], env=home, check=True, stdout=out)
        milliseconds = (time.monotonic() - started) * 1e3
    if (folder / "fly-log").stat().st_size < LINES * LINE_BYTES:
        raise SystemExit("bench: fly has not seen the whole log")
    return milliseconds


def measure_log(run, server, client, programs, folder, runs):
    runs = min(runs, 10)
    client.set_pipeline("log", COPIED)
    client.set_pipeline("printed", PRINTED)
    printed_to_file(folder)
    live, floor, terminal, grown, replay, replay_floor, zipped, by_fly = [], [], [], [], [], [], [], []
    for _ in range(runs + 1):
        floor.append(copied_to_file(folder))
        terminal.append(programs.through_terminal(folder, "busybox", "cat", folder / "floor-log"))
        build = watched(run, programs, server, client)
        live.append(build["live"])
        grown.append(build["grown"])
        replay_floor.append(cat_milliseconds(folder))
        seen = finish(programs.start_watch(client, build["build"]))
        replay.append(seen["last_end"] - seen["began"])
        seen = finish(programs.start_watch(client, build["build"], encoding="gzip"))
        zipped.append(seen["last_end"] - seen["began"])
        if fly():
            by_fly.append(watched_by_fly(client, folder))
        run.pause(0.5)
    run.progress("log", live[1:])
    printed, printed_floor, printed_terminal = [], [], []
    for _ in range(min(runs, 3) + 1):
        printed_floor.append(printed_to_file(folder))
        printed_terminal.append(programs.through_terminal(folder, "busybox", *awk()))
        printed.append(watched(run, programs, server, client, "printed")["live"])
    run.progress("log printed", printed[1:])
    size = f"{LINES * LINE_BYTES // 10**6} MB log of {LINES:,} lines"
    limit = LINES * LINE_BYTES / 150e6 * 1e3
    rows = [run.Row(f"{size}, printed as fast as a pipe takes it: task's start to the last byte at a watcher (150 MB/s are {limit:.0f} ms)", live[1:], "ms", limit, floor[1:], 3),
            run.Row("the same; floor: through a terminal to a file, without any server", live[1:], "ms", None, terminal[1:]),
            run.Row("the same lines made and printed one by one by `awk`; floor: that piped to a file", printed[1:], "ms", None, printed_floor[1:], 3),
            run.Row("the same; floor: that through a terminal to a file", printed[1:], "ms", None, printed_terminal[1:]),
            run.Row("growth of the server's resident set with the first", grown[1:], "MB", 30),
            run.Row("the same log read again, without compression (500 MB/s are 400 ms); floor: `cat`", replay[1:], "ms", LINES * LINE_BYTES / 500e6 * 1e3, replay_floor[1:]),
            run.Row("the same read again by a client that asks for gzip", zipped[1:], "ms", None, replay_floor[1:])]
    if by_fly:
        rows.append(run.Row("the same live by upstream's fly (gzip): from its start to its end", by_fly[1:], "ms", None, terminal[1:]))
    return rows


def measure_watchers(run, server, client, programs, folder, runs):
    runs = min(runs, 5)
    client.set_pipeline("log", COPIED)
    alone, crowd, everyone, grown = [], [], [], []
    for _ in range(runs + 1):
        alone.append(watched(run, programs, server, client)["took"])
        build = watched(run, programs, server, client, fast=150, slow=50, rate=10_000)
        crowd.append(build["took"])
        everyone.append(build["all"])
        grown.append(build["grown"])
        run.pause(0.5)
    run.progress("watchers", crowd[1:])
    return [run.Row("the log's build with 200 watchers on the same cores, 50 of them reading 10 kB/s; floor: with one watcher", crowd[1:], "ms", None, alone[1:], 1.2),
            run.Row("the same: until the last of the 150 fast ones has everything (30 GB)", everyone[1:], "ms", None),
            run.Row("the same: growth of the server's resident set", grown[1:], "MB", None)]


# --- Lists ----------------------------------------------------------------------------------------------

def measure_jobs(run, server, client, programs, folder, runs):
    resources = [{"name": "repository", "type": "mock", "source": {"initial_version": "0"}, "check_every": "never"}]
    for number in range(21):
        jobs = [{"name": f"job-{n}", "plan": [{"get": "repository"}, {"task": "work", "file": "repository/task.yml"}]} for n in range(100)]
        client.set_pipeline(f"pipeline-{number}", {"resources": resources, "jobs": jobs}, paused=True)
    path = "/api/v1/jobs"
    client.connection.request("GET", path, None, {"Authorization": client.token})
    answer = client.connection.getresponse()
    size = len(answer.read())
    tag = answer.headers["ETag"]
    rows = []
    kinds = [("whole", 1500, []), ("compressed", 5000, ["Accept-Encoding: gzip"]), ("304", 5000, [f"If-None-Match: {tag}"])]
    for name, aim, headers in kinds:
        loads = [programs.load(client, path, 8, 2, *headers) for _ in range(6)][1:]
        expected = "304" if name == "304" else "200"
        if any(list(load["status"]) != [expected] for load in loads):
            raise SystemExit(f"bench: {path}: {loads}")
        rows.append(run.Row(f"`/api/v1/jobs` with 2,100 jobs ({size / 1e3:.0f} kB), 8 clients on the same cores, {name}",
                            [load["answers"] / load["seconds"] for load in loads], "requests/s", None, least=aim))
        rows.append(run.Row("the same: p99", [load["p99"] for load in loads], "ms", 10))
    # And while things change: each answer after a change shows it.
    stop = threading.Event()
    other = run.Client()

    def change():
        number = 0
        while not stop.wait(0.05):
            number += 1
            action = "pause" if number % 2 else "unpause"
            other.do("PUT", f"/api/v1/teams/main/pipelines/pipeline-3/jobs/job-7/{action}")

    changer = threading.Thread(target=change)
    changer.start()
    loads = [programs.load(client, path, 8, 2, "Accept-Encoding: gzip") for _ in range(5)]
    stop.set()
    changer.join()
    rows.append(run.Row("the same compressed, while a job changes 20 times a second", [load["answers"] / load["seconds"] for load in loads], "requests/s", None, least=0))
    rows.append(run.Row("the same: p99", [load["p99"] for load in loads], "ms", None))
    return rows


# --- Configurations -------------------------------------------------------------------------------------

def large_config(resources, jobs):
    """Each resource is got by two jobs, one after the other, or shared by many."""
    names = [f"resource-{n}" for n in range(resources)]
    config = {"resources": [{"name": name, "type": "mock", "source": {"initial_version": "0", "log": name}, "check_every": "never"} for name in names],
              "jobs": []}
    half = (jobs + 1) // 2
    for number in range(jobs):
        plan = [{"get": names[number % half % resources], "trigger": number < half}]
        if number >= half:
            plan[0]["passed"] = [f"job-{number - half}"]
        config["jobs"].append({"name": f"job-{number}", "plan": [*plan, {"task": "work", "file": f"{plan[0]['get']}/ci/task.yml"}]})
    return config


def two_jobs(resources):
    config = large_config(resources, 2)
    for job, passed in zip(config["jobs"], ({}, {"passed": ["job-0"]})):
        job["plan"][:1] = [{"get": resource["name"], "trigger": True, **passed} for resource in config["resources"]]
    return config


def measure_config(run, server, client, programs, folder, runs):
    rows = []
    subprocess.run(["clang++-19", "-std=c++23", "-O2", "-o", folder / "floor", run.HERE / "floor_config.cc", "-lyaml", "-lsqlite3"], check=True)
    cases = [("162 resources and 2 jobs that get them all", two_jobs(162), 10), ("162 resources with 2 jobs each", large_config(162, 324), 10),
             ("1,000 jobs", large_config(10, 1000), 60)]
    for number, (what, config, limit) in enumerate(cases):
        text = json.dumps(config)
        (folder / "config").write_text(text)
        values, again, floors = [], [], []
        for turn in range(runs + 2):
            things = len(config["resources"]) + len(config["jobs"])
            done = subprocess.run([folder / "floor", folder / "config", str(things), folder / "floor.db", "1"], stdout=subprocess.PIPE, check=True)
            floors.append(float(done.stdout))
            path = f"/api/v1/teams/main/pipelines/c{number}-{turn}/config"
            started = time.monotonic()
            client.do("PUT", path, text)
            values.append((time.monotonic() - started) * 1e3)
            run.pause(0.1)
        run.progress("config", values[2:])
        rows.append(run.Row(f"set-pipeline with {what} ({len(text) / 1e3:.0f} kB), new", values[2:], "ms", limit, floors[2:]))
    return rows


# --- Each with a server of its own -----------------------------------------------------------------

def with_server(name, measure):
    def run(tools, build, folder, floor, options):
        own = folder / name
        own.mkdir(mode=0o711)
        server = tools.Server(build / "pinion", own, options.log_level)
        server.start()
        try:
            return measure(tools, server, tools.Client(), Programs(folder, tools.HERE, tools.PORT), own, options.runs)
        finally:
            server.stop()
            if options.keep:
                shutil.copy(own / "server.log", options.keep)
            shutil.rmtree(own, ignore_errors=True)
    return run


ROWS = {name: with_server(name, measure) for name, measure in
        {"log": measure_log, "watchers": measure_watchers, "config": measure_config, "jobs": measure_jobs}.items()}
