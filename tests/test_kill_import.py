"""kill -9 at any moment, of an import and of the server: after the same command again everything stands once."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.importer.standing_once import faults_of, make
from tests.project import Hand
from tests.waiting import Child

SEED = 20261122
SOURCE = "sk-source-0001"
AT_ONCE = 8


def environment(**more: str) -> dict[str, str]:
    ours = ("OPENAI_", "CLONE_", "HOLDALL_", "OUTPUT_DIR", "DRY_RUN", "MAX_")
    return {**{name: value for name, value in os.environ.items() if not name.startswith(ours)}, **more}


def holdall(*arguments: str, cwd: Path, **environ: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "holdall", *arguments],
        env=environment(**environ),
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


class Server:
    """A sandbox in a process of its own, always at the same port and on the same folder."""

    def __init__(self, folder: Path, *flags: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._folder, self._flags = folder, flags
        self.start()

    def start(self) -> None:
        flags = ("--serve-assistants-files", "--latency", "0.03")
        command = [sys.executable, "-m", "holdall", "sandbox", "--port", str(self.port), "--data", "data"]
        command += [*flags, *self._flags]
        self._process = Child(command, cwd=self._folder, env=environment())
        self._process.says(self.url)

    def kill(self) -> None:
        self._process.stop()


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle of the awkward project, and its ids by their names."""

    path: Path
    ids: dict[str, str]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("bundle")
    with Running(folder / "box") as box, Hand(box.url, SOURCE) as hand:
        ids = make(hand)
        box.behave(serve_assistants_files=True)
        places = {"OPENAI_SRC_API_KEY": SOURCE, "OPENAI_SRC_BASE_URL": box.url}
        process = holdall("export", "-o", "b.tar.zst", "--env-file", "none", "--parent", "none", cwd=folder, **places)
        error = process.communicate()[1].decode()
        assert process.returncode == 0, error
    return Bundle(path=folder / "b.tar.zst", ids=ids)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    running.kill()


