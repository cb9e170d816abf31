"""A ``data/text`` entry of a bundle as one document."""

from __future__ import annotations

import io
import json
import tracemalloc
from typing import BinaryIO, cast

import pytest

from holdall.bundle.texts import Document, document, join
from holdall.errors import DamagedBundle


def stored(*parts: str, truncated: bool = False, key: str = "data") -> bytes:
    pages = [{key: [{"type": "text", "text": part}]} for part in parts]
    return json.dumps({"pages": pages, "truncated": truncated}).encode()


def read(entry: bytes, *, overlap: int = 0, filename: str | None = "a.txt", size: int | None = None) -> Document:
    return document(entry, overlap=overlap, filename=filename, size=size)


def test_both_shapes_of_a_page_and_the_mark_of_a_cut_text() -> None:
    assert read(stored("a", "b", key="content")).data == b"ab"
    assert read(stored("a", truncated=True)).truncated
    empty = read(b'{"pages":[],"truncated":false}', overlap=400, size=0)
    assert empty.data == b""
    assert empty.exact


def test_the_parts_stay_as_they_were_and_what_is_not_certain_is_said() -> None:
    cut = stored("ein gutes St\ufffd", "\ufffdck Brot")
    assert read(cut).parts == ["ein gutes St\ufffd", "\ufffdck Brot"]
    assert read(cut, size=21).doubt == "a character is cut between two parts"
    assert read(stored("one two"), size=30).doubt == "the joined parts have 7 bytes, the file has 30"


def test_only_of_a_whole_text_of_a_plain_type_the_size_says_anything() -> None:
    assert read(stored("one two"), filename="a.pdf", size=30).doubt is None
    assert read(stored("one two"), filename="a.html", size=30).doubt is None
    assert read(stored("one two", truncated=True), size=30).doubt is None


def test_what_is_not_a_text_entry_is_damage() -> None:
    with pytest.raises(DamagedBundle):
        read(b"{}")


@pytest.mark.parametrize(
    "written",
    [
        "[" * 100_000,
        '{"pages":[{"data":[{"text":1e999}]}],"truncated":false}',
        '{"pages":[' + "[" * 5000,
        '{"pages":[{"data":{}}],"truncated":false}',
    ],
)
def test_what_nobody_can_decode_is_damage(written: str) -> None:
    with pytest.raises(DamagedBundle):
        read(written.encode())


@pytest.mark.thorough
def test_no_more_than_a_page_is_held() -> None:
    page = json.dumps({"data": [{"text": "x" * 1000}] * 1000}).encode()
    read_so_far, opened = [], []

    class Stream(io.RawIOBase):
        def __init__(self) -> None:
            self._parts = iter([b'{"pages":[' + page, *[b"," + page] * 20, b'],"truncated":false}'])
            opened.append(self)

        def read(self, size: int = -1) -> bytes:
            return next(self._parts, b"")

    tracemalloc.start()
    found = join(
        lambda: cast(BinaryIO, Stream()),
        lambda data: read_so_far.append(len(data)),
        overlap=0,
        filename=None,
        size=None,
    )
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.size, len(opened)) == (21_000_000, 2)
    assert most < 12 * len(page)
