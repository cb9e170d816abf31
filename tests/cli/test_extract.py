from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from holdall.cli.console import Console
from holdall.cli.main import run
from tests.bundle.packing import File, pack


def holdall(*argv: str) -> tuple[int, bytes, str]:
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n"), io.StringIO()
    code = run(argv, Console(stdout=out, stderr=err))
    out.flush()
    buffer = out.buffer
    assert isinstance(buffer, io.BytesIO)
    return code, buffer.getvalue(), err.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    target = tmp_path / "acme.tar.zst"
    pack(target, [File(id="file-1", data=b"\r\n\x00\xff"), File(id="file-2", filename="b.txt", data=b"b" * 5000)])
    return target


def test_files_into_a_folder(path: Path, tmp_path: Path) -> None:
    code, out, err = holdall("extract", str(path), "*.txt", "--to", str(tmp_path / "out"))
    assert code == 0
    assert out.decode().splitlines() == [str(tmp_path / "out" / "notes.txt"), str(tmp_path / "out" / "b.txt")]
    assert "2 files, 5.0 kB" in err
    assert holdall("extract", str(path), "file-1", "--to", str(tmp_path / "out"))[0] == 0
    (tmp_path / "out" / "notes.txt").write_bytes(b"mine")
    assert holdall("extract", str(path), "file-1", "--to", str(tmp_path / "out"))[0] == 13
    assert holdall("extract", str(path), "file-1", "--to", str(tmp_path / "out"), "--force")[0] == 0


def test_one_entry_to_stdout_is_its_bytes_and_nothing_else(path: Path) -> None:
    assert holdall("extract", str(path), "file-1", "-o", "-") == (0, b"\r\n\x00\xff", "")


def test_one_entry_to_a_file(path: Path, tmp_path: Path) -> None:
    code, out, _ = holdall("extract", str(path), "b.txt", "-o", str(tmp_path / "mine"), "--json")
    assert code == 0
    (written,) = json.loads(out)["result"]["files"]
    assert written == {"entry": "data/files/file-2/b.txt", "path": str(tmp_path / "mine"), "size": 5000}
    assert (tmp_path / "mine").read_bytes() == b"b" * 5000


def test_salvage(path: Path, tmp_path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-30])
    assert holdall("extract", str(path), "--to", str(tmp_path / "out"))[0] == 10
    code, out, _ = holdall("extract", str(path), "--salvage", "--to", str(tmp_path / "out"), "--json")
    document = json.loads(out)
    assert code == 0
    assert document["result"]["lost"] == []
    assert len(document["result"]["files"]) == 7
    path.write_bytes(path.read_bytes()[:-2000])
    code, _, err = holdall("extract", str(path), "--salvage", "--to", str(tmp_path / "out2"))
    assert code in (3, 14)
    assert "lost: " in err or "nothing that could be named" in err


@pytest.mark.parametrize(
    "argv",
    [
        ["file-1"],
        ["file-1", "--to", "x", "-o", "-"],
        ["-o", "-"],
        ["file-1", "b.txt", "-o", "-"],
        ["file-1", "-o", "-", "--salvage"],
        ["file-1", "-o", "-", "--json"],
    ],
)
def test_what_makes_no_sense(path: Path, argv: list[str]) -> None:
    assert holdall("extract", str(path), *argv)[0] == 2


def test_a_pattern_without_a_match(path: Path, tmp_path: Path) -> None:
    code, _, err = holdall("extract", str(path), "none", "--to", str(tmp_path / "out"))
    assert code == 14
    assert "holdall inspect" in err
