"""``holdall extract``: take files out of a bundle."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click
import msgspec

from holdall.capped import Capped
from holdall.cli import options
from holdall.cli.block import NAMED, SHOWN, Block, Group
from holdall.cli.console import Console, Outcome, counted, human_size
from holdall.errors import EXIT_DONE, EXIT_LOOK, Interrupted, UsageFault

if TYPE_CHECKING:
    from holdall.bundle.texts import Joined
    from holdall.extraction import Extracted


@click.command("extract", cls=options.Command)
@options.bundle
@click.argument("patterns", metavar="[PATTERN]...", nargs=-1)
@click.option("--to", type=click.Path(path_type=Path), metavar="DIR", help="Folder to write to.")
@click.option("-o", "--output", metavar="FILE", help="Write the only matching entry to FILE; - is stdout.")
@click.option("--force", is_flag=True, help="Replace existing files.")
@click.option("--text", is_flag=True, help="Write parsed text as plain text (NAME.txt).")
@click.option("--salvage", is_flag=True, help="Recover what is intact from a damaged bundle.")
@options.output
def command(console: Console, /, bundle: Path, patterns: tuple[str, ...], to: Path | None, **given: Any) -> Outcome:
    """Extract files from a bundle, under their original names where those are safe.

    A PATTERN is a path in the bundle, an id, or an original filename, and may contain * ? […] (quoted). Without a
    PATTERN, extracts everything. Records go to DIR/data/…, parsed text to NAME.text.json, or to NAME.txt with
    --text. Exits 3 if something is lost, or if a plain text is incomplete or uncertain.
    """
    output, force, salvage, text = given["output"], given["force"], given["salvage"], given["text"]
    if (to is None) == (output is None):
        raise UsageFault("can't extract: --to DIR or -o FILE is missing", hint="for example --to extracted")
    if salvage and text:
        raise UsageFault(
            "can't combine --salvage and --text: what is needed to join texts may be damaged", hint="--salvage"
        )
    if to is not None:
        try:
            return _many(console, bundle, patterns, to, force=force, salvage=salvage, text=text)
        except KeyboardInterrupt:
            # What is salvaged without an index has no checksum by which a file could be known again.
            replacing = " with --force" if salvage and not force else ""
            raise Interrupted(
                f"interrupted: files extracted so far are in {to}", hint=f"run the same command again{replacing}"
            ) from None
    if len(patterns) != 1 or salvage:
        raise UsageFault("can't extract with -o: it takes exactly one pattern, and no --salvage", hint="--to DIR")
    return _one(console, bundle, patterns[0], output, force=force, text=text)


def _one(console: Console, bundle: Path, pattern: str, output: str, *, force: bool, text: bool) -> Outcome:
    from holdall.extraction import extract_one, open_one

    if output != "-":
        written = extract_one(bundle, pattern, Path(output), force=force, text=text)
        console.result(written.path)
        code = _flawed(console, written.path, written)
        return Outcome(exit_code=code, result={"files": [msgspec.to_builtins(written)], "lost": []})
    if console.json:
        raise UsageFault("can't extract to stdout with --json: both would go to stdout", hint="-o FILE")
    # The bytes as they are: escaping is for lines.
    stdout: BinaryIO = console.stdout.buffer
    with open_one(bundle, pattern, text=text) as (entry, pieces, _, joined):
        for piece in pieces:
            stdout.write(piece)
    stdout.flush()
    return Outcome(exit_code=_flawed(console, entry.filename or entry.path, joined) if joined else EXIT_DONE)


def _flawed(console: Console, name: str, text: Extracted | Joined) -> int:
    """Warn where a plain text may not be the file's whole text. Returns the exit code that follows."""
    if text.truncated:
        console.warn(f"{name}: truncated by the server")
    if text.doubt:
        console.warn(f"{name}: uncertain text: {text.doubt}")
    return EXIT_LOOK if text.truncated or text.doubt else EXIT_DONE


def _many(
    console: Console, bundle: Path, patterns: tuple[str, ...], to: Path, *, force: bool, salvage: bool, text: bool
) -> Outcome:
    from holdall import extraction

    take_out = extraction.salvage if salvage else partial(extraction.extract, text=text)
    files: list[Any] = []
    lost: Capped[Any] = Capped()
    # Of a great many files only those are kept that are shown.
    cut, doubtful = Group(title=""), Group(title="")
    size = 0
    for found in take_out(bundle, patterns, to, force=force, progress=console.progress()):
        if isinstance(found, extraction.Lost):
            lost.append(msgspec.to_builtins(found))
            console.detail(f"lost: {found.message}")
            continue
        size += found.size
        files.append(msgspec.to_builtins(found) if console.json else None)
        if len(files) <= SHOWN or console.verbose:
            console.path(found.path)
        for group, reason in ((cut, "truncated by the server" * found.truncated), (doubtful, found.doubt)):
            if reason:
                group.total, group.why = group.total + 1, group.why or reason
                group.items += [Path(found.path).name] * (len(group.items) < NAMED)
                console.detail(f"{found.path}: {'stops short' if group is cut else 'uncertain'}: {reason}")
    if (left := len(files) - SHOWN) > 0 and not console.verbose:
        console.result(f"… and {left} more (-v lists them)")
    cut.title = f"{counted(cut.total, 'text')} cut short"
    doubtful.title = f"{doubtful.total} uncertain text{'s' if doubtful.total > 1 else ''}"
    flawed = [group for group in (cut, doubtful) if group.total]
    code = EXIT_LOOK if lost or flawed else EXIT_DONE
    Block(
        verdict=f"DAMAGED: {lost.total} lost, the rest extracted" if lost else "EXTRACTED",
        exit_code=code,
        findings=(one["message"] for one in lost),
        findings_total=lost.total,
        facts=[f"{counted(len(files), 'file')}, {human_size(size)}, in {to}"],
        groups=flawed,
    ).show(console)
    return Outcome(exit_code=code, result={"files": files, "lost": lost}, losses=lost)
