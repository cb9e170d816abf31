"""Carry an undo plan out: one action after the other, in an order in which nothing that stays loses what it needs.

Every action may be done twice, so an undo that was cut off, at whatever point, is simply done again: what is gone is
gone, and what is as it was needs nothing. The log in the run's folder is for the user, and for the one case in which
what stands at the account can't tell whether it was this undo that took a file out of its store.

What the account answers is no proof. At the end it is looked at once more, and what is still to be done was not done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import groupby
from pathlib import Path

import msgspec

from holdall.errors import (
    AuthenticationFailed,
    CannotWrite,
    NotFound,
    QuotaExhausted,
    RemoteError,
    Unreachable,
    one_error,
)
from holdall.importer.runs.baseline import PLACES
from holdall.importer.runs.runfolder import JOURNAL
from holdall.importer.runs.runlines import Closed, RunJournal, timestamp
from holdall.importer.runs.runstate import RunState
from holdall.importer.runs.undolog import Act, UndoAction, UndoLog
from holdall.importer.undo.undoplan import UndoPlan
from holdall.importer.written.requestfolder import remove, replace
from holdall.model import TargetId
from holdall.progress import Progress
from holdall.remote.client import Account, Answer, path

__all__ = ["Undone", "undo"]

# Seconds between looks at what should be gone.
_LAGS = (1.0, 2.0, 4.0, 8.0)


class Undone(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it. ``left`` are those that are not undone, each with its reason; ``stopped`` ended it early."""

    done: list[UndoAction]
    left: list[UndoAction]
    stopped: RemoteError | None = None


async def undo(
    planned: UndoPlan,
    state: RunState,
    folder: Path,
    account: Account,
    log: UndoLog,
    *,
    now: Callable[[], float],
    progress: Progress,
    again: Callable[[], Awaitable[UndoPlan]],
    output: Path | None = None,
) -> Undone:
    """Do what is due. A run that was cut off is closed first, so that no import goes on with it.

    ``again`` looks at the account once more and decides anew; ``output`` is OUTPUT_DIR, where written requests are.
    Remote errors don't leave here: what one thing met is its reason for being left, and an error that would meet all
    alike is in ``stopped``. Raises CannotWrite.
    """
    if not state.closed:
        journal = RunJournal(folder / JOURNAL, end=state.end)
        try:
            await journal.write(Closed(ended=timestamp(now())))
        finally:
            journal.close()
    work = _Undo(account, log, progress, output)
    progress.stage("undoing")
    due = planned.due()
    progress.expect(files=len(due))
    # What was done alike and one after the other is undone several at once.
    for _, group in groupby(due, key=lambda one: (one.act, one.kind)):
        await work.group(list(group))
    if due and work.stopped is None:
        await work.check(again)
    left = [*planned.left(), *work.left]
    if work.stopped is None:
        log.ended(len(left), len(planned.orphans))
    return Undone(done=work.done, left=left, stopped=work.stopped)


class _Undo:
    def __init__(self, account: Account, log: UndoLog, progress: Progress, output: Path | None) -> None:
        self._account, self._log, self._progress, self._output = account, log, progress, output
        self._needed: dict[TargetId, str] = {}
        self.done: list[UndoAction] = []
        self.left: list[UndoAction] = []
        self.stopped: RemoteError | None = None

    async def group(self, actions: list[UndoAction]) -> None:
        """Do all of them, in any order; what is in flight when one stops the work is finished."""
        queue = iter(actions)

        async def work() -> None:
            for one in queue:
                if self.stopped:
                    return
                await self._one(one)
                self._progress.advance(files=1)

        with one_error():
            async with asyncio.TaskGroup() as tasks:
                for _ in range(min(self._account.limits.concurrency, len(actions))):
                    tasks.create_task(work())

    async def _one(self, one: UndoAction) -> None:
        if why := self._needed.get(one.target):
            self._leave(one, why)
            return
        if one.local:
            self._put_back(one)
            return
        try:
            answer = await self._call(one)
        except NotFound as error:
            if one.act in (Act.DELETE, Act.DETACH):
                self._log.step(one, "gone", request_id=error.request_id)
                self.done.append(one)
            else:
                self._leave(one, error.detail or error.message, error)
        except (AuthenticationFailed, QuotaExhausted, Unreachable) as error:
            self.stopped = self.stopped or error
        except RemoteError as error:
            self._leave(one, error.detail or error.message, error)
        else:
            self._log.step(one, "done", request_id=answer.request_id)
            self.done.append(one)

    async def check(self, again: Callable[[], Awaitable[UndoPlan]]) -> None:
        """Sort what was tried by what a new look says: undone, or still as the run left it.

        What was answered with success may stay in lists for some seconds.
        """
        tried = [*self.done, *self.left]
        for wait in (*_LAGS, None):
            try:
                decided = {_key(one): one for one in (await again()).actions}
            except RemoteError as error:
                self.stopped = error
                return
            still = {key for key, one in decided.items() if not one.needless}
            if wait is None or not any(_key(one) in still for one in self.done):
                break
            await self._account.limits.sleep(wait)
        reasons = {_key(one): one.left for one in self.left}
        self.done = [one for one in tried if _key(one) not in still]
        self.left = []
        for one in tried:
            if (key := _key(one)) in still:
                fields = ", ".join(decided[key].body)
                why = reasons.get(key) or f"the account took it, and still has it{f': {fields}' if fields else ''}"
                if key not in reasons:
                    self._log.step(one, "left", detail=why)
                self.left.append(msgspec.structs.replace(one, left=why))

    def _put_back(self, one: UndoAction) -> None:
        """The one kind of thing that is on this machine."""
        if self._output is None:
            self._leave(one, "where the run wrote it is not known")
            return
        try:
            if one.act is Act.REMOVE:
                remove(self._output, one.target)
            else:
                replace(self._output, one.target, one.body["text"].encode())
        except CannotWrite as error:
            self._leave(one, error.message)
            return
        self._log.step(one, "done")
        self.done.append(one)

    def _leave(self, one: UndoAction, why: str, error: RemoteError | None = None) -> None:
        """What couldn't be undone stays, and what it uses with it."""
        self._log.step(one, "left", request_id=error.request_id if error else None, detail=why)
        self.left.append(msgspec.structs.replace(one, left=why))
        name = f"{one.name} ({one.target})" if one.name else one.target
        for target in one.uses:
            self._needed.setdefault(target, f"{one.kind.replace('_', ' ')} {name}, which uses it, is still there")

    async def _call(self, one: UndoAction) -> Answer:
        inside = path("/vector_stores/{}/files/{}", one.store, one.target) if one.store else ""
        match one.act:
            case Act.DELETE:
                return await self._account.delete(path(PLACES[one.kind] + "/{}", one.target))
            case Act.DETACH:
                return await self._account.delete(inside)
            case Act.RESTORE:
                where = inside or path(PLACES[one.kind] + "/{}", one.target)
                return await self._account.post(where, one.body)
            case Act.REPLACE:
                self._log.step(one, "begun")
                with suppress(NotFound):
                    await self._account.delete(inside)
            case Act.ATTACH:
                pass
        where = path("/vector_stores/{}/files", one.store or "")
        return await self._account.post(where, {"file_id": one.target, **one.body})


def _key(one: UndoAction) -> tuple[TargetId | None, TargetId]:
    return one.store, one.target
