"""The rungs of the ladder that have to be asked for: the owner's originals, containers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from holdall.originals import Originals
from holdall.progress import Progress
from holdall.remote.client import Account
from holdall.remote.containers import Containers
from holdall.remote.contents import Ladder

__all__ = ["Rungs", "Tally", "open_ladder"]


class Rungs(msgspec.Struct, frozen=True, kw_only=True):
    """``originals`` is the owner's folder; ``containers`` the name that containers get, unlike any other's. None: that
    rung is left out."""

    originals: Path | None = None
    containers: str | None = None


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How many containers were made, and the ids of those that could not be deleted."""

    made: int = 0
    left: list[str] = []


class OpenLadder:
    """A ladder in use; ``tally`` is right once it is closed."""

    def __init__(self, ladder: Ladder, containers: Containers | None) -> None:
        self.ladder, self._containers = ladder, containers

    @property
    def tally(self) -> Tally:
        return Tally(made=self._containers.made, left=self._containers.left) if self._containers else Tally()


@asynccontextmanager
async def open_ladder(account: Account, rungs: Rungs, progress: Progress) -> AsyncIterator[OpenLadder]:
    """The ladder with these rungs. On leaving every container that was made is deleted, whatever happened.

    Raises UsageFault where the folder is none.
    """
    async with AsyncExitStack() as stack:
        originals = containers = None
        if rungs.originals:
            progress.stage("looking at the originals")
            originals = stack.enter_context(await asyncio.to_thread(Originals, rungs.originals))
            for note in originals.notes():
                progress.note(note)
        if rungs.containers:
            containers = Containers(account, name=rungs.containers, progress=progress)
            await stack.enter_async_context(containers)
        yield OpenLadder(Ladder(account, originals=originals, containers=containers, progress=progress), containers)
