"""What exists at a destination already, and how it differs from the bundle's or from how an earlier run left it. Pure.

Objects are compared field by field, over the fields that a client can set; servers change others by themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping
from enum import StrEnum
from functools import partial
from typing import Any

import msgspec

from holdall.dialects.canonical import UNSET, canonical_form, equal
from holdall.dialects.rules import Request, unmarked
from holdall.dialects.templates import by_reference
from holdall.kinds import KINDS, noun
from holdall.model import Kind, SourceId, TargetId

# Characters of a value that are shown.
_LONGEST = 200


PRESENT = "present"
"""The bundle's side of a difference where the thing itself is not there."""


class By(StrEnum):
    """What something at the destination is matched by."""

    ORIGIN = "its own id"
    EARLIER = "an earlier run"
    MARK = "metadata.cloned_from and its name"
    KEYS = "its name and metadata"
    NAME = "its name"
    WRITTEN = "what is in its files"
    CONTENTS = "its name and contents"
    PLACE = "its name and size, where its copy belongs"


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One value that differs from the bundle's. ``bundle`` and ``destination`` are the two JSON values."""

    kind: Kind
    source: SourceId
    target: TargetId | None = None
    name: str | None = None
    inside: SourceId | None = None
    field: str
    bundle: Any = None
    destination: Any = None

    def __str__(self) -> str:
        who = f"{noun(self.kind)} {f'{self.name} ({self.source})' if self.name else self.source}"
        where = f" in {self.inside}" if self.inside else ""
        return f"{who}{where}: {self.field}: {self.values()}"

    @property
    def absent(self) -> bool:
        """Whether the thing itself is missing, and not just a value of it."""
        return self.bundle == PRESENT and self.field in (self.kind.value, "request")

    @property
    def top(self) -> str:
        """The top-level field: ``metadata`` of ``metadata.k``."""
        return self.field.partition(".")[0]

    def told(self) -> str:
        """The same without the name of the assistant or store, where that has been printed."""
        which = f"{self.name or self.source}: " if self.inside else ""
        return f"{which}{self.field}: {self.values()}"

    def values(self) -> str:
        """Both values, for people."""
        here, there = _shown(self.bundle, self.destination)
        return f"bundle {here}, destination {there}"


def final(request: Request) -> dict[str, Any]:
    """What an object has once it is created and updated."""
    return {**request.body, **(request.update or {})}


def differences(
    expected: Mapping[str, Any],
    found: Mapping[str, Any],
    *,
    kind: Kind,
    source: SourceId,
    target: TargetId | None,
    name: str | None,
    added: Container[str] = (),
) -> list[Difference]:
    """Compares ``found`` with ``expected`` in every field that a client can set, metadata key by key.

    Our own marks don't count, nor do the metadata keys ``added`` that the server adds by itself.
    """
    about = partial(Difference, kind=kind, source=source, target=target, name=name)
    seen: list[Difference] = []
    model = expected.get("model") or found.get("model")
    # A store's description is never shown by servers that keep it.
    unseen = {"description"} if kind is Kind.STORE and "description" not in found else set()
    # Also what the bundle leaves at its default: an update has to set that back.
    for field in dict.fromkeys((*expected, *UNSET[kind])):
        here, there = expected.get(field), found.get(field)
        if field == "metadata":
            own, theirs = unmarked(here), unmarked(there)
            for key in {**own, **theirs}:
                mine, its = own.get(key), theirs.get(key)
                if key not in added and not equal(mine, its):
                    seen.append(about(field=f"metadata.{key}", bundle=mine, destination=its))
        elif field not in unseen and not same(kind, field, here, there, model=model):
            seen.append(about(field=field, bundle=here, destination=there))
    return seen


