"""Any JSON to every route of a Foundry project, on servers of all kinds: an answer below 500."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from holdall.sandbox.service.routes import FOUNDRY_ROUTES
from tests.sandbox.foundry_project import NOW, PREVIEWS, FoundryProject
from tests.sandbox.test_fuzz import BROKEN, FILTER, FUNCTION, SCHEMA, bodies, numbers, texts

DEFINITION: dict[str, Any] = {
    "kind": "prompt",
    "model": "gpt-4o",
    "instructions": "Be {{mood}}.",
    "temperature": 1,
    "reasoning": {"effort": "none", "summary": "auto"},
    "tools": [
        {"type": "function", **FUNCTION},
        {"type": "file_search", "vector_store_ids": ["{{mood}}"], "filters": FILTER, "max_num_results": 5},
        {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["FILE"]}},
        {"type": "bing_grounding", "bing_grounding": {"search_configurations": [{"project_connection_id": "c"}]}},
    ],
    "tool_choice": {"type": "function", "name": "f"},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}},
    "structured_inputs": {"mood": {"default_value": "kind"}},
    "skills": [{"name": "s"}],
}
RULE = {"type": "FixedRatio", "agent_version": "1", "traffic_percentage": 100}
SEEDS: list[dict[str, Any]] = [
    {"definition": DEFINITION, "metadata": {"k": "v"}, "description": "d"},
    {"definition": DEFINITION, "draft": True},
    {"name": "n", "definition": DEFINITION, "state": "disabled"},
    {"definition": {"kind": "workflow", "workflow": "w"}},
    {"agent_endpoint": {"version_selector": {"version_selection_rules": [RULE]}}},
    {"agent_card": {"version": "1"}},
]
ANSWERED: list[dict[str, Any]] = [
    {"input": "x", "agent_reference": {"type": "agent_reference", "name": "a"}, "structured_inputs": {"mood": "x"}},
    {"input": "x", "agent_reference": {"type": "agent_reference", "name": "a", "version": "1"}},
    {"input": [{"role": "user", "content": "call f"}]},
]
ROUTES = [(method, path) for method, path, _ in FOUNDRY_ROUTES] + [("POST", "/v1/responses")] * 3
SWITCHES = (
    "checks_versions",
    "keeps_equal_versions",
    "metadata_makes_versions",
    "drops_unknown_keys",
    "reuses_version_numbers",
    "last_page_has_last_id",
    "lends_classic",
    "lists_classic",
)


class FuzzedProject:
    def __init__(self, project: FoundryProject) -> None:
        self.project = project
        self.errors: list[str] = []
        self.file = project.upload("a.txt", b"text")


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FuzzedProject]:
    behaviour = PROFILES["foundry-both"]
    with Running(tmp_path_factory.mktemp("box"), behaviour=behaviour, clock=lambda: NOW) as box:
        one = FuzzedProject(FoundryProject(box=box, name="p"))
        handler = logging.Handler()
        handler.emit = lambda entry: one.errors.append(entry.getMessage())  # type: ignore[method-assign]
        logger = logging.getLogger("holdall.sandbox.http")
        logger.addHandler(handler)
        yield one
        logger.removeHandler(handler)


@given(data=st.data())
def test_any_json_to_every_route_of_a_project(fuzzed: FuzzedProject, data: st.DataObject) -> None:
    project = fuzzed.project
    odd = data.draw(st.sets(st.sampled_from(sorted(set(Oddity) - BROKEN - {Oddity.DROPS_AFTER_ERROR})), max_size=2))
    switches = {name: data.draw(st.booleans()) for name in SWITCHES}
    with project.behaving(**switches):
        for _ in range(3):
            project.version("a", definition={"tools": DEFINITION["tools"][:1]})
            method, path = data.draw(st.sampled_from(ROUTES))
            names = {"agent": "a", "version": "1", "connection": "bing", "deployment": "o3"}
            known = data.draw(st.booleans())
            for name, value in names.items():
                path = path.replace(f"{{{name}}}", value if known else quote(data.draw(texts), safe=""))
            body = json.dumps(data.draw(bodies(ANSWERED if path.endswith("responses") else SEEDS)))
            body = body.replace('"FILE"', f'"{fuzzed.file}"')
            kinds = ["limit", "order", "after", "before", "kind", "include_drafts", "skip", "force"]
            asked = data.draw(st.dictionaries(st.sampled_from(kinds), st.one_of(texts, numbers.map(str)), max_size=2))
            headers = {"Foundry-Features": PREVIEWS} if data.draw(st.booleans()) else {}
            if method == "PATCH":
                headers["Content-Type"] = "application/merge-patch+json"
            is_openai = path == "/v1/responses"
            where = f"/openai{path}?" if is_openai else f"{path.removeprefix('/v1')}?api-version=v1&"
            sent = body.encode() if method in ("POST", "PATCH") else None
            with project.behaving(oddities=frozenset(odd)):
                answer = project.ask(method, where + urlencode(asked), sent, headers)
            assert answer.status < 500, (odd, switches, method, path, asked, body, answer.body)
            assert fuzzed.errors == []
