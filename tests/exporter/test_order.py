"""Two exports of an unchanged project are the same data frames but for the last, whatever happened meanwhile.

restic, borg and kopia, which store equal data once, then store of a project only what has changed.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holdall.bundle import layout, stream
from holdall.bundle.layout import IndexEntry
from holdall.bundle.seekable import decompress, read_table
from holdall.bundle.sinks import Sink
from holdall.bundle.writer import BundleWriter
from holdall.errors import CannotWrite
from holdall.exporter.turns import Turns
from holdall.remote.contents import ContentFetcher, FetchedContent
from holdall.sandbox.behaviour import Fail
from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.project import KEY, Hand
from tests.sweep import sweep
from tests.test_kill_import import environment


@pytest.fixture
def holdall(box: Running, hand: Hand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(layout, "SHARED_FRAME", 8 << 10)
    monkeypatch.setattr(layout, "CONTENT_FRAME", 16 << 10)
    return Terminal(monkeypatch, {"OPENAI_SRC_API_KEY": KEY, "OPENAI_SRC_BASE_URL": box.url})


@pytest.fixture
def stores(box: Running, hand: Hand) -> list[str]:
    """A project of texts and bytes, small and large, in stores that share some; one has no text of any file."""
    chance = random.Random(4)
    box.behave(serve_assistants_files=False)
    texts = [hand.file(f"{n}.txt", f"word{n} ".encode() * chance.choice([9, 90, 3000])) for n in range(24)]
    pictures = [
        hand.file(f"{n}.png", chance.randbytes(chance.choice([50, 5000, 40000])), purpose="vision") for n in range(16)
    ]
    made = [
        hand.store("without", texts[:8]),
        hand.store("first", texts[4:16]),
        hand.store("second", [*texts[12:], texts[2]]),
    ]
    hand.assistant("A", stores=[made[0]], files=pictures[:9])
    hand.assistant("B", stores=[made[1]], files=[*pictures[6:], texts[2]])
    hand.assistant("C", stores=[made[2]])
    box.fault(Fail(status=404), path=f"/vector_stores/{made[0]}/files/*/content", times=10_000)
    return made


@pytest.fixture
def jumbled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that take their time, each another one."""
    real, chance = ContentFetcher.fetch, random.Random(5)

    async def fetch(self: ContentFetcher, *arguments: Any, **named: Any) -> FetchedContent:
        for _ in range(chance.randrange(40)):
            await asyncio.sleep(0)
        found = await real(self, *arguments, **named)
        for _ in range(chance.randrange(400)):
            await asyncio.sleep(0)
        return found

    monkeypatch.setattr(ContentFetcher, "fetch", fetch)


def made(done: Done) -> Done:
    assert done.code in (0, 4), done.err
    return done


def frames(name: str) -> list[str]:
    """The hash of each data frame that has no time in it: all but the last, and that of bag-info.txt."""
    data = Path(name).read_bytes()
    with Path(name).open("rb") as file:
        table = read_table(file)
    found = []
    for number in range(len(table) - 1):
        start, length, _, size = table[number]
        frame = data[start : start + length]
        if b"/bag-info.txt\0" not in decompress(frame, size):
            found.append(hashlib.sha256(frame).hexdigest())
    return found


def test_at_any_concurrency(holdall: Terminal, stores: list[str], jumbled: None) -> None:
    made(holdall("export", "-o", "1.tar.zst", "--parent", "none", "--concurrency", "1"))
    made(holdall("export", "-o", "16.tar.zst", "--parent", "none", "--concurrency", "16"))
    assert frames("1.tar.zst") == frames("16.tar.zst")
    assert len(frames("1.tar.zst")) > 12


def test_with_and_without_a_parent(holdall: Terminal, stores: list[str], jumbled: None) -> None:
    made(holdall("export", "-o", "1.tar.zst", "--parent", "none"))
    made(holdall("export", "-o", "2.tar.zst", "--parent", "1.tar.zst"))
    assert frames("1.tar.zst") == frames("2.tar.zst")


