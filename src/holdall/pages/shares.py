"""What became of the files of each store, counted out of memory, and which files nothing refers to."""

from __future__ import annotations

from collections import Counter

import msgspec

from holdall.bundle.layout import LedgerLine
from holdall.bundle.reader import BundleReader
from holdall.bundle.sorting import ValueSorter
from holdall.capped import Capped
from holdall.kinds import read
from holdall.model import Fidelity, Kind, SourceId


class Share(msgspec.Struct):
    """Of one store: how many of its files were got in each way, and their size in bytes."""

    files: Counter[Fidelity] = msgspec.field(default_factory=Counter)
    bytes: int = 0
    members: int = 0


class _Trace(msgspec.Struct, frozen=True, omit_defaults=True):
    """A mention of a file: in a store, by an assistant, or its line in the ledger."""

    store: int | None = None
    line: LedgerLine | None = None


class Shares:
    """``stores`` has one for each store in the bundle; ``unused`` are the files that no store or assistant has.

    Memory grows with the stores, not with their files. Raises DamagedBundle.
    """

    def __init__(self, bundle: BundleReader) -> None:
        self.stores: dict[SourceId, Share] = {}
        self.unused: Capped[LedgerLine] = Capped()
        traces = ValueSorter(_Trace)
        for record in bundle.stores():
            number = len(self.stores)
            if record.id not in self.stores:
                self.stores[record.id] = Share()
                for member in bundle.memberships(record.id):
                    traces.add(member.id, _Trace(store=number))
        for record in bundle.whole():
            for file in read(record).file_ids:
                traces.add(file, _Trace())
        for skill in bundle.definitions(Kind.SKILL):
            for version in bundle.versions(Kind.SKILL, skill.id):
                traces.add(version.id, _Trace())
        for line in bundle.ledger():
            traces.add(line.id, _Trace(line=line))
        shares = list(self.stores.values())
        for _, group in traces.by_text():
            self._take(list(group), shares)
        traces.close()

    def _take(self, mentions: list[_Trace], shares: list[Share]) -> None:
        line = next((one.line for one in mentions if one.line is not None), None)
        users = [one for one in mentions if one.line is None]
        if line is not None and not users:
            self.unused.append(line)
        for number in {one.store for one in users if one.store is not None}:
            shares[number].members += 1
            if line is not None:
                shares[number].files[line.fidelity] += 1
                shares[number].bytes += line.size or 0
