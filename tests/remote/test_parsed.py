"""A parsed text that never ends is truncated, and the file that it is of says how much can be true."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from holdall.errors import UnexpectedAnswer
from holdall.redaction import Redactor
from holdall.remote.parsed import Parsed, read_parsed
from holdall.remote.wire import Answer
from tests.sweep import sweep

KEY = "sk-proj-0123456789abcdef"


class Endless:
    """An account whose texts always have one more page. ``page`` makes the parts of the nth."""

    def __init__(self, page: Callable[[int], list[str]], last: int | None = None) -> None:
        self.page, self.last, self.asked = page, last, 0
        self.redactor = Redactor((KEY,))
        self.around: dict[str, Any] = {}

    async def get(self, where: str, params: Mapping[str, Any] | None = None, **more: Any) -> Answer:
        self.asked += 1
        data = [{"type": "text", "text": text} for text in self.page(self.asked)]
        follows = None if self.asked == self.last else f"p{self.asked}"
        return Answer(
            raw=json.dumps({**self.around, "data": data, "next_page": follows, "has_more": bool(follows)}).encode(),
            status=200,
        )


class Kept:
    def __init__(self) -> None:
        self.data = b""
        self.size = 0

    def write(self, data: bytes) -> None:
        self.size += len(data)
        if self.size < 1 << 20:
            self.data += data

    def commit(self) -> None: ...
    def abort(self) -> None: ...


def read(account: Endless, file_size: int | None) -> tuple[Parsed, Kept]:
    sink = Kept()
    return asyncio.run(read_parsed(account, "/x", sink, file_size=file_size)), sink  # type: ignore[arg-type]


@sweep(("file_size", "pages"), [(5, 1000), (2_000_000, 3000), (None, 11_485)])
def test_a_text_without_end_is_truncated(file_size: int | None, pages: int) -> None:
    account = Endless(lambda number: [str(number)])
    parsed, sink = read(account, file_size)
    assert (parsed.truncated, account.asked) == (True, pages + 1)
    assert parsed.size == sink.size


def test_long_pages_are_bounded_by_what_a_file_unpacks_to() -> None:
    account = Endless(lambda number: [str(number) + "x" * 4_000_000])
    parsed, _ = read(account, 5)
    assert parsed.truncated
    assert parsed.size < 34 << 20


def test_many_parts_are_bounded() -> None:
    account = Endless(lambda number: [str(number)] * 25_000)
    parsed, _ = read(account, 10_000_000)
    assert (parsed.truncated, account.asked) == (True, 11)


def test_a_text_that_ends_is_whole() -> None:
    account = Endless(lambda number: [f"page {number}"], last=1500)
    parsed, sink = read(account, 600_000)
    assert not parsed.truncated
    assert len(json.loads(sink.data)["pages"]) == 1500


def test_a_key_in_a_file_stays_and_one_that_the_server_sends_with_it_does_not() -> None:
    account = Endless(lambda number: [f"my key is {KEY}"], last=1)
    _, sink = read(account, 100)
    assert KEY.encode() in sink.data
    account = Endless(lambda number: [f"my key is {KEY}"], last=1)
    account.around = {"filename": KEY}
    with pytest.raises(UnexpectedAnswer, match="it contains your key"):
        read(account, 100)
