"""How many requests run at once: as many as allowed, fewer while the server says that it is too many."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

from holdall.errors import one_error

__all__ = ["Slots", "each"]

T = TypeVar("T")


async def each(items: Iterable[T], do: Callable[[T], Awaitable[None]], at_once: int) -> None:
    """``do`` all ``items``, so many at once; each is taken when one before it is done. The first error ends it."""
    queue = iter(items)

    async def work() -> None:
        for item in queue:
            await do(item)

    with one_error():
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())


class Slots:
    """Places for requests in flight: ``most`` of them, halved at each sign of too many, one more for each round that
    goes well. Never less than one. First come, first served."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._allowed = float(most)
        self._busy = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._cuts = 0

    @property
    def allowed(self) -> int:
        """How many may be in flight now."""
        return int(self._allowed)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[int]:
        """A place; gives the token for ``too_many``."""
        await self._enter()
        try:
            yield self._cuts
        finally:
            self._busy -= 1
            self._admit()

    def went_well(self) -> None:
        """A request was answered."""
        if self._allowed < self.most:
            self._allowed = min(float(self.most), self._allowed + 1 / self._allowed)
            self._admit()

    def too_many(self, token: int) -> None:
        """The server refused the request that had ``token``. Those that were in flight with it count as one sign."""
        if token == self._cuts:
            self._cuts += 1
            self._allowed = max(1.0, self._allowed / 2)

    async def _enter(self) -> None:
        if self._busy < int(self._allowed) and not self._waiting:
            self._busy += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the place was given in the same moment
                self._busy -= 1
                self._admit()
            raise

    def _admit(self) -> None:
        while self._waiting and self._busy < int(self._allowed):
            turn = self._waiting.popleft()
            if not turn.done():
                self._busy += 1
                turn.set_result(None)
