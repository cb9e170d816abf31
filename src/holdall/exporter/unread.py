"""Finds unknown references: fields that hold the id of an assistant, store or file, and that neither export nor import
follows. Pure.

Ids in the owner's own content (instructions, metadata, attributes, function parameters and schemas) are not references;
the owner must change them. Any other id is: if it isn't followed, its object is missing from the bundle, or has another
id in the copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from holdall.dialects import assistants
from holdall.dialects.assistants import STORE
from holdall.dialects.canonical import UNSET
from holdall.dialects.rules import USES
from holdall.graph import callees
from holdall.kinds import ASSISTANT_KINDS, KINDS
from holdall.model import Kind
from holdall.untrusted import read_as

_IDS = re.compile(r"(?<![A-Za-z0-9_-])(?:asst_|vs_|(?:file|assistant)-)[A-Za-z0-9]{6,}(?![A-Za-z0-9]*[.])")
_MAYBE = re.compile(rb"(?:asst_|vs_|file-|assistant-)[A-Za-z0-9]{6,}")
_SURE = 16  # so many letters after the prefix are an id without a digit in them, too
_COMMON = frozenset({"id", "object", "created_at", "metadata"})
_READ = {
    **{kind: _COMMON | {"model", *UNSET[kind], *KINDS[kind].volatile} for kind in ASSISTANT_KINDS},
    Kind.SKILL: _COMMON | {"name", "description", "default_version", "latest_version"},
    Kind.SKILL_VERSION: _COMMON | {"name", "description", "skill_id", "version"},
    Kind.AGENT_VERSION: _COMMON,
    Kind.STORE: _COMMON | {*STORE, *assistants.STORE_READ_ONLY},
    Kind.MEMBERSHIP: _COMMON | {"vector_store_id", "attributes", "chunking_strategy", "last_error"},
    Kind.FILE: _COMMON | {"filename", "purpose", "status_details"},
}
_FOUNDRY = (Kind.FOUNDRY_AGENT, Kind.AGENT_VERSION)
_OWNERS = frozenset(
    {"function", "custom", "description", "instructions", "parameters", "schema", "metadata", "headers"}
)


def unread_references(kind: Kind, id: str, raw: bytes, owner: str | None = None) -> dict[str, list[str]]:
    """The ids by the fields that hold them; ``owner`` is what a membership or a version is of.

    >>> raw = b'{"id": "asst_1234567a", "parent": "asst_7654321a", "metadata": {"seen": "file-1234567a"}}'
    >>> unread_references(Kind.ASSISTANT, "asst_1234567a", raw)
    {'parent': ['asst_7654321a']}
    """
    own = {id, owner}
    if {found.decode() for found in _MAYBE.findall(raw)} <= own:
        return {}
    try:
        fields = read_as(raw, dict[str, Any])
    except ValueError:
        return {}
    found: dict[str, list[str]] = {}
    own.update(callees(fields.get("tools")))
    for field, value in _unread(kind, fields):
        for ident in _ids(value):
            if ident not in own and ident not in found.get(field, ()):
                found.setdefault(field, []).append(ident)
    return found


def _unread(kind: Kind, fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The parts of a record that nothing reads, by name."""
    for field, value in fields.items():
        if field not in _READ[kind]:
            yield field, _unfollowed(kind, field, value) if kind in _FOUNDRY else value
    if kind in ASSISTANT_KINDS:
        yield "tools", fields.get("tools")
    resources = fields.get("tool_resources") if kind is Kind.ASSISTANT else None
    for tool, resource in resources.items() if isinstance(resources, dict) else ():
        if isinstance(resource, dict):
            resource = {key: value for key, value in resource.items() if key != USES.get(tool)}
        yield f"tool_resources.{tool}", resource


def _unfollowed(kind: Kind, field: str, value: Any) -> Any:
    """A field of a Foundry agent or its version, without the ids that a definition's tools name: those are followed."""
    if not isinstance(value, dict):
        return value
    if kind is Kind.FOUNDRY_AGENT and field == "versions":
        latest = value.get("latest")
        return {**value, "latest": _unfollowed(kind, "latest", latest)}
    if field == "latest":
        return {**value, "definition": _unfollowed(kind, "definition", value.get("definition"))}
    if field != "definition" or not isinstance(value.get("tools"), list):
        return value
    left = []
    for tool in value["tools"]:
        if isinstance(tool, dict):
            tool = {key: item for key, item in tool.items() if key != "vector_store_ids"}
            if isinstance(held := tool.get("container"), dict):
                tool["container"] = {key: item for key, item in held.items() if key != "file_ids"}
        left.append(tool)
    return {**value, "tools": left}


def _ids(value: Any) -> Iterator[str]:
    """The ids anywhere in a value, in its keys too."""
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            yield from filter(_is_id, _IDS.findall(one))
        elif isinstance(one, list):
            stack += reversed(one)
        elif isinstance(one, dict):
            stack += [part for key, item in reversed(one.items()) if key not in _OWNERS for part in (item, key)]


def _is_id(text: str) -> bool:
    """Whether it is an id, and not a word such as ``file-manager``."""
    body = re.split(r"[_-]", text, maxsplit=1)[1]
    return text.startswith("asst_") or len(body) >= _SURE or any(char.isdigit() for char in body)
