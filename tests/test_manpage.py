"""The manual page is the commands': all of them, with every option, in roff that a reader takes without a warning."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from docs import manpage
from holdall.cli.main import cli
from holdall.errors import exit_codes

ROOT = Path(__file__).parents[1]
AGAIN = "the commands have changed: python docs/manpage.py"


def commands() -> Iterator[tuple[str, click.Command]]:
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        yield name, command


def section(name: str) -> str:
    return manpage.PAGE.read_text("ascii").partition(f'.SS "holdall {name}"\n')[2].partition("\n.S")[0]


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_the_page_has_every_option_and_its_help(name: str) -> None:
    command = dict(commands())[name]
    said = section(name)
    assert said, AGAIN
    for paragraph in manpage.prose(command.help):
        assert paragraph in said, AGAIN
    shown = [param for param in command.params if isinstance(param, click.Option) and not param.hidden]
    for option in shown:
        flags = said.split("\n.TP\n")[1:]
        of_it = [text for text in flags if manpage.escaped(option.opts[0]) in text.splitlines()[0]]
        assert of_it, f"{option.opts}: {AGAIN}"
        assert manpage.escaped(" ".join((option.help or "").split())) in "".join(of_it), f"{option.opts}: {AGAIN}"
    # And --help.
    assert said.count("\n.TP\n\\fB\\-") == len(shown) + 1, AGAIN


def test_the_page_has_every_exit_code() -> None:
    text = manpage.PAGE.read_text("ascii")
    for code, meaning in exit_codes().items():
        assert f".TP\n\\fB{code}\\fR\n{manpage.escaped(meaning)}\n" in text, AGAIN


def test_what_roff_would_take_for_a_request_or_an_escape_is_text() -> None:
    assert manpage.escaped(".env\n'a' \\n --x…") == "\\&.env\n\\&'a' \\en \\-\\-x\\[u2026]"
    assert list(manpage.prose("One\n  line.\n\n\b\nkept\n  as it is")) == [
        "One line.",
        ".PP",
        ".nf",
        "kept\n  as it is",
        ".fi",
    ]


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here")
def test_groff_reads_it_without_a_warning() -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-b", str(manpage.PAGE)], capture_output=True, encoding="utf-8", check=True
    )
    assert done.stderr == ""
    assert "holdall export" in done.stdout
    assert "--from-dump" in done.stdout.replace("\x1b[1m", "").replace("\x1b[0m", "")


@pytest.mark.skipif(shutil.which("man") is None or shutil.which("groff") is None, reason="no man here")
def test_man_shows_it() -> None:
    done = subprocess.run(
        ["man", "--warnings", "-l", str(manpage.PAGE)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        env={"PATH": "/usr/bin:/bin", "MANPAGER": "cat", "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[0].startswith("HOLDALL(1)")


def test_it_is_in_the_wheel() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert build["wheel"]["shared-data"] == {"docs/holdall.1": "share/man/man1/holdall.1"}
    assert "docs" in build["sdist"]["include"]
