"""Rows about the engine and the worker: many tasks, many builds at once, many checks, images.

Every function takes what bench/run gives it (`tools`: that program's own names; `build`, `folder`, `floor`, `options`) and
returns rows. Each starts a server of its own in a folder of its own.
"""
import contextlib
import io
import json
import os
import pathlib
import random
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests"))
import registries  # noqa: E402

TASKS = 50
SLEEPERS = 100
SLEEP_SECONDS = 10
RESOURCES = 2000
LAYER_MEGABYTES = (70, 40, 20, 15)  # unpacked; some 60 compressed


@contextlib.contextmanager
def running_server(tools, build, folder, name, options, accounts=None):
    own = pathlib.Path(tempfile.mkdtemp(prefix=name + "-", dir=folder))
    own.chmod(0o711)
    server = tools.Server(build / "pinion", own, options.log_level)
    if accounts:
        accounts.enter()
    server.start()
    if accounts:
        accounts.leave()
    try:
        yield server, tools.Client()
    finally:
        server.stop()
        if options.keep:
            shutil.copy(own / "server.log", options.keep)
        shutil.rmtree(own, ignore_errors=True)


# --- Tasks in a row ---------------------------------------------------------------------------------

def measure_tasks(tools, build, folder, floor, options):
    image = {"type": "mock", "source": {"mirror_self": True, "initial_version": "bench"}, "version": {"version": "bench"}}
    config = {"platform": "linux", "run": {"path": "true"}, "image_resource": image}
    plan = [{"task": f"task-{number}", "config": config} for number in range(TASKS)]
    values, floors = [], []
    with running_server(tools, build, folder, "tasks", options) as (server, client):
        client.set_pipeline("tasks", {"resources": [], "jobs": [{"name": "job", "plan": plan}]})
        stream = tools.EventStream(client)
        for run in range(5):
            floors += [floor.task_and_removal() for _ in range(10)]
            started = client.do("POST", "/api/v1/teams/main/pipelines/tasks/jobs/job/builds")
            ends = [arrived for arrived, event in stream.open(started["id"]).events() if event and event["event"] == "finish-task"]
            stream.connect()
            if len(ends) != TASKS:
                sys.exit(f"bench: {len(ends)} of {TASKS} tasks ended: {client.status(started['id'])}")
            if run > 0:  # the first fetches the image
                values += [after - before for before, after in zip(ends, ends[1:])]
    tools.progress("tasks", values)
    return [tools.Row(f"each of {TASKS} empty tasks in a row in one build: from one's end to the next one's", values, "ms", 60, floors, 2)]


# --- Builds at once ---------------------------------------------------------------------------------

def resident_megabytes(pid):
    """Of the server and all supervisors: resident sets, so that shared pages count as often as they are mapped."""
    total = 0
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(pid) and not os.readlink(process / "exe").rsplit("/", 1)[1].startswith("supervisor-"):
                continue
            text = (process / "status").read_text()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS"))
    return total / 1024


def measure_sleepers(tools, build, folder, floor, options):
    image = {"type": "mock", "source": {"mirror_self": True, "initial_version": "bench"}, "version": {"version": "bench"}}
    config = {"platform": "linux", "run": {"path": "sleep", "args": [str(SLEEP_SECONDS)]}, "image_resource": image}
    brief = {**config, "run": {"path": "true"}}
    values, floors, memory = [], [], []
    with running_server(tools, build, folder, "sleepers", options) as (server, client):
        client.set_pipeline("sleepers", {"resources": [], "jobs": [{"name": "job", "plan": [{"task": "sleep", "config": config}]},
                                                                   {"name": "brief", "plan": [{"task": "end", "config": brief}]}]})
        first = client.do("POST", "/api/v1/teams/main/pipelines/sleepers/jobs/brief/builds")
        client.wait_until_done(first["id"])
        for _ in range(3):
            tools.pause(5)  # what is left of the round before goes
            floors.append(floor.at_once(SLEEPERS, ["/bin/sleep", str(SLEEP_SECONDS)]))
            before = resident_megabytes(server.process.pid)
            started = time.monotonic()
            builds = [client.do("POST", "/api/v1/teams/main/pipelines/sleepers/jobs/job/builds")["id"] for _ in range(SLEEPERS)]
            tools.pause(max(0, started + 0.7 * SLEEP_SECONDS - time.monotonic()))
            memory.append((resident_megabytes(server.process.pid) - before) / SLEEPERS)
            for number in builds:
                if client.wait_until_done(number) != "succeeded":
                    sys.exit(f"bench: build {number} is {client.status(number)}")
            # The last to end is what counts, and the answers say when that was only to the second.
            values.append(time.monotonic() - started)
    tools.progress("sleepers", values)
    return [tools.Row(f"{SLEEPERS} builds at once of a {SLEEP_SECONDS} s sleep: first trigger to last end (floor: so many containers)", values, "s", SLEEP_SECONDS + 2, floors),
            tools.Row("the same: resident memory of the server and its supervisors, for each running build", memory, "MB", 1)]


