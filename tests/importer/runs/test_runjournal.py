"""The journal: durable before it returns, one sync for all that wait, and plain about a full disk."""

from __future__ import annotations

import asyncio
import errno
import json
import threading
from pathlib import Path
from typing import BinaryIO

import pytest

from holdall.errors import CannotWrite, ImportFailed
from holdall.importer.runs.runjournal import Closed, Create, Done, Learned, Line, RunJournal, lines
from holdall.model import Kind, SourceId, TargetId


def done(n: int) -> Done:
    return Done(op=str(n), target=TargetId(f"t{n}"))


def test_a_line_is_synced_before_write_returns(tmp_path: Path) -> None:
    at_sync: list[bytes] = []

    def sync(file: BinaryIO) -> None:
        file.flush()
        at_sync.append(Path(file.name).read_bytes())

    async def go() -> None:
        journal = RunJournal(tmp_path / "j", sync=sync)
        await journal.write(Create(op="1", kind=Kind.FILE, source=SourceId("f"), name="n", size=3))
        assert b'"create"' in at_sync[0]
        await journal.write(done(1))
        assert at_sync[1].count(b"\n") == 2
        journal.close()

    asyncio.run(go())
    first, second = (json.loads(line) for line in (tmp_path / "j").read_bytes().splitlines())
    assert (first["line"], first["op"], first["kind"], first["size"]) == ("create", "1", "file", 3)
    assert second == {"line": "done", "op": "1", "target": "t1"}


def test_one_sync_serves_all_that_wait(tmp_path: Path) -> None:
    syncs = 0
    begun = asyncio.Event()
    gate = threading.Event()

    async def go() -> None:
        loop = asyncio.get_running_loop()

        def sync(file: BinaryIO) -> None:
            nonlocal syncs
            syncs += 1
            if syncs == 1:
                loop.call_soon_threadsafe(begun.set)
                gate.wait()

        journal = RunJournal(tmp_path / "j", sync=sync)
        first = asyncio.create_task(journal.write(done(0)))
        await begun.wait()
        rest = [asyncio.create_task(journal.write(done(n))) for n in range(1, 101)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(first, *rest)
        journal.close()

    asyncio.run(go())
    assert syncs == 2
    assert len((tmp_path / "j").read_bytes().splitlines()) == 101


def test_a_full_disk_reaches_everyone_who_waits(tmp_path: Path) -> None:
    def sync(file: BinaryIO) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def go() -> list[object]:
        journal = RunJournal(tmp_path / "j", sync=sync)
        found = await asyncio.gather(journal.write(done(1)), journal.write(done(2)), return_exceptions=True)
        journal.close()
        return list(found)

    found = asyncio.run(go())
    assert all(isinstance(error, CannotWrite) and "No space left" in str(error) for error in found)


def test_a_cancelled_writer_does_not_disturb_the_others(tmp_path: Path) -> None:
    async def go() -> None:
        journal = RunJournal(tmp_path / "j")
        gone = asyncio.create_task(journal.write(done(1)))
        stays = asyncio.create_task(journal.write(done(2)))
        await asyncio.sleep(0)
        gone.cancel()
        await stays
        await journal.write(Closed(ended="now"))
        journal.close()

    asyncio.run(go())
    assert len((tmp_path / "j").read_bytes().splitlines()) == 3


def test_a_journal_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b"old\n")
    with pytest.raises(CannotWrite, match="j: "):
        RunJournal(tmp_path / "j", new=True)
    assert (tmp_path / "j").read_bytes() == b"old\n"


def written(path: Path, *sent: Line) -> None:
    async def go() -> None:
        journal = RunJournal(path)
        for line in sent:
            await journal.write(line)
        journal.close()

    asyncio.run(go())


def test_what_was_written_is_read_with_its_ends(tmp_path: Path) -> None:
    written(tmp_path / "j", done(1), Learned(what="batch_files", value=5), Closed(ended="now"))
    found = list(lines(tmp_path / "j"))
    assert [line for line, _ in found] == [done(1), Learned(what="batch_files", value=5), Closed(ended="now")]
    assert found[-1][1] == (tmp_path / "j").stat().st_size


@pytest.mark.parametrize("torn", [b'{"line":"do', b'{"line":"closed","ended":"x"}', b"\0\0\0\0", b'{"line":"do\n\0'])
def test_what_a_crash_cut_off_is_not_read_and_gives_way(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "j"
    written(path, done(1))
    end = path.stat().st_size
    path.write_bytes(path.read_bytes() + torn)
    assert [line for line, _ in lines(path)] == [done(1)]

    async def go() -> None:
        journal = RunJournal(path, end=end)
        await journal.write(done(2))
        journal.close()

    asyncio.run(go())
    assert [line for line, _ in lines(path)] == [done(1), done(2)]


def test_damage_in_the_middle_is_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "j"
    written(path, done(1), done(2), done(3))
    first, second, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:10] + b"\n" + third)
    with pytest.raises(ImportFailed, match="line 2 is damaged"):
        list(lines(path))


def test_after_a_failure_nothing_more_is_written(tmp_path: Path) -> None:
    """Half a line may be in the file; another behind it would be damage."""
    full = True

    def sync(file: BinaryIO) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")

    async def go() -> None:
        nonlocal full
        journal = RunJournal(tmp_path / "j", sync=sync)
        with pytest.raises(CannotWrite):
            await journal.write(done(1))
        full = False
        with pytest.raises(CannotWrite):
            await journal.write(done(2))
        journal.close()

    asyncio.run(go())
    assert b'"2"' not in (tmp_path / "j").read_bytes()
