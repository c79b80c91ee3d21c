#!/usr/bin/env python3
"""Holds every #include in src/ to the order of the layers, and names the one that breaks it.

A module may include what stands on a line above its own, and what stands left of it on its line.
The same order is drawn in ARCHITECTURE.md.
"""
import pathlib
import re
import sys

LAYERS = """
base
telemetry
async linux
protocol archive
vars pipeline
http store events
secrets identity
fleet
checking scheduling engine slo retention
components
api gateway
worker
cli
app
"""
# Modules for one process of a split deployment see only part of what stands above them.
NARROWED = {
    "worker": {"base", "telemetry", "async", "linux", "protocol", "archive", "http"},
    "cli": {"base", "telemetry", "async", "linux", "protocol", "archive", "vars", "pipeline", "http"},
}
# Programs beside src/ that are built from its modules.
BESIDE = {
    "tests/simulation": {"base", "async", "protocol", "vars", "pipeline", "http", "store", "events", "fleet",
                         "checking", "scheduling", "engine"},
}
# Asio's own timers do not follow an injected clock.
TIMERS_ALLOWED = {"async", "http"}
TIMER = re.compile(r"#include <boost/asio/(steady_timer|system_timer|high_resolution_timer|deadline_timer)")
INCLUDE = re.compile(r'#include "([a-z_]+)/[^"]+"')
MAX_HEADER_LINES, MAX_SOURCE_LINES, MAX_COLUMNS = 300, 800, 100


def allowed_modules():
    allowed, above = {}, set()
    for line in LAYERS.split("\n"):
        left = set()
        for module in line.split():
            allowed[module] = NARROWED.get(module, above | left) | {module}
            left.add(module)
        above |= left
    return allowed


def main(root):
    allowed = allowed_modules()
    problems = []
    allowed.update(BESIDE)
    folders = ["src", *BESIDE]
    for path in sorted(path for folder in folders for path in (root / folder).rglob("*")):
        if path.suffix not in (".h", ".cc"):
            continue
        name = path.relative_to(root)
        module = name.parts[1] if name.parts[0] == "src" else name.parent.as_posix()
        if module not in allowed:
            problems.append(f"{name}: folder '{module}' is not in the layer list of tools/check_layers.py")
            continue
        # Tests stand beside the code but may use helpers of the modules they are tested with.
        is_test = path.stem.endswith("_test") or "testing" in path.stem
        lines = path.read_text(encoding="utf-8").split("\n")
        for number, line in enumerate(lines, 1):
            include = INCLUDE.match(line)
            if include and not is_test and include[1] not in allowed[module]:
                problems.append(f"{name}:{number}: module '{module}' must not include \"{include[1]}/…\"")
            if TIMER.match(line) and module not in TIMERS_ALLOWED:
                problems.append(f"{name}:{number}: Asio timers are for async and http only; use Timers")
            if len(line) > MAX_COLUMNS:
                problems.append(f"{name}:{number}: {len(line)} columns, {MAX_COLUMNS} are allowed")
        limit = MAX_HEADER_LINES if path.suffix == ".h" else MAX_SOURCE_LINES
        # Plan bodies are one table of fields; splitting it would hide that they mirror upstream's.
        if len(lines) > limit and name.as_posix() != "src/protocol/plan.h" and not is_test:
            problems.append(f"{name}: {len(lines)} lines, {limit} are allowed: split it")
    for problem in problems:
        print(problem)
    print(f"layers: {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent)))
