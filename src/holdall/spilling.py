"""A dict that keeps its many entries on disk."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from holdall.temporary import NumberTable

K = TypeVar("K", str, int)

_IN_MEMORY = 1 << 16


class SpillingDict(Generic[K]):
    """Numbers by their keys, all of one type. Up to 65,536 entries are in memory, more in a temporary file.

    A look into the file costs 3 µs, a new entry in it 4. Not thread-safe. Raises CannotWrite where the disk is full.
    """

    def __init__(self, *, in_memory: int = _IN_MEMORY) -> None:
        self._in_memory = in_memory
        self._recent: dict[K, int] = {}
        self._table: NumberTable | None = None

    def __setitem__(self, key: K, number: int) -> None:
        self._recent[key] = number
        if len(self._recent) > self._in_memory:
            self._spill()

    def add(self, key: K) -> bool:
        """As of a set: a key without a number. Returns False if it is there already."""
        if key in self._recent or (self._table is not None and self._table.get(key) is not None):
            return False
        self[key] = 0
        return True

    def get(self, key: K) -> int | None:
        found = self._recent.get(key)
        return self._table.get(key) if found is None and self._table is not None else found

    def __contains__(self, key: K) -> bool:
        return self.get(key) is not None

    def discard(self, key: K) -> None:
        self._recent.pop(key, None)
        if self._table is not None:
            self._table.discard(key)

    def __bool__(self) -> bool:
        return bool(self._recent or self._table)

    def _spill(self) -> None:
        if self._table is None:
            # Few have so many entries that they need it.
            from holdall.temporary import NumberTable

            self._table = NumberTable()
            weakref.finalize(self, self._table.close)
        self._table.put(self._recent)
        self._recent.clear()
