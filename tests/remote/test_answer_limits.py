"""What is read of an answer is bounded, whatever its head says, however it is packed, and however slowly it comes."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from unittest import mock

import pytest

from holdall.endpoint import endpoint
from holdall.errors import AnswerTooLong, NotFound, RemoteError, ServerFailed, UnexpectedAnswer, Unreachable
from holdall.remote import wire
from holdall.remote.client import Account
from holdall.remote.limits import Limits
from holdall.remote.transport import MAX_ERROR, MAX_PAGE
from holdall.untrusted import MAX_JSON
from tests.sweep import sweep


class Raw:
    """A server that writes what the test wants, without end if it wants that, until the client hangs up."""

    def __init__(self) -> None:
        self.answer: Callable[[str], Iterator[bytes]] = lambda target: iter([b""])
        self.sent: list[int] = []
        self.targets: list[str] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.socket.accept()
                self.threads.append(threading.Thread(target=self._serve, args=(connection,)))
                self.threads[-1].start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            asked = b""
            while b"\r\n\r\n" not in asked:
                asked += (got := connection.recv(1 << 16))
                if not got:
                    return
            self.targets.append(asked.split()[1].decode())
            number = len(self.sent)
            self.sent.append(0)
            for piece in self.answer(self.targets[-1]):
                connection.sendall(piece)
                self.sent[number] += len(piece)

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        for thread in [self._accepting, *self.threads]:
            thread.join()


@pytest.fixture
def server() -> Iterator[Raw]:
    made = Raw()
    yield made
    made.close()


def use(server: Raw, work: Callable[[Account], Any], *, silence: float | None = None) -> Any:
    """Run ``work`` with an account whose waits take no time."""

    async def main() -> Any:
        async def no_time(seconds: float) -> None:
            await asyncio.sleep(0)

        at = endpoint("sk-test-000001", f"http://127.0.0.1:{server.socket.getsockname()[1]}/v1")
        with mock.patch.object(wire, "SILENCE", silence or wire.SILENCE):
            account = Account(at, limits=Limits(3, sleep=no_time))
        async with account:
            return await work(account)

    return asyncio.run(main())


def head(status: int = 200, **fields: str) -> bytes:
    lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items()]
    return f"HTTP/1.1 {status} X\r\n{''.join(lines)}\r\n".encode()


def endless(first: bytes, piece: bytes) -> Iterator[bytes]:
    yield first
    while True:
        yield piece


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def packed(how: str, size: int) -> bytes:
    plain = b'{"a":"' + b"x" * size + b'"}'
    return gzip.compress(plain) if how == "gzip" else zlib.compress(plain)


def processor_seconds(work: Callable[[], Any]) -> float:
    before = time.thread_time()
    work()
    return time.thread_time() - before


JSON = {"content_type": "application/json"}


@pytest.mark.parametrize("where", ["/assistants/asst_1", "/models"])
def test_an_endless_record_is_read_as_far_as_one_may_go_and_asked_for_once(server: Raw, where: str) -> None:
    server.answer = lambda target: endless(head(**JSON), b'{"a":"' + b"x" * 65536)
    with pytest.raises(AnswerTooLong, match=f"can't GET {where}: .*longer than {MAX_JSON} bytes") as caught:
        use(server, lambda account: account.get(where))
    assert caught.value.hint
    assert len(server.sent) == 1
    assert server.sent[0] < 3 * MAX_JSON


def test_an_error_is_read_as_far_as_it_is_looked_at(server: Raw) -> None:
    server.answer = lambda target: endless(head(500, content_type="text/html"), b"<" * 65536)
    with pytest.raises(ServerFailed):
        use(server, lambda account: account.get("/models", patient=False))
    assert max(server.sent) < MAX_ERROR + (16 << 20)  # what lies in the sockets


@sweep("how", ["gzip", "deflate"])
def test_what_comes_out_of_a_packed_body_counts(server: Raw, how: str) -> None:
    body = packed(how, 300 << 20)
    server.answer = lambda target: iter([head(content_encoding=how, content_length=str(len(body)), **JSON), body])
    with pytest.raises(AnswerTooLong, match="longer than"):
        use(server, lambda account: account.get("/models"))
    small = packed(how, 1000)
    server.answer = lambda target: iter([head(content_encoding=how, content_length=str(len(small)), **JSON), small])
    assert len(json.loads(use(server, lambda account: account.get("/models")).raw)["a"]) == 1000


@pytest.mark.thorough
def test_a_packed_error_is_cut(server: Raw) -> None:
    body = gzip.compress(b"no such thing " + b"x" * (300 << 20))
    server.answer = lambda target: iter([head(404, content_encoding="gzip", content_length=str(len(body))), body])
    with pytest.raises(NotFound, match="no such thing"):
        use(server, lambda account: account.get("/models"))


def test_a_body_packed_more_than_once_is_refused(server: Raw) -> None:
    body = gzip.compress(packed("gzip", 100))
    server.answer = lambda target: iter([head(content_encoding="gzip, gzip", content_length=str(len(body))), body])
    with pytest.raises(AnswerTooLong, match="compressed more than once"):
        use(server, lambda account: account.get("/models"))


def test_a_packed_body_of_which_nothing_comes_is_refused(server: Raw) -> None:
    packing = zlib.compressobj(wbits=31)
    start, nothing = packing.compress(b"{") + packing.flush(zlib.Z_FULL_FLUSH), b"\0\0\0\xff\xff" * 10_000
    server.answer = lambda target: endless(head(content_encoding="gzip", **JSON) + start, nothing)
    with pytest.raises(AnswerTooLong, match="compressed body is empty"):
        use(server, lambda account: account.get("/models"))


def test_many_small_pieces_count_for_what_they_cost(server: Raw) -> None:
    server.answer = lambda target: endless(head(transfer_encoding="chunked", **JSON), chunk(b"1") * 1000)
    with pytest.raises(AnswerTooLong):
        use(server, lambda account: account.get("/models"))


def test_a_head_of_10_mb_is_no_outage(server: Raw) -> None:
    server.answer = lambda target: endless(b"HTTP/1.1 200 OK\r\n", b"x-a: " + b"a" * 1000 + b"\r\n")
    with pytest.raises(AnswerTooLong, match="its headers are longer than 100 KiB"):
        use(server, lambda account: account.get("/models"))
    assert len(server.sent) == 1


def test_what_the_head_says_is_cut_before_it_is_said(server: Raw) -> None:
    long = "x" * 50_000
    fields = {"openai_organization": long, "x_request_id": long, "content_length": "2", **JSON}

    async def work(account: Account) -> tuple[int, int]:
        answer = await account.get("/models")
        return len(account.organization or ""), len(answer.request_id or "")

    server.answer = lambda target: iter([head(**fields), b"{}"])
    assert use(server, work) == (200, 200)


def test_cookies_are_not_kept(server: Raw) -> None:
    async def work(account: Account) -> object:
        await account.get("/models")
        return account._sdk._client.cookies

    server.answer = lambda target: iter([head(set_cookie="a=b; Path=/", content_length="2", **JSON), b"{}"])
    assert not use(server, work)


def trickle(first: bytes, piece: bytes) -> Iterator[bytes]:
    yield first
    while True:
        time.sleep(0.02)
        yield piece


@pytest.mark.parametrize("first", [head(**JSON), b"HTTP/1.1 200 OK\r\nx-a: "], ids=["body", "head"])
def test_an_answer_that_trickles_without_end_is_given_up(server: Raw, first: bytes) -> None:
    server.answer = lambda target: trickle(first, b" ")
    with pytest.raises(Unreachable, match="no answer before the timeout"):
        use(server, lambda account: account.get("/models"), silence=0.2)


def test_heads_that_say_wait_without_end_are_given_up(server: Raw) -> None:
    server.answer = lambda target: trickle(b"", b"HTTP/1.1 102 Processing\r\n\r\n")
    with pytest.raises(Unreachable, match="no answer before the timeout"):
        use(server, lambda account: account.get("/models"), silence=0.2)


def test_a_content_that_trickles_without_end_falls_silent(server: Raw) -> None:
    server.answer = lambda target: trickle(head(content_length="1000000"), b"x")

    async def work(account: Account) -> bytes:
        got = b""
        try:
            async with account.download("file-1") as download:
                async for piece in download.chunks:
                    got += piece
        except Unreachable:
            return got
        raise AssertionError("it came to an end")

    assert set(use(server, work, silence=0.2)) == {ord("x")}


DEEP = b"[" * 100_000 + b"]" * 100_000


@sweep(
    "body",
    [DEEP, b'{"a":' * 100_000, b'{"a":tru}', b'"' + b'\\"' * 500_000 + b"[" * 300],
    ids=["deep", "open", "no word", "unterminated string"],
)
def test_json_that_no_decoder_takes_is_unreadable(server: Raw, body: bytes) -> None:
    server.answer = lambda target: iter([head(content_length=str(len(body)), **JSON), body])
    with pytest.raises(UnexpectedAnswer, match="can't GET /models: invalid answer"):
        use(server, lambda account: account.get("/models"))


@pytest.mark.parametrize("status", [400, 404, 500])
@sweep(
    "body",
    [
        DEEP,
        b'{"error":{"message":' + DEEP + b"}}",
        b"<" * 300_000,
        b"<title" * 50_000,
        b"<script>" * 40_000,
        b"<a" * 150_000 + b">",
        b"&#" + b"1" * 5000 + b";",
        b'{"error":{"code":' + b"1" * 5000 + b"}}",
        b'{"error":{"code":[' + b'"a",' * 10_000 + b"1]}}",
        b"\xff" * 1000,
        b"null",
        b"[]",
        b"1",
    ],
    ids=lambda body: body[:12].decode("latin-1"),
)
def test_an_error_of_any_shape_is_said_soon(server: Raw, status: int, body: bytes) -> None:
    kind = {"content_type": "text/html; charset=zlib"}
    server.answer = lambda target: iter([head(status, content_length=str(len(body)), **kind), body])

    def work() -> None:
        with pytest.raises(RemoteError) as caught:
            use(server, lambda account: account.get("/models", patient=False))
        assert caught.value.status == status
        assert all(len(word or "") < 500 for word in (str(caught.value), caught.value.code, caught.value.detail))

    assert processor_seconds(work) < 5


def test_a_page_with_one_record_that_is_too_deep_gives_the_others(server: Raw) -> None:
    body = b'{"data":[{"id":"a"},{"id":"b","x":%s},{"id":"c"}],"has_more":false}' % DEEP
    server.answer = lambda target: iter([head(content_length=str(len(body)), **JSON), body])

    async def work(account: Account) -> list[bytes]:
        return [item async for item in account.items("/assistants")]

    a, deep, c = use(server, work)
    assert (a, c) == (b'{"id":"a"}', b'{"id":"c"}')
    assert deep.startswith(b'{"id":"b"')


def test_records_that_are_too_long_for_one_page_come_in_shorter_ones(server: Raw) -> None:
    records = [json.dumps({"id": f"a{n}", "x": "x" * (MAX_PAGE // 9)}).encode() for n in range(10)]

    def answer(target: str) -> Iterator[bytes]:
        start = int(target.partition("after=a")[2].partition("&")[0] or -1) + 1
        end = start + int(target.partition("limit=")[2].partition("&")[0])
        more = b"true" if end < len(records) else b"false"
        body = b'{"data":[%s],"has_more":%s}' % (b",".join(records[start:end]), more)
        return iter([head(content_length=str(len(body)), connection="close", **JSON), body])

    async def work(account: Account) -> list[bytes]:
        return [item async for item in account.items("/assistants")]

    server.answer = answer
    assert use(server, work) == records


def test_a_packed_body_that_is_damaged_is_no_outage(server: Raw) -> None:
    body = b"no gzip at all"
    server.answer = lambda target: iter([head(content_encoding="gzip", content_length=str(len(body)), **JSON), body])
    with pytest.raises(UnexpectedAnswer, match="invalid answer"):
        use(server, lambda account: account.get("/models"))
