"""What became of each file: its line in the bundle's ledger, the counts by fidelity, and what counts as a loss."""

from __future__ import annotations

from collections import Counter

import msgspec
from msgspec.structs import replace

from holdall.bundle.digest import record_hash
from holdall.bundle.journal import Stored
from holdall.bundle.layout import Digests, IndexEntry, LedgerLine
from holdall.bundle.totals import Totals
from holdall.bundle.writer import BundleWriter
from holdall.exporter.file_index import File, FileIndex
from holdall.exporter.losses import Losses
from holdall.exporter.records import unfit
from holdall.exporter.report import (
    Absent,
    ContentLoss,
    Doubtful,
    Finding,
    Miscount,
    Replaced,
    UnreadField,
    absent,
    unreadable,
)
from holdall.exporter.unread import unread_references
from holdall.graph import users_of
from holdall.model import Fidelity, Kind, SourceId
from holdall.progress import Progress
from holdall.redaction import MARK
from holdall.remote.client import Account
from holdall.remote.contents import FetchedContent
from holdall.remote.survey import Definitions

__all__ = ["LedgerWriter"]


class LedgerWriter:
    """The books of one run. ``state`` is kept only where somebody will ask for it."""

    def __init__(
        self,
        writer: BundleWriter,
        register: FileIndex,
        definitions: Definitions,
        losses: Losses,
        progress: Progress,
        state: Totals | None = None,
        account: Account | None = None,
    ) -> None:
        self._writer, self._register, self._progress, self._state = writer, register, progress, state
        self._losses, self._account = losses, account
        self._stores = [store.id for store in definitions.store_views]
        self._users = users_of(definitions.views)
        self.fidelities: Counter[Fidelity] = Counter()
        self.taken = 0
        """How many contents came out of the parent."""
        for missing in definitions.missing:
            losses.add(absent(missing))
        for one in definitions.unreadable:
            losses.add(unreadable(one.kind, one.id, one.message))

    def lost(self, file: File, content: FetchedContent) -> None:
        """A file whose content could not be got."""
        line = line_of(file, content)
        self._writer.add_ledger(line)
        self._tally(file, line)

    def got(self, file: File, stored: Stored) -> None:
        """A file whose content the fetcher got."""
        self._tally(file, stored.ledger, stored.entry)

    def took(self, file: File, stored: Stored) -> None:
        """A content out of the parent."""
        self.taken += 1
        self.kept(file, stored)

    def kept(self, file: File, stored: Stored) -> None:
        """A content that an interrupted run has stored; its line in the ledger is kept too."""
        self._progress.advance(bytes=file.size or stored.entry.size)
        self.got(file, stored)

    def unread(self, file: File, line: LedgerLine, entry: IndexEntry) -> None:
        """A content that would come out of the parent, and isn't read because nothing at all has changed."""
        self.taken += 1
        self._progress.advance(bytes=file.size or entry.size)
        self._tally(file, line)

    def foresee(self, file: File, entry: IndexEntry) -> None:
        """A content that will come out of the parent unless nothing at all has changed."""
        if self._state:
            self._state.content(file.id, entry.fidelity or Fidelity.ORIGINAL, entry.sha256)

    def digests(self) -> Digests | None:
        """What the bundle's digests will be, where a state is kept; from here on it no longer is."""
        digests, self._state = self._state.digests() if self._state else None, None
        return digests

    def record(self, kind: Kind, id: str, raw: bytes, store: str | None = None) -> None:
        """A record that goes into the bundle; a membership with its store."""
        for field, refers in unread_references(kind, id, raw, store).items():
            message = "nothing reads this field, so what it refers to is not followed"
            self._losses.add(UnreadField(kind=kind, id=id, field=field, refers=refers, message=message))
        if self._account and self._account.sent_keys and MARK.encode() in raw:
            self._losses.add(Replaced(kind=kind, id=id, store=store))
        if self._state:
            self._state.record(kind, id, record_hash(kind, raw), store)

    def takes(self, kind: Kind, id: str, raw: bytes, store: str | None = None) -> bool:
        """Whether a bundle can hold a record, of a membership in ``store``; where it can't, that is a loss."""
        why = unfit(raw, store)
        if why:
            self.unfit(kind, id, why)
        return not why

    def unfit(self, kind: Kind, id: str, why: str) -> None:
        """Something that no bundle can hold."""
        self._losses.add(unreadable(kind, id, why))

    def store(self, store_id: SourceId, counted: int | float | None, found: int) -> None:
        """A store of which all memberships were listed. Where a server counts too few, nothing is missing."""
        if counted is not None and int(counted) > found:
            self._losses.add(Miscount(id=store_id, what="files of a vector store", counted=int(counted), found=found))

    def _tally(self, file: File, line: LedgerLine, entry: IndexEntry | None = None) -> None:
        self._progress.advance(files=1)
        self.fidelities[line.fidelity] += 1
        if entry and entry.fidelity and self._state:
            self._state.content(file.id, entry.fidelity, entry.sha256)
        if file.gone:
            self._losses.add(absent(file.gone), in_ledger=line.fidelity is Fidelity.UNAVAILABLE)
        if line.doubt:
            self._losses.add(Doubtful(id=file.id, filename=line.filename, message=line.doubt))
        if line.fidelity is not Fidelity.ORIGINAL:
            self._losses.add(
                ContentLoss(
                    id=file.id,
                    filename=line.filename,
                    fidelity=line.fidelity,
                    expected=line.expected,
                    used_by=[],
                    status=line.status,
                    code=line.code,
                    message=line.message,
                    truncated=line.truncated,
                )
            )
        if line.fidelity.is_bytes and file.size is not None and line.size is not None and file.size != line.size:
            self._losses.add(Miscount(id=file.id, what="bytes of a file", counted=file.size, found=line.size))

    def findings(self) -> list[Finding]:
        """The losses that are kept, with the assistants that use what was lost: known once all lists were read."""
        return [self._with_users(finding) for finding in self._losses]

    def _with_users(self, finding: Finding) -> Finding:
        match finding:
            case ContentLoss() | Absent(kind=Kind.FILE):
                return replace(finding, used_by=self._used_by(SourceId(finding.id)))
        return finding

    def _used_by(self, file_id: SourceId) -> list[str]:
        users: list[str] = [*self._users.files.get(file_id, ())]
        for number in self._register.stores(file_id):
            if number < len(self._stores):  # others only lent the text
                users.extend(self._users.stores.get(SourceId(self._stores[number]), ()))
        return list(dict.fromkeys(users))


def line_of(file: File, content: FetchedContent) -> LedgerLine:
    """The ledger's line about what came of a file; where a content lies, the writer adds."""
    return LedgerLine(
        id=file.id,
        filename=file.filename,
        fidelity=content.fidelity,
        path=None,
        expected=file.size,
        size=content.size,
        route=content.route,
        status=content.status,
        code=content.code,
        message=content.message,
        truncated=content.truncated,
        doubt=content.doubt or msgspec.UNSET,
    )
