"""The shapes of request bodies, checked as strictly as the service does and refused in its words.

A shape is a function of a value and its name in the body; it returns the value, or raises the refusal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

import msgspec

from holdall.sandbox.service.api_errors import bad_json, invalid, missing_parameter, quoted

Shape = Callable[[Any, str], Any]

# Whether records leave out the keys that they don't have, for the time of one check.
_drops_unknown: ContextVar[bool] = ContextVar("_drops_unknown", default=False)

# How deep the JSON of a body may be nested.
_MAX_DEPTH = 200

_KINDS: dict[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def _wrong_type(name: str, expected: str, value: object) -> Exception:
    got = _KINDS.get(type(value), "something else")
    where = f"'{name}'" if name else "the request body"
    message = f"Invalid type for {where}: expected {expected}, but got {got} instead."
    return invalid(message, name or None, "invalid_type")


def _child(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def json_body(body: bytes, shape: Shape) -> dict[str, Any]:
    """A request's body as an object of that shape. An empty body counts as ``{}``."""
    return checked(decoded(body), shape, drops_unknown=False)


def checked(found: Any, shape: Shape, *, drops_unknown: bool) -> dict[str, Any]:
    """``found`` as an object of that shape, without the keys that it doesn't have where ``drops_unknown``."""
    token = _drops_unknown.set(drops_unknown)
    try:
        good: dict[str, Any] = shape(found, "")
        return good
    finally:
        _drops_unknown.reset(token)


def decoded(body: bytes) -> Any:
    """The JSON of a body, ``{}`` where that is empty; raises the refusal of what is none, or nested too deep."""
    try:
        found = msgspec.json.decode(body) if body.strip() else {}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise bad_json() from None
    level = [found]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return found
    raise bad_json()


def text(maximum: int | None = None, *, minimum: int = 0, pattern: str | None = None) -> Shape:
    def check(value: Any, name: str) -> str:
        if not isinstance(value, str):
            raise _wrong_type(name, "a string", value)
        if maximum is not None and len(value) > maximum:
            raise invalid(
                f"Invalid '{name}': string too long. Expected a string with maximum length {maximum}, "
                f"but got a string with length {len(value)} instead.",
                name,
                "string_above_max_length",
            )
        if len(value) < minimum:
            raise invalid(
                f"Invalid '{name}': string too short. Expected a string with minimum length {minimum}, "
                f"but got a string with length {len(value)} instead.",
                name,
                "string_below_min_length",
            )
        if pattern is not None and not re.fullmatch(pattern, value):
            raise invalid(
                f"Invalid '{name}': string does not match pattern. Expected a string that matches the pattern "
                f"'^{pattern}$'.",
                name,
                "invalid_value",
            )
        return value

    return check


def _bounds(value: Any, name: str, kind: str, minimum: float | None, maximum: float | None) -> None:
    if maximum is not None and value > maximum:
        raise invalid(
            f"Invalid '{name}': {kind} above maximum value. Expected a value <= {maximum}, but got {value} instead.",
            name,
            f"{kind}_above_max_value",
        )
    if minimum is not None and value < minimum:
        raise invalid(
            f"Invalid '{name}': {kind} below minimum value. Expected a value >= {minimum}, but got {value} instead.",
            name,
            f"{kind}_below_min_value",
        )


def integer(minimum: int | None = None, maximum: int | None = None) -> Shape:
    def check(value: Any, name: str) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong_type(name, "an integer", value)
        _bounds(value, name, "integer", minimum, maximum)
        return value

    return check


def number(minimum: float | None = None, maximum: float | None = None) -> Shape:
    def check(value: Any, name: str) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise _wrong_type(name, "a decimal", value)
        _bounds(value, name, "decimal", minimum, maximum)
        return value

    return check


