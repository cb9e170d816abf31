"""/agents, through the official SDK wherever it lets a request through."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.sandbox.wire import Answer, ask

BETA = {"OpenAI-Beta": "agents=v1"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("agents"), behaviour=PROFILES["openai-today"]) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[OpenAI]:
    with OpenAI(api_key="sk-source-0001", base_url=server.url, max_retries=0, _strict_response_validation=True) as made:
        yield made


def call(server: Running, method: str, path: str, body: object = None) -> Answer:
    return ask(server.url, method, path, body, headers=BETA)


def test_every_field(client: OpenAI) -> None:
    tools: Any = [
        {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "defer_loading": True},
        {"type": "tool_search"},
        {"type": "programmatic_tool_calling", "enabled": False},
        {
            "type": "mcp",
            "server_label": "docs",
            "transport": {"type": "http", "server_url": "https://mcp.example/", "headers": {"X-Team": "a"}},
            "allowed_tools": ["read"],
            "connection_origin": "environment",
            "credential_id": "vcred_1",
            "request_metadata": {"a": 1},
            "required": True,
        },
        {
            "type": "mcp",
            "server_label": "local",
            "transport": {"type": "stdio", "command": "serve", "cwd": "/workspace", "args": ["-v"], "env_vars": ["A"]},
        },
        {
            "type": "web_search",
            "allowed_domains": ["example.com"],
            "context_size": "high",
            "location": {"country": "CH"},
            "mode": "cached",
        },
        {"type": "computer_use", "include_screenshots": True},
        {"type": "automations"},
    ]
    made = client.beta.agents.create(
        model="gpt-5.1",
        name="Everything",
        instructions="i",
        metadata={"k": "v"},
        tools=tools,
        reasoning={"effort": "high", "summary": "auto"},
        text={"format": {"type": "json_schema", "schema": {"type": "object"}}, "verbosity": "low"},
        multi_agent={"enabled": True, "max_concurrent_subagents": 3},
        compaction={"async_": True},
        experimental={"time_awareness": True},
        service_tier="flex",
    )
    told: dict[str, Any] = made.to_dict()
    local = {
        **tools[4],
        "allowed_tools": None,
        "connection_origin": "service",
        "credential_id": None,
        "request_metadata": {},
        "required": False,
    }
    assert told["tools"] == [*tools[:4], local, *tools[5:]]
    assert {key: told[key] for key in ("compaction", "experimental", "multi_agent", "service_tier")} == {
        "compaction": {"async": True},
        "experimental": {"time_awareness": True},
        "multi_agent": {"enabled": True, "max_concurrent_subagents": 3},
        "service_tier": "flex",
    }
    assert told["text"] == {"format": {"type": "json_schema", "schema": {"type": "object"}}, "verbosity": "low"}
    assert client.beta.agents.retrieve(made.id) == made
    again = client.beta.agents.create(**{key: told[key] for key in told if key not in OWN})
    assert {key: again.to_dict()[key] for key in told if key not in OWN} == {
        key: told[key] for key in told if key not in OWN
    }


OWN = ("id", "object", "created_at", "updated_at")


def test_defaults_update_list_and_delete(client: OpenAI) -> None:
    bare = client.beta.agents.create(model="gpt-5.1")
    assert bare.to_dict() == {
        "id": bare.id,
        "object": "agent",
        "created_at": bare.created_at,
        "updated_at": bare.updated_at,
        "name": None,
        "instructions": None,
        "model": "gpt-5.1",
        "metadata": {},
        "tools": [],
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "reasoning": {"effort": None, "summary": None},
        "multi_agent": {"enabled": False, "max_concurrent_subagents": None},
        "service_tier": "auto",
        "compaction": {"async": False},
        "experimental": {"time_awareness": False},
    }
    changed = client.beta.agents.update(
        bare.id, name="n", reasoning={"effort": "low"}, multi_agent={"enabled": True}, metadata={"a": "b"}
    )
    assert (changed.name, changed.reasoning.effort, changed.multi_agent.max_concurrent_subagents) == ("n", "low", 6)
    back = client.beta.agents.update(bare.id, name=None, reasoning=None, metadata=None, multi_agent=None)
    assert back.to_dict() == {**bare.to_dict(), "updated_at": back.updated_at}
    others = [client.beta.agents.create(model="gpt-5.1", name=str(number)).id for number in range(3)]
    assert [each.id for each in client.beta.agents.list(limit=2, order="asc")][-4:] == [bare.id, *others]
    assert [each.id for each in client.beta.agents.list(limit=1)][:2] == others[:0:-1]
    assert client.beta.agents.delete(bare.id).deleted
    with pytest.raises(openai.NotFoundError, match="not found"):
        client.beta.agents.retrieve(bare.id)


def test_environment_templates(client: OpenAI) -> None:
    templates = client.beta.agents.environments.templates
    inline: Any = {"type": "inline", "name": "n", "description": "d"}
    source: Any = {"source": {"type": "base64", "media_type": "application/zip", "data": "eA=="}}
    settings: Any = {
        "name": "Desk",
        "packages": {"python": ["a"], "system": ["b"], "npm": ["c"]},
        "capability_directories": ["/workspace/c"],
        "network": {"access": "restricted", "allowed_domains": ["a.example"]},
        "files": [{"type": "file_id", "file_id": "file-1", "path": "/workspace/a"}],
        "skills": [{"type": "skill_reference", "skill_id": "skill_1", "version": "2"}],
    }
    made = templates.create(**settings, plugins=[{**inline, **source}], env={"A": "b"})
    told: dict[str, Any] = made.to_dict()
    assert told == {**told, **settings, "plugins": [inline]}
    file: Any = {"type": "inline", "data": "eA==", "path": "/workspace/b"}
    changed = templates.update(made.id, name=None, files=[file], skills=[{**inline, **source}])
    assert changed.to_dict() == {
        **told,
        "updated_at": changed.updated_at,
        "name": None,
        "files": [{"type": "inline", "path": "/workspace/b", "size_bytes": 1}],
        "skills": [inline],
    }
    other = templates.create(setup_commands=[{"command": "c", "cwd": None}])
    assert [each.id for each in templates.list(limit=1)] == [other.id, made.id]
    assert templates.retrieve(made.id) == changed
    assert templates.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError, match="not found"):
        templates.retrieve(made.id)


FUNCTION = {"type": "function", "name": "f", "description": "d", "parameters": {}}
MCP = {"type": "mcp", "server_label": "s", "transport": {"type": "http", "server_url": "u"}}


def without(tool: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in tool.items() if name != key}


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"model": "gpt-4"}, "model", "model_not_found"),
        *(
            ({key: None}, key, "unknown_parameter")
            for key in ("temperature", "top_p", "description", "tool_resources", "environment", "response_format")
        ),
        ({"tools": [{"type": "file_search"}]}, "tools[0].type", "invalid_value"),
        ({"tools": [{"type": "code_interpreter"}]}, "tools[0].type", "invalid_value"),
        ({"tools": [{**FUNCTION, "strict": True}]}, "tools[0].strict", "unknown_parameter"),
        *(
            ({"tools": [without(FUNCTION, key)]}, f"tools[0].{key}", "missing_required_parameter")
            for key in ("name", "description", "parameters")
        ),
        ({"tools": [{**FUNCTION, "description": None}]}, "tools[0].description", "invalid_type"),
        ({"tools": [without(MCP, "transport")]}, "tools[0].transport", "missing_required_parameter"),
        ({"tools": [{**MCP, "authorization": "secret"}]}, "tools[0].authorization", "unknown_parameter"),
        ({"tools": [{**FUNCTION, "description": "d" * 3_200_000}]}, "tools", "invalid_value"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format.type", "invalid_value"),
        ({"multi_agent": {}}, "multi_agent.enabled", "missing_required_parameter"),
        ({"metadata": {"k": 1}}, "metadata.k", "invalid_type"),
    ],
)
def test_refusals(server: Running, change: dict[str, object], param: str, code: str) -> None:
    answer = call(server, "POST", "/agents", {"model": "gpt-5.1", **change})
    assert (answer.status, answer.error["param"], answer.error["code"]) == (400, param, code)


def test_the_version_has_to_be_asked_for(server: Running) -> None:
    for version in ("assistants=v2", ""):
        answer = ask(server.url, "GET", "/agents", headers={"OpenAI-Beta": version})
        assert (answer.status, answer.error["code"]) == (400, "invalid_beta")


@pytest.mark.parametrize("profile", ["openai-2025", "look-alike"])
def test_where_there_are_no_agents(box: Running, profile: str) -> None:
    behaviour = PROFILES[profile]
    assert behaviour.responses_api
    box.behave(agents_api=behaviour.agents_api)
    answer = call(box, "GET", "/agents")
    assert (answer.status, answer.error["message"]) == (404, "Invalid URL (GET /v1/agents)")
