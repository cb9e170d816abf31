"""Imports from the command line that are stopped, gone on with, or in each other's way."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdall.importer.runs.runfolder import locked
from holdall.sandbox.behaviour import Behaviour, NoQuota, Slow
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand
from tests.sweep import sweep
from tests.waiting import Child, holdall

SOURCE, TARGET = "sk-source-0001", "sk-target-0001"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Running]:
    behaviour = Behaviour(serve_assistants_files=True)
    with Running(tmp_path / "sandbox", behaviour=behaviour) as running:
        yield running


@pytest.fixture
def terminal(box: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A bundle ``b.tar.zst`` of three assistants in the working folder, and a destination that is empty."""
    monkeypatch.chdir(tmp_path)
    environ = {
        "OPENAI_SRC_API_KEY": SOURCE,
        "OPENAI_SRC_BASE_URL": box.url,
        "OPENAI_DST_API_KEY": TARGET,
        "OPENAI_DST_BASE_URL": box.url,
    }
    with Hand(box.url, SOURCE) as hand:
        for name in ("A", "B", "C"):
            files = [hand.file(f"{name}{n}.md", f"{name} {n}".encode()) for n in range(4)]
            hand.assistant(name, stores=[hand.store(name, files)])
    made = Terminal(monkeypatch, environ)
    assert made("export", "-o", "b.tar.zst", "--env-file", "none", "--parent", "none").code == 0
    box.forget_requests()
    return made


def counts(box: Running) -> dict[str, int]:
    with Hand(box.url, TARGET) as hand:
        return hand.counts()


ALL = {"assistants": 3, "vector_stores": 3, "files": 12}


def test_a_run_that_was_stopped_is_gone_on_with_and_says_so(terminal: Terminal, box: Running) -> None:
    box.fault(NoQuota(), "POST", "/files", skip=5, times=100)
    args = ("import", "b.tar.zst", "--env-file", "none", "--settle", "0")
    assert terminal(*args).code == 21
    assert counts(box) == {"assistants": 1, "vector_stores": 1, "files": 5}
    box.clear_faults()
    second = terminal(*args, "--json")
    assert second.code == 0, second.err
    assert "resuming run" in second.err
    assert "created so far: 1 assistant, 1 vector store, 5 files" in second.err
    assert counts(box) == ALL
    assert second.document["result"]["possible_orphans"] == []
    assert len(list(Path("out/runs").iterdir())) == 1


def test_two_imports_into_one_folder(terminal: Terminal, box: Running) -> None:
    with locked(Path("out")):
        done = terminal("import", "b.tar.zst", "--env-file", "none")
    assert done.code == 32
    assert "--output-dir" in done.err
    assert box.writes() == 0
    assert terminal("import", "b.tar.zst", "--env-file", "none").code == 0


def test_two_imports_from_two_folders(terminal: Terminal, box: Running) -> None:
    assert terminal("import", "b.tar.zst", "--env-file", "none", "--output-dir", "one").code == 0
    done = terminal("import", "b.tar.zst", "--env-file", "none", "--output-dir", "two")
    assert done.code == 35
    assert "--force" in done.err
    assert terminal("import", "b.tar.zst", "--env-file", "none", "--output-dir", "two", "--force").code == 0
    assert counts(box) == ALL


@sweep("value", ["-1", "long", "3601", "nan"])
def test_a_settle_window_that_can_not_be_meant(terminal: Terminal, value: str) -> None:
    done = terminal("import", "b.tar.zst", "--env-file", "none", HOLDALL_SETTLE=value)
    assert done.code == 2
    assert "HOLDALL_SETTLE" in done.err


@contextmanager
def uploading(box: Running, tmp_path: Path) -> Iterator[Child]:
    """An import whose first upload has reached the server, and is answered when the faults are cleared."""
    box.forget_requests()
    box.fault(Slow(seconds=3600), "POST", "/files")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "HOLDALL_"))}
    with holdall(
        *("import", "b.tar.zst", "--env-file", "none", "--concurrency", "1", "--json"),
        env={**kept, "OPENAI_DST_API_KEY": TARGET, "OPENAI_DST_BASE_URL": box.url},
        cwd=tmp_path,
    ) as child:
        child.until(lambda: any((entry.method, entry.path) == ("POST", "/v1/files") for entry in box.requests()))
        yield child


@pytest.mark.skipif(sys.platform == "win32", reason="a test can't press Ctrl-C for another process there")
@pytest.mark.thorough
def test_ctrl_c_once_and_twice(terminal: Terminal, box: Running, tmp_path: Path) -> None:
    with uploading(box, tmp_path) as child:
        child.process.send_signal(signal.SIGINT)
        child.says("Ctrl-C again")
        box.clear_faults()
        done = child.end()
    assert done.code == 130, done.err
    document = json.loads(done.out)
    assert document["error"]["type"] == "Interrupted"
    assert "run the same command again" in document["error"]["hint"]
    assert statuses() == ["not_attempted"] * 3
    lines = journal()
    assert {line["op"] for line in lines if {"op", "source"} <= line.keys()} == {
        line["op"] for line in lines if line["line"] == "done"
    }

    with uploading(box, tmp_path) as child:
        child.process.send_signal(signal.SIGINT)
        child.says("Ctrl-C again")
        child.process.send_signal(signal.SIGINT)
        stopped = child.end()  # although the answer has not come
    assert stopped.code == 130, stopped.err
    assert "stopped immediately" in stopped.err
    assert "run the same command again" in stopped.err

    box.clear_faults()
    done = terminal("import", "b.tar.zst", "--env-file", "none", "--settle", "1")
    assert done.code == 0, done.err
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 1
    assert counts(box) == ALL


def journal() -> list[dict[str, Any]]:
    (path,) = Path("out").glob("runs/*/journal.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def statuses() -> list[str]:
    return [row["status"] for row in json.loads(Path("out/mapping.json").read_text())["mappings"]]
