"""``holdall remap``: the ids of a copy in the user's own code, environment and config files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from holdall.cli import options
from holdall.cli.console import Console, Outcome, counted
from holdall.errors import EXIT_DONE, EXIT_LOOK, CannotWrite

if TYPE_CHECKING:
    from holdall.remap.files import Change, Passed, Unmapped

__all__ = ["command"]

# Places of one kind that the terminal shows; --json has them all.
_SHOWN = 20


@click.command("remap", cls=options.Command)
@click.argument("mapping", type=click.Path(path_type=Path))
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH…")
@click.option("--write", "really", is_flag=True, help="Rewrite the files; without it a diff is printed.")
@options.output
@click.pass_obj
def command(console: Console, mapping: Path, paths: tuple[Path, ...], really: bool) -> Outcome:
    """Rewrite old ids in your own files as MAPPING says: an import's mapping.json, or the folder that has one.

    Prints a unified diff, and changes nothing without --write. Folders are looked through with all that is in them, but
    for version control, installed packages, symlinks, binary files and what an import wrote. Only whole ids count. Ends
    with 3 where changes are pending, or an id was left because the mapping leads to nothing or to several.
    """
    from holdall.remap.files import Change, Passed, scan, write
    from holdall.remap.renaming import mapping_file, read_renaming

    mapping = mapping_file(mapping)
    renaming = read_renaming(mapping)
    changes: list[tuple[Path, int]] = []
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
                    console.result(f"{found.path}: {found.count} id{'s' if found.count != 1 else ''}")
                elif not console.json:
                    _print_diff(console, found)
                changes.append((found.path, found.count))
            case Passed():
                passed.append(found)
            case _:
                unmapped.append(found)
    _tell(console, changes, unmapped, passed, really=really)
    pending = bool(changes) and not really
    return Outcome(
        exit_code=EXIT_LOOK if pending or unmapped or passed else EXIT_DONE,
        result={
            "mapping": str(mapping),
            "written": really,
            "files": [{"path": str(path), "ids": count} for path, count in changes],
            "unmapped": [
                {"id": one.left.id, "why": one.left.why, "path": str(one.path), "line": one.left.line}
                for one in unmapped
            ],
            "passed": [{"path": str(one.path), "why": one.why} for one in passed],
        },
    )


def _print_diff(console: Console, change: Change) -> None:
    """As it is where it goes into a file or another program, so that it can be applied; escaped on a terminal."""
    from holdall.remap.files import unified

    raw = getattr(console.stdout, "buffer", None)
    if raw is not None and not console.stdout.isatty():
        console.stdout.flush()
        raw.writelines(unified(change))
        raw.flush()
        return
    for line in unified(change):
        console.result(line.decode("utf-8", "backslashreplace").rstrip("\r\n"))


def _tell(
    console: Console,
    changes: list[tuple[Path, int]],
    unmapped: list[Unmapped],
    passed: list[Passed],
    *,
    really: bool,
) -> None:
    for file in passed[:_SHOWN]:
        console.warn(f"left as it is: {file.path}: {file.why}")
    if len(passed) > _SHOWN:
        console.warn(f"… and {len(passed) - _SHOWN} more")
    for one in unmapped[:_SHOWN]:
        times = f" ({one.left.count} times)" if one.left.count > 1 else ""
        console.warn(f"{one.path}:{one.left.line}: {one.left.id} left{times}: {one.left.why}")
    if len(unmapped) > _SHOWN:
        console.warn(f"… and {len(unmapped) - _SHOWN} more")
    where = f"{counted(sum(count for _, count in changes), 'id')} in {counted(len(changes), 'file')}"
    if not changes:
        console.say("no id to rewrite")
    elif really:
        console.say(f"rewrote {where}")
    else:
        console.say(f"to rewrite: {where}; --write does it")