# --- Checks -----------------------------------------------------------------------------------------

def measure_checks(tools, build, folder, floor, options):
    accounts = tools.Accounts()
    with running_server(tools, build, folder, "checks", options, accounts) as (server, client):
        for number in range(20):
            names = [f"r{index}" for index in range(RESOURCES // 20)]
            resources = [{"name": name, "type": "mock", "check_every": "1m", "source": {"initial_version": "1", "log": f"{number} {name}"}} for name in names]
            gets = [{"in_parallel": {"steps": [{"get": name, "trigger": True} for name in names]}}]
            client.set_pipeline(f"checks-{number}", {"resources": resources, "jobs": [{"name": "job", "plan": gets}]}, paused=True)
            # Checked they are, as they trigger it; but the builds are not what is measured.
            client.do("PUT", f"/api/v1/teams/main/pipelines/checks-{number}/jobs/job/pause")
            client.do("PUT", f"/api/v1/teams/main/pipelines/checks-{number}/unpause")
        client.connection.close()
        database = sqlite3.connect(f"file:{server.folder / 'state/pinion.sqlite'}?mode=ro", uri=True)
        ended = {}
        late = []

        def look(keep):
            for scope, end in database.execute("select id, last_check_end from scopes where last_check_end is not null"):
                if keep and scope in ended and end > ended[scope]:
                    late.append(max(0, end - ended[scope] - 60))
                ended[scope] = end

        deadline = time.monotonic() + 300
        while len(ended) < RESOURCES:
            look(False)
            if time.monotonic() > deadline:
                sys.exit(f"bench: {len(ended)} of {RESOURCES} resources are checked after 300 s")
            tools.pause(1)
        print("  checks: every one was checked once", file=sys.stderr)
        tools.pause(60)
        look(False)
        pid = server.process.pid
        cpu, began = accounts.cpu_seconds(pid), time.monotonic()
        while time.monotonic() < began + options.check_seconds:
            tools.pause(1)
            look(True)
        seconds = time.monotonic() - began
        cpu = accounts.cpu_seconds(pid) - cpu
        memory = accounts.memory_megabytes(pid)
        database.close()
    accounts.remove()
    print(f"  checks: {len(late)} in {seconds:.0f} s, {1e3 * cpu / max(1, len(late)):.1f} ms of CPU each", file=sys.stderr)
    p99 = tools.percentile(late, 0.99)
    return [tools.Row(f"{RESOURCES:,} distinct `mock` resources checked once a minute: p99 of how late the next check ended", [float(p99)], "s", 5),
            tools.Row("the same: CPU, the checks' containers included", [100 * cpu / seconds], "% of a core", 60),
            tools.Row("the same: memory of all processes (PSS)", [memory], "MB", None)]


# --- Images -----------------------------------------------------------------------------------------

def layer_of(paths, megabytes, extra=()):
    """A tar of real programs and libraries, so that it compresses as images do."""
    entries = list(extra)
    for path in paths:
        if megabytes <= 0:
            break
        data = path.read_bytes()
        entries.append((str(path)[1:], data))
        megabytes -= len(data) / 1e6
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in entries:
            info = tarfile.TarInfo(name)
            info.mode, info.size = 0o755, len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def programs():
    for place in ("/usr/bin", "/usr/lib/x86_64-linux-gnu", "/usr/sbin"):
        for path in sorted(pathlib.Path(place).iterdir()):
            if path.is_file() and not path.is_symlink() and path.stat().st_size < 8e6:
                yield path


def image_pipeline(repository, digest):
    image = {"type": "registry-image", "source": {"repository": repository, "tag": "latest"}, "version": {"tag": "latest", "digest": digest}}
    config = {"platform": "linux", "image_resource": image, "run": {"path": "/bin/busybox", "args": ["echo", "first-byte-of-the-task"]}}
    return {"resources": [], "jobs": [{"name": "job", "plan": [{"task": "hello", "config": config}]}]}


def measure_image(tools, build, folder, floor, options):
    own = folder / "image"
    own.mkdir(mode=0o711)
    registry = registries.DockerRegistry(own / "registry")
    try:
        source = programs()
        layers = [layer_of(source, megabytes) for megabytes in LAYER_MEGABYTES]
        layers.append(layer_of([], 0, [("bin/busybox", pathlib.Path("/bin/busybox").read_bytes())]))
        first = registries.Image(*layers, level=6)
        second = registries.Image(*layers, layer_of([], 0, [("etc/second", random.Random(1).randbytes(1 << 20))]), level=6)
        shared = sum(map(len, first.blobs.values()))
        for name, image in (("first", first), ("second", second)):
            registries.write_layout(own / name, image)
            registry.push(own / name, f"{name}:latest")
        print(f"  image: {shared / 1e6:.1f} MB compressed, {sum(map(len, layers)) / 1e6:.0f} MB unpacked", file=sys.stderr)

        def curl_and_tar():
            target = own / "floor"
            target.mkdir()
            started = tools.milliseconds()
            manifest = subprocess.run(["curl", "-s", f"http://{registry.host}/v2/first/manifests/{first.digest}", "-H", "Accept: " + registries.OCI_MANIFEST],
                                      check=True, capture_output=True).stdout
            for layer in json.loads(manifest)["layers"]:
                subprocess.run(f"curl -s http://{registry.host}/v2/first/blobs/{layer['digest']} | tar -xz -C {target}", shell=True, check=True)
            ended = tools.milliseconds()
            shutil.rmtree(target)
            return ended - started

        def pull(client, stream, name, host, image):
            client.set_pipeline(name, image_pipeline(f"{host}/{name}", image.digest))
            started = client.do("POST", f"/api/v1/teams/main/pipelines/{name}/jobs/job/builds")
            asked = tools.milliseconds()
            return stream.open(started["id"]).first_line_and_end()[0] - asked

        cold, shares, floors = [], [], []
        for _ in range(5):
            floors.append(curl_and_tar())
            with running_server(tools, build, own, "server", options) as (server, client):
                client.set_pipeline("warm", tools.TRIGGER)
                stream = tools.EventStream(client)
                warm = client.do("POST", "/api/v1/teams/main/pipelines/warm/jobs/job/builds")
                stream.open(warm["id"]).first_line_and_end()
                cold.append(pull(client, stream, "first", registry.host, first))
                shares.append(pull(client, stream, "second", registry.host, second))
        tools.progress("image", cold)

        # What is fetched, and how often, through a proxy that counts and cuts.
        proxy = registries.CuttingProxy(registry.host, cuts=10)
        with running_server(tools, build, own, "server", options) as (server, client):
            stream = tools.EventStream(client)
            pull(client, stream, "first", proxy.host, first)
            twice = 100 * (sum(proxy.sent.values()) / shared - 1)
            proxy.sent.clear()
            pull(client, stream, "second", proxy.host, second)
            new = sum(len(blob) for digest, blob in second.blobs.items() if digest not in first.blobs)
            fetched = sum(proxy.sent.values())
        proxy.stop()
    finally:
        registry.stop()
        shutil.rmtree(own, ignore_errors=True)
    return [tools.Row(f"image of {shared / 1e6:.0f} MB from a local registry, cold: accepted to first log byte of a task in it (floor: `curl` and `tar`)", cold, "ms", None, floors, 1.5),
            tools.Row("a second image that shares its layers but one of 1 MB", shares, "ms", None),
            tools.Row("the same: fetched, of what is new", [100 * fetched / new], "%", 101),
            tools.Row("the first through a proxy that cuts each transfer at 10 random bytes: fetched twice", [twice], "%", 1)]


ROWS = {"tasks": measure_tasks, "sleepers": measure_sleepers, "checks": measure_checks, "image": measure_image}
