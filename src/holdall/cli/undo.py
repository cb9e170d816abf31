"""``holdall undo``: what one import run did to a project, taken back."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome, counted
from holdall.errors import EXIT_DONE, EXIT_LOOK, NotFound, UsageFault
from holdall.settings import DestinationSettings

if TYPE_CHECKING:
    from holdall.importer.journal.deeds import Deeds
    from holdall.importer.journal.reversals import Reversal
    from holdall.importer.undo.rollback import Rollback
    from holdall.remote.client import Account

__all__ = ["command"]

# Lines of one kind that the terminal shows; undo.jsonl and --json have them all.
_SHOWN = 20

DRY_RUN = "DRY RUN: nothing undone"
LATEST = "latest"


@click.command("undo", cls=options.Command)
@click.argument("run")
@click.option("--dry-run", is_flag=True, default=None, help="Show what would be undone, undo nothing (DRY_RUN).")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@click.option("--even-if-changed", is_flag=True, help="Also what others have changed, or use, by now.")
@click.option(
    "--settle",
    metavar="SECONDS",
    help="How long after a run was cut off what was in flight may still come; default 60 (HOLDALL_SETTLE).",
)
@click.option("--output-dir", metavar="DIR", help="Where the import left its runs, default ./out (OUTPUT_DIR).")
@options.account("dst")
@options.shared
@options.output
@click.pass_obj
def command(console: Console, /, run: str, yes: bool, even_if_changed: bool, **parameters: Any) -> Outcome:
    """Undo an import: RUN is its id, its folder, or `latest`.

    Goes by the run's journal alone. What it created is deleted, in reverse order; what it updated gets the values that
    it had; what it found there and only used is not touched. Left as they are, and listed, are things that others have
    changed or use by now (then it ends with 3), and files that may be the run's by their looks alone. Asks first. After
    an interruption the same command goes on.
    """
    settings = options.read_destination(console, parameters)
    folder = _folder(settings.output_dir, run)
    if not (yes or settings.dry_run) and (console.json or not sys.stdin.isatty()):
        raise UsageFault(
            f"can't undo {run}: it deletes things, and there is nobody to ask",
            hint="--yes undoes without asking, --dry-run shows what it would do",
        )
    from holdall.importer.journal.run import locked

    output = folder.parent.parent if folder.parent.name == "runs" else None
    with locked(output) if output else nullcontext():
        return asyncio.run(
            _undo(
                console,
                settings,
                folder,
                output or settings.output_dir,
                latest=run == LATEST,
                yes=yes,
                even_if_changed=even_if_changed,
            )
        )


def _folder(output: Path, run: str) -> Path:
    """The folder of the run; of ``latest`` the newest, wherever it went. Raises UsageFault where there is none."""
    from holdall.importer.journal.runs import JOURNAL, runs

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


async def _undo(
    console: Console,
    settings: DestinationSettings,
    folder: Path,
    output: Path,
    *,
    latest: bool,
    yes: bool,
    even_if_changed: bool,
) -> Outcome:
    from holdall.importer.destination.placement import withdraw
    from holdall.importer.journal.before import Before
    from holdall.importer.journal.deeds import read_deeds
    from holdall.importer.journal.run import BEFORE, JOURNAL
    from holdall.importer.journal.runs import runs_at
    from holdall.importer.journal.undolog import UndoLog
    from holdall.importer.undo.aftermath import look
    from holdall.importer.undo.rollback import Rollback, rollback
    from holdall.importer.undo.undo import undo
    from holdall.progress import Silent
    from holdall.remote.client import Account
    from holdall.remote.probing import probe

    progress = console.progress()
    async with Account(
        settings.endpoint, side="destination", concurrency=settings.concurrency, progress=progress
    ) as account:
        await probe(account)
        if latest:  # of this destination; the others of the same folder are somebody else's
            folder = next(reversed(runs_at(output, account.party)), folder)
        deeds = read_deeds(folder / JOURNAL)
        log = UndoLog(folder, now=time.time)
        nothing = Rollback(run=folder.name, reversals=[], orphans=[])
        if deeds is None:
            console.result(f"{folder.name} was cut off before it did anything")
            return _outcome(nothing, [], [])
        console.say(f"undoing the import run {folder.name} of {deeds.opened.started}, from {settings.endpoint.title}")
        if log.whole and not log.orphans:
            console.result(f"{folder.name} is undone already")
            return _outcome(nothing, [], [])
        _require_same(account, deeds, folder)
        await _settle(console, deeds, folder, settings.settle)
        everywhere = settings.dry_run or not even_if_changed
        before = Before(folder / BEFORE)
        aftermath = await look(account, deeds, before, everywhere=everywhere, progress=progress, output=output)
        console.close_progress()
        sure = log.path.exists() or (deeds.opened.destination.get("project") and account.project)
        if not (sure or aftermath.alive):
            raise NotFound(
                f"can't undo {folder.name}: nothing of it is in this project; is it the one that it went to?",
                hint="OPENAI_DST_API_KEY says which project is meant; this server doesn't tell",
            )
        planned = rollback(deeds, aftermath, even_if_changed=even_if_changed, begun=log.begun)
        _show(console, planned)
        if settings.dry_run:
            console.result(DRY_RUN)
            return _outcome(planned, [], planned.left(), pending=planned.due())
        if planned.due() and not yes and not _sure(console, len(planned.due())):
            console.say("nothing was done")
            return _outcome(planned, [], planned.left(), pending=planned.due())

        async def again() -> Rollback:
            found = await look(account, deeds, before, everywhere=False, progress=Silent(), output=output, again=True)
            return rollback(deeds, found, even_if_changed=even_if_changed, begun=log.begun)

        came = await undo(
            planned, deeds, folder, account, log, now=time.time, progress=progress, again=again, output=output
        )
    console.close_progress()
    for one in came.left[len(planned.left()) :]:
        console.warn(f"  left: {_line(one)}: {one.left}")
    if log.whole and folder.parent.name == "runs":
        withdraw(folder.parent.parent, folder.name)
    if came.stopped:
        console.say(f"{len(came.done)} of {len(planned.due())} undone; the same command goes on")
        raise came.stopped
    perhaps = f", {counted(len(planned.orphans), 'possible orphan')}" if planned.orphans else ""
    console.result(f"{folder.name}: {len(came.done)} undone, {len(came.left)} left{perhaps}")
    return _outcome(planned, came.done, came.left)


def _require_same(account: Account, deeds: Deeds, folder: Path) -> None:
    """Raises UsageFault where this is another project than the run went to: in that all of the run would seem gone."""
    from holdall.endpoint import same_account

    went, here = deeds.opened.destination, account.party
    if same_account(went, here):
        return
    for what, title in (("project", "project"), ("organization", "organisation"), ("base_url", "server")):
        if went.get(what) and here[what] and went.get(what) != here[what]:
            raise UsageFault(
                f"can't undo {folder.name}: it went to {title} {went.get(what)}, and this is {here[what]}",
                hint="set OPENAI_DST_API_KEY, and --dst-base-url if need be, to where it went",
            )


async def _settle(console: Console, deeds: Deeds, folder: Path, settle: float) -> None:
    """Where a create's answer was lost just now, it may still be carried out: look only after that."""
    from holdall.importer.journal.run import JOURNAL

    # A clock that was set back makes no longer wait.
    wait = min(settle, settle - (time.time() - (folder / JOURNAL).stat().st_mtime))
    if deeds.uncertain and wait > 0:
        console.say(f"waiting {wait:.0f} s: what was in flight when the run ended may still be carried out")
        await asyncio.sleep(wait)


