"""The proof: nothing to say of a true copy, and every value that was changed is named."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import cast

import pytest

from holdall.bundle.reader import BundleReader
from holdall.endpoint import endpoint
from holdall.importer.destination.destination import by_mapping
from holdall.importer.proof.compare_text import TextMatch
from holdall.importer.runs.effects import UndoLog
from holdall.importer.verbs.compare_copy import CompareOptions, Proof, compare_copy
from holdall.importer.verbs.undo_import import withdraw
from holdall.model import Fidelity, SourceId
from holdall.remote.client import Account
from holdall.sandbox.behaviour import Fail
from holdall.sandbox.server import Running
from tests.importer.rig import KEY, run
from tests.importer.shelf import Shelf
from tests.project import Hand

DIGESTS = {"definitions": "h1:d", "contents": "h1:c"}


def compare(
    shelf: Shelf, box: Running, out: Path, *, marks: bool = False, prefix: str = "", search: bool = False
) -> Proof:
    reader = cast(BundleReader, shelf)

    output = out / "nowhere" if marks else out
    options = CompareOptions(output=output, prefix=prefix, search=search)

    async def go() -> Proof:
        async with Account(endpoint(KEY, box.url), side="destination") as account:
            return await compare_copy(account, reader, options)

    return asyncio.run(go())


@pytest.fixture
def shelf() -> Shelf:
    made = Shelf()
    made.file("f1", "a.md")
    made.text("f2", "b.pdf", ["text of b"], size=1)
    made.text("f3", "c.md", ["text of c"])
    made.file("f4", "gone.md", fidelity=Fidelity.UNAVAILABLE)
    strategy = {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 20}}
    made.store(
        "vs",
        [{"id": "f1", "attributes": {"n": 3.0}, "chunking_strategy": strategy}, "f2", "f3", "f4"],
        metadata={"k": "v"},
        expires_after={"anchor": "last_active_at", "days": 2},
    )
    made.assistant("a1", stores=["vs"], files=["f1", "f2"], instructions="x" * 1000 + "end", temperature=0.5)
    made.assistant("a2", name=None, metadata={f"k{n}": "v" for n in range(16)})
    return made


@pytest.mark.parametrize("prefix", ["", "copy of "])
def test_a_true_copy_has_no_differences(box: Running, shelf: Shelf, tmp_path: Path, prefix: str) -> None:
    run(shelf, box, tmp_path, prefix=prefix)
    proof = compare(shelf, box, tmp_path)
    assert proof.differences == []
    assert proof.compared == {"assistants": 2, "vector_stores": 1, "memberships": 3, "texts": 3}


def test_without_a_mapping_the_marks_lead_to_the_copies(box: Running, shelf: Shelf, tmp_path: Path) -> None:
    run(shelf, box, tmp_path, prefix="p ")
    proof = compare(shelf, box, tmp_path, marks=True, prefix="p ")
    # The one whose metadata has no room for marks can't be found by them.
    assert [(d.source, d.field, d.destination) for d in proof.differences] == [("a2", "assistant", "not imported")]
    assert proof.compared == {"assistants": 1, "vector_stores": 1, "memberships": 3, "texts": 3}


def test_every_change_is_named_with_both_values(box: Running, hand: Hand, shelf: Shelf, tmp_path: Path) -> None:
    report = run(shelf, box, tmp_path)
    made, store = report.assistants[0].target, report.stores[SourceId("vs")]
    hand.post(f"/assistants/{made}", instructions="x" * 1000 + "END", temperature=0.25, metadata={"new": "1"})
    hand.post(f"/vector_stores/{store}", name="other", metadata={"k": "w"})
    hand.post(f"/vector_stores/{store}/files/{report.files[SourceId('f1')]}", attributes={"n": 4})
    hand.delete(f"/vector_stores/{store}/files/{report.files[SourceId('f2')]}")
    hand.delete(f"/assistants/{report.assistants[1].target}")
    proof = compare(shelf, box, tmp_path)
    found = {(d.source, d.field): (d.bundle, d.destination) for d in proof.differences}
    assert found.pop(("a1", "instructions")) == ("x" * 1000 + "end", "x" * 1000 + "END")
    assert "not found" in found.pop(("a2", "assistant"))[1]
    assert found == {
        ("a1", "temperature"): (0.5, 0.25),
        ("a1", "metadata.new"): (None, "1"),
        ("vs", "name"): ("vs", "other"),
        ("vs", "metadata.k"): ("v", "w"),
        ("vs", "files"): (3, 2),
        ("f1", "attributes"): ({"n": 3.0}, {"n": 4}),
        ("f2", "membership"): ("present", "missing"),
    }


def test_a_mapping_of_another_bundle_is_not_used(box: Running, shelf: Shelf, tmp_path: Path) -> None:
    run(shelf, box, tmp_path)
    assert by_mapping(tmp_path, {"definitions": "h1:other"}, {}) is None
    assert by_mapping(tmp_path, DIGESTS, {"project": "proj_other"}) is None
    (tmp_path / "mapping.json").write_text("[]")
    found = by_mapping(tmp_path, DIGESTS, {})
    assert found is not None
    assert "runs" in found.origin


def test_what_the_destination_reads_in_a_file_is_compared_with_the_bundle(
    box: Running, hand: Hand, shelf: Shelf, tmp_path: Path
) -> None:
    report = run(shelf, box, tmp_path)
    store = report.stores[SourceId("vs")]
    # The copies of two files change places in the mapping: then neither has the text that it should have.
    mapping = json.loads((tmp_path / "mapping.json").read_text())
    files = mapping["files"]
    files["f1"], files["f3"] = files["f3"], files["f1"]
    (tmp_path / "mapping.json").write_text(json.dumps(mapping))
    proof = compare(shelf, box, tmp_path)
    found = {d.source: (d.bundle, d.destination) for d in proof.differences if d.field == "text"}
    assert found == {
        "f1": ("some words in a file (5 words)", "text of c (3 words)"),
        "f3": ("text of c (3 words)", "some words in a file (5 words)"),
    }
    assert {one.file: one.text for one in proof.files}["f2"] is TextMatch.EQUAL
    assert all(one.target in {m["id"] for m in hand.everything(f"/vector_stores/{store}/files")} for one in proof.files)


def test_a_search_finds_each_file_and_says_so_if_it_does_not(
    box: Running, hand: Hand, shelf: Shelf, tmp_path: Path
) -> None:
    shelf.file("g1", "twin one.md", b"The very same words stand in two files of the store.\n")
    shelf.file("g2", "twin two.md", b"The very same words stand in two files of the store.\n")
    shelf.store("twins", ["g1", "g2"])
    run(shelf, box, tmp_path)
    proof = compare(shelf, box, tmp_path, search=True)
    assert proof.differences == []
    assert proof.compared["searches"] == 5
    assert all(one.found for one in proof.files)
    for status, why in ((404, "search isn't offered by the destination"), (500, "search can't be used")):
        box.fault(Fail(status=status), "POST", "/vector_stores/*/search", times=99)
        box.forget_requests()
        proof = compare(shelf, box, tmp_path, search=True)
        assert "searches" not in proof.compared
        assert why in proof.files[0].unsearched
        assert list(proof.unsearched().values()) == [5]
        assert proof.differences == []
        assert len([request for request in box.requests() if request.path.endswith("/search")]) < 5
        box.clear_faults()


def test_a_file_that_is_not_indexed_is_a_difference_and_its_text_is_not_asked_for(
    box: Running, shelf: Shelf, tmp_path: Path
) -> None:
    box.behave(index_failures=("a.md",))
    run(shelf, box, tmp_path)
    proof = compare(shelf, box, tmp_path)
    (difference,) = proof.differences
    assert (difference.source, difference.field) == ("f1", "status")
    assert str(difference.destination).startswith("failed: ")
    assert proof.unchecked() == {"status failed": 1}


def test_a_server_that_hands_no_text_out_is_not_asked_for_ever(box: Running, shelf: Shelf, tmp_path: Path) -> None:
    shelf.store("more", [])
    for number in range(12):
        shelf.file(f"m{number}", f"m{number}.md")
    shelf.store("many", [f"m{number}" for number in range(12)])
    run(shelf, box, tmp_path)
    box.forget_requests()
    box.fault(Fail(status=404), "GET", "/vector_stores/*/files/*/content", times=99)
    proof = compare(shelf, box, tmp_path)
    assert proof.differences == []
    assert sum(proof.unchecked().values()) == 15
    assert sum(entry.path.endswith("/content") for entry in box.requests()) <= 6


def test_when_the_latest_run_is_undone_the_one_before_it_is_the_latest(
    box: Running, shelf: Shelf, tmp_path: Path
) -> None:
    first, second = run(shelf, box, tmp_path), run(shelf, box, tmp_path)
    latest = tmp_path / "mapping.json"
    assert json.loads(latest.read_text())["run"] == second.run
    for report, then in ((second, first.run), (first, None)):
        UndoLog(tmp_path / "runs" / report.run, now=lambda: 0.0).ended(0)
        withdraw(tmp_path, report.run)
        assert latest.exists() == (then is not None)
        assert then is None or json.loads(latest.read_text())["run"] == then
        assert (tmp_path / "report.md").exists() == (tmp_path / "report.html").exists() == latest.exists()
    assert by_mapping(tmp_path, DIGESTS, {}) is None
    # What isn't of the run that was undone is left.
    latest.write_text('{"run": "another"}')
    withdraw(tmp_path, first.run)
    assert latest.exists()
