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
from holdall.dialects import agents
from holdall.dialects import assistants as dialect
from holdall.dialects.loss import Loss, Why
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
from holdall.importer.plan.choices import table_of
from holdall.importer.plan.difference import final
from holdall.importer.plan.steps import (
    Adopt,
    AttachFiles,
    Cannot,
    Catalogue,
    CreateAgent,
    CreateAssistant,
    CreateStore,
    DetachFile,
    Differs,
    LeaveOut,
    Plan,
    Skip,
    Unit,
    UpdateAgent,
    UpdateAssistant,
    UpdateMembership,
    UpdateStore,
    UploadFile,
    WriteRequest,
)
from holdall.importer.runs.runreport import Orphan
from holdall.importer.runs.tally import Tally, parts
from holdall.importer.written.writing import Writing
from holdall.model import AssistantView, Kind, Record, SourceId, TargetId

__all__ = ["Work"]


class _Failed(Exception):
    """A unit's root isn't created; the message says why."""


class Work:
    """One run: what it has placed so far."""

    def __init__(
        self,
        context: Context,
        plan: Plan,
        catalogue: Catalogue,
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
        self._writing = Writing(plan, catalogue, folder, destination, context.operation)
        self.tally = Tally(folder, plan.units, catalogue.members)
        self.orphans: list[Orphan] = []
        self.stopped: HoldallError | None = None
        self._assistants = {record.id: record for record in catalogue.assistants}
        self._agents = {record.id: record for record in catalogue.agents}
        users = CreateAssistant | WriteRequest | UpdateAssistant | Adopt
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
            {file for step in plan.steps() if isinstance(step, users) for file in step.files},
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
                case CreateAssistant():
                    target = await self._create_assistant(step)
                case CreateAgent():
                    target = await self._create_agent(step)
                case WriteRequest():
                    target = await self._write_request(unit, step)
                case Adopt() | Skip():
                    self._state.adopt(step.kind, step.id, step.target, step.name)
                    target = step.target if step.kind is unit.kind else target
                case UpdateStore():
                    target = await self._knowledge.update(step)
                case UpdateAssistant():
                    target = await self._update_assistant(step)
                case UpdateAgent():
                    target = await self._update_agent(step)
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

    async def _finish(self, kind: Kind, source: SourceId, target: TargetId, body: dict[str, Any] | None) -> None:
        """Set what could not be set at creation, unless that is done."""
        if body is not None and (kind, None, source) not in self._state.updated:
            await self._writes.update(kind, source, target, body)

    @staticmethod
    def _of(step: CreateAssistant | UpdateAssistant, why: Why, field: str, text: str) -> Loss:
        return Loss(why=why, kind=Kind.ASSISTANT, id=step.id, name=step.name, field=field, text=text)

    def _request(self, step: CreateAssistant | UpdateAssistant, op: str) -> dialect.Request:
        """The assistant with the ids of this destination. Raises _Failed where a store that it needs isn't whole."""
        stores, files = self._refers(step, "created" if isinstance(step, CreateAssistant) else "updated")
        record = self._assistants[step.id]
        return dialect.assistant(
            self._server_keys.sent(record) if isinstance(step, CreateAssistant) else record,
            prefix=self._plan.prefix,
            operation=op,
            stores=stores,
            files=files,
            assistants=self._calls(step),
            model=step.model,
            table=self._table,
        )

    def _calls(self, step: CreateAssistant | UpdateAssistant) -> dict[SourceId, TargetId | None]:
        """The assistants of the bundle that this one calls, by their ids here; None for one that isn't here."""
        called = AssistantView.of(self._assistants[step.id]).assistant_ids
        here = self._state.targets[Kind.ASSISTANT]
        return {id: here.get(id) for id in called if id in self._assistants}

    def _refers(
        self, step: CreateAssistant | UpdateAssistant | WriteRequest, made: str
    ) -> tuple[dict[SourceId, TargetId], dict[SourceId, TargetId]]:
        """What an assistant refers to, by the ids here. Raises _Failed where a store that it needs isn't whole."""
        for store in step.stores:
            if store in self._knowledge.failed:
                raise _Failed(f"not {made} without the knowledge it needs: {self._knowledge.failed[store]}")
        # Files that were refused are losses already, and of this assistant.
        files = {file: self.files[file] for file in step.files if file in self.files}
        return {store: self.stores[store] for store in step.stores}, files

    async def _write_request(self, unit: Unit, step: WriteRequest) -> TargetId:
        target, said = await self._writing.write(unit, step, *self._refers(step, "written"))
        for loss in said:
            self.tally.lose(loss)
        return target

    async def _update_assistant(self, step: UpdateAssistant) -> TargetId:
        wanted = final(self._request(step, ""))
        left_out = await self._changes.assistant(step, wanted)
        self._say_left_out(step, wanted, left_out, "left as it is")
        await self._look(Kind.ASSISTANT, step, step.target, wanted, left_out)
        return step.target

    async def _create_assistant(self, step: CreateAssistant) -> TargetId:
        request = partial(self._request, step)
        request("")  # fails here where a store that it needs does
        left_out = set(self._state.without.get(step.id, ()))

        def body(op: str) -> dict[str, Any]:
            return {field: value for field, value in request(op).create.items() if field not in left_out}

        fresh = [*(self.stores[s] for s in step.stores), *(self.files[f] for f in step.files if f in self.files)]
        while True:
            try:
                target = await self._writes.create(Kind.ASSISTANT, step.id, body, fresh, without=sorted(left_out))
                break
            except RequestRefused as error:
                spare = refused_fields(error, dialect.dispensable(body("")))
                if not spare:
                    raise
                left_out.update(spare)
        # What an earlier attempt left out whose answer was lost counts too.
        left_out = set(self._state.without.get(step.id, ()))
        self._say_left_out(step, request("").body, left_out, "left out")
        await self._settle_metadata(step, self._assistants[step.id], target, final(request("")))
        await self._set_metadata(Kind.ASSISTANT, step, target, request("").update)
        await self._look(Kind.ASSISTANT, step, target, final(request("")), left_out)
        return target

    def _say_left_out(
        self, step: CreateAssistant | UpdateAssistant, wanted: Mapping[str, Any], fields: Collection[str], what: str
    ) -> None:
        """Of the ``fields`` that the destination refuses, those that say something are told."""
        at_default = dialect.dispensable(wanted)
        for field in sorted(field for field in fields if wanted[field] is not None):
            value = msgspec.json.encode(wanted[field]).decode()
            if at_default[field]:
                text = f"{what}: {step.model} refuses it, and {value} is its default"
                self.tally.lose(self._of(step, Why.DEFAULT_LEFT_OUT, field, text))
            else:
                text = f"{what}: {step.model} refuses it; in the bundle it is {value}"
                self.tally.lose(self._of(step, Why.REFUSED, field, text))

    async def _create_agent(self, step: CreateAgent) -> TargetId:
        record = self._agents[step.id]

        def request(*, operation: str) -> dialect.Request:
            sent = self._server_keys.sent(record)
            return agents.agent(sent, prefix=self._plan.prefix, operation=operation, model=step.model)

        target = await self._writes.create(Kind.AGENT, step.id, lambda op: request(operation=op).create, [])
        await self._settle_metadata(step, record, target, final(request(operation="")))
        await self._set_metadata(Kind.AGENT, step, target, request(operation="").update)
        await self._look(Kind.AGENT, step, target, final(request(operation="")))
        return target

    async def _update_agent(self, step: UpdateAgent) -> TargetId:
        record = self._agents[step.id]
        request = agents.agent(record, prefix=self._plan.prefix, operation="", model=step.model)
        await self._changes.agent(step, request)
        await self._look(Kind.AGENT, step, step.target, final(request))
        return step.target

    async def _look(
        self,
        kind: Kind,
        step: CreateAssistant | CreateAgent | UpdateAssistant | UpdateAgent,
        target: TargetId,
        sent: Mapping[str, Any],
        without: Container[str] = (),
    ) -> None:
        """Read back what was written, ``without`` the fields of which it is known that they weren't.

        That it stands is known, so an error here stops what comes next, not this.
        """
        try:
            for loss in await self._read_back.losses(kind, step.id, target, step.name, sent):
                if loss.field not in without:
                    self.tally.lose(loss)
        except RemoteError as error:
            self.stopped = await self._writes.stopping(error)
            text = f"it stands, but what the destination made of it could not be read: {explained(error)}"
            self.tally.lose(Loss(why=Why.NOT_KEPT, kind=kind, id=step.id, name=step.name, text=text))

    async def _settle_metadata(
        self, step: CreateAssistant | CreateAgent, record: Record, target: TargetId, sent: Mapping[str, Any]
    ) -> None:
        """With the first of a kind, find out which metadata keys are the server's, and set those that aren't."""
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
            why = Why.REFUSED
            self.tally.lose(Loss(why=why, kind=record.kind, id=step.id, name=step.name, field="metadata", text=refused))

    async def _set_metadata(
        self, kind: Kind, step: CreateAssistant | CreateAgent, target: TargetId, update: dict[str, Any] | None
    ) -> None:
        """Set the metadata that had no room beside our marks; a copy that lacks it is a copy all the same."""
        try:
            await self._finish(kind, step.id, target, update)
        except RemoteError as error:
            self.stopped = await self._writes.stopping(error)
            text = f"created, but not set to its true metadata: {explained(error)}"
            self.tally.lose(Loss(why=Why.REFUSED, kind=kind, id=step.id, name=step.name, field="metadata", text=text))
