"""Carry a plan out: files up, stores made and filled, then the assistant; one unit after the other.

The one door where ids change type: what the bundle calls by a SourceId is found here under its TargetId. A unit that
fails doesn't stop the next. An error that would meet every unit alike (key, quota, no server) stops the run, and the
units that are left are not attempted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.dialects import assistants as dialect
from holdall.dialects.loss import Loss, Why
from holdall.errors import RemoteError, RequestRefused
from holdall.importer.indexing import Indexing, Trouble
from holdall.importer.journal import Closed, Opened
from holdall.importer.report import Party, Report
from holdall.importer.run import RunFolder, timestamp
from holdall.importer.steps import (
    AttachFiles,
    Cannot,
    Catalogue,
    CreateAssistant,
    CreateStore,
    LeaveOut,
    Plan,
    Unit,
    UploadFile,
)
from holdall.importer.tally import Tally
from holdall.importer.uploads import Uploads
from holdall.importer.writes import Pace, Writes
from holdall.model import Kind, SourceId, TargetId
from holdall.progress import Progress
from holdall.remote.client import Account
from holdall.version import __version__

__all__ = ["apply"]


async def apply(
    plan: Plan,
    catalogue: Catalogue,
    reader: BundleReader,
    account: Account,
    folder: RunFolder,
    *,
    options: Mapping[str, Any],
    operation: Callable[[], str],
    now: Callable[[], float],
    pace: Pace,
    progress: Progress,
) -> Report:
    """Do what ``plan`` says and report what came of it; nothing that was there before is changed or deleted.

    ``operation`` gives a fresh name for each attempt to create, ``now`` is in Unix seconds. On return, also by an
    exception, mapping and report of what was done until then are in ``folder`` and in OUTPUT_DIR. Remote errors
    don't leave here: the report has them. Raises CannotWrite where the journal can't go on, and DamagedBundle.
    """
    work = _Work(plan, catalogue, reader, account, folder, operation=operation, pace=pace, progress=progress)
    started = timestamp(now())
    bundle = {"name": reader.path.name, **msgspec.to_builtins(reader.info.digests)}
    opened = Opened(
        run=folder.id,
        tool=f"holdall {__version__}",
        started=started,
        bundle=bundle,
        destination={
            "base_url": account.endpoint.base_url,
            "organization": account.organization,
            "project": account.project,
        },
        options=dict(options),
    )

    def report() -> Report:
        stopped = work.stopped
        otherwise = f"not attempted: {stopped.message}" if stopped else "not attempted: the run ended before it"
        return Report(
            run=folder.id,
            started=started,
            ended=timestamp(now()),
            source=Party(org_id=reader.info.source.organization, project_id=reader.info.source.project),
            destination=Party(org_id=account.organization, project_id=account.project),
            bundle=bundle,
            options=dict(options),
            assistants=work.tally.results(Kind.ASSISTANT, otherwise=otherwise),
            others=[
                *work.tally.results(Kind.STORE, otherwise=otherwise),
                *work.tally.results(Kind.FILE, otherwise=otherwise),
            ],
            stores=work.stores,
            files=work.uploads.targets,
            requests=dict(account.requests),
            stopped=stopped,
        )

    await folder.journal.write(opened)
    try:
        await work.run()
        await folder.journal.write(Closed(ended=timestamp(now())))
    finally:
        folder.publish(done := report())
    return done


class _Failed(Exception):
    """A unit's root isn't created; the message says why."""


class _Work:
    """One run: what it has placed so far."""

    def __init__(
        self,
        plan: Plan,
        catalogue: Catalogue,
        reader: BundleReader,
        account: Account,
        folder: RunFolder,
        *,
        operation: Callable[[], str],
        pace: Pace,
        progress: Progress,
    ) -> None:
        self._plan = plan
        self._catalogue = catalogue
        self._reader = reader
        self._folder = folder
        self._progress = progress
        self._writes = Writes(account, folder, operation=operation, pace=pace)
        self._indexing = Indexing(account, self._writes, pace=pace, progress=progress)
        self.uploads = Uploads(reader, self._writes, concurrency=account.limits.concurrency, progress=progress)
        self.tally = Tally(folder, plan.units, catalogue.members)
        self.stores: dict[SourceId, TargetId] = {}
        self.stopped: RemoteError | None = None
        self._failed_stores: dict[SourceId, str] = {}
        self._assistants = {record.id: record for record in catalogue.assistants}

    async def run(self) -> None:
        totals = self._plan.totals()
        self._progress.expect(files=totals.files, bytes=totals.bytes)
        self._progress.stage("importing")
        for unit in self._plan.units:
            if self.stopped:
                return
            await self._unit(unit)

    async def _unit(self, unit: Unit) -> None:
        for loss in unit.losses():
            self.tally.lose(loss)
        stores, files = _parts(unit)
        try:
            target = await self._steps(unit)
        except _Failed as failure:
            self.tally.fail(unit, str(failure), stores, files)
        except RemoteError as error:
            self.stopped = self.stopped or await self._writes.stopping(error)
            self.tally.fail(unit, _explained(error), stores, files)
        else:
            self.tally.finish(unit, target, stores, files)

    async def _steps(self, unit: Unit) -> TargetId | None:
        """Do a unit's steps; the id of its root in the copy. The plan has the uploads of a unit first."""
        target: TargetId | None = None
        for loss in await self.uploads.run([step for step in unit.steps if isinstance(step, UploadFile)]):
            self.tally.lose(loss)
        for step in unit.steps:
            match step:
                case CreateStore():
                    target = await self._create_store(step)
                case AttachFiles():
                    await self._attach(step)
                case CreateAssistant():
                    target = await self._create_assistant(step)
                case Cannot(reason=reason):
                    raise _Failed(f"not created: {reason}")
                case UploadFile() | LeaveOut():
                    pass
        return target

    async def _create_store(self, step: CreateStore) -> TargetId:
        record = self._catalogue.stores[step.id]
        request = dialect.store(record, operation="")
        try:
            target = await self._writes.create(
                Kind.STORE, step.id, step.name, lambda op: dialect.store(record, operation=op).body, []
            )
            self.stores[step.id] = target
            if request.update is not None:
                await self._writes.update(Kind.STORE, step.id, target, request.update)
            return target
        except RemoteError as error:
            self._failed_stores[step.id] = f"vector store {step.name or step.id}: {_explained(error)}"
            raise

    async def _attach(self, step: AttachFiles) -> None:
        memberships = self._reader.memberships(step.store)
        try:
            done = await self._indexing.attach(
                step.store, self.stores[step.store], memberships, self.uploads.targets, self.uploads.names
            )
        except RemoteError as error:
            self._failed_stores[step.store] = f"vector store {step.store}: {_explained(error)}"
            raise
        self._folder.audit(
            "index",
            "done" if not done.troubles else "incomplete",
            kind=Kind.STORE,
            source=step.store,
            target=self.stores[step.store],
            detail=f"{step.count - len(done.troubles)} of {step.count} files are searchable",
        )
        for trouble in done.troubles:
            self.tally.lose(self._loss(step.store, trouble))
        if done.recut:
            text = f"the source doesn't say how it cut {done.recut} of its files; they are cut as the destination does"
            self.tally.lose(Loss(why=Why.CHUNKING_UNKNOWN, kind=Kind.STORE, id=step.store, text=text))

    def _loss(self, store: SourceId, trouble: Trouble) -> Loss:
        if trouble.refused:
            why, text = Why.REFUSED, f"not attached: {trouble.reason}"
        else:
            why = Why.FAILED_AS_BEFORE if trouble.failed_before else Why.NOT_INDEXED
            text = f"attached but not searchable: {trouble.reason}"
        name = self._catalogue.files[trouble.file].filename
        return Loss(why=why, kind=Kind.FILE, id=trouble.file, name=name, inside=store, text=text)

    @staticmethod
    def _of(step: CreateAssistant, why: Why, field: str, text: str) -> Loss:
        return Loss(why=why, kind=Kind.ASSISTANT, id=step.id, name=step.name, field=field, text=text)

    async def _create_assistant(self, step: CreateAssistant) -> TargetId:
        for store in step.stores:
            if store in self._failed_stores:
                raise _Failed(f"not created without the knowledge it needs: {self._failed_stores[store]}")
        stores = {store: self.stores[store] for store in step.stores}
        # Files that were refused are losses already, and of this assistant.
        files = {file: self.uploads.targets[file] for file in step.files if file in self.uploads.targets}

        left_out: set[str] = set()

        def request(op: str) -> dialect.Request:
            record = self._assistants[step.id]
            return dialect.assistant(record, prefix=self._plan.prefix, operation=op, stores=stores, files=files)

        def body(op: str) -> dict[str, Any]:
            return {field: value for field, value in request(op).body.items() if field not in left_out}

        fresh = [*stores.values(), *files.values()]
        while True:
            try:
                target = await self._writes.create(Kind.ASSISTANT, step.id, step.name, body, fresh)
                break
            except RequestRefused as error:
                if not dialect.dispensable(body(""), error.param):
                    raise
                left_out.add(str(error.param))
                text = f"left out: {step.model} refuses it, and it was at its default"
                self.tally.lose(self._of(step, Why.DEFAULT_LEFT_OUT, str(error.param), text))
        update = request("").update
        if update is not None:
            try:
                await self._writes.update(Kind.ASSISTANT, step.id, target, update)
            except RemoteError as error:
                self.stopped = await self._writes.stopping(error)
                text = f"created, but not set to its true metadata: {_explained(error)}"
                self.tally.lose(self._of(step, Why.REFUSED, "metadata", text))
        return target


def _parts(unit: Unit) -> tuple[list[SourceId], list[SourceId]]:
    """The stores and files whose losses are losses of this unit too."""
    match unit.kind:
        case Kind.STORE:
            return [unit.id], []
        case Kind.FILE:
            return [], [step.content.id for step in unit.steps if isinstance(step, UploadFile)]
    create = next((step for step in unit.steps if isinstance(step, CreateAssistant)), None)
    return (create.stores, create.files) if create else ([], [])


def _explained(error: RemoteError) -> str:
    """The reason for people who know what was being created: without the request's method and path."""
    reason = error.message.partition(": ")[2] if error.message.startswith("can't POST ") else error.message
    if error.ambiguous:
        return f"{reason}; it may have been carried out all the same, so look before you run this again"
    return reason
