"""Where a file is read, a pipe, a folder, a device or a socket is refused at once: none of these may be waited for."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdall.originals import Original, copy_original
from holdall.safe_files import open_regular, read_regular, regular
from holdall.sandbox.server import Running
from tests.bundle.packing import File, pack
from tests.cli.terminal import Terminal
from tests.project import Hand
from tests.sweep import sweep

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has none of these as files")


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[dict[str, Path]]:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        where = os.getcwd()
        os.chdir(tmp_path)  # the path of a socket must be short
        listening.bind("socket")
        os.chdir(where)
        names = {name: tmp_path / name for name in ("fifo", "folder", "link", "socket")}
        yield {**names, "device": Path("/dev/zero")}


def test_only_a_regular_file_is_opened(odd: dict[str, Path], tmp_path: Path) -> None:
    for path in odd.values():
        with pytest.raises(OSError, match=r".+"):
            open_regular(path)
        with pytest.raises(OSError, match=r".+"):
            os.close(regular(path, os.O_WRONLY))
    (tmp_path / "plain").write_bytes(b"plain")
    (tmp_path / "to plain").symlink_to(tmp_path / "plain")
    assert read_regular(tmp_path / "to plain") == b"plain"


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    with Hand(box.url, "sk-src-0001") as hand:
        hand.assistant("Helper")
    sides = ("SRC", "DST")
    return Terminal(
        monkeypatch,
        {f"OPENAI_{side}_API_KEY": f"sk-{side.lower()}-0001" for side in sides}
        | {f"OPENAI_{side}_BASE_URL": box.url for side in sides},
    )


@pytest.mark.parametrize("name", ["fifo", "folder", "socket", "device"])
@sweep(
    "command",
    [
        ["verify", "ODD"],
        ["verify", "--quick", "ODD"],
        ["inspect", "ODD"],
        ["list", "ODD"],
        ["diff", "ODD", "ODD", "--env-file", "none"],
        ["extract", "ODD", "--to", "out"],
        ["extract", "--salvage", "ODD", "--to", "out"],
        ["supply", "ODD", "--originals", "folder"],
        ["plan", "ODD"],
        ["import", "ODD"],
        ["export", "--parent", "ODD", "-o", "new.tar.zst"],
        ["export", "--from-dump", "ODD", "-o", "new.tar.zst"],
        ["remap", "ODD/mapping.json", "."],
        ["import", "b.tar.zst", "--plan", "ODD"],
        ["import", "b.tar.zst", "--env-file", "ODD"],
        ["import", "b.tar.zst", "--mapping", "ODD"],
    ],
    ids=" ".join,
)
def test_no_command_waits(
    command: list[str], name: str, odd: dict[str, Path], holdall: Terminal, tmp_path: Path
) -> None:
    if name == "folder" and command[0] in ("remap", "list"):
        pytest.skip("a folder is what they take")
    if "b.tar.zst" in command:
        pack(tmp_path / "b.tar.zst", [File(id="file-1")])
    words = [str(odd[name]) if word in ("ODD", "ODD/mapping.json") else word for word in command]
    done = holdall(*words)
    assert done.code not in (0, 1, 70), done.err
    assert "Traceback" not in done.err
    assert str(odd[name]) in done.err


def test_an_import_does_not_wait_for_what_stands_in_its_folder(holdall: Terminal, tmp_path: Path) -> None:
    pack(tmp_path / "b.tar.zst", [File(id="file-1")])
    for name in ("mapping.json", "runs/20260101T000000Z-abc/journal.jsonl", "runs/20260101T000000Z-abc/undo.jsonl"):
        path = tmp_path / "out" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        for argv in (
            ["import", "b.tar.zst"],
            ["undo", "--yes"],
            ["remap", "out", "."],
            ["verify", "b.tar.zst", "--against", "dst"],
        ):
            done = holdall(*argv)
            assert done.code not in (1, 70), done.err
            assert "Traceback" not in done.err
        path.unlink()
    shutil.rmtree(tmp_path / "out")


def test_an_export_does_not_wait_for_what_stands_in_its_folder(holdall: Terminal, tmp_path: Path) -> None:
    for name in ("journal.jsonl", "stream", "lock"):
        path = tmp_path / "new.tar.zst.partial" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
    done = holdall("export", "-o", "new.tar.zst")
    assert done.code not in (0, 1, 70), done.err
    assert "Traceback" not in done.err


def test_an_original_that_became_a_pipe_is_not_waited_for(odd: dict[str, Path]) -> None:
    class Sink:
        def write(self, data: bytes) -> None: ...

        def commit(self) -> object: ...

        def abort(self) -> None: ...

    with pytest.raises(OSError, match="not a regular file"):
        copy_original(Original(path=odd["fifo"], name="fifo", size=7), Sink())
