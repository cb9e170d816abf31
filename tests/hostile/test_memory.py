"""What a bundle says must not decide how much memory reading it takes: each bomb is read in a process of its own."""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.forge import Frame, forge
from tests.hostile.lies import bomb

Lies = dict[str, Callable[[Any], Any]]

# MiB that the frames being decoded, the largest JSON and its values may take, over what the interpreter itself does.
MOST = 450
PEAK = """\
import re, sys
from pathlib import Path
import holdall.cli.extract, holdall.cli.inspect, holdall.cli.verify, holdall.extraction, holdall.bundle.verification
from tests.hostile.trial import Trial
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10
before = peak()
for folder in sys.argv[2:]:
    trial, damaged = Trial(Path(folder)), True
    for part in sys.argv[1].split(","):
        found = getattr(trial, part)(*([damaged] if part in ("deliveries", "commands") else []))
        damaged = found if part == "proof" else damaged
        print(part, peak() - before)
"""
ALL = "proof,reader,importing,deliveries,commands"


def _newlines(stage: str) -> Lies:
    """64 MiB of line ends: as many lines, were they cut at once."""
    return {stage: lambda lines: [*lines, b"\n" * (63 << 20)]}


def _lists(before: bytes, after: bytes, size: int = 8_000_000) -> bytes:
    return before + b"[]," * (size // 3) + b"1" + after


def _record(raw: bytes) -> Lies:
    return {"definitions": lambda members: [replace(members[0], data=raw), members[1]]}


def _instead(raw: bytes, size: int) -> Lies:
    return {"frames": lambda frames: [Frame(raw=raw, size=size, length=len(raw)), *frames[1:]]}


BOMBS: dict[str, Lies] = {
    "a frame of 2.6 GB that declares 4 bytes": _instead(bomb(20_000, declared=4), 4),
    "a frame of 2.6 GB that declares what is listed": _instead(bomb(20_000, declared=1 << 20), 1 << 20),
    "a frame with a window of 4 GiB": _instead(bomb(1, declared=1 << 17, window=0xB0), 1 << 17),
    "an index of line ends": _newlines("index"),
    "a ledger of line ends": _newlines("ledger"),
    "memberships of line ends": _newlines("memberships"),
    "a record of empty lists": _record(_lists(b'{"id":"asst_1","metadata":{"x":[', b"]}}")),
    "a record of 64 MiB": _record(_lists(b'{"id":"asst_1","metadata":{"x":[', b"]}}", 64 << 20)),
    "a holdall.json of empty lists": {
        "info_raw": lambda raw: raw.replace(b'"options": {}', _lists(b'"options": {"x":[', b"]}"))
    },
}


def _peak(parts: str, *folders: Path) -> int:
    """MiB that reading these bundles takes, at the most."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, parts, *map(str, folders)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout.replace("\n", " MiB, "))
    return int(done.stdout.split()[-1])


def _put(folder: Path, name: str) -> Path:
    folder.mkdir()
    (folder / "bundle.tar.zst").write_bytes(forge(**BOMBS[name]))
    return folder


only_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads the peak out of /proc")


@only_linux
@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_takes_no_more_than_the_limits(name: str, tmp_path: Path) -> None:
    assert _peak(ALL, _put(tmp_path / "trial", name)) < MOST


@only_linux
def test_what_the_file_says_of_itself_decides_nothing(tmp_path: Path) -> None:
    """One bomb in the normal suite, and a hole: a seek table of 2.4 GB, which costs its maker nothing."""
    bombed = _put(tmp_path / "bomb", "a frame of 2.6 GB that declares what is listed")
    count, hole = 300_000_000, tmp_path / "hole"
    hole.mkdir()
    with (hole / "bundle.tar.zst").open("wb") as file:
        file.write(forge()[:2000])
        start = file.tell()
        file.write(b"\x5e\x2a\x4d\x18" + struct.pack("<I", 8 * count + 9))
        file.seek(start + 8 + 8 * count)
        file.write(struct.pack("<IB", count, 0) + b"\xb1\xea\x92\x8f")
    assert _peak("reader", bombed, hole) < MOST
