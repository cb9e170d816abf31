"""Every write to the destination, each by its name: what is sent where, and what an undo has to know of it.

No create is repeated while its outcome isn't known: it is looked for first. Repeated are updates and deletes, which may
happen twice, and a call that was plainly refused because something created a moment ago isn't visible yet: a fresh id
may be unknown for some seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, BinaryIO

import msgspec

from holdall.dialects.marks import OPERATION
from holdall.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    QuotaExhausted,
    RemoteError,
    RequestRefused,
    ServerFailed,
    Unreachable,
)
from holdall.importer.apply.context import Context
from holdall.importer.apply.exactlyonce import Attempts
from holdall.importer.apply.reconcile import Reconciler
from holdall.importer.plan.difference import fingerprint, fingerprints
from holdall.importer.runs.baseline import PLACES
from holdall.importer.runs.runlines import MARKS, Attach, Copy, Create, Creation, Delete, Detach, Learned, Update
from holdall.model import Kind, SourceId, TargetId
from holdall.remote.client import Answer, path
from holdall.remote.probing import probe
from holdall.remote.refusals import missing_scopes

__all__ = ["Writes"]


class _Marked(msgspec.Struct, frozen=True, kw_only=True):
    metadata: dict[str, Any] | None = None


class Writes:
    """The writes of one run. ``operation`` gives a fresh name for each attempt.

    What the run has done already is not done again: its id is returned. A write whose answer is lost is looked for,
    and tried again only if it isn't found; a method raises an error with ``ambiguous`` set where that has failed
    ``TRIES`` times. All other errors are those of the account, and Interrupted where the run is to stop.
    """

    def __init__(self, context: Context, reconciler: Reconciler) -> None:
        self._account, self._folder = context.account, context.folder
        self._pace, self._progress = context.pace, context.progress
        self._operation = context.operation
        self._attempts = Attempts(context, reconciler)
        self._kept_marks = False

    async def upload(
        self,
        source: SourceId,
        filename: str,
        stream: BinaryIO,
        *,
        size: int,
        purpose: str,
        sha256: str | None = None,
        is_copy: bool = False,
    ) -> TargetId:
        """POST /files; ``is_copy``: a second time, as text. Two uploads of equal name and size must not be under way
        at once."""
        state = self._folder.state

        def done() -> TargetId | None:
            if not is_copy:
                return state.files.get(source)
            # A second upload counts under its own name only.
            return state.copies.get(source) if state.names.get(source) == filename else None

        async def once() -> TargetId:
            sent: dict[str, Any] = {"source": source, "name": filename, "size": size, "sha256": sha256}
            op = self._operation()
            intent = Copy(op=op, **sent) if is_copy else Create(op=op, kind=Kind.FILE, **sent)

            async def call() -> Answer:
                return await self._account.upload(filename, stream, purpose=purpose)

            return (await self._attempts.attempt(intent, "POST /files", call))[0]

        def unknown() -> list[Creation]:
            uploads = state.creations(Kind.FILE)
            return [one for one in uploads if one.source == source or (one.name, one.size) == (filename, size)]

        return await self._attempts.surely(Kind.FILE, once, done, unknown)

    async def create(
        self,
        kind: Kind,
        source: SourceId,
        body: Callable[[str], dict[str, Any]],
        fresh: list[TargetId],
        *,
        without: Collection[str] = (),
    ) -> TargetId:
        """POST a store or an assistant. ``body`` is given the attempt's name, for ``metadata.holdall_op``.

        ``without`` are the fields that were left out of the body, being at their defaults.
        """
        where = PLACES[kind]
        state = self._folder.state

        async def once() -> TargetId:
            op = self._operation()
            sent = body(op)
            intent = Create(op=op, kind=kind, source=source, name=sent.get("name"), without=list(without))
            target, answer = await self._attempts.attempt(
                intent, f"POST {where}", lambda: self._account.post(where, sent)
            )
            await self._probe_marks(kind, target, op, answer)
            return target

        return await self._attempts.surely(
            kind,
            lambda: self._attempts.while_fresh(once, fresh),
            lambda: state.target(kind, source),
            lambda: state.creations(kind, source),
        )

    async def update(
        self,
        kind: Kind,
        source: SourceId,
        target: TargetId,
        body: dict[str, Any],
        *,
        store: TargetId | None = None,
        before: dict[str, Any] | None = None,
    ) -> None:
        """Set fields of an assistant or a store, or the attributes of a membership of ``store``.

        ``before`` has what they were, where this run did not create it. To set the same again changes nothing, so an
        update whose answer is lost is simply sent once more.
        """
        if kind is Kind.MEMBERSHIP:
            where = path("/vector_stores/{}/files/{}", store or "", target)
        else:
            where = path(f"{PLACES[kind]}/{{}}", target)

        async def once() -> TargetId:
            intent = Update(
                op=self._operation(),
                kind=kind,
                source=source,
                target=target,
                store=store,
                before=before,
                after=dict.fromkeys(body, "") | fingerprints(kind, body),
            )
            return (await self._attempts.attempt(intent, f"POST {where}", lambda: self._account.post(where, body)))[0]

        await self._attempts.repeated(once, "update", kind, source, target)

    async def delete(self, source: SourceId, file: TargetId) -> None:
        """DELETE a file that this run uploaded and that nothing refers to any more."""
        where = path("/files/{}", file)

        async def once() -> TargetId:
            intent = Delete(op=self._operation(), source=source, target=file)
            return (await self._attempts.attempt(intent, f"DELETE {where}", lambda: self._account.delete(where)))[0]

        with suppress(NotFound):
            await self._attempts.repeated(once, "delete", Kind.FILE, source, file)
            await self._be_gone(where)

    async def detach(
        self, source: SourceId, store: TargetId, file: TargetId, *, before: dict[str, Any] | None = None
    ) -> None:
        """Take ``file`` out of ``store``; the file itself stays. ``before`` as in ``update``."""
        where = path("/vector_stores/{}/files/{}", store, file)

        async def once() -> TargetId:
            intent = Detach(op=self._operation(), source=source, target=file, store=store, before=before)
            return (await self._attempts.attempt(intent, f"DELETE {where}", lambda: self._account.delete(where)))[0]

        with suppress(NotFound):
            await self._attempts.repeated(once, "detach", Kind.MEMBERSHIP, source, file)
            await self._be_gone(where)

    async def _be_gone(self, where: str) -> None:
        """See that what the account says is deleted is gone, or goes within the settle window. Raises RequestRefused
        where it doesn't, NotFound where it is."""
        start, nth = self._pace.clock(), 0
        while True:
            looked = self._pace.clock()
            try:
                await self._account.get(where)
            except (RequestRefused, ServerFailed):  # how some servers say that it isn't there, or that none is shown
                return
            if not await self._pace.within(start, nth, looked=looked):
                raise RequestRefused(f"can't DELETE {where}: the account says that it did, and still has it")
            nth += 1

    async def attach(self, source: SourceId, store: TargetId, files: list[dict[str, Any]]) -> TargetId:
        """One file batch into ``store``. Returns the batch's id; indexing has only begun then.

        The one write that isn't looked for here: the store's list tells file by file what came of it.
        """
        where = path("/vector_stores/{}/file_batches", store)

        async def once() -> TargetId:
            intent = Attach(
                op=self._operation(),
                source=source,
                target=store,
                files={TargetId(file["file_id"]): fingerprint(file.get("attributes")) for file in files},
            )
            call = self._attempts.attempt(intent, f"POST {where}", lambda: self._account.post(where, {"files": files}))
            return (await call)[0]

        return await self._attempts.while_fresh(once, [store, *(file["file_id"] for file in files)])

    async def attach_one(self, source: SourceId, store: TargetId, body: dict[str, Any]) -> TargetId:
        """One file into ``store``. Sent again where the answer is lost: it does no harm to carry this out twice."""
        where = path("/vector_stores/{}/files", store)
        file = TargetId(body["file_id"])

        async def once() -> TargetId:
            files = {file: fingerprint(body.get("attributes"))}
            intent = Attach(op=self._operation(), source=source, target=store, files=files)
            return (await self._attempts.attempt(intent, f"POST {where}", lambda: self._account.post(where, body)))[0]

        return await self._attempts.while_fresh(once, [store, file])

    async def stopping(self, error: RemoteError) -> RemoteError | None:
        """The error that ends the whole run, where ``error`` would meet whatever comes next alike; else None.

        A bad key and an empty account do, and so does a key that lacks a permission for all of a kind; a 403 alone may
        be about one model. A lost connection does if the server can't be reached for a read either.
        """
        # So OpenAI says of a restricted key that it may not do this to anything.
        lacking = isinstance(error, PermissionDenied) and missing_scopes(error) is not None
        if lacking or isinstance(error, (AuthenticationFailed, QuotaExhausted)):
            return error
        if isinstance(error, Unreachable):
            try:
                await probe(self._account)
            except RemoteError as gone:
                return gone
        return None

    async def _probe_marks(self, kind: Kind, target: TargetId, op: str, answer: Answer) -> None:
        """See once, on the first object that is made, whether the account keeps metadata."""
        if self._kept_marks or MARKS in self._folder.state.learned:
            return
        with suppress(msgspec.DecodeError, RemoteError):
            found = msgspec.json.decode(answer.raw, type=_Marked).metadata or {}
            if found.get(OPERATION) != op:
                again = await self._account.get(path(f"{PLACES[kind]}/{{}}", target))
                found = msgspec.json.decode(again.raw, type=_Marked).metadata or {}
            self._kept_marks = found.get(OPERATION) == op
            if not self._kept_marks:
                await self._folder.write(Learned(what=MARKS, value=0))
                self._progress.note(
                    "the destination does not keep metadata: where an answer is lost, a store or an assistant may be "
                    "made a second time, as a file may; the report lists what may be left over"
                )
