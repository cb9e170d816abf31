"""Parts of a parsed text put together: each overlap once, nothing eaten, and a doubt wherever there is one."""

from __future__ import annotations

import random
import sys
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdall.join_parts import PartsJoiner, PartsReading, _fits, joined, overlap_of
from holdall.model import comparable_size, is_text_name
from tests.growth import assert_linear
from tests.sweep import examples, sweep


def read(parts: list[str], overlap: int = 400, size: int | None = None) -> PartsReading:
    joiner = PartsJoiner(overlap)
    joiner.add(parts)
    return joiner.reading(size)


def cut(text: str, size: int, overlap: int) -> list[str]:
    """As a store does: each part begins with the last ``overlap`` characters of the one before."""
    parts, start = [], 0
    while True:
        parts.append(text[start : start + size])
        if start + size >= len(text):
            return parts
        start += size - overlap


def cut_bytes(text: str, places: list[tuple[int, int]]) -> list[str]:
    """As a tokeniser does: each part of (so many new bytes, so many bytes of the part before), cut anywhere."""
    data, parts, place = text.encode(), [], 0
    for new, back in places:
        parts.append(data[max(0, place - back) : place + new].decode("utf-8", "replace"))
        place += new
        if place >= len(data):
            break
    else:
        parts.append(data[max(0, place - back) :].decode("utf-8", "replace"))
    return parts


def test_the_longest_end_that_begins_the_next_is_taken_once() -> None:
    assert joined(["one two three four", "three four five six"], 400) == "one two three four five six"


def test_parts_that_share_a_letter_by_chance_keep_it() -> None:
    assert joined(["the end", "does come"], 400) == "the enddoes come"


def test_no_overlap_means_plain_joining() -> None:
    assert joined(["abcdefghij", "abcdefghij"], 0) == "abcdefghij" * 2


def test_a_part_longer_than_all_before_it() -> None:
    assert joined(["", "short text", "short text and a long rest", ""], 400) == "short text and a long rest"


def test_an_overlap_of_few_tokens_may_be_long() -> None:
    row = f"name{' ' * 120}12\n"
    text = "".join(f"{n}{row}" for n in range(60))
    assert joined(cut(text, 2600, 1300), 40) == text


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        (["ein gutes Stück Ka\ufffd", "gutes Stück Käse, bitte"], "ein gutes Stück Käse, bitte"),
        (["eine Tüte grüne Äpfel", "\ufffdte grüne Äpfel, bitte"], "eine Tüte grüne Äpfel, bitte"),
        (["緑茶の淹れ方を学ぶ人\ufffd", "\ufffd\ufffdの淹れ方を学ぶ人は水を量る"], "緑茶の淹れ方を学ぶ人は水を量る"),
        (["so much fun 😀😀 and that t\ufffd", "\ufffd😀 and that té or not"], "so much fun 😀😀 and that té or not"),
        (["one two three four \n", "two three four five"], "one two three four five"),
        (["one two three four", " two three four five"], "one two three four five"),
        (["kept \ufffd as it is here", "as it is here and \ufffd"], "kept \ufffd as it is here and \ufffd"),
        (["all of it is here  ", "it is here"], "all of it is here  "),
    ],
)
def test_what_a_cut_leaves_at_the_edges_hides_no_overlap(parts: list[str], text: str) -> None:
    parts = [part.replace("Ka\ufffd", "K\ufffd") for part in parts]
    assert joined(parts, 8) == text
    assert read(parts, 8).doubt is None


def test_a_character_that_no_part_has_whole_is_a_doubt() -> None:
    found = read(["ein Stück K\ufffd", "\ufffdse"], 0)
    assert found.doubt == "a character is cut between two parts"
    assert read(["K\ufffd", "\ufffdse"], 0, size=5).doubt == found.doubt
    # Unless the size says that the file has these replacement characters itself.
    assert read(["K\ufffd", "\ufffdse"], 0, size=9).doubt is None


