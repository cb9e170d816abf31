"""A list read whole, also from servers that page in ways of their own; and where that can't be had, said so.

Seen on servers that call themselves compatible: no ``has_more``, or one that is true for ever; a page that comes again;
cursors that are refused, or answered by the first page or an empty one; a ``limit`` that is over theirs, or that isn't
heeded: all there is in one page. None of them may end in an endless loop, and none in a list that is cut short without
a word. A server that always has one more page is believed for ``MOST`` items, and for ``_SURER`` times as many where
the list has another end that stays the same.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import msgspec

from holdall.errors import AnswerTooLong, NotFound, RemoteError, RequestRefused, ServerFailed

__all__ = ["MOST", "PAGE_MOST", "Doubt", "Page", "pages"]

Doubt = Callable[[str], None]
"""Is told why a list may lack something."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page: each item as the slice of JSON that the server sent, and its id where it has one."""

    items: list[bytes]
    ids: list[str | None]
    has_more: bool | None


Ask = Callable[[Mapping[str, Any]], Awaitable[Page]]
Count = Callable[[], Awaitable[int | None]]

MOST = 25_000
"""Items of a list of which nothing tells how many it has; of files, whose pages are longer, five times as many; of one
that says that it has ended, twice as many."""
PAGE_MOST = 100_000
"""Items of one page, however few were asked for."""
_LONGER, _SURER = 5, 8
_REQUESTS = 1000
_BYTES = 64 << 20
# So many items are more than a count may not have caught up with yet.
_UNCOUNTED = 500

_COMMON_LIMIT = 100  # the most that any list takes, but OpenAI's of files
_USUAL = (10, 20, 25, 50, 100)  # the pages of servers that have lengths of their own


class _Seen:
    """The ids of a list so far."""

    def __init__(self) -> None:
        self._ids: set[str] = set()
        self.last: str | None = None

    def __contains__(self, identity: str | None) -> bool:
        return identity in self._ids

    def __len__(self) -> int:
        return len(self._ids)

    def fresh(self, page: Page) -> list[bytes]:
        """The items that were not there before, which now are; those without an id are always new."""
        new = []
        for item, identity in zip(page.items, page.ids, strict=True):
            if identity is None or identity not in self._ids:
                new.append(item)
                if identity is not None:
                    self._ids.add(identity)
                    self.last = identity
        return new


