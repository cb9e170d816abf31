"""What the steps of a run share: their context, their waiting, which errors end the run, and the tally of results."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

import msgspec

from holdall.dialects.loss import Loss
from holdall.errors import AuthenticationFailed, Interrupted, PermissionDenied, QuotaExhausted, RemoteError, Unreachable
from holdall.importer.plan import steps
from holdall.importer.plan.steps import Unit
from holdall.importer.runs.runfolder import AuditLine, RunFolder
from holdall.importer.runs.runreport import Result, Status
from holdall.kinds import DEFINITIONS
from holdall.model import Kind, SourceId, TargetId
from holdall.progress import Progress
from holdall.remote.client import Account, probe
from holdall.remote.refusals import missing_scopes

SETTLE = 60.0
"""Seconds for which something may still be carried out, or stay out of the lists, after its answer was lost."""

FRESH = 30.0
"""Seconds for which an id that was just given may still be unknown to the server."""

PATIENCE = 8
"""Looks after which the user is told that something is being waited for: some ten seconds."""


_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0


class Pace:
    """Waiting by a ``clock`` in seconds and a ``sleep``, cut short by a request to stop.

    ``settle``: seconds for which something is looked for before it counts as missing.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        settle: float = SETTLE,
    ) -> None:
        self.clock, self.settle = clock, settle
        self._sleep = sleep
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Request a stop: what is in flight is finished, nothing new is begun. Call it from the event loop's thread."""
        self._stop.set()

    def require_no_stop(self) -> None:
        """Raises Interrupted if a stop was requested."""
        if self._stop.is_set():
            raise Interrupted(
                "interrupted: requests in flight were completed and recorded",
                hint="run the same command again to resume",
            )

    async def looks(self, window: float) -> AsyncIterator[int]:
        """Count looks from 0, with growing pauses between, until one began ``window`` seconds after the first.

        So there is a look after the window, however long looks and pauses take. Raises Interrupted, also out of a
        pause.
        """
        end, nth = self.clock() + window, 0
        while True:
            looked = self.clock()
            yield nth
            if looked >= end:
                return
            # The exponent has a limit, for 1.5 ** 1800 is no float any more.
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 1.5 ** min(nth, 20))
            await self._pause(max(0.0, min(pause, end - self.clock())))
            nth += 1

    async def _pause(self, seconds: float) -> None:
        self.require_no_stop()
        waits = asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self.require_no_stop()


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """One run at one destination. ``operation`` gives each attempt a name that is fresh, ``now`` is in Unix seconds."""

    account: Account
    folder: RunFolder
    pace: Pace
    progress: Progress
    operation: Callable[[], str]
    now: Callable[[], float]

    async def stopping(self, error: RemoteError) -> RemoteError | None:
        """The error that ends the whole run, if every later request would fail like this one; else None.

        So does a bad key, an empty account, and a key without a scope; a 403 alone may be about one model. A lost
        connection ends the run if a read fails too.
        """
        # So OpenAI says of a restricted key that it may not do this to anything.
        lacking = isinstance(error, PermissionDenied) and missing_scopes(error) is not None
        if lacking or isinstance(error, (AuthenticationFailed, QuotaExhausted)):
            return error
        if isinstance(error, Unreachable):
            try:
                await probe(self.account)
            except RemoteError as gone:
                return gone
        return None


def explained(error: RemoteError) -> str:
    """The error's reason without the request's method and path, for messages that name the object themselves."""
    reason = error.message.partition(": ")[2] if error.message.startswith("can't POST ") else error.message
    if error.ambiguous:
        return f"{reason}; retried without success"
    return reason