def test_a_size_that_no_reading_has_is_a_doubt() -> None:
    parts = cut("".join(f"line {n}\n" for n in range(200)), 300, 100)
    text = joined(parts, 25)
    assert read(parts, 25, size=len(text)).doubt is None
    assert (
        read(parts, 25, size=len(text) + 40).doubt
        == f"the joined parts have {len(text)} bytes, the file has {len(text) + 40}"
    )
    assert read(parts, 25, size=len(text) - 1).doubt


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("overlap", [0, 20])
def test_a_file_stored_in_another_way_is_no_doubt(encoding: str, ends: str, overlap: int) -> None:
    text = "".join(f"Zeile {n} über Käse\n" for n in range(99))
    parts = cut(text, 200, 3 * overlap)
    found = read(parts, overlap, size=len(text.replace("\n", ends).encode(encoding)))
    assert found.doubt is None or (encoding.startswith("utf-16") and ends == "\r\n")
    assert found.text(parts) == text


def test_white_space_trimmed_at_the_ends_of_a_text_is_no_doubt_and_trimmed_at_its_edges_is_one() -> None:
    text = "".join(f"word{n} " for n in range(99)) + "\n"
    assert read(cut(text.strip(), 100, 40), 10, size=len(text)).doubt is None
    assert read(cut(text.strip(), 101, 0), 0, size=len(text)).doubt is None
    assert read([part.strip() for part in ("one two ", "three four ", "five")], 0, size=19).doubt


def test_parts_that_contradict_each_other_are_a_doubt() -> None:
    text = "".join(f"{n} lines were written\n" for n in range(99))
    parts = cut(text, 400, 200)
    assert read(parts, 50).doubt is None
    assert (
        read([*parts[:3], *parts[5:]], 50).doubt
        == f"only {len(parts) - 4} of {len(parts) - 3} joints between its parts show an overlap"
    )
    assert read(parts, 0).doubt


def test_where_the_text_repeats_itself_only_the_size_can_tell() -> None:
    parts = cut("a" * 500, 200, 100)
    assert read(parts, 25).doubt
    assert joined(parts, 25, size=500) == "a" * 500
    one = ["b" * 50 + "a" * 100, "a" * 100 + "c" * 50]
    assert joined(one, 25, size=240) == "b" * 50 + "a" * 140 + "c" * 50
    assert read(one, 25, size=240).doubt is None
    assert read(one, 25, size=239).doubt is None
    assert read(one, 25, size=99).doubt


@examples(150)
@given(st.text(alphabet="abc de\n", min_size=0, max_size=200), st.integers(10, 60), st.integers(0, 5), st.booleans())
def test_the_files_size_decides_between_the_readings(text: str, size: int, overlap: int, overlapping: bool) -> None:
    parts = cut(text, size, overlap if overlapping else 0)
    found = read(parts, overlap, size=len(text.encode()))
    if not overlapping or overlap == 0:
        assert found.text(parts) == text
        assert found.doubt is None
    assert found.doubt or found.text(parts) == text


ALPHABETS = ["ab", "a \n", "äöü", "緑茶の淹れ方", "😀👍🏽", "ab é緑😀\r\n\t0.", "\ufffdaé"]


@examples(600)
@given(
    st.sampled_from(ALPHABETS).flatmap(lambda letters: st.text(alphabet=letters, min_size=1, max_size=400)),
    st.lists(st.tuples(st.integers(30, 90), st.integers(9, 30)), min_size=1, max_size=20),
    st.booleans(),
    st.sampled_from(["", "\ufeff"]),
)
@example("🏽🏽🏽🏽👍🏽🏽🏽🏽🏽🏽🏽🏽🏽🏽", [(30, 9), (30, 9)], False, "\ufeff")
@example("aaaaééé" + 6 * "\ufffd" + "aéa", [(30, 9)], False, "")
def test_a_text_cut_anywhere_comes_back_or_is_doubted(
    text: str, places: list[tuple[int, int]], overlapping: bool, mark: str
) -> None:
    text = mark + text
    parts = cut_bytes(text, [(new, back if overlapping else 0) for new, back in places])
    found = read(parts, 9, size=len(text.encode()))
    assert found.size == len(found.text(parts).encode())
    assert found.doubt or found.text(parts) == text


