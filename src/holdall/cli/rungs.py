"""How contents are got where the server refuses their bytes, and what is good enough."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from holdall.exporter.policy import Policy
    from holdall.exporter.rungs import Rungs

__all__ = ["how_to_get", "policy_with", "rungs_with"]

_ANY = "any"


def how_to_get(command: Any) -> Any:
    """The options of whatever exports; ``clone`` has them too."""
    for decorate in reversed(
        (
            click.option(
                "--originals",
                metavar="DIR",
                type=click.Path(exists=True, file_okay=False, path_type=Path),
                help="Take your own files from here, with all below it, where the server refuses theirs: same name, "
                "same size, same words.",
            ),
            click.option(
                "--via-container",
                is_flag=True,
                help="Read what is refused through containers. Costs money, needs a key that may write; they are "
                "deleted at the end.",
            ),
            click.option(
                "--min-rung",
                type=click.Choice(["original", "container", "text", _ANY]),
                default="text",
                show_default=True,
                help="Exit with 4 where a content was got by a lower rung than this.",
            ),
            click.option(
                "--allow-missing",
                multiple=True,
                metavar="ID",
                help="This file or store may be missing without exit code 4. Repeatable.",
            ),
        )
    ):
        command = decorate(command)
    return command


def rungs_with(parameters: Mapping[str, Any]) -> Rungs:
    """The rungs out of a command's parameters. Containers get a name that nobody else's have."""
    from holdall.exporter.rungs import Rungs

    name = f"holdall-export-{secrets.token_hex(8)}" if parameters["via_container"] else None
    return Rungs(originals=parameters["originals"], containers=name)


def policy_with(parameters: Mapping[str, Any]) -> Policy:
    """The policy out of a command's parameters."""
    from holdall.exporter.policy import Policy
    from holdall.model import Rung

    lowest = Rung.UNAVAILABLE if parameters["min_rung"] == _ANY else Rung(parameters["min_rung"])
    return Policy(min_rung=lowest, allow_missing=frozenset(parameters["allow_missing"]))
