"""The verbs plan and import.

A plan is what a bundle would change at a destination. Making one only reads. An import makes that change, in a run that
has OUTPUT_DIR to itself and resumes after a stop.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from glob import escape
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import msgspec

from holdall.bundle.layout import Source
from holdall.bundle.reader import BundleReader
from holdall.dialects.loss import Loss, MaxLoss, Why
from holdall.dialects.rules import Form
from holdall.errors import DestinationDiffers, Interrupted, LossTooGreat, UsageFault
from holdall.importer.apply.context import SETTLE, Context, Pace
from holdall.importer.apply.execute_plan import PlanExecution
from holdall.importer.apply.reconcile import attempt_name, begin, duplicates
from holdall.importer.destination.destination import Destination, History, choose, connection_notes, history, probe
from holdall.importer.destination.match import find_existing
from holdall.importer.destination.objects import taken_names
from holdall.importer.plan import steps
from holdall.importer.plan.bundle_summary import BundleSummary, in_form, matching, shared_keys, summarize, without_keys
from holdall.importer.plan.choices import (
    Asked,
    Choices,
    OnConflict,
    Shutdown,
    check_models,
    connection_map,
    is_own_project,
    model_map,
    table_of,
    unmapped_error,
    unused_rules,
)
from holdall.importer.plan.definitions import FOLDER
from holdall.importer.plan.difference import NOTHING, By, Difference, Existing, Several
from holdall.importer.plan.plan_document import PlanDocument, named, read_plan, require_bundle, require_same, write_plan
from holdall.importer.plan.planner import Completeness, plan
from holdall.importer.plan.steps import (
    CreateDefinition,
    CreateStore,
    Estimate,
    Plan,
    PlanTotals,
    Unit,
    UpdateDefinition,
    UpdateFoundryAgent,
    WriteRequest,
    estimate,
)
from holdall.importer.plan.template_supply import SuppliedTemplate, TemplateSupply, read_supply
from holdall.importer.runs.effects import Made
from holdall.importer.runs.runfolder import RunFolder, locked, unfinished
from holdall.importer.runs.runjournal import Closed, Opened, timestamp
from holdall.importer.runs.runreport import (
    Duplicate,
    Party,
    Report,
    ReportDestination,
    Result,
    Status,
    keeping,
    mapping,
)
from holdall.importer.written.requestfolder import PlannedRequests
from holdall.kinds import KINDS, noun, read
from holdall.legible import counted
from holdall.model import Kind, SourceId
from holdall.remote.client import Account, day
from holdall.safe_files import sync_file
from holdall.verdict import Reason, Verdict
from holdall.version import __version__

__all__ = [
    "FOLDER",
    "Asked",
    "By",
    "Difference",
    "Estimate",
    "ImportOptions",
    "Imported",
    "Machine",
    "Observer",
    "OnConflict",
    "Plan",
    "PlanDocument",
    "PlanOptions",
    "PlanTotals",
    "Prepared",
    "Report",
    "Result",
    "Status",
    "TemplateSupply",
    "Unit",
    "choose",
    "connection_map",
    "keeping",
    "mapping",
    "model_map",
    "plan_import",
    "read_plan",
    "read_supply",
    "run_import",
    "steps",
]

# How many things a line names; the rest is counted.
_NAMED = 20
# The same, of what has just been printed, or is listed by --verbose.
_FEW = 1


class PlanOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``output`` is where earlier runs left their folders. With a ``document`` the plan must equal the one in it. The
    plan is written to ``save``. ``accept_known``: what the bundle records as lost changes no exit code."""

    asked: Asked
    output: Path
    accept_known: bool = False
    document: PlanDocument | None = None
    save: Path | None = None
    supply: TemplateSupply | None = None


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, and what was learned on the way. ``warnings`` are for people, a line each; ``shutdowns`` are of models
    that it gives to something. ``is_own``: the bundle comes from that very Foundry project."""

    destination: Destination
    plan: Plan
    existing: Existing
    estimate: Estimate
    warnings: list[str]
    shutdowns: list[Shutdown]
    completeness: Completeness
    is_own: bool

    def verdict(self) -> Verdict:
        """What would be missing at the destination once the plan is carried out."""
        return self.completeness.of_plan(self.plan)

    def require_feasible(self, most: MaxLoss) -> None:
        """Raises DestinationDiffers for a plan with conflicts, LossTooGreat for one that loses more than ``most``."""
        if conflicts := self.plan.conflicts():
            raise _conflict_error(conflicts)
        if too_great := [loss for loss in self.plan.losses() if not most.allows(loss.why.severity)]:
            raise LossTooGreat(
                f"nothing written: more would be lost than --max-loss {most} allows ({named(too_great, _NAMED)})",
                hint="use --max-loss any (or minor) to accept the losses, or --exclude to leave these objects out",
                losses=[{"severity": loss.why.severity.value, **msgspec.to_builtins(loss)} for loss in too_great],
            )


async def plan_import(
    account: Account,
    reader: BundleReader,
    options: PlanOptions,
    tell: Callable[[Prepared], None],
    *,
    now: float,
) -> Prepared:
    """Plans an import without doing it. ``tell`` is called with the plan, even if it is then refused; ``now`` is in
    Unix seconds.

    Raises as ``_prepare`` and ``require_feasible`` do; CannotWrite.
    """
    summary = await asyncio.to_thread(summarize, reader)
    options, _ = _with_supplied(options, summary)
    asked = options.asked
    form = await choose(account, asked.form)
    prepared = await _prepare(account, summary, reader, options, form, now=now)
    tell(prepared)
    prepared.require_feasible(asked.max_loss)
    if options.save:
        document = PlanDocument(
            tool=f"holdall {__version__}",
            made=timestamp(now),
            bundle={"name": reader.path.name, **msgspec.to_builtins(reader.info.digests)},
            destination=prepared.destination.party,
            asked=asked,
            estimate=prepared.estimate,
            plan=prepared.plan,
        )
        write_plan(options.save, document)
    return prepared


_Options = TypeVar("_Options", bound=PlanOptions)


def _with_supplied(options: _Options, summary: BundleSummary) -> tuple[_Options, dict[SourceId, SuppliedTemplate]]:
    """The options with the names of what is supplied of the bundle's templates, and what is. Raises UsageFault where
    it doesn't fit the bundle, or the plan that was made."""
    found = options.supply.of(summary.records(Kind.TEMPLATE)) if options.supply else {}
    supplied = tuple((id, name) for id, one in sorted(found.items()) for name in one.names)
    if options.document and options.document.asked.supplied != supplied:
        raise UsageFault(
            "can't apply this plan: it was made with other values for environment templates",
            hint="give the --supply-template that plan was given",
        )
    return msgspec.structs.replace(options, asked=msgspec.structs.replace(options.asked, supplied=supplied)), found


