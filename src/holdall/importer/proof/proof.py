"""The destination against the bundle: is what was imported what the bundle says?

Compared are the counts, every field of every imported assistant, vector store and membership, and of each file in a
store whether it is indexed and what the destination reads in it. Not compared is what must differ: ids, our own
metadata keys, the name's prefix, what only a server sets, and what the plan said beforehand would be left out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Container, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.dialects import assistants as dialect
from holdall.dialects import responses
from holdall.dialects.loss import Loss
from holdall.dialects.requestbody import Targets, definition
from holdall.dialects.responses_tools import containers
from holdall.dialects.shapes import equal
from holdall.dialects.tables import AS_IS, Table
from holdall.errors import NotFound, RequestRefused, ServerFailed, pasteable
from holdall.importer.destination.history import IdMapping
from holdall.importer.plan.bundle_summary import BundleSummary, Content
from holdall.importer.plan.choices import Choices, table_of
from holdall.importer.plan.completeness import Completeness
from holdall.importer.plan.difference import PRESENT, Difference, differences, final
from holdall.importer.plan.planner import plan
from holdall.importer.plan.steps import (
    Cannot,
    CreateDefinition,
    CreateStore,
    Plan,
    UploadFile,
    WriteRequest,
    references_of,
)
from holdall.importer.proof.compare_text import TextMatch
from holdall.importer.proof.members import FileProof, MemberCheck
from holdall.importer.written.requestfolder import read_request
from holdall.kinds import DEFINITIONS, KINDS, read
from holdall.model import Fidelity, FileView, Kind, MembershipView, SourceId, TargetId
from holdall.progress import Progress
from holdall.remote.client import Account, path, viewed
from holdall.remote.probing import absence
from holdall.verdict import Verdict

__all__ = ["Proof", "prove"]


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What was compared (``assistants``, ``agents`` where there are any, ``vector_stores``, ``memberships``,
    ``texts``, ``searches``), what differs, and what is known of each file. ``losses`` are those of the plan: what the
    copy can't have, whatever became of it; ``failed`` could not be made at all;
    ``chosen`` are the flags by which a part of the bundle was chosen, where that was so."""

    origin: str
    compared: dict[str, int]
    differences: list[Difference]
    files: list[FileProof]
    losses: list[Loss]
    completeness: Completeness
    units: set[str]
    failed: list[tuple[Kind, str]]
    chosen: str

    def verdict(self) -> Verdict:
        """The copy against what the project had."""
        doubtful = (one.file for one in self.files if one.text is TextMatch.DOUBTFUL)
        return self.completeness.verdict(
            self.losses, units=self.units, failed=self.failed, differences=self.differences, doubtful=doubtful
        )

    def doubtful(self) -> dict[str, int]:
        """How many files' texts may have been joined wrongly, by the reason."""
        return dict(Counter(one.why for one in self.files if one.text is TextMatch.DOUBTFUL))

    def unchecked(self) -> dict[str, int]:
        """How many files' texts were not compared, by the reason."""
        return dict(Counter(one.why for one in self.files if one.text is TextMatch.NOT_CHECKED))

    def unsearched(self) -> dict[str, int]:
        """How many files the search was asked for and says nothing of, by the reason."""
        return dict(Counter(one.unsearched for one in self.files if one.unsearched))


async def prove(
    catalogue: BundleSummary,
    reader: BundleReader,
    account: Account,
    placement: IdMapping,
    *,
    progress: Progress,
    prefix: str,
    search: bool = False,
    accept_known: bool = False,
) -> Proof:
    """Compare what ``placement`` places. ``prefix`` counts where the placement doesn't know the run's own.

    With ``search`` each store is asked for a sentence of each of its files, and has to find the file. Reads only.
    Raises what the account raises; an object that is gone is a difference.
    """
    prefix = placement.prefix if placement.prefix is not None else prefix
    table = table_of(placement.form, account.endpoint.base_url, reader.info)
    choices = Choices(form=placement.form, limits=table, models=placement.models)
    planned = plan(catalogue, placement.selection, prefix=prefix, choices=choices)
    prover = _Prover(catalogue, reader, account, placement, table, prefix, search, progress)
    progress.stage("comparing")
    progress.expect(files=planned.totals().memberships)
    for unit in planned.units:
        for step in unit.steps:
            match step:
                case CreateStore(id=id):
                    await prover.store(id)
                case CreateDefinition():
                    await prover.definition(step)
                case WriteRequest():
                    await prover.request(step)
                case UploadFile(content=content) if unit.kind is Kind.FILE:
                    await prover.lone_file(content)
                case _:
                    pass
    return prover.proof(planned, Completeness(catalogue, placement.selection, accept_known=accept_known))


