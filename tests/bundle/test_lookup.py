from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.bundle.lookup import FrameFile, SortedLines, split_lines
from holdall.bundle.seekable import FrameError, FrameTable, compress
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
