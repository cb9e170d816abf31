"""Unpack: a bundle as a folder; of a folder that is there, only what has changed is written.

An interrupted run leaves the list of its files behind (``UNFINISHED``), and the next one repairs the folder. Files are
compared by sha256, so an unchanged one keeps its time, and a backup program need not read it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import partial
from importlib import resources
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import BAGIT_TXT, closing_info, manifest_line
from holdall.bundle.layout import IndexEntry
from holdall.bundle.reader import BundleReader
from holdall.bundle.totals import capture_of
from holdall.errors import AlreadyExists, BundleInUse, NewerFormat, pasteable
from holdall.folder.bagfolder import (
    ATTRIBUTES,
    NO_CONVERSION,
    RECORDS,
    UNFINISHED,
    BagFolder,
    StyledRecord,
    is_content,
    is_definition,
    level_of,
    markdown_of,
)
from holdall.folder.edits import other_line_ends
from holdall.folder.written_records import MOST_BYTES, RecordFiles, written
from holdall.legible import Capped
from holdall.progress import Progress, Silent
from holdall.safe_files import Closing, FileLock, reading, reporting
from holdall.spilling import Sorter, ValueSorter
from holdall.untrusted import MAX_JSON

_LOCK = ".holdall-lock"
_PIECE = 1 << 20
_OLD, _STOPPED, _NEW = b"0", b"1", b"2"
_encode = msgspec.json.Encoder().encode


class Unpacked(msgspec.Struct, frozen=True, kw_only=True):
    """The result: how many files of the bag are in ``folder``, of how many bytes, and what the run did to them.
    ``discarded`` are the files that were edited by hand and overwritten."""

    folder: Path
    files: int
    bytes: int
    written: int
    removed: int
    discarded: list[str] = []


def unpack(bundle: BundleReader, root: Path, *, force: bool = False, progress: Progress | None = None) -> Unpacked:
    """Make the folder ``root`` equal to ``bundle``, which is verified. Files that aren't the bag's stay.

    Raises AlreadyExists, and writes nothing, where ``root`` is neither empty nor the folder of a bundle, or where files
    were edited by hand since it was unpacked, unless ``force``; BundleInUse, CannotWrite, NewerFormat.
    """
    if not layout.is_known(bundle.info.format):
        raise NewerFormat(
            f"can't unpack {bundle.path}: its format is {bundle.info.format}, and this version of holdall reads "
            f"{layout.FORMAT} completely",
            hint="install a newer version of holdall",
        )
    _require_ours(root)
    with reporting(root):
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        busy = BundleInUse(f"can't write {root}: another process is unpacking into it", hint="wait for it to end")
        lock = FileLock(root / _LOCK, busy=busy)
    try:
        with _Unpack(bundle, root, force=force, progress=progress or Silent()) as run:
            return run.run()
    finally:
        # While it is held: who waits for it must not hold a file of another name.
        with suppress(OSError):
            (root / _LOCK).unlink()
        lock.release()


class _Unpack(Closing):
    """One run. What it knows of each file is on disk."""

    def __init__(self, bundle: BundleReader, root: Path, *, force: bool, progress: Progress) -> None:
        self._bundle, self._folder, self._force, self._progress = bundle, BagFolder(root), force, progress
        self._listed = Sorter()
        self._entries = ValueSorter(IndexEntry)
        self._forms = ValueSorter(StyledRecord)
        self._files = self._bytes = self._written = self._removed = 0

    def close(self) -> None:
        self._listed.close()
        self._entries.close()
        self._forms.close()

    def run(self) -> Unpacked:
        self._progress.stage(f"Unpacking {self._bundle.path.name} to {self._folder.root}")
        self._list()
        discarded = self._edited()
        if discarded and not self._force:
            first, more = ", ".join(discarded[:3]), discarded.total - 3
            root = self._folder.root
            raise AlreadyExists(
                f"can't write {root}: edited by hand since it was unpacked: {first}"
                f"{f' and {more} more' if more > 0 else ''}",
                hint=f"keep the edits with holdall pack {pasteable(root)}, or discard them with holdall unpack "
                f"{pasteable(self._bundle.path)} {pasteable(root)} --force",
            )
        self._folder.write(UNFINISHED, self._manifest(), durable=True)
        for path in self._gone():
            self._removed += self._folder.remove(path)
        for entry in self._entries:
            self._write(entry)
            self._progress.advance(files=1, bytes=entry.size)
        self._write_tags()
        self._folder.remove(UNFINISHED)
        return Unpacked(
            folder=self._folder.root,
            files=self._files,
            bytes=self._bytes,
            written=self._written,
            removed=self._removed,
            discarded=list(discarded),
        )

    # -- what is there, and what is to be ----------------------------------------------------------------

    def _list(self) -> None:
        """Note each file that is to be there, and each that an earlier run put there."""
        for entry in self._bundle.entries():
            # In the order of the bundle, so that each of its frames is decompressed once.
            self._entries.add(entry.offset, entry)
            self._progress.expect(files=1, bytes=entry.size)
            for path, size, sha256 in self._files_of(entry):
                self._listed.add(path.encode(), _NEW + sha256.encode())
                self._files += 1
                self._bytes += size
        self._progress.expect(last=True)
        for mark, name in ((_OLD, layout.MANIFEST), (_STOPPED, UNFINISHED)):
            for path, sha256 in self._folder.listed(name):
                self._listed.add(path.encode(), mark + sha256.encode())

    def _files_of(self, entry: IndexEntry) -> Iterator[tuple[str, int, str]]:
        """Path, size and sha256 of the files that an entry becomes."""
        if not is_definition(entry.path):
            yield entry.path, entry.size, entry.sha256
            return
        found = self._made_of(entry)
        self._forms.add(entry.offset, StyledRecord(path=entry.path, sha256=entry.sha256, form=found.form))
        for path, data in _record_files(entry, found):
            yield path, len(data), hashlib.sha256(data).hexdigest()

    def _made_of(self, entry: IndexEntry) -> RecordFiles:
        markdown = markdown_of(entry.path)
        raw, name = self._bundle.read(entry, limit=MAX_JSON), markdown and markdown.rpartition("/")[2]
        return written(raw, name, level_of(entry.path))

    def _by_path(self) -> Iterator[tuple[str, dict[bytes, str]]]:
        """Each path with the sha256 that it has by the old manifest, by that of a stopped run, and by the new one."""
        for path, found in groupby(self._listed, key=itemgetter(0)):
            yield path.decode(), {value[:1]: value[1:].decode() for _, value in found}

    def _edited(self) -> Capped[str]:
        """The files that a run would overwrite or delete although the user has changed or added them."""
        found: Capped[str] = Capped()
        for path, known in self._by_path():
            # Only what people edit is checked: a content that differs from the manifest is damage, not an edit.
            if is_content(path) and (_OLD in known or _STOPPED in known):
                continue
            with reading(self._folder.path(path)):
                sha256 = self._folder.sha256(path)
            if sha256 not in (None, *known.values()) and not self._is_converted(path, known.values()):
                found.append(path)
        return found

    def _is_converted(self, path: str, known: Collection[str]) -> bool:
        try:
            data = self._folder.read(path, MOST_BYTES)
        except (OSError, ValueError):
            return False
        return any(hashlib.sha256(other).hexdigest() in known for other in other_line_ends(data))

    def _gone(self) -> Iterator[str]:
        return (path for path, known in self._by_path() if _NEW not in known)

    def _manifest(self) -> Iterator[bytes]:
        return (manifest_line(known[_NEW], path) for path, known in self._by_path() if _NEW in known)

    # -- writing -----------------------------------------------------------------------------------------

    def _write(self, entry: IndexEntry) -> None:
        if is_definition(entry.path):
            for path, data in _record_files(entry, self._made_of(entry)):
                self._put(path, hashlib.sha256(data).hexdigest(), [data])
        else:
            with self._bundle.open(entry) as stream:
                self._put(entry.path, entry.sha256, iter(partial(stream.read, _PIECE), b""))

    def _put(self, path: str, sha256: str, pieces: Iterable[bytes]) -> None:
        with reading(self._folder.path(path)):
            same = self._folder.sha256(path) == sha256
        if not same:
            self._folder.write(path, pieces)
            self._written += 1

    def _write_tags(self) -> None:
        info = self._bundle.info
        capture = capture_of(info, tool=info.tool)
        tags: dict[str, Callable[[], Iterable[bytes]]] = {
            layout.BAGIT: lambda: [BAGIT_TXT],
            layout.README: lambda: [resources.files("holdall.folder").joinpath("readme_of_folder.txt").read_bytes()],
            layout.SPECIFICATION: lambda: [layout.specification()],
            layout.BAG_INFO: lambda: [closing_info(capture, ended=info.ended, size=self._bytes, entries=self._files)],
            layout.INFO: lambda: [self._bundle.raw_info],
            RECORDS: lambda: (_encode(form) + b"\n" for form in self._forms),
            layout.MANIFEST: self._manifest,
        }
        hashes = {path: _sha256(pieces()) for path, pieces in tags.items()}
        lines = [manifest_line(sha256, path) for path, sha256 in sorted(hashes.items())]
        tags[layout.TAG_MANIFEST], hashes[layout.TAG_MANIFEST] = lambda: lines, _sha256(lines)
        for path, pieces in tags.items():
            if self._folder.sha256(path) != hashes[path]:
                self._folder.write(path, pieces(), durable=True)
        if self._folder.sha256(ATTRIBUTES) is None:
            self._folder.write(ATTRIBUTES, [NO_CONVERSION])


def _record_files(entry: IndexEntry, found: RecordFiles) -> Iterator[tuple[str, bytes]]:
    yield entry.path, found.json
    if found.markdown is not None:
        yield markdown_of(entry.path) or "", found.markdown


def _sha256(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def _require_ours(root: Path) -> None:
    """Raises AlreadyExists if ``root`` contains anything but an unpacked bundle and hidden files."""
    with reading(root):
        if not root.exists():
            return
        if not root.is_dir():
            raise AlreadyExists(f"can't write {root}: it is a file", hint="name a folder")
        # One of these names alone may be another program's file.
        if all((root / name).exists() for name in (RECORDS, layout.INFO, layout.BAGIT)) or (root / UNFINISHED).exists():
            return
        others = [name for name in (item.name for item in root.iterdir()) if not name.startswith(".")]
    if others:
        raise AlreadyExists(
            f"can't write {root}: it is not empty, and no unpacked bundle ({min(others)} is in it)",
            hint="name an empty folder, or one that unpack wrote",
        )
