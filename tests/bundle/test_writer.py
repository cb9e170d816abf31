from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdall.bundle import growing, layout, stream
from holdall.bundle.partial import JOURNAL, Cut, Journal, Line, find_partial, partial_folder
from holdall.bundle.reader import open_bundle
from holdall.bundle.verification import verify
from holdall.bundle.writer import BundleWriter
from holdall.errors import AlreadyExists, BundleInUse, CannotWrite
from holdall.model import Fidelity, Kind, Record, SourceId
from tests.bundle.packing import CAPTURE, STARTED, File, add_all, ledger_line, pack
from tests.sweep import sweep

NOISE = hashlib.shake_128(b"noise").digest(5_000_000)
FILES = [
    File(id="file-a", filename="a.txt", data=b"a" * 1000),
    File(id="file-b", filename="b.bin", data=NOISE),
    File(id="file-c", filename="c.txt", data=b""),
    File(id="file-d", filename="d.pdf", data=b'{"pages":[],"truncated":false}', text=True),
    File(id="file-e", filename="e.bin", data=NOISE[:1_500_000]),
    File(id="file-f", data=None),
]


def writer(target: Path, **more: Any) -> BundleWriter:
    return BundleWriter(target, more.pop("capture", CAPTURE), started=more.pop("started", STARTED), threads=2, **more)


def contents(target: Path) -> dict[str, bytes]:
    with open_bundle(target) as bundle:
        return {str(entry.id): bundle.read(entry) for entry in bundle.entries() if entry.fidelity}


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "acme.tar.zst"


def test_what_went_in_comes_out_and_the_whole_file_has_the_sha256_that_was_told(target: Path) -> None:
    finished = pack(target, FILES)
    assert contents(target) == {file.id: file.data for file in FILES if file.data is not None}
    assert hashlib.sha256(target.read_bytes()).hexdigest() == finished.sha256
    assert target.stat().st_size == finished.size
    assert verify(target).findings == []
    assert os.listdir(target.parent) == [target.name]
    counts = {"assistants": 1, "vector_stores": 1, "memberships": 6, "files": 6, "entries": 10}
    assert {name: finished.info.counts[name] for name in counts} == counts
    assert {fidelity: count.files for fidelity, count in finished.info.fidelities.items()} == {
        "original": 4,
        "text": 1,
        "unavailable": 1,
    }


@pytest.mark.skipif(sys.platform == "win32", reason="no modes on Windows")
def test_nobody_else_may_read_it_while_or_after_it_is_written(target: Path) -> None:
    with writer(target) as bundle:
        add_all(bundle, FILES[:2])
        for path in target.parent.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
        bundle.finish(ended=STARTED)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_an_existing_file_is_replaced_only_by_force(target: Path) -> None:
    target.write_bytes(b"mine")
    with pytest.raises(AlreadyExists, match="already exists"):
        writer(target)
    assert os.listdir(target.parent) == [target.name]
    with writer(target, force=True) as bundle:
        add_all(bundle, FILES[:1])
        bundle.finish(ended=STARTED)
    assert verify(target).whole


def test_a_file_that_came_meanwhile_is_not_replaced_either(target: Path) -> None:
    with writer(target) as bundle:
        add_all(bundle, FILES[:1])
        target.write_bytes(b"somebody else's")
        with pytest.raises(AlreadyExists):
            bundle.finish(ended=STARTED)
    assert target.read_bytes() == b"somebody else's"


def test_one_process_at_a_time(target: Path) -> None:
    with writer(target) as bundle:
        with pytest.raises(BundleInUse):
            writer(target)
        add_all(bundle, FILES[:1])
        bundle.finish(ended=STARTED)
    assert verify(target).whole


def test_a_content_that_fails_leaves_no_trace(target: Path) -> None:
    with writer(target) as bundle:
        for size in (10, 3_000_000):
            with bundle.open_content() as sink:
                sink.write(NOISE[:size])
        assert bundle.content("file-a") is None
        add_all(bundle, FILES[:1])
        bundle.finish(ended=STARTED)
    assert contents(target) == {"file-a": FILES[0].data}


