"""Checks that a bundle's records agree: counts, digests, and every reference between them.

Something missing but declared is a loss, not damage: a file that could not be fetched, a store that the source no
longer had. Memory is flat: per-file data is sorted on disk.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterator

import msgspec

from holdall.bundle import layout
from holdall.bundle.digest import record_hash
from holdall.bundle.layout import IndexEntry, LedgerLine, LossLine
from holdall.bundle.names import is_name_of
from holdall.bundle.reader import BundleReader
from holdall.bundle.sorting import Sorter, ValueSorter
from holdall.bundle.totals import BundleTotals, declared_verdict, known_reason, minimum_of, verdict_of
from holdall.bundle.validation import ledger_line, ledger_line_faults, loss_faults, loss_line, parse_route
from holdall.capped import Capped
from holdall.kinds import ASSISTANT_KINDS, DEFINITIONS, KINDS, noun, read
from holdall.model import Fidelity, FileView, Kind, MembershipView, Record, StoreView
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


class _Use(msgspec.Struct, frozen=True, kw_only=True):
    """One mention of a file id. ``by`` is ``ledger``, ``content``, ``membership``, ``file``, ``assistant`` or ``loss``;
    of a content ``cut`` says that it is a text which stops short; of a loss ``path`` is its reason."""

    by: str
    path: str
    entry: IndexEntry | None = None
    cut: bool | None = None
    line: LedgerLine | None = None
    filename: str | None = None
    size: int | None = None
    kind: Kind | None = None


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
        self._read_stores()
        self._read_definitions()
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
                self._lose(line.reason, line.id, None, _told(line))

    def _account(self, line: LossLine) -> None:
        """Check what a loss says of its object."""
        if line.id is None:
            return
        if line.reason == Reason.LISTS:
            self._lacking.discard(line.id)
        elif line.reason == Reason.RECORDS and line.kind is Kind.MEMBERSHIP:
            self._lacking.clear()
        if line.kind in self._there:
            self._check_lost(line.reason, line.kind, line.id, there=line.id in self._there[line.kind])
        elif line.kind is not None or line.reason == Reason.COUNTS:
            self._uses.add(line.id, _Use(by="loss", path=line.reason, kind=line.kind))

    def _check_lost(self, reason: str, kind: Kind, id: str, *, there: bool) -> None:
        if reason in (_HELD if not there else _GONE):
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

    def _read_stores(self) -> None:
        totals: dict[str, int] = {}
        for store in self._records(Kind.STORE):
            totals[store.id] = StoreView.of(store).total or 0
        found = self._there[Kind.STORE]
        listed: set[str] = set()
        for entry in self._bundle.entries(layout.STORES):
            if not entry.path.endswith(layout.MEMBERSHIPS):
                continue
            self._once(f"memberships of {entry.id}", listed)
            listed.add(f"memberships of {entry.id}")
            beside = entry.path.removesuffix(layout.MEMBERSHIPS)
            if entry.id not in found:
                self._report(
                    "reference", entry.path, f"memberships of {entry.id}, a vector store that is not in the bundle"
                )
            elif found[entry.id] != beside:
                self._report(
                    "reference", entry.path, f"memberships of {entry.id} in the folder of another vector store"
                )
            self._read_members(entry)
            # An old bundle has no losses to say so.
            if (entry.records or 0) < totals.get(entry.id or "", 0) and self._bundle.info.losses is not None:
                self._lacking.add(entry.id or "")
        for id in sorted(id for id in found if f"memberships of {id}" not in listed):
            self._report("reference", None, f"memberships of vector store {id} missing")

    def _read_members(self, entry: IndexEntry) -> None:
        for member in self._bundle.records(Kind.MEMBERSHIP, entry):
            self._count(Kind.MEMBERSHIP, member.id, member.raw, entry.id)
            self._uses.add(member.id, _Use(by="membership", path=entry.path))
            if (MembershipView.of(member).vector_store_id or entry.id) != entry.id:
                self._report(
                    "reference", entry.path, f"{entry.path}: membership of {member.id} in another vector store"
                )

    def _once(self, id: str, seen: Container[str]) -> None:
        """Ids must be unique: readers go by them."""
        if id in seen:
            self._report("index", None, f"{id}: duplicate")

    def _read_definitions(self) -> None:
        for record in (record for kind in ASSISTANT_KINDS for record in self._records(kind)):
            view = read(record)
            for id in view.store_ids:
                if id not in self._there[Kind.STORE]:
                    self._lose("no-store", id, None, f"{record.id} uses vector store {id}, which is not in the bundle")
            for id in dict.fromkeys(view.file_ids):
                self._uses.add(id, _Use(by="assistant", path=str(record.id)))

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
            self._check_losses(id, uses)
            if line := uses["ledger"][0].line if uses["ledger"] else None:
                self._check_line(line, {use.path: use for use in uses["content"]})
                self._check_place(line, {use.path for use in uses["membership"]})
                self._check_size(line, {use.path for use in uses["loss"]})
                if uses["file"]:
                    self._check_said(line, uses["file"][0])
            else:
                self._unlisted(id, uses)

    def _check_once(self, id: str, uses: dict[str, list[_Use]]) -> None:
        for by, path in (("file", layout.FILES), ("ledger", layout.LEDGER), ("content", layout.INDEX)):
            if len(uses[by]) > 1:
                self._report("reference", path, f"file {id}: {len(uses[by])} entries instead of one: {by}")
        for store, count in Counter(use.path for use in uses["membership"]).items():
            if count > 1:
                self._report("reference", store, f"{store}: file {id} listed {count} times")

    def _check_losses(self, id: str, uses: dict[str, list[_Use]]) -> None:
        """What losses say of a file and of its memberships."""
        for loss in uses["loss"]:
            if loss.kind is Kind.MEMBERSHIP:
                # One that is lost may be that of another store than those which are there.
                everywhere = len(uses["membership"]) >= len(self._there[Kind.STORE])
                there = bool(uses["membership"]) and (everywhere or loss.path not in _GONE)
                self._check_lost(loss.path, loss.kind, id, there=there)
            elif loss.kind is Kind.FILE:
                there = bool(uses["ledger" if loss.path == Reason.FILES else "file"])
                self._check_lost(loss.path, loss.kind, id, there=there)

    def _check_size(self, line: LedgerLine, losses: set[str]) -> None:
        """Bytes of another size than was declared are a loss, where the bundle lists losses."""
        differs = line.fidelity.is_bytes and line.expected not in (None, line.size)
        if differs and Reason.COUNTS not in losses and self._bundle.info.losses is not None:
            self._report(
                "count", layout.LEDGER, f"{line.id}: size differs from the declared one, without a declared loss"
            )

    def _check_place(self, line: LedgerLine, memberships: set[str]) -> None:
        """A text's folder is that of the store it was read from: the one in its route, else one that holds the file."""
        if line.fidelity is not Fidelity.TEXT or not (line.path or "").startswith(layout.TEXTS):
            return
        name, route = str(line.path).split("/")[2], parse_route(line.route)
        if route is None or route.store is None:
            fits = f"{layout.STORES}{name}{layout.MEMBERSHIPS}" in memberships
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
        paths = sorted({use.path for by in ("content", "membership", "file") for use in uses[by]})
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


def _told(line: LossLine) -> str:
    """What is lost, and why. A server's message alone may not name it."""
    what = " ".join(part for part in (line.kind and noun(line.kind), line.id) if part)
    if not what or (line.id and line.id in line.message):
        return line.message or f"{line.reason}"
    if line.kind and known_reason(line.reason) in (Reason.FILES, Reason.RECORDS):
        what = f"{what} missing"
    return f"{what}: {line.message}" if line.message else what


def _read_whole(faults: Iterator[str]) -> Iterator[str]:
    """``faults``, and a line that can't be read in one way only as one of them."""
    try:
        yield from faults
    except ValueError as error:
        yield str(error)


# Losses of these reasons name what is not in the bundle, those of the others what is.
_GONE = frozenset({Reason.FILES, Reason.STORES, Reason.RECORDS})
_HELD = frozenset({Reason.KEYS, Reason.REFERENCES, Reason.CHANGED})
