"""A value of a bundle by a rule of a table: what is sent of it, and a loss for all that isn't as it was. Pure.

Null says in an API's own objects what leaving out says, and not every server takes it; so only what an object of the
owner's has in it stays null, and the fields of a record itself, which an update may have to empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import msgspec

from holdall.dialects.loss import Why
from holdall.dialects.marks import MARKS
from holdall.dialects.reading import Reading, is_number
from holdall.dialects.rules import (
    Anything,
    Choice,
    Each,
    Flag,
    Format,
    Free,
    Function,
    Members,
    Number,
    Pairs,
    Rule,
    Tagged,
    Text,
    Tools,
)
from holdall.dialects.schemas import as_parameters, as_strict
from holdall.untrusted import require_plain

__all__ = ["ABSENT", "fields", "mend"]

ABSENT: Any = object()
"""What stands for a value that isn't sent."""

NAME = 64
"""Characters of the name of a function or of a schema."""

_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{NAME}}}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_NUMBER = re.compile(r"\s*[+-]?\d+(\.\d*)?([eE][+-]?\d+)?\s*", re.A)
_FLAGS = {"true": True, "false": False}
_TEXT, _OBJECT, _FLAG = "it has to be a text", "it has to be an object", "it has to be true or false"
_NOT_STRICT = (
    "strict is false now: it takes only a schema in which each object requires all its properties and allows no others"
)
_SCHEMA = Members(members={"description": Text(), "schema": Free(), "strict": Flag()})


def fields(reading: Reading, rules: Mapping[str, Rule]) -> dict[str, Any]:
    """The record's own fields, as far as they can be sent; those that are null stay null."""
    found = {}
    for field, rule in rules.items():
        if field in reading.fields:
            value = reading.fields[field]
            made = None if value is None else mend(reading, rule, value, field)
            if made is not ABSENT:
                found[field] = made
    return found


def mend(reading: Reading, rule: Rule, value: Any, where: str) -> Any:
    """What is sent of ``value``, which stands at ``where``; ABSENT for nothing. What that loses is in ``reading``."""
    if value is None:
        return ABSENT
    return _MENDERS[type(rule)](reading, rule, value, where)


def _unfit(reading: Reading, value: Any, where: str, text: str) -> Any:
    reading.lose(Why.UNFIT_VALUE, where, value, text)
    return ABSENT


def _text(reading: Reading, rule: Text, value: Any, where: str) -> Any:
    text = value
    if is_number(value):
        text = msgspec.json.encode(value).decode()
        reading.lose(Why.VALUE_CHANGED, where, value, f"{_TEXT}, and is one now")
    if not isinstance(text, str):
        return _unfit(reading, value, where, _TEXT)
    if rule.most is not None and len(text) > rule.most:
        why = Why.TRUNCATED if rule.weighs else Why.OVER_LIMIT
        reading.lose(why, where, value, f"cut to {rule.most} characters: it has {len(text)}")
        return text[: rule.most]
    return text


def _number(reading: Reading, rule: Number, value: Any, where: str) -> Any:
    said = f"it has to be a {'whole number' if rule.whole else 'number'} from {rule.least} to {rule.most}"
    number = _read_number(rule, value)
    number = None if number is None else _in_range(rule, number)
    if number is None:
        return _unfit(reading, value, where, said)
    if number != value or isinstance(value, str):
        reading.lose(Why.VALUE_CHANGED, where, value, f"{said}, and is {number} now")
    return number


def _read_number(rule: Number, value: Any) -> int | float | None:
    """The number that ``value`` says; None where it says none of the rule's kind."""
    # At thousands of digits int() raises.
    if isinstance(value, str) and len(value) < 40 and _NUMBER.fullmatch(value):
        value = float(value) if "." in value or "e" in value.lower() else int(value)
    # A larger integer is none that float() takes.
    if not is_number(value) or abs(value) >= 1e300:
        return None
    if not rule.whole:
        return value
    return int(value) if float(value).is_integer() else None


