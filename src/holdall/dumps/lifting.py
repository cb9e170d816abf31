"""A v1 assistant as v2: tool ``retrieval`` becomes ``file_search``, ``file_ids`` move to the tools. Pure.

In v1 one list of files served both tools. For the code interpreter it moves to its resources; for retrieval it becomes
a vector store of its own, which exists nowhere but here, as OpenAI's own migration made one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.dialects.tables import USES
from holdall.model import Kind, Record, SourceId, invented

__all__ = ["MadeStore", "lifted"]

# The strategy that the API itself reports for files cut before strategies existed; never sent back to a server.
_OTHER = {"type": "other"}


class MadeStore(msgspec.Struct, frozen=True, kw_only=True):
    """A vector store that no server ever had, and what is in it."""

    id: SourceId
    record: Record
    members: list[Record]


def lifted(fields: dict[str, Any], ident: str) -> tuple[dict[str, Any], MadeStore | None, list[str]]:
    """The definition in v2 (as it is where it is in v2 already), the store that was made for it, and what to say."""
    # In one place, because where the files go depends on each of the tools and on what has a place already.
    tools = fields.get("tools")
    tools = tools if isinstance(tools, list) else []
    kinds = [tool.get("type") for tool in tools if isinstance(tool, dict)]
    files = list(dict.fromkeys(file for file in fields.get("file_ids") or () if isinstance(file, str)))
    if "retrieval" not in kinds and "file_ids" not in fields:
        return fields, None, []
    searches = "retrieval" in kinds or "file_search" in kinds
    interprets = "code_interpreter" in kinds
    resources: dict[str, Any] = dict(fields.get("tool_resources") or {})
    store, done = None, []
    if files and searches and not _used(resources, "file_search"):
        store = _store_of(ident, fields, files)
        resources["file_search"] = {"vector_store_ids": [store.id]}
        done.append("its files became a vector store")
    if files and (interprets or store is None):
        used = [*_used(resources, "code_interpreter"), *files]
        resources["code_interpreter"] = {"file_ids": list(dict.fromkeys(used))}
        done.append("its files went to the code interpreter")
    if "retrieval" in kinds:
        done.append("retrieval became file_search")
    found = {key: value for key, value in fields.items() if key != "file_ids"}
    if "tools" in fields:
        found["tools"] = [_searching(tool) for tool in tools]
    if resources:
        found["tool_resources"] = resources
    notes = [f"assistant {ident} was lifted from v1: {', '.join(done)}"] if done else []
    if files and not searches and not interprets:
        notes.append(f"assistant {ident} has {len(files)} files but no tool that reads them")
    return found, store, notes


def _used(resources: Mapping[str, Any], tool: str) -> list[Any]:
    return (resources.get(tool) or {}).get(USES[tool]) or []


def _searching(tool: Any) -> Any:
    is_old = isinstance(tool, dict) and tool.get("type") == "retrieval"
    return {**tool, "type": "file_search"} if is_old else tool


def _store_of(ident: str, fields: Mapping[str, Any], files: list[str]) -> MadeStore:
    store = invented("vs", ident.encode())
    common = {"created_at": fields.get("created_at") or 0, "usage_bytes": 0, "status": "completed"}
    counts = {"in_progress": 0, "completed": len(files), "failed": 0, "cancelled": 0, "total": len(files)}
    record = {
        "id": store,
        "object": "vector_store",
        "name": f"{fields.get('name') or ident} files",
        "file_counts": counts,
        "metadata": {},
        **common,
    }
    members: list[dict[str, Any]] = [
        {
            "id": file,
            "object": "vector_store.file",
            "vector_store_id": store,
            "last_error": None,
            "attributes": {},
            "chunking_strategy": _OTHER,
            **common,
        }
        for file in files
    ]
    return MadeStore(
        id=store,
        record=Record(kind=Kind.STORE, id=SourceId(store), raw=msgspec.json.encode(record)),
        members=[Record(kind=Kind.MEMBERSHIP, id=SourceId(m["id"]), raw=msgspec.json.encode(m)) for m in members],
    )
