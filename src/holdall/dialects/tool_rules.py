"""The rules for tools and response formats, parts of which are the owner's, and for the JSON Schemas in them. Pure.

A function's parameters are an object with properties, and arrays declare their items. With ``strict``, every object
requires all its properties and allows no others. Source: the guide to Structured Outputs, and the services' own
refusals.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from holdall.dialects.loss import Why
from holdall.dialects.tables import (
    ABSENT,
    NOT_AN_OBJECT,
    Anything,
    Flag,
    Free,
    Members,
    Reading,
    Rule,
    Text,
    completed,
    repair_members,
    unfit,
    without_type,
)

NAME = 64
"""Characters of the name of a function or of a schema."""

_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{NAME}}}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_NOT_STRICT = (
    "changed to false: strict needs a schema in which every object requires all its properties and allows no others"
)
_SCHEMA = Members(members={"description": Text(), "schema": Free(), "strict": Flag()})

# Not among what a strict schema may have.
_NEVER_STRICT = frozenset(
    {"allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "patternProperties"}
)
_INSIDE = ("properties", "$defs", "definitions")
_LISTED = ("anyOf", "allOf", "oneOf", "prefixItems")
_SINGLE = ("items", "additionalProperties")
_NESTED = frozenset((*_INSIDE, *_LISTED, *_SINGLE))


class Format(Rule, frozen=True):
    """An assistant's response format: ``auto``, ``{type}``, or ``{type, json_schema: {name, schema, …}}``."""

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        if value == "auto":
            return value
        if value in ("text", "json_object"):
            reading.lose(Why.VALUE_CHANGED, where, value, f"{NOT_AN_OBJECT}; converted")
            return {"type": value}
        kind = value.get("type") if isinstance(value, dict) else None
        schema = value.get("json_schema") if isinstance(value, dict) else None
        if kind in ("text", "json_object"):
            reading.lose_unknown(value, {"type", "json_schema"}, f"{where}.")
            return {"type": kind}
        if kind == "json_schema" and isinstance(schema, dict):
            reading.lose_unknown(value, {"type", "json_schema"}, f"{where}.")
            return {"type": kind, "json_schema": _json_schema(reading, schema, f"{where}.json_schema.")}
        return unfit(reading, value, where, "unknown format")


def _json_schema(reading: Reading, asked: dict[str, Any], where: str) -> dict[str, Any]:
    name = asked.get("name")
    plain = _NOT_IN_NAMES.sub("_", name)[:NAME] if isinstance(name, str) and name else "response"
    if plain != name:
        text = f"changed to {plain}: only letters, digits, _ and -, at most {NAME}"
        reading.lose(Why.VALUE_CHANGED, f"{where}name", name, text)
    found = {"name": plain, **repair_members(reading, _SCHEMA.members, asked, where)}
    if found.get("strict"):
        closed = as_strict(found.get("schema", {}))
        _tell_strict(reading, found, "schema", closed, where)
    reading.lose_unknown(asked, {"name", *_SCHEMA.members}, where)
    return found


def _tell_strict(
    reading: Reading, found: dict[str, Any], field: str, closed: dict[str, Any] | None, where: str
) -> None:
    """Replace the schema by one that ``strict`` accepts, or else set ``strict`` to false."""
    if closed is None:
        found["strict"] = False
        reading.lose(Why.VALUE_CHANGED, f"{where}strict", True, _NOT_STRICT)
    elif closed != found.get(field):
        text = "changed to an object schema with additionalProperties false, for strict"
        if field in found:
            reading.lose(Why.VALUE_CHANGED, f"{where}{field}", found[field], text)
        found[field] = closed