def test_contents_from_several_threads(target: Path) -> None:
    def add(number: int) -> None:
        file = File(id=f"file-{number}", data=NOISE[number : number + 20_000 * number])
        assert file.data is not None
        with bundle.open_content() as sink:
            for start in range(0, len(file.data), 7000):
                sink.write(file.data[start : start + 7000])
            sink.commit()
        bundle.add_content(sink, ledger_line(file), created_at=0)

    with writer(target) as bundle:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(add, range(100)))
        bundle.finish(ended=STARTED)
    assert verify(target).whole
    assert contents(target) == {f"file-{n}": NOISE[n : n + 20_000 * n] for n in range(100)}


def test_the_same_project_gives_the_same_digests_in_whatever_order_it_comes(tmp_path: Path) -> None:
    first = pack(tmp_path / "1.tar.zst", FILES)
    volatile = {"vs_1": {"name": "Knowledge", "status": "expired", "last_active_at": 5, "usage_bytes": 7}}
    second = pack(tmp_path / "2.tar.zst", FILES[::-1], stores=volatile, ended=STARTED + 999)
    assert first.info.digests == second.info.digests
    assert first.sha256 != second.sha256


@pytest.mark.parametrize(
    ("changed", "definitions", "content"),
    [
        ({"files": [*FILES[:-2], msgspec.structs.replace(FILES[4], data=NOISE[:1_499_999] + b"x")]}, False, True),
        ({"files": [msgspec.structs.replace(FILES[0], fidelity=Fidelity.SUPPLIED), *FILES[1:]]}, False, True),
        ({"files": [msgspec.structs.replace(FILES[0], filename="z.txt"), *FILES[1:]]}, True, False),
        ({"files": FILES, "stores": {"vs_1": {"name": "Knowledgf"}}}, True, False),
        ({"files": FILES, "assistants": {"asst_1": {"name": "Helper", "model": "gpt-4o", "x": None}}}, True, False),
    ],
)
def test_any_change_changes_a_digest(tmp_path: Path, changed: dict[str, Any], definitions: bool, content: bool) -> None:
    first = pack(tmp_path / "1.tar.zst", FILES).info.digests
    second = pack(tmp_path / "2.tar.zst", changed.pop("files"), **changed).info.digests
    assert (first.definitions != second.definitions) >= definitions
    assert (first.contents != second.contents) == content


# -- going on after a stop -----------------------------------------------------------------------------


class Killed(Exception):
    """Stands for the end of the process."""


def start(target: Path, files: list[File], **definitions: Any) -> None:
    """A run that is stopped before it finishes."""
    with suppress(Killed), writer(target) as bundle:
        add_all(bundle, files, **definitions)
        raise Killed


def add(bundle: BundleWriter, file: File, **more: Any) -> None:
    assert file.data is not None
    with bundle.open_content() as sink:
        sink.write(file.data)
        sink.commit()
    bundle.add_content(sink, ledger_line(file, **more), created_at=0)


def test_a_stopped_run_leaves_what_is_whole_and_the_next_goes_on(target: Path) -> None:
    start(target, FILES[:3])
    assert not target.exists()
    assert find_partial(target.parent, CAPTURE) == target
    other = msgspec.structs.replace(CAPTURE, options={"concurrency": 1})
    assert find_partial(target.parent, other) is None
    with writer(target, started=STARTED + 500) as bundle:
        assert bundle.started == STARTED
        kept = [file.id for file in FILES if bundle.content(file.id)]
        assert kept == ["file-a", "file-b", "file-c"]
        add_all(bundle, FILES)
        resumed = bundle.finish(ended=STARTED + 600)
    assert verify(target).findings == []
    assert contents(target) == {file.id: file.data for file in FILES if file.data is not None}
    assert resumed.info.digests == pack(target.with_name("whole.tar.zst"), FILES).info.digests


def test_a_clock_that_was_set_back_damages_nothing(target: Path) -> None:
    pack(target, FILES[:1], ended=STARTED - 5)
    with open_bundle(target) as bundle:
        assert (bundle.info.started, bundle.info.ended) == (STARTED, STARTED)
    assert verify(target).findings == []


