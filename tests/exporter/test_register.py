from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdall.exporter.file_index import File, FileIndex, Waiting
from holdall.model import Fidelity, FileView, Kind, SourceId
from holdall.remote.contents import FetchedContent
from holdall.remote.survey import Missing


@pytest.fixture
def register() -> Iterator[FileIndex]:
    with FileIndex() as made:
        yield made


def test_a_file_is_wanted_once_and_its_holders_come_in_order(register: FileIndex) -> None:
    a, b = SourceId("file-a"), SourceId("file-b")
    assert register.want(a, 3)
    assert not register.want(a, 0)
    assert not register.want(a)
    assert register.want(b)
    assert not register.want(b, 12)
    assert register.stores(a) == [3, 0]
    assert register.stores(b) == [12]
    assert register.stores(SourceId("file-c")) == []
    assert register.wanted == 2


def test_of_two_records_of_one_id_the_first_counts(register: FileIndex) -> None:
    register.list([("file-a", b'{"n":1}'), ("file-b", b"{}"), ("file-a", b'{"n":2}')])
    assert register.listed(SourceId("file-a")) == b'{"n":1}'
    assert register.listed(SourceId("file-c")) is None


def test_what_waits_is_handed_out_once_and_what_comes_meanwhile_too(register: FileIndex) -> None:
    gone = Missing(kind=Kind.FILE, id=SourceId("file-0"), status=404, message="no such file")
    view = FileView(id="file-0", bytes=3, created_at=7, filename="ä.txt", purpose="assistants")
    nothing = FetchedContent(fidelity=Fidelity.UNAVAILABLE)
    first = Waiting(file=File(id=SourceId("file-0"), view=view, gone=gone), stores=2, content=nothing)
    register.wait(first)
    register.wait(Waiting(file=File(id=SourceId("later"), view=None), stores=0))
    for number in range(1, 1200):
        register.wait(
            Waiting(
                file=File(id=SourceId(f"file-{number}"), view=None),
                stores=0,
                content=FetchedContent(fidelity=Fidelity.UNAVAILABLE),
            )
        )
    seen = []
    for waiting in register.waiting(content=True):
        if len(seen) == 1:
            register.wait(first)
        seen.append(waiting)
    assert seen[0] == seen[-1] == first
    assert [waiting.file.id for waiting in seen[:-1]] == [f"file-{number}" for number in range(1200)]
    assert [waiting.file.id for waiting in register.waiting(content=False)] == ["later"]
    assert list(register.waiting(content=True)) == []