class Function(Rule, frozen=True, kw_only=True):
    """A function tool. ``nested``: what it is stands in ``function``, not in the tool itself. ``complete``: its
    parameters have to be there, and so have its other members in ``defaults``."""

    nested: bool = True
    complete: bool = False
    description: Text = Text()
    more: Mapping[str, Rule] = {}
    defaults: Mapping[str, Any] = {}

    def repair(self, reading: Reading, tool: Any, where: str) -> Any:
        asked = tool.get("function") if self.nested else without_type(tool)
        if not isinstance(asked, dict) or not isinstance(name := asked.get("name"), str) or not _NAME.fullmatch(name):
            text = f"left out: the function's name must be 1 to {NAME} letters, digits, _ or -"
            reading.lose(Why.UNKNOWN_TOOL, where, tool, text)
            return ABSENT
        inside = f"{where}.function." if self.nested else f"{where}."
        rules: dict[str, Rule] = {"description": self.description, "parameters": Free(), **self.more}
        if self.nested:
            rules["strict"] = Flag()
            reading.lose_unknown(tool, {"type", "function"}, f"{where}.")
        found: dict[str, Any] = {"name": name, **repair_members(reading, rules, asked, inside)}
        reading.lose_unknown(asked, {"name", *rules}, inside)
        self._fit_parameters(reading, found, inside)
        found = completed(self.defaults, found)
        return {"type": "function", "function": found} if self.nested else {"type": "function", **found}

    def _fit_parameters(self, reading: Reading, found: dict[str, Any], where: str) -> None:
        asked = found.get("parameters")
        strict = found.get("strict", False)
        if asked is not None or self.complete or strict:
            made = as_parameters(asked or {})
            if made is None:
                found.pop("parameters")
                reading.lose(Why.UNFIT_VALUE, f"{where}parameters", asked, "must be the schema of an object")
                made = as_parameters({})
            elif asked is not None and made != asked:
                text = "changed to a schema with properties, and items in arrays"
                reading.lose(Why.VALUE_CHANGED, f"{where}parameters", asked, text)
            found["parameters"] = made
        if strict:
            closed = as_strict(found["parameters"])
            # Where nothing was asked for, there is nothing to be said of its change.
            if asked or closed is None:
                _tell_strict(reading, found, "parameters", closed, where)
            else:
                found["parameters"] = closed


class Tools(Rule, frozen=True, kw_only=True):
    """A list of tools of these ``kinds``, at most ``most``, and of some only one. ``others``: those of other types are
    sent as they are."""

    kinds: Mapping[str, Rule]
    most: int | None = None
    once: tuple[str, ...] = ()
    others: bool = False

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        if not isinstance(value, list):
            return unfit(reading, value, where, "must be a list")
        found: list[dict[str, Any]] = []
        for number, tool in enumerate(value):
            inside = f"{where}[{number}]"
            made = self._tool(reading, tool, inside)
            if made is ABSENT:
                continue
            if again := self._again(made, found):
                # The very same once more does nothing; another function of that name is lost.
                why = Why.OVER_LIMIT if made in found or made["type"] in self.once else Why.LEFT_OUT
                reading.lose(why, inside, tool, f"left out: only one is allowed, and there is already {again}")
            elif len(found) == self.most:
                reading.lose(Why.LEFT_OUT, inside, tool, f"left out: more than {self.most} tools")
            else:
                found.append(made)
        return found

    def _tool(self, reading: Reading, tool: Any, where: str) -> Any:
        kind = tool.get("type") if isinstance(tool, dict) else None
        if not isinstance(kind, str):
            reading.lose(Why.UNKNOWN_TOOL, where, tool, "left out: no type")
            return ABSENT
        known = self.kinds.get(kind, Anything() if self.others else None)
        if known is None:
            reading.lose(Why.UNKNOWN_TOOL, where, tool, f"left out: the destination has no {kind}")
            return ABSENT
        if not isinstance(known, Members):
            return known.repair(reading, tool, where)
        made = known.repair(reading, without_type(tool), where, Why.UNKNOWN_TOOL)
        return made if made is ABSENT else {"type": kind, **made}

    def _again(self, tool: dict[str, Any], found: list[dict[str, Any]]) -> str:
        """The earlier tool that this one repeats, in words; empty if none."""
        kind = tool["type"]
        alike = [other for other in found if other["type"] == kind]
        if alike and kind in self.once:
            return f"a {kind}"
        if kind == "function" and any(_name(other) == _name(tool) for other in alike):
            return f"a function {_name(tool)}"
        return ""


def _name(tool: dict[str, Any]) -> str:
    name: str = tool.get("function", tool)["name"]
    return name


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
