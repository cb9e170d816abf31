"""Vector stores: made or updated, their files attached in batches, each with its own settings, and waited for.

Memberships are read from the bundle as they are needed and sent 2000 at a time; what stays in memory is ids. A batch
has no word on single files, and servers were seen that call a batch complete which lost some: so the store itself is
listed at the end, and what it says of each file counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import islice
from math import inf
from typing import Any

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.dialects import assistants as dialect
from holdall.dialects.assistants import attachment
from holdall.dialects.loss import Loss, Why
from holdall.errors import NotFound, PermissionDenied, RemoteError, RequestRefused, ServerFailed, UnexpectedAnswer
from holdall.importer.apply.attaching import BATCHES, Attaching, Filling, Renamed, Unsearchable
from holdall.importer.apply.context import FRESH, PATIENCE, Context, RunTally, explained
from holdall.importer.apply.uploads import Uploads, file_loss, renamed
from holdall.importer.apply.writes import Changes, ServerKeys, Writes, keys_added
from holdall.importer.plan.bundle_summary import BundleSummary
from holdall.importer.plan.difference import Difference, final, fingerprint, same
from holdall.importer.plan.steps import AttachFiles, CreateStore, UpdateMembership, UpdateStore
from holdall.importer.runs.runfolder import AuditLine
from holdall.importer.runs.runjournal import Create, Learned, Shown
from holdall.importer.runs.runreport import Orphan
from holdall.model import Kind, MembershipView, SourceId, TargetId
from holdall.remote.client import path

STALLED = 600.0
"""Seconds after which a store that finishes no further file is waited for no longer."""

# A file whose indexing failed for this may do under another name; for these it fails again.
_UNFIT = "unsupported_file"
_FINAL = frozenset({_UNFIT, "invalid_file"})


class _Batch(msgspec.Struct, frozen=True, kw_only=True):
    status: str | None = None
    file_counts: dict[str, Any] | None = None


class Indexing:
    """Attaches the files of each store and waits for its index."""

    def __init__(self, context: Context, writes: Writes, *, batch_files: int) -> None:
        self._account, self._folder = context.account, context.folder
        self._pace, self._progress = context.pace, context.progress
        self._attaching = Attaching(context, writes, batch_files=batch_files)

    async def attach(self, filling: Filling, renamed: Renamed) -> None:
        """Attach the files, and wait until each is indexed or given up; what came of it is in ``filling`` then.

        What the store has already from an earlier attempt is left as it is. A file whose type is refused is attached by
        what ``renamed`` makes of it, if anything. Raises what the account raises for a batch, apart from a refusal of
        single files, which is in the outcome.
        """
        await self._send_all(filling)
        if filling.refused:
            await self._attaching.send_renamed(filling, renamed, {})
        await self._look(filling)
        while unfit := {one.file for one in filling.troubles if one.code == _UNFIT and not one.failed_before}:
            bodies = {filling.file(body): body for body in await filling.bodies(unfit)}
            if not await self._attaching.send_renamed(filling, renamed, bodies):
                break
            await self._look(filling)
        await self._once_more(filling)
        if filling.differing or filling.merged:
            filling.unkept = await asyncio.to_thread(lambda: list(_unkept(filling)))

    async def _once_more(self, filling: Filling) -> None:
        """Send again files that a batch lost, and files whose indexing failed without a lasting reason."""
        if missing := {one.file for one in filling.troubles if one.missing}:
            await self._attaching.send_singly(filling, await filling.bodies(missing))
            if len(missing) == len(filling.sources):
                await self._folder.write(Learned(what=BATCHES, value=0))
            await self._look(filling)
        # Not where it failed at the source too, or the file itself is the reason.
        failed = [one for one in filling.troubles if one.status == "failed" and not one.failed_before]
        if repeated := {one.file for one in failed if one.code not in _FINAL}:
            await self._attaching.reattach(filling, await filling.bodies(repeated))
            await self._look(filling)

    async def _send_all(self, filling: Filling) -> None:
        """Send what isn't in the store from an earlier attempt."""
        there = await self._attaching.already_there(filling)
        records = filling.records(filling.files)
        # A store may have 100,000 files: no more of them are read at once than fit into a batch.
        while group := await asyncio.to_thread(lambda: list(islice(records, self._attaching.limit))):
            bodies = []
            for record in group:
                sent = attachment(record, filling.files[record.id])
                filling.recut += sent.recut
                if filling.take(record.id, sent.body) and sent.body["file_id"] not in there:
                    bodies.append(sent.body)
                if MembershipView.of(record).status == "failed":
                    filling.failed_before.add(record.id)
            await self._attaching.send(filling, bodies)

    async def _look(self, filling: Filling) -> None:
        """Wait for what was sent since the last look, and see what the store says of each file."""
        patient = True
        batches, filling.batches = filling.batches, []
        for batch in batches:
            patient = await self._wait(filling, batch) and patient
        refused = [
            Unsearchable(file=file, refused=True, reason=reason) for file, (reason, _) in filling.refused.items()
        ]
        filling.troubles = refused + await self._settled(filling, patient=patient)

    async def _wait(self, filling: Filling, batch: TargetId) -> bool:
        """Wait until the batch is done. Returns False after STALLED seconds without progress."""
        where = path("/vector_stores/{}/file_batches/{}", filling.store, batch)
        start = moved = self._pace.clock()
        before = None
        async for nth in self._pace.looks(inf):
            self._tell(nth)
            try:
                answer = msgspec.json.decode((await self._account.get(where)).raw, type=_Batch)
                if answer.status != "in_progress":
                    filling.ignored |= (answer.file_counts or {}).get("total") == 0
                    return True
                if answer.file_counts != before:
                    before, moved = answer.file_counts, self._pace.clock()
            except (NotFound, RequestRefused, ServerFailed):  # a fresh batch; or one that is forgotten once it is done
                if self._pace.clock() - start >= FRESH:
                    return True
            except msgspec.DecodeError:  # the store's own list will tell
                return True
            if self._pace.clock() - moved >= STALLED:
                break
        return False

    def _tell(self, nth: int) -> None:
        if nth == PATIENCE:
            self._progress.note("waiting for the destination to index files", kind="indexing")

    async def _settled(self, filling: Filling, *, patient: bool) -> list[Unsearchable]:
        """The files that aren't searchable once the store makes no more progress; at once if not ``patient``."""
        expected = {target: file for target, file in filling.sources.items() if file not in filling.refused}
        start = moved = self._pace.clock()
        before = -1
        troubles: list[Unsearchable] = []
        async for nth in self._pace.looks(inf):
            self._tell(nth)
            troubles, waiting = await self._listed(filling, expected)
            now = self._pace.clock()
            if waiting != before:
                before, moved = waiting, now
            # What a batch took may show in the list a little later; not so where the batch says that it took none.
            missing = any(trouble.missing for trouble in troubles) and not filling.ignored
            is_late = missing and now - start < max(FRESH, self._pace.settle)
            if not (waiting or is_late) or not patient or now - moved >= STALLED:
                break
        return troubles

    async def _listed(self, filling: Filling, expected: Mapping[TargetId, SourceId]) -> tuple[list[Unsearchable], int]:
        """One listing: files that are not completed, those that are missing, and how many are still in progress."""
        troubles: list[Unsearchable] = []
        seen: set[str] = set()
        waiting = 0
        if not expected:
            return troubles, waiting
        async for view in self._attaching.members(filling.store):
            file = expected.get(TargetId(view.id))
            if file is None:
                continue
            seen.add(view.id)
            filling.compare(view)
            if view.status == "completed":
                continue
            waiting += view.status == "in_progress"
            troubles.append(
                Unsearchable(
                    file=file,
                    refused=False,
                    reason=_reason(view),
                    failed_before=file in filling.failed_before,
                    status=view.status or "",
                    code=str((view.last_error or {}).get("code")),
                )
            )
        for target, file in expected.items():
            if target not in seen:
                reason = "the server accepted it in a batch, but it is not in the store"
                troubles.append(Unsearchable(file=file, refused=True, missing=True, reason=reason))
        return troubles, waiting


