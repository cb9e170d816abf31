"""Runs that were cut off: the same import again, and everything stands exactly once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pytest

from holdall.dialects.loss import Why
from holdall.errors import ImportUnderWay, Interrupted
from holdall.importer.plan.choices import OnConflict
from holdall.importer.runs.runreport import Report, Status, mapping
from holdall.sandbox.behaviour import Behaviour, Fail, Late, Reset
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from tests.importer.rig import Time, run
from tests.importer.shelf import Shelf
from tests.importer.standing_once import CONTENTS, awkward, faults_of
from tests.project import Hand
from tests.sweep import sweep


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One sandbox for all: each case has a key, and so a project, of its own."""
    behaviour = Behaviour(serve_assistants_files=True)
    with Running(tmp_path_factory.mktemp("box"), behaviour=behaviour) as running:
        yield running


class Crash(BaseException):
    """The process is gone."""


def crash_at(line: int, *, before: bool) -> Callable[[BinaryIO], None]:
    """A sync that ends everything at that line of the journal: half of it on the disk, or all of it."""

    def sync(file: BinaryIO) -> None:
        file.flush()
        lines = Path(file.name).read_bytes().splitlines(keepends=True)
        if len(lines) < line:
            return
        kept = b"".join(lines[: line - 1])
        kept += lines[line - 1][: len(lines[line - 1]) // 2] if before else lines[line - 1]
        file.truncate(len(kept))
        raise Crash

    return sync


def crashed(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(crashed(one) for one in error.exceptions)
    return isinstance(error, Crash)


def journal_of(out: Path) -> list[dict[str, Any]]:
    (path,) = out.glob("runs/*/journal.jsonl")
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@sweep(
    ("before", "first"),
    [
        (True, 1),
        (False, 3),
        *(pytest.param(True, first, marks=pytest.mark.slow) for first in (2, 3, 4)),
        *(pytest.param(False, first, marks=pytest.mark.slow) for first in (1, 2, 4)),
    ],
)
def test_a_crash_at_every_line_of_the_journal(shared: Running, tmp_path: Path, before: bool, first: int) -> None:
    """Baseline a line is durable, and after; every fourth line in each run of the suite."""
    run(awkward(), shared, tmp_path / "whole", key=f"sk-whole-{before}-{first}")
    count = len(journal_of(tmp_path / "whole"))
    assert count >= 30
    found = []
    # With the last line the run is at its end.
    for line in range(first, count + before, 4):
        out, key = tmp_path / f"{line}", f"sk-line-{line}-{before}"
        with pytest.raises(BaseException) as caught:  # noqa: PT011
            run(awkward(), shared, out, key=key, sync=crash_at(line, before=before))
        assert crashed(caught.value), caught.value
        report = run(awkward(), shared, out, key=key)
        with Hand(shared.url, key) as hand:
            # What was under way is at most what may be: three at once.
            found += [(line, fault) for fault in faults_of(hand, msgspec.to_builtins(mapping(report)), ambiguous=3)]
        assert len(list(out.glob("runs/*"))) == 1 + (line == 1 and before)
    assert found == []


FAULTS = (
    "/files",
    "/vector_stores",
    "/vector_stores/*",
    "/vector_stores/*/file_batches",
    "/assistants",
    "/assistants/*",
)


def some_slow(*values: float, quick: float) -> list[Any]:
    """``values``, of which the normal suite takes one."""
    return [value if value == quick else pytest.param(value, marks=pytest.mark.slow) for value in values]


@pytest.mark.parametrize("path", FAULTS)
@pytest.mark.parametrize("nth", some_slow(0, 1, 2, quick=1))
@sweep("fault", [Reset(executed=True), Reset(), Fail(status=502, executed=True)], ids=repr)
def test_any_answer_may_be_lost(shared: Running, tmp_path: Path, path: str, nth: int, fault: Reset | Fail) -> None:
    key = f"sk-lost-{tmp_path.name}"
    shared.fault(fault, "POST", path, skip=nth)
    try:
        report = run(awkward(), shared, tmp_path, key=key)
    finally:
        shared.clear_faults()
    with Hand(shared.url, key) as hand:
        assert faults_of(hand, msgspec.to_builtins(mapping(report)), ambiguous=1) == []


@pytest.mark.parametrize("concurrency", [1, 8])
@sweep("executed", [True, False])
def test_half_of_all_answers_are_lost(tmp_path: Path, concurrency: int, executed: bool) -> None:
    with Running(tmp_path / "box", behaviour=Behaviour(serve_assistants_files=True)) as box:
        for skip in range(0, 12, 2):
            box.fault(Reset(executed=executed), "POST", "*", skip=skip)
        report = run(awkward(), box, tmp_path, concurrency=concurrency, key="sk-half-0001")
        with Hand(box.url, "sk-half-0001") as hand:
            assert faults_of(hand, msgspec.to_builtins(mapping(report)), ambiguous=0) == []


@pytest.mark.parametrize("path", FAULTS)
@sweep("seconds", some_slow(0.5, 20, 55, quick=20))
def test_requests_that_are_executed_late(tmp_path: Path, path: str, seconds: float) -> None:
    moment = Time()
    behaviour = Behaviour(serve_assistants_files=True)
    with Running(tmp_path / "box", behaviour=behaviour, clock=lambda: 1_800_000_000 + moment.now) as box:
        box.fault(Late(seconds=seconds), "POST", path, times=2)
        report = run(awkward(), box, tmp_path, moment=moment, key="sk-late-0001")
        with Hand(box.url, "sk-late-0001") as hand:
            assert faults_of(hand, msgspec.to_builtins(mapping(report)), ambiguous=0) == []


def test_an_upload_that_is_executed_after_the_window_is_an_orphan_and_listed(tmp_path: Path) -> None:
    moment = Time()
    behaviour = Behaviour(serve_assistants_files=True)
    with Running(tmp_path / "box", behaviour=behaviour, clock=lambda: 1_800_000_000 + moment.now) as box:
        box.fault(Late(seconds=70), "POST", "/files")
        box.fault(Reset(), "POST", "/assistants", skip=1)
        report = run(awkward(), box, tmp_path, moment=moment, key="sk-late-0001")
        with Hand(box.url, "sk-late-0001") as hand:
            assert len(hand.everything("/files")) == 6
            assert faults_of(hand, msgspec.to_builtins(mapping(report)), ambiguous=1) == []
        (orphan,) = report.orphans
        assert orphan.id is not None
        text = (tmp_path / "report.md").read_text()
        assert "- Possible orphans: 1" in text
        assert orphan.id in text
        assert json.loads((tmp_path / "mapping.json").read_text())["possible_orphans"][0]["id"] == orphan.id


@pytest.mark.parametrize("lag", some_slow(3, 25, 55, quick=25))
@sweep("path", ["", *FAULTS])
def test_lists_that_lag(tmp_path: Path, path: str, lag: float) -> None:
    moment = Time()
    behaviour = Behaviour(serve_assistants_files=True, visible_after=lag)
    with Running(tmp_path / "box", behaviour=behaviour, clock=lambda: 1_800_000_000 + moment.now) as box:
        if path:
            box.fault(Reset(executed=True), "POST", path)
        report = run(awkward(), box, tmp_path, moment=moment, key="sk-lag-0001")
        box.behave(visible_after=0)
        with Hand(box.url, "sk-lag-0001") as hand:
            assert faults_of(hand, msgspec.to_builtins(mapping(report)), ambiguous=0) == []


def test_a_strangers_file_is_never_taken(shared: Running, tmp_path: Path) -> None:
    """It was there before, and has the name and size of the upload that is not carried out."""
    key = "sk-stranger-0001"
    name, content = CONTENTS["f1"]
    with Hand(shared.url, key) as hand:
        before = hand.file(name, b"x" * len(content))
        shared.fault(Reset(), "POST", "/files")
        report = run(awkward(), shared, tmp_path, key=key)
        shared.clear_faults()
        assert before not in report.files.values()
        told = msgspec.to_builtins(mapping(report))
        told["possible_orphans"] = [one for one in told["possible_orphans"] if not one["earlier"]]
        hand.delete(f"/files/{before}")
        assert faults_of(hand, told, ambiguous=0) == []


def test_ctrl_c_finishes_what_is_in_flight_and_the_same_command_goes_on(shared: Running, tmp_path: Path) -> None:
    key = "sk-halt-0001"
    report = run(awkward(), shared, tmp_path, key=key, halt_at=4)
    assert isinstance(report.stopped, Interrupted)
    assert "run the same command again" in report.stopped.hint
    assert {result.status for result in report.assistants} == {Status.NOT_ATTEMPTED}
    lines = journal_of(tmp_path)
    assert {line["op"] for line in lines if {"op", "source"} <= line.keys()} == {
        line["op"] for line in lines if line["line"] == "done"
    }
    assert len([line for line in lines if {"op", "source"} <= line.keys()]) == 3
    report = run(awkward(), shared, tmp_path, key=key)
    with Hand(shared.url, key) as hand:
        assert faults_of(hand, msgspec.to_builtins(mapping(report)), ambiguous=0) == []


def test_a_second_importer_is_noticed(shared: Running, tmp_path: Path) -> None:
    key = "sk-second-0001"
    run(awkward(), shared, tmp_path / "one", key=key, halt_at=12)
    writes = shared.writes()
    with pytest.raises(ImportUnderWay, match="another import created") as stopped:
        run(awkward(), shared, tmp_path / "two", key=key)
    # Whose it was can't be known, so both are said, with the ways out.
    assert "has no such run" in stopped.value.message
    assert str(tmp_path / "two") in stopped.value.message
    assert all(way in stopped.value.hint for way in ("--output-dir", "--force"))
    assert shared.writes() == writes
    run(awkward(), shared, tmp_path / "two", key=key, force=True)
    with pytest.raises(ImportUnderWay):
        run(awkward(), shared, tmp_path / "one", key=key)


def test_a_run_that_was_cut_off_long_ago_or_of_another_prefix_is_not_gone_on_with(
    shared: Running, tmp_path: Path
) -> None:
    key = "sk-prefix-0001"
    run(awkward(), shared, tmp_path, key=key, halt_at=3)
    run(awkward(), shared, tmp_path, key=key, prefix="x ")
    assert len(list(tmp_path.glob("runs/*"))) == 2


def lost_metadata(report: Report) -> bool:
    """Whether everything is there, and that the metadata isn't is said of each that had some."""
    said = [(result.status, {loss.why for loss in result.losses if loss.why.weighs}) for result in report.results]
    partial = (Status.PARTIAL, {Why.NOT_KEPT})
    return said == [partial, partial, (Status.SUCCESS, set())]


def test_where_metadata_is_dropped_everything_has_the_promise_of_files(tmp_path: Path) -> None:
    behaviour = Behaviour(serve_assistants_files=True, oddities=frozenset({Oddity.METADATA_IGNORED}))
    for path in ("/vector_stores", "/assistants"):
        with Running(tmp_path / path[1:], behaviour=behaviour) as box, Hand(box.url, "sk-plain-0001") as hand:
            box.fault(Reset(executed=True), "POST", path, skip=1)
            out = tmp_path / f"out-{path[1:]}"
            report = run(awkward(), box, out, key="sk-plain-0001")
            assert lost_metadata(report)
            assert report.orphans == []
            assert hand.counts() == {"assistants": 3, "vector_stores": 2, "files": 5}
            assert {"line": "learned", "what": "marks", "value": 0} in journal_of(out)


def test_and_where_nobody_can_tell_the_extra_one_is_listed(tmp_path: Path) -> None:
    """The very first store: whether marks are kept isn't known yet, so nothing is taken for ours by its name."""
    behaviour = Behaviour(oddities=frozenset({Oddity.METADATA_IGNORED}))
    with Running(tmp_path / "box", behaviour=behaviour) as box, Hand(box.url, "sk-plain-0001") as hand:
        box.fault(Reset(executed=True), "POST", "/vector_stores")
        report = run(awkward(), box, tmp_path, key="sk-plain-0001")
        assert lost_metadata(report)
        extra = {store["id"] for store in hand.everything("/vector_stores")} - set(report.stores.values())
        assert {orphan.id for orphan in report.orphans} == extra
        assert len(extra) == 1


def test_on_another_machine_what_was_left_behind_is_told_of(tmp_path: Path) -> None:
    """The first run uploads five files and is lost with its folder; two of them were put into something since."""
    with Running(tmp_path / "box") as box, Hand(box.url, "sk-away-0001") as hand:
        run(awkward(), box, tmp_path / "gone", key="sk-away-0001", halt_at=6)
        left = {file["id"]: file["filename"] for file in hand.everything("/files")}
        assert len(left) == 5
        one, two, *rest = left
        hand.store("somebody's", [one])
        hand.assistant("somebody's", files=[two])
        other = hand.file("same.md", b"of another size")
        report = run(awkward(), box, tmp_path / "here", key="sk-away-0001")
        assert {orphan.id for orphan in report.orphans} == set(rest)
        assert all(orphan.earlier and orphan.name == left[str(orphan.id)] for orphan in report.orphans)
        assert other not in (tmp_path / "here" / "report.md").read_text()
        # This folder's own files are nobody's leftovers.
        again = run(awkward(), box, tmp_path / "here", key="sk-away-0001", prefix="x ")
        assert {orphan.id for orphan in again.orphans} == set(rest)


def test_a_resumed_run_counts_what_the_copies_of_earlier_runs_lack(shared: Running, tmp_path: Path) -> None:
    def shelf(count: int) -> Shelf:
        found = Shelf()
        for number in range(count):
            tools = [] if number else [{"type": "no_such_tool"}]
            found.assistant(f"a{number}", tools=tools)
        return found

    verdicts = []
    for cut in (False, True):
        key, out = f"sk-lacks-{cut:04}", tmp_path / f"{cut}"
        first = run(shelf(1), shared, out, key=key, on_conflict=OnConflict.STOP)
        assert first.verdict.startswith("INCOMPLETE: 1 setting missing"), first.verdict
        if cut:
            cut_off = run(shelf(3), shared, out, key=key, on_conflict=OnConflict.STOP, halt_at=2)
            assert isinstance(cut_off.stopped, Interrupted)
        verdicts.append(run(shelf(3), shared, out, key=key, on_conflict=OnConflict.STOP).verdict)
    assert verdicts == [first.verdict] * 2
