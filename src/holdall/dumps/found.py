"""The objects in a dump's values: found at any depth, also in strings, and each kept once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from functools import cached_property
from typing import Any

import msgspec

from holdall.dumps.frontmatter import definition
from holdall.dumps.lifting import MadeStore, lifted
from holdall.dumps.loose import DEEPEST
from holdall.dumps.normal import Unfit, assistant, assistant_id, spelled
from holdall.dumps.table import rows
from holdall.dumps.text import DumpText, decoded, looks_like
from holdall.errors import Mistakes, UsageFault
from holdall.graph import with_callees_by_id
from holdall.model import Kind, Record, SourceId, invented
from holdall.untrusted import require_plain

__all__ = ["Dump", "MadeStore", "Unread", "read_dumps"]

_KINDS = {"vector_store": Kind.STORE, "file": Kind.FILE}
# Strings in strings: an answer in a log in a notebook.
_STRINGS_DEEP = 4
# An id where an object says its own, in any notation.
_ID = re.compile(r"\bid\W{1,12}(asst_\w+)")
_ASSISTANT_ID = re.compile(r"asst_\w+")
# Without one of these there is no assistant in a string.
_TELLING = re.compile(rb"asst_|\bassistant\b|\binstructions\b")
_MODELS = frozenset({"model", "model_name", "model_id", "deployment_name"})
_DEFINING = frozenset({"tools", "instructions", "instruction", "system_prompt", "system_instructions", "file_ids"})
# What runs, messages and requests for other APIs have.
_NO_ASSISTANT = frozenset({"thread_id", "run_id", "role", "messages", "input"})
_MOST_FIELDS = 200
_IN_PART = "only part of it could be read"
_NEEDED = 'it should hold objects with "object": "assistant", as the API listed them'


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """An assistant that a dump has and that can't be read. ``id`` is its own, or where it is said."""

    dump: str
    id: str
    message: str


class Dump(msgspec.Struct, frozen=True, kw_only=True):
    """What was found, each object once: of several with one id the last. ``memberships`` are by store.

    ``made`` are the stores that lifting from v1 made, which no server ever had. ``truncated`` are the dumps that lack
    something, and what they do: they end inside a value, or say of themselves that they are page 1 of more where no
    last page is among the dumps. ``unread`` are the assistants that could not be read. ``notes`` tell what was done to
    records that were not taken as they stood, and what was passed over. ``digest`` is the sha256 of all dumps together.
    """

    assistants: list[Record]
    stores: list[Record]
    files: list[Record]
    memberships: dict[SourceId, list[Record]]
    made: list[MadeStore]
    truncated: dict[str, str]
    unread: list[Unread]
    notes: list[str]
    digest: str


def read_dumps(dumps: Iterable[tuple[str, bytes]]) -> Dump:
    """Read dumps, given as (name, content).

    Raises UsageFault for those that have nothing in them that can be used, all together, and where none has an
    assistant.
    """
    found, mistakes = _Found(), Mistakes()
    useless = []
    for name, content in dumps:
        if (why := found.read(name, content)) is not None:
            useless.append((f"dump {name}", *why))
    if not useless and not found.has_assistants:
        useless.append(("the dumps", "there is no assistant in them", _NEEDED))
    unread = {one.dump for one in found.unread} if found.has_assistants else set()
    for what, message, hint in useless:
        if what.removeprefix("dump ") not in unread:
            mistakes.add(UsageFault(f"can't use {what}: {message}", hint=hint))
    mistakes.raise_all()
    return found.dump()


