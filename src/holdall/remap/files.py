"""Scans the user's files and folders for ids, and rewrites them.

All other bytes stay, including encoding and line ends. The number of lines stays, so a diff pairs them one to one.
"""

from __future__ import annotations

import codecs
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import chain, groupby
from pathlib import Path

import msgspec

from holdall.credentials import looks_like
from holdall.errors import CannotWrite, UsageFault
from holdall.remap.renaming import MAPPING, Left, Matcher, Renaming
from holdall.safe_files import cannot_write, read_regular, replace, sync_file

# Larger files are data, not code or settings.
_LARGEST = 64 << 20
_CONTEXT = 3  # lines of a diff around what has changed
_SKIPPED = frozenset({".git", ".hg", ".svn", "node_modules", ".venv", "__pycache__"})
_OWN = frozenset({MAPPING, "report.md", "report.html", "runs"})


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A file with ids to rewrite. ``before`` and ``after`` are its text as ``encoding`` reads it."""

    path: Path
    count: int
    before: str
    after: str
    encoding: str
    stamp: tuple[int, int]


class Unmapped(msgspec.Struct, frozen=True, kw_only=True):
    """An id in a file that wasn't rewritten."""

    path: Path
    left: Left


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """A skipped file or folder that may contain ids, and why."""

    path: Path
    why: str


def scan(paths: Iterable[Path], mapping: Path, renaming: Renaming) -> Iterator[Change | Unmapped | Passed]:
    """Scan files and folders, recursively, in the order of names.

    Symlinks aren't followed. Version control, installed packages and an import's output are skipped. Nothing is
    written; ``write`` does that. Raises UsageFault first if a path doesn't exist.
    """
    paths = list(paths)
    for path in paths:
        if not path.exists():
            raise UsageFault(f"can't read {path}: no such file or folder")
    matcher, own = Matcher(renaming), mapping.stat()
    seen: set[tuple[int, int]] = set()
    for file in chain.from_iterable(map(_files, paths)):
        if isinstance(file, Passed):
            yield file
            continue
        try:
            status = os.stat(file, follow_symlinks=False)
            # Two of the paths may lead to one file.
            if (status.st_dev, status.st_ino) in seen or os.path.samestat(status, own):
                continue
            seen.add((status.st_dev, status.st_ino))
            yield from _look(file, status, matcher)
        except OSError as error:
            yield Passed(path=file, why=error.strerror or str(error))


def _files(root: Path) -> Iterator[Path | Passed]:
    """Regular files at and below ``root``."""
    if root.is_symlink():
        yield Passed(path=root, why="symlink, not followed")
        return
    if root.is_file():
        yield root
        return
    unreadable: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=unreadable.append):
        here = Path(folder)
        own = _OWN if "runs" in folders and MAPPING in names else frozenset()
        folders[:] = sorted(name for name in folders if name not in own and not _passed_over(here / name))
        for name in sorted(names):
            file = here / name
            if name not in own and not file.is_symlink() and file.is_file():
                yield file
    for error in unreadable:
        yield Passed(path=Path(str(error.filename)), why=error.strerror or str(error))


def _passed_over(folder: Path) -> bool:
    if folder.name in _SKIPPED or (folder / "pyvenv.cfg").exists():
        return True
    return folder.suffix == ".partial" and (folder / "journal.jsonl").exists()  # an export that is not yet done


def _look(file: Path, status: os.stat_result, matcher: Matcher) -> Iterator[Change | Unmapped | Passed]:
    if status.st_size > _LARGEST:
        yield Passed(path=file, why=f"larger than {_LARGEST >> 20} MiB")
        return
    data = read_regular(file)
    encoding = _encoding(data)
    if encoding is None:
        return
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        yield Passed(path=file, why=f"not valid {encoding}")
        return
    found = matcher.rewrite(text)
    for left in found.left:
        yield Unmapped(path=file, left=left)
    if found.count:
        stamp = (status.st_mtime_ns, status.st_size)
        yield Change(path=file, count=found.count, before=text, after=found.text, encoding=encoding, stamp=stamp)


def _encoding(data: bytes) -> str | None:
    """How to read a file so that writing it gives the same bytes; None for a binary one.

    Ids are ASCII, so every encoding that has ASCII in it can be read as Latin-1, which loses nothing.
    """
    for mark, encoding in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        if data.startswith(mark) and not data.startswith(codecs.BOM_UTF32_LE):
            return encoding  # the mark stays in the text as a character, and is written again with it
    return None if b"\0" in data else "latin-1"


def write(change: Change) -> None:
    """Replace the old text by the new, atomically, keeping the file's mode.

    Raises CannotWrite, also if the file has changed since the scan.
    """
    path = change.path
    fresh: str | None = None
    try:
        status = os.stat(path, follow_symlinks=False)
        if (status.st_mtime_ns, status.st_size) != change.stamp:
            raise CannotWrite(f"can't write {path}: another program has just changed it")
        descriptor, fresh = tempfile.mkstemp(prefix=f".{path.name[:40]}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(change.after.encode(change.encoding))
            sync_file(file)
        shutil.copymode(path, fresh)
        replace(Path(fresh), path)
        fresh = None
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        if fresh is not None:
            with suppress(OSError):
                os.unlink(fresh)


def unified(change: Change) -> Iterator[bytes]:
    """The change as lines of a unified diff, each with its end, as ``patch -p1`` and ``git apply`` take it.

    Bytes as they are in the file, so that it fits whatever the encoding; of UTF-16 in UTF-8, only to be read.
    """
    old, new = change.before.split("\n"), change.after.split("\n")
    ends_open = bool(old[-1])
    if not ends_open:
        old, new = old[:-1], new[:-1]
    name = change.path.as_posix().lstrip("/")
    shown = name if name.isprintable() else name.encode("unicode_escape").decode()
    tab = "\t" if " " in shown else ""
    for sign, side in (("---", "a"), ("+++", "b")):
        yield f"{sign} {side}/{shown}{tab}\n".encode("utf-8", "surrogateescape")

    encoding = "latin-1" if change.encoding == "latin-1" else "utf-8"

    def line(sign: str, text: str, place: int) -> bytes:
        end = "\n\\ No newline at end of file\n" if ends_open and place == len(old) - 1 else "\n"
        return f"{sign}{text}{end}".encode(encoding)

    changed = [place for place, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
    for first, last in _hunks(changed, old):
        span = f"{first + 1},{last - first}"
        yield f"@@ -{span} +{span} @@\n".encode()
        for is_same, run in groupby(range(first, last), key=lambda place: old[place] == new[place]):
            places = list(run)
            for sign, lines in [(" ", old)] if is_same else [("-", old), ("+", new)]:
                yield from (line(sign, lines[place], place) for place in places)


def _hunks(changed: list[int], lines: list[str]) -> Iterator[tuple[int, int]]:
    """Runs of changed lines with their context: first line, and the one behind the last. A key is no context: ids
    stand beside keys in many a file, and a diff is seen by others."""
    begun: tuple[int, int] | None = None
    for place in changed:
        first = last = place
        while first > max(0, place - _CONTEXT) and not looks_like(lines[first - 1]):
            first -= 1
        while last + 1 < min(len(lines), place + _CONTEXT + 1) and not looks_like(lines[last + 1]):
            last += 1
        if begun and begun[1] < first:
            yield begun
            begun = None
        begun = (min(begun[0], first) if begun else first), last + 1
    if begun:
        yield begun
