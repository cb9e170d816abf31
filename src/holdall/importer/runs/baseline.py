"""The baseline: the ids at the destination before the run, in a file of the run's folder.

Taken before the first write: whatever isn't in it came later. It may have a million lines, so it is written and read as
a stream.
"""

from __future__ import annotations

import asyncio
import hashlib
from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator, Collection, Container, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from holdall.agent_views import FoundryAgentView
from holdall.bundle.durable import cannot_write, replace, sync_file
from holdall.dialects.tables import CLONED_FROM, OPERATION, UNMARKED
from holdall.errors import REQUEST_ERRORS, CannotRead, NotFound, RequestRefused
from holdall.importer.runs.runreport import Orphan
from holdall.kinds import ASSISTANT_KINDS, KINDS
from holdall.model import Kind, TargetId, credible, epoch_seconds
from holdall.remote.client import Account, path, viewed
from holdall.remote.lists import Doubt
from holdall.safe_open import open_regular

PLACES: dict[Kind, str] = {kind: KINDS[kind].endpoint for kind in (Kind.FILE, Kind.STORE, Kind.SKILL, *ASSISTANT_KINDS)}


def place(kind: Kind, target: TargetId) -> str:
    """The path of one object. That of a version is below its agent's or its skill's.

    >>> place(Kind.STORE, TargetId("vs_1")), place(Kind.AGENT_VERSION, TargetId("help-desk:3"))
    ('/vector_stores/vs_1', '/agents/help-desk/versions/3')
    """
    if kind in (Kind.AGENT_VERSION, Kind.SKILL_VERSION):
        name, _, version = target.rpartition(":")
        return path(f"{KINDS[kind].endpoint}/{{}}", name, version)
    return path(f"{PLACES[kind]}/{{}}", target)


RECENT = 3600
"""Seconds for which an object that another importer made says that it may still be at work."""

# A list of files may be asked for in pages of 10,000; servers were seen that refuse more than the usual 100.
_LARGE_PAGE = 10_000
_PAGE = 100


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """An object with our marks: which attempt made it, of what, and when (Unix seconds by the server's clock)."""

    kind: Kind
    id: TargetId
    name: str | None
    source: str
    op: str
    created: int


class _Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One object, with ``name`` and ``size`` where it is a lookalike; or, without an id, the word that this kind's list
    is ``whole`` or could not be fetched."""

    kind: Kind
    id: TargetId | None = None
    whole: bool | None = None
    name: str | None = None
    size: int | None = None


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of any object in a list."""

    id: TargetId
    name: str | None = None
    filename: str | None = None
    bytes: int | float | None = None
    created_at: int | float | None = None
    metadata: dict[str, Any] | None = None

    def mark(self, key: str) -> str | None:
        """One of our marks, where it carries that."""
        found = (self.metadata or {}).get(key)
        return found if isinstance(found, str) else None