def test_ledger_lines_of_the_earlier_run_stay_with_their_contents(target: Path) -> None:
    with suppress(Killed), writer(target) as bundle:
        add_all(bundle, [], stores={})
        for file in FILES[:2]:
            add(bundle, file, route=f"/files/{file.id}/content", status=200)
        bundle.add_ledger(ledger_line(FILES[5], status=404))
        raise Killed
    with writer(target) as bundle:
        add_all(bundle, [], stores={})
        for file in FILES[:2]:
            bundle.keep(file.id)
        bundle.finish(ended=STARTED)
    with open_bundle(target) as opened:
        lines = {line.id: line for line in opened.ledger()}
    assert {id: (line.route, line.status) for id, line in lines.items()} == {
        "file-a": ("/files/file-a/content", 200),
        "file-b": ("/files/file-b/content", 200),
    }


def test_a_content_of_an_earlier_run_gives_way_to_a_later_one(target: Path) -> None:
    start(target, FILES[:3])
    newer = [File(id="file-a", filename="new name.txt", data=b"new"), File(id="file-b", filename="b.bin", data=b"b")]
    with suppress(Killed), writer(target) as bundle:
        add(bundle, newer[0])
        raise Killed
    with writer(target) as bundle:
        add(bundle, newer[1])
        add_all(bundle, [*newer, FILES[2]])
        finished = bundle.finish(ended=STARTED)
    assert verify(target).findings == []
    assert finished.info.digests == pack(target.with_name("whole.tar.zst"), [*newer, FILES[2]]).info.digests
    with open_bundle(target) as opened:
        assert opened.find("data/files/file-a/new name.txt") is not None


def test_a_text_stays_with_its_store_whatever_that_is_called(target: Path) -> None:
    stores = {"a/b": {"name": "old"}, "a:b": {}}
    start(target, [FILES[3]], stores=stores)
    stores = {"a/b": {"name": "new"}, "a:b": {}}
    with writer(target) as bundle:
        add_all(bundle, [FILES[3]], stores=stores)
        bundle.finish(ended=STARTED)
    assert verify(target).findings == []
    with open_bundle(target) as opened:
        (text,) = opened.entries("data/text/")
        record = opened.find(f"data/vector_stores/{text.path.split('/')[2]}.json")
        assert record is not None
        assert record.id == "a/b"


def test_a_damaged_stream_is_named_with_the_way_out(target: Path) -> None:
    start(target, FILES[:5], stores={"vs_1": {"name": "old"}})
    stream = target.with_name("acme.tar.zst.partial") / "stream"
    damaged = bytearray(stream.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    stream.write_bytes(damaged)
    for _ in range(2):
        with (
            pytest.raises(CannotWrite, match="damaged") as caught,
            writer(target) as bundle,
        ):
            add_all(bundle, FILES[:5], stores={"vs_1": {"name": "new"}})
        assert "--no-resume" in caught.value.hint


def test_what_another_version_began_is_refused_and_stays(target: Path) -> None:
    start(target, FILES[:1])
    journal = target.with_name("acme.tar.zst.partial") / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(JOURNAL.encode(), layout.FORMAT.encode()))
    before = journal.read_bytes()
    assert find_partial(target.parent, CAPTURE) is None
    with pytest.raises(AlreadyExists, match="another version") as caught:
        writer(target)
    assert "--no-resume" in caught.value.hint
    assert journal.read_bytes() == before
    with writer(target, force=True) as bundle:
        assert bundle.content("file-a") is None
        bundle.discard()


def test_changed_definitions_go_into_a_new_stream_that_takes_the_contents_over(target: Path) -> None:
    start(target, FILES[:5], stores={"vs_1": {"name": "old"}, "vs_2": {}})
    with writer(target) as bundle:
        definitions: dict[str, Any] = {"stores": {"vs_1": {"name": "new"}, "vs_3": {}}}
        for file in FILES[1:5]:
            assert bundle.content(file.id) is not None
        add_all(bundle, FILES[1:], **definitions)
        finished = bundle.finish(ended=STARTED)
    assert verify(target).findings == []
    assert finished.info.digests == pack(target.with_name("whole.tar.zst"), FILES[1:], **definitions).info.digests
    assert "file-a" not in contents(target)
    with open_bundle(target) as opened:
        assert [str(store.id) for store in opened.stores()] == ["vs_1", "vs_3"]


