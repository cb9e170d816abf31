"""What is retried, and after how long."""

from __future__ import annotations

import pytest

from holdall.errors import (
    AuthenticationFailed,
    NotFound,
    QuotaExhausted,
    RateLimited,
    RemoteError,
    RequestRefused,
    ServerFailed,
    Unreachable,
)
from holdall.remote.limits import ATTEMPTS, LONGEST_WAIT, Limits

LIMITS = Limits(uniform=lambda low, high: high)


@pytest.mark.parametrize("cls", [RateLimited, ServerFailed, Unreachable])
def test_what_passes_is_retried_with_growing_waits(cls: type[RemoteError]) -> None:
    waits = [LIMITS.wait(cls("x"), attempt, repeatable=True) for attempt in range(1, ATTEMPTS)]
    assert waits == [0.5, 1, 2, 4, 8, 16]
    assert LIMITS.wait(cls("x"), ATTEMPTS, repeatable=True) is None


@pytest.mark.parametrize("cls", [QuotaExhausted, AuthenticationFailed, NotFound, RequestRefused])
def test_what_stays_is_not_retried(cls: type[RemoteError]) -> None:
    assert LIMITS.wait(cls("x", retry_after=1), 1, repeatable=True) is None


def test_a_write_is_repeated_only_where_it_certainly_was_not_carried_out() -> None:
    assert LIMITS.wait(ServerFailed("x", ambiguous=True), 1, repeatable=False) is None
    assert LIMITS.wait(Unreachable("x", ambiguous=True), 1, repeatable=False) is None
    assert LIMITS.wait(Unreachable("x", ambiguous=False), 1, repeatable=False) is not None
    assert LIMITS.wait(RateLimited("x"), 1, repeatable=False) is not None


def test_the_server_decides_the_wait_up_to_a_bound() -> None:
    assert LIMITS.wait(RateLimited("x", retry_after=7), 1, repeatable=True) == 7.25
    assert LIMITS.wait(RateLimited("x", retry_after=LONGEST_WAIT + 1), 1, repeatable=True) is None
