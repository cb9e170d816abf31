"""What of a bundle exists at the destination already. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.importer.plan.difference import Difference
from holdall.importer.plan.steps import By
from holdall.kinds import noun
from holdall.model import Kind, SourceId, TargetId


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
