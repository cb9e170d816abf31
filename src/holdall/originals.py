"""Searches the owner's folder, with its subfolders, for the originals of a server's files.

An original has exactly the file's name and size. If there is parsed text, its words decide between several, and allow a
name that differs in case or folder. Uncertain matches are reported, never guessed. Reads only. The index is a temporary
database, so memory is flat.
"""

from __future__ import annotations

import filecmp
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import msgspec

from holdall.errors import UsageFault
from holdall.safe_files import Closing, open_regular
from holdall.untrusted import normalized
from holdall.word_match import NO_PARSED_TEXT, NO_TEXT_FILE, WORDS_AGREE, WordMatcher, read_matcher

# How many files are named where several fit, or nearly.
_NAMED = 5
# So many files of other bytes are compared with a parsed text; who has more of one name and size has to choose.
_COMPARED = 10
# A thousand files of one name and one size are looked at no further.
_LOOKED_AT = 1000
# Two files without relation may have one small size; from here on it says something.
_TELLING_SIZE = 256
_PIECE = 1 << 20
_NOTHING = "no original with that name and size"


class Original(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the owner's. ``name`` is its path inside the folder, with ``/``; ``size`` in bytes when indexed."""

    path: Path
    name: str
    size: int


class Unmatched(msgspec.Struct, frozen=True, kw_only=True):
    """No file matches, or several: ``reason`` names the near ones, ``near`` says whether there are any."""

    reason: str
    near: bool = False


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """The original of a file; ``check`` says how it was verified."""

    original: Original
    check: str


class Fit(StrEnum):
    """How well candidates match. All have the size."""

    NAME = "name"
    """They have the name, and the folders that are in it."""
    NEAR = "near"
    """Their name differs in case, or they are in another folder."""
    SIZE = "size"
    """They have another name, with the same ending."""


class Candidates:
    """The files that may be the original of one file, those that fit best. ``matchers`` are to be given the parts of
    its parsed text, where there is one, before ``choose``: files whose words can't be read have none.

    Made by ``Originals.candidates``.
    """

    def __init__(
        self, wanted: str, fit: Fit = Fit.SIZE, files: Sequence[Original] = (), *, nothing: str = _NOTHING
    ) -> None:
        """``nothing`` is the reason to give if there is no other."""
        self._wanted, self._fit, self._nothing = wanted, fit, nothing
        self._files = [(file, read_matcher(file.path)) for file in files]

    @property
    def matchers(self) -> list[WordMatcher]:
        return [matcher for _, matcher in self._files if matcher]

    def choose(self, *, compared: bool) -> Chosen | Unmatched:
        """The original, if certain. ``compared``: the matchers were given a parsed text."""
        agreeing = self._agreeing() if compared else []
        # Those of which nothing says that they are other files.
        possible = [file for file, matcher in self._files if not compared or matcher is None or file in agreeing]
        sure = len(agreeing) == len(possible) == 1
        if self._fit is Fit.NAME:
            if sure:
                return Chosen(original=agreeing[0], check=WORDS_AGREE)
            if possible and len(self._files) == 1:
                return Chosen(original=possible[0], check=NO_PARSED_TEXT if self.matchers else NO_TEXT_FILE)
        if self._fit is Fit.NEAR and sure:
            check = f"size and words match, the name {_apart(agreeing[0].name, self._wanted)}"
            return Chosen(original=agreeing[0], check=check)
        reason = self._why_not(agreeing, possible)
        return Unmatched(reason=reason, near=reason != _NOTHING)

    def _agreeing(self) -> list[Original]:
        """Those whose words agree most closely."""
        agreed = [(file, matcher.closeness) for file, matcher in self._files if matcher and matcher.agrees]
        closest = max((closeness for _, closeness in agreed), default=0)
        return [file for file, closeness in agreed if closeness == closest]

    def _why_not(self, agreeing: list[Original], possible: list[Original]) -> str:
        files = [file for file, _ in self._files]
        match self._fit:
            case Fit.NAME if possible:
                too = ", and the words of all match" if len(agreeing) == len(possible) else ""
                return f"several different originals match{too}: {_names(possible)}"
            case Fit.NAME if len(files) == 1:
                return f"original {files[0].name} is a different file: its words don't match the parsed text"
            case Fit.NAME:
                return f"originals with that name and size have different words: {_names(files)}"
            case Fit.NEAR if not possible:
                return f"no original with exactly that name; same size, but different words: {self._apart(files)}"
            case Fit.NEAR if len(possible) > 1:
                return f"no original with exactly that name; same size: {self._apart(possible)}"
            case Fit.NEAR:
                why = "no parsed text" if self.matchers else "its type can't be read"
                return f"no original with exactly that name: {self._apart(possible)}; words not compared: {why}"
            case _ if agreeing:
                found = _names(agreeing)
                return f"no original with that name; same size and words under another name: {found}"
            case _ if possible:
                return f"no original with that name; same size under another name: {_names(possible)}"
        return self._nothing

    def _apart(self, files: Sequence[Original]) -> str:
        return _listed([f"{file.name}, whose name {_apart(file.name, self._wanted)}" for file in files])


class Originals(Closing):
    """One folder, indexed when this is made; a context manager. ``find`` may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        """Raises UsageFault where ``folder`` is none. Links to files are followed, links to folders are not."""
        if not folder.is_dir():
            raise UsageFault(f"can't look for originals in {folder}: no such folder")
        self.folder = folder
        self.files = 0
        self.unreadable: list[str] = []
        """Folders that could not be looked into."""
        self.links: list[str] = []
        """Links to folders, by their place inside the folder: they are not followed."""
        self._lock = threading.Lock()
        # A database without a name lives in memory until it is large, then in a temporary file; gone when closed.
        self._index = sqlite3.connect("", check_same_thread=False)
        self._index.execute(
            "CREATE TABLE original (name BLOB, folded BLOB, ending BLOB, size INTEGER, path BLOB, used)"
        )
        self._index.executemany("INSERT INTO original VALUES (?, ?, ?, ?, ?, 0)", self._rows())
        for columns in ("name, size", "folded", "size, ending", "path"):
            self._index.execute(f'CREATE INDEX "by {columns}" ON original ({columns})')

    def close(self) -> None:
        self._index.close()

    def notes(self) -> list[str]:
        """What was not searched, a sentence each."""
        found = []
        if self.unreadable:
            found.append(f"can't look for originals in {_listed(self.unreadable)}")
        if self.links:
            where = _listed(self.links)
            found.append(f"links to folders are not followed; not searched: {where}")
        return found

    def candidates(self, filename: str, size: int) -> Candidates:
        """The files that may be the original of a file of that name and size, in bytes.

        A name with folders in it must have them too. Files with the same bytes are one. Raises OSError where they
        can't be read to find that out.
        """
        name, base = _asked(filename)
        # Of most files there is nothing: one look instead of three.
        if not self._has_any("folded = ? OR size = ? AND ending = ?", _key(_folded(base)), size, _key(_ending(base))):
            return Candidates(name)
        same = self._query("name = ? AND size = ?", _key(base), size)
        if fitting := [found for found in same if _named(found.name, name)]:
            return Candidates(name, Fit.NAME, _distinct(fitting))
        named = self._query("folded = ? AND NOT used", _key(_folded(base)))
        if near := [found for found in named if found.size == size]:
            return Candidates(name, Fit.NEAR, _distinct(near))
        if named:
            said = _listed([f"{found.name} ({found.size} bytes)" for found in named])
            return Candidates(name, nothing=f"no original has the right size ({size} bytes): {said}")
        if size < _TELLING_SIZE:
            return Candidates(name)
        alike = self._query("size = ? AND ending = ? AND NOT used", size, _key(_ending(base)))
        return Candidates(name, Fit.SIZE, _distinct(alike))

    def named(self, filename: str) -> list[Original]:
        """The files of exactly that name, of whatever size, those with the same bytes once. Raises OSError."""
        return _distinct(self._query("name = ?", _key(filename)))

    def original(self, path: bytes, size: int) -> Original:
        """The file at ``path``, which is written as the system writes it: it need not be Unicode."""
        found = Path(os.fsdecode(path))
        return Original(path=found, name=self._name(found), size=size)

    def use(self, original: Original) -> None:
        """Mark a file as an original: it is no longer offered for files of another name."""
        self._execute("UPDATE original SET used = 1 WHERE path = ?", os.fsencode(original.path))

    def reserve(self, filename: str, size: int) -> None:
        """Reserve the files of exactly that name and size."""
        _, base = _asked(filename)
        self._execute("UPDATE original SET used = 1 WHERE name = ? AND size = ?", _key(base), size)

    # -- inside --------------------------------------------------------------------------------------

    def _rows(self) -> Iterator[tuple[bytes, bytes, bytes, int, bytes]]:
        errors: list[OSError] = []
        for folder, folders, names in os.walk(self.folder, onerror=errors.append):
            for name in folders:
                path = os.path.join(folder, name)
                if os.path.islink(path):
                    self.links.append(self._name(Path(path)))
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
        self.unreadable = [str(error.filename) for error in errors]

    def _has_any(self, where: str, *values: object) -> bool:
        return bool(self._execute(f"SELECT 1 FROM original WHERE {where} LIMIT 1", *values))

    def _query(self, where: str, *values: object) -> list[Original]:
        rows = self._execute(f"SELECT path, size FROM original WHERE {where} ORDER BY path LIMIT {_LOOKED_AT}", *values)
        return [self.original(path, size) for path, size in rows]

    def _execute(self, statement: str, *values: object) -> list[Any]:
        # A connection takes one statement at a time, and contents are fetched by many threads.
        with self._lock:
            return self._index.execute(statement, values).fetchall()

    def _name(self, path: Path) -> str:
        """Where it is inside the folder, as text that can be written down anywhere."""
        return os.fsencode(path.relative_to(self.folder).as_posix()).decode("utf-8", "replace")


def _normal(name: str) -> str:
    """The normal form of a name, independent of how accents are encoded (macOS decomposes them)."""
    return normalized("NFC", name)


def _asked(filename: str) -> tuple[str, str]:
    """A server's name of a file, and what is left of it without folders, which either slash may set apart."""
    name = _normal(filename.replace("\\", "/"))
    return name, name.rpartition("/")[2]


def _folded(name: str) -> str:
    return normalized("NFC", _normal(name).casefold())


def _key(name: str) -> bytes:
    # A name on disk need not be Unicode; os.fsdecode leaves surrogates, which a database's text can't hold.
    return name.encode("utf-8", "surrogatepass")


def _ending(name: str) -> str:
    return _folded(os.path.splitext(name)[1])


def _named(relative: str, wanted: str) -> bool:
    """Whether the file at ``relative`` has the name ``wanted``, or ends in it if that has folders."""
    path = _normal(relative)
    return path == wanted or path.endswith(f"/{wanted.lstrip('/')}")


def _apart(relative: str, wanted: str) -> str:
    """How the name of the file at ``relative`` differs from ``wanted``."""
    return "differs only in case" if _named(_folded(relative), _folded(wanted)) else "has another folder"


def _distinct(files: Sequence[Original]) -> list[Original]:
    """The first of all that have the same bytes. OSError."""
    found: list[Original] = []
    for file in files:
        if not any(filecmp.cmp(file.path, other.path, shallow=False) for other in found):
            found.append(file)
            if len(found) == _COMPARED:
                break
    return found


def _names(found: Sequence[Original]) -> str:
    return _listed([one.name for one in found])


def _listed(found: Sequence[str]) -> str:
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more


class _Sink(Protocol):
    def write(self, data: bytes) -> None: ...

    def commit(self) -> object: ...

    def abort(self) -> None: ...


def copy_original(original: Original, sink: _Sink) -> None:
    """Write an original's bytes into a sink and commit it. OSError, and nothing is kept, if it is unreadable or its
    size has changed."""
    size = 0
    try:
        with open_regular(original.path) as file:
            while data := file.read(_PIECE):
                sink.write(data)
                size += len(data)
        if size != original.size:
            raise OSError(f"{original.name} changed while being read")
        sink.commit()
    finally:
        sink.abort()


def unreadable(error: OSError) -> str:
    """Why a matching original could not be read, without the folders above."""
    name = Path(error.filename).name if isinstance(error.filename, str) else ""
    return f"can't read the original: {name and f'{name}: '}{error.strerror or error}"
