"""A terminal window of so many columns in which holdall runs, as a person sees it: keys go in, a screen comes out."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self, TypeVar

import pyte

from tests import waiting

T = TypeVar("T")

CTRL_C = "\x03"


class Window:
    """``holdall ARGUMENTS`` as a process of its own; a context manager that leaves it not running."""

    def __init__(
        self, *arguments: str, columns: int = 80, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self._screen = pyte.HistoryScreen(columns, 40, history=10_000, ratio=1)
        self._stream = pyte.ByteStream(self._screen)
        self._said = 0
        self._lock = threading.Lock()
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        # By its own word it is a terminal as pyte is one, whatever the test itself runs in.
        environ = {name: value for name, value in (env or os.environ).items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "holdall", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=cwd,
            env={**environ, "TERM": "linux", "PYTHONIOENCODING": "utf-8"},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # nobody has the other side open any more
                return
            if not data:
                return
            with self._lock:
                self._said += len(data)
                self._stream.feed(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            # All of its session, with the children that it has.
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        os.close(self._ours)

    @property
    def lines(self) -> list[str]:
        """All lines from the first to the last one with something on it."""
        with self._lock:
            above = ["".join(line[x].data for x in range(self._screen.columns)) for line in self._screen.history.top]
            lines = [line.rstrip() for line in (*above, *self._screen.display)]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    @property
    def at_fresh_line(self) -> bool:
        """Whether the cursor stands at the beginning of the line below the last one."""
        last = len(self.lines)
        with self._lock:
            return (self._screen.cursor.x, len(self._screen.history.top) + self._screen.cursor.y) == (0, last)

    def press(self, keys: str) -> None:
        os.write(self._ours, keys.encode())

    def until(self, happened: Callable[[], T]) -> T:
        """Look until something has happened. Raises AssertionError where the process ends before, or stands still."""

        def now() -> T:
            code = self.process.poll()
            found = happened()
            assert found or code is None, f"it ended before, with {code}: {self.lines}"
            return found

        return waiting.until(now, self._progress)

    def shows(self, words: str) -> None:
        """Wait until ``words`` are on a line of the screen."""
        self.until(lambda: any(words in line for line in self.lines))

    def end(self) -> int:
        """Wait until it has ended by itself, and return its exit code."""
        waiting.until(lambda: self.process.poll() is not None, self._progress)
        waiting.until(lambda: not self._reader.is_alive(), self._progress)
        return self.process.returncode

    def _progress(self) -> object:
        return self._said, waiting.worked(self.process.pid)
