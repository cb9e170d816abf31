"""Recognises assistants and converts them to the API's form: from other spellings, aliases, JSON in strings, and v1.
Pure.

Databases, SDKs and infrastructure tools use field names of their own. Known aliases are renamed; unknown fields stay,
and an import reports them.

In v1 both tools shared one list of files. For the code interpreter it moves to its resources; for retrieval (now
file_search) it becomes a new vector store, as in OpenAI's own migration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from enum import Enum, auto
from functools import cached_property, lru_cache
from typing import Any

import msgspec

from holdall.dialects import assistants as dialect
from holdall.dialects.canonical import respelled
from holdall.dialects.rules import USES
from holdall.dumps.loose import Unreadable, left_out_by, parse
from holdall.model import AssistantView, Kind, Record, SourceId, invented

_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[-\s.]+")
_ASSISTANT_ID = re.compile(r"asst_\w+")
_FILE_ID = re.compile(r"(?:file|assistant)-[\w-]+")
_STORE_ID = re.compile(r"vs_\w+")
# Free text and what its owner put in: never read for ids.
_OWNERS = frozenset({"name", "description", "instructions", "metadata", "tools", "tool_resources", "response_format"})
_STRUCTURED = ("tools", "tool_resources", "metadata", "response_format", "file_ids")
_IN_STRINGS = frozenset({*_STRUCTURED, "files", "vector_store_ids", "vector_stores"})
_TOOLS = frozenset({"code_interpreter", "file_search", "retrieval"})
# The strategy that the API itself reports for files cut before strategies existed; never sent back to a server.
_OTHER = {"type": "other"}
# A key of a map that says what the value is, not which one.
_GENERIC = frozenset(
    {"after", "agent", "assistant", "attributes", "before", "body", "config", "content", "data", "details", "input",
     "item", "items", "json", "message", "metadata", "object", "options", "output", "parameters", "params", "payload",
     "raw", "record", "request", "response", "result", "text", "value", "values"}
)  # fmt: skip


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


# Other names of a field, and what its value has to be to be it.
_ALIASES: Mapping[str, tuple[tuple[str, ...], Callable[[Any], bool]]] = {
    "name": (("assistant_name", "display_name", "title"), _is_text),
    "model": (("model_name", "model_id", "deployment_name"), _is_text),
    "instructions": (("instruction", "system_prompt", "system_instructions", "system_message"), _is_text),
    "created_at": (("created", "created_time", "created_on"), lambda value: isinstance(value, (str, int, float))),
    "file_ids": (("files", "file_id"), lambda value: bool(_ids(value, _FILE_ID))),
    "vector_store_ids": (
        ("vector_stores", "vector_store_id", "vector_store"),
        lambda value: bool(_ids(value, _STORE_ID)),
    ),
    "top_p": (("nucleus_sampling_factor",), lambda value: isinstance(value, (int, float))),
}  # fmt: skip


_MODELS = frozenset({"model", *_ALIASES["model"][0]})
_DEFINING = frozenset({"tools", "instructions", "instruction", "system_prompt", "system_instructions", "file_ids"})
# What runs, messages and requests for other APIs have.
_NO_ASSISTANT = frozenset({"thread_id", "run_id", "role", "messages", "input"})
_MOST_FIELDS = 200


class Unfit(Exception):
    """A definition that can't be read; the message says why."""


@lru_cache(maxsize=4096)
def api_name(key: str) -> str:
    """``key`` as the API would write it.

    >>> [api_name(key) for key in ("fileIds", "ToolResources", "openAIAssistantID", "top-p")]
    ['file_ids', 'tool_resources', 'open_ai_assistant_id', 'top_p']
    """
    return _WORDS.sub("_", key).lower().strip("_")


def assistant_id(fields: Mapping[str, Any]) -> str | None:
    """The id of the assistant that ``fields`` define: ``id``, or the one ``asst_…`` under whatever key.

    It takes precedence over a row number or an id of another kind, unless the object says that it is an assistant.
    """
    own = fields.get("id")
    own = own if isinstance(own, str) else ""
    if _is_assistant_id(own) or (own and fields.get("object") == "assistant"):
        return own
    found = {value for key, value in fields.items() if key not in _OWNERS and _is_assistant_id(value)}
    if len(found) == 1:
        return str(found.pop())
    return own or None


def _is_assistant_id(value: object) -> bool:
    return isinstance(value, str) and _ASSISTANT_ID.fullmatch(value) is not None


def assistant(fields: dict[str, Any], key: str | None, *, exact: bool) -> dict[str, Any]:
    """``fields`` with the API's names and shapes; unchanged if they have them already.

    ``key`` is the definition's key in a map of definitions: its id or name. Without ``exact``, for printed values, a
    null inside a tool counts as absent. Raises Unfit.
    """
    found: dict[str, Any] = {}
    for field, value in fields.items():
        name = api_name(field)
        found[field if name in fields or name in found else name] = value
    ident = assistant_id(found) or (key if _is_assistant_id(key) else None)
    found = _renamed({field: _out_of_string(found[field]) if field in _IN_STRINGS else found[field] for field in found})
    found = _identified(found, ident)
    if "name" not in found and key and key != ident and api_name(key) not in _GENERIC and not key.isdigit():
        found["name"] = key
    for field in _STRUCTURED:
        if field in found:
            found[field] = _shaped(field, found[field], exact=exact)
    _stores(found)
    _refuse_unfit(found)
    return found


