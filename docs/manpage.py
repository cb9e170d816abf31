"""Writes the manual page ``holdall.1`` from the commands:  python docs/manpage.py

The page is kept in the repository, so that building a wheel needs none of holdall's packages.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click

from holdall.cli.main import COMMANDS, EXAMPLES, cli
from holdall.errors import exit_codes

ENVIRONMENT = """\
OPENAI_SRC_API_KEY and OPENAI_DST_API_KEY hold the keys of source and destination. The variables for other settings are
named with their options. All can stand in a .env file in the current folder or above it."""

PAGE = Path(__file__).with_name("holdall.1")


def escaped(text: str) -> str:
    """``text`` as roff prints it, a hyphen as the character that a shell takes, on lines that are no requests."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"[^\x00-\x7f]", lambda found: f"\\[u{ord(found[0]):04X}]", text)
    return re.sub(r"^(?=[.'])", r"\\&", text, flags=re.MULTILINE)


def bold(text: str) -> str:
    return f"\\fB{escaped(text)}\\fR"


def prose(text: str | None) -> Iterator[str]:
    """Paragraphs as click's help has them; one that begins with ``\\b`` keeps its lines."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", inspect.cleandoc(text or "").strip())):
        if number:
            yield ".PP"
        if paragraph.startswith("\b"):
            yield from (".nf", escaped(paragraph[1:].strip("\n")), ".fi")
        elif paragraph:
            yield escaped(" ".join(paragraph.split()))


def options(command: click.Command, context: click.Context) -> Iterator[str]:
    for param in command.get_params(context):
        if record := param.get_help_record(context):
            flags, said = record
            yield from (".TP", bold(flags), escaped(" ".join(said.split())))


def page() -> str:
    """The whole manual page."""
    top = click.Context(cli, info_name="holdall", **cli.context_settings)
    name, *_ = inspect.cleandoc(cli.help or "").partition(".")
    lines = ['.TH HOLDALL 1 "" "" "holdall"', ".SH NAME", f"holdall \\- {escaped(name[0].lower() + name[1:])}"]
    lines += [".SH SYNOPSIS", f"{bold('holdall')} [OPTIONS] COMMAND [ARGS]...", ".SH DESCRIPTION", *prose(cli.help)]
    lines += [".SH OPTIONS", *options(cli, top), ".SH COMMANDS"]
    for section in COMMANDS.values():
        for word in section:
            command = cli.get_command(top, word)
            assert command is not None
            context = click.Context(command, info_name=word, parent=top)
            pieces = " ".join(command.collect_usage_pieces(context))
            lines += [f'.SS "holdall {escaped(word)}"', f"{bold(f'holdall {word}')} {escaped(pieces)}", ".PP"]
            lines += [*prose(command.help), *options(command, context)]
            lines += [".PP", *prose(command.epilog)] if command.epilog else []
    lines += [".SH EXIT STATUS"]
    for code, meaning in exit_codes().items():
        lines += [".TP", bold(str(code)), escaped(meaning)]
    lines += [".SH ENVIRONMENT", *prose(ENVIRONMENT)]
    lines += [".SH EXAMPLES", ".nf", escaped(EXAMPLES), ".fi"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="ascii", newline="\n")
