"""What an OUTPUT_DIR records of earlier imports: the verb that lists the runs, and the copies they made. Offline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path

import msgspec

from holdall.errors import CannotWrite, ImportFailed, UsageFault
from holdall.importer.plan.choices import model_map
from holdall.importer.runs.effects import Made
from holdall.importer.runs.runfolder import PastRun, mappings, past_runs
from holdall.importer.runs.runreport import MAPPING, RunMapping, read_mapping
from holdall.kinds import DEFINITIONS, KINDS
from holdall.model import Kind, SourceId, TargetId

__all__ = ["KnownCopies", "ListedRun", "Standing", "known_copies", "list_runs"]


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


class KnownCopies(msgspec.Struct, frozen=True, kw_only=True):
    """By kind, the source of each copy; the prefixes of the names, the models (old and new) and the metadata keys that
    copies have besides."""

    origins: dict[Kind, dict[str, str]]
    prefixes: tuple[str, ...]
    models: tuple[tuple[str, str], ...]
    added: frozenset[str]


def known_copies(output: Path, mapping: Path | None = None) -> KnownCopies:
    """What the mappings below OUTPUT_DIR say, the newest first, or the one ``mapping`` alone.

    Raises UsageFault for a ``mapping`` that isn't one; CannotWrite.
    """
    if mapping is not None:
        asked = read_mapping(mapping)
        if asked is None:
            raise UsageFault(f"can't use --mapping {mapping}: not a mapping.json")
        found = [asked]
    else:
        found = [one for _, one in mappings(output)]
    origins: dict[Kind, dict[str, str]] = {kind: {} for kind in (*DEFINITIONS, Kind.FILE)}
    for one in found:
        for kind in DEFINITIONS:
            _add(origins[kind], one.placed(kind))
        _add(origins[Kind.FILE], one.files)
        _add(origins[Kind.FILE], one.copies)
    return KnownCopies(
        origins=origins,
        prefixes=tuple(dict.fromkeys(one.choices.prefix for one in found if one.choices.prefix)),
        models=tuple(dict.fromkeys(rule for one in found for rule in _models(one))),
        added=frozenset().union(*(one.added for one in found)),
    )


def _models(found: RunMapping) -> tuple[tuple[str, str], ...]:
    return model_map(found.choices.map_model).rules


def _add(origins: dict[str, str], copies: dict[SourceId, TargetId]) -> None:
    for source, copy in copies.items():
        if str(source) != str(copy):
            first = origins.setdefault(copy, source)
            # A copy of several equal files is of one origin, and so are they.
            if first != source:
                origins.setdefault(source, first)
