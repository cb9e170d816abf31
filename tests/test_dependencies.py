"""What definitions refer to that no bundle can hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.dependencies import USERS, Dependencies, Dependency
from holdall.model import Kind, Record, SourceId
from tests.growth import assert_linear
from tests.sweep import examples, sweep


def assistant(ident: str = "asst_1", **fields: Any) -> Record:
    raw = json.dumps({"id": ident, "name": ident.upper(), **fields}).encode()
    return Record(kind=Kind.ASSISTANT, id=SourceId(ident), raw=raw)


def dependencies(records: list[Record]) -> list[Dependency]:
    found = Dependencies()
    for record in records:
        found.add(record)
    return found.things()


def said(*records: Record) -> list[str]:
    return [str(one) for one in dependencies(list(records))]


def test_what_a_bundle_holds_is_no_dependency() -> None:
    tools = [{"type": "file_search", "file_search": {"max_num_results": 5}}, {"type": "code_interpreter"}]
    resources = {"file_search": {"vector_store_ids": ["vs_1"]}, "code_interpreter": {"file_ids": ["file-1"]}}
    assert said(assistant(tools=tools, tool_resources=resources)) == []
    assert said(assistant(), assistant(tools=None, tool_resources=None), assistant(tools="?", tool_resources=[])) == []


# The shapes are those of Azure's agent tools (API version 2025-05-01) and of OpenAI's mcp tool.
@pytest.mark.parametrize(
    ("tools", "resources", "expected"),
    [
        (
            [{"type": "function", "function": {"name": "get_price", "parameters": {"properties": {"url": {}}}}}],
            {},
            ["back end of function get_price"],
        ),
        ([{"type": "function", "name": "flat"}], {}, ["back end of function flat"]),
        (
            [{"type": "azure_ai_search"}],
            {"azure_ai_search": {"indexes": [{"index_connection_id": "/c/1", "index_name": "products"}]}},
            ["azure_ai_search: /c/1, products"],
        ),
        (
            [{"type": "bing_grounding", "bing_grounding": {"connections": [{"connection_id": "/c/bing"}]}}],
            {},
            ["bing_grounding: /c/bing"],
        ),
        (
            [{"type": "sharepoint_grounding", "sharepoint_grounding": {"connections": [{"connection_id": "/c/sp"}]}}],
            {},
            ["sharepoint_grounding: /c/sp"],
        ),
        (
            [{"type": "fabric_dataagent", "fabric_dataagent": {"connections": [{"connection_id": "/c/f"}]}}],
            {},
            ["fabric_dataagent: /c/f"],
        ),
        (
            [
                {
                    "type": "openapi",
                    "openapi": {
                        "name": "weather",
                        "spec": {"servers": [{"url": "https://w.example/v1?key=1"}], "info": {"license": {"url": "x"}}},
                        "auth": {"type": "connection", "security_scheme": {"connection_id": "/c/w"}},
                    },
                }
            ],
            {},
            ["openapi: /c/w", "openapi: https://w.example/v1"],
        ),
        (
            [
                {
                    "type": "azure_function",
                    "azure_function": {
                        "function": {"name": "f", "parameters": {}},
                        "input_binding": {
                            "type": "storage_queue",
                            "storage_queue": {"queue_service_endpoint": "https://q.example", "queue_name": "in"},
                        },
                    },
                }
            ],
            {},
            ["azure_function: https://q.example, in"],
        ),
        (
            [{"type": "mcp", "server_label": "x", "server_url": "https://u:p@m.example/sse?t=1", "authorization": "s"}],
            {"mcp": [{"server_label": "x", "headers": {"Authorization": "secret"}}]},
            ["MCP server x", "MCP server x, https://m.example/sse"],
        ),
        (
            [{"type": "connected_agent", "connected_agent": {"id": "asst_9", "name": "Nine"}}],
            {},
            ["connected_agent: Nine, asst_9"],
        ),
        (
            [{"type": "file_search"}],
            {
                "file_search": {
                    "vector_stores": [
                        {"configuration": {"data_sources": [{"type": "uri_asset", "uri": "azureml://a/b"}]}}
                    ]
                }
            },
            ["file_search: azureml://a/b"],
        ),
        ([{"type": "never_seen", "deep": [{"er": {"some_connection": {"id": "c1"}}}]}], {}, ["never_seen: c1"]),
        ([{"type": "never_seen"}], {}, ["never_seen: (no name)"]),
    ],
)
def test_each_kind_of_tool(tools: list[Any], resources: dict[str, Any], expected: list[str]) -> None:
    assert said(assistant(tools=tools, tool_resources=resources)) == expected


def test_a_thing_that_several_use_is_told_once_with_all_of_them() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    (one,) = dependencies([assistant("a", tools=[tool, tool]), assistant("b", tools=[tool])])
    assert [(user.id, user.name) for user in one.used_by] == [("a", "A"), ("b", "B")]


def test_no_secret_is_told() -> None:
    tools = [
        {"type": "mcp", "server_url": "https://name:word@h/p?api_key=hidden", "headers": {"Authorization": "hidden"}},
        {"type": "openapi", "openapi": {"spec": {"servers": [{"url": "https://h/?sig=hidden"}]}}},
    ]
    assert "hidden" not in str(dependencies([assistant(tools=tools)]))
    assert "word" not in str(dependencies([assistant(tools=tools)]))


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "connection_id", "function", "name", "url", "id", "x"]), inner, max_size=3
        )
    ),
    max_leaves=10,
)


@examples(60)
@given(_anything, _anything)
def test_no_shape_is_an_error(tools: Any, resources: Any) -> None:
    for one in dependencies([assistant(tools=tools, tool_resources=resources)]):
        assert str(one)


def test_what_agents_refer_to() -> None:
    """By name: what the SDK knows today, and the same words on an agent of tomorrow; not what is built in."""
    definition = {
        "id": "agent_1",
        "name": "Clerk",
        "metadata": {"vault_id": "just a label"},
        "environment_id": "env_1",
        "vault_ids": ["vault_1", "vault_2"],
        "skills": [{"id": "skill_1"}, {"name": "Ledger", "version": 2}, "skill_3", None],
        "tools": [
            {"type": "function", "name": "quote", "parameters": {"properties": {"skill": "x"}}},
            {
                "type": "mcp",
                "server_label": "docs",
                "credential_id": "vcred_1",
                "connection_origin": "environment",
                "transport": {"type": "http", "server_url": "https://k:s@h/a?key=1", "headers": {"vault": "x"}},
                "request_metadata": {"vault": "x"},
            },
            {"type": "mcp", "server_label": "local", "transport": {"type": "stdio", "command": "serve"}},
            {"type": "mcp", "transport": 3},
            {"type": "web_search"},
            {"type": "tool_search"},
            {"type": "automations"},
            {"type": "novel", "index_name": "i"},
            "nonsense",
        ],
    }
    record = Record(kind=Kind.AGENT, id=SourceId("agent_1"), raw=json.dumps(definition).encode())
    found = dependencies([record])
    assert [str(one) for one in found] == [
        "vault credential vcred_1",
        "environment env_1",
        "back end of function quote",
        "MCP server (no name)",
        "MCP server docs, https://h/a",
        "MCP server local, serve",
        "novel: i",
        "skill Ledger",
        "skill skill_1",
        "skill skill_3",
        "vault vault_1",
        "vault vault_2",
    ]
    assert {user.name for one in found for user in one.used_by} == {"Clerk"}


@pytest.mark.parametrize(
    "inner", [{}, {"type": "function"}, {"type": "odd", "deep": [[[]]]}, {"type": "odd", "url": "u"}]
)
@sweep("kind", [Kind.ASSISTANT, Kind.AGENT])
def test_a_record_is_read_once_however_many_tools_it_has(inner: dict[str, Any], kind: Kind) -> None:
    def made(n: int) -> list[Record]:
        raw = json.dumps({"id": "a", "tools": [inner] * n}).encode()
        return [Record(kind=kind, id=SourceId("a"), raw=raw)]

    assert_linear(dependencies, made, 1000)


def test_of_very_many_users_and_things_the_first_are_told() -> None:
    tool = {"type": "mcp", "server_label": "x"}
    found = dependencies([assistant(f"asst_{n:04}", tools=[tool]) for n in range(USERS + 5)])
    assert [len(one.used_by) for one in found] == [USERS]
    many = [{"type": "function", "function": {"name": f"f{n}"}} for n in range(5_000)]
    assert len(dependencies([assistant(tools=many)])) == 2_000
    assert len(said(assistant(tools=[{"type": "odd", "url": "u" * 100_000, "uri": ["v" * 1000] * 1000}]))[0]) < 300