def _in_range(rule: Number, number: int | float) -> int | float | None:
    """The number that is taken for ``number``; None where none is."""
    if rule.least <= number <= rule.most:
        return number
    for scale in rule.scales:
        if number % scale == 0 and rule.least <= number // scale <= rule.most:
            return number // scale
    return type(number)(min(max(number, rule.least), rule.most)) if rule.clamped else None


def _flag(reading: Reading, rule: Flag, value: Any, where: str) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _FLAGS:
        reading.lose(Why.VALUE_CHANGED, where, value, f"{_FLAG}, and is no text now")
        return _FLAGS[value.strip().lower()]
    return _unfit(reading, value, where, _FLAG)


def _choice(reading: Reading, rule: Choice, value: Any, where: str) -> Any:
    if isinstance(value, str) and value in rule.words:
        return value
    if rule.otherwise is None:
        return _unfit(reading, value, where, f"it has to be one of {', '.join(rule.words)}")
    said = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    what = where.rpartition(".")[2]
    reading.lose(Why.VALUE_CHANGED, where, value, f"there is no {what} {said}; it is {rule.otherwise} now")
    return rule.otherwise


def _object(reading: Reading, rule: Free, value: Any, where: str) -> Any:
    found = value
    if isinstance(value, str):
        try:
            raw = value.encode()
            # A text of the bundle becomes JSON only here, so its depth and richness are not known yet.
            require_plain(raw)
            found = msgspec.json.decode(raw)
        except ValueError:  # which msgspec's error is, too
            found = None
        if isinstance(found, dict):
            reading.lose(Why.VALUE_CHANGED, where, value, f"{_OBJECT}, and is no text now")
    return found if isinstance(found, dict) else _unfit(reading, value, where, _OBJECT)


