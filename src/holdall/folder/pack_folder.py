"""Pack: the folder of a bundle as one bundle file again.

Unedited records keep their bytes, and an unedited folder gives the digests of the bundle that was unpacked. Hand edits
are listed and get new checksums. A content that doesn't match its checksum is damage.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BufferedReader
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import msgspec

from holdall.bundle import layout
from holdall.bundle.bag import ledger_line, parse_route
from holdall.bundle.layout import HoldallInfo, LedgerLine
from holdall.bundle.loss_lines import loss_line
from holdall.bundle.reader import Formatted, require_format
from holdall.bundle.seekable import FrameError
from holdall.bundle.sinks import LineSink
from holdall.bundle.totals import capture_of
from holdall.bundle.writer import BundleWriter, Finished
from holdall.errors import DamagedBundle, NewerFormat, NotABundle
from holdall.folder.bagfolder import RECORDS, UNFINISHED, BagFolder, StyledRecord
from holdall.folder.edits import CONVERSIONS, Flaw, FolderFiles, HandEdits
from holdall.folder.written_records import MOST_BYTES, RecordStyle, joined
from holdall.kinds import noun
from holdall.legible import Capped
from holdall.model import FileView, Kind, Record, SourceId, epoch_seconds
from holdall.progress import Progress, Silent
from holdall.safe_files import Closing, open_regular, reading
from holdall.spilling import Sorter
from holdall.untrusted import MAX_JSON, require_plain, require_record
from holdall.version import __version__

_PIECE = 1 << 20
_LAST = (1 << 63) - 1
_encode = msgspec.json.Encoder().encode


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """The result. If there are ``flaws``, ``finished`` is None and nothing was written; ``edits`` are the hand edits;
    ``file`` is the open bundle if it is a temporary one."""

    folder: Path
    finished: Finished | None
    edits: HandEdits
    flaws: Capped[Flaw]
    file: BufferedReader | None = None


class _Item(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the folder says of one file: its place in the list of files, and its line of the ledger."""

    order: int | None = None
    created_at: int = 0
    line: LedgerLine | None = None
    sha256: str | None = None


def pack(root: Path, target: Path, *, force: bool = False, progress: Progress | None = None) -> Packed:
    """Write the folder ``root`` into the bundle ``target``, which depends on the folder alone.

    Raises NotABundle, DamagedBundle (an unpack was interrupted), NewerFormat, AlreadyExists, CannotWrite.
    """
    with _Pack(root, progress or Silent()) as run:
        return run.run(target, force=force, read_back=True)


@contextmanager
def packed(root: Path, *, progress: Progress | None = None) -> Iterator[Packed]:
    """The folder ``root`` as an open temporary bundle, readable only by this user and deleted afterwards. It is not
    verified yet. Raises as ``pack`` does."""
    with tempfile.TemporaryDirectory(prefix="holdall-", ignore_cleanup_errors=True) as folder:
        with _Pack(root, progress or Silent()) as run:
            found = run.run(Path(folder, "bundle.tar.zst"), force=False, read_back=False)
        if found.finished is None:
            yield found
            return
        with open_regular(found.finished.path) as file:
            yield msgspec.structs.replace(found, file=file)


