"""``holdall extract``: take files out of a bundle."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome, counted, human_size
from holdall.cli.views import NAMED, SHOWN, Block, Group
from holdall.errors import EXIT_DONE, EXIT_LOOK, Interrupted, UsageFault
from holdall.legible import Capped

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
    flaws = _TextFlaws(console)
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
        flaws.note(found)
    if (left := len(files) - SHOWN) > 0 and not console.verbose:
        console.result(f"… and {left} more (-v lists them)")
    flawed = flaws.groups()
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


class _TextFlaws:
    """Plain texts that may not be the file's whole text. Of a great many only those are kept that are shown."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._cut, self._doubtful = Group(title=""), Group(title="")

    def note(self, text: Extracted) -> None:
        if text.truncated:
            self._add(self._cut, text, "stops short", "truncated by the server")
        if text.doubt:
            self._add(self._doubtful, text, "uncertain", text.doubt)

    def _add(self, group: Group, text: Extracted, what: str, why: str) -> None:
        group.total, group.why = group.total + 1, group.why or why
        if len(group.items) < NAMED:
            group.items.append(Path(text.path).name)
        self._console.detail(f"{text.path}: {what}: {why}")

    def groups(self) -> list[Group]:
        self._cut.title = f"{counted(self._cut.total, 'text')} cut short"
        self._doubtful.title = counted(self._doubtful.total, "uncertain text")
        return [group for group in (self._cut, self._doubtful) if group.total]
