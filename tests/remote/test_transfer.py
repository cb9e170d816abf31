"""One body into one sink, however often it breaks off: whole, and the right one, or an error."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from holdall.errors import AnswerTooLong, ConnectionLost, RequestRefused, ServerFailed
from holdall.progress import Progress, Silent
from holdall.remote import transfer as module
from holdall.remote.limits import FAILURE_PATIENCE, FIRST_PATIENCE, Limits
from holdall.remote.transfer import Unsized, transfer
from holdall.remote.wire import Download, Rest

BODY = random.Random(7).randbytes(700_000)
OTHER = random.Random(8).randbytes(700_000)
PIECE = 50_000


class Sink:
    is_in_memory = False

    def __init__(self) -> None:
        self.data = b""
        self.state = "open"

    def write(self, data: bytes) -> None:
        assert self.state == "open"
        self.data += data

    def commit(self) -> None:
        assert self.state == "open"
        self.state = "committed"

    def commit_in_memory(self) -> bool:
        if self.is_in_memory:
            self.commit()
        return self.is_in_memory

    def abort(self) -> None:
        if self.state == "open":
            self.state = "aborted"


class Server:
    """Serves a body by HTTP's rules, as far as the test wants; ``cuts`` says after how many bytes each answer ends."""

    def __init__(self, body: bytes = BODY, *, cuts: tuple[int, ...] = (), **headers: str) -> None:
        self.body, self.cuts = body, list(cuts)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.ranges = True
        self.asked: list[Rest | None] = []
        self.sinks: list[Sink] = []
        self.answered = 0
        self.change: Callable[[Server], None] = lambda server: None
        self.slept = 0.0

    def sink(self) -> Sink:
        self.sinks.append(Sink())
        return self.sinks[-1]

    @asynccontextmanager
    async def begin(self, rest: Rest | None) -> AsyncIterator[Download]:
        self.change(self)
        self.asked.append(rest)
        self.answered += 1
        status, headers, part = self.respond(rest)
        yield Download(status, headers, self.chunks(part))

    def respond(self, rest: Rest | None) -> tuple[int, dict[str, str], bytes]:
        validator = self.headers.get("etag") or self.headers.get("last-modified")
        if rest and self.ranges and (rest.validator is None or rest.validator == validator):
            if rest.start >= len(self.body):
                raise RequestRefused("no such range", status=416)
            end = len(self.body)
            place = {"content-range": f"bytes {rest.start}-{end - 1}/{end}"}
            return 206, {**self.headers, **place}, self.body[rest.start :]
        return 200, {"content-length": str(len(self.body)), **self.headers}, self.body

    async def chunks(self, part: bytes) -> AsyncGenerator[bytes, None]:
        cut = self.cuts.pop(0) if self.cuts else len(part)
        for start in range(0, min(cut, len(part)), PIECE):
            yield part[start : min(start + PIECE, cut)]
        if cut < len(part):
            raise ConnectionLost("the connection is gone")

    def get(
        self,
        expected: int | None = None,
        *,
        exact: bool = False,
        progress: Progress | None = None,
        declared: int | None = None,
    ) -> int:
        async def sleep(seconds: float) -> None:
            self.slept += seconds

        limits = Limits(sleep=sleep, clock=lambda: self.slept)

        async def main() -> int:
            arrived = await transfer(
                self.begin,
                self.sink,
                what="can't download file x",
                limits=limits,
                progress=progress or Silent(),
                declared=declared,
                expected=expected,
                exact=exact,
            )
            return arrived.size

        return asyncio.run(main())

    @property
    def got(self) -> bytes:
        assert [sink.state for sink in self.sinks[:-1]] == ["aborted"] * (len(self.sinks) - 1)
        assert self.sinks[-1].state == "committed"
        return self.sinks[-1].data

    @property
    def starts(self) -> list[int]:
        return [rest.start if rest else 0 for rest in self.asked]


def test_a_small_content_is_had_without_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    real = asyncio.BaseEventLoop.run_in_executor

    def run_in_executor(self: asyncio.BaseEventLoop, *args: Any) -> Any:
        asked.append(args)
        return real(self, *args)

    monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", run_in_executor)
    for body, is_in_memory, threads in (
        (b"x" * module.SMALL, True, 0),
        (b"x" * module.SMALL, False, 1),  # to commit it, where other contents are in memory
        (b"x" * (module.SMALL + 1), True, 1),  # to write its last piece
    ):
        monkeypatch.setattr(Sink, "is_in_memory", is_in_memory)
        asked.clear()
        server = Server(body)
        server.get()
        assert server.got == body
        assert len(asked) == threads