def _unkept(filling: Filling) -> Iterator[Difference]:
    """The differences between the files' memberships in the store and in the bundle.

    Of two source files that share a copy, one differs. Also collects the attributes ``added`` by the server.
    """
    added = filling.added
    copies = {file: target for target, file in filling.sources.items() if target in filling.differing}
    copies |= {file: filling.files[file] for file in filling.merged if filling.files[file] in filling.differing}
    for record in filling.records(copies):
        target = copies[record.id]
        wanted = attachment(record, target).body
        attributes, chunking = filling.differing[target]
        if target not in filling.shared:
            added |= dict.fromkeys(keys_added(wanted.get("attributes"), attributes))
        for field, there in (("attributes", attributes), ("chunking_strategy", chunking)):
            here = wanted.get(field)
            if here is None and field == "chunking_strategy":  # nobody gave one, so it is the server's choice
                continue
            if not same(Kind.MEMBERSHIP, field, here, there, added=added):
                yield Difference(
                    kind=Kind.MEMBERSHIP,
                    source=record.id,
                    target=target,
                    inside=filling.source,
                    field=field,
                    bundle=here,
                    destination=there,
                )


def _reason(view: MembershipView) -> str:
    if view.status == "in_progress":
        return "indexing timed out"
    error = view.last_error or {}
    said = error.get("message") or error.get("code")
    return f"{view.status or 'not indexed'}: {said}" if said else str(view.status or "not indexed")


