"""Progress on a terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TextIO

from tqdm import tqdm

__all__ = ["Bars"]


class Bars:
    """Progress on a terminal: one bar for files, one for bytes with rate and time left."""

    def __init__(self, stream: TextIO, say: Callable[[str], None]) -> None:
        self._say = say
        self._files: tqdm[Any] = tqdm(total=0, unit="file", position=0, leave=False, file=stream, dynamic_ncols=True)
        self._bytes: tqdm[Any] = tqdm(
            total=0,
            unit="B",
            unit_scale=True,
            position=1,
            leave=False,
            file=stream,
            dynamic_ncols=True,
        )
        self._bytes.set_description_str("bytes")

    def stage(self, title: str) -> None:
        self._files.set_description_str(title)

    def expect(self, *, files: int = 0, bytes: int = 0) -> None:
        self._files.total = (self._files.total or 0) + files
        self._bytes.total = (self._bytes.total or 0) + bytes
        self._files.refresh()

    def advance(self, *, files: int = 0, bytes: int = 0) -> None:
        if files:
            self._files.update(files)
        if bytes:
            self._bytes.total = max(self._bytes.total or 0, self._bytes.n + bytes)
            self._bytes.update(bytes)

    def note(self, text: str) -> None:
        self._say(text)

    def clear(self) -> None:
        self._files.clear()
        self._bytes.clear()

    def close(self) -> None:
        self._bytes.close()
        self._files.close()
