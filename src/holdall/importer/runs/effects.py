"""What a run did to the account, according to its journal: all that an undo uses.

Not effects: what the run itself created and deleted again, and changes of what it created, as deleting the object
undoes them. A file that only its name and size show to be the run's own is reported, never deleted.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from typing import Any

import msgspec

from holdall.importer.plan.difference import fingerprint
from holdall.importer.runs.runlines import Attach, Creation, Detach, Update, Written
from holdall.model import Kind, SourceId, TargetId


class Made(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An object that the run created. ``image``: the fingerprints of its fields as the run left it, None if unknown.

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


def agent_of(version: TargetId) -> TargetId:
    """The agent, or skill, of one of its versions.

    >>> agent_of(TargetId("help-desk:3"))
    'help-desk'
    """
    return TargetId(version.rpartition(":")[0])


def number_of(version: TargetId) -> int:
    """The number of a version in its agent; 0 for what is none."""
    number = version.rpartition(":")[2]
    return int(number) if number.isdecimal() else 0


def is_later(version: TargetId, intent: Creation) -> bool:
    """Whether that attempt may have made the version: it came after what was the newest one."""
    return number_of(version) > number_of(TargetId(getattr(intent, "latest", None) or ""))


Effect = Made | Attach | Detach | Update | Written
"""An intent stands for what it does, with ``files`` and ``after`` as the account shows them since."""


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did to one file in a store that it didn't make: how it was before, and how the run may have left it.

    ``before`` is None where the file wasn't in the store. ``ends`` are fingerprints of attributes, with None for not
    in the store: several where it isn't sure that the last effects were done.
    """

    before: dict[str, Any] | None
    ends: frozenset[str | None]


def chains(
    effects: Iterable[Effect], made: Container[TargetId], sure: Container[str]
) -> dict[tuple[TargetId, TargetId], Chain]:
    """By store and file, for the stores that aren't in ``made``. ``sure`` has the ops that were answered."""
    found: dict[tuple[TargetId, TargetId], Chain] = {}
    for effect in effects:
        for store, file, before, end in _memberships(effect):
            if store in made:
                continue
            start = None if before is None else fingerprint(before.get("attributes"))
            last = found.get((store, file)) or Chain(before=before, ends=frozenset({start}))
            # Without an answer it may have been carried out, or not.
            ends = {end} if effect.op in sure else {end, *last.ends}
            found[store, file] = Chain(before=last.before, ends=frozenset(ends))
    return found


def _memberships(effect: Effect) -> Iterator[tuple[TargetId, TargetId, dict[str, Any] | None, str | None]]:
    """Store, file, what was there before, and the fingerprint of what is there afterwards."""
    match effect:
        case Attach(target=store, files=files):
            yield from ((store, file, None, end) for file, end in files.items())
        case Detach(target=file, store=store, before=before):
            yield store, file, before or {}, None
        case Update(target=file, store=str(store), before=before, after=after):
            yield store, file, before, (after or {}).get("attributes", "")


def merged(effects: Iterable[Effect]) -> dict[TargetId, Update]:
    """One update for each assistant and store: the values before the first, the looks after the last."""
    found: dict[TargetId, Update] = {}
    for effect in effects:
        if isinstance(effect, Update) and effect.store is None:
            first = found.get(effect.target, effect)
            before = {**(effect.before or {}), **(first.before or {})}
            after = None if effect.after is None else {**(first.after or {}), **effect.after}
            found[effect.target] = msgspec.structs.replace(effect, before=before, after=after)
    return found
