"""How contents are got where the server refuses their bytes, and what is good enough."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from holdall.exporter.fetch import Fallbacks
    from holdall.exporter.report import Policy

__all__ = ["fallbacks_with", "how_to_get", "policy_with"]

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
                "--min-fidelity",
                type=click.Choice(["original", "container", "text", _ANY]),
                default="text",
                show_default=True,
                help="Exit with 4 if a file falls below this fidelity.",
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


def fallbacks_with(parameters: Mapping[str, Any]) -> Fallbacks:
    """The fallbacks that a command's parameters ask for. Containers get a unique name."""
    from holdall.exporter.fetch import Fallbacks

    name = f"holdall-export-{secrets.token_hex(8)}" if parameters["via_container"] else None
    return Fallbacks(originals=parameters["originals"], containers=name)


def policy_with(parameters: Mapping[str, Any]) -> Policy:
    """The policy out of a command's parameters."""
    from holdall.exporter.report import Policy
    from holdall.model import Fidelity

    lowest = Fidelity.UNAVAILABLE if parameters["min_fidelity"] == _ANY else Fidelity(parameters["min_fidelity"])
    return Policy(min_fidelity=lowest, allow_missing=frozenset(parameters["allow_missing"]))
