"""``holdall import``: a bundle into a project."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome, counted, human_size
from holdall.cli.shortfall import as_json, show
from holdall.errors import EXIT_DONE, EXIT_LOOK, DamagedBundle
from holdall.settings import DestinationSettings

if TYPE_CHECKING:
    from holdall.bundle.reader import BundleReader
    from holdall.dialects.loss import Loss
    from holdall.importer.report import Report
    from holdall.importer.steps import Catalogue, Plan, Unit
    from holdall.selection import Selection

__all__ = ["command", "how_to_import", "run_import"]

# How many losses or results of one kind the terminal shows; report.md, audit.jsonl and --json have them all.
_SHOWN = 20
# How many files to supply --json lists; `inspect --all` lists all.
_LISTED = 1000

DRY_RUN = "DRY RUN: nothing written"


def how_to_import(command: Any) -> Any:
    """The options that say how a copy is made; ``clone`` has them too."""
    for decorate in reversed(
        (
            click.option("--prefix", metavar="TEXT", help="Put before each assistant's name (CLONE_NAME_PREFIX)."),
            click.option(
                "--dry-run", is_flag=True, default=None, help="Show what would be created, create nothing (DRY_RUN)."
            ),
            click.option("--output-dir", metavar="DIR", help="For mapping and report, default ./out (OUTPUT_DIR)."),
        )
    ):
        command = decorate(command)
    return command


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--only",
    multiple=True,
    metavar="[KIND:]ID|GLOB",
    help="Only this, with all it needs; KIND is asst, store or file. Repeatable.",
)
@click.option("--exclude", multiple=True, metavar="[KIND:]ID|GLOB", help="Not this. Repeatable.")
@how_to_import
@options.account("dst")
@options.shared
@options.output
@click.pass_obj
def command(
    console: Console, /, bundle: Path, only: tuple[str, ...], exclude: tuple[str, ...], **parameters: Any
) -> Outcome:
    """Replay BUNDLE into a project: files, vector stores, then each assistant.

    Needs OPENAI_DST_API_KEY. The bundle is verified first; nothing is created from a damaged one. It only adds:
    nothing that is in the project already is changed. Ends with 3 where something came back less than whole.
    """
    from holdall.selection import Selection

    settings = options.read_destination(console, parameters)
    return run_import(console, settings, bundle, Selection(only=only, exclude=exclude))


def run_import(console: Console, settings: DestinationSettings, bundle: Path, selection: Selection) -> Outcome:
    """Verify, probe, plan and apply, telling on the way; raises what stopped the run after its report is shown."""
    from holdall.bundle.reader import open_bundle

    console.say(f"importing {bundle.name} into {settings.endpoint.title}")
    _prove(console, bundle)
    with open_bundle(bundle) as reader:
        return asyncio.run(_import(console, settings, reader, selection))


def _prove(console: Console, bundle: Path) -> None:
    from holdall.verify import verify

    verdict = verify(bundle, progress=console.progress())
    console.close_progress()
    if not verdict.whole:
        for finding in verdict.findings[:_SHOWN]:
            console.warn(f"  {finding.code}  {finding.entry or bundle.name}: {finding.message}")
        first = verdict.findings[0]
        raise DamagedBundle(
            f"can't import {bundle}: it is damaged ({len(verdict.findings)} findings), and nothing was created",
            hint=f"holdall verify {bundle} lists them all; holdall extract --salvage takes out what is whole",
            entry=first.entry,
        )


async def _import(
    console: Console, settings: DestinationSettings, reader: BundleReader, selection: Selection
) -> Outcome:
    from holdall.importer.apply import apply
    from holdall.importer.catalogue import catalogue
    from holdall.importer.plan import plan
    from holdall.importer.run import RunFolder
    from holdall.importer.writes import Pace
    from holdall.remote.client import Account

    holding = catalogue(reader)
    planned = plan(holding, selection, prefix=settings.prefix)
    progress = console.progress()
    async with Account(
        settings.endpoint, side="destination", concurrency=settings.concurrency, progress=progress
    ) as account:
        found = await account.require_assistants()
        _announce(console, planned, organization=found.organization, project=found.project)
        lacking = _show_shortfall(console, reader)
        if settings.dry_run:
            return _dry_run(console, planned, holding, lacking)
        folder = RunFolder(settings.output_dir, now=time.time, token=secrets.token_hex(3))
        try:
            report = await apply(
                planned,
                holding,
                reader,
                account,
                folder,
                options={
                    "prefix": settings.prefix,
                    "only": list(selection.only),
                    "exclude": list(selection.exclude),
                    "concurrency": settings.concurrency,
                },
                operation=lambda: secrets.token_hex(8),
                now=time.time,
                pace=Pace(clock=time.monotonic, sleep=asyncio.sleep),
                progress=progress,
            )
        finally:
            await folder.close()
    console.close_progress()
    return _told(console, settings, report)


def _announce(console: Console, planned: Plan, *, organization: str | None, project: str | None) -> None:
    """Which destination, how much, and what is lost: before anything is created."""
    whose = ", ".join(
        f"{title} {value}" for title, value in (("organisation", organization), ("project", project)) if value
    )
    if whose:
        console.say(f"destination: {whose}")
    total = planned.totals()
    part = "" if planned.chosen == planned.of else f" ({planned.chosen} of {planned.of} selected)"
    console.say(
        f"to create: {counted(total.assistants, 'assistant')}{part}, {counted(total.stores, 'vector store')}, "
        f"{counted(total.files, 'file')} ({human_size(total.bytes)})"
    )
    _show_losses(console, list(planned.losses()))


def _show_losses(console: Console, losses: list[Loss]) -> None:
    """What weighs one by one, the rest counted by its kind."""
    heavy = [loss for loss in losses if loss.why.weighs]
    for loss in heavy[:_SHOWN]:
        console.warn(f"  {_line(loss)}")
    if len(heavy) > _SHOWN:
        console.warn(f"  … and {len(heavy) - _SHOWN} more")
    light = [loss for loss in losses if not loss.why.weighs]
    for why, count in Counter(loss.why for loss in light).items():
        first = next(loss for loss in light if loss.why is why)
        more = f" (and {count - 1} more like it)" if count > 1 else ""
        console.say(f"  {_line(first)}{more}")


def _show_shortfall(console: Console, reader: BundleReader) -> dict[str, Any]:
    """What the bundle itself could not take in, as ``export`` and ``inspect`` show it; its values under ``--json``."""
    from holdall.bundle.shortfall import Shortfall

    with Shortfall(reader) as shortfall:
        show(console.warn, shortfall, more=f"holdall inspect {reader.path} --all")
        return as_json(shortfall, limit=_LISTED) if console.json else {}


def _dry_run(console: Console, planned: Plan, holding: Catalogue, lacking: dict[str, Any]) -> Outcome:
    for unit in planned.units:
        for line in _unit_lines(unit, holding):
            console.result(line)
    console.result(DRY_RUN)
    return Outcome(
        exit_code=EXIT_DONE,
        result={
            "dry_run": True,
            "totals": msgspec.to_builtins(planned.totals()),
            **lacking,
            "units": [
                {
                    "kind": unit.kind.value,
                    "id": unit.id,
                    "name": unit.name,
                    "steps": [line.strip() for line in _unit_lines(unit, holding)],
                }
                for unit in planned.units
            ],
        },
        losses=[msgspec.to_builtins(loss) for loss in planned.losses()],
    )


def _unit_lines(unit: Unit, holding: Catalogue) -> list[str]:
    """What would be done for one unit, a line a step."""
    from holdall.importer.steps import AttachFiles, Cannot, CreateAssistant, CreateStore, LeaveOut, UploadFile

    lines = []
    for step in unit.steps:
        match step:
            case UploadFile(content=content, purpose=purpose):
                name = content.filename or content.id
                size = human_size(content.size if content.size is not None else content.stored)
                lines.append(f"  upload file {name}, {size}, {content.rung}, purpose {purpose}")
            case CreateStore(id=id, name=title):
                lines.append(f"  create vector store {title or 'without a name'} ({id})")
            case AttachFiles(store=id, count=count):
                lines.append(f"  attach {count} files to {id}")
            case CreateAssistant(id=id, name=title, model=model):
                lines.append(f"  create assistant {title or 'without a name'} ({id}), model {model}")
            case LeaveOut(loss=loss):
                lines.append(f"  {loss}")
            case Cannot(id=id, reason=reason):
                lines.append(f"  can't create {id}: {reason}")
    return [_line(line) for line in (f"{unit.name or unit.id}:", *lines)]


def _line(value: object) -> str:
    """On one line, whatever the names in it hold."""
    return " ".join(str(value).splitlines())


def _told(console: Console, settings: DestinationSettings, report: Report) -> Outcome:
    """Show what came of it; the exit code says whether everything is whole."""
    from holdall.importer.report import Status, mapping

    for result in report.results:
        name = result.name or "no name"
        if result.status is Status.SUCCESS:
            arrow = f" -> {result.target}" if result.target else ""
            console.result(_line(f"success  {result.source}{arrow}  {name}"))
        else:
            there = f" -> {result.target}" if result.target else ""
            console.result(_line(f"{result.status}  {result.source}{there}  {name}: {result.error}"))
    counts = Counter(result.status for result in report.results)
    console.say(", ".join(f"{counts[status]} {status}" for status in Status if counts[status]) or "nothing to import")
    console.say(f"mapping and report in {settings.output_dir}, this run in {settings.output_dir / 'runs' / report.run}")
    if report.stopped:
        raise report.stopped
    document = mapping(report)
    return Outcome(
        exit_code=EXIT_DONE if report.whole else EXIT_LOOK,
        result={
            "dry_run": False,
            "run": report.run,
            "output_dir": str(settings.output_dir),
            **{key: document[key] for key in ("source", "destination", "mappings", "vector_stores", "options")},
            "others": [{"srcId": one.source, "dstId": one.target, "status": one.status.value} for one in report.others],
            "files": len(report.files),
            "requests": report.requests,
        },
        losses=[msgspec.to_builtins(loss) for loss in report.losses()],
    )
