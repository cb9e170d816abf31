"""The destination against the bundle: is what was imported what the bundle says?

Compared are the counts and every field of every imported assistant, vector store and membership. Not compared is what
must differ: ids, our own metadata keys, the name's prefix, what only a server sets, and what the plan said beforehand
would be left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.dialects import assistants as dialect
from holdall.errors import NotFound, RequestRefused
from holdall.importer.difference import UNSET, Difference, differences, equal, final
from holdall.importer.placement import Placement
from holdall.importer.plan import Choices, plan
from holdall.importer.steps import AttachFiles, Catalogue, CreateAssistant, CreateStore
from holdall.model import FileView, Kind, MembershipView, Record, Rung, SourceId, TargetId
from holdall.progress import Progress
from holdall.remote.client import Account, path

__all__ = ["Proof", "prove"]


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared (``assistants``, ``vector_stores``, ``memberships``) and what differs."""

    origin: str
    compared: dict[str, int]
    differences: list[Difference]


async def prove(
    catalogue: Catalogue,
    reader: BundleReader,
    account: Account,
    placement: Placement,
    *,
    progress: Progress,
    prefix: str,
) -> Proof:
    """Compare what ``placement`` places. ``prefix`` counts where the placement doesn't know the run's own.

    Reads only. Raises what the account raises; an object that is gone is a difference.
    """
    prefix = placement.prefix if placement.prefix is not None else prefix
    planned = plan(catalogue, placement.selection, prefix=prefix, choices=Choices(models=placement.models))
    prover = _Prover(catalogue, reader, account, placement, prefix)
    progress.stage("comparing")
    for unit in planned.units:
        attached = {step.store: step.count for step in unit.steps if isinstance(step, AttachFiles)}
        for step in unit.steps:
            match step:
                case CreateStore(id=id):
                    await prover.store(id, attached.get(id, 0))
                case CreateAssistant():
                    await prover.assistant(step)
                case _:
                    pass
    return Proof(origin=placement.origin, compared=dict(prover.compared), differences=prover.differences)


