"""What of a bundle is at the destination already, as far as a plan needs to know it. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.importer.plan.difference import Difference
from holdall.importer.plan.steps import By
from holdall.kinds import noun
from holdall.model import Kind, SourceId, TargetId

__all__ = ["NOTHING", "Existing", "Extra", "Found", "FoundFile", "FoundRequest", "FoundStore", "Several"]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A definition that is there. ``changed``: of its differences, what others changed since an earlier run left it.
    ``unkept`` differs, too: the account didn't keep it when an earlier run sent it."""

    target: TargetId
    by: By
    differences: list[Difference] = []
    changed: list[str] = []
    unkept: list[Difference] = []


class Extra(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A file in a store that the bundle's store doesn't have."""

    target: TargetId
    name: str | None


class FoundStore(Found, frozen=True, kw_only=True):
    """A vector store that is there. The differences of its memberships are among its own.

    By the source's ids: ``relabelled`` are members whose attributes differ, with those that they should have; ``recut``
    those that have to be put into it again, being cut otherwise or not indexed; ``replaced`` those whose
    bytes are others, with the copy that has the old ones; ``missing`` are not in it. ``fields`` of it differ; ``added``
    are those of the ``extras`` that no earlier run put in.
    """

    fields: list[str] = []
    added: list[str] = []
    relabelled: dict[SourceId, tuple[TargetId, dict[str, Any]]] = {}
    recut: dict[SourceId, TargetId] = {}
    replaced: dict[SourceId, TargetId] = {}
    missing: list[SourceId] = []
    extras: list[Extra] = []


class FoundFile(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A file that is there with the bytes that the bundle has, as far as that can be known.

    ``copy`` is its second upload, as text, where stores have that one.
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
    """More than one thing at the destination may be the copy."""

    kind: Kind
    id: SourceId
    name: str | None
    targets: list[TargetId]

    def __str__(self) -> str:
        kind = noun(self.kind)
        return f"{kind} {f'{self.name} ({self.id})' if self.name else self.id}: {', '.join(self.targets)}"


class Existing(msgspec.Struct, frozen=True, kw_only=True):
    """All that was recognised, by the source's ids. ``usage`` is what all stores there hold, in bytes, if known."""

    definitions: Mapping[Kind, Mapping[SourceId, Found]] = {}
    stores: Mapping[SourceId, FoundStore] = {}
    files: Mapping[SourceId, FoundFile] = {}
    requests: Mapping[SourceId, FoundRequest] = {}
    several: list[Several] = []
    usage: int | None = None

    @property
    def origin(self) -> bool:
        """Whether the destination is the project that the bundle came from."""
        by_kind: list[Mapping[SourceId, Found | FoundFile]] = [*self.definitions.values(), self.stores, self.files]
        return any(one.by is By.ORIGIN for found in by_kind for one in found.values())

    def whole(self, kind: Kind) -> Mapping[SourceId, Found]:
        """The definitions of a kind that one request copies."""
        return self.definitions.get(kind, {})


NOTHING = Existing()
