"""``holdall clone``: export and import in one go. The bundle stays."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options, parameters
from holdall.cli.console import Console, Outcome
from holdall.cli.export import dump_of, run_export
from holdall.cli.subprocesses import temporary_folder
from holdall.errors import Mistakes, UsageFault
from holdall.kinds import KINDS
from holdall.model import Kind
from holdall.settings import DestinationSettings, SourceSettings

if TYPE_CHECKING:
    from holdall.dialects.rules import Form


@click.command(cls=options.Command)
@options.what_to_export
@options.how_to_export
@options.how_to_import
@click.option(
    "--same-project",
    is_flag=True,
    help="Copy a project into itself: everything again, under --prefix; or --as foundry, each classic agent as a new "
    "one.",
)
@options.accounts("src", "dst")
@options.output
def command(console: Console, /, **given: Any) -> Outcome:
    """Export one project and import it into another; the bundle is kept in archives/.

    Needs OPENAI_SRC_API_KEY and OPENAI_DST_API_KEY; with --same-project, the first is enough. Checks first that the
    destination can take the import. With --dry-run the bundle is not kept. Exits 4 if anything is missing after the
    export or the import, 3 on warnings.
    """
    mistakes = Mistakes()
    with mistakes.noted():
        source = parameters.read_source(console, given)
    with mistakes.noted():
        destination, asked = parameters.read_import(console, given)
    with mistakes.noted():
        dump = dump_of(given)
    mistakes.raise_all()
    from holdall.cli.import_run import run_import
    from holdall.dialects.rules import Form
    from holdall.importer.verbs.import_bundle import OnConflict

    if given["same_project"] and asked.form is Form.FOUNDRY:
        source = _in_place(source, destination)
    elif given["same_project"]:
        _require_anew(given, destination.prefix)
        asked = msgspec.structs.replace(asked, on_conflict=OnConflict.DUPLICATE)
    asyncio.run(_ask(source, destination, asked.form, same_allowed=given["same_project"]))
    kept = not destination.dry_run
    with nullcontext() if kept else temporary_folder("holdall-") as folder:
        # --force is the import's: a bundle that is there is never replaced.
        wanted = {**given, "output": folder, "force": False}
        exported = run_export(console, source, wanted, dump, kept=kept, last=False)
        imported = run_import(console, destination, Path(exported.result["bundle"]), asked, given)
    # The bundle records what the export lost, so the import has counted it already.
    known = given["accept_known_losses"] and not exported.result["complete"]
    return Outcome(
        exit_code=imported.exit_code if known else max(exported.exit_code, imported.exit_code),
        result={
            "export": exported.result | ({} if kept else {"bundle": None}),
            "import": imported.result,
            **{key: imported.result[key] for key in ("complete", "verdict")},
        },
        losses=[*exported.losses, *imported.losses],
    )


def _in_place(source: SourceSettings, destination: DestinationSettings) -> SourceSettings:
    """What makes new agents of a Foundry project's classic ones: these, unless others are asked for, and what they use.
    Raises UsageFault where no Foundry project is given, or another destination."""
    assert source.endpoint is not None  # read with the key needed
    source.endpoint.require_project()
    if not source.endpoint.is_same(destination.endpoint):
        raise UsageFault(
            f"--same-project: the destination is another one, {destination.endpoint.base_url}",
            hint="unset the OPENAI_DST_… variables: with --same-project the source's are used; or leave "
            "--same-project out",
        )
    if source.selection.only:
        return source
    # What is new already would be compared with itself, and what no assistant uses be copied for nothing.
    everything = f"{KINDS[Kind.ASSISTANT].selector}*"
    said = {everything: "classic agents (--same-project --as foundry)"}
    classic = msgspec.structs.replace(source.selection, only=(everything,), said=said)
    return msgspec.structs.replace(source, selection=classic)


def _require_anew(given: Mapping[str, Any], prefix: str) -> None:
    """Raises UsageFault where a copy of a project in itself could not be told from the original."""
    mistakes = Mistakes()
    if given["on_conflict"] not in ("stop", "duplicate"):
        said = (
            f"--same-project creates everything again; --on-conflict {given['on_conflict']} can't be combined with it"
        )
        mistakes.add(UsageFault(said))
    if not prefix:
        said = "--same-project needs --prefix: without it, copies and originals have the same names"
        mistakes.add(UsageFault(said, hint="--prefix 'Copy of '"))
    mistakes.raise_all()


async def _ask(
    source: SourceSettings, destination: DestinationSettings, form: Form | None, *, same_allowed: bool
) -> None:
    """Raises UsageFault where the destination can't take what is asked for, or is the source."""
    from holdall.importer.verbs.import_bundle import choose
    from holdall.remote.client import Account, same_project

    assert source.endpoint is not None  # read with the key needed
    same = UsageFault(
        "source and destination are the same project: everything is already there",
        hint="check OPENAI_SRC_API_KEY and OPENAI_DST_API_KEY; "
        "--same-project --prefix 'Copy of ' copies a project into itself"
        + (", --same-project --as foundry makes new agents of classic ones" if source.endpoint.is_foundry else ""),
    )
    if source.endpoint.is_same(destination.endpoint) and not same_allowed:
        raise same
    async with Account(destination.endpoint, side="destination") as account:
        await choose(account, form)
        if same_allowed:
            return
        # Two keys, or two names of one server, may lead to one project: only the server knows.
        async with Account(source.endpoint, side="source") as other:
            if await same_project(other, account):
                raise same
