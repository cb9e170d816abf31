"""Verifies an import: compares the destination with the bundle.

Compares the counts, every field of every imported assistant, vector store and membership, and the index status and
parsed text of each file in a store. Ignores what must differ: ids, our metadata keys, the name's prefix, server-set
fields, and the plan's losses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.dialects import assistants as dialect
from holdall.dialects.canonical import equal
from holdall.dialects.loss import Loss
from holdall.dialects.registry import AS_IS, definition, shown
from holdall.dialects.responses import containers
from holdall.dialects.rules import Form, Request, Table, Targets
from holdall.errors import NotFound, RequestRefused, ServerFailed, pasteable
from holdall.graph import users_of
from holdall.importer.destination.destination import IdMapping
from holdall.importer.plan.bundle_summary import BundleSummary, Content
from holdall.importer.plan.choices import Choices, is_own_project, table_of
from holdall.importer.plan.difference import PRESENT, Difference, differences, final
from holdall.importer.plan.planner import Completeness, plan
from holdall.importer.plan.skill_steps import referred
from holdall.importer.plan.steps import (
    CreateDefinition,
    CreateSkill,
    CreateStore,
    CreateTemplate,
    Plan,
    UploadFile,
    WriteRequest,
    references_of,
)
from holdall.importer.proof.compare_text import TextMatch
from holdall.importer.proof.members import FileProof, MemberCheck, prove_skill
from holdall.importer.written.requestfolder import read_request
from holdall.kinds import DEFINITIONS, KINDS, read
from holdall.model import Fidelity, FileView, Kind, MembershipView, SourceId, TargetId
from holdall.remote.client import Account, absence, path, viewed
from holdall.verdict import Verdict


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
    form: Form

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
    summary: BundleSummary,
    reader: BundleReader,
    account: Account,
    mapping: IdMapping,
    *,
    prefix: str,
    search: bool = False,
    accept_known: bool = False,
) -> Proof:
    """Compare the copies that ``mapping`` names. ``prefix`` counts where the mapping has none.

    With ``search`` each store is asked for a sentence of each of its files, and has to find the file. Reads only.
    Raises what the account raises; an object that is gone is a difference.
    """
    prover = _Prover(summary, reader, account, mapping, prefix, search)
    return await prover.run(Completeness(summary, mapping.selection, accept_known=accept_known))


class _Prover:
    """One comparison: what it found so far, and which file of the copy is which."""

    def __init__(
        self,
        summary: BundleSummary,
        reader: BundleReader,
        account: Account,
        mapping: IdMapping,
        prefix: str,
        search: bool,
    ) -> None:
        self._summary, self._reader, self._account, self._mapping = summary, reader, account, mapping
        self._members = MemberCheck(account, reader, summary.files, search=search, added=mapping.added)
        self._prefix = mapping.prefix if mapping.prefix is not None else prefix
        self._table = table_of(mapping.form, account.endpoint.base_url, reader.info)
        self._is_own = is_own_project(account.endpoint, reader.info)
        self._connections = None if self._is_own else mapping.connections
        self._records = summary.by_id()
        earlier = users_of(view for views in summary.versions.values() for view in views.values()).stores
        latest = users_of(map(read, summary.records(Kind.FOUNDRY_AGENT))).stores
        self._earlier = earlier.keys() - latest.keys()
        self._named: dict[str, str | None] = {}
        self._compared: Counter[str] = Counter(
            {KINDS[k].count: 0 for k in DEFINITIONS if not KINDS[k].rare or summary.records(k)}
        )
        self._differences: list[Difference] = []
        self._skills = {record.id: record for record in summary.records(Kind.SKILL)}
        self._numbers: dict[SourceId, str] = {}
        self._there: set[tuple[SourceId | None, SourceId]] = set()
        self._listed: set[str | None] | None = None

    async def run(self, completeness: Completeness) -> Proof:
        choices = Choices(
            form=self._mapping.form,
            limits=self._table,
            models=self._mapping.models,
            connections=self._connections,
            supplied=self._mapping.supplied,
        )
        planned = plan(self._summary, self._mapping.selection, prefix=self._prefix, choices=choices)
        self._account.progress.stage(f"Comparing {self._account.endpoint.host} with {self._reader.path.name}")
        self._account.progress.expect(files=planned.totals().memberships, last=True)
        for unit in planned.units:
            for step in unit.steps:
                match step:
                    case CreateStore(id=id):
                        await self._store(id)
                    case CreateSkill():
                        await self._skill(step)
                    case CreateDefinition():
                        await self._definition(step)
                    case WriteRequest():
                        await self._request(step)
                    case UploadFile(content=content) if unit.kind is Kind.FILE:
                        await self._lone_file(content)
                    case _:
                        pass
        return self._proof(planned, completeness)

    def _proof(self, planned: Plan, completeness: Completeness) -> Proof:
        files = self._members.proofs
        compared = {
            **self._compared,
            "memberships": len(files),
            "texts": sum(one.text is not TextMatch.NOT_CHECKED for one in files),
        }
        if any(one.found is not None for one in files):
            compared["searches"] = sum(one.found is not None for one in files)
        selection = self._mapping.selection
        chosen = [("--only", one) for one in selection.only] + [("--exclude", one) for one in selection.exclude]
        return Proof(
            origin=self._mapping.origin,
            compared=compared,
            differences=[*self._differences, *self._members.differences],
            files=files,
            # A file that the bundle lacks may have been there before.
            losses=[loss for loss in planned.losses() if (loss.inside, loss.id) not in self._there],
            completeness=completeness,
            units={unit.id for unit in planned.units},
            form=planned.form,
            chosen=" ".join(f"{flag} {pasteable(one)}" for flag, one in chosen),
            failed=[*planned.impossible()],
        )

    async def _skill(self, step: CreateSkill) -> None:
        target = self._mapping.of(step.kind).get(step.id)
        raw = await self._get(_subject(step.kind, step.id, target, step.name))
        if raw is None or target is None:
            return
        self._compared[KINDS[step.kind].count] += 1
        versions = self._summary.skill_versions[step.id]
        found = await prove_skill(self._account, self._skills[step.id], versions, target, raw)
        self._differences += found.differences
        self._numbers |= found.numbers

    async def _definition(self, step: CreateDefinition) -> None:
        target = self._mapping.of(step.kind).get(step.id)
        subject = _subject(step.kind, step.id, target, step.name)
        raw = await self._get(subject)
        if raw is None:
            return
        if target is not None and (versions := self._summary.versions.get(step.id)):
            has = [one async for one in self._account.items(path(KINDS[Kind.AGENT_VERSION].endpoint, target))]
            self._account.progress.note(f"{target} has {len(has)} of {len(versions) + 1} versions")
        found = viewed(raw, dict[str, Any], f"{step.kind} {target}")
        there: Any = KINDS[step.kind].view.of_values({**found, "id": target})
        found = shown(step.kind, found)
        # What was never copied is as its own server has it, whatever a table allows. Foundry's names say less than ids.
        is_named = step.kind is Kind.FOUNDRY_AGENT and not self._is_own
        table = AS_IS if str(target) == str(step.id) and not is_named else self._table
        self._compare(subject, final(await self._wanted(step.kind, step, there.file_ids, table)), found)

    async def _request(self, step: WriteRequest) -> None:
        """A written request, against what would be written now."""
        kind, output = Kind.ASSISTANT, self._mapping.output
        target = self._mapping.of(kind).get(step.id)
        found = read_request(output, target) if output and target else None
        subject = _subject(kind, step.id, target, step.name)
        if found is None:
            gone = f"{target} is missing or not a request" if target else "not imported"
            self._differ(subject, PRESENT, gone, field="request")
            return
        self._compared[KINDS[kind].count] += 1
        wanted = (await self._wanted(kind, step, containers(found), self._table)).body
        for field in {**wanted, **found}:
            self._differ(subject, wanted.get(field), found.get(field), field=field)

    async def _wanted(
        self, kind: Kind, step: CreateDefinition | WriteRequest, there: list[str], table: Table
    ) -> Request:
        """The request that would be made now, by the ids there; ``there`` are the files of its code interpreter."""
        record, records = self._records[kind][step.id], self._records[kind]
        view, known = read(record), self._mapping.files or {}
        stores, planned = references_of(step)
        # Those of the plan, and those that lived there before, whatever the bundle has of them.
        lived = {file for file in view.file_ids if known.get(file) in there}
        self._there.update((step.id, file) for file in lived)
        wanted = [file for file in dict.fromkeys(view.file_ids) if file in planned or file in lived]
        files = await self._matched(wanted, there)
        for file, copy in files.items():
            await self._get(self._file(file, copy, inside=step.id))
        targets = Targets(
            stores=_placed(stores, self._mapping.stores),
            files=_placed(wanted, files),
            assistants=_placed((id for id in view.assistant_ids if id in records), self._mapping.of(kind)),
            names=_named(step.id, self._mapping.of(Kind.FOUNDRY_AGENT)),
            connections=self._connections,
            skills=_placed(step.skills if isinstance(step, CreateTemplate) else (), self._mapping.of(Kind.SKILL)),
            versions={
                pinned: self._numbers.get(id, f"(not imported) {pinned[1]}")
                for pinned, id in referred(view, self._summary.skill_versions).versions.items()
            },
        )
        return definition(record, prefix=self._prefix, targets=targets, model=step.model, table=table)

    async def _lone_file(self, content: Content) -> None:
        """A file that nothing refers to: by the mapping, else by a name that it may have been uploaded under."""
        if self._mapping.files is not None:
            # Nothing lists it: is there still one of that id?
            await self._get(self._file(content.id, self._mapping.files.get(content.id)))
            return
        if self._listed is None:
            listed = self._account.items("/files")
            self._listed = {viewed(raw, FileView, "a file").filename async for raw in listed}
        if not self._listed.intersection(content.copy_names()):
            self._differ(self._file(content.id, None), PRESENT, "not found")

    def _file(self, id: SourceId, copy: TargetId | None, *, inside: SourceId | None = None) -> Difference:
        subject = _subject(Kind.FILE, id, copy, self._summary.files[id].filename)
        return msgspec.structs.replace(subject, inside=inside)

    async def _has_files(self) -> bool:
        """Whether the destination knows files by their ids at all."""
        try:
            return await absence(self._account, "/files") is None
        except ServerFailed:  # it is there, and fails
            return True

    async def _store(self, id: SourceId) -> None:
        target = self._mapping.stores.get(id)
        # Where an agent was there before, it got no earlier versions, and nothing that only these use.
        if target is None and id in self._earlier:
            return
        expected = final(dialect.store(self._summary.stores[id], operation="", as_is=str(target) == str(id)))
        subject = _subject(Kind.STORE, id, target, expected.get("name"))
        raw = await self._get(subject)
        if raw is None or target is None:
            return
        self._compare(subject, expected, viewed(raw, dict[str, Any], f"{Kind.STORE} {target}"))
        listed = self._account.items(path("/vector_stores/{}/files", target))
        there = {viewed(raw, MembershipView, f"a file of store {target}").id: raw async for raw in listed}
        wanted = [file for file in dict.fromkeys(self._summary.members.get(id, ())) if self._has_copy(file)]
        copies = await self._matched(wanted, there, self._mapping.copies)
        self._there.update((id, file) for file, copy in copies.items() if copy in there)
        # A server may give one id to files with the same bytes.
        distinct = len(wanted) - len(copies) + len(set(copies.values()))
        self._differ(subject, distinct, len(there), field="files")
        memberships = (record for record in self._reader.memberships(id) if self._has_copy(record.id))
        await self._members.compare(id, target, memberships, copies, there)

    def _has_copy(self, file: SourceId) -> bool:
        """Whether a file should be there: its content is in the bundle, or it was there before, whole."""
        content = self._summary.files.get(file)
        if content is None:
            return False
        return content.fidelity is not Fidelity.UNAVAILABLE or file in (self._mapping.files or ())

    def _compare(self, subject: Difference, expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
        """Every field of one object."""
        self._compared[KINDS[subject.kind].count] += 1
        self._differences += differences(
            expected,
            found,
            kind=subject.kind,
            source=subject.source,
            target=subject.target,
            name=subject.name,
            added=self._mapping.added,
        )

    def _differ(self, subject: Difference, here: Any, there: Any, *, field: str | None = None) -> None:
        """One value of ``subject``, or of its ``field``."""
        if not equal(here, there):
            field = field or subject.field
            self._differences.append(msgspec.structs.replace(subject, field=field, bundle=here, destination=there))

    async def _get(self, subject: Difference) -> bytes | None:
        """The object in the copy, or None, with a difference, where there is none."""
        kind, target, gone = subject.kind, subject.target, "not imported"
        if target is not None:
            try:
                return (await self._account.get(path(KINDS[kind].endpoint + "/{}", target))).raw
            except (NotFound, RequestRefused) as error:
                # Where files aren't known by their ids at all, nothing can be said of one.
                if kind is Kind.FILE and not await self._has_files():
                    return None
                gone = f"{target} not found: {error.detail or error.message}"
        self._differ(subject, PRESENT, gone)
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
        if self._mapping.files is not None:
            known = self._mapping.files
            return {file: target for file in wanted if (target := copies.get(file) or known.get(file)) is not None}
        by_name: dict[str | None, list[TargetId]] = {}
        for id in there:
            by_name.setdefault(await self._filename(id), []).append(TargetId(id))
        matched = {}
        for file in wanted:
            for name in self._summary.files[file].copy_names():
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


def _placed(ids: Iterable[SourceId], copies: Mapping[SourceId, TargetId]) -> dict[SourceId, TargetId]:
    """What each stands for there. One without a copy gets an id that says so, which differs from whatever is there."""
    return {id: copies.get(id, TargetId(f"(not imported) {id}")) for id in ids}


def _named(id: SourceId, copies: Mapping[SourceId, TargetId]) -> dict[SourceId, str]:
    """The name of an agent of Foundry, which is its id."""
    return {id: copies[id]} if id in copies else {}


def _subject(kind: Kind, source: SourceId, target: TargetId | None, name: str | None) -> Difference:
    """What a difference is of; its field is the thing itself until another one is said."""
    return Difference(kind=kind, source=source, target=target, name=name, field=kind.value)
