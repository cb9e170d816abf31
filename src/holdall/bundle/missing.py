"""What a bundle lacks, and who uses it: files without their original bytes, and things hosted elsewhere.

Everything is read from the bundle, so export, ``inspect`` and import report the same. Memory is flat: per-file data is
sorted on disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

import msgspec

from holdall.bundle import layout
from holdall.bundle.layout import LedgerLine
from holdall.bundle.reader import BundleReader
from holdall.credentials import Scan, Suspect
from holdall.dependencies import USERS, Dependencies, Dependency, User
from holdall.kinds import read
from holdall.legible import Capped
from holdall.model import Fidelity, Kind
from holdall.safe_files import Closing
from holdall.spilling import ValueSorter

# Worst first: what isn't there at all, what stops short or may be joined wrongly, what is text only.
_WEIGHT = {Fidelity.UNAVAILABLE: 0, Fidelity.TEXT: 2}
_CUT = 1


# Reasons that are told apart: each may have words of a server in it.
_REASONS = 50


class Lack(StrEnum):
    """What a bundle has in place of a file's bytes, the worst first, in words for one file and for many."""

    many: str

    def __new__(cls, value: str, many: str) -> Lack:
        lack = str.__new__(cls, value)
        lack._value_, lack.many = value, many
        return lack

    MISSING = "file missing", "files missing"
    CUT = "text cut short", "texts cut short"
    DOUBTFUL = "uncertain text", "uncertain texts"
    TEXT = "file as text only", "files as text only"


class Reasoned(NamedTuple):
    """A lack and why, by which files are counted; the ids of single files are taken out of ``why``."""

    lack: Lack
    why: str


def _reasoned(line: LedgerLine | Wanted) -> Reasoned:
    if line.fidelity is Fidelity.UNAVAILABLE:
        lack = Lack.MISSING
    else:
        lack = Lack.CUT if line.truncated else Lack.DOUBTFUL if line.doubt else Lack.TEXT
    return Reasoned(lack, (line.doubt or line.message or "").replace(line.id, "…"))


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A file that its owner could still supply. ``number`` counts from 1, the worst losses first, then by name.

    ``size`` is what the file object declares, in bytes; ``message`` says why the bytes are not there, ``doubt`` why its
    text may be joined wrongly; ``gone`` that the project has no file object of that id any more; ``used_by`` are the
    first ``USERS`` assistants that use it.
    """

    number: int
    id: str
    filename: str | None
    size: int | None
    fidelity: Fidelity
    truncated: bool
    doubt: str | None
    message: str | None
    gone: bool
    used_by: list[User]


class _Trace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One mention of a file: its ledger line, its file object, a store that holds it or assistants that use it."""

    line: LedgerLine | None = None
    known: bool = False
    store: int | None = None
    assistants: list[int] | None = None


class _Item(NamedTuple):
    """A stored Wanted: its users are numbers."""

    line: LedgerLine
    gone: bool
    users: list[int]


