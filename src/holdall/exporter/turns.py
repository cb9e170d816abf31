"""What is done at once goes into the bundle one after another, in the order in which it was listed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import TypeAlias, TypeVar

from holdall.errors import one_error

T = TypeVar("T")
Queue: TypeAlias = asyncio.Queue[T | None]
"""What is to be worked on; None at its end, once for each worker."""

Put = Callable[[], Awaitable[None]]
"""Puts into the bundle what was fetched."""

Turn = Callable[[], bool]
"""Whether its turn has come. Any thread may ask."""


def never() -> bool:
    """The turn of what goes in beside others: it has none of its own."""
    return False


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

    def has_come(self, number: int) -> bool:
        """Whether all before ``number`` have had their turn."""
        return number == self._next

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


async def in_turn(
    feed: Callable[[Queue[T]], Awaitable[None]], work: Callable[[T, Turn], Awaitable[Put | None]], workers: int
) -> None:
    """``work`` on all that ``feed`` puts into the queue, ``workers`` at once; what it returns is awaited in the queue's
    order, and it may ask whether its turn has come."""
    # Bounded: a lister that is faster than the contents waits, and memory stays flat.
    queue: Queue[T] = asyncio.Queue(maxsize=64 * workers)
    turns, numbers = Turns(), count()

    async def feeding() -> None:
        await feed(queue)
        for _ in range(workers):
            await queue.put(None)

    async def working() -> None:
        while (found := await queue.get()) is not None:
            # Nothing is awaited in between, so the numbers are in the queue's order.
            number = next(numbers)
            await turns.room(number)
            await turns.done(number, await work(found, partial(turns.has_come, number)))

    with one_error():
        async with asyncio.TaskGroup() as group:
            group.create_task(feeding())
            for _ in range(workers):
                group.create_task(working())
