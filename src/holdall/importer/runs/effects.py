"""What a run did to the account, as its journal says: what an undo goes by, and nothing else.

What the run made and took away again itself is no effect, nor is a change of something that it made: with the
thing goes the change. A file that was taken for the run's own because of its name and size alone is only told of.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import msgspec

from holdall.importer.plan.image import fingerprint
from holdall.model import Kind, SourceId, TargetId

__all__ = [
    "Attached",
    "Chain",
    "Detached",
    "Effect",
    "Made",
    "Updated",
    "Wrote",
    "chains",
    "merged",
    "written",
]


class Made(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something that the run created. ``image`` is how it left it, None where nobody could say.

    ``perhaps`` has the fingerprints that an update gave some fields whose answer was lost. ``sha256`` is that of the
    bundle's entry that a file was uploaded from, ``is_copy`` says that it is a second upload of it.
    """

    kind: Kind
    target: TargetId
    source: SourceId
    name: str | None
    op: str
    image: dict[str, str] | None = None
    perhaps: dict[str, str] = {}
    sha256: str | None = None
    is_copy: bool = False


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    """Files that were put into a store, each with the fingerprint of its attributes.

    Here and below ``sure`` says that the account answered that it did.
    """

    store: TargetId
    files: dict[TargetId, str]
    sure: bool = True


class Detached(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was taken out of a store; ``before`` has its attributes and its chunking strategy."""

    store: TargetId
    file: TargetId
    before: dict[str, Any]
    sure: bool = True


class Updated(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that were set, with the values they had. ``image`` as in Made; ``store`` is that of a membership."""

    kind: Kind
    target: TargetId
    before: dict[str, Any]
    image: dict[str, str] | None
    store: TargetId | None = None
    sure: bool = True


class Wrote(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was written below OUTPUT_DIR, at the path ``target``; ``before`` is the text that it replaced.

    ``hashes`` are the sha256 of what the run wrote there; whether the last of it came to be, the file tells.
    """

    target: TargetId
    name: str | None
    hashes: frozenset[str]
    before: str | None


Effect = Made | Attached | Detached | Updated | Wrote


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did to one file in a store that it didn't make: how it was before, and how the run may have left it.

    ``before`` is None where the file wasn't in the store. ``ends`` are fingerprints of attributes, with None for not
    in the store: several where it isn't sure that the last effects were done.
    """

    before: dict[str, Any] | None
    ends: frozenset[str | None]


def chains(effects: Iterable[Effect], made: Container[TargetId]) -> dict[tuple[TargetId, TargetId], Chain]:
    """By store and file, for the stores that aren't in ``made``."""
    found: dict[tuple[TargetId, TargetId], Chain] = {}

    def add(
        effect: Attached | Detached | Updated,
        file: TargetId,
        before: dict[str, Any] | None,
        end: str | None,
    ) -> None:
        if effect.store is None or effect.store in made:
            return
        start = None if before is None else fingerprint(before.get("attributes"))
        last = found.get((effect.store, file)) or Chain(before=before, ends=frozenset({start}))
        ends = {end} if effect.sure else {end, *last.ends}
        found[effect.store, file] = Chain(before=last.before, ends=frozenset(ends))

    for effect in effects:
        match effect:
            case Attached(files=files):
                for file, end in files.items():
                    add(effect, file, None, end)
            case Detached(file=file, before=was):
                add(effect, file, was, None)
            case Updated(target=file, before=was, image=image):
                add(effect, file, was, (image or {}).get("attributes", ""))
            case _:
                pass
    return found


def merged(effects: Iterable[Effect]) -> dict[TargetId, Updated]:
    """One update for each assistant and store: the values before the first, the image after the last."""
    found: dict[TargetId, Updated] = {}
    for effect in effects:
        if isinstance(effect, Updated) and effect.store is None:
            first = found.get(effect.target)
            before = {**effect.before, **first.before} if first else effect.before
            image = effect.image
            if first and image is not None:
                image = {**(first.image or {}), **image}
            found[effect.target] = msgspec.structs.replace(effect, before=before, image=image)
    return found


def written(effects: Iterable[Effect]) -> dict[TargetId, Wrote]:
    """One effect for each file: what was there before the first."""
    found: dict[TargetId, Wrote] = {}
    for effect in effects:
        if isinstance(effect, Wrote):
            first = found.get(effect.target)
            before, hashes = (first.before, first.hashes | effect.hashes) if first else (effect.before, effect.hashes)
            found[effect.target] = msgspec.structs.replace(effect, before=before, hashes=hashes)
    return found
