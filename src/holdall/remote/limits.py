"""What to retry, how long to wait, and how many requests run at once.

The rules, in one place; ``docs/retries.md`` tells them to users.

* Never repeated: what waiting doesn't change (quota, credit and spend limits, a bad key, a refusal, 501, a certificate
  that isn't trusted, a web page in place of an answer, one that is too long), and what the server asks not to repeat
  (``x-should-retry: false``).
* Repeated: a rate limit (429), a server failure (5xx, 408), a lost connection, an answer that can't be read. Reads
  always; writes only where the server certainly did not carry the request out.
* The wait is what the server asks for, else exponential with full jitter. A connection that was lost while it lay idle
  costs no wait.
* A request is repeated until it has spent ``PATIENCE``: an outage of minutes is sat out. A 500, and a body that breaks
  off, may be about this one request, so these are repeated for ``FAILURE_PATIENCE`` only. Every request has ``FEW``
  tries, however long they take.
* Until an account has answered a first request with success, ``FIRST_PATIENCE`` is the most: a wrong address or a
  server that is down is told at once, and nothing is under way yet that could be lost. Where there is no answer at
  all, two tries do: each may take as long as a connection may.
* Whether an endpoint is there at all is asked twice at most where the server answers 500 or with a page, which some do
  of every path that they don't know: the answer is compared with that to a path that can't be there.
* What was waited for in vain comes out of a budget of ``BUDGET`` for each endpoint, of ``FAILURE_PATIENCE`` where all
  that it ever answered was 500: once it is spent, an endpoint that always fails costs its requests ``FEW`` tries each,
  until waiting helps again. Nobody waits in a slot.
* Where ``HOPELESS`` requests in a row to one endpoint were given up for their 500s, broken bodies or unreadable
  answers, the next ones have one try each, until one succeeds.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

from holdall.errors import (
    AnswerTooLong,
    ConnectionLost,
    ConnectionMisconfigured,
    NotTheApi,
    QuotaExhausted,
    RateLimited,
    RemoteError,
    ServerFailed,
    UnexpectedAnswer,
    Unreachable,
    one_error,
)
from holdall.progress import Silent

T = TypeVar("T")

# All in seconds, but for FEW and HOPELESS.
PATIENCE = 300.0
FAILURE_PATIENCE = 30.0
FIRST_PATIENCE = 10.0
LONGEST_WAIT = 600.0
BUDGET = 120.0
FEW = 4
HOPELESS = 20
_FIRST_WAIT = 0.5
_CAP = 30.0

_STAYING = (QuotaExhausted, ConnectionMisconfigured, NotTheApi, AnswerTooLong)
_PASSING = (RateLimited, ServerFailed, Unreachable, UnexpectedAnswer)


class Slots:
    """Limits the requests in flight: ``most``, halved at each sign of too many, one more for each round that goes well,
    never less than one. First come, first served.

    A place is held while a body streams, so that ``most`` bounds open transfers too.
    """

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
        if self._busy < self.allowed and not self._waiting:
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
        while self._waiting and self._busy < self.allowed:
            turn = self._waiting.popleft()
            if not turn.done():
                self._busy += 1
                turn.set_result(None)


class Limits:
    """The pace of one account: slots for requests in flight, and the tries of each request.

    ``clock`` gives seconds that never go back. ``patience`` bounds every kind of patience, ``PATIENCE`` if nothing is
    said.
    """

    def __init__(
        self,
        concurrency: int = 3,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        uniform: Callable[[float, float], float] = random.uniform,
        patience: float | None = None,
    ) -> None:
        self.concurrency = concurrency
        self.sleep = sleep
        self.clock = clock
        self.uniform = uniform
        self.slots = Slots(concurrency)
        self._patience = patience
        self._wasted: dict[str, float] = {}
        self._succeeded_once: set[str] = set()
        self._given_up: Counter[str] = Counter()
        self.note: Callable[[str], None] = Silent().note
        """Is told, in one line, of an endpoint that keeps failing."""

    async def each(self, items: Iterable[T], do: Callable[[T], Awaitable[None]]) -> None:
        """``do`` all ``items``, as many at once as there are slots; the first error ends it."""
        queue = iter(items)

        async def work() -> None:
            # One iterator for all: an item is taken only when somebody is free for it, so a stream stays one.
            for item in queue:
                await do(item)

        with one_error():
            async with asyncio.TaskGroup() as group:
                for _ in range(self.concurrency):
                    group.create_task(work())

    def tries(self, route: str, *, repeatable: bool, patient: bool = True) -> Tries:
        """The tries of one request. ``route`` names its endpoint, without ids; ``repeatable`` says whether it may be
        carried out twice. One that isn't ``patient`` asks twice at most where the answer may be that there is no such
        endpoint."""
        return Tries(self, route, repeatable=repeatable, patient=patient)

    def patience(self, route: str, error: RemoteError) -> float:
        """Seconds for which a request may be repeated that ends in ``error``."""
        most = PATIENCE if self._patience is None else self._patience
        if isinstance(error, UnexpectedAnswer):
            return 0.0
        if not self._succeeded_once:
            return min(most, FIRST_PATIENCE)
        if isinstance(error, Unreachable):
            # Giving up on these stops the whole run, so no other request is kept waiting.
            return most
        about_this_one = _may_be_about_this_one(error)
        if about_this_one and self._is_hopeless(route):
            return 0.0
        never = about_this_one and route not in self._succeeded_once
        if self._wasted.get(route, 0.0) >= (FAILURE_PATIENCE if never else BUDGET):
            return 0.0
        return min(most, FAILURE_PATIENCE) if about_this_one else most

    def tries_at_least(self, route: str, error: RemoteError) -> int:
        """Tries of a request that ends in ``error``, however long they take."""
        if _may_be_about_this_one(error) and self._is_hopeless(route):
            return 1
        return FEW if self._succeeded_once or not isinstance(error, Unreachable) else 2

    def _is_hopeless(self, route: str) -> bool:
        return self._given_up[route] >= HOPELESS

    def gave_up(self, route: str, error: RemoteError, seconds: float) -> None:
        self._wasted[route] = self._wasted.get(route, 0.0) + seconds
        if _may_be_about_this_one(error):
            self._given_up[route] += 1
            if self._given_up[route] == HOPELESS:
                self.note(f"{error.message}; {HOPELESS} requests to {route} failed in a row: no more retries there")

    def succeeded(self, route: str, *, waited: bool) -> None:
        self._succeeded_once.add(route)
        self._given_up.pop(route, None)
        if waited:
            self._wasted.pop(route, None)


class Tries:
    """One request from its first try to its last."""

    def __init__(self, limits: Limits, route: str, *, repeatable: bool, patient: bool = True) -> None:
        self._limits, self._route, self._repeatable, self._patient = limits, route, repeatable, patient
        self._failed = self._lost = self._silent = 0
        self._since = self._waited = 0.0
        self._answered: RemoteError | None = None

    def after(self, error: RemoteError, token: int | None = None) -> float:
        """Seconds to wait before the next try. Raises the error that stands, where there is none.

        ``token`` is that of the slot, where the error came in one.
        """
        limits = self._limits
        if isinstance(error, RateLimited) and token is not None:
            limits.slots.too_many(token)
        if self._repeatable and isinstance(error, ConnectionLost) and self._lost < limits.concurrency:
            # Each connection that lay idle may have been closed meanwhile, which says nothing of the server.
            self._lost += 1
            return 0.0
        if isinstance(error, Unreachable):
            self._silent += 1
        else:
            self._silent, self._answered = 0, error
        self._failed += 1
        if self._failed == 1:
            self._since = limits.clock()
        wait = self._wait(error)
        if wait is None:
            # A server that answers and drops connections in between can be reached: its word is what counts.
            # Not so for a write, whose last try alone says whether it may have been carried out.
            heard = self._answered if self._repeatable and self._silent < FEW else None
            raise (heard or error) from None
        self._waited += wait
        return wait

    def succeeded(self) -> None:
        self._limits.slots.went_well()
        self._limits.succeeded(self._route, waited=self._waited > 0)

    def _wait(self, error: RemoteError) -> float | None:
        if not self._may_repeat(error):
            return None
        if not self._patient and self._failed >= 2 and _may_be_about_this_one(error):
            return None
        # A clock that stands still must not make this endless.
        spent = max(self._limits.clock() - self._since, self._waited)
        left = self._limits.patience(self._route, error) - spent
        enough = self._failed >= self._limits.tries_at_least(self._route, error)
        if enough and left <= 0:
            self._limits.gave_up(self._route, error, spent)
            return None
        if error.retry_after is not None:
            # A little on top, so that many waiters don't come back in the same instant.
            return error.retry_after + self._limits.uniform(0, 0.25) if error.retry_after <= LONGEST_WAIT else None
        wait = self._limits.uniform(0, min(_CAP, _FIRST_WAIT * 2 ** min(self._failed - 1, 20)))
        return min(wait, left) if enough else wait

    def _may_repeat(self, error: RemoteError) -> bool:
        if not self._repeatable and error.ambiguous:
            return False
        if isinstance(error, _STAYING) or error.status == 501 or error.should_retry is False:
            return False
        return isinstance(error, _PASSING) or error.should_retry is True


def _may_be_about_this_one(error: RemoteError) -> bool:
    """Whether another request to the same endpoint may well succeed at the same time.

    Servers were seen that answer so to whatever path they don't know.
    """
    return isinstance(error, UnexpectedAnswer) or (isinstance(error, ServerFailed) and error.status in (None, 500))
