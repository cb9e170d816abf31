"""What a comparison of two states finds. Values only."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum

import msgspec

from holdall.diff.json_paths import ValueChange
from holdall.model import Kind, SourceId


class How(StrEnum):
    """What became of an object."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    RENAMED = "renamed"
    """It is there under another id, and may have changed besides."""


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The assistant or agent that an object is listed with."""

    kind: Kind
    id: SourceId
    name: str | None = None


class FieldChange(ValueChange, frozen=True, kw_only=True):
    """One value that differs. A text has its ``diff`` by lines in place of both values; ``added`` and ``removed`` count
    its lines."""

    diff: list[str] | msgspec.UnsetType = msgspec.UNSET
    added: int = 0
    removed: int = 0


class ObjectChange(msgspec.Struct, frozen=True, kw_only=True):
    """One object that differs. ``id`` is that of the first state, if it is there, else of the second; ``to`` is the
    other, where that is another one. ``inside`` is the store of a membership, whose ``id`` is its file's."""

    how: How
    kind: Kind
    id: SourceId
    to: SourceId | None = None
    name: str | None = None
    inside: SourceId | None = None
    owner: Owner | None = None
    size: int | None = None
    fields: list[FieldChange] = []


class SourceDiff(msgspec.Struct, kw_only=True):
    """The result. ``total`` counts all changes, ``changes`` has the first, as many as fit into memory; ``counts`` is by
    what became of them. ``compared`` counts the objects of either state."""

    changes: list[ObjectChange] = []
    total: int = 0
    counts: Counter[How] = msgspec.field(default_factory=Counter)
    compared: Counter[str] = msgspec.field(default_factory=Counter)
    copies: int = 0
