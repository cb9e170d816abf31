"""A bundle's parsed texts as plain text: the document of a ``data/text`` entry, joined of its parts."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

import msgspec

from holdall.bundle.layout import TEXTS, IndexEntry
from holdall.bundle.reader import BundleReader
from holdall.errors import DamagedBundle
from holdall.join_parts import DEFAULT_OVERLAP, PartsJoiner, overlap_of
from holdall.model import MembershipView, comparable_size
from holdall.parsedtext import Pages
from holdall.untrusted import most_text


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """How a file's text was joined: ``size`` in bytes; ``exact`` where the file had as many; ``doubt`` says why the
    parts may have been joined wrongly. ``room`` is what the text left of that of ``join``."""

    size: int
    exact: bool
    truncated: bool
    doubt: str | None = None
    room: int = 0


class Document(Joined, frozen=True, kw_only=True):
    """A file's text, and the ``parts`` that it was joined of."""

    data: bytes
    parts: list[str]


def join(
    opened: Callable[[], BinaryIO],
    write: Callable[[bytes], object],
    *,
    overlap: int,
    filename: str | None,
    size: int | None,
    room: int = 1 << 62,
) -> Joined:
    """Write the document of a ``data/text`` entry, which is ``opened`` and read twice, a page at a time. ``overlap`` is
    in tokens, ``size`` the file's bytes if known; ``room`` limits the weight of the text (``text_weight``).

    Raises DamagedBundle where the entry isn't what the format says.
    """
    joining = PartsJoiner(overlap)
    try:
        with opened() as stream:
            pages = Pages(stream, room)
            for parts in pages:
                joining.add(parts)
        # How far the parts overlap is known once all were seen, so the entry is read twice and never held.
        reading = joining.reading(None if pages.truncated else comparable_size(filename, size))
        written = 0
        with opened() as stream:
            for piece in reading.pieces(part for parts in Pages(stream) for part in parts):
                # Servers cut texts within a character: half a pair goes on as it came.
                data = piece.encode("utf-8", "surrogatepass")
                write(data)
                written += len(data)
    except (ValueError, msgspec.MsgspecError) as error:
        raise DamagedBundle(f"can't read a parsed text in the bundle: {error}") from None
    exact = written == size
    return Joined(size=written, exact=exact, truncated=pages.truncated, doubt=reading.doubt, room=pages.room)


def document(stored: bytes, *, overlap: int, filename: str | None, size: int | None) -> Document:
    """The document of a ``data/text`` entry that may be held in memory. Raises DamagedBundle, as ``join`` does."""
    data = bytearray()

    def opened() -> BinaryIO:
        return io.BytesIO(stored)

    found = join(opened, data.extend, overlap=overlap, filename=filename, size=size)
    parts = [part for page in Pages(opened()) for part in page]
    return Document(**msgspec.structs.asdict(found), data=bytes(data), parts=parts)


class PlainTexts:
    """The parsed texts of one bundle, which need not have been verified, joined as an import joins them."""

    def __init__(self, bundle: BundleReader) -> None:
        self._bundle = bundle
        self._room = most_text(bundle.path.stat().st_size)
        self._overlaps: dict[str, dict[str, int]] = {}

    def write(self, entry: IndexEntry, write: Callable[[bytes], object]) -> Joined:
        """Write the text of a ``data/text`` entry. Raises DamagedBundle."""
        line = self._bundle.ledger_line(entry.id) if entry.id is not None else None
        found = join(
            lambda: self._bundle.open(entry),
            write,
            overlap=self._overlap(entry),
            filename=line.filename if line else entry.filename,
            size=line.expected if line else None,
            room=self._room,
        )
        self._room = found.room
        # What the export saw of the server, the bundle need not show: that a list of parts ended too early.
        truncated, doubt = (line.truncated, line.doubt or None) if line else (False, None)
        return msgspec.structs.replace(found, truncated=found.truncated or truncated, doubt=found.doubt or doubt)

    def _overlap(self, entry: IndexEntry) -> int:
        """The tokens that the parts share, by the membership in the store that parsed the file."""
        store = entry.path.removeprefix(TEXTS).partition("/")[0]
        if store not in self._overlaps:
            of_members = (
                (record.id, overlap_of(MembershipView.of(record).chunking_strategy))
                for record in self._bundle.memberships(store)
            )
            self._overlaps[store] = {id: overlap for id, overlap in of_members if overlap != DEFAULT_OVERLAP}
        return self._overlaps[store].get(entry.id or "", DEFAULT_OVERLAP)
