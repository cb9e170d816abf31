"""The files of one store at the destination against the bundle's: each one's attributes, chunking, status and text, and
whether the store's own search finds it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.dialects import assistants as dialect
from holdall.importer.plan.bundle_summary import Content
from holdall.importer.plan.difference import PRESENT, Difference, same
from holdall.importer.proof import searching
from holdall.importer.proof.compare_text import Readings, TextMatch
from holdall.importer.proof.searching import Searches
from holdall.joining import overlap_of
from holdall.model import Kind, Record, SourceId, TargetId, View
from holdall.progress import Progress
from holdall.remote.client import Account, viewed

__all__ = ["FileProof", "MemberCheck"]


class FileProof(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one file in one store. ``found``: by the store's search; None where that wasn't asked.

    ``why`` says why its text wasn't compared, ``unsearched`` why the search says nothing.
    """

    store: SourceId
    file: SourceId
    target: TargetId
    name: str | None
    status: str
    text: TextMatch = TextMatch.NOT_CHECKED
    found: bool | None = None
    why: str = ""
    unsearched: str = ""


class _Member(View, frozen=True, kw_only=True):
    """A membership as either side has it. Source: GET /vector_stores/{id}/files."""

    id: str = ""
    status: str | None = None
    attributes: dict[str, Any] | None = None
    chunking_strategy: dict[str, Any] | None = None
    last_error: dict[str, Any] | None = None


class MemberCheck:
    """Compares the stores of one destination. ``differences`` and ``proofs`` are what was found so far."""

    def __init__(
        self,
        account: Account,
        reader: BundleReader,
        contents: Mapping[SourceId, Content],
        *,
        search: bool,
        progress: Progress,
        added: Container[str] = (),
    ) -> None:
        self._added = added
        self._reader, self._contents, self._progress = reader, contents, progress
        self._readings = Readings(account, reader)
        self._searches = Searches(account) if search else None
        self._at_once = account.limits.concurrency
        self.differences: list[Difference] = []
        self.proofs: list[FileProof] = []

    async def compare(
        self,
        store: SourceId,
        target: TargetId,
        memberships: Iterable[Record],
        copies: Mapping[SourceId, TargetId],
        there: Mapping[str, bytes],
    ) -> None:
        """Compare those ``memberships`` of the bundle that should have a copy; ``there`` is what the store lists.

        Raises what stops every request, and DamagedBundle.
        """
        alike = self._alike(copies)
        by_name: dict[str, set[TargetId]] = {}
        for file, copy in copies.items() if self._searches else ():
            for name in self._contents[file].copy_names():
                by_name.setdefault(name, set()).add(copy)
        members = searching.StoreFiles(ids=there, by_name=by_name)
        queue = self._due(store, memberships, copies, there)

        async def work() -> None:
            for record, copy, raw in queue:
                now = viewed(raw, _Member, f"file {copy} of store {target}")
                await self._one(store, target, record, copy, now, alike, members)
                self._progress.advance(files=1)

        workers = [asyncio.create_task(work()) for _ in range(self._at_once)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()

    def _due(
        self,
        store: SourceId,
        memberships: Iterable[Record],
        copies: Mapping[SourceId, TargetId],
        there: Mapping[str, bytes],
    ) -> Iterator[tuple[Record, TargetId, bytes]]:
        """The memberships that are there; of those that aren't a difference is noted."""
        for record in memberships:
            copy = copies.get(record.id)
            raw = there.get(copy) if copy else None
            if copy is None or raw is None:
                self._differ(store, record.id, copy)("membership", PRESENT, "missing")
            else:
                yield record, copy, raw

    async def _one(
        self,
        store: SourceId,
        target: TargetId,
        record: Record,
        copy: TargetId,
        now: _Member,
        alike: Callable[[SourceId], set[TargetId]],
        members: searching.StoreFiles,
    ) -> None:
        content = self._contents[record.id]
        differ = self._differ(store, record.id, copy)
        expected = dialect.attachment(record, copy, as_is=str(copy) == str(record.id)).body
        differ("attributes", expected.get("attributes"), now.attributes)
        if "chunking_strategy" in expected:
            differ("chunking_strategy", expected["chunking_strategy"], now.chunking_strategy)
        was = _Member.of(record)
        status = now.status or "unknown"
        if not (was.status == "failed" and status == "failed"):
            reason = (now.last_error or {}).get("message")
            differ("status", "completed", f"{status}: {reason}" if reason else status)
        proof = FileProof(
            store=store, file=record.id, target=copy, name=content.filename, status=status, why=f"it is {status}"
        )
        if status == "completed":
            overlap = overlap_of(now.chunking_strategy)
            reading = await self._readings.compare(target, copy, content, overlap=overlap)
            if reading.verdict is TextMatch.DIFFERS:
                differ("text", reading.here, reading.there)
            proof = msgspec.structs.replace(proof, text=reading.verdict, why=reading.why)
            if self._searches and reading.text:
                search = await self._searches.find(target, alike(record.id) | {copy}, reading.text, members)
                if search.found is False:
                    differ("search", f"found by {search.asked!r}", "not found")
                proof = msgspec.structs.replace(proof, found=search.found, unsearched=search.why)
        self.proofs.append(proof)

    def _alike(self, copies: Mapping[SourceId, TargetId]) -> Callable[[SourceId], set[TargetId]]:
        """By file the copies of all files with the same bytes: a search can't tell these apart."""
        by_hash: dict[str, set[TargetId]] = {}
        hashes: dict[SourceId, str] = {}
        if self._searches:
            for file, copy in copies.items():
                if entry := self._reader.content(file):
                    hashes[file] = entry.sha256
                    by_hash.setdefault(entry.sha256, set()).add(copy)
        return lambda file: by_hash.get(hashes.get(file, ""), set())

    def _differ(self, store: SourceId, file: SourceId, copy: TargetId | None) -> Callable[[str, Any, Any], None]:
        def differ(field: str, here: Any, there: Any) -> None:
            if not same(Kind.MEMBERSHIP, field, here, there, added=self._added):
                self.differences.append(
                    Difference(
                        kind=Kind.MEMBERSHIP,
                        source=file,
                        target=copy,
                        name=self._contents[file].filename,
                        inside=store,
                        field=field,
                        bundle=here,
                        destination=there,
                    )
                )

        return differ
