#!/usr/bin/env python3
"""Runs the fuzz targets of a build folder with an instrumented compiler (the dev preset).

  tools/fuzz.py BUILD test TARGET [--gtest_output=json:FILE]   20 s (or $FUZZ_SECONDS), from the corpus
  tools/fuzz.py BUILD run [--minutes N] [--jobs N] [TARGET ...]   for long; what it finds is kept in BUILD/fuzz
  tools/fuzz.py BUILD coverage [TARGET ...]    lines of each parser that the corpus covers; fails below 80 %
  tools/fuzz.py BUILD minimise [TARGET ...]    puts what earlier runs found into fuzz/corpus, as few files as do
  tools/fuzz.py BUILD repeat TARGET FILE       runs one input

An input that fails is kept as BUILD/fuzz/failures/TARGET-…; fuzz/README.md tells what to do with it.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORPUS = ROOT / "fuzz/corpus"
COVERAGE_MIN = 80.0
# Longest input in bytes. Others stay at 4 kB: what is wrong with a parser shows in short texts.
LENGTHS = {"tar": 20_000, "logs": 8_192}
# What one input may take: seconds on a busy machine, and megabytes with the sanitizers' shadow.
SECONDS_MAX, MEGABYTES_MAX = 10, 1024


def program(build, target):
    return build / "fuzz" / f"fuzz_{target}"


def targets(build, wanted):
    known = sorted(p.name.removeprefix("fuzz_") for p in (build / "fuzz").glob("fuzz_*") if os.access(p, os.X_OK) and p.is_file())
    unknown = set(wanted) - set(known)
    if unknown or not known:
        sys.exit(f"no such target in {build}/fuzz: {', '.join(unknown) or 'none is built'}")
    return wanted or known


def environment(profile="/dev/null"):
    options = "detect_stack_use_after_return=0:quarantine_size_mb=64:allocator_may_return_null=1:handle_abort=1"
    # Targets that write files are held up by disks otherwise.
    memory = {"TMPDIR": "/dev/shm"} if os.access("/dev/shm", os.W_OK) else {}
    return {**os.environ, **memory, "LLVM_PROFILE_FILE": str(profile), "TZ": "UTC", "ASAN_OPTIONS": options,
            "UBSAN_OPTIONS": "print_stacktrace=1"}


def command(build, target, *folders, **flags):
    failures = build / "fuzz/failures"
    failures.mkdir(parents=True, exist_ok=True)
    flags = {"max_len": LENGTHS.get(target, 4096), "timeout": SECONDS_MAX, "rss_limit_mb": MEGABYTES_MAX,
             "artifact_prefix": f"{failures}/{target}-", **flags}
    dictionary = ROOT / f"fuzz/{target}.dict"
    if dictionary.exists():
        flags["dict"] = dictionary
    return [str(program(build, target)), *(f"-{name}={value}" for name, value in flags.items()), *map(str, folders)]


def fuzz(build, target, seconds, folder, log):
    """One run; the number of executions, or nothing if it failed."""
    with open(log, "wb") as output:
        code = subprocess.run(
            command(build, target, folder, CORPUS / target, max_total_time=seconds, print_final_stats=1),
            cwd=build / "fuzz", env=environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT).returncode
    found = re.findall(r"number_of_executed_units: (\d+)", log.read_text(errors="replace"))
    return (int(found[-1]) if found else 0) if code == 0 else None


def reason(log):
    """The part of a failed run's log that tells why."""
    lines = log.read_text(errors="replace").splitlines()
    start = next((i for i, line in enumerate(lines)
                  if line.startswith("violated:") or "ERROR:" in line or "runtime error:" in line), max(0, len(lines) - 30))
    kept = [line for line in lines[start:] if not re.match(r"^(0x)?[0-9a-f,x]{4,}$", line)]
    return "\n".join(kept[:60])


def test(build, target, report):
    seconds = int(os.environ.get("FUZZ_SECONDS", "20"))
    log = build / f"fuzz/{target}.log"
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        runs = fuzz(build, target, seconds, folder, log)
    case = {"name": target, "result": "COMPLETED", "time": f"{time.monotonic() - started:.3f}s"}
    if runs is None:
        print(log.read_text(errors="replace"))
        case["failures"] = [{"failure": f"{reason(log)}\nkept in {build}/fuzz/failures"}]
    else:
        print(f"{target}: {runs} executions in {seconds} s")
    if report:
        pathlib.Path(report).write_text(json.dumps({"testsuites": [{"name": "fuzz", "testsuite": [case]}]}))
    return 0 if runs is not None else 1


