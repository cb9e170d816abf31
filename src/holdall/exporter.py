"""Export: one account's assistants, what they know and their files, into one bundle.

The order on disk is the order of trust: definitions first, contents as they arrive, then the records about them.
Memory stays flat: memberships and file objects go to disk line by line; held are ids alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from holdall import __version__
from holdall.bundle.digest import record_hash
from holdall.bundle.layout import Capture, Digests, IndexEntry, LedgerLine, Source
from holdall.bundle.sinks import LineSink, Sink
from holdall.bundle.writer import BundleWriter
from holdall.errors import HoldallError, UsageFault
from holdall.model import FileView, Kind, Record, Rung, SourceId, StoreView, epoch_seconds
from holdall.progress import Progress, Silent
from holdall.remote.client import Account
from holdall.remote.contents import Content, Ladder
from holdall.remote.survey import Definitions, Missing, Surveyor

__all__ = ["Absent", "Changed", "ExportOptions", "ExportReport", "Finding", "Loss", "Miscount", "export"]


class ExportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to export. No ids and no names: everything. ``names`` are globs."""

    ids: list[str] = []
    names: list[str] = []
    file_search: bool = True
    code_interpreter: bool = True
    label: str | None = None


class Loss(msgspec.Struct, frozen=True, kw_only=True, tag_field="loss", tag="content"):
    """A file whose content is not in the bundle byte for byte, and why."""

    id: str
    filename: str | None
    rung: Rung
    expected: int | None
    used_by: list[str]
    status: int | None = None
    code: str | None = None
    message: str | None = None
    truncated: bool = False


class Absent(msgspec.Struct, frozen=True, kw_only=True, tag_field="loss", tag="absent"):
    """A store or file object that a record refers to and the server doesn't have."""

    kind: Kind
    id: str
    used_by: list[str]
    message: str


class Miscount(msgspec.Struct, frozen=True, kw_only=True, tag_field="loss", tag="miscount"):
    """A store of which the server lists another number of files than it counts, or a file of another size."""

    id: str
    what: str
    counted: int
    found: int


class Changed(msgspec.Struct, frozen=True, kw_only=True, tag_field="loss", tag="changed"):
    """A definition that is not what it was when the export began. ``how``: added, removed or changed."""

    kind: Kind
    id: str
    how: str


Finding = Loss | Absent | Miscount | Changed


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an export ended in. ``losses`` empty: everything is in the bundle byte for byte.

    ``acceptable`` is the policy: every file at least as whole text, nothing missing, no count that contradicts, no
    change while the export ran.
    """

    bundle: Path
    size: int
    sha256: str
    digests: Digests
    counts: dict[str, int]
    rungs: dict[str, int]
    losses: list[Finding]
    requests: dict[str, int]

    @property
    def acceptable(self) -> bool:
        return all(
            isinstance(loss, Loss) and loss.rung is not Rung.UNAVAILABLE and not loss.truncated for loss in self.losses
        )


async def export(
    account: Account,
    target: Callable[[Capture], Path],
    options: ExportOptions,
    *,
    clock: Callable[[], float],
    force: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Pack the chosen assistants of ``account`` into one bundle, complete or absent.

    ``target`` chooses the file once it is known what is captured (the project's id comes with the first answer). An
    unfinished bundle of the same capture at that place is continued: contents that are whole in it are not fetched
    again. ``clock`` gives Unix seconds. On return the bundle stands durably under its name. Raises NoAssistantsApi,
    RemoteError and BundleError; UsageFault where the selection fits nothing, and then no file is made.
    """
    progress = progress or Silent()
    started = int(clock())
    progress.stage("reading definitions")
    await account.require_assistants()
    surveyor = Surveyor(account, file_search=options.file_search, code_interpreter=options.code_interpreter)
    definitions = await surveyor.definitions(ids=options.ids, names=options.names)
    _refuse_nothing(definitions, options)
    capture = _capture(account, options)
    writer = await asyncio.to_thread(BundleWriter, target(capture), capture, started=started, force=force)
    with writer:
        run = _Export(account, surveyor, definitions, writer, progress)
        await run.contents()
        progress.stage("looking for changes")
        changed = await _changes(surveyor, definitions, options)
        progress.stage("sealing the bundle")
        finished = await asyncio.to_thread(writer.finish, ended=int(clock()))
    return ExportReport(
        bundle=finished.path,
        size=finished.size,
        sha256=finished.sha256,
        digests=finished.digests,
        counts=dict(finished.counts),
        rungs={rung.value: run.rungs.get(rung, 0) for rung in Rung},
        losses=[*run.losses, *changed],
        requests=dict(sorted(account.requests.items())),
    )


