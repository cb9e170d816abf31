"""``NAME.partial/``: what an unfinished bundle has on disk, so that a later run goes on where this one stopped.

The journal's first line says what is being captured. Then comes a line per whole entry and per ledger line, and after
them, once the stream is durable up to there, a ``cut``: everything above it stands in the first ``length`` bytes of
the stream. A resume trusts what stands above the last cut and cuts the stream back to it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from holdall.bundle import layout
from holdall.bundle.durable import FileLock, open_private
from holdall.bundle.layout import Capture, IndexEntry, LedgerLine

__all__ = ["Begin", "Cut", "Entry", "Journal", "Ledger", "Line", "Partial", "find_partial"]


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag="begin", tag_field="line"):
    """The first line. ``name`` is the file name that the bundle will have."""

    format: str
    name: str
    started: int
    capture: Capture


class Entry(msgspec.Struct, frozen=True, kw_only=True, tag="entry", tag_field="line"):
    """A whole entry; ``hash`` is the record's, for assistants and stores."""

    entry: IndexEntry
    hash: str | None = None


class Ledger(msgspec.Struct, frozen=True, kw_only=True, tag="ledger", tag_field="line"):
    ledger: LedgerLine


class Cut(msgspec.Struct, frozen=True, kw_only=True, tag="cut", tag_field="line"):
    """All lines above stand in the first ``length`` bytes of the stream, ``size`` bytes of tar."""

    length: int
    size: int


Line = Begin | Entry | Ledger | Cut
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


class Partial:
    """The folder beside the target, locked while this object lives."""

    def __init__(self, target: Path) -> None:
        self.folder = target.with_name(target.name + ".partial")
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._lock = FileLock(self.folder / "lock", what=target)
        self.stream = self.folder / "stream"
        self.old_stream = self.folder / "stream.old"
        self.journal = self.folder / "journal.jsonl"
        self.old_journal = self.folder / "journal.old.jsonl"
        self.spool = self.folder / "spool"
        shutil.rmtree(self.spool, ignore_errors=True)
        self.spool.mkdir(mode=0o700)
        self._spooled = 0
        self.bring_back()

    def set_aside(self) -> None:
        """Make room for a new stream; the old one is read from while that is begun."""
        os.replace(self.stream, self.old_stream)
        os.replace(self.journal, self.old_journal)

    def bring_back(self) -> None:
        """An earlier run was stopped while it took over from an old stream: the old one has more in it."""
        for old, path in ((self.old_stream, self.stream), (self.old_journal, self.journal)):
            if old.exists():
                os.replace(old, path)

    def forget_old(self) -> None:
        self.old_stream.unlink(missing_ok=True)
        self.old_journal.unlink(missing_ok=True)

    def new_spool(self) -> Path:
        """A path for one more spool file."""
        self._spooled += 1
        return self.spool / str(self._spooled)

    def begin(self) -> Begin | None:
        """What an earlier run began here; None where there is nothing that could be gone on with."""
        return _first_line(self.journal) if self.stream.exists() else None

    def release(self) -> None:
        """Let another process have the folder; what is in it stays for a resume."""
        shutil.rmtree(self.spool, ignore_errors=True)
        self._lock.release()

    def remove(self) -> None:
        """Take the folder away."""
        for path in (self.stream, self.old_stream, self.journal, self.old_journal):
            path.unlink(missing_ok=True)
        self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)


class Journal:
    """The journal of one stream, open for appending. Not thread-safe but for ``read``, which has its own file."""

    def __init__(self, path: Path, begin: Begin | None) -> None:
        """Open for going on at the last cut or, with ``begin``, anew."""
        self.path = path
        new = os.O_TRUNC if begin else 0
        self._file: BinaryIO = os.fdopen(open_private(path, os.O_RDWR | os.O_CREAT | new), "r+b")
        self._reader: BinaryIO = path.open("rb")
        self.cut = Cut(length=0, size=0)
        self.position = 0
        if begin:
            self.append(msgspec.json.encode(begin) + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        else:
            self._cut_back()

    def append(self, line: bytes) -> int:
        """Append one line and return where it begins. Not yet durable, see ``commit``."""
        position = self.position
        self._file.write(line)
        self.position += len(line)
        return position

    def commit(self, cut: Cut) -> None:
        """Put ``cut`` behind the lines. The stream must be durable up to there."""
        self.append(msgspec.json.encode(cut) + b"\n")
        self._file.flush()
        self.cut = cut

    def lines(self) -> Iterator[tuple[int, Line]]:
        """Every line with its position."""
        with self.path.open("rb") as file:
            position = 0
            for line in file:
                yield position, _decoder.decode(line)
                position += len(line)

    def read(self, position: int) -> Line:
        """The line that begins at ``position``."""
        self._reader.seek(position)
        return _decoder.decode(self._reader.readline())

    def close(self) -> None:
        self._reader.close()
        self._file.close()

    def _cut_back(self) -> None:
        """Forget what stands behind the last cut; a last line that a crash left half-written is no line."""
        end = position = 0
        with self.path.open("rb") as file:
            for line in file:
                position += len(line)
                try:
                    found = _decoder.decode(line)
                except (ValueError, msgspec.MsgspecError):
                    break
                if isinstance(found, Begin):
                    end = end or position
                elif isinstance(found, Cut):
                    end, self.cut = position, found
        self._file.truncate(end)
        self._file.seek(end)
        self.position = end


def _first_line(journal: Path) -> Begin | None:
    try:
        with journal.open("rb") as file:
            found = _decoder.decode(file.readline())
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    return found if isinstance(found, Begin) else None


def find_partial(folder: Path, capture: Capture) -> Path | None:
    """The target of an unfinished bundle in ``folder`` with the same capture, the one begun last; None for none."""
    found = []
    for journal in folder.glob("*.partial/journal.jsonl"):
        begin = _first_line(journal)
        if begin and begin.capture == capture and begin.format == layout.FORMAT:
            found.append((begin.started, folder / begin.name))
    return max(found)[1] if found else None
