"""Checks that a bundle's records agree: counts, digests, and every reference between them.

Something missing but declared is a loss, not damage: a file that could not be fetched, a store that the source no
longer had. Memory is flat: per-file data is sorted on disk.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterator, Mapping

import msgspec

from holdall.agent_views import VersionView
from holdall.bundle import layout
from holdall.bundle.bag import (
    ledger_line,
    ledger_line_faults,
    parse_route,
    parse_version_route,
)
from holdall.bundle.layout import IndexEntry, LedgerLine
from holdall.bundle.loss_lines import GONE, HELD, LossLine, loss_faults, loss_line, told
from holdall.bundle.reader import BundleReader
from holdall.bundle.totals import BundleTotals, declared_verdict, minimum_of, record_hash, verdict_of
from holdall.kinds import ASSISTANT_KINDS, DEFINITIONS, KINDS, noun, read, with_article
from holdall.legible import Capped
from holdall.model import Fidelity, FileView, Kind, MembershipView, Record, StoreView
from holdall.safe_files import is_name_of
from holdall.spilling import Sorter, ValueSorter
from holdall.verdict import Reason, Verdict

_LONGEST = 4000
"""Characters that a declared loss keeps of an id, a name or a message."""

Report = Callable[[str, str | None, str], None]
"""Takes a finding: its code, the entry's path or None, a sentence."""


class DeclaredLoss(msgspec.Struct, frozen=True, kw_only=True):
    """A loss that the bundle declares. ``code`` is ``unavailable``, ``truncated``, ``doubtful``, ``no-store``,
    ``no-file``, or the reason of a line in ``data/losses.jsonl``; ``id`` what is missing, ``filename`` its name."""

    code: str
    id: str | None
    filename: str | None
    message: str


