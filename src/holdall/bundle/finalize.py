"""Finishes a bundle: writes records, ledger and tag files, then reads it back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import END_OF_TAR, NO_TIME, closing_info, header, manifest_line, padding
from holdall.bundle.layout import Capture, HoldallInfo, IndexEntry, LedgerLine, Part
from holdall.bundle.loss_lines import LossLine
from holdall.bundle.partial import Entry, Ledger, Stored
from holdall.bundle.reader import BundleReader
from holdall.bundle.references import References
from holdall.bundle.seekable import FrameError
from holdall.bundle.sinks import LineSink
from holdall.bundle.stream import Stream
from holdall.bundle.totals import BundleTotals, record_hash
from holdall.bundle.verification import Inventory
from holdall.errors import BundleError, CannotWrite
from holdall.spilling import Sorter
from holdall.untrusted import read_as

_encode = msgspec.json.Encoder().encode
_PIECE = 64 << 10
_SHA256 = 64  # as hex digits


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A finished bundle. ``sha256`` is over the whole file, computed while it was written."""

    path: Path
    size: int
    sha256: str
    info: HoldallInfo


class _Id(msgspec.Struct, frozen=True, kw_only=True):
    id: str


_id = msgspec.json.Decoder(_Id).decode
_loss_line = msgspec.json.Decoder(LossLine).decode


