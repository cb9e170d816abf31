"""The text that a vector store parsed out of a file: all its pages, kept as they came.

The query parameter for the next page is not documented: the token is sent as ``page``. A server that doesn't move on,
or that says there is more and not where, leaves the text truncated; nothing goes round for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from holdall.errors import UnexpectedAnswer
from holdall.model import TextPage
from holdall.parsedtext import require_page
from holdall.remote.bodies import MAX_PAGE
from holdall.remote.client import Account
from holdall.remote.transfer import Sink
from holdall.untrusted import MAX_PARTS

__all__ = ["Parsed", "read_parsed"]

# Short texts come in one page; of long ones a page brings a kilobyte of the file at the least, seldom less than ten.
_PAGES = 1000
_BYTES_A_PAGE = 1000
_LONGEST = 256 << 20
_EXPANSION = 64  # of a file that was packed
_ANY_SIZE = 10 << 20


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """What was read: bytes written to the sink, letters of text in them, and whether later pages are missing."""

    size: int
    letters: int
    truncated: bool


async def read_parsed(
    account: Account,
    route: str,
    sink: Sink,
    each: Callable[[list[str]], None] | None = None,
    *,
    file_size: int | None = None,
) -> Parsed:
    """Write all pages of the text at ``route`` to ``sink``, which stays open.

    A text without end is truncated: at 256 MiB, ``MAX_PARTS``, or what a file of ``file_size`` bytes can have in pages
    and letters. ``each`` is given the parts of every page, on another thread. Raises RemoteError; UnexpectedAnswer
    where a page is of no shape that is known.
    """
    size = letters = pages = count = 0
    file_size = _ANY_SIZE if file_size is None else file_size
    most_pages = _PAGES + file_size // _BYTES_A_PAGE
    longest = min(_LONGEST, MAX_PAGE + _EXPANSION * file_size)
    truncated = False
    token: str | None = None
    seen: set[str] = set()
    before: list[str] | None = None

    async def write(data: bytes) -> None:
        nonlocal size
        await asyncio.to_thread(sink.write, data)
        size += len(data)

    while True:
        answer = await account.get(route, {"page": token} if token else None, most=MAX_PAGE, is_content=True)
        try:
            require_page(answer.raw)
            page = msgspec.json.decode(answer.raw, type=TextPage)
        except (ValueError, RecursionError) as error:
            raise UnexpectedAnswer(
                f"can't read the text at {route}: not of a shape known here ({error})",
                status=answer.status,
                detail=f"parsed text of an unknown shape: {error}",
            ) from None
        parts = page.parts
        if parts == before:
            truncated = True  # the same page again: the server doesn't know the parameter
            break
        pages, count = pages + 1, count + len(parts)
        if before is not None and (pages > most_pages or count > MAX_PARTS or size + len(answer.sent) > longest):
            truncated = True
            break
        await write(b'{"pages":[' if before is None else b",")
        await write(answer.sent)
        letters += sum(map(len, parts))
        if each is not None:
            await asyncio.to_thread(each, parts)
        before = parts
        if not page.next_page:
            truncated = bool(page.has_more)
            break
        if page.next_page in seen:
            truncated = True
            break
        token = page.next_page
        seen.add(token)
    await write(b'],"truncated":%s}' % (b"true" if truncated else b"false"))
    return Parsed(size=size, letters=letters, truncated=truncated)