class MissingFromBundle(Closing):
    """What one bundle lacks, found when this is made. A context manager. Raises DamagedBundle.

    ``total`` is the number of files wanted, ``counts`` the same by reason; ``outside`` the things that no bundle holds,
    stores and files that are gone from the project among them; ``credentials`` the fields that seem to hold one, which
    is in the bundle too.
    """

    def __init__(self, bundle: BundleReader) -> None:
        self._bundle = bundle
        self._users: list[User] = []
        # The first users of each store that a definition names, by their numbers.
        self._store_users: dict[str, list[int]] = {}
        self._traces, self._files = ValueSorter(_Trace), ValueSorter(_Item)
        self.total = 0
        self.counts: Counter[Reasoned] = Counter()
        self._scan, outside = Scan(), Dependencies()
        # First: of a bundle that lacks no content, nothing has to be known of those who use one.
        self._lacks = self._read_ledger()
        self._read_definitions(outside)
        gone: Capped[Dependency] = Capped()
        gone += self._read_stores()
        gone += self._join()
        self._traces.close()
        self.credentials: Capped[Suspect] = self._scan.found
        self.outside: list[Dependency] = [*outside.things(), *gone]

    def close(self) -> None:
        self._files.close()

    def wanted(self) -> Iterator[Wanted]:
        """The files in the order of their numbers."""
        for number, (line, gone, users) in enumerate(self._files, start=1):
            yield Wanted(
                number=number,
                id=line.id,
                filename=line.filename,
                size=line.expected,
                fidelity=line.fidelity,
                truncated=line.truncated,
                doubt=line.doubt or None,
                message=line.message,
                gone=gone,
                used_by=[self._users[user] for user in users],
            )

    # -- inside --------------------------------------------------------------------------------------

    def _read_ledger(self) -> bool:
        """Note the files without their bytes. Returns whether there are any."""
        lacks = False
        for line in self._bundle.ledger():
            if line.fidelity in _WEIGHT:
                lacks = True
                self._traces.add(line.id, _Trace(line=line))
        return lacks

    def _read_definitions(self, outside: Dependencies) -> None:
        for skill in self._bundle.definitions(Kind.SKILL):
            self._scan.look(skill)
            outside.there(skill.id)
            for version in self._bundle.versions(Kind.SKILL, skill.id):
                self._scan.look(version)
                self._traces.add(version.id, _Trace(known=True))
        file_users: dict[str, list[int]] = {}  # not kept: there may be as many as files
        for number, record in enumerate(self._bundle.whole()):
            self._scan.look(record)
            self._users.append(outside.add(record))
            view = read(record)
            for known, ids in ((self._store_users, view.store_ids), (file_users, view.file_ids)):
                for id in dict.fromkeys(ids):
                    users = known.setdefault(id, [])
                    if len(users) < USERS:
                        users.append(number)
        self._names_files = bool(file_users)
        for file, users in file_users.items():
            self._traces.add(file, _Trace(assistants=users))

    def _read_stores(self) -> Iterator[Dependency]:
        """Note which file is in which store; returns the stores that definitions refer to and the bundle lacks."""
        present: dict[str, int] = {}
        for record in self._bundle.stores():
            present.setdefault(record.id, len(present))
            self._scan.look(record)
        # In the order of the index: to look up each store's memberships costs a bisection.
        for entry in self._bundle.entries(layout.STORES):
            if entry.path.endswith(layout.MEMBERSHIPS) and entry.id in present:
                for member in self._bundle.records(Kind.MEMBERSHIP, entry):
                    self._scan.look(member)
                    if self._lacks:
                        self._traces.add(member.id, _Trace(store=present[entry.id]))
        for file in self._bundle.files():
            self._scan.look(file)
            if self._lacks or self._names_files:
                self._traces.add(file.id, _Trace(known=True))
        self._stores = [self._store_users.get(store, []) for store in present]
        for store, users in sorted(self._store_users.items()):
            if store not in present and self._included("file_search"):
                yield Dependency(kind="vector_store", name=store, used_by=[self._users[number] for number in users])

    def _included(self, tool: str) -> bool:
        """Whether the knowledge of this tool was asked for: what was left out on purpose isn't gone."""
        return self._bundle.info.options.get(tool) is not False

    def _join(self) -> Iterator[Dependency]:
        """Merge the statements about each file; returns the files that a definition names and that are gone."""
        for id, traces in self._traces.by_text():
            line, known = None, False
            named: list[int] = []
            users: set[int] = set()
            for trace in traces:
                line, known = line or trace.line, known or trace.known
                named += trace.assistants or ()
                users.update(self._stores[trace.store] if trace.store is not None else ())
            if line is not None and line.fidelity in _WEIGHT:
                self._want(line, not known, sorted(users.union(named))[:USERS])
            if named and not known and self._included("code_interpreter"):
                yield Dependency(kind="file", name=id, used_by=[self._users[number] for number in named])

    def reasoned(self, line: LedgerLine | Wanted) -> Reasoned:
        """What ``counts`` counts it as: those of one lack together once there are too many reasons."""
        one = _reasoned(line)
        return one if one in self.counts or len(self.counts) < _REASONS else Reasoned(one.lack, "")

    def _want(self, line: LedgerLine, gone: bool, users: list[int]) -> None:
        self.total += 1
        self.counts[self.reasoned(line)] += 1
        weight = _CUT if line.truncated or line.doubt else _WEIGHT[line.fidelity]
        self._files.add(f"{weight}{line.filename or ''}\0{line.id}", _Item(line, gone, users))
