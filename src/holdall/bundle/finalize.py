"""The last part of a bundle: records, ledger, and the tag files that prove all of it; and the last look at it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import END_OF_TAR, closing_info, header, manifest_line, padding
from holdall.bundle.digest import record_hash
from holdall.bundle.fullscan import FullScan
from holdall.bundle.inventory import Inventory
from holdall.bundle.journal import Entry, Journal, Ledger, Stored
from holdall.bundle.layout import Capture, Digests, FidelityCount, HoldallInfo, IndexEntry, LedgerLine, LossLine, Part
from holdall.bundle.reader import BundleReader
from holdall.bundle.references import References
from holdall.bundle.seekable import FrameError
from holdall.bundle.sinks import LineSink, Sink
from holdall.bundle.sorting import Sorter
from holdall.bundle.stream import Stream
from holdall.bundle.totals import Totals
from holdall.errors import BundleError, CannotWrite
from holdall.kinds import KINDS
from holdall.progress import Silent
from holdall.untrusted import read_as

__all__ = ["Finalizer", "Finished", "require_readable"]

_encode = msgspec.json.Encoder().encode
_SHA256 = 64
"""In the sorter of the index, each line stands behind the sha256 that the manifest needs."""
_PIECE = 64 << 10


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle that is complete. ``sha256`` is over the whole file, computed as it was written."""

    path: Path
    size: int
    sha256: str
    digests: Digests
    counts: dict[str, int]
    fidelities: dict[str, FidelityCount]
    losses: dict[str, int]


class _Id(msgspec.Struct, frozen=True, kw_only=True):
    id: str


_loss_line = msgspec.json.Decoder(LossLine).decode


