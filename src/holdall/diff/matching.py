"""Matches the objects of two states: by id, as copies, or by content. Pure but for reading.

An object and its copy have one origin: the id that a run's mapping, or ``cloned_from`` in the metadata, leads to. An
object that is in one state under one id and in the other under another, with the same content, was renamed. Content
refers to other objects, so it is compared in the order files, stores, what uses them.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from holdall.dialects.rules import CLONED_FROM, unmarked
from holdall.diff.record_source import ComparedFile, RecordSource, fields_of
from holdall.graph import with_callees
from holdall.kinds import ASSISTANT_KINDS, DEFINITIONS, KINDS
from holdall.model import DefinitionView, Fidelity, Kind, Record, SourceId, copy_names, epoch_seconds

_ENCODER = msgspec.json.Encoder(order="sorted")
# What identifies an object, and what says when it was made.
_IDENTITY = frozenset({"id", "created_at", "vector_store_id", "skill_id"})


class Copies(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of copies from the mappings of imports: by kind, the id of each copy's origin; the prefixes of
    their names, the models (a GLOB and the new one) that they were given instead, and the metadata keys that servers
    added."""

    origins: Mapping[Kind, Mapping[str, str]] = {}
    prefixes: tuple[str, ...] = ()
    models: tuple[tuple[str, str], ...] = ()
    added: frozenset[str] = frozenset()

    def is_name(self, one: object, other: object) -> bool:
        """Whether one may be the name of a copy of an object that has the other name."""
        # Of a name with a prefix the end may be cut off.
        pairs = [(a, b) for a, b in ((one, other), (other, one)) if isinstance(a, str) and isinstance(b, str)]
        return one == other or any(
            a != b and b and f"{p}{a}".startswith(b) and b.startswith(p) for a, b in pairs for p in self.prefixes
        )

    def is_model(self, one: object, other: object) -> bool:
        """The same of models."""
        pairs = [(a, b) for a, b in ((one, other), (other, one)) if isinstance(a, str)]
        return one == other or any(b == new and fnmatchcase(a, old) for a, b in pairs for old, new in self.models)


