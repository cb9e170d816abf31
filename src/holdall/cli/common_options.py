"""The options of the program and of every command; apart from all others, because ``--help`` imports them."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from holdall.cli.console import Console, fitting
from holdall.errors import Mistakes, UsageFault

__all__ = ["Command", "OutputFile", "output"]

F = TypeVar("F", bound=Callable[..., Any])


class Command(click.Command):
    """A command that tells of every mistake in its options, and in the settings that go with them, at once."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        lenient: dict[str | None, click.Parameter] = ctx.meta.get(_LENIENT, {})
        return [lenient.get(param.name, param) for param in super().get_params(ctx)]

    def get_help(self, ctx: click.Context) -> str:
        return fitting(super().get_help(ctx), sys.stdout)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        mistakes, words = Mistakes(), list(args)
        lenient = ctx.meta.setdefault(_LENIENT, {})
        while True:
            try:
                rest = super().parse_args(ctx, list(words))
                break
            except click.exceptions.NoArgsIsHelpError:
                raise
            except click.UsageError as error:
                mistakes.add(UsageFault(error.format_message(), hint=f"{ctx.command_path} --help"))
                if not _pass_over(error, words, lenient):
                    rest = []
                    break
            # What stood behind an unknown option may have been its value.
            ctx.allow_extra_args = len(words) < len(args)
            ctx.params.clear()
        if mistakes:
            from holdall.cli import options  # the settings' room takes longer to import than --help may take

            for fault in options.faults(ctx.ensure_object(Console), ctx.params, {param.name for param in self.params}):
                mistakes.add(fault)
        mistakes.raise_all()
        return rest


_LENIENT = "holdall.lenient"


def _pass_over(error: click.UsageError, words: list[str], lenient: dict[str | None, click.Parameter]) -> bool:
    """Have the next try not end in ``error`` again; whether that can be done."""
    if isinstance(error, click.NoSuchOption):
        kept = [word for word in words if word.partition("=")[0] != error.option_name]
        done = len(kept) < len(words)
        words[:] = kept
        return done
    param = error.param if isinstance(error, click.BadParameter) else None
    if param is None or param.name in lenient:
        return False
    taken = copy.copy(param)
    taken.type, taken.required, taken.callback = click.STRING, False, None
    lenient[param.name] = taken
    return True


class OutputFile(click.ParamType[Path]):
    """A file to write, as a Path. Nothing is written to stdout yet: ``-`` is refused, not made a file's name."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if str(value) == "-":
            self.fail("can't write to stdout; name a file (./- for one of that name)", param, ctx)
        if not str(value).strip():
            self.fail("a file's name has to follow; it is empty", param, ctx)
        return Path(value)


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
