"""``holdall import``: a bundle into a project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome
from holdall.cli.planning import asked_of, how_to_plan, what_to_import
from holdall.cli.verdictview import accepting
from holdall.errors import Mistakes, UsageFault

__all__ = ["command", "how_to_import"]


def how_to_import(command: Any) -> Any:
    """The options that say how a copy is made; ``clone`` has them too."""
    for decorate in reversed(
        (
            how_to_plan,
            click.option(
                "--dry-run", is_flag=True, default=None, help="Show what would be done, write nothing (DRY_RUN)."
            ),
            click.option(
                "--settle",
                metavar="SECONDS",
                help="How long to look for something whose answer was lost, before a second try; default 60 "
                "(HOLDALL_SETTLE).",
            ),
            click.option(
                "--force",
                is_flag=True,
                help="Go on although another import made copies of the same within the last hour.",
            ),
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
    from holdall.cli.runs import run_import
    from holdall.importer.verbs.plan_import import read_plan

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
    return run_import(console, settings, bundle, asked, parameters, document=document, compared=verify)


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
