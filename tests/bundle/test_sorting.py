from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall import spilling
from holdall.spilling import Sorter, ValueSorter
from tests.sweep import examples

PAIRS = st.lists(st.tuples(st.binary(max_size=5), st.binary(max_size=200)), max_size=80)
ALIKE = st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.binary(max_size=20)), max_size=80)


@examples(80)
@given(PAIRS | ALIKE, st.sampled_from([1, 500, 2000, 10**9]), st.sampled_from([1, 400, 1000, 64 << 10]))
def test_sorted_as_in_memory_and_equal_keys_keep_their_order(
    pairs: list[tuple[bytes, bytes]], run: int, block: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spilling, "_BLOCK_BYTES", block)
        sorter = Sorter(run_bytes=run)
        for key, value in pairs:
            sorter.add(key, value)
        expected = sorted(pairs, key=lambda pair: pair[0])
        assert list(sorter) == expected
        assert list(sorter) == expected
        assert list(sorter.keys()) == [key for key, _ in expected]
        # Two at once, each at a place of its own.
        assert list(zip(sorter, sorter, strict=True)) == [(pair, pair) for pair in expected]
        sorter.close()


def test_lines_longer_than_what_is_read_at_once() -> None:
    sorter = Sorter(run_bytes=1)
    for number in range(4):
        sorter.add(bytes([9 - number]), bytes([number]) * 300_000)
    assert [len(value) for _, value in sorter] == [300_000] * 4
    sorter.close()


def test_the_temporary_file_goes_with_the_sorter() -> None:
    sorter = Sorter(run_bytes=1)
    sorter.add(b"a")
    del sorter  # an open file left behind would be a ResourceWarning, and with that an error


def test_values_come_back_by_their_keys_and_those_of_one_key_together() -> None:
    with ValueSorter(tuple[str, int]) as sorter:
        for number, name in enumerate(["b", "a\ud800", "b", "é"]):
            sorter.add(name, (name.replace("\ud800", "?"), number))
        assert list(sorter) == [("a?", 1), ("b", 0), ("b", 2), ("é", 3)]
        assert [(name, len(list(values))) for name, values in sorter.by_text()] == [("a\ud800", 1), ("b", 2), ("é", 1)]
    with ValueSorter(int) as sorter:
        for offset in (300, 2, 1 << 62):
            sorter.add(offset, offset)
        assert list(sorter) == [2, 300, 1 << 62]
