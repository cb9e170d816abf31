"""What an import will do, step by step, before anything is done. Pure: what the bundle holds and what is there in, a
Plan out.

Depth first: a unit is one assistant with all it needs that no earlier unit brings, so that after a stop at half the
first half works. What is shared in the source is shared in the copy: one upload, one store. Stores that no assistant
uses come last. What is at the destination already is used, and never made a second time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from holdall.dialects import assistants as dialect
from holdall.dialects.loss import Loss, Why
from holdall.graph import callees_first, users_of
from holdall.importer.plan.bundle_summary import BundleSummary, Content
from holdall.importer.plan.choices import Choices, OnConflict
from holdall.importer.plan.definitions import DefinitionSteps, left_out, left_out_file, references, store_name, whole
from holdall.importer.plan.existing import NOTHING, Existing, Found, FoundStore
from holdall.importer.plan.steps import (
    LONE_FILES,
    Adopt,
    AttachFiles,
    Cannot,
    CreateStore,
    DetachFile,
    Differs,
    LeaveOut,
    Plan,
    Skip,
    Step,
    Unit,
    UpdateMembership,
    UpdateStore,
    UploadFile,
)
from holdall.kinds import WHOLE, read
from holdall.model import DefinitionView, Fidelity, Kind, SourceId, TargetId
from holdall.selection import Root, Selection, choose

__all__ = ["Choices", "plan"]


_PLAIN = Choices()


def plan(
    catalogue: BundleSummary,
    selection: Selection,
    *,
    prefix: str = "",
    choices: Choices = _PLAIN,
    existing: Existing = NOTHING,
) -> Plan:
    """Plan the import of what ``selection`` chooses. Raises UsageFault for a selection that matches nothing.

    Without ``existing`` the plan is the one towards an empty destination.
    """
    return _Planner(catalogue, prefix, choices, existing).plan(selection)


class _Planner:
    """What one planning has placed so far."""

    def __init__(self, catalogue: BundleSummary, prefix: str, choices: Choices, existing: Existing) -> None:
        self.catalogue = catalogue
        self.prefix = prefix
        self.choices = choices
        self.existing = existing
        self._whole = whole(existing.files, catalogue)
        self._views = {kind: {r.id: read(r) for r in catalogue.records(kind)} for kind in WHOLE}
        self._copies = DefinitionSteps(catalogue, prefix, choices, existing)
        self._uploaded: set[SourceId] = set()
        self._created: set[SourceId] = set()
        self._placed: set[SourceId] = set()

    def plan(self, selection: Selection) -> Plan:
        stores = [Root(kind=Kind.STORE, id=id, name=store_name(r)) for id, r in self.catalogue.stores.items()]
        views = [view for of_kind in self._views.values() for view in of_kind.values()]
        users = users_of(views)
        needed = set(users.files)
        needed.update(file for members in self.catalogue.members.values() for file in members)
        roots = [Root(kind=kind, id=id, name=v.name) for kind in WHOLE for id, v in self._views[kind].items()]
        roots += [root for root in stores if root.id not in users.stores]
        roots += [_file(content) for id, content in self.catalogue.files.items() if id not in needed]
        # Not made for nothing: a bundle may have 100,000 files.
        files = map(_file, self.catalogue.files.values()) if Kind.FILE in selection.kinds() else ()
        chosen = choose(roots, selection, others=[*stores, *files])
        units = [
            self._definition(Root(kind=kind, id=id, name=self._views[kind][id].name))
            for kind in WHOLE
            for id in callees_first((root.id for root in chosen if root.kind is kind), self._views[kind])
        ]
        units += [self._lone_store(root) for root in chosen if root.kind is Kind.STORE]
        lone = self._lone_files([root.id for root in chosen if root.kind is Kind.FILE])
        return Plan(
            units=[*units, *lone], prefix=self.prefix, chosen=len(chosen), of=len(roots), form=self.choices.form
        )

    def _lone_files(self, files: list[SourceId]) -> list[Unit]:
        """One unit for all files that nothing refers to: each stands for itself, so they go up together."""
        if not files:
            return []
        root = Root(kind=Kind.FILE, id=LONE_FILES, name="files that nothing refers to")
        uploads: list[Step] = []
        rest: list[Step] = []
        for file in files:
            content = self.catalogue.files[file]
            if content.fidelity is Fidelity.UNAVAILABLE and file not in self.existing.files:
                rest.append(left_out_file(content, LONE_FILES, content.reason, None))
            else:
                self._upload(content, uploads)
        return [_unit(Kind.FILE, root, [*uploads, *rest])]

    def _definition(self, root: Root) -> Unit:
        views, present = self._views[root.kind], self.existing.whole(root.kind)
        view, found = views[root.id], present.get(root.id)
        if found and found.differences and (unchanged := self._let_be(root.kind, root, found)):
            return _unit(root.kind, root, [*self._parts_there(view), unchanged])
        reason = self._copies.impossible(root, view)
        if reason:
            return _unit(root.kind, root, [Cannot(id=root.id, name=root.name, reason=reason)])
        uploads: list[Step] = []
        rest: list[Step] = []
        refers = references(view, self.catalogue, self._whole, self.choices.table)
        for store in refers.stores:
            self._store(store, uploads, rest)
        for file in refers.files:
            self._upload(self._content(file), uploads)
        last = self._copies.step(root, view, refers)
        why = "the two call each other, and one has to be there first"
        in_a_circle = [
            left_out(root.kind, callee, root.id, why, "tools", recorded=False)
            for callee in view.assistant_ids
            if callee in views and callee not in self._placed and callee not in present
        ]
        self._placed.add(root.id)
        # What a copy lacks is said of one that was there before, too.
        return _unit(root.kind, root, [*uploads, *rest, *refers.left_out, *in_a_circle, *_unkept(found), last])

    def _let_be(self, kind: Kind, root: Root, found: Found | FoundStore) -> Step | None:
        """The one step for something that differs and isn't to be made equal; None where it is."""
        choices = self.choices
        if choices.on_conflict is OnConflict.SKIP:
            return Skip(kind=kind, id=root.id, target=found.target, name=root.name, differences=found.differences)
        changed = [] if choices.even_if_changed else list(found.changed)
        if choices.on_conflict is OnConflict.UPDATE and not choices.even_if_changed:
            changed += found.added if isinstance(found, FoundStore) and choices.delete else []
            if not changed:
                return None
        elif choices.on_conflict is OnConflict.UPDATE:
            return None
        return Differs(
            kind=kind,
            id=root.id,
            target=found.target,
            name=root.name,
            differences=found.differences,
            changed=changed,
        )

    def _parts_there(self, view: DefinitionView) -> list[Step]:
        """The stores of an assistant that is left as it is, as far as they are there; nothing is made for it."""
        uploads: list[Step] = []
        rest: list[Step] = []
        for store in dict.fromkeys(view.store_ids):
            if store in self.existing.stores:
                self._store(store, uploads, rest)
        return [*uploads, *rest]

    def _lone_store(self, root: Root) -> Unit:
        uploads: list[Step] = []
        rest: list[Step] = []
        self._store(root.id, uploads, rest)
        return _unit(Kind.STORE, root, [*uploads, *rest])

    def _store(self, store: SourceId, uploads: list[Step], rest: list[Step]) -> None:
        """The steps of a store, unless an earlier unit has them."""
        if store in self._created:
            return
        self._created.add(store)
        found = self.existing.stores.get(store)
        if found is None:
            self._create_store(store, uploads, rest)
            return
        rest += _unkept(found)
        root = Root(kind=Kind.STORE, id=store, name=store_name(self.catalogue.stores[store]))
        if not found.differences:
            self._files_there(store, uploads)
            rest += self._lacking(store)
            rest.append(Adopt(kind=Kind.STORE, id=store, target=found.target, name=root.name, by=found.by))
        elif unchanged := self._let_be(Kind.STORE, root, found):
            self._files_there(store, uploads)
            rest.append(unchanged)
        else:
            self._update_store(root, found, uploads, rest)

    def _create_store(self, store: SourceId, uploads: list[Step], rest: list[Step]) -> None:
        rest += self._lacking(store)
        count = 0
        for content in self._members(store):
            if content.fidelity is not Fidelity.UNAVAILABLE or content.id in self.existing.files:
                count += 1
                self._upload(content, uploads)
        record = self.catalogue.stores[store]
        losses = [*dialect.store(record, operation="").losses, *self.catalogue.unfit.get(store, ())]
        rest.append(CreateStore(id=store, name=store_name(record), losses=losses))
        if count:
            rest.append(AttachFiles(store=store, count=count))

    def _update_store(self, root: Root, found: FoundStore, uploads: list[Step], rest: list[Step]) -> None:
        """Only what differs. What goes in goes in before what comes out, but for what is put in again."""
        self._files_there(root.id, uploads)
        rest += self._lacking(root.id)
        incoming = [*found.missing, *found.replaced]
        for file in incoming:
            self._upload(self._content(file), uploads)
        losses = dialect.store(self.catalogue.stores[root.id], operation="").losses
        losses += self.catalogue.unfit.get(root.id, ())
        losses += [] if self.choices.delete else _kept(root, found)
        rest.append(
            UpdateStore(
                id=root.id,
                target=found.target,
                name=root.name,
                fields=found.fields,
                differences=found.differences,
                losses=losses,
            )
        )

        def detach(target: TargetId, name: str | None, why: str) -> DetachFile:
            return DetachFile(store=root.id, target=target, name=name, why=why)

        rest += [detach(t, self._content(f).filename, "to be indexed again") for f, t in found.recut.items()]
        if incoming or found.recut:
            files = [*incoming, *found.recut]
            rest.append(AttachFiles(store=root.id, count=len(files), files=files))
        for file, (target, attributes) in found.relabelled.items():
            if file not in found.recut:
                rest.append(
                    UpdateMembership(
                        store=root.id,
                        file=file,
                        target=target,
                        name=self._content(file).filename,
                        attributes=attributes,
                    )
                )
        rest += [detach(t, self._content(f).filename, "it has other bytes") for f, t in found.replaced.items()]
        if self.choices.delete:
            rest += [detach(e.target, e.name, "the bundle's store doesn't have it") for e in found.extras]

    def _members(self, store: SourceId) -> Iterable[Content]:
        for file in dict.fromkeys(self.catalogue.members.get(store, ())):
            yield self._content(file)

    def _content(self, file: SourceId) -> Content:
        return self.catalogue.files.get(file) or Content(id=file, reason="it is not in the bundle")

    def _lacking(self, store: SourceId) -> list[LeaveOut]:
        """The files of a store that are neither in the bundle nor there."""
        return [
            left_out_file(content, store, content.reason, None)
            for content in self._members(store)
            if content.fidelity is Fidelity.UNAVAILABLE and content.id not in self.existing.files
        ]

    def _files_there(self, store: SourceId, uploads: list[Step]) -> None:
        """Adopt the files of a store that are there."""
        for content in self._members(store):
            if content.id in self.existing.files:
                self._upload(content, uploads)

    def _upload(self, content: Content, uploads: list[Step]) -> None:
        """Have the file there: upload it, unless it is."""
        if content.id in self._uploaded:
            return
        self._uploaded.add(content.id)
        if found := self.existing.files.get(content.id):
            name = found.name or content.filename
            uploads.append(Adopt(kind=Kind.FILE, id=content.id, target=found.target, name=name, by=found.by))
        else:
            uploads.append(UploadFile(content=content, purpose=_purpose(content)))


