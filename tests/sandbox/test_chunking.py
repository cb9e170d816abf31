"""Chunks: their sizes, their overlap, and that nothing is lost between them."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from holdall.sandbox.service.chunking import chunks
from tests.sweep import examples


@examples(200)
@given(text=st.text(max_size=400), size=st.integers(2, 20), data=st.data())
def test_chunks(text: str, size: int, data: st.DataObject) -> None:
    overlap = data.draw(st.integers(0, size // 2))
    found = chunks(text, size=size, overlap=overlap)
    assert all(len(piece) <= size * 4 for piece in found)
    assert found[0] + "".join(piece[overlap * 4 :] for piece in found[1:]) == text
    for left, right in itertools.pairwise(found):
        assert overlap == 0 or left.endswith(right[: overlap * 4])


def test_a_chunk_ends_at_white_space_where_it_is_near() -> None:
    text = "word " * 100
    assert all(piece.endswith(" ") for piece in chunks(text, size=20, overlap=0))


@examples(200)
@given(text=st.text(alphabet="ab \n\u2003\x1c", min_size=81, max_size=200))
def test_the_last_white_space_of_the_last_tenth_is_where_a_chunk_ends(text: str) -> None:
    near = [place for place in range(73, 81) if text[place - 1].isspace()]
    assert len(chunks(text, size=20, overlap=0)[0]) == (near[-1] if near else 80)
