"""Runs the command line inside the test's process and keeps what it printed."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

import msgspec
import pytest

from holdall.cli.console import Console
from holdall.cli.main import run
from holdall.cli.progress_meter import Meter

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


class _GoneBar(Meter):
    """A bar that has come and gone: what it leaves on the screen is what was said above it."""

    def __init__(self, stream: TextIO, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        super().__init__(say, clock, 1.0)

    def show(self) -> None:
        pass

    @contextmanager
    def aside(self) -> Iterator[None]:
        yield

    def close(self) -> None:
        pass


class Terminal:
    """Commands with a fixed environment; nothing of the ambient one that concerns holdall."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]) -> None:
        self._monkeypatch = monkeypatch
        self.environ = dict(environ)

    def __call__(self, *argv: str, **environ: str) -> Done:
        """Run ``holdall ARGV`` with more variables set; ``--env-file none`` is the test's to say."""
        out, err = io.StringIO(), io.StringIO()
        return Done(code=self._run(argv, environ, out, err), out=out.getvalue(), err=err.getvalue())

    def screen(self, *argv: str, columns: int = 80, **environ: str) -> Done:
        """As a call, on a terminal of so many columns; all that is left on it at the end is in ``out``."""
        screen = Screen()
        environ = {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": str(columns), **environ}
        with self._monkeypatch.context() as patch:
            patch.setattr("holdall.cli.progress_bar.ProgressBar", _GoneBar)
            code = self._run(argv, environ, screen, screen)
        return Done(code=code, out=screen.getvalue(), err="")

    def _run(self, argv: Sequence[str], environ: Mapping[str, str], out: TextIO, err: TextIO) -> int:
        with self._monkeypatch.context() as patch:
            for name, value in {**self.environ, **environ}.items():
                patch.setenv(name, value)
            return run(argv, Console(stdout=out, stderr=err))
