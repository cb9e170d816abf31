"""How an engine reports its progress. No terminal in here: that is the command line's business."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called by the engines as they go; every call is cheap and may come from any coroutine of one event loop.

    Totals grow while a survey still finds things, so a total is always "known so far". Files are counted,
    bytes are bytes of content (not compressed). What was expected of a file is what is advanced for it, also where its
    content is missing, so that all is done in the end.
    """

    def stage(self, title: str, *, things: str = "files") -> None:
        """A new stage begins: what is read or written where, as in ``Downloading files from api.openai.com``.

        ``things`` is what ``files`` counts in it."""

    def expect(self, *, files: int = 0, bytes: int = 0, last: bool = False) -> None:
        """So much more is known to be done. ``last``: that is all, so that it can be said which share is done."""

    def advance(self, *, files: int = 0, bytes: int = 0) -> None:
        """So much more has been done. Negative where a failed attempt is taken back."""

    def note(self, text: str, *, kind: str = "") -> None:
        """Something the user should read now, one line (a wait, a loss, a retry). Of notes of one ``kind`` the first
        is shown, the second, the fourth, the eighth and so on, with their number."""


class Silent:
    """A Progress that nobody watches."""

    def stage(self, title: str, *, things: str = "files") -> None: ...

    def expect(self, *, files: int = 0, bytes: int = 0, last: bool = False) -> None: ...

    def advance(self, *, files: int = 0, bytes: int = 0) -> None: ...

    def note(self, text: str, *, kind: str = "") -> None: ...
