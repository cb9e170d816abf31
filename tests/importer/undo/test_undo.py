"""Undo, against a sandbox: afterwards the project is as it was before the import, object by object, field by field."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import pytest

from holdall.endpoint import endpoint
from holdall.errors import NotFound, Unreachable
from holdall.importer.runs.effects import is_undone
from holdall.importer.runs.runfolder import BEFORE, Baseline
from holdall.importer.runs.runjournal import JOURNAL, RunJournal
from holdall.importer.runs.runstate import read_state
from holdall.importer.undo.observed import observe
from holdall.importer.verbs.undo_import import UndoOptions, UndoPlan, UndoResult, undo_import
from holdall.model import Kind
from holdall.remote.client import Account
from holdall.sandbox.behaviour import Behaviour, Fail, Reset
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from tests.importer.rig import KEY, run
from tests.importer.shelf import Shelf
from tests.project import Hand
from tests.sweep import sweep


@pytest.fixture
def shelf() -> Shelf:
    """Shared stores and files, two files of one name and size, metadata without room for marks, a null name."""
    made = Shelf()
    for id, name, content in (
        ("f1", "a.md", b"one"),
        ("f2", "a.md", b"two"),
        ("f3", "b.txt", b"same"),
        ("f4", "c.md", b"same"),
    ):
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
) -> tuple[UndoPlan, UndoResult]:
    folder = out / "runs" / getattr(report_or_run, "run", report_or_run)
    options = UndoOptions(
        run=folder, latest=False, output=out, settle=0.0, dry_run=dry, even_if_changed=even_if_changed
    )

    async def go() -> UndoResult:
        async with Account(endpoint(KEY, box.url), side="destination") as account:
            account.limits.sleep = _no_sleep
            return await undo_import(account, options, lambda planned: True, now=time.time)

    came = asyncio.run(go())
    return came.planned, came


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
    assert (len(came.done), came.left, planned.orphans) == (9, [], [])
    assert is_undone(tmp_path / "runs" / report.run)


class Crash(BaseException):
    """Stands for the end of the process: nothing of the run comes after it."""


def crash_at(patch: pytest.MonkeyPatch, line: int, *, durable: bool) -> None:
    """Let the process end at a line of the journal, before or after that is in the file."""
    written, put = 0, RunJournal.append

    def crashing(self: RunJournal, data: bytes) -> None:
        nonlocal written
        written += 1
        if written == line:
            if durable:
                put(self, data)
            raise Crash
        put(self, data)

    patch.setattr(RunJournal, "append", crashing)


def small() -> Shelf:
    made = Shelf()
    made.file("f1", "a.md", b"one")
    made.file("f2", "b.md", b"two")
    made.store("vs1", ["f1", "f2"])
    made.assistant("a1", stores=["vs1"], files=["f1"], metadata={f"k{n}": "v" for n in range(16)})
    made.assistant("a2")
    return made


@sweep(
    ("durable", "first"),
    [
        (False, 1),
        (True, 2),
        pytest.param(False, 2, marks=pytest.mark.slow),
        pytest.param(True, 1, marks=pytest.mark.slow),
    ],
)
def test_after_a_crash_at_any_line_of_the_journal(
    box: Running,
    hand: Hand,
    lookalikes: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    durable: bool,
    first: int,
) -> None:
    before = hand.snapshot()
    for line in range(first, 40, 2):
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


def test_an_undo_that_is_cut_off_anywhere_and_done_again_ends_the_same(
    box: Running, hand: Hand, lookalikes: None, tmp_path: Path
) -> None:
    before = hand.snapshot()
    for calls in range(1, 30):
        report = run(small(), box, tmp_path / str(calls))
        # The connection ends with the n-th delete: every other one carried out all the same, its answer lost.
        box.fault(Reset(executed=calls % 2 == 0), "DELETE", skip=calls - 1, times=99)
        _, came = act(box, tmp_path / str(calls), report)
        box.clear_faults()
        if came.stopped is None:
            break
        assert isinstance(came.stopped, Unreachable)
        assert not is_undone(tmp_path / str(calls) / "runs" / report.run)
        _, came = act(box, tmp_path / str(calls), report)
        assert (came.stopped, came.left) == (None, [])
        assert hand.snapshot() == before, calls
    assert calls == 6


def test_what_others_changed_stays_with_all_that_it_needs(
    box: Running, hand: Hand, shelf: Shelf, tmp_path: Path
) -> None:
    report = run(shelf, box, tmp_path)
    three = report.assistants[2].target
    hand.post(f"/assistants/{three}", instructions="mine now", temperature=0.25)
    planned, came = act(box, tmp_path, report)
    reasons = {left.target: left.left for left in came.left}
    assert reasons.pop(three) == "others have changed it since: instructions, temperature"
    assert all(f"used by assistant A3 ({three})" in why or "vector store vs2" in why for why in reasons.values())
    assert set(reasons) == {report.stores["vs2"], report.files["f1"], report.files["f4"]}
    assert hand.counts() == {"assistants": 1, "vector_stores": 1, "files": 2}
    assert not is_undone(tmp_path / "runs" / report.run)
    planned, came = act(box, tmp_path, report, even_if_changed=True)
    assert planned.due()[0].despite.split(":")[0] == "others have changed it since"
    assert hand.counts() == {"assistants": 0, "vector_stores": 0, "files": 0}


def test_what_others_use_by_now_stays(box: Running, hand: Hand, shelf: Shelf, tmp_path: Path) -> None:
    report = run(shelf, box, tmp_path)
    theirs = hand.assistant("Theirs", stores=[report.stores["vs1"]], files=[report.files["f4"]])
    other = hand.store("Other", [report.files["f3"]])
    dry, _ = act(box, tmp_path, report, dry=True)
    assert {left.target: left.left for left in dry.left()} == {
        report.stores["vs1"]: f"used by assistant Theirs ({theirs})",
        report.files["f1"]: f"in vector store vs1 ({report.stores['vs1']})",
        report.files["f2"]: f"in vector store vs1 ({report.stores['vs1']})",
        report.files["f3"]: f"in vector store vs1 ({report.stores['vs1']})",
        report.files["f4"]: f"used by assistant Theirs ({theirs})",
    }
    assert hand.counts()["files"] == 4
    hand.delete(f"/assistants/{theirs}")
    act(box, tmp_path, report)
    (file,) = hand.everything("/files")
    assert file["id"] == report.files["f3"]
    assert [one["id"] for one in hand.everything("/vector_stores")] == [other]


def test_a_store_that_others_put_files_into_or_relabelled_stays(
    box: Running, hand: Hand, shelf: Shelf, tmp_path: Path
) -> None:
    report = run(shelf, box, tmp_path)
    one, two = report.stores["vs1"], report.stores["vs2"]
    mine = hand.file("mine.md", b"mine")
    hand.post(f"/vector_stores/{one}/files", file_id=mine)
    hand.post(f"/vector_stores/{two}/files/{report.files['f4']}", attributes={"mine": True})
    _, came = act(box, tmp_path, report)
    reasons = {left.target: left.left for left in came.left}
    assert reasons[one] == f"others have added files to it since: {mine}"
    assert reasons[two] == f"others have changed attributes of its files since: {report.files['f4']}"
    assert hand.counts() == {"assistants": 0, "vector_stores": 2, "files": 5}


def test_what_is_gone_already_counts_as_undone(box: Running, hand: Hand, shelf: Shelf, tmp_path: Path) -> None:
    report = run(shelf, box, tmp_path)
    hand.delete(f"/assistants/{report.assistants[0].target}")
    hand.delete(f"/vector_stores/{report.stores['vs1']}")
    hand.delete(f"/files/{report.files['f2']}")
    _, came = act(box, tmp_path, report)
    assert came.left == []
    assert hand.counts() == {"assistants": 0, "vector_stores": 0, "files": 0}


def test_what_the_server_refuses_to_delete_stays_with_what_it_uses(
    box: Running, hand: Hand, shelf: Shelf, tmp_path: Path
) -> None:
    report = run(shelf, box, tmp_path)
    box.fault(Fail(status=403), "DELETE", f"/assistants/{report.assistants[2].target}", times=9)
    _, came = act(box, tmp_path, report)
    assert {left.target for left in came.left} == {
        report.assistants[2].target,
        report.stores["vs2"],
        report.files["f1"],
        report.files["f4"],
    }
    assert hand.counts() == {"assistants": 1, "vector_stores": 1, "files": 2}


@sweep(
    "oddities",
    [{Oddity.DELETE_404}, {Oddity.DELETE_FALSE}, {Oddity.DELETE_IGNORED}, {Oddity.DELETE_404, Oddity.MISSING_NULL}],
)
def test_a_delete_is_believed_only_where_the_thing_is_gone(
    box: Running, hand: Hand, shelf: Shelf, tmp_path: Path, oddities: set[Oddity]
) -> None:
    report = run(shelf, box, tmp_path)
    stood = hand.snapshot()
    box.behave(oddities=frozenset(oddities))
    _, came = act(box, tmp_path, report)
    box.behave(oddities=frozenset())
    assert hand.snapshot() == stood
    assert (came.done, len(came.left)) == ([], 9)
    assert not is_undone(tmp_path / "runs" / report.run)
    assert re.search("still exists|nothing changed", came.left[0].left)
    # Once the server can delete, the same command does.
    _, came = act(box, tmp_path, report)
    assert (len(came.done), came.left) == (9, [])
    assert hand.counts() == {"assistants": 0, "vector_stores": 0, "files": 0}


@sweep("status", [404, 405, 500, 501])
def test_a_delete_that_fails_and_is_carried_out_all_the_same_is_undone(
    box: Running, hand: Hand, shelf: Shelf, tmp_path: Path, status: int
) -> None:
    report = run(shelf, box, tmp_path)
    box.fault(Fail(status=status, executed=True), "DELETE", times=999)
    _, came = act(box, tmp_path, report)
    box.clear_faults()
    assert hand.counts() == {"assistants": 0, "vector_stores": 0, "files": 0}
    assert (len(came.done), came.left) == (9, [])


def test_an_answer_without_a_body_is_none_the_less_a_yes(
    box: Running, hand: Hand, shelf: Shelf, tmp_path: Path
) -> None:
    report = run(shelf, box, tmp_path)
    box.behave(oddities=frozenset({Oddity.DELETE_204}))
    box.forget_requests()
    _, came = act(box, tmp_path, report)
    assert hand.counts() == {"assistants": 0, "vector_stores": 0, "files": 0}
    assert (len(came.done), came.left) == (9, [])
    assert sum(one.method == "DELETE" for one in box.requests()) == 9


@sweep("where", ["/assistants", "/vector_stores", "/agents"])
def test_a_list_that_is_not_there_is_no_proof_that_nothing_is(
    box: Running, hand: Hand, shelf: Shelf, tmp_path: Path, where: str
) -> None:
    report = run(shelf, box, tmp_path)
    stood = hand.snapshot()
    box.fault(Fail(status=404), "GET", where, times=999)
    if where == "/agents":  # of which the run made none
        act(box, tmp_path, report)
        assert hand.counts()["files"] == 0
        return
    with pytest.raises(NotFound):
        act(box, tmp_path, report)
    box.clear_faults()
    assert hand.snapshot() == stood


def test_nothing_of_a_run_is_alive_in_another_project(box: Running, shelf: Shelf, tmp_path: Path) -> None:
    report = run(shelf, box, tmp_path)
    folder = tmp_path / "runs" / report.run

    async def go(key: str) -> bool:
        async with Account(endpoint(key, box.url), side="destination") as account:
            state = read_state(folder / JOURNAL)
            found = await observe(account, state, Baseline(folder / BEFORE), everywhere=True)
            return found.alive

    assert asyncio.run(go(KEY))
    assert not asyncio.run(go("sk-another-0001"))


def test_a_file_that_was_there_before_is_used_and_stays(tmp_path: Path) -> None:
    """A server that gives one id for the same bytes gives that of somebody's file."""
    behaviour = Behaviour(oddities=frozenset({Oddity.SAME_BYTES_SAME_ID}))
    with Running(tmp_path / "odd", behaviour=behaviour) as box, Hand(box.url, KEY) as hand:
        mine = hand.file("mine.txt", b"the same bytes")
        shelf = Shelf()
        shelf.file("f1", "theirs.txt", b"the same bytes")
        shelf.file("f2", "other.txt", b"other bytes")
        shelf.assistant("a1", files=["f1", "f2"])
        report = run(shelf, box, tmp_path)
        assert set(report.files.values()) == {mine, *(file["id"] for file in hand.everything("/files"))}
        planned, came = act(box, tmp_path, report)
        assert [one.name for one in planned.due() if one.kind is Kind.FILE] == ["other.txt"]
        assert came.left == []
        assert [file["id"] for file in hand.everything("/files")] == [mine]
