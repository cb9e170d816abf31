"""What an import does about a refusal, link after link, and what it says of each."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdall.dialects.loss import Severity, Why
from holdall.importer.runs.runreport import Status
from holdall.model import Fidelity
from holdall.sandbox.behaviour import Fail
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from tests.importer.rig import run
from tests.importer.shelf import Shelf
from tests.project import Hand
from tests.sweep import sweep

LOWER = [Oddity.UPLOAD_LOWER_CASE, Oddity.SEARCH_LOWER_CASE, Oddity.INDEX_LOWER_CASE]
BINARY = b"%PDF-1.4 \xe9\xff\x00"


# -- parameters of models --------------------------------------------------------------------------------


@pytest.mark.parametrize("oddities", [(), (Oddity.REFUSAL_NAMES_MODEL,), (Oddity.ERROR_TEXT,), (Oddity.ERROR_EMPTY,)])
def test_defaults_that_a_model_refuses_are_left_out_and_told_as_minor(
    box: Running, hand: Hand, tmp_path: Path, oddities: tuple[Oddity, ...]
) -> None:
    box.behave(oddities=frozenset(oddities), extra_models=("support-o3",))
    shelf = Shelf()
    shelf.assistant("a1", model="o3", temperature=1.0, top_p=1.0, reasoning_effort="high", description=None)
    report = run(shelf, box, tmp_path)
    assert report.assistants[0].status is Status.SUCCESS
    told = [(loss.field, loss.why.severity) for loss in report.losses()]
    assert told == [("temperature", Severity.MINOR), ("top_p", Severity.MINOR)]
    box.behave(oddities=frozenset())
    assert hand.everything("/assistants")[0]["reasoning_effort"] == "high"


@pytest.mark.parametrize("oddities", [(), (Oddity.REFUSAL_NAMES_MODEL,)])
def test_another_value_that_a_model_refuses_is_left_out_and_a_loss(
    box: Running, hand: Hand, tmp_path: Path, oddities: tuple[Oddity, ...]
) -> None:
    box.behave(oddities=frozenset(oddities), extra_models=("support-o3",))
    shelf = Shelf()
    shelf.assistant("a1", model="support-o3", temperature=0.5, top_p=1.0)
    report = run(shelf, box, tmp_path)
    assert report.assistants[0].status is Status.PARTIAL
    assert len(hand.everything("/assistants")) == 1
    told = [(loss.field, loss.why) for loss in report.losses()]
    assert told == [("temperature", Why.REFUSED), ("top_p", Why.DEFAULT_LEFT_OUT)]
    assert "left out: support-o3 does not accept it (value in the bundle: 0.5)" in str(report.assistants[0].error)


def test_where_a_refusal_has_no_word_only_what_loses_nothing_is_left_out(box: Running, tmp_path: Path) -> None:
    box.behave(oddities=frozenset({Oddity.ERROR_EMPTY}), extra_models=("support-o3",))
    shelf = Shelf()
    shelf.assistant("a1", model="support-o3", temperature=0.5)
    assert run(shelf, box, tmp_path).assistants[0].status is Status.FAILED


# -- types of files --------------------------------------------------------------------------------------


def papers() -> Shelf:
    shelf = Shelf()
    shelf.file("f1", "REPORT.PDF", BINARY)
    shelf.file("f2", "NOTES.TXT", b"Notes about the heron.\n")
    shelf.file("f3", "plain.pdf", BINARY)
    shelf.store("vs", ["f1", {"id": "f2", "attributes": {"k": "v"}}, "f3"])
    shelf.assistant("a1", stores=["vs"])
    return shelf


@sweep("oddity", LOWER)
def test_an_ending_in_upper_case_is_tried_in_lower_case_first(
    box: Running, hand: Hand, tmp_path: Path, oddity: Oddity
) -> None:
    box.behave(oddities=frozenset({oddity}), serve_assistants_files=True)
    report = run(papers(), box, tmp_path)
    (store,) = hand.everything("/vector_stores")
    names = {one["id"]: one["filename"] for one in hand.everything("/files")}
    there = hand.everything(f"/vector_stores/{store['id']}/files")
    assert {names[one["id"]]: one["attributes"] for one in there} == {
        "REPORT.pdf": {}, "NOTES.txt": {"k": "v"}, "plain.pdf": {},
    }  # fmt: skip
    # The first uploads are taken away, the bytes are the same.
    assert len(names) == 3
    (pdf,) = [id for id, name in names.items() if name == "REPORT.pdf"]
    assert hand.sdk.files.content(pdf).read() == BINARY
    renamed = {loss.name: loss for loss in report.losses() if loss.why is Why.RENAMED}
    assert set(renamed) == {"REPORT.PDF", "NOTES.TXT"}
    assert all(loss.why.severity is Severity.MINOR for loss in renamed.values())
    assert ".PDF" in renamed["REPORT.PDF"].text
    assert "as REPORT.pdf" in renamed["REPORT.PDF"].text
    if oddity is not Oddity.INDEX_LOWER_CASE:  # the bytes are no true PDF, so indexing fails
        assert not [loss for loss in report.losses() if loss.why is Why.REFUSED]


@pytest.mark.parametrize("oddity", [Oddity.UPLOAD_LOWER_CASE, Oddity.SEARCH_LOWER_CASE])
def test_the_links_of_the_chain_come_in_order(box: Running, hand: Hand, tmp_path: Path, oddity: Oddity) -> None:
    box.behave(oddities=frozenset({oddity}))
    shelf = Shelf()
    shelf.file("f1", "list.XML", b"<note>words</note>\n")
    shelf.file("f2", "blob.XML", b"\xff\x00")
    shelf.store("vs", ["f1", "f2"])
    shelf.store("other", ["f2", "f1"])
    shelf.assistant("a1", stores=["vs"])
    shelf.assistant("a2", stores=["other"])
    report = run(shelf, box, tmp_path)
    names = sorted(one["filename"] for one in hand.everything("/files"))
    # blob.xml may be uploaded, and no store takes it.
    assert names == ["blob.XML" if oddity is Oddity.SEARCH_LOWER_CASE else "blob.xml", "list.XML.txt"]
    told = {(loss.why, loss.name) for loss in report.losses()}
    assert {(Why.RENAMED, "list.XML"), (Why.REFUSED, "blob.XML")} <= told
    assert [one.status for one in report.assistants] == [Status.PARTIAL, Status.PARTIAL]


def test_the_names_of_a_chain_survive_every_stop(box: Running, tmp_path: Path) -> None:
    box.behave(oddities=frozenset({Oddity.SEARCH_LOWER_CASE}))
    shelf = Shelf()
    shelf.file("f1", "list.XML", b"<note>words</note>\n")
    shelf.store("vs", ["f1"])
    shelf.assistant("a1", stores=["vs"])
    for at in range(1, 100):
        out, key = tmp_path / f"{at}", f"sk-cut-{at:04}"
        if run(shelf, box, out, key=key, halt_at=at).stopped is None:
            assert at > 6
            break
        run(shelf, box, out, key=key)
        with Hand(box.url, key) as there:
            assert [file["filename"] for file in there.everything("/files")] == ["list.XML.txt"], at
            assert there.counts() == {"assistants": 1, "vector_stores": 1, "files": 1}


def test_text_in_place_of_a_file_never_says_txt_twice(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.text("f1", "NOTES.TXT", ["some words"], size=999)
    shelf.store("vs", ["f1"])
    shelf.assistant("a1", stores=["vs"])
    run(shelf, box, tmp_path)
    assert [one["filename"] for one in hand.everything("/files")] == ["NOTES.txt"]


# -- batches ---------------------------------------------------------------------------------------------


@sweep(("status", "batches"), [(500, 2), (503, 2), (501, 1), (405, 1)])
def test_a_batch_that_always_fails_is_tried_singly(
    box: Running, hand: Hand, tmp_path: Path, status: int, batches: int
) -> None:
    box.fault(Fail(status=status), "POST", "/vector_stores/*/file_batches", times=100)
    shelf = Shelf()
    for n in range(5):
        shelf.file(f"f{n}", f"{n}.md", f"number {n}\n".encode())
    shelf.store("vs", [{"id": f"f{n}", "attributes": {"n": n}} for n in range(5)])
    shelf.store("other", ["f1", "f2"])
    shelf.assistant("a1", stores=["vs"])
    shelf.assistant("a2", stores=["other"])
    report = run(shelf, box, tmp_path)
    assert report.whole
    sent = [one for one in box.requests() if one.method == "POST" and one.path.endswith("/file_batches")]
    assert len(sent) == batches
    store = report.stores["vs"]  # type: ignore[index]
    there = {one["id"]: one["attributes"] for one in hand.everything(f"/vector_stores/{store}/files")}
    assert {source: there[target]["n"] for source, target in report.files.items()} == {f"f{n}": n for n in range(5)}


def test_where_a_single_file_fails_too_the_store_fails_after_one(box: Running, tmp_path: Path) -> None:
    box.fault(Fail(), "POST", "/vector_stores/*/file*", times=1000)
    report = run(papers(), box, tmp_path)
    assert report.assistants[0].status is Status.FAILED
    sent = [one.path.rpartition("/")[2] for one in box.requests() if one.method == "POST" and "file" in one.path[11:]]
    assert sent.count("file_batches") == 2
    assert sent[-1] == "files"


def test_parsed_text_under_a_refused_name_goes_up_as_text(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.file(
        "f1",
        "page.xml",
        b'{"pages": [{"data": [{"type": "text", "text": "words"}]}], "truncated": false}',
        fidelity=Fidelity.TEXT,
        size=5,
    )
    shelf.store("vs", ["f1"])
    shelf.assistant("a1", stores=["vs"])
    run(shelf, box, tmp_path)
    (store,) = hand.everything("/vector_stores")
    (there,) = hand.everything(f"/vector_stores/{store['id']}/files")
    assert hand.get(f"/files/{there['id']}")["filename"] == "page.xml.txt"
