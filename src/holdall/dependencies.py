"""What the definitions of assistants and agents refer to that no bundle can hold. Pure: records in, values out.

The back ends of functions, MCP servers, search indexes, connections, data sources, environments, vaults and their
credentials, skills: a bundle has their names, not the things. Tool types that are not known here are walked for keys
that name such things, so that a new type is told too.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from holdall.links import linked
from holdall.model import Kind, Record

__all__ = ["Dependency", "User", "dependencies", "user"]

# What these tools use is in the bundle: stores and files.
_HELD = frozenset({"file_search", "code_interpreter", "retrieval"})
_HELD_KEYS = frozenset({"vector_store_ids", "file_ids"})
# What an agent's tools of these types do needs nothing else.
_BUILT_IN = frozenset({"tool_search", "programmatic_tool_calling", "web_search", "computer_use", "automations"})
# What an agent, or one of its tools, refers to by id or name. Source: the official SDK, types/beta/agent*.py and what
# else stands under /agents there: environments and their templates, vaults and their credentials, skills.
_AGENTS_NAMING = re.compile(
    r"(?P<kind>environment(?:_template)?|vault|credential|skill)(?:s|_ids?|_names?|_references?)?"
)
# Keys whose value names something outside. Source: Azure's agent tools (2025-05-01), OpenAI's mcp tool.
_NAMING = re.compile(
    r"(?:^|_)(?:connection|connections|connection_id|index_name|index_asset_id|connector_id|server_url|server_label"
    r"|endpoint|queue_name|data_source|data_source_id|resource_id|asset_identifier|uri|url|agent_id|collection_name"
    r"|artifact_id|workspace_id|instance_name|set_name)$"
)
# Descriptions of what is sent, not of where to.
_DESCRIBING = frozenset(
    {
        "parameters",
        "schema",
        "paths",
        "components",
        "info",
        "externalDocs",
        "contact",
        "license",
        "headers",
        "metadata",
        "request_metadata",
    }
)
_LONGEST = 200


class User(msgspec.Struct, frozen=True, kw_only=True):
    """An assistant or an agent that uses something."""

    id: str
    name: str | None = None


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """One thing outside. ``kind`` is the tool's type, ``function``, ``environment``, ``vault``, ``credential``,
    ``skill``, or ``vector_store`` or ``file`` (gone from the project); ``name`` what the definition calls it, where it
    says anything; names come from servers."""

    kind: str
    name: str | None
    used_by: list[User]

    def __str__(self) -> str:
        known = {
            "function": "the back end of function {}",
            "mcp": "MCP server {}",
            "environment": "environment {}",
            "environment_template": "environment template {}",
            "vault": "vault {}",
            "credential": "vault credential {}",
            "skill": "skill {}",
            "vector_store": "vector store {}, which is gone",
            "file": "file {}, which is gone",
        }
        name = self.name or "without a name"
        return (
            known[self.kind].format(name) if self.kind in known else f"{self.kind}: {self.name or 'what is behind it'}"
        )


class _Definition(msgspec.Struct, frozen=True, kw_only=True):
    """The parts of an assistant or an agent that may refer to something, whatever their shape."""

    id: str
    name: Any = None
    tools: Any = None
    tool_resources: Any = None


def user(assistant: Record) -> User:
    """The assistant, or agent, as one that uses something."""
    view = _read(assistant)
    return User(id=assistant.id, name=view.name if view and isinstance(view.name, str) else None)


def dependencies(users: Iterable[Record]) -> list[Dependency]:
    """Everything outside that any of the assistants and agents refers to, each thing once, with who uses it.

    >>> from holdall.model import Kind, SourceId
    >>> raw = b'{"id": "a", "tools": [{"type": "mcp", "server_label": "x", "server_url": "https://k:k@h/s?key=1"}]}'
    >>> [str(one) for one in dependencies([Record(kind=Kind.ASSISTANT, id=SourceId("a"), raw=raw)])]
    ['MCP server x, https://h/s']
    """
    found: dict[tuple[str, str | None], dict[str, User]] = {}
    users = list(users)
    present = {record.id for record in users}
    for record in users:
        view = _read(record)
        if view is not None:
            outside = _outside_of_agent(record, view) if record.kind is Kind.AGENT else _outside(view, present)
            for kind, name in outside:
                found.setdefault((kind, name), {})[record.id] = user(record)
    return [
        Dependency(kind=kind, name=name, used_by=list(by.values()))
        for (kind, name), by in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    ]


def _read(assistant: Record) -> _Definition | None:
    try:
        return msgspec.json.decode(assistant.raw, type=_Definition)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return None  # a look-alike's odd assistant: kept as it is, not for us to read


def _outside(view: _Definition, present: Container[str]) -> Iterator[tuple[str, str | None]]:
    resources = view.tool_resources if isinstance(view.tool_resources, dict) else {}
    for tool in view.tools if isinstance(view.tools, list) else ():
        if not isinstance(tool, dict):
            continue
        kind = str(tool.get("type") or "tool")
        if (called := linked([tool])) and called[0] in present:
            continue
        if kind == "function":
            function = tool.get("function")
            yield kind, _text((function if isinstance(function, dict) else tool).get("name"))
        elif kind in _HELD:
            yield from _named(kind, tool)
        else:
            inner = list(_named(kind, tool))
            # Some types keep their names in tool_resources, which is walked below.
            yield from inner or ([] if list(_named(kind, resources.get(kind))) else [(kind, _own_name(kind, tool))])
    for kind, resource in resources.items():
        yield from _named(str(kind), resource)


def _outside_of_agent(record: Record, view: _Definition) -> Iterator[tuple[str, str | None]]:
    """An MCP server is one thing, by its label and where it is; everything else goes by the names of the keys."""
    for tool in view.tools if isinstance(view.tools, list) else ():
        if not isinstance(tool, dict):
            continue
        kind = str(tool.get("type") or "tool")
        if kind == "function":
            yield kind, _text(tool.get("name"))
        elif kind == "mcp":
            transport = tool.get("transport")
            where = transport if isinstance(transport, dict) else {}
            said = (tool.get("server_label"), tool.get("server_url"), where.get("server_url"), where.get("command"))
            yield kind, ", ".join(text for one in said if (text := _text(one))) or None
        elif kind not in _BUILT_IN:
            yield from list(_named(kind, tool)) or [(kind, _own_name(kind, tool))]
    yield from _referred(msgspec.json.decode(record.raw))


def _referred(value: Any) -> Iterator[tuple[str, str | None]]:
    """The environments, vaults, credentials and skills that keys of ``value`` name, at any depth."""
    for key, said in value.items() if isinstance(value, dict) else ():
        if match := _AGENTS_NAMING.fullmatch(str(key)):
            for one in said if isinstance(said, list) else [said]:
                name = (one.get("name") or one.get("id")) if isinstance(one, dict) else one
                if text := _text(name):
                    yield match["kind"], text
    for child in _children(value):
        yield from _referred(child)


def _named(kind: str, value: Any) -> Iterator[tuple[str, str | None]]:
    """What ``value`` names: for each object inside it one line of all that it calls by a key that names things."""
    names = list(dict.fromkeys(_names_of(value)))
    if names:
        yield kind, ", ".join(names)
    for child in _children(value):
        yield from _named(kind, child)


def _own_name(kind: str, tool: dict[str, Any]) -> str | None:
    inner = tool.get(kind)
    said = inner if isinstance(inner, dict) else tool
    return ", ".join(text for key in ("name", "id") if (text := _text(said.get(key)))) or None


def _names_of(value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    for key, said in value.items():
        if key in _HELD_KEYS or not _NAMING.search(str(key)):
            continue
        # `connection: {id}` and `connections: ["…"]` say it one level down.
        for name in said if isinstance(said, list) else [said.get("id") if isinstance(said, dict) else said]:
            if text := _text(name):
                yield text


def _children(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from (child for key, child in value.items() if key not in _HELD_KEYS | _DESCRIBING)
    elif isinstance(value, list):
        yield from value


def _text(value: Any) -> str | None:
    """``value`` as something to print; of a URL without what may be secret in it."""
    if not isinstance(value, str) or not value.strip():
        return None
    if "://" in value:
        try:
            parts = urlsplit(value)
            value = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        except ValueError:
            return None
    return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
