#!/usr/bin/env python3
"""Counts on the machine, not in the database, what a server and its worker keep there.

  tests/leaks.py STATE_DIR [--pid PID] [--work-dir DIR] [--url URL] [--save FILE] [--compare FILE]

Two counts, one before and one after, tell what was left behind: `take` makes one, `compare` names what the later one
has more. Everything is found by the state folder, the worker's folders below /sys/fs/cgroup and /run, and the server's
process, so that other servers on the machine do not disturb; links and firewall rules are those of the network
namespace that the server is in, which it should have for itself.

What is kept ready ahead (supervisors without a container, networks, descriptors) is counted; everything else is
compared by name. Rows of the database are a section of their own. Coroutines are the one kind that only the server itself
can tell: they are counted if its URL is given.
"""
import argparse
import collections
import hashlib
import json
import os
import pathlib
import re
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request

# In the order in which they are printed.
KINDS = {
    "processes": "processes of containers, and what else runs out of the server's folders",
    "zombies": "children of the server that nobody has waited for",
    "supervisors": "supervisors of containers",
    "waiting supervisors": "those that wait for a container (counted)",
    "containers": "folders of containers on disk",
    "run folders": "folders of containers and of the runtime below /run",
    "volumes": "folders of volumes, also half made and half removed ones",
    "image layers": "read-only layers that volumes share",
    "mounts": "mounts in the server's mount namespace",
    "mounts elsewhere": "mounts of its volumes in other mount namespaces",
    "network namespaces": "of containers, and those that a mount holds",
    "ready networks": "namespaces that the server holds (counted)",
    "links": "network interfaces but veths",
    "veths": "ends of cables (counted)",
    "nftables": "tables, chains and rules",
    "cgroups": "cgroups of containers, in every hierarchy",
    "logs": "files of build logs",
    "journals": "logs that are not finished",
    "state files": "what else is below the state folder",
    "temporary files": "in the server's folder for such",
    "descriptors": "of the server's process (counted by kind)",
    "threads": "of the server's process (counted)",
    "coroutines": "that live in the server's process, by their group (counted)",
}
COUNTED = {"waiting supervisors", "ready networks", "veths", "threads", "descriptors", "coroutines"}
# The worker's folders below the state folder whose content has a kind of its own.
OWN_KIND = {"logs", "worker/volumes/live", "worker/volumes/init", "worker/volumes/dead", "worker/volumes/shared",
            "worker/volumes/mapped", "worker/containers"}


def read(path):
    try:
        return pathlib.Path(path).read_text(errors="replace")
    except OSError:
        return ""


def link(path):
    try:
        return os.readlink(path)
    except OSError:
        return ""


def names(folder):
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def run(*command):
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout


def cgroup_roots():
    """Where cgroup hierarchies are mounted, of either version."""
    roots = []
    for line in read("/proc/self/mountinfo").splitlines():
        before, after = line.split(" - ", 1)
        if after.split()[0] in ("cgroup", "cgroup2"):
            roots.append(pathlib.Path(before.split()[4]))
    return roots


def process_ids():
    return [int(name) for name in names("/proc") if name.isdigit()]


def status_of(pid):
    return dict(line.split(":\t", 1) for line in read(f"/proc/{pid}/status").splitlines() if ":\t" in line)


def memory_of(pid):
    """Resident, in kB."""
    return int(status_of(pid).get("VmRSS", "0 kB").split()[0])


def descriptors_of(pid):
    return [target for target in (link(f"/proc/{pid}/fd/{fd}") for fd in names(f"/proc/{pid}/fd")) if target]


