"""Undo, against a sandbox: afterwards the project is as it was before the import, object by object, field by field."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.errors import Unreachable
from holdall.importer.aftermath import look
from holdall.importer.before import Before
from holdall.importer.deeds import read_deeds
from holdall.importer.journal import Journal
from holdall.importer.rollback import Rollback, rollback
from holdall.importer.run import BEFORE, JOURNAL
from holdall.importer.undo import Undone, undo
from holdall.importer.undolog import UndoLog, is_undone
from holdall.progress import Silent
from holdall.remote.client import Account, endpoint
from holdall.sandbox.behaviour import Fail, Reset
from holdall.sandbox.server import Running
from tests.importer.rig import KEY, run
from tests.importer.shelf import Shelf
from tests.project import Hand


@pytest.fixture
def hand(box: Running) -> Iterator[Hand]:
    with Hand(box.url, KEY) as opened:
        yield opened


@pytest.fixture
def shelf() -> Shelf:
    """Shared stores and files, two files of one name and size, metadata without room for marks, a null name."""
    made = Shelf()
    for id, name, content in (("f1", "a.md", b"one"), ("f2", "a.md", b"two"), ("f3", "b.txt", b"same"), ("f4", "c.md", b"same")):
        made.file(id, name, content)
    made.store("vs1", [{"id": "f1", "attributes": {"n": 3.0, "lang": "de"}}, "f2", "f3"], metadata={"k": "v"})
    made.store("vs2", ["f1", "f4"], expires_after={"anchor": "last_active_at", "days": 3})
    made.assistant("a1", stores=["vs1"], files=["f1"], instructions="Answer.")
    made.assistant("a2", name=None, stores=["vs1"], metadata={f"k{n}": "v" for n in range(16)})
    made.assistant("a3", stores=["vs2"], files=["f4"], temperature=0.5)
    return made


@pytest.fixture
def lookalikes(hand: Hand) -> None:
    """What a user may have there already: the same names, bytes and stores, and copies of other origin."""
    files = [hand.file(name, content) for name, content in (("a.md", b"one"), ("a.md", b"two"), ("b.txt", b"same"))]
    mine = {"cloned_from": "asst_of_another", "holdall_op": "another"}
    store = hand.store("vs1", files, {files[0]: {"attributes": {"n": 3.0, "lang": "de"}}}, metadata={"k": "v"})
    hand.store("vs2", files[:1], metadata={"cloned_from": "vs_of_another", "holdall_op": "another"})
    hand.assistant("A1", stores=[store], files=files[:1], instructions="Answer.", metadata=mine)
    hand.assistant(None, stores=[store])


def act(
    box: Running,
    out: Path,
    report_or_run: Any,
    *,
    even_if_changed: bool = False,
    dry: bool = False,
) -> tuple[Rollback, Undone | None]:
    folder = out / "runs" / getattr(report_or_run, "run", report_or_run)

    async def go() -> tuple[Rollback, Undone | None]:
        deeds = read_deeds(folder / JOURNAL)
        log = UndoLog(folder, now=time.time)
        async with Account(endpoint(KEY, box.url), side="destination") as account:
            account.limits.sleep = _no_sleep
            aftermath = await look(account, deeds, Before(folder / BEFORE), everywhere=True, progress=Silent())
            planned = rollback(deeds, aftermath, even_if_changed=even_if_changed, begun=log.begun)
            if dry:
                return planned, None
            return planned, await undo(planned, deeds, folder, account, log, now=time.time, progress=Silent())

    return asyncio.run(go())


async def _no_sleep(_seconds: float) -> None:
    await asyncio.sleep(0)


def test_after_a_complete_import_all_is_as_it_was(
    box: Running, hand: Hand, shelf: Shelf, lookalikes: None, tmp_path: Path
) -> None:
    before = hand.snapshot()
    report = run(shelf, box, tmp_path)
    assert hand.snapshot() != before
    planned, came = act(box, tmp_path, report)
    assert hand.snapshot() == before
    assert came is not None
    assert (len(came.done), came.left, planned.orphans) == (9, [], [])
    assert is_undone(tmp_path / "runs" / report.run)


class Crash(BaseException):
    """Stands for the end of the process: nothing of the run comes after it."""


def crash_at(patch: pytest.MonkeyPatch, line: int, *, durable: bool) -> None:
    """Let the process end at a line of the journal, before or after that is in the file."""
    written, put = 0, Journal._put

    def crashing(self: Journal, data: bytes) -> None:
        nonlocal written
        written += 1
        if written == line:
            if durable:
                put(self, data)
            raise Crash
        put(self, data)

    patch.setattr(Journal, "_put", crashing)


def small() -> Shelf:
    made = Shelf()
    made.file("f1", "a.md", b"one")
    made.file("f2", "b.md", b"two")
    made.store("vs1", ["f1", "f2"])
    made.assistant("a1", stores=["vs1"], files=["f1"], metadata={f"k{n}": "v" for n in range(16)})
    made.assistant("a2")
    return made


@pytest.mark.parametrize("durable", [False, True], ids=["before", "after"])
def test_after_a_crash_at_any_line_of_the_journal(
    box: Running, hand: Hand, lookalikes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    before = hand.snapshot()
    for line in range(1, 40):
        out = tmp_path / str(line)
        with monkeypatch.context() as patch:
            crash_at(patch, line, durable=durable)
            try:
                run(small(), box, out, concurrency=1)
            except (Crash, BaseExceptionGroup):
                pass
            else:
                break
        (journal,) = out.glob(f"runs/*/{JOURNAL}")
        if not journal.read_bytes():
            assert hand.snapshot() == before
            continue
        planned, came = act(box, out, journal.parent.name)
        assert came is not None
        assert came.left == []
        after = hand.snapshot()
        # An upload whose outcome was lost can't be told from a stranger's: it is listed, and stays.
        kept = {orphan.id for orphan in planned.orphans}
        assert len(kept) <= 1
        assert set(after["files"]) - set(before["files"]) == kept
        for id in kept:
            del after["files"][id]
            hand.delete(f"/files/{id}")
        assert after == before, line
        # No import goes on with a run that was undone.
        assert journal.read_text().count('"line":"closed"') == 1
    else:
        pytest.fail("the import never came to its end")
    assert line > 15
