from __future__ import annotations

import hashlib
import io
import struct

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from holdall.bundle import seekable
from holdall.bundle.frames import FrameFile
from holdall.bundle.seekable import (
    MAX_FRAME,
    SEAL_SIZE,
    FrameError,
    FrameTable,
    compress,
    decompress,
    decompress_damaged,
    encode_seal,
    encode_table,
    read_table,
    walk,
)
from tests.sweep import examples

CONTENTS = st.lists(st.binary(min_size=1, max_size=300) | st.just(b"word " * 40_000), min_size=1, max_size=5)


def bundle_of(contents: list[bytes]) -> tuple[bytes, FrameTable]:
    frames = [compress(data) for data in contents]
    table = FrameTable((len(frame), len(data)) for frame, data in zip(frames, contents, strict=True))
    return b"".join(frames) + encode_seal(bytes(32)) + encode_table(table), table


@examples(60)
@given(CONTENTS, st.data())
def test_any_stretch_is_read_back(contents: list[bytes], data: st.DataObject) -> None:
    raw, table = bundle_of(contents)
    whole = b"".join(contents)
    listed = read_table(io.BytesIO(raw))
    assert [listed[number] for number in range(len(listed))] == [table[n] for n in range(len(table))]
    file = FrameFile(io.BytesIO(raw), listed, cache_bytes=1000)
    start = data.draw(st.integers(0, len(whole)))
    size = data.draw(st.integers(0, len(whole) - start))
    assert file.read(start, size) == whole[start : start + size]
    with pytest.raises(FrameError):
        file.read(start, len(whole) - start + 1)


@examples(60)
@given(CONTENTS)
def test_the_frames_themselves_tell_what_the_table_says(contents: list[bytes]) -> None:
    raw, table = bundle_of(contents)
    walked = walk(io.BytesIO(raw), len(raw))
    assert [walked[n] for n in range(len(walked))] == [table[n] for n in range(len(table))]


def test_the_table_is_byte_for_byte_that_of_the_seekable_format() -> None:
    table = encode_table(FrameTable([(10, 100), (20, 200)]))
    entries = struct.pack("<6I", 10, 100, 20, 200, SEAL_SIZE, 0)
    assert table == struct.pack("<II", 0x184D2A5E, 33) + entries + struct.pack("<IBI", 3, 0, 0x8F92EAB1)
    assert encode_seal(b"x" * 32) == struct.pack("<II", 0x184D2A50, 32) + b"x" * 32


@examples(60)
@given(st.binary(min_size=1, max_size=500), st.data())
def test_a_frame_that_is_cut_longer_or_other_is_an_error(content: bytes, data: st.DataObject) -> None:
    frame = compress(content)
    assert decompress(frame, len(content)) == content
    for wrong in (frame[: data.draw(st.integers(0, len(frame) - 1))], frame + b"x", frame + frame):
        with pytest.raises(FrameError):
            decompress(wrong, len(content))
    with pytest.raises(FrameError):
        decompress(frame, len(content) + 1)


def test_what_a_frame_declares_is_looked_at_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = compress(bytes(MAX_FRAME))[:2000]
    no_checksum = zstandard.ZstdCompressor().compress(b"x" * 50)
    no_size = zstandard.ZstdCompressor(write_checksum=True, write_content_size=False).compress(b"x" * 50)
    # A frame of one RLE block behind a header that declares 2 GiB.
    huge = b"\x28\xb5\x2f\xfd" + bytes([0xA4]) + struct.pack("<I", 2**31) + b"\x03\x00\x10x" + bytes(4)
    wide = b"\x28\xb5\x2f\xfd" + bytes([0x84, 17 << 3]) + struct.pack("<I", 50) + b"\x93\x01\x00x" + bytes(4)

    def decoding(*args: object, **kwargs: object) -> bytes:
        raise AssertionError("decoded")

    monkeypatch.setattr(seekable, "zstandard", _Undecoding(decoding))
    for frame, size in ((no_checksum, 50), (no_size, 50), (huge, 2**31), (wide, 50), (bomb, MAX_FRAME), (b"", 0)):
        with pytest.raises(FrameError):
            decompress(frame, size)


class _Undecoding:
    """zstandard without its decompressor."""

    def __init__(self, decompressor: object) -> None:
        self.ZstdDecompressor = decompressor

    def __getattr__(self, name: str) -> object:
        return getattr(zstandard, name)


@examples(150)
@given(st.binary(max_size=120))
def test_no_tail_is_believed_because_it_is_there(noise: bytes) -> None:
    raw, _ = bundle_of([b"abc"])
    for hostile in (noise, raw[:-9] + noise, noise + raw[-9:], raw + noise):
        if hostile != raw:
            with pytest.raises(FrameError):
                read_table(io.BytesIO(hostile))


def test_a_table_of_millions_of_frames_in_a_small_file_is_refused() -> None:
    footer = struct.pack("<IBI", 0xFFFFFFFF, 0, 0x8F92EAB1)
    with pytest.raises(FrameError):
        read_table(io.BytesIO(bytes(1000) + footer))


def test_a_damaged_frame_gives_what_stands_before_the_damage() -> None:
    content = hashlib.shake_128(b"blocks").digest(300_000)  # three blocks, not compressed
    frame = bytearray(compress(content))
    frame[-40_000] ^= 1
    found = decompress_damaged(bytes(frame), len(content))
    assert len(found) == len(content)
    assert sum(one != other for one, other in zip(found, content, strict=True)) == 1
    cut = decompress_damaged(bytes(frame[:200_000]), len(content))
    assert 128 << 10 <= len(cut) < 200_000
    assert cut == content[: len(cut)]
    with pytest.raises(FrameError):
        decompress_damaged(bytes(frame), len(content) + 1)
