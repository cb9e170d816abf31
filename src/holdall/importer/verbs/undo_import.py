"""The verb undo: takes back what one run did, by its journal alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import msgspec

from holdall.endpoint import same_account
from holdall.errors import CannotWrite, NotFound, UsageFault
from holdall.importer.runs.effects import UndoAction, UndoLog, is_undone
from holdall.importer.runs.runfolder import BEFORE, PAGE, REPORT, Baseline, locked, mappings, past_runs
from holdall.importer.runs.runjournal import JOURNAL
from holdall.importer.runs.runreport import MAPPING, read_mapping
from holdall.importer.runs.runstate import read_state
from holdall.importer.undo.execute import Ended, UndoResult, undo
from holdall.importer.undo.observed import observe
from holdall.importer.undo.undoplan import UndoPlan, undo_plan
from holdall.kinds import Platform
from holdall.progress import Progress
from holdall.remote.client import Account, probe
from holdall.remote.wire import Surface
from holdall.safe_files import read_regular, write_whole

__all__ = ["LATEST", "Ended", "UndoAction", "UndoOptions", "UndoPlan", "UndoResult", "find_run", "undo_import"]

LATEST = "latest"

_SHORTEST = 4
"""Characters of an id that stand for it where they are unambiguous; as many as git asks for."""


class UndoOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``run`` is the folder of a run; with ``latest`` it is replaced by the newest run into this destination that
    changed something. If it is in no folder ``runs``, written requests are below ``output``.
    ``settle``: seconds after the end of a run in which lost requests may still be carried out."""

    run: Path
    latest: bool
    output: Path
    settle: float
    dry_run: bool = False
    even_if_changed: bool = False


def find_run(output: Path, run: str) -> Path:
    """The folder of the run: by its id, the beginning of one, or its path; for ``latest`` the newest, wherever it went.

    Raises UsageFault if there is none, or several whose ids begin so.
    """
    if run == LATEST:
        if found := past_runs(output):
            return found[-1].folder
        raise UsageFault(
            f"can't undo the latest run: no runs in {output / 'runs'}",
            hint="name another folder with --output-dir or OUTPUT_DIR",
        )
    for folder in (output / "runs" / run, Path(run)):
        if (folder / JOURNAL).is_file():
            return folder
    alike = [past for past in past_runs(output) if past.name.startswith(run)] if len(run) >= _SHORTEST else []
    if len(alike) == 1:
        return alike[0].folder
    if alike:
        raise UsageFault(
            f"can't undo {run}: {len(alike)} run ids in {output / 'runs'} start with it",
            hint=f"choose one: {', '.join(past.name for past in alike[-3:])}",
        )
    raise UsageFault(
        f"can't undo {run}: no such run in {output / 'runs'}, and no folder of that name with a {JOURNAL}",
        hint=f"RUN is a run id (see `holdall runs`) or at least its first {_SHORTEST} characters, a run's "
        f"folder, or `latest`",
    )


async def undo_import(
    account: Account, options: UndoOptions, confirm: Callable[[UndoPlan], bool], *, now: Callable[[], float]
) -> UndoResult:
    """Looks at what the run left, asks ``confirm``, takes it back, and looks again. ``now`` gives Unix seconds.

    OUTPUT_DIR is locked meanwhile. Remote errors on the way are in the result. Raises OutputLocked, UsageFault and
    NotFound for another project than that of the run, CannotWrite, and what the account raises before anything is
    undone.
    """
    folder, is_ours = options.run, options.run.parent.name == "runs"
    output = folder.parent.parent if is_ours else options.output
    # What a run made of a Foundry project may be on either.
    account.surfaces = tuple(Surface)
    with locked(output) if is_ours else nullcontext():
        await probe(account)
        if options.latest:
            folder = _latest(output, account) or folder
        found = msgspec.structs.replace(options, run=folder, output=output)
        result = await _undo(account, found, confirm, now)
        if is_ours and result.ended is Ended.DONE and is_undone(folder):
            withdraw(output, folder.name)
    return result


