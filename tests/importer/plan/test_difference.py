"""One comparison: what says the same is no difference, and what doesn't is named, alone; and how a difference reads."""

from __future__ import annotations

import random
from typing import Any

import pytest

from holdall.importer.plan.difference import Difference, changed, differences, fingerprints, same, top_fields
from holdall.model import Kind, SourceId
from tests.sweep import sweep

ABSENT = object()

# By field the ways to say that it is at its default, and values that say something else.
FIELDS: dict[Kind, dict[str, tuple[list[Any], list[Any]]]] = {
    Kind.ASSISTANT: {
        "name": ([ABSENT, None, ""], ["a name", "A name"]),
        "description": ([ABSENT, None, ""], ["a description"]),
        "instructions": ([ABSENT, None, ""], ["Answer.", "Answer. "]),
        "temperature": ([ABSENT, None, 1, 1.0], [0, 0.5]),
        "top_p": ([ABSENT, None, 1, 1.0], [0, 0.5]),
        "reasoning_effort": ([ABSENT, None, "medium"], ["low", "high"]),
        "response_format": (
            [ABSENT, None, "auto", {"type": "auto"}, {"type": "text"}, {}],
            [{"type": "json_object"}, {"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": None}}}],
        ),
        "tool_resources": (
            [ABSENT, None, {}, {"file_search": None}, {"code_interpreter": {"file_ids": []}, "file_search": {}}],
            [{"code_interpreter": {"file_ids": ["f"]}}, {"file_search": {"vector_store_ids": ["v"]}}],
        ),
    },
    Kind.STORE: {
        "name": ([ABSENT, None, ""], ["a name"]),
        "expires_after": ([ABSENT, None, {}], [{"anchor": "last_active_at", "days": 7}]),
    },
    Kind.AGENT: {
        "name": ([ABSENT, None, ""], ["a name"]),
        "instructions": ([ABSENT, None, ""], ["Answer."]),
        "reasoning": ([ABSENT, None, {}, {"effort": None, "summary": None}], [{"effort": "low"}]),
        "text": ([ABSENT, None, {"format": {"type": "text"}, "verbosity": "medium"}], [{"verbosity": "low"}]),
        "service_tier": ([ABSENT, None, "auto"], ["flex"]),
        "compaction": ([ABSENT, None, {"async": False}], [{"async": True}]),
        "experimental": ([ABSENT, {}, {"time_awareness": False}], [{"time_awareness": True}]),
    },
}
# The same of what is inside of tools.
FUNCTION = {
    "description": ([ABSENT, None, ""], ["d"]),
    "strict": ([ABSENT, None, False], [True]),
    "parameters": ([ABSENT, None, {}, {"type": "object", "properties": {}}], [{"type": "object", "x": None}]),
}
SEARCH = {
    "max_num_results": ([ABSENT, None, 20], [7, 50]),
    "ranking_options": (
        [ABSENT, None, {}, {"score_threshold": 0.0}, {"ranker": "default_2024_08_21", "score_threshold": 0}],
        [{"ranker": "auto", "score_threshold": 0.5}],
    ),
}
Values = dict[str, tuple[list[Any], list[Any]]]


class Definition:
    """One definition, which can be written down in many ways, and changed in one field."""

    def __init__(self, kind: Kind, dice: random.Random) -> None:
        self._dice = dice
        self._kind = kind
        self._places: dict[str, Values] = {"": FIELDS[kind]}
        if kind is Kind.ASSISTANT:
            self._places |= {"function": FUNCTION, "search": SEARCH}
        self._own = {
            place: {field: dice.choice(others) for field, (_, others) in values.items() if dice.random() < 0.4}
            for place, values in self._places.items()
        }

    def written(self, *, extra: bool) -> dict[str, Any]:
        """As some server or dump has it; ``extra`` with members that only this server knows."""
        more = {"x_node": "n-17"} if extra else {}
        body = self._part("") | self._dice.choice([{}, {"metadata": {}}, {"metadata": None}])
        if self._kind is not Kind.STORE:
            body["model"] = "gpt-4o"
        if self._kind is Kind.ASSISTANT:
            search = {**self._part("search"), **more}
            body["tools"] = [
                {"type": "function", "function": {"name": "f", **self._part("function"), **more}, **more},
                {"type": "file_search", **({"file_search": search} if search else {})},
            ]
        return body

    def _part(self, place: str) -> dict[str, Any]:
        own = self._own[place]
        shown = {
            field: own[field] if field in own else self._dice.choice(ways)
            for field, (ways, _) in self._places[place].items()
        }
        return {field: value for field, value in shown.items() if value is not ABSENT}

    def change(self) -> str:
        """Give one field another value, or its default; the top-level field."""
        place = self._dice.choice(list(self._places))
        field = self._dice.choice(list(self._places[place]))
        if field in self._own[place]:
            del self._own[place][field]
        else:
            self._own[place][field] = self._dice.choice(self._places[place][field][1])
        return "tools" if place else field


def compared(kind: Kind, here: dict[str, Any], there: dict[str, Any]) -> list[str]:
    found = differences(here, there, kind=kind, source=SourceId("s"), target=None, name=None)
    return top_fields(found)


@sweep("kind", list(FIELDS))
def test_a_definition_and_its_copy_never_differ_and_one_change_is_named_alone(kind: Kind) -> None:
    for seed in range(1000):
        definition = Definition(kind, random.Random(seed))
        one, other = definition.written(extra=False), definition.written(extra=True)
        assert compared(kind, one, other) == [], (seed, one, other)
        if kind is not Kind.AGENT:
            assert changed(kind, fingerprints(kind, one), other) == [], (seed, one, other)
        field, then = definition.change(), fingerprints(kind, other)
        now = definition.written(extra=True)
        assert compared(kind, one, now) == [field], (seed, one, now)
        assert changed(kind, then, now) == [field], (seed, other, now)


def test_the_strictness_of_a_schema_is_false_where_nobody_says() -> None:
    def body(**more: Any) -> dict[str, Any]:
        return {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": None}, **more}}}

    assert compared(Kind.ASSISTANT, body(), body(strict=False, description=None)) == []
    assert compared(Kind.ASSISTANT, body(strict=True), body()) == ["response_format"]


@pytest.mark.parametrize(
    ("here", "there", "is_same"),
    [
        ({"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}}, None, True),
        ({"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400}}, "auto", True),
        ({"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 100}}, None, False),
        ({"type": "static", "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 0}}, "auto", False),
    ],
)
def test_a_strategy_of_800_and_400_is_what_auto_does(here: Any, there: Any, is_same: bool) -> None:
    assert same(Kind.MEMBERSHIP, "chunking_strategy", here, there) is is_same


def test_the_order_of_ids_says_nothing() -> None:
    def resources(*ids: str) -> dict[str, Any]:
        return {"tool_resources": {"code_interpreter": {"file_ids": list(ids)}}}

    assert compared(Kind.ASSISTANT, resources("a", "b"), resources("b", "a", "a")) == []
    assert compared(Kind.ASSISTANT, resources("a", "b"), resources("b")) == ["tool_resources"]


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
