"""One write that must happen once: how it is attempted, looked for, and attempted again.

The intent is durable before the call, the outcome before anything builds upon it, and both are in the journal by the
name of the attempt; the audit log has a line for each.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import msgspec

from holdall.errors import NotFound, RemoteError, RequestRefused, UnexpectedAnswer
from holdall.importer.apply.context import Context
from holdall.importer.apply.reconcile import Reconciler
from holdall.importer.plan.difference import fingerprints
from holdall.importer.runs.runlines import Create, Creation, Done, Failed, Intent, Update
from holdall.model import FileView, Kind, SourceId, TargetId
from holdall.remote.client import Answer
from holdall.remote.refusals import is_unknown

__all__ = ["FRESH", "TRIES", "Attempts"]

FRESH = 30.0
"""Seconds for which an id that was just given may still be unknown to the server."""


TRIES = 3
"""Attempts whose answers are lost before a thing is given up; each is looked for before the next is made."""


class _Created(msgspec.Struct, frozen=True, kw_only=True):
    id: str


class Attempts:
    """The attempts of one run."""

    def __init__(self, context: Context, reconciler: Reconciler) -> None:
        self._folder, self._pace, self._reconciler = context.folder, context.pace, reconciler
        self._given_up: set[tuple[str, Kind]] = set()

    def _tries(self, action: str, kind: Kind) -> int:
        """How many attempts may be lost. Few where no such write was ever answered: that endpoint may always fail."""
        if (action, kind) in self._folder.state.answered:
            return TRIES
        return 1 if (action, kind) in self._given_up else 2

    async def surely(
        self,
        kind: Kind,
        once: Callable[[], Awaitable[TargetId]],
        done: Callable[[], TargetId | None],
        unknown: Callable[[], list[Creation]],
    ) -> TargetId:
        """Make attempts until one is known to have been carried out; before each, what is unknown is looked for."""
        lost: RemoteError | None = None
        for tried in range(TRIES + 1):
            tries = self._tries("create", kind)
            if attempts := unknown():
                await self._reconciler.reconcile(attempts, once=lost is not None and tries < TRIES and tried >= tries)
            target = done()
            if target is not None:
                return target
            if lost and tried >= tries:
                self._given_up.add(("create", kind))
                raise lost
            try:
                return await once()
            except RemoteError as error:
                if not error.ambiguous:
                    raise
                lost = error
        raise AssertionError("unreachable")

    async def repeated(
        self,
        once: Callable[[], Awaitable[TargetId]],
        action: str,
        kind: Kind,
        source: SourceId,
        target: TargetId,
    ) -> None:
        """Make attempts until one is answered; it does no harm to carry this out twice."""
        state = self._folder.state
        start, nth = self._pace.clock(), 0
        while True:
            tried = self._pace.clock()
            try:
                await once()
                break
            except RemoteError as error:
                hopeless = self._tries(action, kind) == 1
                if not error.ambiguous or hopeless or not await self._pace.within(start, nth, looked=tried):
                    self._given_up.add((action, kind))
                    raise
            nth += 1
        for intent in list(state.open.values()):
            if (intent.action, intent.kind, intent.source, intent.target) == (action, kind, source, target):
                await self._folder.write(Done(op=intent.op, target=target))

    async def while_fresh(self, once: Callable[[], Awaitable[TargetId]], fresh: list[TargetId]) -> TargetId:
        """Repeat ``once`` while it is refused over one of the ids in ``fresh``, which were given moments ago.

        Not every server says which id it doesn't know: where it says only that something isn't there, it may be one
        of these.
        """
        start, nth = self._pace.clock(), 0
        while True:
            try:
                return await once()
            except (NotFound, RequestRefused) as error:
                if not is_unknown(error, fresh) or self._pace.clock() - start >= FRESH:
                    raise
            await self._pace.pause(nth)
            nth += 1

    async def attempt(
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
        done = _done(intent, target, answer)
        if intent.kind is Kind.FILE and isinstance(intent, Creation) and self._folder.baseline.had_file(target):
            done = msgspec.structs.replace(done, there=True)
        await self._folder.write(done)
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
    with suppress(msgspec.DecodeError):
        if isinstance(intent, Creation) and intent.kind is Kind.FILE:
            view = msgspec.json.decode(answer.raw, type=FileView)
            name = view.filename if view.filename != intent.name else None
            size = view.size if view.size != intent.size else None
        elif isinstance(intent, Create | Update):
            looks = fingerprints(intent.kind, msgspec.json.decode(answer.raw, type=dict[str, Any]))
    return Done(op=intent.op, target=target, request_id=answer.request_id, image=looks, name=name, size=size)
