"""What a run did to the account, as its journal says: what an undo goes by, and nothing else.

What the run made and took away again itself is no effect, nor is a change of something that it made: with the
thing goes the change. A file that was taken for the run's own because of its name and size alone is only told of.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from holdall.errors import ImportFailed
from holdall.importer.plan.image import fingerprint
from holdall.importer.runs.runlines import MARKS, Closed, Done, Failed, Intent, Learned, Line, Opened, Shown, lines
from holdall.model import Kind, SourceId, TargetId
from holdall.opening import open_regular

__all__ = [
    "Attached",
    "Chain",
    "Detached",
    "Effect",
    "Effects",
    "Made",
    "Updated",
    "Wrote",
    "chains",
    "merged",
    "read_effects",
    "written",
]

_MAKES = ("create", "copy")


class Made(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something that the run created. ``image`` is how it left it, None where nobody could say.

    ``perhaps`` has the fingerprints that an update gave some fields whose answer was lost.
    """

    kind: Kind
    target: TargetId
    source: SourceId
    name: str | None
    op: str
    image: dict[str, str] | None = None
    perhaps: dict[str, str] = {}


class Attached(msgspec.Struct, frozen=True, kw_only=True):
    """Files that were put into a store, each with the fingerprint of its attributes.

    ``before`` has, for those that were in it already, the attributes and the chunking strategy that they had. Here and
    below ``sure`` says that the account answered that it did.
    """

    store: TargetId
    files: dict[TargetId, str]
    before: dict[TargetId, dict[str, Any]] = {}
    sure: bool = True


class Detached(msgspec.Struct, frozen=True, kw_only=True):
    """A file that was taken out of a store; ``before`` has its attributes and its chunking strategy."""

    store: TargetId
    file: TargetId
    name: str | None
    before: dict[str, Any]
    sure: bool = True


class Updated(msgspec.Struct, frozen=True, kw_only=True):
    """Fields that were set, with the values they had. ``image`` as in Made; ``store`` is that of a membership."""

    kind: Kind
    target: TargetId
    name: str | None
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


class Effects(msgspec.Struct, frozen=True, kw_only=True):
    """``done`` in the order in which it was done. ``uncertain`` are creates of which nobody knows what came.

    ``inferred`` are files that may be this run's, ``added`` metadata keys that the server puts in by itself. ``end`` is
    the length of the journal up to its last whole line. ``marked``: the account keeps the marks of what is created.
    """

    opened: Opened
    closed: bool
    done: list[Effect]
    uncertain: list[Intent]
    inferred: list[Made]
    end: int
    added: frozenset[str] = frozenset()
    marked: bool = True


def read_effects(journal: Path) -> Effects | None:
    """Read a journal; None for one without a first line, whose run was cut off before it wrote anything.

    Raises CannotWrite where it can't be read, ImportFailed where it isn't one.
    """
    reading = _Reading()
    end = 0
    for line, length in lines(journal):
        reading.take(line)
        end = length
    if reading.opened is None:
        with open_regular(journal) as file:
            if file.readline().endswith(b"\n"):
                raise ImportFailed(f"can't read the journal {journal}: its first line isn't one of a journal")
        return None
    return Effects(
        opened=reading.opened,
        closed=reading.closed,
        done=list(reading.done()),
        uncertain=[intent for intent in reading.open.values() if intent.action in _MAKES],
        inferred=reading.inferred,
        end=end,
        added=frozenset(reading.added),
        marked=reading.marked,
    )


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """What a run did to one file in a store that it didn't make: how it was before, and how the run may have left it.

    ``before`` is None where the file wasn't in the store. ``ends`` are fingerprints of attributes, with None for not
    in the store: several where it isn't sure that the last effects were done.
    """

    before: dict[str, Any] | None
    ends: frozenset[str | None]
    name: str | None = None


def chains(effects: Iterable[Effect], made: Container[TargetId]) -> dict[tuple[TargetId, TargetId], Chain]:
    """By store and file, for the stores that aren't in ``made``."""
    found: dict[tuple[TargetId, TargetId], Chain] = {}

    def add(
        effect: Attached | Detached | Updated,
        file: TargetId,
        before: dict[str, Any] | None,
        end: str | None,
        name: str | None = None,
    ) -> None:
        if effect.store is None or effect.store in made:
            return
        start = None if before is None else fingerprint(before.get("attributes"))
        last = found.get((effect.store, file)) or Chain(before=before, ends=frozenset({start}))
        ends = {end} if effect.sure else {end, *last.ends}
        found[effect.store, file] = Chain(before=last.before, ends=frozenset(ends), name=name or last.name)

    for effect in effects:
        match effect:
            case Attached(files=files, before=before):
                for file, end in files.items():
                    add(effect, file, before.get(file), end)
            case Detached(file=file, before=was, name=name):
                add(effect, file, was, None, name)
            case Updated(target=file, before=was, image=image, name=name):
                add(effect, file, was, (image or {}).get("attributes", ""), name)
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


