"""``holdall pack``: an unpacked folder as a bundle again."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from holdall.cli import options, parameters
from holdall.cli.console import Console, Outcome, counted, human_size
from holdall.cli.views import Block
from holdall.errors import EXIT_DONE, UsageFault, pasteable


@click.command("pack", cls=options.Command)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@options.output_file("Bundle to write. Default: DIR.tar.zst next to DIR")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@options.output
def command(console: Console, folder: Path, output: Path | None, force: bool) -> Outcome:
    """Write the folder DIR, which unpack wrote, as one bundle file.

    Lists what was edited by hand, checks it as verify does, and writes new checksums; DIR stays as it is. Unedited, the
    bundle has the same digests as the one that was unpacked. File contents must match their checksums. Prints only the
    path of the bundle to stdout.
    """
    from holdall.cli.views import edit_groups, edits_as_json, require_whole
    from holdall.folder.pack_folder import pack

    if folder.is_file():
        raise UsageFault(f"can't pack {folder}: it is a file", hint="name a folder that `holdall unpack` wrote")
    absolute = folder.absolute()
    default = (
        folder.parent / f"{absolute.name}.tar.zst" if folder.name else absolute.with_name(f"{absolute.name}.tar.zst")
    )
    target = default if output is None else output / f"{absolute.name}.tar.zst" if output.is_dir() else output
    parameters.require_folder(target)
    found = pack(folder, target, force=force, progress=console.progress())
    console.close_progress()
    require_whole(console, found)
    finished, edits = found.finished, found.edits
    assert finished is not None
    named = [*edits.edited, *edits.added, *edits.removed]
    Block(
        verdict=f"PACKED: {counted(edits.total, 'file')} edited by hand" if edits.total else "PACKED: nothing edited",
        exit_code=EXIT_DONE,
        facts=[f"{finished.info.counts['entries']} entries, {human_size(finished.size)}, sha256 {finished.sha256}"],
        groups=edit_groups(edits),
        details=(f"by hand: {path}" for path in named),
        commands=[f"holdall verify {pasteable(target)}"],
    ).show(console)
    console.path(str(target))
    digests = msgspec.to_builtins(finished.info.digests)
    result = {"bundle": str(target), "size": finished.size, "sha256": finished.sha256, "digests": digests}
    return Outcome(result={**result, **edits_as_json(edits)})
