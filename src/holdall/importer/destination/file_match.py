"""The records of files at a destination, and whether one is of the bundle's."""

from __future__ import annotations

import asyncio
from collections.abc import Container
from contextlib import suppress

import msgspec

from holdall.errors import NotFound, RequestRefused
from holdall.importer.plan.bundle_summary import Content
from holdall.importer.runs.baseline import listed
from holdall.model import Fidelity, FileView, Kind, epoch_seconds
from holdall.remote.client import Account, path, viewed

# Files that are asked for one by one. For more of them the list is read: a project may have 100,000, a page has 10,000.
_FEW = 20


def is_same_file(view: FileView, content: Content) -> bool:
    """Whether a file with the bundle's own id is that very file."""
    # The id alone says nothing: look-alikes number their files from 1.
    made = epoch_seconds(view.created_at)
    return bool(made) and made == content.created_at and view.filename == content.filename


def fits(view: FileView | None, content: Content) -> bool:
    return bool(view and view.filename in content.copy_names() and sized(view, content))


def sized(view: FileView, content: Content) -> bool:
    """Whether the sizes agree. The size of a text that is joined of parts isn't known before."""
    return content.fidelity is Fidelity.TEXT or view.bytes is None or view.bytes == content.stored


class FilesSeen:
    """The records of files at a destination, ``seen`` by their ids."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self.seen: dict[str, FileView] = {}

    async def read(self, ids: list[str], made: Container[str], unlisted: Container[str]) -> None:
        """Reads those of ``ids``. ``made`` are of earlier runs, ``unlisted`` may be there although no list has them."""
        if len(ids) > _FEW:
            await self._list(ids)
            await self._ask([id for id in ids if id in unlisted and id not in self.seen])
            return
        await asyncio.gather(*map(self._get, ids))
        # Of what was made there that isn't there by its id, the list has the word: the route may be missing.
        if missing := [id for id in ids if id in made and id not in self.seen]:
            with suppress(NotFound):
                await self._list(missing)

    async def _ask(self, ids: list[str]) -> None:
        """Asks for each by its id; if none of the first is there, for no more."""
        first, rest = ids[:_FEW], ids[_FEW:]
        await asyncio.gather(*map(self._get, first))
        if any(id in self.seen for id in first):
            await asyncio.gather(*map(self._get, rest))

    async def _get(self, id: str) -> None:
        with suppress(NotFound, RequestRefused, msgspec.DecodeError):
            answer = await self._account.get(path("/files/{}", id))
            self.seen[id] = msgspec.json.decode(answer.raw, type=FileView)

    async def _list(self, ids: list[str]) -> None:
        wanted = frozenset(ids)
        async for raw in listed(self._account, Kind.FILE):
            view = viewed(raw, FileView, "a file")
            if view.id in wanted:
                self.seen[view.id] = view
