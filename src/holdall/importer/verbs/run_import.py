"""The verb import: a bundle into a destination, in one run that has OUTPUT_DIR to itself and resumes after a stop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, BinaryIO, Protocol

import msgspec

from holdall.bundle.layout import Source
from holdall.bundle.reader import BundleReader
from holdall.dialects.loss import Loss
from holdall.errors import Interrupted
from holdall.importer.apply.context import SETTLE, Context, Pace
from holdall.importer.apply.execute_plan import PlanExecution
from holdall.importer.apply.reconcile import attempt_name, begin, duplicates
from holdall.importer.destination.destination import choose
from holdall.importer.plan.bundle_summary import BundleSummary, in_form, summarize, without_keys
from holdall.importer.plan.planner import Completeness
from holdall.importer.plan.steps import Plan, require_bundle
from holdall.importer.plan.template_supply import SuppliedTemplate
from holdall.importer.runs.effects import Made
from holdall.importer.runs.runfolder import RunFolder, locked, unfinished
from holdall.importer.runs.runlines import Closed, Opened, timestamp
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
from holdall.importer.verbs.plan_import import (
    Asked,
    PlanDocument,
    PlanOptions,
    Prepared,
    plan_import,
    prepare,
    with_supplied,
)
from holdall.kinds import noun
from holdall.model import Kind, SourceId
from holdall.remote.client import Account
from holdall.safe_files import sync_file
from holdall.verdict import Reason, Verdict
from holdall.version import __version__

__all__ = [
    "Asked",
    "ImportOptions",
    "Imported",
    "Machine",
    "Observer",
    "PlanDocument",
    "Prepared",
    "Report",
    "Result",
    "Status",
    "keeping",
    "mapping",
    "run_import",
]


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


def _verdict(report: Report, completeness: Completeness, inherent: Sequence[Loss]) -> Verdict:
    """Of what a run did; ``inherent`` as its plan has it."""
    verdict = completeness.verdict(
        [*report.losses(), *inherent],
        failed=report.failed(),
        units={result.source for result in report.results},
        originals={id for id, target in report.files.items() if str(id) == str(target)},
    )
    return verdict.having(Reason.DUPLICATES, len(report.duplicates))


async def run_import(
    account: Account, reader: BundleReader, options: ImportOptions, observer: Observer, machine: Machine
) -> Imported:
    """Resumes the run of the same bundle, destination and options that was cut off, or plans, asks, and imports.

    OUTPUT_DIR is locked before the destination is looked at. What stopped the run is in its report. Raises
    OutputLocked, PlanOutdated, and as ``prepare``, ``require_feasible``, ``consent`` and ``_apply`` do.
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
    options, supplied = with_supplied(options, summary)
    asked = options.asked
    completeness = Completeness(summary, asked.selection, accept_known=options.accept_known)
    form = await choose(account, asked.form)
    written = {**asked.options(), "concurrency": account.limits.concurrency}
    # From before the plan: no other import here may make what this one has just not found.
    with locked(output):
        again = unfinished(output, digests, account.party, written)
        found = None
        if not again:
            found = await prepare(account, summary, reader, options, form, now=machine.now())
            observer.planned(found)
            found.require_feasible(asked.max_loss)
            observer.consent(found)
        folder = RunFolder(output, now=machine.now, token=machine.run(), resume=again, sync=machine.sync)
        context = _context(account, folder, machine, options.settle)
        try:
            if again:
                made = _made(folder)
                account.progress.note(f"resuming run {folder.id}; created so far: {made}")
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


def _made(folder: RunFolder) -> str:
    targets = folder.state.targets.items()
    made = (f"{len(ids)} {noun(kind)}{'s' if len(ids) > 1 else ''}" for kind, ids in targets if ids)
    return ", ".join(made) or "nothing"
