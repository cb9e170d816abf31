from __future__ import annotations

import hashlib
import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.bundle import frames
from holdall.bundle.frames import FrameFile, SealHash, SortedLines, split_lines
from holdall.bundle.seekable import FrameError, FrameTable, compress, decompress
from tests.sweep import examples

WORDS = st.sets(st.binary(min_size=1, max_size=40).map(lambda word: word.replace(b"\n", b"-")), max_size=60)


def lines_of(data: bytes, before: bytes, frame: int) -> SortedLines:
    whole = before + data
    parts = [whole[start : start + frame] for start in range(0, len(whole), frame)] or [b"x"]
    frames = [compress(part) for part in parts]
    table = FrameTable((len(packed), len(part)) for packed, part in zip(frames, parts, strict=True))
    return SortedLines(FrameFile(io.BytesIO(b"".join(frames)), table), len(before), len(data), bytes)


@examples(100)
@given(WORDS, st.binary(max_size=20), st.integers(1, 50), st.data())
def test_each_line_is_found_and_no_other(words: set[bytes], before: bytes, frame: int, data: st.DataObject) -> None:
    lines = lines_of(b"".join(word + b"\n" for word in sorted(words)), before, frame)
    assert list(lines) == sorted(words)
    for word in words:
        assert lines.find(word) == word
    other = data.draw(st.binary(max_size=40).map(lambda word: word.replace(b"\n", b"-")))
    assert lines.find(other) == (other if other in words else None)
    assert list(lines.starting_at(other)) == [word for word in sorted(words) if word >= other]


def test_a_line_among_many_is_found_in_few_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [b"%07d %s" % (number, b"-" * (number % 300)) for number in range(20_000)]
    found = lines_of(b"".join(line + b"\n" for line in lines), b"before", 100_000)
    looks: list[int] = []
    honest = FrameFile.read

    def read(self: FrameFile, position: int, size: int) -> bytes:
        looks.append(size)
        return honest(self, position, size)

    monkeypatch.setattr(FrameFile, "read", read)
    for line in (lines[0], lines[7_777], lines[-1]):
        looks.clear()
        assert found.find(line) == line
        # Eight halvings of 3 MB, two looks each, and then the lines that are left in one.
        assert len(looks) <= 22
        assert sum(looks) <= 200_000


def test_what_has_no_end_is_no_line() -> None:
    with pytest.raises(FrameError):
        list(lines_of(b"a\nb", b"", 10))
    with pytest.raises(FrameError):
        lines_of(b"a" * (5 << 20), b"", 1 << 20).find(b"b")


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\nb", b"c\n\nd\n"], [b"a", b"bc", b"", b"d"]),
        ([b"a\nb", None, b"c\nd\n"], [b"a", None, b"d"]),
        ([None, None, b"a\nb\n"], [None, b"b"]),
        ([b"a\n", b"b"], [b"a", None]),
        ([], []),
    ],
)
def test_a_line_that_is_not_there_whole_is_none(pieces: list[bytes | None], lines: list[bytes | None]) -> None:
    assert list(split_lines(pieces)) == lines


def held(contents: list[bytes]) -> tuple[bytearray, FrameFile, SealHash, list[bytes]]:
    """Frames in a file that was proved; the file's bytes may be changed after that."""
    frames = [compress(content) for content in contents]
    table = FrameTable((len(frame), len(content)) for frame, content in zip(frames, contents, strict=True))
    raw = bytearray(b"".join(frames))
    seal = SealHash(table, keep=True)
    for frame in frames:
        seal.add(frame)
    assert seal.digest() == hashlib.sha256(raw).digest()

    class Changing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            at = self.tell()
            self.seek(at + (size or 0))
            return bytes(raw[at : at + (size or 0)])

    file = FrameFile(Changing(raw), table, cache_bytes=0)
    file.hold(seal)
    return raw, file, seal, frames


@examples(100)
@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=12), st.integers(0, 200), st.data())
def test_of_a_held_file_only_the_same_frames_are_read(contents: list[bytes], span: int, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frames, "_SPAN", span)
        raw, file, seal, _ = held(contents)
    assert [file.frame(number) for number in range(len(contents))] == contents
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    for number, content in enumerate(contents):
        start, end = seal.span(number)
        offset, length, _, _ = file.frames[number]
        # No more is proved together than has to be.
        assert start <= offset
        assert offset + length <= end
        assert end - start <= max(span, length)
        if start <= place < end:
            with pytest.raises(FrameError, match="changed since it was verified"):
                file.raw(number)
        else:
            assert decompress(*file.raw(number)) == content


def test_what_proves_a_file_of_tiny_frames_is_small() -> None:
    _, file, seal, _ = held([b"%05d" % number for number in range(20_000)])
    assert len(seal._states) <= 2 * file.frames.length // frames._SPAN + 1
    assert SealHash(file.frames, keep=False)._span > file.frames.length
    huge = FrameTable([(1 << 24, 1 << 24)] * (1 << 12))
    assert huge.length // SealHash(huge, keep=True)._span <= frames._MOST_STATES


def test_frames_of_the_usual_size_are_proved_one_by_one() -> None:
    noise = random.Random(1)
    _, file, seal, frames = held([noise.randbytes(1 << 20) for _ in range(3)])
    for number, frame in enumerate(frames):
        offset = file.frames[number][0]
        assert seal.span(number) == (offset, offset + len(frame))
