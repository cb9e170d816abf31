"""``holdall clone``: export and import in one go, for who holds both keys; the bundle between them stays."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from holdall.cli import options
from holdall.cli.again import again_with, how_to_repeat
from holdall.cli.console import Console, Outcome
from holdall.cli.export import losses_of, result_of, run_export, what_to_export, where_to_start
from holdall.cli.import_ import how_to_import, run_import
from holdall.cli.planning import asked_of
from holdall.cli.rungs import how_to_get, policy_with, rungs_with
from holdall.cli.verdict import worse
from holdall.settings import DestinationSettings

if TYPE_CHECKING:
    from holdall.importer.plan.document import Asked

__all__ = ["command"]


@click.command()
@what_to_export
@how_to_get
@how_to_repeat
@how_to_import
@options.account("src")
@options.account("dst")
@options.shared
@options.output
@click.pass_obj
def command(console: Console, /, **parameters: Any) -> Outcome:
    """Export one project and import it into another, through a bundle that stays in archives/.

    Needs OPENAI_SRC_API_KEY and OPENAI_DST_API_KEY. The destination is asked first what it can take, so that
    nothing is exported in vain. Exits with 4 where either half says that something is missing, with 3 where there is
    something to look at.
    """
    source = options.read_source(console, parameters)
    destination = options.read_destination(console, parameters)
    asked = asked_of(parameters, prefix=destination.prefix)
    asyncio.run(_ask(destination, asked))
    report = run_export(
        console,
        source,
        where_to_start(source, parameters),
        None,
        force=False,
        again=again_with(parameters),
        rungs=rungs_with(parameters),
        policy=policy_with(parameters),
    )
    console.result(str(report.bundle))
    imported = run_import(
        console,
        destination,
        report.bundle,
        asked,
        force=parameters["force"],
        yes=parameters["yes"],
        accept_known=parameters["accept_known_losses"],
    )
    return Outcome(
        exit_code=worse(report.verdict.exit_code, imported.exit_code),
        result={"export": result_of(console, report), "import": imported.result},
        losses=[*losses_of(report), *imported.losses],
    )


async def _ask(destination: DestinationSettings, asked: Asked) -> None:
    from holdall.importer.destination.destination import choose
    from holdall.remote.client import Account

    async with Account(destination.endpoint, side="destination") as account:
        await choose(account, asked.form)
