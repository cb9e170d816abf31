"""Reads an account's records from chosen roots: definitions whole, memberships and files as streams; no contents.

Order: assistants, then the stores they use, then what the stores hold. Lists are de-duplicated by the client and
compared here with the counts that the server gives.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec

from holdall.agent_views import SkillView
from holdall.credentials import CannotWithhold, without_values
from holdall.errors import REQUEST_ERRORS, RemoteError, ServerFailed, UnexpectedAnswer
from holdall.graph import Users, users_of
from holdall.kinds import DEFINITIONS, KINDS, Platform, is_named, with_article
from holdall.model import DefinitionView, FileView, Kind, MembershipView, Record, SourceId, StoreView, View
from holdall.remote import client
from holdall.remote.client import Account, path, viewed
from holdall.remote.limits import HOPELESS
from holdall.remote.lists import identity

T = TypeVar("T")
V = TypeVar("V", bound=View)

FILES_PAGE = 10_000
"""The longest page of GET /files; servers may give shorter ones."""


_RARE = frozenset(row.endpoint for row in KINDS.values() if row.rare)


class Missing(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a record refers to and the server does not have (or does not give). ``held``: a dump has its
    record."""

    kind: Kind
    id: SourceId
    used_by: list[str] = []
    status: int | None = None
    code: str | None = None
    message: str = ""
    held: bool = False


class Definitions(msgspec.Struct, frozen=True, kw_only=True):
    """What an export starts from: definitions whole, files that are wanted for themselves as ids."""

    records: dict[Kind, list[Record]] = {}
    missing: list[Missing] = []

    views: list[DefinitionView] = []
    """What is acted upon in those that one request copies."""

    store_views: list[StoreView] = []
    """One for each of the stores, in the same order."""

    skill_views: list[SkillView] = []
    """One for each of the skills, in the same order."""

    all_versions: dict[SourceId, str] = {}
    """The names of Foundry agents of which all versions are wanted, by their ids."""

    unreadable: list[Missing] = []
    """Definitions that the server has in a form that can't be read: they are in none of the lists."""

    files: list[SourceId] = []
    """Files that are roots, whether or not something refers to them."""

    memberships: dict[SourceId, list[Record]] = {}
    """For stores that no server has any more, what a dump says they held; one line of JSON each."""

    file_records: dict[SourceId, Record] = {}
    """What a dump says of files, for those that no server has any more; one line of JSON each."""

    def all(self) -> Iterator[Record]:
        """All definitions."""
        return (record for kind in DEFINITIONS for record in self.records.get(kind, ()))