def _renamed(found: dict[str, Any]) -> dict[str, Any]:
    """``found`` with the API's names in place of their aliases."""
    for field, (others, fits) in _ALIASES.items():
        for other in others:
            if found.get(field) is None and other in found and fits(found[other]):
                found = {field if key == other else key: value for key, value in found.items() if key != field}
    return found


def _identified(found: dict[str, Any], ident: str | None) -> dict[str, Any]:
    """``found`` with its id under ``id`` and nowhere else."""
    if ident is None:
        return {key: value for key, value in found.items() if key != "id" or isinstance(value, str)}
    kept = {key: value for key, value in found.items() if key in _OWNERS or key == "id" or value != ident}
    return {**kept, "id": ident}


def _out_of_string(value: Any) -> Any:
    """The list or object inside a string, as in a database column; else ``value``."""
    if isinstance(value, str) and (text := value.strip())[:1] in ("{", "["):
        try:
            said, end = parse(text, 0)
        except Unreadable:
            return value
        return said if end == len(text) else value
    return value


def _shaped(field: str, value: Any, *, exact: bool) -> Any:
    if value == "" or (value == [] and field in ("tool_resources", "metadata")):
        return [] if field in ("tools", "file_ids") else None if field == "response_format" else {}
    if field == "metadata":
        return value
    if field == "file_ids":
        return value if value is None else _ids(value, None)
    if field == "tools" and isinstance(value, list):
        value = [_tool(tool) for tool in value]
    return respelled(field, value, api_name, nulls=exact)


def _tool(tool: Any) -> Any:
    if isinstance(tool, str) and api_name(tool) in _TOOLS:
        return {"type": api_name(tool)}
    kind = tool.get("type") if isinstance(tool, dict) else None
    if isinstance(kind, str) and kind not in _TOOLS and api_name(kind) in _TOOLS:
        return {**tool, "type": api_name(kind)}
    return tool


def _stores(found: dict[str, Any]) -> None:
    """Move stores that are beside ``tool_resources``, or in the search tool, into ``tool_resources``."""
    ids = _ids(found.pop("vector_store_ids", None), None)
    if isinstance(found.get("tools"), list):
        found["tools"] = [_without_stores(tool, ids) for tool in found["tools"]]
    if not ids:
        return
    resources = _as_map(found.get("tool_resources"))
    search = _as_map(resources.get("file_search"))
    all_ids = dict.fromkeys([*_ids(search.get("vector_store_ids"), None), *ids])
    found["tool_resources"] = {**resources, "file_search": {**search, "vector_store_ids": list(all_ids)}}


def _without_stores(tool: Any, ids: list[str]) -> Any:
    """``tool`` without the ids of stores, which go to ``ids``."""
    if not isinstance(tool, dict) or tool.get("type") != "file_search":
        return tool
    bare = dict(tool)
    ids += _ids(bare.pop("vector_store_ids", None), None)
    if "vector_store_ids" in (inner := _as_map(bare.get("file_search"))):
        ids += _ids(inner["vector_store_ids"], None)
        bare["file_search"] = {key: value for key, value in inner.items() if key != "vector_store_ids"}
    return bare


def _as_map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _ids(value: Any, shape: re.Pattern[str] | None) -> list[str]:
    """The ids that a list, a map or a single value has; [] where one of them isn't of the ``shape``."""
    ids = []
    several = isinstance(value, list) or (isinstance(value, dict) and "id" not in value)
    for one in value if several else [value]:
        said = one
        if isinstance(one, dict):
            said = next((one[key] for key in ("id", "file_id", "fileId") if one.get(key)), None)
        if not isinstance(said, str) or (shape is not None and not shape.fullmatch(said)):
            return []
        ids.append(said)
    return ids


def _refuse_unfit(found: Mapping[str, Any]) -> None:
    """Raise Unfit for printers' omissions, and for values that aren't of the API's types."""
    for field in (*dialect.FIELDS, "metadata", "file_ids"):
        for value in _strings([found.get(field)] if field not in ("name", "description", "instructions") else ()):
            if why := left_out_by(value):
                raise Unfit(f"{field}: {why}")
    try:
        msgspec.convert({"id": "", **found}, type=AssistantView)
    except (msgspec.ValidationError, RecursionError) as error:
        raise Unfit(str(error)) from None


def _strings(values: Iterable[Any]) -> Iterator[str]:
    stack = list(values)
    while stack:
        value = stack.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            stack += value.values()
            stack += (key for key in value if key == "…")
        elif isinstance(value, list):
            stack += value


