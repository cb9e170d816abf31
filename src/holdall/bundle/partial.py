"""``NAME.partial/``: an unfinished bundle on disk, from which a later run resumes.

The journal's first line says what is captured. Then comes a line for each whole entry and for each file without
content, with all that a later run needs. A ``cut`` follows once the stream is durable: all lines above it are in the
first ``length`` bytes of the stream. A resume trusts the lines above the last cut and truncates the stream there. Of
two contents of one file the later counts.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from itertools import accumulate, count
from pathlib import Path
from typing import BinaryIO

import msgspec

from holdall.bundle import layout
from holdall.bundle.layout import Capture, IndexEntry, LedgerLine
from holdall.errors import BundleInUse
from holdall.safe_files import PRIVATE, AppendLog, FileLock, open_regular, replace

JOURNAL = f"{layout.FORMAT}, journal 2"
"""The format of the bundle and of its journal. Only what has this one is resumed."""

_STREAM = "stream"
_JOURNAL, _OLD_JOURNAL = "journal.jsonl", "journal.old.jsonl"


class Begin(msgspec.Struct, frozen=True, kw_only=True, tag="begin", tag_field="line"):
    """The first line. ``format`` is ``JOURNAL``, or another version's; ``name`` the file name that the bundle will
    have."""

    format: str
    name: str
    started: int
    capture: Capture

    def can_resume(self, capture: Capture, name: str) -> bool:
        """Whether an export of ``capture`` to ``name`` can resume this, even by another version of the program."""
        same = msgspec.structs.replace(self.capture, tool=capture.tool, min_fidelity=capture.min_fidelity) == capture
        return same and (self.format, self.name) == (JOURNAL, name)


class Entry(msgspec.Struct, frozen=True, kw_only=True, tag="entry", tag_field="line"):
    """A whole entry that is no content; ``hash`` is the record's, for assistants and stores, ``files`` how many a store
    counts, which is no part of its hash."""

    entry: IndexEntry
    hash: str | None = None
    files: int | None = None


class Stored(msgspec.Struct, frozen=True, kw_only=True, tag="content", tag_field="line"):
    """A whole content, what the ledger says of it, and what it is the content of.

    ``record`` is the hash of the file object, None where there was none; of a parsed text ``store`` is the one that
    it was read from, and ``overlap`` how many tokens its parts share.
    """

    entry: IndexEntry
    ledger: LedgerLine
    record: str | None = None
    store: str | None = None
    overlap: int | None = None


class Ledger(msgspec.Struct, frozen=True, kw_only=True, tag="ledger", tag_field="line"):
    """A file of which a run got nothing."""

    ledger: LedgerLine


class Cut(msgspec.Struct, frozen=True, kw_only=True, tag="cut", tag_field="line"):
    """All lines above are in the first ``length`` bytes of the stream, ``size`` bytes of tar, and in the ``tail``.

    That are so many bytes of the frame that was being filled, in a file of its own (``Partial.tail``), so that it can
    be filled on: where frames end doesn't depend on when a run stopped. ``uses`` is what the frame has of them,
    ``path`` an entry that says how it is cut.
    """

    length: int
    size: int
    tail: int = 0
    uses: int = 0
    path: str = ""


Line = Begin | Entry | Stored | Ledger | Cut
_NOTHING = Cut(length=0, size=0)
_encode = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


class Partial:
    """The folder beside the target, locked while this object lives. Raises BundleInUse where another process has it."""

    def __init__(self, target: Path) -> None:
        self.target, self.folder = target, partial_folder(target)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        busy = BundleInUse(
            f"can't write {target}: another process is writing it", hint="wait for it to end, or choose another name"
        )
        self._lock = FileLock(self.folder / "lock", busy=busy)
        self.stream = self.folder / _STREAM
        self.old_stream = self.folder / "stream.old"
        self.journal = self.folder / _JOURNAL
        self.old_journal = self.folder / _OLD_JOURNAL
        self.spool = self.folder / "spool"
        # What never got into the stream says nowhere what it is: it is fetched again.
        shutil.rmtree(self.spool, ignore_errors=True)
        self.spool.mkdir(mode=0o700)
        self._spooled = count(1)
        self.bring_back()

    def set_aside(self) -> None:
        """Move the old stream aside for a new one, which copies from it."""
        replace(self.journal, self.old_journal)
        replace(self.stream, self.old_stream)

    def bring_back(self) -> None:
        """Restore the old stream if a run was stopped while it copied from it: it has more.

        Stopped between any two steps here, in ``set_aside`` or in ``forget_old``, the next run sees which it was.
        """
        if self.old_stream.exists():
            self.journal.unlink(missing_ok=True)
            replace(self.old_stream, self.stream)
        if self.old_journal.exists():
            if self.journal.exists():  # the old stream was given up already
                self.old_journal.unlink()
            else:
                replace(self.old_journal, self.journal)

    def forget_old(self) -> None:
        """Delete the old stream. What was copied from it must be durable."""
        self.old_stream.unlink(missing_ok=True)
        self.old_journal.unlink(missing_ok=True)

    def new_spool(self) -> Path:
        """A path for one more spool file; from any thread."""
        return self.spool / str(next(self._spooled))

    def begin(self) -> Begin | None:
        """What an earlier run began here; None if nothing can be resumed."""
        return _first_line(self.journal) if self.stream.exists() else None

    def tail(self, start: int) -> Path:
        """Where the frame that is being filled waits, which begins ``start`` bytes behind the tar's first."""
        return self.folder / f"tail.{start}"

    def release(self) -> None:
        """Let another process have the folder; what is in it stays for a resume."""
        shutil.rmtree(self.spool, ignore_errors=True)
        self._lock.release()

    def remove(self) -> None:
        """Take the folder away."""
        # One by one, so that an error says which can't be deleted; what else is there may stay.
        for path in (self.stream, self.old_stream, self.journal, self.old_journal):
            path.unlink(missing_ok=True)
        self._lock.release()
        shutil.rmtree(self.folder, ignore_errors=True)


