"""The verb undo: what one run did to a project, taken back by its journal alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path

import msgspec

from holdall.endpoint import same_account
from holdall.errors import NotFound, RemoteError, UsageFault
from holdall.importer.destination.placement import withdraw
from holdall.importer.journal.before import Before
from holdall.importer.journal.deeds import Deeds, read_deeds
from holdall.importer.journal.reversals import Reversal
from holdall.importer.journal.run import BEFORE, locked
from holdall.importer.journal.runs import JOURNAL, runs, runs_at
from holdall.importer.journal.undolog import UndoLog
from holdall.importer.undo.aftermath import look
from holdall.importer.undo.rollback import Rollback, rollback
from holdall.importer.undo.undo import undo
from holdall.progress import Progress, Silent
from holdall.remote.client import Account
from holdall.remote.probing import probe

__all__ = ["LATEST", "Ended", "Reversal", "Rollback", "UndoOptions", "UndoResult", "find_run", "undo_import"]

LATEST = "latest"


class UndoOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``run`` is the folder of one; ``latest`` says to take the newest that went to this destination instead. Without
    one in a folder ``runs``, written requests are below ``output``. ``settle``: seconds after the end of a run for
    which what was in flight may still come."""

    run: Path
    latest: bool
    output: Path
    settle: float
    dry_run: bool = False
    even_if_changed: bool = False


class Ended(StrEnum):
    """How an undo came to its end."""

    NOTHING = "the run did nothing"
    BEFORE = "it was undone already"
    DRY = "it was a dry run"
    DECLINED = "the answer was no"
    DONE = "everything was tried"


class UndoResult(msgspec.Struct, frozen=True, kw_only=True):
    """``left`` is what is not undone, each with its reason, ``stopped`` the error that ended it early."""

    ended: Ended
    planned: Rollback
    done: list[Reversal] = []
    left: list[Reversal] = []
    stopped: RemoteError | None = None

    @property
    def pending(self) -> list[Reversal]:
        """What would be done, where nothing was."""
        return self.planned.due() if self.ended in (Ended.DRY, Ended.DECLINED) else []


def find_run(output: Path, run: str) -> Path:
    """The folder of the run; of ``latest`` the newest, wherever it went. Raises UsageFault where there is none."""
    if run == LATEST:
        if found := runs(output):
            return found[-1]
        raise UsageFault(
            f"can't undo the latest run: there is none in {output / 'runs'}", hint="--output-dir (OUTPUT_DIR)"
        )
    for folder in (output / "runs" / run, Path(run)):
        if (folder / JOURNAL).is_file():
            return folder
    raise UsageFault(
        f"can't undo {run}: there is no such run in {output / 'runs'}, and no {JOURNAL} in a folder of that name",
        hint="RUN is the id that import printed, its folder, or `latest`",
    )


async def undo_import(
    account: Account, options: UndoOptions, confirm: Callable[[Rollback], bool], *, now: Callable[[], float]
) -> UndoResult:
    """Look at what the run left, ask ``confirm``, take it back, and look again. ``now`` gives Unix seconds.

    OUTPUT_DIR is locked meanwhile. Remote errors on the way are in the result. Raises OutputLocked, UsageFault and
    NotFound for another project than the run went to, CannotWrite, and what the account raises before it begins.
    """
    folder, is_ours = options.run, options.run.parent.name == "runs"
    output = folder.parent.parent if is_ours else options.output
    with locked(output) if is_ours else nullcontext():
        await probe(account)
        if options.latest:  # of this destination; the others of the same folder are somebody else's
            folder = next(reversed(runs_at(output, account.party)), folder)
        return await _undo(account, folder, output, options, confirm, now)


async def _undo(
    account: Account,
    folder: Path,
    output: Path,
    options: UndoOptions,
    confirm: Callable[[Rollback], bool],
    now: Callable[[], float],
) -> UndoResult:
    deeds, log, progress = read_deeds(folder / JOURNAL), UndoLog(folder, now=now), account.progress
    nothing = Rollback(run=folder.name, reversals=[], orphans=[])
    if deeds is None:
        return UndoResult(ended=Ended.NOTHING, planned=nothing)
    progress.note(f"undoing the import run {folder.name} of {deeds.opened.started}, from {account.endpoint.title}")
    if log.whole and not log.orphans:
        return UndoResult(ended=Ended.BEFORE, planned=nothing)
    _require_same(account, deeds, folder)
    # Where a create's answer was lost just now, it may still be carried out. A clock set back makes no longer wait.
    wait = min(options.settle, options.settle - (now() - (folder / JOURNAL).stat().st_mtime))
    if deeds.uncertain and wait > 0:
        progress.note(f"waiting {wait:.0f} s: what was in flight when the run ended may still be carried out")
        await asyncio.sleep(wait)
    before = Before(folder / BEFORE)

    async def plan(*, progress: Progress, everywhere: bool = False, again: bool = False) -> tuple[Rollback, bool]:
        found = await look(account, deeds, before, everywhere=everywhere, progress=progress, output=output, again=again)
        return rollback(deeds, found, even_if_changed=options.even_if_changed, begun=log.begun), found.alive

    sure = log.path.exists() or (deeds.opened.destination.get("project") and account.project)
    planned, alive = await plan(progress=progress, everywhere=options.dry_run or not options.even_if_changed)
    if not (sure or alive):
        raise NotFound(
            f"can't undo {folder.name}: nothing of it is in this project; is it the one that it went to?",
            hint="OPENAI_DST_API_KEY says which project is meant; this server doesn't tell",
        )
    if options.dry_run or not confirm(planned):
        ended = Ended.DRY if options.dry_run else Ended.DECLINED
        return UndoResult(ended=ended, planned=planned, left=planned.left())

    async def again() -> Rollback:
        return (await plan(progress=Silent(), again=True))[0]

    came = await undo(planned, deeds, folder, account, log, now=now, progress=progress, again=again, output=output)
    if log.whole and folder.parent.name == "runs":
        withdraw(folder.parent.parent, folder.name)
    return UndoResult(ended=Ended.DONE, planned=planned, done=came.done, left=came.left, stopped=came.stopped)


def _require_same(account: Account, deeds: Deeds, folder: Path) -> None:
    """Raises UsageFault where this is another project than the run went to: in that all of the run would seem gone."""
    went, here = deeds.opened.destination, account.party
    if same_account(went, here):
        return
    for what, title in (("project", "project"), ("organization", "organisation"), ("base_url", "server")):
        if went.get(what) and here[what] and went.get(what) != here[what]:
            raise UsageFault(
                f"can't undo {folder.name}: it went to {title} {went.get(what)}, and this is {here[what]}",
                hint="set OPENAI_DST_API_KEY, and --dst-base-url if need be, to where it went",
            )
