"""Large contents go from bundle to bundle with their frames as they are, if we would write the same ones."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import zstandard

from holdall.bundle import copying, frames, layout, sinks, stream
from holdall.bundle.reader import open_bundle
from holdall.bundle.seekable import compress
from holdall.bundle.verification import verify
from holdall.bundle.writer import BundleWriter
from holdall.errors import CannotWrite, DamagedBundle
from tests.bundle.packing import CAPTURE, STARTED, File, add_all, pack

CHANCE = random.Random(12)
TEXT = b" ".join(CHANCE.choice([b"one", b"two", b"three", b"four", b"five"]) for _ in range(60_000))
FILES = [
    File(id="file-a", data=TEXT),
    File(id="file-b", data=CHANCE.randbytes(150_000)),
    File(id="file-c", data=TEXT[:90_000] + CHANCE.randbytes(90_000)),
    File(id="file-d", data=b"0" * 200_000),
    File(id="file-e", data=TEXT[:16_384]),
]


@pytest.fixture(autouse=True)
def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "SHARED_FRAME", 8 << 10)
    monkeypatch.setattr(layout, "CONTENT_FRAME", 16 << 10)


@pytest.fixture
def compressed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what was compressed again."""
    found = []

    def counting(data: bytes, least: int) -> bytes:
        found.append(len(data))
        return compress(data, least)

    monkeypatch.setattr(frames, "compress", counting)
    return found


def by_another(monkeypatch: pytest.MonkeyPatch, level: int) -> None:
    """As another version writes."""

    def other(data: bytes | bytearray, least: int = 0) -> bytes:
        made = zstandard.ZstdCompressor(level=level, write_checksum=True).compress(data)
        return made if len(made) >= least else compress(data, least)

    monkeypatch.setattr(sinks, "compress", other)
    monkeypatch.setattr(stream, "compress", other)


def pieces(target: Path, source: Path | None) -> dict[str, list[bytes]]:
    """The frames of each content as they go into a new bundle: copied out of ``source``, or written."""
    found = {}
    with (
        open_bundle(source or target) as old,
        BundleWriter(target.with_name("new"), CAPTURE, started=STARTED) as writer,
    ):
        entries = {entry.id: entry for entry in old.entries() if entry.fidelity}
        for file in FILES:
            with writer.open_content() as sink:
                if source:
                    copying.copy_content(old, entries[file.id], sink)
                else:
                    sink.write(file.data or b"")
                sink.commit()
            found[file.id] = [bytes(frame) for frame, _ in sink.pieces()]
            sink.discard()
        writer.discard()
    return found


def test_what_we_wrote_is_not_compressed_again(tmp_path: Path, compressed: list[int]) -> None:
    pack(tmp_path / "a", FILES)
    assert pieces(tmp_path / "a", tmp_path / "a") == pieces(tmp_path / "a", None)
    # One frame of what can be compressed, and one of what can't, say who wrote the others.
    assert len(compressed) == 2


@pytest.mark.parametrize("level", [1, 9])
def test_what_another_version_wrote_is_compressed_as_we_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compressed: list[int], level: int
) -> None:
    with monkeypatch.context() as patch:
        by_another(patch, level)
        pack(tmp_path / "a", FILES)
    ours = pieces(tmp_path / "a", None)
    assert pieces(tmp_path / "a", tmp_path / "a") == ours
    assert len(compressed) > 20
    with open_bundle(tmp_path / "a") as old:
        entry = old.content("file-a")
        assert entry
        own = old.frames.own(entry.offset, entry.size + -entry.size % 512, layout.CONTENT_FRAME)
        assert own
        assert [frame for frame, _ in own] != ours["file-a"]


def test_damage_is_found(tmp_path: Path) -> None:
    pack(tmp_path / "a", FILES)
    data = bytearray((tmp_path / "a").read_bytes())
    with open_bundle(tmp_path / "a") as old:
        entry = old.content("file-b")
        assert entry
        place = old.frames.frames[old.frames.frames.find(entry.offset) + 2]
    data[place[0] + place[1] // 2] ^= 1
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(DamagedBundle, match="file-b"):
        pieces(tmp_path / "a", tmp_path / "a")


def test_a_new_stream_takes_the_frames_of_the_old_one(tmp_path: Path, compressed: list[int]) -> None:
    target, whole = tmp_path / "a.tar.zst", tmp_path / "whole.tar.zst"
    with BundleWriter(target, CAPTURE, started=STARTED, threads=2) as writer:
        add_all(writer, FILES, stores={"vs_1": {"name": "old"}})
    with BundleWriter(target, CAPTURE, started=STARTED, threads=2) as writer:
        add_all(writer, FILES, stores={"vs_1": {"name": "new"}})
        writer.finish(ended=STARTED)
    assert len(compressed) == 2
    assert verify(target).findings == []
    pack(whole, FILES, stores={"vs_1": {"name": "new"}})
    with open_bundle(target) as one, open_bundle(whole) as other:
        assert one.info.digests == other.info.digests


def test_a_content_of_an_old_stream_is_proved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.tar.zst"
    with BundleWriter(target, CAPTURE, started=STARTED, threads=2) as writer:
        add_all(writer, FILES, stores={"vs_1": {"name": "old"}})
    monkeypatch.setattr(sinks.Sink, "has", lambda *_: False)
    with (
        BundleWriter(target, CAPTURE, started=STARTED, threads=2) as writer,
        pytest.raises(CannotWrite, match="damaged"),
    ):
        add_all(writer, FILES, stores={"vs_1": {"name": "new"}})
    assert Path(f"{target}.partial").exists()
