"""What the service asks of a JSON Schema: of a function's parameters, and of what ``strict`` is to hold a model to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdall.sandbox.service.api_errors import invalid

_Place = tuple[str, ...]
_NOT_PERMITTED = ("allOf", "oneOf", "not", "if", "then", "else", "dependentRequired", "patternProperties")


def check_function(function: dict[str, Any], where: str) -> None:
    """Refuse parameters that are of no object, or not as ``strict`` wants them; ``where`` is the tool in the body."""
    parameters = function.get("parameters")
    name, strict = function["name"], function.get("strict")
    if parameters is None:
        if strict:
            _refuse(
                f"function '{name}'", where, (), "'additionalProperties' is required to be supplied and to be false"
            )
        return
    _check(parameters, f"function '{name}'", f"{where}.parameters", strict=bool(strict))


def check_format(schema: Any, name: str, where: str, *, strict: bool) -> None:
    """Refuse the schema of a response format that isn't as ``strict`` wants it."""
    if strict:
        _check(schema or {}, f"response_format '{name}'", where, strict=True)


def _check(schema: dict[str, Any], whose: str, where: str, *, strict: bool) -> None:
    kind = schema.get("type")
    if kind != "object":
        said = f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'"
        raise invalid(f"Invalid schema for {whose}: {said}.", where, "invalid_function_parameters")
    if not isinstance(schema.get("properties"), dict) and not strict:
        _refuse(whose, where, (), "object schema missing properties")
    for place, each in _inside(schema, ()):
        kinds = each.get("type")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if "array" in kinds and "items" not in each and "prefixItems" not in each:
            _refuse(whose, where, place, "array schema missing items")
        if strict:
            _check_strict(each, kinds, whose, where, place)


def _check_strict(each: dict[str, Any], kinds: list[Any], whose: str, where: str, place: _Place) -> None:
    for key in _NOT_PERMITTED:
        if key in each:
            _refuse(whose, where, place, f"'{key}' is not permitted")
    if "object" not in kinds and "properties" not in each:
        return
    if each.get("additionalProperties") is not False:
        _refuse(whose, where, place, "'additionalProperties' is required to be supplied and to be false")
    required, properties = each.get("required"), each.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    if not isinstance(required, list) or {*properties} != {key for key in required if isinstance(key, str)}:
        _refuse(
            whose,
            where,
            place,
            "'required' is required to be supplied and to be an array including every key in properties",
        )


def _refuse(whose: str, where: str, place: _Place, said: str) -> None:
    at = f"({', '.join(repr(part) for part in place)}{',' if len(place) == 1 else ''})"
    raise invalid(f"Invalid schema for {whose}: In context={at}, {said}.", where, "invalid_function_parameters")


def _inside(schema: Any, place: _Place) -> Iterator[tuple[_Place, dict[str, Any]]]:
    if not isinstance(schema, dict):
        return
    yield place, schema
    for key in ("properties", "$defs", "definitions"):
        for name, each in (schema[key] if isinstance(schema.get(key), dict) else {}).items():
            yield from _inside(each, (*place, key, name))
    for key in ("anyOf", "prefixItems"):
        for number, each in enumerate(schema[key] if isinstance(schema.get(key), list) else ()):
            yield from _inside(each, (*place, key, str(number)))
    yield from _inside(schema.get("items"), (*place, "items"))