@pytest.mark.parametrize("headers", [{"etag": '"a"'}, {"last_modified": "Thu, 01 Jan 1970 00:01:00 GMT"}, {}])
def test_a_body_that_breaks_off_is_gone_on_with(headers: dict[str, str]) -> None:
    server = Server(cuts=(200_000, 300_000, 1), **headers)
    assert server.get() == len(BODY)
    assert server.got == BODY
    assert len(server.sinks) == 1
    assert server.starts == [0, 200_000 - 1024, 500_000 - 2048, 500_000 - 2048]
    assert {rest.validator for rest in server.asked if rest} == {next(iter(headers.values()), None)}


def test_a_server_without_ranges_is_asked_for_the_whole() -> None:
    server = Server(cuts=(200_000,), accept_ranges="none")
    assert server.get() == len(BODY)
    assert (server.got, server.starts) == (BODY, [0, 0])
    server = Server(cuts=(200_000,))
    server.ranges = False  # and doesn't say so
    server.get()
    assert (server.got, len(server.sinks)) == (BODY, 2)


def test_what_is_compressed_on_its_way_has_no_ranges() -> None:
    server = Server(cuts=(200_000,), content_encoding="gzip")
    server.get()
    assert (server.got, server.starts) == (BODY, [0, 0])


def test_a_weak_etag_is_no_proof_of_the_same_bytes() -> None:
    server = Server(cuts=(200_000,), etag='W/"a"', last_modified="Thu, 01 Jan 1970 00:01:00 GMT")
    server.headers["last-modified"] = "Thu, 01 Jan 1970 00:01:00 GMT"
    rests = []
    real = server.respond

    def respond(rest: Rest | None) -> tuple[int, dict[str, str], bytes]:
        rests.append(rest.validator if rest else None)
        return real(rest)

    server.respond = respond  # type: ignore[method-assign]
    server.get()
    assert (server.got, rests) == (BODY, [None, "Thu, 01 Jan 1970 00:01:00 GMT"])


def another(server: Server) -> None:
    if server.answered == 1:
        server.body = OTHER
        server.headers["etag"] = '"other"'


def test_a_body_that_changed_meanwhile_is_begun_again() -> None:
    server = Server(cuts=(200_000,), etag='"a"')
    server.change = another
    server.get()
    assert (server.got, len(server.sinks)) == (OTHER, 2)


def without_validator(server: Server) -> None:
    if server.answered == 1:
        server.body = OTHER


def shorter(server: Server) -> None:
    if server.answered == 1:
        server.body = BODY[:-1]


@pytest.mark.parametrize("change", [without_validator, shorter])
def test_a_rest_that_does_not_belong_to_what_came_is_not_taken(change: Callable[[Server], None]) -> None:
    server = Server(cuts=(200_000,))
    server.change = change
    server.get()
    assert server.got == server.body
    assert len(server.sinks) == 2


def test_a_refused_range_is_followed_by_the_whole() -> None:
    server = Server(cuts=(200_000,))

    def gone(server: Server) -> None:
        if server.answered == 1:
            server.body = BODY[:1000]

    server.change = gone
    server.get()
    assert server.got == BODY[:1000]
    assert server.starts == [0, 200_000 - 1024, 0]


@pytest.mark.parametrize("range_", ["bytes 0-699999/700000", "bytes 9-699999/700000", "lines 1-2/3", ""])
def test_a_part_from_another_place_is_not_taken(range_: str) -> None:
    server = Server(cuts=(200_000,))
    real = server.respond

    def respond(rest: Rest | None) -> tuple[int, dict[str, str], bytes]:
        status, headers, part = real(rest)
        return status, {**headers, "content-range": range_} if rest else headers, BODY if "0-" in range_ else part

    server.respond = respond  # type: ignore[method-assign]
    server.get()
    assert server.got == BODY


def test_a_part_that_nobody_asked_for_never_passes_for_the_whole() -> None:
    server = Server()
    server.respond = lambda rest: (206, {"content-range": "bytes 9-99/700000"}, BODY[9:100])  # type: ignore[method-assign]
    with pytest.raises(ServerFailed, match="a part"):
        server.get()
    assert {sink.state for sink in server.sinks} == {"aborted"}


