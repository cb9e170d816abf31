"""What a run has come to, as its journal says: the same whether the lines were written just now or before a crash.

Fed line by line, so that a run that goes on after a crash knows exactly what one without a crash would know. What
stays in memory is ids and names; the lines of what is done and settled are let go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec

from holdall.importer.runs.runlines import Closed, Done, Failed, Intent, Learned, Line, Opened, Shown
from holdall.model import Kind, SourceId, TargetId

__all__ = ["RunState", "Said"]

_CREATES = ("create", "copy")


class Said(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What the account says of a file, where that isn't what was sent."""

    name: str | None
    size: int | float | None


class RunState:
    """``targets``: what was created, by kind and source id; ``copies``: the second uploads of files, under
    another name, and ``superseded`` those before them that are to be taken away.

    ``adopted`` of the ``targets`` were not created but found. ``names`` are those that files were sent under;
    ``attached`` counts the files that were put into each store. ``updated`` has kind and source of what was updated,
    and of memberships the store's id between them. ``open`` has the intents of which nobody knows what came of them,
    ``missed`` those that were given up after a search, for they may have been carried out all the same, too late.
    ``added`` are metadata keys that the server puts in by itself. ``owners`` has for each file there the first source
    that it was made of: a server may give the same id for the same bytes. ``answered`` has the writes, by action and
    kind, of which one at least was carried out.
    """

    def __init__(self) -> None:
        self.opened: Opened | None = None
        self.closed = False
        self.targets: dict[Kind, dict[SourceId, TargetId]] = {kind: {} for kind in Kind}
        self.copies: dict[SourceId, TargetId] = {}
        self.superseded: dict[SourceId, list[TargetId]] = {}
        self.names: dict[SourceId, str] = {}
        self._first_names: dict[SourceId, str] = {}
        self.said: dict[SourceId, Said] = {}
        self.without: dict[SourceId, list[str]] = {}
        self.updated: set[tuple[Kind, TargetId | None, SourceId]] = set()
        self.attached: Counter[TargetId] = Counter()
        self.open: dict[str, Intent] = {}
        self.missed: list[Intent] = []
        self.learned: dict[str, int] = {}
        self.adopted: set[tuple[Kind, SourceId]] = set()
        self.added: set[str] = set()
        self.owners: dict[TargetId, SourceId] = {}
        self.answered: set[tuple[str, Kind]] = set()

    def adopt(self, kind: Kind, source: SourceId, target: TargetId, name: str | None = None) -> None:
        """Use what was there before the run; no line of the journal says so, the plan does."""
        self.targets[kind][source] = target
        self.adopted.add((kind, source))
        if kind is Kind.FILE and name is not None:
            self.names[source] = self._first_names[source] = name

    @property
    def files(self) -> dict[SourceId, TargetId]:
        return self.targets[Kind.FILE]

    def target(self, kind: Kind, source: SourceId) -> TargetId | None:
        """What was made of a source in this run, or None."""
        return self.targets[kind].get(source)

    def unknown(self, *actions: str, kind: Kind | None = None, source: SourceId | None = None) -> list[Intent]:
        """The open intents with one of ``actions``, oldest first."""
        return [
            intent
            for intent in self.open.values()
            if intent.action in actions
            and (kind is None or intent.kind is kind)
            and (source is None or intent.source == source)
        ]

    def claimed(self, kind: Kind) -> Iterator[TargetId]:
        """The ids of that kind which this run knows to be its own."""
        yield from self.targets[kind].values()
        if kind is Kind.FILE:
            yield from self.copies.values()
            yield from (target for targets in self.superseded.values() for target in targets)

    def take(self, line: Line) -> None:
        match line:
            case Opened():
                self.opened = line
            case Intent(op=op):
                self.open[op] = line
            case Done(op=op):
                intent = self.open.pop(op, None)
                if intent is not None:
                    self._done(intent, line)
            case Failed(op=op, ambiguous=ambiguous, looked=looked):
                if not ambiguous:
                    intent = self.open.pop(op, None)
                    if looked and intent is not None and intent.action in _CREATES:
                        self.missed.append(intent)
            case Learned(what=what, value=value):
                self.learned[what] = value
            case Shown(added=added):
                self.added.update(added)
            case Closed():
                self.closed = True

    def _done(self, intent: Intent, line: Done) -> None:
        source = intent.source
        self.answered.add(("create" if intent.action == "copy" else intent.action, intent.kind))
        match intent.action:
            case "create":
                self.targets[intent.kind][source] = line.target
                if intent.without:
                    self.without[source] = intent.without
                if intent.kind is Kind.FILE:
                    self._file(intent, line)
            case "write":
                self.targets[intent.kind][source] = line.target
            case "copy":
                before = self.copies.get(source, line.target)
                if before != line.target:
                    self.superseded.setdefault(source, []).append(before)
                self.copies[source] = line.target
                self._file(intent, line)
            case "delete" if line.target in self.superseded.get(source, ()):
                self.superseded[source].remove(line.target)
            case "delete" if intent.kind is Kind.FILE and self.copies.get(source) == line.target:
                del self.copies[source]
                self.names[source] = self._first_names.get(source, "")
            case "delete" if source in self.copies and self.files.get(source) == line.target:
                self.files[source] = self.copies.pop(source)
            case "update":
                self.updated.add((intent.kind, intent.store, source))
            case "attach" if intent.target is not None:
                self.attached[intent.target] += intent.count or 0
            case "detach" if intent.store is not None:
                self.attached[intent.store] -= 1

    def _file(self, intent: Intent, line: Done) -> None:
        self.owners.setdefault(line.target, intent.source)
        if line.there and intent.action == "create":
            self.adopted.add((Kind.FILE, intent.source))
        self.names[intent.source] = intent.name or ""
        if intent.action == "create":
            self._first_names[intent.source] = intent.name or ""
        if line.name is not None or line.size is not None:
            self.said[intent.source] = Said(name=line.name, size=line.size)
