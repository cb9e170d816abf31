"""Files that are there whole or not at all, whatever the disk does."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO

import pytest

from holdall import safe_files
from holdall.errors import AlreadyExists, CannotWrite, DamagedBundle
from holdall.safe_files import cannot_write, write_all, write_pieces, write_whole


def full(*args: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def in_the_middle(file: BinaryIO) -> None:
    os.ftruncate(file.fileno(), 2)
    full()


@pytest.mark.parametrize(("name", "failing"), [("sync_file", in_the_middle), ("os.replace", full)])
def test_what_was_there_stays_until_the_new_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, failing: Callable[..., None]
) -> None:
    target = tmp_path / "plan.json"
    write_whole(target, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(f"holdall.safe_files.{name}", failing)
        with pytest.raises(CannotWrite, match=r"can't write .*plan\.json: No space") as caught:
            write_whole(target, b"the new one", hint="another folder")
    assert "free disk space, then run the same command again" in caught.value.hint
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("plan.json", b"old")]
    write_whole(target, b"the new one")
    assert target.read_bytes() == b"the new one"


def test_a_folder_that_is_gone_or_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for target in (tmp_path / "gone" / "a", tmp_path / "file" / "a"):
        with pytest.raises(CannotWrite) as caught:
            write_whole(target, b"x", hint="another folder")
        assert caught.value.hint == "another folder"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_a_pipe_or_a_device_is_never_replaced_by_a_file(tmp_path: Path) -> None:
    pipe, link, bundle = tmp_path / "pipe", tmp_path / "link", tmp_path / "bundle"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    bundle.touch()
    for target in (pipe, link):
        with pytest.raises(CannotWrite, match="not a regular file"):
            write_whole(target, b"x")
        with pytest.raises(OSError, match="not a regular file"):
            safe_files.rename_durably(bundle, target, force=True)
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "link", "pipe"]


def test_only_a_full_disk_asks_for_room() -> None:
    assert "free disk space" in cannot_write(Path("a"), OSError(errno.ENOSPC, "x"), hint="h").hint
    assert cannot_write(Path("a"), OSError(errno.EROFS, "x"), hint="h").hint == "h"


def test_what_a_disk_takes_in_part_is_written_on(tmp_path: Path) -> None:
    class Little(FileIO):
        def write(self, data: object) -> int:
            return super().write(bytes(data)[:3])  # type: ignore[call-overload]

    with Little(tmp_path / "a", "w") as file:
        write_all(file, b"0123456789")
    assert (tmp_path / "a").read_bytes() == b"0123456789"
    assert safe_files.write_all is write_all


def test_pieces_are_there_whole_or_not_at_all(tmp_path: Path) -> None:
    target, gone = tmp_path / "a", tmp_path / "gone"

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise DamagedBundle("no more")

    with pytest.raises(DamagedBundle):
        write_pieces(target, broken(), force=False)
    assert list(tmp_path.iterdir()) == []
    write_pieces(target, iter([b"one", b"two"]), force=False)
    assert target.read_bytes() == b"onetwo"
    gone.symlink_to(tmp_path / "nowhere")
    for there in (target, gone):
        with pytest.raises(AlreadyExists, match="already exists"):
            write_pieces(there, [b"x"], force=False)
    write_pieces(target, [b"x"], force=True)
    assert target.read_bytes() == b"x"
    with pytest.raises(CannotWrite, match="can't write"):
        write_pieces(tmp_path / "no" / "a", [b"x"], force=True)
    assert {path.name for path in tmp_path.iterdir()} == {"a", "gone"}
