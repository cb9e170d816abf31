"""The records of one state of a project, whether a bundle has them or a live project was read.

Definitions and memberships are read when they are asked for, so that two large bundles are never in memory; of each
file a small value is held.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Container, Iterator, Mapping
from typing import Any

import msgspec

from holdall.agent_views import VersionView
from holdall.bundle.layout import CONTENTS, INDEX, RECORD, TEXTS, IndexEntry
from holdall.bundle.reader import BundleReader
from holdall.bundle.totals import record_hash
from holdall.errors import DamagedBundle
from holdall.kinds import DEFINITIONS, KINDS
from holdall.model import Fidelity, FileView, Kind, Record, SourceId
from holdall.remote.client import Account
from holdall.remote.contents import REFUSED
from holdall.remote.lists import identity
from holdall.remote.survey import FILES_PAGE, Definitions, Surveyor
from holdall.untrusted import read_json

# From so many files on, the project's list is cheaper than a request for each.
_LIST_FROM = 5


# A project may have a million of them: with gc=False the collector has none to walk.
class ComparedFile(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A file. ``record`` is the hash of its object, None where there is none. ``fidelity``, ``size`` and ``sha256`` are
    those of its content, None where that isn't known: of a live project. ``declared`` is the size that its object
    says."""

    id: SourceId
    name: str | None = None
    purpose: str | None = None
    record: bytes | None = None
    fidelity: Fidelity | None = None
    size: int | None = None
    sha256: bytes | None = None
    declared: int | None = None


class RecordSource(ABC):
    """One of the two states that are compared. ``title`` names it, for people; ``zips`` are those of skills' versions,
    by the versions' ids. Reading raises DamagedBundle."""

    title: str
    files: Mapping[SourceId, ComparedFile]
    zips: Mapping[SourceId, ComparedFile]

    @abstractmethod
    def definitions(self, kind: Kind) -> Iterator[Record]:
        """All of a kind."""

    @abstractmethod
    def definition(self, kind: Kind, id: SourceId) -> Record:
        """One of them."""

    @abstractmethod
    def members(self, kind: Kind, id: SourceId) -> Iterator[Record]:
        """What belongs to one of the definitions: the memberships of a store, the versions of a skill or an agent."""

    @abstractmethod
    def file_records(self) -> Iterator[Record]:
        """The file objects."""


def fields_of(record: Record) -> dict[str, Any]:
    """The record as JSON values; empty where it isn't an object."""
    try:
        found = read_json(record.raw, lenient=True)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def records_of_files(source: RecordSource, wanted: Container[SourceId]) -> dict[SourceId, Record]:
    """The file objects that are ``wanted``."""
    return {record.id: record for record in source.file_records() if record.id in wanted}


def _file(id: SourceId, record: Record | None, name: str | None = None, **content: Any) -> ComparedFile:
    if record is None:
        return ComparedFile(id=id, name=name, **content)
    view = FileView.of(record)
    return ComparedFile(
        id=id,
        name=view.filename or name,
        purpose=sys.intern(view.purpose) if view.purpose is not None else None,
        declared=view.size,
        record=bytes.fromhex(record_hash(Kind.FILE, record.raw)),
        **content,
    )


def _sha256(entry: IndexEntry) -> bytes:
    """The hash of an entry. Raises DamagedBundle where the index, which anybody may have written, has another text."""
    try:
        return bytes.fromhex(entry.sha256)
    except ValueError:
        raise DamagedBundle(f"can't read {INDEX}: not a sha256, of {entry.path[:200]!r}", entry=INDEX) from None


class BundleSource(RecordSource):
    """What a bundle says. Reads the file objects, ledger and index once."""

    def __init__(self, reader: BundleReader) -> None:
        self.title, self._reader = str(reader.path), reader
        self._entries: dict[Kind, dict[SourceId, IndexEntry]] = {kind: {} for kind in DEFINITIONS}
        self.files = self._read_files()
        skills = reader.definitions(Kind.SKILL)
        versions = [one.id for skill in skills for one in reader.versions(Kind.SKILL, skill.id)]
        self.zips = {id: self.files.pop(id) for id in versions if id in self.files}

    def definitions(self, kind: Kind) -> Iterator[Record]:
        for entry in self._reader.entries(KINDS[kind].folder):
            if entry.path.endswith(RECORD):
                record = self._reader.record(kind, entry)
                self._entries[kind][record.id] = entry
                yield record

    def definition(self, kind: Kind, id: SourceId) -> Record:
        return self._reader.record(kind, self._entries[kind][id])

    def members(self, kind: Kind, id: SourceId) -> Iterator[Record]:
        return self._reader.members(kind, id)

    def file_records(self) -> Iterator[Record]:
        return self._reader.files()

    def _read_files(self) -> dict[SourceId, ComparedFile]:
        found = {record.id: _file(record.id, record) for record in self._reader.files()}
        contents = {
            entry.path: (entry.size, _sha256(entry))
            for folder in (CONTENTS, TEXTS)
            for entry in self._reader.entries(folder)
        }
        for line in self._reader.ledger():
            id = SourceId(line.id)
            known = found.get(id) or ComparedFile(id=id, name=line.filename, declared=line.expected)
            size, sha256 = contents.get(line.path or "", (None, None))
            found[known.id] = msgspec.structs.replace(known, fidelity=line.fidelity, size=size, sha256=sha256)
        return found


