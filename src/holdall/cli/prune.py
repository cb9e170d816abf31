"""``holdall prune``: remove old bundles by a retention policy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from holdall.cli import options
from holdall.cli.console import Console, Outcome, counted, flat, human_size
from holdall.cli.views import Block, again
from holdall.errors import EXIT_DONE, EXIT_LOOK
from holdall.legible import table

if TYPE_CHECKING:
    from holdall.backups.pruning import JudgedBundle


class _Keep(click.ParamType[Any]):
    """A number of bundles, or a duration."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from holdall.backups.retention import Duration, parse_count

        try:
            return (parse_count if self.name == "count" else Duration.parse)(str(value))
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def _keeps() -> Iterator[Callable[[Any], Any]]:
    periods = ("hourly", "daily", "weekly", "monthly", "yearly")
    count, duration = _Keep("count"), _Keep("duration")
    yield click.option("--keep-last", metavar="N", type=count, help="Keep the N newest; unlimited: all.")
    for name in periods:
        each = {"daily": "day"}.get(name, name.removesuffix("ly"))
        text = f"Keep the newest of each of the last N {each}s that have any."
        yield click.option(f"--keep-{name}", metavar="N", type=count, help=text)
    text = "Keep all taken within this time before the newest: 36h, 14d, 1y5m7d2h."
    yield click.option("--keep-within", metavar="DURATION", type=duration, help=text)
    for name in periods:
        each = {"daily": "day"}.get(name, name.removesuffix("ly"))
        text = f"Keep the newest of each {each} within this time before the newest."
        yield click.option(f"--keep-within-{name}", metavar="DURATION", type=duration, help=text)


@click.command("prune", cls=options.Command)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@options.together(*_keeps())
@click.option("--delete", is_flag=True, help="Remove the bundles; without it, only show what would be removed.")
@options.output
def command(console: Console, /, folder: Path, delete: bool, **keeps: Any) -> Outcome:
    """Remove old bundles from DIR by a retention policy; a dry run unless --delete.

    The --keep options mean what they mean to restic, by UTC. A bundle that one of them keeps stays. They apply to each
    source by itself: its label, else its project.

    Always kept: the newest whole bundle of a source, the best copy of a file that newer bundles still list, damaged or
    foreign files, and bundles being written. Exits 3 if something would be removed, is damaged or can't be removed.
    """
    from holdall.backups.pruning import Fate, PruneOptions, prune
    from holdall.backups.retention import RetentionPolicy

    given = {name.removeprefix("keep_"): value for name, value in keeps.items() if value is not None}
    wanted = PruneOptions(folder=folder, policy=RetentionPolicy(**given), now=time.time(), delete=delete)
    found = prune(wanted, console.progress())
    console.close_progress()
    _show(console, found)
    block = _block(console, found, delete)
    block.show(console, on_stdout=True)
    removed = [one for one in found if one.fate is Fate.REMOVED]
    return Outcome(
        exit_code=block.exit_code,
        result={
            "folder": str(folder),
            "dry_run": not delete,
            "bundles": [_as_json(one) for one in found],
            "removed": len(removed),
            "removed_bytes": sum(one.bundle.size for one in removed),
        },
    )


def _block(console: Console, found: list[JudgedBundle], delete: bool) -> Block:
    """How many bundles went or would go, and how many stay, some of them for a reason that needs attention."""
    from holdall.backups.pruning import Fate

    gone = [one for one in found if one.fate in (Fate.REMOVE, Fate.REMOVED)]
    size = human_size(sum(one.bundle.size for one in gone))
    verdict = f"{counted(len(gone), 'bundle')} {'removed' if delete else 'to remove'} ({size})"
    odd = {"locked": sum(one.fate is Fate.LOCKED for one in found), "damaged": sum(one.damaged for one in found)}
    kept = [f"{len(found) - len(gone)} kept", *(f"{count} {what}" for what, count in odd.items() if count)]
    is_pending = bool(gone) and not delete
    return Block(
        verdict=", ".join([verdict if gone else "Nothing to remove", *kept]),
        exit_code=EXIT_LOOK if is_pending or any(odd.values()) else EXIT_DONE,
        commands=[f"{again(console)} --delete"] if is_pending else [],
    )


_SIGN = {"keep": " ", "remove": "-", "removed": "-", "locked": "!"}


def _show(console: Console, found: list[JudgedBundle]) -> None:
    from holdall.backups.pruning import by_source

    groups = list(by_source(found))
    for title, group in groups:
        if len(groups) > 1:
            console.result(f"{flat(title) or 'no source known'}:")
        rows = [(_SIGN[one.fate], flat(one.bundle.path.name), _why(one)) for one in group]
        for line in table(rows, width=console.result_columns):
            console.change(line, result=True)


def _why(one: JudgedBundle) -> str:
    return flat(", ".join(one.reasons)) or "not kept by the policy"


def _as_json(one: JudgedBundle) -> dict[str, Any]:
    bundle = one.bundle
    taken = None if bundle.taken_at is None else datetime.fromtimestamp(bundle.taken_at, UTC).isoformat()
    return {
        "path": str(bundle.path),
        "source": bundle.source_title,
        "taken_at": taken,
        "size": bundle.size,
        "fate": one.fate,
        "reasons": one.reasons,
        "damaged": one.damaged,
    }