# -- recognising ------------------------------------------------------------------------------------


class Likeness(Enum):
    ASSISTANT = auto()
    MAYBE = auto()
    NAMED = auto()
    NONE = auto()


class Head:
    """The fields by which an object is recognised, under the API's names."""

    def __init__(self, members: Mapping[str, msgspec.Raw]) -> None:
        # What has more fields is a map of something.
        self._members = {api_name(key): value for key, value in members.items()} if len(members) <= _MOST_FIELDS else {}
        self.object = self.text("object")

    def raw(self, field: str) -> bytes:
        return bytes(self._members.get(field, b""))

    def text(self, field: str) -> str | None:
        """A field that is a short string."""
        raw = self.raw(field)
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(raw, type=str) or None if len(raw) < 1000 else None
        return None

    @cached_property
    def assistant_id(self) -> str | None:
        """The id ``asst_…`` of the assistant that it defines or names."""
        found = assistant_id({field: self.text(field) for field in self._members})
        return found if _is_assistant_id(found) else None

    def likeness(self, key: str | None) -> Likeness:
        """How much the object is like an assistant, by the names of its fields."""
        fields = self._members.keys()
        if self.object == "assistant":
            return Likeness.ASSISTANT
        if self.object is not None or fields & _NO_ASSISTANT:
            return Likeness.NONE
        defined = bool(fields & _DEFINING)
        if (self.assistant_id or _is_assistant_id(key)) and (defined or fields & _MODELS):
            return Likeness.ASSISTANT
        if fields & _MODELS and defined:
            return Likeness.MAYBE
        if _is_assistant_id(self.text("id")) and "name" in fields:
            return Likeness.NAMED
        return Likeness.NONE


# -- v1 ----------------------------------------------------------------------------------------------


def from_v1(fields: dict[str, Any], ident: str) -> tuple[dict[str, Any], list[Record], list[str]]:
    """The definition in v2 (unchanged if it is), the store made for it with its memberships, and notes."""
    # In one place, because where the files go depends on each of the tools and on what has a place already.
    tools: list[Any] = found if isinstance(found := fields.get("tools"), list) else []
    kinds = [tool.get("type") for tool in tools if isinstance(tool, dict)]
    if "retrieval" not in kinds and "file_ids" not in fields:
        return fields, [], []
    files = list(dict.fromkeys(file for file in fields.get("file_ids") or () if isinstance(file, str)))
    searches = "retrieval" in kinds or "file_search" in kinds
    interprets = "code_interpreter" in kinds
    resources: dict[str, Any] = dict(fields.get("tool_resources") or {})
    store: list[Record] = []
    done = []
    if files and searches and not _used(resources, "file_search"):
        store = _store_of(ident, fields, files)
        resources["file_search"] = {"vector_store_ids": [store[0].id]}
        done.append("files moved to a vector store")
    if files and (interprets or not store):
        used = [*_used(resources, "code_interpreter"), *files]
        resources["code_interpreter"] = {"file_ids": list(dict.fromkeys(used))}
        done.append("files moved to the code interpreter")
    if "retrieval" in kinds:
        done.append("retrieval replaced by file_search")
    found = {key: value for key, value in fields.items() if key != "file_ids"}
    if "tools" in fields:
        found["tools"] = [_searching(tool) for tool in tools]
    if resources:
        found["tool_resources"] = resources
    notes = [f"assistant {ident}: converted from v1: {', '.join(done)}"] if done else []
    if files and not searches and not interprets:
        notes.append(f"assistant {ident} has {len(files)} files, but no tool to read them")
    return found, store, notes


def _used(resources: Mapping[str, Any], tool: str) -> list[Any]:
    return (resources.get(tool) or {}).get(USES[tool]) or []


def _searching(tool: Any) -> Any:
    is_old = isinstance(tool, dict) and tool.get("type") == "retrieval"
    return {**tool, "type": "file_search"} if is_old else tool


def _store_of(ident: str, fields: Mapping[str, Any], files: list[str]) -> list[Record]:
    store = invented("vs", ident.encode())
    common = {"created_at": fields.get("created_at") or 0, "usage_bytes": 0, "status": "completed"}
    record = {
        "id": store,
        "object": "vector_store",
        "name": f"{fields.get('name') or ident} files",
        "file_counts": {"in_progress": 0, "completed": len(files), "failed": 0, "cancelled": 0, "total": len(files)},
        "metadata": {},
        **common,
    }
    member = {
        "object": "vector_store.file",
        "vector_store_id": store,
        "last_error": None,
        "attributes": {},
        "chunking_strategy": _OTHER,
        **common,
    }
    return [
        Record(kind=Kind.STORE, id=SourceId(store), raw=msgspec.json.encode(record)),
        *(
            Record(kind=Kind.MEMBERSHIP, id=SourceId(file), raw=msgspec.json.encode({"id": file, **member}))
            for file in files
        ),
    ]
