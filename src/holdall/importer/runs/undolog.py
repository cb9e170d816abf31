"""What an undo does, action by action, and ``undo.jsonl`` in a run's folder, which says how far it came.

``undo.undoplan`` decides on the actions.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from holdall.bundle.appendlog import AppendLog
from holdall.errors import CannotRead
from holdall.importer.runs.runlines import timestamp
from holdall.kinds import noun
from holdall.model import Kind, TargetId
from holdall.safe_open import read_regular

LOG = "undo.jsonl"


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