@examples(200)
@given(
    st.lists(st.sampled_from(["Äpfel ", "緑茶", "😀", "word ", "\r\n", "naïve "]), min_size=1, max_size=300),
    st.lists(st.tuples(st.integers(120, 400), st.integers(60, 110)), min_size=1, max_size=20),
    st.booleans(),
)
def test_a_text_that_does_not_repeat_itself_comes_back_without_its_size(
    words: list[str], places: list[tuple[int, int]], known: bool
) -> None:
    text = "".join(f"{n * 7919 % 9973}{word}" for n, word in enumerate(words))
    parts = cut_bytes(text, places)
    found = read(parts, 60, size=len(text.encode()) if known else None)
    assert found.text(parts) == text
    assert found.doubt is None


runs = st.lists(st.tuples(st.text(alphabet="abc", min_size=1, max_size=4), st.integers(1, 90)), max_size=4).map(
    lambda pairs: "".join(word * times for word, times in pairs)
)


@examples(1000)
@given(runs, runs, runs, st.integers(1, 9))
@example("a" * 300 + "b", "", "a" * 300 + "b", 8)
@example("", "ab" * 200, "c", 8)
def test_the_ends_that_fit_are_those_that_a_plain_search_finds(
    before: str, shared: str, behind: str, least: int
) -> None:
    left, right = before + shared, shared + behind
    known = [n for n in range(min(len(left), len(right)), least - 1, -1) if left.endswith(right[:n])]
    assert _fits(left, right, least) == (*known, 0, 0)[:2]


def test_a_long_text_that_repeats_itself_takes_no_more_steps_than_it_has_letters() -> None:
    """Steps are counted, not seconds: lines executed while parts of ever more of the same are joined."""

    def steps(letters: int) -> int:
        parts, count = ["ab" * letters + "a" * letters + "b", "a" * letters + "c" * letters] * 2, 0

        def trace(frame: object, event: str, argument: object) -> object:
            nonlocal count
            count += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            read(parts, 4000)
        finally:
            sys.settrace(before)
        return count

    assert steps(4000) < 2.5 * steps(2000)


def test_a_long_table_cut_by_bytes_comes_back() -> None:
    chance = random.Random(7)
    rows = [f"| {chance.randrange(10)} | naïve 緑 | 0.00 | 😀 |\r\n" for _ in range(3000)]
    text = "".join(rows)
    parts = cut_bytes(text, [(chance.randrange(1500, 1700), chance.randrange(1500, 1700)) for _ in range(100)])
    assert joined(parts, 400, size=len(text.encode())) == text
    assert joined(parts, 400) == text


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
    assert comparable_size(name, 7) == (7 if text else None)


@pytest.mark.parametrize(
    ("said", "tokens"),
    [
        (200, 200),
        (400.0, 400),
        (0, 0),
        (-1, 400),
        ("many", 400),
        (None, 400),
        (10**30, 4096),
        (float("inf"), 4096),
    ],
)
def test_an_overlap_is_a_number_of_tokens_whatever_a_server_says(said: object, tokens: int) -> None:
    assert overlap_of({"type": "static", "static": {"chunk_overlap_tokens": said}}) == tokens


def test_markup_may_be_handed_out_without_its_tags() -> None:
    assert is_text_name("a.html")
    assert comparable_size("a.html", 7) is None
    assert comparable_size(None, 7) is None


@sweep("last", [" " * 8, "\ufffd" * 8, "abcdefgh"])
def test_parts_that_lie_in_a_long_one_before_them_cost_little(last: str) -> None:
    def read(parts: list[str]) -> None:
        joiner = PartsJoiner(400)
        joiner.add(parts)
        joiner.reading(None)

    assert_linear(read, lambda n: ["x" * 100 * n + " " * 10 * n + last, *[last] * n], 2000)


@pytest.mark.thorough
def test_a_text_of_very_many_parts_is_joined_in_linear_time() -> None:
    def read(parts: list[str]) -> None:
        joiner = PartsJoiner(400)
        joiner.add(parts)
        joiner.reading(None)
        joiner.reading(7)

    assert_linear(read, lambda n: ["x"] * n, 10_000)


def test_very_many_parts_are_kept_in_few_bytes() -> None:
    tracemalloc.start()
    joiner = PartsJoiner(400)
    joiner.add("ab"[n % 2] for n in range(50_000))
    found = joiner.reading(None)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 100 * 50_000
    assert found.text("ab"[n % 2] for n in range(50_000)) == "ab" * 25_000