def same(
    kind: Kind, field: str, here: Any, there: Any, *, model: str | None = None, added: Container[str] = ()
) -> bool:
    """Whether a field means the same ``here`` and ``there``. All comparisons go through this one.

    Attributes ``added`` are the server's own.
    """
    if field == "attributes":
        there = {key: value for key, value in (there or {}).items() if key in (here or {}) or key not in added}
    if kind is Kind.TEMPLATE:
        here, there = by_reference(field, here), by_reference(field, there)
    wanted = canonical_form(kind, field, here, beside=here, model=model)
    return equal(wanted, canonical_form(kind, field, there, beside=here, model=model))


def top_fields(found: Iterable[Difference]) -> list[str]:
    """The top-level fields that differ, each once."""
    return list(dict.fromkeys(difference.top for difference in found))


def _shown(*values: Any) -> list[str]:
    """The values for people; long ones are cut to where they begin to differ."""
    # With blanks, so that a terminal can break the line.
    texts = [msgspec.json.format(msgspec.json.encode(value), indent=0).decode() for value in values]
    if max(map(len, texts)) <= _LONGEST:
        return texts
    same = next((n for n, chars in enumerate(zip(*texts, strict=False)) if len(set(chars)) > 1), min(map(len, texts)))
    start = max(0, same - _LONGEST // 4)
    return [_between_words(text, start, start + _LONGEST) for text in texts]


def _between_words(text: str, start: int, end: int) -> str:
    """About that part of ``text``: an id is shown whole or not at all, as far as there are blanks."""
    first = text.rfind(" ", 0, start) + 1 if start else 0
    last = text.rfind(" ", first + 1, end) if end < len(text) else -1
    begin = first if start - first <= _LONGEST // 4 else start
    stop = last if last > start else end
    return f"{'…' if begin else ''}{text[begin:stop]}{'…' if stop < len(text) else ''}"


# A journal keeps fingerprints and not values, so that it stays small: instructions have up to 256,000 characters.
_encoder = msgspec.json.Encoder(order="sorted")


def fingerprints(kind: Kind, found: Mapping[str, Any], added: Container[str] = ()) -> dict[str, str]:
    """The fingerprints of the fields of an object that can be set; fields at their default have none.

    What the server adds by itself doesn't count: the keys ``added`` in metadata and attributes, and members that the
    API's own objects don't have.
    """
    prints = {field: fingerprint(canonical_form(kind, field, _own(field, found, added))) for field in _settable(kind)}
    return {field: text for field, text in prints.items() if text}


def template_looks(fields: Mapping[str, Any]) -> str:
    """One fingerprint of all of a template that a request says and an answer shows."""
    shown = {field: by_reference(field, value) for field, value in fields.items()}
    return fingerprint(fingerprints(Kind.TEMPLATE, shown))


def changed(kind: Kind, then: Mapping[str, str], found: Mapping[str, Any], added: Container[str] = ()) -> list[str]:
    """The fields of ``found`` that differ from the fingerprints ``then``; ``added`` as in ``fingerprints``."""
    fields = []
    for field in _settable(kind):
        value = _own(field, found, added)
        # Earlier versions took the fingerprint of a field as it was shown, its defaults among it.
        if then.get(field, "") not in (fingerprint(canonical_form(kind, field, value)), fingerprint(value)):
            fields.append(field)
    return fields


def _settable(kind: Kind) -> Iterable[str]:
    """What a client can set and an answer shows. Nothing of a file can be changed after its upload."""
    return (*(("model",) if KINDS[kind].has_model else ()), *UNSET[kind])


def _own(field: str, found: Mapping[str, Any], added: Container[str]) -> Any:
    value = found.get(field)
    if field in ("metadata", "attributes") and isinstance(value, Mapping):
        return {key: item for key, item in value.items() if key not in added}
    return value


def fingerprint(value: Any) -> str:
    """64 bits in hex, equal for equal JSON values: 3 is 3.0, and null, ``""``, ``[]`` and ``{}`` all give ``""``."""
    value = _plain(value)
    if value is None:
        return ""
    return hashlib.sha256(_encoder.encode(value)).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """``value`` with whole floats as integers and without members that are null or empty; None if nothing is left."""
    if isinstance(value, dict):
        # Servers differ in whether they show what says nothing.
        kept = {key: plain for key, item in value.items() if (plain := _plain(item)) is not None}
        return kept or None
    if isinstance(value, list):
        return [_plain(item) for item in value] or None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return None if value == "" else value


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A definition that exists. ``changed`` are those of its differing fields that others changed since an earlier run.
    ``unkept`` are differences too: the account didn't keep these values when an earlier run sent them. Of a Foundry
    agent, ``latest`` is its newest version, and ``pinned`` the one that is served, if its settings name one."""

    target: TargetId
    by: By
    differences: list[Difference] = []
    changed: list[str] = []
    unkept: list[Difference] = []
    latest: str | None = None
    pinned: str | None = None


class Extra(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A file in a store that the bundle's store doesn't have."""

    target: TargetId
    name: str | None


class FoundStore(Found, frozen=True, kw_only=True):
    """A vector store that exists. The differences of its memberships are among its own.

    By the source's ids: ``relabelled`` are members whose attributes differ, with the right ones; ``recut`` are chunked
    differently or not indexed, so they have to be attached again; ``replaced`` have other bytes, with the id of that
    copy; ``missing`` are not in the store. ``fields`` of the store differ; ``added`` are those of the ``extras`` that
    no earlier run attached.
    """

    fields: list[str] = []
    added: list[str] = []
    relabelled: dict[SourceId, tuple[TargetId, dict[str, Any]]] = {}
    recut: dict[SourceId, TargetId] = {}
    replaced: dict[SourceId, TargetId] = {}
    missing: list[SourceId] = []
    extras: list[Extra] = []


class VersionThere(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a skill at a destination; ``digest`` is that of what is in its zip, empty where that can't be
    read."""

    number: str
    digest: str


class FoundSkill(Found, frozen=True, kw_only=True):
    """A skill that exists. ``numbers`` are those of the bundle's versions there, ``others`` the numbers of versions
    that the bundle doesn't have."""

    numbers: dict[SourceId, str] = {}
    others: list[str] = []


class FoundFile(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A file that exists with the bundle's bytes, as far as that can be known.

    ``copy`` is its second upload, as text, if stores have that one.
    """

    target: TargetId
    name: str | None
    by: By
    copy: TargetId | None = None


class FoundRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Where an assistant's written request is, or would go, and the file ``about`` it. ``equal``: both are there as
    they should be; ``beside``: what is at its own path is the user's."""

    path: TargetId
    about: str
    equal: bool
    beside: bool


class Several(msgspec.Struct, frozen=True, kw_only=True):
    """More than one object at the destination may be the copy."""

    kind: Kind
    id: SourceId
    name: str | None
    targets: list[TargetId]

    def __str__(self) -> str:
        kind = noun(self.kind)
        return f"{kind} {f'{self.name} ({self.id})' if self.name else self.id}: {', '.join(self.targets)}"


class Existing(msgspec.Struct, frozen=True, kw_only=True):
    """All that was found, by the source's ids. ``usage`` is what all stores there hold, in bytes, if known."""

    definitions: Mapping[Kind, Mapping[SourceId, Found]] = {}
    stores: Mapping[SourceId, FoundStore] = {}
    skills: Mapping[SourceId, FoundSkill] = {}
    files: Mapping[SourceId, FoundFile] = {}
    requests: Mapping[SourceId, FoundRequest] = {}
    several: list[Several] = []
    usage: int | None = None
    agents: frozenset[str] = frozenset()
    """The names of all agents of a Foundry project, without case: a new one must have another."""

    @property
    def origin(self) -> bool:
        """Whether the destination is the project that the bundle came from."""
        by_kind: list[Mapping[SourceId, Found | FoundFile]] = [
            *self.definitions.values(),
            self.stores,
            self.skills,
            self.files,
        ]
        return any(one.by is By.ORIGIN for found in by_kind for one in found.values())

    def whole(self, kind: Kind) -> Mapping[SourceId, Found]:
        """The definitions of a kind that one request copies."""
        return self.definitions.get(kind, {})


NOTHING = Existing()