class Surveyor:
    """Reads one account's records. ``file_search`` and ``code_interpreter`` say which knowledge is followed."""

    def __init__(self, account: Account, *, file_search: bool = True, code_interpreter: bool = True) -> None:
        self._account = account
        self._file_search = file_search
        self.doubts: dict[str, str] = {}
        """The lists that may lack something, by their paths, and why."""
        self.absent: list[str] = []
        """The lists that were asked for and that the server hasn't, by their paths."""
        self._code_interpreter = code_interpreter
        self._failed_in_a_row = 0  # stores whose files could not be listed, skills whose versions could not

    async def definitions(self, kind: Kind) -> list[Record]:
        """All definitions of a kind, oldest first, each with the server's own JSON. Assistants are requested only if
        there is an Assistants API, so a missing list of them is an error, but in a Foundry project, which may have
        new agents only."""
        where = KINDS[kind].endpoint
        if self._account.platform not in KINDS[kind].platforms:
            return []

        def read(id: SourceId, raw: bytes) -> Record:
            return Record(kind=kind, id=id, raw=raw)

        if kind is Kind.ASSISTANT and self._account.platform is Platform.OPENAI:
            return [read(id, raw) async for id, raw in self._list(where)]
        return await self._present(where, read)

    async def files(self) -> list[FileView]:
        """Every file of the project, oldest first."""
        return await self._present("/files", lambda _, raw: viewed(raw, FileView, "a file"), limit=FILES_PAGE)

    async def _present(self, where: str, read: Callable[[SourceId, bytes], T], *, limit: int = 100) -> list[T]:
        """A whole list; an endpoint that the server hasn't has none of its kind, and is ``absent`` from then on.

        Raises what the list raises where it is there. Of agents a 403 may say so, too, but for those of Foundry: few
        other servers have them.
        """
        if where in self.absent:
            return []
        found: list[T] = []
        try:
            async for id, raw in self._list(where, limit=limit, patient=False):
                found.append(read(id, raw))
            return found
        except RemoteError as error:
            if found:
                raise
            denied = where in _RARE and self._account.platform is Platform.OPENAI
            if await client.is_absent(self._account, error, denied=denied):
                self.absent.append(where)
                # Few servers have agents; a list that most have may only be failing.
                if where not in _RARE and (doubt := client.may_be_there(error)):
                    self.doubts[where] = doubt
                return []
            if not isinstance(error, (ServerFailed, UnexpectedAnswer)):
                raise
        return [read(id, raw) async for id, raw in self._list(where, limit=limit)]  # what failed may pass

    async def _list(
        self, where: str, *, limit: int = 100, patient: bool = True
    ) -> AsyncIterator[tuple[SourceId, bytes]]:
        """The ids and records of a list, as they were sent. One without an id can't be kept, so the list is doubted."""

        def doubt(why: str) -> None:
            self.doubts[where] = why

        by_name = is_named(where, self._account.platform)
        async for page in self._account.pages(where, limit=limit, doubt=doubt, patient=patient):
            for raw in page:
                if (id := identity(raw, by_name=by_name)) is None:
                    doubt("a record in it has no id")
                else:
                    yield SourceId(id), raw

    async def file_pages(self, purpose: str) -> AsyncGenerator[list[Record], None]:
        """Every file object of one purpose, a request for each page; their JSON on one line each."""
        async for page in self._account.pages("/files", {"purpose": purpose}, limit=FILES_PAGE):
            found = ((identity(raw), raw) for raw in page)
            yield [Record(kind=Kind.FILE, id=SourceId(id), raw=_one_line(raw)) for id, raw in found if id is not None]

    async def one(self, kind: Kind, ident: SourceId, users: Sequence[str] = ()) -> Record | Missing:
        """One vector store or file; Missing where the server doesn't have it (any more)."""
        row = KINDS[kind]
        try:
            raw = (await self._account.get(path(f"{row.endpoint}/{{}}", ident))).sent
            if row.endpoint in self.absent:
                self.doubts[row.endpoint] = "the server does not offer this list, although it has such objects"
            if (found := identity(raw, by_name=row.is_named)) is None:
                raise UnexpectedAnswer(f"can't read {row.noun}: its record has no id")
            # Names ignore case.
            if found != ident and not (row.is_named and found.lower() == ident.lower()):
                raise UnexpectedAnswer(f"can't read {row.noun} {ident}: the answer is for {found[:100]!r}")
            return Record(kind=kind, id=ident, raw=raw if row.folder else _one_line(raw))
        except REQUEST_ERRORS as error:
            _raise_if_passing(error)
            return Missing(
                kind=kind,
                id=ident,
                used_by=list(users),
                status=error.status,
                code=error.code,
                message=error.detail or error.message,
            )

    def users(self, views: Iterable[DefinitionView]) -> Users:
        """Who uses which stores and files, as far as they are followed."""
        return users_of(views, stores=self._file_search, files=self._code_interpreter)

    def memberships(self, store_id: SourceId, *, required: bool = True) -> AsyncIterator[tuple[MembershipView, bytes]]:
        """The files of one store, oldest first: what they say, and their JSON on one line; ``required`` as in
        ``members``."""
        return self.members(Kind.STORE, store_id, MembershipView, required=required)

    async def members(
        self, kind: Kind, ident: SourceId, of: type[V], *, required: bool = True
    ) -> AsyncIterator[tuple[V, bytes]]:
        """The files of one store, or the versions of one skill or agent, oldest first: what they say, and their JSON on
        one line.

        Where it isn't ``required``, a list that the server can't give, or not to its end, is doubted, and after
        ``HOPELESS`` of those in a row each further one, without a request.
        """
        member = KINDS[kind].member
        assert member is not None
        where = path(KINDS[member].endpoint, ident)
        # A server may claim 50,000 stores that it doesn't have.
        if not required and self._failed_in_a_row >= HOPELESS:
            self.doubts[where] = f"not requested, because the lists of {HOPELESS} other {KINDS[kind].noun}s failed"
            return
        try:
            async for id, raw in self._list(where):
                try:
                    line = without_values(Record(kind=member, id=id, raw=_one_line(raw))).raw
                except CannotWithhold as error:
                    self.doubts[where] = f"{id} was left out: {error}"
                    continue
                yield viewed(line, of, f"{with_article(member)} of {ident}"), line
            self._failed_in_a_row = 0
        except REQUEST_ERRORS as error:
            if required:
                raise
            _raise_if_passing(error)
            self._failed_in_a_row += 1
            self.doubts[where] = f"it can't be read: {error.message}"


def _raise_if_passing(error: RemoteError) -> None:
    """Raise an error that says nothing of whether the thing is there. Servers were seen that say 500 for what isn't,
    every time, and of what they have no path for, 501 or a page."""
    if isinstance(error, ServerFailed) and error.status not in (500, 501):
        raise error


def _one_line(raw: bytes) -> bytes:
    """The same JSON without white space between its tokens: numbers, escapes and key order stay as they are.

    >>> _one_line(b'{ "a": 3.0,\\n "b": "\\\\u00e9" }')
    b'{"a":3.0,"b":"\\\\u00e9"}'
    """
    try:
        return msgspec.json.format(raw, indent=-1)
    except (ValueError, RecursionError):  # JSON that not every decoder reads has no line breaks in its strings, either
        return raw.translate(None, b"\r\n")
