"""Speed and memory as ratios: each row against its floor, on the same machine, in the same run.

    python -m tests.bench                          the whole table (an hour, and 12 GB in --folder)
    python -m tests.bench --scale 0.02 --rounds 1  all of it in small: does the bench work?
    python -m tests.bench pack verify              these rows only

What the rows are and what bounds them stands in docs/performance.md. Nothing here passes or fails.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

from tests.bench.measure import Failed
from tests.bench.rows import ROWS, Bench


def main() -> None:
    options = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0])
    options.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {', '.join(ROWS)}")
    options.add_argument("--scale", type=float, default=1.0, help="of the real sizes and numbers (1)")
    options.add_argument("--rounds", type=int, default=5, help="times that floor and work take turns (5)")
    options.add_argument("--folder", type=Path, help="where inputs and outputs are made, and taken away again")
    chosen = options.parse_args()
    if unknown := set(chosen.rows) - ROWS.keys():
        options.error(f"no such row: {', '.join(sorted(unknown))}")
    print(f"{os.cpu_count()} processors, Python {platform.python_version()}, scale {chosen.scale:g}")
    print(f"{'work / floor':<74} {'work':>9} {'floor':>9} {'':>9} {'aim':>8}", flush=True)
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        bench = Bench(Path(folder), scale=chosen.scale, rounds=chosen.rounds)
        for name in chosen.rows or ROWS:
            title, row = ROWS[name]
            started = time.monotonic()
            try:
                line = row(bench)
            except Failed as failed:
                print(f"{title:<74} failed: {failed}", flush=True)
                continue
            missed = "" if line.met else "  missed"
            print(
                f"{title:<74} {line.work:>9} {line.floor:>9} {line.value:>9} {line.aim:>8}{missed}  "
                f"{line.note} ({time.monotonic() - started:.0f} s)".rstrip(),
                flush=True,
            )


if __name__ == "__main__":
    main()
