"""What ``plan``, ``import`` and ``clone`` share: the options that a plan is made by, and the bundle, proved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdall.cli.console import Console, counted
from holdall.errors import DamagedBundle, Mistakes, UsageFault, pasteable
from holdall.selection import KIND_NAMES

if TYPE_CHECKING:
    from holdall.bundle.reader import BundleReader
    from holdall.importer.verbs.plan_import import Asked

__all__ = ["asked_of", "how_to_plan", "proved", "what_to_import"]

# How many findings the terminal shows; `verify` lists all.
_SHOWN = 20


def what_to_import(command: Any) -> Any:
    """The one selector, for a bundle."""
    command = click.option("--exclude", multiple=True, metavar="[KIND:]ID|GLOB", help="Not this. Repeatable.")(command)
    return click.option(
        "--only",
        multiple=True,
        metavar="[KIND:]ID|GLOB",
        help=f"Only this, with all it needs; KIND is {KIND_NAMES}. Repeatable.",
    )(command)


def how_to_plan(command: Any) -> Any:
    """The options that a plan depends on."""
    for decorate in reversed(
        (
            click.option(
                "--as",
                "form",
                type=click.Choice(["auto", "assistants", "responses"]),
                default="auto",
                help="What becomes of assistants: what the destination can keep (default), assistants, or requests for "
                "the Responses API, written to OUTPUT_DIR/responses.",
            ),
            click.option(
                "--max-loss",
                type=click.Choice(["none", "minor", "any"]),
                default="any",
                help="Write nothing where more than this would be lost; default any.",
            ),
            click.option(
                "--prefix", metavar="TEXT", help="Put before each assistant's and agent's name (CLONE_NAME_PREFIX)."
            ),
            click.option(
                "--map-model",
                multiple=True,
                metavar="OLD=NEW",
                help="Give assistants of model OLD (or a GLOB) the model NEW. Repeatable.",
            ),
            click.option("--skip-unmapped", is_flag=True, help="Leave out assistants whose model isn't there."),
            click.option(
                "--keep-metadata",
                multiple=True,
                metavar="KEY",
                help="Send this metadata key, though it seems to be the server's own. Repeatable.",
            ),
            click.option(
                "--drop-metadata", multiple=True, metavar="GLOB", help="Leave out these metadata keys. Repeatable."
            ),
            click.option(
                "--on-conflict",
                type=click.Choice(["stop", "skip", "update", "duplicate"]),
                default="stop",
                help="Where something is there already and differs: write nothing (default), leave it, make it equal, "
                "or make everything anew beside it.",
            ),
            click.option(
                "--mapping",
                type=click.Path(exists=True, dir_okay=False),
                metavar="FILE",
                help="A mapping.json that says what is a copy of what.",
            ),
            click.option(
                "--delete", is_flag=True, help="With update: take files out of stores that shouldn't be there."
            ),
            click.option("--even-if-changed", is_flag=True, help="With update: also what others have changed since."),
            click.option("--output-dir", metavar="DIR", help="For mapping and report, default ./out (OUTPUT_DIR)."),
        )
    ):
        command = decorate(command)
    return command


def asked_of(parameters: Mapping[str, Any]) -> Asked:
    """What the command line asks for, but for the prefix, which is a setting. Raises UsageFault, all at once."""
    from holdall.dialects.loss import MaxLoss
    from holdall.dialects.tables import Form
    from holdall.importer.verbs.plan_import import Asked, OnConflict, model_map
    from holdall.selection import pattern

    mistakes = Mistakes()
    on_conflict = OnConflict(parameters["on_conflict"])
    for flag in ("delete", "even_if_changed"):
        if parameters[flag] and on_conflict is not OnConflict.UPDATE:
            mistakes.add(UsageFault(f"--{flag.replace('_', '-')} needs --on-conflict update"))
    with mistakes.noted():
        model_map(parameters["map_model"])
    for text in (*(parameters.get("only") or ()), *(parameters.get("exclude") or ())):
        with mistakes.noted():
            pattern(text)
    mistakes.raise_all()
    return Asked(
        form=None if parameters["form"] == "auto" else Form(parameters["form"]),
        max_loss=MaxLoss(parameters["max_loss"]),
        only=tuple(parameters.get("only") or ()),
        exclude=tuple(parameters.get("exclude") or ()),
        map_model=tuple(parameters["map_model"]),
        skip_unmapped=parameters["skip_unmapped"],
        on_conflict=on_conflict,
        delete=parameters["delete"],
        even_if_changed=parameters["even_if_changed"],
        mapping=parameters["mapping"],
        keep_metadata=tuple(parameters["keep_metadata"]),
        drop_metadata=tuple(parameters["drop_metadata"]),
    )


@contextmanager
def proved(console: Console, bundle: Path) -> Iterator[BundleReader]:
    """The bundle, open, of which nothing is read but what was proved. Raises DamagedBundle where it isn't whole."""
    from holdall.verification import verified

    with verified(bundle, progress=console.progress()) as (verdict, reader):
        console.close_progress()
        if reader is None:
            for finding in verdict.findings[:_SHOWN]:
                console.warn(f"  {finding.code}: {finding.message}")
            found = counted(len(verdict.findings), "finding")
            raise DamagedBundle(
                f"can't import {bundle}: it is damaged ({found}), and nothing was created",
                hint=f"holdall verify {pasteable(bundle)} lists them all; "
                f"holdall extract {pasteable(bundle)} --salvage --to FOLDER takes out what is whole",
                entry=verdict.findings[0].entry,
            )
        yield reader