async def _prepare(
    account: Account, summary: BundleSummary, reader: BundleReader, options: PlanOptions, form: Form, *, now: float
) -> Prepared:
    """Plans what is asked for, in the ``form`` that ``choose`` gave. ``now`` is in Unix seconds.

    Raises UsageFault for impossible options, what the account raises, PlanOutdated for another plan than the
    document's, DestinationUnfit for a missing endpoint or model, DestinationDiffers if several objects may be the copy.
    A plan with conflicts is returned; see ``require_feasible``.
    """
    asked, document = options.asked, options.document
    completeness = Completeness(summary, asked.selection, accept_known=options.accept_known)
    models = model_map(asked.map_model)
    limits = table_of(form, account.endpoint.base_url, reader.info)
    is_own = is_own_project(account.endpoint, reader.info)
    choices = asked.choices(form=form, limits=limits, models=models, is_own=is_own)
    summary = in_form(summary, form)
    past, dropped = _past(account, summary, options)
    summary = without_keys(summary, dropped)
    make_plan = partial(plan, summary, asked.selection, prefix=asked.prefix)
    # Towards an empty destination: what has to be looked for, and what no copy can have.
    ideal = planned = make_plan(choices=choices)
    destination = await probe(account, ideal, asked=asked.form)
    existing = await _existing(account, summary, reader, ideal, past, choices=choices)
    if existing is not NOTHING:
        planned = make_plan(choices=choices, existing=existing)
    if form is Form.RESPONSES:
        # Which requests are there already can be told once it is known what they refer to.
        requests = PlannedRequests(planned, summary, options.output, account.party)
        existing = msgspec.structs.replace(existing, requests=requests.found(existing))
    # Asked of what the plan would make: a model that only what is there already has may be gone.
    check = check_models(_planned_models(planned, summary, existing), models, destination.catalog, today=day(now))
    if check.missing:
        if not asked.skip_unmapped:
            raise unmapped_error(check, destination.catalog)
        choices = msgspec.structs.replace(choices, missing=check.missing)
        ideal = make_plan(choices=choices)
    if check.missing or existing.requests:
        planned = make_plan(choices=choices, existing=existing)
    planned = _with_keys(_with_inherent(planned, ideal), summary, asked, dropped)
    if document:
        require_same(document, account.party, planned)
    cost = estimate(
        planned, summary, concurrency=account.limits.concurrency, usage=existing.usage, batch_files=limits.batch_files
    )
    warnings = [*destination.warnings, *([*past.notes, *past.dropped()] if past is not None else [])]
    warnings += [*unused_rules(models, summary.models()), *check.warnings]
    warnings += [line async for line in connection_notes(account, summary, planned, choices.connections)]
    warnings += [*_about_metadata(planned), *_about_versions(planned)]
    return Prepared(
        destination=destination,
        plan=planned,
        existing=existing,
        estimate=cost,
        shutdowns=check.shutdowns,
        warnings=warnings,
        completeness=completeness,
        is_own=is_own,
    )