class RunTally:
    """``members`` are the ids of each store's files, for a loss of a file is one of every assistant that uses it."""

    def __init__(self, folder: RunFolder, units: Iterable[Unit], members: Mapping[SourceId, list[SourceId]]) -> None:
        self._folder = folder
        self._units = list(units)
        self._members = members
        # By the store or assistant in which it was lost; what is lost of a file everywhere, by the file itself.
        self._lost: dict[SourceId, list[Loss]] = {}
        self._stores: dict[SourceId, list[Loss]] = {}
        self._results: dict[SourceId, Result] = {}

    def lose(self, loss: Loss) -> None:
        """Remember a loss, and put it into the audit log."""
        self._lost.setdefault(loss.inside or loss.id, []).append(loss)
        detail = f"{loss.field}: {loss.text}" if loss.field else loss.text
        self._folder.audit(
            AuditLine(
                operation="loss", outcome=loss.why.value, kind=loss.kind, source=loss.id, name=loss.name, detail=detail
            )
        )

    def finish(self, unit: Unit, target: TargetId | None) -> None:
        """The unit's root has a copy. It is partial if a loss of it, its stores or files weighs."""
        losses = self._losses(unit)
        heavy = [loss for loss in losses if loss.why.weighs]
        error = None
        if heavy:
            error = str(heavy[0]) + (f" (and {len(heavy) - 1} more)" if len(heavy) > 1 else "")
        self._results[unit.id] = Result(
            source=unit.id,
            target=target,
            name=unit.name,
            status=Status.PARTIAL if heavy else Status.SUCCESS,
            error=error,
            losses=losses,
            how=_how(unit),
        )

    def fail(self, unit: Unit, error: str) -> None:
        """The unit's root was not created."""
        self._results[unit.id] = _without_copy(unit, Status.FAILED, error, self._losses(unit))

    def results(self, *, otherwise: str) -> dict[Kind, list[Result]]:
        """A result for every unit, by kind; those not reached give ``otherwise`` as their reason."""
        found: dict[Kind, list[Result]] = {kind: [] for kind in (*DEFINITIONS, Kind.FILE)}
        for unit in self._units:
            reached = self._results.get(unit.id)
            found[unit.kind].append(reached or _without_copy(unit, Status.NOT_ATTEMPTED, otherwise, []))
        return found

    def _losses(self, unit: Unit) -> list[Loss]:
        stores, files = _parts(unit)
        found = [loss for id in dict.fromkeys([unit.id, *stores, *files]) for loss in self._lost.get(id, ())]
        for store in stores:
            found += self._in_store(store)
        return list({id(loss): loss for loss in found}.values())

    def _in_store(self, store: SourceId) -> list[Loss]:
        """The losses of a store's files."""
        # Kept: it is final once the store's first user is done, and many may share a store of 100,000 files.
        if store not in self._stores:
            members = dict.fromkeys(self._members.get(store, ()))
            self._stores[store] = [loss for file in members for loss in self._lost.get(file, ())]
        return self._stores[store]


def _without_copy(unit: Unit, status: Status, error: str, losses: list[Loss]) -> Result:
    return Result(source=unit.id, name=unit.name, status=status, error=error, losses=losses)


def _how(unit: Unit) -> str:
    """What was done to the unit's root."""
    for step in reversed(unit.steps):
        match step:
            case steps.Adopt(kind=kind) if kind is unit.kind and kind is not Kind.FILE:
                return "adopted"
            case steps.Skip(kind=kind) if kind is unit.kind:
                return "left"
            case steps.UpdateFoundryAgent():
                return "new version"
            case steps.UpdateDefinition():
                return "updated"
            case steps.WriteRequest():
                return "written"
            case steps.UpdateStore() if unit.kind is Kind.STORE:
                return "updated"
            case _:
                pass
    return "created"


def _parts(unit: Unit) -> tuple[list[SourceId], list[SourceId]]:
    """The stores, and the files and skills, whose losses are losses of this unit too."""
    match unit.kind:
        case Kind.STORE:
            return [unit.id], []
        case Kind.FILE:
            return [], [step.content.id for step in unit.steps if isinstance(step, steps.UploadFile)]
    used = [steps.references_of(step) for step in unit.steps]
    skills = [skill for step in unit.steps if isinstance(step, steps.TEMPLATES) for skill in step.skills]
    files = [file for _, files in used for file in files]
    return [store for stores, _ in used for store in stores], [*files, *skills]
