"""Imports into each kind of server that the sandbox stands as: what comes, what is named as lost, what is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdall.importer.runs.runreport import Report, Status
from holdall.sandbox.entra import token
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.dialects.sdk import accept
from tests.importer.rig import run
from tests.importer.shelf import Shelf
from tests.project import Hand
from tests.sweep import sweep

MODELS = ("gpt-5*=o3", "gpt-4.1-mini=gpt-4.1", "gpt-4o-2024-11-20=support-production")
TO_FOUNDRY = tuple(part for rule in MODELS for part in ("--map-model", rule))
HOSTILE = ("../../../tmp/x", "CON", "a\nb\x1b[31m", "<img src=x>](javascript:x)", "\u202egnp.exe", "x" * 256, "{0}%s")
WORDS = "Ignore all that; `rm -rf /` ${HOME} {{7*7}} \x1b]0;x\x07 __import__('os')"


@contextmanager
def project(profile: str, folder: Path) -> Iterator[tuple[Running, str]]:
    """A server of that profile, and a key for a project of it."""
    with Running(folder / "box", behaviour=PROFILES[profile]) as box:
        yield box, token(time.time() + 3600) if PROFILES[profile].foundry else "sk-destination-0001"


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)

    def holdall(box: Running, key: str) -> Terminal:
        return Terminal(monkeypatch, {"OPENAI_DST_BASE_URL": box.url, "OPENAI_DST_API_KEY": key})

    return holdall


@pytest.mark.parametrize(
    ("profile", "arguments", "code", "lost"),
    [
        ("foundry-classic", TO_FOUNDRY, 0, {"model_mapped"}),
        ("look-alike", (), 3, {"not_kept", "renamed"}),
    ],
)
def test_the_sample_comes_whole_or_what_is_lost_is_named(
    tries: Any, tmp_path: Path, bundle: Path, profile: str, arguments: tuple[str, ...], code: int, lost: set[str]
) -> None:
    """Into OpenAI as it is today it comes in test_as, into OpenAI as it was in the demo."""
    with project(profile, tmp_path) as (box, key):
        done = tries(box, key)("import", str(bundle), "--verify", "--json", "--env-file", "none", *arguments)
    document = done.document
    assert done.code == code, done.err
    assert {row["status"] for row in document["result"]["mappings"]} <= {"success", "partial"}
    assert {loss["why"] for loss in document["losses"]} == {"marks_left_out", "default_left_out", *lost}
    named = {loss["field"] for loss in document["losses"] if loss["why"] == "not_kept"}
    different = {each["field"] for each in document["result"]["against"]["differences"]}
    assert named == different
    assert named == ({"expires_after", "reasoning_effort"} if profile == "look-alike" else set())


def foreign() -> Shelf:
    """An assistant with a tool that only Foundry has, and one without."""
    shelf = Shelf()
    bing = {"type": "bing_grounding", "bing_grounding": {"search_configurations": [{"connection_id": "c1"}]}}
    shelf.file("f1", "a.md", purpose="assistants")
    shelf.store("vs1", ["f1"])
    shelf.assistant("a1", stores=["vs1"], tools=[bing])
    shelf.assistant("a2", stores=["vs1"])
    return shelf


def outcomes(report: Report) -> list[tuple[Status, str | None]]:
    return [(result.status, result.error) for result in report.assistants]


def test_foundrys_own_tools_are_made_at_foundry(tmp_path: Path) -> None:
    with project("foundry-classic", tmp_path) as (box, key):
        report = run(foreign(), box, tmp_path, key=key)
        assert outcomes(report) == [(Status.SUCCESS, None)] * 2
        base, _, query = box.url.partition("?")
        with Hand(base, key) as hand:
            name, value = query.split("=")
            made = hand.get(f"/assistants/{report.assistants[0].target}", **{name: value})
    assert made["tools"][0]["bing_grounding"] == {"search_configurations": [{"connection_id": "c1"}]}
    assert all(target.startswith("assistant-") for target in report.files.values())


def test_elsewhere_they_are_left_out_by_name_and_the_rest_comes(tmp_path: Path) -> None:
    with project("openai-2025", tmp_path) as (box, key):
        (status, error), other = outcomes(run(foreign(), box, tmp_path, key=key))
    assert status is Status.PARTIAL
    assert "bing_grounding" in str(error)
    assert other == (Status.SUCCESS, None)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    with (
        Running(folder / "source", behaviour=PROFILES["openai-2025"]) as box,
        Hand(box.url, "sk-source-0001") as hand,
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        for name in HOSTILE:
            hand.assistant(name, instructions=WORDS)
        holdall = Terminal(monkeypatch, {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_SRC_API_KEY": hand.key})
        assert holdall("export", "-o", str(folder / "b.tar.zst"), "--env-file", "none").code == 0
    return folder / "b.tar.zst"


@sweep("profile", PROFILES)
def test_hostile_names_and_instructions_are_carried_and_harm_nothing(
    tries: Any, tmp_path: Path, hostile: Path, profile: str
) -> None:
    with project(profile, tmp_path) as (box, key):
        done = tries(box, key)("import", str(hostile), "--verify", "--env-file", "none")
    assert done.code == 0, done.err
    assert not {"\x1b", "\x07", "\u202e"} & {*done.err, *done.out}
    assert {path.name for path in tmp_path.iterdir()} == {"out", "box"}
    if profile == "openai-today":
        written = [path for path in Path("out/responses").iterdir() if not path.name.endswith(".about.json")]
        assert len(written) == len(HOSTILE)
        for path in written:
            request = json.loads(path.read_text(encoding="utf-8"))
            assert request["instructions"] == WORDS
            accept(request)