class _Prover:
    """One comparison: what it found so far, and which file of the copy is which."""

    def __init__(
        self, catalogue: Catalogue, reader: BundleReader, account: Account, placement: Placement, prefix: str
    ) -> None:
        self._catalogue, self._reader, self._account = catalogue, reader, account
        self._placement, self._prefix = placement, prefix
        self._records = {record.id: record for record in catalogue.assistants}
        self._named: dict[str, str | None] = {}
        self.compared: Counter[str] = Counter({"assistants": 0, "vector_stores": 0, "memberships": 0})
        self.differences: list[Difference] = []

    async def assistant(self, step: CreateAssistant) -> None:
        target = self._placement.assistants.get(step.id)
        found = await self._get("/assistants/{}", Kind.ASSISTANT, step.id, target, step.name)
        if found is None:
            return
        self.compared["assistants"] += 1
        stores = {
            store: self._placement.stores.get(store, TargetId(f"(not imported) {store}")) for store in step.stores
        }
        there = (found.get("tool_resources") or {}).get("code_interpreter") or {}
        files = await self._matched(step.files, there.get("file_ids") or [])
        request = dialect.assistant(
            self._records[step.id],
            prefix=self._prefix,
            operation="",
            stores=stores,
            files={file: files.get(file, TargetId(f"(not imported) {file}")) for file in step.files},
            model=step.model,
        )
        self._fields(Kind.ASSISTANT, step.id, target, step.name, final(request), found)

    async def store(self, id: SourceId, count: int) -> None:
        record = self._catalogue.stores[id]
        expected = final(dialect.store(record, operation=""))
        name = expected.get("name")
        target = self._placement.stores.get(id)
        found = await self._get("/vector_stores/{}", Kind.STORE, id, target, name)
        if found is None or target is None:
            return
        self.compared["vector_stores"] += 1
        self._fields(Kind.STORE, id, target, name, {**UNSET, **expected}, found)
        await self._members(id, target, name, count)

    async def _members(self, store: SourceId, target: TargetId, name: str | None, count: int) -> None:
        """Every membership: attributes, chunking where the bundle knows it, and whether it is searchable."""
        there = {
            view.id: raw async for view, raw in _memberships(self._account, path("/vector_stores/{}/files", target))
        }
        self._differ(Kind.STORE, store, target, name, "files", count, len(there))
        wanted = [
            file
            for file in dict.fromkeys(self._catalogue.members.get(store, ()))
            if file in self._catalogue.files and self._catalogue.files[file].rung is not Rung.UNAVAILABLE
        ]
        files = await self._matched(wanted, there)
        for record in self._reader.memberships(store):
            content = self._catalogue.files.get(record.id)
            if content is None or content.rung is Rung.UNAVAILABLE:
                continue
            copy = files.get(record.id)
            raw = there.get(copy) if copy else None
            self.compared["memberships"] += raw is not None
            self._membership(record, store, content.filename, copy, raw)

    def _membership(
        self, record: Record, store: SourceId, name: str | None, copy: TargetId | None, raw: bytes | None
    ) -> None:
        def differ(field: str, here: object, there: object) -> None:
            self._differ(Kind.MEMBERSHIP, record.id, copy, name, field, here, there, inside=store)

        if raw is None:
            differ("membership", "present", "missing")
            return
        was: dict[str, Any] = msgspec.json.decode(record.raw)
        now: dict[str, Any] = msgspec.json.decode(raw)
        expected = dialect.attachment(record, copy or TargetId("")).body
        differ("attributes", expected.get("attributes") or {}, now.get("attributes") or {})
        if "chunking_strategy" in expected:
            differ("chunking_strategy", expected["chunking_strategy"], now.get("chunking_strategy"))
        if not (was.get("status") == "failed" and now.get("status") == "failed"):
            reason = (now.get("last_error") or {}).get("message")
            status = now.get("status")
            differ("status", "completed", f"{status}: {reason}" if reason else status)

    def _fields(
        self,
        kind: Kind,
        source: SourceId,
        target: TargetId | None,
        name: str | None,
        expected: Mapping[str, Any],
        found: Mapping[str, Any],
    ) -> None:
        self.differences += differences(expected, found, kind=kind, source=source, target=target, name=name)

    def _differ(
        self,
        kind: Kind,
        source: SourceId,
        target: TargetId | None,
        name: str | None,
        field: str,
        here: Any,
        there: Any,
        *,
        inside: SourceId | None = None,
    ) -> None:
        if not equal(here, there):
            self.differences.append(
                Difference(
                    kind=kind,
                    source=source,
                    target=target,
                    name=name,
                    inside=inside,
                    field=field,
                    bundle=here,
                    destination=there,
                )
            )

    async def _get(
        self, where: str, kind: Kind, source: SourceId, target: TargetId | None, name: str | None
    ) -> dict[str, Any] | None:
        """The object in the copy, or None, with a difference, where there is none."""
        if target is not None:
            try:
                answer = await self._account.get(path(where, target))
                return msgspec.json.decode(answer.raw, type=dict[str, Any])
            except (NotFound, RequestRefused) as error:
                gone: Any = f"{target} is gone: {error.detail or error.message}"
        else:
            gone = "not imported"
        self._differ(kind, source, target, name, kind.value, "present", gone)
        return None

    async def _matched(self, wanted: Iterable[SourceId], there: Iterable[str]) -> dict[SourceId, TargetId]:
        """Which of the files in ``there`` is which: as written down, else by the names they were uploaded under."""
        if self._placement.files is not None:
            return {file: self._placement.files[file] for file in wanted if file in self._placement.files}
        by_name: dict[str | None, list[TargetId]] = {}
        for id in there:
            by_name.setdefault(await self._filename(id), []).append(TargetId(id))
        matched = {}
        for file in wanted:
            for name in self._catalogue.files[file].copy_names():
                if by_name.get(name):
                    matched[file] = by_name[name].pop(0)
                    break
        return matched

    async def _filename(self, id: str) -> str | None:
        if id not in self._named:
            try:
                answer = await self._account.get(path("/files/{}", id))
                self._named[id] = msgspec.json.decode(answer.raw, type=FileView).filename
            except (NotFound, RequestRefused, msgspec.DecodeError):
                self._named[id] = None
        return self._named[id]


async def _memberships(account: Account, where: str) -> AsyncIterator[tuple[MembershipView, bytes]]:
    async for raw in account.items(where):
        yield msgspec.json.decode(raw, type=MembershipView), raw
