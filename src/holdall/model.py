"""The API's records: read leniently, with the original bytes kept; and what the name of a file says of it.

A record is never re-encoded: ``Record.raw`` is the slice of JSON that the server sent, so unknown fields survive. The
``*View`` structs decode the few fields that the program uses. Compatible servers leave fields out and send odd types,
so nearly everything is optional, and numbers may be floats. The name of a file decides whether its text is the file
itself, and which names a copy of it may have.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any, NewType, Self, get_type_hints

import msgspec

from holdall.untrusted import MAX_SIZE

SourceId = NewType("SourceId", str)
"""An id in the project that was exported. Servers choose ids: any string, never a path."""
TargetId = NewType("TargetId", str)
"""An id in the project that is imported into."""

_INVENTED = "invented_"


def invented(prefix: str, seed: bytes) -> SourceId:
    """An id for something without one, determined by ``seed`` and unlike any server's. It is never sent to a server.

    >>> invented("vs", b"x")
    'invented_vs_2d711642b726b04401627ca9'
    """
    return SourceId(f"{_INVENTED}{prefix}_{hashlib.sha256(seed).hexdigest()[:24]}")


def is_invented(id: str) -> bool:
    return id.startswith(_INVENTED)


def is_placeholder(id: str) -> bool:
    """Whether an id of a Foundry agent is filled in at run time, and names nothing yet.

    >>> is_placeholder("{{store}}"), is_placeholder("vs_1")
    (True, False)
    """
    return "{{" in id


# -- records -------------------------------------------------------------------------------------------


class Kind(StrEnum):
    """The kinds of records that a bundle holds."""

    ASSISTANT = "assistant"
    AGENT = "agent"
    FOUNDRY_AGENT = "foundry_agent"
    AGENT_VERSION = "agent_version"
    SKILL = "skill"
    SKILL_VERSION = "skill_version"
    TEMPLATE = "environment_template"
    STORE = "vector_store"
    MEMBERSHIP = "membership"
    FILE = "file"


class Fidelity(StrEnum):
    """How a file's content was obtained, best first. On disk the field is ``rung``."""

    ORIGINAL = "original"
    SUPPLIED = "supplied"
    CONTAINER = "container"
    TEXT = "text"
    UNAVAILABLE = "unavailable"

    @property
    def is_bytes(self) -> bool:
        """Whether the content is the file's own bytes."""
        return self not in (Fidelity.TEXT, Fidelity.UNAVAILABLE)


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One API object: its kind, its id, and its JSON exactly as the server sent it."""

    kind: Kind
    id: SourceId
    raw: bytes


KNOWLEDGE = ("assistants", "user_data", "vision")
"""The purposes of files that an export takes where nothing refers to them; the others belong to batches and
fine-tuning."""


def credible(number: float | None) -> int | None:
    """A server's size or count; None if missing or impossible."""
    return int(number) if number is not None and 0 <= number <= MAX_SIZE else None


# -- views ---------------------------------------------------------------------------------------------

Moment = int | float | str | None
"""When a server says that something was made: seconds since 1970, on look-alikes also milliseconds or ISO 8601."""

_UNREADABLE = (ValueError, msgspec.MsgspecError, RecursionError)


class View(msgspec.Struct, frozen=True, kw_only=True):
    """A lenient reading of a record, which has an ``id``."""

    @classmethod
    def of(cls, record: Record) -> Self:
        """The view of a record. A field of another type than the API's counts as absent."""
        try:
            return msgspec.json.decode(record.raw, type=cls)
        except _UNREADABLE:
            from holdall.untrusted import read_members  # hardly any record needs it

            # Member by member: one odd field must not hide the others, which say what the record refers to.
            values: dict[str, Any] = {}
            with suppress(ValueError):
                values = read_members(record.raw)
            return cls.of_values({**values, "id": record.id})

    @classmethod
    def of_values(cls, values: dict[str, Any]) -> Self:
        """The view of a decoded record; ValidationError if it has no id."""
        known = {"id": msgspec.convert(values.get("id"), str)}
        for name, kind in _types(cls).items():
            with suppress(*_UNREADABLE, KeyError):
                known[name] = msgspec.convert(values[name], type=kind)
        return cls(**known)


# Resolving annotations takes longer than reading a record.
@cache
def _types(view: type[View]) -> dict[str, Any]:
    return get_type_hints(view)


class CodeInterpreterResources(msgspec.Struct, frozen=True, kw_only=True):
    file_ids: list[str] | None = None


class FileSearchResources(msgspec.Struct, frozen=True, kw_only=True):
    vector_store_ids: list[str] | None = None


class ToolResources(msgspec.Struct, frozen=True, kw_only=True):
    code_interpreter: CodeInterpreterResources | None = None
    file_search: FileSearchResources | None = None


class ToolView(msgspec.Struct, frozen=True, kw_only=True):
    type: str | None = None
    connected_agent: object = None


class DefinitionView(View, frozen=True, kw_only=True):
    """The view of a definition: any object that one request copies. References are ids, in its order."""

    id: str
    created_at: Moment = None
    name: str | None = None
    model: str | None = None
    metadata: dict[str, object] | None = None

    @property
    def store_ids(self) -> list[SourceId]:
        return []

    @property
    def file_ids(self) -> list[SourceId]:
        return []

    @property
    def assistant_ids(self) -> list[SourceId]:
        return []

    @property
    def skill_ids(self) -> list[SourceId]:
        return []


