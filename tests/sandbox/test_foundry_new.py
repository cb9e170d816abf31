"""The sandbox as a Foundry project of today: agents and their versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.sandbox.foundry_project import NOW, PREVIEWS, TOKEN, FoundryProject, refusal

MERGE = {"Content-Type": "application/merge-patch+json"}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {}}, "strict": False}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], FoundryProject]]:
    """Projects of one sandbox that nobody has used before."""
    numbers = count()
    behaviour = PROFILES["foundry-new"]
    with Running(tmp_path_factory.mktemp("new"), behaviour=behaviour, clock=lambda: NOW) as box:
        yield lambda: FoundryProject(box=box, name=f"p{next(numbers)}")


@pytest.fixture
def project(fresh: Callable[[], FoundryProject]) -> FoundryProject:
    return fresh()


def pinned(version: str, percentage: int = 100) -> dict[str, Any]:
    rule = {"type": "FixedRatio", "agent_version": version, "traffic_percentage": percentage}
    return {"agent_endpoint": {"version_selector": {"version_selection_rules": [rule]}}}


def listed(project: FoundryProject, path: str, query: str = "") -> list[str]:
    return [each["id"] for each in project.own("GET", path, query=query).json()["data"]]


def test_an_agent_with_knowledge_from_its_file_to_its_answer(project: FoundryProject) -> None:
    file = project.upload("tea.txt", b"Sencha is steamed for thirty seconds.")
    assert file.startswith("assistant-")
    store = project.openai("POST", "/vector_stores", {"name": "teas"}).json()["id"]
    batch = project.openai("POST", f"/vector_stores/{store}/file_batches", {"files": [{"file_id": file}]}).json()
    assert batch["file_counts"]["completed"] == 1
    tool = {"type": "file_search", "vector_store_ids": [store]}
    made = project.version("Tea-Taster", definition={"tools": [tool]}, description="d", metadata={"a": "b"}).json()
    assert (made["object"], made["id"], made["version"]) == ("agent.version", "Tea-Taster:1", "1")
    assert (made["description"], made["metadata"], made["status"]) == ("d", {"a": "b"}, "active")
    listed = project.own("GET", "/agents").json()
    assert [each["name"] for each in listed["data"]] == ["Tea-Taster"]
    assert listed["data"][0]["versions"]["latest"] == made
    assert (listed["last_id"], listed["has_more"]) == ("Tea-Taster", False)
    assert project.own("GET", "/agents/tea-taster").json() == listed["data"][0]
    asked = {"input": "How long is sencha steamed?"}
    reference = {"type": "agent_reference", "name": "tea-taster"}
    answer = project.openai("POST", "/responses", {**asked, "agent_reference": reference}).json()
    assert answer["agent_reference"] == {**reference, "name": "Tea-Taster", "version": "1"}
    assert "thirty seconds" in answer["output"][-1]["content"][0]["text"]
    own_door = "/agents/Tea-Taster/endpoint/protocols/openai/responses"
    assert project.own("POST", own_door, asked).json()["agent_reference"]["version"] == "1"
    gone = project.own("DELETE", "/agents/Tea-Taster", query="force=true").json()
    assert gone == {"object": "agent.deleted", "name": "Tea-Taster", "deleted": True}
    assert refusal(project.own("GET", "/agents/Tea-Taster")) == (404, "not_found")
    assert project.openai("GET", f"/vector_stores/{store}").status == 200


def test_a_version_is_the_next_one_and_stays_as_it_is(project: FoundryProject) -> None:
    first = project.version("a", definition={"instructions": "one"}).json()
    second = project.version("A", definition={"instructions": "two"}).json()
    assert (second["name"], second["version"], second["metadata"]) == ("a", "2", None)
    assert project.own("GET", "/agents/a/versions/1").json() == first
    assert project.own("GET", "/agents/a").json()["versions"]["latest"] == second
    assert listed(project, "/agents/a/versions") == ["a:2", "a:1"]
    gone = project.own("DELETE", "/agents/a/versions/2").json()
    assert gone == {"object": "agent.version.deleted", "name": "a", "version": "2", "deleted": True}
    assert refusal(project.own("GET", "/agents/a/versions/2")) == (404, "not_found")
    assert project.own("GET", "/agents/a").json()["versions"]["latest"] == first
    assert project.version("a", definition={"instructions": "three"}).json()["version"] == "3"


def test_the_other_ways_to_make_agents_and_versions(project: FoundryProject) -> None:
    body = {"definition": {"kind": "prompt", "model": "gpt-4o"}}
    made = project.own("POST", "/agents", {"name": "a", **body, "agent_card": {"version": "1"}}).json()
    assert (made["object"], made["id"], made["state"], made["agent_card"]) == (
        "agent",
        "a",
        "enabled",
        {"version": "1"},
    )
    assert refusal(project.own("POST", "/agents", {"name": "A", **body})) == (409, "conflict")
    assert project.own("POST", "/agents/a", body).json() == made
    changed = project.own("POST", "/agents/a", {**body, "description": "d"}).json()
    assert changed["versions"]["latest"]["version"] == "2"
    assert refusal(project.own("POST", "/agents/b", body)) == (404, "not_found")
    assert refusal(project.own("POST", "/agents/a", {**body, "draft": True})) == (400, "invalid_parameters")


def test_lists_are_paged_by_cursor_and_by_kind(project: FoundryProject) -> None:
    for name in ("a", "b", "c"):
        project.version(name)
    workflow = {"definition": {"kind": "workflow", "workflow": "x"}}
    project.own("POST", "/agents/w/versions", workflow, headers={"Foundry-Features": PREVIEWS})
    page = project.own("GET", "/agents", query="limit=2&order=asc").json()
    assert set(page) == {"data", "first_id", "last_id", "has_more"}
    assert (page["first_id"], page["last_id"], page["has_more"]) == ("a", "b", True)
    assert listed(project, "/agents", "limit=2&order=asc&after=B") == ["c", "w"]
    assert listed(project, "/agents", "order=asc&before=c") == ["a", "b"]
    assert listed(project, "/agents", "kind=workflow") == ["w"]
    assert listed(project, "/agents") == ["w", "c", "b", "a"]
    for query in ("limit=101", "limit=0", "order=x", "kind=x", "after=z"):
        assert refusal(project.own("GET", "/agents", query=query)) == (400, "invalid_parameters")
    with project.behaving(agents_order="asc", last_page_has_last_id=False):
        assert listed(project, "/agents") == ["a", "b", "c", "w"]
        assert set(project.own("GET", "/agents").json()) == {"data", "has_more"}
        assert project.own("GET", "/agents", query="limit=3").json()["last_id"] == "c"


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a" * 63, "A9-z"])
def test_names_that_an_agent_may_have(project: FoundryProject, name: str) -> None:
    assert project.version(name).json()["name"] == name


@pytest.mark.parametrize("name", ["a_b", "-a", "a-", "a" * 64, "a.b", "a%20b", "%C3%A4", "a:b"])
def test_names_that_no_agent_may_have(project: FoundryProject, name: str) -> None:
    answer = project.version(name)
    assert refusal(answer) == (400, "invalid_parameters")
    assert "Must start and end with alphanumeric characters" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("definition", "param"),
    [
        ({"response_format": {"type": "text"}}, "definition.response_format"),
        ({"tool_resources": {}}, "definition.tool_resources"),
        ({"max_output_tokens": 100}, "definition.max_output_tokens"),
        ({"parallel_tool_calls": True}, "definition.parallel_tool_calls"),
        ({"text": {"verbosity": "low"}}, "definition.text.verbosity"),
        ({"temperature": 2.1}, "definition.temperature"),
        ({"top_p": 1.1}, "definition.top_p"),
        ({"reasoning": {"effort": "most"}}, "definition.reasoning.effort"),
        ({"tools": [{**FUNCTION, "strict": None, "x": 1}]}, "definition.tools[0].x"),
        ({"tools": [{"type": "function", "function": FUNCTION}]}, "definition.tools[0].function"),
        ({"tools": [{"type": "function", "name": "f", "parameters": None}]}, "definition.tools[0].strict"),
        ({"tools": [{"type": "file_search"}]}, "definition.tools[0].vector_store_ids"),
        ({"tools": [{"type": "connected_agent", "connected_agent": {}}]}, "definition.tools[0].type"),
        ({"tools": [{"type": "azure_ai_search"}]}, "definition.tools[0].azure_ai_search"),
        (
            {"tools": [{"type": "azure_ai_search", "azure_ai_search": {"indexes": [{"index_connection_id": "c"}]}}]},
            "definition.tools[0].azure_ai_search.indexes[0].index_connection_id",
        ),
        (
            {"tools": [{"type": "azure_ai_search", "azure_ai_search": {"indexes": [{}, {}]}}]},
            "definition.tools[0].azure_ai_search.indexes",
        ),
        (
            {
                "tools": [
                    {
                        "type": "bing_grounding",
                        "bing_grounding": {"search_configurations": [{"connection_id": "c"}]},
                    }
                ]
            },
            "definition.tools[0].bing_grounding.search_configurations[0].connection_id",
        ),
        ({"text": {"format": {"type": "json_schema", "name": "a b", "schema": {}}}}, "definition.text.format.name"),
        ({"text": {"format": {"type": "json_schema", "json_schema": {}}}}, "definition.text.format.json_schema"),
        ({"kind": "agent"}, "definition.kind"),
        ({"model": "gpt-5.5"}, "definition.model"),
        ({"model": "o3", "temperature": 1}, "temperature"),
    ],
)
def test_definitions_are_read_strictly(project: FoundryProject, definition: dict[str, Any], param: str) -> None:
    answer = project.version("a", definition=definition)
    assert refusal(answer) == (400, "invalid_parameters")
    assert answer.json()["error"]["param"] == param
    assert listed(project, "/agents") == []


@pytest.mark.parametrize(
    "said",
    [
        {"metadata": {f"k{n}": "v" for n in range(17)}},
        {"metadata": {"k" * 65: "v"}},
        {"metadata": {"k": "v" * 513}},
        {"metadata": {"k": 1}},
        {"description": "d" * 513},
        {"instructions": "i"},
    ],
)
def test_versions_are_read_strictly(project: FoundryProject, said: dict[str, Any]) -> None:
    assert refusal(project.version("a", **said)) == (400, "invalid_parameters")


def test_what_a_definition_may_say_reads_back_as_it_was_sent(project: FoundryProject) -> None:
    definition = {
        "kind": "prompt",
        "model": "support-production",
        "instructions": "Be {{mood}}.",
        "temperature": None,
        "top_p": 0.5,
        "reasoning": {"effort": None, "summary": "auto"},
        "tools": [
            {**FUNCTION, "parameters": None, "strict": None, "description": "d"},
            {
                "type": "file_search",
                "vector_store_ids": ["{{store}}"],
                "max_num_results": 5,
                "ranking_options": {"ranker": "auto", "score_threshold": 0.5},
            },
            {"type": "code_interpreter"},
            {"type": "mcp", "server_label": "l", "server_url": "https://{{host}}/", "require_approval": "never"},
            {"type": "azure_ai_search", "azure_ai_search": {"indexes": [{"project_connection_id": "search"}]}},
            {"type": "a2a", "base_url": "https://example.com/", "project_connection_id": "search"},
            {"type": "computer_use_preview", "display_width": 1, "display_height": 1, "environment": "linux"},
            {
                "type": "openapi",
                "openapi": {
                    "name": "n",
                    "spec": {"functions": {"connection_id": "the owner's"}},
                    "auth": {"type": "project_connection", "security_scheme": {"project_connection_id": "search"}},
                },
            },
            {"type": "web_search"},
        ],
        "tool_choice": "auto",
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
        "structured_inputs": {"mood": {"description": "d", "default_value": "kind", "required": False}},
        "rai_config": {"rai_policy_name": "Strict"},
    }
    said = {"metadata": {"k" * 64: "v" * 512} | {f"k{n}": "" for n in range(15)}, "description": "d" * 512}
    made = project.version("a", definition=definition, **said)
    assert made.status == 200, made.body
    assert {key: made.json()[key] for key in ("definition", *said)} == {"definition": definition, **said}


def test_an_agent_has_128_tools_and_1000_versions(project: FoundryProject) -> None:
    tools = [{**FUNCTION, "name": f"f{n}"} for n in range(129)]
    assert refusal(project.version("a", definition={"tools": tools})) == (400, "tool_limit_exceeded")
    assert project.version("a", definition={"tools": tools[1:]}).status == 200
    assert project.box.behaviour.max_versions == 1000
    with project.behaving(max_versions=2):
        project.version("a")
        assert refusal(project.version("a")) == (400, "UserError")
        project.own("DELETE", "/agents/a/versions/1")
        assert project.version("a").json()["version"] == "3"


@pytest.mark.parametrize(
    ("said", "feature"),
    [
        ({"definition": {"kind": "workflow", "workflow": "w"}}, "WorkflowAgents"),
        ({"definition": {"kind": "external", "otel_agent_id": "o"}}, "ExternalAgents"),
        ({"definition": {"kind": "voice"}}, "VoiceAgents"),
        ({"definition": {"kind": "prompt", "model": "gpt-4o", "skills": [{"name": "s"}]}}, "Skills"),
        ({"definition": {"kind": "prompt", "model": "gpt-4o"}, "draft": True}, "DraftAgents"),
    ],
)
def test_a_preview_is_made_by_those_who_ask_for_it(project: FoundryProject, said: Any, feature: str) -> None:
    answer = project.own("POST", "/agents/a/versions", said, headers={"Foundry-Features": "Other=V1Preview"})
    assert refusal(answer) == (403, "preview_feature_required")
    assert answer.json()["error"]["param"] == "Foundry-Features"
    assert f"{feature}=V1Preview" in answer.json()["error"]["message"]
    assert project.own("POST", "/agents/a/versions", said, headers={"Foundry-Features": PREVIEWS}).status == 200
    assert project.own("GET", "/agents/a").status == 200
    assert project.own("DELETE", "/agents/a").status == 200


def test_skills_read_back_with_their_versions_and_drafts_are_not_served(project: FoundryProject) -> None:
    headers = {"Foundry-Features": PREVIEWS}
    skills = [{"name": "s"}, {"name": "t", "version": "3"}]
    made = project.version("a", definition={"skills": skills}, headers=headers).json()
    assert made["definition"]["skills"] == [{"name": "s", "version": "1"}, {"name": "t", "version": "3"}]
    assert project.version("a", draft=True, headers=headers).json()["draft"] is True
    assert project.own("GET", "/agents/a").json()["versions"]["latest"]["version"] == "1"
    assert project.served("a") == "1"
    assert listed(project, "/agents/a/versions") == ["a:1"]
    assert listed(project, "/agents/a/versions", "include_drafts=true") == ["a:2", "a:1"]


def test_the_latest_version_is_served_unless_another_is_pinned(project: FoundryProject) -> None:
    project.version("a", definition={"instructions": "one"})
    assert project.served("a") == "1"
    project.version("a", definition={"instructions": "two"})
    assert project.served("a") == "2"
    patched = project.own("PATCH", "/agents/a", pinned("1"), headers=MERGE).json()
    assert patched["agent_endpoint"] == pinned("1")["agent_endpoint"]
    project.version("a", definition={"instructions": "three"})
    assert (project.served("a"), project.served("a", version="3")) == ("1", "3")
    assert project.own("GET", "/agents/a").json()["versions"]["latest"]["version"] == "3"
    with project.behaving(deletes_pinned_version=False):
        assert refusal(project.own("DELETE", "/agents/a/versions/1")) == (400, "UserError")
        assert project.served("a") == "1"
    assert project.own("DELETE", "/agents/a/versions/1").status == 200
    assert project.served("a") == "3"
    project.own("PATCH", "/agents/a", pinned("2", 0), headers=MERGE)
    assert project.served("a") == "3"
    project.own("PATCH", "/agents/a", {"agent_endpoint": None}, headers=MERGE)
    assert "agent_endpoint" not in project.own("GET", "/agents/a").json()


def test_only_endpoint_and_card_change_in_place(project: FoundryProject) -> None:
    project.version("a")
    assert refusal(project.own("PATCH", "/agents/a", {})) == (415, "unsupported_media_type")
    for body in ({"description": "d"}, {"name": "b"}, {"agent_endpoint": {"x": 1}}):
        assert refusal(project.own("PATCH", "/agents/a", body, headers=MERGE)) == (400, "invalid_parameters")
    assert refusal(project.own("PATCH", "/agents/a", pinned("7"), headers=MERGE)) == (404, "not_found")
    two = [pinned("1")["agent_endpoint"]["version_selector"]["version_selection_rules"][0]] * 2
    body = {"agent_endpoint": {"version_selector": {"version_selection_rules": two}}}
    assert refusal(project.own("PATCH", "/agents/a", body, headers=MERGE)) == (400, "invalid_parameters")
    project.own("PATCH", "/agents/a", {"agent_card": {"version": "1", "description": "d"}}, headers=MERGE)
    card = project.own("PATCH", "/agents/a", {"agent_card": {"description": None}}, headers=MERGE).json()["agent_card"]
    assert card == {"version": "1"}
    assert project.box.writes() > 0
    assert project.box.requests()[-1].is_write


def test_a_disabled_agent_answers_nobody(project: FoundryProject) -> None:
    project.version("a")
    assert (project.own("POST", "/agents/a:disable").status, project.own("POST", "/agents/a:disable").body) == (
        204,
        b"",
    )
    assert project.own("GET", "/agents/a").json()["configuration_state"] == "disabled"
    asked = {"input": "x", "agent_reference": {"type": "agent_reference", "name": "a"}}
    assert refusal(project.openai("POST", "/responses", asked)) == (403, "agent_disabled")
    assert project.own("POST", "/agents/a:enable").status == 204
    assert project.served("a") == "1"
    assert refusal(project.own("POST", "/agents/b:enable")) == (404, "not_found")


def test_equal_versions_are_stored_again_or_the_old_one_is_returned(project: FoundryProject) -> None:
    assert [project.version("a").json()["version"] for _ in range(2)] == ["1", "2"]
    with project.behaving(keeps_equal_versions=False):
        assert project.version("a").json()["version"] == "2"
        assert project.version("a", description="d").json()["version"] == "3"
        with project.behaving(metadata_makes_versions=False):
            again = project.version("a", metadata={"a": "b"}).json()
            assert (again["version"], again["metadata"]) == ("3", None)
            assert project.version("a", definition={"top_p": 0.5}).json()["version"] == "4"


def test_unknown_keys_are_refused_or_dropped(project: FoundryProject) -> None:
    said: Any = {"definition": {"verbosity": "low", "tools": [{**FUNCTION, "x": 1}]}, "x": 1}
    assert refusal(project.version("a", **said)) == (400, "invalid_parameters")
    with project.behaving(drops_unknown_keys=True):
        made = project.version("a", **said).json()
    assert made["definition"] == {"kind": "prompt", "model": "gpt-4o", "tools": [FUNCTION]}


def test_the_last_version_goes_with_its_agent_or_not_at_all(project: FoundryProject) -> None:
    project.version("a")
    with project.behaving(deletes_last_version=False):
        assert refusal(project.own("DELETE", "/agents/a/versions/1")) == (400, "UserError")
    assert project.own("DELETE", "/agents/a/versions/1").status == 200
    assert refusal(project.own("GET", "/agents/a")) == (404, "not_found")
    assert project.version("a").json()["version"] == "1"


def test_a_number_is_used_once_or_again(project: FoundryProject) -> None:
    for _ in range(2):
        project.version("a")
    project.own("DELETE", "/agents/a/versions/2")
    with project.behaving(reuses_version_numbers=True):
        assert project.version("a").json()["version"] == "2"
    project.own("DELETE", "/agents/a/versions/2")
    assert project.version("a").json()["version"] == "3"


def test_what_the_door_refuses(project: FoundryProject) -> None:
    answer = project.ask("GET", "/agents")
    assert (answer.status, answer.json()["error"]["code"]) == (400, "BadRequest")
    assert answer.json()["error"]["message"] == "Missing required query parameter: api-version"
    for path in ("/assistants", "/files", "/vector_stores", "/openai/v1/assistants", "/skills"):
        assert project.own("GET", path).status == 404
    assert project.ask("GET", "/agents?api-version=v1", key="sk-source-0001").status == 401
    twin = FoundryProject(box=project.box, name="_project")
    FoundryProject(box=project.box, name="sandbox").version("of-the-default")
    assert "of-the-default" in listed(twin, "/agents")
    error = project.own("GET", "/agents/zz").json()["error"]
    assert error["additionalInfo"]["request_id"].startswith("req_")
    assert TOKEN not in str(error)
