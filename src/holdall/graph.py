"""The graph of references between definitions: who uses what, and what is called along with what is chosen. Pure.

What a definition refers to its view says (``DefinitionView``), in the order in which the definition names it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import TypeVar

import msgspec

from holdall.model import DefinitionView, SourceId

__all__ = ["Users", "called", "callees_first", "users_of"]

V = TypeVar("V", bound=DefinitionView)


class Users(msgspec.Struct, frozen=True, kw_only=True):
    """By store and by file, the definitions that name it; both in the order in which they are named."""

    stores: dict[SourceId, list[SourceId]]
    files: dict[SourceId, list[SourceId]]

    def of(self, id: SourceId) -> list[SourceId]:
        """The definitions that name a store or a file of that id."""
        return [*self.stores.get(id, ()), *self.files.get(id, ())]

    def needed_by(self, chosen: AbstractSet[str]) -> set[SourceId]:
        """The stores and files that any of the ``chosen`` definitions names."""
        used = (*self.stores.items(), *self.files.items())
        return {id for id, users in used if not chosen.isdisjoint(users)}


def users_of(views: Iterable[DefinitionView], *, stores: bool = True, files: bool = True) -> Users:
    """Who uses what, each user once; without ``stores`` or ``files`` none of these."""
    found = Users(stores={}, files={})
    for view in views:
        for id in dict.fromkeys(view.store_ids if stores else ()):
            found.stores.setdefault(id, []).append(SourceId(view.id))
        for id in dict.fromkeys(view.file_ids if files else ()):
            found.files.setdefault(id, []).append(SourceId(view.id))
    return found


def called(chosen: Iterable[SourceId], views: Mapping[SourceId, V]) -> list[V]:
    """The chosen, and behind them those that they call, as far as they are among ``views``."""
    found = {id: views[id] for id in chosen}
    queue = list(found.values())
    while queue:
        for id in queue.pop().assistant_ids:
            if id in views and id not in found:
                found[id] = views[id]
                queue.append(views[id])
    return list(found.values())


def callees_first(chosen: Iterable[SourceId], views: Mapping[SourceId, DefinitionView]) -> Iterator[SourceId]:
    """The same, each after the ones that it calls, else in their order."""
    seen: set[SourceId] = set()
    stack = [(id, False) for id in chosen][::-1]
    while stack:
        id, ready = stack.pop()
        if ready:
            yield id
        elif id not in seen:
            seen.add(id)
            stack.append((id, True))
            stack += [(callee, False) for callee in views[id].assistant_ids[::-1] if callee in views]
