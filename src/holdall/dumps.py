"""Definitions out of old JSON dumps, in the shapes that people have them in. Pure: bytes in, records out.

Before the Assistants API ended, everybody saved what they could with what they had: one list answer, a bare array, one
object, JSON lines, pretty objects one after another (``curl >>``), an export file of some other tool with the objects
somewhere inside; with a byte order mark or in UTF-16 where PowerShell wrote it; in the shape of v2 or of v1. Records
are the dump's own bytes, except where v1 has to be lifted to v2.
"""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from holdall.errors import Mistakes, UsageFault
from holdall.model import Kind, Record, SourceId

__all__ = ["Dump", "read_dumps"]

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BETWEEN = " \t\r\n,\x1e"
_KINDS = {"assistant": Kind.ASSISTANT, "vector_store": Kind.STORE, "file": Kind.FILE}
_DEEPEST = 64
# The strategy that the API itself reports for files cut before strategies existed; never sent back to a server.
_OTHER = {"type": "other"}


class Dump(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, each object once: of several with one id the last. ``memberships`` are by store.

    ``made`` are the stores that lifting from v1 made, which no server ever had. ``truncated`` names the dumps that say
    of themselves that they are page 1 of more, where no last page is among the dumps; ``notes`` tell what was done to
    records that were not taken as they stood. ``digest`` is the sha256 of all dumps together.
    """

    assistants: list[Record]
    stores: list[Record]
    files: list[Record]
    memberships: dict[SourceId, list[Record]]
    made: list[SourceId]
    truncated: list[str]
    notes: list[str]
    digest: str


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """Just enough of an object to recognise it; every field of any type."""

    object: Any = None
    id: Any = None
    vector_store_id: Any = None
    has_more: Any = None
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    model: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    tools: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    instructions: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def read_dumps(dumps: Iterable[tuple[str, bytes]]) -> Dump:
    """Read dumps, given as (name, content).

    Raises UsageFault for those that aren't JSON or have nothing in them that can be used, all together, and where none
    has an assistant.
    """
    found, mistakes = _Found(), Mistakes()
    nothing = 'it should hold objects with "object": "assistant", as the API listed them'
    for name, content in dumps:
        before = found.taken
        with mistakes.noted():
            found.read(name, content)
            if found.taken == before:
                raise UsageFault(f"can't use dump {name}: there is no assistant in it", hint=nothing)
    if not mistakes and not found.assistants:
        mistakes.add(UsageFault("can't use the dumps: there is no assistant in them", hint=nothing))
    mistakes.raise_all()
    return found.dump()


class _Found:
    """Collects objects while dumps are walked."""

    def __init__(self) -> None:
        self._records: dict[tuple[Kind, SourceId], Record] = {}
        self._memberships: dict[SourceId, dict[SourceId, Record]] = {}
        self._made: list[SourceId] = []
        self._digest = hashlib.sha256()
        self._truncated: list[str] = []
        self._last_page = False
        self._notes: list[str] = []
        self.assistants = 0
        self.taken = 0

    def read(self, name: str, content: bytes) -> None:
        self._digest.update(hashlib.sha256(content).digest())
        for value in _values(name, _text(name, content)):
            self._walk(name, value, 0)

    def dump(self) -> Dump:
        def of(kind: Kind) -> list[Record]:
            return [record for (found, _), record in self._records.items() if found is kind]

        if self._truncated and self._last_page:
            self._notes.append(
                f"{', '.join(self._truncated)} and the last page are in the dumps; that no page between is missing, "
                "they can't tell"
            )
            self._truncated = []
        return Dump(
            assistants=of(Kind.ASSISTANT),
            stores=of(Kind.STORE),
            files=of(Kind.FILE),
            memberships={store: list(members.values()) for store, members in self._memberships.items()},
            made=self._made,
            truncated=self._truncated,
            notes=self._notes,
            digest=self._digest.hexdigest(),
        )

    def _walk(self, name: str, raw: bytes, depth: int) -> None:
        start = raw[:1]
        if depth > _DEEPEST or start not in (b"{", b"["):
            return
        if start == b"[":
            for item in msgspec.json.decode(raw, type=list[msgspec.Raw]):
                self._walk(name, bytes(item), depth + 1)
            return
        try:
            head = msgspec.json.decode(raw, type=_Head)
        except msgspec.ValidationError:
            head = _Head()
        if self._take(name, raw, head):
            return
        before = self.assistants
        for value in msgspec.json.decode(raw, type=dict[str, msgspec.Raw]).values():
            self._walk(name, bytes(value), depth + 1)
        if self.assistants > before and head.has_more is False:
            self._last_page = True
        if self.assistants > before and head.has_more is True and name not in self._truncated:
            self._truncated.append(name)

    def _take(self, name: str, raw: bytes, head: _Head) -> bool:
        """Keep an object of a kind that matters; False for anything else, which is then looked into."""
        if head.object == "vector_store.file" and isinstance(head.id, str) and isinstance(head.vector_store_id, str):
            store, file = SourceId(head.vector_store_id), SourceId(head.id)
            self._memberships.setdefault(store, {})[file] = Record(kind=Kind.MEMBERSHIP, id=file, raw=_line(raw))
            self.taken += 1
            return True
        kind = _KINDS.get(head.object) if isinstance(head.object, str) else None
        looks_like_one = head.model is not msgspec.UNSET and (
            head.tools is not msgspec.UNSET or head.instructions is not msgspec.UNSET
        )
        if head.object is None and looks_like_one:
            kind = Kind.ASSISTANT
        if kind is None:
            return False
        if kind is Kind.ASSISTANT:
            self.assistants += 1
            raw, ident = self._identified(name, raw, head)
            raw = self._lifted(raw, ident)
        elif isinstance(head.id, str):
            ident = SourceId(head.id)
        else:
            return False
        self._keep(kind, ident, raw if kind is not Kind.FILE else _line(raw))
        self.taken += 1
        return True

    def _keep(self, kind: Kind, ident: SourceId, raw: bytes) -> None:
        known = self._records.get((kind, ident))
        if known is not None and _canonical(known.raw) != _canonical(raw):
            self._notes.append(f"{kind} {ident} is in the dumps more than once and not the same: the last is taken")
        self._records[kind, ident] = Record(kind=kind, id=ident, raw=raw)

    def _identified(self, name: str, raw: bytes, head: _Head) -> tuple[bytes, SourceId]:
        if isinstance(head.id, str) and head.id:
            return raw, SourceId(head.id)
        ident = SourceId(f"asst_{hashlib.sha256(_canonical(raw)).hexdigest()[:24]}")
        self._notes.append(f"an assistant in {name} has no id: it is called {ident} here")
        fields = msgspec.json.decode(raw)
        return msgspec.json.encode({**fields, "id": ident}), ident

    # -- v1 to v2 ------------------------------------------------------------------------------------

    def _lifted(self, raw: bytes, ident: SourceId) -> bytes:
        """A v1 assistant as v2: tool ``retrieval`` becomes ``file_search``, ``file_ids`` move to the tools.

        In v1 one list of files served both tools. For the code interpreter it moves to its resources; for retrieval it
        becomes a vector store of its own, which exists nowhere but here, as OpenAI's own migration made one.
        """
        fields: dict[str, Any] = msgspec.json.decode(raw)
        tools = fields.get("tools")
        kinds = [tool.get("type") for tool in tools if isinstance(tool, dict)] if isinstance(tools, list) else []
        files = [file for file in fields.get("file_ids") or () if isinstance(file, str)]
        if "retrieval" not in kinds and "file_ids" not in fields:
            return raw
        if not files and "retrieval" not in kinds:
            return msgspec.json.encode({key: value for key, value in fields.items() if key != "file_ids"})
        resources: dict[str, Any] = dict(fields.get("tool_resources") or {})
        if files and "code_interpreter" in kinds:
            resources.setdefault("code_interpreter", {"file_ids": files})
        if files and "retrieval" in kinds:
            resources.setdefault("file_search", {"vector_store_ids": [self._store_of(ident, fields, files)]})
        if files and not {"code_interpreter", "retrieval"} & set(kinds):
            self._notes.append(f"assistant {ident} has {len(files)} files in v1 but no tool that reads them")
        self._notes.append(f"assistant {ident} was lifted from v1: file_ids and retrieval became tool_resources")
        lifted = {key: value for key, value in fields.items() if key != "file_ids"}
        lifted["tools"] = [
            {**tool, "type": "file_search"} if isinstance(tool, dict) and tool.get("type") == "retrieval" else tool
            for tool in tools or ()
        ]
        return msgspec.json.encode({**lifted, "tool_resources": resources})

    def _store_of(self, ident: SourceId, fields: dict[str, Any], files: list[str]) -> SourceId:
        store = SourceId(f"vs_of_{ident}")
        self._made.append(store)
        created_at = fields.get("created_at") or 0
        common = {"created_at": created_at, "usage_bytes": 0, "status": "completed"}
        counts = {"in_progress": 0, "completed": len(files), "failed": 0, "cancelled": 0, "total": len(files)}
        record = {
            "id": store,
            "object": "vector_store",
            "name": f"{fields.get('name') or ident} files",
            "file_counts": counts,
            "metadata": {},
            **common,
        }
        self._keep(Kind.STORE, store, msgspec.json.encode(record))
        members = self._memberships.setdefault(store, {})
        for file in files:
            member = {
                "id": file,
                "object": "vector_store.file",
                "vector_store_id": store,
                "last_error": None,
                "attributes": {},
                "chunking_strategy": _OTHER,
                **common,
            }
            members[SourceId(file)] = Record(kind=Kind.MEMBERSHIP, id=SourceId(file), raw=msgspec.json.encode(member))
        return store


def _canonical(raw: bytes) -> bytes:
    """The same for the same value, however it was written."""
    return msgspec.json.encode(msgspec.json.decode(raw), order="sorted")


def _line(raw: bytes) -> bytes:
    return msgspec.json.format(raw, indent=-1)


def _text(name: str, content: bytes) -> str:
    """The dump as text: by its byte order mark, else UTF-16 where every other byte is NUL, else UTF-8."""
    encoding = next((encoding for bom, encoding in _BOMS if content.startswith(bom)), None)
    if encoding is None:
        head = content[:64]
        if head[1::2].count(0) > len(head) // 3:
            encoding = "utf-16-le"
        elif head[::2].count(0) > len(head) // 3:
            encoding = "utf-16-be"
        else:
            encoding = "utf-8"
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UsageFault(f"can't use dump {name}: it is not text ({error.reason} at byte {error.start})") from None


def _values(name: str, text: str) -> Iterator[bytes]:
    """The JSON values of a text, one after another, whatever white space or comma is between them."""
    decoder = json.JSONDecoder()
    position, end = 0, len(text)
    while True:
        while position < end and text[position] in _BETWEEN:
            position += 1
        if position == end:
            return
        try:
            _, stop = decoder.raw_decode(text, position)
            value = text[position:stop].encode()
            msgspec.json.decode(value, type=msgspec.Raw)
        except (ValueError, RecursionError, msgspec.DecodeError) as error:
            line = text.count("\n", 0, position) + 1
            raise UsageFault(
                f"can't use dump {name}: not JSON in the value that begins in line {line} ({error})",
                hint="was the download cut off?",
            ) from None
        yield value
        position = stop
