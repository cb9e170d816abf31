"""A bundle's folder on disk: its files by their paths, which are untrusted.

Nothing outside is read or written: paths keep the rules of a bundle's names, and links aren't followed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import parse_manifest_line
from holdall.errors import CannotWrite
from holdall.folder.written_records import RecordStyle
from holdall.kinds import ASSISTANT_KINDS, KINDS
from holdall.model import Kind
from holdall.safe_files import (
    from_disk,
    is_safe,
    on_disk,
    open_private,
    open_regular,
    reading,
    replace,
    reporting,
    sync_file,
)

RECORDS = "records.jsonl"
"""The tag file that only a folder has: how each definition was written, in the order of the bundle."""
UNFINISHED = ".holdall-unfinished"
"""The manifest of an unfinished unpack."""
ATTRIBUTES = ".gitattributes"
NO_CONVERSION = b"# holdall checks every byte of these files: git must not convert line ends.\n* -text\n"
MARKDOWN = ".md"
_INSTRUCTED = tuple(KINDS[kind].folder for kind in ASSISTANT_KINDS if KINDS[kind].has_model)
_LONGEST_LINE = 2000
# Something other than a file stands there, so it can be neither the bag's nor be replaced.
_NO_FILE = "no regular file"


class StyledRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of ``records.jsonl``: the definition at ``path``, the sha256 of its record, and how that was written."""

    path: str
    sha256: str
    form: RecordStyle = RecordStyle()


def markdown_of(path: str) -> str | None:
    """Where the instructions of the definition at ``path`` go; None for one of a kind without."""
    is_one = path.startswith(_INSTRUCTED) and path.endswith(layout.RECORD) and path.count("/") == 2
    return path.removesuffix(layout.RECORD) + MARKDOWN if is_one else None


def level_of(path: str) -> int:
    """In how many objects of the definition at ``path`` its instructions are: of Foundry's agents in that of the latest
    version."""
    return 4 if path.startswith(KINDS[Kind.FOUNDRY_AGENT].folder) else 1


def is_markdown(path: str) -> bool:
    """Whether ``path`` is that of the instructions of a definition."""
    return path.startswith(_INSTRUCTED) and path.endswith(MARKDOWN) and path.count("/") == 2


def is_definition(path: str) -> bool:
    """Whether ``path`` is that of a record with a file of its own."""
    place = layout.place_of(path)
    return place is not None and place.has_id and not place.fidelities and not place.has_records


def is_content(path: str) -> bool:
    return path.startswith((layout.CONTENTS, layout.TEXTS))


class BagFolder:
    """One folder. All paths are those in the bag: ``data/…``, or a tag file."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._plain: set[str] = set()

    def path(self, inside: str) -> Path:
        return self.root / on_disk(inside)

    def open(self, inside: str) -> BufferedReader:
        """A file of the bag. Raises OSError, also where a link is on the way to it."""
        self._require_no_links(inside)
        return open_regular(self.path(inside))

    def read(self, inside: str, limit: int) -> bytes:
        """All of a file. Raises OSError, and ValueError where it is longer than ``limit``."""
        with self.open(inside) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ValueError(f"longer than {limit} bytes")
        return data

    def sha256(self, inside: str) -> str | None:
        """The sha256 of a file; None if there is none; of anything but a regular file, a value that is no sha256."""
        try:
            with self.open(inside) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return None
        except (NotADirectoryError, IsADirectoryError, _LinkError):
            return _NO_FILE

    def write(self, inside: str, pieces: Iterable[bytes], *, durable: bool = False) -> None:
        """Replace a file, atomically; a link is replaced, not followed. Raises CannotWrite."""
        target = self.path(inside)
        # By a hash, because the target's own name may be as long as the file system allows.
        fresh = target.with_name(f".{hashlib.sha256(inside.encode()).hexdigest()[:16]}.part")
        with reporting(target):
            self._make_folder(inside)
            try:
                fresh.unlink(missing_ok=True)
                with os.fdopen(open_private(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
                    file.writelines(pieces)
                    if durable:
                        sync_file(file)
                replace(fresh, target)
            finally:
                with suppress(OSError):
                    fresh.unlink()

    def remove(self, inside: str) -> bool:
        """Delete a file of the bag, and the folders that it leaves empty. Returns whether it was there."""
        try:
            self._require_no_links(inside)
            self.path(inside).unlink()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, _LinkError):
            return False
        except OSError as error:
            raise CannotWrite(f"can't delete {self.path(inside)}: {error.strerror or error}") from None
        self._remove_empty(inside)
        return True

    def files(self) -> Iterator[str]:
        """Everything below ``data/`` that isn't a folder, in no order. Raises OSError."""
        waiting = ["data"]
        while waiting:
            folder = waiting.pop()
            with os.scandir(self.path(folder)) as found:
                for item in found:
                    name = f"{folder}/{from_disk(item.name)}"
                    if item.is_dir(follow_symlinks=False):
                        waiting.append(name)
                    else:
                        yield name

    def listed(self, name: str = layout.MANIFEST, *, below: str = "data/") -> Iterator[tuple[str, str]]:
        """(path, sha256) of the files ``below`` that are in a manifest; nothing where there is none. Lines that no
        unpack wrote are passed over. Raises CannotWrite."""
        with reading(self.path(name)), suppress(FileNotFoundError, _LinkError), self.open(name) as file:
            while line := file.readline(_LONGEST_LINE):
                with suppress(ValueError):
                    sha256, path = parse_manifest_line(line.rstrip(b"\r\n") + b"\n")
                    if path.startswith(below) and is_safe(path):
                        yield path, sha256

    def _remove_empty(self, inside: str) -> None:
        parent = inside.rpartition("/")[0]
        with suppress(OSError):
            while parent:
                self.path(parent).rmdir()
                self._plain.discard(parent)
                parent = parent.rpartition("/")[0]

    def _require_no_links(self, inside: str) -> None:
        """OSError where a part of the path is a link, or the file itself is."""
        parent = inside.rpartition("/")[0]
        for folder in _parents(parent):
            if folder not in self._plain:
                if stat.S_ISLNK(os.lstat(self.path(folder)).st_mode):
                    raise _LinkError(f"{folder} is a link")
                self._plain.add(folder)
        if stat.S_ISLNK(os.lstat(self.path(inside)).st_mode):
            raise _LinkError("it is a link")

    def _make_folder(self, inside: str) -> None:
        for folder in _parents(inside.rpartition("/")[0]):
            if folder not in self._plain:
                with suppress(FileExistsError):
                    self.path(folder).mkdir(mode=0o700)
                if not stat.S_ISDIR(os.lstat(self.path(folder)).st_mode):
                    raise _LinkError(f"{self.path(folder)} is no folder")
                self._plain.add(folder)


class _LinkError(OSError):
    """A link, or something else that isn't followed."""


def _parents(folder: str) -> Iterator[str]:
    """``a``, ``a/b``, ``a/b/c`` of ``a/b/c``; nothing of an empty path."""
    parts = folder.split("/") if folder else []
    return ("/".join(parts[: number + 1]) for number in range(len(parts)))
