"""The sample project as prompt agents of a Foundry project, made by hand: by no code that the tests are about."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from holdall.sandbox.sample.definition import Assistant, sample
from tests.sandbox.foundry_project import FoundryProject

SAMPLE = sample()
MODELS = tuple(sorted({each.request["model"] for each in SAMPLE.assistants}))
"""The deployments that the sample's agents need."""

_KEPT = ("model", "temperature", "top_p")


class FoundrySample(msgspec.Struct, frozen=True, kw_only=True):
    """What was made: ids of files by their names in the package, ids of stores by their keys, names of agents."""

    files: dict[str, str]
    stores: dict[str, str]
    agents: list[str]


def fill_foundry(project: FoundryProject) -> FoundrySample:
    """Make the sample in an unused project whose deployments are ``MODELS``, among others."""
    files = {each.file: project.upload(each.name, each.content(), purpose="assistants") for each in SAMPLE.documents}
    stores: dict[str, str] = {}
    for store in SAMPLE.stores:
        body = {"name": store.name, "metadata": store.metadata, "expires_after": store.expires_after}
        made = project.openai("POST", "/vector_stores", {name: value for name, value in body.items() if value})
        id_ = stores[store.key] = made.json()["id"]
        members: list[dict[str, Any]] = []
        for each in store.files:
            more = {"attributes": each.attributes, "chunking_strategy": each.chunking_strategy}
            given = {name: value for name, value in more.items() if value is not None}
            members.append({"file_id": files[each.document], **given})
        batch = project.openai("POST", f"/vector_stores/{id_}/file_batches", {"files": members}).json()
        assert batch["file_counts"]["completed"] == len(members)
    agents: list[str] = []
    for number, assistant in enumerate(SAMPLE.assistants):
        words = "-".join(re.findall(r"[A-Za-z0-9]+", assistant.request.get("name") or ""))
        answer = project.own(
            "POST", f"/agents/{words or f'agent-{number}'}/versions", _version(assistant, stores, files)
        )
        assert answer.status == 200, answer.body
        agents.append(answer.json()["name"])
    return FoundrySample(files=files, stores=stores, agents=agents)


def _version(assistant: Assistant, stores: dict[str, str], files: dict[str, str]) -> dict[str, Any]:
    body = assistant.body()
    definition = {"kind": "prompt", **{name: body[name] for name in _KEPT if name in body}}
    if "instructions" in body:
        definition["instructions"] = body["instructions"]
    if "reasoning_effort" in body:
        definition["reasoning"] = {"effort": body["reasoning_effort"]}
    wanted = body.get("response_format", "auto")
    if isinstance(wanted, dict):
        definition["text"] = {"format": {"type": wanted["type"], **wanted.get("json_schema", {})}}
    tools = [_tool(tool, assistant, stores, files) for tool in body.get("tools", [])]
    beside = {name: body[name] for name in ("description", "metadata") if body.get(name) is not None}
    return {"definition": {**definition, "tools": tools}, **beside}


def _tool(tool: dict[str, Any], assistant: Assistant, stores: dict[str, str], files: dict[str, str]) -> dict[str, Any]:
    if tool["type"] == "function":
        return {"type": "function", "parameters": None, "strict": False, **tool["function"]}
    if tool["type"] == "code_interpreter":
        ids = [files[file] for file in assistant.files]
        return {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ids}}
    said = dict(tool.get("file_search", {}))
    if "ranking_options" in said:
        said["ranking_options"] = {"score_threshold": said["ranking_options"]["score_threshold"]}
    ids = [] if assistant.store is None else [stores[assistant.store]]
    return {"type": "file_search", "vector_store_ids": ids, **said}
