"""Batches against a sandbox: types that are refused, limits that are lower, answers that are lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from holdall.dialects.loss import Why
from holdall.importer.runs.runreport import Status
from holdall.sandbox.behaviour import Fail, Reset
from holdall.sandbox.server import Running
from tests.importer.rig import run
from tests.importer.shelf import Shelf
from tests.project import Hand
from tests.sweep import sweep

XML = b"<note>some words that can be searched</note>\n"


def batches(box: Running) -> list[int]:
    """The status of each call to file_batches."""
    sent = [entry for entry in box.requests() if entry.method == "POST" and entry.path.endswith("/file_batches")]
    return [entry.status for entry in sent]


def mixed(count: int) -> Shelf:
    """A store of many files, each with attributes of its own."""
    shelf = Shelf()
    members: list[Any] = []
    for n in range(count):
        shelf.file(f"f{n}", f"{n}.md", f"text number {n}\n".encode())
        members.append({"id": f"f{n}", "attributes": {"n": n, "even": n % 2 == 0, "s": f"number {n}"}})
    shelf.store("vs", members)
    shelf.assistant("a1", stores=["vs"])
    return shelf


@sweep(("limit", "expected"), [(2000, [200]), (50, [400, 200, 200, 200]), (7, [400] + [200] * 18)])
def test_the_limit_is_found_from_the_refusal(
    box: Running, hand: Hand, tmp_path: Path, limit: int, expected: list[int]
) -> None:
    box.behave(max_batch_files=limit)
    report = run(mixed(120), box, tmp_path, concurrency=8)
    assert report.whole
    assert batches(box) == expected
    store = report.stores["vs"]  # type: ignore[index]
    there = {one["id"]: one["attributes"] for one in hand.everything(f"/vector_stores/{store}/files")}
    wanted = {f"f{n}": {"n": n, "even": n % 2 == 0, "s": f"number {n}"} for n in range(120)}
    assert {source: there[target] for source, target in report.files.items()} == wanted


def test_the_limit_is_remembered_by_a_run_that_goes_on(box: Running, tmp_path: Path) -> None:
    box.behave(max_batch_files=50)
    box.fault(Reset(), "POST", "/vector_stores/*/file_batches", skip=2)
    run(mixed(120), box, tmp_path, concurrency=8, halt_at=125)
    assert batches(box).count(400) == 1
    assert run(mixed(120), box, tmp_path, concurrency=8).whole
    assert batches(box).count(400) == 1


@sweep("status", [400, 404, 405, 422])
def test_a_destination_without_batches_takes_files_one_by_one(
    box: Running, hand: Hand, tmp_path: Path, status: int
) -> None:
    box.fault(Fail(status=status), "POST", "/vector_stores/*/file_batches", times=100)
    shelf = mixed(9)
    shelf.store("other", ["f1", "f2"])
    shelf.assistant("a2", stores=["other"])
    report = run(shelf, box, tmp_path, concurrency=8)
    assert report.whole
    store = report.stores["vs"]  # type: ignore[index]
    there = {one["id"]: one["attributes"]["n"] for one in hand.everything(f"/vector_stores/{store}/files")}
    assert {source: there[target] for source, target in report.files.items()} == {f"f{n}": n for n in range(9)}
    # Found out once, by halves: the second store isn't tried with a batch.
    assert len([one for one in box.requests() if one.path.endswith("/file_batches")]) <= 5


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "expected"), [(2000, 3), (500, 10)])
def test_five_thousand_files(box: Running, tmp_path: Path, limit: int, expected: int) -> None:
    box.behave(max_batch_files=limit)
    report = run(mixed(5000), box, tmp_path, concurrency=16)
    assert report.whole
    assert batches(box).count(200) == expected
    assert batches(box).count(400) == (limit < 2000)


def with_xml(*, in_code: bool) -> Shelf:
    shelf = Shelf()
    shelf.file("f1", "a.md")
    shelf.file("f2", "note.xml", XML)
    shelf.file("f3", "pic.png", b"\x89PNG\xff")
    shelf.store("vs", ["f1", {"id": "f2", "attributes": {"k": "v"}}, "f3"])
    shelf.assistant("a1", stores=["vs"], files=["f2"] if in_code else [])
    return shelf


@pytest.mark.parametrize("in_code", [False, True])
def test_text_of_a_refused_type_is_attached_as_text(box: Running, hand: Hand, tmp_path: Path, in_code: bool) -> None:
    report = run(with_xml(in_code=in_code), box, tmp_path)
    assert report.assistants[0].status is Status.PARTIAL
    assert [loss.name for loss in report.losses() if loss.why is Why.REFUSED] == ["pic.png"]
    (renamed,) = [loss for loss in report.losses() if loss.why is Why.RENAMED]
    assert "note.xml.txt" in renamed.text
    files = {file["filename"]: file["id"] for file in hand.everything("/files")}
    assert ("note.xml" in files) is in_code
    (store,) = hand.everything("/vector_stores")
    there = {one["id"]: one["attributes"] for one in hand.everything(f"/vector_stores/{store['id']}/files")}
    assert there == {files["a.md"]: {}, files["note.xml.txt"]: {"k": "v"}}
    (made,) = hand.everything("/assistants")
    used = made["tool_resources"]["code_interpreter"]["file_ids"]
    assert used == ([files["note.xml"]] if in_code else [])
    mapping = json.loads((tmp_path / "mapping.json").read_text())
    if in_code:
        assert mapping["text_copies"] == {"f2": files["note.xml.txt"]}
    else:
        assert mapping["files"]["f2"] == files["note.xml.txt"]


def test_and_only_once_where_the_run_is_cut_off_on_the_way(box: Running, hand: Hand, tmp_path: Path) -> None:
    for at in range(1, 100):
        out, key = tmp_path / f"{at}", f"sk-cut-{at:04}"
        if run(with_xml(in_code=False), box, out, key=key, halt_at=at).stopped is None:
            assert at > 8
            break
        run(with_xml(in_code=False), box, out, key=key)
        with Hand(box.url, key) as there:
            names = sorted(file["filename"] for file in there.everything("/files"))
            assert names == ["a.md", "note.xml.txt", "pic.png"], at
            assert there.counts() == {"assistants": 1, "vector_stores": 1, "files": 3}


def test_an_upload_whose_type_is_refused_is_made_as_text(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.file("f1", "notes.xyz", "wörter\n".encode())
    shelf.file("f2", "blob.xyz", b"\xff\x00\x01")
    shelf.store("vs", ["f1", "f2"])
    shelf.assistant("a1", stores=["vs"])
    report = run(shelf, box, tmp_path)
    assert [file["filename"] for file in hand.everything("/files")] == ["notes.xyz.txt"]
    assert {(loss.why, loss.id) for loss in report.losses()} == {
        (Why.RENAMED, "f1"), (Why.REFUSED, "f2"), (Why.CHUNKING_UNKNOWN, "vs"),
    }  # fmt: skip
    assert "does not accept this file type" in str(report.assistants[0].error)


def test_a_file_that_is_too_large_says_so(box: Running, tmp_path: Path) -> None:
    box.behave(max_file_bytes=1000)
    shelf = Shelf()
    shelf.file("f1", "large.md", b"x" * 2000)
    shelf.store("vs", ["f1"])
    shelf.assistant("a1", stores=["vs"])
    report = run(shelf, box, tmp_path)
    assert "too large for the destination" in str(report.assistants[0].error)


def test_indexing_that_failed_is_tried_once_more_and_then_said(box: Running, hand: Hand, tmp_path: Path) -> None:
    box.behave(index_failures=("bad*",))
    shelf = Shelf()
    shelf.file("f1", "bad.md")
    shelf.file("f2", "good.md")
    shelf.store("vs", ["f1", "f2"])
    shelf.assistant("a1", stores=["vs"])
    report = run(shelf, box, tmp_path)
    assert batches(box) == [200, 200]
    assert "An internal error occurred" in str(report.assistants[0].error)
    (store,) = hand.everything("/vector_stores")
    assert store["file_counts"]["total"] == 2
