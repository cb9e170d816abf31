"""A list read whole, also from servers that page in ways of their own; and where that can't be had, said so.

Seen on servers that call themselves compatible: no ``has_more``, or one that is true for ever; a page that comes again;
cursors that are refused, or answered by the first page or an empty one; a ``limit`` that is over theirs. None of them
may end in an endless loop, and none in a list that is cut short without a word.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import msgspec

from holdall.errors import NotFound, RemoteError, RequestRefused, ServerFailed

__all__ = ["Doubt", "Page", "pages"]

Doubt = Callable[[str], None]
"""Is told why a list may lack something."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page: each item as the slice of JSON that the server sent, and its id where it has one."""

    items: list[bytes]
    ids: list[str | None]
    has_more: bool | None


Ask = Callable[[Mapping[str, Any]], Awaitable[Page]]

_COMMON_LIMIT = 100  # the most that any list takes, but OpenAI's of files


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


async def pages(ask: Ask, limit: int, doubt: Doubt) -> AsyncIterator[list[bytes]]:
    """The items of a list page by page, each id once, oldest first; a request for each page.

    ``ask`` gets one page for a query. Ends when the server says so. Where it doesn't, or where it says that there is
    more and gives nothing, the other end of the list is looked at, to see whether it was reached: what is missing
    between is given too, as far as one page goes. ``doubt`` is told where the list may still lack something.
    """
    seen = _Seen()
    ask = _sized(ask, limit)
    query: dict[str, Any] = {"order": "asc"}
    promised = is_second = False
    while True:
        try:
            page = await ask(query)
        except (RequestRefused, NotFound, ServerFailed) as error:
            if "after" not in query:
                raise
            why = f"the server refuses to give the next page ({error.detail or error.status})"
            break
        if fresh := seen.fresh(page):
            yield fresh
        if page.has_more is False and (page.items or not promised):
            return
        if fresh and seen.last is None:
            doubt("its items have no ids, so there is no asking for the next page")
            return
        why = "the server says that there is more, and gives nothing new" if page.has_more or promised else ""
        if not fresh:
            # A page that came once more may be followed by the right one.
            if not (page.items and page.has_more) or is_second:
                break
            is_second = True
            continue
        promised, is_second = bool(page.has_more), False
        query = {**query, "after": seen.last}
    if not len(seen):
        return
    async for more in _other_end(ask, seen, why, doubt):
        yield more


def _sized(ask: Ask, limit: int) -> Ask:
    """``ask``, with the length of the pages added to each query: ``limit``, or where the server refuses that, less."""
    sizes: list[dict[str, Any]] = [{"limit": limit}, {}]
    if limit > _COMMON_LIMIT:
        sizes.insert(1, {"limit": _COMMON_LIMIT})

    async def sized(query: Mapping[str, Any]) -> Page:
        while True:
            try:
                return await ask({**sizes[0], **query})
            except RequestRefused as error:
                # 405 is no word about the size of a page.
                if len(sizes) == 1 or "after" in query or error.status == 405:
                    raise
                del sizes[0]

    return sized


async def _other_end(ask: Ask, seen: _Seen, why: str, doubt: Doubt) -> AsyncIterator[list[bytes]]:
    """The newest items, as far as they were not seen; no doubt if there is no gap between them and what was.

    Of a list that comes one item at a time whatever is asked, order and end could not be told apart; none was seen.
    """
    why = why or "the server does not say where it ends"
    try:
        page = await ask({"order": "desc"})
    except RemoteError:
        doubt(why)
        return
    if page.ids and page.ids[0] == seen.last:
        return
    joined = next((place for place, identity in enumerate(page.ids) if identity in seen), None)
    new = page.items if joined is None else page.items[:joined]
    if joined == 0 or not new:
        # Nothing newer, but not what came last either: this server's order means nothing.
        doubt(why)
        return
    if joined is None:
        doubt(why)
    seen.fresh(page)
    yield new[::-1]
