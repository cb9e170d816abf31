"""``holdall extract``: take files out of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import click
import msgspec

from holdall.capped import Capped
from holdall.cli import options
from holdall.cli.console import Console, Outcome, counted, human_size
from holdall.errors import EXIT_LOOK, UsageFault

_SHOWN = 50  # files named one by one for people; --json names them all


@click.command("extract", cls=options.Command)
@options.bundle
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1)
@click.option("--to", type=click.Path(path_type=Path), metavar="DIR", help="The folder to write to.")
@click.option("-o", "--output", metavar="FILE", help="Write the one entry that matches to FILE; - is stdout.")
@click.option("--force", is_flag=True, help="Replace files that exist already.")
@click.option("--salvage", is_flag=True, help="From a damaged bundle: whatever proves whole.")
@options.output
def command(console: Console, /, bundle: Path, patterns: tuple[str, ...], to: Path | None, **given: Any) -> Outcome:
    """Take files out of a bundle, under their original names as far as those are safe.

    A PATTERN is a path in the bundle, an id, or an original filename, with * ? […] if you like (quoted). Without one,
    everything is taken out. Records go to DIR/data/…, parsed text to NAME.text.json.
    """
    output, force, salvage = given["output"], given["force"], given["salvage"]
    if (to is None) == (output is None):
        raise UsageFault("can't extract: say where to, with either --to DIR or -o FILE", hint="--to extracted")
    if to is not None:
        return _many(console, bundle, patterns, to, force, salvage)
    if len(patterns) != 1 or salvage:
        raise UsageFault("can't extract with -o: it takes exactly one pattern, and no --salvage", hint="--to DIR")
    return _one(console, bundle, patterns[0], output, force)


def _one(console: Console, bundle: Path, pattern: str, output: str, force: bool) -> Outcome:
    from holdall.extraction import extract_one, open_one

    if output != "-":
        written = extract_one(bundle, pattern, Path(output), force=force)
        console.result(written.path)
        return Outcome(result={"files": [msgspec.to_builtins(written)], "lost": []})
    if console.json:
        raise UsageFault("can't extract to stdout with --json: both would be written there", hint="-o FILE")
    # The bytes as they are: escaping is for lines.
    stdout: BinaryIO = console.stdout.buffer
    with open_one(bundle, pattern) as (_, pieces):
        for piece in pieces:
            stdout.write(piece)
    stdout.flush()
    return Outcome()


def _many(console: Console, bundle: Path, patterns: tuple[str, ...], to: Path, force: bool, salvage: bool) -> Outcome:
    from holdall import extraction

    take_out = extraction.salvage if salvage else extraction.extract
    files: list[Any] = []
    lost: Capped[Any] = Capped()
    size = 0
    for found in take_out(bundle, patterns, to, force=force, progress=console.progress()):
        if isinstance(found, extraction.Lost):
            lost.append(msgspec.to_builtins(found))
            if len(lost) <= _SHOWN:
                console.warn(f"lost: {found.message}")
        else:
            size += found.size
            files.append(msgspec.to_builtins(found) if console.json else None)
            if len(files) <= _SHOWN:
                console.result(found.path)
    console.close_progress()
    if len(lost) > _SHOWN:
        console.warn(f"lost: … and {lost.total - _SHOWN} more; with --json the first {len(lost)} are listed")
    if len(files) > _SHOWN:
        console.result(f"… and {len(files) - _SHOWN} more")
    console.say(
        f"{counted(len(files), 'file')}, {human_size(size)}, in {to}" + (f"; {lost.total} not saved" if lost else "")
    )
    return Outcome(exit_code=EXIT_LOOK if lost else 0, result={"files": files, "lost": lost}, losses=lost)
