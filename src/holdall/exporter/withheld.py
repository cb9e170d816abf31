"""What servers hold and a bundle doesn't, of objects that are in it. Pure.

That are the values of a hosted agent's environment variables, which are never written, and what no server returns of an
environment template.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from holdall.exporter import report
from holdall.model import Kind, Record
from holdall.untrusted import read_json

_VARIABLES = "environment_variables"
_NULL = msgspec.Raw(b"null")
# By the kind of record, where its definition is.
_EVERY = "*"
_DEFINITION = {Kind.FOUNDRY_AGENT: ("versions", _EVERY, "definition"), Kind.AGENT_VERSION: ("definition",)}


class CannotWithhold(ValueError):
    """A record whose variables can't be told from the rest, so that it must not be written."""


def without_values(record: Record) -> Record:
    """The record with null for the value of each environment variable; of the rest every byte that isn't white space
    around that place is as it came. Raises CannotWithhold.

    >>> raw = b'{"id": "a", "x": 1.0, "definition": {"environment_variables": {"TOKEN": "secret"}}}'
    >>> without_values(Record(kind=Kind.AGENT_VERSION, id="a:1", raw=raw)).raw
    b'{"id":"a","x":1.0,"definition":{"environment_variables":{"TOKEN":null}}}'
    """
    if record.kind not in _DEFINITION or not _variables(record):
        return record
    try:
        return replace(record, raw=_emptied(record.raw, (*_DEFINITION[record.kind], _VARIABLES)))
    except (ValueError, RecursionError) as error:
        raise CannotWithhold(f"its environment variables can't be read ({error})") from None


def findings(record: Record) -> Iterator[report.Withheld]:
    """The loss of what a bundle can't have of an object, one for each object of which there is some."""
    if record.kind is Kind.TEMPLATE:
        yield report.Withheld(kind=record.kind, id=record.id, message=_of_template(read_json(record.raw)))
    elif record.kind is Kind.FOUNDRY_AGENT and (
        names := list(dict.fromkeys(name for one in _variables(record) for name in _names(one)))
    ):
        message = f"the values of its environment variables were left out: {', '.join(names)}"
        yield report.Withheld(kind=record.kind, id=record.id, message=message)


def _of_template(fields: Any) -> str:
    said = "its environment variables, set-up commands and blocked domains are never returned, if it has any"
    inline = [
        (
            f"file {one.get('path')}"
            + (f" ({one['size_bytes']} bytes)" if isinstance(one.get("size_bytes"), int) else "")
        )
        for one in _objects(fields, "files")
        if not one.get("file_id")
    ]
    inline += [f"skill {one.get('name')}" for one in _objects(fields, "skills") if not one.get("skill_id")]
    inline += [f"plugin {one.get('name')}" for one in _objects(fields, "plugins")]
    return f"{said}; nor is what is inline: {', '.join(inline)}" if inline else said


def _objects(fields: Any, name: str) -> list[dict[str, Any]]:
    found = fields.get(name) if isinstance(fields, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _variables(record: Record) -> list[Any]:
    """The environment variables in a record, of each of its definitions that has any such field."""
    found: list[Any] = [read_json(record.raw, lenient=True)]
    for key in (*_DEFINITION[record.kind], _VARIABLES):
        objects = [one for one in found if isinstance(one, dict)]
        found = [value for one in objects for name, value in one.items() if key in (name, _EVERY)]
    return found


def _names(variables: Any) -> list[str]:
    if isinstance(variables, dict):
        return list(variables)
    listed = variables if isinstance(variables, list) else []
    return [str(one.get("name")) for one in listed if isinstance(one, dict)]


def _emptied(raw: bytes, path: tuple[str, ...]) -> bytes:
    """The JSON object ``raw`` where what is at ``path`` has no values; anything else as it is."""
    if not path:
        return msgspec.json.encode(_without(msgspec.json.decode(raw)))
    if not raw.lstrip().startswith(b"{"):
        return raw
    fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    for name in fields:
        if path[0] in (name, _EVERY):
            fields[name] = msgspec.Raw(_emptied(bytes(fields[name]), path[1:]))
    return msgspec.json.encode(fields)


def _without(variables: Any) -> Any:
    """The names alone: of an object its keys, of a list the ``name`` of each."""
    if isinstance(variables, dict):
        return dict.fromkeys(variables, _NULL)
    listed = variables if isinstance(variables, list) else []
    names = [{key: one[key] if key == "name" else _NULL for key in one} for one in listed if isinstance(one, dict)]
    return names or _NULL
