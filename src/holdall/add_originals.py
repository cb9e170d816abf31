"""Supply: a new bundle from an old one, with the owner's originals in place of parsed texts and missing files.

No network. An original is chosen as in an export: exact name and size, and the words of the parsed text if there is
one. The old bundle is only read. Records are copied unchanged, and the new bundle keeps the old capture time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import msgspec
from msgspec.structs import replace

from holdall.agent_views import SkillView, VersionView
from holdall.bundle import layout
from holdall.bundle.copying import copy_content
from holdall.bundle.layout import Digests, FidelityCount, IndexEntry, LedgerLine
from holdall.bundle.reader import BundleReader, open_bundle
from holdall.bundle.sinks import LineSink
from holdall.bundle.totals import capture_of, declared_verdict
from holdall.bundle.writer import BundleWriter, Finished
from holdall.errors import DamagedBundle, NewerFormat
from holdall.kinds import DEFINITIONS
from holdall.legible import Capped
from holdall.model import Fidelity, FileView, Kind, SourceId, epoch_seconds
from holdall.originals import Chosen, Original, Originals, Unmatched, copy_original, unreadable
from holdall.parsedtext import Pages
from holdall.progress import Progress
from holdall.safe_files import Closing, open_regular
from holdall.skill_zip import RefusedZip, read_skill_zip
from holdall.spilling import Sorter
from holdall.verdict import COMPLETE, Verdict
from holdall.version import __version__
from holdall.word_match import WordMatcher

_WANTED = (Fidelity.TEXT, Fidelity.UNAVAILABLE)
_encode = msgspec.json.Encoder().encode


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A wanted file with a near match in the folder, and why that was not taken."""

    id: str
    filename: str | None
    reason: str


class Supplied(msgspec.Struct, frozen=True, kw_only=True):
    """The result. ``bundle``, ``sha256`` and ``digests`` are None if nothing matched: then nothing was written.

    ``wanted`` counts the files without their bytes before, ``supplied`` those that have them now, ``refused`` the near
    matches (the first are in ``refusals``), ``lacking`` those still missing or with a truncated text. ``verdict`` is
    that of the new bundle, or of the old one if none was written.
    """

    bundle: Path | None = None
    size: int = 0
    sha256: str | None = None
    digests: Digests | None = None
    fidelities: dict[str, int] = {}
    wanted: int = 0
    supplied: int = 0
    lacking: int = 0
    refused: int = 0
    refusals: list[Refused] = []
    verdict: Verdict = COMPLETE


class _Trace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One statement of the old bundle about a file; ``skill`` is the name of the one that it is a version of."""

    line: LedgerLine | None = None
    entry: IndexEntry | None = None
    created_at: int | None = None
    skill: str | None = None


class _Item(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the new bundle: its line so far, its old content, and the original that takes its place, by its path
    as the system writes it, and its size. ``skill`` as in a trace."""

    line: LedgerLine
    entry: IndexEntry | None
    created_at: int
    original: bytes | None = None
    size: int = 0
    check: str = ""
    skill: str | None = None


def supply(path: Path, originals: Originals, target: Path, *, force: bool, progress: Progress) -> Supplied:
    """Write a copy of the bundle at ``path`` to ``target``, with the ``originals`` that match.

    Writes nothing if none matches. Raises DamagedBundle, NewerFormat, AlreadyExists, CannotWrite; then no new bundle is
    left behind.
    """
    with open_bundle(path) as old:
        _require_rewritable(path, old.info.format)
        with _Supply(old, originals, progress) as run:
            run.match()
            return run.write(target, force=force) if run.supplied else run.outcome(None)


