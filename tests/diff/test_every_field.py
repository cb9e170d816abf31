"""Each value of each kind of object is changed in turn; the diff names exactly that one, or ignores it by a rule."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai.types import FileObject, Skill, VectorStore
from openai.types.beta import Assistant
from openai.types.beta.agents.environments import EnvironmentTemplate
from openai.types.skills import SkillVersion
from openai.types.vector_stores import VectorStoreFile

from holdall.dialects.canonical import UNSET
from holdall.diff.compare_sources import Copies, ObjectChange, compare_sources
from holdall.diff.object_changes import below
from holdall.diff.record_source import LiveSource
from holdall.kinds import ASSISTANT_KINDS, DEFINITIONS, KINDS, read
from holdall.model import Kind, Record, SourceId
from holdall.remote.survey import Definitions

SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "enum": ["a", "b"]}}, "required": ["city"]}
DEFINITION: dict[str, Any] = {
    "kind": "prompt", "model": "gpt-4o", "instructions": "Be kind.\nBe brief.", "temperature": 0.5, "top_p": 0.5,
    "reasoning": {"effort": "low"}, "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
    "tool_choice": "auto", "structured_inputs": {"x": {"required": True}}, "rai_config": {"rai_policy_name": "p"},
    "skills": [{"name": "s", "version": "1"}],
    "tools": [
        {"type": "file_search", "vector_store_ids": ["vs_1"], "max_num_results": 7},
        {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-2"]}},
    ],
}  # fmt: skip
RECORDS: dict[Kind, dict[str, Any]] = {
    Kind.ASSISTANT: {
        "id": "asst_1", "object": "assistant", "created_at": 1, "name": "Desk", "description": "d", "model": "gpt-4o",
        "instructions": "Be kind.\nBe brief.", "metadata": {"team": "a", "a.b": "c"}, "temperature": 0.5,
        "top_p": 0.5,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}},
        "tools": [
            {"type": "function", "function": {"name": "f", "description": "w", "strict": True, "parameters": SCHEMA}},
            {"type": "file_search", "file_search": {"max_num_results": 7, "ranking_options": {"score_threshold": 0.5}}},
            {"type": "code_interpreter"},
        ],
        "tool_resources": {
            "file_search": {"vector_store_ids": ["vs_1"]}, "code_interpreter": {"file_ids": ["file-2"]},
        },
        "field_of_tomorrow": {"deep": [{"er": 1}]},
    },
    Kind.AGENT: {
        "id": "agent_1", "created_at": 1, "updated_at": 2, "name": "Agent", "model": "gpt-5",
        **{field: {"of": [field]} for field in UNSET[Kind.AGENT] if field not in ("name", "tools", "instructions")},
        "instructions": "Do.", "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}],
    },
    Kind.FOUNDRY_AGENT: {
        "id": "desk", "object": "agent", "name": "desk", "state": "enabled", "agent_endpoint": {"protocols": ["a"]},
        "versions": {"latest": {
            "id": "desk:2", "object": "agent.version", "name": "desk", "version": "2", "created_at": 1,
            "description": "d", "metadata": {"team": "a"}, "status": "active", "definition": DEFINITION,
        }, "draft": {"version": "3"}},
    },
    Kind.AGENT_VERSION: {
        "id": "desk:1", "object": "agent.version", "name": "desk", "version": "1", "created_at": 1,
        "description": "d", "metadata": {"team": "a"}, "definition": DEFINITION,
    },
    Kind.SKILL: {
        "id": "skill_1", "object": "skill", "created_at": 1, "name": "tea", "description": "d", "default_version": "1",
        "latest_version": "2", "field_of_tomorrow": [1],
    },
    Kind.SKILL_VERSION: {
        "id": "skillver_1", "object": "skill.version", "created_at": 1, "skill_id": "skill_1", "version": "1",
        "name": "tea", "description": "d",
    },
    Kind.TEMPLATE: {
        "id": "envtmpl_1", "object": "agent.environment.template", "created_at": 1, "updated_at": 2, "name": "Build",
        "packages": {"python": ["a"], "system": [], "npm": []}, "capability_directories": ["/workspace/x"],
        "network": {"access": "restricted", "allowed_domains": ["a.example"]},
        "files": [{"file_id": "file-2", "path": "/workspace/a"}, {"path": "/workspace/b", "size_bytes": 3}],
        "skills": [{"type": "skill_reference", "skill_id": "skill_1", "version": "1"}],
        "plugins": [{"name": "p", "description": "d"}], "desktop": {"enabled": True},
    },
    Kind.STORE: {
        "id": "vs_1", "object": "vector_store", "created_at": 1, "name": "books", "description": "d", "status": "x",
        "usage_bytes": 3, "last_active_at": 4, "expires_at": 5,
        "expires_after": {"anchor": "last_active_at", "days": 3},
        "file_counts": {"total": 1, "completed": 1}, "metadata": {"k": "v"},
    },
    Kind.MEMBERSHIP: {
        "id": "file-1", "object": "vector_store.file", "created_at": 1, "vector_store_id": "vs_1", "status": "x",
        "usage_bytes": 3, "attributes": {"lang": "en"}, "last_error": {"code": "c", "message": "m"},
        "chunking_strategy": {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 20}},
    },
    Kind.FILE: {
        "id": "file-2", "object": "file", "bytes": 3, "created_at": 1, "filename": "a.txt", "purpose": "assistants",
        "status": "processed", "status_details": "s", "expires_at": 9,
    },
}  # fmt: skip
SDK = {
    Kind.ASSISTANT: Assistant,
    Kind.STORE: VectorStore,
    Kind.MEMBERSHIP: VectorStoreFile,
    Kind.FILE: FileObject,
    Kind.SKILL: Skill,
    Kind.SKILL_VERSION: SkillVersion,
    Kind.TEMPLATE: EnvironmentTemplate,
}
# Of a Foundry agent the latest version and its definition are shown flat.
_NESTED = ("versions", "latest", "definition")
# What identifies a version, which stands beside what the agent says of itself.
_OF_VERSION = {"id", "object", "name", "created_at"}
# Which object it is, and when it was made; the rest of what is ignored is in the table of kinds.
IDENTITY = {"id", "created_at", "vector_store_id", "skill_id"}
# What a tool is known by.
NAMES = {("type",), ("name",), ("function", "name")}


def source(records: dict[Kind, dict[str, Any]]) -> LiveSource:
    def record(kind: Kind) -> Record:
        return Record(kind=kind, id=SourceId(records[kind]["id"]), raw=json.dumps(records[kind]).encode())

    found = {kind: [record(kind)] for kind in DEFINITIONS if kind in records}
    views = [read(one) for kind, (one,) in found.items() if kind in ASSISTANT_KINDS]
    other = {**RECORDS[Kind.FILE], "id": "file-1", "filename": "b.txt", "bytes": 9}
    one = Record(kind=Kind.FILE, id=SourceId("file-1"), raw=json.dumps(other).encode())
    files = {each.id: each for each in (record(Kind.FILE), one)}
    members = {
        (kind, SourceId(records[kind]["id"])): [record(member)]
        for kind in DEFINITIONS
        if (member := KINDS[kind].member)
    }
    return LiveSource("a project", Definitions(records=found, views=views), members, files)


def leaves(value: Any, path: str = "", keys: tuple[Any, ...] = ()) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """The path of each innermost value, as the diff writes it, and the keys that lead to it."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, below(path, key), (*keys, key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from leaves(item, f"{path}[{place}]", (*keys, place))
    else:
        yield path, keys