class _Prover:
    """One comparison: what it found so far, and which file of the copy is which."""

    def __init__(
        self,
        catalogue: BundleSummary,
        reader: BundleReader,
        account: Account,
        placement: IdMapping,
        table: Table,
        prefix: str,
        search: bool,
        progress: Progress,
    ) -> None:
        self._catalogue, self._reader, self._account = catalogue, reader, account
        self._members = MemberCheck(
            account, reader, catalogue.files, search=search, progress=progress, added=placement.added
        )
        self._placement, self._table, self._prefix = placement, table, prefix
        self._records = catalogue.by_id()
        self._named: dict[str, str | None] = {}
        self._compared: Counter[str] = Counter(
            {KINDS[k].count: 0 for k in DEFINITIONS if not KINDS[k].rare or catalogue.records(k)}
        )
        self._differences: list[Difference] = []
        self._there: set[tuple[SourceId | None, SourceId]] = set()
        self._listed: set[str | None] | None = None

    def proof(self, planned: Plan, completeness: Completeness) -> Proof:
        files = self._members.proofs
        compared = {
            **self._compared,
            "memberships": len(files),
            "texts": sum(one.text is not TextMatch.NOT_CHECKED for one in files),
        }
        if any(one.found is not None for one in files):
            compared["searches"] = sum(one.found is not None for one in files)
        return Proof(
            origin=self._placement.origin,
            compared=compared,
            differences=[*self._differences, *self._members.differences],
            files=files,
            # A file that the bundle lacks may have been there before.
            losses=[loss for loss in planned.losses() if (loss.inside, loss.id) not in self._there],
            completeness=completeness,
            units={unit.id for unit in planned.units},
            chosen=" ".join(
                f"--{flag} {pasteable(one)}"
                for flag, some in (
                    ("only", self._placement.selection.only),
                    ("exclude", self._placement.selection.exclude),
                )
                for one in some
            ),
            failed=[(Kind.ASSISTANT, step.id) for step in planned.steps() if isinstance(step, Cannot)],
        )

    async def definition(self, step: CreateDefinition) -> None:
        placed, records = self._placement.of(step.kind), self._records[step.kind]
        target = placed.get(step.id)
        found = await self._get(step.kind, step.id, target, step.name)
        if found is None:
            return
        self._compared[KINDS[step.kind].count] += 1
        there = (found.get("tool_resources") or {}).get("code_interpreter") or {}
        stores, files = await self._refers(step, there.get("file_ids") or [])
        called = (id for id in read(records[step.id]).assistant_ids if id in records)
        request = definition(
            records[step.id],
            prefix=self._prefix,
            targets=Targets(
                stores=stores, files=files, assistants={id: placed.get(id, _not_imported(id)) for id in called}
            ),
            model=step.model,
            table=AS_IS if str(target) == str(step.id) else self._table,
        )
        self._fields(step.kind, step.id, target, step.name, final(request), found)

    async def request(self, step: WriteRequest) -> None:
        """A written request, against what would be written now."""
        target, output = self._placement.of(Kind.ASSISTANT).get(step.id), self._placement.output
        found = read_request(output, target) if output and target else None
        if found is None:
            gone = f"{target} is gone, or no request" if target else "not imported"
            self._differ(Kind.ASSISTANT, step.id, target, step.name, "request", PRESENT, gone)
            return
        self._compared["assistants"] += 1
        stores, files = await self._refers(step, containers(found))
        draft = responses.assistant(
            self._records[Kind.ASSISTANT][step.id], prefix=self._prefix, stores=stores, files=files, model=step.model
        )
        for field in {**draft.request, **found}:
            self._differ(Kind.ASSISTANT, step.id, target, step.name, field, draft.request.get(field), found.get(field))

    async def _refers(
        self, step: CreateDefinition | WriteRequest, there: list[str]
    ) -> tuple[dict[SourceId, TargetId], dict[SourceId, TargetId]]:
        """What a copy should refer to, by the ids there; ``there`` are the files that its code interpreter has."""
        stores = {store: self._placement.stores.get(store, _not_imported(store)) for store in references_of(step)[0]}
        wanted = self._files_of(step, there)
        files = await self._matched(wanted, there)
        for file, copy in files.items():
            await self._file(file, copy, inside=step.id)
        return stores, {file: files.get(file, _not_imported(file)) for file in wanted}

    def _files_of(self, step: CreateDefinition | WriteRequest, there: Container[str]) -> list[SourceId]:
        """The files that the copy should have: those of the plan, and those that lived there and that it does have."""
        known = self._placement.files or {}
        view = read(self._records[step.kind if isinstance(step, CreateDefinition) else Kind.ASSISTANT][step.id])
        lived = [file for file in dict.fromkeys(view.file_ids) if known.get(file) in there]
        self._there.update((step.id, file) for file in lived)
        return [file for file in dict.fromkeys(view.file_ids) if file in references_of(step)[1] or file in lived]

    async def lone_file(self, content: Content) -> None:
        """A file that nothing refers to: by the mapping, else by a name that it may have been uploaded under."""
        if self._placement.files is not None:
            await self._file(content.id, self._placement.files.get(content.id))
            return
        if self._listed is None:
            listed = self._account.items("/files")
            self._listed = {viewed(raw, FileView, "a file").filename async for raw in listed}
        if not self._listed.intersection(content.copy_names()):
            self._file_is_gone(content.id, None, None, "not found")

    async def _file(self, id: SourceId, copy: TargetId | None, *, inside: SourceId | None = None) -> None:
        """A file that nothing lists: is there still one of that id?"""
        said = "not imported"
        if copy is not None:
            try:
                await self._account.get(path("/files/{}", copy))
                return
            except (NotFound, RequestRefused) as error:
                if not await self._has_files():
                    return
                said = f"{copy} is gone: {error.detail or error.message}"
        self._file_is_gone(id, copy, inside, said)

    async def _has_files(self) -> bool:
        """Whether the destination knows files by their ids at all."""
        try:
            return await absence(self._account, "/files") is None
        except ServerFailed:  # it is there, and fails
            return True

    def _file_is_gone(self, id: SourceId, copy: TargetId | None, inside: SourceId | None, said: str) -> None:
        name = self._catalogue.files[id].filename
        self._differences.append(
            Difference(
                kind=Kind.FILE,
                source=id,
                target=copy,
                name=name,
                inside=inside,
                field=Kind.FILE.value,
                bundle=PRESENT,
                destination=said,
            )
        )

    async def store(self, id: SourceId) -> None:
        record = self._catalogue.stores[id]
        target = self._placement.stores.get(id)
        expected = final(dialect.store(record, operation="", as_is=str(target) == str(id)))
        name = expected.get("name")
        found = await self._get(Kind.STORE, id, target, name)
        if found is None or target is None:
            return
        self._compared["vector_stores"] += 1
        self._fields(Kind.STORE, id, target, name, expected, found)
        where = path("/vector_stores/{}/files", target)
        there = {view.id: raw async for view, raw in _memberships(self._account, where)}
        wanted = [file for file in dict.fromkeys(self._catalogue.members.get(id, ())) if self._has_copy(file)]
        copies = await self._matched(wanted, there, self._placement.copies)
        self._there.update((id, file) for file, copy in copies.items() if copy in there)
        # A server may give one id to files with the same bytes.
        distinct = len(wanted) - len(copies) + len(set(copies.values()))
        self._differ(Kind.STORE, id, target, name, "files", distinct, len(there))
        memberships = (record for record in self._reader.memberships(id) if self._has_copy(record.id))
        await self._members.compare(id, target, memberships, copies, there)

    def _has_copy(self, file: SourceId) -> bool:
        """Whether a file should be there: its content is in the bundle, or it was there before, whole."""
        content = self._catalogue.files.get(file)
        if content is None:
            return False
        return content.fidelity is not Fidelity.UNAVAILABLE or file in (self._placement.files or ())

    def _fields(
        self,
        kind: Kind,
        source: SourceId,
        target: TargetId | None,
        name: str | None,
        expected: Mapping[str, Any],
        found: Mapping[str, Any],
    ) -> None:
        self._differences += differences(
            expected, found, kind=kind, source=source, target=target, name=name, added=self._placement.added
        )

    def _differ(
        self,
        kind: Kind,
        source: SourceId,
        target: TargetId | None,
        name: str | None,
        field: str,
        here: Any,
        there: Any,
    ) -> None:
        if not equal(here, there):
            self._differences.append(
                Difference(
                    kind=kind,
                    source=source,
                    target=target,
                    name=name,
                    field=field,
                    bundle=here,
                    destination=there,
                )
            )

    async def _get(
        self, kind: Kind, source: SourceId, target: TargetId | None, name: str | None
    ) -> dict[str, Any] | None:
        """The object in the copy, or None, with a difference, where there is none."""
        if target is not None:
            try:
                answer = await self._account.get(path(KINDS[kind].endpoint + "/{}", target))
                return viewed(answer.raw, dict[str, Any], f"{kind} {target}")
            except (NotFound, RequestRefused) as error:
                gone: Any = f"{target} is gone: {error.detail or error.message}"
        else:
            gone = "not imported"
        self._differ(kind, source, target, name, kind.value, PRESENT, gone)
        return None

    async def _matched(
        self,
        wanted: Iterable[SourceId],
        there: Iterable[str],
        copies: Mapping[SourceId, TargetId] = MappingProxyType({}),
    ) -> dict[SourceId, TargetId]:
        """Which of the files in ``there`` is which: as written down, else by the names they were uploaded under.

        ``copies`` go before the files that are written down.
        """
        if self._placement.files is not None:
            known = self._placement.files
            return {file: target for file in wanted if (target := copies.get(file) or known.get(file)) is not None}
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


def _not_imported(id: SourceId) -> TargetId:
    return TargetId(f"(not imported) {id}")


async def _memberships(account: Account, where: str) -> AsyncIterator[tuple[MembershipView, bytes]]:
    async for raw in account.items(where):
        yield viewed(raw, MembershipView, f"a file of {where}"), raw
