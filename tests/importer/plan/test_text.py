"""Parsed text joined again: overlaps once, nothing eaten where there is none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdall.errors import DamagedBundle
from holdall.importer.plan.text import document, is_text_name, joined


def stored(*parts: str, truncated: bool = False, key: str = "data") -> bytes:
    pages = [{key: [{"type": "text", "text": part}]} for part in parts]
    return json.dumps({"pages": pages, "truncated": truncated}).encode()


def cut(text: str, size: int, overlap: int) -> list[str]:
    """As a store does: each part begins with the last ``overlap`` characters of the one before."""
    parts, start = [], 0
    while True:
        parts.append(text[start : start + size])
        if start + size >= len(text):
            return parts
        start += size - overlap


def test_the_longest_end_that_begins_the_next_is_taken_once() -> None:
    assert joined(["one two three four", "three four five six"], 400) == "one two three four five six"


def test_an_overlap_is_looked_for_up_to_the_chunk_overlap() -> None:
    repeated = "x" * 15 + "y" * 70
    assert joined(["a" + repeated, repeated + "b"], 400) == "a" + repeated + "b"
    assert joined(["a" + repeated, repeated + "b"], 2) == "a" + repeated + repeated + "b"


def test_parts_that_share_a_letter_by_chance_keep_it() -> None:
    assert joined(["the end", "does come"], 400) == "the enddoes come"


def test_no_overlap_means_plain_joining() -> None:
    assert joined(["abcdefghij", "abcdefghij"], 0) == "abcdefghij" * 2


def test_a_part_longer_than_all_before_it() -> None:
    assert joined(["", "short text", "short text and a long rest", ""], 400) == "short text and a long rest"


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet="abc de\n", min_size=0, max_size=200), st.integers(10, 60), st.integers(0, 5), st.booleans())
def test_the_files_size_decides_between_the_readings(text: str, size: int, overlap: int, overlapping: bool) -> None:
    parts = cut(text, size, overlap if overlapping else 0)
    found = document(stored(*parts), overlap=overlap, size=len(text.encode()))
    if not overlapping or overlap == 0:
        # Plain joining is among the readings, so a size that fits is always reached.
        assert found.exact
    if found.exact:
        assert len(found.data) == len(text)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["alpha ", "beta ", "gamma ", "delta ", "ümlaut ", "7 "]), max_size=200),
    st.integers(20, 90),
)
def test_overlaps_of_a_known_length_are_found(words: list[str], size: int) -> None:
    text = "".join(f"{n}{word}" for n, word in enumerate(words))
    found = document(stored(*cut(text, size, 16)), overlap=4, size=None)
    assert found.data.decode() == text


def test_both_shapes_of_a_page_and_the_mark_of_a_cut_text() -> None:
    assert document(stored("a", "b", key="content"), overlap=0, size=None).data == b"ab"
    assert document(stored("a", truncated=True), overlap=0, size=None).truncated
    empty = document(b'{"pages":[]}', overlap=400, size=0)
    assert empty.data == b""
    assert empty.exact


def test_what_is_not_a_text_entry_is_damage() -> None:
    with pytest.raises(DamagedBundle):
        document(b"{}", overlap=0, size=None)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.md", True),
        ("B.TXT", True),
        ("x.py", True),
        ("x.pdf", False),
        ("x.docx", False),
        ("md", False),
        (".md", False),
    ],
)
def test_types_whose_text_is_the_file(name: str, text: bool) -> None:
    assert is_text_name(name) is text
