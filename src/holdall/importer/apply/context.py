"""What everything that carries out a plan needs, in one value; and the one place where a run lets time pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from holdall.errors import Interrupted
from holdall.importer.runs.runfolder import RunFolder
from holdall.progress import Progress
from holdall.remote.client import Account

__all__ = ["FRESH", "PATIENCE", "SETTLE", "Context", "Halt", "Pace"]

SETTLE = 60.0
"""Seconds for which something may still be carried out, or stay out of the lists, after its answer was lost."""

FRESH = 30.0
"""Seconds for which an id that was just given may still be unknown to the server."""

PATIENCE = 8
"""Looks after which the user is told that something is being waited for: some ten seconds."""


class Halt:
    """A wish to stop: what is in flight is finished, nothing new is begun."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """From the event loop's own thread."""
        self._asked.set()

    def check(self) -> None:
        """Raise Interrupted where the wish was made."""
        if self._asked.is_set():
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

    ``settle`` is for how many seconds something is looked for before it counts as not there.
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

    async def looks(self, window: float) -> AsyncIterator[int]:
        """Count looks from 0, with a pause before each but the first, until one began ``window`` seconds after that.

        So there is a look after the window, however long looks and pauses take. Raises Interrupted.
        """
        end, nth = self.clock() + window, 0
        while True:
            looked = self.clock()
            yield nth
            if looked >= end:
                return
            # 1.5 ** 1000 is no float any more.
            pause = min(self._longest, self._first * 1.5 ** min(nth, 20))
            await self.halt.during(self._sleep, max(0.0, min(pause, end - self.clock())))
            nth += 1


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """One run at one destination. ``operation`` gives each attempt a name that is fresh, ``now`` is in Unix seconds."""

    account: Account
    folder: RunFolder
    pace: Pace
    progress: Progress
    operation: Callable[[], str]
    now: Callable[[], float]