class Stores:
    """``failed`` says of the stores that couldn't be made or filled why not, ``spare`` has first uploads that could not
    be taken away. ``in_code`` are the files that assistants give to the code interpreter."""

    def __init__(
        self,
        context: Context,
        bundle: BundleSummary,
        reader: BundleReader,
        tally: RunTally,
        *,
        writes: Writes,
        uploads: Uploads,
        indexing: Indexing,
        changes: Changes,
        server_keys: ServerKeys,
        in_code: Container[SourceId],
    ) -> None:
        self._folder, self._state = context.folder, context.folder.state
        self._bundle, self._reader, self._tally = bundle, reader, tally
        self._writes, self._uploads, self._indexing = writes, uploads, indexing
        self._changes, self._server_keys, self._in_code = changes, server_keys, in_code
        self.failed: dict[SourceId, str] = {}
        self.spare: list[Orphan] = []

    async def create(self, step: CreateStore) -> TargetId:
        record = self._bundle.stores[step.id]
        sent = self._server_keys.sent(record)
        request = dialect.store(sent, operation="")
        with self._failing(step.id, step.name):
            intent = Create(op="", kind=Kind.STORE, source=step.id, name=request.create.get("name"))
            target = await self._writes.create(intent, lambda op: dialect.store(sent, operation=op).create, [])
            if refused := await self._server_keys.settle(record, target, step.name, lambda: request):
                why = Why.REFUSED
                self._tally.lose(
                    Loss(why=why, kind=Kind.STORE, id=step.id, name=step.name, field="metadata", text=refused)
                )
            else:
                request = dialect.store(self._server_keys.sent(record), operation="")
            await self._changes.complete(Kind.STORE, step.id, target, request)
            await self._look(step, target, final(request))
        return target

    async def update(self, step: UpdateStore) -> TargetId:
        self._state.adopt(Kind.STORE, step.id, step.target)
        wanted = final(dialect.store(self._bundle.stores[step.id], operation=""))
        with self._failing(step.id, step.name):
            if step.fields:
                await self._changes.fields(Kind.STORE, step.id, step.target, wanted, step.fields)
                await self._look(step, step.target, wanted)
        return step.target

    async def attach(self, step: AttachFiles) -> None:
        store = self._state.targets[Kind.STORE][step.store]
        files: Mapping[SourceId, TargetId] = self._state.files
        if step.files is not None:
            files = {file: files[file] for file in step.files if file in files}
        memberships = partial(self._reader.memberships, step.store)
        filling = Filling(step.store, store, memberships, files, self._state.names)
        with self._failing(step.store):
            await self._indexing.attach(filling, self._renamed)
        self._folder.audit(
            AuditLine(
                operation="index",
                outcome="incomplete" if filling.troubles else "done",
                kind=Kind.STORE,
                source=step.store,
                target=store,
                detail=f"{step.count - len(filling.troubles)} of {step.count} files are searchable",
            )
        )
        await self._tell(filling)

    async def relabel(self, step: UpdateMembership) -> None:
        """Set the attributes of one file and verify them."""
        store = self._state.targets[Kind.STORE][step.store]
        there = await self._changes.membership(step, store)
        added = keys_added(step.attributes, there)
        if same(Kind.MEMBERSHIP, "attributes", step.attributes, there, added=added):
            return
        files = {step.target: fingerprint(there)}
        await self._folder.write(Shown(kind=Kind.STORE, source=step.store, target=store, files=files))
        difference = Difference(
            kind=Kind.MEMBERSHIP,
            source=step.file,
            inside=step.store,
            field="attributes",
            bundle=step.attributes,
            destination=there,
        )
        self._lose_unkept(difference)

    @contextmanager
    def _failing(self, store: SourceId, name: str | None = None) -> Iterator[None]:
        """Records an error in here as the store's, so that what needs the store is not created."""
        try:
            yield
        except RemoteError as error:
            self.failed[store] = f"vector store {name or store}: {explained(error)}"
            raise

    async def _look(self, step: CreateStore | UpdateStore, target: TargetId, sent: Mapping[str, object]) -> None:
        for loss in await self._changes.losses(Kind.STORE, step.id, target, step.name, sent):
            self._tally.lose(loss)

    async def _tell(self, done: Filling) -> None:
        store = done.source
        for trouble in done.troubles:
            self._lose_unsearchable(store, trouble)
        if done.recut:
            text = f"chunking of {done.recut} files is unknown; using the destination's default"
            self._tally.lose(Loss(why=Why.CHUNKING_UNKNOWN, kind=Kind.STORE, id=store, text=text))
        if done.unkept or done.added:
            left = {one.target: fingerprint(one.destination) for one in done.unkept if one.field == "attributes"}
            files = {one.target: left.get(one.target, "") for one in done.unkept if one.target is not None}
            shown = Shown(kind=Kind.STORE, source=store, target=done.store, files=files, added=[*done.added])
            await self._folder.write(shown)
        for difference in done.unkept:
            self._lose_unkept(difference)
        for file in done.renamed:
            if file not in done.refused:
                await self._say_renamed(store, file)
        for trouble in done.troubles:
            if trouble.refused and not trouble.missing:
                await self._uploads.drop_copy(trouble.file)

    async def _renamed(self, file: SourceId, refused: TargetId) -> TargetId | None:
        return await self._uploads.under_another_name(self._bundle.files[file], refused)

    async def _say_renamed(self, store: SourceId, file: SourceId) -> None:
        """Report that a store has a file's second upload, and delete the first if nothing else uses it."""
        content = self._bundle.files[file]
        text = renamed(content, self._state.names[file], " for search")
        self._tally.lose(file_loss(content, Why.RENAMED, text, field="filename", inside=store))
        await self._uploads.keep_copy(file)
        ours = (Kind.FILE, file) not in self._state.adopted
        # A server may give the same id for the same bytes.
        alone = list(self._state.files.values()).count(self._state.files[file]) == 1
        if file in self._state.copies and ours and alone and file not in self._in_code:
            target = self._state.files[file]
            try:
                await self._writes.delete(file, target)
            except (PermissionDenied, RequestRefused, ServerFailed, UnexpectedAnswer):
                self.spare.append(Orphan(kind=Kind.FILE, id=target, source=file, name=content.filename))

    def _lose_unsearchable(self, store: SourceId, trouble: Unsearchable) -> None:
        if trouble.refused:
            why, text = Why.REFUSED, f"not attached: {trouble.reason}"
        else:
            why = Why.FAILED_AS_BEFORE if trouble.failed_before else Why.NOT_INDEXED
            text = f"attached but not searchable: {trouble.reason}"
        self._tally.lose(file_loss(self._bundle.files[trouble.file], why, text, inside=store))

    def _lose_unkept(self, one: Difference) -> None:
        text = f"changed by the destination: {one.values()}"
        content = self._bundle.files[one.source]
        self._tally.lose(file_loss(content, Why.NOT_KEPT, text, field=one.field, inside=one.inside))
