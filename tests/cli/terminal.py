"""Runs the command line inside the test's process and keeps what it printed."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from holdall.cli.console import Console
from holdall.cli.main import run

__all__ = ["Done", "Terminal"]


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """How one command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


class Terminal:
    """Commands with a fixed environment; nothing of the ambient one that concerns holdall."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, environ: Mapping[str, str]) -> None:
        self._monkeypatch = monkeypatch
        self.environ = dict(environ)

    def __call__(self, *argv: str, **environ: str) -> Done:
        """Run ``holdall ARGV`` with more variables set; ``--env-file none`` is the test's to say."""
        out, err = io.StringIO(), io.StringIO()
        with self._monkeypatch.context() as patch:
            for name, value in {**self.environ, **environ}.items():
                patch.setenv(name, value)
            code = run(argv, Console(stdout=out, stderr=err))
        return Done(code=code, out=out.getvalue(), err=err.getvalue())
