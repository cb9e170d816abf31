"""``holdall undo``: what one import run did to a project, taken back."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome, counted
from holdall.errors import EXIT_DONE, EXIT_LOOK, UsageFault

if TYPE_CHECKING:
    from holdall.importer.verbs import undo_import as verb

__all__ = ["command"]

# Lines of one kind that the terminal shows; undo.jsonl and --json have them all.
_SHOWN = 20

DRY_RUN = "DRY RUN: nothing undone"


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
    from holdall.importer.verbs import undo_import as verb

    settings = options.read_destination(console, parameters)
    folder = verb.find_run(settings.output_dir, run)
    if not (yes or settings.dry_run) and (console.json or not sys.stdin.isatty()):
        raise UsageFault(
            f"can't undo {run}: it deletes things, and there is nobody to ask",
            hint="--yes undoes without asking, --dry-run shows what it would do",
        )
    wanted = verb.UndoOptions(
        run=folder,
        latest=run == verb.LATEST,
        output=settings.output_dir,
        settle=settings.settle,
        dry_run=settings.dry_run,
        even_if_changed=even_if_changed,
    )

    def confirm(planned: verb.UndoPlan) -> bool:
        _show(console, planned)
        return yes or not planned.due() or click.confirm(f"Undo these {len(planned.due())}?", default=False, err=True)

    async def work() -> verb.UndoResult:
        async with options.destination(console, settings) as account:
            return await verb.undo_import(account, wanted, confirm, now=time.time)

    came = asyncio.run(work())
    _tell(console, came)
    return _outcome(came)


def _tell(console: Console, came: verb.UndoResult) -> None:
    """How it ended. Raises what stopped it."""
    from holdall.importer.verbs.undo_import import Ended

    planned, name = came.planned, came.planned.run
    console.close_progress()
    match came.ended:
        case Ended.NOTHING | Ended.BEFORE:
            console.result(f"{name} {came.ended}")
        case Ended.DRY:
            _show(console, planned)
            console.result(DRY_RUN)
        case Ended.DECLINED:
            console.say("nothing was done")
        case Ended.DONE:
            for one in came.left[len(planned.left()) :]:
                console.warn(f"  left: {_line(one)}: {one.left}")
            if came.stopped:
                console.say(f"{len(came.done)} of {len(planned.due())} undone; the same command goes on")
                raise came.stopped
            perhaps = f", {counted(len(planned.orphans), 'possible orphan')}" if planned.orphans else ""
            console.result(f"{name}: {len(came.done)} undone, {len(came.left)} left{perhaps}")


def _show(console: Console, planned: verb.UndoPlan) -> None:
    console.close_progress()
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


def _line(one: verb.UndoAction) -> str:
    return " ".join(f"{one}{f', though {one.despite}' if one.despite else ''}".splitlines())


def _outcome(came: verb.UndoResult) -> Outcome:
    """3 where something is still to be done or was left, or where things may be the run's."""
    planned, pending, open_ = came.planned, came.pending, bool(came.pending or came.left or came.planned.orphans)
    return Outcome(
        exit_code=EXIT_LOOK if open_ else EXIT_DONE,
        result={
            "run": planned.run,
            "undone": not open_,
            "counts": {"done": len(came.done), "left": len(came.left), "orphans": len(planned.orphans)},
            "pending": _builtins(pending),
            "done": _builtins(came.done),
            "left": _builtins(came.left),
            "orphans": msgspec.to_builtins(planned.orphans),
        },
    )


def _builtins(actions: list[verb.UndoAction]) -> list[dict[str, Any]]:
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
        for one in actions
    ]
