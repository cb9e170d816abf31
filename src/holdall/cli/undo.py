"""``holdall undo``: take back what one import run did."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options, parameters
from holdall.cli.console import Console, Outcome, counted, flat
from holdall.cli.views import show_first
from holdall.errors import EXIT_DONE, EXIT_LOOK, Interrupted, UsageFault

if TYPE_CHECKING:
    from holdall.importer.verbs import undo_import as verb


DRY_RUN = "DRY RUN: nothing undone"


@click.command("undo", cls=options.Command)
@click.argument("run")
@click.option("--dry-run", is_flag=True, default=None, help="Show what would be undone; change nothing (DRY_RUN).")
@click.option("--yes", "-y", is_flag=True, help="Don't ask for confirmation.")
@click.option("--even-if-changed", is_flag=True, help="Also undo what others have changed or now use.")
@click.option(
    "--settle",
    metavar="SECONDS",
    help="How long to wait for requests that an interrupted run left in flight; default 60 (HOLDALL_SETTLE).",
)
@click.option("--output-dir", metavar="DIR", help="Folder with the import's runs, default ./out (OUTPUT_DIR).")
@options.accounts("dst")
@options.output
def command(console: Console, /, run: str, yes: bool, even_if_changed: bool, **given: Any) -> Outcome:
    """Undo an import. RUN is a run id (see `holdall runs`), the start of one, a run's folder, or `latest`.

    Uses only the run's journal. Deletes what the run created, in reverse order, and restores the previous values of
    what it updated; objects that it only reused are not touched. Keeps and lists anything others have changed or now
    use (exit 3), and files that only look like the run's. Asks before it deletes anything. To resume an interrupted
    undo, run the same command again.
    """
    from holdall.importer.verbs import undo_import as verb

    settings = parameters.read_destination(console, given)
    folder = verb.find_run(settings.output_dir, run)
    # Before anything is asked of the server: a question that nobody hears would hold up a job for ever.
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

    is_begun = False

    def confirm(planned: verb.UndoPlan) -> bool:
        nonlocal is_begun
        _show(console, planned)
        is_begun = yes or not planned.due() or console.confirm(f"Undo these {len(planned.due())}?")
        return is_begun

    try:
        came = parameters.at_destination(console, settings, verb.undo_import, wanted, confirm, now=time.time)
    except KeyboardInterrupt:
        kept = f"the undo of {folder.name} is not finished" if is_begun else "nothing was undone"
        raise Interrupted(f"interrupted: {kept}", hint="run the same command again to resume") from None
    _show_report(console, came)
    return _outcome(came)


def _show_report(console: Console, came: verb.UndoResult) -> None:
    """Print how it ended. Raises what stopped it."""
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
            # What the plan leaves was printed before the question.
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
    show_first(console.result, map(_line, due), len(due), indent="")
    show_first(console.warn, (f"not: {_line(one)}: {one.left}" for one in left), len(left))
    for orphan in planned.orphans[:20]:
        console.warn(
            f"  not: delete {orphan.kind.replace('_', ' ')} {orphan.name} ({orphan.id}): "
            "it may be this run's, by its name and size alone"
        )
    if not due:
        console.say("nothing to undo")


def _line(one: verb.UndoAction) -> str:
    return flat(f"{one}{f', though {one.despite}' if one.despite else ''}")


def _outcome(came: verb.UndoResult) -> Outcome:
    """Exit code 3 where something is left to do, was left, or may be the run's."""
    orphans, is_open = came.planned.orphans, bool(came.pending or came.left or came.planned.orphans)
    actions = {"pending": came.pending, "done": came.done, "left": came.left}
    return Outcome(
        exit_code=EXIT_LOOK if is_open else EXIT_DONE,
        result={
            "run": came.planned.run,
            "undone": not is_open,
            "counts": {"done": len(came.done), "left": len(came.left), "orphans": len(orphans)},
            **{title: [_action_as_json(one) for one in found] for title, found in actions.items()},
            "orphans": msgspec.to_builtins(orphans),
        },
    )


def _action_as_json(one: verb.UndoAction) -> dict[str, Any]:
    return {
        "act": one.act.name.lower(),
        "kind": one.kind.value,
        "id": one.target,
        "name": one.name,
        "store": one.store,
        "fields": list(one.body),
        "left": one.left or None,
        "despite": one.despite or None,
    }
