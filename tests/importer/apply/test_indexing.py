"""The files of a store on servers that refuse, forget or ignore: the store's own list is what counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from holdall.errors import NotFound, RequestRefused
from holdall.importer.apply.attaching import BATCHES, Filling
from holdall.importer.apply.context import FRESH, Pace
from holdall.importer.apply.vectorstores import STALLED, Indexing
from holdall.importer.apply.writes import Writes
from holdall.importer.runs.runjournal import Line
from holdall.importer.runs.runstate import RunState
from holdall.model import Kind, Record, SourceId, TargetId
from holdall.remote.wire import Answer
from tests.importer.rig import context

STORE = TargetId("VS")


class Folder:
    """A run's folder without a disk."""

    def __init__(self) -> None:
        self.state = RunState()

    async def write(self, line: Line) -> None:
        self.state.take(line)


class Server:
    """An account and its writes at once: a store that behaves as its switches say."""

    def __init__(self) -> None:
        self.now = 0.0
        self.batches: list[list[str]] = []
        self.refused: set[str] = set()
        self.names_types = True
        self.ignores: set[str] = set()
        """Files that stay out of the store, though batches with them are accepted; those of ``singly`` go in."""
        self.singly: list[str] = []
        self.never: set[str] = set()
        self.total: int | None = None
        self.late = 0.0
        self.forgets_batches = False
        self.status: dict[str, str] = {}
        self.detached: list[str] = []
        self.limit = 0
        self.mute = False
        self.asked = 0
        self.folder = Folder()
        self.shows: dict[str, dict[str, Any]] = {}
        self.given: dict[str, dict[str, Any]] = {}

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def attach(self, source: SourceId, store: TargetId, files: list[dict[str, Any]]) -> TargetId:
        self.asked += 1
        ids = [file["file_id"] for file in files]
        if self.limit and len(ids) > self.limit:
            detail = f"Expected an array with maximum length {self.limit}, but got an array with length {len(ids)}."
            raise RequestRefused("can't", status=400, code="array_above_max_length", detail=detail)
        bad = sorted({id.rpartition(".")[2] for id in ids if id in self.refused})
        if bad:
            named = f"Files with extensions [.{', .'.join(bad)}]" if self.names_types else "Some of these files"
            if self.mute:
                raise RequestRefused("can't", status=400, detail="")
            raise RequestRefused("can't", status=400, code="unsupported_file", detail=f"{named} are not supported")
        self.batches.append(ids)
        self.given |= {file["file_id"]: {k: v for k, v in file.items() if k != "file_id"} for file in files}
        return TargetId(f"batch{len(self.batches)}")

    async def attach_one(self, source: SourceId, store: TargetId, body: dict[str, Any]) -> TargetId:
        self.singly.append(body["file_id"])
        if body["file_id"] in self.refused:
            raise RequestRefused("can't", status=400, code=None, detail="")
        return TargetId(body["file_id"])

    async def detach(self, source: SourceId, store: TargetId, file: TargetId) -> None:
        self.detached.append(file)
        for batch in self.batches:
            if file in batch:
                batch.remove(file)

    async def get(self, where: str, params: object = None) -> Answer:
        if self.forgets_batches:
            raise NotFound("no such batch", status=404)
        counts = None if self.total is None else {"total": self.total}
        return Answer(raw=json.dumps({"status": "completed", "extra": 1, "file_counts": counts}).encode(), status=200)

    async def items(self, where: str, params: object = None, **_: Any) -> AsyncIterator[bytes]:
        taken = (id for batch in self.batches for id in batch if id not in self.ignores)
        for id in dict.fromkeys([*taken, *self.singly]):
            if id in self.never:
                continue
            if self.now >= self.late:
                status = self.status.get(id, "completed")
                shown = self.shows.get(id, self.given.get(id, {}))
                yield json.dumps({"id": id, "status": status, "last_error": {"message": "why"}, **shown}).encode()


def attach(server: Server, members: Sequence[str | dict[str, Any]], *, same: str = "") -> Filling:
    """Fill a store with files of those names; with ``same``, that is the copy of all of them."""
    rows = [{"id": member} if isinstance(member, str) else member for member in members]
    names = [row["id"] for row in rows]
    pace = Pace(clock=lambda: server.now, sleep=server.sleep)
    indexing = Indexing(context(server, server.folder, pace), cast(Writes, server), batch_files=2000)
    records = [
        Record(kind=Kind.MEMBERSHIP, id=SourceId(n), raw=json.dumps(row).encode())
        for n, row in zip(names, rows, strict=True)
    ]
    files = {SourceId(name): TargetId(same or f"T-{name}") for name in names}
    known = {SourceId(name): name for name in names}

    async def nothing(file: SourceId, refused: TargetId) -> None:
        return None

    filling = Filling(SourceId("vs"), STORE, lambda: records, files, known)
    asyncio.run(indexing.attach(filling, nothing))
    return filling


def refused(found: Filling) -> set[str]:
    return {trouble.file for trouble in found.troubles if trouble.refused}


def test_batches_hold_two_thousand() -> None:
    server = Server()
    found = attach(server, [f"{n}.md" for n in range(5000)])
    assert [len(batch) for batch in server.batches] == [2000, 2000, 1000]
    assert found.troubles == []
    assert found.recut == 5000


def test_a_lower_limit_is_learned_from_the_refusal() -> None:
    server = Server()
    server.limit = 500
    found = attach(server, [f"{n}.md" for n in range(5000)])
    assert [len(batch) for batch in server.batches] == [500] * 10
    assert found.troubles == []