def _refuse_nothing(definitions: Definitions, options: ExportOptions) -> None:
    found = {view.id for view in definitions.views}
    unknown = [ident for ident in options.ids if ident not in found]
    if unknown:
        raise UsageFault(
            f"nothing exported: the project has no assistant {', '.join(unknown)}",
            hint="holdall export --all exports everything",
        )
    if not definitions.assistants:
        wanted = ", ".join(map(repr, options.names))
        raise UsageFault(
            f"nothing exported: none of the project's {definitions.listed} assistants has a name like {wanted}"
            if wanted
            else "nothing exported: the project has no assistants",
            hint="is it the right key? names are matched whole, with * and ?" if wanted else "is it the right key?",
        )


def _capture(account: Account, options: ExportOptions) -> Capture:
    return Capture(
        tool=f"holdall/{__version__}",
        source=Source(
            base_url=account.endpoint.base_url,
            organization=account.organization,
            project=account.project,
            label=options.label,
        ),
        selection={"ids": options.ids, "names": options.names},
        options={"file_search": options.file_search, "code_interpreter": options.code_interpreter},
    )


class _Sinks:
    """The rungs' sinks of one file in the bundle."""

    def __init__(self, writer: BundleWriter, file_id: SourceId, file: FileView | None) -> None:
        self._writer, self._file_id = writer, file_id
        self._filename = file.filename if file else None
        self._created_at = epoch_seconds(file.created_at) if file else 0
        self._size = int(file.bytes) if file and file.bytes and file.bytes > 0 else None

    def original(self) -> Sink:
        return self._writer.open_content(
            self._file_id,
            self._filename,
            rung=Rung.ORIGINAL,
            created_at=self._created_at,
            size_hint=self._size,
        )

    def text(self, store_id: SourceId) -> Sink:
        return self._writer.open_text(store_id, self._file_id, self._filename, created_at=self._created_at)


class _Export:
    """One run: a lister that finds files, and workers that fetch them, joined by a bounded queue."""

    def __init__(
        self, account: Account, surveyor: Surveyor, definitions: Definitions, writer: BundleWriter, progress: Progress
    ) -> None:
        self._surveyor, self._definitions, self._writer, self._progress = surveyor, definitions, writer, progress
        self._workers = account.limits.concurrency
        self._ladder = Ladder(account, progress=progress)
        self._queue: asyncio.Queue[SourceId | None] = asyncio.Queue(maxsize=64 * self._workers)
        self._stores_of: dict[SourceId, list[SourceId]] = {}
        self._tool_users: dict[str, list[str]] = {}
        self._store_users: dict[str, list[str]] = {}
        for view in definitions.views:
            for store_id in view.store_ids:
                self._store_users.setdefault(store_id, []).append(view.id)
            for file_id in view.file_ids:
                self._tool_users.setdefault(file_id, []).append(view.id)
        self.rungs: dict[Rung, int] = {}
        self.losses: list[Finding] = [_absent(missing) for missing in definitions.missing]

    async def contents(self) -> None:
        """Definitions, then all contents, then the records about them, into the writer."""
        for record in (*self._definitions.assistants, *self._definitions.stores):
            self._writer.add_record(record)
        files = self._writer.open_files()
        self._progress.stage("files")
        async with _one_error(), asyncio.TaskGroup() as group:
            group.create_task(self._list())
            for _ in range(self._workers):
                group.create_task(self._work(files))
        await asyncio.to_thread(files.commit)

    async def _list(self) -> None:
        for file_id in self._surveyor.tool_files(self._definitions.views):
            await self._found(file_id)
        for store in self._definitions.store_views:
            await self._list_store(store)
        for _ in range(self._workers):
            await self._queue.put(None)

    async def _list_store(self, store: StoreView) -> None:
        store_id = SourceId(store.id)
        lines = self._writer.open_memberships(store_id)
        count = 0
        async for membership, line in self._surveyor.memberships(store_id):
            lines.write(line + b"\n")
            count += 1
            await self._found(SourceId(membership.id), store_id)
        await asyncio.to_thread(lines.commit)
        said = store.file_counts.total if store.file_counts else None
        if said is not None and int(said) != count:
            self.losses.append(Miscount(id=store.id, what="files of a vector store", counted=int(said), found=count))

    async def _found(self, file_id: SourceId, store_id: SourceId | None = None) -> None:
        """A file was seen: remember the store that holds it; fetch it the first time."""
        known = file_id in self._stores_of
        stores = self._stores_of.setdefault(file_id, [])
        if store_id is not None:
            stores.append(store_id)
        if not known:
            self._progress.expect(files=1)
            await self._queue.put(file_id)

    async def _work(self, files: LineSink) -> None:
        while (file_id := await self._queue.get()) is not None:
            record = await self._surveyor.file(file_id)
            view = None
            if isinstance(record, Record):
                files.write(record.raw + b"\n")
                view = msgspec.json.decode(record.raw, type=FileView)
                self._progress.expect(bytes=int(view.bytes or 0))
            if kept := self._writer.content(file_id):
                self._rebook(file_id, view, record, kept)
                continue
            content = await self._ladder.fetch(
                file_id,
                view,
                lambda: self._stores_of[file_id],
                _Sinks(self._writer, file_id, view),
            )
            self._book(file_id, view, record, content)

    def _book(self, file_id: SourceId, view: FileView | None, record: Record | Missing, content: Content) -> None:
        """Enter one file into the ledger, and among the losses where it isn't there byte for byte."""
        entry = self._writer.content(file_id) if content.rung is not Rung.UNAVAILABLE else None
        self._writer.add_ledger(
            LedgerLine(
                id=file_id,
                filename=view.filename if view else None,
                rung=content.rung,
                path=entry.path if entry else None,
                expected=_size(view),
                size=content.size,
                route=content.route,
                status=content.status,
                code=content.code,
                message=content.message,
                truncated=content.truncated,
            )
        )
        self._tally(file_id, view, record, content)

    def _rebook(self, file_id: SourceId, view: FileView | None, record: Record | Missing, kept: IndexEntry) -> None:
        """A content that an interrupted run has stored; its line in the ledger is kept too."""
        size = kept.size
        self._progress.advance(bytes=size)
        self._tally(file_id, view, record, Content(rung=kept.rung or Rung.ORIGINAL, size=size))

    def _tally(self, file_id: SourceId, view: FileView | None, record: Record | Missing, content: Content) -> None:
        self._progress.advance(files=1)
        self.rungs[content.rung] = self.rungs.get(content.rung, 0) + 1
        expected = _size(view)
        if isinstance(record, Missing):
            self.losses.append(_absent(record, self._used_by(file_id)))
        if content.rung is not Rung.ORIGINAL:
            self.losses.append(
                Loss(
                    id=file_id,
                    filename=view.filename if view else None,
                    rung=content.rung,
                    expected=expected,
                    used_by=self._used_by(file_id),
                    status=content.status,
                    code=content.code,
                    message=content.message,
                    truncated=content.truncated,
                )
            )
        elif expected is not None and content.size is not None and expected != content.size:
            self.losses.append(Miscount(id=file_id, what="bytes of a file", counted=expected, found=content.size))

    def _used_by(self, file_id: SourceId) -> list[str]:
        users = list(self._tool_users.get(file_id, ()))
        for store_id in self._stores_of.get(file_id, ()):
            users.extend(self._store_users.get(store_id, ()))
        return list(dict.fromkeys(users))


