"""What is done at once goes into the bundle one after another, in the order in which it was listed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

Put = Callable[[], Awaitable[None]]
"""Puts into the bundle what was fetched."""

AHEAD = 4096
"""How many numbers may be worked on before the first of them is done: their results wait in memory and spool."""


class Turns:
    """Numbers from 0 on; each gets its turn when all before it have had theirs.

    So two exports of one project have their contents in the same order, however the answers came.
    """

    def __init__(self, ahead: int = AHEAD) -> None:
        self._ahead = ahead
        self._next = 0
        self._waiting: dict[int, Put | None] = {}
        self._is_putting = False
        self._moved = asyncio.Event()

    async def room(self, number: int) -> None:
        """Wait until ``number`` is not too far ahead of the one whose turn it is."""
        while number >= self._next + self._ahead:
            await self._moved.wait()

    async def done(self, number: int, put: Put | None) -> None:
        """``number`` is done; ``put``, if given, is awaited in its turn, by whoever is here first."""
        self._waiting[number] = put
        if self._is_putting:
            return
        self._is_putting = True
        try:
            while self._next in self._waiting:
                if (found := self._waiting.pop(self._next)) is not None:
                    await found()
                self._next += 1
                self._moved.set()
                self._moved.clear()
        finally:
            self._is_putting = False