def clear_finished(target: Path) -> None:
    """Clean up after a run that was stopped after naming its bundle ``target``."""
    stream = partial_folder(target) / _STREAM
    if partial_folder(target).exists() and (not stream.exists() or stream.samefile(target)):
        Partial(target).remove()


class Journal:
    """The journal of one stream, open for appending. Not thread-safe but for ``read``, which has its own file."""

    def __init__(self, path: Path, begin: Begin | None) -> None:
        """Open it at the last cut or, with ``begin``, anew. Raises CannotWrite, OSError."""
        self.path = path
        end, self.cut = _last_cut(path) if begin is None else (0, _NOTHING)
        self._log = AppendLog(path, end=end, mode=PRIVATE)
        self._reader: BinaryIO | None = None
        try:
            if begin:
                self._log.append(_encode(begin) + b"\n")
        except BaseException:
            self.close()
            raise

    @property
    def position(self) -> int:
        """Where the next line begins."""
        return self._log.end

    def commit(self, lines: Sequence[Line], cut: Cut) -> list[int]:
        """Append ``lines``, and ``cut`` behind them; returns where each begins. The stream must be durable up to there.

        Not yet durable: a line that a crash takes away has its entry written again.
        """
        raw = [_encode(line) + b"\n" for line in (*lines, cut)]
        positions = list(accumulate(map(len, raw), initial=self._log.end))
        # In one: of a group whose end is lost, the cut before it counts.
        self._log.append(b"".join(raw), sync=False)
        self.cut = cut
        return positions[:-2]

    def lines(self) -> Iterator[tuple[int, Line]]:
        """Every line with its position."""
        with open_regular(self.path) as file:
            position = 0
            for line in file:
                yield position, _decoder.decode(line)
                position += len(line)

    def read(self, position: int) -> Line:
        """The line that begins at ``position``."""
        if self._reader is None:
            self._reader = open_regular(self.path)
        self._reader.seek(position)
        return _decoder.decode(self._reader.readline())

    def close(self) -> None:
        """Never raises: what the disk did not take has no cut behind it, so a resume would not go by it either."""
        if self._reader is not None:
            self._reader.close()
        self._log.close()


def _last_cut(path: Path) -> tuple[int, Cut]:
    """The last cut, and where the next line goes. Lines after the cut don't count."""
    end, cut = 0, _NOTHING
    with open_regular(path) as file:
        position = 0
        for line in file:
            position += len(line)
            try:
                found = _decoder.decode(line)
            except (ValueError, msgspec.MsgspecError):  # a crash left it half-written
                break
            if isinstance(found, Begin):
                end = end or position
            elif isinstance(found, Cut):
                end, cut = position, found
    return end, cut


def _first_line(journal: Path) -> Begin | None:
    try:
        with open_regular(journal) as file:
            found = _decoder.decode(file.readline())
    except (OSError, ValueError, msgspec.MsgspecError):
        return None
    return found if isinstance(found, Begin) else None


def find_partial(folder: Path, capture: Capture) -> Path | None:
    """The target of an unfinished bundle in ``folder`` with the same capture, the one begun last; None for none."""
    found = []
    for partial in folder.glob("*.partial"):
        target = partial.with_suffix("")
        begin = unfinished(target)
        if begin and begin.can_resume(capture, target.name) and not target.exists():
            found.append((begin.started, target))
    return max(found)[1] if found else None


def unfinished(target: Path) -> Begin | None:
    """The unfinished bundle for ``target``; None if there is nothing to resume."""
    folder = partial_folder(target)
    return _first_line(folder / _JOURNAL) or _first_line(folder / _OLD_JOURNAL)


def partial_folder(target: Path) -> Path:
    """``NAME.partial``."""
    return target.with_name(target.name + ".partial")


def discard_partial(target: Path) -> None:
    """Delete the unfinished bundle for ``target``. Raises BundleInUse if another process uses it."""
    if partial_folder(target).exists():
        Partial(target).remove()
