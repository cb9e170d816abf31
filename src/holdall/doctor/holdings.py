"""What an account holds: how much an export would take in, and which files and texts its server gives back."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import msgspec

from holdall.doctor.diagnosis import DownloadCheck, EndpointCheck, EndpointState, Holdings
from holdall.doctor.endpoints import judged
from holdall.errors import NotFound, RemoteError
from holdall.model import (
    KNOWLEDGE,
    AssistantView,
    FileView,
    Kind,
    MembershipView,
    SourceId,
    StoreView,
    epoch_seconds,
)
from holdall.parsedtext import require_page
from holdall.remote.client import Account, path
from holdall.remote.refusals import is_of_purpose
from holdall.remote.survey import Surveyor

__all__ = ["Look"]

T = TypeVar("T")

# Memberships up to which they are read, to know which files an export takes: a hundred requests.
_MOST_MEMBERSHIPS = 10_000
# Files of a purpose and stores that are tried until one of them tells.
_TRIES = 3
# Ids that are remembered of each list, to tell whether two accounts are the same project.
_IDS = 1000


class _Purpose:
    """What the list of files says of one purpose."""

    def __init__(self) -> None:
        self.files = 0
        self.bytes = 0
        self.newest: list[tuple[int, str, int | None]] = []
        """When it was made, its id and its size."""

    def add(self, file: FileView) -> None:
        self.files += 1
        self.bytes += file.size or 0
        created = epoch_seconds(file.created_at)
        self.newest = sorted([*self.newest, (created, file.id, file.size)], key=_created)[-_TRIES:]


def _created(each: tuple[int, str, int | None]) -> int:
    return each[0]


class _Members(msgspec.Struct, frozen=True, kw_only=True):
    data: list[MembershipView] = []


class Look:
    """One look at what an account holds. Nothing here raises for what a server refuses: it is in ``doubts``."""

    def __init__(self, account: Account, endpoints: list[EndpointCheck]) -> None:
        self._account = account
        self._surveyor = Surveyor(account)
        self._there = {each.name for each in endpoints if each.answer is EndpointState.YES}
        self._problems: dict[str, str] = {}
        self._purposes: dict[str, _Purpose] = {}
        self._listed: dict[str, int] = {}
        self.ids: set[str] = set()
        """Of what is there, from the beginning of each list."""
        self.users: dict[str, list[str]] = {}
        """By model, the assistants and agents that have it, by name or id."""
        self.stores: list[StoreView] = []

    @property
    def doubts(self) -> dict[str, str]:
        """The lists that can't be had or may lack something, by their paths, and why."""
        return self._surveyor.doubts | self._problems

    async def holdings(self) -> Holdings:
        """Count what an export takes in."""
        assistants = await self._assistants()
        agents = await self._agents()
        stores = await self._all_stores()
        wanted: set[str] = set()
        if assistants is not None:
            used = self._surveyor.users(assistants)
            stores = None if stores is None else [store for store in stores if store.id in used.stores]
            wanted.update(used.files)
        total = None if stores is None else await self._memberships(stores, wanted)
        is_known = stores is not None and self._listed.keys() >= {store.id for store in stores}
        sizes = await self._files(wanted, knowledge=assistants is None)
        # Without assistants every file of knowledge is taken, so that what the stores hold adds little or nothing.
        counted = sizes if is_known or assistants is None else None
        return Holdings(
            assistants=None if assistants is None else len(assistants),
            agents=agents,
            vector_stores=None if stores is None else len(stores),
            memberships=total,
            files=None if counted is None else len(counted),
            bytes=None if counted is None else sum(counted.values()),
        )

    async def _assistants(self) -> list[AssistantView] | None:
        async def assistants() -> list[AssistantView]:
            return [self._user(record.raw) for record in await self._surveyor.definitions(Kind.ASSISTANT)]

        return await self._read("assistants", assistants)

    async def _agents(self) -> int | None:
        async def agents() -> int:
            return len([self._user(raw) async for raw in self._account.items("/agents")])

        return await self._read("agents", agents)

    def _user(self, raw: bytes) -> AssistantView:
        """Who has which model. Agents have what is looked at here under the same names as assistants."""
        view = msgspec.json.decode(raw, type=AssistantView)
        self._remember(view.id)
        if view.model:
            self.users.setdefault(view.model, []).append(view.name or view.id)
        return view

    def _remember(self, ident: str) -> None:
        if len(self.ids) < _IDS:
            self.ids.add(ident)

    async def _all_stores(self) -> list[StoreView] | None:
        async def stores() -> list[StoreView]:
            return [StoreView.of(record) for record in await self._surveyor.definitions(Kind.STORE)]

        found = await self._read("vector_stores", stores)
        self.stores = found or []
        for store in self.stores:
            self._remember(store.id)
        return found

    async def _memberships(self, stores: list[StoreView], found: set[str]) -> int | None:
        """How many there are, as an export counts them: by the stores' lists, unless these are too long to read.

        Adds the files to those ``found``.
        """
        counts = [store.total for store in stores]
        if sum(count or 0 for count in counts) <= _MOST_MEMBERSHIPS:
            for store in stores:
                await self._members(store, found)
        counts = [self._listed.get(store.id, count) for store, count in zip(stores, counts, strict=True)]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    async def _members(self, store: StoreView, found: set[str]) -> None:
        """Add a store's files to those found, if its list can be had and isn't too long."""
        files: list[str] = []
        room = _MOST_MEMBERSHIPS - sum(self._listed.values())
        try:
            async for member, _ in self._surveyor.memberships(SourceId(store.id)):
                files.append(member.id)
                if len(files) > room:  # the server counts too few
                    return
        except (RemoteError, msgspec.DecodeError) as error:
            self._problems[path("/vector_stores/{}/files", store.id)] = _said(error)
            return
        found.update(files)
        self._listed[store.id] = len(files)

    async def _files(self, wanted: set[str], *, knowledge: bool) -> dict[str, int] | None:
        """The sizes of the wanted files, with ``knowledge`` of those of the purposes that an export takes too."""

        async def files() -> dict[str, int]:
            sizes: dict[str, int] = {}
            for file in await self._surveyor.files():
                self._remember(file.id)
                self._purposes.setdefault(file.purpose or "", _Purpose()).add(file)
                if file.id in wanted or (knowledge and file.purpose in KNOWLEDGE):
                    sizes[file.id] = file.size or 0
            return sizes

        return await self._read("files", files)

    async def _read(self, name: str, read: Callable[[], Awaitable[T]]) -> T | None:
        """What a list has; None where it can't be had, which is a doubt only if its endpoint answers."""
        if name not in self._there:
            return None
        try:
            return await read()
        except (RemoteError, msgspec.DecodeError) as error:
            self._problems[f"/{name}"] = _said(error)
            return None

    # -- what can be had back --------------------------------------------------------------------------

    async def downloads(self) -> list[DownloadCheck]:
        """By purpose, whether the newest file is given back, after ``holdings``. Its first bytes are taken, no more."""
        return [await self._download(purpose, found) for purpose, found in sorted(self._purposes.items())]

    async def _download(self, purpose: str, found: _Purpose) -> DownloadCheck:
        answer, message = EndpointState.UNKNOWN, ""
        for _, file_id, size in reversed(found.newest):
            try:
                async with self._account.download(file_id, size=size) as body, aclosing(body.chunks) as chunks:
                    async for _chunk in chunks:
                        break
            except RemoteError as error:
                refused = judged(purpose, error)
                message = refused.message
                if isinstance(error, NotFound):
                    continue  # gone meanwhile, or not there yet; of another file the server may say more
                answer = EndpointState.DENIED if is_of_purpose(error) else refused.answer
            else:
                answer, message = EndpointState.YES, ""
            break
        return DownloadCheck(purpose=purpose, files=found.files, bytes=found.bytes, answer=answer, message=message)

    async def text(self) -> EndpointState | None:
        """Whether the parsed text of some store's file is given, after ``holdings``; None where no store has one."""
        answer: EndpointState | None = None
        for store in [store for store in self.stores if self._listed.get(store.id, store.total) != 0][:_TRIES]:
            try:
                page = await self._account.get(path("/vector_stores/{}/files", store.id), {"limit": 1})
                for member in msgspec.json.decode(page.raw, type=_Members).data[:1]:
                    where = path("/vector_stores/{}/files/{}/content", store.id, member.id)
                    deque(require_page((await self._account.get(where)).raw), maxlen=0)
                    return EndpointState.YES
            except RemoteError as error:
                answer = judged("text", error).answer
            except ValueError:
                answer = EndpointState.FAILS
        return answer


def _said(error: RemoteError | msgspec.DecodeError) -> str:
    return (error.detail or error.message) if isinstance(error, RemoteError) else str(error)
