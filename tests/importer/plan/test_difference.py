"""When two JSON values are equal, and how a difference reads."""

from __future__ import annotations

from holdall.importer.plan.difference import Difference, equal, without_empty
from holdall.model import Kind, SourceId


def test_a_long_value_is_shown_where_it_begins_to_differ() -> None:
    shown = str(
        Difference(
            kind=Kind.ASSISTANT,
            source=SourceId("a"),
            field="instructions",
            bundle="x" * 900 + "1",
            destination="x" * 900,
        )
    )
    assert len(shown) < 500
    assert 'x1"' in shown


def test_jsonequality() -> None:
    assert equal({"a": [3, None, "x"]}, {"a": [3.0, None, "x"]})
    assert not equal(1, True)
    assert not equal({"a": 1}, {})
    assert not equal([1], [1, 2])


def test_empty_members_say_the_same_as_none() -> None:
    assert without_empty({"a": {"file_ids": []}, "b": {"ids": ["x"]}}) == {"b": {"ids": ["x"]}}
    assert without_empty(None) == {}