def _show(console: Console, planned: Rollback) -> None:
    due, left = planned.due(), planned.left()
    for one in due[:_SHOWN]:
        console.result(_line(one))
    if len(due) > _SHOWN:
        console.result(f"… and {len(due) - _SHOWN} more")
    for one in left[:_SHOWN]:
        console.warn(f"  not: {_line(one)}: {one.left}")
    if len(left) > _SHOWN:
        console.warn(f"  … and {len(left) - _SHOWN} more")
    for orphan in planned.orphans[:_SHOWN]:
        console.warn(
            f"  not: delete {orphan.kind.replace('_', ' ')} {orphan.name} ({orphan.id}): "
            "it may be this run's, by its name and size alone"
        )
    if not due:
        console.say("nothing to undo")


def _line(one: Reversal) -> str:
    return " ".join(f"{one}{f', though {one.despite}' if one.despite else ''}".splitlines())


def _sure(console: Console, count: int) -> bool:
    return click.confirm(f"Undo these {count}?", default=False, err=True)


def _outcome(
    planned: Rollback, done: list[Reversal], left: list[Reversal], *, pending: list[Reversal] | None = None
) -> Outcome:
    """3 where something is still to be done or was left, or where things may be the run's."""
    return Outcome(
        exit_code=EXIT_LOOK if pending or left or planned.orphans else EXIT_DONE,
        result={
            "run": planned.run,
            "undone": not (pending or left or planned.orphans),
            "counts": {"done": len(done), "left": len(left), "orphans": len(planned.orphans)},
            "pending": _builtins(pending or []),
            "done": _builtins(done),
            "left": _builtins(left),
            "orphans": msgspec.to_builtins(planned.orphans),
        },
    )


def _builtins(reversals: list[Reversal]) -> list[dict[str, Any]]:
    return [
        {
            "act": one.act.name.lower(),
            "kind": one.kind.value,
            "id": one.target,
            "name": one.name,
            "store": one.store,
            "fields": list(one.body),
            "left": one.left or None,
            "despite": one.despite or None,
        }
        for one in reversals
    ]
