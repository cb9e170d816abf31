"""The folder of an unfinished bundle: what a run finds that comes after one that was stopped anywhere."""

from __future__ import annotations

import errno
import io
import os
import threading
from pathlib import Path

import msgspec
import pytest

from holdall import safe_files
from holdall.bundle.partial import (
    JOURNAL,
    Begin,
    Cut,
    Journal,
    Partial,
    clear_finished,
    discard_partial,
    find_partial,
    partial_folder,
    unfinished,
)
from holdall.bundle.reader import open_bundle
from holdall.bundle.writer import BundleWriter
from holdall.errors import AlreadyExists, BundleInUse, CannotWrite
from tests.bundle.packing import CAPTURE, STARTED, File, add_all, ledger_line

STEPS = ("nothing", "set_aside:1", "set_aside", "begun", "forget:1", "forget")


def begin(folder: Path, name: str, started: int = STARTED) -> Path:
    """An unfinished bundle of that name; returns its target."""
    target = folder / name
    with BundleWriter(target, CAPTURE, started=started, threads=1) as writer:
        add_all(writer, [File(id="file-1")])
    return target


@pytest.mark.parametrize("step", STEPS)
def test_a_change_of_streams_stopped_at_any_step_leaves_one_whole_pair(tmp_path: Path, step: str) -> None:
    partial = Partial(tmp_path / "b.tar.zst")
    partial.stream.write_bytes(b"old stream")
    partial.journal.write_bytes(b"old journal")
    reached = STEPS.index(step)
    if reached == 1:
        partial.journal.replace(partial.old_journal)
    if reached >= 2:
        partial.set_aside()
    if reached >= 3:
        partial.journal.write_bytes(b"new journal")
        partial.stream.write_bytes(b"new stream")
    if reached == 4:
        partial.old_stream.unlink()
    if reached == 5:
        partial.forget_old()
    age = "new" if reached >= 4 else "old"
    for _ in range(2):
        partial.bring_back()
        assert partial.stream.read_text() == f"{age} stream"
        assert partial.journal.read_text() == f"{age} journal"
        assert not partial.old_stream.exists()
        assert not partial.old_journal.exists()
    partial.release()


def test_bringing_back_may_itself_be_stopped(tmp_path: Path) -> None:
    for reached in range(3):
        partial = Partial(tmp_path / f"{reached}.tar.zst")
        partial.old_stream.write_bytes(b"old stream")
        partial.old_journal.write_bytes(b"old journal")
        partial.stream.write_bytes(b"new stream")
        if reached == 0:
            partial.journal.write_bytes(b"new journal")
        if reached == 2:
            partial.old_stream.replace(partial.stream)
        partial.bring_back()
        assert (partial.stream.read_bytes(), partial.journal.read_bytes()) == (b"old stream", b"old journal")
        partial.release()


def test_the_partial_begun_last_is_found_by_its_capture(tmp_path: Path) -> None:
    assert find_partial(tmp_path, CAPTURE) is None
    begin(tmp_path, "1.tar.zst", STARTED)
    last = begin(tmp_path, "2.tar.zst", STARTED + 5)
    other = msgspec.structs.replace(CAPTURE, selection={"mode": "none"})
    assert find_partial(tmp_path, CAPTURE) == last
    assert find_partial(tmp_path, msgspec.structs.replace(CAPTURE, tool="holdall 99")) == last
    assert find_partial(tmp_path, other) is None
    last.write_bytes(b"somebody finished it")
    assert find_partial(tmp_path, CAPTURE) == tmp_path / "1.tar.zst"
    partial_folder(tmp_path / "1.tar.zst").rename(tmp_path / "renamed.tar.zst.partial")
    assert find_partial(tmp_path, CAPTURE) is None  # the name is in every path of the stream


