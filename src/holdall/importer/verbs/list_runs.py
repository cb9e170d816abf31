"""The verb runs: the runs of an OUTPUT_DIR and what became of each, by their folders alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path

import msgspec

from holdall.errors import CannotWrite, ImportFailed
from holdall.importer.runs.effects import Made
from holdall.importer.runs.runfolder import PastRun, past_runs
from holdall.importer.runs.runreport import MAPPING, read_mapping
from holdall.kinds import KINDS

__all__ = ["ListedRun", "Standing", "list_runs"]


class Standing(StrEnum):
    """What became of a run."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    FINISHED = "finished"
    """It came to its end, and its folder doesn't have the verdict: those of earlier versions don't."""
    UNFINISHED = "unfinished"
    """It was stopped: the same import resumes it."""
    PARTLY_UNDONE = "partly undone"
    """An undo of it was stopped, or had to leave something."""
    UNDONE = "undone"
    UNREADABLE = "unreadable"
    """Its journal, or the log of its undo, can't be read."""


class ListedRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run. ``began`` is UTC; ``bundle`` is a file's name, ``destination`` an account as journals name it.

    ``made`` is the number of objects that it created, by kind; ``changed`` says whether it changed anything at all,
    so that there is something to undo. ``detail`` is the verdict, or why nothing can be read.
    What a run that was cut off at its beginning doesn't say is None or empty.
    """

    run: str
    state: Standing
    began: str | None = None
    bundle: str | None = None
    destination: Mapping[str, str | None] = {}
    made: Mapping[str, int] = {}
    changed: bool = False
    detail: str = ""


def list_runs(output: Path) -> Iterator[ListedRun]:
    """The runs below ``output``, in the order in which they began."""
    return map(_listed, past_runs(output))


def _listed(run: PastRun) -> ListedRun:
    opened = run.opened
    known = ListedRun(
        run=run.name,
        state=Standing.UNREADABLE,
        began=opened.started if opened else None,
        bundle=opened.bundle.get("name") if opened else None,
        destination=opened.destination if opened else {},
    )
    try:
        state = run.state()
        made = Counter(KINDS[effect.kind].count for effect in state.effects() if isinstance(effect, Made))
        standing, detail = _standing(run, closed=state.closed)
    except (CannotWrite, ImportFailed) as error:
        return msgspec.structs.replace(known, detail=error.message)
    return msgspec.structs.replace(known, state=standing, made=made, changed=state.changed_something, detail=detail)


def _standing(run: PastRun, *, closed: bool) -> tuple[Standing, str]:
    """The state and its detail. Raises CannotWrite."""
    if run.is_undone:
        return Standing.UNDONE, ""
    if run.has_undo:
        return Standing.PARTLY_UNDONE, ""
    if not closed:
        return Standing.UNFINISHED, ""
    mapping = read_mapping(run.folder / MAPPING)
    if mapping is None or mapping.complete is None:
        return Standing.FINISHED, ""
    return (Standing.COMPLETE if mapping.complete else Standing.INCOMPLETE), mapping.verdict
