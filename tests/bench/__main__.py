"""Speed and memory as pairs: each row's work beside its floor, the same work by the best standard tools, in one run.

    python -m tests.bench                the whole table (20 minutes, and 8 GB in --folder)
    python -m tests.bench --quick        all of it in small, in three minutes
    python -m tests.bench pack verify    these rows only; those of memory at many files only so

What the rows are and what bounds them stands in docs/performance.md. Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from tests.bench.measure import Failed, Measured
from tests.bench.rows import ON_DEMAND, ROWS, Bench, Line

_QUICK = 0.1


def _machine() -> str:
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), name)
    tools = (subprocess.run([tool, "--version"], capture_output=True, text=True).stdout for tool in ("zstd", "curl"))
    versions = ", ".join(text.strip().splitlines()[0].strip("* ")[:40] for text in tools)
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    return f"{os.cpu_count()} x {name}, load {load}; Python {platform.python_version()}, {versions}"


def _columns(run: Measured | None) -> str:
    if run is None:
        return f"{'':25}"
    return f"{run.seconds:>8.2f}s{run.processor:>7.2f}s{run.peak / 1_000_000:>6.0f}MB"


def _shown(name: str, line: Line, title: str) -> str:
    ratios = "".join(f"{ratio:>6.2f}x" if ratio is not None else f"{'':7}" for ratio in (line.wall, line.processor))
    missed = f"missed: {line.missed}" if line.missed else ""
    return f"{name:<18}{_columns(line.work)}{_columns(line.floor)}{ratios}{line.aim:>9}  {missed:<18}{title}"


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    rows = {**ROWS, **ON_DEMAND}
    options.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {', '.join(rows)}")
    options.add_argument("--quick", action="store_true", help=f"--scale {_QUICK} --rounds 1")
    options.add_argument("--scale", type=float, help="of the real sizes and numbers (1)")
    options.add_argument("--rounds", type=int, help="times that floor and work take turns (3)")
    options.add_argument("--folder", type=Path, help="where inputs and outputs are made, and taken away again")
    chosen = options.parse_args()
    if unknown := set(chosen.rows) - rows.keys():
        options.error(f"no such row: {', '.join(sorted(unknown))}")
    scale = chosen.scale or (_QUICK if chosen.quick else 1.0)
    rounds = chosen.rounds or (1 if chosen.quick else 3)
    print(f"{_machine()}; scale {scale:g}, {rounds} rounds")
    print(
        f"{'':18}{'work: wall, cpu, peak':>25}{'floor: wall, cpu, peak':>25}{'wall':>7}{'cpu':>7}{'aim':>9}", flush=True
    )
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        bench = Bench(Path(folder), scale=scale, rounds=rounds)
        for name in chosen.rows or ROWS:
            title, row = rows[name]
            try:
                print(_shown(name, row(bench), title), flush=True)
            except Failed as failed:
                print(f"{name:<18}failed: {failed}", flush=True)


if __name__ == "__main__":
    main()
