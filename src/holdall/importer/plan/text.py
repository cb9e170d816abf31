"""Parsed text back into one document: the parts that a bundle keeps of a file, joined. Pure."""

from __future__ import annotations

import msgspec

from holdall.errors import DamagedBundle
from holdall.joining import Joining, comparable_size

__all__ = ["Document", "document"]


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    text: str | None = None


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of parsed content in either documented shape."""

    data: list[_Part] | None = None
    content: list[_Part] | None = None


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    pages: list[_Page]
    truncated: bool = False


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A file's text, and the ``parts`` that it was joined of. ``exact`` where it has as many bytes as the file had;
    ``doubt`` says why the parts may have been joined wrongly."""

    data: bytes
    exact: bool
    truncated: bool
    parts: list[str]
    doubt: str | None = None


def document(stored: bytes, *, overlap: int, filename: str | None, size: int | None) -> Document:
    """The document of a ``data/text`` entry. ``overlap`` is in tokens, ``size`` the file's bytes if known.

    Raises DamagedBundle where the entry isn't what the format says.
    """
    try:
        decoded = msgspec.json.decode(stored, type=_Stored)
    except (ValueError, RecursionError) as error:
        raise DamagedBundle(f"can't read a parsed text of the bundle: {error}") from None
    parts = [part.text or "" for page in decoded.pages for part in (page.data or page.content or [])]
    joining = Joining(overlap)
    joining.add(parts)
    reading = joining.reading(None if decoded.truncated else comparable_size(filename, size))
    data = reading.text(parts).encode("utf-8", "surrogatepass")
    return Document(data=data, exact=len(data) == size, truncated=decoded.truncated, parts=parts, doubt=reading.doubt)
