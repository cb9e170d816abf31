"""Reads whole lists, despite servers' paging quirks, and reports where one may be incomplete.

Seen on compatible servers: no ``has_more``, or always true; repeated pages; cursors refused, or answered with the first
or an empty page; a ``limit`` refused or ignored. None of these may cause an endless loop or a silently truncated list.
A server that always has one more page is believed for ``MOST`` items, and ``_SURER`` times as many if the list's other
end stays the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from holdall.errors import AnswerTooLong, NotFound, RemoteError, RequestRefused, ServerFailed
from holdall.redaction import MARK
from holdall.remote.transport import MAX_PAGE
from holdall.spilling import SpillingDict
from holdall.untrusted import MAX_JSON, MAX_VALUES, is_richer, read_members, require_plain, split_json, trimmed

Doubt = Callable[[str], None]
"""Called with the reason why a list may lack something."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page: each item as the slice of JSON that the server sent, and its id where it has one.

    ``has_more`` is None where the server says nothing of it; ``doubts`` say why something may be missing in it.
    ``cursor`` is what the next page is asked for with, where that isn't the last id.
    """

    items: list[bytes]
    ids: list[str | None]
    has_more: bool | None
    doubts: list[str] = []
    cursor: str | None = None


Ask = Callable[[Mapping[str, Any]], Awaitable[Page]]
Count = Callable[[], Awaitable[int | None]]

MOST = 25_000
"""Items of a list of which nothing tells how many it has, also where they come in one page; of files, whose pages are
longer, five times as many."""
PAGE_MOST = 100_000
"""Items of one page, however few were asked for."""
_LONGER, _SURER = 5, 8
_REQUESTS = 1000
_BYTES = 64 << 20
# So many items are more than a count may not have caught up with yet.
_UNCOUNTED = 500

_PAGE_VALUES = 2 * MAX_VALUES
_COMMON_LIMIT = 100  # the most that any list takes, but OpenAI's of files
_USUAL = (10, 20, 25, 50, 100)  # the pages of servers that have lengths of their own


class _Identified(msgspec.Struct, frozen=True, kw_only=True):
    id: str | None = None


_identified = msgspec.json.Decoder(_Identified).decode


class _Named(msgspec.Struct, frozen=True, kw_only=True):
    name: str | None = None


class _Sent(msgspec.Struct, frozen=True, kw_only=True):
    data: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    """null where there are none: so servers written in Go say it."""
    has_more: msgspec.Raw = msgspec.Raw()
    last_id: msgspec.Raw = msgspec.Raw()


def identity(raw: bytes, *, by_name: bool = False) -> str | None:
    """The id of a record; None if it has none. ``by_name``: its name, if it has one, is its id."""
    if by_name:
        with suppress(ValueError, RecursionError):
            if name := msgspec.json.decode(raw, type=_Named).name:
                return name
    # Asked of each record more than once: a context manager would cost as much again.
    try:
        return _identified(raw).id
    except (ValueError, RecursionError):
        pass
    with suppress(ValueError):
        return msgspec.convert(read_members(raw).get("id"), str)
    return None


def read_page(raw: bytes, where: str, *, is_altered: bool = False, by_name: bool = False) -> Page | None:
    """A page of a list; None where there is no list in the answer. ``is_altered``: keys were taken out of it;
    ``by_name``: the names of its items are their ids, and its ``last_id`` says where the next page begins.

    An unreadable record doesn't cost its neighbours, as long as its strings and brackets close. Raises ValueError for
    what is no JSON, AnswerTooLong for too much of it.
    """
    sent, behind = _sent(raw, where)
    if sent.data is msgspec.UNSET:
        return None
    doubts = ["unexpected data after the list in an answer"] if behind else []
    found = [(item, identity(item, by_name=by_name)) for item in map(bytes, (sent.data or [])[: PAGE_MOST + 1])]
    kept = [(item, id) for item, id in found if not (is_altered and MARK in (id or ""))]
    if len(kept) < len(found):
        doubts.append("an id in it contains your key")
    return Page(
        items=[item for item, _ in kept],
        ids=[id for _, id in kept],
        has_more=_promises_more(sent.has_more),
        doubts=doubts,
        cursor=_cursor(sent.last_id) if by_name else None,
    )


def _sent(raw: bytes, where: str) -> tuple[_Sent, bytes]:
    """A page's fields, and what stands behind its JSON."""
    if is_richer(raw, _PAGE_VALUES):
        raise AnswerTooLong(f"can't list {where}: a page has more than {_PAGE_VALUES} values")
    with suppress(ValueError):
        require_plain(raw, longest=MAX_PAGE, richest=_PAGE_VALUES)
        return msgspec.json.decode(raw, type=_Sent), b""
    if len(raw) > MAX_JSON:
        raise AnswerTooLong(f"can't list {where}: a page of more than {MAX_JSON} bytes can't be parsed")
    # One record that no decoder reads is no reason to lose the others: they are told apart by brackets and commas.
    raw = trimmed(raw)
    pieces, end = split_json(raw)
    members = dict(zip(pieces[::2], pieces[1::2], strict=False))
    data = members.get(b'"data"', b"")
    if not raw.startswith(b"{") or not data.startswith((b"[", b"null")):
        return _Sent(), b""
    items = None if data == b"null" else [msgspec.Raw(item) for item in split_json(data)[0]]
    return _Sent(data=items, has_more=msgspec.Raw(members.get(b'"has_more"', b""))), raw[end:].strip()


