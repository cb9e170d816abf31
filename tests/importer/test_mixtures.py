"""Everything at once, by chance: answers lost, late execution, lagging lists, slow indexing, crash upon crash."""

from __future__ import annotations

import json
import random
from pathlib import Path

import msgspec
import pytest

from holdall.importer.runs.runreport import Report, mapping
from holdall.sandbox.behaviour import Behaviour, Fail, Fault, Late, RateLimit, Reset
from holdall.sandbox.server import Running
from tests.importer.apply.test_resume import FAULTS, crash_at, crashed
from tests.importer.rig import Time, run
from tests.importer.standing_once import awkward, faults_of
from tests.project import Hand
from tests.sweep import sweep

KEY = "sk-mixed-0001"


def mixture(seed: int, folder: Path) -> None:
    chance, moment, out = random.Random(seed), Time(), folder / "out"
    lag = chance.choice([0, 0, 5, 30, 50])
    behaviour = Behaviour(
        serve_assistants_files=True,
        visible_after=lag,
        index_delay=chance.choice([0, 0, 7]),
        max_batch_files=chance.choice([2000, 3]),
    )
    with Running(folder / "box", behaviour=behaviour, clock=lambda: 1_800_000_000 + moment.now) as box:
        # No path twice, and never the first: a third answer lost in a row is where an import gives up, and a second
        # where no such write was ever answered.
        paths = chance.sample(FAULTS, chance.randint(0, len(FAULTS)))
        if "/vector_stores/*/file_batches" in paths and "/vector_stores/*" in paths:
            paths.remove("/vector_stores/*")  # which the other is below
        for path in paths:
            late = Late(seconds=chance.choice([0.1, 5, 40]) if lag <= 5 else 0.1)
            lost: list[Fault] = [Reset(executed=True), Reset(), Fail(status=502, executed=True), Fail(), late]
            fault = chance.choice([*lost, RateLimit(retry_after=1)])
            if "*" not in path:
                box.fault(fault, "POST", path, skip=chance.randint(1, 4), times=chance.choice([1, 1, 2]))
            else:
                box.fault(fault, "POST", path, skip=chance.randint(1, 4))
        for number in range(chance.randint(0, 3)):
            line = len(lines(out)) + chance.randint(1, 12 if number else 35)
            try:
                run(awkward(), box, out, key=KEY, moment=moment, sync=crash_at(line, before=chance.random() < 0.5))
            except BaseException as error:
                if not crashed(error):
                    raise
            if ended(out):
                break
        report: Report | None = None
        while not ended(out):
            concurrency = chance.choice([1, 3, 8])
            report = run(awkward(), box, out, key=KEY, moment=moment, concurrency=concurrency)
        moment.now += 200
        box.behave(visible_after=0)
        told = msgspec.to_builtins(mapping(report)) if report else json.loads((out / "mapping.json").read_text())
        with Hand(box.url, KEY) as hand:
            assert faults_of(hand, told, ambiguous=lost_uploads(out)) == []


def lines(out: Path) -> list[bytes]:
    """The whole lines of the newest journal."""
    journals = sorted(out.glob("runs/*/journal.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    return journals[-1].read_bytes().splitlines(keepends=True) if journals else []


def ended(out: Path) -> bool:
    found = lines(out)
    return bool(found) and found[-1].startswith(b'{"line":"closed"') and found[-1].endswith(b"\n")


def lost_uploads(out: Path) -> int:
    """The uploads to which no answer came."""
    sent, answered = set(), set()
    for path in out.glob("runs/*/journal.jsonl"):
        for raw in path.read_bytes().splitlines(keepends=True):
            line = json.loads(raw) if raw.endswith(b"\n") else {"line": "torn"}
            if line["line"] == "copy" or (line["line"] == "create" and line["kind"] == "file"):
                sent.add(line["op"])
            elif line["line"] == "done" and line.get("request_id"):
                answered.add(line["op"])
    return len(sent - answered)


@sweep("seed", range(4))
def test_mixtures(seed: int, tmp_path: Path) -> None:
    mixture(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4, 300))
def test_many_mixtures(seed: int, tmp_path: Path) -> None:
    mixture(seed, tmp_path)