def test_an_end_before_the_announced_length_is_a_cut() -> None:
    server = Server(BODY[:1000], content_length="2000")
    with pytest.raises(ServerFailed, match="ended after 1000 of 2000 bytes, repeatedly"):
        server.get()
    assert {sink.state for sink in server.sinks} == {"aborted"}
    assert FIRST_PATIENCE <= server.slept < 2 * FAILURE_PATIENCE


def test_a_body_that_always_breaks_off_is_that_file_s_failure_not_the_network_s() -> None:
    server = Server(cuts=(100,) * 1000)
    with pytest.raises(ServerFailed, match="ended after 100 of 700000 bytes"):
        server.get()
    assert len(server.asked) < 100


def test_patience_begins_anew_with_every_piece_of_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    cuts = (100_000, *(11_000,) * 100)
    monkeypatch.setattr("holdall.remote.transfer._PROGRESS", 9_000)
    server = Server(cuts=cuts)
    server.get()
    assert (server.got, len(server.sinks)) == (BODY, 1)
    monkeypatch.setattr("holdall.remote.transfer._PROGRESS", 20_000)
    with pytest.raises(ServerFailed):
        Server(cuts=cuts).get()


def test_an_error_in_place_of_an_answer_is_raised_as_it_is() -> None:
    server = Server()

    def respond(rest: Rest | None) -> tuple[int, dict[str, str], bytes]:
        raise RequestRefused("no", status=400)

    server.respond = respond  # type: ignore[method-assign]
    with pytest.raises(RequestRefused):
        server.get()
    assert [sink.state for sink in server.sinks] == ["aborted"]


def test_a_well_formed_lie_about_the_size_is_found_out() -> None:
    server = Server(BODY[:-1])

    def whole(server: Server) -> None:
        if server.answered == 1:
            server.body = BODY

    server.change = whole
    assert server.get(len(BODY)) == len(BODY)
    assert server.got == BODY


def test_what_comes_twice_is_the_server_s_word_unless_it_has_to_be_exact() -> None:
    server = Server(BODY[:1000])
    assert server.get(1007) == 1000
    assert len(server.asked) == 2
    server = Server(BODY[:1000])
    with pytest.raises(RequestRefused, match="received 1000 bytes of 1007"):
        server.get(1007, exact=True)
    assert {sink.state for sink in server.sinks} == {"aborted"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("repr-digest", "md5=:AAAA:, sha-256=:{sha}:"),
        ("digest", "SHA-256={sha}"),
        ("content-md5", "{md5}"),
    ],
)
def test_a_body_that_is_not_what_its_digest_says_is_fetched_again(name: str, value: str) -> None:
    sha = base64.b64encode(hashlib.sha256(BODY).digest()).decode()
    md5 = base64.b64encode(hashlib.md5(BODY, usedforsecurity=False).digest()).decode()
    server = Server(OTHER, cuts=(200_000,))
    server.headers[name] = value.format(sha=sha, md5=md5)

    def right(server: Server) -> None:
        if server.answered == 2:
            server.body = BODY

    server.change = right
    server.get()
    assert (server.got, server.starts) == (BODY, [0, 200_000 - 1024, 0])


def test_progress_counts_every_byte_once() -> None:
    class Counting(Silent):
        bytes = 0

        def advance(self, *, files: int = 0, bytes: int = 0) -> None:
            self.bytes += bytes

    counting = Counting()
    server = Server(cuts=(200_000, 150_000, 30_000))
    server.change = another
    server.get(progress=counting)
    assert counting.bytes == len(OTHER)


def too_long(server: Server, declared: int | None, *, exact: bool = False) -> int:
    """How many bytes of a body that is longer than the file can be are taken in before that is said."""
    with pytest.raises(AnswerTooLong, match="can't download file x: larger than the file can be: more than"):
        server.get(declared, declared=declared, exact=exact)
    assert [sink.state for sink in server.sinks] == ["aborted"]
    assert len(server.asked) == 1
    return len(server.sinks[0].data)


@pytest.mark.parametrize("length", ["3000000", ""], ids=["told", "untold"])
@pytest.mark.parametrize("exact", [False, True])
def test_a_content_declared_as_5_bytes_is_not_taken_in_at_3_mb(length: str, exact: bool) -> None:
    server = Server(b"x" * 3_000_000, content_length=length)
    assert too_long(server, 5, exact=exact) <= (0 if length else 20 + (1 << 20))