def test_a_file_whose_indexing_failed_is_put_in_once_more() -> None:
    server = Server()
    server.status = {"T-b.md": "failed"}
    found = attach(server, ["a.md", "b.md"])
    assert server.detached == ["T-b.md"]
    assert server.batches == [["T-a.md"], ["T-b.md"]]
    assert [trouble.reason for trouble in found.troubles] == ["failed: why"]


def test_a_refused_type_costs_one_more_call() -> None:
    server = Server()
    server.refused = {"T-b.png", "T-d.gif", "T-e.png"}
    found = attach(server, ["a.md", "b.png", "c.md", "d.gif", "e.png"])
    assert refused(found) == {"b.png", "d.gif", "e.png"}
    assert server.batches == [["T-a.md", "T-c.md"]]


def test_a_refusal_that_names_no_type_is_halved_down_to_the_file() -> None:
    server = Server()
    server.names_types = False
    server.refused = {"T-7.md"}
    found = attach(server, [f"{n}.md" for n in range(20)])
    assert refused(found) == {"7.md"}
    assert sorted(id for batch in server.batches for id in batch) == sorted(f"T-{n}.md" for n in range(20) if n != 7)


def test_a_store_of_refused_files_only() -> None:
    server = Server()
    server.refused = {"T-a.png"}
    assert refused(attach(server, ["a.png"])) == {"a.png"}
    assert server.batches == []


def test_what_was_accepted_and_ignored_is_found_out() -> None:
    server = Server()
    server.ignores = server.never = {"T-b.md"}
    found = attach(server, ["a.md", "b.md"])
    assert refused(found) == {"b.md"}
    assert server.singly == ["T-b.md"]
    assert FRESH <= server.now < STALLED


@pytest.mark.parametrize(("ignored", "learned"), [({"T-a.md", "T-b.md"}, 0), ({"T-b.md"}, None)])
def test_what_a_batch_leaves_out_is_attached_singly(ignored: set[str], learned: int | None) -> None:
    server = Server()
    server.ignores = ignored
    assert attach(server, ["a.md", "b.md"]).troubles == []
    assert set(server.singly) == ignored
    assert server.folder.state.learned.get(BATCHES) == learned


def test_a_batch_that_counts_no_file_is_not_waited_for() -> None:
    server = Server()
    server.ignores, server.total = {"T-a.md"}, 0
    assert attach(server, ["a.md"]).troubles == []
    assert server.now == 0


def test_from_then_on_no_batch_is_sent() -> None:
    server = Server()
    server.folder.state.learned[BATCHES] = 0
    server.refused = {"T-b.md"}
    assert refused(attach(server, ["a.md", "b.md"])) == {"b.md"}
    assert server.batches == []


def test_two_files_with_one_copy_are_sent_once_and_the_second_keeps_nothing_of_its_own() -> None:
    server = Server()
    members = [{"id": "a.md", "attributes": {"n": 1}}, {"id": "b.md", "attributes": {"n": 2}}]
    found = attach(server, members, same="T")
    assert server.batches == [["T"]]
    assert [(one.source, one.field) for one in found.unkept] == [("b.md", "attributes")]


def test_what_a_store_does_not_show_as_it_was_sent_is_named() -> None:
    server = Server()
    chunks = {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 50}}
    named = {"attributes": {"n": 1, "s": "x"}, "chunking_strategy": chunks}
    members = [{"id": f"{n}.md", **named} for n in range(4)]
    server.shows = {
        "T-0.md": {**named, "attributes": {"n": 1.0, "s": "x", "_node": "n-17"}},
        "T-1.md": {**named, "attributes": {"n": 1}},
        "T-2.md": {**named, "chunking_strategy": {"type": "other"}},
        "T-3.md": {"attributes": {}, "chunking_strategy": {**chunks, "tenant": "t"}},
    }
    found = attach(server, members)
    wrong = {(one.source, one.field) for one in found.unkept}
    assert wrong == {("1.md", "attributes"), ("2.md", "chunking_strategy"), ("3.md", "attributes")}


def test_files_that_are_refused_without_a_word_are_found_and_the_others_attached() -> None:
    server = Server()
    server.refused, server.mute = {"T-3.bin", "T-7.bin"}, True
    found = attach(server, [f"{n}.{'bin' if n in (3, 7) else 'md'}" for n in range(9)])
    assert refused(found) == {"3.bin", "7.bin"}
    assert sum(map(len, server.batches)) == 7


def test_a_store_that_takes_nothing_is_not_asked_for_each_of_its_files() -> None:
    server = Server()
    server.refused, server.mute = {f"T-{n}.md" for n in range(500)}, True
    with pytest.raises(RequestRefused):
        attach(server, [f"{n}.md" for n in range(500)])
    assert server.asked < 100


def test_a_list_that_lags_and_batches_that_are_forgotten() -> None:
    server = Server()
    server.forgets_batches = True
    server.late = 20
    assert attach(server, ["a.md"]).troubles == []


def test_each_state_of_a_file_is_told_with_the_servers_reason() -> None:
    server = Server()
    server.status = {"T-a.md": "failed", "T-b.md": "cancelled", "T-c.md": "in_progress"}
    found = attach(server, ["a.md", "b.md", "c.md", "d.md"])
    assert {(trouble.file, trouble.reason) for trouble in found.troubles} == {
        ("a.md", "failed: why"),
        ("b.md", "cancelled: why"),
        ("c.md", "indexing timed out"),
    }
