"""``holdall clone``: export and import in one go, for who holds both keys; the bundle between them stays."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome
from holdall.cli.export import ARCHIVES, dump_of, losses_of, result_of, run_export, what_to_export, where_to_start
from holdall.cli.fidelity import fallbacks_with, how_to_get, policy_with
from holdall.cli.import_ import how_to_import
from holdall.cli.planning import asked_of
from holdall.cli.previous_exports import again_with, how_to_repeat
from holdall.cli.subprocesses import passing_folder
from holdall.cli.verdictview import worse
from holdall.errors import Mistakes, UsageFault
from holdall.settings import DestinationSettings, SourceSettings

if TYPE_CHECKING:
    from holdall.dialects.tables import Form

__all__ = ["command"]


@click.command(cls=options.Command)
@what_to_export
@how_to_get
@how_to_repeat
@how_to_import
@click.option(
    "--same-project",
    is_flag=True,
    help="Copy a project into itself: everything is made anew, under --prefix. Refused without this.",
)
@options.account("src")
@options.account("dst")
@options.shared
@options.output
@click.pass_obj
def command(console: Console, /, **parameters: Any) -> Outcome:
    """Export one project and import it into another, through a bundle that stays in archives/.

    Needs OPENAI_SRC_API_KEY and OPENAI_DST_API_KEY. The destination is asked first what it can take, so that
    nothing is exported in vain. With --dry-run the bundle is not kept. Exits with 4 where either half says that
    something is missing, with 3 where there is something to look at.
    """
    mistakes = Mistakes()
    with mistakes.noted():
        source = options.read_source(console, parameters)
    with mistakes.noted():
        destination = options.read_destination(console, parameters)
    with mistakes.noted():
        asked = asked_of(parameters)
    with mistakes.noted():
        dump = dump_of(parameters)
    if not mistakes and parameters["same_project"]:
        with mistakes.noted():
            asked = asked_of(_anew(parameters, destination.prefix))
    mistakes.raise_all()
    asked = msgspec.structs.replace(asked, prefix=destination.prefix)
    asyncio.run(_ask(source, destination, asked.form, same_allowed=parameters["same_project"]))
    from holdall.cli.runs import run_import

    again = again_with(parameters)
    kept = not destination.dry_run
    with ExitStack() as stack:
        folder = None
        if not kept:
            folder = stack.enter_context(passing_folder("holdall-"))
            again = msgspec.structs.replace(again, parents=ARCHIVES)
        report = run_export(
            console,
            source,
            where_to_start(source, parameters, dump),
            folder,
            force=False,
            again=again,
            fallbacks=fallbacks_with(parameters),
            policy=policy_with(parameters),
            kept=kept,
        )
        if kept:
            console.result(str(report.bundle))
        exported = result_of(console, report) | ({} if kept else {"bundle": None})
        imported = run_import(console, destination, report.bundle, asked, parameters, kept=kept)
    # What the export lost the bundle records, and the import has counted it.
    known = parameters["accept_known_losses"] and not report.verdict.complete
    assert isinstance(imported.result, dict)
    return Outcome(
        exit_code=imported.exit_code if known else worse(report.verdict.exit_code, imported.exit_code),
        result={
            "export": exported,
            "import": imported.result,
            **{key: imported.result[key] for key in ("complete", "verdict")},
        },
        losses=[*losses_of(report), *imported.losses],
    )


def _anew(parameters: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """What is asked for where a project is copied into itself: everything anew, under names that can be told apart."""
    mistakes = Mistakes()
    if parameters["on_conflict"] not in ("stop", "duplicate"):
        mistakes.add(
            UsageFault(
                f"--same-project makes everything anew; --on-conflict {parameters['on_conflict']} "
                "can't be given with it"
            )
        )
    if not prefix:
        mistakes.add(
            UsageFault(
                "--same-project needs --prefix, or originals and copies have the same names", hint="--prefix 'Copy of '"
            )
        )
    mistakes.raise_all()
    return {**parameters, "on_conflict": "duplicate"}


async def _ask(
    source: SourceSettings, destination: DestinationSettings, form: Form | None, *, same_allowed: bool
) -> None:
    """See that the destination can take what is asked for, and that it is another project. Raises UsageFault."""
    from holdall.importer.verbs.plan_import import choose
    from holdall.remote.client import Account
    from holdall.remote.probing import same_project

    assert source.endpoint is not None  # read with the key needed
    same = UsageFault(
        "source and destination are the same project: everything would be found to be there already",
        hint="check OPENAI_SRC_API_KEY and OPENAI_DST_API_KEY; "
        "--same-project --prefix 'Copy of ' copies a project into itself",
    )
    if source.endpoint.is_same(destination.endpoint) and not same_allowed:
        raise same
    async with Account(destination.endpoint, side="destination") as account:
        await choose(account, form)
        if same_allowed:
            return
        async with Account(source.endpoint, side="source") as other:
            if await same_project(other, account):
                raise same
