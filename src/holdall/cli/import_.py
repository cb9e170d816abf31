"""``holdall import``: a bundle into a project."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from holdall.cli import options, parameters
from holdall.cli.console import Console, Outcome
from holdall.errors import Mistakes, UsageFault


@click.command(cls=options.Command)
@options.bundle
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(path_type=Path),
    help="Apply this plan (written by plan -o), and nothing else.",
)
@options.what_to_import
@options.how_to_import
@click.option(
    "--verify", is_flag=True, help="Compare the result with the bundle at the end, like verify --against dst."
)
@options.accounts("dst")
@options.output
def command(console: Console, /, bundle: Path, plan_file: Path | None, verify: bool, **given: Any) -> Outcome:
    """Restore BUNDLE into a project, one assistant with its files and vector stores after the other.

    Needs OPENAI_DST_API_KEY. Verifies the bundle first, and imports nothing from a damaged one. Objects that the
    project already has are reused if equal; if one differs, nothing is written unless --on-conflict says what to do. If
    the project has no Assistants API, assistants are written to files as requests for the Responses API. Exits 4 if
    anything is missing at the destination, 3 if anything differs. To resume an interrupted import, run the same command
    again.
    """
    from holdall.cli.import_run import run_import
    from holdall.importer.verbs.import_bundle import read_plan

    document = None
    if plan_file is None:
        settings, asked = parameters.read_import(console, given)
    else:
        mistakes = Mistakes()
        with mistakes.noted():
            settings = parameters.read_destination(console, given)
        with mistakes.noted():
            document = read_plan(plan_file)
            asked = document.asked
        with mistakes.noted():
            _require_alone(given)
        mistakes.raise_all()
    return run_import(console, settings, bundle, asked, given, document=document, compared=verify)


def _require_alone(given: Mapping[str, Any]) -> None:
    """Raises UsageFault for a flag that the plan says already."""
    plain = {"on_conflict": "stop", "form": "auto", "max_loss": "any"}
    others = ("prefix", "only", "exclude", "map_model", "map_connection", "skip_unmapped", "mapping", "delete")
    mistakes = Mistakes()
    for name in (*plain, *others, "keep_metadata", "drop_metadata"):
        if given[name] and given[name] != plain.get(name):
            flag = "as" if name == "form" else name.replace("_", "-")
            mistakes.add(UsageFault(f"--{flag} can't be combined with --plan: the plan sets it"))
    mistakes.raise_all()
