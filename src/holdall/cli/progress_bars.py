"""Progress on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TextIO

from tqdm import tqdm


class ProgressBars:
    """Progress on a terminal: one bar for files, one for bytes with rate and time left.

    They are drawn from the first stage on, and again after ``close``: an engine reports on after its command has
    printed something in between.
    """

    def __init__(self, stream: TextIO, say: Callable[[str], None]) -> None:
        self._stream, self._say = stream, say
        self._bars: list[tqdm[Any]] = []
        self._title = ""

    def stage(self, title: str) -> None:
        self._title = title
        if self._bars:
            self._bars[0].set_description_str(title)
        else:
            # Until something is expected there is nothing to measure.
            self._bars = [self._bar(bar_format="{desc}", desc=title)]

    def expect(self, *, files: int = 0, bytes: int = 0) -> None:
        drawn = self._measuring()
        drawn[0].total += files
        drawn[1].total += bytes
        drawn[0].refresh()

    def advance(self, *, files: int = 0, bytes: int = 0) -> None:
        drawn = self._measuring()
        if files:
            drawn[0].update(files)
        if bytes:
            # What was expected is the server's word, and more may come.
            drawn[1].total = max(drawn[1].total, drawn[1].n + bytes)
            drawn[1].update(bytes)

    def note(self, text: str) -> None:
        self._say(text)

    def aside(self) -> AbstractContextManager[None]:
        """Lines can be printed in the block, above the bars."""
        taken: AbstractContextManager[None] = tqdm.external_write_mode(file=self._stream)
        return taken

    def close(self) -> None:
        for bar in reversed(self._bars):
            bar.close()
        self._bars = []

    def _measuring(self) -> list[tqdm[Any]]:
        if len(self._bars) < 2:
            self.close()
            self._bars = [
                self._bar(unit="file", desc=self._title or None),
                self._bar(unit="B", unit_scale=True, position=1, desc="bytes"),
            ]
        return self._bars

    def _bar(self, **options: Any) -> tqdm[Any]:
        return tqdm(total=0, leave=False, file=self._stream, dynamic_ncols=True, **options)