def flat(leaf: tuple[str, tuple[Any, ...]]) -> tuple[str, tuple[Any, ...]]:
    """The path that the diff has for a value of a version, wherever that is in the record."""
    path, keys = leaf
    for number in (3, 2):
        if keys[:number] == _NESTED[:number]:
            return path.removeprefix(f"{'.'.join(_NESTED[:number])}."), keys
    return path.removeprefix("definition."), keys


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int | float) else f"{value} changed"


def difference(kind: Kind, keys: tuple[Any, ...], *, gone: bool) -> list[ObjectChange]:
    records = json.loads(json.dumps(RECORDS))
    at: Any = records[kind]
    for key in keys[:-1]:
        at = at[key]
    if gone:
        del at[keys[-1]]
    else:
        at[keys[-1]] = changed(at[keys[-1]])
    return compare_sources(source(RECORDS), source(records), Copies()).changes


@pytest.mark.parametrize("kind", list(RECORDS))
def test_each_value_that_changes_is_named_and_no_other(kind: Kind) -> None:
    wrong = []
    for path, keys in map(flat, leaves(RECORDS[kind])):
        if keys[0] in IDENTITY - {"created_at"}:
            continue
        if keys[:2] == _NESTED[:2] and keys[2] in _OF_VERSION:
            continue
        if keys == ("version",) and kind in (Kind.AGENT_VERSION, Kind.SKILL_VERSION):
            continue  # another number is another version
        # An item of a list that changes is another item: one is gone, and one is new. So is a tool of another name.
        place = max((n for n, key in enumerate(keys, 1) if isinstance(key, int)), default=len(keys))
        is_item = isinstance(keys[-1], int) or keys[place:] in NAMES
        inside = path.rpartition("[")[0] if is_item else path
        for gone in (False, True):
            found = [(each.kind, field.path) for each in difference(kind, keys, gone=gone) for field in each.fields]
            exact = [] if keys[0] in {"created_at", *KINDS[kind].volatile} else [(kind, path)]
            near = is_item and found and all(one is kind and where.startswith(inside) for one, where in found)
            if found != exact and not near:
                wrong.append((path, gone, found))
    assert wrong == []


@pytest.mark.parametrize("kind", list(SDK))
def test_each_documented_field_is_among_them(kind: Kind) -> None:
    assert {*SDK[kind].model_fields, *UNSET.get(kind, ()), *KINDS[kind].volatile} <= RECORDS[kind].keys()
