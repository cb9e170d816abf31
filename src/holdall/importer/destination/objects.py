"""The assistants, agents or vector stores of a destination: which are copies of the bundle's, and how they differ.

The surest sign counts first: the bundle's own id, then what an earlier run recorded, then ``cloned_from`` with the
name. If all 16 metadata keys are the owner's, there is no room for marks; then the same name with the same keys is the
sign.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import msgspec

from holdall.agent_views import FoundryAgentView
from holdall.dialects import assistants as dialect
from holdall.dialects.registry import copy_name, shown, table
from holdall.dialects.rules import CLONED_FROM, METADATA_KEYS, OPERATION, UNMARKED, Form, Request, unmarked
from holdall.errors import NotFound, RequestRefused
from holdall.importer.destination.destination import History
from holdall.importer.plan.bundle_summary import Content
from holdall.importer.plan.difference import (
    PRESENT,
    By,
    Difference,
    Extra,
    Found,
    FoundFile,
    FoundStore,
    Several,
    changed,
    differences,
    final,
    fingerprint,
    fingerprints,
    same,
    top_fields,
)
from holdall.kinds import KINDS, with_article
from holdall.model import DefinitionView, Kind, Record, SourceId, StoreView, TargetId, View, credible, epoch_seconds
from holdall.remote.client import Account, path, viewed


class Object(msgspec.Struct, frozen=True, kw_only=True):
    """One object; ``raw`` is what the server sent."""

    kind: Kind
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
        return self.status == "expired"

    def fields(self) -> dict[str, Any]:
        return shown(self.kind, viewed(self.raw, dict[str, Any], self.target))


class _Sized(msgspec.Struct, frozen=True, kw_only=True):
    usage_bytes: int | float | None = None


class Objects:
    """The objects of one kind. ``records`` are the bundle's, ``known`` the copies that earlier runs made of them.

    ``by_name``: the account keeps no metadata, so an object with the name of a copy may be one. ``names`` are those of
    agents of Foundry, of which there is one of each name. ``is_own``: the bundle comes from that very project.
    """

    def __init__(
        self,
        kind: Kind,
        records: Mapping[SourceId, Record],
        known: Mapping[SourceId, list[TargetId]],
        *,
        prefix: str,
        by_name: bool = False,
        names: Mapping[SourceId, str] = {},
        is_own: bool = False,
    ) -> None:
        self._is_unique = kind is Kind.FOUNDRY_AGENT
        self._by_name, self._names, self._is_own = by_name or self._is_unique, names, is_own
        self._kind, self._records, self._known = kind, records, known
        # Stores have no prefix.
        self._prefix = prefix if kind is not Kind.STORE else ""
        # What the bundle has, with the metadata that a copy of it has.
        self._own = {
            id: msgspec.structs.replace(_object(record.kind, record.raw), metadata=dialect.own_metadata(record))
            for id, record in records.items()
        }
        self._there: dict[str, Object] = {}
        self._marked: dict[object, list[Object]] = {}
        self._alike: dict[str | None, list[Object]] = {}
        self.usage: int | None = 0
        """What all stores that were read hold, in bytes; None where one of them didn't say."""
        self.several: list[Several] = []
        self.all_names: set[str] = set()
        """Of agents of Foundry, the names of all, without case."""

    async def read(self, account: Account) -> None:
        """Reads the destination's list and keeps what may be a copy. Raises what the account raises."""
        # One pass over a list that may have 10,000 objects, with a rule for each way of being a copy. The rest goes.
        if not self._records:
            return
        self._table = table(Form.ASSISTANTS, account.endpoint.base_url)
        ids = {*self._records, *(target for targets in self._known.values() for target in targets)}
        sources: frozenset[object] = frozenset(self._records)
        is_unmarked = self._kind in UNMARKED
        named = {self._wanted(id) for id, own in self._own.items() if is_unmarked or self._goes_by_name(own)}
        async for raw in account.items(KINDS[self._kind].endpoint):
            found = _object(self._kind, raw)
            self._count(raw)
            if found.target in ids:
                self._there[found.target] = found
            if found.cloned_from in sources:
                self._marked.setdefault(found.cloned_from, []).append(found)
            name = self._folded(found.name)
            if name in named and (is_unmarked or self._goes_by_name(found)):
                self._alike.setdefault(name, []).append(found)
            if self._is_unique and name is not None:
                self.all_names.add(name)
        if self._kind is Kind.STORE and self._is_own:
            await self._ask_by_id(account)

    async def _ask_by_id(self, account: Account) -> None:
        """Ask for the bundle's own stores that the list hasn't: a project may give by its id what it doesn't list."""
        for id in self._records.keys() - self._there.keys():
            with suppress(NotFound, RequestRefused):
                found = _object(self._kind, (await account.get(path("/vector_stores/{}", id))).raw)
                self._there[found.target] = found

    def _folded(self, name: str | None) -> str | None:
        """A name as it is compared."""
        return name.casefold() if self._is_unique and name is not None else name

    def matches(self) -> dict[SourceId, tuple[Object, By]]:
        """The copies, by the source's ids. Where several may be meant, the first, and all of them in ``several``."""
        found = {id: self._one(id) for id in self._records}
        return {id: one for id, one in found.items() if one is not None}

    def _one(self, id: SourceId) -> tuple[Object, By] | None:
        # One function, because the order is the rule: the very object, the copy of an earlier run, what looks like one.
        own = self._own[id]
        # A name says nothing of which project it is; its address does.
        may_be_origin = self._records[id].kind is self._kind and (self._is_own or not self._is_unique)
        same = self._there.get(id) if may_be_origin else None
        # With a prefix a second set of assistants is asked for, also where the first is what the bundle has.
        if same and not self._prefix and (same.created_at, same.name) == (own.created_at, own.name):
            # An expired store has lost its files: it is itself only where it was expired in the bundle, too.
            return (same, By.ORIGIN) if same.expired <= own.expired else None
        for target in reversed(self._known.get(id, [])):
            found = self._there.get(target)
            if found and found.cloned_from in (None, id) and not found.expired:
                return found, By.EARLIER
        # Guessing between several would change or use somebody's other copy, so the caller stops.
        fitting = self.copies(id)
        if len(fitting) > 1:
            targets = [one.target for one in fitting]
            self.several.append(Several(kind=self._kind, id=id, name=own.name, targets=targets))
        if not fitting:
            return None
        unmarked = By.NAME if self._is_unique else By.KEYS
        return fitting[0], By.MARK if fitting[0].cloned_from == id else unmarked

    def has(self, target: TargetId) -> bool:
        """Whether the list showed that one of ``known``."""
        return target in self._there

    def copies(self, id: SourceId) -> list[Object]:
        """All that may be copies of it by their marks, or by name and metadata."""
        own = self._own[id]
        wanted = self._wanted(id)
        marked = [one for one in self._marked.get(id, ()) if self._folded(one.name) == wanted and not one.expired]
        if marked or not self._goes_by_name(own):
            return marked
        return [one for one in self._alike.get(wanted, ()) if self._by_name or _has_keys(one, own)]

    def named(self, id: SourceId) -> list[Object]:
        """Those with the name of a copy of it, of a kind without marks."""
        return self._alike.get(self._wanted(id), [])

    def _wanted(self, id: SourceId) -> str | None:
        """The name that a copy has."""
        if self._is_unique:
            return self._folded(self._names.get(id))
        return copy_name(self._kind, self._own[id].name, self._prefix, self._table)

    def _goes_by_name(self, one: Object) -> bool:
        """Whether a copy is known by its name, because there is no room for marks in the metadata, or none is kept."""
        return self._by_name or len(unmarked(one.metadata)) >= METADATA_KEYS

    def _count(self, raw: bytes) -> None:
        if self._kind is Kind.STORE:
            size = credible(viewed(raw, _Sized, "a vector store").usage_bytes)
            self.usage = None if size is None or self.usage is None else self.usage + size


