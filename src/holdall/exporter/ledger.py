"""Records the outcome of each file: its ledger line, the counts by fidelity, and the losses.

All findings are counted and written to the bundle, to the ledger or ``data/losses.jsonl``; only as many as a person can
read are kept in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain

import msgspec
from msgspec.structs import asdict, replace

from holdall.bundle.layout import Digests, IndexEntry, LedgerLine
from holdall.bundle.partial import Stored
from holdall.bundle.totals import BundleTotals, record_hash
from holdall.bundle.writer import BundleWriter
from holdall.exporter import report, withheld
from holdall.exporter.file_index import File, FileIndex
from holdall.exporter.unread import unread_references
from holdall.graph import users_of
from holdall.legible import KEPT
from holdall.model import Fidelity, Kind, SourceId
from holdall.progress import Progress
from holdall.redaction import MARK
from holdall.remote.client import Account
from holdall.remote.contents import FetchedContent
from holdall.remote.survey import Definitions, Missing
from holdall.spilling import Sorter
from holdall.verdict import Reason, Verdict

_encode = msgspec.json.Encoder().encode


class Losses:
    """The findings of one export. Those that the policy doesn't accept are never pushed out by others."""

    def __init__(self, policy: report.Policy, *, kept: int = KEPT) -> None:
        self._policy, self._room = policy, kept
        self._grave: list[report.Finding] = []
        self._light: list[report.Finding] = []
        self._lines = Sorter()
        self._reasons: Counter[Reason] = Counter()
        self._accepted: Counter[Reason] = Counter()
        self.total = 0
        """All findings."""
        self.counting = 0
        """Those that the policy doesn't accept."""

    def add(self, finding: report.Finding, *, in_ledger: bool = False) -> None:
        """``in_ledger``: the file's line in the ledger says so too, so that it isn't counted again."""
        self.total += 1
        why = report.reason(finding, self._policy)
        grave = why is not None and not self._policy.accepts(finding)
        kept = self._grave if grave else self._light
        if len(kept) < self._room:
            kept.append(finding)
        if why is None or in_ledger:
            return
        self.counting += grave
        self._reasons[why] += 1
        self._accepted[why] += not grave
        if not isinstance(finding, report.ContentLoss | report.Doubtful):  # of which the ledger has a line
            self._lines.add(_encode(report.line_of(finding, why)))

    def __iter__(self) -> Iterator[report.Finding]:
        """The findings kept, those that count first."""
        return iter([*self._grave, *self._light])

    def verdict(self) -> Verdict:
        return Verdict(counts=dict(self._reasons), accepted=dict(+self._accepted))

    def write(self, writer: BundleWriter) -> None:
        """Write the losses that aren't in the ledger. Call once, at the end."""
        lines = self._lines.keys()
        if (first := next(lines, None)) is not None:  # an export that lacks nothing has no such file
            with writer.open_losses() as sink:
                for line in chain([first], lines):
                    sink.write(line + b"\n")
                sink.commit()
        self._lines.close()


