"""``holdall plan``: what an import would do, and nothing of it done."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome
from holdall.cli.losses import losses_of
from holdall.cli.planning import (
    announce,
    asked_of,
    how_to_plan,
    proved,
    result_of,
    show_plan,
    show_shortfall,
    what_to_import,
)
from holdall.cli.verdict import accepting, as_result
from holdall.errors import EXIT_LOOK, Mistakes, pasteable
from holdall.settings import DestinationSettings

if TYPE_CHECKING:
    from holdall.bundle.reader import BundleReader
    from holdall.importer.plan.document import Asked

__all__ = ["command"]


@click.command("plan", cls=options.Command)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("-o", "--output", metavar="FILE", type=options.OutputFile(), help="Write the plan, for import --plan.")
@what_to_import
@how_to_plan
@accepting
@options.account("dst")
@options.shared
@options.output
@click.pass_obj
def command(console: Console, /, bundle: Path, output: Path | None, **parameters: Any) -> Outcome:
    """Show what importing BUNDLE would do: create, adopt, update, skip, or what it can't; it only reads.

    Needs OPENAI_DST_API_KEY. Asks the destination which endpoints answer, which models it has and when they shut down,
    and what of the bundle is there already. Exits with 3 where there is something to do, with 4 where there isn't and
    something that the source had is missing, else with 0.
    """
    mistakes = Mistakes()
    with mistakes.noted():
        settings = options.read_destination(console, parameters)
    with mistakes.noted():
        asked = asked_of(parameters)
    mistakes.raise_all()
    asked = msgspec.structs.replace(asked, prefix=settings.prefix)
    console.say(f"planning to import {bundle.name} into {settings.endpoint.title}")
    with proved(console, bundle) as reader:
        accept_known = parameters["accept_known_losses"]
        return asyncio.run(_plan(console, settings, reader, asked, output, accept_known=accept_known))


async def _plan(
    console: Console,
    settings: DestinationSettings,
    reader: BundleReader,
    asked: Asked,
    output: Path | None,
    *,
    accept_known: bool,
) -> Outcome:
    from holdall.importer.destination.preparation import prepare, require_no_conflict, require_within
    from holdall.importer.journal.run import timestamp
    from holdall.importer.plan.catalogue import catalogue
    from holdall.importer.plan.completeness import Completeness
    from holdall.importer.plan.document import write_plan
    from holdall.remote.client import Account

    progress, holding = console.progress(), catalogue(reader)
    async with Account(
        settings.endpoint, side="destination", concurrency=settings.concurrency, progress=progress
    ) as account:
        prepared = await prepare(
            account,
            holding,
            reader,
            asked,
            output=settings.output_dir,
            now=time.time(),
            progress=progress,
        )
    console.close_progress()
    announce(console, prepared, settings.output_dir)
    lacking = show_shortfall(console, reader)
    completeness = Completeness(holding, asked.selection, accept_known=accept_known)
    verdict = completeness.of_plan(prepared.plan, prepared.inherent)
    show_plan(console, prepared, verdict)
    require_no_conflict(prepared.plan)
    require_within(prepared.plan, asked.max_loss)
    if output:
        bundle = {"name": reader.path.name, **msgspec.to_builtins(reader.info.digests)}
        write_plan(output, prepared.document(asked, bundle, made=timestamp(time.time())))
        carry_out = f"holdall import {pasteable(reader.path)} --plan {pasteable(output)}"
        console.say(f"the plan is in {output}; carry it out:  {carry_out}")
    return Outcome(
        exit_code=EXIT_LOOK if prepared.plan.pending() else verdict.exit_code,
        result={"plan": str(output) if output else None, **result_of(prepared), **as_result(verdict), **lacking},
        losses=losses_of(prepared.plan.losses()),
    )
