"""Waiting, and being asked to stop: the one place where a run lets time pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from holdall.errors import Interrupted

__all__ = ["SETTLE", "Halt", "Pace"]

SETTLE = 60.0
"""Seconds for which something may still be carried out, or stay out of the lists, after its answer was lost."""


class Halt:
    """A wish to stop: what is in flight is finished, nothing new is begun."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    @property
    def is_asked(self) -> bool:
        return self._asked.is_set()

    def ask(self) -> None:
        """From the event loop's own thread."""
        self._asked.set()

    def check(self) -> None:
        """Raise Interrupted where the wish was made."""
        if self.is_asked:
            raise Interrupted(
                "interrupted: what was in flight is finished and written down",
                hint="run the same command again: it goes on where this one stopped",
            )

    async def during(self, sleep: Callable[[float], Awaitable[None]], seconds: float) -> None:
        """Sleep, or until the wish is made; raises Interrupted then."""
        self.check()
        waits = asyncio.ensure_future(sleep(seconds)), asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self.check()


class Pace:
    """A clock in seconds, a sleep, and pauses that grow by half from ``first`` to ``longest`` seconds.

    ``settle`` is how long is looked for something before it counts as not there.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        first: float = 0.2,
        longest: float = 5.0,
        settle: float = SETTLE,
        halt: Halt | None = None,
    ) -> None:
        self.clock = clock
        self.settle = settle
        self.halt = halt or Halt()
        self._sleep = sleep
        self._first = first
        self._longest = longest

    async def pause(self, nth: int) -> None:
        """The ``nth`` pause in a row, from 0. Raises Interrupted."""
        await self.halt.during(self._sleep, min(self._longest, self._first * 1.5 ** min(nth, 20)))

    async def within(self, start: float, nth: int, *, looked: float) -> bool:
        """Pause, unless the look that began at ``looked`` came after the window that began at ``start``.

        So the last look comes after the window, however long looks and pauses take. Returns whether to look once more.
        Raises Interrupted.
        """
        end = start + self.settle
        if looked >= end:
            return False
        left = max(0.0, end - self.clock())
        await self.halt.during(self._sleep, min(left, self._longest, self._first * 1.5 ** min(nth, 20)))
        return True
