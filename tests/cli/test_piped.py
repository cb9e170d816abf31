"""``export -o -`` writes the whole bundle to stdout, or nothing."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from holdall.bundle import verification
from holdall.bundle.writer import BundleWriter
from holdall.cli import piped
from holdall.cli.console import Console
from holdall.cli.main import run
from holdall.sandbox.behaviour import Fail
from holdall.sandbox.server import Running
from tests.project import Hand
from tests.test_kill_import import environment
from tests.waiting import until

KEY = "sk-source-0001"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("box")) as running:
        running.behave(serve_assistants_files=True)
        with Hand(running.url, KEY) as hand:
            hand.assistant("Helper", files=[hand.file("noise.png", random.Random(1).randbytes(300_000))])
        yield running


class Pipe:
    """Runs a command in this process with a pipe as stdout."""

    def __init__(self) -> None:
        self.err = ""

    def __call__(self, *argv: str, terminal: bool = False) -> tuple[int, bytes]:
        out, err = io.BytesIO(), io.StringIO()
        stdout = io.TextIOWrapper(out, encoding="utf-8", write_through=True)
        if terminal:
            stdout.isatty = lambda: True  # type: ignore[method-assign]
        code = run(["export", "-o", "-", "--env-file", "none", *argv], Console(stdout=stdout, stderr=err))
        stdout.flush()
        self.err = err.getvalue()
        return code, out.getvalue()


@pytest.fixture
def pipe(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Pipe]:
    """In an empty folder, with a temporary folder of which nothing may be left."""
    passing, work = tmp_path / "passing", tmp_path / "work"
    passing.mkdir()
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setattr("tempfile.tempdir", str(passing))
    monkeypatch.setenv("OPENAI_SRC_BASE_URL", box.url)
    monkeypatch.setenv("OPENAI_SRC_API_KEY", KEY)
    yield Pipe()
    assert [*work.iterdir(), *passing.iterdir()] == [], "something is left behind"


def test_the_bundle_and_nothing_else_is_on_stdout(pipe: Pipe, tmp_path: Path) -> None:
    code, out = pipe()
    assert code == 0, pipe.err
    bundle = tmp_path / "b.tar.zst"
    bundle.write_bytes(out)
    verdict = verification.verify(bundle, sha256=hashlib.sha256(out).hexdigest())
    assert verdict.exit_code == 0
    assert "COMPLETE" in pipe.err
    assert f"sha256 {hashlib.sha256(out).hexdigest()}" in pipe.err
    # The file in the temporary folder is nobody's to use.
    assert str(tmp_path) not in pipe.err
    assert len(pipe.err.splitlines()) <= 12
    assert all(len(line) <= 80 for line in pipe.err.splitlines())


def test_an_incomplete_bundle_is_written_too(pipe: Pipe, box: Running, tmp_path: Path) -> None:
    box.behave(serve_assistants_files=False)
    code, out = pipe()
    box.behave(serve_assistants_files=True)
    assert (code, out[:4]) == (4, b"\x28\xb5\x2f\xfd")
    assert "INCOMPLETE: 1 file missing" in pipe.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--json"], "--json: both would go to stdout"),
        (["--dry-run"], "--dry-run: "),
        (["--skip-if-unchanged"], "--skip-if-unchanged: "),
        (["--force"], "--force: "),
        (["--resume"], "--resume or --no-resume: "),
        (["--no-resume"], "--resume or --no-resume: "),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_what_needs_a_path_is_refused(pipe: Pipe, box: Running, words: list[str], said: str) -> None:
    before = len(box.requests())
    code, out = pipe(*words)
    assert code == 2
    assert said in pipe.err + out.decode()
    assert len(box.requests()) == before


def test_a_terminal_is_refused(pipe: Pipe) -> None:
    assert pipe(terminal=True) == (2, b"")
    assert "can't write a bundle to a terminal" in pipe.err


def test_nothing_is_written_by_an_export_that_fails(pipe: Pipe, box: Running) -> None:
    box.fault(Fail(status=401), path="/assistants", times=10)
    code, out = pipe()
    box.clear_faults()
    assert code == 20
    assert out == b""


def test_nothing_is_written_after_ctrl_c(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the last moment: the bundle is finished in spite of it, and thrown away."""
    arrived, on_sigint, real = threading.Event(), asyncio.Runner._on_sigint, BundleWriter.finish  # type: ignore[attr-defined]

    def arrive(self: Any, *arguments: Any, **named: Any) -> None:
        on_sigint(self, *arguments, **named)
        arrived.set()

    def finish(self: BundleWriter, **named: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        until(wake)
        return real(self, **named)

    def wake() -> bool:
        """A signal that comes just before the event loop falls asleep is seen at its next waking."""
        os.kill(os.getpid(), signal.SIGUSR1)
        return arrived.is_set()

    monkeypatch.setattr(asyncio.Runner, "_on_sigint", arrive)
    monkeypatch.setattr(BundleWriter, "finish", finish)
    before = signal.signal(signal.SIGUSR1, lambda number, frame: None)
    try:
        assert pipe() == (130, b"")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert "interrupted: nothing was written" in pipe.err


def test_a_full_temporary_folder_names_tmpdir(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    assert pipe() == (15, b"")
    assert "No space left on device" in pipe.err
    assert "hint: set TMPDIR to a folder with room" in pipe.err


def test_a_bundle_that_the_disk_damaged_is_not_written(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    real = piped._prove

    def prove(console: Console, report: Any) -> None:
        data = bytearray(report.bundle.read_bytes())
        data[len(data) // 2] ^= 1
        report.bundle.write_bytes(data)
        real(console, report)

    monkeypatch.setattr(piped, "_prove", prove)
    assert pipe() == (10, b"")
    assert "check the disk" in pipe.err


def test_a_reader_that_ends_is_told_without_a_traceback(box: Running, tmp_path: Path) -> None:
    environ = environment(OPENAI_SRC_BASE_URL=box.url, OPENAI_SRC_API_KEY=KEY, TMPDIR=str(tmp_path))
    script = f"{sys.executable} -m holdall export -o - --env-file none | head -c 10 >/dev/null; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], env=environ, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 15, done.stderr
    assert "the program that reads the bundle ended early" in done.stderr
    assert "Traceback" not in done.stderr