class LiveSource(RecordSource):
    """What a live project had when it was read."""

    def __init__(
        self,
        title: str,
        definitions: Definitions,
        members: Mapping[tuple[Kind, SourceId], list[Record]],
        files: Mapping[SourceId, Record | None],
    ) -> None:
        """``members`` by what they belong to."""
        self.title, self._members = title, members
        self._definitions = {
            kind: {record.id: record for record in definitions.records.get(kind, ())} for kind in DEFINITIONS
        }
        self._files = files
        self.zips = {}  # nobody downloads them to compare
        self.files = {id: _file(id, record) for id, record in files.items()}

    def definitions(self, kind: Kind) -> Iterator[Record]:
        return iter(self._definitions[kind].values())

    def definition(self, kind: Kind, id: SourceId) -> Record:
        return self._definitions[kind][id]

    def members(self, kind: Kind, id: SourceId) -> Iterator[Record]:
        return iter(self._members.get((kind, id), ()))

    def file_records(self) -> Iterator[Record]:
        return (record for record in self._files.values() if record is not None)


async def read_live(account: Account, surveyor: Surveyor, definitions: Definitions) -> LiveSource:
    """What the stores of ``definitions`` hold, and the objects of all files; no contents. Only reads.

    Raises what the account raises: a list that can't be read to its end says nothing of what is gone.
    """
    account.progress.stage(f"Reading vector stores and files of {account.endpoint.host}")
    members = await _members(surveyor, definitions)
    wanted = dict.fromkeys((*surveyor.users(definitions.views).files, *definitions.files))
    held = (records for (kind, _), records in members.items() if kind is Kind.STORE)
    wanted.update(dict.fromkeys(record.id for records in held for record in records))
    objects = {**definitions.file_records, **await _file_objects(account, surveyor, wanted)}
    # One that is gone is still referred to.
    return LiveSource(account.endpoint.title, definitions, members, {id: objects.get(id) for id in wanted})


async def _members(surveyor: Surveyor, definitions: Definitions) -> dict[tuple[Kind, SourceId], list[Record]]:
    """The files of the stores, and the versions of skills and agents, by what they belong to."""
    members: dict[tuple[Kind, SourceId], list[Record]] = {
        (Kind.STORE, store): found for store, found in definitions.memberships.items()
    }
    for store in map(SourceId, (view.id for view in definitions.store_views)):
        if (Kind.STORE, store) not in members:
            listed = surveyor.memberships(store)
            found = [Record(kind=Kind.MEMBERSHIP, id=SourceId(view.id), raw=raw) async for view, raw in listed]
            members[Kind.STORE, store] = found
    versions = [(Kind.SKILL, SourceId(view.id), SourceId(view.id)) for view in definitions.skill_views]
    versions += [(Kind.FOUNDRY_AGENT, id, SourceId(name)) for id, name in definitions.all_versions.items()]
    for kind, id, asked in versions:
        member = Kind.SKILL_VERSION if kind is Kind.SKILL else Kind.AGENT_VERSION
        said = surveyor.members(kind, asked, VersionView)
        members[kind, id] = [Record(kind=member, id=SourceId(view.id), raw=raw) async for view, raw in said]
    return members


async def _file_objects(
    account: Account, surveyor: Surveyor, wanted: Mapping[SourceId, None]
) -> dict[SourceId, Record]:
    """The objects of the ``wanted`` files that the server has."""
    found: dict[SourceId, Record] = {}
    if len(wanted) >= _LIST_FROM:
        try:
            async for raw in account.items("/files", limit=FILES_PAGE):
                if (id := identity(raw)) is not None and SourceId(id) in wanted:
                    found[SourceId(id)] = Record(kind=Kind.FILE, id=SourceId(id), raw=raw)
        except REFUSED:
            pass  # a server without such a list; one by one it is, then
    for file in wanted:
        if file not in found and isinstance(one := await surveyor.one(Kind.FILE, file), Record):
            found[file] = one
    return found
