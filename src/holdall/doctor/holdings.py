"""What an account holds: how much an export would take in, and which files and texts its server gives back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sized
from contextlib import aclosing, contextmanager

import msgspec

from holdall.agent_views import is_builtin_skill
from holdall.doctor.diagnosis import DownloadCheck, EndpointCheck, EndpointState, Holdings, judged
from holdall.errors import NotFound, RemoteError
from holdall.kinds import ASSISTANT_KINDS, DEFINITIONS, KINDS, read
from holdall.model import (
    KNOWLEDGE,
    DefinitionView,
    FileView,
    Kind,
    MembershipView,
    Record,
    SourceId,
    StoreView,
    epoch_seconds,
)
from holdall.parsedtext import require_page
from holdall.remote import refusals
from holdall.remote.client import Account, path
from holdall.remote.refusals import RefusalReason
from holdall.remote.survey import Definitions, Surveyor

# Memberships up to which they are read, to know which files an export takes: a hundred requests.
_MOST_MEMBERSHIPS = 10_000
# Files of a purpose and stores that are tried until one of them tells.
_TRIES = 3
# Ids that are remembered of each list, to tell whether two accounts are the same project.
_IDS = 1000


class _Members(msgspec.Struct, frozen=True, kw_only=True):
    data: list[MembershipView] = []


class Look:
    """Counts what an account holds. A server's refusals aren't raised; they are in ``doubts``."""

    def __init__(self, account: Account, endpoints: list[EndpointCheck]) -> None:
        self._account = account
        self._surveyor = Surveyor(account)
        self._there = {f"/{each.name}" for each in endpoints if each.answer is EndpointState.YES}
        self._not_there = {f"/{each.name}" for each in endpoints} - self._there
        self.doubts = self._surveyor.doubts
        """Why a list is missing or may be incomplete, by its path."""
        self._purposes: dict[str, list[FileView]] = {}
        self._listed: dict[str, int] = {}  # by store, the memberships that were read
        self.ids: set[str] = set()
        """Of what is there, from the beginning of each list."""
        self.users: dict[str, list[str]] = {}
        """By model, the assistants and agents that have it, by name or id."""
        self.stores: list[StoreView] = []
        self.gone: set[str] = set()
        """The files that are wanted and that the list of all files hasn't, after ``of``."""

    async def holdings(self) -> Holdings:
        """Count what an export takes in."""
        found = {kind: await self._users(kind) for kind in ASSISTANT_KINDS}
        # What an export begins with; where there are none of these, it takes everything.
        firsts = [found[kind] for kind in (Kind.ASSISTANT, Kind.FOUNDRY_AGENT) if found[kind] is not None]
        stores = await self._all_stores()
        wanted: set[str] = set()
        if firsts:
            used = self._surveyor.users([view for views in firsts for view in views or ()])
            stores = None if stores is None else [store for store in stores if store.id in used.stores]
            wanted.update(used.files)
        total = None if stores is None else await self._memberships(stores, wanted)
        is_known = self._knows(stores)
        sizes = await self._files(wanted, knowledge=not firsts)
        # Without assistants every file of knowledge is taken, so that what the stores hold adds little or nothing.
        counted = sizes if is_known or not firsts else None
        return Holdings(
            **{KINDS[kind].count: _number(views) for kind, views in found.items()},
            skills=await self._skills(),
            vector_stores=_number(stores),
            memberships=total,
            files=_number(counted),
            bytes=_bytes(counted),
        )

    async def of(self, definitions: Definitions, wanted: set[str]) -> Holdings:
        """The same of ``definitions`` that an export has chosen; ``wanted`` are the files that it takes, and gets those
        that the stores hold. Purposes are then those of these files."""
        # Those that no server has any more are as a dump says.
        self.stores = [store for store in definitions.store_views if SourceId(store.id) not in definitions.memberships]
        total = await self._memberships(self.stores, wanted)
        dumped = [record.id for records in definitions.memberships.values() for record in records]
        wanted.update(dumped)
        sizes = await self._files(wanted, knowledge=False)
        for purpose, files in self._purposes.items():
            self._purposes[purpose] = [file for file in files if file.id in wanted]
        # A list that may lack something is no proof.
        self.gone = set() if sizes is None or "/files" in self.doubts else wanted.difference(sizes)
        counted = sizes if self._knows(self.stores) else None
        return msgspec.structs.replace(
            counted_in(definitions),
            memberships=None if total is None else total + len(dumped),
            files=_number(counted),
            bytes=_bytes(counted),
        )

    def _knows(self, stores: list[StoreView] | None) -> bool:
        """Whether the lists of all ``stores`` were read."""
        return stores is not None and self._listed.keys() >= {store.id for store in stores}

    async def _users(self, kind: Kind) -> list[DefinitionView] | None:
        """All definitions of a kind; None if they can't be listed."""
        records = await self._records(kind)
        return None if records is None else [self._user(record) for record in records]

    async def _skills(self) -> int | None:
        """How many are the project's own."""
        records = await self._records(Kind.SKILL)
        return None if records is None else sum(not is_builtin_skill(record.id) for record in records)

    async def _records(self, kind: Kind) -> list[Record] | None:
        where = KINDS[kind].endpoint
        if self._account.platform in KINDS[kind].platforms and where not in self._not_there:
            with self._noting(where):
                records = await self._surveyor.definitions(kind)
                return None if where in self._surveyor.absent else records
        return None

    def _user(self, record: Record) -> DefinitionView:
        view = read(record)
        self._remember(view.id)
        if view.model:
            self.users.setdefault(view.model, []).append(view.name or view.id)
        return view

    def _remember(self, ident: str) -> None:
        if len(self.ids) < _IDS:
            self.ids.add(ident)

    async def _all_stores(self) -> list[StoreView] | None:
        if "/vector_stores" in self._there:
            with self._noting("/vector_stores"):
                self.stores = [StoreView.of(record) for record in await self._surveyor.definitions(Kind.STORE)]
                for store in self.stores:
                    self._remember(store.id)
                return self.stores
        return None

    async def _memberships(self, stores: list[StoreView], found: set[str]) -> int | None:
        """The number of memberships, as an export counts them: by the stores' lists, unless these are too long.

        Adds the files to those ``found``.
        """
        if sum(store.total or 0 for store in stores) <= _MOST_MEMBERSHIPS:
            for store in stores:
                await self._members(store, found)
        counts = [self._listed.get(store.id, store.total) for store in stores]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    async def _members(self, store: StoreView, found: set[str]) -> None:
        """Add a store's files to those found, if its list can be had and isn't too long."""
        files: list[str] = []
        room = _MOST_MEMBERSHIPS - sum(self._listed.values())
        with self._noting(path("/vector_stores/{}/files", store.id)):
            async for member, _ in self._surveyor.memberships(SourceId(store.id)):
                files.append(member.id)
                if len(files) > room:  # the server counts too few
                    return
            found.update(files)
            self._listed[store.id] = len(files)

    async def _files(self, wanted: set[str], *, knowledge: bool) -> dict[str, int] | None:
        """The sizes of the wanted files; with ``knowledge``, also of files of the purposes that an export includes."""
        if "/files" in self._there:
            with self._noting("/files"):
                sizes: dict[str, int] = {}
                for file in await self._surveyor.files():
                    self._remember(file.id)
                    self._purposes.setdefault(file.purpose or "", []).append(file)
                    if file.id in wanted or (knowledge and file.purpose in KNOWLEDGE):
                        sizes[file.id] = file.size or 0
                return sizes
        return None

    @contextmanager
    def _noting(self, where: str) -> Iterator[None]:
        """Note a doubt if the list ``where`` can't be read."""
        try:
            yield
        except RemoteError as error:
            self.doubts[where] = error.detail or error.message
        except msgspec.DecodeError as error:
            self.doubts[where] = str(error)

    # -- what can be had back --------------------------------------------------------------------------

    async def downloads(self) -> list[DownloadCheck]:
        """By purpose, whether the newest file can be downloaded; reads only its first bytes. Call after ``holdings``
        or ``of``."""
        return [await self._download(purpose, found) for purpose, found in sorted(self._purposes.items()) if found]

    async def _download(self, purpose: str, files: list[FileView]) -> DownloadCheck:
        answer, message = EndpointState.UNKNOWN, ""
        by_age = sorted(files, key=lambda file: epoch_seconds(file.created_at))
        for file in by_age[: -_TRIES - 1 : -1]:
            try:
                async with self._account.download(file.id, size=file.size) as body, aclosing(body.chunks) as chunks:
                    async for _chunk in chunks:
                        break  # a refusal would have come in its place
            except RemoteError as error:
                refused = judged(purpose, error)
                message = refused.message
                if isinstance(error, NotFound):
                    continue  # gone meanwhile, or not there yet; of another file the server may say more
                is_of_purpose = refusals.read(error).reason is RefusalReason.PURPOSE
                answer = EndpointState.DENIED if is_of_purpose else refused.answer
            else:
                answer, message = EndpointState.YES, ""
            break
        size = sum(file.size or 0 for file in files)
        return DownloadCheck(purpose=purpose, files=len(files), bytes=size, answer=answer, message=message)

    async def text(self) -> EndpointState | None:
        """Whether the parsed text of a store's file can be read; None if no store has one. Call after ``holdings``."""
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


def counted_in(definitions: Definitions) -> Holdings:
    """What an export of ``definitions`` takes in without any of their files."""
    numbers = {KINDS[kind].count: len(definitions.records.get(kind, ())) for kind in DEFINITIONS}
    return Holdings(**numbers, memberships=0, files=0, bytes=0)


def _number(found: Sized | None) -> int | None:
    return None if found is None else len(found)


def _bytes(sizes: Mapping[str, int] | None) -> int | None:
    return None if sizes is None else sum(sizes.values())