class Finalizer:
    """Closes one stream. Memory is flat: what there is one of per file is sorted outside of memory."""

    def __init__(
        self,
        stream: Stream,
        journal: Journal,
        capture: Capture,
        *,
        target: Path,
        started: int,
        resumed: int,
        line_sinks: list[LineSink],
    ) -> None:
        """Below position ``resumed`` of the journal stand the lines of earlier runs."""
        self._target, self._capture, self._started = target, capture, started
        self._stream, self._journal, self._resumed = stream, journal, resumed
        self._line_sinks = sorted(line_sinks, key=lambda sink: sink.path)
        self._index, self._totals = Sorter(), Totals(capture.min_fidelity)
        self._tags: list[tuple[str, str]] = []

    def run(self, *, ended: int) -> Finished:
        self._stream.settle()
        ledger = self._read_journal()
        for sink in self._line_sinks:
            self._write_lines(sink)
        self._write_ledger(ledger)
        info = self._write_tags(ended)
        size, sha256 = self._stream.seal()
        for sorter in (self._index, self._totals, ledger):
            sorter.close()
        return Finished(
            path=self._target,
            size=size,
            sha256=sha256,
            digests=info.digests,
            counts=info.counts,
            fidelities=info.fidelities,
            losses=info.losses or {},
        )

    def _append(self, sink: Sink, path: str) -> IndexEntry:
        """A file of the end, which is journalled nowhere."""
        entry = self._stream.begin(sink, path, self._started)
        self._stream.add(sink)
        return entry

    def _read_journal(self) -> Sorter:
        """Index and digest lines of what is in the stream; returns the ledger's lines by id."""
        ledger = Sorter()
        for position, line in self._journal.lines():
            if isinstance(line, Ledger):
                if position >= self._resumed:  # whether there is still such a file, this run says
                    self._add_ledger(ledger, line.ledger)
            elif isinstance(line, Stored):
                self._list(line.entry)
                self._add_ledger(ledger, line.ledger)
            elif isinstance(line, Entry) and not line.entry.path.startswith("data/"):
                self._tags.append((line.entry.path, line.entry.sha256))
            elif isinstance(line, Entry):
                self._list(line.entry)
                self._totals.record(layout.kind_of(line.entry.path), line.entry.id or "", line.hash or "")
        return ledger

    def _add_ledger(self, ledger: Sorter, line: LedgerLine) -> None:
        ledger.add(line.id.encode(errors="surrogatepass"), _encode(line))
        self._totals.ledger(line)

    def _list(self, entry: IndexEntry) -> None:
        """Take an entry into index and manifest."""
        self._index.add(entry.path.encode(), entry.sha256.encode() + _encode(entry))
        self._totals.entry(entry)

    def _write_lines(self, sink: LineSink) -> None:
        records = 0
        with self._stream.sink(sink.path) as out:
            lines = _Lines(out)
            for line in sink.lines():
                records += 1
                lines.add(line)
                raw = line[:-1]
                if sink.kind is None:
                    self._totals.loss(_loss_line(raw).reason)
                else:
                    self._totals.record(sink.kind, read_as(raw, _Id).id, record_hash(sink.kind, raw), sink.store_id)
            lines.flush()
            out.commit()
        entry = self._append(out, sink.path)
        sink.remove()
        self._list(msgspec.structs.replace(entry, id=sink.store_id, records=records))

    def _write_ledger(self, ledger: Sorter) -> None:
        with self._stream.sink(layout.LEDGER) as out:
            lines = _Lines(out)
            for _, line in ledger:
                lines.add(line + b"\n")
            lines.flush()
            out.commit()
        records = sum(count.files for count in self._totals.fidelities().values())
        self._list(msgspec.structs.replace(self._append(out, layout.LEDGER), records=records))

    def _write_tags(self, ended: int) -> HoldallInfo:
        # Of a kind that is not in the bundle's version of the format there is no count.
        later = {row.count for row in KINDS.values() if row.since}
        counts = {name: count for name, count in self._totals.counts().items() if count or name not in later}
        description = closing_info(self._capture, ended=ended, size=counts["bytes"], entries=counts["entries"])
        self._write_tag(layout.BAG_INFO, [description])
        manifest = (manifest_line(found[:_SHA256].decode(), path.decode()) for path, found in self._index)
        manifest_part = self._write_tag(layout.MANIFEST, manifest)
        index = self._write_tag(layout.INDEX, (found[_SHA256:] + b"\n" for _, found in self._index))
        self._stream.cut()
        info = HoldallInfo(
            format=layout.format_of(counts),
            tool=self._capture.tool,
            source=self._capture.source,
            selection=self._capture.selection,
            options=self._capture.options,
            started=self._started,
            ended=ended,
            counts=counts,
            fidelities=self._totals.fidelities(),
            digests=self._totals.digests(),
            index=index,
            manifest=manifest_part,
            min_fidelity=self._capture.min_fidelity.value,
            losses=self._totals.losses(),
        )
        self._write_last(layout.INFO, msgspec.json.format(_encode(info), indent=2) + b"\n")
        tags = b"".join(manifest_line(sha256, path) for path, sha256 in sorted(self._tags))
        self._write_last(layout.TAG_MANIFEST, tags)
        self._stream.raw(END_OF_TAR)
        return info

    def _write_last(self, path: str, data: bytes) -> None:
        """A file of the last frame, which holds these files whole, however large they are."""
        self._stream.raw(header(f"{self._stream.bag}/{path}", len(data), self._started) + data + padding(len(data)))
        self._tags.append((path, hashlib.sha256(data).hexdigest()))

    def _write_tag(self, path: str, pieces: Iterable[bytes]) -> Part:
        with self._stream.sink(path) as out:
            lines = _Lines(out)
            for piece in pieces:
                lines.add(piece)
            lines.flush()
            out.commit()
        entry = self._append(out, path)
        self._tags.append((path, entry.sha256))
        return Part(offset=entry.offset, size=entry.size, sha256=entry.sha256)


class _Lines:
    """Lines on their way into a sink, some thousands in one go."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lines: list[bytes] = []
        self._size = 0

    def add(self, line: bytes) -> None:
        self._lines.append(line)
        self._size += len(line)
        if self._size > _PIECE:
            self.flush()

    def flush(self) -> None:
        self._sink.write(b"".join(self._lines))
        self._lines, self._size = [], 0


def require_readable(written: Path, target: Path) -> None:
    """Raises CannotWrite where the file ``written``, which is to become ``target``, is not one that every reader takes.

    Proved are all definitions, memberships, file objects, the ledger and the losses: each can be read, is within the
    limits and is what index, manifest, counts and digests say. Not proved are seal, seek table and the bytes of
    contents, which were hashed as they were written: ``verify`` reads those.
    """
    found: list[str] = []

    def report(code: str, entry: str | None, message: str) -> None:
        if not found:
            found.append(message)

    try:
        with BundleReader(written) as bundle, written.open("rb") as file:
            inventory = Inventory(bundle, FullScan(file, bundle.frames.frames, report, Silent()), report, quick=True)
            inventory.check_parts()
            inventory.check_manifest()
            References(bundle, report, None).check()
    except BundleError as error:
        report("damaged", None, error.message)
    except (FrameError, ValueError) as error:
        report("index", None, str(error))
    if found:
        raise CannotWrite(
            f"can't write {target}: it could not be read back: {found[0]}",
            hint=f"--no-resume exports all of it again; what was written stays in {target.name}.partial until then. "
            "If that fails too, look at the disk, or report a bug",
        )
