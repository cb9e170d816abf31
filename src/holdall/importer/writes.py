"""Every write to the destination, one at a time: intent durable, call, outcome durable, a line in the audit log.

Nothing here repeats a call whose outcome isn't known. What is repeated is a call that was plainly refused because
something created a moment ago isn't visible yet: a fresh id may be unknown for some seconds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, BinaryIO

import msgspec

from holdall.errors import (
    AuthenticationFailed,
    NotFound,
    QuotaExhausted,
    RemoteError,
    RequestRefused,
    UnexpectedAnswer,
    Unreachable,
)
from holdall.importer.image import fingerprint, image
from holdall.importer.journal import Done, Failed, Intent
from holdall.importer.run import RunFolder
from holdall.model import FileView, Kind, SourceId, TargetId
from holdall.remote.client import Account, Answer, path

__all__ = ["FRESH", "Pace", "Writes"]

FRESH = 30.0
"""Seconds for which an id that was just given may still be unknown to the server."""


class Pace:
    """Waiting: a clock in seconds, a sleep, and pauses that grow by half from ``first`` to ``longest`` seconds."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        first: float = 0.2,
        longest: float = 5.0,
    ) -> None:
        self.clock = clock
        self._sleep = sleep
        self._first = first
        self._longest = longest

    async def pause(self, nth: int) -> None:
        """The ``nth`` pause in a row, from 0."""
        await self._sleep(min(self._longest, self._first * 1.5 ** min(nth, 20)))


class _Created(msgspec.Struct, frozen=True, kw_only=True):
    id: str


class Writes:
    """The writes of one run. ``operation`` gives a fresh name for each attempt.

    Every method raises what the account raises; an error with ``ambiguous`` set may have been carried out.
    """

    def __init__(self, account: Account, folder: RunFolder, *, operation: Callable[[], str], pace: Pace) -> None:
        self._account = account
        self._folder = folder
        self._operation = operation
        self._pace = pace

    async def upload(
        self, source: SourceId, filename: str, stream: BinaryIO, *, size: int, purpose: str
    ) -> tuple[TargetId, FileView]:
        """POST /files. Returns the new id and what the server says of the file."""
        intent = Intent(op=self._operation(), action="create", kind=Kind.FILE, source=source, name=filename, size=size)

        async def call() -> Answer:
            return await self._account.upload(filename, stream, purpose=purpose)

        target, answer = await self._attempt(intent, "POST /files", call)
        return target, _view(answer)

    async def create(
        self,
        kind: Kind,
        source: SourceId,
        name: str | None,
        body: Callable[[str], dict[str, Any]],
        fresh: list[TargetId],
    ) -> TargetId:
        """POST a store or an assistant. ``body`` is given the attempt's name, for ``metadata.holdall_op``."""
        where = "/assistants" if kind is Kind.ASSISTANT else "/vector_stores"

        async def once() -> TargetId:
            op = self._operation()
            intent = Intent(op=op, action="create", kind=kind, source=source, name=name)
            return (await self._attempt(intent, f"POST {where}", lambda: self._account.post(where, body(op))))[0]

        return await self._while_fresh(once, fresh)

    async def update(self, kind: Kind, source: SourceId, target: TargetId, body: dict[str, Any]) -> None:
        """Set fields of a store or an assistant that this run created."""
        where = path("/assistants/{}" if kind is Kind.ASSISTANT else "/vector_stores/{}", target)
        intent = Intent(op=self._operation(), action="update", kind=kind, source=source, target=target)
        await self._attempt(intent, f"POST {where}", lambda: self._account.post(where, body))

    async def attach(self, source: SourceId, store: TargetId, files: list[dict[str, Any]], *, first: int) -> TargetId:
        """One file batch into ``store``. Returns the batch's id; indexing has only begun then."""
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
        journal = self._folder.journal
        await journal.write(intent)
        try:
            answer = await call()
            target = TargetId(_identity(operation, answer))
        except RemoteError as error:
            await journal.write(
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
        looks = _image(intent, answer)
        await journal.write(Done(op=intent.op, target=target, request_id=answer.request_id, image=looks))
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


def _image(intent: Intent, answer: Answer) -> dict[str, str] | None:
    """How the object looks that was created or updated, where it is one that can be changed later."""
    if intent.kind is Kind.FILE or intent.action == "attach":
        return None
    return image(intent.kind, msgspec.json.decode(answer.raw, type=dict[str, Any]))


def _view(answer: Answer) -> FileView:
    try:
        return msgspec.json.decode(answer.raw, type=FileView)
    except msgspec.DecodeError:
        return FileView(id=_identity("POST /files", answer))
