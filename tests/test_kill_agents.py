"""kill -9 at any moment of an import that makes agents and versions of a Foundry project, and storms: each is there
once."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdall.sandbox.behaviour import Storm
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.clock import Clock
from tests.importer.foundry_rig import FULL, TOKEN, Project, good
from tests.importer.test_foundry_served import undone
from tests.test_kill_import import holdall

SEED = 20261127
MOMENTS = 30
STORMS = range(301, 307)

THERE = {"Desk": ["1", "2"], "Full": ["1"], "Equal": ["1"]}
MADE = {
    "Desk": ["1", "2", "3"],
    "Full": ["1", "2"],
    "Equal": ["1"],
    "New": ["1", "2", "3", "4"],
    "New-and-full": ["1", "2", "3", "4"],
}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("new"), behaviour=PROFILES["foundry-new"]) as running:
        yield running


@pytest.fixture(scope="module")
def bundle(box: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Agents with all their versions; of some there is no room for a mark."""
    folder = tmp_path_factory.mktemp("bundle")
    with Project(box, "source") as project, project.behaving(serve_assistants_files=True):
        store = project.store("manuals", {"manual.txt": b"Turn it off and on again.", "table.csv": b"a,b\n1,2\n"})
        search = [{"type": "file_search", "vector_store_ids": [store]}]
        project.agent("Desk", instructions="The bundle's.", tools=search)
        project.agent("Full", instructions="The bundle's.", metadata=FULL)
        project.agent("Equal", instructions="The same.")
        for number in range(4):
            project.agent("New", instructions=f"Number {number}.", tools=search if number % 2 else [])
            project.agent("New-and-full", instructions=f"Number {number}.", metadata=FULL if number % 2 else {})
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            places = {"OPENAI_SRC_API_KEY": TOKEN, "OPENAI_SRC_BASE_URL": project.url}
            good(Terminal(patch, places)("export", "--versions", "all", "-o", "b.tar.zst"))
    return folder / "b.tar.zst"


@contextmanager
def made(box: Running, name: str) -> Iterator[Project]:
    """A project that has some of the agents, and others of these than the bundle."""
    with Project(box, name) as project:
        project.agent("Desk", instructions="Theirs.")
        project.agent("Desk", instructions="Theirs, later.")
        project.agent("Full", instructions="Theirs.", metadata=FULL)
        project.agent("Equal", instructions="The same.")
        yield project


def check(project: Project, bundle: Path, terminal: Terminal, seed: str) -> None:
    """Every agent and version is there once, and an import and an undo agree."""
    assert {name: project.versions(name) for name in project.agents()} == MADE, seed
    state = project.state()
    good(terminal("verify", str(bundle), "--against", "dst"))
    good(terminal("import", str(bundle), "--as", "foundry"))
    assert project.state() == state, seed
    undone(terminal)
    left = {name: project.versions(name) for name in project.agents()}
    # What has no room for a mark, and whose answer was lost, is nobody's for certain.
    assert {name: left[name] for name in ("Desk", "Equal")} == {name: THERE[name] for name in ("Desk", "Equal")}, seed
    assert left["Full"] in (THERE["Full"], MADE["Full"]), seed
    assert "New" not in left, seed


def begin(project: Project, bundle: Path, folder: Path) -> subprocess.Popen[bytes]:
    flags = ("--as", "foundry", "--on-conflict", "update", "--yes", "--env-file", "none", "--settle", "1")
    places = {"OPENAI_DST_API_KEY": TOKEN, "OPENAI_DST_BASE_URL": project.url}
    return holdall("import", str(bundle), *flags, "--concurrency", "8", cwd=folder, **places)


def begun(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until the first line of the journal is there."""
    while process.poll() is None and not any(path.stat().st_size for path in folder.glob("out/runs/*/journal.jsonl")):
        time.sleep(0.001)


def killed(project: Project, bundle: Path, folder: Path, after: float) -> tuple[bool, int]:
    """Whether an import was killed ``after`` so many seconds, and how many runs it took to end it."""
    process = begin(project, bundle, folder)
    begun(process, folder)
    time.sleep(after)
    was_killed = process.poll() is None
    process.kill()
    process.communicate()
    for times in range(1, 6):
        process = begin(project, bundle, folder)
        error = process.communicate()[1].decode()
        if process.returncode == 0:
            return was_killed, times
        assert process.returncode in (22, 26, 29), error
    raise AssertionError(error)


@pytest.mark.slow
def test_thirty_kills(box: Running, bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    chance, kills, further = random.Random(SEED), 0, 0
    box.behave(latency=0.03)
    with made(box, "whole") as project:
        process = begin(project, bundle, tmp_path)
        begun(process, tmp_path)
        start = time.monotonic()
        process.communicate()
        takes = time.monotonic() - start
        check(project, bundle, project.terminal(monkeypatch, tmp_path), "undisturbed")
    for number in range(MOMENTS):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        with made(box, f"kill-{number}") as project:
            was_killed, times = killed(project, bundle, folder, chance.uniform(0, takes))
            kills, further = kills + was_killed, further + times
            check(project, bundle, project.terminal(monkeypatch, folder), f"seed {SEED}, kill {number}")
    box.behave(latency=0.0)
    print(f"{kills} kills of an import of {takes:.1f} s, {further} further runs, every agent and version once")


@pytest.mark.thorough
@pytest.mark.parametrize("seed", STORMS)
def test_a_bad_day(box: Running, bundle: Path, seed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    Clock().rule(monkeypatch)
    with made(box, f"storm-{seed}") as project:
        terminal = project.terminal(monkeypatch, tmp_path)
        box.fault(Storm(seed=seed, wait=0.005, silence=0.005))
        box.forget_requests()
        try:
            good(terminal("import", str(bundle), "--as", "foundry", "--on-conflict", "update", "--yes"))
        finally:
            box.clear_faults()
        requests = box.requests()
        check(project, bundle, terminal, f"storm {seed}")
    failed = sum(each.status >= 429 or each.status == 0 for each in requests)
    print(f"seed {seed}: {len(requests)} requests, {failed} of them failed by status or reset")
    assert failed > 2
