"""Which table counts where, and what agents become by theirs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdall.dialects.assistants import OPENAI
from holdall.dialects.foundry_classic import FOUNDRY
from holdall.dialects.loss import Why
from holdall.dialects.registry import definition, table
from holdall.dialects.responses import RESPONSES
from holdall.dialects.rules import Form
from holdall.model import Kind, Record, SourceId
from holdall.sandbox.service.agent_definitions import to_create

BING = {"type": "bing_grounding", "bing_grounding": {"search_configurations": [{"connection_id": "c"}]}}


@pytest.mark.parametrize(
    ("form", "url", "expected"),
    [
        (Form.ASSISTANTS, "https://api.openai.com/v1", OPENAI),
        (Form.ASSISTANTS, "https://a.services.ai.azure.com/api/projects/p", FOUNDRY),
        (Form.ASSISTANTS, "http://proxy:8080/api/projects/p", FOUNDRY),
        (Form.RESPONSES, "https://a.services.ai.azure.com/api/projects/p", RESPONSES),
    ],
)
def test_the_base_url_says_which_destination_it_is(form: Form, url: str, expected: object) -> None:
    assert table(form, url) == expected


@pytest.mark.parametrize(("destination", "kept"), [("foundry", True), ("own", True), ("other", False)])
def test_tools_of_other_types_stay_where_they_are_known(destination: str, kept: bool) -> None:
    fields = {"id": "a", "model": "m", "tools": [BING], "tool_resources": {"azure_ai_search": {"indexes": [1]}}}
    taken = {"foundry": FOUNDRY, "own": table(Form.ASSISTANTS, own=True), "other": OPENAI}[destination]
    one = Record(kind=Kind.ASSISTANT, id=SourceId("a"), raw=json.dumps(fields).encode())
    found = definition(one, prefix="", table=taken)
    assert found.body["tools"] == ([BING] if kept else [])
    assert ("azure_ai_search" in found.body["tool_resources"]) is (destination == "foundry")
    assert bool(found.losses) is (destination != "foundry")


MCP = {"type": "mcp", "server_label": "l", "transport": {"type": "http", "server_url": "https://x", "headers": None}}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tools": [{"type": "function", "name": "f"}]}, []),
        (
            {"tools": [{"type": "function", "name": "f", "parameters": {}}]},
            [(Why.VALUE_CHANGED, "tools[0].parameters")],
        ),
        ({"tools": [{"type": "function", "name": "a.b"}]}, [(Why.UNKNOWN_TOOL, "tools[0]")]),
        ({"tools": [{"type": "file_search"}, MCP]}, [(Why.UNKNOWN_TOOL, "tools[0]")]),
        ({"tools": [{**MCP, "transport": {"type": "http"}}]}, [(Why.UNKNOWN_TOOL, "tools[0]")]),
        ({"text": {"format": {"type": "json_object"}, "verbosity": "low"}}, [(Why.UNFIT_VALUE, "text.format")]),
        ({"multi_agent": {"max_concurrent_subagents": "3"}}, [(Why.UNFIT_VALUE, "multi_agent")]),
        ({"reasoning": {"effort": "huge", "summary": None}}, [(Why.UNFIT_VALUE, "reasoning.effort")]),
        ({"service_tier": None, "temperature": 1}, [(Why.UNKNOWN_FIELD, "temperature")]),
        ({"metadata": {"a": 1}}, [(Why.VALUE_CHANGED, "metadata.a")]),
    ],
)
def test_an_agent_is_one_that_its_api_takes(fields: dict[str, Any], expected: list[tuple[Why, str]]) -> None:
    raw = json.dumps({"id": "agent_1", "model": "gpt-5.1", **fields}).encode()
    found = definition(Record(kind=Kind.AGENT, id=SourceId("agent_1"), raw=raw), prefix="", operation="op")
    assert [(loss.why, loss.field) for loss in found.losses] == expected
    to_create(json.dumps(found.create).encode())  # which refuses what the API doesn't take