@sweep("after", [0, 3, 9, 17, 30, 36])
def test_stopped_and_resumed(
    holdall: Terminal, stores: list[str], jumbled: None, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    made(holdall("export", "-o", "1.tar.zst", "--parent", "none", "--concurrency", "4"))
    real, left = BundleWriter.add_content, iter(range(after))

    def add_content(self: BundleWriter, *arguments: Any, **named: Any) -> Any:
        if next(left, None) is None:
            raise CannotWrite("stopped")
        return real(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(BundleWriter, "add_content", add_content)
        assert holdall("export", "-o", "2.tar.zst", "--parent", "none", "--concurrency", "4").code == 15
    made(holdall("export", "-o", "2.tar.zst", "--parent", "none", "--concurrency", "16"))
    assert frames("1.tar.zst") == frames("2.tar.zst")


# An export that is killed at its 25th content; the first 20 are durable by then.
KILLED = """
import os, signal, sys
from holdall.bundle import layout
from holdall.bundle.writer import BundleWriter
from holdall.cli.main import main
layout.SHARED_FRAME, layout.CONTENT_FRAME = 8 << 10, 16 << 10
real, added = BundleWriter.add_content, []
def add_content(self, *arguments, **named):
    stored = real(self, *arguments, **named)
    added.append(stored)
    if len(added) == 20:
        self._stream.flush()
    if len(added) == 25:
        os.kill(os.getpid(), signal.SIGKILL)
    return stored
BundleWriter.add_content = add_content
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_and_resumed_at_another_concurrency(
    box: Running, holdall: Terminal, stores: list[str], tmp_path: Path
) -> None:
    made(holdall("export", "-o", "1.tar.zst", "--parent", "none", "--concurrency", "1"))
    words = ["export", "-o", "16.tar.zst", "--parent", "none", "--env-file", "none", "--concurrency", "16"]
    environ = environment(OPENAI_SRC_API_KEY=KEY, OPENAI_SRC_BASE_URL=box.url)
    killed = subprocess.run([sys.executable, "-c", KILLED, *words], env=environ, cwd=tmp_path, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert "Resuming" in made(holdall(*words)).err
    assert frames("1.tar.zst") == frames("16.tar.zst")


def test_checkpoints_end_no_frame(holdall: Terminal, stores: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    made(holdall("export", "-o", "1.tar.zst", "--parent", "none"))
    real = BundleWriter.add_content

    def add_content(self: BundleWriter, *arguments: Any, **named: Any) -> Any:
        stored = real(self, *arguments, **named)
        self.checkpoint()
        return stored

    monkeypatch.setattr(BundleWriter, "add_content", add_content)
    made(holdall("export", "-o", "2.tar.zst", "--parent", "none"))
    assert frames("1.tar.zst") == frames("2.tar.zst")


@pytest.mark.parametrize("change", ["file", "text", "definition", "nothing"])
def test_a_bundle_that_is_only_written_if_something_changed(
    hand: Hand, holdall: Terminal, stores: list[str], jumbled: None, change: str
) -> None:
    made(holdall("export", "-o", "1.tar.zst", "--parent", "none"))
    match change:
        case "file":
            hand.post(f"/vector_stores/{stores[1]}/files", file_id=hand.file("new.txt", b"new words"))
        case "text":
            hand.post(f"/vector_stores/{stores[2]}/files", file_id=hand.file("new.txt", b"new words"))
        case "definition":
            hand.assistant("D")
    made(holdall("export", "-o", "2.tar.zst", "--parent", "none"))
    done = made(holdall("export", "-o", "3.tar.zst", "--parent", "1.tar.zst", "--skip-if-unchanged"))
    if change == "nothing":
        assert not Path("3.tar.zst").exists(), done.err
    else:
        assert frames("3.tar.zst") == frames("2.tar.zst")


def test_what_is_new_moves_only_the_frames_beside_it(hand: Hand, holdall: Terminal) -> None:
    chance = random.Random(6)
    files = [hand.file(f"{n}.png", chance.randbytes(1500), purpose="vision") for n in range(200)]
    one = hand.assistant("A", files=files[:20])
    for at in range(20, 200, 20):
        hand.assistant(f"A{at}", files=files[at : at + 20])
    made(holdall("export", "-o", "1.tar.zst", "--parent", "none"))
    new = hand.file("new.png", chance.randbytes(1500), purpose="vision")
    hand.post(
        f"/assistants/{one}", tool_resources={"code_interpreter": {"file_ids": [*files[:10], new, *files[11:20]]}}
    )
    made(holdall("export", "-o", "2.tar.zst", "--parent", "1.tar.zst"))
    old, now = frames("1.tar.zst"), frames("2.tar.zst")
    assert len(now) > 40
    # Those with the new file, the assistant and their lines; index, manifest and ledger have all files in them.
    assert len(set(now) - set(old)) <= 12


def test_few_numbers_ahead_are_enough(
    holdall: Terminal, stores: list[str], jumbled: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(holdall("export", "-o", "1.tar.zst", "--parent", "none"))
    monkeypatch.setattr(Turns.__init__, "__defaults__", (2,))
    made(holdall("export", "-o", "2.tar.zst", "--parent", "none", "--concurrency", "16"))
    assert frames("1.tar.zst") == frames("2.tar.zst")


def test_the_frames_of_a_large_content_are_taken_as_they_are(
    hand: Hand, holdall: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(7)
    sizes = [70_000, 65_536, 16_384 * 3 - 512, 16_384 * 3 - 511, 9_000]
    hand.assistant("A", files=[hand.file(f"{n}.png", chance.randbytes(n), purpose="vision") for n in sizes])
    made(holdall("export", "-o", "1.tar.zst", "--parent", "none"))
    real, taken = Sink.adopt, []

    def adopt(self: Sink, frames: Any, entry: IndexEntry) -> bool:
        taken.append(entry.size)
        return real(self, frames, entry)

    monkeypatch.setattr(Sink, "adopt", adopt)
    made(holdall("export", "-o", "2.tar.zst", "--parent", "1.tar.zst"))
    assert sorted(taken) == sorted(sizes)
    assert frames("1.tar.zst") == frames("2.tar.zst")
    assert holdall("verify", "2.tar.zst").code == 0


def test_a_frame_of_small_contents_is_compressed_again_only_where_it_is_another(
    hand: Hand, holdall: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(9)
    files = [hand.file(f"{n}.png", chance.randbytes(1500), purpose="vision") for n in range(200)]
    for at in range(0, 200, 20):
        hand.assistant(f"A{at}", files=files[at : at + 20])
    compressed: list[int] = []
    real = stream.compress

    def compress(data: bytes, least: int = 0) -> bytes:
        compressed.append(len(data))
        return real(data, least)

    monkeypatch.setattr(stream, "compress", compress)
    made(holdall("export", "-o", "1.tar.zst", "--parent", "none"))
    first = len(compressed)
    compressed.clear()
    made(holdall("export", "-o", "2.tar.zst", "--parent", "1.tar.zst"))
    assert frames("1.tar.zst") == frames("2.tar.zst")
    assert first - len(compressed) > 10
    unchanged = len(compressed)
    compressed.clear()
    hand.assistant("B", files=[hand.file("new.png", chance.randbytes(1500), purpose="vision")])
    made(holdall("export", "-o", "3.tar.zst", "--parent", "2.tar.zst"))
    assert len(compressed) <= unchanged + 3
    made(holdall("export", "-o", "4.tar.zst", "--parent", "none"))
    assert frames("3.tar.zst") == frames("4.tar.zst")
    assert holdall("verify", "3.tar.zst").code == 0


def test_a_frame_of_small_contents_that_another_version_wrote_is_not_taken(
    hand: Hand, holdall: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand.assistant("A", files=[hand.file(f"{n}.txt", b"a word " * 400, purpose="vision") for n in range(20)])
    with monkeypatch.context() as patch:
        real = stream.compress
        patch.setattr(stream, "compress", lambda data, least=0: real(data, max(least, 400)))
        made(holdall("export", "-o", "1.tar.zst", "--parent", "none"))
    made(holdall("export", "-o", "2.tar.zst", "--parent", "1.tar.zst"))
    made(holdall("export", "-o", "3.tar.zst", "--parent", "none"))
    assert frames("2.tar.zst") == frames("3.tar.zst") != frames("1.tar.zst")


def test_a_damaged_frame_of_the_parent_is_not_taken(hand: Hand, holdall: Terminal, box: Running) -> None:
    hand.assistant("A", files=[hand.file("a.png", random.Random(8).randbytes(70_000), purpose="vision")])
    made(holdall("export", "-o", "1.tar.zst", "--parent", "none"))
    data = bytearray(Path("1.tar.zst").read_bytes())
    at = len(data) // 2
    data[at] ^= 1
    Path("damaged.tar.zst").write_bytes(data)
    done = made(holdall("export", "-o", "2.tar.zst", "--parent", "damaged.tar.zst"))
    assert frames("1.tar.zst") == frames("2.tar.zst"), done.err
    assert holdall("verify", "2.tar.zst").code == 0
