"""Runs the command line inside the test's process and keeps what it printed."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from holdall.cli.console import Console
from holdall.cli.main import run

__all__ = ["Done", "Screen", "Terminal"]


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Screen(io.StringIO):
    """A terminal, as stdout and as stderr."""

    def isatty(self) -> bool:
        return True


class Terminal:
    """Commands with a fixed environment; nothing of the ambient one that concerns holdall."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]) -> None:
        self._monkeypatch = monkeypatch
        self.environ = dict(environ)

    def __call__(self, *argv: str, **environ: str) -> Done:
        """Run ``holdall ARGV`` with more variables set; ``--env-file none`` is the test's to say."""
        out, err = io.StringIO(), io.StringIO()
        return Done(
            code=self._run(argv, environ, Console(stdout=out, stderr=err)), out=out.getvalue(), err=err.getvalue()
        )

    def screen(self, *argv: str, columns: int = 80, **environ: str) -> Done:
        """As a call, on a terminal of so many columns that draws no bars; all that is shown is in ``out``."""
        screen = Screen()
        # Progress is then a line a stage, so there are more lines than where bars come and go.
        environ = {"TERM": "dumb", "COLUMNS": str(columns), **environ}
        return Done(code=self._run(argv, environ, Console(stdout=screen, stderr=screen)), out=screen.getvalue(), err="")

    def _run(self, argv: Sequence[str], environ: Mapping[str, str], console: Console) -> int:
        with self._monkeypatch.context() as patch:
            for name, value in {**self.environ, **environ}.items():
                patch.setenv(name, value)
            return run(argv, console)
