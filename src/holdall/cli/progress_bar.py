"""Progress on a terminal: one line, drawn over and over."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, RLock, Thread
from typing import TextIO

from tqdm import tqdm
from tqdm.utils import disp_len, disp_trim

from holdall.cli.progress_meter import Meter
from holdall.legible import human_size, printable

# Seconds between two drawings; and after which what came in between is drawn.
_EVERY = 0.1
_LATE = 0.5
# Columns that a title keeps beside the counts, and those that a bar needs to be one.
_TITLE, _BAR = 14, 10


class ProgressBar(Meter):
    """Title, share, counts and time left, as far as there is room.

    Drawn while there is a stage: from the first one on, and after ``close`` from the next one on.
    """

    def __init__(self, stream: TextIO, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        super().__init__(say, clock, _EVERY)
        self._stream = stream
        self._drawn = 0
        self._lock = RLock()
        self._closed = Event()
        self._closed.set()

    def stage(self, title: str, *, things: str = "files") -> None:
        super().stage(title, things=things)
        self.show()
        if self._closed.is_set():
            self._closed = Event()
            Thread(target=self._catch_up, args=(self._closed,), daemon=True).start()

    def _catch_up(self, closed: Event) -> None:
        """Draw what came too soon after a drawing, and nothing came after it."""
        while not closed.wait(_LATE):
            with self._lock:
                if self.is_stale and not closed.is_set():
                    self.show()

    def show(self) -> None:
        if not self.title:
            return
        with self._lock:
            columns = _columns(self._stream)
            line = self._line(columns - 1)
            # The cursor rests at the beginning, so that the ^C that a terminal prints is drawn over.
            self._put(line + " " * (columns - 1 - disp_len(line)))
            self._drawn, self.is_stale = columns - 1, False

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Lines can be printed in the block, above the bar."""
        with self._lock:
            was_drawn = self._drawn
            self.wipe(was_drawn)
            yield
            if was_drawn:
                self.show()

    def close(self) -> None:
        with self._lock:
            self._closed.set()
            self.wipe(self._drawn)
            self.title = ""
            self._reset()

    def wipe(self, columns: int = 8) -> None:
        """Take what was drawn off the screen: the bar, or what a terminal prints when keys are pressed."""
        with self._lock:
            if columns:
                self._put(" " * columns)
            self._drawn = 0

    def _put(self, line: str) -> None:
        self._stream.write(f"\r{line}\r")
        self._stream.flush()

    def _line(self, columns: int) -> str:
        facts = list(self._facts())
        room = columns - min(disp_len(self._title(columns)), _TITLE)
        while facts and sum(len(fact) + 2 for fact in facts) > room:
            facts.pop()
        told = "".join(f"  {fact}" for fact in facts)
        title = self._title(columns - len(told))
        room, share = columns - disp_len(title) - len(told) - 2, self.share
        if share is not None and room >= _BAR:
            # By an encoding that has no blocks it is drawn of letters.
            is_plain = not self._can_say("█")
            bar = tqdm.format_meter(n=share, total=1, elapsed=0, ncols=room, bar_format="{bar}", ascii=is_plain)
            return f"{title}  {bar}{told}"
        return f"{title}{told}"

    def _facts(self) -> Iterator[str]:
        """The most important first."""
        if percent := self.percent:
            yield percent
        if self.files_due:
            yield f"{self.files}/{self.files_due} {self.things}"
        if self.bytes_due:
            done, total = human_size(self.bytes), self.bytes_total
            yield _of(done, human_size(total)) if total else done
        if (left := self.seconds_left) is not None:
            yield f"{tqdm.format_interval(left)} left"

    def _title(self, columns: int) -> str:
        """The title, cut to so many columns."""
        title = printable(self.title).encode(self._encoding, "backslashreplace").decode(self._encoding)
        if disp_len(title) <= columns:
            return title
        mark = "…" if self._can_say("…") else "..."
        cut: str = disp_trim(title, columns - len(mark))
        return cut + mark

    def _can_say(self, char: str) -> bool:
        return char.encode(self._encoding, "ignore") != b""

    @property
    def _encoding(self) -> str:
        return getattr(self._stream, "encoding", None) or "utf-8"


def _of(done: str, due: str) -> str:
    """``1.2/3.4 MB``, where both have one unit."""
    number, _, unit = done.partition(" ")
    return f"{number}/{due}" if due.endswith(f" {unit}") else f"{done}/{due}"


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