async def _existing(
    account: Account,
    summary: BundleSummary,
    reader: BundleReader,
    ideal: Plan,
    past: History | None,
    *,
    choices: Choices,
) -> Existing:
    """What is there already; without ``past`` nothing is looked for, but for the names that agents can't have."""
    if past is None:
        names = [name async for name in taken_names(account)] if choices.form is Form.FOUNDRY else []
        return Existing(agents=frozenset(names)) if names else NOTHING
    existing = await find_existing(account, summary, reader, ideal, past, choices=choices)
    if existing.several:
        raise _ambiguous_error(existing.several)
    return existing


def _past(account: Account, summary: BundleSummary, options: PlanOptions) -> tuple[History | None, set[str]]:
    """What earlier runs did, None if nothing is looked for; and the metadata keys that are left out."""
    asked, kept = options.asked, {*options.asked.keep_metadata}
    dropped = matching(summary, asked.drop_metadata) - kept
    if asked.on_conflict is OnConflict.DUPLICATE:
        return None, dropped
    mapping = Path(asked.mapping) if asked.mapping else None
    past = history(options.output, destination=account.party, prefix=asked.prefix, mapping=mapping)
    # What earlier runs found to be the server's own, unless the user knows better.
    past.added -= kept
    dropped |= matching(summary, [escape(key) for key in past.added])
    past.added |= dropped
    if asked.on_conflict is OnConflict.UPDATE:
        past.try_again()
    return past, dropped


def _planned_models(planned: Plan, summary: BundleSummary, existing: Existing) -> Iterable[str]:
    """The models, by the bundle's names, of the assistants and agents that would be created or get another model.

    Those of requests that exist already are left out.
    """
    records = summary.by_id()
    written = {id for id, one in existing.requests.items() if one.equal}
    for step in planned.steps():
        match step:
            case WriteRequest(id=id) if id in written:
                pass
            case UpdateDefinition(fields=fields) if "model" not in fields:
                pass
            case CreateDefinition() | UpdateDefinition() | WriteRequest() if KINDS[step.kind].has_model:
                views = [read(records[step.kind][step.id])]
                if isinstance(step, steps.CreateFoundryAgent):
                    views += summary.versions.get(step.id, {}).values()
                yield from (view.model for view in views if view.model is not None)