async def taken_names(account: Account) -> AsyncIterator[str]:
    """The names of all agents of a Foundry project, without case."""
    async for raw in account.items(KINDS[Kind.FOUNDRY_AGENT].endpoint):
        if name := _object(Kind.FOUNDRY_AGENT, raw).name:
            yield name.casefold()


def _object(kind: Kind, raw: bytes) -> Object:
    view = viewed(raw, KINDS[kind].view, with_article(kind))
    assert isinstance(view, DefinitionView | StoreView)
    return Object(
        kind=kind,
        target=TargetId(view.id),
        name=view.name or None,
        created_at=epoch_seconds(view.created_at),
        metadata=view.metadata or {},
        status=view.status if isinstance(view, StoreView) else None,
        raw=raw,
    )


def _has_keys(one: Object, own: Object) -> bool:
    """Whether ``one`` has the metadata of a copy of ``own``; the server may have added keys of its own."""
    return all(one.metadata.get(key) == value for key, value in unmarked(own.metadata).items())


# Ends that indexing comes to without the file being searchable.
_NOT_INDEXED = ("failed", "cancelled")


class MemberThere(View, frozen=True, kw_only=True):
    """A file of a store at the destination. Source: GET /vector_stores/{id}/files."""

    id: str
    status: str | None = None
    attributes: dict[str, Any] | None = None
    chunking_strategy: dict[str, Any] | None = None


