"""What a bundle could not take in, and who misses it: the files that are not there byte for byte, and the things
outside that its definitions refer to.

Everything is read out of the bundle, so an export, ``inspect`` and an import say the same. Memory is flat: what there
is one of per file is sorted outside of memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from types import TracebackType
from typing import Self

import msgspec

from holdall.bundle.layout import LedgerLine
from holdall.bundle.reader import BundleReader
from holdall.bundle.sorting import Sorter
from holdall.credentials import Suspect, suspects
from holdall.dependencies import Dependency, User, dependencies, user
from holdall.model import AssistantView, Record, Rung

__all__ = ["Shortfall", "Wanted"]

_encode = msgspec.json.Encoder().encode
# Worst first: what isn't there at all, what stops short or may be joined wrongly, what is text only.
_WEIGHT = {Rung.UNAVAILABLE: b"0", Rung.TEXT: b"2"}
_CUT = b"1"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A file that its owner could still supply. ``number`` counts from 1, the worst losses first, then by name.

    ``size`` is what the file object declares, in bytes; ``message`` says why the bytes are not there, ``doubt`` why its
    text may be joined wrongly; ``gone`` that the project has no file object of that id any more; ``used_by`` are the
    assistants that use it.
    """

    number: int
    id: str
    filename: str | None
    size: int | None
    rung: Rung
    truncated: bool
    doubt: str | None
    message: str | None
    gone: bool
    used_by: list[User]


class _Trace(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One mention of a file: its ledger line, its file object, a store that holds it or an assistant that uses it."""

    line: LedgerLine | None = None
    known: bool = False
    store: int | None = None
    assistant: int | None = None


_trace = msgspec.json.Decoder(_Trace)
_wanted = msgspec.json.Decoder(Wanted)


class Shortfall:
    """One bundle's shortfall, found when this is made. A context manager. Raises DamagedBundle.

    ``total`` is the number of files wanted; ``outside`` the things that no bundle holds, stores and files that are
    gone from the project among them; ``credentials`` the fields that seem to hold one, which is in the bundle too.
    """

    def __init__(self, bundle: BundleReader) -> None:
        self._bundle = bundle
        self._users: list[User] = []
        self._store_users: dict[str, list[int]] = {}
        self._traces, self._files = Sorter(), Sorter()
        self.total = 0
        self.credentials: list[Suspect] = []
        assistants = self._read_assistants()
        gone = self._read_stores() + self._join()
        self._traces.close()
        agents = list(bundle.agents())
        self.credentials += suspects(agents)
        self.outside: list[Dependency] = [*dependencies([*assistants, *agents]), *gone]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.close()

    def wanted(self) -> Iterator[Wanted]:
        """The files in the order of their numbers."""
        for number, (_, item) in enumerate(self._files, start=1):
            yield msgspec.structs.replace(_wanted.decode(item), number=number)

    # -- inside --------------------------------------------------------------------------------------

    def _read_assistants(self) -> list[Record]:
        records = list(self._bundle.assistants())
        self.credentials += suspects(records)
        for number, record in enumerate(records):
            self._users.append(user(record))
            try:
                view = msgspec.json.decode(record.raw, type=AssistantView)
            except (ValueError, msgspec.MsgspecError):
                continue  # a look-alike's odd assistant: kept as it is, its references are not for us to read
            for store in view.store_ids:
                self._store_users.setdefault(store, []).append(number)
            for file in view.file_ids:
                self._mention(file, _Trace(assistant=number))
        return records

    def _read_stores(self) -> list[Dependency]:
        """Note who is in which store; returns the stores that definitions refer to and that aren't there."""
        present: dict[str, int] = {}
        for record in self._bundle.stores():
            number = present.setdefault(record.id, len(present))
            self.credentials += suspects([record])
            for member in self._bundle.memberships(record.id):
                self.credentials += suspects([member])
                self._mention(member.id, _Trace(store=number))
        for file in self._bundle.files():
            self.credentials += suspects([file])
            self._mention(file.id, _Trace(known=True))
        for line in self._bundle.ledger():
            self._mention(line.id, _Trace(line=line))
        self._stores = [self._store_users.get(store, []) for store in present]
        return [
            Dependency(kind="vector_store", name=store, used_by=[self._users[number] for number in users])
            for store, users in sorted(self._store_users.items())
            if store not in present and self._included("file_search")
        ]

    def _included(self, tool: str) -> bool:
        """Was the knowledge of this tool asked for? What was left out on purpose is not gone."""
        return self._bundle.info.options.get(tool) is not False

    def _mention(self, file_id: str, trace: _Trace) -> None:
        self._traces.add(file_id.encode("utf-8", "surrogatepass"), _encode(trace))

    def _join(self) -> list[Dependency]:
        """Bring together what is said of each file; returns the files that a definition names and that are gone."""
        gone = []
        for key, group in groupby(self._traces, key=itemgetter(0)):
            traces = [_trace.decode(item) for _, item in group]
            line = next((trace.line for trace in traces if trace.line), None)
            known = any(trace.known for trace in traces)
            if line is not None and line.rung in _WEIGHT:
                self._want(line, not known, self._users_of(traces))
            named = [trace.assistant for trace in traces if trace.assistant is not None]
            if named and not known and self._included("code_interpreter"):
                users = [self._users[number] for number in dict.fromkeys(named)]
                gone.append(Dependency(kind="file", name=key.decode("utf-8", "surrogatepass"), used_by=users))
        return gone

    def _users_of(self, traces: list[_Trace]) -> list[User]:
        numbers = [trace.assistant for trace in traces if trace.assistant is not None]
        for trace in traces:
            if trace.store is not None:
                numbers += self._stores[trace.store]
        return [self._users[number] for number in sorted(set(numbers))]

    def _want(self, line: LedgerLine, gone: bool, users: list[User]) -> None:
        self.total += 1
        weight = _CUT if line.truncated or line.doubt else _WEIGHT[line.rung]
        name = (line.filename or "").encode("utf-8", "surrogatepass")
        item = Wanted(
            number=0,
            id=line.id,
            filename=line.filename,
            size=line.expected,
            rung=line.rung,
            truncated=line.truncated,
            doubt=line.doubt or None,
            message=line.message,
            gone=gone,
            used_by=users,
        )
        self._files.add(weight + name + b"\0" + line.id.encode("utf-8", "surrogatepass"), _encode(item))
