"""Collects the objects in a dump's values, at any depth and inside strings, each once."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import msgspec

from holdall.dumps.csv_markdown import definition, rows
from holdall.dumps.loose import DEEPEST
from holdall.dumps.normal import Head, Likeness, Unfit, assistant, assistant_id, from_v1
from holdall.dumps.text import DumpText, decoded, looks_like
from holdall.errors import Mistakes, UsageFault
from holdall.graph import with_callees_by_id
from holdall.model import Kind, Record, SourceId, invented
from holdall.untrusted import require_plain

_KINDS = {"vector_store": Kind.STORE, "vector_store.file": Kind.MEMBERSHIP, "file": Kind.FILE}
# Strings in strings: an answer in a log in a notebook.
_STRINGS_DEEP = 4
# An id where an object says its own, in any notation.
_ID = re.compile(r"\bid\W{1,12}(asst_\w+)")
# Without one of these there is no assistant in a string.
_TELLING = re.compile(rb"asst_|\bassistant\b|\binstructions\b")
_IN_PART = "only part of its definition could be read"
_NEEDED = 'it must contain objects with "object": "assistant", as listed by the API'


class Unread(msgspec.Struct, frozen=True, kw_only=True):
    """An assistant in a dump that can't be read. ``id`` is its own, or its place."""

    dump: str
    id: str
    message: str


class Dump(msgspec.Struct, frozen=True, kw_only=True):
    """The objects found, each once: of several with one id the last. ``memberships`` are by store.

    ``stores`` includes those made by the conversion from v1, which exist on no server. ``truncated`` names the dumps
    that lack something, and why: they end inside a value, or are page 1 of more without a last page. ``unread`` are the
    assistants that could not be read. ``notes`` say which records were changed, and what was skipped. ``digest`` is the
    sha256 of all dumps together.
    """

    assistants: list[Record] = []
    stores: list[Record] = []
    files: list[Record] = []
    memberships: dict[SourceId, list[Record]] = {}
    truncated: dict[str, str] = {}
    unread: list[Unread] = []
    notes: list[str] = []
    digest: str = ""


def read_dumps(dumps: Iterable[tuple[str, bytes]]) -> Dump:
    """Read dumps, given as (name, content).

    Raises one UsageFault for all dumps with nothing usable, and if none has an assistant.
    """
    found, mistakes = _Found(), Mistakes()
    useless = []
    for name, content in dumps:
        if (why := found.read(name, content)) is not None:
            useless.append((name, why))
    dump = found.dump()
    # Where there are others to export, an assistant that can't be read is a loss and no mistake.
    unread = {one.dump for one in dump.unread} if dump.assistants else set()
    for name, why in useless:
        if name not in unread:
            mistakes.add(why)
    mistakes.raise_all()
    if not dump.assistants:
        raise UsageFault("can't use the dumps: no assistant found", hint=_NEEDED)
    return dump