def _with_inherent(planned: Plan, ideal: Plan) -> Plan:
    """The plan with what ``ideal``, towards an empty destination, loses of things that are there already."""
    said = set(planned.losses())
    # What is left out depends on what is there, and the plan says it of everything.
    inherent = [loss for loss in ideal.losses() if loss.why is not Why.LEFT_OUT and loss not in said]
    return msgspec.structs.replace(planned, inherent=inherent)


def _with_keys(planned: Plan, summary: BundleSummary, asked: Asked, dropped: set[str]) -> Plan:
    """The plan with the metadata keys that are left out, and those that may be the server's."""
    made = {step.kind for step in planned.steps() if isinstance(step, CreateDefinition | CreateStore)}
    # What a Foundry project adds by itself isn't known to be anything, and finding out would take a version.
    made.discard(Kind.FOUNDRY_AGENT)
    shared = shared_keys(summary, made, asked.keep_metadata)
    return msgspec.structs.replace(planned, dropped_keys=sorted(dropped), shared_keys=shared)


def _about_metadata(planned: Plan) -> Iterator[str]:
    """Which metadata keys are left out, or may be."""
    if planned.dropped_keys:
        yield f"metadata left out: {', '.join(planned.dropped_keys)} (--keep-metadata KEY imports it)"
    for kind, keys in planned.shared_keys.items():
        yield (
            f"metadata of every {noun(kind)} in the bundle: {', '.join(keys)}; left out if the destination "
            f"adds it itself (--keep-metadata KEY imports it, --drop-metadata GLOB leaves it out)"
        )


def _about_versions(planned: Plan) -> Iterator[str]:
    """Which agents of Foundry get a version, and whether callers get that at once."""
    versions = [step for step in planned.steps() if isinstance(step, UpdateFoundryAgent)]
    if live := [str(step.target) for step in versions if step.pinned is None]:
        yield f"live at once: the new version of {named(live, _FEW)}"
    if pinned := [f"{step.target} (version {step.pinned})" for step in versions if step.pinned is not None]:
        yield f"not live: pinned to another version are {named(pinned, _FEW)}"


def _conflict_error(conflicts: list[steps.Differs]) -> DestinationDiffers:
    """The error for what differs at the destination, or was changed there, and may not be touched."""
    differences = msgspec.to_builtins(conflicts)
    agents = any(step.kind is Kind.FOUNDRY_AGENT for step in conflicts)
    live = " (a new version of an agent is live at once)" if agents else ""
    if changed := [step for step in conflicts if step.changed]:
        words = [f"{noun(step.kind)} {step.name or step.id}: {', '.join(step.changed)}" for step in changed]
        return DestinationDiffers(
            f"nothing written: changed at the destination since the last import ({named(words, _FEW)})",
            hint="use --on-conflict skip to keep the changes, or --on-conflict update --even-if-changed to "
            f"overwrite them{live}",
            differences=differences,
        )
    count = "1 existing object differs" if len(conflicts) == 1 else f"{len(conflicts)} existing objects differ"
    return DestinationDiffers(
        f"nothing written: {count} from the bundle",
        hint=f"use --on-conflict skip to keep them, update to make them equal to the bundle{live}, or duplicate to "
        "create everything again",
        differences=differences,
    )


def _ambiguous_error(several: list[Several]) -> DestinationDiffers:
    return DestinationDiffers(
        f"nothing written: the destination has several copies of one object ({named(several, _NAMED)})",
        hint="name the right copy with --mapping FILE, create another with --on-conflict duplicate, or "
        "delete the extra copies",
        differences=msgspec.to_builtins(several),
    )


# -- import --------------------------------------------------------------------------------------------


class ImportOptions(PlanOptions, frozen=True, kw_only=True):
    """``settle``: seconds for which an object whose answer was lost is looked for, before a second try. ``force``:
    import even if another import seems to be running."""

    dry_run: bool = False
    force: bool = False
    settle: float = SETTLE


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Clock, randomness and disk. ``now`` is in Unix seconds; ``run`` makes a run's id unique, ``operation`` each
    attempt to create something; ``sync`` makes a file's bytes durable."""

    now: Callable[[], float]
    run: Callable[[], str]
    operation: Callable[[], str]
    sync: Callable[[BinaryIO], None] = sync_file


