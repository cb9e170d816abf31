"""``holdall runs``: list the imports of an OUTPUT_DIR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome, flat
from holdall.cli.views import onward
from holdall.errors import EXIT_DONE, EXIT_LOOK, UsageFault
from holdall.legible import shortened, table

if TYPE_CHECKING:
    from holdall.importer.verbs.list_runs import ListedRun


# Columns of a bundle's name and of a destination: with the id and the longest state they make eighty.
_BUNDLE, _WHERE = 16, 16


@click.command("runs", cls=options.Command)
@click.option("--output-dir", metavar="DIR", help="Folder with the imports' runs, default ./out (OUTPUT_DIR).")
@options.env_file
@options.output
def command(console: Console, /, **given: Any) -> Outcome:
    """List the imports in OUTPUT_DIR, newest last: time, bundle, destination and state.

    States: complete, incomplete, unfinished (run the same import again to resume), undone, partly undone, and finished
    (imported by an earlier version, which kept no verdict). Exits 3 if a run can't be read. Pass an id to `holdall
    undo`.
    """
    from holdall.cli.parameters import read_output_dir
    from holdall.importer.verbs.list_runs import Standing, list_runs

    output = read_output_dir(console, given)
    if output.exists() and not output.is_dir():
        raise UsageFault(f"can't list the runs in {output}: not a folder", hint="use the --output-dir of your imports")
    found = list(list_runs(output))
    rows = [_row(one, verbose=console.verbose) for one in found]
    for one, line in zip(found, table(rows), strict=True):
        console.path(line)
        if one.detail and one.state in (Standing.INCOMPLETE, Standing.UNREADABLE):
            console.result(flat(f"    {one.detail}"))
    to_undo = [one.run for one in found if one.changed and one.state is not Standing.UNDONE]
    if to_undo:
        console.verbatim(f"To undo: {onward(console, 'undo', to_undo[-1])}")
    elif not found:
        console.say(f"No runs in {output / 'runs'}")
    lost = any(one.state is Standing.UNREADABLE for one in found)
    return Outcome(
        exit_code=EXIT_LOOK if lost else EXIT_DONE,
        result={"output_dir": str(output), "runs": [msgspec.to_builtins(one) for one in found]},
    )


def _row(one: ListedRun, *, verbose: bool) -> list[str]:
    """Id, state, bundle and destination; the id says when. With --verbose the project, else the host: both would not
    fit eighty columns, and half an id is of no use."""
    from holdall.endpoint import title

    bundle = flat(one.bundle or "?")
    if verbose:
        when = (one.began or "").replace("T", " ")[:16] or "?"
        return [one.run, when, one.state, f"{bundle} -> {flat(title(one.destination))}"]
    where = flat(_host(one.destination.get("base_url") or "a server"))
    return [one.run, one.state, f"{shortened(bundle, _BUNDLE)} -> {shortened(where, _WHERE)}"]


def _host(base_url: str) -> str:
    try:
        return urlsplit(base_url).hostname or base_url
    except ValueError:  # a journal may have been written by anybody
        return base_url
