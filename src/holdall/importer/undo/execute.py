"""Carries out an undo plan, in an order in which nothing that stays loses what it needs.

Every action may be repeated, so an interrupted undo is simply run again. The log in the run's folder is for the user,
and for one case that the account can't tell: whether this undo took a file out of its store.

A 2xx answer proves nothing: at the end the account is read again, and what is still as the run left it counts as not
undone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import StrEnum
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
)
from holdall.importer.runs.effects import Act, UndoAction, UndoLog
from holdall.importer.runs.runfolder import place
from holdall.importer.runs.runjournal import JOURNAL, Closed, RunJournal, timestamp
from holdall.importer.runs.runstate import RunState
from holdall.importer.undo.undoplan import UndoPlan
from holdall.importer.written.requestfolder import remove, replace
from holdall.model import TargetId
from holdall.remote.client import Account, path
from holdall.remote.wire import Answer

# Seconds between looks at what should be gone.
_LAGS = (1.0, 2.0, 4.0, 8.0)


class Ended(StrEnum):
    """What became of the run, in words that follow its name."""

    NOTHING = "did nothing: it was interrupted before its first step"
    BEFORE = "is already undone"
    DRY = "not undone: dry run"
    DECLINED = "not undone: declined"
    DONE = "undone"


class UndoResult(msgspec.Struct, frozen=True, kw_only=True):
    """``left`` is what is not undone, each with its reason, ``stopped`` the error that ended it early."""

    ended: Ended
    planned: UndoPlan
    done: list[UndoAction] = []
    left: list[UndoAction] = []
    stopped: RemoteError | None = None

    @property
    def pending(self) -> list[UndoAction]:
        """What would be done, where nothing was."""
        return self.planned.due() if self.ended in (Ended.DRY, Ended.DECLINED) else []


async def undo(
    planned: UndoPlan,
    state: RunState,
    folder: Path,
    account: Account,
    log: UndoLog,
    *,
    now: Callable[[], float],
    again: Callable[[], Awaitable[UndoPlan]],
    output: Path,
) -> UndoResult:
    """Do what is due. A run that was cut off is closed first, so that no import resumes it.

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
    work = _Undo(account, log, output)
    account.progress.stage(f"Undoing {folder.name} at {account.endpoint.host}", things="changes")
    due = planned.due()
    account.progress.expect(files=len(due), last=True)
    # What was done alike and one after the other is undone several at once.
    for _, group in groupby(due, key=lambda one: (one.act, one.kind)):
        await account.limits.each(list(group), work.one)
    if due and work.stopped is None:
        await work.check(again)
    left = [*planned.left(), *work.left]
    if work.stopped is None:
        log.ended(len(left), len(planned.orphans))
    return UndoResult(ended=Ended.DONE, planned=planned, done=work.done, left=left, stopped=work.stopped)


class _Undo:
    def __init__(self, account: Account, log: UndoLog, output: Path) -> None:
        self._account, self._log, self._output = account, log, output
        self._needed: dict[TargetId, str] = {}
        self.done: list[UndoAction] = []
        self.left: list[UndoAction] = []
        self.stopped: RemoteError | None = None

    async def one(self, one: UndoAction) -> None:
        """Do it, unless an error has stopped the work; what is in flight then is finished."""
        if self.stopped:
            return
        if why := self._needed.get(one.target):
            self._leave(one, why)
        elif one.local:
            self._put_back(one)
        else:
            await self._send(one)
        self._account.progress.advance(files=1)

    async def _send(self, one: UndoAction) -> None:
        try:
            answer = await self._call(one)
        except (AuthenticationFailed, QuotaExhausted, Unreachable) as error:
            self.stopped = self.stopped or error
        except RemoteError as error:
            # Done twice, because an undo was cut off or an answer lost: it is gone, as it should be.
            if isinstance(error, NotFound) and one.act in (Act.DELETE, Act.DETACH):
                self._finish(one, "gone", error.request_id)
            else:
                self._leave(one, error.detail or error.message, error.request_id)
        else:
            self._finish(one, "done", answer.request_id)

    async def check(self, again: Callable[[], Awaitable[UndoPlan]]) -> None:
        """Sort what was tried by what a new look says: undone, or still as the run left it."""
        tried = [*self.done, *self.left]
        still: dict[tuple[TargetId | None, TargetId], UndoAction] = {}
        # What was answered with success may stay in lists for some seconds.
        for wait in (*_LAGS, None):
            try:
                still = {(one.store, one.target): one for one in (await again()).actions if not one.needless}
            except RemoteError as error:
                self.stopped = error
                return
            if wait is None or not any((one.store, one.target) in still for one in self.done):
                break
            await self._account.limits.sleep(wait)
        self.done, self.left = [], []
        for one in tried:
            now = still.get((one.store, one.target))
            if now is None:
                self.done.append(one)
            elif one.left:
                self.left.append(one)
            else:
                fields = f": {', '.join(now.body)}" if now.body else ""
                self._leave(one, f"the server accepted it, but nothing changed{fields}")

    def _put_back(self, one: UndoAction) -> None:
        """The one kind of thing that is on this machine."""
        try:
            if one.act is Act.REMOVE:
                remove(self._output, one.target)
            else:
                replace(self._output, one.target, one.body["text"].encode())
        except CannotWrite as error:
            self._leave(one, error.message)
        else:
            self._finish(one, "done")

    def _finish(self, one: UndoAction, outcome: str, request_id: str | None = None) -> None:
        self._log.step(one, outcome, request_id=request_id)
        self.done.append(one)

    def _leave(self, one: UndoAction, why: str, request_id: str | None = None) -> None:
        """What couldn't be undone stays, and what it uses with it."""
        self._log.step(one, "left", request_id=request_id, detail=why)
        self.left.append(msgspec.structs.replace(one, left=why))
        name = f"{one.name} ({one.target})" if one.name else one.target
        for target in one.uses:
            self._needed.setdefault(target, f"still used by {one.kind.replace('_', ' ')} {name}")

    async def _call(self, one: UndoAction) -> Answer:
        inside = path("/vector_stores/{}/files/{}", one.store, one.target) if one.store else ""
        match one.act:
            case Act.DELETE:
                return await self._account.delete(place(one.kind, one.target))
            case Act.DETACH:
                return await self._account.delete(inside)
            case Act.RESTORE:
                where = inside or place(one.kind, one.target)
                return await self._account.post(where, one.body)
            case Act.REPLACE:
                self._log.step(one, "begun")
                with suppress(NotFound):
                    await self._account.delete(inside)
            case Act.ATTACH:
                pass
        where = path("/vector_stores/{}/files", one.store or "")
        return await self._account.post(where, {"file_id": one.target, **one.body})
