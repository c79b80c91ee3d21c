#!/usr/bin/env python3
"""Prints the ten slowest build steps of a build folder, from Ninja's log."""
import pathlib
import sys

log = pathlib.Path(sys.argv[1]) / ".ninja_log"
times = {}
for line in log.read_text().splitlines()[1:]:
    start, end, _, output, _ = line.split("\t")
    times[output] = int(end) - int(start)
for output, milliseconds in sorted(times.items(), key=lambda item: -item[1])[:10]:
    print(f"{milliseconds / 1000:7.1f} s  {output}")
print(f"{sum(times.values()) / 1000:7.1f} s  in all, over all cores")