def _file(content: Content) -> Root:
    return Root(kind=Kind.FILE, id=content.id, name=content.filename)


def _unit(kind: Kind, root: Root, steps: Iterable[Step]) -> Unit:
    return Unit(kind=kind, id=root.id, name=root.name, steps=list(steps))


def _purpose(content: Content) -> str:
    purpose = dialect.purpose(content.purpose)
    # A document made of parsed text is knowledge, whatever the file was; vision and batch would refuse a .txt.
    return purpose if content.fidelity is not Fidelity.TEXT or purpose == "user_data" else "assistants"


def _unkept(found: Found | FoundStore | None) -> Iterator[LeaveOut]:
    """What is there is as whole as this destination keeps it, and not wholly what the bundle says."""
    for one in found.unkept if found else ():
        text = f"the destination did not keep it when it was sent: {one.values()}"
        loss = Loss(
            why=Why.NOT_KEPT,
            kind=one.kind if one.inside is None else Kind.FILE,
            id=one.source,
            name=one.name,
            inside=one.inside,
            field=one.field,
            text=text,
        )
        yield LeaveOut(loss=loss)


def _kept(root: Root, found: FoundStore) -> list[Loss]:
    """What is said of files in the store there that the bundle's store doesn't have."""
    return [
        Loss(
            why=Why.KEPT,
            kind=Kind.STORE,
            id=root.id,
            name=root.name,
            field="files",
            text=f"{extra.name or extra.target} is not in the bundle's; it stays (--delete takes it out)",
        )
        for extra in found.extras
    ]