class LedgerWriter:
    """Records what became of each file of one run, and every loss. ``totals`` are kept only where they are needed."""

    def __init__(
        self,
        writer: BundleWriter,
        index: FileIndex,
        definitions: Definitions,
        losses: Losses,
        progress: Progress,
        totals: BundleTotals | None = None,
        account: Account | None = None,
    ) -> None:
        self.writer, self.index, self.progress, self.losses = writer, index, progress, losses
        self._totals, self._account = totals, account
        self._stores = {store.id for store in definitions.store_views}
        self._users = users_of(definitions.views)
        self.fidelities: Counter[Fidelity] = Counter()
        self.taken = 0
        """How many contents came out of the parent."""
        for loss in losses_of(definitions):
            losses.add(loss)

    def missing(self, file: File, content: FetchedContent) -> None:
        """A file whose content is missing."""
        line = ledger_line(file, content)
        self.writer.add_ledger(line)
        self.progress.advance(files=1, bytes=file.due)
        self._tally(file, line)

    def fetched(self, file: File, stored: Stored) -> None:
        """A file whose content the fetcher got."""
        line = stored.ledger
        # What was downloaded has been counted as it came.
        came = (line.size or 0) if line.fidelity in (Fidelity.ORIGINAL, Fidelity.CONTAINER) else 0
        self._settle(file, came)
        self._tally(file, stored.ledger, stored.entry)

    def reused(self, file: File, stored: Stored) -> None:
        """A content copied from the parent, or left there because nothing has changed."""
        self.taken += 1
        self.resumed(file, stored)

    def resumed(self, file: File, stored: Stored) -> None:
        """A content that an interrupted run has stored; its line in the ledger is kept too."""
        self._settle(file, 0)
        self._tally(file, stored.ledger, stored.entry)

    def will_be_reused(self, file: File, entry: IndexEntry) -> None:
        """A content that will be copied from the parent, unless nothing at all has changed."""
        if self._totals:
            self._totals.content(file.id, entry.fidelity or Fidelity.ORIGINAL, entry.sha256)

    def digests(self) -> Digests | None:
        """What the bundle's digests will be, where totals are kept; from here on they no longer are."""
        digests, self._totals = self._totals.digests() if self._totals else None, None
        return digests

    def record(self, kind: Kind, id: str, raw: bytes, owner: str | None = None, *, hash: str | None = None) -> None:
        """A record that goes into the bundle, with its hash where that is known; a membership or a version with what
        it is of."""
        for field, refers in unread_references(kind, id, raw, owner).items():
            message = "unknown field; what it refers to was not exported"
            self.losses.add(report.UnreadField(kind=kind, id=id, field=field, refers=refers, message=message))
        # Only where the wire has put a mark there: a record may have the same word of its own.
        if self._account and self._account.sent_keys and MARK.encode() in raw:
            self.losses.add(report.Replaced(kind=kind, id=id, store=owner))
        if self._totals:
            self._totals.record(kind, id, hash or record_hash(kind, raw), owner)

    def takes(self, kind: Kind, id: str, raw: bytes, owner: str | None = None, *, hash: str | None = None) -> bool:
        """Whether a bundle can hold a record (of a membership or a version, if ``owner`` is given); if not, notes a
        loss. ``hash`` is the record's, where it is known."""
        if why := report.unfit(raw, owner):
            self.unfit(kind, id, why)
            return False
        self.record(kind, id, raw, owner, hash=hash)
        return True

    def unfit(self, kind: Kind, id: str, why: str) -> None:
        """Something that no bundle can hold."""
        self.losses.add(report.unreadable(kind, id, why))

    def store(self, store_id: SourceId, counted: int | None, found: int) -> None:
        """A store of which all memberships were listed. Where a server counts too few, nothing is missing."""
        if counted is not None and counted > found:
            self.losses.add(report.Miscount(id=store_id, what="files in a vector store", counted=counted, found=found))

    def _settle(self, file: File, came: int) -> None:
        """Progress has the file, and what it expects of it, of which so many bytes ``came``."""
        if not file.due:
            self.progress.expect(bytes=came)
        self.progress.advance(files=1, bytes=file.due - came if file.due else 0)

    def _tally(self, file: File, line: LedgerLine, entry: IndexEntry | None = None) -> None:
        self.fidelities[line.fidelity] += 1
        if entry and entry.fidelity and self._totals:
            self._totals.content(file.id, entry.fidelity, entry.sha256)
        if file.gone:
            self.losses.add(_absent(file.gone), in_ledger=line.fidelity is Fidelity.UNAVAILABLE)
        if line.doubt:
            self.losses.add(report.Doubtful(id=file.id, filename=line.filename, message=line.doubt))
        if line.fidelity is not Fidelity.ORIGINAL:
            # A loss has fields of a ledger's line, by the same names.
            self.losses.add(msgspec.convert(line, report.ContentLoss, from_attributes=True))
        # The bytes came whole, so it is the record that is wrong.
        if line.fidelity.is_bytes and file.size is not None and line.size is not None and file.size != line.size:
            self.losses.add(report.Miscount(id=file.id, what="bytes of a file", counted=file.size, found=line.size))

    def findings(self) -> list[report.Finding]:
        """The losses that are kept, with the assistants that use what was lost: known once all lists were read."""
        return [self._with_users(finding) for finding in self.losses]

    def _with_users(self, finding: report.Finding) -> report.Finding:
        match finding:
            case report.ContentLoss() | report.Absent(kind=Kind.FILE):
                return replace(finding, used_by=self._used_by(SourceId(finding.id)))
        return finding

    def _used_by(self, file_id: SourceId) -> list[str]:
        users: list[str] = [*self._users.files.get(file_id, ())]
        for holder in self.index.holders(file_id):
            if holder.store in self._stores:  # others only lent the text
                users.extend(self._users.stores.get(holder.store, ()))
        return list(dict.fromkeys(users))


def losses_of(definitions: Definitions) -> Iterator[report.Finding]:
    """What the definitions refer to and the server hasn't, those that can't be read, and what is withheld of others."""
    yield from map(_absent, definitions.missing)
    yield from (report.unreadable(one.kind, one.id, one.message) for one in definitions.unreadable)
    yield from chain.from_iterable(map(withheld.findings, definitions.all()))


def _absent(missing: Missing) -> report.Absent:
    return msgspec.convert(missing, report.Absent, from_attributes=True)


def ledger_line(file: File, content: FetchedContent) -> LedgerLine:
    """The ledger line for one file; the writer adds where its content lies."""
    # What was fetched has the fields of a line, by the same names.
    said = {**asdict(content), "doubt": content.doubt or msgspec.UNSET}
    return LedgerLine(id=file.id, filename=file.filename, path=None, expected=file.size, **said)
