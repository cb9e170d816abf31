"""Parsed text back into one document: the parts that a bundle keeps of a file, joined. Pure."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

import msgspec

from holdall.errors import DamagedBundle
from holdall.joining import Joining, comparable_size
from holdall.parsedtext import Pages

__all__ = ["Document", "Joined", "document", "join"]


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """How a file's text was joined: ``size`` in bytes; ``exact`` where the file had as many; ``doubt`` says why the
    parts may have been joined wrongly."""

    size: int
    exact: bool
    truncated: bool
    doubt: str | None = None


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A file's text, and the ``parts`` that it was joined of, as ``Joined`` has it."""

    data: bytes
    exact: bool
    truncated: bool
    parts: list[str]
    doubt: str | None = None


def join(
    opened: Callable[[], BinaryIO],
    write: Callable[[bytes], object],
    *,
    overlap: int,
    filename: str | None,
    size: int | None,
) -> Joined:
    """Write the document of a ``data/text`` entry, which is ``opened`` and read twice, a page at a time. ``overlap`` is
    in tokens, ``size`` the file's bytes if known.

    Raises DamagedBundle where the entry isn't what the format says.
    """
    joining = Joining(overlap)
    try:
        with opened() as stream:
            pages = Pages(stream)
            for parts in pages:
                joining.add(parts)
        reading = joining.reading(None if pages.truncated else comparable_size(filename, size))
        written = 0
        with opened() as stream:
            for piece in reading.pieces(part for parts in Pages(stream) for part in parts):
                data = piece.encode("utf-8", "surrogatepass")
                write(data)
                written += len(data)
    except (ValueError, msgspec.MsgspecError) as error:
        raise DamagedBundle(f"can't read a parsed text of the bundle: {error}") from None
    return Joined(size=written, exact=written == size, truncated=pages.truncated, doubt=reading.doubt)


def document(stored: bytes, *, overlap: int, filename: str | None, size: int | None) -> Document:
    """The document of a ``data/text`` entry that may be held in memory. Raises DamagedBundle, as ``join`` does."""
    data = bytearray()

    def opened() -> BinaryIO:
        return io.BytesIO(stored)

    found = join(opened, data.extend, overlap=overlap, filename=filename, size=size)
    parts = [part for page in Pages(opened()) for part in page]
    return Document(data=bytes(data), exact=found.exact, truncated=found.truncated, parts=parts, doubt=found.doubt)
