"""What binds the tools of a Foundry agent to their project: connections, indexes, toolboxes, stores and files. Pure.

Vector stores and files have copies, by their ids. A connection belongs to one project: the destination's stands for it
where the owner says which. All of these may be ``{{…}}``, which is filled in when the agent runs, and stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from holdall.dialects.agents import without_nulls
from holdall.dialects.loss import Why
from holdall.dialects.rules import Reading, Targets
from holdall.errors import pasteable
from holdall.model import SourceId, is_placeholder

_TEMPLATE = re.compile(r"\{\{[^{}]{1,200}\}\}")
_CONNECTIONS = frozenset({"project_connection_id", "connection_id", "index_connection_id"})
# JSON of the owner's, which may have any keys.
_OWNERS = frozenset({"spec", "parameters", "schema", "output_schema", "headers", "filters"})
# A project's own collection of tools, as an MCP server.
_TOOLBOX = re.compile(r"/toolboxes/([^/?#]+)")
_BOUND = {"index_asset_id": "index", "memory_store_name": "memory store"}


def templates(text: object) -> list[str]:
    """The ``{{…}}`` in a text, each once.

    >>> templates("Greet {{name}}, then {{ name }} and {{name}}.")
    ['{{name}}', '{{ name }}']
    """
    return list(dict.fromkeys(_TEMPLATE.findall(text))) if isinstance(text, str) else []


def connection_name(id: str) -> str:
    """The name at the end of a connection's id, which may be the name alone.

    >>> connection_name("/subscriptions/s/resourceGroups/g/…/projects/p/connections/bing")
    'bing'
    """
    return id.rstrip("/").rpartition("/")[2]


def by_name(connections: Mapping[str, str]) -> dict[str, str]:
    """``connections`` with the name of each beside it, in which it is looked up."""
    return {**{_key(old): new for old, new in connections.items()}, **connections}


def connection_ids(value: Any) -> Iterator[str]:
    """The ids of connections anywhere in a tool or a list of them; ``{{…}}`` is none yet."""
    for key, item in _members(value):
        if key in _CONNECTIONS and isinstance(item, str):
            if not is_placeholder(item):
                yield item
        elif key == "connection" and isinstance(item, dict) and isinstance(item.get("id"), str):
            yield from connection_ids({"connection_id": item["id"]})
        elif key not in _OWNERS:
            yield from connection_ids(item)


def is_bound(reading: Reading, tool: Any, where: str) -> bool:
    """Whether a tool needs something that only the source's project has. If so, it is lost."""
    if reading.connections is None:
        return False
    missing = dict.fromkeys(
        connection_name(id) for id in connection_ids(tool) if _connection(id, reading.connections) is None
    )
    if missing:
        said = " and ".join(missing)
        flags = " ".join(f"--map-connection {pasteable(f'{name}=NEW')}" for name in missing)
        text = f"left out: the destination has no connection for {said}; name it with {flags}"
        reading.lose(Why.NO_CONNECTION, where, tool, text)
        return True
    for what, name in _own_things(tool):
        text = f"left out: it uses the {what} {name}, which belongs to the source's project"
        reading.lose(Why.LEFT_OUT, where, tool, text)
        return True
    return False


def connected(value: Any, connections: Mapping[str, str] | None) -> Any:
    """``value`` with the destination's connections in place of the source's."""
    if isinstance(value, list):
        return [connected(item, connections) for item in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, item in value.items():
        if key in _CONNECTIONS and isinstance(item, str):
            found[key] = _connection(item, connections) or item
        else:
            found[key] = item if key in _OWNERS else connected(item, connections)
    return found


def mapped_ids(ids: object, copies: Mapping[SourceId, Any]) -> list[Any]:
    """The copies' ids for ``ids``, each once; ``{{…}}`` stays."""
    found = [id for id in ids if isinstance(id, str)] if isinstance(ids, list) else []
    there = (id if is_placeholder(id) else copies.get(SourceId(id)) for id in found)
    return list(dict.fromkeys(id for id in there if id is not None))


def carried(reading: Reading, tools: list[Any], targets: Targets) -> list[dict[str, Any]]:
    """The tools of a Foundry agent for another project: as they are, but for what they refer to."""
    found: list[dict[str, Any]] = []
    for number, tool in enumerate(tools):
        where = f"tools[{number}]"
        if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
            reading.lose(Why.UNKNOWN_TOOL, where, tool, "left out: no type")
        elif not is_bound(reading, tool, where):
            made = connected(without_nulls(tool), reading.connections)
            if tool["type"] == "code_interpreter" and "container" in made:
                made["container"] = _container(reading, made["container"], f"{where}.container", targets)
            if tool["type"] == "file_search":
                made["vector_store_ids"] = mapped_ids(made.get("vector_store_ids"), targets.stores)
                if not made["vector_store_ids"]:
                    reading.lose(Why.UNUSABLE, where, tool, "left out: file_search without a vector store")
                    continue
            found.append(made)
    return found


def _container(reading: Reading, asked: Any, where: str, targets: Targets) -> Any:
    if isinstance(asked, str) and not is_placeholder(asked):
        # One that was made by itself, with what is in it: it ends after 20 minutes without use.
        reading.lose(Why.VALUE_CHANGED, where, asked, "replaced by a new container for each conversation")
        return {"type": "auto"}
    if isinstance(asked, dict) and "file_ids" in asked:
        ids = mapped_ids(asked["file_ids"], targets.files)
        rest = {key: value for key, value in asked.items() if key != "file_ids"}
        return {**rest, "file_ids": ids} if ids else rest
    return asked


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """The members of an object, or of each object of a list."""
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        for item in value:
            yield from _members(item)


def _connection(id: str, connections: Mapping[str, str] | None) -> str | None:
    """What stands for a connection at the destination, by its id or by its name; None if nothing does."""
    if connections is None or is_placeholder(id):
        return id
    return connections.get(id, connections.get(_key(id)))


def _key(id: str) -> str:
    # Azure's ids ignore case.
    return connection_name(id).casefold()


def _own_things(value: Any) -> Iterator[tuple[str, str]]:
    """What belongs to a project in a tool, apart from connections: what it is, and its name."""
    for key, item in _members(value):
        if key in _BOUND and isinstance(item, str) and not is_placeholder(item):
            yield _BOUND[key], item
        elif key == "server_url" and isinstance(item, str) and (toolbox := _TOOLBOX.search(item)):
            yield "toolbox", toolbox[1]
        elif key not in _OWNERS:
            yield from _own_things(item)