class Observer(Protocol):
    """The caller's part in an import: it is shown the plan, and asked."""

    def planned(self, prepared: Prepared) -> None:
        """Called with the plan; nothing is written so far."""

    def consent(self, prepared: Prepared) -> None:
        """Raises UsageFault if the plan may not be carried out."""

    def halting(self, ask: Callable[[], None]) -> AbstractContextManager[None]:
        """While writes go on: call ``ask``, from the event loop, to stop once the requests in flight are finished."""


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """``report`` is None after a dry run, ``prepared`` if an earlier run was resumed.

    ``inherent`` is of the plan that was carried out; ``made`` is the number of objects that the run has created, by
    kind, and ``bytes`` that of its files.
    """

    report: Report | None
    prepared: Prepared | None
    completeness: Completeness
    inherent: list[Loss] = []
    made: Mapping[Kind, int] = {}
    bytes: int = 0

    def verdict(self) -> Verdict:
        """The copy, or the plan of a dry run, compared with what the project had."""
        if self.report is None:
            assert self.prepared is not None
            return self.prepared.verdict()
        return _verdict(self.report, self.completeness, self.inherent)


async def run_import(
    account: Account, reader: BundleReader, options: ImportOptions, observer: Observer, machine: Machine
) -> Imported:
    """Resumes the run of the same bundle, destination and options that was cut off, or plans, asks, and imports.

    OUTPUT_DIR is locked before the destination is looked at. What stopped the run is in its report. Raises
    OutputLocked, PlanOutdated, and as ``_prepare``, ``require_feasible``, ``consent`` and ``_apply`` do.
    """
    output = options.output
    digests = msgspec.to_builtins(reader.info.digests)
    if options.document:
        require_bundle(options.document, digests)
    if options.dry_run:
        prepared = await plan_import(account, reader, options, observer.planned, now=machine.now())
        return Imported(report=None, prepared=prepared, completeness=prepared.completeness)
    # Reading means decompressing, which would hold up every connection of the event loop.
    summary = await asyncio.to_thread(summarize, reader)
    options, supplied = _with_supplied(options, summary)
    asked = options.asked
    completeness = Completeness(summary, asked.selection, accept_known=options.accept_known)
    form = await choose(account, asked.form)
    written = {**asked.options(), "concurrency": account.limits.concurrency}
    # From before the plan: no other import here may make what this one has just not found.
    with locked(output):
        again = unfinished(output, digests, account.party, written)
        found = None
        if not again:
            found = await _prepare(account, summary, reader, options, form, now=machine.now())
            observer.planned(found)
            found.require_feasible(asked.max_loss)
            observer.consent(found)
        folder = RunFolder(output, now=machine.now, token=machine.run(), resume=again, sync=machine.sync)
        context = _context(account, folder, machine, options.settle)
        try:
            if again:
                account.progress.note(f"resuming run {folder.id}; created so far: {_created_so_far(folder)}")
            with observer.halting(context.pace.stop):
                plan = found.plan if found else folder.plan()
                judge = partial(_verdict, completeness=completeness, inherent=plan.inherent)
                report = await _apply(context, plan, summary, reader, written, judge, supplied, force=options.force)
        finally:
            await folder.close()
    created = [effect for effect in folder.state.effects() if isinstance(effect, Made)]
    return Imported(
        report=report,
        prepared=found,
        completeness=completeness,
        inherent=plan.inherent,
        made=Counter(effect.kind for effect in created),
        bytes=sum(summary.content(effect.source).stored for effect in created if effect.kind is Kind.FILE),
    )


def _context(account: Account, folder: RunFolder, machine: Machine, settle: float) -> Context:
    return Context(
        account=account,
        folder=folder,
        pace=Pace(clock=account.limits.clock, sleep=account.limits.sleep, settle=settle),
        progress=account.progress,
        operation=lambda: attempt_name(folder.id, machine.operation()),
        now=machine.now,
    )


