"""The files of a folder against its manifest: what was edited by hand, what is damaged, and what only had its line ends
converted by git or an editor, which is undone: the sha256 proves it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import groupby
from operator import itemgetter

import msgspec

from holdall.bundle import layout
from holdall.folder.bagfolder import BagFolder, is_content, is_definition, is_markdown
from holdall.legible import Capped
from holdall.safe_files import Closing, reading
from holdall.spilling import Sorter
from holdall.untrusted import MAX_JSON

_PIECE = 1 << 20
_NEEDED = (layout.FILES, layout.LEDGER, layout.LOSSES)
Conversion = Callable[[Iterable[bytes]], Iterator[bytes]]


class Flaw(msgspec.Struct, frozen=True, kw_only=True):
    """Why the folder can't be packed: a code of docs/commands.md, the path, a sentence."""

    code: str
    entry: str
    message: str


class HandEdits(msgspec.Struct, frozen=True, kw_only=True):
    """Edits of a folder since it was unpacked, as paths: the first thousand of each list.

    ``converted`` counts files of which git or an editor has changed nothing but the line ends; ``ignored`` are files
    that aren't part of the bundle.
    """

    edited: Capped[str] = msgspec.field(default_factory=Capped)
    added: Capped[str] = msgspec.field(default_factory=Capped)
    removed: Capped[str] = msgspec.field(default_factory=Capped)
    ignored: Capped[str] = msgspec.field(default_factory=Capped)
    converted: int = 0

    @property
    def total(self) -> int:
        """How many files were edited, added or removed."""
        return self.edited.total + self.added.total + self.removed.total


class FolderFiles(Closing):
    """The payload of one folder. ``contents`` has the sha256 of each listed file that exists, by its path."""

    def __init__(self, folder: BagFolder) -> None:
        self.folder = folder
        self.edits, self.converted = HandEdits(), 0
        self.flaws: Capped[Flaw] = Capped()
        self.contents = Sorter()
        self.definitions: list[str] = []
        self.lines_beside: list[str] = []
        """The files of lines beside definitions: memberships and versions."""
        self._listed: dict[str, str] = {}
        self._scan()

    def close(self) -> None:
        self.contents.close()

    def flaw(self, code: str, path: str, why: object) -> None:
        self.flaws.append(Flaw(code=code, entry=path, message=f"{path}: {why}"))

    def _scan(self) -> None:
        both = Sorter()
        for path, sha256 in self.folder.listed():
            both.add(path.encode(), sha256.encode())
        with reading(self.folder.path("data")):
            for path in self.folder.files():
                both.add(path.encode("utf-8", "surrogateescape"))
        for key, found in groupby(both, key=itemgetter(0)):
            values = [value.decode() for _, value in found]
            self._note(key.decode("utf-8", "surrogateescape"), max(values), "" in values)
        both.close()

    def _note(self, path: str, sha256: str, is_there: bool) -> None:
        """One file, listed with ``sha256`` or, where that is empty, not."""
        if not is_there:
            if is_content(path) or path in _NEEDED:
                self.flaw("missing", path, "the file is not there")
            else:
                self.edits.removed.append(path)
        elif is_content(path):
            if sha256:
                self.contents.add(path.encode(), sha256.encode())
            else:
                self.edits.ignored.append(path)
        elif not (is_markdown(path) or layout.place_of(path)):
            self.edits.ignored.append(path)
        else:
            self._listed[path] = sha256
            if not sha256:
                self.edits.added.append(path)
            if is_definition(path):
                self.definitions.append(path)
            elif layout.has_lines(path):
                self.lines_beside.append(path)

    def read(self, path: str, limit: int) -> tuple[bytes, bool]:
        """A file as it was unpacked, whatever became of its line ends; and whether it was edited since. Raises
        ValueError where it can't be read."""
        if path not in self._listed:
            raise ValueError(f"{path} is not there")
        try:
            data = self.folder.read(path, limit)
        except OSError as error:
            raise ValueError(error.strerror or str(error)) from None
        known = self._listed[path]
        if hashlib.sha256(data).hexdigest() == known:
            return data, False
        for other in other_line_ends(data):
            if hashlib.sha256(other).hexdigest() == known:
                self.converted += 1
                return other, False
        if known:
            self.edits.edited.append(path)
        return data, True

    def has(self, path: str) -> bool:
        return path in self._listed

    def lines(self, path: str) -> Iterator[tuple[bytes, bool]]:
        """The lines of a ``.jsonl`` file, without their ends, each with whether the file was edited. Nothing where it
        isn't there. Raises ValueError where it can't be read."""
        if path not in self._listed:
            return
        try:
            is_edited = self._is_edited(path)
            with self.folder.open(path) as file:
                while line := file.readline(MAX_JSON + 2):
                    if len(line) > MAX_JSON + 1:
                        raise ValueError(f"a line of more than {MAX_JSON} bytes")
                    # An editor may leave an empty line at the end.
                    if line := line.rstrip(b"\r\n"):
                        yield line, is_edited
        except OSError as error:
            raise ValueError(error.strerror or str(error)) from None

    def _is_edited(self, path: str) -> bool:
        known = self._listed[path]
        for convert in (iter, *CONVERSIONS):
            digest = hashlib.sha256()
            with self.folder.open(path) as file:
                for piece in convert(iter(partial(file.read, _PIECE), b"")):
                    digest.update(piece)
            if digest.hexdigest() == known:
                self.converted += convert is not iter
                return False
        if known:
            self.edits.edited.append(path)
        return True

    def outcome(self) -> HandEdits:
        return msgspec.structs.replace(self.edits, converted=self.converted)


def other_line_ends(data: bytes) -> Iterator[bytes]:
    """``data`` as it may have been before its line ends were converted."""
    return (b"".join(convert([data])) for convert in CONVERSIONS)


def _to_lf(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for piece in pieces:
        piece = held + piece
        # Its line feed may be the first byte of the next piece.
        held = b"\r" if piece.endswith(b"\r") else b""
        yield piece.removesuffix(held).replace(b"\r\n", b"\n")
    yield held


def _to_crlf(pieces: Iterable[bytes]) -> Iterator[bytes]:
    return (piece.replace(b"\n", b"\r\n") for piece in _to_lf(pieces))


CONVERSIONS: tuple[Conversion, ...] = (_to_lf, _to_crlf)
"""To line feeds, and to pairs with a carriage return, the pieces of a file each."""