class Count:
    """One count. `things` has the names by kind; `rows` and `memory` are the other sections."""

    def __init__(self, state_dir, pid=None, work_dir=None, url=None):
        self.state = pathlib.Path(os.path.realpath(state_dir))
        self.work = pathlib.Path(os.path.realpath(work_dir)) if work_dir else self.state / "worker"
        self.identity = hashlib.sha256(str(self.work).encode()).hexdigest()[:8]
        self.run_dir = pathlib.Path("/run/pinion") / self.identity
        self.pid = pid or self.find_server()
        self.url = url
        self.things = {kind: [] for kind in KINDS}
        self.supervisor_ids = []
        self.memory = 0
        self.rows = {}
        self.take()

    def find_server(self):
        """The process that has the state folder's lock open."""
        for pid in process_ids():
            if str(self.state / "lock") in descriptors_of(pid):
                return pid
        return None

    def add(self, kind, name):
        self.things[kind].append(str(name))

    def take(self):
        in_containers = self.take_cgroups()
        self.take_processes(in_containers)
        self.take_folders()
        self.take_mounts()
        self.take_namespaces(in_containers)
        if self.pid:
            self.take_network()
            self.take_server()
        if self.url:
            self.take_coroutines()
        self.take_rows()
        for found in self.things.values():
            found.sort()

    def take_cgroups(self):
        """Returns container handle by process id."""
        inside = {}
        for root in cgroup_roots():
            top = root / "pinion" / self.identity
            for folder, below, _ in os.walk(top):
                path = pathlib.Path(folder)
                if path != top:
                    self.add("cgroups", path)
                    handle = path.relative_to(top).parts[0]
                    for pid in read(path / "cgroup.procs").split():
                        inside[int(pid)] = handle
        return inside

    def take_processes(self, in_containers):
        for pid in process_ids():
            status = status_of(pid)
            if not status:
                continue
            name = status["Name"]
            if status.get("State", "Z").startswith("Z"):
                if int(status["PPid"]) == self.pid:
                    self.add("zombies", f"{pid} {name}")
                continue
            program = link(f"/proc/{pid}/exe").removesuffix(" (deleted)")
            words = read(f"/proc/{pid}/cmdline").split("\0")
            if pathlib.Path(program).parent == self.work / "run" and "supervise" in words[:2]:
                locks = [d for d in descriptors_of(pid) if d.startswith(f"{self.run_dir}/containers/") and "/lock" in d]
                if locks:
                    self.supervisor_ids.append(pid)
                    self.add("supervisors", pathlib.Path(locks[0]).relative_to(self.run_dir / "containers").parts[0])
                else:
                    self.add("waiting supervisors", pid)
            elif pid in in_containers:
                self.add("processes", f"{in_containers[pid]}: {name} ({pid})")
            elif pid != self.pid and (program.startswith(f"{self.work}/") or any(str(self.run_dir) in word for word in words)):
                self.add("processes", f"outside of containers: {name} ({pid})")

    def take_folders(self):
        for name in names(self.work / "containers"):
            self.add("containers", name)
        for part in ("containers", "runtime"):
            for name in names(self.run_dir / part):
                self.add("run folders", f"{part}/{name}")
        volumes = self.work / "volumes"
        for part in ("live", "init", "dead"):
            for name in names(volumes / part):
                self.add("volumes", name if part == "live" else f"{part}/{name}")
        for name in names(volumes / "shared"):
            self.add("image layers", name)
        for folder, _, files in os.walk(self.state / "logs"):
            for name in files:
                self.add("journals" if name.endswith(".journal") else "logs", pathlib.Path(folder).relative_to(self.state / "logs") / name)
        for folder, below, files in os.walk(self.state):
            at = pathlib.Path(folder).relative_to(self.state)
            below[:] = [name for name in below if str(at / name) not in OWN_KIND]
            for name in files:
                self.add("state files", at / name)
        self.take_temporary()

    def take_temporary(self):
        environment = dict(item.split("=", 1) for item in read(f"/proc/{self.pid}/environ").split("\0") if "=" in item) if self.pid else {}
        folder = environment.get("TMPDIR", "/tmp")
        for name in names(folder):
            # A folder that is everybody's holds others' files, too.
            if folder != "/tmp" or name.startswith(("pinion-server", "runtime")):
                self.add("temporary files", f"{folder}/{name}")

    def take_mounts(self):
        """Every mount namespace is looked at through one of its processes."""
        own = link(f"/proc/{self.pid}/ns/mnt") if self.pid else link("/proc/self/ns/mnt")
        seen = {}
        for pid in ([self.pid] if self.pid else []) + process_ids():
            seen.setdefault(link(f"/proc/{pid}/ns/mnt"), pid)
        for namespace, pid in seen.items():
            for line in read(f"/proc/{pid}/mountinfo").splitlines():
                before, after = line.split(" - ", 1)
                root, point = before.split()[3:5]
                if not any(str(place) in text for place in (self.work, self.run_dir) for text in (root, point, after)):
                    continue
                if namespace == own:
                    self.add("mounts", point)
                else:
                    self.add("mounts elsewhere", f"{point} in {namespace} of {status_of(pid).get('Name', '?').strip()} ({pid})")

    def take_namespaces(self, in_containers):
        """Namespaces are not listed anywhere: they are what processes are in, what descriptors and mounts hold."""
        known = {link(f"/proc/{pid}/ns/net"): handle for pid, handle in in_containers.items()}
        known.pop("", None)
        server = set()
        if self.pid:
            server = {d for d in descriptors_of(self.pid) if d.startswith("net:[")}
            for line in read(f"/proc/{self.pid}/mountinfo").splitlines():
                root, point = line.split()[3:5]
                if root.startswith("net:["):
                    self.add("network namespaces", f"{root} is mounted on {point}")
        for namespace, handle in known.items():
            self.add("network namespaces", f"{namespace} of {handle}")
        for namespace in server - set(known):
            self.add("ready networks", namespace)

    def take_network(self):
        inside = ["nsenter", f"--net=/proc/{self.pid}/ns/net"]
        for interface in json.loads(run(*inside, "ip", "-d", "-j", "link", "show")):
            veth = interface.get("linkinfo", {}).get("info_kind") == "veth"
            self.add("veths" if veth else "links", interface["ifname"])
        table = chain = ""
        for line in run(*inside, "nft", "-a", "list", "ruleset").splitlines():
            # Handles grow each time that the rules are loaded.
            text = re.sub(r"\s*# handle \d+$", "", line.strip())
            if text.startswith("table "):
                table = text.removesuffix(" {")
            elif text.startswith("chain "):
                chain = text.removesuffix(" {")
            elif text and text != "}":
                self.add("nftables", f"{table} {chain}: {text}")

    def take_server(self):
        for target in descriptors_of(self.pid):
            self.add("descriptors", re.sub(r"\d{3,}", "N", target) if target.startswith(("/proc", "/run")) else re.sub(r":\[\d+\]", "", target))
        for thread in names(f"/proc/{self.pid}/task"):
            self.add("threads", read(f"/proc/{self.pid}/task/{thread}/comm").strip())
        self.memory = memory_of(self.pid)

    def take_coroutines(self):
        try:
            text = urllib.request.urlopen(f"{self.url}/api/v1/health", timeout=30).read()
        except urllib.error.HTTPError as error:
            text = error.read()  # it tells that something else is wrong, and yet the numbers
        for group, number in json.loads(text)["coroutines"].items():
            self.things["coroutines"] += [group] * number

    def take_rows(self):
        path = self.state / "pinion.sqlite"
        if not path.exists():
            return
        database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
        try:
            tables = [name for name, in database.execute("select name from sqlite_master where type = 'table' and name not like 'sqlite_%'")]
            for table in tables:
                self.rows[table] = database.execute(f'select count(*) from "{table}"').fetchone()[0]
        finally:
            database.close()

    def to_json(self):
        return {"things": self.things, "rows": self.rows, "memory": self.memory}


