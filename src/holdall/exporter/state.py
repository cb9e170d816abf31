"""The digests that a run's bundle would have, known before the bundle is written."""

from __future__ import annotations

from holdall.bundle.digest import content_line, definition_line, digest_of, record_hash
from holdall.bundle.layout import Digests
from holdall.bundle.sorting import Sorter
from holdall.closing import Closing
from holdall.model import Kind, Rung

__all__ = ["State"]


class State(Closing):
    """Collects what the digests are made of, outside of memory. A context manager; not to be added to after
    ``digests``."""

    def __init__(self) -> None:
        self._definitions, self._contents, self._agents = Sorter(), Sorter(), Sorter()
        self._has_agents = False

    def close(self) -> None:
        self._definitions.close()
        self._contents.close()
        self._agents.close()

    def record(self, kind: Kind, id: str, raw: bytes, store: str | None = None) -> None:
        """A record; a membership with the store that it is in."""
        self._has_agents = self._has_agents or kind is Kind.AGENT
        lines = self._agents if kind is Kind.AGENT else self._definitions
        lines.add(definition_line(kind, id, record_hash(kind, raw), store))

    def content(self, id: str, rung: Rung, sha256: str) -> None:
        """A content that is, or would be, in the bundle."""
        self._contents.add(content_line(id, rung, sha256))

    def digests(self) -> Digests:
        return Digests(
            definitions=digest_of(self._definitions.keys()),
            contents=digest_of(self._contents.keys()),
            agents=digest_of(self._agents.keys()) if self._has_agents else None,
        )
