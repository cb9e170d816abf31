"""What a comparison of two states finds: which objects differ, and where their values do, by path, as in
``tools[1].function.parameters.properties.city.type``. Pure.

An item of a list has the place that it has after the change, a removed one the place that it had before. Items are
matched by what they are (a tool by its type and name), so that one inserted in front changes no other.
"""

from __future__ import annotations

import json
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from enum import StrEnum
from operator import itemgetter
from typing import Any

import msgspec

from holdall.dialects.canonical import equal
from holdall.model import Kind, SourceId

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
# Members by which an object in a list is known among its neighbours.
_NAMES = ("name", "id", "server_label", "title")


# Lists inside each other that are looked into: each costs another comparison of what is in it.
_DEEPEST = 8


class ValueChange(msgspec.Struct, frozen=True, kw_only=True):
    """One value that differs; ``before`` or ``after`` is UNSET where there is none, which is another thing than null.
    Of a list whose items have only changed places, both are the list."""

    path: str
    before: Any = msgspec.UNSET
    after: Any = msgspec.UNSET


def below(path: str, key: str) -> str:
    """The path of a member.

    >>> below("metadata", "team"), below("metadata", "a.b"), below("", "name")
    ('metadata.team', 'metadata["a.b"]', 'name')
    """
    if not _PLAIN.fullmatch(key):
        return f"{path}[{json.dumps(key, ensure_ascii=False)}]"
    return f"{path}.{key}" if path else key


def value_changes(before: Any, after: Any, path: str = "", *, lists: int = _DEEPEST) -> Iterator[ValueChange]:
    """The innermost values that differ, in the order of ``before``, then what ``after`` has besides; so many ``lists``
    inside each other are looked into."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            values = before.get(key, msgspec.UNSET), after.get(key, msgspec.UNSET)
            yield from value_changes(*values, below(path, str(key)), lists=lists)
    elif isinstance(before, list) and isinstance(after, list) and lists:
        yield from _items(before, after, path, lists - 1)
    elif not (before is after or equal(before, after)):
        yield ValueChange(path=path, before=before, after=after)


def _items(before: Sequence[Any], after: Sequence[Any], path: str, lists: int) -> Iterator[ValueChange]:
    pairs, removed, added = _matched(before, after)
    is_changed = bool(removed or added)
    for i, k in pairs:
        for change in value_changes(before[i], after[k], f"{path}[{k}]", lists=lists):
            is_changed = True
            yield change
    for i in removed:
        yield ValueChange(path=f"{path}[{i}]", before=before[i])
    for k in added:
        yield ValueChange(path=f"{path}[{k}]", after=after[k])
    if not is_changed and any(i != k for i, k in pairs):
        yield ValueChange(path=path, before=before, after=after)


def _matched(before: Sequence[Any], after: Sequence[Any]) -> tuple[list[tuple[int, int]], list[int], list[int]]:
    """Which item is which: places in both, then the places of those removed and of those added."""
    same = (n for n, (x, y) in enumerate(zip(before, after, strict=False)) if not equal(x, y))
    start = next(same, min(len(before), len(after)))
    places: dict[str, deque[int]] = {}
    for k in range(start, len(after)):
        places.setdefault(_label(after[k]), deque()).append(k)
    pairs, removed = {}, []
    for i in range(start, len(before)):
        if found := places.get(_label(before[i])):
            pairs[i] = found.popleft()
        else:
            removed.append(i)
    added = {k for left in places.values() for k in left}
    # Of an object in the place of another of its type, what is in them says more than that they are two.
    for i in [i for i in removed if i in added and _is_like(before[i], after[i])]:
        pairs[i] = i
        added.discard(i)
    return sorted(pairs.items(), key=itemgetter(1)), [i for i in removed if i not in pairs], sorted(added)


def _is_like(one: Any, other: Any) -> bool:
    return isinstance(one, dict) and isinstance(other, dict) and _kind(one) == _kind(other)


def _kind(item: dict[str, Any]) -> str:
    kind = item.get("type")
    return kind if isinstance(kind, str) else ""


def _label(item: Any) -> str:
    """What an item of a list is known by."""
    if not isinstance(item, dict):
        return json.dumps(item, sort_keys=True)
    kind = _kind(item)
    told = item.get(kind)
    inner = told if isinstance(told, dict) else item
    name = next((found for key in _NAMES if isinstance(found := inner.get(key), str)), "")
    return f"{{{kind}/{name}"


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
