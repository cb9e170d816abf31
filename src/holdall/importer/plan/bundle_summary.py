"""A bundle as a plan needs to know it: definitions whole, files as small values, memberships as ids."""

from __future__ import annotations

import sys
from typing import TypeVar

import msgspec

from holdall.bundle.layout import TEXTS, LedgerLine
from holdall.bundle.reader import BundleReader
from holdall.bundle.totals import minimum_of
from holdall.dialects.assistants import attachment
from holdall.dialects.loss import Loss
from holdall.graph import with_callees_by_id
from holdall.importer.plan.steps import BundleSummary, Content
from holdall.joining import overlap_of
from holdall.kinds import WHOLE, read
from holdall.model import (
    Fidelity,
    FileView,
    Kind,
    MembershipView,
    Record,
    SourceId,
    TargetId,
    epoch_seconds,
)

__all__ = ["catalogue"]

T = TypeVar("T")


def catalogue(reader: BundleReader) -> BundleSummary:
    """Read records and ledger through, once each. Raises DamagedBundle."""
    # One string for each purpose there is, not one for each file.
    known = {record.id: _known(record) for record in reader.files()}
    files: dict[SourceId, Content] = {}
    parsed_in: dict[SourceId, str] = {}
    for line in reader.ledger():
        content = _content(line, *known.get(SourceId(line.id), ("", 0)))
        files[content.id] = content
        if content.fidelity is Fidelity.TEXT and line.path:
            parsed_in[content.id] = sys.intern(line.path.removeprefix(TEXTS).partition("/")[0])
    stores = {record.id: record for record in reader.stores()}
    unfit: dict[SourceId, list[Loss]] = {}
    # Oldest first, as the server lists them, so that the copy lists them in the same order.
    whole = {kind: sorted(reader.definitions(kind), key=_age) for kind in WHOLE}
    whole[Kind.ASSISTANT] = with_callees_by_id(whole[Kind.ASSISTANT])
    return BundleSummary(
        whole=whole,
        stores=stores,
        members={store: _members(reader, store, files, parsed_in, unfit) for store in stores},
        files=files,
        lost=list(reader.losses()),
        minimum=minimum_of(reader.info),
        unfit=unfit,
    )


def _age(record: Record) -> tuple[int, SourceId]:
    return epoch_seconds(read(record).created_at), record.id


def _known(record: Record) -> tuple[str, int]:
    """A file's purpose and when it was made."""
    view = FileView.of(record)
    return sys.intern(view.purpose or ""), epoch_seconds(view.created_at)


def _content(line: LedgerLine, purpose: str, created_at: int) -> Content:
    reason = ""
    if line.fidelity is Fidelity.UNAVAILABLE:
        said = line.message or line.code or (f"status {line.status}" if line.status else "")
        reason = f"its content could not be exported{f' ({said})' if said else ''}"
    return Content(
        id=SourceId(line.id),
        filename=line.filename,
        purpose=purpose or None,
        fidelity=line.fidelity,
        stored=line.size or 0,
        size=line.expected,
        created_at=created_at,
        truncated=line.truncated,
        doubt=line.doubt or None,
        reason=sys.intern(reason),
    )


def _members(
    reader: BundleReader,
    store: SourceId,
    files: dict[SourceId, Content],
    parsed_in: dict[SourceId, str],
    unfit: dict[SourceId, list[Loss]],
) -> list[SourceId]:
    """The ids of a store's files. For those whose text this store parsed, note how far its parts overlap; and in
    ``unfit`` what of a file's settings can't be sent."""
    ids = []
    for record in reader.memberships(store):
        content, view = files.get(record.id), MembershipView.of(record)
        # The id that is held already, so that 100,000 memberships cost a pointer each.
        ids.append(content.id if content else record.id)
        if view.attributes or view.chunking_strategy:
            name = content.filename if content else None
            for loss in attachment(record, TargetId("")).losses:
                told = msgspec.structs.replace(loss, kind=Kind.FILE, name=name, inside=store)
                unfit.setdefault(store, []).append(told)
        if content and parsed_in.get(content.id) == store:
            overlap = overlap_of(view.chunking_strategy)
            if overlap != content.overlap:
                files[content.id] = msgspec.structs.replace(content, overlap=overlap)
    return ids
