"""Two imports of one bundle that began together: each thing is there twice, and never without a word."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from holdall.dialects.rules import Form
from holdall.importer.runs.runreport import Report, keeping, mapping, markdown
from holdall.model import Kind
from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from tests.importer.rig import run
from tests.importer.shelf import Shelf
from tests.importer.standing_once import awkward
from tests.project import Hand

KEY = "sk-twins-0001"


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path / "box", behaviour=Behaviour(serve_assistants_files=True)) as running:
        yield running


def one_inside_the_other(shelf: Callable[[], Shelf], box: Running, out: Path, **more: Any) -> tuple[Report, Report]:
    """A second import runs from its first request to its last before the first one's first write."""
    inner: list[Report] = []

    def second() -> None:
        thread = threading.Thread(target=lambda: inner.append(run(shelf(), box, out / "inner", key=KEY, **more)))
        thread.start()
        thread.join()

    outer = run(shelf(), box, out / "outer", key=KEY, before_first=second, **more)
    return outer, inner[0]


def at_once(shelf: Callable[[], Shelf], box: Running, out: Path, **more: Any) -> list[Report]:
    """Two imports that both have seen an empty destination when they begin to write."""
    ready = threading.Barrier(2)
    reports: list[Report] = []

    def one(name: str) -> None:
        reports.append(run(shelf(), box, out / name, key=KEY, before_first=ready.wait, **more))

    threads = [threading.Thread(target=one, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return reports


def there(box: Running, *kinds: str) -> set[str]:
    with Hand(box.url, KEY) as hand:
        return {one["id"] for kind in kinds for one in hand.everything(f"/{kind}")}


EVERYTHING = ("assistants", "vector_stores", "files")


def made(report: Report) -> set[str]:
    assistants = {str(one.target) for one in report.assistants}
    return assistants | set(report.stores.values()) | set(report.files.values())


def test_the_one_that_ends_last_says_so(box: Running, tmp_path: Path) -> None:
    outer, inner = one_inside_the_other(awkward, box, tmp_path)
    assert inner.duplicates == []
    # Marked, full of the owner's keys, without a name, and files, which have no marks.
    assert {one.id for one in outer.duplicates} == made(inner)
    assert {one.ours for one in outer.duplicates} <= made(outer)
    assert {one.run for one in outer.duplicates if one.kind is Kind.STORE} == {None, inner.run}
    assert len(msgspec.to_builtins(mapping(outer))["duplicates"]) == len(outer.duplicates)
    assert "Duplicates: 10" in markdown(outer)


def test_of_two_at_once_one_says_so_at_least(box: Running, tmp_path: Path) -> None:
    reports = at_once(awkward, box, tmp_path)
    told = [report for report in reports if report.duplicates]
    assert told, "neither of the two says that everything is there twice"
    assert len(there(box, *EVERYTHING)) == 2 * 10
    for report in told:
        (other,) = (one for one in reports if one is not report)
        assert {one.id for one in report.duplicates} <= made(other)


def plain() -> Shelf:
    """Nothing in it lacks marks, files aside."""
    shelf = Shelf()
    shelf.file("f1", "a.md", b"# One\n")
    shelf.store("vs1", ["f1"])
    shelf.assistant("a1", stores=["vs1"])
    return shelf


def test_both_name_the_same_run_that_keeps(box: Running, tmp_path: Path) -> None:
    outer, inner = one_inside_the_other(plain, box, tmp_path)
    files = [one for one in outer.duplicates if one.kind is Kind.FILE]
    assert len(files) == 1
    first, last = sorted([outer.run, inner.run])
    # Whatever each of them sees of the other.
    seen = replace(inner, duplicates=[replace(one, run=outer.run) for one in outer.duplicates])
    known = replace(outer, duplicates=[replace(one, run=inner.run) for one in outer.duplicates])
    for report in (seen, known):
        said = keeping(report)
        assert f"holdall undo {last}" in said
        assert f"holdall undo {first}" not in said


def test_files_alone(box: Running, tmp_path: Path) -> None:
    def alone() -> Shelf:
        shelf = Shelf()
        shelf.file("f1", "lone.md", b"# nothing refers to it\n")
        return shelf

    outer, inner = one_inside_the_other(alone, box, tmp_path)
    assert [(one.kind, one.id) for one in outer.duplicates] == [(Kind.FILE, inner.files["f1"])]  # type: ignore[index]
    assert "it is unknown which started first" in keeping(outer)


def test_where_no_metadata_is_kept(tmp_path: Path) -> None:
    behaviour = Behaviour(serve_assistants_files=True, oddities=frozenset({Oddity.METADATA_IGNORED}))
    with Running(tmp_path / "box", behaviour=behaviour) as box:
        outer, inner = one_inside_the_other(awkward, box, tmp_path)
        assert {one.id for one in outer.duplicates} == made(inner)


def test_where_lists_lag(tmp_path: Path) -> None:
    """What doesn't show this run's own may not show the other's."""
    with Running(tmp_path / "box", behaviour=Behaviour(serve_assistants_files=True)) as box:
        box.behave(visible_after=0.5)
        reports = at_once(plain, box, tmp_path)
        assert any(report.duplicates for report in reports)


def test_requests_for_the_responses_api_are_no_duplicates_their_stores_are(box: Running, tmp_path: Path) -> None:
    outer, inner = one_inside_the_other(plain, box, tmp_path, form=Form.RESPONSES)
    assert {one.id for one in outer.duplicates} == {*inner.stores.values(), *inner.files.values()}


def test_what_was_there_before_is_no_duplicate(box: Running, tmp_path: Path) -> None:
    run(plain(), box, tmp_path / "one", key=KEY)
    again = run(plain(), box, tmp_path / "two", key=KEY, force=True)
    assert again.duplicates == []
    # Nor is what other runs of the same folder made, whenever.
    run(plain(), box, tmp_path / "three", key=KEY, force=True, halt_at=3)
    run(plain(), box, tmp_path / "three", key=KEY, prefix="x ", force=True)
    assert run(plain(), box, tmp_path / "three", key=KEY, force=True).duplicates == []


def test_a_few_lists_are_all_that_it_costs(box: Running, tmp_path: Path) -> None:
    def many() -> Shelf:
        shelf = Shelf()
        for number in range(30):
            shelf.file(f"f{number}", f"{number}.md", b"# %d\n" % number)
            shelf.store(f"vs{number}", [f"f{number}"])
        return shelf

    box.forget_requests()
    run(many(), box, tmp_path / "out", key=KEY)
    paths = [entry.path for entry in box.requests() if entry.method == "GET"]
    # Whether each is there at all, the lists before the first write, and behind the last; files have no list behind,
    # where no store is there twice.
    assert paths.count("/v1/vector_stores") == 3
    assert paths.count("/v1/files") == 2
