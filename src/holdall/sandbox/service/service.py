"""What every endpoint works with: the state, the clock, the switches, and the threads that blocking work runs on."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import msgspec

from holdall.sandbox.sandbox_errors import SandboxError
from holdall.sandbox.service.blobs import Blobs
from holdall.sandbox.service.database import Database
from holdall.sandbox.service.extractor import Extractor
from holdall.sandbox.service.identity import Identity
from holdall.sandbox.service.ids import Ids
from holdall.sandbox.service.rates import Rates
from holdall.sandbox.service.switches import Switches

T = TypeVar("T")

# Requests that the log remembers; older ones are forgotten first.
_LOG_LENGTH = 500_000


class ApiSurface(StrEnum):
    """By which of its doors a request came in."""

    OPENAI = "openai"
    CLASSIC = "classic"
    """Of a Foundry project: ``/assistants`` and what belongs to them."""
    CURRENT = "current"
    """Of a Foundry project: its own paths of today, and ``/openai/v1``."""


class Logged(msgspec.Struct, frozen=True, kw_only=True):
    """One request as the log keeps it. ``status`` is 0 where the connection was reset instead of an answer."""

    method: str
    path: str
    """Without the query, beginning ``/v1``."""
    query: str
    status: int
    project: str | None
    executed: bool
    """Whether the endpoint ran, also where its answer was lost on purpose."""
    surface: ApiSurface = ApiSurface.OPENAI

    @property
    def is_write(self) -> bool:
        """Whether it changed anything, as far as its method and its success tell."""
        return (
            self.executed
            and self.method in ("POST", "PATCH", "DELETE")
            and (self.status < 400 or self.status >= 500)
            and not self.path.endswith("/search")
        )


class Service:
    """One sandbox: its data folder, and what runs on it. Raises where the folder can't be used."""

    def __init__(
        self, folder: Path, *, behaviour: Switches, clock: Callable[[], float], randomness: random.Random
    ) -> None:
        try:
            # What is kept here is for its owner alone; a folder that is there already stays as open as it is.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.database = Database(folder)
            self.blobs = Blobs(folder)
        except OSError as error:
            raise SandboxError(f"can't use the sandbox's data folder {folder}: {error.strerror or error}") from None
        self.behaviour = behaviour
        self.clock = clock
        self.ids = Ids(randomness, lambda: self.behaviour.oddities)
        self.identity = Identity(self.database, self.ids)
        self.rates = Rates()
        self.log: deque[Logged] = deque(maxlen=_LOG_LENGTH)
        # One writer, because SQLite has one; readers of their own, so that no read waits for a long write.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="sandbox-write")
        self._readers = ThreadPoolExecutor(4, thread_name_prefix="sandbox-read")
        # Documents that have to be extracted wait for one another and keep nobody else waiting.
        self.extractor = Extractor()
        self._extracting = ThreadPoolExecutor(1, thread_name_prefix="sandbox-extract")

    async def reading(self, work: Callable[..., T], *args: object) -> T:
        """Run blocking work that changes no state."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, work, *args)

    async def writing(self, work: Callable[..., T], *args: object) -> T:
        """Run blocking work that changes the state; one at a time, in the order of asking."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, work, *args)

    async def extracting(self, work: Callable[..., T], *args: object) -> T:
        """Run work that uses the extractor; one at a time."""
        return await asyncio.get_running_loop().run_in_executor(self._extracting, work, *args)

    def close(self) -> None:
        """End the threads and let go of the folder. Waits for work that has begun."""
        self._writer.shutdown()
        self._readers.shutdown()
        self.extractor.kill()
        self._extracting.shutdown(cancel_futures=True)
        self.extractor.close()
        self.database.close()


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One request as an endpoint sees it."""

    service: Service
    project: str
    path: Mapping[str, str]
    """The parts of the path that vary, by name."""
    query: Mapping[str, str]
    body: bytes
    now: float
    """The clock's time when the request arrived, in Unix seconds."""
    headers: Mapping[str, str]
    """By their names in lower case."""
    surface: ApiSurface = ApiSurface.OPENAI
    address: str = ""
    """A Foundry project's, without a slash at its end."""
    lender: str | None = None
    """Another project, whose files and stores answer to this one by their ids."""

    @property
    def owners(self) -> tuple[str, str]:
        """The projects whose files and stores answer by id; twice the same where it is only one."""
        return self.project, self.lender or self.project

    @property
    def listed(self) -> tuple[str, tuple[str, ...]]:
        """The condition, with its arguments, for the files and stores that are listed; the table is ``t``."""
        if self.lender is not None and self.service.behaviour.lists_classic:
            return "t.project IN (?, ?)", self.owners
        return "t.project = ?", (self.project,)
