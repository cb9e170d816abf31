"""Carries out a plan, one unit after the other: files up, stores made and filled, then what uses them.

The only place where ids change type: the SourceId of the bundle becomes the TargetId of the copy. A unit that fails
doesn't stop the next. An error that would meet every unit alike (key, quota, no server) stops the run, and the
units that are left are not attempted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Container, Mapping
from contextlib import asynccontextmanager
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

from msgspec.structs import replace

from holdall.bundle.reader import BundleReader
from holdall.dialects.loss import Loss, Why
from holdall.dialects.registry import definition, dispensable
from holdall.dialects.rules import OPERATION, Request, Targets
from holdall.errors import DestinationDiffers, HoldallError, Interrupted, NotFound, RemoteError, RequestRefused
from holdall.importer.apply.context import Context, RunTally, explained
from holdall.importer.apply.reconcile import Reconciler, leftovers
from holdall.importer.apply.uploads import Uploads
from holdall.importer.apply.vectorstores import Indexing, Stores
from holdall.importer.apply.versions import EarlierVersions, SkillCopies
from holdall.importer.apply.writes import Changes, ServerKeys, Writes, refused_fields, refused_losses
from holdall.importer.plan import steps
from holdall.importer.plan.bundle_summary import BundleSummary
from holdall.importer.plan.choices import is_own_project, table_of
from holdall.importer.plan.difference import final, template_looks
from holdall.importer.plan.skill_steps import referred
from holdall.importer.plan.steps import Plan, Unit
from holdall.importer.plan.template_supply import SuppliedTemplate
from holdall.importer.runs.effects import agent_of, version_number
from holdall.importer.runs.runjournal import Create
from holdall.importer.runs.runreport import Orphan
from holdall.importer.written.requestfolder import PlannedRequests
from holdall.kinds import read
from holdall.model import Kind, Record, SourceId, TargetId
from holdall.remote.client import path

_Definition = steps.CreateDefinition | steps.UpdateDefinition
_NOTHING: Mapping[SourceId, SuppliedTemplate] = MappingProxyType({})


class _Failed(Exception):
    """A unit's root isn't created; the message says why."""


def _named(step: _Definition) -> dict[SourceId, str]:
    """The name of an agent of Foundry."""
    match step:
        case steps.CreateFoundryAgent(id=id, agent=agent):
            return {id: agent}
        case steps.UpdateFoundryAgent(id=id, target=target):
            return {id: target}
    return {}


class PlanExecution:
    """One run: what it has placed so far."""

    def __init__(
        self,
        context: Context,
        plan: Plan,
        bundle: BundleSummary,
        reader: BundleReader,
        supplied: Mapping[SourceId, SuppliedTemplate] = _NOTHING,
    ) -> None:
        folder, self._context, self._summary, self._reader = context.folder, context, bundle, reader
        self._supplied = supplied
        self._plan, self._records = plan, bundle.by_id()
        self._state, self._bundle = folder.state, reader.path.name
        self._table = table_of(plan.form, context.account.endpoint.base_url, reader.info)
        # None is for the project itself, in which nothing has to be mapped.
        is_own = is_own_project(context.account.endpoint, reader.info)
        self._connections = None if is_own else plan.connections or {}
        self._reconciler = Reconciler(context)
        self._writes = Writes(context, self._reconciler)
        self._uploads = Uploads(context, reader, self._writes)
        self._changes = Changes(context, self._writes)
        self._server_keys = ServerKeys(context, plan.shared_keys, self._changes)
        self.tally = RunTally(folder, plan.units, bundle.members)
        self.orphans: list[Orphan] = []
        self.stopped: HoldallError | None = None
        self._stores = Stores(
            context,
            bundle,
            reader,
            self.tally,
            writes=self._writes,
            uploads=self._uploads,
            indexing=Indexing(context, self._writes, batch_files=self._table.batch_files),
            changes=self._changes,
            server_keys=self._server_keys,
            in_code={file for step in plan.steps() for file in steps.references_of(step)[1]},
        )

    # Few plans have skills, versions of agents or requests; what makes them is there once a step asks for it.

    @cached_property
    def _earlier(self) -> EarlierVersions:
        return EarlierVersions(self._context, self._reader, self._writes)

    @cached_property
    def _skills(self) -> SkillCopies:
        return SkillCopies(self._context, self._summary, self._reader, self._writes, self._changes)

    @cached_property
    def _requests(self) -> PlannedRequests:
        context = self._context
        return PlannedRequests(self._plan, self._summary, context.folder.output, context.account.party)

    async def run(self) -> None:
        totals, progress, host = self._plan.totals(), self._context.progress, self._context.account.endpoint.host
        try:
            if lost := self._state.creations():
                # First of all: what is found now is not made a second time by the unit that it belongs to.
                progress.stage(f"Looking for requests that were cut off at {host}")
                await self._reconciler.reconcile(lost)
            progress.stage(f"Importing {self._bundle} into {host}")
            progress.expect(files=totals.files, bytes=totals.bytes, last=True)
            for unit in self._plan.units:
                if self.stopped:
                    break
                await self._unit(unit)
        except (RemoteError, Interrupted) as error:
            self.stopped = error
        if self._state.missed:
            self.orphans = await self._reconciler.orphans()
        self.orphans += self._stores.spare
        if self.stopped is None:
            self.orphans += await leftovers(self._context)

    async def _unit(self, unit: Unit) -> None:
        for loss in unit.losses():
            self.tally.lose(loss)
        try:
            # The uploads of a unit come first in it, and several are under way at once.
            for loss in await self._uploads.run([step for step in unit.steps if isinstance(step, steps.UploadFile)]):
                self.tally.lose(loss)
            target: TargetId | None = None
            for step in unit.steps:
                target = await self._step(unit, step) or target
        except (_Failed, DestinationDiffers) as failure:
            self.tally.fail(unit, str(failure))
        except RemoteError as error:
            self.stopped = self.stopped or await self._context.stopping(error)
            self.tally.fail(unit, explained(error))
        else:
            self.tally.finish(unit, target)

    async def _step(self, unit: Unit, step: steps.Step) -> TargetId | None:
        """Do a step. Returns the id of the unit's root in the copy where this is the step that gives it."""
        # One case for each type of step, and nothing else.
        match step:
            case steps.CreateStore():
                return await self._stores.create(step)
            case steps.AttachFiles():
                await self._stores.attach(step)
            case steps.CreateSkill() | steps.UpdateSkill():
                return await self._skill(unit, step)
            case steps.CreateDefinition():
                return await self._create(step)
            case steps.WriteRequest():
                return await self._write_request(unit, step)
            case steps.Adopt() | steps.Skip():
                self._state.adopt(step.kind, step.id, step.target, step.name)
                if step.versions:
                    self._skills.place(step.target, step.versions)
                return step.target if step.kind is unit.kind else None
            case steps.UpdateStore():
                return await self._stores.update(step)
            case steps.UpdateDefinition():
                return await self._update(step)
            case steps.UpdateMembership():
                await self._stores.relabel(step)
            case steps.DetachFile():
                await self._changes.detach(step, self._state.targets[Kind.STORE][step.store])
            case steps.Cannot(reason=reason):
                raise _Failed(f"not created: {reason}")
            case steps.Differs():
                raise AssertionError("a plan with conflicts is never applied")
            case steps.UploadFile() | steps.LeaveOut():
                pass
        return None

    def _request(self, step: _Definition, op: str = "", record: Record | None = None) -> Request:
        """The definition's request with the ids of this destination, or that of another version, ``record``. Raises
        _Failed if a store that it needs isn't whole."""
        is_new = isinstance(step, steps.CreateDefinition)
        record = record or self._records[step.kind][step.id]
        here = self._state.targets[step.kind]
        # Of its own kind in the bundle it may call others; None for one that isn't here.
        calls = {id: here.get(id) for id in read(record).assistant_ids if id in self._records[step.kind]}
        targets = self._targets(step, "created" if is_new else "updated")
        return definition(
            self._server_keys.sent(record) if is_new else record,
            prefix=self._plan.prefix,
            operation=op,
            targets=replace(targets, assistants=calls, names=_named(step), connections=self._connections),
            model=step.model,
            table=self._table,
        )

    def _targets(self, step: _Definition | steps.WriteRequest, made: str) -> Targets:
        """The stores and files of a copy, by the ids here. Raises _Failed where a store that it needs isn't whole."""
        here, files_here = self._state.targets[Kind.STORE], self._state.files
        stores, files = steps.references_of(step)
        for store in stores:
            if store in self._stores.failed:
                raise _Failed(f"not {made}, because it needs {self._stores.failed[store]}")
        skills, versions = self._skill_targets(step, made)
        return Targets(
            stores={store: here[store] for store in stores},
            # Files that were refused are losses already, and of this assistant.
            files={file: files_here[file] for file in files if file in files_here},
            skills=skills,
            versions=versions,
        )

    def _skill_targets(
        self, step: _Definition | steps.WriteRequest, made: str
    ) -> tuple[dict[SourceId, TargetId], dict[tuple[SourceId, str], str]]:
        """The skills of a template's copy, and the numbers of their versions here."""
        if not isinstance(step, steps.CreateTemplate | steps.UpdateTemplate):
            return {}, {}
        skills, versions = self._state.targets[Kind.SKILL], self._state.targets[Kind.SKILL_VERSION]
        refers = referred(read(self._records[step.kind][step.id]), self._summary.skill_versions)
        for skill in step.skills:
            if skill not in skills:
                raise _Failed(f"not {made}, because it needs skill {skill}")
        numbers = {pinned: versions[id] for pinned, id in refers.versions.items() if id in versions}
        return (
            {skill: skills[skill] for skill in step.skills},
            {pinned: version_number(target) for pinned, target in numbers.items()},
        )

    async def _skill(self, unit: Unit, step: steps.CreateSkill | steps.UpdateSkill) -> TargetId | None:
        if isinstance(step, steps.CreateSkill):
            target, losses = await self._skills.create(step)
        else:
            target, losses = step.target, await self._skills.update(step)
        for loss in losses:
            self.tally.lose(loss)
        return target if step.kind is unit.kind else None

    async def _write_request(self, unit: Unit, step: steps.WriteRequest) -> TargetId:
        targets, context = self._targets(step, "written"), self._context
        target, said = await self._requests.write(context.folder, unit, step, targets, context.operation)
        for loss in said:
            self.tally.lose(loss)
        return target

    async def _update(self, step: steps.UpdateDefinition) -> TargetId:
        wanted = final(self._request(step))
        if isinstance(step, steps.UpdateFoundryAgent):
            return await self._new_version(step, wanted)
        left_out = await self._changes.definition(step, wanted)
        if isinstance(step, steps.UpdateTemplate) and step.supplied:
            made = self._supplied[step.id].into(self._request(step).create)
            fields = {"network" if name == "blocked_domains" else name.partition(".")[0] for name in step.supplied}
            body = {field: made[field] for field in sorted(fields)}
            await self._writes.update(step.kind, step.id, step.target, body, supplied=step.supplied)
        self._lose_refused(step, wanted, left_out, "not updated")
        await self._look(step, step.target, wanted, left_out)
        return step.target

    async def _new_version(self, step: steps.UpdateFoundryAgent, wanted: dict[str, Any]) -> TargetId:
        left_out = set(self._state.without.get(step.id, ()))
        while True:
            sent = {field: value for field, value in wanted.items() if field not in left_out}

            def body(op: str, left_out: Collection[str] = frozenset(left_out)) -> dict[str, Any]:
                return {
                    field: value for field, value in self._request(step, op).create.items() if field not in left_out
                }

            try:
                await self._changes.new_version(step, sent, body, without=sorted(left_out))
                break
            except RequestRefused as error:
                spare = refused_fields(error, dispensable(step.kind, sent))
                if not spare:
                    raise
                left_out.update(spare)
        self._lose_refused(step, wanted, left_out, "not updated")
        await self._look(step, step.target, wanted, left_out)
        return step.target

    async def _create(self, step: steps.CreateDefinition) -> TargetId:
        before = partial(self._require_free, step.agent) if isinstance(step, steps.CreateFoundryAgent) else None
        request = partial(self._request, step)
        # Fails here where a store that it needs does.
        targets = self._targets(step, "created")
        left_out = set(self._state.without.get(step.id, ()))
        supplied = step.supplied if isinstance(step, steps.CreateTemplate) else []

        def body(op: str) -> dict[str, Any]:
            made = {field: value for field, value in request(op).create.items() if field not in left_out}
            return self._supplied[step.id].into(made) if supplied else made

        fresh = [*targets.stores.values(), *targets.files.values(), *targets.skills.values()]
        if isinstance(step, steps.CreateFoundryAgent) and step.versions:
            await self._earlier_versions(step, fresh)
        looks = template_looks(request().create) if step.kind is Kind.TEMPLATE else None
        intended = partial(Create, op="", kind=step.kind, source=step.id, looks=looks, supplied=supplied)
        while True:
            try:
                sent = body("")
                unmarked = step.kind is Kind.FOUNDRY_AGENT and OPERATION not in (sent.get("metadata") or {})
                intent = intended(name=sent.get("name"), without=sorted(left_out), unmarked=unmarked)
                if isinstance(step, steps.CreateFoundryAgent):
                    intent = await self._earlier.onto(step, self._records[step.kind][step.id], intent)
                    before = before if intent.kind is step.kind else None
                target = await self._writes.create(intent, body, fresh, before)
                if intent.kind is not step.kind:
                    target = agent_of(target)
                break
            except RequestRefused as error:
                spare = refused_fields(error, dispensable(step.kind, sent))
                if not spare:
                    raise
                left_out.update(spare)
        # What an earlier attempt left out whose answer was lost counts too.
        left_out = set(self._state.without.get(intent.source, ()))
        if left_out:
            self._lose_refused(step, request().body, left_out, "left out")
        made = await self._set_metadata(step, target)
        await self._look(step, target, final(made), left_out)
        return target

    async def _set_metadata(self, step: steps.CreateDefinition, target: TargetId) -> Request:
        """Set what of the metadata only a second request can set. Returns the request as it is now that the server's
        own keys are known."""
        unset = "created, but its metadata could not be set"
        async with self._despite_errors(step, Why.REFUSED, unset, "metadata"):
            record = self._records[step.kind][step.id]
            if refused := await self._server_keys.settle(record, target, step.name, partial(self._request, step)):
                self._lose(step, Why.REFUSED, refused, "metadata")
        made = self._request(step)
        async with self._despite_errors(step, Why.REFUSED, unset, "metadata"):
            await self._changes.complete(step.kind, step.id, target, made)
        return made

    async def _earlier_versions(self, step: steps.CreateFoundryAgent, fresh: list[TargetId]) -> None:
        def request(record: Record, model: str | None, op: str) -> Request:
            return self._request(replace(step, model=model), op, record)

        for loss in await self._earlier.make(step, request, fresh, partial(self._require_free, step.agent)):
            self.tally.lose(loss)

    async def _require_free(self, agent: str) -> None:
        """Raise _Failed where an agent has come to be that the plan didn't see: what is sent would be served by it."""
        try:
            await self._context.account.get(path("/agents/{}", agent))
        except (NotFound, RequestRefused):
            return
        raise _Failed(f"not created: meanwhile there is an agent {agent}, not of this run for certain; run it again")

    def _lose(self, step: _Definition, why: Why, text: str, field: str | None = None) -> None:
        self.tally.lose(Loss(why=why, kind=step.kind, id=step.id, name=step.name, field=field, text=text))

    def _lose_refused(self, step: _Definition, wanted: Mapping[str, Any], fields: Collection[str], what: str) -> None:
        for loss in refused_losses(step, wanted, fields, what):
            self.tally.lose(loss)

    async def _look(
        self,
        step: _Definition,
        target: TargetId,
        sent: Mapping[str, Any],
        without: Container[str] = (),
    ) -> None:
        """Read back what was written, ``without`` the fields of which it is known that they weren't."""
        unread = "written, but could not be read back"
        async with self._despite_errors(step, Why.NOT_KEPT, unread):
            for loss in await self._changes.losses(step.kind, step.id, target, step.name, sent):
                if loss.field not in without:
                    self.tally.lose(loss)

    @asynccontextmanager
    async def _despite_errors(
        self, step: _Definition, why: Why, text: str, field: str | None = None
    ) -> AsyncIterator[None]:
        """Record an error in the block as a loss of the copy. An error that ends the run does so after this copy."""
        try:
            yield
        except RemoteError as error:
            self.stopped = self.stopped or await self._context.stopping(error)
            self._lose(step, why, f"{text}: {explained(error)}", field)
