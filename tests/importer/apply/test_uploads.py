"""Names of uploads, and a stream that tells its progress once however often it is read."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from holdall.bundle.layout import IndexEntry
from holdall.importer.apply.uploads import _Watched, upload_names
from holdall.importer.plan.bundle_summary import Content
from holdall.model import Fidelity, Record, SourceId
from holdall.sandbox.server import Running
from tests.importer.rig import run
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
    shelf.file("f2", "b.png", b"\x89PNG\0")
    shelf.text("f3", "c.pdf", ["some words"])
    shelf.store("vs", ["f1", "f2", "f3"])
    shelf.assistant("asst", stores=["vs"])
    with Running(tmp_path / "box") as box:
        report = run(shelf, box, tmp_path / "out")
    assert len(report.files) == 3
    assert shelf.threads
    assert threading.get_ident() not in shelf.threads
