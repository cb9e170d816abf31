"""What a run did to the account, and what an undo did about it.

The effects follow from the run's journal, and are all that an undo uses: not effects are what the run itself created
and deleted again, and changes of what it created, as deleting the object undoes them. A file that only its name and
size show to be the run's own is reported, never deleted. The actions of an undo, which ``undo.undoplan`` decides on,
are logged in ``undo.jsonl`` in the run's folder, which says how far it came.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from holdall.errors import CannotRead
from holdall.importer.plan.difference import fingerprint
from holdall.importer.runs.runjournal import Attach, Creation, Detach, Update, Written, timestamp
from holdall.kinds import noun
from holdall.model import Kind, SourceId, TargetId
from holdall.safe_files import AppendLog, read_regular

LOG = "undo.jsonl"


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


def version_target(skill: TargetId, number: str) -> TargetId:
    """The version of a skill with that number, in journals."""
    return TargetId(f"{skill}:{number}")


def version_number(target: TargetId) -> str:
    """The number in what ``version_target`` gave.

    >>> version_number(TargetId("skill_1:2"))
    '2'
    """
    return target.rpartition(":")[2]


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


class Act(StrEnum):
    """What is done about one effect."""

    DELETE = "delete"
    RESTORE = "restore"
    DETACH = "take out"
    ATTACH = "put back"
    REMOVE = "remove"
    """A written request: a file on this machine."""
    REWRITE = "put back as it was before"
    """The same, where it replaced one of an earlier run."""
    REPLACE = "put back as it was"
    """Taken out and put in again: how a file is cut can't be changed while it is in the store."""


# The logs of earlier undos have the values, so people get other words.
_WORDS = {Act.DETACH: "detach", Act.ATTACH: "reattach", Act.REWRITE: "restore", Act.REPLACE: "reattach"}


class UndoAction(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to do. ``needless`` if it is undone already; ``left`` is the reason if it must not be done.

    ``despite`` is a reason that the user overruled. ``body`` is what is sent, ``store`` the store of a membership,
    ``uses`` what has to stay if this can't be done.
    """

    act: Act
    kind: Kind
    target: TargetId
    name: str | None
    store: TargetId | None = None
    body: dict[str, Any] = {}
    uses: list[TargetId] = []
    needless: bool = False
    left: str = ""
    despite: str = ""

    @property
    def due(self) -> bool:
        return not (self.needless or self.left)

    @property
    def local(self) -> bool:
        """Whether it is done on this machine."""
        return self.act in (Act.REMOVE, Act.REWRITE)

    def __str__(self) -> str:
        if self.local:
            return f"{_WORDS.get(self.act, self.act)} file {self.target}"
        kind = "file" if self.kind is Kind.MEMBERSHIP else noun(self.kind)
        # An agent's name is its id, and that of a version begins with it.
        is_said = self.name in (None, "", self.target, self.target.rpartition(":")[0])
        what = f"{_WORDS.get(self.act, self.act)} {kind} {self.target if is_said else f'{self.name} ({self.target})'}"
        where = {Act.DETACH: " from store ", Act.ATTACH: " to store ", Act.REPLACE: " to store "}.get(self.act, " in ")
        inside = f"{where}{self.store}" if self.store else ""
        fields = f": {', '.join(self.body)}" if self.act is Act.RESTORE else ""
        return what + inside + fields


class _Step(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", tag="step", omit_defaults=True):
    """One call. ``outcome`` is ``begun``, ``done``, ``gone`` or ``left``."""

    at: str
    act: Act
    outcome: str
    kind: Kind
    target: TargetId
    store: TargetId | None = None
    name: str | None = None
    request_id: str | None = None
    detail: str = ""


class _Ended(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", tag="ended"):
    """An undo ended. ``left``: how many things it had to leave; ``orphans``: how many objects may be the run's."""

    at: str
    left: int
    orphans: int = 0


_decoder: msgspec.json.Decoder[_Step | _Ended] = msgspec.json.Decoder(_Step | _Ended)


class UndoLog:
    """The log of all undos of one run. ``now`` is in Unix seconds.

    ``begun``: each (store, file) that one of them began to take out and put back. ``whole``: nothing is left to undo.
    ``orphans``: how many objects were left that may be the run's.
    """

    def __init__(self, folder: Path, *, now: Callable[[], float]) -> None:
        """Read what is there. Raises CannotWrite."""
        self.path = folder / LOG
        self._now = now
        self.begun, self.whole, self.orphans = _read(self.path)

    def step(self, action: UndoAction, outcome: str, *, request_id: str | None = None, detail: str = "") -> None:
        """Note a call; one that is ``begun`` is durable on return."""
        step = _Step(
            at=timestamp(self._now(), fraction=True),
            act=action.act,
            outcome=outcome,
            kind=action.kind,
            target=action.target,
            store=action.store,
            name=action.name,
            request_id=request_id,
            detail=detail,
        )
        self._append(step, sync=outcome == "begun")

    def ended(self, left: int, orphans: int = 0) -> None:
        """Note that an undo came to its end; durable on return."""
        self.whole, self.orphans = left == 0, orphans
        self._append(_Ended(at=timestamp(self._now()), left=left, orphans=orphans), sync=True)

    def _append(self, line: _Step | _Ended, *, sync: bool) -> None:
        # Opened for each line: an undo that has nothing to do, or is only tried, makes no log.
        log = AppendLog(self.path)
        try:
            log.append(msgspec.json.encode(line) + b"\n", sync=sync)
        finally:
            log.close()


def is_undone(folder: Path) -> bool:
    """Whether nothing is left of what the run in ``folder`` did. Raises CannotWrite."""
    return _read(folder / LOG)[1]


def has_undo(folder: Path) -> bool:
    """Whether an undo of the run in ``folder`` has begun."""
    return (folder / LOG).exists()


def _read(path: Path) -> tuple[frozenset[tuple[TargetId, TargetId]], bool, int]:
    begun, whole, orphans = set(), False, 0
    try:
        lines = read_regular(path).splitlines() if path.exists() else []
    except OSError as error:
        raise CannotRead(f"can't read {path}: {error.strerror or error}") from None
    for raw in lines:
        try:
            line = _decoder.decode(raw)
        except msgspec.DecodeError:  # cut off by a crash
            continue
        # A step after the end is one of another undo, which has not ended.
        whole = isinstance(line, _Ended) and line.left == 0
        orphans = line.orphans if isinstance(line, _Ended) else orphans
        # Taken out to be put in again: where a crash came between, the file is in no store, and it was this undo.
        if isinstance(line, _Step) and line.act is Act.REPLACE and line.store is not None:
            begun.add((line.store, line.target))
    return frozenset(begun), whole, orphans