@pytest.mark.parametrize("declared", [None, 0])
def test_a_content_of_no_declared_size_is_as_long_as_the_api_allows(
    declared: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CONTENT", 500_000)
    assert too_long(Server(content_length=""), declared) == 500_000
    monkeypatch.setattr(module, "MAX_CONTENT", len(BODY))
    assert Server(content_length="").get(declared, declared=declared) == len(BODY)


def test_a_content_of_letters_declared_for_bytes_is_taken_in() -> None:
    server = Server(b"x" * 4_000_000)
    assert server.get(1_000_000, declared=1_000_000) == 4_000_000


def test_the_rest_of_a_body_counts_with_what_was_there() -> None:
    server = Server(b"x" * 3_000_000, cuts=(1_000_000,), content_length="")
    with pytest.raises(AnswerTooLong):
        server.get(5, declared=200_000)


class Unlimited(Server):
    """Serves bodies of unknown size to several at once; ``most_long`` is how many of them were long at a time."""

    def __init__(self, body: bytes, limits: Limits, **headers: str) -> None:
        super().__init__(body, **{"content_length": "", **headers})
        self.limits, self.read, self._long, self.most_long = limits, 0, 0, 0

    @asynccontextmanager
    async def begin(self, rest: Rest | None) -> AsyncIterator[Download]:
        async with self.limits.slots.one(), super().begin(rest) as download:
            yield download

    async def chunks(self, part: bytes) -> AsyncGenerator[bytes, None]:
        was_long = False
        try:
            for start in range(0, len(part), PIECE):
                self.read += PIECE
                yield part[start : start + PIECE]
                # What is past the bound was written, so it had its turn.
                if not was_long and len(self.body) - len(part) + start + PIECE > module._TOGETHER:
                    was_long = True
                    self._long += 1
                    self.most_long = max(self.most_long, self._long)
        finally:
            self._long -= was_long

    def three(self, unsized: Unsized) -> list[int | AnswerTooLong]:
        """What became of three downloads at once: their sizes, or why they ended."""

        async def one() -> int | AnswerTooLong:
            try:
                got = await transfer(
                    self.begin,
                    self.sink,
                    what="can't download file x",
                    limits=self.limits,
                    progress=Silent(),
                    unsized=unsized,
                )
            except AnswerTooLong as error:
                return error
            return got.size

        async def main() -> list[int | AnswerTooLong]:
            return await asyncio.gather(one(), one(), one())

        return asyncio.run(main())


@pytest.fixture
def smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("MAX_CONTENT", 2_000_000), ("_TOGETHER", 100_000), ("_MORE", 50_000)):
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("ranges", ["bytes", "none"])
@pytest.mark.usefixtures("smaller")
def test_long_contents_of_unknown_size_come_whole_one_after_another(slots: int, ranges: str) -> None:
    server = Unlimited(BODY, Limits(slots), accept_ranges=ranges)
    assert server.three(Unsized()) == [len(BODY)] * 3
    assert server.most_long == 1
    assert [sink.data for sink in server.sinks if sink.state == "committed"] == [BODY] * 3


@pytest.mark.usefixtures("smaller")
def test_contents_without_end_cost_little_more_than_one_of_them() -> None:
    server = Unlimited(b"x" * 10_000_000, Limits(3), accept_ranges="none")
    unsized = Unsized()
    found = server.three(unsized)
    assert sorted(str(each) for each in found if isinstance(each, AnswerTooLong)) == [
        "can't download file x: larger than the file can be: more than 200000 bytes, after another file of unknown "
        "size that had no end",
        "can't download file x: larger than the file can be: more than 2000000 bytes",
        "can't download file x: larger than the file can be: more than 50000 bytes, after another file of unknown "
        "size that had no end",
    ]
    assert server.read < 2_000_000 + 1_000_000
    assert {sink.state for sink in server.sinks} == {"aborted"}
    # What is short, and what a head tells the length of, comes all the same.
    assert Unlimited(BODY[:50_000], Limits(3)).three(unsized) == [50_000] * 3
    assert Unlimited(BODY, Limits(3), content_length=str(len(BODY))).three(unsized) == [len(BODY)] * 3


def test_a_head_of_absurd_lengths_says_nothing() -> None:
    digits = "1" * 5000
    for value in (digits, "\N{SUPERSCRIPT TWO}"):
        assert Download(200, {"content-length": value}, None).length is None  # type: ignore[arg-type]
    assert Download(206, {"content-range": f"bytes {digits}-{digits}/{digits}"}, None).start == -1  # type: ignore[arg-type]
