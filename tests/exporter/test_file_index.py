from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdall.exporter.file_index import File, FileIndex, Waiting
from holdall.model import Fidelity, FileView, Kind, SourceId
from holdall.remote.contents import FetchedContent, Holder
from holdall.remote.survey import Missing


@pytest.fixture
def index() -> Iterator[FileIndex]:
    with FileIndex() as made:
        yield made


def test_a_file_is_wanted_once_and_its_holders_come_in_order(index: FileIndex) -> None:
    a, b = SourceId("file-a"), SourceId("file-b")
    assert index.want(a, Holder(store=SourceId("vs_3"), overlap=100))
    assert not index.want(a, Holder(store=SourceId("vs_0")))
    assert not index.want(a)
    assert index.want(b)
    assert not index.want(b, Holder(store=SourceId("vs_12")))
    assert [(one.store, one.overlap) for one in index.holders(a)] == [("vs_3", 100), ("vs_0", 400)]
    assert [one.store for one in index.holders(b)] == ["vs_12"]
    assert index.holders(SourceId("file-c")) == []
    assert index.wanted == 2


def test_of_two_records_of_one_id_the_first_counts(index: FileIndex) -> None:
    index.add_listed([("file-a", b'{"n":1}'), ("file-b", b"{}"), ("file-a", b'{"n":2}')])
    assert index.listed(SourceId("file-a")) == b'{"n":1}'
    assert index.listed(SourceId("file-c")) is None


def test_what_waits_is_handed_out_once_and_what_comes_meanwhile_too(index: FileIndex) -> None:
    gone = Missing(kind=Kind.FILE, id=SourceId("file-0"), status=404, message="no such file")
    view = FileView(id="file-0", bytes=3, created_at=7, filename="ä.txt", purpose="assistants")
    nothing = FetchedContent(fidelity=Fidelity.UNAVAILABLE)
    first = Waiting(file=File(id=SourceId("file-0"), view=view, gone=gone), holders=2, content=nothing)
    index.wait(first)
    index.wait(Waiting(file=File(id=SourceId("later"), view=None)))
    for number in range(1, 1200):
        index.wait(
            Waiting(
                file=File(id=SourceId(f"file-{number}"), view=None),
                content=FetchedContent(fidelity=Fidelity.UNAVAILABLE),
            )
        )
    seen = []
    for waiting in index.waiting(content=True):
        if len(seen) == 1:
            index.wait(first)
        seen.append(waiting)
    assert seen[0] == seen[-1] == first
    assert [waiting.file.id for waiting in seen[:-1]] == [f"file-{number}" for number in range(1200)]
    assert [waiting.file.id for waiting in index.waiting(content=False)] == ["later"]
    assert list(index.waiting(content=True)) == []
