"""The options of the program and of every command; apart from all others, because ``--help`` imports them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from holdall.cli.console import Console

__all__ = ["output"]

F = TypeVar("F", bound=Callable[..., Any])


def _turn_on(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    if value:
        setattr(ctx.ensure_object(Console), str(param.name), True)
    return value


def output(command: F) -> F:
    """``--json`` and ``--quiet``: kept in the Console that main passes down as ``ctx.obj``."""
    command = click.option(
        "--quiet", "-q", is_flag=True, expose_value=False, callback=_turn_on, help="Only results and warnings."
    )(command)
    return click.option(
        "--json", is_flag=True, expose_value=False, callback=_turn_on, help="One JSON document on stdout."
    )(command)
