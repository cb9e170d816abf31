"""``holdall unpack``: a bundle as a folder."""

from __future__ import annotations

from pathlib import Path

import click

from holdall.cli import options
from holdall.cli.console import Console, Outcome, counted, human_size
from holdall.cli.views import Block
from holdall.errors import EXIT_DONE, UsageFault, pasteable


@click.command("unpack", cls=options.Command)
@options.bundle
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Discard hand edits in DIR.")
@options.output
def command(console: Console, bundle: Path, folder: Path, force: bool) -> Outcome:
    """Write BUNDLE as a folder of plain files, for git and for backup programs.

    Records become indented JSON, and the instructions of each assistant and agent a Markdown file beside it. Verifies
    the bundle first. If DIR is an unpacked bundle, writes only what changed, deletes what is gone, and leaves all other
    files alone; if it is anything else and not empty, writes nothing. Prints only the path of the folder to stdout.
    """
    from holdall.cli.import_run import open_verified
    from holdall.folder.write_folder import unpack

    if bundle.is_dir():
        raise UsageFault(f"can't unpack {bundle}: it is a folder", hint="name a bundle file")
    with open_verified(console, bundle, action="unpack") as reader:
        found = unpack(reader, folder, force=force, progress=console.progress())
    facts = [
        f"{counted(found.files, 'file')}, {human_size(found.bytes)}: {found.written} written, {found.removed} removed"
    ]
    Block(
        verdict="UNPACKED",
        exit_code=EXIT_DONE,
        facts=facts,
        details=(f"edits discarded: {path}" for path in found.discarded),
        commands=[f"holdall verify {pasteable(folder)}"],
    ).show(console)
    console.path(str(folder))
    result = {"folder": str(folder), "files": found.files, "bytes": found.bytes, "written": found.written}
    return Outcome(result={**result, "removed": found.removed, "discarded": found.discarded})
