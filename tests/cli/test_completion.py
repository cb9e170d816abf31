"""Completion as docs/commands.md sets it up, in each shell that is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweep import sweep

SCRIPTS = Path(sys.executable).parent
PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text("utf-8")

# Each takes a line that is typed, sets completion up, and prints what the shell would offer.
OFFERS = {
    "bash": """
        {setup}
        COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
        _holdall_completion holdall
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """,
    # Without a terminal zsh has no completion: what is handed to it is printed instead.
    "zsh": """
        compdef() {{ registered=$1 }}
        _describe() {{ print -l -- ${{completions_with_descriptions%%:*}} }}
        compadd() {{ print -l -- $completions }}
        {setup}
        words=({line}); CURRENT=$#words
        $registered
    """,
    "fish": """
        {setup}
        complete -C '{line}'
    """,
}


def setup(shell: str) -> str:
    """What the page has the shell run, without the file that it goes into."""
    (script,) = re.findall(rf"_HOLDALL_COMPLETE={shell}_source holdall", PAGE)
    return f"{script} | source" if shell == "fish" else f'eval "$({script})"'


@pytest.mark.parametrize("shell", OFFERS)
@sweep(
    ("line", "offered"),
    [
        ("holdall veri", {"verify"}),
        ("holdall export --from-d", {"--from-dump"}),
        ("holdall import --on-conflict du", {"duplicate"}),
        ("holdall no-such", set[str]()),
    ],
)
def test_a_shell_completes_commands_options_and_their_values(
    shell: str, line: str, offered: set[str], tmp_path: Path
) -> None:
    program = shutil.which(shell)
    if program is None or not (SCRIPTS / "holdall").exists():
        pytest.skip(f"no {shell} here, or no installed holdall")
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{SCRIPTS}{os.pathsep}{os.environ['PATH']}"}
    script = OFFERS[shell].format(setup=setup(shell), line=line)
    done = subprocess.run(
        [program, *(["--norc"] if shell == "bash" else []), "-c", script],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.stderr == ""
    assert {text.partition("\t")[0] for text in done.stdout.splitlines() if text} == offered


def test_completion_needs_no_key_and_reads_no_settings(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MAX_CONCURRENCY=wrong\n")
    words = {"COMP_WORDS": "holdall export --from-d", "COMP_CWORD": "2", "_HOLDALL_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv = ['holdall']; from holdall.cli.main import main; main()"],
        env={**os.environ, **words},
        cwd=tmp_path,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == (["plain,--from-dump"], "")
