"""``undo.jsonl`` in a run's folder: what was done to undo the run, call by call, and how far that came."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from holdall.bundle.appendlog import AppendLog
from holdall.errors import CannotWrite
from holdall.importer.runs.runlines import timestamp
from holdall.importer.runs.undoactions import Act, UndoAction
from holdall.model import Kind, TargetId
from holdall.opening import read_regular

__all__ = ["LOG", "UndoLog", "is_undone"]

LOG = "undo.jsonl"


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
    """An undo came to its end, and had to leave so many things as they are; ``orphans`` may be the run's."""

    at: str
    left: int
    orphans: int = 0


_decoder: msgspec.json.Decoder[_Step | _Ended] = msgspec.json.Decoder(_Step | _Ended)


class UndoLog:
    """The log of all undos of one run. ``now`` is in Unix seconds.

    ``begun`` has the (store, file) that one of them had in hand; ``whole`` says that nothing is left to undo, and
    ``orphans`` how many things were left that may be the run's.
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


def _read(path: Path) -> tuple[frozenset[tuple[TargetId, TargetId]], bool, int]:
    begun, whole, orphans = set(), False, 0
    try:
        lines = read_regular(path).splitlines() if path.exists() else []
    except OSError as error:
        raise CannotWrite(f"can't read {path}: {error.strerror or error}") from None
    for raw in lines:
        try:
            line = _decoder.decode(raw)
        except msgspec.DecodeError:  # cut off by a crash
            continue
        whole = isinstance(line, _Ended) and line.left == 0
        orphans = line.orphans if isinstance(line, _Ended) else orphans
        if isinstance(line, _Step) and line.act is Act.REPLACE and line.store is not None:
            begun.add((line.store, line.target))
    return frozenset(begun), whole, orphans
