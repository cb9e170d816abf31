"""Reads a file's parsed text from a vector store: all pages, unchanged.

The query parameter for the next page is not documented: the token is sent as ``page``. If a server repeats a page, or
has more without a token, the text is truncated.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

import msgspec

from holdall.errors import UnexpectedAnswer
from holdall.parsedtext import Parts, require_page
from holdall.redaction import MARK, Redactor
from holdall.remote.client import Account
from holdall.remote.transfer import ContentSink
from holdall.remote.transport import MAX_PAGE
from holdall.untrusted import MAX_PARTS

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


class _More(msgspec.Struct, frozen=True, kw_only=True):
    has_more: bool | None = None
    next_page: str | None = None


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    """One page: the JSON that was sent, the parts in it, a digest of those and their letters, and what comes next."""

    sent: bytes
    parts: Parts
    digest: bytes
    letters: int
    more: _More


async def read_parsed(
    account: Account,
    route: str,
    sink: ContentSink,
    each: Callable[[Parts], None] | None = None,
    *,
    file_size: int | None = None,
    most: int = _LONGEST,
) -> Parsed:
    """Write all pages of the text at ``route`` to ``sink``, which stays open.

    A text without end is truncated: at ``most`` bytes, ``MAX_PARTS``, or what a file of ``file_size`` bytes can
    have in pages and letters. ``each`` is given the parts of every page, on another thread. Raises RemoteError;
    UnexpectedAnswer where a page is of no shape that is known.
    """
    size = letters = pages = count = 0
    file_size = _ANY_SIZE if file_size is None else file_size
    most_pages = _PAGES + file_size // _BYTES_A_PAGE
    longest = min(most, MAX_PAGE + _EXPANSION * file_size)
    truncated = False
    token: str | None = None
    seen: set[str] = set()
    before: bytes | None = None

    async def write(data: bytes) -> None:
        nonlocal size
        await asyncio.to_thread(sink.write, data)
        size += len(data)

    while True:
        page = await _ask(account, route, token)
        pages, count = pages + 1, count + len(page.parts)
        is_over = pages > most_pages or count > MAX_PARTS or size + len(page.sent) > longest
        # The same page again: the server doesn't know the parameter.
        if page.digest == before or (is_over and before is not None):
            truncated = True
            break
        await write(b'{"pages":[' if before is None else b",")
        await write(page.sent)
        letters += page.letters
        if each is not None:
            await asyncio.to_thread(each, page.parts)
        before, token = page.digest, page.more.next_page
        if not token or token in seen:
            truncated = bool(token or page.more.has_more)
            break
        seen.add(token)
    await write(b'],"truncated":%s}' % (b"true" if truncated else b"false"))
    return Parsed(size=size, letters=letters, truncated=truncated)


async def _ask(account: Account, route: str, token: str | None) -> _Page:
    answer = await account.get(route, {"page": token} if token else None, is_content=True)
    try:
        # White space around a page is no part of it, and readers allow little.
        sent = answer.sent.strip(b" \t\r\n")
        parts = require_page(sent)
        digest, letters = await asyncio.to_thread(_digest, parts)
        await asyncio.to_thread(_require_no_key, account.redactor, sent, parts)
        more = msgspec.json.decode(answer.raw, type=_More)
    except (ValueError, RecursionError) as error:
        raise UnexpectedAnswer(
            f"can't read the text at {route}: unexpected format ({error})",
            status=answer.status,
            detail=f"parsed text in an unexpected format: {error}",
        ) from None
    return _Page(sent=sent, parts=parts, digest=digest, letters=letters, more=more)


def _require_no_key(redactor: Redactor, page: bytes, parts: Parts) -> None:
    """Raises ValueError where one of our keys stands in the page and not in the file's text, which may have it."""
    marked = redactor.raw(page)
    if marked is not page and marked.count(MARK.encode()) > sum(redactor.text(part).count(MARK) for part in parts):
        raise ValueError("it contains your key")


def _digest(parts: Parts) -> tuple[bytes, int]:
    """(SHA-256 of the parts, their letters). Raises ValueError for a part that no bundle can hold."""
    digest, letters = hashlib.sha256(), 0
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data))
        digest.update(data)
        letters += len(part)
    return digest.digest(), letters
