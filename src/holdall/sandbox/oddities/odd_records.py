"""Objects that read back otherwise than they were written."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from holdall.sandbox.oddities.exchange import Change, Exchange, Memory
from holdall.sandbox.oddities.oddity import Oddity

RESERVED = ("provider_id", "embedding_model")
"""Metadata keys that a server has for itself."""

_CUT = 60
_STRANGE = {"x_backend": {"node": "n-17", "tags": []}, "tenant": None}

# Objects of the caller's own making: a server may add keys beside them, not in them.
_OWN = frozenset(["metadata", "attributes", "parameters", "schema", "schema_", "x_backend"])


def _each(change: Callable[[dict[str, Any]], None]) -> Change:
    """A change of every object that is answered."""

    def changed(exchange: Exchange, memory: Memory) -> None:
        for record in exchange.records():
            change(record)

    return changed


def _metadata_own_keys(record: dict[str, Any]) -> None:
    if isinstance(record.get("metadata"), dict):
        record["metadata"]["_server_revision"] = "1"


def _metadata_reserved(exchange: Exchange, memory: Memory) -> None:
    for record in exchange.records():
        if record.get("object") == "vector_store":
            # Each project has a provider of its own, and its model.
            values = {key: f"{key}-of-{exchange.project}" for key in RESERVED}
            record["metadata"] = {**(record["metadata"] or {}), **values}


def _metadata_many_keys(record: dict[str, Any]) -> None:
    if isinstance(record.get("metadata"), dict):
        record["metadata"] |= {f"_server_{number}": "" for number in range(20)}


def _attributes_own_keys(record: dict[str, Any]) -> None:
    if record.get("object") == "vector_store.file":
        record["attributes"] = {**(record["attributes"] or {}), "_server_revision": 1}


def _defaults_left_out(record: dict[str, Any]) -> None:
    if record.get("object") != "assistant":
        return
    defaults = {"temperature": 1, "top_p": 1, "response_format": "auto", "reasoning_effort": "medium"}
    for name in [name for name in record if record[name] in (None, defaults.get(name), [], {})]:
        del record[name]
    for tool in record.get("tools", ()):
        if tool["type"] == "file_search":
            tool.pop("file_search", None)
        elif tool["type"] == "function" and not tool["function"]["strict"]:
            del tool["function"]["strict"]


def _numbers_as_floats(record: dict[str, Any]) -> None:
    record |= _floats(record)


def _floats(value: Any) -> Any:
    match value:
        case dict():
            return {key: _floats(each) for key, each in value.items()}
        case list():
            return [_floats(each) for each in value]
        case bool():
            return value
        case int():
            return float(value)
        case _:
            return value


def _strings_cut(record: dict[str, Any]) -> None:
    for name in ("name", "instructions", "description"):
        if isinstance(record.get(name), str):
            record[name] = record[name][:_CUT]
    if isinstance(record.get("metadata"), dict):
        record["metadata"] = {key: value[:_CUT] for key, value in record["metadata"].items()}


def _schema_renamed(record: dict[str, Any]) -> None:
    wanted = record.get("response_format")
    schema = wanted.get("json_schema") if isinstance(wanted, dict) else None
    if schema and "schema" in schema:
        schema["schema_"] = schema.pop("schema")


def _tools_null(record: dict[str, Any]) -> None:
    if record.get("tools") == []:
        record["tools"] = None


def _resources_null(record: dict[str, Any]) -> None:
    resources = record.get("tool_resources")
    if isinstance(resources, dict):
        for name in ("code_interpreter", "file_search"):
            if not any((resources.get(name) or {}).values()):
                resources[name] = None


def _extra_keys(exchange: Exchange, memory: Memory) -> None:
    if isinstance(exchange.answer, dict) and exchange.status < 400:
        exchange.answer = _strange(exchange.answer)


def _strange(value: Any) -> Any:
    match value:
        case dict():
            return {key: each if key in _OWN else _strange(each) for key, each in value.items()} | _STRANGE
        case list():
            return [_strange(each) for each in value]
        case _:
            return value


def _echoes_key(exchange: Exchange, memory: Memory) -> None:
    key = exchange.headers.get("authorization", "").removeprefix("Bearer ")
    basic = base64.b64encode(f"user:{key}".encode()).decode()
    echo = {"key": key, "authorization": f"Basic {basic}", "url": "".join(f"%{byte:02x}" for byte in key.encode())}
    for record in exchange.records():
        record["x_caller"] = echo


def _created_in_milliseconds(record: dict[str, Any]) -> None:
    if isinstance(record.get("created_at"), int):
        record["created_at"] *= 1000


def _created_as_float(record: dict[str, Any]) -> None:
    if isinstance(record.get("created_at"), int):
        record["created_at"] += 0.123456


def _bytes_wrong(record: dict[str, Any]) -> None:
    if record.get("object") == "file" and "bytes" in record:
        record["bytes"] += 7


def _filenames_ascii(record: dict[str, Any]) -> None:
    if isinstance(record.get("filename"), str):
        record["filename"] = record["filename"].encode("ascii", "ignore").decode()


ANSWERS: Mapping[Oddity, Change] = {
    Oddity.METADATA_OWN_KEYS: _each(_metadata_own_keys),
    Oddity.METADATA_RESERVED: _metadata_reserved,
    Oddity.METADATA_MANY_KEYS: _each(_metadata_many_keys),
    Oddity.ATTRIBUTES_OWN_KEYS: _each(_attributes_own_keys),
    Oddity.DEFAULTS_LEFT_OUT: _each(_defaults_left_out),
    Oddity.STRINGS_CUT: _each(_strings_cut),
    Oddity.SCHEMA_RENAMED: _each(_schema_renamed),
    Oddity.TOOLS_NULL: _each(_tools_null),
    Oddity.RESOURCES_NULL: _each(_resources_null),
    Oddity.CREATED_IN_MILLISECONDS: _each(_created_in_milliseconds),
    Oddity.CREATED_AS_FLOAT: _each(_created_as_float),
    Oddity.BYTES_WRONG: _each(_bytes_wrong),
    Oddity.FILENAMES_ASCII: _each(_filenames_ascii),
    Oddity.NUMBERS_AS_FLOATS: _each(_numbers_as_floats),
    Oddity.EXTRA_KEYS: _extra_keys,
    Oddity.ECHOES_KEY: _echoes_key,
}
