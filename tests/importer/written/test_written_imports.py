"""Imports that write assistants down: cut off anywhere and gone on with, undone, and with names that mean harm."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pytest

from holdall.dialects.loss import Why
from holdall.dialects.rules import Form
from holdall.importer.runs.runreport import Report, Status
from holdall.safe_files import sync_file
from holdall.sandbox.behaviour import Fail
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.dialects.sdk import accept
from tests.importer.rig import run
from tests.importer.shelf import Shelf
from tests.project import Hand
from tests.sweep import sweep


@pytest.fixture
def shelf() -> Shelf:
    shelf = Shelf()
    shelf.file("f1", "one.md")
    shelf.file("f2", "two.csv")
    shelf.store("vs1", ["f1"])
    shelf.assistant("a1", stores=["vs1"], description="One.", temperature=0.5)
    shelf.assistant("a2", files=["f2"], tools=[{"type": "bing_grounding"}])
    return shelf


@pytest.fixture
def today(box: Running) -> Running:
    box.behave(assistants_api=PROFILES["openai-today"].assistants_api)
    return box


def written(out: Path) -> dict[str, dict[str, object]]:
    return {path.name: json.loads(path.read_text()) for path in sorted((out / "responses").iterdir())}


def write(shelf: Shelf, box: Running, out: Path, **more: object) -> Report:
    return run(shelf, box, out, form=Form.RESPONSES, **more)  # type: ignore[arg-type]


def test_files_and_stores_are_there_and_assistants_are_written_down(
    shelf: Shelf, today: Running, tmp_path: Path
) -> None:
    report = write(shelf, today, tmp_path / "out")
    assert {result.source: result.target for result in report.assistants} == {
        "a1": "responses/A1-a1.json",
        "a2": "responses/A2-a2.json",
    }
    found = written(tmp_path / "out")
    assert found["A1-a1.json"]["tools"] == [{"type": "file_search", "vector_store_ids": [report.stores["vs1"]]}]
    assert found["A2-a2.json"]["tools"] == [
        {"type": "code_interpreter", "container": {"type": "auto", "file_ids": [report.files["f2"]]}}
    ]
    one, two = report.assistants
    assert (one.status, two.status) == (Status.SUCCESS, Status.PARTIAL)
    assert [loss.why for loss in two.losses] == [Why.UNKNOWN_TOOL]
    mapping = json.loads((tmp_path / "out" / "mapping.json").read_text())
    assert mapping["as"] == "responses"
    assert [row["dstId"] for row in mapping["mappings"]] == ["responses/A1-a1.json", "responses/A2-a2.json"]
    assert not [each for each in today.requests() if "/assistants" in each.path]


def test_an_assistant_whose_knowledge_could_not_be_made_is_not_written(
    shelf: Shelf, today: Running, tmp_path: Path
) -> None:
    shelf.store("vs2", ["f1"])
    today.fault(Fail(), "POST", "/vector_stores", skip=1, times=20)
    shelf.assistant("a3", stores=["vs2"])
    report = write(shelf, today, tmp_path / "out")
    assert [result.status for result in report.assistants] == [Status.SUCCESS, Status.PARTIAL, Status.FAILED]
    assert report.assistants[2].target is None
    assert "A3-a3.json" not in written(tmp_path / "out")


HOSTILE = [
    "../../../etc/cron.d/x",
    "con",
    "a\nb\u202egnp.exe",
    "'; import os; os.system('x') #",
    "{{7*7}}",
    "-rf",
    "x" * 400,
]


def test_names_and_instructions_that_mean_harm_stay_words(today: Running, tmp_path: Path) -> None:
    shelf = Shelf()
    for number, text in enumerate(HOSTILE):
        function = {"name": "f", "description": text, "parameters": {text: text}}
        shelf.assistant(
            f"../asst_{number}", name=text, instructions=text, metadata={"m": text},
            tools=[{"type": "function", "function": function}],
        )  # fmt: skip
    out = tmp_path / "deep" / "out"
    write(shelf, today, out)
    assert {path.name for path in tmp_path.iterdir()} == {"deep", "sandbox"}
    files = [path for path in (out / "responses").iterdir() if not path.name.endswith(".about.json")]
    assert len(files) == len(HOSTILE)
    assert all(path.suffix == ".json" and path.is_file() for path in files)
    with Hand(today.url, "sk-destination-0001") as hand:
        for path in files:
            request = json.loads(path.read_text(encoding="utf-8"))
            accept(request)
            assert request["instructions"] in HOSTILE
            assert hand.sdk.responses.create(**request, input="hello").status == "completed"


class Crash(Exception):
    pass


@sweep("after", [False, True], ids=["before it is durable", "after"])
def test_cut_off_at_any_line_and_gone_on_with(today: Running, tmp_path: Path, after: bool) -> None:
    shelf = Shelf()
    shelf.file("f1", "one.csv")
    shelf.assistant("a1", files=["f1"])
    for at in range(1, 100):
        out, syncs = tmp_path / f"out{at}", 0

        def crash(file: BinaryIO, at: int = at) -> None:
            nonlocal syncs
            syncs += 1
            if syncs == at and not after:
                raise Crash
            sync_file(file)
            if syncs == at:
                raise Crash

        key = f"sk-destination-{at:04}{after:d}"
        with suppress(Crash, ExceptionGroup):
            write(shelf, today, out, key=key, sync=crash)
        (journal,) = out.glob("runs/*/journal.jsonl")
        if '"closed"' in journal.read_text():
            break
        report = write(shelf, today, out, key=key)
        assert report.stopped is None
        found = written(out)
        assert set(found) == {"A1-a1.json", "A1-a1.about.json"}
        container = {"type": "auto", "file_ids": [report.files["f1"]]}
        assert found["A1-a1.json"]["tools"] == [{"type": "code_interpreter", "container": container}]
        with Hand(today.url, key) as hand:
            assert len(hand.everything("/files")) == 1
    assert syncs >= 7
