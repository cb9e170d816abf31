"""Files read through containers, of which none is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.endpoint import endpoint
from holdall.errors import QuotaExhausted, RequestRefused
from holdall.remote.client import Account
from holdall.remote.containers import Containers, NoContainer
from holdall.remote.limits import Limits
from holdall.sandbox.behaviour import CutBody, Fail, NoQuota, RateLimit, Reset
from holdall.sandbox.server import Running
from tests.project import Hand
from tests.sweep import sweep

KEY = "sk-source-0001"


class Kept:
    """A sink."""

    def __init__(self) -> None:
        self.data, self.state = b"", "open"

    def write(self, data: bytes) -> None:
        self.data += data

    def commit(self) -> None:
        self.state = "committed"

    def commit_in_memory(self) -> bool:
        return False

    def abort(self) -> None:
        if self.state == "open":
            self.state = "aborted"


class Use:
    """Containers of one account, used and closed; ``sinks`` are all that were opened."""

    def __init__(self, box: Running) -> None:
        self.box = box
        self.sinks: list[Kept] = []
        self.containers: Containers | None = None

    def sink(self) -> Kept:
        self.sinks.append(Kept())
        return self.sinks[-1]

    @property
    def kept(self) -> list[bytes]:
        return [sink.data for sink in self.sinks if sink.state == "committed"]

    def __call__(self, work: Callable[[Containers], Awaitable[None]]) -> Containers:
        async def no_time(seconds: float) -> None:
            await asyncio.sleep(0)

        async def main() -> Containers:
            async with (
                Account(endpoint(KEY, self.box.url), limits=Limits(3, sleep=no_time)) as account,
                Containers(account, name="test-1") as self.containers,
            ):
                await work(self.containers)
            return self.containers

        return asyncio.run(main())


@pytest.fixture
def use(box: Running) -> Use:
    return Use(box)


@pytest.fixture
def hand(box: Running) -> Iterator[Hand]:
    with Hand(box.url, KEY) as made:
        yield made


def reads(use: Use, *files: tuple[str, int]) -> Callable[[Containers], Awaitable[None]]:
    async def work(containers: Containers) -> None:
        await asyncio.gather(*(containers.read(file, size, use.sink) for file, size in files))

    return work


def left(hand: Hand) -> list[object]:
    return hand.everything("/containers")


def test_files_share_containers_up_to_their_limits(hand: Hand, use: Use) -> None:
    files = [(hand.file(f"{n}.pdf", b"%d" % n * 100), len(b"%d" % n) * 100) for n in range(45)]
    done = use(reads(use, *files))
    assert done.made == 3
    assert sorted(use.kept) == sorted(b"%d" % n * 100 for n in range(45))
    assert left(hand) == []


def test_another_size_is_refused_and_nothing_of_it_kept(box: Running, hand: Hand, use: Use) -> None:
    box.behave(container_alters_files=True)
    file = hand.file("a.pdf", b"twelve bytes")

    async def work(containers: Containers) -> None:
        with pytest.raises(RequestRefused, match="received 13 bytes of 12"):
            await containers.read(file, 12, use.sink)

    use(work)
    assert {sink.state for sink in use.sinks} == {"aborted"}
    assert left(hand) == []


def test_a_container_that_expires_gives_way_to_a_new_one(box: Running, hand: Hand, use: Use) -> None:
    files = [(hand.file(f"{n}.pdf", b"x" * n), n) for n in range(1, 8)]
    box.behave(container_operations=4)

    async def work(containers: Containers) -> None:
        for file, size in files:
            await containers.read(file, size, use.sink)

    done = use(work)
    assert sorted(map(len, use.kept)) == list(range(1, 8))
    assert done.made > 1
    assert left(hand) == []


def test_without_permission_no_second_container_is_asked_for(box: Running, hand: Hand, use: Use) -> None:
    box.behave(containers=False)
    file = hand.file("a.pdf", b"x")

    async def work(containers: Containers) -> None:
        for _ in range(3):
            with pytest.raises(NoContainer, match="lacks permission"):
                await containers.read(file, 1, use.sink)

    assert use(work).made == 0
    assert [entry.path for entry in box.requests() if entry.path.endswith("/containers")] == ["/v1/containers"]


@sweep(
    ("fault", "method", "path"),
    [
        (Fail(status=503), "POST", "/containers/*/files"),
        (Fail(executed=True), "POST", "/containers/*/files"),
        (Reset(executed=True), "POST", "/containers/*/files"),
        (RateLimit(retry_after=0.01), "POST", "/containers"),
        (Reset(executed=False), "GET", "/containers/*/files/*/content"),
        (CutBody(after=100_000), "GET", "/containers/*/files/*/content"),
        (Fail(status=500), "DELETE", "/containers/*"),
    ],
)
def test_failures_on_the_way_are_got_over(
    box: Running, hand: Hand, use: Use, fault: object, method: str, path: str
) -> None:
    content = bytes(range(256)) * 1000
    file = hand.file("a.pdf", content)
    box.fault(fault, method, path)  # type: ignore[arg-type]
    assert use(reads(use, (file, len(content)))).made == 1
    assert use.kept == [content]
    assert left(hand) == []


@pytest.mark.parametrize("fault", [Reset(executed=True), Fail(executed=True)])
def test_a_container_whose_creation_was_not_answered_is_found_and_deleted(
    box: Running, hand: Hand, use: Use, fault: object
) -> None:
    hand.post("/containers", name="somebody-elses")
    file = hand.file("a.pdf", b"x")
    box.fault(fault, "POST", "/containers")  # type: ignore[arg-type]

    assert use(reads(use, (file, 1))).made == 2
    assert use.kept == [b"x"]
    assert [one["name"] for one in left(hand)] == ["somebody-elses"]  # type: ignore[index]


def test_an_error_or_a_cancellation_leaves_none(box: Running, hand: Hand, use: Use) -> None:
    file = hand.file("a.pdf", b"x")
    box.fault(NoQuota(), "GET", "/containers/*/files/*/content")
    with pytest.raises(QuotaExhausted):
        use(reads(use, (file, 1)))
    assert use.containers is not None
    assert use.containers.made == 1
    assert left(hand) == []

    async def cancelled(containers: Containers) -> None:
        await containers.read(file, 1, use.sink)
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        use(cancelled)
    assert left(hand) == []


def test_a_cancellation_that_comes_while_they_are_deleted_waits(box: Running, hand: Hand, use: Use) -> None:
    file = hand.file("a.pdf", b"x")

    async def main() -> None:
        async with Account(endpoint(KEY, box.url)) as account:

            async def inner() -> None:
                async with Containers(account, name="test-2") as containers:
                    await containers.read(file, 1, use.sink)
                    account.delete = cancelled_twice

            async def cancelled_twice(where: str) -> Any:
                for _ in range(2):
                    task.cancel()
                    for _ in range(5):  # until it waits again
                        await asyncio.sleep(0)
                return await delete(where)

            delete = account.delete
            task = asyncio.create_task(inner())
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(main())
    assert left(hand) == []


def test_what_cannot_be_deleted_is_named(box: Running, hand: Hand, use: Use, tmp_path: Path) -> None:
    file = hand.file("a.pdf", b"x")
    box.fault(Fail(status=500), "DELETE", "/containers/*", times=99)
    done = use(reads(use, (file, 1)))
    assert done.left == [one["id"] for one in left(hand)]  # type: ignore[index]
    assert len(done.left) == 1