class AssistantView(DefinitionView, frozen=True, kw_only=True):
    """What the program acts upon in an assistant. Source: GET /assistants."""

    instructions: str | None = None
    tools: list[ToolView] | None = None
    tool_resources: ToolResources | None = None

    @property
    def store_ids(self) -> list[SourceId]:
        """The vector stores that file_search uses, as the definition orders them."""
        found = self.tool_resources and self.tool_resources.file_search
        return [SourceId(i) for i in (found.vector_store_ids or [])] if found else []

    @property
    def file_ids(self) -> list[SourceId]:
        """The files that code_interpreter uses, as the definition orders them."""
        found = self.tool_resources and self.tool_resources.code_interpreter
        return [SourceId(i) for i in (found.file_ids or [])] if found else []

    @property
    def assistant_ids(self) -> list[SourceId]:
        """The assistants that its tools call, each once. Source: Azure's agents, connected_agent."""
        links = (tool.connected_agent for tool in self.tools or () if tool.type == "connected_agent")
        ids = (link.get("id") for link in links if isinstance(link, dict))
        return [SourceId(i) for i in dict.fromkeys(ids) if isinstance(i, str) and i]


class AgentView(DefinitionView, frozen=True, kw_only=True):
    """What the program acts upon in a reusable agent, which refers to no store and no file. Source: GET /agents."""


class FileCounts(msgspec.Struct, frozen=True, kw_only=True):
    total: int | float | None = None
    in_progress: int | float | None = None
    completed: int | float | None = None
    failed: int | float | None = None
    cancelled: int | float | None = None


class StoreView(View, frozen=True, kw_only=True):
    """What the program acts upon in a vector store. Source: GET /vector_stores/{id}."""

    id: str
    created_at: Moment = None
    name: str | None = None
    status: str | None = None
    file_counts: FileCounts | None = None
    metadata: dict[str, object] | None = None
    expires_after: dict[str, object] | None = None

    @property
    def total(self) -> int | None:
        """How many files it has, by its own count; where that has no total, by those of each status together."""
        if self.file_counts is None:
            return None
        total, *others = map(credible, msgspec.structs.astuple(self.file_counts))
        return total if total is not None else credible(sum(filter(None, others))) if any(others) else None


class MembershipView(View, frozen=True, kw_only=True):
    """One file of a vector store; its id is the file's id. Source: GET /vector_stores/{id}/files."""

    id: str
    created_at: Moment = None
    vector_store_id: str | None = None
    status: str | None = None
    attributes: dict[str, object] | None = None
    chunking_strategy: dict[str, object] | None = None
    last_error: dict[str, object] | None = None


class FileView(View, frozen=True, kw_only=True):
    """What the program acts upon in a file object. ``bytes`` is the server's claim, not always the size."""

    id: str
    bytes: int | float | None = None
    created_at: Moment = None
    filename: str | None = None
    purpose: str | None = None

    @property
    def size(self) -> int | None:
        """``bytes`` where it can be the size of a file."""
        return credible(self.bytes)


_YEAR_9999 = 253_402_300_799


def epoch_seconds(value: Moment) -> int:
    """A server's ``created_at`` as whole seconds; 0 for none, and for what can't be read."""
    number = _seconds_of(value) if isinstance(value, str) else value
    # NaN is in no range.
    if number is None or not 0 <= number < 1000 * (_YEAR_9999 + 1):
        return 0
    seconds = int(number)
    # As seconds it would be beyond the year 5138: look-alikes give milliseconds.
    return seconds // 1000 if seconds > 100_000_000_000 else seconds


def _seconds_of(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


# -- names of files ------------------------------------------------------------------------------------

_TEXT_ENDINGS = frozenset({
    "adoc", "bat", "c", "cc", "cfg", "conf", "cpp", "cs", "css", "csv", "cxx", "diff", "go", "h", "hpp", "htm", "html",
    "ini", "java", "js", "json", "jsonl", "kt", "log", "lua", "markdown", "md", "mjs", "org", "patch", "php", "pl",
    "ps1", "py", "r", "rb", "rs", "rst", "rtf", "scala", "sh", "sql", "srt", "svg", "swift", "tex", "toml", "ts",
    "tsv", "tsx", "txt", "vtt", "xml", "yaml", "yml",
})  # fmt: skip
# For these a server may hand out what a reader would see, which is shorter than the file.
_MARKUP_ENDINGS = frozenset({"htm", "html", "rtf", "svg", "xml"})


def is_text_name(filename: str) -> bool:
    """True for names of plain-text types: what the parser reads in these is the file itself."""
    stem, dot, extension = filename.rpartition(".")
    return bool(dot and stem) and extension.lower() in _TEXT_ENDINGS


def copy_names(name: str, *, is_text: bool) -> list[str]:
    """The names that a copy of a file may be given, in the order in which they are tried. ``is_text``: its text is all
    that there is of it.

    Servers go by a name's ending, whatever is in the file, and some know no ending in upper case: so its own name,
    that with the ending in lower case, and last the one that says text.

    >>> copy_names("A.PDF", is_text=False), copy_names("A.PDF", is_text=True)
    (['A.PDF', 'A.pdf', 'A.PDF.txt'], ['A.PDF.txt'])
    """
    stem, dot, ending = name.rpartition(".")
    lower = f"{stem}.{ending.lower()}" if stem and dot else name
    text = lower if lower.endswith(".txt") else f"{name}.txt"
    own = [] if is_text and not is_text_name(name) else [name, lower]
    return list(dict.fromkeys([*own, text]))


def comparable_size(filename: str | None, size: int | None) -> int | None:
    """``size``, a file's bytes, where the whole text of a file of that name must have as many; else None."""
    markup = (filename or "").rpartition(".")[2].lower() in _MARKUP_ENDINGS
    return size if filename and is_text_name(filename) and not markup else None
