"""A bundle that is another one as soon as it was proved: nothing of the other is ever used."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest

from holdall.bundle.frames import FrameFile
from holdall.bundle.verification import References, verified
from holdall.errors import DamagedBundle
from holdall.sandbox.server import Running
from tests.bundle.packing import File, pack
from tests.cli.terminal import Terminal
from tests.project import Hand
from tests.sweep import sweep

KEY = "sk-destination-0001"
NOISE = random.Random(1).randbytes(20_000).hex().encode()  # more than a file buffers


def replaced(path: Path, other: bytes) -> None:
    """Another file under its name."""
    path.with_name("other").write_bytes(other)
    os.replace(path.with_name("other"), path)


def overwritten(path: Path, other: bytes) -> None:
    """The same file, with other bytes in it."""
    with path.open("r+b") as file:
        file.write(other)
        file.truncate()


@pytest.fixture
def good(tmp_path: Path) -> Path:
    pack(
        tmp_path / "b.tar.zst",
        [File(id=f"file-{n}", filename=f"{n}.txt", data=b"good %d\n" % n + NOISE) for n in range(5)],
    )
    return tmp_path / "b.tar.zst"


@pytest.fixture
def evil(tmp_path: Path, good: Path) -> bytes:
    path = tmp_path / "evil" / "b.tar.zst"
    path.parent.mkdir()
    pack(path, [File(id=f"file-{n}", filename=f"{n}.txt", data=b"evil %d\n" % n + NOISE) for n in range(5)])
    return path.read_bytes()


@pytest.fixture(params=[False, True], ids=["cached", "read again"])
def uncached(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether next to nothing of a bundle stays in memory, as of a large one."""
    if request.param:
        monkeypatch.setitem(FrameFile.__init__.__kwdefaults__, "cache_bytes", 1)
    return bool(request.param)


@pytest.fixture
def exchanged(monkeypatch: pytest.MonkeyPatch, good: Path, evil: bytes) -> Callable[[Any], None]:
    """Exchange the bundle right behind the last step of its proof."""

    def arm(exchange: Callable[[Path, bytes], None]) -> None:
        honest = References.check

        def check(self: References) -> None:
            honest(self)
            exchange(good, evil)

        monkeypatch.setattr(References, "check", check)

    return arm


@pytest.mark.parametrize("exchange", [replaced, overwritten])
def test_what_is_read_is_what_was_proved(
    good: Path, evil: bytes, exchange: Callable[[Path, bytes], None], uncached: bool
) -> None:
    with verified(good) as (verdict, reader):
        assert verdict.whole
        assert reader
        whole = {entry.path: reader.read(entry) for entry in reader.entries()}
        exchange(good, evil)
        for path, data in whole.items():
            lost: AbstractContextManager[object] = nullcontext() if exchange is replaced else suppress(DamagedBundle)
            if exchange is overwritten and uncached and path.startswith("data/files/"):
                lost = pytest.raises(DamagedBundle, match=r"changed since it was verified|ends inside")
            with lost:
                entry = reader.find(path)
                assert entry
                assert reader.read(entry) == data


@pytest.mark.parametrize("exchange", [replaced, overwritten])
@sweep(
    "command",
    [["import"], ["import", "--verify"], ["plan"], ["verify", "--rehearse"], ["verify", "--against", "dst"]],
    ids=" ".join,
)
def test_no_command_uses_what_was_not_proved(
    command: list[str],
    exchange: Callable[[Path, bytes], None],
    good: Path,
    exchanged: Callable[[Any], None],
    uncached: bool,
    box: Running,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    box.behave(serve_assistants_files=True)
    holdall = Terminal(monkeypatch, {"OPENAI_DST_BASE_URL": box.url, "OPENAI_DST_API_KEY": KEY})
    if command[1:] == ["--against", "dst"]:
        assert holdall("import", str(good)).code == 0
    exchanged(exchange)
    done = holdall(command[0], str(good), *command[1:])
    usual = 3 if command == ["plan"] else 0
    assert done.code in ((usual,) if exchange is replaced else (usual, 10)), done.err
    if done.code == 10:
        assert "Traceback" not in done.err
    with Hand(box.url, KEY) as hand:
        there = [hand.sdk.files.content(file["id"]).read() for file in hand.everything("/files")]
    assert not [data for data in there if not data.startswith(b"good")]
