"""``holdall runs``: list the imports of an OUTPUT_DIR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome, flat
from holdall.errors import EXIT_DONE, EXIT_LOOK

if TYPE_CHECKING:
    from holdall.importer.verbs.list_runs import ListedRun


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
    found = list(list_runs(output))
    for one in found:
        console.result(flat(_line(one)))
        if one.detail and one.state in (Standing.INCOMPLETE, Standing.UNREADABLE):
            console.result(flat(f"    {one.detail}"))
    console.say("holdall undo RUN takes one back" if found else f"no runs in {output / 'runs'}")
    lost = any(one.state is Standing.UNREADABLE for one in found)
    return Outcome(
        exit_code=EXIT_LOOK if lost else EXIT_DONE,
        result={"output_dir": str(output), "runs": [msgspec.to_builtins(one) for one in found]},
    )


def _line(one: ListedRun) -> str:
    from holdall.endpoint import title

    when = (one.began or "").replace("T", " ")[:16] or "?"
    what = f"{one.bundle or '?'} -> {title(one.destination)}"
    return f"{one.run}  {when:16}  {one.state:13}  {what}"
