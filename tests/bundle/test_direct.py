"""A content that is written to the bundle while it comes leaves the bytes that it leaves by way of the spool."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdall.bundle import growing, layout
from holdall.bundle.growing import DirectEntry
from holdall.bundle.partial import Partial
from holdall.bundle.sinks import Sink
from holdall.bundle.verification import verify
from holdall.bundle.writer import BundleWriter
from holdall.errors import CannotWrite
from holdall.model import Kind, Record, SourceId
from tests.bundle.packing import CAPTURE, STARTED, File, ledger_line

NOISE = hashlib.shake_128(b"direct").digest(200_000)
SMALL = [File(id=f"file-{n}", filename="a", data=NOISE[n : n + 900]) for n in range(5)]
LARGE = File(id="file-large", filename="a", data=NOISE)
TEXT = File(id="file-large", filename="a", data=b'{"pages":[],"truncated":false}', text=True)


@pytest.fixture(autouse=True)
def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "SHARED_FRAME", 8 << 10)
    monkeypatch.setattr(layout, "CONTENT_FRAME", 16 << 10)


class Adding:
    """Adds contents to one bundle, those over a frame directly or by way of the spool."""

    def __init__(self, target: Path, *, direct: bool) -> None:
        self.writer = BundleWriter(target, CAPTURE, started=STARTED, threads=2)
        self.direct = direct
        self.begun = 0
        self.added: dict[str, File] = {}

    def open(self, file: File, size: int, *, after: int = 0) -> Sink:
        """A sink for a content said to have ``size`` bytes, which may go direct when ``after`` bytes are spooled."""

        def go_direct(spooled: int) -> DirectEntry | None:
            if spooled < after or not self.direct:
                return None
            # Again and again until what is before it is in the file.
            begin = partial(self.writer.begin_direct, sink, file.id, file.filename, size=size, created_at=STARTED)
            self.begun += 1
            return next(filter(None, (begin() for _ in range(10_000_000))))

        sink = self.writer.open_content(size)
        sink.go_direct = go_direct
        return sink

    def add(self, file: File, *, size: int | None = None, after: int = 0) -> None:
        assert file.data is not None
        self.added[file.id] = file
        if self.writer.content(file.id):
            self.writer.keep(file.id)
            return
        size = len(file.data) if size is None else size
        long = size > layout.SHARED_FRAME and not file.text
        with self.open(file, size, after=after) if long else self.writer.open_content(text=file.text) as sink:
            for start in range(0, len(file.data), 5000):
                sink.write(file.data[start : start + 5000])
            sink.commit()
        self.put(sink, file)

    def put(self, sink: Sink, file: File) -> None:
        store = "vs_1" if file.text else None
        self.writer.add_content(sink, ledger_line(file), created_at=STARTED, store=store)

    def begin(self) -> None:
        raw = b'{"id":"vs_1"}'
        self.writer.add_record(Record(kind=Kind.STORE, id=SourceId("vs_1"), raw=raw))

    def finish(self, target: Path) -> bytes:
        for lines in (self.writer.open_files(), self.writer.open_memberships("vs_1")):
            for file in self.added.values():
                lines.write(b'{"id":"%b","filename":"a","bytes":%d}\n' % (file.id.encode(), len(file.data or b"")))
            lines.commit()
        self.writer.finish(ended=STARTED)
        assert verify(target).findings == []
        return target.read_bytes()


def fails(adding: Adding, size: int) -> None:
    """A download that breaks off, or is of no use, and is never added."""
    with adding.open(File(id="file-lost", filename="a"), len(NOISE)) as sink:
        sink.write(NOISE[:size])


def both(tmp_path: Path, **how: Any) -> Iterator[Adding]:
    """The same into two bundles, which must be equal; the first goes through the spool."""
    found = []
    for direct in (False, True):
        target = tmp_path / f"{direct}" / "a.tar.zst"
        target.parent.mkdir()
        adding = Adding(target, direct=direct)
        with adding.writer:
            adding.begin()
            yield adding
            found.append(adding.finish(target))
    assert found[0] == found[1]
    assert adding.begun >= 1


@pytest.mark.parametrize("after", [0, 16 << 10, 150_000])
@pytest.mark.parametrize("before", [0, 1, 5])
def test_the_bytes_are_the_same(tmp_path: Path, before: int, after: int) -> None:
    for adding in both(tmp_path):
        for file in SMALL[:before]:
            adding.add(file)
        adding.add(LARGE, after=after)
        for file in SMALL[before:]:
            adding.add(file)


@pytest.mark.parametrize("size", [100, 20_000, len(NOISE) - 1, len(NOISE) + 1, 10 * len(NOISE)])
def test_another_size_than_was_said(tmp_path: Path, size: int) -> None:
    for adding in both(tmp_path):
        adding.add(SMALL[0])
        adding.add(LARGE, size=max(size, layout.SHARED_FRAME + 1))
        adding.add(SMALL[1])


@pytest.mark.parametrize("received", [120_000, len(NOISE)])
@pytest.mark.parametrize("then", [TEXT, LARGE, None])
def test_what_fails_leaves_no_trace(tmp_path: Path, received: int, then: File | None) -> None:
    for adding in both(tmp_path):
        for file in SMALL[:3]:
            adding.add(file)
        fails(adding, received)
        if then:
            adding.add(then)
        for file in SMALL[3:]:
            adding.add(file)
        fails(adding, received)
        fails(adding, received)


def test_its_name_is_free_again(tmp_path: Path) -> None:
    names = ["file-a", "FILE-A", "File-A"]
    for adding in both(tmp_path):
        for number, id in enumerate(names):
            with adding.open(msgspec.structs.replace(LARGE, id=id), len(NOISE)) as sink:
                sink.write(NOISE[:120_000])
            if number != 1:
                adding.add(msgspec.structs.replace(LARGE, id=id))


def test_it_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spooled, real = [], Partial.new_spool

    def new_spool(self: Partial) -> Path:
        spooled.append(real(self))
        return spooled[-1]

    target = tmp_path / "a.tar.zst"
    adding = Adding(target, direct=True)
    monkeypatch.setattr(Partial, "new_spool", new_spool)
    with adding.writer:
        adding.begin()
        adding.add(SMALL[0])
        adding.add(LARGE)
        assert spooled == []
        adding.add(msgspec.structs.replace(LARGE, id="file-2"), after=30_000)
        assert len(spooled) == 1
        assert not spooled[0].exists()
        adding.finish(target)


@pytest.mark.parametrize("written", [20_000, 120_000, len(NOISE)])
@pytest.mark.parametrize("committed", [False, True])
def test_a_crash_in_the_middle_costs_that_content_only(tmp_path: Path, written: int, committed: bool) -> None:
    target, crashed = tmp_path / "a.tar.zst", tmp_path / "crashed"
    for name in ("whole", "crashed"):
        (tmp_path / name).mkdir()
    adding = Adding(target, direct=True)
    with adding.writer:
        adding.begin()
        for file in SMALL[:3]:
            adding.add(file)
        adding.writer._stream.flush()
        with adding.open(LARGE, len(NOISE)) as sink:
            sink.write(NOISE[:written])
            if committed and written == len(NOISE):
                sink.commit()
            adding.writer.checkpoint()  # as every second
            adding.writer._stream._out.file.flush()
            # What kill -9 leaves, and the state of the folder after a run that stopped in good order.
            shutil.copytree(f"{target}.partial", crashed / "a.tar.zst.partial")
    shutil.copytree(f"{target}.partial", tmp_path / "whole" / "a.tar.zst.partial")
    expected = None
    for folder in (tmp_path / "none", crashed, tmp_path / "whole"):
        folder.mkdir(exist_ok=True)
        again = Adding(folder / "a.tar.zst", direct=folder.name == "crashed")
        with again.writer:
            assert all(again.writer.content(file.id) for file in SMALL[:3]) == (folder.name != "none")
            assert again.writer.content(LARGE.id) is None
            again.begin()
            for file in [*SMALL[:3], LARGE, *SMALL[3:]]:
                again.add(file)
            found = again.finish(folder / "a.tar.zst")
        expected = expected or found
        assert found == expected


@pytest.mark.parametrize("after", range(0, 13, 3))
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    target, left, real = tmp_path / "a.tar.zst", iter(range(after)), DirectEntry.append
    whole = tmp_path / "whole" / "a.tar.zst"
    whole.parent.mkdir()
    for place in (target, whole):
        adding = Adding(place, direct=True)

        def append(self: DirectEntry, frame: bytes | memoryview, size: int) -> None:
            if next(left, None) is None:
                self._out.file.write(frame[:1000])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(self, frame, size)

        if place is target:
            with monkeypatch.context() as patch, adding.writer:
                patch.setattr(DirectEntry, "append", append)
                adding.begin()
                adding.add(SMALL[0])
                with pytest.raises(CannotWrite, match="No space"):
                    adding.add(LARGE)
            adding = Adding(place, direct=False)
        with adding.writer:
            adding.begin()
            for file in (SMALL[0], LARGE, SMALL[1]):
                adding.add(file)
            adding.finish(place)
    assert target.read_bytes() == whole.read_bytes()


def test_a_file_that_cant_be_cut_back_is_not_written_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut_back(self: growing.GrowingFile, mark: growing.Mark) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    adding = Adding(tmp_path / "a.tar.zst", direct=True)
    adding.begin()
    fails(adding, 120_000)
    monkeypatch.setattr(growing.GrowingFile, "cut_back", cut_back)
    for _ in range(2):
        with pytest.raises((CannotWrite, OSError)):
            adding.add(SMALL[0])
    with pytest.raises(CannotWrite):
        adding.writer.__exit__(None)


def test_nothing_else_goes_in_meanwhile(tmp_path: Path) -> None:
    target = tmp_path / "a.tar.zst"
    adding = Adding(target, direct=True)
    with adding.writer:
        adding.begin()
        with adding.open(LARGE, len(NOISE)) as sink:
            sink.write(NOISE)
            other = msgspec.structs.replace(LARGE, id="file-2")
            assert adding.writer.begin_direct(sink, other.id, other.filename, size=len(NOISE), created_at=0) is None
            with pytest.raises(ValueError, match="still being written"):
                adding.add(SMALL[0])
            sink.commit()
        adding.writer.checkpoint()
        adding.put(sink, LARGE)
        adding.add(SMALL[0])
        adding.finish(target)
