"""The environment variables of Foundry's hosted agents, whose values are never kept: they may be secrets. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

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


def variable_names(record: Record) -> list[str]:
    """The names of the variables, each once."""
    if record.kind not in _DEFINITION:
        return []
    return list(dict.fromkeys(name for one in _variables(record) for name in _names(one)))


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
