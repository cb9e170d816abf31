"""What becomes of assistants and agents in a new Foundry project: a test for each row of Microsoft's table of what goes
where, and what is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.dialects.foundry_tools import ASSISTANT_TOOLS, OPENAI_AGENT_TOOLS
from holdall.dialects.loss import Severity, Why
from holdall.dialects.prompt_agents import FOUNDRY_AGENTS, connections, flat, impossible, version_body
from holdall.dialects.registry import AS_IS, definition, dispensable, table
from holdall.dialects.rules import CLONED_FROM, OPERATION, TRUE_NAME, Form, Request, Targets
from holdall.importer.plan.difference import differences
from holdall.model import Kind, Record, SourceId, TargetId
from holdall.sandbox.service.foundry_definitions import VERSION, read
from holdall.sandbox.service.switches import Switches
from tests.growth import assert_linear
from tests.sweep import examples

ARM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.CognitiveServices/accounts/a/projects/p/connections/"
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
TARGETS = Targets(
    stores={SourceId("vs_1"): TargetId("VS")},
    files={SourceId("file_1"): TargetId("assistant-F1"), SourceId("file_2"): TargetId("assistant-F2")},
    connections={"bing": "new-bing", "search": ARM + "new-search"},
)


def record(kind: Kind, fields: dict[str, Any]) -> Record:
    return Record(kind=kind, id=SourceId(str(fields["id"])), raw=json.dumps(fields).encode())


def made(kind: Kind, fields: dict[str, Any], **more: Any) -> Request:
    asked = {"prefix": "", "operation": "op", "targets": TARGETS, "table": FOUNDRY_AGENTS, **more}
    found = definition(record(kind, fields), **asked)
    assert found.update is None
    assert found.body["kind"] == "prompt"
    # What another Foundry project gave out, this one takes; all else is made by the table.
    if kind is not Kind.FOUNDRY_AGENT:
        read(json.dumps(version_body(found.body)).encode(), VERSION, Switches())  # which refuses the unknown
    return found


def assistant(losses: list[tuple[Why, str]] | None = None, /, **fields: Any) -> dict[str, Any]:
    """What becomes of an assistant with these fields besides a model, without name and metadata."""
    return bare(made(Kind.ASSISTANT, {"id": "asst_1", "model": "gpt-4o", **fields}), losses)


def bare(found: Request, losses: list[tuple[Why, str]] | None) -> dict[str, Any]:
    assert [(loss.why, loss.field) for loss in found.losses] == (losses or [])
    return {field: value for field, value in found.create.items() if field not in ("kind", "model", "name", "metadata")}


def tool(asked: dict[str, Any], losses: list[tuple[Why, str]] | None = None, **resources: Any) -> Any:
    """What becomes of one tool, or None."""
    tools = assistant(losses, tools=[asked], tool_resources=resources).get("tools")
    return tools and tools[0]


# -- an assistant or classic agent, row by row ---------------------------------------------------------


def test_name_id_and_dates() -> None:
    found = made(Kind.ASSISTANT, {"id": "asst_1", "model": "m", "name": "Front desk", "created_at": 1})
    assert found.body["name"] == "Front-desk"
    assert found.body["metadata"] == {CLONED_FROM: "asst_1", OPERATION: "op", TRUE_NAME: "Front desk"}
    assert [(loss.why, loss.field) for loss in found.losses] == [(Why.NAME_CHANGED, "name")]
    fits = made(Kind.ASSISTANT, {"id": "asst_1", "model": "m", "name": "desk"}, prefix="my-")
    assert (fits.body["name"], fits.body["metadata"]) == ("my-desk", {CLONED_FROM: "asst_1", OPERATION: "op"})
    assert fits.losses == []
    nameless = made(Kind.ASSISTANT, {"id": "asst_1", "model": "m", "name": None})
    assert (nameless.body["name"], nameless.losses) == ("asst-1", [])


def test_the_name_chosen_for_the_bundle_counts() -> None:
    chosen = Targets(names={SourceId("asst_1"): "desk-2"})
    found = made(Kind.ASSISTANT, {"id": "asst_1", "model": "m", "name": "desk"}, targets=chosen)
    assert (found.body["name"], found.body["metadata"][TRUE_NAME]) == ("desk-2", "desk")


def test_description_and_metadata() -> None:
    found = made(Kind.ASSISTANT, {"id": "a", "model": "m", "description": "D" * 600, "metadata": {"team": "x"}})
    assert found.body["description"] == "D" * 512
    assert found.body["metadata"]["team"] == "x"
    assert [loss.why for loss in found.losses] == [Why.OVER_LIMIT]


def test_where_metadata_is_full_our_marks_give_way_and_no_update_follows() -> None:
    own = {f"k{number}": "v" for number in range(16)}
    found = made(Kind.ASSISTANT, {"id": "a", "model": "m", "name": "Front desk", "metadata": own})
    assert found.body["metadata"] == own
    assert [(loss.why, loss.why.severity) for loss in found.losses] == [
        (Why.VALUE_CHANGED, Severity.MINOR),  # the name, which is nowhere now
        (Why.MARKS_LEFT_OUT, Severity.NOTE),
    ]
    one_free = made(Kind.ASSISTANT, {"id": "a", "model": "m", "metadata": dict(list(own.items())[:15])})
    assert one_free.body["metadata"][CLONED_FROM] == "a"
    assert OPERATION not in one_free.body["metadata"]


def test_model() -> None:
    found = made(Kind.ASSISTANT, {"id": "a", "model": "gpt-4o"}, model="my-deployment")
    assert found.body["model"] == "my-deployment"


def test_instructions_and_temperature_of_which_a_1_is_left_out() -> None:
    assert assistant(instructions="Be kind.", temperature=0.3, top_p=1.0) == {
        "instructions": "Be kind.",
        "temperature": 0.3,
    }
    assert assistant([(Why.TEMPLATE, "instructions")], instructions="Greet {{name}}.")


def test_what_the_mapped_model_refuses_is_left_out() -> None:
    found = made(Kind.ASSISTANT, {"id": "a", "model": "gpt-4o", "temperature": 0.3}, model="gpt-5.1")
    assert bare(found, [(Why.MODEL_REFUSES, "temperature")]) == {}


def test_reasoning_effort_and_response_format() -> None:
    found = made(Kind.ASSISTANT, {"id": "a", "model": "o3", "reasoning_effort": "low", "response_format": "auto"})
    assert bare(found, []) == {"reasoning": {"effort": "low"}}
    asked = {"type": "json_schema", "json_schema": {"name": "an answer", "schema": SCHEMA}}
    assert assistant([(Why.VALUE_CHANGED, "response_format.json_schema.name")], response_format=asked) == {
        "text": {"format": {"type": "json_schema", "name": "an_answer", "schema": SCHEMA}}
    }


def test_function() -> None:
    asked = {"type": "function", "function": {"name": "f", "description": "F."}}
    empty = {"type": "object", "properties": {}}
    assert tool(asked) == {
        "type": "function",
        "name": "f",
        "description": "F.",
        "parameters": empty,
        "strict": False,
    }


def test_file_search_and_its_stores() -> None:
    ranking = {"ranker": "default_2024_08_21", "score_threshold": 0.5}
    asked = {"type": "file_search", "file_search": {"max_num_results": 7, "ranking_options": ranking}}
    losses = [(Why.VALUE_CHANGED, "tools[0].file_search.ranking_options.ranker")]
    assert tool(asked, losses, file_search={"vector_store_ids": ["vs_1"]}) == {
        "type": "file_search",
        "vector_store_ids": ["VS"],
        "max_num_results": 7,
        "ranking_options": {"ranker": "auto", "score_threshold": 0.5},
    }
    assert tool({"type": "file_search"}, [(Why.UNUSABLE, "tools[0]")]) is None


def test_code_interpreter_and_its_files() -> None:
    asked = {"type": "code_interpreter"}
    container = {"type": "auto", "file_ids": ["assistant-F1", "assistant-F2"]}
    found = tool(asked, code_interpreter={"file_ids": ["file_1", "file_gone", "file_2"]})
    assert found == {"type": "code_interpreter", "container": container}
    assert tool(asked) == {"type": "code_interpreter", "container": {"type": "auto"}}


def test_vector_stores_and_data_sources_by_the_address_of_an_asset() -> None:
    assets = [{"uri": "azureml://x", "type": "uri_asset"}]
    assistant(
        [(Why.LEFT_OUT, "tool_resources.code_interpreter.data_sources"), (Why.UNUSABLE, "tools[0]")][:1],
        tools=[{"type": "code_interpreter"}],
        tool_resources={"code_interpreter": {"data_sources": assets}},
    )
    stores = [{"name": "s", "configuration": {"data_sources": assets}}]
    losses = [(Why.LEFT_OUT, "tool_resources.file_search.vector_stores"), (Why.UNUSABLE, "tools[0]")]
    assert tool({"type": "file_search"}, losses, file_search={"vector_stores": stores}) is None


@pytest.mark.parametrize("kind", ["connected_agent", "deep_research", "event_binding", "output_binding"])
def test_connected_agent_and_others_have_no_home_but_advice(kind: str) -> None:
    asked = {"type": kind, kind: {"id": "asst_2", "name": "n", "description": "d"}}
    found = made(Kind.ASSISTANT, {"id": "a", "model": "m", "tools": [asked]})
    [loss] = found.losses
    assert "tools" not in found.body
    assert (loss.why, loss.why.severity) == (Why.UNKNOWN_TOOL, Severity.MAJOR)
    assert loss.text.startswith(f"left out: Foundry agents have no {kind}; ")


def test_azure_ai_search_and_its_index() -> None:
    index = {"index_connection_id": ARM + "Search", "index_name": "i", "query_type": "simple", "top_k": 5}
    found = tool({"type": "azure_ai_search"}, azure_ai_search={"indexes": [index]})
    assert found == {
        "type": "azure_ai_search",
        "azure_ai_search": {
            "indexes": [
                {
                    "project_connection_id": ARM + "new-search",
                    "index_name": "i",
                    "query_type": "simple",
                    "top_k": 5,
                }
            ]
        },
    }
    two = [index, {**index, "index_name": "j"}]
    losses = [(Why.LEFT_OUT, "tool_resources.azure_ai_search.indexes")]
    assert tool({"type": "azure_ai_search"}, losses, azure_ai_search={"indexes": two}) == found
    assert tool({"type": "azure_ai_search"}, [(Why.UNKNOWN_TOOL, "tools[0]")]) is None
    asset = [{"index_asset_id": "i/versions/1"}]
    assert tool({"type": "azure_ai_search"}, [(Why.LEFT_OUT, "tools[0]")], azure_ai_search={"indexes": asset}) is None
    losses = [(Why.UNUSABLE, "tool_resources.azure_ai_search")]
    assert assistant(losses, tool_resources={"azure_ai_search": {"indexes": [index]}}) == {}


def test_bing_grounding() -> None:
    more = {"market": "en-GB", "set_lang": "en", "count": 3, "freshness": "Week"}
    asked = {"search_configurations": [{"connection_id": "bing", **more}]}
    assert tool({"type": "bing_grounding", "bing_grounding": asked}) == {
        "type": "bing_grounding",
        "bing_grounding": {"search_configurations": [{"project_connection_id": "new-bing", **more}]},
    }
    # As the first versions of Agents (classic) wrote it.
    early = {"connections": [{"connection_id": "bing"}]}
    assert tool({"type": "bing_grounding", "bing_grounding": early})["bing_grounding"] == {
        "search_configurations": [{"project_connection_id": "new-bing"}]
    }


def test_bing_custom_search() -> None:
    asked = {"search_configurations": [{"connection_id": "bing", "instance_name": "i"}]}
    new = {"search_configurations": [{"project_connection_id": "new-bing", "instance_name": "i"}]}
    found = tool({"type": "bing_custom_search", "bing_custom_search": asked})
    assert found == {"type": "bing_custom_search_preview", "bing_custom_search_preview": new}


@pytest.mark.parametrize("kind", ["sharepoint_grounding", "fabric_dataagent"])
def test_sharepoint_grounding_and_fabric_dataagent(kind: str) -> None:
    preview = f"{kind}_preview"
    assert tool({"type": kind, kind: {"connections": [{"connection_id": "bing"}]}}) == {
        "type": preview,
        preview: {"project_connections": [{"project_connection_id": "new-bing"}]},
    }


def test_openapi() -> None:
    spec = {"openapi": "3.0.0", "paths": {"/x": {"get": {"connection_id": "of the owner's"}}}}
    auth = {"type": "connection", "security_scheme": {"connection_id": "bing"}}
    asked = {"name": "o", "spec": spec, "auth": auth, "default_params": ["p"], "functions": [{"name": "read-only"}]}
    assert tool({"type": "openapi", "openapi": asked}) == {
        "type": "openapi",
        "openapi": {
            "name": "o",
            "spec": spec,
            "auth": {"type": "project_connection", "security_scheme": {"project_connection_id": "new-bing"}},
            "default_params": ["p"],
        },
    }
    plain = {"name": "o", "spec": spec, "auth": {"type": "anonymous"}}
    assert tool({"type": "openapi", "openapi": plain}) == {"type": "openapi", "openapi": plain}


def test_azure_function() -> None:
    queue = {"type": "storage_queue", "storage_queue": {"queue_service_endpoint": "https://q", "queue_name": "n"}}
    asked = {
        "type": "azure_function",
        "azure_function": {
            "function": {"name": "f", "parameters": SCHEMA},
            "input_binding": queue,
            "output_binding": queue,
        },
    }
    assert tool(asked) == asked


def test_mcp_with_what_its_resources_say() -> None:
    asked = {"type": "mcp", "server_label": "l", "server_url": "https://m", "allowed_tools": ["t"]}
    resources = [
        {"server_label": "other", "headers": {"X-Other": "s3cret"}},
        {"server_label": "l", "headers": {"Authorization": "s3cret"}, "require_approval": "never"},
    ]
    found = made(Kind.ASSISTANT, {"id": "a", "model": "m", "tools": [asked], "tool_resources": {"mcp": resources}})
    unused, loss = found.losses
    assert found.body["tools"] == [{**asked, "require_approval": "never"}]
    assert (unused.why, unused.field) == (Why.UNUSABLE, "tool_resources.mcp[0]")
    assert (loss.why, loss.field) == (Why.SECRET, "tool_resources.mcp[1].headers")
    assert "Authorization" in loss.text
    assert "s3cret" not in repr(found)
    by_name = {"always": {"tool_names": ["t"]}}
    asked = {**asked, "authorization": "s3cret"}
    losses = [(Why.SECRET, "tools[0].authorization")]
    made_of = tool(asked, losses, mcp=[{"server_label": "l", "headers": {}, "require_approval": by_name}])
    assert made_of["require_approval"] == by_name
    toolbox = {"type": "mcp", "server_label": "l", "server_url": "https://a/api/projects/p/toolboxes/tb/mcp"}
    assert tool(toolbox, [(Why.LEFT_OUT, "tools[0]")]) is None


def test_browser_automation_and_computer_use() -> None:
    browser = {"type": "browser_automation", "browser_automation": {"connection": {"id": "bing"}}}
    new = {"connection": {"project_connection_id": "new-bing"}}
    assert tool(browser) == {"type": "browser_automation", "browser_automation": new}
    screen = {"display_width": 1024, "display_height": 768, "environment": "browser"}
    found = tool({"type": "computer_use_preview", "computer_use_preview": screen})
    assert found == {"type": "computer_use_preview", **screen}


def test_an_unknown_tool_and_an_unknown_field() -> None:
    losses = [(Why.UNKNOWN_TOOL, "tools[0]"), (Why.UNKNOWN_FIELD, "truncation_strategy")]
    assert assistant(losses, tools=[{"type": "telepathy"}], truncation_strategy="auto") == {}


# -- connections ---------------------------------------------------------------------------------------


def bing(connection: str) -> dict[str, Any]:
    return {
        "type": "bing_grounding",
        "bing_grounding": {"search_configurations": [{"connection_id": connection}]},
    }


def test_a_connection_without_one_at_the_destination_is_named_and_its_tool_is_lost() -> None:
    found = made(Kind.ASSISTANT, {"id": "a", "model": "m", "tools": [bing(ARM + "other")]})
    [loss] = found.losses
    assert (loss.why, loss.field, "tools" in found.body) == (Why.NO_CONNECTION, "tools[0]", False)
    assert "--map-connection other=NEW" in loss.text


@pytest.mark.parametrize("old", ["bing", "BING", ARM + "bing", ARM + "Bing"])
@pytest.mark.parametrize("key", ["bing", ARM.replace("/projects/p", "/projects/q") + "bing"])
def test_connections_are_mapped_by_their_names(old: str, key: str) -> None:
    found = made(
        Kind.ASSISTANT, {"id": "a", "model": "m", "tools": [bing(old)]}, targets=Targets(connections={key: "n"})
    )
    config = {"project_connection_id": "n"}
    assert found.body["tools"][0]["bing_grounding"] == {"search_configurations": [config]}


def test_in_one_project_connections_stay() -> None:
    found = made(Kind.ASSISTANT, {"id": "a", "model": "m", "tools": [bing("c")]}, targets=Targets(connections=None))
    assert found.losses == []
    config = {"project_connection_id": "c"}
    assert found.body["tools"][0]["bing_grounding"] == {"search_configurations": [config]}


def test_the_connections_that_a_record_names() -> None:
    resources = {"azure_ai_search": {"indexes": [{"index_connection_id": ARM + "search"}]}}
    tools = [
        bing(ARM + "b"),
        bing("b"),
        {"type": "browser_automation", "browser_automation": {"connection": {"id": "c"}}},
    ]
    fields = {"id": "a", "tools": tools, "tool_resources": resources}
    assert connections(record(Kind.ASSISTANT, fields)) == ["b", "c", "search"]
    assert connections(record(Kind.FOUNDRY_AGENT, agent(tools=[{"type": "a2a", "project_connection_id": "d"}]))) == [
        "d"
    ]
    assert connections(Record(kind=Kind.ASSISTANT, id=SourceId("x"), raw=b"[]")) == []


# -- agents of OpenAI ----------------------------------------------------------------------------------


def openai_agent(losses: list[tuple[Why, str]] | None = None, /, **fields: Any) -> dict[str, Any]:
    return bare(made(Kind.AGENT, {"id": "agent_1", "object": "agent", "model": "gpt-5.1", **fields}), losses)


def test_an_openai_agent_and_its_settings() -> None:
    asked = {
        "instructions": "Hi.",
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_schema", "schema": SCHEMA}, "verbosity": "medium"},
        "multi_agent": {"enabled": False},
        "service_tier": "auto",
        "created_at": 1,
        "updated_at": 2,
    }
    assert openai_agent(**asked) == {
        "instructions": "Hi.",
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_schema", "name": "response", "schema": SCHEMA}},
    }
    lost = {"multi_agent": {"enabled": True}, "service_tier": "flex", "text": {"verbosity": "low"}}
    losses = [
        (Why.UNKNOWN_FIELD, "text.verbosity"),
        (Why.LEFT_OUT, "multi_agent"),
        (Why.UNKNOWN_FIELD, "service_tier"),
    ]
    assert openai_agent(losses, **lost) == {}


def test_an_openai_agent_and_its_tools() -> None:
    function = {"type": "function", "name": "f", "description": "", "parameters": SCHEMA, "async": True}
    search = {"type": "web_search", "allowed_domains": ["a.com"], "context_size": "low", "mode": "cached"}
    location = {"country": "DE"}
    tools = [
        {**function, "defer_loading": False},
        {**search, "location": location},
        {"type": "web_search", "mode": "disabled"},
        {"type": "tool_search"},
        {"type": "programmatic_tool_calling", "enabled": True},
        {"type": "programmatic_tool_calling", "enabled": False},
    ]
    assert openai_agent(tools=tools)["tools"] == [
        {**function, "strict": False},
        {
            "type": "web_search",
            "filters": {"allowed_domains": ["a.com"]},
            "search_context_size": "low",
            "user_location": {"type": "approximate", "country": "DE"},
            "external_web_access": False,
        },
        {"type": "tool_search"},
        {"type": "programmatic_tool_calling"},
    ]


def test_an_openai_agent_and_its_mcp_servers() -> None:
    http = {"type": "http", "server_url": "https://m", "headers": {"X-Key": "s3cret"}}
    asked = {"type": "mcp", "server_label": "l", "transport": http, "credential_id": "cred_1", "allowed_tools": ["t"]}
    losses = [(Why.SECRET, "tools[0].headers"), (Why.SECRET, "tools[0].credential")]
    assert openai_agent(losses, tools=[asked])["tools"] == [
        {"type": "mcp", "server_label": "l", "allowed_tools": ["t"], "server_url": "https://m"}
    ]
    stdio = {"type": "mcp", "server_label": "l", "transport": {"type": "stdio", "command": "c", "cwd": "/"}}
    losses = [(Why.UNKNOWN_TOOL, f"tools[{number}]") for number in range(3)]
    assert openai_agent(losses, tools=[stdio, {"type": "computer_use"}, {"type": "automations"}]) == {}


# -- agents of another Foundry project -----------------------------------------------------------------


def agent(name: str = "desk", **definition: Any) -> dict[str, Any]:
    latest = {
        "object": "agent.version",
        "id": f"{name}:3",
        "name": name,
        "version": "3",
        "description": "D.",
        "metadata": {"team": "x"},
        "status": "active",
        "agent_guid": "g",
        "definition": {"kind": "prompt", "model": "d1", **definition},
    }
    return {"object": "agent", "id": name, "name": name, "state": "enabled", "versions": {"latest": latest}}


def test_an_agent_is_sent_as_read_but_for_what_it_refers_to() -> None:
    tools = [
        {"type": "file_search", "vector_store_ids": ["vs_1", "{{store}}", "vs_gone"], "filters": None},
        {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file_1"], "memory_limit": "4g"}},
        {"type": "mcp", "server_label": "l", "server_url": "https://m", "headers": {"X": "{{x}}"}},
        {"type": "a2a_preview", "project_connection_id": ARM + "bing"},
        {"type": "of_next_year", "some": {"thing": 1}},
    ]
    asked = agent(
        tools=tools,
        instructions="Greet {{name}}.",
        temperature=1,
        structured_inputs={"name": {"default_value": None, "required": True}},
    )
    found = made(Kind.FOUNDRY_AGENT, asked)
    assert found.losses == []
    assert version_body(found.body) == {
        "definition": {
            "kind": "prompt",
            "model": "d1",
            "instructions": "Greet {{name}}.",
            "temperature": 1,
            "structured_inputs": {"name": {"required": True}},
            "tools": [
                {"type": "file_search", "vector_store_ids": ["VS", "{{store}}"]},
                {
                    "type": "code_interpreter",
                    "container": {"type": "auto", "file_ids": ["assistant-F1"], "memory_limit": "4g"},
                },
                tools[2],
                {"type": "a2a_preview", "project_connection_id": "new-bing"},
                tools[4],
            ],
        },
        "description": "D.",
        "metadata": {"team": "x", CLONED_FROM: "desk", OPERATION: "op"},
    }


def test_what_is_bound_to_the_project_is_lost_in_another_and_stays_in_the_same() -> None:
    bound = [
        {"type": "memory_search_preview", "memory_store_name": "m", "scope": "s"},
        {"type": "mcp", "server_label": "l", "server_url": "https://a/api/projects/p/toolboxes/tb/mcp"},
        {"type": "a2a", "project_connection_id": "other"},
    ]
    more = {"skills": [{"name": "s", "version": "1"}], "rai_config": {"rai_policy_name": "/x/raiPolicies/strict"}}
    asked = agent(tools=bound, **more)
    losses = [
        (Why.LEFT_OUT, "tools[0]"),
        (Why.LEFT_OUT, "tools[1]"),
        (Why.NO_CONNECTION, "tools[2]"),
        (Why.LEFT_OUT, "skills"),
        (Why.LEFT_OUT, "rai_config"),
    ]
    found = made(Kind.FOUNDRY_AGENT, asked)
    assert bare(found, losses) == {"description": "D.", "tools": []}
    assert "strict" in found.losses[-1].text
    same = made(Kind.FOUNDRY_AGENT, asked, targets=Targets(connections=None))
    assert bare(same, []) == {"description": "D.", "tools": bound, **more}
    assert bare(made(Kind.FOUNDRY_AGENT, asked, table=AS_IS), []) == bare(same, [])


def test_a_mapped_deployment_and_what_it_refuses() -> None:
    found = made(Kind.FOUNDRY_AGENT, agent(temperature=0.5, reasoning=None), model="gpt-5.1")
    assert (found.body["model"], "temperature" in found.body) == ("gpt-5.1", False)
    assert [loss.why for loss in found.losses] == [Why.MODEL_REFUSES]


def test_the_real_name_of_a_copy_goes_on() -> None:
    asked = agent("Front-desk")
    asked["versions"]["latest"]["metadata"] = {TRUE_NAME: "Front desk", CLONED_FROM: "asst_0"}
    found = made(Kind.FOUNDRY_AGENT, asked)
    assert (found.body["name"], found.body["metadata"][TRUE_NAME]) == ("Front-desk", "Front desk")
    assert [loss.why for loss in found.losses] == [Why.MARKS_REPLACED]


@pytest.mark.parametrize("kind", ["hosted", "workflow", "external", "voice", None])
def test_agents_that_no_definition_alone_makes(kind: str | None) -> None:
    assert impossible(record(Kind.FOUNDRY_AGENT, agent(kind=kind)))
    assert impossible(record(Kind.FOUNDRY_AGENT, agent())) == ""
    assert impossible(record(Kind.ASSISTANT, {"id": "a"})) == ""
    assert impossible(record(Kind.AGENT, {"id": "a"})) == "no model, which is required"
    assert impossible(record(Kind.AGENT, {"id": "a", "model": "m"})) == ""


@pytest.mark.parametrize("odd", [{}, {"versions": []}, {"versions": {"latest": 3}}, {"definition": "x", "name": 5}])
def test_an_odd_answer_is_an_agent_without_a_definition(odd: dict[str, Any]) -> None:
    assert flat(odd) == {"name": odd.get("name"), "description": None, "metadata": None}
    assert impossible(record(Kind.FOUNDRY_AGENT, {"id": "x", **odd}))


def test_the_flat_form_of_one_version_and_the_way_back() -> None:
    version = agent()["versions"]["latest"]
    assert flat(version) == flat(agent())
    assert version_body(flat(version)) == {field: version[field] for field in ("definition", "description", "metadata")}
    hostile = {"name": "n", "definition": {"kind": "prompt", "name": "other", "metadata": {"a": "b"}}}
    assert flat(hostile) == {"kind": "prompt", "name": "n", "description": None, "metadata": None}


def test_the_form_says_which_destination_it_is() -> None:
    assert table(Form.FOUNDRY, "https://a.services.ai.azure.com/api/projects/p") == FOUNDRY_AGENTS
    assert (FOUNDRY_AGENTS.stores, FOUNDRY_AGENTS.batch_files) == (1, 500)


# -- anything ------------------------------------------------------------------------------------------

_KEYS = [
    "type",
    "name",
    "id",
    "connection",
    "connections",
    "connection_id",
    "server_label",
    "file_ids",
    "headers",
    "search_configurations",
    "security_scheme",
    "auth",
    "indexes",
    "transport",
    "json_schema",
    "format",
]
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "auto", "{{x}}", "vs_1", "file_1", "bing", "l"]),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(
            st.sampled_from(_KEYS),
            inside,
            max_size=4,
        )
    ),
    max_leaves=12,
)
TYPES = [*ASSISTANT_TOOLS.kinds, *OPENAI_AGENT_TOOLS.kinds]
_ONE = {"connection_id": "bing", "id": "bing", "instance_name": "i", "audience": "a"}
_QUEUE = {"type": "storage_queue", "storage_queue": {"queue_service_endpoint": "q", "queue_name": "n"}}
# What any tool may need, so that one wrong thing in it is the only one.
_WHOLE: dict[str, Any] = {
    "name": "f",
    "parameters": SCHEMA,
    "server_label": "l",
    "server_url": "https://m",
    "connections": [_ONE],
    "search_configurations": [_ONE],
    "connection": _ONE,
    "indexes": [_ONE],
    "spec": {},
    "function": {"name": "f", "parameters": SCHEMA},
    "auth": {"type": "connection", "security_scheme": _ONE},
    "input_binding": _QUEUE,
    "output_binding": _QUEUE,
    "display_width": 1,
    "display_height": 1,
    "environment": "mac",
    "transport": {"type": "http", "server_url": "u"},
    "file_ids": ["file_1"],
    "vector_store_ids": ["vs_1"],
    "container": {"type": "auto", "file_ids": ["file_1"]},
}


def spoiled(kind: str, keys: list[str], value: Any) -> dict[str, Any]:
    """A tool of that kind with ``value`` where ``keys`` lead."""
    made: dict[str, Any] = json.loads(json.dumps({**_WHOLE, kind: _WHOLE, "type": kind}))
    inside = made
    for key in keys:
        if not isinstance(inside.get(key), dict):
            inside[key] = value
            break
        inside = inside[key]
    return made


TOOL = st.builds(spoiled, st.sampled_from(TYPES), st.lists(st.sampled_from([*_WHOLE, *TYPES]), max_size=3), ANY)
FIELDS = st.fixed_dictionaries(
    {"id": st.just("x"), "model": st.just("m"), "tools": st.lists(TOOL, min_size=1, max_size=4) | ANY},
    optional={
        "tool_resources": st.dictionaries(st.sampled_from(TYPES), ANY | st.just(_WHOLE), max_size=3) | ANY,
        **dict.fromkeys(("name", "instructions", "text", "reasoning", "metadata", "response_format"), ANY),
    },
)


@given(kind=st.sampled_from([Kind.ASSISTANT, Kind.AGENT, Kind.FOUNDRY_AGENT]), fields=FIELDS)
@examples(200)
def test_of_anything_a_version_is_made_that_the_service_takes(kind: Kind, fields: dict[str, Any]) -> None:
    if kind is Kind.FOUNDRY_AGENT:
        latest = {"definition": {**fields, "kind": "prompt"}, "metadata": fields.get("metadata")}
        fields = {"id": "x", "name": "x", "versions": {"latest": latest}}
    found = made(kind, fields)
    body = version_body(found.body)
    assert json.loads(json.dumps(body)) == body
    assert all(isinstance(text, str) for text in body["metadata"].values())
    connections(record(kind, fields))
    expected = found.body
    assert differences(expected, flat({"name": expected["name"], **body}), kind=Kind.FOUNDRY_AGENT, **ALIKE) == []


ALIKE: dict[str, Any] = {"source": SourceId("x"), "target": None, "name": None}


MANY: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "connections": (bing("other"), {}),
    "servers": ({"type": "mcp", "server_label": "l", "server_url": "u", "headers": {"X": "y"}}, {}),
    "resources": (
        {"type": "mcp", "server_label": "l", "server_url": "u"},
        {"mcp": {"server_label": "l", "headers": {"X": "y"}}},
    ),
    "indexes": ({"type": "azure_ai_search"}, {"azure_ai_search": {"indexes": {"index_connection_id": "other"}}}),
}


@pytest.mark.parametrize("which", MANY)
def test_many_tools_that_are_lost_cost_no_more_each(which: str) -> None:
    asked, resources = MANY[which]

    def many(n: int) -> dict[str, Any]:
        listed = {
            kind: [one] * n if kind == "mcp" else {key: [item] * n for key, item in one.items()}
            for kind, one in resources.items()
        }
        return {"id": "a", "model": "m", "tools": [asked] * n, "tool_resources": listed}

    assert_linear(lambda fields: made(Kind.ASSISTANT, fields), many, 150)


def test_what_a_refused_version_can_do_without() -> None:
    body = {"kind": "prompt", "temperature": 1, "top_p": 0.5, "reasoning": {"effort": "medium"}, "tools": []}
    expected = {"temperature": True, "top_p": False, "reasoning": True}
    assert dispensable(Kind.FOUNDRY_AGENT, body) == dispensable(Kind.ASSISTANT, body) == expected


# -- comparison ----------------------------------------------------------------------------------------


def differing(here: dict[str, Any], there: dict[str, Any]) -> list[str]:
    sides = [flat(agent(**fields)) for fields in (here, there)]
    found = differences(*sides, kind=Kind.FOUNDRY_AGENT, source=SourceId("desk"), target=None, name=None)
    return [difference.field for difference in found]


FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ({}, {"temperature": 1, "top_p": 1.0, "tool_choice": "auto", "tools": [], "reasoning": None}),
        ({}, {"text": {"format": {"type": "text"}}, "skills": [], "structured_inputs": {}, "instructions": None}),
        ({"reasoning": {"effort": "low"}}, {"reasoning": {"effort": "low", "summary": None}}),
        ({"tools": [{"type": "function", "name": "f"}]}, {"tools": [FUNCTION]}),
        (
            {"tools": [{"type": "file_search", "vector_store_ids": ["a", "b"]}]},
            {"tools": [{"type": "file_search", "vector_store_ids": ["b", "a"], "max_num_results": 20, "new": 1}]},
        ),
        (
            {"tools": [{"type": "code_interpreter"}]},
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto"}, "name": None}]},
        ),
        ({"skills": [{"name": "s"}]}, {"skills": [{"name": "s", "version": "4"}]}),
        (
            {"tools": [{"type": "sharepoint_grounding_preview", "sharepoint_grounding_preview": {"x": 1}}]},
            {"tools": [{"type": "sharepoint_grounding", "sharepoint_grounding": {"x": 1}}]},
        ),
        ({"tools": [{"type": "a2a_preview"}]}, {"tools": [{"type": "a2a", "a2a_version": "1.0"}]}),
        ({"name": "Desk"}, {"name": "desk"}),
        ({"structured_inputs": {"a": {}}}, {"structured_inputs": {"a": {"required": False}}}),
    ],
)
def test_what_means_the_same_is_no_difference(here: dict[str, Any], there: dict[str, Any]) -> None:
    assert differing(here, there) == []
    assert differing(there, there) == []


@pytest.mark.parametrize(
    ("here", "there", "field"),
    [
        ({"temperature": 0.5}, {}, "temperature"),
        ({}, {"temperature": 0.5}, "temperature"),
        ({"tools": [FUNCTION]}, {"tools": [{**FUNCTION, "strict": True}]}, "tools"),
        ({"tools": [FUNCTION]}, {"tools": []}, "tools"),
        ({"skills": [{"name": "s", "version": "3"}]}, {"skills": [{"name": "s", "version": "4"}]}, "skills"),
        ({"structured_inputs": {"a": {}}}, {}, "structured_inputs"),
        (
            {"tools": [{"type": "bing_grounding", "bing_grounding": {"search_configurations": [1]}}]},
            {"tools": [{"type": "bing_grounding", "bing_grounding": {"search_configurations": [2]}}]},
            "tools",
        ),
        ({"instructions": "a"}, {"instructions": "b"}, "instructions"),
        ({"rai_config": {"rai_policy_name": "p"}}, {}, "rai_config"),
        ({"tools": [{"type": "web_search_preview"}]}, {"tools": [{"type": "web_search"}]}, "tools"),
    ],
)
def test_what_does_not_mean_the_same_is_a_difference(here: dict[str, Any], there: dict[str, Any], field: str) -> None:
    assert differing(here, there) == [field]
