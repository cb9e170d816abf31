"""What is repeated, after how long, for how long, and how many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from holdall.errors import (
    AuthenticationFailed,
    ConnectionLost,
    NotFound,
    QuotaExhausted,
    RateLimited,
    RemoteError,
    RequestRefused,
    ServerFailed,
    UnexpectedAnswer,
    Unreachable,
)
from holdall.remote.limits import (
    BUDGET,
    FAILURE_PATIENCE,
    FEW,
    FIRST_PATIENCE,
    HOPELESS,
    LONGEST_WAIT,
    PATIENCE,
    Limits,
    Slots,
    Tries,
)
from tests.waiting import STANDSTILL

Fails = Callable[[], RemoteError]


class Moment:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def limits(self, concurrency: int = 3, *, under_way: bool = True) -> Limits:
        made = Limits(concurrency, clock=lambda: self.now, uniform=lambda low, high: high)
        if under_way:
            made.tries("GET /first", repeatable=True).succeeded()
        return made

    def waits(self, tries: Tries, fails: Fails) -> list[float]:
        """The waits until the error stands."""
        waits: list[float] = []
        try:
            while len(waits) < 1000:
                waits.append(tries.after(fails()))
                self.now += waits[-1]
        except RemoteError:
            return waits
        raise AssertionError("this never ends")


def waits(fails: Fails, *, repeatable: bool = True) -> list[float]:
    moment = Moment()
    return moment.waits(moment.limits().tries("GET /x", repeatable=repeatable), fails)


@pytest.mark.parametrize(
    "fails", [lambda: RateLimited("x"), lambda: ServerFailed("x", status=503), lambda: Unreachable("x")]
)
def test_an_outage_of_minutes_is_sat_out_with_growing_waits(fails: Fails) -> None:
    found = waits(fails)
    assert found[:8] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert sum(found) == pytest.approx(PATIENCE)


@pytest.mark.parametrize(
    "fails",
    [
        lambda: RateLimited("x"),
        lambda: ServerFailed("x", status=503),
        lambda: Unreachable("x"),
        lambda: ConnectionLost("x"),
    ],
)
def test_who_never_answered_is_told_of_at_once(fails: Fails) -> None:
    moment = Moment()
    found = moment.waits(moment.limits(under_way=False).tries("GET /x", repeatable=True), fails)
    assert sum(found) == pytest.approx(FIRST_PATIENCE)


@pytest.mark.parametrize(("seconds", "tries"), [(15.0, 2), (120.0, 2), (0.0, 6)])
def test_where_nobody_ever_answered_two_slow_tries_are_enough(seconds: float, tries: int) -> None:
    moment = Moment()
    limits = moment.limits(under_way=False)

    def fails() -> RemoteError:
        moment.now += seconds
        return Unreachable("x")

    assert len(moment.waits(limits.tries("GET /x", repeatable=True), fails)) == tries - 1


def test_a_500_may_be_about_this_request_alone_and_is_given_up_earlier() -> None:
    assert 20 < FAILURE_PATIENCE <= sum(waits(lambda: ServerFailed("x", status=500))) < FAILURE_PATIENCE + 30


def test_slow_failures_count_by_the_clock_and_every_request_has_a_few_tries() -> None:
    moment = Moment()
    tries = moment.limits().tries("GET /x", repeatable=True)
    for _ in range(FEW - 1):
        tries.after(Unreachable("x"))
        moment.now += PATIENCE
    with pytest.raises(Unreachable):
        tries.after(Unreachable("x"))


def test_a_clock_that_stands_still_makes_nothing_endless() -> None:
    limits = Limits(clock=lambda: 0.0, uniform=lambda low, high: high)
    tries = limits.tries("GET /x", repeatable=True)
    assert 4 < len(Moment().waits(tries, lambda: Unreachable("x"))) < 100


def test_an_answer_that_makes_no_sense_has_a_few_tries() -> None:
    assert len(waits(lambda: UnexpectedAnswer("x", status=200, ambiguous=True))) == FEW - 1


@pytest.mark.parametrize(
    "fails",
    [
        lambda: QuotaExhausted("x", retry_after=1),
        lambda: AuthenticationFailed("x", retry_after=1),
        lambda: NotFound("x"),
        lambda: RequestRefused("x"),
        lambda: ServerFailed("x", status=501),
        lambda: ServerFailed("x", status=503, should_retry=False),
    ],
)
def test_what_stays_is_not_repeated(fails: Fails) -> None:
    assert waits(fails) == []


def test_what_the_server_wants_repeated_is() -> None:
    assert waits(lambda: RequestRefused("x", status=409, should_retry=True))


@pytest.mark.parametrize(
    ("error", "repeated"),
    [
        (ServerFailed("x", status=503, ambiguous=True), False),
        (Unreachable("x", ambiguous=True), False),
        (ConnectionLost("x", ambiguous=True), False),
        (UnexpectedAnswer("x", ambiguous=True), False),
        (ServerFailed("x", status=503, ambiguous=True, should_retry=True), False),
        (Unreachable("x", ambiguous=False), True),
        (RateLimited("x"), True),
    ],
)
def test_a_write_is_repeated_only_where_it_certainly_was_not_carried_out(error: RemoteError, repeated: bool) -> None:
    assert bool(waits(lambda: error, repeatable=False)) == repeated


def test_the_server_decides_the_wait_up_to_a_bound() -> None:
    assert waits(lambda: RateLimited("x", retry_after=70))[:2] == [70.25, 70.25]
    assert waits(lambda: RateLimited("x", retry_after=LONGEST_WAIT + 1)) == []


def test_a_lost_idle_connection_costs_no_wait_but_that_ends() -> None:
    found = waits(lambda: ConnectionLost("x", ambiguous=True))
    assert found[:5] == [0, 0, 0, 0.5, 1]
    assert sum(found) < PATIENCE + 30


def test_an_endpoint_that_always_fails_is_waited_for_only_so_long_in_all() -> None:
    moment = Moment()
    limits = moment.limits()

    def one(route: str) -> list[float]:
        return moment.waits(limits.tries(route, repeatable=True), lambda: ServerFailed("x", status=503))

    long = 0
    while len(one("GET /bad")) >= FEW:
        long += 1
    assert long <= max(1, BUDGET / PATIENCE)
    assert sum(one("GET /bad")) < 10
    assert sum(one("GET /other")) >= PATIENCE
    # Whoever gives up on a lost network stops the whole run, so patience for that is never used up.
    assert sum(moment.waits(limits.tries("GET /bad", repeatable=True), lambda: Unreachable("x"))) >= PATIENCE
    helped = limits.tries("GET /bad", repeatable=True)
    helped.after(ServerFailed("x", status=503))
    helped.succeeded()
    assert sum(one("GET /bad")) >= PATIENCE


@pytest.mark.parametrize(
    "fails", [lambda: ServerFailed("x", status=500), lambda: ServerFailed("x"), lambda: UnexpectedAnswer("x")]
)
def test_an_endpoint_that_keeps_failing_is_said_to_and_asked_once_each_until_it_succeeds(fails: Fails) -> None:
    moment = Moment()
    limits = moment.limits()
    told: list[str] = []
    limits.note = told.append

    def one(route: str, fails: Fails) -> int:
        return 1 + len(moment.waits(limits.tries(route, repeatable=True), fails))

    for _ in range(HOPELESS):
        assert told == []
        assert one("GET /bad", fails) >= FEW
    assert [one("GET /bad", fails) for _ in range(5)] == [1] * 5
    assert len(told) == 1
    assert one("GET /other", fails) >= FEW
    assert one("GET /bad", lambda: ServerFailed("x", status=503)) >= FEW
    limits.tries("GET /bad", repeatable=True).succeeded()
    assert one("GET /bad", fails) >= FEW


def test_a_network_that_goes_away_for_good_is_the_word_that_counts() -> None:
    moment = Moment()
    tries = moment.limits().tries("GET /x", repeatable=True)
    tries.after(ServerFailed("the server said something long ago", status=503))
    for _ in range(FEW):
        tries.after(Unreachable("x"))
    moment.now += PATIENCE
    with pytest.raises(Unreachable):
        tries.after(Unreachable("x"))


def test_slots_are_halved_once_for_a_burst_and_grow_back_one_by_one() -> None:
    slots = Slots(8)
    slots.too_many(0)
    slots.too_many(0)  # sent before the first refusal came
    assert slots.allowed == 4
    slots.too_many(1)
    assert slots.allowed == 2
    rounds = 0
    while slots.allowed < 8:
        for _ in range(slots.allowed):
            slots.went_well()
        rounds += 1
    assert 6 <= rounds <= 8
    for token in range(2, 20):
        slots.too_many(token)
    assert slots.allowed == 1
    for _ in range(1000):
        slots.went_well()
    assert slots.allowed == 8


def test_no_more_are_in_flight_than_allowed_and_nobody_is_forgotten() -> None:
    async def main() -> tuple[int, int, int]:
        slots = Slots(4)
        busy = most = later = done = 0

        async def one() -> None:
            nonlocal busy, most, later, done
            async with slots.one() as token:
                busy += 1
                most = max(most, busy)
                if slots.allowed < 4:
                    later = max(later, busy if done > 10 else 0)
                await asyncio.sleep(0)
                if done == 5:
                    slots.too_many(token)
                busy -= 1
                done += 1

        tasks = [asyncio.create_task(one()) for _ in range(40)]
        await asyncio.sleep(0)
        for task in tasks[20::5]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(STANDSTILL):
            async with slots.one():
                pass
        return most, later, done

    assert asyncio.run(main()) == (4, 2, 36)


def test_a_place_given_to_whom_is_cancelled_is_given_on() -> None:
    async def main() -> None:
        slots = Slots(1)
        holding = slots.one()
        await holding.__aenter__()

        async def one() -> None:
            async with slots.one():
                pass

        unlucky, next_ = asyncio.create_task(one()), asyncio.create_task(one())
        await asyncio.sleep(0)
        await holding.__aexit__(None, None, None)
        unlucky.cancel()
        async with asyncio.timeout(STANDSTILL):
            await next_

    asyncio.run(main())


def test_an_endpoint_that_answers_nothing_but_500_is_given_half_a_minute_in_all() -> None:
    limits = Limits(1)
    failed, route = ServerFailed("x", status=500), "GET /assistants/*"
    limits.succeeded("GET /assistants", waited=False)
    assert limits.patience(route, failed) == FAILURE_PATIENCE
    limits.gave_up(route, failed, FAILURE_PATIENCE)
    assert limits.patience(route, failed) == 0
    # One that has worked has the whole budget, and an outage is sat out.
    assert limits.patience(route, ServerFailed("x", status=503)) == PATIENCE
    limits.succeeded(route, waited=False)
    assert limits.patience(route, failed) == FAILURE_PATIENCE
