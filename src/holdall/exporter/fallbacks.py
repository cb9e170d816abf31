"""The ways to a content that are only taken on request: the owner's originals, and containers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from holdall.progress import Progress
from holdall.remote.client import Account
from holdall.remote.containers import Containers
from holdall.remote.contents import ContentFetcher


class Fallbacks(msgspec.Struct, frozen=True, kw_only=True):
    """``originals`` is the owner's folder; ``containers`` the name that containers get, unlike any other's. None: not
    used."""

    originals: Path | None = None
    containers: str | None = None


@asynccontextmanager
async def open_fetcher(
    account: Account, fallbacks: Fallbacks, progress: Progress
) -> AsyncIterator[tuple[ContentFetcher, Containers | None]]:
    """A fetcher with these fallbacks, and the containers that it uses. On leaving, every container that was made is
    deleted, whatever happened.

    Raises UsageFault where the folder is none.
    """
    async with AsyncExitStack() as stack:
        originals = containers = None
        if fallbacks.originals:
            from holdall.originals import Originals  # with what reads documents; few exports have any

            progress.stage(f"Reading originals in {fallbacks.originals}")
            originals = stack.enter_context(await asyncio.to_thread(Originals, fallbacks.originals))
            for note in originals.notes():
                progress.note(note)
        if fallbacks.containers:
            containers = await stack.enter_async_context(Containers(account, name=fallbacks.containers))
        yield ContentFetcher(account, originals=originals, containers=containers), containers