def _latest(output: Path, account: Account) -> Path | None:
    """The newest run into this destination that changed something, undone or not: to ask twice must not undo an older
    one. If there is none, the newest.

    Raises CannotWrite or ImportFailed if the journal of a run that may be it can't be read.
    """
    # Imports of the same folder into other destinations are somebody else's.
    runs = past_runs(output, account.party)[::-1]
    for run in runs:
        if run.state().changed_something:
            if run is not runs[0]:
                account.progress.note("newer imports changed nothing")
            return run.folder
    return runs[0].folder if runs else None


async def _undo(
    account: Account, options: UndoOptions, confirm: Callable[[UndoPlan], bool], now: Callable[[], float]
) -> UndoResult:
    folder, output, progress = options.run, options.output, account.progress
    # By the run's own folder alone: the bundle may be gone.
    state, log, baseline = read_state(folder / JOURNAL), UndoLog(folder, now=now), Baseline(folder / BEFORE)
    nothing = UndoPlan(run=folder.name, actions=[], orphans=[])
    if state.opened is None:
        return UndoResult(ended=Ended.NOTHING, planned=nothing)
    if log.whole and not log.orphans:
        return UndoResult(ended=Ended.BEFORE, planned=nothing)
    progress.note(f"undoing import {folder.name} at {account.endpoint.title}")
    _require_same(account, state.opened.destination, folder)
    if state.uncertain:
        await _let_settle(options.settle, now() - (folder / JOURNAL).stat().st_mtime, progress)
    look_at = partial(observe, account, state, baseline, output=output)
    decide = partial(undo_plan, state, even_if_changed=options.even_if_changed)
    progress.stage(f"Reading what {account.endpoint.host} has")
    found = await look_at(everywhere=options.dry_run or not options.even_if_changed)
    # A server that doesn't tell its projects may be asked with the key of another one, in which all seems gone.
    is_named = state.opened.destination.get("project") and account.project
    # The address names a project of Foundry.
    is_sure = log.path.exists() or is_named or account.platform is Platform.FOUNDRY
    if not (is_sure or found.alive):
        raise NotFound(
            f"can't undo {folder.name}: none of its objects are in this project",
            hint="check that OPENAI_DST_API_KEY is a key of the project imported into; this server does not name "
            "its projects",
        )
    planned = decide(found, begun=log.begun)
    if options.dry_run:
        return UndoResult(ended=Ended.DRY, planned=planned, left=planned.left())
    if not confirm(planned):
        return UndoResult(ended=Ended.DECLINED, planned=planned, left=planned.left())

    async def again() -> UndoPlan:
        return decide(await look_at(everywhere=False, again=True), begun=log.begun)

    return await undo(planned, state, folder, account, log, now=now, again=again, output=output)


async def _let_settle(settle: float, since: float, progress: Progress) -> None:
    """Waits until ``settle`` seconds after a run's end, which was ``since`` seconds ago."""
    # Where a create's answer was lost just now, it may still be carried out. A clock set back makes no longer wait.
    wait = min(settle, settle - since)
    if wait > 0:
        progress.note(f"waiting {wait:.0f} s for requests that the run left in flight")
        await asyncio.sleep(wait)


def _require_same(account: Account, went: Mapping[str, str | None], folder: Path) -> None:
    """Raises UsageFault if this is another project than that of the run: there all of the run would seem gone."""
    here = account.party
    if same_account(went, here):
        return
    for what, title in (("project", "project"), ("organization", "organisation"), ("base_url", "server")):
        if went.get(what) and here[what] and went.get(what) != here[what]:
            raise UsageFault(
                f"can't undo {folder.name}: it was imported into {title} {went.get(what)}, and this is {here[what]}",
                hint="set OPENAI_DST_API_KEY, and --dst-base-url if needed, to the original destination",
            )


def withdraw(output: Path, run: str) -> None:
    """After an undo: if OUTPUT_DIR has this run's mapping and report as the latest, restores those of the run before.

    The run's own folder keeps its own. Raises CannotWrite.
    """
    latest = output / MAPPING
    try:
        its = read_mapping(latest)
        if its is None or its.run != run:
            return
        before = next((path for path, _ in mappings(output) if path != latest), None)
        for name in (MAPPING, REPORT, PAGE):
            if before is not None and (before.parent / name).is_file():
                write_whole(output / name, read_regular(before.parent / name))
            else:
                (output / name).unlink(missing_ok=True)
    except OSError as error:
        raise CannotWrite(f"can't write {latest}: {error.strerror or error}") from None