def boolean(value: Any, name: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong_type(name, "a boolean", value)
    return value


def anything(value: Any, name: str) -> Any:
    return value


def open_object(value: Any, name: str) -> dict[str, Any]:
    """An object whose keys nobody checks, a JSON schema for example."""
    if not isinstance(value, dict):
        raise _wrong_type(name, "an object", value)
    return value


def choice(*allowed: str) -> Shape:
    def check(value: Any, name: str) -> str:
        if not isinstance(value, str):
            raise _wrong_type(name, f"one of {quoted(allowed, last='or')}", value)
        if value not in allowed:
            raise invalid(f"Invalid value: '{value}'. Supported values are: {quoted(allowed)}.", name, "invalid_value")
        return value

    return check


def nullable(shape: Shape) -> Shape:
    return lambda value, name: None if value is None else shape(value, name)


def one_of(expected: str, by_type: Mapping[type, Shape]) -> Shape:
    """A value of several JSON types, each with a shape of its own."""

    def check(value: Any, name: str) -> Any:
        shape = by_type.get(type(value))
        if shape is None:
            raise _wrong_type(name, expected, value)
        return shape(value, name)

    return check


def array(item: Shape, maximum: int | None = None, *, minimum: int = 0) -> Shape:
    def check(value: Any, name: str) -> list[Any]:
        if not isinstance(value, list):
            raise _wrong_type(name, "an array", value)
        if maximum is not None and len(value) > maximum:
            raise invalid(
                f"Invalid '{name}': array too long. Expected an array with maximum length {maximum}, "
                f"but got an array with length {len(value)} instead.",
                name,
                "array_above_max_length",
            )
        if len(value) < minimum:
            raise invalid(
                f"Invalid '{name}': empty array. Expected an array with minimum length {minimum}, "
                f"but got {'an empty array' if not value else f'an array with length {len(value)}'} instead.",
                name,
                "empty_array",
            )
        return [item(each, f"{name}[{place}]") for place, each in enumerate(value)]

    return check


def record(fields: Mapping[str, Shape], required: tuple[str, ...] = ()) -> Shape:
    """An object with these keys and no others."""

    def check(value: Any, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong_type(name, "an object", value)
        for key in value:
            if key not in fields and not _drops_unknown.get():
                where = _child(name, key)
                raise invalid(f"Unknown parameter: '{where}'.", where, "unknown_parameter")
        for key in required:
            if key not in value:
                raise missing_parameter(_child(name, key))
        return {key: fields[key](each, _child(name, key)) for key, each in value.items() if key in fields}

    return check


def tagged(key: str, shapes: Mapping[str, Shape]) -> Shape:
    """An object whose ``key`` says which of the shapes it has."""

    def check(value: Any, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong_type(name, "an object", value)
        if key not in value:
            raise missing_parameter(_child(name, key))
        choice(*shapes)(value[key], _child(name, key))
        found: dict[str, Any] = shapes[value[key]](value, name)
        return found

    return check


def mapping(item: Shape, *, keys: int, key_length: int) -> Shape:
    """An object of the user's own keys: metadata or attributes."""

    def check(value: Any, name: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong_type(name, "an object", value)
        if len(value) > keys:
            raise invalid(
                f"Invalid '{name}': too many properties. Expected an object with at most {keys} properties, "
                f"but got an object with {len(value)} properties instead.",
                name,
                "object_above_max_properties",
            )
        for key in value:
            if len(key) > key_length:
                raise invalid(
                    f"Invalid '{name}': property name too long. Expected a property name with maximum length "
                    f"{key_length}, but got a property name with length {len(key)} instead.",
                    name,
                    "property_name_above_max_length",
                )
        return {key: item(each, _child(name, key)) for key, each in value.items()}

    return check


METADATA: Shape = nullable(mapping(text(512), keys=16, key_length=64))

ATTRIBUTES: Shape = nullable(
    mapping(
        one_of("a string, number, or boolean", {str: text(512), int: number(), float: number(), bool: boolean}),
        keys=16,
        key_length=64,
    )
)
