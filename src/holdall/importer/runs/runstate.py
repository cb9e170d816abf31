"""State of one run, folded from its journal: the same live or replayed, after a crash or years later.

A resumed run knows what it would know without the crash. An undo uses the effects alone; later runs use what was made
and how it was left. Ids, names and fingerprints are kept; intents are dropped once their outcome is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from holdall.errors import ImportFailed
from holdall.importer.plan.difference import fingerprint
from holdall.importer.runs import runjournal
from holdall.importer.runs.effects import Effect, Made, agent_of, version_number
from holdall.model import Kind, SourceId, TargetId
from holdall.safe_files import open_regular

T = TypeVar("T", bound=runjournal.Intent | runjournal.Written)


class RunState:
    def __init__(self) -> None:
        self.opened: runjournal.Opened | None = None
        self.closed = False
        self.end = 0
        """Length of the journal up to its last whole line, where it was read."""
        self.targets: dict[Kind, dict[SourceId, TargetId]] = {kind: {} for kind in Kind}
        """What is used in this run, by kind and source; ``adopted`` of it were not created but found."""
        self.adopted: set[tuple[Kind, SourceId]] = set()
        self.copies: dict[SourceId, TargetId] = {}
        """Second uploads of files, under another name; ``superseded`` are those before them, to be taken away."""
        self.superseded: dict[SourceId, list[TargetId]] = {}
        self.names: dict[SourceId, str] = {}
        """Those that files were sent under."""
        self._first_names: dict[SourceId, str] = {}
        self.said: dict[SourceId, runjournal.Done] = {}
        """Where the account says something else of a file than was sent."""
        self.owners: dict[TargetId, SourceId] = {}
        """The first source of each file: a server may give the same id for the same bytes."""
        self.without: dict[SourceId, list[str]] = {}
        self.firsts: set[SourceId] = set()
        """The earlier versions that agents were made with."""
        self.updated: set[tuple[Kind, TargetId | None, SourceId]] = set()
        """Kind and source of what was updated, and of memberships the store's id between them."""
        self.attached: Counter[TargetId] = Counter()
        """How many files were put into each store."""
        self.open: dict[str, runjournal.Intent] = {}
        """The intents of which nobody knows what came of them, by their ``op``."""
        self.missed: list[runjournal.Creation] = []
        """Those that were given up after a search: they may have been carried out all the same, too late."""
        self.answered: set[tuple[str, Kind]] = set()
        """The writes, by action and kind, of which one at least was carried out."""
        self.learned: dict[str, int] = {}
        self.supplied: dict[TargetId, set[str]] = {}
        """By template, the fields whose values its owner supplied."""
        self.added: set[str] = set()
        """Metadata keys that the server puts in by itself."""
        self.made: list[Made] = []
        """All that was created, or found in place of it, in that order; as it was left, ``images`` says."""
        self.inferred: list[Made] = []
        """Of these, what is taken for the run's own because of its name and size alone."""
        self.images: dict[TargetId, dict[str, str]] = {}
        self.members: dict[TargetId, dict[TargetId, str | None]] = {}
        """By store, the files that were put in, with the fingerprints of their attributes; None: taken out."""
        self.shown: list[runjournal.Shown] = []
        self.written: dict[TargetId, set[str]] = {}
        """By path, the sha256 of what was, or was about to be, written into OUTPUT_DIR."""
        self.operations: set[str] = set()
        """Those that stores, assistants and agents may carry."""
        self.sure: set[str] = set()
        """The ops of effects that were answered; a create is none before it is."""
        self._effects: dict[str, Effect] = {}
        self._own: set[TargetId] = set()
        """What was made, and is the run's for certain; of that ``_gone`` was deleted again."""
        self._last_update: dict[TargetId, str] = {}
        """By what was updated, the op of the effect that says how it was left."""
        self._gone: set[TargetId] = set()

    def adopt(self, kind: Kind, source: SourceId, target: TargetId, name: str | None = None) -> None:
        """Use an object that was there before the run. The plan says so, no line of the journal does."""
        self.targets[kind][source] = target
        self.adopted.add((kind, source))
        if kind is Kind.FILE and name is not None:
            self.names[source] = self._first_names[source] = name

    @property
    def files(self) -> dict[SourceId, TargetId]:
        return self.targets[Kind.FILE]

    @property
    def keeps_marks(self) -> bool:
        """Whether the account keeps the metadata that objects are created with, as far as is known."""
        return self.learned.get(runjournal.MARKS) != 0

    @property
    def uncertain(self) -> list[runjournal.Creation]:
        """Creates with an unknown outcome."""
        return [*self.missed, *self.creations()]

    def target(self, kind: Kind, source: SourceId) -> TargetId | None:
        """What was made of a source in this run, or None."""
        return self.targets[kind].get(source)

    def unknown(self, of: type[T], kind: Kind | None = None, source: SourceId | None = None) -> list[T]:
        """The intents ``of`` that type whose outcome is unknown, oldest first."""
        return [
            intent
            for intent in self.open.values()
            if isinstance(intent, of) and kind in (None, intent.kind) and source in (None, intent.source)
        ]

    def creations(self, kind: Kind | None = None, source: SourceId | None = None) -> list[runjournal.Creation]:
        """The same, of Create and Copy."""
        return [*self.unknown(runjournal.Create, kind, source), *self.unknown(runjournal.Copy, kind, source)]

    def claimed(self, kind: Kind) -> Iterator[TargetId]:
        """The ids of a kind that this run made or uses."""
        yield from self.targets[kind].values()
        if kind is Kind.FILE:
            yield from self.copies.values()
            yield from (target for targets in self.superseded.values() for target in targets)

    def touched(self) -> Iterator[TargetId]:
        """The ids of all that the run made, changed or put into a store."""
        yield from (made.target for made in self.made)
        yield from self.images
        for files in self.members.values():
            yield from files

    @property
    def changed_something(self) -> bool:
        """Whether there is something to undo: an effect, or a create that may have been carried out."""
        return bool(self.uncertain or self.inferred or self.effects())

    def effects(self) -> list[Effect]:
        """What the run did to the account, in order: all that an undo needs.

        Objects that the run created and deleted again don't count, nor do changes of objects that it created. Calls
        whose answer was lost count, except creates.
        """
        lost: dict[TargetId, dict[str, str]] = {}
        for update in self.unknown(runjournal.Update):
            lost.setdefault(update.target, {}).update(update.after or {})
        return [
            self._as_left(effect, lost)
            for effect in self._effects.values()
            if not (isinstance(effect, Made) and effect.target in self._gone)
        ]

    def _as_left(self, effect: Effect, lost: dict[TargetId, dict[str, str]]) -> Effect:
        """An effect with what the account has shown since; ``lost`` is what unanswered updates may have set."""
        match effect:
            case Made(target=target):
                return msgspec.structs.replace(effect, image=self.images.get(target), perhaps=lost.get(target, {}))
            case runjournal.Attach(target=store, files=files):
                members = self.members.get(store, {})
                left = {file: end if members.get(file) is None else str(members[file]) for file, end in files.items()}
                return msgspec.structs.replace(effect, files=left)
        return effect

    def take(self, line: runjournal.Line) -> None:
        match line:
            case runjournal.Opened():
                self.opened = line
            case runjournal.Done(op=op):
                if (intent := self.open.pop(op, None)) is not None:
                    self._done(intent, line)
            case runjournal.Failed(op=op, ambiguous=False, looked=looked):
                intent = self.open.pop(op, None)
                # Refused, it has done nothing; looked for in vain, it may have.
                if not looked:
                    self._effects.pop(op, None)
                elif isinstance(intent, runjournal.Creation):
                    self.missed.append(intent)
            case runjournal.Failed():
                pass  # nobody knows: the intent stays open, to be looked for
            case runjournal.Learned(what=what, value=value):
                self.learned[what] = value
            case runjournal.Shown():
                self._shown(line)
            case runjournal.Closed():
                self.closed = True
            case intent:
                self.open[intent.op] = intent
                self._intended(intent)

    def _intended(self, intent: runjournal.Intent) -> None:
        """Record the effect of a call before its outcome is known; that of a create needs the answer."""
        match intent:
            case runjournal.Create(kind=kind, op=op) if kind is not Kind.FILE:
                self.operations.add(op)
            case runjournal.Attach() | runjournal.Detach():
                self._effects[intent.op] = intent
            # What the run made goes as a whole when it is undone, and its changes with it.
            case runjournal.Update(target=target) if intent.before is not None and target not in self._own:
                self._effects[intent.op] = intent
                if intent.store is None:
                    self._last_update[target] = intent.op
            case runjournal.Written(target=path, sha256=sha256):
                self._effects[intent.op] = intent
                self.written.setdefault(path, set()).add(sha256)

    def _done(self, intent: runjournal.Intent, line: runjournal.Done) -> None:
        # One case for each type of intent; before them, what is so of all.
        source = intent.source
        self.answered.add(("create" if isinstance(intent, runjournal.Copy) else intent.action, intent.kind))
        if isinstance(intent, runjournal.Create | runjournal.Update) and intent.supplied:
            self.supplied.setdefault(line.target, set()).update(intent.supplied)
        if intent.op in self._effects:  # not so a change of what the run made itself
            self.sure.add(intent.op)
        if line.image is not None and intent.kind is not Kind.MEMBERSHIP:
            # The agent is as its newest version is.
            self._leave(agent_of(line.target) if intent.kind is Kind.AGENT_VERSION else line.target, line.image)
        match intent:
            case runjournal.Create() | runjournal.Copy():
                self._created(intent, line)
            case runjournal.Write():
                self.targets[intent.kind][source] = line.target
            case runjournal.Update(store=store):
                self.updated.add((intent.kind, store, source))
                if store is not None and line.image is not None:
                    self.members.setdefault(store, {})[line.target] = line.image.get("attributes", "")
                    if intent.op in self._effects:
                        self._effects[intent.op] = msgspec.structs.replace(intent, after=line.image)
            case runjournal.Attach(target=store, files=files):
                self.attached[store] += len(files)
                self.members.setdefault(store, {}).update(files)
            case runjournal.Detach(target=file, store=store):
                self.attached[store] -= 1
                self.members.setdefault(store, {})[file] = None
            case runjournal.Delete(target=file):
                self._gone.add(file)
                self._deleted(source, line.target)

    def _created(self, intent: runjournal.Creation, line: runjournal.Done) -> None:
        source, target = intent.source, line.target
        self._made(intent, line)
        if isinstance(intent, runjournal.Create):
            self.targets[intent.kind][source] = target
            if intent.without:
                self.without[source] = intent.without
            if intent.first is not None:
                self.firsts.add(intent.first)
        else:
            before = self.copies.get(source, target)
            # A server may give the same id for the same bytes.
            if before != target:
                self.superseded.setdefault(source, []).append(before)
            self.copies[source] = target
        if intent.kind is Kind.FILE:
            self._uploaded(intent, line)

    def _made(self, intent: runjournal.Creation, line: runjournal.Done) -> None:
        """Record what was made, and the effect of that where it is the run's own."""
        source, target = intent.source, line.target
        made = Made(
            kind=intent.kind,
            target=target,
            source=source,
            name=line.name or intent.name,
            op=intent.op,
            sha256=intent.sha256,
            is_copy=isinstance(intent, runjournal.Copy),
        )
        self.made.append(made)
        if line.inferred:
            self.inferred.append(made)
        elif not line.there:  # else it isn't the run's
            self._own.add(target)
            into = intent.into if isinstance(intent, runjournal.Create) else None
            # A version goes with its skill where the run made that.
            if into is None or into not in self._own:
                self._effects[intent.op] = made
            if into is not None:
                latest = fingerprint(version_number(target))
                self._leave(into, {**self.images.get(into, {}), "latest_version": latest})

    def _uploaded(self, intent: runjournal.Creation, line: runjournal.Done) -> None:
        source = intent.source
        self.owners.setdefault(line.target, source)
        self.names[source] = intent.name or ""
        if isinstance(intent, runjournal.Create):
            self._first_names[source] = intent.name or ""
            if line.there:
                self.adopted.add((Kind.FILE, source))
        if line.name is not None or line.size is not None:
            self.said[source] = line

    def _deleted(self, source: SourceId, file: TargetId) -> None:
        if file in self.superseded.get(source, ()):
            self.superseded[source].remove(file)
        elif self.copies.get(source) == file:
            del self.copies[source]
            self.names[source] = self._first_names.get(source, "")
        # The first upload is gone, which only stores had no use for: then the copy is the file.
        elif source in self.copies and self.files.get(source) == file:
            self.files[source] = self.copies.pop(source)

    def _leave(self, target: TargetId, image: dict[str, str]) -> None:
        self.images[target] = image
        update = self._effects.get(self._last_update.get(target, ""))
        if isinstance(update, runjournal.Update):
            self._effects[update.op] = msgspec.structs.replace(update, after=image)

    def _shown(self, line: runjournal.Shown) -> None:
        """Record how the account shows what was written, where that differs from what was sent."""
        self.added.update(line.added)
        self.shown.append(line)
        if line.image is not None:
            self._leave(line.target, line.image)
        if line.files:
            self.members.setdefault(line.target, {}).update(line.files)


def read_state(journal: Path) -> RunState:
    """Fold a journal. One that was cut off within its first line has nothing ``opened``.

    Raises CannotWrite where it can't be read, ImportFailed where it isn't one, or is of a later version.
    """
    state = RunState()
    for line, end in runjournal.lines(journal):
        state.take(line)
        state.end = end
    if state.opened is None:
        with open_regular(journal) as file:
            if file.readline().endswith(b"\n"):
                raise ImportFailed(f"can't read the journal {journal}: its first line is invalid")
    elif state.opened.version > runjournal.VERSION:
        raise ImportFailed(
            f"can't read the journal {journal}: it was written by a newer version of holdall",
            hint="install a newer version of holdall",
        )
    return state
