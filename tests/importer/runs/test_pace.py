"""Waiting that grows, that ends with a window, and that Ctrl-C cuts short."""

from __future__ import annotations

import asyncio

import pytest

from holdall.errors import Interrupted
from holdall.importer.runs.pace import Halt, Pace
from tests.importer.rig import Time


def pace(moment: Time, **more: object) -> Pace:
    return Pace(clock=lambda: moment.now, sleep=moment.sleep, **more)  # type: ignore[arg-type]


def test_pauses_grow_up_to_the_longest() -> None:
    moment = Time()
    lengths = []
    for nth in range(12):
        start = moment.now
        asyncio.run(pace(moment).pause(nth))
        lengths.append(moment.now - start)
    assert lengths == sorted(lengths)
    assert lengths[0] == pytest.approx(0.2)
    assert lengths[-1] == pytest.approx(5.0)


def test_the_last_look_comes_after_the_window_however_long_a_look_takes() -> None:
    moment = Time()

    async def looks(takes: float) -> list[float]:
        waiting, began = pace(moment, settle=10.0), []
        start = moment.now
        nth = 0
        while True:
            looked = moment.now
            began.append(looked - start)
            moment.now += takes
            if not await waiting.within(start, nth, looked=looked):
                return began
            nth += 1

    assert asyncio.run(looks(0.1))[-1] == pytest.approx(10.0)
    slow = asyncio.run(looks(7.0))
    assert slow[-1] >= 10.0
    assert len(slow) == 3
    assert len(asyncio.run(looks(100.0))) == 2


def test_a_wish_to_stop_cuts_a_pause_short() -> None:
    async def go() -> None:
        halt = Halt()
        waiting = Pace(clock=lambda: 0.0, sleep=asyncio.sleep, first=1000.0, longest=1000.0, halt=halt)
        asyncio.get_running_loop().call_soon(halt.ask)
        with pytest.raises(Interrupted) as caught:
            await waiting.pause(0)
        assert "same command again" in caught.value.hint
        with pytest.raises(Interrupted):
            await waiting.pause(0)

    asyncio.run(go())
