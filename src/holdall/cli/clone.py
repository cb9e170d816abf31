"""``holdall clone``: export and import in one go, for who holds both keys; the bundle between them stays."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.again import again_with, how_to_repeat
from holdall.cli.console import Console, Outcome
from holdall.cli.export import losses_of, result_of, run_export, what_to_export, where_to_start
from holdall.cli.import_ import how_to_import, run_import
from holdall.cli.planning import asked_of
from holdall.cli.rungs import how_to_get, policy_with, rungs_with
from holdall.errors import EXIT_DONE, EXIT_LOOK
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
    nothing is exported in vain. Ends with 3 where either half says that something is less than whole.
    """
    source = options.read_source(console, parameters)
    destination = options.read_destination(console, parameters)
    asked = asked_of(parameters, prefix=destination.prefix)
    asyncio.run(_ask(destination, asked))
    # What the copy will lack counts, whether or not an earlier bundle lacked it too.
    again = msgspec.structs.replace(again_with(parameters), strict=True)
    report = run_export(
        console,
        source,
        where_to_start(source, parameters),
        None,
        force=False,
        again=again,
        rungs=rungs_with(parameters),
        policy=policy_with(parameters),
    )
    console.result(str(report.bundle))
    imported = run_import(console, destination, report.bundle, asked, force=parameters["force"], yes=parameters["yes"])
    return Outcome(
        exit_code=imported.exit_code if report.acceptable or imported.exit_code != EXIT_DONE else EXIT_LOOK,
        result={"export": result_of(console, report), "import": imported.result},
        losses=[*losses_of(report), *imported.losses],
    )


async def _ask(destination: DestinationSettings, asked: Asked) -> None:
    from holdall.importer.destination.destination import choose
    from holdall.remote.client import Account

    async with Account(destination.endpoint, side="destination") as account:
        await choose(account, asked.form)
