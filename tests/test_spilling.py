from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.errors import CannotWrite
from holdall.spilling import SpillingDict, Taken
from holdall.temporary import NumberTable
from tests.sweep import examples

NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
STEPS = st.lists(st.tuples(st.sampled_from(["set", "discard"]), st.sampled_from("abcdefgé\0"), NUMBERS), max_size=60)


@examples(80)
@given(STEPS, st.sampled_from([0, 1, 3, 100]))
def test_it_is_a_dict_wherever_its_entries_are(steps: list[tuple[str, str, int]], in_memory: int) -> None:
    spilling, known = SpillingDict[str](in_memory=in_memory), dict[str, int]()
    for step, key, number in steps:
        if step == "set":
            spilling[key] = known[key] = number
        else:
            spilling.discard(key)
            known.pop(key, None)
        assert bool(spilling) == bool(known)
    assert {key: spilling.get(key) for key in "abcdefgé\0"} == {key: known.get(key) for key in "abcdefgé\0"}
    assert [key in spilling for key in "abcdefgé\0"] == [key in known for key in "abcdefgé\0"]


def test_hashes_are_keys_too() -> None:
    spilling = SpillingDict[int](in_memory=2)
    for key in (keys := [-(1 << 63), -1, 0, 1, (1 << 63) - 1, hash("a")]):
        spilling.add(key)
    assert all(key in spilling for key in keys)
    assert 2 not in spilling


def test_few_entries_make_no_file_and_many_stay_in_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "holdall.temporary", raising=False)
    spilling = SpillingDict[int]()
    for key in range(65_536):
        spilling.add(key)
    assert "holdall.temporary" not in sys.modules
    spilling.add(-1)
    assert "holdall.temporary" in sys.modules
    assert len(spilling._recent) == 0


def test_names_stay_taken_on_disk() -> None:
    taken = Taken()
    taken._hashes = SpillingDict(in_memory=3)
    assert [taken.first_free("d/", f"n{number % 7}") for number in range(14)] == [
        *(f"d/n{number}" for number in range(7)),
        *(f"d/n{number}-2" for number in range(7)),
    ]


def test_a_full_disk_is_named() -> None:
    with NumberTable() as table:
        table._database.execute("PRAGMA max_page_count = 10")
        with pytest.raises(CannotWrite, match="temporary files"):
            table.put({f"{number:0500}": number for number in range(1000)})