class Import:
    """``holdall import`` into a project of its own, as often as it takes."""

    def __init__(self, server: Server, bundle: Bundle, folder: Path, key: str) -> None:
        folder.mkdir()
        self.server, self.bundle, self.folder, self.key = server, bundle, folder, key
        self.environ = {"OPENAI_DST_API_KEY": key, "OPENAI_DST_BASE_URL": server.url}

    def start(self) -> subprocess.Popen[bytes]:
        flags = ("--env-file", "none", "--settle", "1", "--concurrency", str(AT_ONCE))
        return holdall("import", str(self.bundle.path), *flags, cwd=self.folder, **self.environ)

    def begun(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until the first line of the journal is there."""
        while process.poll() is None and not any(path.stat().st_size for path in self.journals()):
            time.sleep(0.001)

    def journals(self) -> list[Path]:
        return list(self.folder.glob("out/runs/*/journal.jsonl"))

    def lost_uploads(self) -> int:
        """The uploads of which the journal says that nobody knows, or knew, what came of them."""
        lines: list[dict[str, Any]] = []
        for path in self.journals():
            for raw in path.read_bytes().splitlines():
                try:
                    lines.append(json.loads(raw))
                except ValueError:
                    break
        uploads = {
            line["op"]
            for line in lines
            if line["line"] == "copy" or (line["line"] == "create" and line["kind"] == "file")
        }
        plain = {line["op"] for line in lines if line["line"] == "done" and line.get("request_id")}
        refused = {
            line["op"]
            for line in lines
            if line["line"] == "failed" and not line.get("ambiguous") and not line.get("looked")
        }
        return len(uploads - plain - refused)

    def until_done(self) -> int:
        """Give the same command until it ends well; returns how often."""
        for times in range(1, 6):
            process = self.start()
            error = process.communicate()[1].decode()
            if process.returncode == 0:
                return times
            assert process.returncode in (22, 26, 29), error
        raise AssertionError(error)

    def check(self, terminal: Terminal, lost: int) -> int:
        """Everything stands once, and the bundle says so too; returns the number of orphans."""
        mapping = json.loads((self.folder / "out" / "mapping.json").read_text())
        with Hand(self.server.url, self.key) as hand:
            assert faults_of(hand, mapping, self.bundle.ids, ambiguous=lost) == []
            spare = len(hand.everything("/files")) - len(mapping["files"])
        done = terminal(
            "verify", str(self.bundle.path), "--against", "dst", "--env-file", "none", "--json",
            OUTPUT_DIR=str(self.folder / "out"), **self.environ,
        )  # fmt: skip
        assert done.code == 0, done.err
        return spare


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name in os.environ:
        if name not in environment():
            monkeypatch.delenv(name)
    return Terminal(monkeypatch, {})


def whole_run(server: Server, bundle: Bundle, folder: Path, terminal: Terminal, chance: random.Random) -> float:
    """Seconds from the first line of the journal to the end, undisturbed."""
    one = Import(server, bundle, folder, f"sk-whole-{chance.randrange(10**9)}")
    process = one.start()
    one.begun(process)
    start = time.monotonic()
    while process.poll() is None and b'"closed"' not in one.journals()[0].read_bytes():
        time.sleep(0.005)
    took = time.monotonic() - start
    error = process.communicate()[1].decode()
    assert process.returncode == 0, error
    one.check(terminal, 0)
    return took


def kill_the_import(server: Server, bundle: Bundle, tmp_path: Path, terminal: Terminal, moments: int) -> None:
    chance = random.Random(SEED)
    takes = whole_run(server, bundle, tmp_path / "whole", terminal, chance)
    kills = losses = orphans = 0
    for number in range(moments):
        one = Import(server, bundle, tmp_path / f"{number}", f"sk-import-{number:04}")
        process = one.start()
        one.begun(process)
        time.sleep(chance.uniform(0, takes))
        kills += process.poll() is None
        process.kill()
        process.communicate()
        lost = one.lost_uploads()
        assert one.until_done() == 1
        assert len(one.journals()) <= 2
        losses += lost
        orphans += one.check(terminal, lost)
    print(f"{kills} kills of the import, {losses} uploads lost, {orphans} orphans, all listed")


def kill_the_server(server: Server, bundle: Bundle, tmp_path: Path, terminal: Terminal, moments: int) -> None:
    chance = random.Random(SEED + 1)
    takes = whole_run(server, bundle, tmp_path / "whole", terminal, chance)
    again = losses = orphans = 0
    for number in range(moments):
        one = Import(server, bundle, tmp_path / f"{number}", f"sk-server-{number:04}")
        process = one.start()
        one.begun(process)
        time.sleep(chance.uniform(0, takes))
        server.kill()
        server.start()
        error = process.communicate()[1].decode()
        if process.returncode != 0:
            assert process.returncode in (22, 26, 29), error
            again += one.until_done()
        lost = one.lost_uploads()
        losses += lost
        orphans += one.check(terminal, lost)
    print(f"{moments} kills of the server, {again} further runs, {losses} uploads lost, {orphans} orphans, all listed")


@pytest.mark.parametrize("number", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_a_kill_of_each(server: Server, bundle: Bundle, tmp_path: Path, terminal: Terminal, number: int) -> None:
    """The import first; then, while the same command goes on, the server."""
    chance = random.Random(SEED + 2 + number)
    takes = 1.0  # about; the hundred kills measure it
    one = Import(server, bundle, tmp_path / f"{number}", f"sk-both-{number:04}")
    process = one.start()
    one.begun(process)
    time.sleep(chance.uniform(0, takes))
    process.kill()
    process.communicate()
    process = one.start()
    time.sleep(chance.uniform(0.5, 0.5 + 2 * takes))
    server.kill()
    server.start()
    error = process.communicate()[1].decode()
    if process.returncode != 0:
        assert process.returncode in (22, 26, 29), error
        one.until_done()
    one.check(terminal, one.lost_uploads())


@pytest.mark.slow
def test_a_hundred_kills_of_the_import(server: Server, bundle: Bundle, tmp_path: Path, terminal: Terminal) -> None:
    kill_the_import(server, bundle, tmp_path, terminal, 100)


@pytest.mark.slow
def test_a_hundred_kills_of_the_server(server: Server, bundle: Bundle, tmp_path: Path, terminal: Terminal) -> None:
    kill_the_server(server, bundle, tmp_path, terminal, 100)