class Finalizer:
    """Closes one stream. Memory is flat: per-file data is sorted on disk."""

    def __init__(
        self, stream: Stream, capture: Capture, *, target: Path, started: int, resumed: int, line_sinks: list[LineSink]
    ) -> None:
        """Journal lines before position ``resumed`` are from earlier runs."""
        self._target, self._capture, self._started = target, capture, started
        self._stream, self._resumed = stream, resumed
        self._line_sinks = sorted(line_sinks, key=lambda sink: sink.path)
        # The index as its lines, each behind its sha256, which is all that the manifest needs of it.
        self._index, self._ledger = Sorter(), Sorter()
        self._totals = BundleTotals(capture.min_fidelity)
        self._tags: list[tuple[str, str]] = []

    def run(self, *, ended: int) -> Finished:
        # A run that is killed from here on resumes as if it had not begun to finish.
        self._stream.settle()
        self._read_journal()
        for sink in self._line_sinks:
            entry = self._write(sink.path, self._records(sink))
            sink.remove()
            self._list(msgspec.structs.replace(entry, id=sink.owner))
        self._list(self._write(layout.LEDGER, (line for _, line in self._ledger)))
        info = self._write_tags(ended)
        size, sha256 = self._stream.seal()
        for sorter in (self._index, self._ledger, self._totals):
            sorter.close()
        return Finished(path=self._target, size=size, sha256=sha256, info=info)

    def _read_journal(self) -> None:
        """What is in the stream already."""
        for position, line in self._stream.journal.lines():
            match line:
                case Ledger() if position >= self._resumed:  # whether there is still such a file, this run says
                    self._add_ledger(line.ledger)
                case Stored():
                    self._list(line.entry)
                    self._add_ledger(line.ledger)
                case Entry(entry=entry) if entry.path.startswith("data/"):
                    self._list(entry)
                    self._totals.record(layout.kind_of(entry.path), entry.id or "", line.hash or "")
                case Entry(entry=entry):
                    self._tags.append((entry.path, entry.sha256))

    def _add_ledger(self, line: LedgerLine) -> None:
        self._ledger.add(line.id.encode(), _encode(line) + b"\n")
        self._totals.ledger(line)

    def _list(self, entry: IndexEntry) -> None:
        """Add an entry to index and manifest."""
        self._index.add(entry.path.encode(), entry.sha256.encode() + _encode(entry) + b"\n")
        self._totals.entry(entry)

    def _records(self, sink: LineSink) -> Iterator[bytes]:
        """The lines of a sink, counted on the way."""
        for line in sink.lines():
            raw = line[:-1]
            if sink.kind is None:
                self._totals.loss(_loss_line(raw).reason)
            else:
                self._totals.record(sink.kind, _id_of(raw), record_hash(sink.kind, raw), sink.owner)
            yield line

    def _write(self, path: str, lines: Iterable[bytes]) -> IndexEntry:
        """Write a file of these lines, without journalling it."""
        count, some = 0, bytearray()
        with self._stream.sink(path) as sink:
            for line in lines:
                count += 1
                some += line
                if len(some) > _PIECE:  # each write costs a lock and a hash, however short
                    sink.write(some)
                    some = bytearray()
            sink.write(some)
            sink.commit()
        entry = self._stream.begin(sink, path, NO_TIME, records=count)
        self._stream.add(sink)
        return entry

    def _write_tags(self, ended: int) -> HoldallInfo:
        counts = {name: count for name, count in self._totals.counts().items() if count or name not in layout.LATER}
        description = closing_info(self._capture, ended=ended, size=counts["bytes"], entries=counts["entries"])
        self._write_tag(layout.BAG_INFO, [description])
        # It has the date in it: what follows is the same as long as the project is.
        self._stream.cut()
        listed = (manifest_line(line[:_SHA256].decode(), path.decode()) for path, line in self._index)
        manifest = self._write_tag(layout.MANIFEST, listed)
        index = self._write_tag(layout.INDEX, (line[_SHA256:] for _, line in self._index))
        # The last frame begins with holdall.json: readers go by that.
        self._stream.cut()
        info = HoldallInfo(
            format=layout.format_of(counts),
            **msgspec.structs.asdict(self._capture),
            started=self._started,
            ended=ended,
            counts=counts,
            fidelities=self._totals.fidelities(),
            digests=self._totals.digests(),
            index=index,
            manifest=manifest,
            losses=self._totals.losses(),
        )
        self._write_last(layout.INFO, msgspec.json.format(_encode(info), indent=2) + b"\n")
        tags = b"".join(manifest_line(sha256, path) for path, sha256 in sorted(self._tags))
        self._write_last(layout.TAG_MANIFEST, tags)
        self._stream.raw(END_OF_TAR)
        return info

    def _write_last(self, path: str, data: bytes) -> None:
        """Write a file into the last frame, which holds these files whole, whatever their size."""
        self._stream.raw(header(f"{self._stream.bag}/{path}", len(data), self._started) + data + padding(len(data)))
        self._tags.append((path, hashlib.sha256(data).hexdigest()))

    def _write_tag(self, path: str, lines: Iterable[bytes]) -> Part:
        entry = self._write(path, lines)
        self._tags.append((path, entry.sha256))
        return Part(offset=entry.offset, size=entry.size, sha256=entry.sha256)


def _id_of(record: bytes) -> str:
    try:
        return _id(record).id
    except (ValueError, RecursionError):
        return read_as(record, _Id).id


def require_readable(written: Path, target: Path) -> None:
    """Raises CannotWrite if a reader would refuse the file ``written``, which is to become ``target``.

    Checks all definitions, memberships, file objects, the ledger and the losses: readable, within the limits, and equal
    to index, manifest, counts and digests. Doesn't check seal, seek table and contents, which were hashed while they
    were written; ``verify`` does.
    """
    found: list[str] = []

    def report(code: str, entry: str | None, message: str) -> None:
        if not found:
            found.append(message)

    try:
        with BundleReader(written) as bundle:
            inventory = Inventory(bundle, None, report)
            inventory.check_parts()
            inventory.check_manifest()
            References(bundle, report, None).check()
    except BundleError as error:
        report("damaged", None, error.message)
    except (FrameError, ValueError) as error:
        report("index", None, str(error))
    if found:
        raise CannotWrite(
            f"can't write {target}: reading it back failed: {found[0]}",
            hint=f"use --no-resume to export it again ({target.name}.partial is kept until then); if that fails "
            f"too, check the disk, or report a bug",
        )