class _Use(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One mention of a file id, or of the id of a skill's version, whose zip is a content like a file's. ``by`` is
    ``ledger``, ``content``, ``membership``, ``version``, ``file``, ``assistant`` or ``loss``; of a content ``cut`` says
    that it is a text which stops short; of a loss ``path`` is its reason."""

    by: str
    path: str
    entry: IndexEntry | None = None
    cut: bool | None = None
    line: LedgerLine | None = None
    filename: str | None = None
    size: int | None = None
    kind: Kind | None = None
    skill: str | None = None
    number: str | None = None


class References:
    """One pass over the records of a bundle whose index has been read."""

    def __init__(self, bundle: BundleReader, report: Report, cut: Sorter | None) -> None:
        """``cut`` has the paths of the truncated parsed texts; None if the texts weren't read."""
        self._bundle, self._report, self._cut = bundle, report, cut
        self.losses: Capped[DeclaredLoss] = Capped()
        self._uses, self._totals = ValueSorter(_Use), BundleTotals(minimum_of(bundle.info))
        self._there: dict[Kind, dict[str, str]] = {kind: {} for kind in DEFINITIONS}
        """The definitions by id, each with its path without the ending."""
        self._lacking: set[str] = set()
        """The stores with fewer memberships than they count, until a loss accounts for that."""

    def check(self) -> None:
        """Report everything that doesn't fit. Raises DamagedBundle where a record can't be read."""
        # Stores first: what uses them is checked against them.
        for kind in sorted(DEFINITIONS, key=lambda kind: kind is not Kind.STORE):
            self._read_kind(kind)
        for file in self._bundle.files():
            self._count(Kind.FILE, file.id, file.raw)
            said = FileView.of(file)
            self._uses.add(file.id, _Use(by="file", path=layout.FILES, filename=said.filename, size=said.size))
        self._read_index()
        self._read_ledger()
        for line in self._bundle.losses():
            self._account(line)
        # The files of the ledger first: in this order the losses are listed.
        self._check_files()
        self._read_losses()
        self._check_info()
        self._uses.close()
        self._totals.close()

    @property
    def verdict(self) -> Verdict:
        """The verdict by the checked records: what the bundle lacks of the project."""
        losses = self._totals.losses()
        return verdict_of(losses) if losses else declared_verdict(self._bundle.info)

    def _read_ledger(self) -> None:
        previous = b""
        for raw, line in self._bundle.lines(layout.LEDGER, ledger_line):
            for fault in _read_whole(ledger_line_faults(raw, line)):
                self._report("record", layout.LEDGER, f"{line.id} in the ledger: {fault}")
            if line.id.encode() < previous:
                self._report("reference", layout.LEDGER, f"{line.id}: out of order in the ledger")
            previous = line.id.encode()
            self._uses.add(line.id, _Use(by="ledger", path=layout.LEDGER, line=line))

    def _lose(self, code: str, id: str | None, filename: str | None, message: str) -> None:
        shown = [text and text[:_LONGEST] for text in (id, filename)]
        self.losses.append(DeclaredLoss(code=code, id=shown[0], filename=shown[1], message=message[:_LONGEST]))

    def _read_losses(self) -> None:
        previous = b""
        for raw, line in self._bundle.lines(layout.LOSSES, loss_line):
            for fault in _read_whole(loss_faults(raw, line)):
                self._report("record", layout.LOSSES, f"{layout.LOSSES}: {line.id or line.reason}: {fault}")
            if raw < previous:
                self._report("record", layout.LOSSES, f"{layout.LOSSES}: {line.id or line.reason}: out of order")
            previous = raw
            self._totals.loss(line.reason)
            if line.reason != Reason.STORES:  # said of the assistant that refers to it
                self._lose(line.why, line.id, None, told(line))

    def _account(self, line: LossLine) -> None:
        """Check what a loss says of its object."""
        if line.id is None:
            return
        why, kind = line.why, line.about
        if why == Reason.LISTS:
            self._lacking.discard(line.id)
        elif why == Reason.RECORDS and kind is Kind.MEMBERSHIP:
            self._lacking.clear()
        if kind in self._there:
            self._check_lost(why, kind, line.id, there=line.id in self._there[kind])
        elif kind is not None or why == Reason.COUNTS:
            self._uses.add(line.id, _Use(by="loss", path=why, kind=kind))

    def _check_lost(self, reason: str, kind: Kind, id: str, *, there: bool) -> None:
        if reason in (HELD if not there else GONE):
            how = "in the bundle" if there else "not in the bundle"
            self._report("reference", layout.LOSSES, f"loss of {reason} declared, but {kind} {id} is {how}")

    def _records(self, kind: Kind) -> Iterator[Record]:
        """The records of a kind, each counted and there once."""
        there = self._there[kind]
        for entry in self._bundle.entries(KINDS[kind].folder):
            if entry.path.endswith(layout.RECORD):
                record = self._bundle.record(kind, entry)
                if record.id != entry.id:
                    self._report(
                        "index",
                        entry.path,
                        f"{entry.path}: its id is {entry.id} in the index, {record.id} in the record",
                    )
                self._once(record.id, there)
                there[record.id] = entry.path.removesuffix(layout.RECORD)
                self._count(kind, record.id, record.raw)
                yield record

    def _count(self, kind: Kind, id: str, raw: bytes, store: str | None = None) -> None:
        self._totals.record(kind, id, record_hash(kind, raw), store)

    def _read_kind(self, kind: Kind) -> None:
        """The records of a kind, and the lines beside them."""
        counted: dict[str, int] = {}
        for record in self._records(kind):
            if kind is Kind.STORE:
                counted[record.id] = StoreView.of(record).total or 0
            elif kind in ASSISTANT_KINDS:
                self._note_uses(record)
        if KINDS[kind].lines:
            self._read_lines(kind, counted)

    def _note_uses(self, record: Record) -> None:
        view = read(record)
        for id in view.store_ids:
            if id not in self._there[Kind.STORE]:
                self._lose("no-store", id, None, f"{record.id} uses vector store {id}, which is not in the bundle")
        for id in dict.fromkeys(view.file_ids):
            self._uses.add(id, _Use(by="assistant", path=str(record.id)))

    def _read_lines(self, kind: Kind, counted: Mapping[str, int]) -> None:
        found, member = self._there[kind], KINDS[kind].member
        assert member is not None
        listed: set[str] = set()
        for entry in self._bundle.entries(KINDS[kind].folder):
            if not layout.has_lines(entry.path):
                continue
            what = f"{noun(member)}s of {entry.id}"
            self._once(what, listed)
            listed.add(what)
            if entry.id not in found:
                self._report("reference", entry.path, f"{what}, {with_article(kind)} that is not in the bundle")
            elif found[entry.id] != layout.beside(entry.path):
                self._report("reference", entry.path, f"{what} in the folder of another {noun(kind)}")
            self._read_members(kind, member, entry)
            # An old bundle has no losses to say so.
            if (entry.records or 0) < counted.get(entry.id or "", 0) and self._bundle.info.losses is not None:
                self._lacking.add(entry.id or "")
        # Of a Foundry agent, all versions are in a bundle or none but the latest, in its record.
        for id in sorted(found) if kind is not Kind.FOUNDRY_AGENT else ():
            if f"{noun(member)}s of {id}" not in listed:
                self._report("reference", None, f"{noun(member)}s of {noun(kind)} {id} missing")

    def _read_members(self, kind: Kind, member: Kind, entry: IndexEntry) -> None:
        numbers: set[str] = set()
        for record in self._bundle.records(member, entry):
            self._count(member, record.id, record.raw, entry.id)
            if member is Kind.MEMBERSHIP:
                self._uses.add(record.id, _Use(by="membership", path=entry.path))
                owner = MembershipView.of(record).vector_store_id
            else:
                view = VersionView.of(record)
                for name in {record.id, view.version or record.id}:
                    self._once(f"{name} of {entry.id}", numbers)
                    numbers.add(f"{name} of {entry.id}")
                if member is Kind.SKILL_VERSION:
                    use = _Use(by="version", path=entry.path, skill=entry.id, number=view.version or record.id)
                    self._uses.add(record.id, use)
                owner = view.skill_id
            if (owner or entry.id) != entry.id:
                self._report(
                    "reference", entry.path, f"{entry.path}: {noun(member)} of {record.id} in another {noun(kind)}"
                )

    def _once(self, id: str, seen: Container[str]) -> None:
        """Ids must be unique: readers go by them."""
        if id in seen:
            self._report("index", None, f"{id}: duplicate")

    def _read_index(self) -> None:
        cuts = iter(()) if self._cut is None else self._cut.keys()
        cut = next(cuts, None)
        for entry in self._bundle.entries():
            self._totals.entry(entry)
            if entry.fidelity is not None and entry.id is not None:
                while cut is not None and cut < entry.path.encode():
                    cut = next(cuts, None)
                stops = None if self._cut is None else cut == entry.path.encode()
                self._uses.add(entry.id, _Use(by="content", path=entry.path, entry=entry, cut=stops))

    def _check_files(self) -> None:
        self._names = {path.removeprefix(layout.STORES): id for id, path in self._there[Kind.STORE].items()}
        for id, found in self._uses.by_text():
            uses: defaultdict[str, list[_Use]] = defaultdict(list)
            for use in found:
                uses[use.by].append(use)
            self._check_once(id, uses)
            if uses["loss"]:
                self._check_losses(id, uses)
            if line := uses["ledger"][0].line if uses["ledger"] else None:
                self._check_line(line, {use.path: use for use in uses["content"]})
                self._check_place(line, uses["membership"])
                self._check_size(line, {use.path for use in uses["loss"]})
                if uses["version"] or line.route:
                    self._check_version(line, uses["version"])
                if uses["file"]:
                    self._check_said(line, uses["file"][0])
            else:
                self._unlisted(id, uses)

    def _check_once(self, id: str, uses: dict[str, list[_Use]]) -> None:
        for by, path in (("file", layout.FILES), ("ledger", layout.LEDGER), ("content", layout.INDEX)):
            if len(uses[by]) > 1:
                self._report("reference", path, f"file {id}: {len(uses[by])} entries instead of one: {by}")
        if len(uses["version"]) > 1:
            self._report("index", uses["version"][1].path, f"{id}: duplicate")
        stores = [use.path for use in uses["membership"]]
        for store, count in Counter(stores).items() if len(stores) > 1 else ():
            if count > 1:
                self._report("reference", store, f"{store}: file {id} listed {count} times")

    def _check_losses(self, id: str, uses: dict[str, list[_Use]]) -> None:
        """What losses say of a file and of its memberships."""
        for loss in uses["loss"]:
            if loss.kind is Kind.MEMBERSHIP:
                # One that is lost may be that of another store than those which are there.
                everywhere = len(uses["membership"]) >= len(self._there[Kind.STORE])
                there = bool(uses["membership"]) and (everywhere or loss.path not in GONE)
                self._check_lost(loss.path, loss.kind, id, there=there)
            elif loss.kind is Kind.FILE:
                there = bool(uses["ledger" if loss.path == Reason.FILES else "file"])
                self._check_lost(loss.path, loss.kind, id, there=there)
            elif loss.kind is Kind.SKILL_VERSION:
                self._check_lost(loss.path, loss.kind, id, there=bool(uses["version"]))

    def _check_version(self, line: LedgerLine, versions: list[_Use]) -> None:
        """A skill's version has its own bytes or none, and its route is its own."""
        if versions and line.fidelity in (Fidelity.CONTAINER, Fidelity.TEXT):
            self._report("reference", layout.LEDGER, f"{line.id}: a skill version of fidelity {line.fidelity}")
        route = parse_version_route(line.route)
        if route and route not in [(use.skill, use.number) for use in versions]:
            self._report("reference", layout.LEDGER, f"{line.id}: route of another skill version")

    def _check_size(self, line: LedgerLine, losses: set[str]) -> None:
        """Bytes of another size than was declared are a loss, where the bundle lists losses."""
        differs = line.fidelity.is_bytes and line.expected not in (None, line.size)
        if differs and Reason.COUNTS not in losses and self._bundle.info.losses is not None:
            self._report(
                "count", layout.LEDGER, f"{line.id}: size differs from the declared one, without a declared loss"
            )

    def _check_place(self, line: LedgerLine, memberships: list[_Use]) -> None:
        """A text's folder is that of the store it was read from: the one in its route, else one that holds the file."""
        if line.fidelity is not Fidelity.TEXT or not (line.path or "").startswith(layout.TEXTS):
            return
        name, route = str(line.path).split("/")[2], parse_route(line.route)
        if route is None or route.store is None:
            fits = f"{layout.STORES}{name}{layout.MEMBERSHIPS}" in [use.path for use in memberships]
        elif name in self._names:
            fits = self._names[name] == route.store
        else:
            fits = route.store not in self._there[Kind.STORE]
            fits = fits and is_name_of(name, route.store, suffix=layout.MEMBERSHIPS)
        if not fits:
            self._report("reference", layout.LEDGER, f"{line.id}: its text is in the folder of another vector store")

    def _check_said(self, line: LedgerLine, file: _Use) -> None:
        """Name and size are those that the file object says; none may stand for a size of 0."""
        size = file.size if line.expected is not None else file.size or None
        for name, ours, theirs in (("filename", line.filename, file.filename), ("expected", line.expected, size)):
            if ours != theirs:
                self._report("reference", layout.LEDGER, f"{line.id}: {name} differs from the file object's")

    def _check_line(self, line: LedgerLine, contents: dict[str, _Use]) -> None:
        self._totals.ledger(line)
        reason = f"{line.id} ({line.filename})"
        if line.fidelity is Fidelity.UNAVAILABLE:
            why = ", ".join(str(part) for part in (line.status, line.code, line.message) if part is not None)
            message = f"{reason}: missing" + (f": {why}" if why else "")
            self._lose("unavailable", line.id, line.filename, message)
            if line.path or contents:
                self._report("reference", layout.LEDGER, f"{reason}: declared unavailable, but has content")
            return
        if line.truncated:
            self._lose("truncated", line.id, line.filename, f"{reason}: text incomplete")
        if line.doubt:
            message = f"{reason}: uncertain text: {line.doubt}"
            self._lose("doubtful", line.id, line.filename, message)
        self._check_content(line, reason, contents.get(line.path or ""))

    def _check_content(self, line: LedgerLine, reason: str, found: _Use | None) -> None:
        if found is None or found.entry is None:
            self._report("reference", line.path or layout.LEDGER, f"{reason}: content not in the index")
            return
        entry = found.entry
        if (entry.fidelity, entry.size) != (line.fidelity, line.size):
            self._report("reference", entry.path, f"{reason}: ledger and index disagree on fidelity or size")
        if entry.filename is not None and entry.filename != line.filename:
            self._report("reference", entry.path, f"{reason}: ledger and index disagree on the filename")
        if line.fidelity is Fidelity.TEXT and found.cut not in (None, line.truncated):
            self._report("reference", entry.path, f"{reason}: ledger and text disagree on whether the text is complete")

    def _unlisted(self, id: str, uses: dict[str, list[_Use]]) -> None:
        """A file without a line in the ledger."""
        paths = sorted({use.path for by in ("content", "membership", "version", "file") for use in uses[by]})
        for path in paths:
            self._report("reference", path, f"file {id} is not in the ledger")
        for use in uses["assistant"] if not paths else ():
            self._lose("no-file", id, None, f"{use.path} uses file {id}, which is not in the bundle")

    def _check_info(self) -> None:
        info = self._bundle.info
        for id in sorted(self._lacking):
            self._report("count", None, f"vector store {id} has fewer files than it counts, without a declared loss")
        for name, count in self._totals.counts().items():
            # That one of the others is missing was found in holdall.json already.
            if count != info.counts.get(name, 0 if name in layout.LATER else count):
                self._report("count", layout.INFO, f"{name}: {info.counts.get(name, 'none')} declared, {count} found")
        fidelities = self._totals.fidelities()
        for fidelity in Fidelity:
            if fidelities.get(fidelity) != info.fidelities.get(fidelity):
                self._report(
                    "count", layout.INFO, f"number of files with fidelity {fidelity} differs from the declared one"
                )
        if info.losses is not None and self._totals.losses() != info.losses:
            self._report("count", layout.INFO, "losses differ from those in the ledger and losses.jsonl")
        digests = self._totals.digests()
        for name in digests.__struct_fields__:
            if getattr(digests, name) != getattr(info.digests, name):
                self._report("digest", layout.INFO, f"the {name} don't match their digest")


def _read_whole(faults: Iterator[str]) -> Iterator[str]:
    """``faults``, and a line that can't be read in one way only as one of them."""
    try:
        yield from faults
    except ValueError as error:
        yield str(error)