def _twofold(page: Page) -> str | None:
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

    def __init__(self, limit: int, counted: Count | None, lies: int, is_steady: Callable[[], Awaitable[bool]]) -> None:
        share: int = 10**lies
        longer = _LONGER if limit > _COMMON_LIMIT else 1
        self._items, self._requests, self._bytes = (
            max(1, most // share) for most in (MOST * longer, _REQUESTS, _BYTES * longer)
        )
        self._counted, self._is_counted = counted, False
        self._is_steady = is_steady if lies == 0 else None
        self.items = self.requests = self.bytes = 0

    async def take(self, fresh: list[bytes], *, ends: bool) -> tuple[list[bytes], bool]:
        """(what of a page may still be taken, whether the list is read no further). ``ends``: it says that it ends."""
        self.requests += 1
        self.items += len(fresh)
        self.bytes += sum(map(len, fresh))
        if self._counted and (self.items >= _UNCOUNTED or self._is_over(ends)):
            count, self._counted = await self._counted(), None
            if count:
                self._is_counted = True
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
        taken = fresh[: max(0, min(len(fresh) - (self.items - self._most(ends)), PAGE_MOST))]
        self.items -= len(fresh) - len(taken)
        return taken, len(taken) < len(fresh) or self._is_over(ends)

    def _most(self, ends: bool) -> int:
        return 2 * self._items if ends and not self._is_counted else self._items

    def _is_over(self, ends: bool) -> bool:
        if ends:
            return self.items > self._most(ends)
        return self.items >= self._items or self.requests >= self._requests or self.bytes >= self._bytes


async def pages(
    ask: Ask,
    limit: int,
    doubt: Doubt,
    *,
    over: Doubt | None = None,
    counted: Count | None = None,
    lies: int = 0,
) -> AsyncIterator[list[bytes]]:
    """The items of a list page by page, each id once, oldest first; a request for each page.

    ``ask`` gets one page for a query. Ends when the server says so. Where it says that there is more and gives nothing,
    or where it says nothing and no second page shows that it pages at all, the other end of the list is looked at, to
    see whether it was reached: what is missing between is given too, as far as one page goes. ``doubt`` is told where
    the list may still lack something; not of a first page that is shorter than was asked for and came without a word.
    ``over`` is told (else ``doubt``) where the list goes on beyond what can be true: within a page too, which is cut
    there. ``counted`` asks how many items it has, where the server counts them; ``lies`` are the lists without end that
    it had before.
    """
    # One loop, long as it is: each way that a server can end a list depends on what all pages before it said.
    seen, sized = _Seen(), _Sized(ask, limit)
    bound = _Bound(limit, counted, lies, lambda: _is_steady(sized.ask, seen))
    query: dict[str, Any] = {"order": "asc"}
    promised = is_second = is_full = is_refused = False
    given = 0
    while True:
        try:
            page = await sized.ask(query)
        except (RequestRefused, NotFound, ServerFailed, AnswerTooLong) as error:
            if "after" not in query:
                raise
            why = f"the server refuses to give the next page ({error.detail or error.status})"
            is_refused = True
            break
        fresh = seen.fresh(page)
        if twofold := _twofold(page):
            doubt(f"it has two different records of the id {twofold[:100]}, of which the first is taken")
        ends = page.has_more is False and bool(page.items or not promised)
        taken, is_over = await bound.take(fresh, ends=ends)
        if taken:
            yield taken
            given += 1
            is_full = sized.is_full(page)
        if is_over:
            (over or doubt)(f"it is too long: read no further than {bound.items} items in {bound.requests} pages")
        if is_over or ends:
            return
        if fresh and seen.last is None:
            if page.has_more or is_full:
                doubt("its items have no ids, so there is no asking for the next page")
            return
        why = "the server says that there is more, and gives nothing new" if page.has_more or promised else ""
        if not fresh:
            # A page that came once more may be followed by the right one.
            if not page.items or page.has_more is False or is_second:
                break
            is_second = True
            continue
        promised, is_second = bool(page.has_more), False
        query = {**query, "after": seen.last}
    is_silent = not promised and page.has_more is None
    if not len(seen) or (is_silent and given > 1 and not is_refused):
        return
    is_sure = is_silent and given == 1 and not is_full
    async for more in _other_end(sized.ask, seen, why, doubt, is_sure=is_sure):
        yield more


class _Sized:
    """Asks with the length of the pages added to each query: ``limit``, or where the server refuses that, less; less
    too where that many records are too long for one answer."""

    def __init__(self, ask: Ask, limit: int) -> None:
        self._ask = ask
        self._sizes: list[dict[str, int]] = [{"limit": limit}, {}]
        if limit > _COMMON_LIMIT:
            self._sizes.insert(1, {"limit": _COMMON_LIMIT})

    async def ask(self, query: Mapping[str, Any]) -> Page:
        while True:
            try:
                return await self._ask({**self._sizes[0], **query})
            except RequestRefused as error:
                # 405 is no word about the size of a page.
                if len(self._sizes) == 1 or "after" in query or error.status == 405:
                    raise
                del self._sizes[0]
            except AnswerTooLong:
                if self._sizes[0].get("limit", 1) == 1:
                    raise
                self._sizes = [{"limit": max(1, self._sizes[0]["limit"] // 10)}]

    def is_full(self, page: Page) -> bool:
        """Whether a page is as long as was asked for, or as servers' pages are that don't heed what is asked for."""
        return len(page.items) in (self._sizes[0].get("limit"), *_USUAL)


async def _is_steady(ask: Ask, seen: _Seen) -> bool:
    """Whether the list has another end, not yet seen, that is the same when it is asked for again."""
    try:
        one, other = [(await ask({"order": "desc"})).ids for _ in range(2)]
    except RemoteError:
        return False
    return bool(one) and one[0] is not None and one[0] not in seen and one[0] in other


async def _other_end(ask: Ask, seen: _Seen, why: str, doubt: Doubt, *, is_sure: bool) -> AsyncIterator[list[bytes]]:
    """The newest items, as far as they were not seen; no doubt if there is no gap between them and what was.

    Where ``is_sure``, only a gap is a reason for doubt. Of a list that comes one item at a time whatever is asked,
    order and end could not be told apart; none was seen.
    """
    why = why or "the server does not say where it ends"
    try:
        page = await ask({"order": "desc"})
    except RemoteError:
        if not is_sure:
            doubt(why)
        return
    if page.ids and page.ids[0] == seen.last:
        return
    joined = next((place for place, identity in enumerate(page.ids) if identity in seen), None)
    new = page.items if joined is None else page.items[:joined]
    if joined == 0 or not new:
        # Nothing newer, but not what came last either: this server's order means nothing.
        if not is_sure:
            doubt(why)
        return
    if joined is None:
        doubt(why)
    seen.fresh(page)
    yield new[::-1]
