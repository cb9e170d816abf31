"""A log: whole lines only, whatever a crash or a full disk left of the last."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from threading import Event
from typing import BinaryIO

import pytest

from holdall.errors import CannotWrite
from holdall.safe_files import AppendLog
from tests.waiting import STANDSTILL


@pytest.mark.parametrize("torn", [b"", b"tw", b"x" * 70_000, b"\0" * 65_536])
def test_what_a_crash_left_of_a_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "log"
    for there, left in ((b"one\n", b"one\n"), (b"", b"")):
        path.write_bytes(there + torn)
        log = AppendLog(path)
        log.append(b"two\n")
        log.close()
        assert path.read_bytes() == left + b"two\n"


def test_what_stands_beyond_a_given_end_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\n\0\0\n")
    log = AppendLog(path, end=4)
    log.append(b"two\n")
    log.close()
    assert path.read_bytes() == b"one\ntwo\n"


def test_of_what_a_full_disk_did_not_take_nothing_stays(tmp_path: Path) -> None:
    full = False

    def sync(file: BinaryIO) -> None:
        if full:
            raise OSError(errno.ENOSPC, "No space left on device")

    log = AppendLog(tmp_path / "log", sync=sync)
    log.append(b"one\n")
    full = True
    with pytest.raises(CannotWrite, match="No space left"):
        log.append(b"two\n")
    full = False
    log.append(b"three\n")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"one\nthree\n"


def test_one_sync_serves_all_lines_that_wait(tmp_path: Path) -> None:
    begun, go, syncs = Event(), Event(), 0

    def sync(file: BinaryIO) -> None:
        nonlocal syncs
        syncs += 1
        begun.set()
        assert go.wait(STANDSTILL)

    async def commit() -> None:
        log = AppendLog(tmp_path / "log", sync=sync)
        first = asyncio.create_task(log.commit(b"0\n"))
        assert await asyncio.to_thread(begun.wait, STANDSTILL)
        others = [asyncio.create_task(log.commit(b"%d\n" % n)) for n in range(1, 40)]
        await asyncio.sleep(0)  # now each has given its line
        go.set()
        await asyncio.gather(first, *others)
        log.close()

    asyncio.run(commit())
    assert (tmp_path / "log").read_bytes().split() == [b"%d" % n for n in range(40)]
    assert syncs == 2
