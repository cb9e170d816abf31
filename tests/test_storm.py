"""Bad days: three of ten requests fail, in every way there is, and all ends complete, verified and there once."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from holdall.sandbox.behaviour import Behaviour, Storm
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.clock import Clock
from tests.importer.standing_once import faults_of, make
from tests.oracle import differences
from tests.project import Hand
from tests.sweep import sweep

SEEDS = range(101, 121)
CHEAP = (104, 108)
SOURCE, LARGE = "sk-source-0001", "sk-large-00001"

# Seconds that rate limits ask for, slow answers take, and stalled ones are silent before they end.
WAIT = 0.005


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """One sandbox, filled in calm weather: its bundles are what the storms' are compared with."""

    box: Running
    ids: dict[str, str]
    calm: Path
    calm_large: Path


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder = tmp_path_factory.mktemp("day")
    with (
        Running(folder / "box", behaviour=Behaviour(serve_assistants_files=True)) as box,
        pytest.MonkeyPatch.context() as p,
    ):
        with Hand(box.url, SOURCE) as hand:
            ids = make(hand)
        with Hand(box.url, LARGE) as hand:
            contents = [random.Random(size).randbytes(size) for size in (200_000, 1_500_000, 3)]
            hand.assistant("Large", files=[hand.file(f"{len(each)}.csv", each) for each in contents])
        p.chdir(folder)
        calm, calm_large = folder / "calm.tar.zst", folder / "large.tar.zst"
        holdall = terminal(p, box)
        for key, bundle in ((SOURCE, calm), (LARGE, calm_large)):
            done = holdall("export", "-o", str(bundle), "--parent", "none", OPENAI_SRC_API_KEY=key)
            assert done.code == 0, done.err
        yield Day(box=box, ids=ids, calm=calm, calm_large=calm_large)


def terminal(patch: pytest.MonkeyPatch, box: Running) -> Terminal:
    return Terminal(patch, {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_DST_BASE_URL": box.url})


def weather(day: Day, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock().rule(monkeypatch)
    day.box.clear_faults()
    day.box.fault(Storm(seed=seed, wait=WAIT, silence=WAIT))
    day.box.forget_requests()


def through(day: Day, seed: int, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.chdir(folder)
    weather(day, seed, monkeypatch)
    holdall = terminal(monkeypatch, day.box)
    destination = f"sk-destination-{seed}-{folder.name}"
    try:
        for key, calm in ((SOURCE, day.calm), (LARGE, day.calm_large)):
            bundle = f"storm-{calm.name}"
            done = holdall("export", "-o", bundle, "--parent", "none", OPENAI_SRC_API_KEY=key)
            assert done.code == 0, f"seed {seed}: {done.err}"
            assert differences(calm, Path(bundle)) == [], f"seed {seed}"
        done = holdall("import", "storm-calm.tar.zst", "--concurrency", "8", OPENAI_DST_API_KEY=destination)
        assert done.code == 0, f"seed {seed}: {done.err}{done.out}"
        done = holdall("verify", "storm-calm.tar.zst", "--against", "dst", OPENAI_DST_API_KEY=destination)
        assert done.code == 0, f"seed {seed}: {done.err}{done.out}"
    finally:
        day.box.clear_faults()
    requests = day.box.requests()
    failed = sum(each.status >= 429 or each.status == 0 for each in requests)
    mapping = json.loads((folder / "out" / "mapping.json").read_text(encoding="utf-8"))
    with Hand(day.box.url, destination) as hand:
        lost = lost_uploads(folder)
        assert faults_of(hand, mapping, day.ids, ambiguous=lost) == [], f"seed {seed}"
    print(
        f"seed {seed}: {len(requests)} requests, {failed} of them failed by status or reset, {lost} uploads without an "
        f"answer, {len(mapping['possible_orphans'])} possible orphans"
    )
    assert failed > 4  # others were cut, silent, slow or doubled


def lost_uploads(folder: Path) -> int:
    """How many answers to uploads were lost, by the run's own audit."""
    audits = [file.read_text(encoding="utf-8") for file in folder.glob("out/runs/*/audit.jsonl")]
    lines = [json.loads(line) for audit in audits for line in audit.splitlines()]
    return sum(line["operation"] == "POST /files" and line["outcome"] == "unknown" for line in lines)


@sweep("seed", CHEAP)
def test_a_bad_day(day: Day, seed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    through(day, seed, monkeypatch, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_twenty_bad_days(day: Day, seed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    through(day, seed, monkeypatch, tmp_path)
