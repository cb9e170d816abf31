"""The shared context of a run's steps, their waiting, and which errors end a run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec

from holdall.errors import AuthenticationFailed, Interrupted, PermissionDenied, QuotaExhausted, RemoteError, Unreachable
from holdall.importer.runs.runfolder import RunFolder
from holdall.progress import Progress
from holdall.remote.client import Account
from holdall.remote.probing import probe
from holdall.remote.refusals import missing_scopes

SETTLE = 60.0
"""Seconds for which something may still be carried out, or stay out of the lists, after its answer was lost."""

FRESH = 30.0
"""Seconds for which an id that was just given may still be unknown to the server."""

PATIENCE = 8
"""Looks after which the user is told that something is being waited for: some ten seconds."""


_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0


class Pace:
    """Waiting by a ``clock`` in seconds and a ``sleep``, cut short by a request to stop.

    ``settle``: seconds for which something is looked for before it counts as missing.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        settle: float = SETTLE,
    ) -> None:
        self.clock, self.settle = clock, settle
        self._sleep = sleep
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Request a stop: what is in flight is finished, nothing new is begun. Call it from the event loop's thread."""
        self._stop.set()

    def require_no_stop(self) -> None:
        """Raises Interrupted if a stop was requested."""
        if self._stop.is_set():
            raise Interrupted(
                "interrupted: requests in flight were completed and recorded",
                hint="run the same command again to resume",
            )

    async def looks(self, window: float) -> AsyncIterator[int]:
        """Count looks from 0, with growing pauses between, until one began ``window`` seconds after the first.

        So there is a look after the window, however long looks and pauses take. Raises Interrupted, also out of a
        pause.
        """
        end, nth = self.clock() + window, 0
        while True:
            looked = self.clock()
            yield nth
            if looked >= end:
                return
            # The exponent has a limit, for 1.5 ** 1800 is no float any more.
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 1.5 ** min(nth, 20))
            await self._pause(max(0.0, min(pause, end - self.clock())))
            nth += 1

    async def _pause(self, seconds: float) -> None:
        self.require_no_stop()
        waits = asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self.require_no_stop()


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """One run at one destination. ``operation`` gives each attempt a name that is fresh, ``now`` is in Unix seconds."""

    account: Account
    folder: RunFolder
    pace: Pace
    progress: Progress
    operation: Callable[[], str]
    now: Callable[[], float]

    async def stopping(self, error: RemoteError) -> RemoteError | None:
        """The error that ends the whole run, if every later request would fail like this one; else None.

        So does a bad key, an empty account, and a key without a scope; a 403 alone may be about one model. A lost
        connection ends the run if a read fails too.
        """
        # So OpenAI says of a restricted key that it may not do this to anything.
        lacking = isinstance(error, PermissionDenied) and missing_scopes(error) is not None
        if lacking or isinstance(error, (AuthenticationFailed, QuotaExhausted)):
            return error
        if isinstance(error, Unreachable):
            try:
                await probe(self.account)
            except RemoteError as gone:
                return gone
        return None


def explained(error: RemoteError) -> str:
    """The error's reason without the request's method and path, for messages that name the object themselves."""
    reason = error.message.partition(": ")[2] if error.message.startswith("can't POST ") else error.message
    if error.ambiguous:
        return f"{reason}; retried without success"
    return reason
