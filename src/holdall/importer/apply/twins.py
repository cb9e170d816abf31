"""Duplicates that another import made while this one ran.

Two imports that start together, each with its own OUTPUT_DIR, can't see each other before their first write. So each
looks once more after its last create: the one that looks last sees the other's objects, and both may. Stores,
assistants and agents are known by their marks; where there is no room for marks by the name and the 16 keys, and
where the destination keeps no metadata by the name alone. Files have no marks: they are looked for by name and size,
and only where an object gives reason to, or where no object could.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Container, Iterator, Mapping
from pathlib import Path

import msgspec

from holdall.errors import RemoteError
from holdall.importer.apply.context import Context
from holdall.importer.apply.exactlyonce import FRESH
from holdall.importer.destination.objects import Objects
from holdall.importer.plan.bundle_summary import BundleSummary
from holdall.importer.runs.baseline import RECENT, listed
from holdall.importer.runs.pastruns import past_states
from holdall.importer.runs.runreport import Duplicate
from holdall.kinds import WHOLE
from holdall.model import FileView, Kind, Record, SourceId, TargetId

__all__ = ["attempt_name", "duplicates", "made_in"]

_RUN = re.compile(r"([0-9]{8}T[0-9]{6}\.[0-9]{3}Z-[0-9a-z]{0,16})-[0-9a-z]{1,32}")


def attempt_name(run: str, operation: str) -> str:
    """The name of one attempt of a run: who meets its mark at the destination can say which run it was."""
    return f"{run}-{operation}"


def made_in(output: Path) -> Iterator[TargetId]:
    """The ids of all that the runs of an output folder made, changed or attached."""
    return (target for state in past_states(output) for target in state.touched())


async def duplicates(
    context: Context, catalogue: BundleSummary, *, prefix: str, known: Container[TargetId]
) -> list[Duplicate]:
    """What stands at the destination beside that which this run created. ``known`` are the possible orphans, which
    are in the report already.

    Costs a list of each kind of which something was created, or a few where the lists lag. Returns [] where they can't
    be had. Raises CannotWrite, Interrupted.
    """
    look = _Look(context, catalogue, prefix)
    try:
        found = [one for kind in (Kind.STORE, *WHOLE) for one in await look.objects(kind)]
        if found or not look.has_marks:
            found += await look.files()
    except RemoteError as error:
        context.progress.note(f"whether another import made the same things is not known: {error.message}")
        return []
    found = [one for one in found if one.id not in known]
    ours = set(made_in(context.folder.output)) if found else ()
    return [one for one in found if one.id not in ours]


class _Look:
    def __init__(self, context: Context, catalogue: BundleSummary, prefix: str) -> None:
        self._account, self._folder, self._prefix = context.account, context.folder, prefix
        self._records: dict[Kind, Mapping[SourceId, Record]] = {
            Kind.STORE: catalogue.stores,
            **catalogue.by_id(),
        }
        self._now, self._pace = context.now, context.pace
        self._keeps_marks = self._folder.state.keeps_marks
        self.has_marks = False
        """Whether this run made an object that carries its marks."""

    async def objects(self, kind: Kind) -> list[Duplicate]:
        made = self._made(kind)
        if not made:
            return []
        self.has_marks = self.has_marks or self._keeps_marks
        records = {source: self._records[kind][source] for source in made}
        known = {source: [target] for source, target in made.items()}
        async for _ in self._until_shown():
            there = Objects(kind, records, known, prefix=self._prefix, by_name=not self._keeps_marks)
            await there.read(self._account)
            if all(there.has(target) for target in made.values()):
                break
        beside = {source: [one for one in there.copies(source) if one.target not in made.values()] for source in made}
        newer = self._folder.baseline.newer(kind, (one.target for several in beside.values() for one in several))
        return [
            Duplicate(
                kind=kind, id=one.target, ours=made[source], source=source, name=one.name, run=_run(one.operation)
            )
            for source, several in beside.items()
            for one in several
            # What carries no mark is not seen before the first write either, so it may be a little older.
            if one.target in newer or (not one.operation and self._now() - one.created_at < RECENT)
        ]

    async def files(self) -> list[Duplicate]:
        """Files that came since the run began, with the name and size of one that it uploaded."""
        state, baseline = self._folder.state, self._folder.baseline
        made = {target: source for source, target in (*self._made(Kind.FILE).items(), *state.copies.items())}
        if not made or not baseline.is_whole(Kind.FILE):
            return []
        async for _ in self._until_shown():
            new: dict[TargetId, tuple[str | None, int | float | None]] = {}
            async for raw in listed(self._account, Kind.FILE):
                view = msgspec.json.decode(raw, type=FileView)
                if not baseline.had_file(id := TargetId(view.id)):
                    new[id] = (view.filename, view.bytes)
            if made.keys() <= new.keys():
                break
        ours = {its: id for id, its in new.items() if id in made}
        return [
            Duplicate(kind=Kind.FILE, id=id, ours=ours[its], source=made[ours[its]], name=its[0])
            for id, its in new.items()
            if its in ours and id not in made
        ]

    def _made(self, kind: Kind) -> dict[SourceId, TargetId]:
        state = self._folder.state
        if ("create", kind) not in state.answered:  # adopted, or written down as requests
            return {}
        return {source: target for source, target in state.targets[kind].items() if (kind, source) not in state.adopted}

    async def _until_shown(self) -> AsyncIterator[None]:
        """Looks, for as long as a list may lag: what doesn't show this run's own may not show another's either."""
        start, nth = self._pace.clock(), 0
        while True:
            yield
            if self._pace.clock() - start >= min(FRESH, self._pace.settle):
                return
            await self._pace.pause(nth)
            nth += 1


def _run(operation: str | None) -> str | None:
    """The run that an attempt's mark names; None for what another version, or somebody else, wrote there."""
    found = _RUN.fullmatch(operation or "")
    return found[1] if found else None
