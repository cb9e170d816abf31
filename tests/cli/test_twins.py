"""Two imports that began together, as commands: what they say, how they end, and how it is mended."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.importer.apply.execute_plan import PlanExecution
from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand
from tests.test_kill_import import environment

KEY = "sk-twins-0001"
EVERYTHING = ("assistants", "vector_stores", "files")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path / "box", behaviour=Behaviour(serve_assistants_files=True)) as running:
        yield running


def start(bundle: Path, box: Running, out: Path, *, key: str = KEY) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "holdall", "import", str(bundle), "--env-file", "none", "--json"],
        env=environment(OPENAI_DST_BASE_URL=box.url, OPENAI_DST_API_KEY=key, OUTPUT_DIR=str(out)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )


def count(box: Running) -> int:
    with Hand(box.url, KEY) as hand:
        return sum(hand.counts().values())


def test_the_later_one_ends_in_3_and_an_undo_mends_it(
    bundle: Path, box: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holdall = Terminal(monkeypatch, {"OPENAI_DST_BASE_URL": box.url, "OPENAI_DST_API_KEY": KEY})

    def go(command: str, *words: str, out: str) -> Any:
        return holdall(command, *words, "--env-file", "none", "--json", "--output-dir", str(tmp_path / out))

    work, inner = PlanExecution.run, []

    async def delayed(self: PlanExecution) -> None:
        """The first one has looked at the destination; the other one runs from its beginning to its end now."""
        inner.append(json.loads(start(bundle, box, tmp_path / "two").communicate()[0]))
        await work(self)

    with monkeypatch.context() as patch:
        patch.setattr(PlanExecution, "run", delayed)
        done = go("import", str(bundle), out="one")
    assert inner[0]["exit_code"] == 0
    assert done.code == 3, done.err
    result = done.document["result"]
    assert result["verdict"]["look"] == {"duplicates": len(result["duplicates"])}
    assert {one["run"] for one in result["duplicates"]} == {inner[0]["result"]["run"], None}
    # It began first, so it is the other that is to go.
    assert f"holdall undo {inner[0]['result']['run']}" in done.err

    twice = count(box)
    # Given again, no command makes a third copy, whatever folder it has.
    for out in ("one", "two", "three"):
        assert go("import", str(bundle), out=out).code in (0, 33, 35)
        assert count(box) == twice
    # The other one is undone, and the first one is whole.
    undone = go("undo", inner[0]["result"]["run"], "--yes", out="two")
    assert undone.code == 0, undone.out
    assert count(box) == twice / 2
    assert go("verify", str(bundle), "--against", "dst", out="one").code == 0
    assert go("import", str(bundle), out="one").code == 0
    assert count(box) == twice / 2


@pytest.mark.slow
def test_twenty_pairs_of_processes_started_together(bundle: Path, box: Running, tmp_path: Path) -> None:
    silent = []
    for number in range(20):
        key = f"sk-pair-{number:04}"
        pair = [start(bundle, box, tmp_path / f"{number}-{name}", key=key) for name in ("one", "two")]
        codes = sorted(json.loads(process.communicate()[0])["exit_code"] for process in pair)
        with Hand(box.url, key) as hand:
            counts = hand.counts()
        print(number, codes, counts)
        # Each ends well, says that all is there twice, or saw in time that the other one is at work.
        assert set(codes) <= {0, 3, 33, 35}, codes
        with Hand(box.url, key) as hand:
            names = [one["name"] for one in hand.everything("/assistants")]
        if 3 not in codes and len(names) > len(set(names)):
            silent.append((number, codes, counts))
    assert silent == []
