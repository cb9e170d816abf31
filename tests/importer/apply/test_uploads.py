"""Names of uploads, and a stream that tells its progress once however often it is read."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, cast

import pytest

from holdall.bundle.layout import IndexEntry
from holdall.bundle.reader import BundleReader
from holdall.errors import DamagedBundle, RateLimited
from holdall.importer.apply import uploads
from holdall.importer.apply.context import Pace
from holdall.importer.apply.uploads import Uploads, _Queue, _Watched, upload_names
from holdall.importer.apply.writes import Writes
from holdall.importer.plan.bundle_summary import Content
from holdall.importer.plan.steps import UploadFile
from holdall.importer.runs.runjournal import Create
from holdall.importer.runs.runstate import RunState
from holdall.model import Fidelity, Record, SourceId, TargetId
from holdall.remote import transport
from holdall.sandbox.server import Running
from tests.importer.rig import context, run
from tests.importer.shelf import Shelf


@pytest.mark.parametrize(
    ("name", "fidelity", "exact", "used"),
    [
        ("a.md", Fidelity.ORIGINAL, False, "a.md"),
        ("a.md", Fidelity.TEXT, True, "a.md"),
        ("a.md", Fidelity.TEXT, False, "a.md.txt"),
        ("a.pdf", Fidelity.TEXT, True, "a.pdf.txt"),
        ("a.pdf", Fidelity.SUPPLIED, False, "a.pdf"),
        (None, Fidelity.TEXT, False, "file_1.txt"),
        (None, Fidelity.ORIGINAL, False, "file_1"),
    ],
)
def test_the_name_says_whether_it_is_the_file(name: str | None, fidelity: Fidelity, exact: bool, used: str) -> None:
    assert upload_names(Content(id=SourceId("file_1"), filename=name, fidelity=fidelity), exact=exact)[0] == used


def test_a_stream_that_is_read_again_is_counted_once() -> None:
    told: list[int] = []
    stream = _Watched(io.BytesIO(b"x" * 1000), told.append)
    assert stream.seek(0, io.SEEK_END) == 1000
    assert stream.tell() == 1000
    for _ in range(2):
        stream.seek(0)
        while stream.read(300):
            pass
    assert sum(told) == 1000
    assert stream.seekable()
    assert stream.readable()


class Watching(Shelf):
    """A bundle that notes which threads it is read in."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()

    def memberships(self, store_id: str) -> Iterator[Record]:
        self.threads.add(threading.get_ident())
        yield from super().memberships(store_id)

    def content(self, file_id: str) -> IndexEntry | None:
        self.threads.add(threading.get_ident())
        return super().content(file_id)

    def open(self, entry: IndexEntry) -> BinaryIO:
        watching = self

        class Watched(io.BytesIO):
            def read(self, size: int | None = -1) -> bytes:
                watching.threads.add(threading.get_ident())
                return super().read(size)

        return Watched(super().open(entry).read())


def test_nothing_of_the_bundle_is_read_on_the_event_loop(tmp_path: Path) -> None:
    shelf = Watching()
    shelf.file("f1", "a.md")
    shelf.file("f2", "b.png", b"\x89PNG\0" * 50_000)
    shelf.text("f3", "c.pdf", ["some words"])
    shelf.store("vs", ["f1", "f2", "f3"])
    shelf.assistant("asst", stores=["vs"])
    with Running(tmp_path / "box") as box:
        report = run(shelf, box, tmp_path / "out")
    assert len(report.files) == 3
    assert shelf.threads
    assert threading.get_ident() not in shelf.threads


def steps_of(*ids: str, fidelity: Fidelity = Fidelity.ORIGINAL) -> list[UploadFile]:
    contents = [Content(id=SourceId(id), filename=f"{id}.md", fidelity=fidelity) for id in ids]
    return [UploadFile(content=content, purpose="assistants") for content in contents]


