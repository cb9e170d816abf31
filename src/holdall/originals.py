"""The owner's own files: a folder, searched with all that is below it, for the original of a file that a server has.

An original is one of exactly that name and exactly that size. Several that differ, or one that nearly fits, are
told, never guessed. Reads only. The index lies in a temporary database, so memory is flat however large the folder.
"""

from __future__ import annotations

import filecmp
import os
import sqlite3
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import msgspec

from holdall.errors import UsageFault

__all__ = ["Original", "Originals", "Unmatched", "copy_original", "unreadable"]

# How many files are named where several fit, or nearly.
_NAMED = 5
# A thousand files of one name and one size are looked at no further.
_LOOKED_AT = 1000
# Two files without relation may have one small size; from here on it says something.
_TELLING_SIZE = 256
_PIECE = 1 << 20


class Original(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the owner's. ``name`` is its path inside the folder, with ``/``; ``size`` in bytes when indexed."""

    path: Path
    name: str
    size: int


class Unmatched(msgspec.Struct, frozen=True, kw_only=True):
    """No file fits, or more than one: ``reason`` says which ones come near, ``near`` whether any does."""

    reason: str
    near: bool = False


class Originals:
    """One folder, indexed when this is made; a context manager. ``find`` may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        """Raises UsageFault where ``folder`` is none. Links to files are followed, links to folders are not."""
        if not folder.is_dir():
            raise UsageFault(f"can't look for originals in {folder}: there is no such folder")
        self.folder = folder
        self.files = 0
        self.unreadable: list[str] = []
        """Folders that could not be looked into."""
        self._lock = threading.Lock()
        # A database without a name lives in memory until it is large, then in a temporary file; gone when closed.
        self._index = sqlite3.connect("", check_same_thread=False)
        self._index.execute("CREATE TABLE original (name BLOB, folded BLOB, ending BLOB, size INTEGER, path BLOB)")
        self._index.executemany("INSERT INTO original VALUES (?, ?, ?, ?, ?)", self._rows())
        for columns in ("name, size", "folded", "size, ending"):
            self._index.execute(f'CREATE INDEX "by {columns}" ON original ({columns})')

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._index.close()

    def find(self, filename: str, size: int) -> Original | Unmatched:
        """The original of a file of that name and size, where there is one and no doubt about it.

        A name with folders in it must have them too. Several of that name and size are one where their bytes are
        equal. Raises OSError where they can't be read to find that out.
        """
        name = _normal(filename.replace("\\", "/"))
        same = self._query("name = ? AND size = ?", _key(_base(name)), size)
        fitting = [found for found in same if _named(found.name, name)]
        if not fitting:
            return self._nothing(name, size)
        first, *others = fitting
        if all(filecmp.cmp(first.path, other.path, shallow=False) for other in others):
            return first
        return Unmatched(reason=f"several originals fit and differ: {_list(fitting)}", near=True)

    # -- inside --------------------------------------------------------------------------------------

    def _rows(self) -> Iterator[tuple[bytes, bytes, bytes, int, bytes]]:
        def unreadable(error: OSError) -> None:
            self.unreadable.append(str(error.filename))

        for folder, _, names in os.walk(self.folder, onerror=unreadable):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    status = os.stat(path)
                except OSError:
                    continue  # a link that leads nowhere
                if os.path.isfile(path):
                    self.files += 1
                    keys = _key(_normal(name)), _key(_folded(name)), _key(_ending(name))
                    yield *keys, status.st_size, os.fsencode(path)

    def _nothing(self, name: str, size: int) -> Unmatched:
        """Why nothing fits: what has the name but not the size, or the size and the kind but not the name."""
        base = _base(name)
        named = self._query("folded = ?", _key(_folded(base)))
        if named:
            said = ", ".join(f"{found.name} ({found.size} bytes)" for found in named[:_NAMED])
            more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
            return Unmatched(reason=f"no original fits exactly: {said}{more}, but {size} bytes are wanted", near=True)
        if size >= _TELLING_SIZE:
            ending = _ending(base)
            alike = self._query("size = ? AND ending = ?", size, _key(ending))
            if alike:
                return Unmatched(
                    reason=f"no original of that name; of the same size, under another name: {_list(alike)}", near=True
                )
        return Unmatched(reason="no original of that name and size")

    def _query(self, where: str, *values: object) -> list[Original]:
        sought = f"SELECT path, size FROM original WHERE {where} ORDER BY path LIMIT {_LOOKED_AT}"
        with self._lock:
            rows = self._index.execute(sought, values)
            found = [(Path(os.fsdecode(path)), size) for path, size in rows]
        return [Original(path=path, name=self._name(path), size=size) for path, size in found]

    def _name(self, path: Path) -> str:
        """Where it is inside the folder, as text that can be written down anywhere."""
        return os.fsencode(path.relative_to(self.folder).as_posix()).decode("utf-8", "replace")


def _normal(name: str) -> str:
    """One form for names that differ only in how accents are encoded (macOS takes them apart)."""
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", _normal(name).casefold())


def _key(name: str) -> bytes:
    # A name on disk need not be Unicode; os.fsdecode leaves surrogates, which a database's text can't hold.
    return name.encode("utf-8", "surrogatepass")


def _ending(name: str) -> str:
    return _folded(os.path.splitext(name)[1])


def _base(name: str) -> str:
    return name.rpartition("/")[2]


def _named(relative: str, wanted: str) -> bool:
    """Does the file at ``relative`` have the name ``wanted``, or end in it where that has folders?"""
    path = _normal(relative)
    return path == wanted or path.endswith(f"/{wanted.lstrip('/')}")


def _list(found: list[Original]) -> str:
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(one.name for one in found[:_NAMED]) + more


class _Sink(Protocol):
    def write(self, data: bytes) -> None: ...

    def commit(self) -> object: ...

    def abort(self) -> None: ...


def copy_original(original: Original, sink: _Sink) -> None:
    """Put an original's bytes into a sink and commit it. OSError, and nothing is kept, where it can't be read or is no
    longer of its size."""
    size = 0
    try:
        with original.path.open("rb") as file:
            while data := file.read(_PIECE):
                sink.write(data)
                size += len(data)
        if size != original.size:
            raise OSError(f"{original.name} changed while it was read")
        sink.commit()
    finally:
        sink.abort()


def unreadable(error: OSError) -> str:
    """Why an original that fits could not be taken, without the folders above."""
    name = Path(error.filename).name if isinstance(error.filename, str) else ""
    return f"an original can't be read: {name and f'{name}: '}{error.strerror or error}"
