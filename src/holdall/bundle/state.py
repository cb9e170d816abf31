"""What the digests are made of, collected outside of memory: of a bundle that is made, checked or only thought of."""

from __future__ import annotations

from holdall.bundle.digest import content_line, definition_line, digest_of
from holdall.bundle.layout import Digests
from holdall.bundle.sorting import Sorter
from holdall.closing import Closing
from holdall.kinds import KINDS
from holdall.model import Fidelity, Kind

__all__ = ["State"]

_ALWAYS = ("definitions", "contents")


class State(Closing):
    """Not to be added to after ``digests``. A context manager."""

    def __init__(self) -> None:
        self._lines = {name: Sorter() for name in _ALWAYS}

    def close(self) -> None:
        for lines in self._lines.values():
            lines.close()

    def record(self, kind: Kind, id: str, sha256: str, store: str | None = None) -> None:
        """A record, by its hash (``record_hash``); a membership with the store that it is in."""
        lines = self._lines.setdefault(KINDS[kind].digest, Sorter())
        lines.add(definition_line(kind, id, sha256, store))

    def content(self, id: str, fidelity: Fidelity, sha256: str) -> None:
        """A content that is, or would be, in the bundle."""
        self._lines["contents"].add(content_line(id, fidelity, sha256))

    def digests(self) -> Digests:
        """Those of kinds with a digest of their own are there where one of the kind is."""
        return Digests(**{name: digest_of(lines.keys()) for name, lines in self._lines.items()})
