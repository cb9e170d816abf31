"""Bounded lists of findings: the first are kept, the rest are counted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")

KEPT = 1000
"""Findings of one kind that are kept to be reported."""


class Capped(list[T]):
    """A list that takes up to ``KEPT`` by ``append`` and ``+=``; ``total`` counts all that it was given.

    >>> found = Capped()
    >>> found += range(1005)
    >>> len(found), found.total
    (1000, 1005)
    """

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def append(self, item: T, /) -> None:
        self.total += 1
        if len(self) < KEPT:
            super().append(item)

    def __iadd__(self, items: Iterable[T], /) -> Capped[T]:  # type: ignore[override,misc]
        # list's own would not call append.
        for item in items:
            self.append(item)
        return self
