"""Which files are looked into, and how they are written: as they were but for the ids."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from holdall.errors import CannotWrite, UsageFault
from holdall.remap import files
from holdall.remap.files import Change, Passed, Unmapped, scan, write
from holdall.remap.renaming import Renaming

OLD, NEW = "asst_oldoldoldoldoldold01", "asst_newnewnewnewnewnew01"
RENAMING = Renaming(ids={OLD: NEW}, unusable={})


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "out" / "mapping.json"
    (tmp_path / "out" / "runs").mkdir(parents=True)
    path.write_text(OLD)
    return path


def put(path: Path, data: bytes | str = OLD) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def look(root: Path, mapping: Path, *paths: Path) -> list[Change | Unmapped | Passed]:
    return list(scan(paths or [root], mapping, RENAMING))


def changed(root: Path, mapping: Path) -> list[str]:
    return [one.path.relative_to(root).as_posix() for one in look(root, mapping) if isinstance(one, Change)]


def test_everything_below_a_folder_but_what_is_not_the_users_own(tmp_path: Path, mapping: Path) -> None:
    for name in (".env", "a.py", "sub/deep/b.toml", "out/notes.md"):
        put(tmp_path / name)
    for name in (
        ".git/config", "node_modules/x/i.js", ".venv/a.py", "venv2/pyvenv.cfg", "venv2/b.py", "__pycache__/c.txt",
        "out/report.md", "out/report.html", "out/runs/1/mapping.json", "b.tar.zst.partial/journal.jsonl",
    ):  # fmt: skip
        put(tmp_path / name)
    put(tmp_path / "binary", OLD.encode() + b"\0")
    assert changed(tmp_path, mapping) == [".env", "a.py", "out/notes.md", "sub/deep/b.toml"]


@pytest.mark.skipif(sys.platform == "win32", reason="symlinks need a right there")
def test_symlinks_are_not_followed(tmp_path: Path, mapping: Path) -> None:
    away = put(tmp_path / "away" / "x.py")
    root = tmp_path / "root"
    root.mkdir()
    (root / "file").symlink_to(away)
    (root / "folder").symlink_to(away.parent)
    assert look(root, mapping) == []
    (passed,) = look(root, mapping, root / "file")
    assert isinstance(passed, Passed)
    assert away.read_text() == OLD


@pytest.mark.parametrize(
    "data",
    [
        f"é\r\n{OLD}\r\nlast".encode("latin-1"),
        f"\ufeffname: {OLD}\n".encode(),
        f"\ufeffA={OLD}\r\nzwölf 語\r\n".encode("utf-16-le"),
        f"\ufeffA={OLD}\n".encode("utf-16-be"),
        b"\x81\xff" + OLD.encode() + b"\x85 \x1e",
    ],
)
def test_bytes_around_an_id_stay_whatever_the_encoding(tmp_path: Path, mapping: Path, data: bytes) -> None:
    path = put(tmp_path / "x", data)
    (change,) = look(path, mapping)
    assert isinstance(change, Change)
    write(change)
    encoding = change.encoding
    assert path.read_bytes() == data.replace(OLD.encode(encoding), NEW.encode(encoding))
    assert path.read_bytes() != data
    assert look(path, mapping) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "x"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_the_mode_stays(tmp_path: Path, mapping: Path) -> None:
    path = put(tmp_path / "run.sh")
    path.chmod(0o754)
    (change,) = look(path, mapping)
    assert isinstance(change, Change)
    write(change)
    assert stat.S_IMODE(path.stat().st_mode) == 0o754


def test_a_file_that_somebody_else_changed_meanwhile_is_not_written(tmp_path: Path, mapping: Path) -> None:
    path = put(tmp_path / "x")
    (change,) = look(path, mapping)
    assert isinstance(change, Change)
    path.write_text(f"{OLD} more")
    with pytest.raises(CannotWrite, match="another program has just changed it"):
        write(change)
    assert path.read_text() == f"{OLD} more"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, mapping: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "x")
    (change,) = look(path, mapping)
    assert isinstance(change, Change)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CannotWrite, match="No space left"):
        write(change)
    assert path.read_text() == OLD
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "x"]


def test_a_file_named_twice_is_looked_into_once_and_the_mapping_never(tmp_path: Path, mapping: Path) -> None:
    path = put(tmp_path / "x")
    assert len(look(tmp_path, mapping, path, tmp_path, path, mapping)) == 1
    with pytest.raises(UsageFault, match="no such file"):
        look(tmp_path, mapping, tmp_path / "absent")


def test_what_is_too_large_or_not_what_it_says_to_be_is_passed_and_said(
    tmp_path: Path, mapping: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "in" / "cut", b"\xff\xfe\x00")
    monkeypatch.setattr(files, "_LARGEST", 100)
    put(tmp_path / "in" / "large", OLD * 10)
    found = look(tmp_path / "in", mapping)
    assert [(one.path.name, one.why) for one in found if isinstance(one, Passed)] == [
        ("cut", "not valid utf-16-le"),
        ("large", "larger than 0 MiB"),
    ]
