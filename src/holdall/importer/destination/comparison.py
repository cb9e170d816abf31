"""What stands at a destination against what an import would make of the bundle. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Any

from holdall.dialects import assistants as dialect
from holdall.importer.destination.history import History
from holdall.importer.plan.difference import PRESENT, Difference, differences, final, same, top_fields
from holdall.importer.plan.existing import Extra, Found, FoundFile, FoundStore
from holdall.importer.plan.fingerprint import changed, fingerprint, image
from holdall.importer.plan.steps import By, Content
from holdall.model import Fidelity, Kind, Record, SourceId, TargetId, View

__all__ = ["MemberThere", "compare_store", "compare_whole"]

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
        return image(Kind.MEMBERSHIP, {"attributes": member.attributes}, self._history.added).get("attributes", "")

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
