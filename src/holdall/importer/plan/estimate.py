"""What a plan will cost: requests, time and storage, at the limits that are known. Pure.

Source of the limits: OpenAI's API reference of vector stores. How long a file takes to travel and to be indexed nobody
says, so the time is the least that the limits allow.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from holdall.importer.plan.steps import (
    AttachFiles,
    BundleSummary,
    CreateDefinition,
    CreateStore,
    DetachFile,
    Plan,
    UpdateDefinition,
    UpdateMembership,
    UpdateStore,
    UploadFile,
)
from holdall.model import Fidelity, SourceId

__all__ = ["FREE_BYTES", "Estimate", "estimate"]

ATTACHED_A_MINUTE = 2000
"""Files that an organisation may attach."""
STORE_WRITES_A_MINUTE = 300
"""Writes to one vector store."""
FREE_BYTES = 1_000_000_000
"""What the stores of an organisation may hold before storage costs."""
_SECONDS_A_WRITE = 1.0
"""What a write takes, upload or create, when nothing holds it up; seen, not promised."""


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """``requests`` are writes; ``seconds`` the least time, without what indexing takes and how fast bytes travel.

    ``storage`` is what the new memberships add to the stores in bytes, taken from the files' own sizes because the size
    of parsed text isn't known before; ``chargeable`` what of all that is there then lies above the free gigabyte, None
    where the destination doesn't say what its stores hold now.
    """

    requests: int
    seconds: int
    storage: int
    chargeable: int | None


def estimate(
    planned: Plan, catalogue: BundleSummary, *, concurrency: int, usage: int | None, batch_files: int
) -> Estimate:
    """The cost of ``planned``. ``usage`` is what the destination's stores hold already, in bytes; ``batch_files``
    is how many files it attaches in one call."""
    side_by_side = one_by_one = attached = storage = 0
    writes: Counter[SourceId] = Counter()
    for step in planned.steps():
        match step:
            case UploadFile():
                side_by_side += 1
            case CreateStore(losses=losses) | CreateDefinition(losses=losses):
                # Where all metadata keys are taken, an update follows.
                one_by_one += 1 + any(loss.why == "marks_left_out" for loss in losses)
            case UpdateDefinition():
                one_by_one += 1
            case UpdateStore(id=store, fields=fields):
                one_by_one += bool(fields)
                writes[store] += bool(fields)
            case UpdateMembership(store=store) | DetachFile(store=store):
                one_by_one += 1
                writes[store] += 1
            case AttachFiles(store=store, count=count, files=files):
                batches = -(-count // batch_files)
                one_by_one += batches
                writes[store] += batches
                attached += count
                storage += _stored(catalogue, store, files)
            case _:
                pass
    seconds = max(
        _SECONDS_A_WRITE * (one_by_one + side_by_side / max(1, concurrency)),
        60 * attached / ATTACHED_A_MINUTE if attached > ATTACHED_A_MINUTE else 0,
        60 * max(writes.values(), default=0) / STORE_WRITES_A_MINUTE,
    )
    return Estimate(
        requests=side_by_side + one_by_one,
        seconds=round(seconds),
        storage=storage,
        chargeable=None if usage is None else max(0, usage + storage - FREE_BYTES),
    )


def _stored(catalogue: BundleSummary, store: SourceId, files: list[SourceId] | None) -> int:
    members = dict.fromkeys(catalogue.members.get(store, ())) if files is None else files
    contents = (catalogue.files.get(file) for file in members)
    return sum(content.stored for content in contents if content and content.fidelity is not Fidelity.UNAVAILABLE)
