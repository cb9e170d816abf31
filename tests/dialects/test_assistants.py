"""Records of the Assistants API v2 as create requests: nothing changed, nothing invented, nothing lost unsaid."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from holdall.dialects import assistants as dialect
from holdall.dialects.loss import Why
from holdall.dialects.registry import AS_IS, definition
from holdall.dialects.rules import Request, Targets
from holdall.errors import DamagedBundle
from holdall.model import Kind, Record, SourceId, TargetId
from tests.growth import assert_linear

FULL: dict[str, Any] = {
    "id": "asst_1",
    "object": "assistant",
    "created_at": 1700000000,
    "name": "Guide",
    "description": None,
    "model": "gpt-4o",
    "instructions": "Answer.\n\u202eodd",
    "reasoning_effort": None,
    "tools": [
        {"type": "file_search", "file_search": {"max_num_results": 7, "ranking_options": {"score_threshold": 0.0}}},
        {"type": "code_interpreter"},
        {
            "type": "function",
            "function": {"name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False},
        },
    ],
    "tool_resources": {
        "file_search": {"vector_store_ids": ["vs_1"]},
        "code_interpreter": {"file_ids": ["file_1", "file_gone", "file_2"]},
    },
    "metadata": {"team": "a"},
    "temperature": 1.0,
    "top_p": 1,
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
}


def record(fields: dict[str, Any], kind: Kind = Kind.ASSISTANT) -> Record:
    return Record(kind=kind, id=SourceId(fields["id"]), raw=json.dumps(fields).encode())


def request(fields: dict[str, Any], prefix: str = "") -> Request:
    targets = Targets(
        stores={SourceId("vs_1"): TargetId("VS")},
        files={SourceId("file_1"): TargetId("F1"), SourceId("file_2"): TargetId("F2")},
    )
    return definition(record(fields), prefix=prefix, operation="op1", targets=targets)


def test_every_field_is_sent_as_it_was_with_the_ids_of_the_copy() -> None:
    found = request(FULL)
    assert found.body == {
        **{k: v for k, v in FULL.items() if k not in ("id", "object", "created_at", "reasoning_effort")},
        "tool_resources": {
            "file_search": {"vector_store_ids": ["VS"]},
            "code_interpreter": {"file_ids": ["F1", "F2"]},
        },
        "metadata": {"team": "a", "cloned_from": "asst_1", "holdall_op": "op1"},
    }
    assert found.update is None
    assert found.losses == []
    assert found.create == {field: value for field, value in found.body.items() if field != "description"}


def test_numbers_keep_their_kind() -> None:
    body = msgspec.json.encode(request(FULL).body)
    assert b'"temperature":1.0' in body
    assert b'"top_p":1,' in body
    assert b'"score_threshold":0.0' in body


def test_the_prefix_goes_before_a_name_and_not_before_none() -> None:
    assert request(FULL, "copy of ").body["name"] == "copy of Guide"
    assert request({**FULL, "name": None}, "copy of ").body["name"] is None


def test_unknown_fields_are_left_out_and_said_unless_empty() -> None:
    odd = {**FULL, "x_team": 3, "x_empty": None, "file_ids": []}
    odd["tool_resources"] = {
        "azure_ai_search": {"indexes": [1]},
        "code_interpreter": None,
        "file_search": {"vector_store_ids": ["vs_1"], "extra": True},
    }
    found = request(odd)
    assert found.body["tool_resources"] == {"file_search": {"vector_store_ids": ["VS"]}}
    assert {loss.field for loss in found.losses} == {
        "x_team",
        "tool_resources.azure_ai_search",
        "tool_resources.file_search.extra",
    }
    assert {loss.why for loss in found.losses} == {Why.UNKNOWN_FIELD}


def test_tools_that_are_null_are_no_tools() -> None:
    assert request({**FULL, "tools": None}).body["tools"] == []


def test_a_full_metadata_is_set_right_after_creation() -> None:
    own = {f"k{i}": "v" for i in range(16)}
    found = request({**FULL, "metadata": own})
    assert len(found.body["metadata"]) == 16
    assert found.update == {"metadata": own}


def test_a_store_takes_its_expiry_rule_and_never_its_date() -> None:
    fields = {
        "id": "vs_1",
        "object": "vector_store",
        "created_at": 1,
        "name": "Docs",
        "usage_bytes": 5,
        "file_counts": {"total": 1},
        "status": "expired",
        "expires_after": {"anchor": "last_active_at", "days": 3},
        "expires_at": 99,
        "last_active_at": 9,
        "metadata": {},
    }
    found = dialect.store(record(fields, Kind.STORE), operation="op")
    assert found.body == {
        "name": "Docs",
        "expires_after": {"anchor": "last_active_at", "days": 3},
        "metadata": {"cloned_from": "vs_1", "holdall_op": "op"},
    }
    assert found.losses == []
    bare = dialect.store(record({"id": "vs_2", "name": None, "expires_after": None}, Kind.STORE), operation="op")
    assert set(bare.body) == {"metadata"}


@pytest.mark.parametrize(
    ("strategy", "sent"),
    [
        ({"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 50}}, True),
        ({"type": "other"}, False),
        (None, False),
    ],
)
def test_a_membership_keeps_its_attributes_and_the_chunking_that_is_known(
    strategy: dict[str, Any] | None, sent: bool
) -> None:
    fields = {"id": "file_1", "status": "completed", "attributes": {"n": 3.0, "b": True}, "chunking_strategy": strategy}
    found = dialect.attachment(record(fields, Kind.MEMBERSHIP), TargetId("F"))
    assert found.body["attributes"] == {"n": 3.0, "b": True}
    assert found.body.get("chunking_strategy") == (strategy if sent else None)
    assert found.recut is not sent


def test_empty_attributes_are_not_sent() -> None:
    for attributes in (None, {}):
        found = dialect.attachment(record({"id": "f", "attributes": attributes}, Kind.MEMBERSHIP), TargetId("F"))
        assert found.body == {"file_id": "F"}


@pytest.mark.parametrize(
    ("source", "used"),
    [
        ("assistants", "assistants"),
        ("assistants_output", "assistants"),
        ("batch_output", "assistants"),
        ("fine-tune-results", "assistants"),
        (None, "assistants"),
        ("vision", "vision"),
        ("user_data", "user_data"),
    ],
)
def test_purposes_that_only_the_server_gives_become_assistants(source: str | None, used: str) -> None:
    assert dialect.purpose(source) == used


def test_a_record_that_is_no_object_is_damage() -> None:
    with pytest.raises(DamagedBundle, match="assistant asst_9"):
        dialect.store(Record(kind=Kind.ASSISTANT, id=SourceId("asst_9"), raw=b"[1]"), operation="")


def test_what_a_create_call_can_do_without_and_what_is_lost_by_it() -> None:
    body = {
        "model": None,
        "name": "n",
        "temperature": 1.0,
        "top_p": 0.5,
        "reasoning_effort": "high",
        "description": None,
    }
    found = dialect.dispensable({**body, "model": "o3"})
    assert found == {"temperature": True, "top_p": False, "reasoning_effort": False, "description": True}


@pytest.mark.parametrize(
    "inside", [lambda n: {f"k.{i}": {"a": [i]} for i in range(n)}, lambda n: {"k" * n + "." * n: []}]
)
def test_what_is_said_of_a_record_with_very_many_odd_fields_costs_in_proportion(inside: Any) -> None:
    def made(n: int) -> Record:
        tools = [{"type": "function", "function": {"name": "f f", "parameters": 7, "x": 1}, "y": 1}] * (n // 10)
        return record(FULL | {"metadata": inside(n), "tools": tools})

    def request(one: Record) -> object:
        return definition(one, prefix="")

    assert_linear(request, made, 1000)


def test_a_model_and_ids_that_are_no_texts_are_no_reason_to_stop() -> None:
    odd = {"id": "asst_1", "model": 7, "tool_resources": {"file_search": {"vector_store_ids": [["vs_1"], {}, "vs_1"]}}}
    assert request(odd).body["tool_resources"] == {"file_search": {"vector_store_ids": ["VS"]}}
    assert definition(record(odd), prefix="", table=AS_IS).body["model"] == 7
