"""The steps of a plan, done one unit after the other: files up, stores made and filled, then the assistant.

The one door where ids change type: what the bundle calls by a SourceId is found here under its TargetId. A unit that
fails doesn't stop the next. An error that would meet every unit alike (key, quota, no server) stops the run, and the
units that are left are not attempted.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Mapping
from functools import partial
from typing import Any

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.dialects import assistants as dialect
from holdall.dialects.loss import Loss, Why
from holdall.dialects.registry import definition, dispensable
from holdall.dialects.tables import Targets
from holdall.errors import HoldallError, Interrupted, RemoteError, RequestRefused
from holdall.importer.apply.changes import Changes, refused_fields
from holdall.importer.apply.context import Context
from holdall.importer.apply.indexing import Indexing
from holdall.importer.apply.knowledge import Knowledge, explained
from holdall.importer.apply.leftovers import leftovers
from holdall.importer.apply.readback import ReadBack
from holdall.importer.apply.reconcile import Reconciler
from holdall.importer.apply.serverkeys import ServerKeys
from holdall.importer.apply.uploads import Uploads
from holdall.importer.apply.writes import Writes
from holdall.importer.plan.bundle_summary import BundleSummary
from holdall.importer.plan.choices import table_of
from holdall.importer.plan.difference import final
from holdall.importer.plan.steps import (
    Adopt,
    AttachFiles,
    Cannot,
    CreateDefinition,
    CreateStore,
    DetachFile,
    Differs,
    LeaveOut,
    Plan,
    Skip,
    Unit,
    UpdateDefinition,
    UpdateMembership,
    UpdateStore,
    UploadFile,
    WriteRequest,
    references_of,
)
from holdall.importer.runs.runreport import Orphan
from holdall.importer.runs.tally import RunTally, parts
from holdall.importer.written.requestfolder import PlannedRequests
from holdall.kinds import read
from holdall.model import Kind, Record, SourceId, TargetId

__all__ = ["Work"]


class _Failed(Exception):
    """A unit's root isn't created; the message says why."""


class Work:
    """One run: what it has placed so far."""

    def __init__(
        self,
        context: Context,
        plan: Plan,
        catalogue: BundleSummary,
        reader: BundleReader,
        destination: Mapping[str, str | None],
    ) -> None:
        self._plan = plan
        self._catalogue = catalogue
        self._context, self._progress, folder = context, context.progress, context.folder
        self._state = folder.state
        self._reconciler = Reconciler(context)
        self._writes = Writes(context, self._reconciler)
        self._table = table_of(plan.form, context.account.endpoint.base_url, reader.info)
        indexing = Indexing(context, self._writes, batch_files=self._table.batch_files)
        self._uploads = Uploads(context, reader, self._writes)
        self._changes = Changes(context, self._writes)
        self._read_back = ReadBack(context)
        self._server_keys = ServerKeys(context, plan, self._changes)
        self._requests = PlannedRequests(plan, catalogue, folder.output, destination)
        self.tally = RunTally(folder, plan.units, catalogue.members)
        self.orphans: list[Orphan] = []
        self.stopped: HoldallError | None = None
        self._records = catalogue.by_id()
        self._knowledge = Knowledge(
            catalogue,
            reader,
            folder,
            self._writes,
            self._uploads,
            indexing,
            self._changes,
            self._read_back,
            self.tally,
            {file for step in plan.steps() for file in references_of(step)[1]},
            self._server_keys,
        )

    @property
    def stores(self) -> dict[SourceId, TargetId]:
        return self._state.targets[Kind.STORE]

    @property
    def files(self) -> dict[SourceId, TargetId]:
        return self._state.files

    async def run(self) -> None:
        totals = self._plan.totals()
        self._progress.expect(files=totals.files, bytes=totals.bytes)
        try:
            if lost := self._state.creations():
                self._progress.stage("looking for what was under way when the run was cut off")
                await self._reconciler.reconcile(lost)
            self._progress.stage("importing")
            for unit in self._plan.units:
                if self.stopped:
                    break
                await self._unit(unit)
        except RemoteError as error:
            self.stopped = error
        except Interrupted as error:
            self.stopped = error
        if self._state.missed:
            self.orphans = await self._reconciler.orphans()
        self.orphans += self._knowledge.spare
        if self.stopped is None:
            self.orphans += await leftovers(self._context)

    async def _unit(self, unit: Unit) -> None:
        for loss in unit.losses():
            self.tally.lose(loss)
        stores, files = parts(unit)
        try:
            target = await self._steps(unit)
        except _Failed as failure:
            self.tally.fail(unit, str(failure), stores, files)
        except RemoteError as error:
            self.stopped = self.stopped or await self._writes.stopping(error)
            self.tally.fail(unit, explained(error), stores, files)
        else:
            self.tally.finish(unit, target, stores, files)

    async def _steps(self, unit: Unit) -> TargetId | None:
        """Do a unit's steps; the id of its root in the copy. The plan has the uploads of a unit first."""
        target: TargetId | None = None
        for loss in await self._uploads.run([step for step in unit.steps if isinstance(step, UploadFile)]):
            self.tally.lose(loss)
        for step in unit.steps:
            match step:
                case CreateStore():
                    target = await self._knowledge.create(step)
                case AttachFiles():
                    await self._knowledge.attach(step)
                case CreateDefinition():
                    target = await self._create(step)
                case WriteRequest():
                    target = await self._write_request(unit, step)
                case Adopt() | Skip():
                    self._state.adopt(step.kind, step.id, step.target, step.name)
                    target = step.target if step.kind is unit.kind else target
                case UpdateStore():
                    target = await self._knowledge.update(step)
                case UpdateDefinition():
                    target = await self._update(step)
                case UpdateMembership():
                    await self._knowledge.relabel(step)
                case DetachFile():
                    await self._changes.detach(step, self.stores[step.store])
                case Cannot(reason=reason):
                    raise _Failed(f"not created: {reason}")
                case Differs():
                    raise AssertionError("a plan with conflicts is never carried out")
                case UploadFile() | LeaveOut():
                    pass
        return target

    def _request(self, step: CreateDefinition | UpdateDefinition, op: str = "") -> dialect.Request:
        """What it is with the ids of this destination. Raises _Failed where a store that it needs isn't whole."""
        is_new = isinstance(step, CreateDefinition)
        stores, files = self._refers(step, "created" if is_new else "updated")
        record = self._records[step.kind][step.id]
        return definition(
            self._server_keys.sent(record) if is_new else record,
            prefix=self._plan.prefix,
            operation=op,
            targets=Targets(stores=stores, files=files, assistants=self._calls(record)),
            model=step.model,
            table=self._table,
        )

    def _calls(self, record: Record) -> dict[SourceId, TargetId | None]:
        """Those of its kind in the bundle that it calls, by their ids here; None for one that isn't here."""
        here = self._state.targets[record.kind]
        return {id: here.get(id) for id in read(record).assistant_ids if id in self._records[record.kind]}

    def _refers(
        self, step: CreateDefinition | UpdateDefinition | WriteRequest, made: str
    ) -> tuple[dict[SourceId, TargetId], dict[SourceId, TargetId]]:
        """The stores and files of a copy, by the ids here. Raises _Failed where a store that it needs isn't whole."""
        stores, wanted = references_of(step)
        for store in stores:
            if store in self._knowledge.failed:
                raise _Failed(f"not {made} without the knowledge it needs: {self._knowledge.failed[store]}")
        # Files that were refused are losses already, and of this assistant.
        files = {file: self.files[file] for file in wanted if file in self.files}
        return {store: self.stores[store] for store in stores}, files

    async def _write_request(self, unit: Unit, step: WriteRequest) -> TargetId:
        stores, files = self._refers(step, "written")
        targets, context = Targets(stores=stores, files=files), self._context
        target, said = await self._requests.write(context.folder, unit, step, targets, context.operation)
        for loss in said:
            self.tally.lose(loss)
        return target

    async def _update(self, step: UpdateDefinition) -> TargetId:
        wanted = final(self._request(step))
        left_out = await self._changes.definition(step, wanted)
        self._say_left_out(step, wanted, left_out, "left as it is")
        await self._look(step, step.target, wanted, left_out)
        return step.target

    async def _create(self, step: CreateDefinition) -> TargetId:
        request = partial(self._request, step)
        request()  # fails here where a store that it needs does
        left_out = set(self._state.without.get(step.id, ()))

        def body(op: str) -> dict[str, Any]:
            return {field: value for field, value in request(op).create.items() if field not in left_out}

        stores, files = references_of(step)
        fresh = [*(self.stores[s] for s in stores), *(self.files[f] for f in files if f in self.files)]
        while True:
            try:
                target = await self._writes.create(step.kind, step.id, body, fresh, without=sorted(left_out))
                break
            except RequestRefused as error:
                spare = refused_fields(error, dispensable(step.kind, body("")))
                if not spare:
                    raise
                left_out.update(spare)
        # What an earlier attempt left out whose answer was lost counts too.
        left_out = set(self._state.without.get(step.id, ()))
        self._say_left_out(step, request().body, left_out, "left out")
        await self._settle_metadata(step, target, final(request()))
        await self._set_metadata(step, target, request().update)
        await self._look(step, target, final(request()), left_out)
        return target

    def _say_left_out(
        self,
        step: CreateDefinition | UpdateDefinition,
        wanted: Mapping[str, Any],
        fields: Collection[str],
        what: str,
    ) -> None:
        """Of the ``fields`` that the destination refuses, those that say something are told."""
        at_default = dispensable(step.kind, wanted)
        for field in sorted(field for field in fields if wanted[field] is not None):
            value = msgspec.json.encode(wanted[field]).decode()
            if at_default[field]:
                why, text = Why.DEFAULT_LEFT_OUT, f"{what}: {step.model} refuses it, and {value} is its default"
            else:
                why, text = Why.REFUSED, f"{what}: {step.model} refuses it; in the bundle it is {value}"
            self._lose(step, why, text, field)

    def _lose(self, step: CreateDefinition | UpdateDefinition, why: Why, text: str, field: str | None = None) -> None:
        self.tally.lose(Loss(why=why, kind=step.kind, id=step.id, name=step.name, field=field, text=text))

    async def _look(
        self,
        step: CreateDefinition | UpdateDefinition,
        target: TargetId,
        sent: Mapping[str, Any],
        without: Container[str] = (),
    ) -> None:
        """Read back what was written, ``without`` the fields of which it is known that they weren't.

        That it stands is known, so an error here stops what comes next, not this.
        """
        try:
            for loss in await self._read_back.losses(step.kind, step.id, target, step.name, sent):
                if loss.field not in without:
                    self.tally.lose(loss)
        except RemoteError as error:
            self.stopped = await self._writes.stopping(error)
            text = f"it stands, but what the destination made of it could not be read: {explained(error)}"
            self._lose(step, Why.NOT_KEPT, text)

    async def _settle_metadata(self, step: CreateDefinition, target: TargetId, sent: Mapping[str, Any]) -> None:
        """With the first of a kind, find out which metadata keys are the server's, and set those that aren't."""
        record = self._records[step.kind][step.id]
        if not self._server_keys.is_open(record):
            return
        try:
            if self._server_keys.is_untouched(record):
                await self._read_back.losses(record.kind, step.id, target, step.name, sent)
            refused = await self._server_keys.settle(record, target)
        except RemoteError as error:
            self.stopped = await self._writes.stopping(error)
            refused = f"created, but not set to its true metadata: {explained(error)}"
        if refused:
            self._lose(step, Why.REFUSED, refused, "metadata")

    async def _set_metadata(self, step: CreateDefinition, target: TargetId, body: dict[str, Any] | None) -> None:
        """Set the metadata that had no room beside our marks, unless that is done; a copy that lacks it is a copy all
        the same."""
        if body is None or (step.kind, None, step.id) in self._state.updated:
            return
        try:
            await self._writes.update(step.kind, step.id, target, body)
        except RemoteError as error:
            self.stopped = await self._writes.stopping(error)
            self._lose(step, Why.REFUSED, f"created, but not set to its true metadata: {explained(error)}", "metadata")
