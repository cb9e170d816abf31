"""Our two metadata keys, and what gives way where all keys are taken."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from holdall.dialects.loss import Why
from holdall.dialects.rules import CLONED_FROM, METADATA_KEYS, OPERATION, Marked, marked, unmarked
from holdall.model import Kind, SourceId
from tests.sweep import examples


def mark(metadata: object) -> tuple[Marked, list[Why]]:
    found, losses = marked(metadata, kind=Kind.STORE, source=SourceId("vs_1"), name="S", operation="op1")
    return found, [loss.why for loss in losses]


def test_marks_go_beside_the_owners_keys() -> None:
    found, said = mark({"a": "b"})
    assert found.create == {"a": "b", CLONED_FROM: "vs_1", OPERATION: "op1"}
    assert found.final is None
    assert said == []


def test_no_metadata_counts_as_empty() -> None:
    assert mark(None)[0].create == {CLONED_FROM: "vs_1", OPERATION: "op1"}
    assert mark(["odd"])[0].create == {CLONED_FROM: "vs_1", OPERATION: "op1"}


def test_an_inherited_mark_is_replaced_and_said() -> None:
    found, said = mark({CLONED_FROM: "vs_0", OPERATION: "old", "a": "b"})
    assert found.create == {"a": "b", CLONED_FROM: "vs_1", OPERATION: "op1"}
    assert said == [Why.MARKS_REPLACED]


def test_fourteen_keys_leave_room_for_both_marks() -> None:
    own = {str(i): "v" for i in range(14)}
    assert mark(own)[0] == Marked(create={**own, CLONED_FROM: "vs_1", OPERATION: "op1"})


def test_fifteen_keys_keep_where_the_copy_comes_from() -> None:
    own = {str(i): "v" for i in range(15)}
    found, said = mark(own)
    assert found.final == {**own, CLONED_FROM: "vs_1"}
    assert said == [Why.MARKS_LEFT_OUT]


def test_sixteen_keys_are_all_restored() -> None:
    own = {str(i): "v" for i in range(16)}
    found, said = mark(own)
    assert found.final == own
    assert len(found.create) == METADATA_KEYS
    assert found.create[OPERATION] == "op1"
    assert said == [Why.MARKS_LEFT_OUT]


@examples(60)
@given(
    st.dictionaries(st.text(max_size=4) | st.sampled_from([CLONED_FROM, OPERATION]), st.text(max_size=3), max_size=16)
)
def test_whatever_the_metadata_the_copy_ends_with_the_owners_keys(metadata: dict[str, Any]) -> None:
    found, _ = mark(metadata)
    assert len(found.create) <= METADATA_KEYS
    assert found.create[CLONED_FROM] == "vs_1"
    assert found.create[OPERATION] == "op1"
    last = found.create if found.final is None else found.final
    assert len(last) <= METADATA_KEYS
    assert unmarked(last) == unmarked(metadata)
