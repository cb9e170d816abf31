"""``holdall import``: a bundle into a project."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome
from holdall.cli.losses import losses_of
from holdall.cli.losses import show as show_losses
from holdall.cli.planning import (
    announce,
    asked_of,
    how_to_plan,
    line,
    proved,
    require_consent,
    result_of,
    show_conflicts,
    show_plan,
    show_shortfall,
    what_to_import,
)
from holdall.cli.runs import carry_out, how_to_run, stopped_at_once
from holdall.cli.verdict import accepting, as_result, conclude, worse
from holdall.errors import EXIT_LOOK, Mistakes, UsageFault
from holdall.settings import DestinationSettings

if TYPE_CHECKING:
    from holdall.bundle.reader import BundleReader
    from holdall.dialects.loss import Loss
    from holdall.importer.destination.preparation import Prepared
    from holdall.importer.journal.report import Report
    from holdall.importer.plan.completeness import Completeness
    from holdall.importer.plan.document import Asked, PlanDocument
    from holdall.importer.plan.steps import Plan

__all__ = ["command", "how_to_import", "run_import"]

DRY_RUN = "DRY RUN: nothing written"


def how_to_import(command: Any) -> Any:
    """The options that say how a copy is made; ``clone`` has them too."""
    for decorate in reversed(
        (
            how_to_plan,
            click.option(
                "--dry-run", is_flag=True, default=None, help="Show what would be done, write nothing (DRY_RUN)."
            ),
            how_to_run,
            click.option("--yes", "-y", is_flag=True, help="Don't ask before something that is there is changed."),
            accepting,
        )
    ):
        command = decorate(command)
    return command


@click.command(cls=options.Command)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--plan", "plan_file", type=click.Path(path_type=Path), help="Carry out exactly what this plan says.")
@what_to_import
@how_to_import
@click.option("--verify", is_flag=True, help="Compare the copy with the bundle at the end, as verify --against dst.")
@options.account("dst")
@options.shared
@options.output
@click.pass_obj
def command(console: Console, /, bundle: Path, plan_file: Path | None, verify: bool, **parameters: Any) -> Outcome:
    """Replay BUNDLE into a project: one assistant with its files and vector stores, then the next.

    Needs OPENAI_DST_API_KEY. The bundle is verified first; nothing is created from a damaged one. What is in the
    project already is used where it is equal; where it differs nothing is written, unless --on-conflict says what to
    do. Where the project has no Assistants API, assistants are written down as requests for the Responses API. Exits
    with 4 where something that the source had is missing in the copy, with 3 where something is not as it was; after a
    stop the same command resumes.
    """
    from holdall.importer.plan.document import read_plan

    mistakes = Mistakes()
    with mistakes.noted():
        settings = options.read_destination(console, parameters)
    document = None
    with mistakes.noted():
        document = read_plan(plan_file) if plan_file else None
    with mistakes.noted():
        if plan_file:
            _require_alone(parameters)
        else:
            asked = asked_of(parameters)
    mistakes.raise_all()
    asked = document.asked if document else msgspec.structs.replace(asked, prefix=settings.prefix)
    return run_import(
        console,
        settings,
        bundle,
        asked,
        document=document,
        yes=parameters["yes"],
        force=parameters["force"],
        accept_known=parameters["accept_known_losses"],
        compared=verify,
    )


def _compared(
    console: Console, settings: DestinationSettings, reader: BundleReader, outcome: Outcome, *, accept_known: bool
) -> Outcome:
    """The outcome of an import and, at its end, of the comparison with the bundle."""
    from holdall.cli.against import compare

    compared, verdict = compare(console, settings, reader, search=False, accept_known=accept_known)
    return msgspec.structs.replace(
        outcome,
        exit_code=worse(outcome.exit_code, verdict.exit_code),
        result={
            **(outcome.result if isinstance(outcome.result, dict) else {}),
            **({} if verdict.complete else as_result(verdict)),
            "against": compared,
        },
    )


def _require_alone(parameters: Mapping[str, Any]) -> None:
    """A plan says all that these flags could say. Raises UsageFault for one that is given beside it."""
    plain = {"on_conflict": "stop", "form": "auto", "max_loss": "any"}
    titles, mistakes = {"form": "as"}, Mistakes()
    others = ("prefix", "only", "exclude", "map_model", "skip_unmapped", "mapping", "delete")
    for flag in (*plain, *others, "keep_metadata", "drop_metadata"):
        if parameters[flag] and parameters[flag] != plain.get(flag):
            title = titles.get(flag, flag).replace("_", "-")
            mistakes.add(UsageFault(f"--{title} can't be given together with --plan, which says it already"))
    mistakes.raise_all()


def run_import(
    console: Console,
    settings: DestinationSettings,
    bundle: Path,
    asked: Asked,
    *,
    document: PlanDocument | None = None,
    force: bool = False,
    yes: bool = False,
    accept_known: bool = False,
    kept: bool = True,
    compared: bool = False,
) -> Outcome:
    """Verify, probe, plan and apply, telling on the way; raises what stopped the run after its report is shown.

    With a ``document`` nothing but the plan in it is carried out. ``kept``: the bundle outlives the command.
    ``compared``: at the end the destination is compared with the bundle.
    """
    from holdall.importer.plan.document import require_bundle

    console.say(f"importing {bundle.name} into {settings.endpoint.title}")
    with proved(console, bundle) as reader:
        if document:
            require_bundle(document, msgspec.to_builtins(reader.info.digests))
        try:
            outcome = asyncio.run(
                _import(
                    console,
                    settings,
                    reader,
                    asked,
                    document,
                    yes=yes,
                    force=force,
                    accept_known=accept_known,
                    kept=kept,
                )
            )
        except KeyboardInterrupt:
            raise stopped_at_once() from None
        if not compared or settings.dry_run:
            return outcome
        return _compared(console, settings, reader, outcome, accept_known=accept_known)


async def _import(
    console: Console,
    settings: DestinationSettings,
    reader: BundleReader,
    asked: Asked,
    document: PlanDocument | None,
    *,
    force: bool,
    yes: bool,
    accept_known: bool,
    kept: bool,
) -> Outcome:
    from holdall.importer.destination.destination import choose
    from holdall.importer.destination.preparation import prepare, require_no_conflict, require_within
    from holdall.importer.plan.catalogue import catalogue
    from holdall.importer.plan.completeness import Completeness
    from holdall.importer.plan.document import require_same
    from holdall.remote.client import Account

    holding = catalogue(reader)
    completeness = Completeness(holding, asked.selection, accept_known=accept_known)
    progress = console.progress()
    async with Account(
        settings.endpoint, side="destination", concurrency=settings.concurrency, progress=progress
    ) as account:
        form = await choose(account, asked.form)

        async def look() -> tuple[Prepared, dict[str, Any]]:
            prepared = await prepare(
                account,
                holding,
                reader,
                asked,
                output=settings.output_dir,
                now=time.time(),
                progress=progress,
                form=form,
            )
            if document:
                require_same(document, prepared.party(), prepared.plan)
            console.close_progress()
            announce(console, prepared, settings.output_dir)
            return prepared, show_shortfall(console, reader, kept=kept)

        foreseen: set[Loss] = set()
        inherent: list[Loss] = []

        async def planned() -> Plan:
            prepared, _ = await look()
            foreseen.update(prepared.plan.losses())
            inherent.extend(prepared.inherent)
            show_conflicts(console, prepared)
            require_no_conflict(prepared.plan)
            require_within(prepared.plan, asked.max_loss)
            require_consent(console, prepared, yes=yes or document is not None)
            return prepared.plan

        if settings.dry_run:
            return _dry_run(console, *await look(), asked, completeness)
        options = {**asked.options(), "concurrency": settings.concurrency}
        report = await carry_out(console, settings, reader, holding, account, options, planned=planned, force=force)
    console.close_progress()
    return _told(console, settings, report, completeness, foreseen, inherent)


def _dry_run(
    console: Console, prepared: Prepared, lacking: dict[str, Any], asked: Asked, completeness: Completeness
) -> Outcome:
    """What ``plan`` shows, and its exit code."""
    from holdall.importer.destination.preparation import require_no_conflict, require_within

    verdict = completeness.of_plan(prepared.plan, prepared.inherent)
    show_plan(console, prepared, verdict)
    console.result(DRY_RUN)
    require_no_conflict(prepared.plan)
    require_within(prepared.plan, asked.max_loss)
    return Outcome(
        exit_code=EXIT_LOOK if prepared.plan.pending() else verdict.exit_code,
        result={"dry_run": True, **result_of(prepared), **as_result(verdict), **lacking},
        losses=losses_of(prepared.plan.losses()),
    )


def _told(
    console: Console,
    settings: DestinationSettings,
    report: Report,
    completeness: Completeness,
    foreseen: Container[Loss],
    inherent: list[Loss],
) -> Outcome:
    """Show what came of it; the exit code is the verdict's. ``foreseen`` was shown before, ``inherent`` is what no copy
    can have here."""
    from holdall.dialects.loss import Severity
    from holdall.importer.journal.report import Status, keeping, mapping
    from holdall.verdict import Reason

    for result in report.results:
        name = result.name or "no name"
        if result.status is Status.SUCCESS:
            arrow = f" -> {result.target}" if result.target else ""
            how = f" ({result.how})" if result.how != "created" else ""
            console.result(line(f"success  {result.source}{arrow}  {name}{how}"))
        else:
            there = f" -> {result.target}" if result.target else ""
            console.result(line(f"{result.status}  {result.source}{there}  {name}: {result.error}"))
    minor = [loss for loss in report.losses() if loss.why.severity is Severity.MINOR]
    show_losses(console, [loss for loss in dict.fromkeys(minor) if loss not in foreseen])
    counts = Counter(result.status for result in report.results)
    console.say(", ".join(f"{counts[status]} {status}" for status in Status if counts[status]) or "nothing to import")
    for orphan in report.orphans[:20]:
        where = orphan.id or "not seen so far"
        console.warn(line(f"possible orphan, used by nothing: {orphan.name or orphan.source} ({where})"))
    for one in report.duplicates[:20]:
        console.warn(line(f"made twice, by this import and by another: {one}"))
    if report.duplicates:
        more = f" ({len(report.duplicates)} in all, in mapping.json)" if len(report.duplicates) > 20 else ""
        console.warn(f"another import made the same things at the same time{more}: {keeping(report)}")
    console.say(f"mapping and report in {settings.output_dir}, this run in {settings.output_dir / 'runs' / report.run}")
    if report.stopped:
        raise report.stopped
    units = {result.source for result in report.results}
    living = {id for id, target in report.files.items() if str(id) == str(target)}
    verdict = completeness.verdict([*report.losses(), *inherent], failed=report.failed(), units=units, living=living)
    verdict = verdict.having(Reason.DUPLICATES, len(report.duplicates))
    conclude(console, verdict)
    document = mapping(report)
    return Outcome(
        exit_code=verdict.exit_code,
        result={
            "dry_run": False,
            "run": report.run,
            "output_dir": str(settings.output_dir),
            **{
                key: document[key]
                for key in ("source", "destination", "mappings", "agents", "vector_stores", "options")
            },
            "others": [{"srcId": one.source, "dstId": one.target, "status": one.status.value} for one in report.others],
            "files": len(report.files),
            "possible_orphans": document["possible_orphans"],
            "duplicates": document.get("duplicates", []),
            "requests": report.requests,
            **as_result(verdict),
        },
        losses=losses_of(report.losses()),
    )
