"""Lists of findings that end: the first are kept, the rest is counted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

__all__ = ["KEPT", "Capped"]

T = TypeVar("T")

KEPT = 1000
"""Findings of one kind that are kept to be told."""


class Capped(list[T]):
    """A list that takes up to ``most`` by ``append`` and ``+=``; ``total`` counts all that it was given.

    >>> found = Capped("abc", most=2)
    >>> found, found.total, found.more
    (['a', 'b'], 3, 1)
    """

    def __init__(self, items: Iterable[T] = (), *, most: int = KEPT) -> None:
        super().__init__()
        self._most = most
        self.total = 0
        self.extend(items)

    @property
    def more(self) -> int:
        """How many were not kept."""
        return self.total - len(self)

    def append(self, item: T, /) -> None:
        self.total += 1
        if len(self) < self._most:
            super().append(item)

    def extend(self, items: Iterable[T], /) -> None:
        for item in items:
            self.append(item)

    def __iadd__(self, items: Iterable[T], /) -> Capped[T]:  # type: ignore[override,misc]
        self.extend(items)
        return self
