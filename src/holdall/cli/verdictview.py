"""The verdict as every command shows it, on the terminal and in ``--json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from holdall.cli.console import Console

if TYPE_CHECKING:
    from holdall.verdict import Verdict

__all__ = ["accepting", "as_exported", "as_result", "conclude", "worse"]


def accepting(command: Any) -> Any:
    """The option of whatever compares a destination with what the project had."""
    return click.option(
        "--accept-known-losses",
        is_flag=True,
        help="Exit with 0 where nothing is missing but what the bundle records as lost.",
    )(command)


def worse(*codes: int) -> int:
    """The exit code of a command with several verdicts: that something is missing says more than a difference."""
    return max(codes)


def conclude(console: Console, verdict: Verdict) -> None:
    """The last line of a command whose result is on stdout already."""
    if verdict.counts:
        console.warn(str(verdict))
    else:
        console.say(str(verdict))


def as_exported(verdict: Verdict) -> str:
    """Behind the word that a bundle is whole: what it lacks all the same; nothing where it lacks nothing."""
    said = str(verdict)
    if verdict.complete:
        return said.removeprefix("complete")
    return said.replace("incomplete:", "; incomplete as exported:", 1)


def as_result(verdict: Verdict) -> dict[str, Any]:
    """What ``result`` has of it under ``--json``."""
    return {"complete": verdict.complete, "verdict": verdict.as_json()}
