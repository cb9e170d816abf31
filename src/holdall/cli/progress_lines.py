"""Progress where there is no terminal."""

from __future__ import annotations

from collections.abc import Callable

from holdall.legible import human_size

# Seconds between two lines.
_EVERY = 10.0


class ProgressLines:
    """Progress where there is no terminal: a line per stage, then at most one every ten seconds."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        self._say, self._clock = say, clock
        self._title, self._last = "", clock()
        self._files = self._files_due = self._bytes = self._bytes_due = 0

    def stage(self, title: str) -> None:
        if title != self._title:
            self._title = title
            self._say(title)

    def expect(self, *, files: int = 0, bytes: int = 0) -> None:
        self._files_due += files
        self._bytes_due += bytes

    def advance(self, *, files: int = 0, bytes: int = 0) -> None:
        self._files += files
        self._bytes += bytes
        now = self._clock()
        if now - self._last >= _EVERY:
            self._last = now
            self._say(
                f"{self._title}: {self._files} of {self._files_due} files, "
                f"{human_size(self._bytes)} of {human_size(max(self._bytes, self._bytes_due))}"
            )

    def note(self, text: str) -> None:
        self._say(text)