class _Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a value is: its dump; whether it is the dump's own bytes; whether inside text or strings, and how many
    deep."""

    dump: str
    exact: bool = True
    indirect: bool = False
    strings: int = 0


class _Found:
    """Collects objects while dumps are walked."""

    def __init__(self) -> None:
        self._records: dict[Kind, dict[SourceId, Record]] = {Kind.ASSISTANT: {}, Kind.STORE: {}, Kind.FILE: {}}
        self._memberships: dict[SourceId, dict[SourceId, Record]] = {}
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
        return [one for one in self._unread.values() if one.id not in self._records[Kind.ASSISTANT]]

    def read(self, name: str, content: bytes) -> UsageFault | None:
        """Collect what is in a dump. Raises UsageFault if there is nothing, with the reason and the remedy."""
        self._digest.update(hashlib.sha256(content).digest())
        taken = self.taken
        self._assistants, self._guesses, self._named, self._others = 0, [], {}, set()
        string = decoded(name, content)
        text = DumpText(name, string)
        definitions = list(rows(string))
        if definitions:
            self._note(f"{name}: read as a table with {len(definitions)} rows")
        elif written := definition(string):
            self._note(f"{name}: read as Markdown; its text becomes the instructions")
            definitions.append(written)
        for fields in definitions:
            self._walk(msgspec.json.encode(fields), None, 0, _Source(dump=name, exact=False))
        if not definitions:
            self._values(text, _Source(dump=name))
        self._decide(name)
        if text.error:
            self._named.update(dict.fromkeys(_ID.findall(string), _IN_PART))
        for ident, why in self._named.items():
            if ident not in self._records[Kind.ASSISTANT] and ident not in self._others:
                self._unread.setdefault(ident, Unread(dump=name, id=ident, message=why))
        if text.cut is not None:
            self._truncated[name] = f"ends in the middle of the value that starts in line {text.cut}"
        if self.taken == taken:
            message, hint = self._why_useless(name, text, string)
            return UsageFault(f"can't use dump {name}: {message}", hint=hint)
        if text.error:
            around = f"; skipped {text.passed} characters of other text" if text.passed else ""
            self._note(f"{name}: {text.error}; read anyway{around}")
        return None

    def _why_useless(self, name: str, text: DumpText, string: str) -> tuple[str, str]:
        unread = next((one for one in self.unread if one.dump == name), None)
        if text.cut is not None:
            return f"{text.error}; the file {self._truncated[name]}", "check that the file was downloaded completely"
        hint = looks_like(string) if text.error else ""
        if unread and unread.message != _IN_PART:
            return f"can't read assistant {unread.id}: {unread.message}", hint
        if text.error:
            return text.error, hint or _NEEDED
        return "no assistant found", _NEEDED

    def _values(self, text: DumpText, source: _Source) -> None:
        for raw, exact in text.values():
            indirect = source.indirect or text.passed > 0
            self._walk(raw, None, 0, msgspec.structs.replace(source, exact=exact, indirect=indirect))

    def dump(self) -> Dump:
        pages = [name for name in self._pages if name not in self._truncated]
        if pages and self._last_page:
            self._note(f"found {', '.join(pages)} and the last page; check that no page in between is missing")
        elif pages:
            why = "is not the last page (has_more)"
            self._truncated.update(dict.fromkeys(pages, why))
        return Dump(
            assistants=with_callees_by_id(list(self._records[Kind.ASSISTANT].values())),
            stores=list(self._records[Kind.STORE].values()),
            files=list(self._records[Kind.FILE].values()),
            memberships={store: list(members.values()) for store, members in self._memberships.items()},
            truncated=self._truncated,
            unread=self.unread,
            notes=list(self._notes),
            digest=self._digest.hexdigest(),
        )

    # -- walking -------------------------------------------------------------------------------------

    def _walk(self, raw: bytes, key: str | None, depth: int, source: _Source) -> None:
        """Look for objects in a value; ``key`` is its key in a map of such values."""
        start = raw[:1]
        if depth > DEEPEST:
            self._note(f"{source.dump}: skipped values nested more than {DEEPEST} deep")
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
        head = Head(members)
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
        text = DumpText(source.dump, said)
        before = self.taken
        self._values(text, inner)
        if text.error:
            self._named.update(dict.fromkeys(_ID.findall(said), _IN_PART))
        if text.cut is not None and self.taken > before:
            self._truncated[source.dump] = "contains a string that ends in the middle of a value"

    # -- taking --------------------------------------------------------------------------------------

    def _take(self, raw: bytes, head: Head, key: str | None, source: _Source) -> bool:
        """Keep an object of a kind that matters; False for anything else, which is then looked into."""
        if kind := _KINDS.get(head.object or ""):
            return self._take_other(kind, raw, head)
        match head.likeness(key):
            case Likeness.ASSISTANT:
                self._assistant(raw, key, source)
                return True
            case Likeness.MAYBE:
                self._guesses.append((raw, key, source))
                return True
            case Likeness.NAMED:
                self._named.setdefault(head.assistant_id or "", f"{source.dump} names it, but does not define it")
            case Likeness.NONE:
                if head.object is not None and head.assistant_id:
                    self._others.add(head.assistant_id)
        return False

    def _take_other(self, kind: Kind, raw: bytes, head: Head) -> bool:
        ident, store = head.text("id"), head.text("vector_store_id")
        if not ident or (kind is Kind.MEMBERSHIP and not store):
            return False
        # A bundle has memberships and files in lines, stores as they were written.
        line = raw if kind is Kind.STORE else msgspec.json.format(raw, indent=-1)
        record = Record(kind=kind, id=SourceId(ident), raw=line)
        if kind is Kind.MEMBERSHIP:
            self._memberships.setdefault(SourceId(store or ""), {})[record.id] = record
            self.taken += 1
        else:
            self._keep(record)
        return True

    def _decide(self, name: str) -> None:
        """Decide about objects like assistants without an id: a request if its assistant is there, else an
        assistant."""
        known = {_gist(record.raw) for record in self._records[Kind.ASSISTANT].values()}
        is_alone = not self._assistants
        passed = 0
        for raw, key, source in self._guesses:
            if (not is_alone and source.indirect) or _gist(raw) in known:
                passed += 1
            else:
                self._assistant(raw, key, source)
        if passed:
            self._note(
                f"{name}: skipped {passed} definitions without an id; they are requests for assistants that were read"
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
            found["id"] = ident
            self._note(f"an assistant in {source.dump} has no id; using {ident}")
        if renamed := [field for field in fields if field not in found]:
            self._note(f"{source.dump}: read fields that the API names differently: {', '.join(renamed)[:200]}")
        found, made, notes = from_v1(found, ident)
        for note in notes:
            self._note(note)
        if made:
            store, *members = made
            self._records[Kind.STORE][store.id] = store
            self._memberships[store.id] = {member.id: member for member in members}
        # Nothing is encoded again that was in the API's form already: numbers stay as they were written.
        taken = raw if found == fields else msgspec.json.encode(found)
        self._keep(Record(kind=Kind.ASSISTANT, id=SourceId(ident), raw=taken))

    def _keep(self, record: Record) -> None:
        known = self._records[record.kind].get(record.id)
        if known is not None and _canonical(known.raw) != _canonical(record.raw):
            self._note(f"{record.kind} {record.id} occurs in the dumps in different versions; using the last")
        self._records[record.kind][record.id] = record
        self.taken += 1

    def _note(self, note: str) -> None:
        # Keys of a dict are a set that keeps its order.
        self._notes[note] = None


def _starts(raw: msgspec.Raw, with_: bytes) -> bool:
    return bytes(memoryview(raw)[:1]) == with_


def _gist(raw: bytes) -> tuple[str, ...]:
    """What a request has in common with the assistant it made."""
    try:
        fields = msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.DecodeError:
        return ()
    return tuple(str(fields.get(field) or "") for field in ("name", "model", "instructions"))


def _canonical(raw: bytes) -> bytes:
    """A form that is equal for equal values; nulls don't count."""
    return msgspec.json.encode(_without_nulls(msgspec.json.decode(raw)), order="sorted")


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value