def taken(shelf: Shelf, steps: list[UploadFile], up: Iterable[str] = ()) -> list[Any]:
    async def take() -> list[Any]:
        queue = _Queue(steps, cast(BundleReader, shelf), {SourceId(id) for id in up})
        found = []
        while one := await queue.take():
            found.append(one)
        return found

    return asyncio.run(take())


def test_many_small_files_are_looked_up_and_read_in_few_visits_to_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, visits = Watching(), 0
    for number in range(70):
        shelf.file(f"f{number}", f"{number}.md", b"words %d" % number)
    shelf.store("vs", [f"f{number}" for number in range(70)])
    honest = _Queue._look_up

    def look_up(self: _Queue, steps: Iterable[UploadFile], up: Any) -> Iterator[Any]:
        nonlocal visits
        visits += 1
        return honest(self, steps, up)

    monkeypatch.setattr(_Queue, "_look_up", look_up)
    monkeypatch.setattr(transport, "_ReadInThread", None)
    with Running(tmp_path / "box") as box:
        report = run(shelf, box, tmp_path / "out")
    assert len(report.files) == 70
    assert visits == 3
    assert threading.get_ident() not in shelf.threads


def test_of_what_is_looked_up_at_once_no_more_is_in_memory_than_a_little() -> None:
    shelf = Shelf()
    small = [f"small-{number:02d}" for number in range(25)]
    for id in small:
        shelf.file(id, None, bytes(uploads._SMALL))
    shelf.file("large", None, bytes(uploads._SMALL + 1))
    shelf.text("text", None, ["some words"])
    found = taken(shelf, steps_of(*small, "large") + steps_of("text", fidelity=Fidelity.TEXT), up=small[:3])
    assert [one.step.content.id for one in found] == [*small, "large", "text"]
    assert [one.entry for one in found[:3]] == [None] * 3
    assert all(one.entry for one in found[3:])
    fits = uploads._IN_MEMORY // uploads._SMALL
    assert [len(one.data) for one in found[3 : 3 + fits]] == [uploads._SMALL] * fits
    assert [one.data for one in found[3 + fits :]] == [None] * (len(found) - 3 - fits)


def test_a_content_that_can_not_be_read_is_no_error_of_those_beside_it() -> None:
    class Damaged(Shelf):
        def read(self, entry: IndexEntry, limit: int = 1 << 30) -> bytes:
            if entry.path == "f2":
                raise DamagedBundle("can't read f2")
            return super().read(entry, limit)

    shelf = Damaged()
    for id in ("f1", "f2", "f3"):
        shelf.file(id, None)
    found = taken(shelf, steps_of("f1", "f2", "lost", "f3"))
    assert [type(one.error) for one in found] == [type(None), DamagedBundle, DamagedBundle, type(None)]
    assert [one.data is not None for one in found] == [True, False, False, True]


@pytest.mark.parametrize("times", [1, 2, 9])
def test_a_file_that_is_rate_limited_when_all_others_are_up_is_tried_again_or_told(times: int) -> None:
    shelf, state = Shelf(), RunState()
    for id in ("f1", "f2", "f3"):
        shelf.file(id, None)
    left, others = times, asyncio.Event()

    class Server:
        async def upload(self, intent: Create, name: str, stream: BinaryIO, *, purpose: str) -> TargetId:
            nonlocal left
            if intent.source == "f1" and left:
                await others.wait()
                left -= 1
                raise RateLimited("slow down", status=429)
            state.files[intent.source] = TargetId(f"file-{intent.source}")
            if len(state.files) == 2:
                others.set()
            return state.files[intent.source]

    async def go() -> list[Any]:
        account = SimpleNamespace(limits=SimpleNamespace(concurrency=3))
        pace = Pace(clock=lambda: 0.0, sleep=asyncio.sleep, settle=0.0)
        of_run = context(account, SimpleNamespace(state=state), pace)
        run = Uploads(of_run, cast(BundleReader, shelf), cast(Writes, Server()))
        return await run.run(steps_of("f1", "f2", "f3"))

    losses = asyncio.run(go())
    assert ("f1" in state.files) is (times == 1)
    assert [loss.id for loss in losses] == ([] if times == 1 else ["f1"])
