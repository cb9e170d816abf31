"""What a server answers must not decide how much memory or time a command takes: all commands, in a process of their
own, against each kind of answer that is more than anybody can hold."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from holdall.errors import EXIT_BUG
from holdall.sandbox.behaviour import Behaviour, Bomb, BombKind
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-1"
MEMORY = 300  # MiB resident
SECONDS = 10  # of the processor, a command
COMMANDS = """\
import gc, io, json, re, resource, sys
from pathlib import Path
from holdall.cli.console import Console
from holdall.cli.main import run
from holdall.remote import limits
limits.FIRST_PATIENCE = limits.PATIENCE = limits.FAILURE_PATIENCE = 0.0
limits._FIRST_WAIT = 0.01
def spent():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
for argv in json.loads(sys.argv[1]):
    gc.collect()  # what the command before has left: elsewhere each has a process of its own
    Path("/proc/self/clear_refs").write_text("5")
    before, out, err = spent(), io.StringIO(), io.StringIO()
    code = run([*argv, "--env-file", "none"], Console(stdout=out, stderr=err))
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10
    print(json.dumps([argv[0], code, spent() - before, peak, err.getvalue()]), flush=True)
"""
KINDS: tuple[BombKind, ...] = get_args(BombKind)

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak out of /proc")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("box"), behaviour=Behaviour(serve_assistants_files=True)) as running:
        yield running


@pytest.fixture(scope="module")
def filled(box: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle, and a run that has brought it into the destination."""
    folder = tmp_path_factory.mktemp("filled")
    with Hand(box.url, SOURCE) as hand:
        files = [hand.file(f"{n}.txt", f"the text number {n}".encode()) for n in range(3)]
        hand.assistant("Reader", stores=[hand.store("books", files)], files=files[:1])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        terminal = Terminal(patch, environment(box))
        for argv in (["export", "-o", "b.tar.zst"], ["import", "b.tar.zst", "--yes"]):
            done = terminal(*argv, "--env-file", "none")
            assert done.code == 0, done.err
    return folder


def environment(box: Running) -> dict[str, str]:
    sides = {"SRC_API_KEY": SOURCE, "SRC_BASE_URL": box.url, "DST_API_KEY": DESTINATION, "DST_BASE_URL": box.url}
    return {f"OPENAI_{name}": value for name, value in sides.items()}


def commands(folder: Path) -> list[list[str]]:
    run = next((folder / "out" / "runs").iterdir()).name
    return [
        ["doctor"],
        ["export", "-o", "x.tar.zst", "--force"],
        ["export", "-o", "y.tar.zst", "--force", "--unused"],
        ["plan", "b.tar.zst"],
        ["verify", "b.tar.zst", "--against", "dst"],
        ["undo", run, "--dry-run"],
        ["undo", run, "--yes"],
        ["import", "b.tar.zst", "--yes", "--output-dir", "other"],
    ]


def results(box: Running, folder: Path) -> list[list[Any]]:
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(commands(folder))],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**environment(box), "PYTHONPATH": str(Path(__file__).parents[2]), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def _all_end_well(box: Running, filled: Path, tmp_path: Path, kind: BombKind, *paths: str) -> None:
    subprocess.run(["cp", "-r", f"{filled}/.", str(tmp_path)], check=True)
    box.clear_faults()
    for path in paths:
        box.fault(Bomb(kind=kind), "*", path, times=1_000_000)
    try:
        found = results(box, tmp_path)
    finally:
        box.clear_faults()
    for name, code, seconds, peak, said in found:
        print(kind, *paths, name, code, f"{seconds:.1f} s, {peak} MiB")
        assert code != EXIT_BUG, (name, said)
        assert "Traceback" not in said, (name, said)
        assert peak < MEMORY, name
        assert seconds < SECONDS, name


@only_linux
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=pytest.mark.thorough if kind in ("packed", "deep") else pytest.mark.slow)
        for kind in KINDS
    ],
)
def test_whatever_is_asked(box: Running, filled: Path, tmp_path: Path, kind: BombKind) -> None:
    _all_end_well(box, filled, tmp_path, kind, "/files/*" if kind == "long_content" else "*")


@only_linux
@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    ["/assistants", "/assistants/*", "/vector_stores", "/vector_stores/*", "/vector_stores/*/files", "/files",
     "/files/*", "/files/*/content", "/vector_stores/*/content", "/models", "/agents"],
)  # fmt: skip
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_asked_of_one_endpoint(
    box: Running, filled: Path, tmp_path: Path, kind: BombKind, path: str
) -> None:
    if path == "/vector_stores/*" and kind in ("endless_list", "long_pages", "one_page"):
        pytest.skip("25,000 files of a store that has no count are all asked for: linear in what the server lists")
    _all_end_well(box, filled, tmp_path, kind, path)