def test_volatile_changes_are_no_changes(target: Path) -> None:
    start(target, FILES[:2], stores={"vs_1": {"name": "n", "usage_bytes": 1}})
    before = (target.parent / "acme.tar.zst.partial" / "stream").stat().st_ino
    with writer(target) as bundle:
        add_all(bundle, FILES[:2], stores={"vs_1": {"name": "n", "usage_bytes": 2}})
        bundle.finish(ended=STARTED)
    assert target.stat().st_ino == before or sys.platform == "win32"
    assert verify(target).whole


def test_another_capture_of_that_name_is_not_thrown_away_unasked(target: Path) -> None:
    start(target, FILES[:1])
    other = msgspec.structs.replace(CAPTURE, selection={"mode": "by_id"})
    with pytest.raises(AlreadyExists, match="unfinished"):
        writer(target, capture=other)
    with writer(target, capture=other, force=True) as bundle:
        assert bundle.content("file-a") is None
        bundle.discard()
    assert os.listdir(target.parent) == []


def crashes(folder: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """What a crash can leave of journal and stream: each line cut off, whole and half, bytes behind the last cut."""
    journal, data = folder / "journal.jsonl", folder / "stream"
    lines = journal.read_bytes().splitlines(keepends=True)
    for count in range(1, len(lines) + 1):
        whole = b"".join(lines[:count])
        yield f"{count} lines", lambda whole=whole: journal.write_bytes(whole)  # type: ignore[misc]
        half = whole + b"".join(lines[count:])[:20]
        yield f"{count} lines and a half", lambda half=half: journal.write_bytes(half)  # type: ignore[misc]
    yield "half a frame", lambda: data.write_bytes(data.read_bytes() + b"\x28\xb5\x2f\xfd half")
    yield "no stream", lambda: data.write_bytes(b"")
    yield "another byte", lambda: data.write_bytes(b"\0" + data.read_bytes()[1:])
    yield "no journal", lambda: journal.write_bytes(b"")


@sweep("part", range(8))
def test_a_crash_at_every_line_of_the_journal(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    monkeypatch.setattr(layout, "SHARED_FRAME", 2000)
    start(target, FILES[:5])
    partial, kept = tmp_path / "acme.tar.zst.partial", tmp_path / "kept"
    shutil.copytree(partial, kept)
    expected = pack(tmp_path / "whole.tar.zst", FILES).info.digests
    for number in range(part, len(list(crashes(partial))), 8):
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(kept, partial)
        name, crash = list(crashes(partial))[number]
        crash()
        target.unlink(missing_ok=True)
        with writer(target) as bundle:
            add_all(bundle, FILES)
            assert bundle.finish(ended=STARTED).info.digests == expected, name
        assert verify(target).findings == [], name


def test_a_crash_while_it_takes_over_from_an_old_stream(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(target, FILES[:5], stores={"vs_1": {"name": "old"}})

    def carry(*args: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(BundleWriter, "_carry", carry)
        with pytest.raises(Killed), writer(target) as bundle:
            add_all(bundle, FILES, stores={"vs_1": {"name": "new"}})
    with writer(target) as bundle:
        assert bundle.content("file-b") is not None
        add_all(bundle, FILES, stores={"vs_1": {"name": "new"}})
        bundle.finish(ended=STARTED)
    assert verify(target).whole
    assert contents(target)["file-b"] == NOISE


# -- disks and callers that fail -----------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1, 3, 6])
def test_a_full_disk_leaves_nothing_under_the_final_name(
    target: Path, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    written = 0
    original = growing.GrowingFile.append

    def write(self: growing.GrowingFile, frame: bytes, size: int) -> None:
        nonlocal written
        written += 1
        if written > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        original(self, frame, size)

    with monkeypatch.context() as patch:
        patch.setattr(growing.GrowingFile, "append", write)
        with pytest.raises(CannotWrite, match="No space") as caught:
            pack(target, FILES)
    assert "same command" in caught.value.hint
    assert not target.exists()
    with writer(target) as bundle:
        add_all(bundle, FILES)
        bundle.finish(ended=STARTED)
    assert verify(target).whole


def test_free_space_is_looked_at_first(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(target.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=20 << 20))
    with writer(target) as bundle:
        with pytest.raises(CannotWrite, match="No space"):
            bundle.open_content(21 << 20)
        bundle.discard()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1 << 20))
    with pytest.raises(CannotWrite):
        writer(target)
    assert os.listdir(target.parent) == []


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CannotWrite, match="No such file"):
        writer(tmp_path / "none" / "a.tar.zst")


def test_a_content_can_be_asked_for_in_the_moment_in_which_it_becomes_durable(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []
    asked = threading.Event()
    commit = Journal.commit
    with writer(target) as bundle:

        def asking(journal: Journal, lines: Sequence[Line], cut: Cut) -> list[int]:
            positions = commit(journal, lines, cut)
            try:
                found.append(bundle.content("f"))
            finally:
                monkeypatch.undo()
                asked.set()
            return positions

        with bundle.open_content() as sink:
            sink.commit()
        stored = bundle.add_content(sink, ledger_line(File(id="f")), created_at=0)
        monkeypatch.setattr(Journal, "commit", asking)
        bundle.checkpoint()
        asked.wait(60)
        bundle.discard()
    assert found == [stored]


def test_stores_without_files_take_no_spool_files(target: Path) -> None:
    with writer(target) as bundle:
        for number in range(3):
            id = SourceId(f"vs_{number}")
            bundle.add_record(Record(kind=Kind.STORE, id=id, raw=b'{"id":"%s"}' % id.encode()))
            with bundle.open_memberships(id) as lines:
                if number == 1:
                    lines.write(b'{"id":"f"}\n')
                lines.commit()
        assert len(list((partial_folder(target) / "spool").iterdir())) == 1
        with bundle.open_files() as lines:
            lines.write(b'{"id":"f"}\n')
            lines.commit()
        bundle.add_ledger(ledger_line(File(id="f", filename=None, data=None)))
        bundle.finish(ended=STARTED)
    with open_bundle(target) as read:
        assert [[each.id for each in read.memberships(f"vs_{number}")] for number in range(3)] == [[], ["f"], []]
    assert verify(target).whole


def test_a_small_content_is_committed_in_memory_while_there_is_room(
    target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "_WAITING", 2000)
    with writer(target) as bundle:
        for number, size in enumerate((1500, 1500, 500, layout.SHARED_FRAME + 1)):
            with bundle.open_content() as sink:
                sink.write(b"x" * size)
                assert sink.commit_in_memory() == (number in (0, 2)) == (not sink.is_open)
                if sink.is_open:
                    sink.commit()
            assert sink.size == size
            assert sink.sha256 == hashlib.sha256(b"x" * size).hexdigest()


def test_what_callers_must_not_do(target: Path) -> None:
    record = Record(kind=Kind.ASSISTANT, id=SourceId("asst_1"), raw=b'{"id":"asst_1"}')
    with writer(target) as bundle:
        bundle.add_record(record)
        with pytest.raises(ValueError, match="added before"):
            bundle.add_record(record)
        with pytest.raises(ValueError, match="open_files"):
            bundle.add_record(Record(kind=Kind.FILE, id=SourceId("f"), raw=b"{}"))
        with bundle.open_content() as sink:
            sink.commit()
            with pytest.raises(ValueError, match="closed"):
                sink.commit()
        bundle.add_content(sink, ledger_line(File(id="f")), created_at=0)
        with pytest.raises(ValueError, match="added before"):
            bundle.add_content(sink, ledger_line(File(id="f")), created_at=0)
        with bundle.open_files() as lines:
            lines.write(b'{"id":"f"}')
            with pytest.raises(ValueError, match="unterminated last line"):
                lines.commit()
        bundle.discard()