class _Reading:
    """A journal line by line. ``effects`` are under the op that did them, in order."""

    def __init__(self) -> None:
        self.opened: Opened | None = None
        self.closed = False
        self.effects: dict[str, Effect] = {}
        self.open: dict[str, Intent] = {}
        self.inferred: list[Made] = []
        self.gone: set[TargetId] = set()
        self.added: set[str] = set()
        self.marked = True
        self._made: dict[TargetId, str] = {}

    def take(self, line: Line) -> None:
        match line:
            case Opened():
                self.opened = line
            case Intent(op=op):
                self.open[op] = line
                if effect := self._intended(line):
                    self.effects[op] = effect
            case Done(op=op):
                if intent := self.open.pop(op, None):
                    self._done(intent, line)
            case Failed(op=op, ambiguous=False, looked=False):
                self.open.pop(op, None)
                self.effects.pop(op, None)
            case Shown():
                self._shown(line)
            case Learned(what=what, value=0) if what == MARKS:
                self.marked = False
            case Closed():
                self.closed = True
            case _:
                pass

    def done(self) -> Iterator[Effect]:
        for effect in self.effects.values():
            if not isinstance(effect, Made):
                yield effect
            elif effect.target not in self.gone:
                lost = [one.after or {} for one in self.open.values() if one.target == effect.target]
                perhaps = {field: text for after in lost for field, text in after.items()}
                yield msgspec.structs.replace(effect, perhaps=perhaps) if perhaps else effect

    def _intended(self, intent: Intent) -> Effect | None:
        """What the call does if it is carried out; of a create that is known only by its answer."""
        match intent.action:
            case "attach" if intent.target and intent.files:
                before = {TargetId(file): was for file, was in (intent.before or {}).items()}
                return Attached(store=intent.target, files=intent.files, before=before, sure=False)
            case "detach" if intent.target and intent.store:
                return Detached(
                    store=intent.store, file=intent.target, name=intent.name, before=intent.before or {}, sure=False
                )
            case "update" if intent.target and intent.target not in self._made and intent.before is not None:
                return Updated(
                    kind=intent.kind,
                    target=intent.target,
                    name=intent.name,
                    before=intent.before,
                    image=intent.after,
                    store=intent.store,
                    sure=False,
                )
            case "describe" | "write" if intent.target and intent.sha256:
                text = (intent.before or {}).get("text")
                return Wrote(target=intent.target, name=intent.name, hashes=frozenset({intent.sha256}), before=text)
        return None

    def _shown(self, line: Shown) -> None:
        """How things looked afterwards, where that isn't how they were sent."""
        self.added.update(line.added)
        for op, effect in self.effects.items():
            match effect:
                case Made(target=target) | Updated(target=target, store=None) if target == line.target:
                    if line.image is not None:
                        self.effects[op] = msgspec.structs.replace(effect, image=line.image)
                case Attached(store=store, files=files) if store == line.target and line.files:
                    shown = {file: line.files.get(file, end) for file, end in files.items()}
                    self.effects[op] = msgspec.structs.replace(effect, files=shown)
                case _:
                    pass

    def _done(self, intent: Intent, line: Done) -> None:
        if isinstance(effect := self.effects.get(intent.op), Attached | Detached | Updated):
            self.effects[intent.op] = msgspec.structs.replace(effect, sure=True)
        match intent.action:
            case "create" | "copy" if line.there:  # it isn't the run's
                pass
            case "create" | "copy":
                made = Made(
                    kind=intent.kind,
                    target=line.target,
                    source=intent.source,
                    name=line.name or intent.name,
                    op=intent.op,
                    image=line.image,
                )
                if line.inferred:
                    self.inferred.append(made)
                else:
                    self.effects[intent.op] = made
                    self._made[line.target] = intent.op
            case "update" if intent.target and line.image is not None:
                # Of something that the run made, this is how it was left; of something else, what was set.
                op = self._made.get(intent.target, intent.op)
                if isinstance(effect := self.effects.get(op), Made | Updated):
                    self.effects[op] = msgspec.structs.replace(effect, image=line.image)
            case "delete" if intent.target:
                self.gone.add(intent.target)
