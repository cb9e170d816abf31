"""Connections to one server: which is used again, and what is asked for that."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable

import httpcore2
import httpx2
import pytest

from holdall.remote.transport import ConnectionStack

BODY = b"x" * 20_000
REQUESTS = 8


class Door:
    """A server that answers each request with ``BODY``, or what ``answer`` says, and counts its connections."""

    def __init__(self) -> None:
        self.opened = 0
        self.answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(BODY), BODY)
        self.together = asyncio.Barrier(1)
        self._writers: list[asyncio.StreamWriter] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        self._writers.append(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await self.together.wait()
                writer.write(self.answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def hang_up(self) -> None:
        """Close all connections; the other end knows it."""
        for writer in self._writers:
            writer.close()
        await asyncio.sleep(0.05)


def run(use: Callable[[ConnectionStack, str, Door], Awaitable[None]], expiry: float | None = None) -> None:
    async def main() -> None:
        door = Door()
        async with await asyncio.start_server(door, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            connections = ConnectionStack(httpx2.URL(url), ssl.create_default_context(), expiry)
            try:
                await use(connections, url, door)
            finally:
                await connections.aclose()
                await door.hang_up()

    asyncio.run(main())


async def get(connections: ConnectionStack, url: str, *, read: bool = True) -> bytes:
    timeout = httpx2.Timeout(10).as_dict()
    response = await connections.handle_async_request(httpx2.Request("GET", url, extensions={"timeout": timeout}))
    try:
        return await response.aread() if read else b""
    finally:
        await response.aclose()


async def together(connections: ConnectionStack, url: str, door: Door) -> None:
    door.together = asyncio.Barrier(REQUESTS)
    await asyncio.gather(*(get(connections, url) for _ in range(REQUESTS)))
    door.together = asyncio.Barrier(1)


def test_a_request_asks_one_idle_connection_whether_it_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Counter[str] = Counter()
    stream = type[httpcore2.AsyncNetworkStream]
    real: Callable[[stream, str], object] = httpcore2._backends.anyio.AnyIOStream.get_extra_info

    def count(self: stream, name: str) -> object:
        asked[name] += 1
        return real(self, name)

    monkeypatch.setattr(httpcore2._backends.anyio.AnyIOStream, "get_extra_info", count)

    async def use(connections: ConnectionStack, url: str, door: Door) -> None:
        await together(connections, url, door)
        assert asked["is_readable"] == 0
        for _ in range(50):
            assert await get(connections, url) == BODY
        assert asked["is_readable"] == 50
        await together(connections, url, door)
        assert door.opened == REQUESTS

    run(use)


def test_what_the_server_closed_is_not_used_again() -> None:
    async def use(connections: ConnectionStack, url: str, door: Door) -> None:
        await together(connections, url, door)
        await door.hang_up()
        assert await get(connections, url) == BODY
        assert door.opened == REQUESTS + 1

    run(use)


def test_what_was_idle_for_too_long_is_not_used_again() -> None:
    async def use(connections: ConnectionStack, url: str, door: Door) -> None:
        for _ in range(3):
            await get(connections, url)
        assert door.opened == 3

    run(use, expiry=-1)


def test_what_was_not_read_to_its_end_is_not_used_again() -> None:
    async def use(connections: ConnectionStack, url: str, door: Door) -> None:
        for opened in (1, 2):
            await get(connections, url, read=False)
            assert door.opened == opened
        door.answer = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"
        task = asyncio.create_task(get(connections, url))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        door.answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\nabc"
        for opened in (4, 5):
            assert await get(connections, url) == b"abc"
            assert door.opened == opened

    run(use)


BELOW = [each for each in vars(httpcore2).values() if isinstance(each, type) and issubclass(each, Exception)]


@pytest.mark.parametrize("error", [each for each in BELOW if each is not httpcore2.ConnectionNotAvailable])
def test_errors_are_those_of_the_client(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:

    async def fail(*args: object, **kwargs: object) -> None:
        raise error("told")

    async def use(connections: ConnectionStack, url: str, door: Door) -> None:
        monkeypatch.setattr(httpcore2.AnyIOBackend, "connect_tcp", fail)
        with pytest.raises(getattr(httpx2, error.__name__), match="told") as caught:
            await get(connections, url)
        assert isinstance(caught.value.__cause__, error)

    run(use)


def test_an_error_in_a_body_is_one_of_the_client() -> None:
    async def use(connections: ConnectionStack, url: str, door: Door) -> None:
        door.answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno number\r\n"
        with pytest.raises(httpx2.RemoteProtocolError):
            await get(connections, url)

    run(use)