def _size(view: FileView | None) -> int | None:
    return int(view.bytes) if view and view.bytes is not None else None


def _absent(missing: Missing, used_by: Sequence[str] = ()) -> Absent:
    return Absent(kind=missing.kind, id=missing.id, used_by=list(used_by) or missing.used_by, message=missing.message)


async def _changes(surveyor: Surveyor, before: Definitions, options: ExportOptions) -> list[Changed]:
    """The definitions once more: what was added, removed or changed while the contents came."""
    after = await surveyor.definitions(ids=options.ids, names=options.names)
    return [
        *_compare(Kind.ASSISTANT, before.assistants, after.assistants),
        *_compare(Kind.STORE, before.stores, after.stores),
    ]


def _compare(kind: Kind, before: Iterable[Record], after: Iterable[Record]) -> list[Changed]:
    old = {record.id: record_hash(record.kind, record.raw) for record in before}
    new = {record.id: record_hash(record.kind, record.raw) for record in after}
    how = {
        **dict.fromkeys(old.keys() - new.keys(), "removed"),
        **dict.fromkeys(new.keys() - old.keys(), "added"),
        **{ident: "changed" for ident in old.keys() & new.keys() if old[ident] != new[ident]},
    }
    return [Changed(kind=kind, id=ident, how=how[ident]) for ident in sorted(how)]


@asynccontextmanager
async def _one_error() -> AsyncIterator[None]:
    """Out of a task group's ExceptionGroup the one error that a caller can act upon."""
    try:
        yield
    except BaseExceptionGroup as group:
        leaves: list[Any] = []
        stack: list[BaseException] = [group]
        while stack:
            error = stack.pop()
            if isinstance(error, BaseExceptionGroup):
                stack.extend(error.exceptions)
            else:
                leaves.append(error)
        raise next((leaf for leaf in leaves if isinstance(leaf, HoldallError)), leaves[0]) from None
