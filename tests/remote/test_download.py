"""Downloads that break off, over the wire."""

from __future__ import annotations

import asyncio
import random
from unittest import mock

import pytest

from holdall.endpoint import endpoint
from holdall.errors import ServerFailed
from holdall.progress import Silent
from holdall.remote import wire
from holdall.remote.client import Account
from holdall.remote.limits import Limits
from holdall.remote.transfer import transfer
from holdall.sandbox.behaviour import CutBody, Fault, RateLimit, Reset, Stall
from holdall.sandbox.server import Running
from tests.project import Hand

KEY = "sk-source-0001"
BODY = random.Random(1).randbytes(2_500_000)


class Sink:
    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data

    def commit(self) -> None: ...

    def commit_in_memory(self) -> bool:
        return False

    def abort(self) -> None: ...


def get(box: Running, file: str, silence: float | None = None) -> list[Sink]:
    sinks: list[Sink] = []

    def open_sink() -> Sink:
        sinks.append(Sink())
        return sinks[-1]

    async def main() -> None:
        async def no_time(seconds: float) -> None:
            await asyncio.sleep(0)

        with mock.patch.object(wire, "SILENCE", silence or wire.SILENCE):
            account = Account(endpoint(KEY, box.url), limits=Limits(1, sleep=no_time))
        async with account:
            await transfer(
                lambda rest: account.download(file, rest=rest),
                open_sink,
                what=f"can't download file {file}",
                limits=account.limits,
                progress=Silent(),
            )

    asyncio.run(main())
    return sinks


def faulty(box: Running, *faults: Fault) -> str:
    with Hand(box.url, KEY) as hand:
        file = hand.file("a.png", BODY, purpose="vision")
    for fault in faults:
        box.fault(fault, "GET", "/files/*/content")
    box.forget_requests()
    return file


def test_what_breaks_off_or_falls_silent_is_gone_on_with(box: Running) -> None:
    faults = (CutBody(after=700_000), Stall(after=1_100_000, seconds=0.01), RateLimit(), Reset(), CutBody(after=0))
    sinks = get(box, faulty(box, *faults))
    assert [bytes(sink.data) for sink in sinks] == [BODY]
    assert [each.status for each in box.requests()] == [200, 206, 429, 0, 206, 206]


def test_a_server_that_stays_silent_is_not_waited_for(box: Running) -> None:
    # On a machine so slow that other answers take as long, these are asked for again too.
    sinks = get(box, faulty(box, Stall(after=1_100_000)), silence=1.0)
    assert [bytes(sink.data) for sink in sinks] == [BODY]


def test_without_ranges_it_begins_again(box: Running) -> None:
    box.behave(serve_ranges=False)
    sinks = get(box, faulty(box, CutBody(after=700_000)))
    assert bytes(sinks[-1].data) == BODY
    assert len(sinks) == 2
    assert [each.status for each in box.requests()] == [200, 200]


def test_one_that_never_comes_whole_is_one_error(box: Running) -> None:
    file = faulty(box, *[CutBody(after=5)] * 100)
    with pytest.raises(ServerFailed, match="ended after 5 of 2500000 bytes, repeatedly"):
        get(box, file)
    assert len(box.requests()) < 60
