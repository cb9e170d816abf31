"""``holdall remap``: the ids of a copy in the user's own code, environment and config files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome, counted
from holdall.cli.views import show_first
from holdall.errors import EXIT_DONE, EXIT_LOOK, CannotWrite

if TYPE_CHECKING:
    from holdall.remap.files import Change, Passed, Unmapped


@click.command("remap", cls=options.Command)
@click.argument("mapping", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH…")
@click.option("--write", "really", is_flag=True, help="Change the files; without this, only print a diff.")
@options.output
def command(console: Console, mapping: Path, paths: tuple[Path, ...], really: bool) -> Outcome:
    """Replace old ids in your own files. MAPPING is an import's mapping.json, or a folder that contains one.

    Prints a unified diff; changes files only with --write. Searches folders recursively, except version control,
    installed packages, symlinks, binary files and files written by an import. Replaces whole ids only. Exits 3 if
    changes are pending, or if an old id has no new id or several.
    """
    from holdall.remap.files import Change, Passed, scan, write
    from holdall.remap.renaming import mapping_file, read_renaming

    mapping = mapping_file(mapping)
    renaming = read_renaming(mapping)
    changes: list[dict[str, Any]] = []
    unmapped: list[Unmapped] = []
    passed: list[Passed] = []
    for found in scan(paths, mapping, renaming):
        match found:
            case Change():
                if really:
                    try:
                        write(found)
                    except CannotWrite as error:
                        passed.append(Passed(path=found.path, why=error.message))
                        continue
                    console.result(f"{found.path}: {counted(found.count, 'id')}")
                elif not console.json:
                    _print_diff(console, found)
                changes.append({"path": str(found.path), "ids": found.count})
            case Passed():
                passed.append(found)
            case _:
                unmapped.append(found)
    lines = (f"left as it is: {one.path}: {one.why}" for one in passed)
    show_first(console.warn, lines, len(passed), indent="")
    show_first(console.warn, map(_unmapped, unmapped), len(unmapped), indent="")
    console.say(_summary(changes, really))
    pending = bool(changes) and not really
    return Outcome(
        exit_code=EXIT_LOOK if pending or unmapped or passed else EXIT_DONE,
        result={
            "mapping": str(mapping),
            "written": really,
            "files": changes,
            "unmapped": [
                {"id": one.left.id, "why": one.left.why, "path": str(one.path), "line": one.left.line}
                for one in unmapped
            ],
            "passed": msgspec.to_builtins(passed, enc_hook=str),
        },
    )


def _print_diff(console: Console, change: Change) -> None:
    """Print raw bytes to a file or a pipe, so that the patch applies; escape them on a terminal."""
    from holdall.remap.files import unified

    raw = getattr(console.stdout, "buffer", None)
    if raw is not None and not console.stdout.isatty():
        console.stdout.flush()
        raw.writelines(unified(change))
        raw.flush()
        return
    for line in unified(change):
        console.result(line.decode("utf-8", "backslashreplace").rstrip("\r\n"))


def _summary(changes: list[dict[str, Any]], really: bool) -> str:
    if not changes:
        return "no id to rewrite"
    where = f"{counted(sum(one['ids'] for one in changes), 'id')} in {counted(len(changes), 'file')}"
    return f"rewrote {where}" if really else f"to rewrite: {where}; --write does it"


def _unmapped(one: Unmapped) -> str:
    times = f" ({one.left.count} times)" if one.left.count > 1 else ""
    return f"{one.path}:{one.left.line}: {one.left.id} left{times}: {one.left.why}"
