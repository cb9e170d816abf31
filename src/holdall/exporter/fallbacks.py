"""Fallbacks for contents that the server refuses: the owner's originals and containers. Both are opt-in."""

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
from holdall.remote.contents import ContentFetcher

__all__ = ["Fallbacks", "Tally", "open_fetcher"]


class Fallbacks(msgspec.Struct, frozen=True, kw_only=True):
    """``originals`` is the owner's folder; ``containers`` the name that containers get, unlike any other's. None: not
    used."""

    originals: Path | None = None
    containers: str | None = None


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How many containers were made, and the ids of those that could not be deleted."""

    made: int = 0
    left: list[str] = []


class OpenFetcher:
    """A content fetcher in use; ``tally`` is right once it is closed."""

    def __init__(self, fetcher: ContentFetcher, containers: Containers | None) -> None:
        self.fetcher, self._containers = fetcher, containers

    @property
    def tally(self) -> Tally:
        return Tally(made=self._containers.made, left=self._containers.left) if self._containers else Tally()


@asynccontextmanager
async def open_fetcher(account: Account, fallbacks: Fallbacks, progress: Progress) -> AsyncIterator[OpenFetcher]:
    """A fetcher with these fallbacks. On leaving, every container that was made is deleted, whatever happened.

    Raises UsageFault where the folder is none.
    """
    async with AsyncExitStack() as stack:
        originals = containers = None
        if fallbacks.originals:
            progress.stage("looking at the originals")
            originals = stack.enter_context(await asyncio.to_thread(Originals, fallbacks.originals))
            for note in originals.notes():
                progress.note(note)
        if fallbacks.containers:
            containers = Containers(account, name=fallbacks.containers)
            await stack.enter_async_context(containers)
        yield OpenFetcher(ContentFetcher(account, originals=originals, containers=containers), containers)
