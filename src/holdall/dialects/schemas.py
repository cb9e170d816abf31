"""JSON Schemas as the APIs accept them: function parameters and response formats. Pure.

Function parameters are an object with properties, and arrays declare their items. With ``strict``, every object
requires all its properties and allows no others. Source: the guide to Structured Outputs, and the services' own
refusals.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

# Not among what a strict schema may have.
_NEVER_STRICT = frozenset(
    {"allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties"}
)
_INSIDE = ("properties", "$defs", "definitions")
_LISTED = ("anyOf", "allOf", "oneOf", "prefixItems")
_SINGLE = ("items", "additionalProperties")
_NESTED = frozenset((*_INSIDE, *_LISTED, *_SINGLE))


def as_parameters(schema: dict[str, Any]) -> dict[str, Any] | None:
    """``schema`` as a function's parameters; None if it isn't an object's.

    >>> as_parameters({})
    {'type': 'object', 'properties': {}}
    """
    kind = schema.get("type", "object")
    if isinstance(kind, list) and "object" in kind:
        kind = "object"
    if kind != "object":
        return None
    properties = schema.get("properties")
    rest = {key: value for key, value in schema.items() if key not in ("type", "properties")}
    whole = {"type": "object", "properties": properties if isinstance(properties, dict) else {}, **rest}
    listed: dict[str, Any] = _with_items(whole)
    return listed


def as_strict(schema: dict[str, Any]) -> dict[str, Any] | None:
    """``schema`` as ``strict`` accepts it; None if that would change its meaning.

    ``additionalProperties: false`` is added if unset, because ``strict`` implies it; which properties are required is
    the owner's choice.

    >>> as_strict({"type": "object", "properties": {}})
    {'type': 'object', 'properties': {}, 'required': [], 'additionalProperties': False}
    """
    # At its root it is one object, and no choice of several.
    if schema.get("type") != "object" or "anyOf" in schema:
        return None
    closed: dict[str, Any] = _closed(schema)
    return closed if all(map(_is_strict, _inside(closed))) else None


def _with_items(schema: Any) -> Any:
    """A list has to say what is in it."""
    if not isinstance(schema, dict):
        return schema
    found = _mapped(schema, _with_items)
    is_list = found.get("type") == "array" or (isinstance(found.get("type"), list) and "array" in found["type"])
    return {**found, "items": {}} if is_list and "items" not in found and "prefixItems" not in found else found


def _closed(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    found = _mapped(schema, _closed)
    if not _is_object(found):
        return found
    if not isinstance(found.get("properties"), dict):
        found = {**found, "properties": {}}
    # Of an object without properties nobody has to say which are required.
    if not found["properties"]:
        found.setdefault("required", [])
    found.setdefault("additionalProperties", False)
    return found


def _mapped(schema: dict[str, Any], change: Any) -> dict[str, Any]:
    """A copy of ``schema`` with each schema in it changed."""
    found = dict(schema)
    # Most schemas are of one value, and there may be 100,000 of them.
    if _NESTED.isdisjoint(found):
        return found
    for key in _INSIDE:
        if isinstance(found.get(key), dict):
            found[key] = {name: change(each) for name, each in found[key].items()}
    for key in _LISTED:
        if isinstance(found.get(key), list):
            found[key] = [change(each) for each in found[key]]
    for key in _SINGLE:
        if isinstance(found.get(key), dict):
            found[key] = change(found[key])
    return found


def _inside(schema: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(schema, dict):
        return
    yield schema
    for key in _INSIDE:
        if isinstance(schema.get(key), dict):
            for each in schema[key].values():
                yield from _inside(each)
    for key in _LISTED:
        if isinstance(schema.get(key), list):
            for each in schema[key]:
                yield from _inside(each)
    yield from _inside(schema.get("items"))


def _is_object(schema: dict[str, Any]) -> bool:
    kind = schema.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema


def _is_strict(schema: dict[str, Any]) -> bool:
    if _NEVER_STRICT & schema.keys():
        return False
    if not _is_object(schema):
        return True
    required = schema.get("required")
    names = {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()
    return schema["additionalProperties"] is False and names == set(schema["properties"])
