"""The assistants, agents or vector stores of a destination, and which of them are copies of what a bundle has. Reads
one list.

Surest sign first: the bundle's own id, what an earlier run wrote down, ``cloned_from`` with the name. Where all 16
metadata keys are the owner's there is no room for marks; then the same name with the same 16 keys is the sign.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.dialects import assistants as dialect
from holdall.dialects.marks import CLONED_FROM, METADATA_KEYS, OPERATION, unmarked
from holdall.dialects.registry import copy_name, table
from holdall.dialects.tables import Form
from holdall.importer.plan.existing import Several
from holdall.importer.plan.steps import By
from holdall.importer.runs.baseline import PLACES
from holdall.kinds import KINDS, a
from holdall.model import DefinitionView, Kind, Record, SourceId, StoreView, TargetId, credible, epoch_seconds
from holdall.remote.client import Account, viewed

__all__ = ["Object", "Objects"]

_EXPIRED = "expired"


class Object(msgspec.Struct, frozen=True, kw_only=True):
    """One of them; ``raw`` is it as the server shows it. ``usage`` is what a store holds, in bytes."""

    target: TargetId
    name: str | None
    created_at: int
    metadata: Mapping[str, object]
    status: str | None
    raw: bytes

    @property
    def cloned_from(self) -> object:
        return self.metadata.get(CLONED_FROM)

    @property
    def operation(self) -> str | None:
        """The attempt that made it, if it says so."""
        found = self.metadata.get(OPERATION)
        return found if isinstance(found, str) else None

    @property
    def expired(self) -> bool:
        return self.status == _EXPIRED

    def fields(self) -> dict[str, Any]:
        return viewed(self.raw, dict[str, Any], self.target)


class _Sized(msgspec.Struct, frozen=True, kw_only=True):
    usage_bytes: int | float | None = None


class Objects:
    """The look at one kind. ``records`` are what the bundle has of it, ``known`` what earlier runs made of them.

    ``by_name``: the account keeps no metadata, so what has the name of a copy may be one.
    """

    def __init__(
        self,
        kind: Kind,
        records: Mapping[SourceId, Record],
        known: Mapping[SourceId, list[TargetId]],
        *,
        prefix: str,
        by_name: bool = False,
    ) -> None:
        self._by_name = by_name
        self._kind, self._records, self._known = kind, records, known
        # Stores have no prefix.
        self._prefix = prefix if kind is not Kind.STORE else ""
        self._own = {id: self._copied(record) for id, record in records.items()}
        self._there: dict[str, Object] = {}
        self._marked: dict[object, list[Object]] = {}
        self._alike: dict[str | None, list[Object]] = {}
        self._usage: float | None = 0
        self.several: list[Several] = []

    @property
    def usage(self) -> int | None:
        """What all stores that were read hold, in bytes; None where one of them didn't say."""
        return None if self._usage is None else int(self._usage)

    async def read(self, account: Account) -> None:
        """Read the destination's list, and keep of it what may be a copy. Raises what the account raises."""
        if not self._records:
            return
        self._table = table(Form.ASSISTANTS, account.endpoint.base_url)
        ids = {*self._records, *(target for targets in self._known.values() for target in targets)}
        sources: frozenset[object] = frozenset(self._records)
        full = {self._wanted(own) for own in self._own.values() if self._by_name or _is_full(own)}
        async for raw in account.items(PLACES[self._kind]):
            found = _object(self._kind, raw)
            self._count(raw)
            if found.target in ids:
                self._there[found.target] = found
            if found.cloned_from in sources:
                self._marked.setdefault(found.cloned_from, []).append(found)
            if found.name in full and (self._by_name or _is_full(found)):
                self._alike.setdefault(found.name, []).append(found)

    def recognised(self) -> dict[SourceId, tuple[Object, By]]:
        """The copies, by the source's ids. Where several may be meant, the first, and all of them in ``several``."""
        found = {id: self._one(id) for id in self._records}
        return {id: one for id, one in found.items() if one is not None}

    def _one(self, id: SourceId) -> tuple[Object, By] | None:
        own = self._own[id]
        same = self._there.get(id)
        # With a prefix a second set of assistants is asked for, also where the first is what the bundle has.
        if same and not self._prefix and (same.created_at, same.name) == (own.created_at, own.name):
            # An expired store has lost its files: it is itself only where it was expired in the bundle, too.
            return (same, By.ORIGIN) if same.expired <= own.expired else None
        for target in reversed(self._known.get(id, [])):
            found = self._there.get(target)
            if found and found.cloned_from in (None, id) and not found.expired:
                return found, By.EARLIER
        fitting = self.copies(id)
        if len(fitting) > 1:
            targets = [one.target for one in fitting]
            self.several.append(Several(kind=self._kind, id=id, name=own.name, targets=targets))
        return (fitting[0], By.MARK if fitting[0].cloned_from == id else By.KEYS) if fitting else None

    def has(self, target: TargetId) -> bool:
        """Whether the list showed that one of ``known``."""
        return target in self._there

    def copies(self, id: SourceId) -> list[Object]:
        """All that may be copies of it by what they say themselves."""
        own = self._own[id]
        wanted = self._wanted(own)
        marked = [one for one in self._marked.get(id, ()) if one.name == wanted and not one.expired]
        if marked or not (self._by_name or _is_full(own)):
            return marked
        return [one for one in self._alike.get(wanted, ()) if self._by_name or _has_keys(one, own)]

    def _wanted(self, own: Object) -> str | None:
        """The name that a copy has."""
        return copy_name(self._kind, own.name, self._prefix, self._table)

    def _copied(self, record: Record) -> Object:
        """What the bundle has, with the metadata that a copy of it has."""
        own = _object(self._kind, record.raw)
        return msgspec.structs.replace(own, metadata=dialect.own_metadata(record))

    def _count(self, raw: bytes) -> None:
        if self._kind is Kind.STORE:
            size = credible(viewed(raw, _Sized, "a vector store").usage_bytes)
            self._usage = None if size is None or self._usage is None else self._usage + size


def _object(kind: Kind, raw: bytes) -> Object:
    view = viewed(raw, KINDS[kind].view, a(kind))
    assert isinstance(view, DefinitionView | StoreView)
    return Object(
        target=TargetId(view.id),
        name=view.name or None,
        created_at=epoch_seconds(view.created_at),
        metadata=view.metadata or {},
        status=view.status if isinstance(view, StoreView) else None,
        raw=raw,
    )


def _is_full(one: Object) -> bool:
    """Whether its metadata has no room for marks."""
    return len(unmarked(one.metadata)) >= METADATA_KEYS


def _has_keys(one: Object, own: Object) -> bool:
    """Whether ``one`` has the metadata that a copy of ``own`` has; a server may have put keys of its own beside it."""
    return all(one.metadata.get(key) == value for key, value in unmarked(own.metadata).items())