class _ListedVersion(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    version: str | int
    metadata: dict[str, Any] | None = None


_decoder = msgspec.json.Decoder(_Line)


def read_listed(kind: Kind, raw: bytes) -> Listed:
    """One object of a list. Of an agent of Foundry the latest version has the metadata. Raises UnexpectedAnswer."""
    what = f"a record of {KINDS[kind].endpoint}"
    if kind is Kind.AGENT_VERSION:
        version = viewed(raw, _ListedVersion, what)
        id = TargetId(f"{version.name}:{version.version}")
        return Listed(id=id, name=version.name, metadata=version.metadata)
    if kind is not Kind.FOUNDRY_AGENT:
        return viewed(raw, Listed, what)
    view = viewed(raw, FoundryAgentView, what)
    made = epoch_seconds(view.created_at)
    return Listed(id=TargetId(view.id), name=view.id, created_at=made, metadata=view.metadata)


async def listed(account: Account, kind: Kind, doubt: Doubt | None = None) -> AsyncIterator[bytes]:
    """Every object of a kind, as the server sent it; files in large pages where the server has them.

    ``doubt`` is told where the list may lack something.
    """
    begun = False
    for limit in (_LARGE_PAGE, _PAGE) if kind is Kind.FILE else (_PAGE,):
        try:
            async for raw in account.items(PLACES[kind], limit=limit, doubt=doubt):
                begun = True
                yield raw
            return
        except RequestRefused:
            if begun or limit == _PAGE:
                raise


async def stamps(account: Account, kinds: Collection[Kind] = tuple(PLACES)) -> AsyncIterator[Stamp]:
    """The stores, assistants and agents, or those of ``kinds``, that carry our marks."""
    for kind in (kind for kind in kinds if kind not in UNMARKED):
        with suppress(NotFound, RequestRefused):
            async for raw in listed(account, kind):
                if stamp := _stamp(kind, read_listed(kind, raw)):
                    yield stamp


class Baseline:
    """The listing of one run, at ``path`` once it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: array[int] | None = None

    async def had_file(self, id: TargetId) -> bool:
        """Whether that file is in the listing. Holds eight bytes a file, once it was asked. Raises CannotWrite."""
        if self._files is None:
            self._files = await asyncio.to_thread(self._file_prints)
        short = _short(id)
        place = bisect_left(self._files, short)
        return place < len(self._files) and self._files[place] == short

    def _file_prints(self) -> array[int]:
        found = (_short(line.id) for line in self._lines() if line.kind is Kind.FILE and line.id is not None)
        return array("Q", sorted(found))

    async def take(
        self,
        account: Account,
        kinds: Collection[Kind] = tuple(PLACES),
        *,
        uploads: Container[tuple[str, int]] = frozenset(),
    ) -> list[Stamp]:
        """List the account's files, stores, assistants and agents, or only ``kinds``. Durable on return, and whole or
        absent.

        ``uploads`` are the names and sizes of what the run uploads. A kind that can't be listed is written down as
        that: nothing of it can be told from what was there before. Returns the objects that carry our marks. Raises
        CannotWrite and what stops every request.
        """
        marked: list[Stamp] = []
        fresh = self.path.with_name(f"{self.path.name}.new")
        try:
            with fresh.open("wb") as file:
                for kind in kinds:
                    is_whole = False
                    with suppress(*REQUEST_ERRORS, msgspec.DecodeError):
                        async for raw in listed(account, kind):
                            seen = read_listed(kind, raw)
                            file.write(_encoded(_line(kind, seen, uploads)))
                            if stamp := _stamp(kind, seen):
                                marked.append(stamp)
                        is_whole = True
                    file.write(_encoded(_Line(kind=kind, whole=is_whole)))
                sync_file(file)
            # Whole or absent: with half a listing, what stood there before would seem to be new.
            replace(fresh, self.path)
        except OSError as error:
            with suppress(OSError):
                fresh.unlink()
            raise cannot_write(self.path, error) from None
        return marked

    def newer(self, kind: Kind, ids: Iterable[TargetId], *, perhaps: bool = False) -> set[TargetId]:
        """Those of ``ids`` that weren't there; where that can't be said none, or with ``perhaps`` those that may not
        have been. Raises CannotWrite."""
        left, whole = set(ids), False
        if left:
            for line in self._lines():
                if line.kind is kind:
                    whole = whole or line.whole is True
                    if line.id is not None:
                        left.discard(line.id)
        return left if whole or perhaps else set()

    def is_whole(self, kind: Kind) -> bool:
        """Whether all of that kind could be listed. Raises CannotWrite."""
        return any(line.kind is kind and line.whole is True for line in self._lines())

    def lookalikes(self) -> dict[TargetId, Orphan]:
        """The files with the name and size of one that the run uploads, by their ids. Raises CannotWrite."""
        return {
            line.id: Orphan(kind=Kind.FILE, id=line.id, source=None, name=line.name, size=line.size, earlier=True)
            for line in self._lines()
            if line.id is not None and line.name is not None
        }

    def _lines(self) -> Iterator[_Line]:
        try:
            with open_regular(self.path) as file:
                for raw in file:
                    yield _decoder.decode(raw)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            raise CannotRead(f"can't read {self.path}: {getattr(error, 'strerror', None) or error}") from None


def _line(kind: Kind, seen: Listed, uploads: Container[tuple[str, int]]) -> _Line:
    name, size = seen.filename or "", credible(seen.bytes) or 0
    if kind is Kind.FILE and (name, size) in uploads:
        return _Line(kind=kind, id=seen.id, name=name, size=size)
    return _Line(kind=kind, id=seen.id)


def _encoded(line: _Line) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def _short(id: str) -> int:
    """64 bits that stand for an id: of a million of them no two are alike."""
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest())


def _stamp(kind: Kind, seen: Listed) -> Stamp | None:
    op, source = seen.mark(OPERATION), seen.mark(CLONED_FROM)
    # Files carry no marks, whatever a server shows as their metadata.
    if kind in UNMARKED or op is None or source is None:
        return None
    return Stamp(kind=kind, id=seen.id, name=seen.name, source=source, op=op, created=epoch_seconds(seen.created_at))
