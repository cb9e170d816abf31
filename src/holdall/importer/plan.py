"""What an import will do, step by step, before anything is done. Pure: a bundle's catalogue in, a Plan out.

Depth first: a unit is one assistant with all it needs that no earlier unit brings, so that after a stop at half the
first half works. What is shared in the source is shared in the copy: one upload, one store. Stores that no assistant
uses come last.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from holdall.dialects import assistants as dialect
from holdall.dialects.loss import Loss, Why
from holdall.importer.steps import (
    LONE_FILES,
    AttachFiles,
    Cannot,
    Catalogue,
    Content,
    CreateAssistant,
    CreateStore,
    LeaveOut,
    Plan,
    Step,
    Unit,
    UploadFile,
)
from holdall.model import AssistantView, Kind, Record, Rung, SourceId, StoreView, TargetId
from holdall.selection import Root, Selection, choose

__all__ = ["plan"]


def plan(catalogue: Catalogue, selection: Selection, *, prefix: str = "") -> Plan:
    """Plan the import of what ``selection`` chooses. Raises UsageFault for a selection that matches nothing."""
    return _Planner(catalogue, prefix).plan(selection)


class _Planner:
    """What one planning has placed so far."""

    def __init__(self, catalogue: Catalogue, prefix: str) -> None:
        self.catalogue = catalogue
        self.prefix = prefix
        self._views = {
            record.id: msgspec.json.decode(record.raw, type=AssistantView) for record in catalogue.assistants
        }
        self._records = {record.id: record for record in catalogue.assistants}
        self._uploaded: set[SourceId] = set()
        self._created: set[SourceId] = set()

    def plan(self, selection: Selection) -> Plan:
        stores = [Root(kind=Kind.STORE, id=id, name=_store_name(r)) for id, r in self.catalogue.stores.items()]
        used = {store for view in self._views.values() for store in view.store_ids}
        needed = {file for view in self._views.values() for file in view.file_ids}
        needed.update(file for members in self.catalogue.members.values() for file in members)
        roots = [Root(kind=Kind.ASSISTANT, id=id, name=view.name) for id, view in self._views.items()]
        roots += [root for root in stores if root.id not in used]
        roots += [_file(content) for id, content in self.catalogue.files.items() if id not in needed]
        # Not made for nothing: a bundle may have 100,000 files.
        files = map(_file, self.catalogue.files.values()) if Kind.FILE in selection.kinds() else ()
        chosen = choose(roots, selection, others=[*stores, *files])
        units = [self._assistant(root) for root in chosen if root.kind is Kind.ASSISTANT]
        units += [self._lone_store(root) for root in chosen if root.kind is Kind.STORE]
        lone = self._lone_files([root.id for root in chosen if root.kind is Kind.FILE])
        return Plan(units=[*units, *lone], prefix=self.prefix, chosen=len(chosen), of=len(roots))

    def _lone_files(self, files: list[SourceId]) -> list[Unit]:
        """One unit for all files that nothing refers to: each stands for itself, so they go up together."""
        if not files:
            return []
        root = Root(kind=Kind.FILE, id=LONE_FILES, name="files that nothing refers to")
        uploads: list[Step] = []
        rest: list[Step] = []
        for file in files:
            content = self.catalogue.files[file]
            if content.rung is Rung.UNAVAILABLE:
                rest.append(_left_out_file(content, LONE_FILES, content.reason, None))
            else:
                self._upload(content, uploads)
        return [_unit(Kind.FILE, root, [*uploads, *rest])]

    def _assistant(self, root: Root) -> Unit:
        view = self._views[root.id]
        reason = self._impossible(view)
        if reason:
            return _unit(Kind.ASSISTANT, root, [Cannot(id=root.id, name=root.name, reason=reason)])
        uploads: list[Step] = []
        rest: list[Step] = []
        stores = []
        for store in dict.fromkeys(view.store_ids):
            if store in self.catalogue.stores:
                stores.append(store)
                self._store(store, uploads, rest)
            else:
                rest.append(
                    _left_out(Kind.STORE, store, root.id, "it is not in the bundle", "tool_resources.file_search")
                )
        files = []
        for file in dict.fromkeys(view.file_ids):
            content = self.catalogue.files.get(file) or Content(id=file, reason="it is not in the bundle")
            if content.rung is Rung.TEXT:
                why = "only its parsed text is in the bundle, which the code interpreter can't take for the file"
                rest.append(_left_out_file(content, root.id, why, "tool_resources.code_interpreter"))
            elif content.rung is Rung.UNAVAILABLE:
                rest.append(_left_out_file(content, root.id, content.reason, "tool_resources.code_interpreter"))
            else:
                files.append(file)
                self._upload(content, uploads)
        # The dialect is asked with the source's own ids: what it loses doesn't depend on what the ids become.
        request = dialect.assistant(
            self._records[root.id],
            prefix=self.prefix,
            operation="",
            stores={id: TargetId(id) for id in stores},
            files={id: TargetId(id) for id in files},
        )
        create = CreateAssistant(
            id=root.id, name=root.name, model=view.model, stores=stores, files=files, losses=request.losses
        )
        return _unit(Kind.ASSISTANT, root, [*uploads, *rest, create])

    def _impossible(self, view: AssistantView) -> str:
        if view.name is not None and len(self.prefix + view.name) > dialect.NAME_LENGTH:
            return (
                f"its name would have {len(self.prefix + view.name)} characters with the prefix, "
                f"and {dialect.NAME_LENGTH} are allowed"
            )
        return ""

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
        count = 0
        for file in dict.fromkeys(self.catalogue.members.get(store, ())):
            content = self.catalogue.files.get(file) or Content(id=file, reason="it is not in the bundle")
            if content.rung is Rung.UNAVAILABLE:
                rest.append(_left_out_file(content, store, content.reason, None))
                continue
            count += 1
            self._upload(content, uploads)
        record = self.catalogue.stores[store]
        losses = dialect.store(record, operation="").losses
        rest.append(CreateStore(id=store, name=_store_name(record), losses=losses))
        if count:
            rest.append(AttachFiles(store=store, count=count))

    def _upload(self, content: Content, uploads: list[Step]) -> None:
        if content.id not in self._uploaded:
            self._uploaded.add(content.id)
            uploads.append(UploadFile(content=content, purpose=_purpose(content)))


def _file(content: Content) -> Root:
    return Root(kind=Kind.FILE, id=content.id, name=content.filename)


def _unit(kind: Kind, root: Root, steps: Iterable[Step]) -> Unit:
    return Unit(kind=kind, id=root.id, name=root.name, steps=list(steps))


def _purpose(content: Content) -> str:
    purpose = dialect.purpose(content.purpose)
    # A document made of parsed text is knowledge, whatever the file was; vision and batch would refuse a .txt.
    return purpose if content.rung is not Rung.TEXT or purpose == "user_data" else "assistants"


def _store_name(record: Record) -> str | None:
    return msgspec.json.decode(record.raw, type=StoreView).name


def _left_out(kind: Kind, id: SourceId, inside: SourceId, why: str, field: str | None) -> LeaveOut:
    return LeaveOut(loss=Loss(why=Why.LEFT_OUT, kind=kind, id=id, inside=inside, field=field, text=f"left out: {why}"))


def _left_out_file(content: Content, inside: SourceId, why: str, field: str | None) -> LeaveOut:
    return LeaveOut(
        loss=Loss(
            why=Why.LEFT_OUT,
            kind=Kind.FILE,
            id=content.id,
            name=content.filename,
            inside=inside,
            field=field,
            text=f"left out: {why or 'its content is not in the bundle'}",
        )
    )
