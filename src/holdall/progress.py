"""How an engine reports its progress. No terminal in here: that is the command line's business."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told by the engines as they go; every call is cheap and may come from any coroutine of one event loop.

    Totals grow while a survey still finds things, so a total is always "known so far". Files are counted,
    bytes are bytes of content (not compressed).
    """

    def stage(self, title: str) -> None:
        """A new stage begins: one short line such as ``reading definitions``."""

    def expect(self, *, files: int = 0, bytes: int = 0) -> None:
        """So much more is known to be done."""

    def advance(self, *, files: int = 0, bytes: int = 0) -> None:
        """So much more has been done. Negative where a failed attempt is taken back."""

    def note(self, text: str) -> None:
        """Something the user should read now, one line (a wait, a loss, a retry)."""


class Silent:
    """A Progress that nobody watches."""

    def stage(self, title: str) -> None: ...

    def expect(self, *, files: int = 0, bytes: int = 0) -> None: ...

    def advance(self, *, files: int = 0, bytes: int = 0) -> None: ...

    def note(self, text: str) -> None: ...
