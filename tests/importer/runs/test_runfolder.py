"""The folder of a run: made before anything is sent, its documents whole and copied as the latest."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from holdall.errors import CannotWrite
from holdall.importer.runs.runfolder import AuditLine, RunFolder
from holdall.importer.runs.runjournal import timestamp
from holdall.importer.runs.runreport import Party, Report, ReportDestination

DOCUMENTS = {"mapping.json", "report.md", "report.html"}
NOW = 1_795_381_200.25


def report(run: str) -> Report:
    return Report(
        run=run,
        started="",
        ended="2026-11-22T21:00:00Z",
        source=Party(),
        destination=ReportDestination(),
        bundle={},
        options={},
        by_kind={},
        stores={},
        files={},
        requests={},
    )


def test_timestamps_are_utc() -> None:
    assert timestamp(NOW) == "2026-11-22T21:00:00Z"
    assert timestamp(NOW, fraction=True) == "2026-11-22T21:00:00.250Z"


def test_two_runs_each_have_their_own_folder_and_the_later_is_on_top(tmp_path: Path) -> None:
    # Their order is that in which they began, also by a clock that stands still.
    names = {"b": "20261122T210000.250Z-b", "a": "20261122T210000.251Z-a"}

    async def go() -> None:
        for token in names:
            folder = RunFolder(tmp_path, now=lambda: NOW, token=token)
            assert folder.id == names[token]
            folder.audit(AuditLine(operation="POST /files", outcome="done", status=200, detail="é\u202e"))
            folder.publish(report(folder.id))
            await folder.close()

    asyncio.run(go())
    assert json.loads((tmp_path / "mapping.json").read_text())["run"].endswith("a")
    for name in names.values():
        run = tmp_path / "runs" / name
        assert {path.name for path in run.iterdir()} == DOCUMENTS | {"journal.jsonl", "audit.jsonl"}
        line = json.loads((run / "audit.jsonl").read_text())
        assert line == {
            "at": "2026-11-22T21:00:00.250Z",
            "operation": "POST /files",
            "outcome": "done",
            "status": 200,
            "detail": "é\u202e",
        }
    assert {path.name for path in tmp_path.iterdir()} == DOCUMENTS | {"runs"}


def test_a_document_that_can_not_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    async def go() -> None:
        folder = RunFolder(tmp_path, now=lambda: NOW, token="a")
        folder.publish(report("first"))
        (tmp_path / ".mapping.json.new").mkdir()
        with pytest.raises(CannotWrite, match=r"mapping\.json"):
            folder.publish(report("second"))
        await folder.close()

    asyncio.run(go())
    assert json.loads((tmp_path / "mapping.json").read_text())["run"] == "first"


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(CannotWrite) as caught:
        RunFolder(tmp_path / "out", now=lambda: NOW, token="a")
    assert "--output-dir" in caught.value.hint
