"""Waiting that grows, that ends with a window, and that Ctrl-C cuts short."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

from holdall.errors import Interrupted
from holdall.importer.apply.context import Pace
from tests.importer.rig import Time


def pace(moment: Time) -> Pace:
    return Pace(clock=lambda: moment.now, sleep=moment.sleep)


def looks(moment: Time, waiting: Pace, window: float, *, takes: float = 0.0) -> list[float]:
    """When each look began that takes so many seconds."""

    async def go() -> list[float]:
        start, began = moment.now, []
        async for nth in waiting.looks(window):
            assert nth == len(began)
            began.append(moment.now - start)
            moment.now += takes
        return began

    return asyncio.run(go())


def test_pauses_grow_up_to_the_longest() -> None:
    moment = Time()
    began = looks(moment, pace(moment), 100.0)
    lengths = [after - before for before, after in pairwise(began)]
    assert lengths[:-1] == sorted(lengths[:-1])
    assert lengths[0] == pytest.approx(0.2)
    assert lengths[-2] == pytest.approx(5.0)


def test_the_last_look_comes_after_the_window_however_long_a_look_takes() -> None:
    moment = Time()
    assert looks(moment, pace(moment), 10.0, takes=0.1)[-1] == pytest.approx(10.0)
    slow = looks(moment, pace(moment), 10.0, takes=7.0)
    assert slow[-1] >= 10.0
    assert len(slow) == 3
    assert len(looks(moment, pace(moment), 10.0, takes=100.0)) == 2
    assert looks(moment, pace(moment), 0.0) == [0.0]


def test_a_wish_to_stop_cuts_a_pause_short() -> None:
    async def go() -> None:
        async def sleep(seconds: float) -> None:
            await asyncio.Event().wait()

        waiting = Pace(clock=lambda: 0.0, sleep=sleep)
        asyncio.get_running_loop().call_soon(waiting.stop)
        for _ in range(2):
            with pytest.raises(Interrupted) as caught:
                async for _ in waiting.looks(1000.0):
                    pass
            assert "same command again" in caught.value.hint

    asyncio.run(go())
