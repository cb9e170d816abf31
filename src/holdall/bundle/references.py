"""Do the records of a bundle agree with each other: counts, digests, and every reference from one to another.

What is missing but declared is a loss, not damage: a file that could not be got, a store that the source itself no
longer had. Memory is flat: what there is one of per file is sorted outside of memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import groupby
from operator import itemgetter

import msgspec
from msgspec.structs import replace

from holdall.bundle import layout
from holdall.bundle.digest import content_line, definition_line, digest_of, record_hash
from holdall.bundle.layout import Digests, IndexEntry, LedgerLine
from holdall.bundle.losses import declared, minimum_of, reason_of, verdict_of
from holdall.bundle.reader import BundleReader
from holdall.bundle.sorting import Sorter
from holdall.model import AssistantView, Kind, Rung
from holdall.verdict import Reason, Verdict

__all__ = ["MOST_TOLD", "Loss", "References", "Report"]

MOST_TOLD = 10_000
"""Findings, and losses, that are kept to be told; all of them count."""
_LONGEST = 4000
"""Characters of what is told in one."""

Report = Callable[[str, str | None, str], None]
"""Takes a finding: its code, the entry's path or None, a sentence."""

_encode = msgspec.json.Encoder().encode


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the bundle declares it hasn't got. ``code`` is ``unavailable``, ``truncated``, ``doubtful``,
    ``no-store``, ``no-file``, ``more`` (so many are not listed), or the reason of a line in ``data/losses.jsonl``;
    ``id`` what is missing, ``filename`` its name."""

    code: str
    id: str | None
    filename: str | None
    message: str


class Kept(list[Loss]):
    """The first losses; of the others the number only, ``more``: a small bundle may declare very many."""

    def __init__(self) -> None:
        super().__init__()
        self.more = 0

    def append(self, loss: Loss) -> None:
        if len(self) < MOST_TOLD:
            shown = {name: value[:_LONGEST] for name in ("id", "filename", "message") if (value := getattr(loss, name))}
            super().append(replace(loss, **shown))
        else:
            self.more += 1


class _Use(msgspec.Struct, frozen=True, kw_only=True):
    """One mention of a file id. ``by`` is ``ledger``, ``content``, ``membership``, ``file`` or ``assistant``."""

    by: str
    path: str
    entry: IndexEntry | None = None
    line: LedgerLine | None = None


_use = msgspec.json.Decoder(_Use)


class References:
    """One pass over the records of a bundle whose index has been read."""

    def __init__(self, bundle: BundleReader, report: Report) -> None:
        self._bundle, self._report = bundle, report
        self.losses = Kept()
        self._uses, self._definitions, self._contents, self._agents = Sorter(), Sorter(), Sorter(), Sorter()
        self._counts: Counter[str] = Counter()
        self._rungs: Counter[Rung] = Counter()
        self._rung_bytes: Counter[Rung] = Counter()
        self._lost: Counter[str] = Counter()
        self._minimum = minimum_of(bundle.info)

    def check(self) -> None:
        """Report everything that doesn't fit. Raises DamagedBundle where a record can't be read."""
        stores = self._read_stores()
        self._read_assistants(stores)
        seen: set[str] = set()
        for agent in self._bundle.agents():
            self._once(agent.id, seen)
            self._count(Kind.AGENT, agent.id, agent.raw)
        for file in self._bundle.files():
            self._count(Kind.FILE, file.id, file.raw)
            self._use(file.id, by="file", path=layout.FILES)
        self._read_index()
        previous = b""
        for line in self._bundle.ledger():
            if line.id.encode() < previous:
                self._report("reference", layout.LEDGER, f"{line.id}: out of order in the ledger")
            previous = line.id.encode()
            self._use(line.id, by="ledger", path=layout.LEDGER, line=line)
        self._check_files()
        self._read_losses()
        self._check_info()
        for sorter in (self._uses, self._definitions, self._contents, self._agents):
            sorter.close()

    @property
    def verdict(self) -> Verdict:
        """How much of what the project had the bundle lacks, by its records once they were checked."""
        return verdict_of(self._lost) if self._lost else declared(self._bundle.info)

    def _read_losses(self) -> None:
        for line in self._bundle.losses():
            self._lost[line.reason] += 1
            if line.reason != Reason.STORES:  # said of the assistant that refers to it
                self.losses.append(Loss(code=line.reason, id=line.id, filename=None, message=line.message))

    def _use(
        self, id: str, *, by: str, path: str, entry: IndexEntry | None = None, line: LedgerLine | None = None
    ) -> None:
        self._uses.add(id.encode(), _encode(_Use(by=by, path=path, entry=entry, line=line)))

    def _count(self, kind: Kind, id: str, raw: bytes, store: str | None = None) -> None:
        self._counts[_COUNTED[kind]] += 1
        lines = self._agents if kind is Kind.AGENT else self._definitions
        lines.add(definition_line(kind, id, record_hash(kind, raw), store))

    def _read_stores(self) -> set[str]:
        found: set[str] = set()
        for store in self._bundle.stores():
            self._once(store.id, found)
            self._count(Kind.STORE, store.id, store.raw)
        listed: set[str] = set()
        for entry in self._bundle.entries(layout.STORES):
            if not entry.path.endswith(layout.MEMBERSHIPS):
                continue
            self._once(f"memberships of {entry.id}", listed)
            if entry.id not in found:
                self._report("reference", entry.path, f"memberships of {entry.id}, a store that isn't there")
            for member in self._bundle.memberships(entry.id or ""):
                self._count(Kind.MEMBERSHIP, member.id, member.raw, entry.id)
                self._use(member.id, by="membership", path=entry.path)
        for id in sorted(id for id in found if f"memberships of {id}" not in listed):
            self._report("reference", None, f"the memberships of store {id} are not there")
        return found

    def _once(self, id: str, seen: set[str]) -> None:
        """Readers go by ids: what is there under one id a second time would be another thing to each of them."""
        if id in seen:
            self._report("index", None, f"{id}: there twice")
        seen.add(id)

    def _read_assistants(self, stores: set[str]) -> None:
        seen: set[str] = set()
        for assistant in self._bundle.assistants():
            self._once(assistant.id, seen)
            self._count(Kind.ASSISTANT, assistant.id, assistant.raw)
            try:
                view = msgspec.json.decode(assistant.raw, type=AssistantView)
            except (ValueError, msgspec.MsgspecError):
                continue  # a look-alike's odd assistant: kept as it is, its references are not for us to read
            for id in view.store_ids:
                if id not in stores:
                    message = f"{assistant.id} refers to store {id}, which isn't in the bundle"
                    self.losses.append(Loss(code="no-store", id=id, filename=None, message=message))
            for id in dict.fromkeys(view.file_ids):
                self._use(id, by="assistant", path=str(assistant.id))

    def _read_index(self) -> None:
        for entry in self._bundle.entries():
            self._counts["entries"] += 1
            self._counts["bytes"] += entry.size
            if entry.rung is not None and entry.id is not None:
                self._contents.add(content_line(entry.id, entry.rung, entry.sha256))
                self._use(entry.id, by="content", path=entry.path, entry=entry)

    def _check_files(self) -> None:
        for key, group in groupby(self._uses, key=itemgetter(0)):
            uses = [_use.decode(use) for _, use in group]
            lines = [use.line for use in uses if use.line]
            if len(lines) == 1:
                self._check_line(lines[0], {use.path: use.entry for use in uses if use.entry})
            elif lines:
                self._report("reference", layout.LEDGER, f"{len(lines)} lines for file {key.decode()}")
            else:
                self._unlisted(key.decode(), uses)

    def _check_line(self, line: LedgerLine, contents: dict[str, IndexEntry]) -> None:
        self._rungs[line.rung] += 1
        self._rung_bytes[line.rung] += line.size or 0
        if lost := reason_of(line.rung, line.truncated, self._minimum):
            self._lost[lost] += 1
        reason = f"{line.id} ({line.filename})"
        if line.rung is Rung.UNAVAILABLE:
            why = ", ".join(str(part) for part in (line.status, line.code, line.message) if part is not None)
            message = f"the content of {reason} could not be got" + (f": {why}" if why else "")
            self.losses.append(Loss(code="unavailable", id=line.id, filename=line.filename, message=message))
            if line.path or contents:
                self._report("reference", layout.LEDGER, f"{reason} is called unavailable, yet has a content")
            return
        if line.truncated:
            message = f"the text of {reason} stops short"
            self.losses.append(Loss(code="truncated", id=line.id, filename=line.filename, message=message))
        if line.doubt:
            self._lost[Reason.DOUBTFUL] += 1
            message = f"the text of {reason} is joined doubtfully: {line.doubt}"
            self.losses.append(Loss(code="doubtful", id=line.id, filename=line.filename, message=message))
        entry = contents.get(line.path or "")
        if entry is None:
            self._report("reference", line.path or layout.LEDGER, f"the content of {reason} is not in the index")
        elif (entry.rung, entry.size) != (line.rung, line.size):
            self._report("reference", entry.path, f"ledger and index differ in rung or size of {reason}")

    def _unlisted(self, id: str, uses: list[_Use]) -> None:
        """A file without a line in the ledger."""
        paths = sorted({use.path for use in uses if use.by != "assistant"})
        for path in paths:
            self._report("reference", path, f"file {id} has no line in the ledger")
        for use in uses:
            if use.by == "assistant" and not paths:
                message = f"{use.path} refers to file {id}, which isn't in the bundle"
                self.losses.append(Loss(code="no-file", id=id, filename=None, message=message))

    def _check_info(self) -> None:
        info = self._bundle.info
        for name, count in info.counts.items():
            if name in _NAMES and self._counts[name] != count:
                self._report("count", layout.INFO, f"{name}: {count} declared, {self._counts[name]} there")
        for rung in Rung:
            declared = info.rungs.get(rung)
            files, size = (declared.files, declared.bytes) if declared else (0, 0)
            if (files, size) != (self._rungs[rung], self._rung_bytes[rung]):
                self._report("count", layout.INFO, f"files of rung {rung} are not those declared")
        if info.losses is not None and +self._lost != Counter(info.losses):
            self._report("count", layout.INFO, "losses: not those that the ledger and losses.jsonl have")
        if self._counts["agents"] and "agents" not in info.counts:
            self._report("count", layout.INFO, f"agents: none declared, {self._counts['agents']} there")
        digests = Digests(
            definitions=digest_of(self._definitions.keys()),
            contents=digest_of(self._contents.keys()),
            agents=digest_of(self._agents.keys()) if self._counts["agents"] else None,
        )
        for name in ("definitions", "contents", "agents"):
            if getattr(digests, name) != getattr(info.digests, name):
                self._report("digest", layout.INFO, f"the {name} are not those that the digest was made of")


_COUNTED = {
    Kind.ASSISTANT: "assistants",
    Kind.AGENT: "agents",
    Kind.STORE: "vector_stores",
    Kind.MEMBERSHIP: "memberships",
    Kind.FILE: "files",
}
_NAMES = frozenset({*_COUNTED.values(), "entries", "bytes"})
