"""The service's own limits on writing to vector stores, for who wants them kept: a switch, off by default.

Sliding windows of a minute over the sandbox's clock. What is refused counts for nothing.
"""

from __future__ import annotations

from collections import deque

from holdall.sandbox.service.api_errors import ApiError

# A minute. Source: OpenAI's rate limits for vector stores (the second one is an organisation's there).
WRITES_PER_STORE = 300
ATTACHED_PER_PROJECT = 2000

_WINDOW = 60.0


class Rates:
    """What was spent in the last minute, by subject. Used on the writing thread only."""

    def __init__(self) -> None:
        self._spent: dict[str, deque[tuple[float, int]]] = {}

    def spend(self, subject: str, amount: int, most: int, now: float) -> None:
        """Spend so much of a subject's minute; raises 429 with the seconds until there is room."""
        spent = self._spent.setdefault(subject, deque())
        while spent and spent[0][0] <= now - _WINDOW:
            spent.popleft()
        if spent and sum(each for _, each in spent) + amount > most:
            wait = spent[0][0] + _WINDOW - now
            raise ApiError(
                429,
                f"Rate limit reached for writes to vector stores: Limit {most} per minute. "
                f"Please try again in {wait:.3f}s.",
                kind="requests",
                code="rate_limit_exceeded",
                headers={"retry-after": f"{max(1, round(wait + 0.5))}", "retry-after-ms": f"{wait * 1000:.0f}"},
            )
        spent.append((now, amount))
