"""What is taken for ours, and what is not: by marks where there are any, by name and size where it is certain."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from holdall.errors import Interrupted, Unreachable
from holdall.importer.apply.context import SETTLE, Pace
from holdall.importer.apply.reconcile import Reconciler
from holdall.importer.runs.runfolder import RunFolder
from holdall.importer.runs.runjournal import ALONE, MARKS, Create, Creation, Done, Failed, Learned, Line
from holdall.importer.runs.runreport import Orphan
from holdall.model import Kind, SourceId, TargetId
from holdall.remote.client import Account
from holdall.remote.lists import Doubt
from tests.importer.rig import Time, context

FILE = Create(op="1", kind=Kind.FILE, source=SourceId("f1"), name="a.md", size=10)
STORE = Create(op="s", kind=Kind.STORE, source=SourceId("vs"), name="store")


class World:
    """Lists of an account, by the time from which each object is in them."""

    def __init__(self, tmp_path: Path) -> None:
        self.moment = Time()
        self.objects: list[tuple[float, str, dict[str, Any]]] = []
        self.looks = 0
        self.gone = self.doubtful = False
        self.folder = RunFolder(tmp_path, now=lambda: 0.0, token="t")
        self.pace = Pace(clock=lambda: self.moment.now, sleep=self.moment.sleep)
        self.reconciler = Reconciler(context(self, self.folder, self.pace))

    async def items(
        self, where: str, params: object = None, *, limit: int = 100, doubt: Doubt | None = None
    ) -> AsyncIterator[bytes]:
        self.looks += 1
        if doubt and self.doubtful:
            doubt("the server does not mark its end")
        if self.gone:
            raise Unreachable("gone")
        for since, place, fields in list(self.objects):
            if place == where and self.moment.now >= since:
                yield json.dumps(fields).encode()

    def file(self, id: str, *, name: str = "a.md", size: int | float = 10, since: float = 0.0) -> None:
        self.objects.append((since, "/files", {"id": id, "filename": name, "bytes": size}))

    def store(self, id: str, *, name: str | None = "store", op: str | None = None, since: float = 0.0) -> None:
        metadata = {} if op is None else {"holdall_op": op}
        self.objects.append((since, "/vector_stores", {"id": id, "name": name, "metadata": metadata}))

    def settle(self, *intents: Creation, before: tuple[Line, ...] = ()) -> None:
        """List what is there, then write down what went before and the intents, and settle these."""

        async def go() -> None:
            if not self.folder.baseline.path.exists():
                now, self.objects = self.objects, [one for one in self.objects if one[2].get("old")]
                await self.folder.baseline.take(cast(Account, self))
                self.objects, self.looks = now, 0
            for line in (*before, *intents):
                await self.folder.write(line)
            await self.reconciler.reconcile(intents)

        asyncio.run(go())

    def orphans(self) -> list[Orphan]:
        return asyncio.run(self.reconciler.orphans())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    asyncio.run(made.folder.close())


def test_the_only_new_file_of_that_name_and_size_is_ours(world: World) -> None:
    world.file("T1")
    world.file("T2", size=11)
    world.file("T3", name="b.md")
    world.settle(FILE)
    assert world.folder.state.files == {"f1": "T1"}
    assert '"inferred":true' in world.folder.journal.path.read_text()
    assert world.looks == 1


def test_it_is_looked_for_until_the_end_of_the_window(world: World) -> None:
    world.file("T1", since=SETTLE - 0.01)
    world.settle(FILE)
    assert world.folder.state.files == {"f1": "T1"}


def test_not_longer(world: World) -> None:
    world.file("T1", since=SETTLE + 6)
    world.settle(FILE)
    assert world.folder.state.files == {}
    assert world.folder.state.missed == [FILE]
    assert world.folder.state.open == {}
    assert world.moment.now == pytest.approx(SETTLE)
    assert world.orphans() == []  # what a whole list doesn't have isn't there
    world.moment.now += 10
    assert [one.id for one in world.orphans()] == ["T1"]


@pytest.mark.parametrize("why", ["can't be read", "may lack something", "lacks what the run made", "shows things late"])
def test_what_no_list_shows_is_listed_only_where_the_list_may_not_show_it(world: World, why: str) -> None:
    other = Create(op="0", kind=Kind.FILE, source=SourceId("f0"), name="b.md", size=1)
    before: tuple[Line, ...] = ()
    if why == "lacks what the run made":
        before = (other, Done(op="0", target=TargetId("T0")))
    elif why == "shows things late":
        world.file("T0", name="b.md", size=1, since=10)
        world.settle(FILE, other)
    world.settle(FILE, before=before)
    world.gone, world.doubtful = why == "can't be read", why == "may lack something"
    assert {(one.id, one.name, one.size) for one in world.orphans()} == {(None, "a.md", 10)}


def test_one_that_was_there_before_is_not_ours(world: World) -> None:
    world.file("T1")
    world.objects[-1][2]["old"] = True
    world.settle(FILE)
    assert world.folder.state.files == {}
    world.file("T2")
    world.settle(FILE)
    assert world.folder.state.files == {"f1": "T2"}


def test_of_two_neither_is_taken_and_both_are_listed(world: World) -> None:
    world.file("T1")
    world.file("T2")
    world.settle(FILE)
    assert world.folder.state.files == {}
    assert {one.id for one in world.orphans()} == {"T1", "T2"}


def test_one_that_is_the_copy_of_something_else_is_not_taken(world: World) -> None:
    other = Create(op="0", kind=Kind.FILE, source=SourceId("f0"), name="a.md", size=10)
    world.file("T0")
    world.settle(FILE, before=(other, Done(op="0", target=TargetId("T0"))))
    assert world.folder.state.files == {"f0": "T0"}


def test_what_an_attempt_of_another_file_may_have_left_behind_is_not_taken(world: World) -> None:
    """It has the same name and size, and perhaps other bytes."""
    other = Create(op="0", kind=Kind.FILE, source=SourceId("f0"), name="a.md", size=10)
    world.file("T0")
    world.settle(FILE, before=(other, Failed(op="0", error="x", looked=True)))
    assert world.folder.state.files == {}
    assert [one.id for one in world.orphans()] == ["T0"]


def test_what_an_earlier_attempt_of_the_same_file_left_behind_is_as_good(world: World) -> None:
    earlier = Create(op="0", kind=Kind.FILE, source=SourceId("f1"), name="a.md", size=10)
    world.file("T0")
    world.settle(FILE, before=(earlier, Failed(op="0", error="x", looked=True)))
    assert world.folder.state.files == {"f1": "T0"}


def test_two_uploads_that_look_alike_are_both_given_up(world: World) -> None:
    other = Create(op="2", kind=Kind.FILE, source=SourceId("f2"), name="a.md", size=10)
    world.file("T1")
    world.settle(FILE, other)
    assert world.folder.state.files == {}


def test_beside_another_importer_no_file_is_taken(world: World) -> None:
    world.file("T1")
    world.settle(FILE, before=(Learned(what=ALONE, value=0),))
    assert world.folder.state.files == {}


def test_stores_are_known_by_their_mark_and_by_nothing_else(world: World) -> None:
    world.store("V1")
    world.store("V2", op="another")
    world.store("V3", op="s", since=30)
    world.settle(STORE)
    assert world.folder.state.target(Kind.STORE, SourceId("vs")) == "V3"
    assert '"image":{' in world.folder.journal.path.read_text()
    assert world.orphans() == []


def test_a_store_that_turns_up_too_late_is_listed(world: World) -> None:
    world.settle(STORE)
    assert world.orphans() == []
    world.store("V1", op="s")
    assert [(one.kind, one.id) for one in world.orphans()] == [(Kind.STORE, "V1")]


def test_where_marks_are_dropped_a_store_is_known_as_a_file_is(world: World) -> None:
    world.store("V1", name="other")
    world.store("V2")
    world.settle(STORE, before=(Learned(what=MARKS, value=0),))
    assert world.folder.state.target(Kind.STORE, SourceId("vs")) == "V2"


def test_without_a_name_too_if_it_is_the_only_one(world: World) -> None:
    nameless = Create(op="s", kind=Kind.STORE, source=SourceId("vs"))
    world.store("V1", name="")
    world.settle(nameless, before=(Learned(what=MARKS, value=0),))
    assert world.folder.state.target(Kind.STORE, SourceId("vs")) == "V1"


def test_all_are_looked_for_within_one_window(world: World) -> None:
    others = [Create(op=f"{n}", kind=Kind.FILE, source=SourceId(f"f{n}"), name=f"{n}.md", size=1) for n in range(50)]
    world.settle(*others, STORE)
    assert world.moment.now == pytest.approx(SETTLE)
    assert len(world.folder.state.missed) == 51


def test_a_list_that_fails_leaves_everything_open(world: World) -> None:
    world.settle()
    world.gone = True
    with pytest.raises(Unreachable):
        world.settle(FILE)
    assert world.folder.state.open == {"1": FILE}


def test_ctrl_c_ends_the_looking_and_leaves_everything_open(world: World) -> None:
    world.settle()
    world.pace.stop()
    with pytest.raises(Interrupted):
        world.settle(FILE)
    assert world.folder.state.open == {"1": FILE}
