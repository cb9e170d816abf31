"""Every write to the destination, one at a time: intent durable, call, outcome durable, a line in the audit log.

No create is repeated while its outcome isn't known: it is looked for first. Repeated are updates and deletes, which may
happen twice, and a call that was plainly refused because something created a moment ago isn't visible yet: a fresh id
may be unknown for some seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Any, BinaryIO

import msgspec

from holdall.dialects.marks import OPERATION
from holdall.errors import (
    AuthenticationFailed,
    NotFound,
    QuotaExhausted,
    RemoteError,
    RequestRefused,
    UnexpectedAnswer,
    Unreachable,
)
from holdall.importer.before import PLACES
from holdall.importer.image import fingerprint, image
from holdall.importer.journal import Done, Failed, Intent, Learned
from holdall.importer.pace import Pace
from holdall.importer.run import RunFolder
from holdall.importer.settle import MARKS, Settlement
from holdall.model import FileView, Kind, SourceId, TargetId
from holdall.progress import Progress
from holdall.remote.client import Account, Answer, path

__all__ = ["FRESH", "TRIES", "Pace", "Writes"]

FRESH = 30.0
"""Seconds for which an id that was just given may still be unknown to the server."""


TRIES = 3
"""Attempts whose answers are lost before a thing is given up; each is looked for before the next is made."""


class _Created(msgspec.Struct, frozen=True, kw_only=True):
    id: str


class _Marked(msgspec.Struct, frozen=True, kw_only=True):
    metadata: dict[str, Any] | None = None


class Writes:
    """The writes of one run. ``operation`` gives a fresh name for each attempt.

    What the run has done already is not done again: its id is returned. A write whose answer is lost is looked for,
    and tried again only if it isn't found; a method raises an error with ``ambiguous`` set where that has failed
    ``TRIES`` times. All other errors are those of the account, and Interrupted where the run is to stop.
    """

    def __init__(
        self,
        account: Account,
        folder: RunFolder,
        settlement: Settlement,
        *,
        operation: Callable[[], str],
        pace: Pace,
        progress: Progress,
    ) -> None:
        self._account = account
        self._folder = folder
        self._settlement = settlement
        self._operation = operation
        self._pace = pace
        self._progress = progress
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
        action: str = "create",
    ) -> TargetId:
        """POST /files. Two uploads of equal name and size must not be under way at once."""
        standing = self._folder.standing
        done = standing.files if action == "create" else standing.copies

        async def once() -> TargetId:
            intent = Intent(
                op=self._operation(),
                action=action,
                kind=Kind.FILE,
                source=source,
                name=filename,
                size=size,
                sha256=sha256,
            )

            async def call() -> Answer:
                return await self._account.upload(filename, stream, purpose=purpose)

            return (await self._attempt(intent, "POST /files", call))[0]

        def unknown() -> list[Intent]:
            uploads = standing.unknown("create", "copy", kind=Kind.FILE)
            return [one for one in uploads if one.source == source or (one.name, one.size) == (filename, size)]

        return await self._surely(once, lambda: done.get(source), unknown)

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
        standing = self._folder.standing

        async def once() -> TargetId:
            op = self._operation()
            sent = body(op)
            intent = Intent(
                op=op, action="create", kind=kind, source=source, name=sent.get("name"), without=list(without)
            )
            target, answer = await self._attempt(intent, f"POST {where}", lambda: self._account.post(where, sent))
            await self._probe_marks(kind, target, op, answer)
            return target

        return await self._surely(
            lambda: self._while_fresh(once, fresh),
            lambda: standing.target(kind, source),
            lambda: standing.unknown("create", kind=kind, source=source),
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
            intent = Intent(
                op=self._operation(),
                action="update",
                kind=kind,
                source=source,
                target=target,
                store=store,
                before=before,
                after={field: fingerprint(value) for field, value in body.items()},
            )
            return (await self._attempt(intent, f"POST {where}", lambda: self._account.post(where, body)))[0]

        await self._repeated(once, "update", kind, source, target)

    async def delete(self, source: SourceId, file: TargetId) -> None:
        """DELETE a file that this run uploaded and that nothing refers to any more."""
        where = path("/files/{}", file)

        async def once() -> TargetId:
            intent = Intent(op=self._operation(), action="delete", kind=Kind.FILE, source=source, target=file)
            return (await self._attempt(intent, f"DELETE {where}", lambda: self._account.delete(where)))[0]

        with suppress(NotFound):
            await self._repeated(once, "delete", Kind.FILE, source, file)

    async def detach(
        self, source: SourceId, store: TargetId, file: TargetId, *, before: dict[str, Any] | None = None
    ) -> None:
        """Take ``file`` out of ``store``; the file itself stays. ``before`` as in ``update``."""
        where = path("/vector_stores/{}/files/{}", store, file)

        async def once() -> TargetId:
            intent = Intent(
                op=self._operation(),
                action="detach",
                kind=Kind.MEMBERSHIP,
                source=source,
                target=file,
                store=store,
                before=before,
            )
            return (await self._attempt(intent, f"DELETE {where}", lambda: self._account.delete(where)))[0]

        with suppress(NotFound):
            await self._repeated(once, "detach", Kind.MEMBERSHIP, source, file)

    async def attach(self, source: SourceId, store: TargetId, files: list[dict[str, Any]], *, first: int) -> TargetId:
        """One file batch into ``store``. Returns the batch's id; indexing has only begun then.

        The one write that isn't looked for here: the store's list tells file by file what came of it.
        """
        where = path("/vector_stores/{}/file_batches", store)

        async def once() -> TargetId:
            intent = Intent(
                op=self._operation(),
                action="attach",
                kind=Kind.STORE,
                source=source,
                target=store,
                first=first,
                count=len(files),
                files={TargetId(file["file_id"]): fingerprint(file.get("attributes")) for file in files},
            )
            call = self._attempt(intent, f"POST {where}", lambda: self._account.post(where, {"files": files}))
            return (await call)[0]

        return await self._while_fresh(once, [store, *(file["file_id"] for file in files)])

    async def stopping(self, error: RemoteError) -> RemoteError | None:
        """The error that ends the whole run, where ``error`` would meet whatever comes next alike; else None.

        A bad key and an empty account do. A lost connection does if the server can't be reached for a read either.
        """
        if isinstance(error, (AuthenticationFailed, QuotaExhausted)):
            return error
        if isinstance(error, Unreachable):
            try:
                await self._account.probe()
            except RemoteError as gone:
                return gone
        return None

    async def _surely(
        self,
        once: Callable[[], Awaitable[TargetId]],
        done: Callable[[], TargetId | None],
        unknown: Callable[[], list[Intent]],
    ) -> TargetId:
        """Make attempts until one is known to have been carried out; before each, what is unknown is looked for."""
        lost: RemoteError | None = None
        for tried in range(TRIES + 1):
            if attempts := unknown():
                await self._settlement.settle(attempts)
            target = done()
            if target is not None:
                return target
            if lost and tried == TRIES:
                raise lost
            try:
                return await once()
            except RemoteError as error:
                if not error.ambiguous:
                    raise
                lost = error
        raise AssertionError("unreachable")

    async def _repeated(
        self,
        once: Callable[[], Awaitable[TargetId]],
        action: str,
        kind: Kind,
        source: SourceId,
        target: TargetId,
    ) -> None:
        """Make attempts until one is answered; it does no harm to carry this out twice."""
        standing = self._folder.standing
        start, nth = self._pace.clock(), 0
        while True:
            tried = self._pace.clock()
            try:
                await once()
                break
            except RemoteError as error:
                if not error.ambiguous or not await self._pace.within(start, nth, looked=tried):
                    raise
            nth += 1
        for intent in standing.unknown(action, kind=kind, source=source):
            if intent.target == target:
                await self._folder.write(Done(op=intent.op, target=target))

    async def _probe_marks(self, kind: Kind, target: TargetId, op: str, answer: Answer) -> None:
        """See once, on the first object that is made, whether the account keeps metadata."""
        if self._kept_marks or MARKS in self._folder.standing.learned:
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

    async def _while_fresh(self, once: Callable[[], Awaitable[TargetId]], fresh: list[TargetId]) -> TargetId:
        """Repeat ``once`` while it is refused over one of the ids in ``fresh``, which were given moments ago."""
        start, nth = self._pace.clock(), 0
        while True:
            try:
                return await once()
            except (NotFound, RequestRefused) as error:
                unknown = isinstance(error, NotFound) or "not found" in error.detail.lower()
                if not unknown or not any(target in error.detail for target in fresh):
                    raise
                if self._pace.clock() - start >= FRESH:
                    raise
            await self._pace.pause(nth)
            nth += 1

    async def _attempt(
        self, intent: Intent, operation: str, call: Callable[[], Awaitable[Answer]]
    ) -> tuple[TargetId, Answer]:
        self._pace.halt.check()
        await self._folder.write(intent)
        try:
            answer = await call()
            target = intent.target if operation.startswith("DELETE ") else None
            target = target or TargetId(_identity(operation, answer))
        except RemoteError as error:
            await self._folder.write(
                Failed(
                    op=intent.op,
                    error=error.detail or error.message,
                    status=error.status,
                    code=error.code,
                    ambiguous=error.ambiguous,
                    request_id=error.request_id,
                )
            )
            self._audit(intent, operation, "unknown" if error.ambiguous else "refused", error)
            raise
        await self._folder.write(_done(intent, target, answer))
        self._audit(intent, operation, "done", answer, target)
        return target, answer

    def _audit(
        self, intent: Intent, operation: str, outcome: str, came: Answer | RemoteError, target: TargetId | None = None
    ) -> None:
        self._folder.audit(
            operation,
            outcome,
            kind=intent.kind,
            source=intent.source,
            target=target or intent.target,
            name=intent.name,
            status=came.status,
            request_id=came.request_id,
            detail=came.detail or came.message if isinstance(came, RemoteError) else "",
        )


def _identity(operation: str, answer: Answer) -> str:
    try:
        return msgspec.json.decode(answer.raw, type=_Created).id
    except msgspec.DecodeError:
        raise UnexpectedAnswer(
            f"can't read the answer to {operation}: it names no id",
            status=answer.status,
            request_id=answer.request_id,
            ambiguous=True,
        ) from None


def _done(intent: Intent, target: TargetId, answer: Answer) -> Done:
    """The outcome, with how the object looks that can be changed later, or what of a file isn't as it was sent."""
    looks, name, size = None, None, None
    if intent.action in ("create", "copy") and intent.kind is Kind.FILE:
        with suppress(msgspec.DecodeError):
            view = msgspec.json.decode(answer.raw, type=FileView)
            name = view.filename if view.filename != intent.name else None
            size = view.bytes if view.bytes != intent.size else None
    elif intent.action in ("create", "update"):
        looks = image(intent.kind, msgspec.json.decode(answer.raw, type=dict[str, Any]))
    return Done(op=intent.op, target=target, request_id=answer.request_id, image=looks, name=name, size=size)
