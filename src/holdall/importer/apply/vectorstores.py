"""The vector stores of one run: made, filled, read back. Other steps need their ids, and to know which aren't whole."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from holdall.bundle.reader import BundleReader
from holdall.dialects import assistants as dialect
from holdall.dialects.loss import Loss, Why
from holdall.errors import PermissionDenied, RemoteError, RequestRefused, ServerFailed, UnexpectedAnswer
from holdall.importer.apply.attaching import Filling, Unsearchable
from holdall.importer.apply.changes import Changes, ServerKeys, keys_added
from holdall.importer.apply.context import Context, explained
from holdall.importer.apply.indexing import Indexing
from holdall.importer.apply.uploads import Uploads, file_loss, renamed
from holdall.importer.apply.writes import Writes
from holdall.importer.plan.bundle_summary import BundleSummary
from holdall.importer.plan.difference import Difference, final, fingerprint, same
from holdall.importer.plan.steps import AttachFiles, CreateStore, UpdateMembership, UpdateStore
from holdall.importer.runs.runfolder import AuditLine
from holdall.importer.runs.runlines import Create, Shown
from holdall.importer.runs.runreport import Orphan
from holdall.importer.runs.tally import RunTally
from holdall.model import Kind, SourceId, TargetId


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
            if refused := await self._server_keys.settle(record, target, step.name, final(request)):
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