def run(build, wanted, minutes, jobs):
    def one(target):
        folder = build / "fuzz/found" / target
        folder.mkdir(parents=True, exist_ok=True)
        log = build / f"fuzz/{target}.log"
        runs = fuzz(build, target, int(minutes * 60), folder, log)
        text = f"{runs} executions in {minutes:g} min" if runs is not None else f"FAILED\n{reason(log)}"
        print(f"{target}: {text}", flush=True)
        return runs is not None

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        return 0 if all(list(pool.map(one, wanted))) else 1


def replay(build, target, profile, folder):
    subprocess.run(command(build, target, folder, runs=0, seed=1), cwd=build / "fuzz", env=environment(profile), check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def line_coverage(build, target, folder):
    """(file, lines, covered) of every parser source of a target."""
    with tempfile.TemporaryDirectory() as scratch:
        raw, merged = pathlib.Path(scratch) / "raw", pathlib.Path(scratch) / "merged"
        replay(build, target, raw, folder)
        subprocess.run(["llvm-profdata-19", "merge", "-sparse", raw, "-o", merged], check=True)
        text = subprocess.run(["llvm-cov-19", "export", "-summary-only", program(build, target), f"-instr-profile={merged}"],
                              check=True, capture_output=True, text=True).stdout
    rows = []
    for entry in json.loads(text)["data"][0]["files"]:
        name = entry["filename"].removeprefix(f"{ROOT}/").lstrip("/")
        if name.startswith("src/") and name.endswith(".cc") and "/test_" not in name:
            rows.append((name, entry["summary"]["lines"]["count"], entry["summary"]["lines"]["covered"]))
    return rows


def coverage(build, wanted, details):
    bad = 0
    print(f"{'target':<12}{'inputs':>8}{'lines':>8}{'covered':>9}")
    for target in wanted:
        try:
            rows = line_coverage(build, target, CORPUS / target)
        except subprocess.CalledProcessError as error:
            print(f"{target:<12}   an input of the corpus fails: tools/fuzz.py {build} test {target} tells why ({error.returncode})")
            bad += 1
            continue
        lines, covered = sum(r[1] for r in rows), sum(r[2] for r in rows)
        share = 100.0 * covered / lines if lines else 0.0
        inputs = len(list((CORPUS / target).iterdir()))
        print(f"{target:<12}{inputs:>8}{lines:>8}{share:>8.1f}%{'' if share >= COVERAGE_MIN else '   below %g %%' % COVERAGE_MIN}", flush=True)
        bad += share < COVERAGE_MIN
        for name, count, hit in rows if details else ():
            print(f"    {name:<50}{count:>6}{100.0 * hit / max(count, 1):>8.1f}%")
    return 1 if bad else 0


def minimise(build, wanted):
    """Edges count, not how often each is taken: a corpus of few files."""
    for target in wanted:
        found = build / "fuzz/found" / target
        found.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            # A copy: a run that still goes on replaces what it found.
            folder, copies = pathlib.Path(scratch) / "kept", pathlib.Path(scratch) / "found"
            folder.mkdir()
            copies.mkdir()
            for path in list(found.iterdir()):
                try:
                    shutil.copyfile(path, copies / path.name)
                except FileNotFoundError:
                    pass
            done = subprocess.run(command(build, target, folder, CORPUS / target, copies, merge=1, use_counters=0),
                                  cwd=build / "fuzz", env=environment(), stdin=subprocess.DEVNULL, capture_output=True)
            if done.returncode != 0:
                sys.exit(f"{target}: {done.stderr.decode(errors='replace')[-2000:]}")
            before = {p.read_bytes(): p for p in (CORPUS / target).iterdir()}
            after = {p.read_bytes() for p in folder.iterdir()}
            for content, path in before.items():
                # Named seeds are kept: people wrote them.
                if content not in after and re.fullmatch(r"[0-9a-f]{12}", path.name):
                    path.unlink()
            for path in folder.iterdir():
                if path.read_bytes() not in before:
                    shutil.copyfile(path, CORPUS / target / path.name[:12])
        files = list((CORPUS / target).iterdir())
        print(f"{target}: {len(files)} inputs, {sum(p.stat().st_size for p in files) / 1000:.1f} kB", flush=True)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("action", choices=["test", "run", "coverage", "minimise", "repeat"])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2)
    parser.add_argument("--files", action="store_true", help="coverage of each source too")
    parser.add_argument("--gtest_output", default="")
    given = parser.parse_intermixed_args()
    build = given.build.resolve()
    if given.action == "test":
        return test(build, given.names[0], given.gtest_output.removeprefix("json:"))
    if given.action == "repeat":
        return subprocess.run(command(build, given.names[0], *map(os.path.abspath, given.names[1:])),
                              cwd=build / "fuzz", env=environment()).returncode
    wanted = targets(build, given.names)
    if given.action == "run":
        return run(build, wanted, given.minutes, given.jobs)
    return coverage(build, wanted, given.files) if given.action == "coverage" else minimise(build, wanted)


if __name__ == "__main__":
    sys.exit(main())
