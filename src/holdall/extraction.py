"""Extracts files from a bundle: contents under their true names, made safe; records under their paths.

A file gets its name only after its sha256 is verified. Nothing is overwritten unless requested.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

import msgspec

from holdall.bundle import layout
from holdall.bundle.layout import IndexEntry
from holdall.bundle.reader import BundleReader, open_bundle
from holdall.bundle.salvage import Salvage
from holdall.bundle.texts import Joined, PlainTexts
from holdall.errors import AlreadyExists, DamagedBundle, NoSuchEntry, pasteable
from holdall.progress import Progress, Silent
from holdall.safe_files import cannot_write, on_disk, open_private, open_regular, replace, reporting, safe_name
from holdall.spilling import Taken, ValueSorter

_WILD = frozenset("*?[")
_TEXT_SUFFIX = ".text.json"
_PLAIN_SUFFIX = ".txt"
_PIECE = 1 << 20
_LONGEST = 240  # bytes of a name that every file system takes


class Extracted(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file written: where it was in the bundle, and where it is now. Of plain text ``truncated`` says that it stops
    short, ``doubt`` why its parts may have been joined wrongly."""

    entry: str
    path: str
    size: int
    truncated: bool = False
    doubt: str | None = None


class Lost(msgspec.Struct, frozen=True, kw_only=True):
    """What could not be saved: an entry, or the obstacle if the entry isn't known."""

    entry: str | None
    message: str


def extract(
    path: Path,
    patterns: Iterable[str],
    to: Path,
    *,
    force: bool = False,
    text: bool = False,
    progress: Progress | None = None,
) -> Iterator[Extracted]:
    """Write what matches ``patterns`` (everything without any) below ``to``, and report each file.

    A pattern is a path in the bundle, an id, or a true filename; the last two and paths may have ``*``, ``?`` and
    ``[…]``. With ``text`` parsed texts are written as plain text. Raises NoSuchEntry, before anything is written, where
    a pattern matches nothing; AlreadyExists, CannotWrite, DamagedBundle (entry named; nothing of it stays).
    """
    progress = progress or Silent()
    progress.stage(f"Extracting {path.name} to {to}")
    with open_bundle(path) as bundle:
        # In the order in which they lie in the bundle: small files share a frame, which is then decoded once.
        chosen = ValueSorter(IndexEntry)
        for entry in _select(bundle, list(patterns)):
            chosen.add(entry.offset, entry)
            progress.expect(files=1, bytes=entry.size)
        progress.expect(last=True)
        delivery, end = Delivery(to, force=force), 0
        texts = PlainTexts(bundle) if text else None
        for entry in chosen:
            if entry.offset < end:
                # A file of a few kilobytes could be unpacked into anything.
                raise DamagedBundle(f"can't extract {entry.path}: it overlaps another entry", entry=entry.path)
            end = entry.offset + entry.size
            if texts and _is_text(entry):
                with _plain(texts, entry) as (joined, pieces, sha256):
                    written = delivery.write(entry, pieces, sha256, suffix=_PLAIN_SUFFIX)
                yield _told(written, joined)
            else:
                with bundle.open(entry) as stream:
                    yield delivery.write(entry, _pieces(stream), entry.sha256)
            progress.advance(files=1, bytes=entry.size)


@contextmanager
def open_one(
    path: Path, pattern: str, *, text: bool = False
) -> Iterator[tuple[IndexEntry, Iterator[bytes], str, Joined | None]]:
    """The one matching entry, its bytes in pieces, of which the last comes after the sha256 is verified, and that.

    With ``text`` a parsed text is plain text, and the last value says how it was joined. Raises NoSuchEntry where none
    or several match.
    """
    with open_bundle(path) as bundle:
        found = list(_select(bundle, [pattern]))
        if len(found) > 1:
            raise NoSuchEntry(
                f"can't extract {pattern} to one file: it matches {len(found)} entries of {path}",
                hint=f"choose one: {', '.join(entry.path for entry in found[:3])}",
            )
        (entry,) = found
        if text and _is_text(entry):
            with _plain(PlainTexts(bundle), entry) as (joined, pieces, sha256):
                yield entry, pieces, sha256, joined
        else:
            with bundle.open(entry) as stream:
                yield entry, _pieces(stream), entry.sha256, None


def extract_one(path: Path, pattern: str, target: Path, *, force: bool = False, text: bool = False) -> Extracted:
    """Write the one entry that matches to ``target``. Raises as ``extract`` and ``open_one`` do."""
    with open_one(path, pattern, text=text) as (entry, pieces, sha256, joined):
        size = _deliver(target, pieces, sha256, entry.path, force=force)
        written = Extracted(entry=entry.path, path=str(target), size=size)
        return _told(written, joined) if joined else written


def _is_text(entry: IndexEntry) -> bool:
    return entry.path.startswith(layout.TEXTS)


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    return iter(partial(stream.read, _PIECE), b"")


@contextmanager
def _plain(texts: PlainTexts, entry: IndexEntry) -> Iterator[tuple[Joined, Iterator[bytes], str]]:
    """How a text was joined, the text in pieces, and its sha256."""
    # Nothing of it may be delivered before all of it is proved.
    with tempfile.SpooledTemporaryFile(_PIECE) as spool:
        digest = hashlib.sha256()

        def write(data: bytes) -> None:
            digest.update(data)
            spool.write(data)

        joined = texts.write(entry, write)
        spool.seek(0)
        yield joined, _pieces(spool), digest.hexdigest()


def _told(written: Extracted, joined: Joined) -> Extracted:
    return msgspec.structs.replace(written, truncated=joined.truncated, doubt=joined.doubt)