def _pairs(reading: Reading, rule: Pairs, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        return _unfit(reading, value, where, _OBJECT)
    found: dict[str, Any] = {}
    # The marks of an earlier copy take none of the room: they are replaced.
    marks = {key: item for key, item in value.items() if key in MARKS}
    for key, item in value.items():
        if key in marks or item is None:
            continue
        made = item if _stays(rule, item) else msgspec.json.encode(item).decode()
        inside = f"{where}.{key}"
        if len(key) > rule.key or (isinstance(made, str) and len(made) > rule.value):
            text = f"left out: a key may have {rule.key} characters and a value {rule.value}"
            reading.lose(Why.OVER_LIMIT, inside, item, text)
        elif len(found) == rule.keys:
            reading.lose(Why.OVER_LIMIT, inside, item, f"left out: {rule.keys} keys are allowed")
        else:
            if made is not item:
                reading.lose(Why.VALUE_CHANGED, inside, item, f"{_TEXT}, and is one now")
            found[key] = made
    return {**found, **marks}


def _stays(rule: Pairs, item: Any) -> bool:
    return isinstance(item, str) or (rule.scalars and (isinstance(item, bool) or is_number(item)))


def _members(reading: Reading, rule: Members, value: Any, where: str, why: Why = Why.UNFIT_VALUE) -> Any:
    if not isinstance(value, dict):
        return _unfit(reading, value, where, _OBJECT)
    found = _inside(reading, rule.members, value, f"{where}.")
    reading.lose_unknown(value, rule.members, f"{where}.")
    if lacking := [key for key in rule.needs if key not in found]:
        reading.lose(why, where, value, f"it has no {' and no '.join(lacking)} that fits")
        return ABSENT
    # Of an object that is empty or all wrong, defaults alone would say what nobody said.
    if not found and rule.defaults:
        return ABSENT
    return _completed(rule.defaults, found)


def _inside(reading: Reading, rules: Mapping[str, Rule], value: Mapping[str, Any], where: str) -> dict[str, Any]:
    made = {key: mend(reading, each, value.get(key), f"{where}{key}") for key, each in rules.items()}
    return {key: item for key, item in made.items() if item is not ABSENT}


def _completed(defaults: Mapping[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    return {**found, **{key: value for key, value in defaults.items() if key not in found}}


def _each(reading: Reading, rule: Each, value: Any, where: str) -> Any:
    if not isinstance(value, list):
        return _unfit(reading, value, where, "it has to be a list")
    made = [mend(reading, rule.rule, item, f"{where}[{number}]") for number, item in enumerate(value)]
    return [item for item in made if item is not ABSENT]


def _tagged(reading: Reading, rule: Tagged, value: Any, where: str) -> Any:
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in rule.kinds:
        return _unfit(reading, value, where, f"its type has to be one of {', '.join(rule.kinds)}")
    inside = _without_type(value)
    made = _members(reading, rule.kinds[kind], inside, where)
    return made if made is ABSENT else {"type": kind, **made}


def _without_type(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key != "type"}


def _format(reading: Reading, rule: Format, value: Any, where: str) -> Any:
    if value == "auto":
        return value
    if value in ("text", "json_object"):
        reading.lose(Why.VALUE_CHANGED, where, value, f"{_OBJECT}, and is one now")
        return {"type": value}
    kind = value.get("type") if isinstance(value, dict) else None
    schema = value.get("json_schema") if isinstance(value, dict) else None
    if kind in ("text", "json_object"):
        reading.lose_unknown(value, {"type", "json_schema"}, f"{where}.")
        return {"type": kind}
    if kind == "json_schema" and isinstance(schema, dict):
        reading.lose_unknown(value, {"type", "json_schema"}, f"{where}.")
        return {"type": kind, "json_schema": _json_schema(reading, schema, f"{where}.json_schema.")}
    return _unfit(reading, value, where, "there is no such format")


def _json_schema(reading: Reading, asked: dict[str, Any], where: str) -> dict[str, Any]:
    name = asked.get("name")
    plain = _NOT_IN_NAMES.sub("_", name)[:NAME] if isinstance(name, str) and name else "response"
    if plain != name:
        text = f"it is {plain} now: at most {NAME} letters, digits, _ and - are allowed"
        reading.lose(Why.VALUE_CHANGED, f"{where}name", name, text)
    found = {"name": plain, **_inside(reading, _SCHEMA.members, asked, where)}
    if found.get("strict"):
        closed = as_strict(found.get("schema", {}))
        _tell_strict(reading, found, "schema", closed, where)
    reading.lose_unknown(asked, {"name", *_SCHEMA.members}, where)
    return found


def _tell_strict(
    reading: Reading, found: dict[str, Any], field: str, closed: dict[str, Any] | None, where: str
) -> None:
    """Put the schema that ``strict`` takes in place of the one that is found, or else leave ``strict``."""
    if closed is None:
        found["strict"] = False
        reading.lose(Why.VALUE_CHANGED, f"{where}strict", True, _NOT_STRICT)
    elif closed != found.get(field):
        text = "strict wants an object that says so, and no other properties in it"
        if field in found:
            reading.lose(Why.VALUE_CHANGED, f"{where}{field}", found[field], text)
        found[field] = closed


def _function(reading: Reading, rule: Function, tool: dict[str, Any], where: str) -> Any:
    asked = tool.get("function") if rule.nested else _without_type(tool)
    if not isinstance(asked, dict) or not isinstance(name := asked.get("name"), str) or not _NAME.fullmatch(name):
        text = f"it is a function without a name of 1 to {NAME} letters, digits, _ and -"
        reading.lose(Why.UNKNOWN_TOOL, where, tool, text)
        return ABSENT
    inside = f"{where}.function." if rule.nested else f"{where}."
    rules: dict[str, Rule] = {"description": rule.description, "parameters": Free(), **rule.more}
    if rule.nested:
        rules["strict"] = Flag()
        reading.lose_unknown(tool, {"type", "function"}, f"{where}.")
    found: dict[str, Any] = {"name": name, **_inside(reading, rules, asked, inside)}
    reading.lose_unknown(asked, {"name", *rules}, inside)
    _fit_parameters(reading, rule, found, inside)
    found = _completed(rule.defaults, found)
    return {"type": "function", "function": found} if rule.nested else {"type": "function", **found}


def _fit_parameters(reading: Reading, rule: Function, found: dict[str, Any], where: str) -> None:
    asked = found.get("parameters")
    strict = found.get("strict", False)
    if asked is not None or rule.complete or strict:
        made = as_parameters(asked or {})
        if made is None:
            found.pop("parameters")
            reading.lose(Why.UNFIT_VALUE, f"{where}parameters", asked, "they have to be of an object")
            made = as_parameters({})
        elif asked is not None and made != asked:
            text = "they have to be an object with properties, and lists have to say what is in them"
            reading.lose(Why.VALUE_CHANGED, f"{where}parameters", asked, text)
        found["parameters"] = made
    if strict:
        closed = as_strict(found["parameters"])
        # Where nothing was asked for, there is nothing to be said of its change.
        if asked or closed is None:
            _tell_strict(reading, found, "parameters", closed, where)
        else:
            found["parameters"] = closed


def _tools(reading: Reading, rule: Tools, value: Any, where: str) -> Any:
    if not isinstance(value, list):
        return _unfit(reading, value, where, "tools have to be a list")
    found: list[dict[str, Any]] = []
    for number, tool in enumerate(value):
        inside = f"{where}[{number}]"
        made = _tool(reading, rule, tool, inside)
        if made is ABSENT:
            continue
        if again := _again(rule.once, made, found):
            # The very same once more does nothing; another function of that name is lost.
            why = Why.OVER_LIMIT if made in found or made["type"] in rule.once else Why.LEFT_OUT
            reading.lose(why, inside, tool, f"left out: there is {again} already, and only one is allowed")
        elif len(found) == rule.most:
            reading.lose(Why.LEFT_OUT, inside, tool, f"left out: {rule.most} tools are allowed")
        else:
            found.append(made)
    return found


def _tool(reading: Reading, rule: Tools, tool: Any, where: str) -> Any:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if not isinstance(kind, str):
        reading.lose(Why.UNKNOWN_TOOL, where, tool, "it has no type")
        return ABSENT
    known = rule.kinds.get(kind, Anything() if rule.others else None)
    match known:
        case None:
            reading.lose(Why.UNKNOWN_TOOL, where, tool, f"it is {kind}, which the destination has not")
            return ABSENT
        case Anything():
            return tool
        case Function():
            return _function(reading, known, tool, where)
        case Members():
            made = _members(reading, known, _without_type(tool), where, Why.UNKNOWN_TOOL)
            return made if made is ABSENT else {"type": kind, **made}


def _again(once: Collection[str], tool: dict[str, Any], found: list[dict[str, Any]]) -> str:
    """What there is already of the same; empty where there is nothing."""
    kind = tool["type"]
    if kind in once and any(other["type"] == kind for other in found):
        return f"a {kind}"
    if kind == "function":
        name = _named(tool)
        if any(other["type"] == kind and _named(other) == name for other in found):
            return f"a function {name}"
    return ""


def _named(tool: dict[str, Any]) -> str:
    name: str = tool.get("function", tool)["name"]
    return name


_MENDERS: Mapping[type[Rule], Callable[..., Any]] = {
    Anything: lambda reading, rule, value, where: value,
    Text: _text,
    Number: _number,
    Flag: _flag,
    Choice: _choice,
    Free: _object,
    Pairs: _pairs,
    Members: _members,
    Each: _each,
    Tagged: _tagged,
    Format: _format,
    Function: _function,
    Tools: _tools,
}