class _Supply(Closing):
    """One run: look for every wanted file, then write. Per-file data is kept on disk."""

    def __init__(self, old: BundleReader, originals: Originals, progress: Progress) -> None:
        self._old, self._originals, self._progress = old, originals, progress
        self._items = Sorter()
        self.wanted = self.supplied = self.lacking = self._files = 0
        self._refusals: Capped[Refused] = Capped()
        self._zips: dict[str, list[tuple[Original, str | None]]] = {}

    def close(self) -> None:
        self._items.close()

    # -- what fits -------------------------------------------------------------------------------------

    def match(self) -> None:
        """Decide for every file. Items are in the order of the old contents on disk."""
        self._progress.stage(f"Matching originals with {self._old.path.name}")
        traces = Sorter()

        def mention(file_id: str, trace: _Trace) -> None:
            traces.add(file_id.encode("utf-8", "surrogatepass"), _encode(trace))

        for record in self._old.files():
            mention(record.id, _Trace(created_at=epoch_seconds(FileView.of(record).created_at)))
        for skill in self._old.definitions(Kind.SKILL):
            for version in self._old.versions(Kind.SKILL, skill.id):
                name = VersionView.of(version).name or SkillView.of(skill).name
                mention(version.id, _Trace(skill=name or ""))
        for entry in self._old.entries():
            if entry.fidelity is not None and entry.id is not None:
                mention(entry.id, _Trace(entry=entry))
        for line in self._old.ledger():
            self._progress.expect(files=1)
            # Before any is chosen: what is wanted under its own name is no other file's original.
            if line.fidelity in _WANTED and line.filename and line.expected is not None:
                self._originals.reserve(line.filename, line.expected)
            mention(line.id, _Trace(line=line))
        self._progress.expect(last=True)
        for _, group in groupby(traces, key=itemgetter(0)):
            self._decide([msgspec.json.decode(trace, type=_Trace) for _, trace in group])
        traces.close()

    def _decide(self, traces: list[_Trace]) -> None:
        line = next((trace.line for trace in traces if trace.line), None)
        if line is None:
            return  # a file object that nothing was fetched for
        entry = next((trace.entry for trace in traces if trace.entry and trace.entry.path == line.path), None)
        if line.path and entry is None:
            raise DamagedBundle(f"can't read {line.path} in {self._old.path}: not in the index", entry=line.path)
        created_at = next((trace.created_at for trace in traces if trace.created_at is not None), 0)
        skill = next((trace.skill for trace in traces if trace.skill is not None), None)
        item = _Item(line=line, entry=entry, created_at=created_at, skill=skill)
        if line.fidelity in _WANTED:
            item = self._matched(item)
        # In the order of the old bundle, so that each of its frames is decompressed once.
        self._items.add((entry.offset if entry else 0).to_bytes(8, "big"), _encode(item))
        self._files += 1
        self._progress.advance(files=1)

    def _matched(self, item: _Item) -> _Item:
        line = item.line
        self.wanted += 1
        found = self._find(item)
        if isinstance(found, Chosen):
            self.supplied += 1
            path, size = os.fsencode(found.original.path), found.original.size
            return replace(item, original=path, size=size, check=found.check)
        if found.near:
            self._refusals.append(Refused(id=line.id, filename=line.filename, reason=found.reason))
        if line.fidelity is Fidelity.UNAVAILABLE or line.truncated:
            self.lacking += 1
        return item

    def _find(self, item: _Item) -> Chosen | Unmatched:
        line = item.line
        if item.skill is not None:
            return self._find_zip(line.filename or "", item.skill)
        if not line.filename or line.expected is None:
            return Unmatched(reason="")
        try:
            candidates = self._originals.candidates(line.filename, line.expected)
        except OSError as error:
            return Unmatched(reason=unreadable(error), near=True)
        # Without a text in the bundle there is nothing to hold the words against.
        compared = item.entry is not None and bool(candidates.matchers)
        if item.entry is not None and compared:
            self._compare(item.entry, candidates.matchers)
        found = candidates.choose(compared=compared)
        if isinstance(found, Chosen):
            self._originals.use(found.original)
        return found

    def _find_zip(self, filename: str, skill: str) -> Chosen | Unmatched:
        """The zip of a skill's version, of which the server says no size: by its name, and that of the skill in it."""
        try:
            # A bundle may have thousands of versions of one name: each zip is read once.
            if (named := self._zips.get(filename)) is None:
                named = [(one, _skill_in(one)) for one in self._originals.named(filename)]
                if named:
                    self._zips[filename] = named
            fitting = [one for one, name in named if name == skill]
        except OSError as error:
            return Unmatched(reason=unreadable(error), near=True)
        if len(fitting) == 1:
            return Chosen(original=fitting[0], check=f"the name matches, and it is a zip of the skill {skill}")
        what = f"several different zips of the skill {skill}" if fitting else f"no zip of the skill {skill}"
        return Unmatched(reason=f"{filename}: {what}" if named else "", near=bool(named))

    def _compare(self, entry: IndexEntry, matchers: list[WordMatcher]) -> None:
        try:
            with self._old.open(entry) as stream:
                for parts in Pages(stream):
                    for matcher in matchers:
                        matcher.compare(parts)
        except (ValueError, msgspec.MsgspecError) as error:
            raise DamagedBundle(f"can't read {entry.path}: {error}", entry=entry.path) from None

    # -- the new bundle --------------------------------------------------------------------------------

    def write(self, target: Path, *, force: bool) -> Supplied:
        info = self._old.info
        capture = capture_of(info, tool=f"holdall/{__version__}")
        self._progress.stage(f"Writing {target.name}")
        self._progress.expect(files=self._files, last=True)
        with BundleWriter(target, capture, started=info.started, force=force, resume=False) as writer:
            try:
                self._write_records(writer)
                for _, data in self._items:
                    self._write_file(writer, msgspec.json.decode(data, type=_Item))
                    self._progress.advance(files=1)
                finished = writer.finish(ended=info.ended)
            except BaseException:  # Ctrl-C too: there is nothing in half a copy that would have to be fetched again
                writer.discard()
                raise
        return self.outcome(finished)

    def outcome(self, finished: Finished | None) -> Supplied:
        info = finished.info if finished else self._old.info
        found = Supplied(
            wanted=self.wanted,
            supplied=self.supplied,
            lacking=self.lacking,
            refused=self._refusals.total,
            refusals=list(self._refusals),
            verdict=declared_verdict(info),
        )
        if finished is None:
            return found
        return replace(
            found,
            bundle=finished.path,
            size=finished.size,
            sha256=finished.sha256,
            digests=info.digests,
            fidelities={each.value: info.fidelities.get(each, FidelityCount()).files for each in Fidelity},
        )

    def _write_records(self, writer: BundleWriter) -> None:
        for kind in DEFINITIONS:
            for record in self._old.definitions(kind):
                writer.add_record(record)
        self._store_of: dict[str, SourceId] = {}
        for entry in self._old.entries():
            if entry.id is None or not layout.has_lines(entry.path):
                continue
            kind = layout.kind_of(entry.path)
            if kind is Kind.STORE:
                self._store_of[layout.beside(entry.path).removeprefix(layout.STORES)] = SourceId(entry.id)
            _write_lines(writer.open_members(kind, entry.id), (one.raw for one in self._old.members(kind, entry.id)))
        _write_lines(writer.open_files(), (record.raw for record in self._old.files()))
        # What else the old bundle lacks is lacking in the new one.
        if self._old.find(layout.LOSSES):
            _write_lines(writer.open_losses(), map(_encode, self._old.losses()))

    def _write_file(self, writer: BundleWriter, item: _Item) -> None:
        line = item.line
        if item.original:
            found = self._originals.original(item.original, item.size)
            sink = writer.open_content(found.size)
            try:
                copy_original(found, sink)
            except OSError as error:
                self.supplied -= 1
                self._refusals.append(Refused(id=line.id, filename=line.filename, reason=unreadable(error)))
            else:
                said = "; ".join(filter(None, (line.message, item.check)))
                line = replace(
                    line,
                    fidelity=Fidelity.SUPPLIED,
                    message=said,
                    route=found.name,
                    truncated=False,
                    doubt=msgspec.UNSET,
                )
                writer.add_content(sink, line, created_at=item.created_at)
                return
        if item.entry:
            self._carry(writer, item.entry, line, item.created_at)
        else:
            writer.add_ledger(line)

    def _carry(self, writer: BundleWriter, entry: IndexEntry, line: LedgerLine, created_at: int) -> None:
        """One content as it is, out of the old bundle into the new one, its sha256 checked on the way."""
        store = None
        if entry.path.startswith(layout.TEXTS):
            folder = entry.path.split("/")[2]
            store = self._store_of.get(folder, SourceId(folder))
        with writer.open_next(line, created_at=created_at, text=store is not None) as sink:
            copy_content(self._old, entry, sink)
            sink.commit()
        writer.add_content(sink, line, created_at=created_at, store=store)


def _skill_in(original: Original) -> str | None:
    """The name of the skill whose zip a file is; None where it is none. Raises OSError."""
    with open_regular(original.path) as file:
        try:
            return read_skill_zip(file).name
        except RefusedZip:
            return None


def _write_lines(sink: LineSink, lines: Iterable[bytes]) -> None:
    with sink:
        for line in lines:
            sink.write(line + b"\n")
        sink.commit()


def _require_rewritable(path: Path, found: str) -> None:
    """A newer minor version can be read, but rewriting it would lose what we don't know."""
    if not layout.is_known(found):
        raise NewerFormat(
            f"can't rewrite {path}: its format is {found}, and this version of holdall writes {layout.FORMAT}",
            hint="install a newer version of holdall",
        )
