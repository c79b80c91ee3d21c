#!/usr/bin/env python3
"""Runs clang-tidy (.clang-tidy) over the sources and remembers which were clean.

  tools/check_tidy.py [BUILD_FOLDER] [--changed] [FILE ...]

Without files: every source in the folder's compile_commands.json (default build/dev, configured if it is
not there). --changed: the sources that differ from HEAD, and those that include a header that does.
What was clean is kept in build/tidy-cache by a hash of the source, the project's headers that it
includes, its command and .clang-tidy: a second run takes seconds.
"""
import argparse
import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CACHE = ROOT / "build/tidy-cache"
TIDY = "clang-tidy-19"
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
PROBLEM = re.compile(r"^(.+?):(\d+):\d+: (?:error|warning): (.*)$", re.MULTILINE)


@functools.cache
def included(path):
    """The project's headers that a file includes itself."""
    found = set()
    for name in INCLUDE.findall(path.read_text(encoding="utf-8", errors="replace")):
        for folder in (path.parent, ROOT / "src", ROOT / "resources"):
            candidate = (folder / name).resolve()
            if candidate.is_file() and ROOT in candidate.parents:
                found.add(candidate)
                break
    return found


def closure(path):
    """The file and every header of the project that it includes, through others too."""
    seen, waiting = {path}, [path]
    while waiting:
        for header in included(waiting.pop()) - seen:
            seen.add(header)
            waiting.append(header)
    return seen


@functools.cache
def content_hash(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def commands(build):
    """Source -> its compile command."""
    database = build / "compile_commands.json"
    if not database.exists():
        subprocess.run(["cmake", "--preset", build.name], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    found = {}
    for entry in json.loads(database.read_text()):
        path = pathlib.Path(entry["directory"], entry["file"]).resolve()
        # Programs that compile another module's source once more are no other source.
        if path.suffix == ".cc" and build not in path.parents and path.exists():
            found.setdefault(path, entry["command"])
    return found


def key(path, command, version):
    hashed = hashlib.sha256()
    # Where the check-out lies does not matter, which options are given does.
    options = [o.replace(str(ROOT), ".") for o in shlex.split(command)[1:]]
    for part in (version, content_hash(ROOT / ".clang-tidy"), *options):
        hashed.update(part.encode() + b"\0")
    for file in sorted(closure(path)):
        hashed.update(f"{file.relative_to(ROOT)} {content_hash(file)}\0".encode())
    return hashed.hexdigest()


def changed_files():
    names = set()
    for command in (["git", "diff", "--name-only", "HEAD"], ["git", "ls-files", "--others", "--exclude-standard"]):
        names.update(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines())
    return {ROOT / name for name in names}


def check(path, build):
    done = subprocess.run([TIDY, "-p", str(build), "--quiet", str(path)], capture_output=True, text=True, cwd=ROOT)
    problems = {(os.path.relpath(file, ROOT), int(line), text) for file, line, text in PROBLEM.findall(done.stdout + done.stderr)}
    if done.returncode != 0 and not problems:
        problems.add((os.path.relpath(path, ROOT), 0, f"{TIDY} ended with {done.returncode}: " + (done.stderr or done.stdout).strip()[-300:]))
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", nargs="?", type=pathlib.Path, default=ROOT / "build/dev")
    parser.add_argument("files", nargs="*", type=pathlib.Path)
    parser.add_argument("--changed", action="store_true")
    options = parser.parse_args()
    build = options.build.resolve()
    wanted = {f.resolve() for f in options.files}
    changed = changed_files() if options.changed else set()
    if options.changed and not any(path.suffix in (".h", ".cc") or path.name == ".clang-tidy" for path in changed):
        print("tidy: 0 problems, no source differs from HEAD")
        return 0
    known = commands(build)
    for path in wanted - known.keys():
        print(f"{path}: not in {build}/compile_commands.json")
    everything = not wanted and not options.changed
    chosen = [path for path in known if everything or path in wanted or (options.changed and closure(path) & changed)]
    CACHE.mkdir(parents=True, exist_ok=True)
    version = subprocess.run([TIDY, "--version"], check=True, capture_output=True, text=True).stdout
    keys = {path: key(path, known[path], version) for path in chosen}
    todo = [path for path in chosen if not (CACHE / keys[path]).exists()]
    problems = set()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        for path, found in zip(todo, pool.map(lambda p: check(p, build), todo)):
            for file, line, text in sorted(found - problems):
                print(f"{file}:{line}: {text}", flush=True)
            problems |= found
            if not found:
                (CACHE / keys[path]).touch()
    if everything:
        for old in CACHE.iterdir():
            if old.name not in keys.values():
                old.unlink()
    print(f"tidy: {len(problems)} problems in {len(chosen)} sources, {len(chosen) - len(todo)} of them known to be clean")
    return 1 if problems or wanted - known.keys() else 0


if __name__ == "__main__":
    sys.exit(main())
