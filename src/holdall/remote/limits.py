"""What to retry, how long to wait, and how many requests run at once.

The rules, in one place (measured in seconds):

* Quota, credit and spend-limit errors are never retried: waiting doesn't fill an account.
* A rate limit (429), a server failure (5xx), a request timeout (408) and a lost connection are retried where
  repeating is safe: always for reads; for writes only where the server certainly did not carry the request out.
  What a server has not implemented (501) it will not have the next time either.
* The wait is what the server asks for (``retry-after-ms``, ``retry-after``), else exponential with full jitter,
  0.5 s doubled up to 30 s. At most ``ATTEMPTS`` attempts, and never a wait above ``LONGEST_WAIT``.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from holdall.errors import QuotaExhausted, RateLimited, RemoteError, ServerFailed, Unreachable

__all__ = ["ATTEMPTS", "LONGEST_WAIT", "Limits"]

ATTEMPTS = 7
LONGEST_WAIT = 120.0
_FIRST_WAIT = 0.5
_CAP = 30.0


class Limits:
    """The pace of one account: slots for requests in flight, and the wait before an attempt is repeated.

    ``attempts`` are the most for one request, ``ATTEMPTS`` if nothing is said.
    """

    def __init__(
        self,
        concurrency: int = 3,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
        attempts: int | None = None,
    ) -> None:
        self.concurrency = concurrency
        self._attempts = attempts
        self.sleep = sleep
        self._uniform = uniform
        self._slots = asyncio.Semaphore(concurrency)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """One request in flight. Held while a body streams, so that ``concurrency`` bounds open transfers too."""
        async with self._slots:
            yield

    def wait(self, error: RemoteError, attempt: int, *, repeatable: bool) -> float | None:
        """Seconds to wait before attempt ``attempt + 1`` (the first is 1), or None where the error stands."""
        if attempt >= (self._attempts or ATTEMPTS) or isinstance(error, QuotaExhausted) or error.status == 501:
            return None
        if not isinstance(error, (RateLimited, ServerFailed, Unreachable)):
            return None
        if not repeatable and error.ambiguous:
            return None
        if error.retry_after is not None:
            # A little on top, so that many waiters don't come back in the same instant.
            wait = error.retry_after + self._uniform(0, 0.25)
            return wait if wait <= LONGEST_WAIT else None
        return self._uniform(0, min(_CAP, _FIRST_WAIT * 2 ** (attempt - 1)))
