"""Lists read from servers that page as they like: whole or doubted, each id once, and always to an end."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.errors import NotFound, RequestRefused, ServerFailed
from holdall.remote.lists import Listing, Page
from tests.sweep import examples

# The lengths of a page that may be followed by another: what is asked for, and what servers have of their own.
FULL = (5, 10, 20, 25)
ENDLESS = "the server does not mark its end"


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """A list of so many items, and the way in which it is paged."""

    length: int
    page: int | None = None
    """The length of its pages whatever is asked for, more than one; None to do as asked."""
    cursor: str = "works"
    """works, is ignored, is inclusive, gives an empty page, or is refused."""
    more: str = "true"
    """has_more as it is, always, or never said."""
    order: bool = True
    """Whether order=desc is understood."""
    most: int | None = None
    """A limit over this is refused; without one it is the length of a page."""

    def answer(self, query: Mapping[str, Any]) -> Page:
        ids = [f"{number:03}" for number in range(self.length)]
        if query["order"] == "desc" and self.order:
            ids.reverse()
        after = query.get("after")
        if after is not None:
            if self.cursor == "is refused":
                raise RequestRefused("can't list", status=400, detail="unknown parameter after")
            if self.cursor == "gives an empty page":
                ids = []
            elif self.cursor != "is ignored":
                ids = ids[ids.index(after) + (self.cursor == "works") :]
        size = self.page or query.get("limit") or self.most or 20
        if self.most is not None and query.get("limit", 0) > self.most:
            raise RequestRefused("can't list", status=422, detail=f"limit: should be at most {self.most}")
        has_more = {"true": len(ids) > size, "always": True, "never said": None}[self.more]
        shown = list[str | None](ids[:size])
        return Page(items=[f'"{each}"'.encode() for each in shown], ids=shown, has_more=has_more)


def read(server: Server, limit: int = 5) -> tuple[list[str], list[str], int]:
    """(ids as they came, doubts, requests)"""
    queries: list[Mapping[str, Any]] = []
    doubts: list[str] = []

    async def ask(query: Mapping[str, Any]) -> Page:
        queries.append(query)
        assert len(queries) <= 3 * server.length + 10
        return server.answer(query)

    async def collect() -> list[str]:
        return [item.decode().strip('"') async for page in Listing(ask, limit, doubts.append).pages() for item in page]

    return asyncio.run(collect()), doubts, len(queries)


servers = st.builds(
    Server,
    length=st.integers(0, 23),
    page=st.none() | st.integers(2, 30),
    cursor=st.sampled_from(["works", "is ignored", "is inclusive", "gives an empty page", "is refused"]),
    more=st.sampled_from(["true", "always", "never said"]),
    order=st.booleans(),
    most=st.none() | st.integers(3, 6),
)


@examples(300)
@given(servers)
def test_whole_or_doubted_and_each_once(server: Server) -> None:
    got, doubts, _ = read(server)
    whole = [f"{number:03}" for number in range(server.length)]
    assert got == sorted(set(got))
    # A short page of a server that heeds nothing of what is asked, and says nothing, is taken for all there is.
    deaf = server.more == "never said" and server.cursor != "works" and not server.order
    # So is one of a server that refuses every limit: nothing was asked for.
    assert got == whole or doubts or (deaf and (len(got) not in FULL or server.most is not None))
    assert set(got) <= set(whole)
    shown = len(server.answer({"order": "asc", "limit": 5} if server.most is None else {"order": "asc"}).ids)
    tells = {"true": True, "always": server.order, "never said": server.order or len(got) > shown or shown not in FULL}
    if server.cursor == "works" and tells[server.more]:
        assert (got, doubts) == (whole, [])


def test_a_limit_over_the_server_s_own_is_lowered_once() -> None:
    for most, requests in ((100, 1 + 3), (20, 2 + 13)):
        got, doubts, count = read(Server(length=250, most=most), limit=10_000)
        assert (len(got), doubts, count) == (250, [], requests)


def test_a_server_as_it_should_be_costs_a_request_a_page() -> None:
    assert read(Server(length=11))[1:] == ([], 3)
    assert read(Server(length=10))[1:] == ([], 2)
    assert read(Server(length=0))[1:] == ([], 1)


@pytest.mark.parametrize("cursor", ["works", "is ignored", "is inclusive", "gives an empty page", "is refused"])
def test_what_comes_without_a_word_and_short_is_all_there_is(cursor: str) -> None:
    for length in (1, 4):
        server = Server(length=length, cursor=cursor, more="never said", order=False)
        assert read(server)[:2] == ([f"{number:03}" for number in range(length)], [])


@pytest.mark.parametrize("length", [5, 9, 10, 11])
def test_a_second_page_shows_that_the_server_pages_so_what_ends_without_a_word_has_ended(length: int) -> None:
    server = Server(length=length, more="never said", order=False)
    assert read(server)[:2] == ([f"{number:03}" for number in range(length)], [] if length > 5 else [ENDLESS])


@pytest.mark.parametrize("length", [5, 9])
def test_a_full_page_without_a_word_and_without_a_next_one_is_doubted(length: int) -> None:
    got, doubts, _ = read(Server(length=length, cursor="is ignored", more="never said", order=False))
    assert (len(got), doubts) == (5, [ENDLESS])
    # A server that heeds no limit gives all at once; one whose pages are twenty long may not.
    for page, wanted in ((8, []), (20, [ENDLESS])):
        got, doubts, _ = read(Server(length=page, page=page, cursor="is ignored", more="never said", order=False))
        assert (len(got), doubts) == (page, wanted)


def test_a_gap_of_one_page_is_closed_from_the_other_end() -> None:
    got, doubts, requests = read(Server(length=9, cursor="is refused"))
    assert (len(got), doubts, requests) == (9, [], 3)
    got, doubts, _ = read(Server(length=11, cursor="gives an empty page"))
    assert (len(got), len(doubts)) == (10, 1)


def test_two_different_records_of_one_id_are_doubted() -> None:
    def read_page(items: list[bytes]) -> tuple[list[bytes], list[str]]:
        doubts: list[str] = []

        async def ask(query: Mapping[str, Any]) -> Page:
            return Page(items=items, ids=["a"] * len(items), has_more=False)

        async def collect() -> list[bytes]:
            return [item async for page in Listing(ask, 5, doubts.append).pages() for item in page]

        return asyncio.run(collect()), doubts

    assert read_page([b"1", b"1"]) == ([b"1"], [])
    got, doubts = read_page([b"1", b"2"])
    assert (got, len(doubts)) == ([b"1"], 1)
    assert "two different records with the id a" in doubts[0]


@pytest.mark.parametrize("error", [RequestRefused, NotFound, ServerFailed])
def test_a_first_page_that_is_refused_is_an_error(error: type[RequestRefused]) -> None:
    async def ask(query: Mapping[str, Any]) -> Page:
        raise error("no")

    async def collect() -> None:
        async for _ in Listing(ask, 5, print).pages():
            pass

    with pytest.raises(error):
        asyncio.run(collect())


def test_items_without_ids_are_taken_and_the_rest_doubted() -> None:
    doubts: list[str] = []

    async def ask(query: Mapping[str, Any]) -> Page:
        return Page(items=[b"{}", b"{}"], ids=[None, None], has_more=True)

    async def collect() -> list[bytes]:
        return [item async for page in Listing(ask, 5, doubts.append).pages() for item in page]

    assert asyncio.run(collect()) == [b"{}", b"{}"]
    assert len(doubts) == 1


def endless(size: int, item: bytes = b"{}", *, ids: bool = True) -> tuple[Any, list[int]]:
    """A list that always has one more page of so many new items; and the number of each page that was asked for."""
    asked: list[int] = []

    async def ask(query: Mapping[str, Any]) -> Page:
        asked.append(len(asked))
        shown = [f"{asked[-1]}-{number}" if ids else None for number in range(size)]
        return Page(items=[item] * size, ids=shown, has_more=True)

    return ask, asked


def listed(ask: Any, limit: int, **more: Any) -> tuple[int, list[str]]:
    """(items, doubts)"""
    doubts: list[str] = []

    async def collect() -> int:
        return sum([len(page) async for page in Listing(ask, limit, doubts.append, **more).pages()])

    return asyncio.run(collect()), doubts


@pytest.mark.parametrize(
    ("size", "item", "limit", "items"),
    [
        (100, b"{}", 100, 25_000),
        (1, b"{}", 100, 1000),
        (1000, b"{}", 1000, 125_000),
        (20, b"x" * 1_000_000, 100, 80),
    ],
    ids=["full pages", "pages of one", "long pages", "long records"],
)
def test_a_list_without_end_is_cut_and_doubted(size: int, item: bytes, limit: int, items: int) -> None:
    ask, asked = endless(size, item)
    found, doubts = listed(ask, limit)
    assert found == items
    pages = len(asked) - 2  # its other end is looked at twice
    assert pages <= 1000
    assert doubts == [f"too long: stopped after {items} items in {pages} pages"]


@pytest.mark.parametrize(
    ("count", "size", "items"),
    [(150_000, 100, 300_500), (150_000, 10, 150_000), (3, 100, 506), (0, 100, 25_000), (None, 100, 25_000)],
)
def test_a_list_is_as_long_as_it_is_counted_and_not_much_longer(count: int | None, size: int, items: int) -> None:
    async def counted() -> int | None:
        return count

    ask, _ = endless(size)
    found, doubts = listed(ask, 100, counted=counted)
    assert found == items
    assert len(doubts) == 1


def of_length(length: int, page: int = 100) -> Any:
    """A server that pages by the rules, in pages of that length whatever is asked for."""

    async def ask(query: Mapping[str, Any]) -> Page:
        if query["order"] == "desc":
            return Page(items=[b"{}"], ids=[str(length - 1)], has_more=length > 1)
        start = int(query.get("after", -1)) + 1
        ids = [str(number) for number in range(start, min(start + page, length))]
        return Page(items=[b"{}"] * len(ids), ids=list(ids), has_more=start + page < length)

    return ask


@pytest.mark.parametrize("length", [25_000, 60_000, 199_950])
def test_a_long_list_that_has_another_end_is_whole(length: int) -> None:
    assert listed(of_length(length), 100) == (length, [])


def test_nor_is_that_believed_without_bound() -> None:
    found, doubts = listed(of_length(1_000_000), 100)
    assert (found, len(doubts)) == (200_000, 1)


@pytest.mark.parametrize(
    ("length", "limit", "count", "items"),
    [
        (25_000, 100, None, 25_000),
        (30_000, 100, None, 25_000),
        (100_000, 10_000, None, 100_000),
        (150_000, 10_000, None, 100_000),
        (1500, 100, 1, 502),
        (502, 100, 1, 502),
        (30_000, 100, 20_000, 30_000),
    ],
)
def test_one_page_with_all_there_is_holds_to_the_same_bound(
    length: int, limit: int, count: int | None, items: int
) -> None:
    async def counted() -> int | None:
        return count

    found, doubts = listed(of_length(length, length), limit, counted=counted if count else None)
    assert found == items
    assert doubts == ([] if items == length else [f"too long: stopped after {items} items in 1 pages"])


def test_after_a_list_without_end_a_long_page_is_cut_sooner() -> None:
    found, doubts = listed(of_length(1000, 1000), 100, endless=3)
    assert (found, len(doubts)) == (25, 1)
