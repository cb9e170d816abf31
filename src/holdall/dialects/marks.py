"""The metadata keys of a copy: its source, the attempt that created it, and the real name of one that has another.

``cloned_from`` is the source id. ``holdall_op`` names one attempt to create, so that an attempt whose answer was lost
can be looked up at the destination. An object holds at most 16 keys; if the source uses them all, two are replaced at
creation and restored right after. Where there is no second call, what doesn't fit is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from holdall.dialects.loss import Loss, Why
from holdall.model import Kind, SourceId

CLONED_FROM = "cloned_from"
OPERATION = "holdall_op"
NAME = "holdall_name"
MARKS = frozenset({CLONED_FROM, OPERATION, NAME})

UNMARKED = frozenset({Kind.FILE, Kind.SKILL, Kind.SKILL_VERSION, Kind.TEMPLATE})
"""The kinds whose objects have no metadata, and so no marks."""

METADATA_KEYS = 16
"""As many keys as the metadata of an object may have."""

_LONGEST = 512


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
    losses = _replaced(metadata, said)
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


def marked_once(
    metadata: object, *, kind: Kind, source: SourceId, name: str | None, operation: str, real: str | None = None
) -> tuple[dict[str, Any], list[Loss]]:
    """The same for an object that no later call can change: marks that don't fit are left out. ``real`` is the name of
    one that is called otherwise at the destination."""
    own = unmarked(metadata)
    said = partial(Loss, kind=kind, id=source, name=name)
    losses = _replaced(metadata, said)
    marks = {CLONED_FROM: str(source), OPERATION: operation, **({NAME: real[:_LONGEST]} if real else {})}
    fitting = list(marks)[: max(0, METADATA_KEYS - len(own))]
    if left_out := [key for key in marks if key not in fitting]:
        text = f"full ({len(own)} keys), so {' and '.join(left_out)} can't be added"
        losses.append(said(why=Why.MARKS_LEFT_OUT, field="metadata", text=text))
    return {**own, **{key: marks[key] for key in fitting}}, losses


def _replaced(metadata: object, said: Callable[..., Loss]) -> list[Loss]:
    """The loss of a source that is itself a copy."""
    inherited = metadata.get(CLONED_FROM) if isinstance(metadata, Mapping) else None
    if inherited is None:
        return []
    text = f"was {inherited}; set to the id in the bundle"
    return [said(why=Why.MARKS_REPLACED, field=f"metadata.{CLONED_FROM}", text=text)]