def compare(record: Record, name: str | None, request: Request, there: Object, history: History, *, by: By) -> Found:
    """Compares an existing definition with the ``request`` that would make it of ``record``."""
    target, fields = there.target, there.fields()
    found = differences(
        final(request), fields, kind=there.kind, source=record.id, target=target, name=name, added=history.added
    )
    left = history.fingerprints.get(target)
    touched = changed(there.kind, left, fields) if left is not None else []
    # What the account didn't keep when it was sent is no difference, unless somebody has changed it since.
    not_kept = [one for one in found if one.top in history.unkept.get(target, ()) and one.top not in touched]
    agent = viewed(there.raw, FoundryAgentView, f"agent {target}") if there.kind is Kind.FOUNDRY_AGENT else None
    return Found(
        latest=agent.versions.latest.version if agent else None,
        pinned=agent.pinned if agent else None,
        target=target,
        by=by,
        differences=[one for one in found if one not in not_kept],
        changed=[field for field in touched if field in top_fields(found)],
        unkept=not_kept,
    )


class StoreComparison:
    """Compares an existing store and each of its files with the bundle's. ``members`` are the files in it."""

    def __init__(
        self, record: Record, there: Object, members: Mapping[TargetId, MemberThere], history: History, *, by: By
    ) -> None:
        request = dialect.store(record, operation="", as_is=by is By.ORIGIN)
        self._name = final(request).get("name")
        own = compare(record, self._name, request, there, history, by=by)
        self._found = FoundStore(**msgspec.structs.asdict(own), fields=top_fields(own.differences))
        self._as_is, self._store, self._members, self._history = by is By.ORIGIN, record.id, members, history
        self._ours = history.attached.get(there.target, {})
        self._not_kept = history.unkept_files.get(there.target, ())
        self._claimed: set[TargetId] = set()
        self._of_files: list[Difference] = []

    def take(self, record: Record, content: Content, copy: FoundFile | None, stale: TargetId | None) -> None:
        """Compares one file of the bundle's store; ``copy`` is its copy there, ``stale`` one with other bytes."""
        target = None
        if copy:
            target = copy.copy if copy.copy in self._members else copy.target
        member = self._members.get(target) if target else None
        about = partial(
            Difference,
            kind=Kind.MEMBERSHIP,
            source=record.id,
            target=copy.target if copy else stale,
            name=content.filename,
            inside=self._store,
        )
        if target is not None and member is not None:
            self._compare(record, content, target, member, about)
        elif stale is not None and stale in self._members:
            self._claimed.add(stale)
            self._found.replaced[record.id] = stale
            bundle = f"{content.stored} bytes"
            self._of_files.append(about(field="content", bundle=bundle, destination="other bytes"))
        else:
            self._found.missing.append(record.id)
            self._of_files.append(about(field="membership", bundle=PRESENT, destination="missing"))
            if any(t in self._ours and t not in self._members for t in self._history.uploads(record.id)):
                self._found.changed.append(f"membership of {content.filename or record.id}")

    def _compare(
        self, record: Record, content: Content, target: TargetId, member: MemberThere, about: Callable[..., Difference]
    ) -> None:
        left = self._ours.get(target)
        # Where a server gives one id to files with the same bytes, the first that has it is the one that counts.
        is_settled = target in self._claimed or (target in self._not_kept and left == self._fingerprint(member))
        self._claimed.add(target)

        def differs(field: str, here: Any, there: Any) -> bool:
            if same(Kind.MEMBERSHIP, field, here, there, added=self._history.added):
                return False
            is_told_only = is_settled and field != "status"
            into = self._found.unkept if is_told_only else self._of_files
            into.append(about(field=field, bundle=here, destination=there))
            return not is_told_only

        expected = dialect.attachment(record, target, as_is=self._as_is).body
        wanted = expected.get("attributes") or {}
        if differs("attributes", wanted, member.attributes):
            self._found.relabelled[record.id] = (target, wanted)
            if left is not None and left not in (fingerprint(member.attributes), self._fingerprint(member)):
                self._found.changed.append(f"attributes of {content.filename or record.id}")
        strategy, was = expected.get("chunking_strategy"), MemberThere.of(record).status
        is_cut = strategy is not None and differs("chunking_strategy", strategy, member.chunking_strategy)
        has_failed = member.status in _NOT_INDEXED and was not in _NOT_INDEXED
        if (has_failed and differs("status", was, member.status)) or is_cut:
            self._found.recut[record.id] = target

    def _fingerprint(self, member: MemberThere) -> str:
        shown = fingerprints(Kind.MEMBERSHIP, {"attributes": member.attributes}, self._history.added)
        return shown.get("attributes", "")

    def finish(self, name_of: Callable[[TargetId], str | None]) -> FoundStore:
        """The result, with the files that the bundle's store doesn't have. ``name_of`` gives a file's name if known."""
        found = self._found
        for target in self._members:
            if target in self._claimed:
                continue
            name, field = name_of(target), f"files.{target}"
            found.extras.append(Extra(target=target, name=name))
            one = Difference(
                kind=Kind.STORE,
                source=self._store,
                target=found.target,
                name=self._name,
                field=field,
                destination=name or str(target),
            )
            found.differences.append(one)
            # Of a store that no earlier run filled, nobody knows who put in what.
            if found.target in self._history.attached and target not in self._ours:
                found.added.append(field)
        found.differences.extend(self._of_files)
        return found