def _cursor(last_id: msgspec.Raw) -> str | None:
    with suppress(ValueError):
        return msgspec.json.decode(last_id, type=str) or None
    return None


def _promises_more(has_more: msgspec.Raw) -> bool | None:
    """``has_more`` as a bool, also where servers write 1 or "true". Anything unreadable counts as true."""
    said = bytes(has_more).strip(b' "').lower()
    return None if said in (b"", b"null") else said not in (b"false", b"0", b"0.0")


def _conflicting_id(page: Page) -> str | None:
    """The id of two different items. A page that comes again may differ from before: objects change."""
    first: dict[str | None, bytes] = {None: b""}
    return next(
        (id for item, id in zip(page.items, page.ids, strict=True) if first.setdefault(id, item) != item and id), None
    )


class _Bound:
    """How far a list is read: ``MOST`` items, or a thousand pages, or 64 MiB; a tenth of it for each list without end
    that the server had before. Of one that is ``counted``, twice the count and some more, in pages of ten at least.

    ``is_steady`` is asked once, where the first page that is not the last is over, whether the list may be believed for
    more.
    """

    def __init__(
        self, limit: int, counted: Count | None, endless: int, is_steady: Callable[[], Awaitable[bool]]
    ) -> None:
        share: int = 10**endless
        longer = _LONGER if limit > _COMMON_LIMIT else 1
        self._items, self._requests, self._bytes = (
            max(1, most // share) for most in (MOST * longer, _REQUESTS, _BYTES * longer)
        )
        self._counted = counted
        self._is_steady = is_steady if endless == 0 else None
        self.items = self.requests = self.bytes = 0

    async def take(self, fresh: list[bytes], *, ends: bool) -> tuple[list[bytes], bool]:
        """(the items of a page that may be taken, whether to stop). ``ends``: the page says that it is the last."""
        self.requests += 1
        self.items += len(fresh)
        self.bytes += sum(map(len, fresh))
        if self._counted and (self.items >= _UNCOUNTED or self._is_over(ends)):
            count, self._counted = await self._counted(), None
            if count:
                self._items = 2 * count + _UNCOUNTED
                self._requests = max(self._requests, count // 10)
                self._bytes = max(self._bytes, count << 14)
                self._is_steady = None
        if self._is_steady and not ends and self._is_over(ends):
            if await self._is_steady():
                self._items, self._requests, self._bytes = (
                    _SURER * most for most in (self._items, self._requests, self._bytes)
                )
            self._is_steady = None
        taken = fresh[: max(0, min(len(fresh) - (self.items - self._items), PAGE_MOST))]
        self.items -= len(fresh) - len(taken)
        return taken, len(taken) < len(fresh) or self._is_over(ends)

    def _is_over(self, ends: bool) -> bool:
        if ends:
            return self.items > self._items
        return self.items >= self._items or self.requests >= self._requests or self.bytes >= self._bytes


class Listing:
    """A list while it is read.

    ``ask`` gets one page for a query, ``limit`` is how many items it is to have. ``doubt`` is told where the list may
    lack something; not of a first page that is shorter than was asked for and came without a word. ``over`` is told
    (else ``doubt``) where the list goes on beyond what can be true: within a page too, which is cut there. ``counted``
    asks how many items it has, where the server counts them; ``endless`` are the lists without end that the server had
    before.
    """

    def __init__(
        self,
        ask: Ask,
        limit: int,
        doubt: Doubt,
        *,
        over: Doubt | None = None,
        counted: Count | None = None,
        endless: int = 0,
    ) -> None:
        self._doubt, self._over = doubt, over or doubt
        self._ask_for = ask
        self._sizes: list[dict[str, int]] = [{"limit": limit}, {}]
        """What is asked for of the length of a page, the next one where the server refuses the first."""
        if limit > _COMMON_LIMIT:
            self._sizes.insert(1, {"limit": _COMMON_LIMIT})
        self._bound = _Bound(limit, counted, endless, self._is_steady)
        self._seen = SpillingDict[str]()
        self._last: str | None = None
        self._given = 0
        self._promised = self._is_full = False
        # After reading forward: whether the end is unknown, why, and whether only a gap is a reason for doubt.
        self._is_open = self._is_sure = False
        self._why = ""

    async def pages(self) -> AsyncIterator[list[bytes]]:
        """The items page by page, each id once, oldest first; a request for each page.

        Ends when the server says so. Where it says that there is more and gives nothing, or where it says nothing and
        no second page shows that it pages at all, the other end of the list is looked at, to see whether it was
        reached: what is missing between is given too, as far as one page goes.
        """
        async for page in self._forward():
            yield page
        if self._is_open:
            async for page in self._other_end():
                yield page

    async def _forward(self) -> AsyncIterator[list[bytes]]:
        """The pages from the oldest item on, as far as the server gives something new."""
        # One loop: each way that a server can end a list depends on what all pages before it said.
        query: dict[str, Any] = {"order": "asc"}
        is_second = False
        while True:
            try:
                page = await self._ask(query)
            except (RequestRefused, NotFound, ServerFailed, AnswerTooLong) as error:
                if "after" not in query:
                    raise
                self._leave_open(page, f"the server refused the next page ({error.detail or error.status})")
                return
            fresh = self._fresh(page)
            if conflicting := _conflicting_id(page):
                self._doubt(f"it has two different records with the id {conflicting[:100]}; using the first")
            ends = page.has_more is False and bool(page.items or not self._promised)
            taken, is_over = await self._bound.take(fresh, ends=ends)
            if taken:
                yield taken
                self._given += 1
                # As long as was asked for, or as servers' pages are that don't heed what is asked for.
                self._is_full = len(page.items) in (self._sizes[0].get("limit"), *_USUAL)
            if is_over:
                read = f"{self._bound.items} items in {self._bound.requests} pages"
                self._over(f"too long: stopped after {read}")
            if is_over or ends:
                return
            if fresh and self._last is None:
                if page.has_more or self._is_full:
                    self._doubt("its items have no ids, so the next page can't be requested")
                return
            if fresh:
                self._promised, is_second = bool(page.has_more), False
                query = {**query, "after": page.cursor or self._last}
            elif not page.items or page.has_more is False or is_second:
                if page.has_more or self._promised:
                    self._leave_open(page, "the server reports more items, but returns none")
                elif self._given == 1:
                    # Where a second page showed that the server pages at all, this is believed to be the end.
                    self._leave_open(page, "the server does not mark its end")
                return
            else:
                # A page that is repeated once may be followed by the right one.
                is_second = True

    def _leave_open(self, page: Page, why: str) -> None:
        self._is_open, self._why = bool(self._seen), why
        # Nothing says that there is more.
        is_silent = not self._promised and page.has_more is None
        self._is_sure = is_silent and self._given == 1 and not self._is_full

    async def _ask(self, query: Mapping[str, Any]) -> Page:
        """One page; of fewer items where the server refuses so many, or where so many are too long for one answer."""
        while True:
            try:
                page = await self._ask_for({**self._sizes[0], **query})
            except RequestRefused as error:
                # 405 is no word about the size of a page.
                if len(self._sizes) == 1 or "after" in query or error.status == 405:
                    raise
                del self._sizes[0]
            except AnswerTooLong:
                if self._sizes[0].get("limit", 1) == 1:
                    raise
                self._sizes = [{"limit": max(1, self._sizes[0]["limit"] // 10)}]
            else:
                for why in page.doubts:
                    self._doubt(why)
                return page

    def _fresh(self, page: Page) -> list[bytes]:
        """The items whose ids were not seen before, and those without an id."""
        new = []
        for item, identity in zip(page.items, page.ids, strict=True):
            if identity is None:
                new.append(item)
            elif self._seen.add(identity):
                new.append(item)
                self._last = identity
        return new

    async def _is_steady(self) -> bool:
        """Whether the list has another end, not yet seen, that is the same when it is asked for again."""
        try:
            one, other = [(await self._ask({"order": "desc"})).ids for _ in range(2)]
        except RemoteError:
            return False
        return bool(one) and one[0] is not None and one[0] not in self._seen and one[0] in other

    async def _other_end(self) -> AsyncIterator[list[bytes]]:
        """The newest items, as far as they were not seen; no doubt if there is no gap between them and what was.

        Of a list that comes one item at a time whatever is asked, order and end could not be told apart; none was seen.
        """
        try:
            page = await self._ask({"order": "desc"})
        except RemoteError:
            page = Page(items=[], ids=[], has_more=None)
        if page.ids and page.ids[0] == self._last:
            return
        joined = next((place for place, id in enumerate(page.ids) if id is not None and id in self._seen), None)
        new = page.items[:joined]
        if not new:
            # Nothing newer, but not the last item either: this server ignores the order.
            if not self._is_sure:
                self._doubt(self._why)
            return
        if joined is None:
            self._doubt(self._why)
        yield new[::-1]
