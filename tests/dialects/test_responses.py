"""An assistant as a request for the Responses API: line by line of what goes where, and no value that is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.dialects.loss import Severity, Why
from holdall.dialects.registry import definition
from holdall.dialects.responses import RESPONSES
from holdall.dialects.rules import Request, Targets
from holdall.model import Kind, Record, SourceId, TargetId
from tests.dialects.sdk import accept
from tests.sweep import examples

SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}
FULL: dict[str, Any] = {
    "id": "asst_1",
    "object": "assistant",
    "created_at": 1700000000,
    "name": "Guide",
    "description": "Guides.",
    "model": "gpt-4o",
    "instructions": "Answer.\n\u202eodd",
    "reasoning_effort": None,
    "tools": [
        {"type": "file_search", "file_search": {"max_num_results": 7, "ranking_options": {"score_threshold": 0.0}}},
        {"type": "code_interpreter"},
        {"type": "function", "function": {"name": "f", "description": "F.", "parameters": SCHEMA, "strict": True}},
    ],
    "tool_resources": {
        "file_search": {"vector_store_ids": ["vs_1"]},
        "code_interpreter": {"file_ids": ["file_1", "file_gone", "file_2"]},
    },
    "metadata": {"team": "a"},
    "temperature": 0.3,
    "top_p": 0.5,
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA, "strict": True}},
}


def draft(fields: dict[str, Any], **more: Any) -> Request:
    record = Record(kind=Kind.ASSISTANT, id=SourceId(str(fields.get("id"))), raw=json.dumps(fields).encode())
    targets = Targets(
        stores={SourceId("vs_1"): TargetId("VS")},
        files={SourceId("file_1"): TargetId("F1"), SourceId("file_2"): TargetId("F2")},
    )
    found = definition(record, **{"prefix": "", "targets": targets, "table": RESPONSES, **more})
    accept(found.body)
    return found


def request(**fields: Any) -> dict[str, Any]:
    """The request of an assistant with these fields besides a model; nothing may be lost."""
    found = draft({"id": "asst_1", "model": "gpt-4o", **fields})
    assert found.losses == []
    assert found.left_out == {}
    return found.body


def lost(fields: dict[str, Any]) -> list[tuple[Why, str | None]]:
    found = draft({"id": "asst_1", "model": "gpt-4o", **fields})
    assert found.left_out.keys() == {loss.field for loss in found.losses}
    return [(loss.why, loss.field) for loss in found.losses]


def test_each_field_has_its_place_and_what_has_none_is_kept() -> None:
    found = draft(FULL)
    assert found.body == {
        "model": "gpt-4o",
        "instructions": "Answer.\n\u202eodd",
        "temperature": 0.3,
        "top_p": 0.5,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}},
        "tools": [
            {
                "type": "file_search",
                "vector_store_ids": ["VS"],
                "max_num_results": 7,
                "ranking_options": {"score_threshold": 0.0},
            },
            {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["F1", "F2"]}},
            {"type": "function", "name": "f", "description": "F.", "parameters": SCHEMA, "strict": True},
        ],
        "metadata": {"team": "a"},
    }
    assert found.kept == {"id": "asst_1", "name": "Guide", "description": "Guides.", "created_at": 1700000000}
    assert found.losses == []


def test_the_prefix_goes_before_the_name_and_the_mapped_model_in_place_of_the_old_one() -> None:
    found = draft(FULL, prefix="copy of ", model="gpt-4.1")
    assert (found.kept["name"], found.body["model"]) == ("copy of Guide", "gpt-4.1")
    assert draft({"id": "asst_1", "name": None}, prefix="copy of ").kept["name"] is None


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (None, None),
        ("auto", None),
        ({"type": "text"}, {"format": {"type": "text"}}),
        ({"type": "json_object"}, {"format": {"type": "json_object"}}),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "description": "D.", "strict": None}},
            {"format": {"type": "json_schema", "name": "n", "schema": {}, "description": "D."}},
        ),
    ],
)
def test_response_formats(asked: object, text: object) -> None:
    assert request(response_format=asked).get("text") == text


def test_a_function_is_flat_and_has_parameters_and_strict_in_any_event() -> None:
    plain = {"type": "function", "function": {"name": "f", "description": None, "strict": None}}
    empty = {"type": "object", "properties": {}}
    assert request(tools=[plain])["tools"] == [{"type": "function", "name": "f", "parameters": empty, "strict": False}]
    strict = {"type": "function", "function": {"name": "f", "strict": True}}
    whole = {**empty, "required": [], "additionalProperties": False}
    assert request(tools=[strict])["tools"] == [{"type": "function", "name": "f", "parameters": whole, "strict": True}]


def test_defaults_are_left_out_and_that_is_no_loss() -> None:
    assert request(temperature=1.0, top_p=1) == {"model": "gpt-4o"}
    assert request(model="o3", temperature=1, top_p=1.0, reasoning_effort="low") == {
        "model": "o3",
        "reasoning": {"effort": "low"},
    }


def test_what_a_model_would_refuse_is_left_out_and_said() -> None:
    assert lost({"model": "gpt-5.1", "temperature": 0.2}) == [(Why.MODEL_REFUSES, "temperature")]
    assert lost({"model": "gpt-4.1", "reasoning_effort": "low"}) == [(Why.MODEL_REFUSES, "reasoning_effort")]
    assert request(model="my-deployment", temperature=0.2, reasoning_effort="high") == {
        "model": "my-deployment",
        "temperature": 0.2,
        "reasoning": {"effort": "high"},
    }


def test_the_old_ranker_becomes_auto() -> None:
    tool = {"type": "file_search", "file_search": {"ranking_options": {"ranker": "default_2024_08_21"}}}
    resources = {"file_search": {"vector_store_ids": ["vs_1"]}}
    found = draft({"id": "asst_1", "model": "gpt-4o", "tools": [tool], "tool_resources": resources})
    assert found.body["tools"][0]["ranking_options"] == {"ranker": "auto"}
    assert [(loss.why, loss.why.severity) for loss in found.losses] == [(Why.VALUE_CHANGED, Severity.MINOR)]
    assert found.left_out == {"tools[0].file_search.ranking_options.ranker": "default_2024_08_21"}


def test_a_search_without_a_store_is_dropped_and_said() -> None:
    assert lost({"tools": [{"type": "file_search"}]}) == [(Why.UNUSABLE, "tools[0]")]
    gone = {"file_search": {"vector_store_ids": ["vs_gone"]}}
    assert lost({"tools": [{"type": "file_search"}], "tool_resources": gone}) == [(Why.UNUSABLE, "tools[0]")]
    unused = {"file_search": {"vector_store_ids": ["vs_1"]}}
    assert lost({"tool_resources": unused}) == [(Why.UNUSABLE, "tool_resources.file_search.vector_store_ids")]


def test_a_tool_that_the_api_does_not_know_is_a_part_of_the_assistant_that_is_lost() -> None:
    odd = {"type": "function", "function": {"name": "import os; x"}}
    tools = [{"type": "bing_grounding", "bing_grounding": {}}, {"type": "function"}, "x", {"type": 3}, odd]
    found = draft({"id": "asst_1", "model": "gpt-4o", "tools": tools})
    assert "tools" not in found.body
    assert [loss.why for loss in found.losses] == [Why.UNKNOWN_TOOL] * 5
    assert found.left_out["tools[0]"] == tools[0]


def test_metadata_over_the_limits_is_left_out_key_by_key() -> None:
    metadata = {**{f"k{n}": "v" for n in range(16)}, "long": "v" * 513, "more": "v"}
    assert lost({"metadata": metadata}) == [
        (Why.OVER_LIMIT, "metadata.long"),
        (Why.OVER_LIMIT, "metadata.more"),
    ]
    assert draft({"id": "a", "metadata": {"n": 3, "none": None}}).body["metadata"] == {"n": "3"}


def test_of_many_keys_over_the_limit_some_are_named_and_all_are_left_out() -> None:
    found = draft({"id": "a", "metadata": {f"k{n}": "v" for n in range(16 + 100)}})
    assert [loss.field for loss in found.losses] == [f"metadata.k{n}" for n in range(16, 36)]
    assert found.losses[-1].text == "left out: more than 16 keys; same for 80 more"
    assert len(found.left_out) == 100


def test_our_marks_are_on_no_answer_of_a_model() -> None:
    found = draft({"id": "asst_2", "metadata": {"cloned_from": "asst_1", "holdall_op": "op", "own": "x"}})
    assert found.body["metadata"] == {"own": "x"}
    assert [loss.why.severity for loss in found.losses] == [Severity.NOTE]


def test_a_name_of_a_schema_has_only_what_is_allowed_in_it() -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "Größe {x}", "schema": {}}}
    found = draft({"id": "asst_1", "response_format": asked})
    assert found.body["text"]["format"]["name"] == "Gr__e__x_"
    assert [loss.why for loss in found.losses] == [Why.VALUE_CHANGED]


def test_fields_that_nobody_knows_are_said_wherever_they_are() -> None:
    fields = {
        "extra": 1,
        "empty": {},
        "tools": [
            {"type": "function", "x": 1, "function": {"name": "f", "y": 1}},
            {"type": "code_interpreter", "z": 1},
        ],
        "tool_resources": {"azure_ai_search": {"indexes": [1]}, "code_interpreter": {"w": 1}},
    }
    assert lost(fields) == [
        (Why.UNKNOWN_FIELD, "tools[0].x"),
        (Why.UNKNOWN_FIELD, "tools[0].function.y"),
        (Why.UNKNOWN_FIELD, "tools[1].z"),
        (Why.UNKNOWN_FIELD, "tool_resources.azure_ai_search"),
        (Why.UNKNOWN_FIELD, "tool_resources.code_interpreter.w"),
        (Why.UNKNOWN_FIELD, "extra"),
    ]


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 1 << 70) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
ids = st.lists(st.sampled_from(["vs_1", "file_1", "file_2", "gone"]) | anything, max_size=3)


def some(shape: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """Objects of a shape, members missing, with values that belong there, or anything, or more."""
    members = {key: value | anything for key, value in shape.items()}
    return st.fixed_dictionaries({}, optional=members) | anything


ranking = some({"ranker": st.sampled_from(["auto", "default_2024_08_21"]), "score_threshold": st.floats(0, 1)})
search = some({"max_num_results": st.integers(0, 60), "ranking_options": ranking})
function = some(
    {"name": st.text() | st.just("f"), "description": st.text(), "parameters": anything, "strict": st.booleans()}
)
kinds = st.sampled_from(["file_search", "code_interpreter", "function", "mcp", "web_search"])
tool = some({"type": kinds, "file_search": search, "function": function})
schema = some({"name": st.text(), "schema": anything, "strict": st.booleans(), "description": st.text()})
formats = some({"type": st.sampled_from(["text", "json_object", "json_schema"]), "json_schema": schema})
assistants = st.fixed_dictionaries(
    {"id": st.text()},
    optional={
        "name": anything,
        "model": st.sampled_from(["gpt-4o", "o3", "deployment"]) | anything,
        "instructions": st.text() | anything,
        "temperature": st.floats(0, 2) | anything,
        "top_p": st.floats(0, 1) | anything,
        "reasoning_effort": st.sampled_from(["none", "low", "xhigh", "odd"]) | anything,
        "response_format": st.just("auto") | formats,
        "metadata": st.dictionaries(st.text(max_size=70), st.text(max_size=520) | anything, max_size=20) | anything,
        "tools": st.lists(tool, max_size=4) | anything,
        "tool_resources": some(
            {"file_search": some({"vector_store_ids": ids}), "code_interpreter": some({"file_ids": ids})}
        ),
        "more": anything,
    },
)


@examples(100)
@given(assistants)
def test_whatever_an_assistant_holds_the_request_is_of_the_sdks_types_and_says_what_it_lacks(
    fields: dict[str, Any],
) -> None:
    found = draft(fields)  # which holds the request against the types
    assert found.left_out.keys() == {loss.field for loss in found.losses}
    json.dumps(found.body)
    if found.body.get("model") == fields.get("model") and isinstance(fields.get("instructions"), str):
        assert found.body["instructions"] == fields["instructions"]
