"""The sentences that a search is asked for: telling ones, from all over a text."""

from __future__ import annotations

import pytest

from holdall.importer.proof.members import sentences


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello.\nThe lamp is repaired within ten days. Bye.", "The lamp is repaired within ten days."),
        ("a,b\n1,2\n", "a,b"),
        ("word", "word"),
        ("これは最初の文です。短い。", "これは最初の文です。"),
        ("v 3.14 is the number that everybody knows by heart\n", "v 3.14 is the number that everybody knows by heart"),
    ],
)
def test_the_best_of_a_short_text(text: str, expected: str) -> None:
    assert list(sentences(text)) == [expected]


def test_nothing_to_ask_for() -> None:
    assert list(sentences("")) == []
    assert list(sentences("--- *** ---\n")) == []


def test_a_long_text_is_asked_for_in_several_places() -> None:
    header = "This long notice stands at the top of every single file of them all, whatever else is in it."
    found = list(sentences(header + "\n" + "".join(f"Line {n} says something of its own.\n" for n in range(500))))
    assert found[0] == header
    assert len(found) == 3
    assert all(sentence.startswith("Line") for sentence in found[1:])


def test_a_text_without_sentences_is_cut_to_what_a_search_takes() -> None:
    (asked,) = sentences("x" * 1900)
    assert len(asked) == 300