class Leak:
    def __init__(self, kind, more, named):
        self.kind, self.more, self.named = kind, more, named

    def __str__(self):
        shown = ", ".join(self.named[:5]) + (", …" if len(self.named) > 5 else "")
        return f"{self.kind}: {self.more} more" + (f": {shown}" if shown else "")


def compare(before, after):
    """What `after` has more than `before`, both as to_json gives them: a list of Leak, empty if there is nothing."""
    leaks = []
    for kind in KINDS:
        was, now = collections.Counter(before["things"][kind]), collections.Counter(after["things"][kind])
        if kind in COUNTED and kind not in ("descriptors", "threads", "coroutines"):
            # One takes another's place: only their number tells.
            more = now.total() - was.total()
            named = sorted((now - was).elements())
        else:
            named = sorted((now - was).elements())
            more = len(named)
        if more > 0:
            leaks.append(Leak(kind, more, named))
    return leaks


def compare_rows(before, after, but=()):
    """As compare, for the database's tables; those in `but` may grow."""
    return [Leak(f"table {table}", count - before["rows"].get(table, 0), []) for table, count in sorted(after["rows"].items())
            if count > before["rows"].get(table, 0) and table not in but]


def memory_grown(before, after, factor):
    """The server's resident memory beyond `factor` times what it was."""
    if after["memory"] <= factor * before["memory"]:
        return []
    return [Leak("memory", after["memory"] - before["memory"], [f"{before['memory']} kB before, {after['memory']} kB after"])]


def table_of(*counts):
    """The counts beside each other, as text; a count is (title, as to_json gives it)."""
    lines = [["", *(title for title, _ in counts)]]
    for kind in KINDS:
        lines.append([kind, *(str(len(count["things"][kind])) for _, count in counts)])
    lines.append(["memory, MB", *(f"{count['memory'] / 1024:.1f}" for _, count in counts)])
    for table in sorted({table for _, count in counts for table in count["rows"]}):
        lines.append([f"rows of {table}", *(str(count["rows"].get(table, "")) for _, count in counts)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))) for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("state_dir")
    parser.add_argument("--pid", type=int, help="of the server; found by the state folder's lock if not given")
    parser.add_argument("--work-dir", help="the worker's folder; worker below the state folder if not given")
    parser.add_argument("--url", help="of the server, to count its coroutines")
    parser.add_argument("--save", help="keep the count in this file")
    parser.add_argument("--compare", help="with the count in this file; exit status 1 if there is more now")
    parser.add_argument("--names", action="store_true", help="print every name")
    arguments = parser.parse_args()
    count = Count(arguments.state_dir, arguments.pid, arguments.work_dir, arguments.url).to_json()
    if arguments.save:
        pathlib.Path(arguments.save).write_text(json.dumps(count))
    before = json.loads(pathlib.Path(arguments.compare).read_text()) if arguments.compare else None
    print(table_of(*([("before", before)] if before else []), ("now", count)))
    if arguments.names:
        for kind, found in count["things"].items():
            for name in found:
                print(f"{kind}: {name}")
    leaks = compare(before, count) + compare_rows(before, count) if before else []
    for leak in leaks:
        print(f"LEAK {leak}")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
