"""A bundle as the plan sees it."""

from __future__ import annotations

from typing import cast

from holdall.bundle.reader import BundleReader
from holdall.importer.plan.bundle_summary import BundleSummary, summarize
from holdall.join_parts import DEFAULT_OVERLAP
from holdall.model import Fidelity, SourceId
from tests.importer.shelf import Shelf


def read(shelf: Shelf) -> BundleSummary:
    return summarize(cast(BundleReader, shelf))


def static(overlap: int) -> dict[str, object]:
    return {"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": overlap}}


def test_the_overlap_is_that_of_the_store_whose_text_it_is() -> None:
    shelf = Shelf()
    shelf.text("f1", "a.md", ["x"], inside="v2")
    shelf.text("f2", "b.md", ["x"], inside="v1")
    shelf.store(
        "v1", [{"id": "f1", "chunking_strategy": static(7)}, {"id": "f2", "chunking_strategy": {"type": "other"}}]
    )
    shelf.store("v2", [{"id": "f1", "chunking_strategy": static(9)}])
    found = read(shelf)
    assert found.files[SourceId("f1")].overlap == 9
    assert found.files[SourceId("f2")].overlap == DEFAULT_OVERLAP
    assert found.members[SourceId("v1")] == ["f1", "f2"]


def test_assistants_are_oldest_first() -> None:
    shelf = Shelf()
    shelf.assistant("b", created_at=30)
    shelf.assistant("a", created_at=1_700_000_000_000)
    shelf.assistant("d", created_at=None)
    shelf.assistant("c", created_at=30.0)
    assert [record.id for record in read(shelf).assistants] == ["d", "b", "c", "a"]


def test_what_the_ledger_says_of_a_file() -> None:
    shelf = Shelf()
    shelf.file("f1", None, b"12345", size=7, purpose="vision")
    shelf.file("f2", "x", fidelity=Fidelity.UNAVAILABLE, status=404)
    files = read(shelf).files
    one, two = files[SourceId("f1")], files[SourceId("f2")]
    assert (one.filename, one.purpose, one.stored, one.size, one.fidelity) == (None, "vision", 5, 7, Fidelity.ORIGINAL)
    assert (two.reason, two.stored) == ("missing from the bundle (status 404)", 0)
