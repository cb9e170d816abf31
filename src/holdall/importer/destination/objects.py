"""The assistants, agents or vector stores of a destination: which are copies of the bundle's, and how they differ.

Surest sign first: the bundle's own id, what an earlier run wrote down, ``cloned_from`` with the name. Where all 16
metadata keys are the owner's there is no room for marks; then the same name with the same 16 keys is the sign."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

import msgspec

from holdall.dialects import assistants as dialect
from holdall.dialects.marks import CLONED_FROM, METADATA_KEYS, OPERATION, unmarked
from holdall.dialects.requestbody import NAMES
from holdall.importer.destination.history import History
from holdall.importer.plan.bundle_summary import Content
from holdall.importer.plan.difference import (
    PRESENT,
    Difference,
    changed,
    differences,
    final,
    fingerprint,
    fingerprints,
    same,
    top_fields,
)
from holdall.importer.plan.existing import Extra, Found, FoundFile, FoundStore, Several
from holdall.importer.plan.steps import By
from holdall.importer.runs.baseline import PLACES
from holdall.kinds import KINDS, a
from holdall.model import (
    DefinitionView,
    Fidelity,
    Kind,
    Record,
    SourceId,
    StoreView,
    TargetId,
    View,
    credible,
    epoch_seconds,
)
from holdall.remote.client import Account, viewed

__all__ = ["MemberThere", "Object", "Objects", "compare_store", "compare_whole"]


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
        self._rules = NAMES[kind]
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
        return dialect.named(own.name, self._prefix, self._rules)

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


# Ends that indexing comes to without the file being searchable.
_NOT_INDEXED = ("failed", "cancelled")


class MemberThere(View, frozen=True, kw_only=True):
    """A file of a store at the destination. Source: GET /vector_stores/{id}/files."""

    id: str
    status: str | None = None
    attributes: dict[str, Any] | None = None
    chunking_strategy: dict[str, Any] | None = None
    last_error: dict[str, Any] | None = None


def compare_whole(
    kind: Kind,
    source: SourceId,
    name: str | None,
    request: dialect.Request,
    there: dict[str, Any],
    history: History,
    *,
    by: By,
) -> Found:
    """An assistant or an agent there against the ``request`` that would make it."""
    target = TargetId(str(there["id"]))
    found = differences(final(request), there, kind=kind, source=source, target=target, name=name, added=history.added)
    changed = _changed(kind, target, there, top_fields(found), history)
    unkept, found = _told_apart(found, history.unkept.get(target, ()), changed)
    return Found(target=target, by=by, differences=found, changed=changed, unkept=unkept)


def compare_store(
    record: Record,
    there: dict[str, Any],
    memberships: Iterable[Record],
    members: Mapping[TargetId, MemberThere],
    contents: Mapping[SourceId, Content],
    files: Mapping[SourceId, FoundFile],
    stale: Mapping[SourceId, TargetId],
    history: History,
    *,
    names: Mapping[TargetId, str | None],
    by: By,
) -> FoundStore:
    """A store there, and each of its ``members``, against the bundle.

    ``files`` are the copies that are there, ``stale`` those with other bytes than the bundle has.
    """
    target = TargetId(str(there["id"]))
    expected = final(dialect.store(record, operation="", as_is=by is By.ORIGIN))
    name = expected.get("name")
    found = differences(
        expected, there, kind=Kind.STORE, source=record.id, target=target, name=name, added=history.added
    )
    changed = _changed(Kind.STORE, target, there, top_fields(found), history)
    unkept, found = _told_apart(found, history.unkept.get(target, ()), changed)
    fields = top_fields(found)
    work = _Members(record.id, target, members, history, as_is=by is By.ORIGIN)
    seen: set[SourceId] = set()
    for membership in memberships:
        content = contents.get(membership.id) or Content(id=membership.id)
        if membership.id in seen or (content.fidelity is Fidelity.UNAVAILABLE and membership.id not in files):
            continue
        seen.add(membership.id)
        work.take(membership, content, files.get(membership.id), stale.get(membership.id))
    extras = [Extra(target=t, name=names.get(t)) for t in members if t not in work.claimed]
    for extra in extras:
        found.append(
            Difference(
                kind=Kind.STORE,
                source=record.id,
                target=target,
                name=name,
                field=f"files.{extra.target}",
                bundle=None,
                destination=extra.name or str(extra.target),
            )
        )
    ours = history.attached.get(target)
    added = [f"files.{extra.target}" for extra in extras if ours is not None and extra.target not in ours]
    return FoundStore(
        target=target,
        by=by,
        fields=fields,
        differences=[*found, *work.differences],
        changed=[*changed, *work.changed],
        unkept=[*unkept, *work.unkept],
        added=added,
        relabelled=work.relabelled,
        recut=work.recut,
        replaced=work.replaced,
        missing=work.missing,
        extras=extras,
    )


def _told_apart(
    found: list[Difference], fields: Container[str], changed: Container[str]
) -> tuple[list[Difference], list[Difference]]:
    """The differences of ``fields``, which the account didn't keep when they were sent, if nobody has changed them
    since; and the others."""
    unkept = [one for one in found if (top := one.field.partition(".")[0]) in fields and top not in changed]
    return unkept, [one for one in found if one not in unkept]


class _Members:
    """The members of one store, taken one after the other."""

    def __init__(
        self,
        store: SourceId,
        target: TargetId,
        members: Mapping[TargetId, MemberThere],
        history: History,
        *,
        as_is: bool,
    ) -> None:
        self._as_is = as_is
        self._store, self._members, self._history = store, members, history
        self._ours = history.attached.get(target, {})
        self._not_kept = history.unkept_files.get(target, ())
        self.claimed: set[TargetId] = set()
        self.differences: list[Difference] = []
        self.unkept: list[Difference] = []
        self.changed: list[str] = []
        self.relabelled: dict[SourceId, tuple[TargetId, dict[str, Any]]] = {}
        self.recut: dict[SourceId, TargetId] = {}
        self.replaced: dict[SourceId, TargetId] = {}
        self.missing: list[SourceId] = []

    def _labels(self, member: MemberThere) -> str:
        prints = fingerprints(Kind.MEMBERSHIP, {"attributes": member.attributes}, self._history.added)
        return prints.get("attributes", "")

    def take(self, record: Record, content: Content, found: FoundFile | None, stale: TargetId | None) -> None:
        target: TargetId | None = None
        as_left = False

        def differ(field: str, here: Any, there: Any) -> bool:
            if same(Kind.MEMBERSHIP, field, here, there, added=self._history.added):
                return False
            one = Difference(
                kind=Kind.MEMBERSHIP,
                source=record.id,
                target=found.target if found else stale,
                name=content.filename,
                inside=self._store,
                field=field,
                bundle=here,
                destination=there,
            )
            if as_left and field in ("attributes", "chunking_strategy"):
                self.unkept.append(one)
                return False
            self.differences.append(one)
            return True

        if found:
            target = found.copy if found.copy in self._members else found.target
        member = self._members.get(target) if target else None
        if member is None and stale is not None and stale in self._members:
            self.claimed.add(stale)
            self.replaced[record.id] = stale
            differ("content", f"{content.stored} bytes", "other bytes")
            return
        if target is None or member is None:
            self.missing.append(record.id)
            differ("membership", PRESENT, "missing")
            recorded = (*self._history.files.get(record.id, ()), *self._history.copies.get(record.id, ()))
            if any(t in self._ours and t not in self._members for t in recorded):
                self.changed.append(f"membership of {content.filename or record.id}")
            return
        # Where a server gives one id to files with the same bytes, the first that has it is the one that counts.
        as_left = target in self.claimed or (
            target in self._not_kept and self._ours.get(target) == self._labels(member)
        )
        self.claimed.add(target)
        expected = dialect.attachment(record, target, as_is=self._as_is).body
        wanted = expected.get("attributes") or {}
        if differ("attributes", wanted, member.attributes):
            self.relabelled[record.id] = (target, wanted)
            left = self._ours.get(target)
            if left is not None and left not in (fingerprint(member.attributes), self._labels(member)):
                self.changed.append(f"attributes of {content.filename or record.id}")
        strategy = expected.get("chunking_strategy")
        cut = strategy is not None and differ("chunking_strategy", strategy, member.chunking_strategy)
        was = MemberThere.of(record).status
        failed = member.status in _NOT_INDEXED and was not in _NOT_INDEXED and differ("status", was, member.status)
        if cut or failed:
            self.recut[record.id] = target


def _changed(kind: Kind, target: TargetId, there: Mapping[str, Any], fields: list[str], history: History) -> list[str]:
    """Of the fields that differ, those that others changed since an earlier run left them."""
    left = history.images.get(target)
    return [field for field in changed(kind, left, there) if field in fields] if left is not None else []
