"""The digests that a run's bundle would have, known before the bundle is written."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from holdall.bundle.digest import content_line, definition_line, digest_of, record_hash
from holdall.bundle.layout import Digests
from holdall.bundle.sorting import Sorter
from holdall.model import Kind, Rung

__all__ = ["State"]


class State:
    """Collects what the digests are made of, outside of memory. A context manager; not to be added to after
    ``digests``."""

    def __init__(self) -> None:
        self._definitions, self._contents = Sorter(), Sorter()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._definitions.close()
        self._contents.close()

    def record(self, kind: Kind, id: str, raw: bytes, store: str | None = None) -> None:
        """A record; a membership with the store that it is in."""
        self._definitions.add(definition_line(kind, id, record_hash(kind, raw), store))

    def content(self, id: str, rung: Rung, sha256: str) -> None:
        """A content that is, or would be, in the bundle."""
        self._contents.add(content_line(id, rung, sha256))

    def digests(self) -> Digests:
        return Digests(definitions=digest_of(self._definitions.keys()), contents=digest_of(self._contents.keys()))
