"""What is written to the bundle while it is downloaded leaves the bundle that it leaves by way of the spool."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdall.bundle import layout
from holdall.bundle.sinks import Sink
from holdall.bundle.writer import BundleWriter
from holdall.sandbox.behaviour import CutBody, Fail, Fault, Gone, Reset, WrongLength
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.exporter.test_order import frames
from tests.project import KEY, Hand
from tests.waiting import STANDSTILL

SIZES = [300_000, 90_000, 2_000, 150_000, 70_000, 300, 120_000]


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(layout, "SHARED_FRAME", 8 << 10)
    monkeypatch.setattr(layout, "CONTENT_FRAME", 16 << 10)
    return Terminal(monkeypatch, {"OPENAI_SRC_API_KEY": KEY, "OPENAI_SRC_BASE_URL": box.url})


@pytest.fixture
def files(hand: Hand) -> list[str]:
    """Large contents, and small ones between them."""
    chance = random.Random(9)
    made = [hand.file(f"{n}.png", chance.randbytes(n), purpose="vision") for n in SIZES]
    hand.assistant("A", files=made)
    return made


@pytest.fixture(autouse=True)
def begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The contents that went direct. Each waits until it can: of frames as small as these all may have come before."""
    real, found = BundleWriter.begin_direct, []

    def begin_direct(self: BundleWriter, sink: Sink, id: str, *arguments: Any, **named: Any) -> Any:
        for _ in range(5000):
            if entry := real(self, sink, id, *arguments, **named):
                found.append(id)
                return entry
            time.sleep(0.001)
        return None

    monkeypatch.setattr(BundleWriter, "begin_direct", begin_direct)
    return found


def by_spool(holdall: Terminal, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(BundleWriter, "begin_direct", lambda *_, **__: None)
        export(holdall, target)


def export(holdall: Terminal, target: str, *more: str) -> None:
    done = holdall("export", "-o", target, *(more or ("--parent", "none")))
    assert done.code in (0, 3, 4), done.err


def test_one_after_another_contents_are_written_once(
    holdall: Terminal, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, spooled, direct = Sink.pieces, [], []

    def pieces(self: Sink) -> Any:
        spooled.append(self.size)
        return real(self)

    def commit(self: Sink, commit: Callable[[Sink], None] = Sink.commit) -> None:
        commit(self)
        direct.extend([self.size] if self.direct else [])

    by_spool(holdall, monkeypatch, "1.tar.zst")
    monkeypatch.setattr(Sink, "pieces", pieces)
    monkeypatch.setattr(Sink, "commit", commit)
    export(holdall, "2.tar.zst", "--parent", "none", "--concurrency", "1")
    export(holdall, "3.tar.zst", "--parent", "2.tar.zst", "--concurrency", "1")
    large = [size for size in SIZES if size > layout.SHARED_FRAME]
    # Small ones out of a parent wait for others, so the next one doesn't have its turn yet.
    waiting = [150_000, 120_000]
    assert sorted(direct) == sorted([*large, *set(large).difference(waiting)])
    assert [size for size in spooled if size in large] == waiting
    assert frames("1.tar.zst") == frames("2.tar.zst") == frames("3.tar.zst")


@pytest.mark.parametrize("concurrency", [1, 16])
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param((CutBody(after=100_000), 1), id="resumed"),
        pytest.param((CutBody(after=30_000), 2), id="begun again"),
        pytest.param((WrongLength(missing=20_000), 1), id="short once"),
        pytest.param((WrongLength(missing=20_000), 9), id="short always"),
        pytest.param((Reset(), 1), id="reset"),
        pytest.param((Fail(), 1), id="failed"),
        pytest.param((Gone(), 9), id="gone"),
    ],
)
def test_whatever_happens_the_bundle_is_the_same(
    box: Running,
    holdall: Terminal,
    files: list[str],
    monkeypatch: pytest.MonkeyPatch,
    begun: list[str],
    fault: tuple[Fault, int],
    concurrency: int,
) -> None:
    def suffer() -> None:
        box.clear_faults()
        for file in files[::3]:
            box.fault(fault[0], path=f"/files/{file}/content", times=fault[1])

    suffer()
    by_spool(holdall, monkeypatch, "1.tar.zst")
    suffer()
    export(holdall, "2.tar.zst", "--parent", "none", "--concurrency", str(concurrency))
    assert frames("1.tar.zst") == frames("2.tar.zst")
    assert holdall("verify", "2.tar.zst").code in (0, 3)
    if concurrency == 1:
        assert {files[1], files[4]} <= set(begun)


def test_others_are_fetched_while_the_first_one_hangs(
    holdall: Terminal, files: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, end, write, hung = threading.Semaphore(0), Sink._end, Sink.write, []

    def ended(self: Sink) -> None:
        end(self)
        if self.frames.name == "contents":
            whole.release()

    def hang(self: Sink, data: bytes) -> None:
        write(self, data)
        if self.direct and not hung:
            hung.append([whole.acquire(timeout=STANDSTILL) for _ in SIZES[1:]])

    monkeypatch.setattr(Sink, "_end", ended)
    monkeypatch.setattr(Sink, "write", hang)
    export(holdall, "1.tar.zst", "--parent", "none", "--concurrency", "4")
    assert hung == [[True] * len(SIZES[1:])]
