"""``holdall undo``: take back what one import run did."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options, parameters
from holdall.cli.console import Console, Outcome, counted, flat
from holdall.cli.stepview import KEEP, REMOVE, UPDATE
from holdall.cli.views import NAMED, Block, Group, again
from holdall.errors import EXIT_DONE, EXIT_LOOK, Interrupted, UsageFault
from holdall.kinds import noun

if TYPE_CHECKING:
    from holdall.importer.verbs import undo_import as verb


DRY_RUN = "DRY RUN: nothing undone"

# Lines of each sort that are shown.
_SHOWN = 3
# By act, where it isn't that something gets what it had before.
_SIGNS = {"DELETE": REMOVE, "DETACH": REMOVE, "REMOVE": REMOVE}
_WORDS = {"DELETE": ("delete", "deleted"), "REMOVE": ("delete", "deleted"), "DETACH": ("take out", "taken out")}


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
    """Undo an import. RUN is a run id (see `holdall runs`), the start of one, a run's folder, or `latest`: the newest
    import that changed something.

    Uses only the run's journal. Deletes what the run created, in reverse order, and restores the previous values of
    what it updated; objects that it only reused are not touched. Keeps and lists anything others have changed or now
    use (exit 3), and files that may be the run's, by name and size only. Asks before it deletes anything. To resume an
    interrupted undo, run the same command again.
    """
    from holdall.importer.verbs import undo_import as verb

    settings = parameters.read_destination(console, given)
    folder = verb.find_run(settings.output_dir, run)
    # Before anything is asked of the server: a question that nobody hears would hold up a job for ever.
    if not (yes or settings.dry_run) and (console.json or not sys.stdin.isatty()):
        raise UsageFault(
            f"can't undo {run}: not a terminal",
            hint="pass --yes or --dry-run",
        )
    wanted = verb.UndoOptions(
        run=folder,
        latest=run == verb.LATEST,
        output=settings.output_dir,
        settle=settings.settle,
        dry_run=settings.dry_run,
        even_if_changed=even_if_changed,
    )

    is_begun, name = False, folder.name

    def confirm(planned: verb.UndoPlan) -> bool:
        nonlocal is_begun, name
        name = planned.run  # with ``latest``, the destination decides which it is
        _show(console, planned)
        is_begun = yes or not planned.due() or console.confirm(f"Undo these {len(planned.due())}?")
        return is_begun

    try:
        came = parameters.at_destination(console, settings, verb.undo_import, wanted, confirm, now=time.time)
    except KeyboardInterrupt:
        kept = f"the undo of {name} is not finished" if is_begun else "nothing was undone"
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
            _block(console, came).show(console, on_stdout=True)
        case Ended.DECLINED:
            console.say("nothing was done")
        case Ended.DONE:
            _block(console, came).show(console, on_stdout=True)
            if came.stopped:
                raise came.stopped


def _block(console: Console, came: verb.UndoResult) -> Block:
    """What was undone, and what stays for which reason."""
    from holdall.importer.verbs.undo_import import Ended

    planned = came.planned
    stays = counted(len(came.left), "object")
    orphans = counted(len(planned.orphans), "possible orphan")
    open_ends = [f"{stays} kept"] * bool(came.left) + [orphans] * bool(planned.orphans)
    verdict = f"PARTLY UNDONE: {', '.join(open_ends)}" if open_ends else "UNDONE"
    facts, commands = [f"{planned.run}: {_amounts(came.done) or 'nothing to undo'}"], []
    if came.stopped:
        verdict, commands = "INCOMPLETE: stopped before the end", [again(console)]
        facts = [f"{planned.run}: {len(came.done)} of {len(planned.due())} undone"]
    elif came.pending or came.ended is Ended.DRY:
        verdict, facts = DRY_RUN, []
        commands = [again(console, without={"--dry-run"})] if came.pending else []
    elif planned.left() and "--even-if-changed" not in console.typed:
        commands = [f"{again(console)} --even-if-changed"]
    return Block(
        verdict=verdict,
        exit_code=EXIT_LOOK if open_ends or came.pending else EXIT_DONE,
        facts=facts,
        groups=_kept(came),
        details=(f"{KEEP} keep {one}: {one.left}" for one in came.left[len(planned.left()) :]),
        commands=commands,
    )


def _kept(came: verb.UndoResult) -> list[Group]:
    """What stays, by reason."""
    reasons: dict[str, list[verb.UndoAction]] = {}
    for one in came.left:
        reasons.setdefault(one.left, []).append(one)
    groups = [
        Group(
            title=f"{counted(len(found), 'object')} kept",
            items=[one.name or one.target for one in found[:NAMED]],
            total=len(found),
            why=why,
        )
        for why, found in reasons.items()
    ]
    if orphans := came.planned.orphans:
        title = counted(len(orphans), "possible orphan")
        names = [f"{one.name or 'no name'} ({one.id})" for one in orphans[:NAMED]]
        why = "may belong to this run, by name and size only; never deleted"
        groups.append(Group(title=title, items=names, total=len(orphans), why=why))
    return groups


def _show(console: Console, planned: verb.UndoPlan) -> None:
    """What would be done, and what stays and why: the first of each, all with --verbose."""
    console.close_progress()
    due, left = planned.due(), planned.left()
    _show_lines(console, [f"{_SIGNS.get(one.act.name, UPDATE)} {_line(one)}" for one in due], result=True)
    _show_lines(console, [f"{KEEP} keep: {_line(one)}: {one.left}" for one in left])
    orphans = (f"{KEEP} keep {noun(one.kind)} {one.name} ({one.id}): may belong to this run" for one in planned.orphans)
    _show_lines(console, list(map(flat, orphans)))
    stays = len(left) + len(planned.orphans)
    counts = [_amounts(due, "to ") or "nothing to undo", *([f"{stays} to keep"] if stays else [])]
    console.result(f"Undo: {', '.join(counts)}")


def _show_lines(console: Console, lines: list[str], *, result: bool = False) -> None:
    limit = len(lines) if console.verbose else _SHOWN
    for line in lines[:limit]:
        console.change(line, result=result)
    if len(lines) > limit:
        (console.result if result else console.warn)(f"… and {len(lines) - limit} more (-v lists all)")


def _amounts(actions: Sequence[verb.UndoAction], to: str = "") -> str:
    """``59 to delete, 1 to restore``; without ``to`` ``59 deleted, 1 restored``."""
    counts = Counter(_WORDS.get(one.act.name, ("restore", "restored")) for one in actions)
    return ", ".join(f"{count} {f'{to}{word}' if to else past}" for (word, past), count in counts.items())


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
