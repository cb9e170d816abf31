"""Runs commands as processes of their own, floor and work in turn, and takes medians."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import msgspec

__all__ = ["Command", "Failed", "Measured", "Pairs", "measure", "median"]

# Between bench and command stands a small process: a process begins with the peak of the one that it was forked from.
_LAUNCH = """
import os, sys, time
started = time.perf_counter()
child = os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])
_, status, usage = os.wait4(child, 0)
seconds = time.perf_counter() - started
print(os.waitstatus_to_exitcode(status), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, file=sys.stderr)
"""


class Failed(Exception):
    """A command of the bench ended with another code than 0."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One command. ``within`` is what it needs around it, made anew for each run; its value is added to the words."""

    words: Sequence[str]
    folder: Path
    within: Callable[[], AbstractContextManager[Sequence[str]]] = lambda: nullcontext(())


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One run: wall seconds, processor seconds of all its processes, peak memory in bytes of the largest of them."""

    seconds: float
    processor: float
    peak: int


class Pairs(msgspec.Struct, frozen=True, kw_only=True):
    """What came of the runs of a row."""

    floors: list[Measured]
    works: list[Measured]

    @property
    def wall(self) -> float:
        """The median of the ratios pair by pair, which a machine that slows down between pairs doesn't change."""
        return self._ratio(lambda run: run.seconds)

    @property
    def processor(self) -> float:
        """The same of the processor seconds, which other programs on the machine hardly change."""
        return self._ratio(lambda run: run.processor)

    def _ratio(self, of: Callable[[Measured], float]) -> float:
        return statistics.median(of(work) / of(floor) for work, floor in zip(self.works, self.floors, strict=True))


def median(runs: Sequence[Measured]) -> Measured:
    """The medians of seconds, and the highest peak."""
    return Measured(
        seconds=statistics.median(run.seconds for run in runs),
        processor=statistics.median(run.processor for run in runs),
        peak=max(run.peak for run in runs),
    )


def measure(floor: Command | None, work: Command, rounds: int) -> Pairs:
    """Floor and work in turn, ``rounds`` times each; which of them is first changes with each round."""
    floors: list[Measured] = []
    works: list[Measured] = []
    for number in range(rounds):
        turn = [(floor, floors), (work, works)]
        for command, runs in turn[:: 1 if number % 2 == 0 else -1]:
            if command is not None:
                runs.append(_run(command))
    return Pairs(floors=floors, works=works)


def _run(command: Command) -> Measured:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "HOLDALL_", "PYTHON"))}
    with command.within() as more:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _LAUNCH, *command.words, *more],
            cwd=command.folder,
            env=kept,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
    *said, last = done.stderr.splitlines()
    code, seconds, processor, peak = last.split()
    if int(code):
        raise Failed(f"{' '.join(command.words)} ended with {code}:\n" + "\n".join(said[-20:]))
    unit = 1 if sys.platform == "darwin" else 1024
    return Measured(seconds=float(seconds), processor=float(processor), peak=int(peak) * unit)
