"""The two metadata keys of a copy: its source, and the attempt that created it.

``cloned_from`` is the source id. ``holdall_op`` names one attempt to create, so that an attempt whose answer was lost
can be looked up at the destination. An object holds at most 16 keys; if the source uses them all, two are replaced at
creation and restored right after.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from holdall.dialects.loss import Loss, Why
from holdall.model import Kind, SourceId

CLONED_FROM = "cloned_from"
OPERATION = "holdall_op"
MARKS = frozenset({CLONED_FROM, OPERATION})

METADATA_KEYS = 16
"""As many keys as the metadata of an object may have."""


class Marked(msgspec.Struct, frozen=True, kw_only=True):
    """Metadata to create with; ``final`` is what to set it to right after, or None where it can stay."""

    create: dict[str, Any]
    final: dict[str, Any] | None = None


def unmarked(metadata: object) -> dict[str, Any]:
    """The owner's own keys: ``metadata`` without our marks. Anything that isn't an object counts as empty."""
    return {k: v for k, v in metadata.items() if k not in MARKS} if isinstance(metadata, Mapping) else {}


def marked(
    metadata: object, *, kind: Kind, source: SourceId, name: str | None, operation: str
) -> tuple[Marked, list[Loss]]:
    """The source's metadata (within the key limit) with our marks; and the losses."""
    own = unmarked(metadata)
    said = partial(Loss, kind=kind, id=source, name=name)
    losses = []
    inherited = metadata.get(CLONED_FROM) if isinstance(metadata, Mapping) else None
    if inherited is not None:
        text = f"was {inherited}; set to the id in the bundle"
        losses.append(said(why=Why.MARKS_REPLACED, field=f"metadata.{CLONED_FROM}", text=text))
    marks = {CLONED_FROM: str(source), OPERATION: operation}
    room = METADATA_KEYS - len(marks)
    if len(own) <= room:
        return Marked(create={**own, **marks}), losses
    # Any two may give way: they are back with the next call.
    kept = dict(list(own.items())[:room])
    final = dict(own)
    left_out = [OPERATION]
    # Where one of the two fits, it is the origin: the attempt is of interest only until its answer is known.
    if len(own) < METADATA_KEYS:
        final[CLONED_FROM] = str(source)
    else:
        left_out.insert(0, CLONED_FROM)
    verb = "is" if len(left_out) == 1 else "are"
    text = f"full ({len(own)} keys), so {' and '.join(left_out)} {verb} removed after creation"
    losses.append(said(why=Why.MARKS_LEFT_OUT, field="metadata", text=text))
    return Marked(create={**kept, **marks}, final=final), losses
