"""Reads files that can't be downloaded directly through short-lived containers.

A file is copied into a container by its id and read from there. Containers cost money and need write permission, so
they are used only on request. ``close`` deletes all of them; if that fails, a container expires 20 minutes after its
last use. Source: OpenAI's guide to the code interpreter.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Self

import msgspec

from holdall.errors import (
    NotFound,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RemoteError,
    RequestRefused,
    ServerFailed,
    UnexpectedAnswer,
)
from holdall.remote import refusals
from holdall.remote.client import Account, path
from holdall.remote.refusals import RefusalReason
from holdall.remote.transfer import ContentSink, transfer
from holdall.remote.wire import Answer

# Well below what a container takes: 50 files can be named at its creation, and the smallest has 1 GB of memory.
_MOST_FILES = 20
_MOST_BYTES = 512 << 20
# A container may expire between two requests; one that does so again and again is not worth a third.
_ATTEMPTS = 3

_CLOSING = (PermissionDenied, QuotaExhausted, NotFound, RequestRefused, ServerFailed, RateLimited, UnexpectedAnswer)


class NoContainer(Exception):
    """The account can't create a container; ``error`` says why."""

    def __init__(self, error: RemoteError) -> None:
        super().__init__(error.message)
        self.error = error


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str | None = None


class _Container:
    """One container while it is used."""

    def __init__(self, ident: str) -> None:
        self.id = ident
        self.files = self.bytes = self.users = 0
        self.spent = False


class Containers:
    """The containers of one run. A context manager that leaves none behind.

    ``name`` must be unique: after a lost answer, a container of that name is ours.
    """

    def __init__(self, account: Account, *, name: str) -> None:
        self._account, self._name = account, name
        self._making = asyncio.Lock()
        self._open: _Container | None = None
        self._alive: set[str] = set()
        self._unsure = False
        self._closed: NoContainer | None = None
        self.made = 0
        """How many containers were made."""
        self.left: list[str] = []
        """Those that could not be deleted."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        # A Ctrl-C that comes while they are deleted waits until they are.
        closing, cancelled = asyncio.ensure_future(self.close()), None
        while not closing.done():
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError as again:
                cancelled = again
        if cancelled:
            raise cancelled

    async def read(self, file_id: str, size: int, open_sink: Callable[[], ContentSink]) -> str:
        """Read one file into a sink, commit it where exactly ``size`` bytes came, and return the route that it came by.

        Raises NoContainer where the account gives no container, now or for the rest of the run; RemoteError where it
        does not give this file.
        """
        attempt = 1
        while True:
            async with self._container(size) as container:
                try:
                    return await self._through(container, file_id, size, open_sink)
                except PermissionDenied as error:
                    self._closed = NoContainer(error)
                    raise self._closed from None
                except (NotFound, RequestRefused) as error:
                    if refusals.read(error).reason is not RefusalReason.CONTAINER or attempt == _ATTEMPTS:
                        raise
                    container.spent = True
            attempt += 1

    async def close(self) -> None:
        """Delete every container that was made. Never raises: what is left is in ``left``."""
        if self._unsure:
            await self._find_lost()
        for ident in sorted(self._alive):
            await self._delete(ident)
        self._open = None

    # -- one file --------------------------------------------------------------------------------------

    async def _through(
        self, container: _Container, file_id: str, size: int, open_sink: Callable[[], ContentSink]
    ) -> str:
        copied, _ = await self._write(path("/containers/{}/files", container.id), {"file_id": file_id})
        got = await transfer(
            lambda rest: self._account.download(copied.id, container=container.id, rest=rest, size=size),
            open_sink,
            what=f"can't download the container copy of file {file_id}",
            limits=self._account.limits,
            progress=self._account.progress,
            declared=size,
            expected=size,
            exact=True,
        )
        return got.route(path("/containers/{}/files/{}/content", container.id, copied.id))

    async def _write(self, where: str, body: dict[str, str]) -> tuple[_Made, bool]:
        """A POST that may be repeated, because what it makes is deleted in the end; False if it may have made two."""
        tries, clear = self._account.limits.tries(f"POST {where} again", repeatable=True), True
        while True:
            try:
                return _made(await self._account.post(where, body), where), clear
            except RemoteError as error:
                if not error.ambiguous:
                    raise
                clear, wait = False, tries.after(error)
            await self._account.limits.sleep(wait)

    # -- the containers --------------------------------------------------------------------------------

    @asynccontextmanager
    async def _container(self, size: int) -> AsyncIterator[_Container]:
        """The container in use, or a new one if that is full; a full one is deleted after its last user."""
        async with self._making:
            if self._closed:
                raise self._closed
            found = self._open
            if found is None or found.spent or found.files >= _MOST_FILES or found.bytes + size > _MOST_BYTES:
                if found is not None:
                    found.spent = True
                    await self._delete_if_spent(found)
                found = self._open = await self._make()
            found.files += 1
            found.bytes += size
            found.users += 1
        try:
            yield found
        finally:
            found.users -= 1
            await self._delete_if_spent(found)

    async def _make(self) -> _Container:
        # Where this is cancelled in the middle, a container may be there whose id was never told.
        before, self._unsure = self._unsure, True
        try:
            made, clear = await self._write("/containers", {"name": self._name})
        except _CLOSING as error:
            self._unsure = before or error.ambiguous
            self._closed = NoContainer(error)
            raise self._closed from None
        self._unsure = before or not clear
        self.made += 1
        self._alive.add(made.id)
        return _Container(made.id)

    async def _delete_if_spent(self, container: _Container) -> None:
        if container.spent and not container.users and container.id in self._alive:
            await self._delete(container.id)

    async def _delete(self, ident: str) -> None:
        self._alive.discard(ident)
        try:
            await self._account.delete(path("/containers/{}", ident))
        except RemoteError as error:
            if isinstance(error, NotFound) or refusals.read(error).reason is RefusalReason.CONTAINER:
                return
            self.left.append(ident)
            self._account.progress.note(
                f"{error.message}; it expires 20 minutes after its last use", kind="container left"
            )

    async def _find_lost(self) -> None:
        """Finds, by their name, containers whose creation was never answered."""
        try:
            async for item in self._account.items("/containers"):
                found = msgspec.json.decode(item, type=_Made)
                if found.name == self._name and found.id not in self._alive:
                    self.made += 1
                    self._alive.add(found.id)
        except (RemoteError, msgspec.DecodeError):
            self._account.progress.note(
                "a container with an unknown id may have been created; it expires after 20 minutes"
            )


def _made(answer: Answer, where: str) -> _Made:
    try:
        return msgspec.json.decode(answer.raw, type=_Made)
    except msgspec.DecodeError as error:
        raise UnexpectedAnswer(f"can't use {where}: the answer has no id ({error})", ambiguous=True) from None
