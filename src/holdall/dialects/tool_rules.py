"""The rules for tools and response formats, parts of which are the owner's. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from holdall.dialects.loss import Why
from holdall.dialects.reading import Reading
from holdall.dialects.rules import (
    ABSENT,
    NOT_AN_OBJECT,
    Anything,
    Flag,
    Free,
    Members,
    Rule,
    Text,
    completed,
    repair_members,
    unfit,
    without_type,
)
from holdall.dialects.schemas import as_parameters, as_strict

NAME = 64
"""Characters of the name of a function or of a schema."""

_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{NAME}}}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_NOT_STRICT = (
    "changed to false: strict needs a schema in which every object requires all its properties and allows no others"
)
_SCHEMA = Members(members={"description": Text(), "schema": Free(), "strict": Flag()})


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