class _Pack(Closing):
    """One run. What is known of each file is on disk."""

    def __init__(self, root: Path, progress: Progress) -> None:
        self._root, self._folder, self._progress = root, BagFolder(root), progress
        self._info = self._read_info()
        self._files = FolderFiles(self._folder)
        # By the path of a record or of the lines beside it, without the ending.
        self._ids: dict[str, SourceId] = {}

    def close(self) -> None:
        self._files.close()

    def run(self, target: Path, *, force: bool, read_back: bool) -> Packed:
        info, files = self._info, self._files
        self._progress.stage(f"Packing {self._root}")
        self._check_tags()
        capture = capture_of(info, tool=f"holdall/{__version__}")
        finished = None
        with BundleWriter(target, capture, started=info.started, force=force, resume=False) as writer:
            try:
                self._add_definitions(writer)
                self._add_lines(writer)
                self._add_contents(writer)
                if not files.flaws:
                    finished = writer.finish(ended=info.ended, read_back=read_back)
            finally:
                if finished is None:
                    writer.discard()
        return Packed(folder=self._root, finished=finished, edits=files.outcome(), flaws=files.flaws)

    # -- the tag files -----------------------------------------------------------------------------------

    def _read_info(self) -> HoldallInfo:
        with reading(self._root):
            found = {name for name in (RECORDS, layout.INFO, UNFINISHED) if self._folder.path(name).exists()}
        if UNFINISHED in found:
            raise DamagedBundle(
                f"can't read {self._root}: an unpack into it was interrupted", hint="run the same unpack again"
            )
        if len(found) < 2:
            raise NotABundle(
                f"can't read {self._root}: not an unpacked bundle",
                hint="name a bundle file, or a folder that `holdall unpack` wrote",
            )
        try:
            with reading(self._folder.path(layout.INFO)):
                raw = self._folder.read(layout.INFO, MAX_JSON)
            require_plain(raw)
            version = msgspec.json.decode(raw, type=Formatted).format
            require_format(self._root, version)
            info = msgspec.json.decode(raw, type=HoldallInfo)
        except (FrameError, ValueError) as error:
            raise DamagedBundle(
                f"can't read {layout.INFO} in {self._root}: {error}",
                hint="unpack the bundle again, or check the file out of git",
                entry=layout.INFO,
            ) from None
        if not layout.is_known(version):
            raise NewerFormat(
                f"can't pack {self._root}: its format is {version}, and this version of holdall writes {layout.FORMAT}",
                hint="install a newer version of holdall",
            )
        return info

    def _check_tags(self) -> None:
        """The files that the others are checked against."""
        listed = dict(self._folder.listed(layout.TAG_MANIFEST, below=""))
        for path in (layout.INFO, RECORDS, layout.MANIFEST):
            known, hashes = listed.get(path), set()
            with reading(self._folder.path(path)):
                for convert in (iter, *CONVERSIONS):
                    digest = hashlib.sha256()
                    with self._folder.open(path) as file:
                        for piece in convert(iter(partial(file.read, _PIECE), b"")):
                            digest.update(piece)
                    hashes.add(digest.hexdigest())
            if known not in hashes:
                self._files.flaw("damaged", path, f"does not match {layout.TAG_MANIFEST}")

    def _forms(self) -> dict[str, StyledRecord]:
        """By path, in the order of the bundle."""
        found: dict[str, StyledRecord] = {}
        with reading(self._folder.path(RECORDS)), self._folder.open(RECORDS) as file:
            while line := file.readline(MAX_JSON):
                try:
                    form = msgspec.json.decode(line, type=StyledRecord)
                    found[form.path] = form
                except ValueError as error:
                    self._files.flaw("damaged", RECORDS, error)
        return found

    # -- records -----------------------------------------------------------------------------------------

    def _add_definitions(self, writer: BundleWriter) -> None:
        forms, there = self._forms(), dict.fromkeys(self._files.definitions)
        for path in [*(path for path in forms if path in there), *(path for path in there if path not in forms)]:
            try:
                raw = self._record(path, forms.get(path))
                id = SourceId(require_record(raw).id)
                writer.add_record(Record(kind=layout.kind_of(path), id=id, raw=raw))
            except ValueError as error:
                self._files.flaw("record", path, error)
                continue
            self._ids[layout.beside(path)] = id

    def _record(self, path: str, form: StyledRecord | None) -> bytes:
        """The record of a definition. Raises ValueError."""
        folder = path.rpartition("/")[0]

        def markdown(name: str) -> bytes:
            if "/" in name:
                raise ValueError(f"it names {name}, which is not beside it")
            return self._files.read(f"{folder}/{name}", MOST_BYTES)[0]

        text, _ = self._files.read(path, MOST_BYTES)
        return joined(text, form.form if form else RecordStyle(), markdown)

    def _add_lines(self, writer: BundleWriter) -> None:
        for path in self._files.lines_beside:
            kind, id = layout.kind_of(path), self._ids.get(layout.beside(path))
            if id is None:
                self._files.flaw("reference", path, f"the {noun(kind)} is not there")
            else:
                self._add_file_of_lines(path, writer.open_members(kind, id))
        self._add_file_of_lines(layout.FILES, writer.open_files())
        if self._files.has(layout.LOSSES):
            self._add_file_of_lines(layout.LOSSES, writer.open_losses())

    def _add_file_of_lines(self, path: str, sink: LineSink) -> None:
        with sink:
            try:
                for line, is_edited in self._files.lines(path):
                    if path == layout.LOSSES:
                        loss_line(line)
                    elif is_edited:
                        require_record(line)
                    sink.write(line + b"\n")
                sink.commit()
            except ValueError as error:
                self._files.flaw("record", path, error)

    # -- contents ----------------------------------------------------------------------------------------

    def _add_contents(self, writer: BundleWriter) -> None:
        """In the order of the file objects, as an export lists them."""
        ordered = Sorter()
        for item in self._items():
            order = _LAST if item.order is None else item.order
            ordered.add(order.to_bytes(8, "big"), _encode(item))
        self._progress.expect(last=True)
        for _, data in ordered:
            item = msgspec.json.decode(data, type=_Item)
            try:
                self._add_content(writer, item)
            except ValueError as error:
                self._files.flaw("ledger", layout.LEDGER, error)
            self._progress.advance(files=1)
        ordered.close()

    def _items(self) -> Iterator[_Item]:
        """Each file of the ledger, with the sha256 of its content."""
        by_path = Sorter()
        for item in self._lines():
            self._progress.expect(files=1)
            assert item.line is not None
            by_path.add((item.line.path or "").encode("utf-8", "surrogatepass"), _encode(item))
        for path, listed in self._files.contents:
            by_path.add(path, _encode(_Item(sha256=listed.decode())))
        for path, found in groupby(by_path, key=itemgetter(0)):
            items = [msgspec.json.decode(data, type=_Item) for _, data in found]
            sha256 = next((item.sha256 for item in items if item.sha256), None)
            lines = [msgspec.structs.replace(item, sha256=sha256) for item in items if item.line]
            yield from lines
            if not lines and path:
                self._files.flaw("unlisted", path.decode(), "no line of the ledger names it")
        by_path.close()

    def _lines(self) -> Iterator[_Item]:
        """Each line of the ledger, with what the file's object says."""
        by_id = Sorter()
        try:
            for order, (raw, _) in enumerate(self._files.lines(layout.FILES)):
                id = SourceId(require_record(raw).id)
                created_at = epoch_seconds(FileView.of(Record(kind=Kind.FILE, id=id, raw=raw)).created_at)
                by_id.add(id.encode("utf-8", "surrogatepass"), _encode(_Item(order=order, created_at=created_at)))
            for raw, _ in self._files.lines(layout.LEDGER):
                line = ledger_line(raw)
                by_id.add(line.id.encode("utf-8", "surrogatepass"), _encode(_Item(line=line)))
        except ValueError as error:
            self._files.flaw("ledger", layout.LEDGER, error)
        yield from (item for item in _merged(by_id) if item.line)
        by_id.close()

    def _add_content(self, writer: BundleWriter, item: _Item) -> None:
        line = item.line
        assert line is not None
        if line.path is None:
            writer.add_ledger(line)
            return
        if item.sha256 is None:
            # That a listed file is not there was found before.
            if not self._files.flaws:
                self._files.flaw("missing", line.path, f"not in {layout.MANIFEST}")
            return
        store = None
        if line.path.startswith(layout.TEXTS):
            folder, route = line.path.split("/")[2], parse_route(line.route)
            store = route.store if route and route.store else self._ids.get(layout.STORES + folder, SourceId(folder))
        for convert in (iter, *CONVERSIONS):
            with writer.open_next(line, created_at=item.created_at, text=store is not None) as sink:
                try:
                    with self._folder.open(line.path) as file:
                        for piece in convert(iter(partial(file.read, _PIECE), b"")):
                            sink.write(piece)
                except OSError as error:
                    self._files.flaw("damaged", line.path, error.strerror or error)
                    return
                sink.commit()
            if sink.sha256 == item.sha256:
                self._files.converted += convert is not iter
                writer.add_content(sink, line, created_at=item.created_at, store=store)
                return
            sink.discard()
        self._files.flaw("damaged", line.path, f"its bytes don't match {layout.MANIFEST}")


def _merged(by_id: Sorter) -> Iterator[_Item]:
    """What is known of each file, in one."""
    for _, found in groupby(by_id, key=itemgetter(0)):
        fields: dict[str, object] = {}
        for _, data in found:
            fields |= msgspec.json.decode(data)
        yield msgspec.convert(fields, _Item)
