"""What the copy of an assistant or a store can refer to, and what is left out of it. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping

import msgspec

from holdall.dialects.loss import Loss, Why
from holdall.dialects.tables import Table, Targets
from holdall.errors import pasteable
from holdall.importer.plan.existing import FoundFile
from holdall.importer.plan.steps import BundleSummary, By, Content, LeaveOut
from holdall.model import DefinitionView, Fidelity, Kind, Record, SourceId, StoreView, TargetId

__all__ = ["CopyReferences", "left_out", "left_out_file", "references", "store_name", "whole"]


class CopyReferences(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy of an assistant refers to, by the source's ids, and what it can't refer to."""

    stores: list[SourceId]
    files: list[SourceId]
    left_out: list[LeaveOut]

    def targets(self) -> Targets:
        """As if the copy had the source's own ids."""
        stores = {id: TargetId(id) for id in self.stores}
        return Targets(stores=stores, files={id: TargetId(id) for id in self.files})


def references(
    view: DefinitionView, catalogue: BundleSummary, living: Container[SourceId], table: Table
) -> CopyReferences:
    """What the copy of an assistant will refer to, as far as ``table`` has room for it; the files in ``living`` are
    there already, whole."""
    stores: list[SourceId] = []
    files: list[SourceId] = []
    lost: list[LeaveOut] = []
    for store in dict.fromkeys(view.store_ids):
        if store not in catalogue.stores:
            why = "it is not in the bundle"
        elif len(stores) == table.stores:
            why = f"an assistant there searches {table.stores} of its {len(set(view.store_ids))} vector stores"
            why += f"; --only {pasteable(store)} imports it alone"
        else:
            stores.append(store)
            continue
        there = store in catalogue.stores
        name = store_name(catalogue.stores[store]) if there else None
        field = "tool_resources.file_search"
        lost.append(left_out(Kind.STORE, store, view.id, why, field, name, recorded=not there))
    for file in dict.fromkeys(view.file_ids):
        content = catalogue.files.get(file) or Content(id=file, reason="it is not in the bundle")
        recorded = True
        if content.fidelity in (Fidelity.TEXT, Fidelity.UNAVAILABLE) and file not in living:
            why = (
                "only its parsed text is in the bundle, which the code interpreter can't take for the file"
                if content.fidelity is Fidelity.TEXT
                else content.reason
            )
        elif len(files) == table.files:
            recorded = False
            why = f"its code interpreter has {len(set(view.file_ids))} files, and {table.files} are allowed there"
        else:
            files.append(file)
            continue
        field = "tool_resources.code_interpreter"
        lost.append(left_out_file(content, SourceId(view.id), why, field, recorded=recorded))
    return CopyReferences(stores=stores, files=files, left_out=lost)


def whole(files: Mapping[SourceId, FoundFile], catalogue: BundleSummary) -> set[SourceId]:
    """Those of the ``files`` there that can stand for the file itself: a copy made of its parsed text can't."""
    return {
        id
        for id, found in files.items()
        if found.by is By.ORIGIN or (id in catalogue.files and catalogue.files[id].fidelity is not Fidelity.TEXT)
    }


def store_name(record: Record) -> str | None:
    return StoreView.of(record).name


def left_out(
    kind: Kind, id: SourceId, inside: str, why: str, field: str | None, name: str | None = None, *, recorded: bool
) -> LeaveOut:
    """``recorded``: because the bundle hasn't got it, and not for the sake of the destination."""
    loss = Loss(
        why=Why.LEFT_OUT,
        kind=kind,
        id=id,
        name=name,
        inside=SourceId(inside),
        field=field,
        text=f"left out: {why}",
        recorded=recorded,
    )
    return LeaveOut(loss=loss)


def left_out_file(
    content: Content, inside: SourceId, why: str, field: str | None, *, recorded: bool = True
) -> LeaveOut:
    return LeaveOut(
        loss=Loss(
            why=Why.LEFT_OUT,
            kind=Kind.FILE,
            id=content.id,
            name=content.filename,
            inside=inside,
            field=field,
            text=f"left out: {why or 'its content is not in the bundle'}",
            recorded=recorded,
        )
    )