def _created_so_far(folder: RunFolder) -> str:
    targets = folder.state.targets.items()
    made = (counted(len(ids), noun(kind)) for kind, ids in targets if ids)
    return ", ".join(made) or "nothing"


async def _apply(
    context: Context,
    plan: Plan,
    summary: BundleSummary,
    reader: BundleReader,
    options: dict[str, Any],
    judge: Callable[[Report], Verdict],
    supplied: Mapping[SourceId, SuppliedTemplate],
    *,
    force: bool,
) -> Report:
    """Carries out ``plan`` and reports. A folder with a journal is resumed where that ends.

    On return, and also if it raises, mapping and report of what was done are in the folder and in OUTPUT_DIR. Remote
    errors and Interrupted are in the report, and the run can be resumed. Raises CannotWrite if the journal can't be
    written, DamagedBundle, and ``ImportUnderWay`` unless ``force``, before the first write.
    """
    folder, now = context.folder, context.now
    summary = in_form(without_keys(summary, plan.dropped_keys), plan.form)
    work = PlanExecution(context, plan, summary, reader, supplied)
    opened = Opened(
        run=folder.id,
        tool=f"holdall {__version__}",
        started=folder.state.opened.started if folder.state.opened else timestamp(now()),
        bundle={"name": reader.path.name, **msgspec.to_builtins(reader.info.digests)},
        destination=context.account.party,
        options=options,
    )
    twice: list[Duplicate] = []
    # The plan is on disk before the first write, so that a resumed run does the same.
    await begin(context, plan, opened, force=force)
    try:
        await work.run()
        if work.stopped is None:
            # Only now: what another import makes at the same time is not there yet when this one plans.
            known = {one.id for one in work.orphans if one.id is not None}
            twice += await duplicates(context, summary, prefix=plan.prefix, known=known)
    except Interrupted as error:
        work.stopped = error
    finally:
        # Also of a run that an error ends: what was made until then has to be found again.
        done = _report(context, plan, work, opened, reader.info.source, twice)
        if done.stopped is None:
            verdict = judge(done)
            done = msgspec.structs.replace(done, complete=verdict.complete, verdict=str(verdict))
        updated = {(kind, source) for kind, _, source in folder.state.updated}
        changes = [one for one in plan.replaced() if (one.kind, one.source) in updated]
        folder.publish(done, changes)
    # The cards of the page are read from the bundle, which takes its time.
    await asyncio.to_thread(folder.publish_page, done, changes, reader)
    if done.stopped is None:
        await folder.write(Closed(ended=timestamp(now())))
    return done


def _report(
    context: Context, plan: Plan, work: PlanExecution, opened: Opened, source: Source, twice: list[Duplicate]
) -> Report:
    account, state, stopped = context.account, context.folder.state, work.stopped
    otherwise = f"not finished: {stopped.meaning if stopped else 'the run stopped before it'}"
    return Report(
        run=opened.run,
        started=opened.started,
        ended=timestamp(context.now()),
        source=Party(org_id=source.organization, project_id=source.project),
        destination=ReportDestination(
            org_id=account.organization, project_id=account.project, base_url=account.endpoint.base_url
        ),
        bundle=opened.bundle,
        options=opened.options,
        by_kind=work.tally.results(otherwise=otherwise),
        skills=state.targets[Kind.SKILL],
        stores=state.targets[Kind.STORE],
        files=state.files,
        copies=state.copies,
        added=frozenset({*state.added, *plan.dropped_keys}),
        requests=dict(account.requests),
        form=plan.form,
        stopped=stopped,
        orphans=work.orphans,
        duplicates=twice,
        tool=opened.tool,
        source_url=source.base_url,
        label=source.label,
    )


def _verdict(report: Report, completeness: Completeness, inherent: Sequence[Loss]) -> Verdict:
    """The verdict on what a run did; ``inherent`` as its plan has it."""
    verdict = completeness.verdict(
        [*report.losses(), *inherent],
        failed=report.failed(),
        units={result.source for result in report.results},
        originals={id for id, target in report.files.items() if str(id) == str(target)},
    )
    return verdict.having(Reason.DUPLICATES, len(report.duplicates))