def salvage(
    path: Path, patterns: Iterable[str], to: Path, *, force: bool = False, progress: Progress | None = None
) -> Iterator[Extracted | Lost]:
    """Like ``extract``, from a possibly damaged bundle: write what is whole, report the rest.

    Raises NotABundle where there is nothing of a bundle in the file; NoSuchEntry where nothing matched.
    """
    wanted, progress = list(patterns), progress or Silent()
    progress.stage(f"Salvaging {path.name} to {to}")
    found = False
    with Salvage(path) as damaged:
        delivery = Delivery(to, force=force)
        for find in damaged.finds():
            if wanted and not any(matches(pattern, find.entry) for pattern in wanted):
                continue
            found = True
            progress.expect(files=1, bytes=find.entry.size)
            try:
                yield delivery.write(find.entry, find.pieces, find.sha256)
            except DamagedBundle as error:
                yield Lost(entry=find.entry.path, message=error.message)
            progress.advance(files=1, bytes=find.entry.size)
        for note in damaged.notes:
            yield Lost(entry=None, message=note)
    if not found:
        raise NoSuchEntry(f"can't salvage from {path}: no intact entry matches")


def matches(pattern: str, entry: IndexEntry) -> bool:
    """Whether ``pattern`` matches the entry: by path (with or without ``data/``), id or true filename."""
    names = (entry.path, entry.path.removeprefix("data/"), entry.id, entry.filename)
    if not _WILD.intersection(pattern):
        return pattern in names
    return any(name is not None and fnmatch.fnmatchcase(name, pattern) for name in names) or pattern in names


def _select(bundle: BundleReader, patterns: list[str]) -> Iterator[IndexEntry]:
    """What matches any of ``patterns``, each entry once; plain paths and ids are looked up, the rest is searched."""
    if not patterns:
        yield from bundle.entries()
        return
    searched, found = [], {}
    for pattern in patterns:
        entry = None if _WILD.intersection(pattern) else _look_up(bundle, pattern)
        if entry:
            found[entry.path] = entry
        else:
            searched.append(pattern)
    missing = set(searched)
    rest = ValueSorter(IndexEntry)
    if searched:
        for entry in bundle.entries():
            hits = [pattern for pattern in searched if matches(pattern, entry)]
            missing.difference_update(hits)
            if hits and entry.path not in found:
                rest.add(0, entry)
    if missing:
        raise NoSuchEntry(
            f"can't extract {sorted(missing)[0]} from {bundle.path}: no entry has that path, id or filename",
            hint=f"holdall inspect {pasteable(bundle.path)} --all lists the entries; quote patterns with * or ?",
        )
    yield from found.values()
    yield from rest


def _look_up(bundle: BundleReader, name: str) -> IndexEntry | None:
    """The entry of that path, or the content of that id."""
    for path in (name, f"data/{name}"):
        if path.startswith("data/") and (entry := bundle.find(path)):
            return entry
    return bundle.content(name)


class Delivery:
    """Writes files below one folder, each atomically, under safe and free names.

    An existing file with the same bytes is kept: an earlier run was interrupted.
    """

    def __init__(self, folder: Path, *, force: bool) -> None:
        self._folder, self._force = folder, force
        self._taken = Taken()
        self._taken.add("data")  # where the records go
        with reporting(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def write(
        self,
        entry: IndexEntry,
        pieces: Iterable[bytes | memoryview],
        sha256: str | None,
        *,
        suffix: str = _TEXT_SUFFIX,
    ) -> Extracted:
        """Write one file; ``sha256`` is what it must have, None where something else proves it. ``suffix`` is for
        texts."""
        place = self._place(entry, suffix)
        target = self._folder / on_disk(place)
        if not self._force and (size := _is_there(target, sha256)) is not None:
            deque(pieces, maxlen=0)
        else:
            size = _deliver(target, pieces, sha256, entry.path, force=self._force)
        return Extracted(entry=entry.path, path=str(self._folder / place), size=size)

    def _place(self, entry: IndexEntry, of_texts: str) -> str:
        """The path of an entry: a content's true name, a record's path in the bag."""
        if entry.fidelity is None and not entry.path.startswith((layout.CONTENTS, layout.TEXTS)):
            return entry.path
        suffix = of_texts if _is_text(entry) else ""
        own = (entry.filename or entry.path.rsplit("/", 1)[1]).removesuffix(suffix)
        name = safe_name(own, suffix=suffix, limit=_LONGEST, percent=True)
        return self._taken.first_free("", name.removesuffix(suffix), suffix=suffix, limit=_LONGEST)


def _deliver(target: Path, pieces: Iterable[bytes | memoryview], sha256: str | None, entry: str, *, force: bool) -> int:
    """Write ``target``, which gets its name once all of it is there and proved. Returns its size."""
    # Also a link that leads nowhere: writing would follow it.
    if not force and os.path.lexists(target):
        raise AlreadyExists(
            f"can't write {target}: it already exists", hint="choose another place, or use --force to replace it"
        )
    # By a hash, because the target's own name may be as long as the file system allows.
    partial = target.with_name(f".{hashlib.sha256(entry.encode()).hexdigest()[:16]}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            partial.unlink()
        digest, size = hashlib.sha256(), 0
        with os.fdopen(open_private(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
                size += len(piece)
        if sha256 is not None and digest.hexdigest() != sha256:
            raise DamagedBundle(f"can't extract {entry}: sha256 mismatch", entry=entry)
        replace(partial, target)
    except OSError as error:
        raise cannot_write(target, error) from None
    finally:
        with suppress(OSError):
            partial.unlink()
    return size


def _is_there(target: Path, sha256: str | None) -> int | None:
    """The size of the file at ``target`` if it has just those bytes."""
    if sha256 is None or target.is_symlink() or not target.is_file():
        return None
    with open_regular(target) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell() if digest == sha256 else None