def test_what_was_begun_is_known_even_in_the_middle_of_a_change_of_streams(tmp_path: Path) -> None:
    target = begin(tmp_path, "b.tar.zst")
    partial = Partial(target)
    partial.set_aside()
    partial.release()
    found = unfinished(target)
    assert found is not None
    assert (found.started, found.format) == (STARTED, JOURNAL)


def test_a_partial_is_thrown_away_unless_somebody_is_at_it(tmp_path: Path) -> None:
    target = begin(tmp_path, "b.tar.zst")
    partial = Partial(target)
    with pytest.raises(BundleInUse):
        discard_partial(target)
    partial.release()
    discard_partial(target)
    assert not partial_folder(target).exists()
    discard_partial(target)


@pytest.mark.parametrize("linked", [True, False])
def test_what_a_run_left_that_had_given_its_bundle_the_name_is_taken_away(tmp_path: Path, linked: bool) -> None:
    target = begin(tmp_path, "b.tar.zst")
    stream = partial_folder(target) / "stream"
    if linked:
        target.hardlink_to(stream)
    else:
        stream.replace(target)
    with pytest.raises(AlreadyExists):
        BundleWriter(target, CAPTURE, started=STARTED)
    assert not partial_folder(target).exists()
    assert target.exists()
    begin(tmp_path, "c.tar.zst")
    (tmp_path / "c.tar.zst").write_bytes(b"another's")
    clear_finished(tmp_path / "c.tar.zst")
    assert partial_folder(tmp_path / "c.tar.zst").exists()


def test_a_checkpoint_makes_small_contents_safe(tmp_path: Path) -> None:
    target = tmp_path / "b.tar.zst"
    with BundleWriter(target, CAPTURE, started=STARTED, threads=1) as writer:
        add_all(writer, [File(id="file-1")])
        writer.checkpoint()
        writer.checkpoint()
        writer._stream.flush()
        journal = (partial_folder(target) / "journal.jsonl").read_bytes()
        assert b'"id":"file-1"' in journal[: journal.rindex(b'"line":"cut"')]
        assert isinstance(msgspec.json.decode(journal.split(b"\n")[0], type=Begin), Begin)
        writer.finish(ended=STARTED + 1)
        writer.checkpoint()  # too late, and harmless
    with open_bundle(target) as bundle:
        assert bundle.content("file-1") is not None


def test_a_sink_that_is_given_up_while_a_thread_commits_it_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "b.tar.zst"
    with BundleWriter(target, CAPTURE, started=STARTED, threads=1) as writer:
        add_all(writer, [])
        placing, go_on = threading.Event(), threading.Event()
        sink, content = writer.open_content(), os.urandom(3 << 20)
        finish = sink._finish

        def slowly() -> None:
            placing.set()
            go_on.wait()
            finish()

        sink._finish = slowly  # type: ignore[method-assign]
        sink.write(content)
        committing = threading.Thread(target=sink.commit)
        committing.start()
        placing.wait()
        aborting = threading.Thread(target=sink.abort)
        aborting.start()
        go_on.set()
        committing.join()
        aborting.join()
        with pytest.raises(ValueError, match="closed"):
            sink.write(b"more")
        writer.add_content(sink, ledger_line(File(id="file-1"), expected=None), created_at=0)
        writer.finish(ended=STARTED + 1)
    with open_bundle(target) as bundle:
        entry = bundle.content("file-1")
        assert entry is not None
        assert bundle.read(entry) == content


def test_a_journal_that_the_disk_did_not_take_lets_go_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: io.FileIO, data: bytes) -> None:
        file.write(data[:3])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal = Journal(tmp_path / "journal.jsonl", Begin(format=JOURNAL, name="b", started=STARTED, capture=CAPTURE))
    taken = (tmp_path / "journal.jsonl").read_bytes()
    monkeypatch.setattr(safe_files, "write_all", full)
    with pytest.raises(CannotWrite, match="No space left"):
        journal.commit([], Cut(length=1, size=1))
    journal.close()
    assert journal._log._file.closed
    assert (tmp_path / "journal.jsonl").read_bytes() == taken