class _Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a value stands: in which dump; whether it is the dump's own bytes; whether inside text or a string, and of
    how many strings."""

    dump: str
    exact: bool = True
    indirect: bool = False
    strings: int = 0


class _Found:
    """Collects objects while dumps are walked."""

    def __init__(self) -> None:
        self._records: dict[tuple[Kind, SourceId], Record] = {}
        self._memberships: dict[SourceId, dict[SourceId, Record]] = {}
        self._made: dict[SourceId, MadeStore] = {}
        self._unread: dict[str, Unread] = {}
        self._digest = hashlib.sha256()
        self._truncated: dict[str, str] = {}
        self._pages: list[str] = []
        self._last_page = False
        self._notes: dict[str, None] = {}
        self.taken = 0
        """Objects of any kind that were kept."""
        # Of one dump:
        self._assistants = 0
        self._guesses: list[tuple[bytes, str | None, _Source]] = []
        self._named: dict[str, str] = {}
        self._others: set[str] = set()

    @property
    def unread(self) -> list[Unread]:
        return [one for one in self._unread.values() if (Kind.ASSISTANT, SourceId(one.id)) not in self._records]

    @property
    def has_assistants(self) -> bool:
        return any(kind is Kind.ASSISTANT for kind, _ in self._records)

    def read(self, name: str, content: bytes) -> tuple[str, str] | None:
        """Take what is in a dump; where that is nothing, why, and what to do about it. Raises UsageFault."""
        self._digest.update(hashlib.sha256(content).digest())
        taken = self.taken
        self._assistants, self._guesses, self._named, self._others = 0, [], {}, set()
        string = decoded(name, content)
        text = DumpText(string)
        try:
            if table := list(rows(string)):
                self._note(f"{name} is a table: {len(table)} rows")
                for row in table:
                    self._walk(msgspec.json.encode(row), None, 0, _Source(dump=name, exact=False))
            elif written := definition(string):
                self._note(f"{name} is Markdown: the text in it is the instructions")
                self._walk(msgspec.json.encode(written), None, 0, _Source(dump=name, exact=False))
            else:
                self._values(text, _Source(dump=name))
        except UsageFault as error:
            raise UsageFault(f"can't use dump {name}: {error.message}", hint=error.hint) from None
        self._decide(name)
        if text.error:
            self._named.update(dict.fromkeys(_ID.findall(string), _IN_PART))
        for ident, why in self._named.items():
            if (Kind.ASSISTANT, SourceId(ident)) not in self._records and ident not in self._others:
                self._unread.setdefault(ident, Unread(dump=name, id=ident, message=why))
        if text.cut is not None:
            self._truncated[name] = f"ends inside the value that begins in line {text.cut}"
        if self.taken == taken:
            return self._useless(name, text, string)
        if text.error:
            around = f"; {text.passed} characters of text around it were passed over" if text.passed else ""
            self._note(f"{name} was read though it is {text.error}{around}")
        return None

    def _useless(self, name: str, text: DumpText, string: str) -> tuple[str, str]:
        unread = next((one for one in self.unread if one.dump == name), None)
        if text.cut is not None:
            return f"it is {text.error}; it {self._truncated[name]}", "was the download cut off?"
        hint = looks_like(string) if text.error else ""
        if unread and unread.message != _IN_PART:
            return f"assistant {unread.id} can't be read: {unread.message}", hint
        if text.error:
            return f"it is {text.error}", hint
        return "there is no assistant in it", _NEEDED

    def _values(self, text: DumpText, source: _Source) -> None:
        for raw, exact in text.values():
            indirect = source.indirect or text.passed > 0
            self._walk(raw, None, 0, msgspec.structs.replace(source, exact=exact, indirect=indirect))

    def dump(self) -> Dump:
        def of(kind: Kind) -> list[Record]:
            return [record for (found, _), record in self._records.items() if found is kind]

        pages = [name for name in self._pages if name not in self._truncated]
        if pages and self._last_page:
            self._note(
                f"{', '.join(pages)} and the last page are in the dumps; that no page between is missing, "
                "they can't tell"
            )
        elif pages:
            why = "says that there are more pages (has_more)"
            self._truncated.update(dict.fromkeys(pages, why))
        return Dump(
            assistants=with_callees_by_id(of(Kind.ASSISTANT)),
            stores=of(Kind.STORE),
            files=of(Kind.FILE),
            memberships={store: list(members.values()) for store, members in self._memberships.items()},
            made=list(self._made.values()),
            truncated=self._truncated,
            unread=self.unread,
            notes=list(self._notes),
            digest=self._digest.hexdigest(),
        )

    # -- walking -------------------------------------------------------------------------------------

    def _walk(self, raw: bytes, key: str | None, depth: int, source: _Source) -> None:
        """Look for objects in a value; ``key`` is that under which it stands in a map of such values."""
        start = raw[:1]
        if depth > DEEPEST:
            self._note(f"{source.dump}: what lies more than {DEEPEST} deep is passed over")
        elif start == b'"':
            self._string(raw, source)
        elif start == b"[":
            items = msgspec.json.decode(raw, type=list[msgspec.Raw])
            if items and all(_starts(item, b'"') for item in items):
                self._string(raw, source)
                return
            for item in items:
                self._walk(bytes(item), None, depth + 1, source)
        elif start == b"{":
            self._object(raw, key, depth, source)

    def _object(self, raw: bytes, key: str | None, depth: int, source: _Source) -> None:
        members = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        head = _Head(members)
        if self._take(raw, head, key, source):
            return
        before = self._assistants + len(self._guesses)
        is_map = all(_starts(value, b"{") for value in members.values())
        for name, value in members.items():
            self._walk(bytes(value), name if is_map else None, depth + 1, source)
        if self._assistants + len(self._guesses) > before and (more := head.raw("has_more")):
            self._last_page |= more == b"false"
            if more == b"true" and source.dump not in self._pages:
                self._pages.append(source.dump)

    def _string(self, raw: bytes, source: _Source) -> None:
        """Look into a string, or the lines of a list, that may hold JSON."""
        if source.strings == _STRINGS_DEEP or (b"{" not in raw and b"(" not in raw) or not _TELLING.search(raw):
            return
        said = msgspec.json.decode(raw)
        if isinstance(said, list):
            said = ("" if any(line.endswith("\n") for line in said) else "\n").join(said)
        inner = msgspec.structs.replace(source, indirect=True, strings=source.strings + 1)
        text = DumpText(said)
        before = self.taken
        self._values(text, inner)
        if text.error:
            self._named.update(dict.fromkeys(_ID.findall(said), _IN_PART))
        if text.cut is not None and self.taken > before:
            self._truncated[source.dump] = "has a string in it that ends inside a value"

    # -- taking --------------------------------------------------------------------------------------

    def _take(self, raw: bytes, head: _Head, key: str | None, source: _Source) -> bool:
        """Keep an object of a kind that matters; False for anything else, which is then looked into."""
        ident = head.text("id")
        if head.object == "vector_store.file":
            store = head.text("vector_store_id")
            if ident and store:
                member = Record(kind=Kind.MEMBERSHIP, id=SourceId(ident), raw=_line(raw))
                self._memberships.setdefault(SourceId(store), {})[SourceId(ident)] = member
                self.taken += 1
                return True
            return False
        if head.object in _KINDS:
            kind = _KINDS[head.object]
            if ident:
                self._keep(kind, SourceId(ident), _line(raw) if kind is Kind.FILE else raw)
            return bool(ident)
        match head.likeness(key):
            case _Likeness.ASSISTANT:
                self._assistant(raw, key, source)
                return True
            case _Likeness.MAYBE:
                self._guesses.append((raw, key, source))
                return True
            case _Likeness.NAMED:
                self._named.setdefault(head.assistant_id or "", f"{source.dump} names it and does not define it")
            case _Likeness.NONE:
                if head.object is not None and head.assistant_id:
                    self._others.add(head.assistant_id)
        return False

    def _decide(self, name: str) -> None:
        """What looks like an assistant and has no id: a request where its assistant is there, else an assistant."""
        known = {_gist(record.raw) for (kind, _), record in self._records.items() if kind is Kind.ASSISTANT}
        is_alone = not self._assistants
        passed = 0
        for raw, key, source in self._guesses:
            if (not is_alone and source.indirect) or _gist(raw) in known:
                passed += 1
            else:
                self._assistant(raw, key, source)
        if passed:
            self._note(
                f"{name}: {passed} definitions without an id passed over: requests for assistants that are there"
            )

    def _assistant(self, raw: bytes, key: str | None, source: _Source) -> None:
        self._assistants += 1
        ident = ""
        try:
            require_plain(raw)
            fields = msgspec.json.decode(raw, type=dict[str, Any])
            ident = assistant_id(fields) or ""
            found = assistant(fields, key, exact=source.exact)
        except (ValueError, msgspec.DecodeError, RecursionError, Unfit) as error:
            ident = ident or f"number {self._assistants} in {source.dump}"
            self._unread.setdefault(ident, Unread(dump=source.dump, id=ident, message=str(error)))
            return
        if own := found.get("id"):
            ident = own
        else:
            ident = invented("asst", _canonical(raw))
            self._note(f"an assistant in {source.dump} has no id: it is called {ident} here")
            found["id"] = ident
        if renamed := [field for field in fields if field not in found]:
            self._note(
                f"{source.dump} has other names of fields than the API, which are read: {', '.join(renamed)[:200]}"
            )
        found, store, notes = lifted(found, ident)
        for note in notes:
            self._note(note)
        if store is not None:
            self._made[SourceId(ident)] = store
        self._keep(Kind.ASSISTANT, SourceId(ident), raw if found == fields else msgspec.json.encode(found))

    def _keep(self, kind: Kind, ident: SourceId, raw: bytes) -> None:
        known = self._records.get((kind, ident))
        if known is not None and _canonical(known.raw) != _canonical(raw):
            self._note(f"{kind} {ident} is in the dumps more than once and not the same: the last is taken")
        self._records[kind, ident] = Record(kind=kind, id=ident, raw=raw)
        self.taken += 1

    def _note(self, note: str) -> None:
        self._notes[note] = None


class _Likeness(Enum):
    ASSISTANT = auto()
    MAYBE = auto()
    NAMED = auto()
    NONE = auto()


class _Head:
    """Just enough of an object to recognise it, its fields by the API's names."""

    def __init__(self, members: Mapping[str, msgspec.Raw]) -> None:
        # What has more fields is a map of something.
        self._members = {spelled(key): value for key, value in members.items()} if len(members) <= _MOST_FIELDS else {}
        self.object = self.text("object")

    def raw(self, field: str) -> bytes:
        return bytes(self._members.get(field, b""))

    def text(self, field: str) -> str | None:
        """A field that is a short string."""
        raw = self._members.get(field, b"")
        return _text(bytes(raw)) if 2 < len(bytes(raw)) < 1000 else None

    @cached_property
    def assistant_id(self) -> str | None:
        if (own := self.text("id")) and _ASSISTANT_ID.fullmatch(own):
            return own
        found = {text for field in self._members if (text := self.text(field)) and _ASSISTANT_ID.fullmatch(text)}
        return found.pop() if len(found) == 1 else None

    def likeness(self, key: str | None) -> _Likeness:
        """How much the object is like an assistant."""
        fields = self._members.keys()
        if self.object == "assistant":
            return _Likeness.ASSISTANT
        if self.object is not None or fields & _NO_ASSISTANT:
            return _Likeness.NONE
        defined = bool(fields & _DEFINING)
        if (self.assistant_id or (key and _ASSISTANT_ID.fullmatch(key))) and (defined or fields & _MODELS):
            return _Likeness.ASSISTANT
        if fields & _MODELS and defined:
            return _Likeness.MAYBE
        if (own := self.text("id")) and _ASSISTANT_ID.fullmatch(own) and "name" in fields:
            return _Likeness.NAMED
        return _Likeness.NONE


def _starts(raw: msgspec.Raw, with_: bytes) -> bool:
    return bytes(memoryview(raw)[:1]) == with_


def _text(raw: bytes) -> str | None:
    if raw[:1] != b'"':
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return None


def _gist(raw: bytes) -> tuple[str, ...]:
    """What a request and the assistant that it made have in common."""
    try:
        fields = msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.DecodeError:
        return ()
    return tuple(str(fields.get(field) or "") for field in ("name", "model", "instructions"))


def _canonical(raw: bytes) -> bytes:
    """The same for the same value, however it was written; what is null might as well not be there."""
    return msgspec.json.encode(_without_nulls(msgspec.json.decode(raw)), order="sorted")


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _line(raw: bytes) -> bytes:
    return msgspec.json.format(raw, indent=-1)
