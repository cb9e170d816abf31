"""Waits for processes and servers by what they do, never by how long it takes: only standing still ends a wait."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self, TypeVar

import msgspec

__all__ = ["STANDSTILL", "Child", "Ended", "holdall", "naming", "until", "worked"]

T = TypeVar("T")

STANDSTILL = 60.0
"""Seconds without any progress after which something counts as stuck."""

_LOOK = 0.02
_LOOKS_A_SECOND = round(1 / _LOOK)


def until(happened: Callable[[], T], progress: Callable[[], object] = lambda: None) -> T:
    """Look until ``happened`` gives something true, and return that.

    Raises AssertionError once ``progress`` has given the same for a minute. The minute is counted in our own looks, so
    that a machine on which we ourselves stand still has not let it pass.
    """
    last, quiet = progress(), 0
    while not (found := happened()):
        if quiet >= STANDSTILL / _LOOK:
            raise AssertionError(f"nothing has moved for {STANDSTILL:.0f} s; the last that was seen: {last}")
        # Finding out may cost more than a look.
        if quiet % _LOOKS_A_SECOND == 0 and (now := progress()) != last:
            last, quiet = now, 0
        quiet += 1
        time.sleep(_LOOK)
    return found


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended, and all that it said."""

    code: int
    out: str
    err: str


class Child:
    """A process whose output is read as it comes. A context manager that leaves it not running."""

    def __init__(
        self, command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self.process = subprocess.Popen(
            [str(word) for word in command],
            cwd=cwd,
            env=None if env is None else dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
        self._said: dict[str, list[str]] = {"out": [], "err": []}
        self._readers = [
            threading.Thread(target=self._read, args=(name, pipe), daemon=True)
            for name, pipe in (("out", self.process.stdout), ("err", self.process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, pipe: IO[str]) -> None:
        with pipe:
            for line in pipe:
                self._said[name].append(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()

    @property
    def out(self) -> str:
        return "".join(self._said["out"])

    @property
    def err(self) -> str:
        return "".join(self._said["err"])

    def until(self, happened: Callable[[], T]) -> T:
        """Look until something has happened. Raises AssertionError where the process ends before, or stands still."""

        def now() -> T:
            code = self.process.poll()
            found = happened()
            assert found or code is None, f"it ended before, with {code}: {self.out}{self.err}"
            return found

        return until(now, self._progress)

    def says(self, words: str) -> None:
        """Wait until ``words`` are in a line that it has printed."""
        self.until(lambda: words in self.out or words in self.err)

    def end(self) -> Ended:
        """Wait until it has ended by itself. Raises AssertionError where it stands still."""
        until(lambda: self.process.poll() is not None, self._progress)
        until(lambda: not any(reader.is_alive() for reader in self._readers), self._progress)
        return Ended(code=self.process.returncode, out=self.out, err=self.err)

    def _progress(self) -> object:
        return len(self._said["out"]), len(self._said["err"]), worked(self.process.pid), self.err[-2000:]


def worked(pid: int) -> object:
    """How long a process and all below it have had a processor, in ticks; never the same twice while one of them waits
    for a processor, or where the system doesn't tell: then nobody can know that it stands still."""
    parents, ticks, waiting = {}, {}, set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            # After the name, which may hold anything, come the state, the parent, and as the 12th and 13th the times.
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        number = int(path.parent.name)
        parents[number], ticks[number] = int(fields[1]), int(fields[11]) + int(fields[12])
        if fields[0] in ("R", "D"):
            waiting.add(number)
    family = {pid}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    if not parents or family & waiting:
        return object()
    return sum(ticks.get(member, 0) for member in family)


def naming(word: str) -> list[int]:
    """The processes that have ``word`` in their command line or environment; none where the system doesn't tell."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            told = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:  # it has ended, or is somebody else's
            continue
        if word.encode() in told and int(folder.name) != os.getpid():
            found.append(int(folder.name))
    return found


def holdall(*arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Child:
    """``holdall ARGUMENTS`` as a process of its own."""
    return Child([sys.executable, "-m", "holdall", *arguments], cwd=cwd, env=env)
