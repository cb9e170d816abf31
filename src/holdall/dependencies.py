"""What definitions refer to that no bundle can hold (hosted elsewhere). Pure: records in, values out.

The back ends of functions, MCP servers, search indexes, connections, data sources, environments, vaults and their
credentials, plugins, what is bound to a Foundry project: a bundle has their names, not the things. Unknown tool types
are searched for keys that name such things.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from holdall.graph import callee
from holdall.model import Kind, Record
from holdall.untrusted import read_json

# What these tools use is in the bundle: stores and files.
_HELD = frozenset({"file_search", "code_interpreter", "retrieval"})
_HELD_KEYS = frozenset({"vector_store_ids", "file_ids"})
# What an agent's tools of these types do needs nothing else.
_BUILT_IN = frozenset({"tool_search", "programmatic_tool_calling", "web_search", "computer_use", "automations"})
# What an agent, or one of its tools, refers to by id or name. Source: the official SDK, types/beta/agent*.py and what
# else stands under /agents there: environments and their templates, vaults and their credentials, skills.
_AGENTS_NAMING = re.compile(
    r"(?P<kind>environment(?:_template)?|vault|credential|skill|plugin|automation)(?:s|_ids?|_names?|_references?)?"
)
# What a Foundry agent's definition is bound to, where the definition says it. Source: azure-ai-projects 2.10, models.
_BOUND = (
    ("deployment", "", "model"),
    ("content_filter", "rai_config", "rai_policy_name"),
    ("image", "container_configuration", "image"),
    ("connection", "container_configuration", "registry_connection_id"),
)
_TOOLBOX = re.compile(r"/toolboxes/([^/?#]+)")
# Keys whose value names something outside. Source: Azure's agent tools (2025-05-01), OpenAI's mcp tool.
_NAMING = re.compile(
    r"(?:^|_)(?:connection|connections|connection_id|index_name|index_asset_id|connector_id|server_url|server_label"
    r"|endpoint|queue_name|data_source|data_source_id|resource_id|asset_identifier|uri|url|agent_id|collection_name"
    r"|artifact_id|workspace_id|instance_name|set_name)$"
)
# What describes a request: JSON Schema, and the parts of an OpenAPI document.
_DESCRIBING = frozenset({"parameters", "schema", "paths", "components", "info", "externalDocs", "contact", "license"})
# What goes along with a request.
_SENT = frozenset({"headers", "metadata", "request_metadata"})
_NOT_LOOKED_INTO = _HELD_KEYS | _DESCRIBING | _SENT
_LONGEST = 200
# Lists and objects that are looked into, of all definitions together; of later ones only the tools are reported.
_LOOKED_INTO = 1_000_000
# Things that are reported.
_TOLD = 2_000
USERS = 20
"""Users that are named of each thing."""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """An assistant or an agent that uses something."""

    id: str
    name: str | None = None


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """One thing outside. ``kind`` is the tool's type, ``function``, ``environment``, ``vault``, ``credential``,
    ``skill``, ``plugin``, ``inline_file``, ``inline_skill``, ``deployment``, ``content_filter``, ``image``,
    ``toolbox``, or ``vector_store`` or ``file`` (gone from the project); ``name`` what the definition calls it, if it
    says anything; names come from servers. ``used_by`` has the first ``USERS``."""

    kind: str
    name: str | None
    used_by: list[User]

    def __str__(self) -> str:
        if self.kind in _TITLES:
            return _TITLES[self.kind].format(self.name or "(no name)")
        return f"{self.kind}: {self.name or '(no name)'}"


_TITLES = {
    "function": "back end of function {}",
    "mcp": "MCP server {}",
    "environment": "environment {}",
    "environment_template": "environment template {}",
    "vault": "vault {}",
    "credential": "vault credential {}",
    "skill": "skill {}",
    "plugin": "plugin {}",
    "automation": "automation {}",
    "inline_file": "inline file {}",
    "inline_skill": "inline skill {}",
    "deployment": "deployment {}",
    "content_filter": "content filter {}",
    "image": "container image {}",
    "toolbox": "toolbox {}",
    "vector_store": "vector store {} (deleted at the source)",
    "file": "file {} (deleted at the source)",
}
_Thing = tuple[str, str | None, str | None]
"""A kind, a name, and the id of the assistant or the skill that it is: that is outside unless it comes, too."""


class Dependencies:
    """Everything hosted elsewhere that assistants and agents refer to, each once, with its users.

    >>> from holdall.model import Kind, SourceId
    >>> raw = b'{"id": "a", "tools": [{"type": "mcp", "server_label": "x", "server_url": "https://k:k@h/s?key=1"}]}'
    >>> found = Dependencies()
    >>> found.add(Record(kind=Kind.ASSISTANT, id=SourceId("a"), raw=raw))
    User(id='a', name=None)
    >>> [str(one) for one in found.things()]
    ['MCP server x, https://h/s']
    """

    def __init__(self) -> None:
        self._found: dict[_Thing, dict[str, User]] = {}
        self._present: set[str] = set()
        self._left = _LOOKED_INTO

    def add(self, record: Record) -> User:
        """Add the references of one definition; returns it as a user."""
        fields = _read(record)
        name = fields.get("name")
        who = User(id=record.id, name=name[:_LONGEST] if isinstance(name, str) else None)
        self._present.add(record.id)
        read = {Kind.AGENT: self._of_agent, Kind.FOUNDRY_AGENT: self._of_foundry, Kind.TEMPLATE: _of_template}
        for thing in read.get(record.kind, self._of_assistant)(fields):
            if thing in self._found or len(self._found) < _TOLD:
                users = self._found.setdefault(thing, {})
                if len(users) < USERS:
                    users[who.id] = who
        return who

    def there(self, id: str) -> None:
        """What has this id comes along, and is nothing outside."""
        self._present.add(id)

    def things(self) -> list[Dependency]:
        found: dict[tuple[str, str | None], dict[str, User]] = {}
        for (kind, name, called), users in self._found.items():
            if called is None or called not in self._present:
                found.setdefault((kind, name), {}).update(users)
        return [
            Dependency(kind=kind, name=name, used_by=[*by.values()][:USERS])
            for (kind, name), by in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] or ""))
        ]

    def _of_assistant(self, fields: dict[str, Any]) -> Iterator[_Thing]:
        resources = fields.get("tool_resources")
        resources = resources if isinstance(resources, dict) else {}
        named_there = {kind: list(self._named(resource)) for kind, resource in resources.items()}
        for kind, tool in _tools(fields):
            if kind == "function":
                yield kind, _text(_said_by(kind, tool).get("name")), None
                continue
            names: list[str | None] = [*self._named(tool)]
            # Some types keep their names in tool_resources, which are reported below.
            if not names and kind not in _HELD and not named_there.get(kind):
                names = [_own_name(kind, tool)]
            yield from ((kind, name, callee(tool)) for name in names)
        for kind, there in named_there.items():
            yield from ((kind, name, None) for name in there)

    def _of_agent(self, fields: dict[str, Any]) -> Iterator[_Thing]:
        """An MCP server is one thing, by its label and where it is; all else goes by the names of the keys."""
        for kind, tool in _tools(fields):
            if kind == "function":
                yield kind, _text(tool.get("name")), None
            elif kind == "mcp":
                transport = tool.get("transport")
                where = transport if isinstance(transport, dict) else {}
                said = (tool.get("server_label"), tool.get("server_url"), where.get("server_url"), where.get("command"))
                yield kind, _joined(said), None
            elif kind not in _BUILT_IN:
                inner: list[str | None] = [*self._named(tool)]
                yield from ((kind, name, None) for name in inner or [_own_name(kind, tool)])
        for value in self._objects(fields):
            for key, said in value.items():
                if match := _AGENTS_NAMING.fullmatch(key):
                    # A bundle may have the skill or the template.
                    yield from ((match["kind"], text, text) for text in _called(said))

    def _of_foundry(self, fields: dict[str, Any]) -> Iterator[_Thing]:
        """What the latest version of an agent is bound to in its project, and what its tools name."""
        definition = fields
        for key in ("versions", "latest", "definition"):
            definition = found if isinstance(found := definition.get(key), dict) else {}
        for kind, holder, key in _BOUND:
            inner = definition.get(holder) if holder else definition
            if isinstance(inner, dict) and (name := _text(inner.get(key))):
                yield kind, name, None
        skills = definition.get("skills")
        yield from (("skill", name, None) for name in _called(skills if isinstance(skills, list) else []))
        for _, tool in _tools(definition):
            if match := _TOOLBOX.search(str(tool.get("server_url"))):
                yield "toolbox", _cut(match[1]), None
        yield from self._of_assistant(definition)

    def _named(self, value: Any) -> Iterator[str]:
        """What ``value`` names: for each object inside it one line of all that it calls by a key that names things."""
        for one in self._objects(value):
            if names := list(dict.fromkeys(_names_of(one))):
                yield _cut(", ".join(names))

    def _objects(self, value: Any) -> Iterator[dict[str, Any]]:
        """The objects in ``value``, outer ones first, but for those that say what is sent."""
        stack = [value]
        while stack and self._left:
            self._left -= 1
            one = stack.pop()
            if isinstance(one, dict):
                yield one
                inner = [child for key, child in one.items() if key not in _NOT_LOOKED_INTO]
            else:
                inner = one if isinstance(one, list) else []
            stack += [child for child in reversed(inner) if isinstance(child, (dict, list))]


def _of_template(fields: dict[str, Any]) -> Iterator[_Thing]:
    """The plugins of a template, what is inline in it, and the skills that it names."""
    for kind, key in (("plugin", "plugins"), ("skill", "skills"), ("inline_file", "files")):
        listed = fields.get(key)
        for one in listed if isinstance(listed, list) else ():
            if not isinstance(one, dict) or one.get("file_id"):
                continue
            id = one.get("skill_id") if kind == "skill" else None
            if kind == "inline_file":
                size = one.get("size_bytes")
                yield kind, _joined((one.get("path"), f"{size} bytes" if isinstance(size, int) else None)), None
            elif kind == "skill" and not id:
                yield "inline_skill", _text(one.get("name")), None
            else:
                yield kind, _text(id or one.get("name")), id if isinstance(id, str) else None


def _read(record: Record) -> dict[str, Any]:
    try:
        fields = read_json(record.raw)
    except ValueError:  # a look-alike's odd record: kept as it is, not for us to read
        return {}
    return fields if isinstance(fields, dict) else {}


def _tools(fields: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tools that are objects, each with its type."""
    tools = fields.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict):
            yield str(tool.get("type") or "tool"), tool


def _called(said: Any) -> Iterator[str]:
    """The names, else the ids, of one thing or a list of them."""
    for one in said if isinstance(said, list) else [said]:
        if text := _text((one.get("name") or one.get("id")) if isinstance(one, dict) else one):
            yield text


def _said_by(kind: str, tool: dict[str, Any]) -> dict[str, Any]:
    """What a tool says: under the name of its type, or beside it."""
    inner = tool.get(kind)
    return inner if isinstance(inner, dict) else tool


def _own_name(kind: str, tool: dict[str, Any]) -> str | None:
    said = _said_by(kind, tool)
    return _joined((said.get("name"), said.get("id")))


def _joined(said: Iterable[Any]) -> str | None:
    return ", ".join(text for one in said if (text := _text(one))) or None


def _names_of(value: dict[str, Any]) -> Iterator[str]:
    for key, said in value.items():
        if key in _HELD_KEYS or not _NAMING.search(key):
            continue
        # `connection: {id}` and `connections: ["…"]` say it one level down.
        for name in said if isinstance(said, list) else [said.get("id") if isinstance(said, dict) else said]:
            if text := _text(name):
                yield text


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
    return _cut(value)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