class KnownObject(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a definition without reading it again."""

    id: SourceId
    name: str | None
    created: int
    cloned_from: str | None
    stores: tuple[SourceId, ...] = ()
    files: tuple[SourceId, ...] = ()

    def uses(self, kind: Kind) -> tuple[SourceId, ...]:
        """The stores or files that it refers to."""
        return self.stores if kind is Kind.STORE else self.files

    @property
    def place(self) -> tuple[int, str]:
        """Where it stands in a list: oldest first."""
        return self.created, self.id


class ObjectMatch:
    """The objects of both states, and which is which."""

    def __init__(self, before: RecordSource, after: RecordSource, copies: Copies) -> None:
        self.before, self.after, self.copies = before, after, copies
        self.listed = {kind: (_listed(before, kind), _listed(after, kind)) for kind in DEFINITIONS}
        self.to: dict[Kind, dict[SourceId, SourceId]] = {kind: {} for kind in (*DEFINITIONS, Kind.FILE)}
        self.back: dict[Kind, dict[SourceId, SourceId]] = {kind: {} for kind in (*DEFINITIONS, Kind.FILE)}
        self.copied: set[tuple[Kind, SourceId]] = set()
        """Objects of ``before`` whose counterpart is a copy, or that are one."""
        self.renamed: set[tuple[Kind, SourceId]] = set()
        for kind, (ours, theirs) in self.listed.items():
            self._by_origin(kind, ours, theirs, _Origins(copies.origins.get(kind, {}), (ours, theirs)))
        known = _Origins(copies.origins.get(Kind.FILE, {}), ())
        self._by_origin(Kind.FILE, before.files, after.files, known)
        self._files_by_content()
        # What is referred to comes before what refers to it.
        for kind in (Kind.STORE, Kind.SKILL, *ASSISTANT_KINDS):
            self._by_content(kind)

    def is_copy(self, kind: Kind, id: SourceId) -> bool:
        return (kind, id) in self.copied

    def values(self, record: Record, *, mapped: bool) -> dict[str, Any]:
        """A record's fields, with lists of ids in order. ``mapped``: it is of ``after``, and refers to what it refers
        to by the ids of ``before``."""
        fields = as_compared(record)
        name = self.name_after if mapped else self.name_before
        if record.kind in (Kind.FOUNDRY_AGENT, Kind.AGENT_VERSION, Kind.TEMPLATE):
            return {key: _with_names(value, name) if key in _REFERRING else value for key, value in fields.items()}
        tools, found = fields.get("tools"), fields.get("tool_resources")
        if mapped and isinstance(tools, list):
            fields["tools"] = with_callees(tools, self.back[Kind.ASSISTANT])
        if isinstance(found, dict):
            fields["tool_resources"] = {tool: _with_ids(held, name) for tool, held in found.items()}
        return fields

    def name_before(self, kind: Kind, id: SourceId) -> SourceId:
        """The id that stands for an object of ``before`` in both states."""
        return self.back[kind][self.to[kind][id]] if id in self.to[kind] else id

    def name_after(self, kind: Kind, id: SourceId) -> SourceId:
        """The same for one of ``after``: the id of its counterpart, if it has one."""
        return self.back[kind].get(id, id)

    def _pair(self, kind: Kind, ours: SourceId, theirs: SourceId, *, into: set[tuple[Kind, SourceId]] | None) -> None:
        self.to[kind][ours] = theirs
        self.back[kind][theirs] = ours
        if into is not None:
            into.add((kind, ours))

    def _left(
        self, kind: Kind, ours: Iterable[SourceId], theirs: Iterable[SourceId]
    ) -> tuple[list[SourceId], list[SourceId]]:
        """What has no counterpart yet."""
        return [id for id in ours if id not in self.to[kind]], [id for id in theirs if id not in self.back[kind]]

    def _by_origin(self, kind: Kind, ours: Iterable[SourceId], theirs: Iterable[SourceId], origins: _Origins) -> None:
        theirs = dict.fromkeys(theirs)
        for id in ours:
            if id in theirs:
                self._pair(kind, id, id, into=self.copied if self._is_namesake(kind, id) else None)
        self._pair_equal(kind, self._left(kind, ours, theirs), (origins.of, origins.of), into=self.copied)
        if kind is Kind.FILE:
            self._share(ours, theirs, origins)

    def _is_namesake(self, kind: Kind, id: SourceId) -> bool:
        """Whether of two with one id one is a copy of the other: agents of Foundry keep their name, which is their
        id."""
        if kind is not Kind.FOUNDRY_AGENT:
            return False
        marks = [listed[id].cloned_from for listed in self.listed[kind]]
        return marks[0] != marks[1] and str(id) in marks

    def _share(self, ours: Iterable[SourceId], theirs: Iterable[SourceId], origins: _Origins) -> None:
        """A file may have two copies, one of them as text; and one copy may be that of several files, as some servers
        give one id to equal bytes."""
        paired = {origins.of(id): (id, copy) for id, copy in self.to[Kind.FILE].items() if self.is_copy(Kind.FILE, id)}
        left, there = self._left(Kind.FILE, ours, theirs)
        for id in left:
            if (found := paired.get(origins.of(id))) is not None:
                self.to[Kind.FILE][id] = found[1]
                self.copied.add((Kind.FILE, id))
        for id in there:
            if (found := paired.get(origins.of(id))) is not None:
                self.back[Kind.FILE][id] = found[0]

    def _pair_equal(
        self,
        kind: Kind,
        left: tuple[list[SourceId], list[SourceId]],
        keys: tuple[Callable[[SourceId], Hashable], Callable[[SourceId], Hashable]],
        *,
        into: set[tuple[Kind, SourceId]],
    ) -> None:
        """Pair those of one key, in order; a key of None is no key."""
        places: dict[Hashable, deque[SourceId]] = {}
        for id in left[1]:
            places.setdefault(keys[1](id), deque()).append(id)
        for id in left[0]:
            key = keys[0](id)
            if key is not None and (found := places.get(key)):
                self._pair(kind, id, found.popleft(), into=into)

    # -- by content ------------------------------------------------------------------------------------

    def _files_by_content(self) -> None:
        # Files carry no marks: among copies, those with the same content are copies too.
        into = self.copied if self.copied else self.renamed
        ours, theirs = self.before.files, self.after.files
        self._pair_equal(
            Kind.FILE,
            self._left(Kind.FILE, ours, theirs),
            (lambda id: _content_key(ours[id]), lambda id: _content_key(theirs[id])),
            into=into,
        )
        # Where contents are known on both sides, equal names prove nothing.
        if not all(any(file.sha256 for file in files.values()) for files in (ours, theirs)):
            self._pair_equal(
                Kind.FILE,
                self._left(Kind.FILE, ours, theirs),
                (lambda id: _name_key(ours[id]), lambda id: _name_key(theirs[id])),
                into=into,
            )
        if self.copied:
            self._stand_ins()

    def _stand_ins(self) -> None:
        """Copies of files whose text was uploaded in place of the file, in stores that are copies: by their names."""
        for store, copy in self.to[Kind.STORE].items():
            if not self.is_copy(Kind.STORE, store):
                continue
            ours = (record.id for record in self.before.members(Kind.STORE, store))
            theirs = (record.id for record in self.after.members(Kind.STORE, copy))
            left, there = self._left(Kind.FILE, dict.fromkeys(ours), dict.fromkeys(theirs))
            names = {file.name: file.id for id in there if (file := self.after.files.get(id)) and file.name}
            for file in (self.before.files[id] for id in left if id in self.before.files):
                fitting = copy_names(file.name or file.id, is_text=file.fidelity is Fidelity.TEXT)
                if found := next((name for name in fitting if name in names), None):
                    self._pair(Kind.FILE, file.id, names.pop(found), into=self.copied)

    def _by_content(self, kind: Kind) -> None:
        ours, theirs = self.listed[kind]
        left = self._left(kind, ours, theirs)
        if left[0] and left[1]:
            keys = (lambda id: self._hash(kind, id, mapped=False), lambda id: self._hash(kind, id, mapped=True))
            self._pair_equal(kind, left, keys, into=self.renamed)

    def _hash(self, kind: Kind, id: SourceId, *, mapped: bool) -> bytes:
        source, name = (self.after, self.name_after) if mapped else (self.before, self.name_before)
        passing = passing_fields(kind)

        def said(record: Record) -> dict[str, Any]:
            found = {k: v for k, v in self.values(record, mapped=mapped).items() if k not in passing and v is not None}
            return {**found, "metadata": unmarked(found.get("metadata"))}

        total = hashlib.sha256(_ENCODER.encode(said(source.definition(kind, id))))
        if kind is Kind.STORE:
            members = ((name(Kind.FILE, record.id), said(record)) for record in source.members(kind, id))
            lines = sorted(hashlib.sha256(_ENCODER.encode([file, fields])).digest() for file, fields in members)
            total.update(b"".join(lines))
        elif kind is Kind.SKILL:
            for record in source.members(kind, id):
                zip = source.zips.get(record.id)
                total.update(_ENCODER.encode([said(record), zip and zip.sha256]))
        return total.digest()


class _Origins:
    """The first object that an object is a copy of a copy of."""

    def __init__(self, mapped: Mapping[str, str], listed: Iterable[Mapping[SourceId, KnownObject]]) -> None:
        self._origins: dict[str, str] = {
            str(one.id): one.cloned_from for each in listed for one in each.values() if one.cloned_from
        }
        self._origins.update(mapped)

    def of(self, id: str) -> str:
        seen: dict[str, None] = {}
        while id in self._origins and id not in seen:
            seen[id] = None
            id = self._origins[id]
        # The way is as long as the bundle likes, so nobody goes it twice.
        self._origins.update(dict.fromkeys(seen, id))
        self._origins.pop(id, None)
        return id


def _listed(source: RecordSource, kind: Kind) -> dict[SourceId, KnownObject]:
    """All of a kind, oldest first."""
    found = [_one(kind, record) for record in source.definitions(kind)]
    return {one.id: one for one in sorted(found, key=lambda one: one.place)}


def _one(kind: Kind, record: Record) -> KnownObject:
    view: Any = KINDS[kind].view.of(record)
    mark = (getattr(view, "metadata", None) or {}).get(CLONED_FROM)
    uses = (tuple(dict.fromkeys(ids)) for ids in (view.store_ids, view.file_ids)) if _refers(view) else ((), ())
    stores, files = uses
    return KnownObject(
        id=record.id,
        name=view.name,
        created=epoch_seconds(view.created_at),
        cloned_from=mark if isinstance(mark, str) else None,
        stores=stores,
        files=files,
    )


def _refers(view: object) -> bool:
    return isinstance(view, DefinitionView)


def _content_key(file: ComparedFile) -> Hashable:
    # Of two files that can't be read the text is equally empty.
    return (file.sha256, file.name if file.fidelity is Fidelity.TEXT else None) if file.sha256 is not None else None


def _name_key(file: ComparedFile) -> Hashable:
    return (file.name, file.declared) if file.name is not None and file.declared is not None else None


def as_compared(record: Record) -> dict[str, Any]:
    """The fields of a record; of a Foundry agent and its versions flat, those of the definition beside the others."""
    fields = fields_of(record)
    if record.kind not in (Kind.FOUNDRY_AGENT, Kind.AGENT_VERSION):
        return fields
    versions = fields.pop("versions", None)
    others = {**versions} if isinstance(versions, dict) else {}
    latest = others.pop("latest", None) if record.kind is Kind.FOUNDRY_AGENT else fields
    latest = {**latest} if isinstance(latest, dict) else {}
    definition = latest.pop("definition", None)
    for field in ("id", "object", "name", "created_at"):
        latest.pop(field, None)
    fields.pop("definition", None)
    return {**({"versions": others} if others else {}), **fields, **latest, **_object(definition)}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


# Fields in which Foundry agents and templates name other things, and what a key in them names.
_REFERRING = frozenset({"tools", "files", "skills"})
_NAMED_BY = {"vector_store_ids": Kind.STORE, "file_ids": Kind.FILE, "file_id": Kind.FILE, "skill_id": Kind.SKILL}


def _with_names(value: Any, name: Callable[[Kind, SourceId], SourceId]) -> Any:
    """A value where each id is the one that stands for its object in both states; lists of ids are sets."""
    if isinstance(value, list):
        return [_with_names(one, name) for one in value]
    if not isinstance(value, dict):
        return value
    found: dict[str, Any] = {}
    for key, item in value.items():
        kind = _NAMED_BY.get(key)
        if kind and isinstance(item, list):
            found[key] = sorted({name(kind, SourceId(str(id))) for id in item})
        elif kind and isinstance(item, str):
            found[key] = name(kind, SourceId(item))
        else:
            found[key] = _with_names(item, name)
    return found


def _with_ids(held: Any, name: Callable[[Kind, SourceId], SourceId]) -> Any:
    """What a tool holds, with its ids as a set: servers give them back in an order of their own."""
    if not isinstance(held, dict):
        return held
    found = dict(held)
    for field, kind in (("file_ids", Kind.FILE), ("vector_store_ids", Kind.STORE)):
        if isinstance(ids := held.get(field), list):
            found[field] = sorted({name(kind, SourceId(str(id))) for id in ids})
    return found


def passing_fields(kind: Kind) -> frozenset[str]:
    """Fields that say which object it is, or change by themselves."""
    return _IDENTITY | {*KINDS[kind].volatile}
