"""``holdall remap``: the ids of a copy in the user's own code, environment and config files."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome, counted
from holdall.cli.views import NAMED, SHOWN, Block, Group
from holdall.errors import EXIT_DONE, EXIT_LOOK, CannotWrite, pasteable

if TYPE_CHECKING:
    from holdall.remap.files import Change, Passed, Unmapped


# Lines of a diff that a terminal is shown.
_DIFF = 8


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
    from holdall.remap.files import scan
    from holdall.remap.renaming import mapping_file, read_renaming

    mapping = mapping_file(mapping)
    found = _apply(console, scan(paths, mapping, read_renaming(mapping)), really)
    is_pending = bool(found.changes) and not really
    code = EXIT_LOOK if is_pending or found.unmapped or found.passed else EXIT_DONE
    again = " ".join(map(pasteable, (mapping, *paths)))
    unmapped = ((one.left.why, f"{one.left.id} in {one.path}") for one in found.unmapped)
    passed = ((one.why, str(one.path)) for one in found.passed)
    Block(
        verdict=_summary(found.changes, really),
        exit_code=code,
        groups=[*_groups("id left", "ids left", unmapped), *_groups("file left", "files left", passed)],
        details=chain((f"not changed: {one.path}: {one.why}" for one in found.passed), map(_unmapped, found.unmapped)),
        commands=[f"holdall remap {again} --write"] if is_pending else [],
    ).show(console)
    return Outcome(
        exit_code=code,
        result={
            "mapping": str(mapping),
            "written": really,
            "files": found.changes,
            "unmapped": [
                {"id": one.left.id, "why": one.left.why, "path": str(one.path), "line": one.left.line}
                for one in found.unmapped
            ],
            "passed": msgspec.to_builtins(found.passed, enc_hook=str),
        },
    )


class _Found(msgspec.Struct):
    """What became of the files: ``changes`` as ``--json`` has them, ids that have no new one, files that were left."""

    changes: list[dict[str, Any]] = []
    unmapped: list[Unmapped] = []
    passed: list[Passed] = []


def _apply(console: Console, scanned: Iterable[Change | Passed | Unmapped], really: bool) -> _Found:
    """Write the changes, or print them as a diff."""
    from holdall.remap.files import Change, Passed, write

    found, diff = _Found(), _Diff(console)
    for one in scanned:
        match one:
            case Change():
                if really:
                    try:
                        write(one)
                    except CannotWrite as error:
                        found.passed.append(Passed(path=one.path, why=error.message))
                        continue
                    if len(found.changes) < SHOWN or console.verbose:
                        console.result(f"{one.path}: {counted(one.count, 'id')}")
                elif not console.json:
                    diff.show(one)
                found.changes.append({"path": str(one.path), "ids": one.count})
            case Passed():
                found.passed.append(one)
            case _:
                found.unmapped.append(one)
    diff.end()
    return found


class _Diff:
    """The diff on stdout: raw bytes to a file or a pipe, so that the patch applies; escaped on a terminal, where the
    first lines are shown without ``--verbose``."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lines = 0

    def show(self, change: Change) -> None:
        from holdall.remap.files import unified

        console = self._console
        raw = getattr(console.stdout, "buffer", None)
        if raw is not None and not console.stdout.isatty():
            console.stdout.flush()
            raw.writelines(unified(change))
            raw.flush()
            return
        for line in unified(change):
            self._lines += 1
            if self._lines <= _DIFF or console.verbose or not console.stdout.isatty():
                console.path(line.decode("utf-8", "backslashreplace").rstrip("\r\n"))

    def end(self) -> None:
        """Say how many lines were left out."""
        if self._lines > _DIFF and not self._console.verbose and self._console.stdout.isatty():
            self._console.result(f"… and {self._lines - _DIFF} more lines (-v shows them)")


def _summary(changes: list[dict[str, Any]], really: bool) -> str:
    if not changes:
        return "NOTHING TO REWRITE"
    where = f"{counted(sum(one['ids'] for one in changes), 'id')} in {counted(len(changes), 'file')}"
    return f"REWRITTEN: {where}" if really else f"TO REWRITE: {where}"


def _groups(one: str, many: str, found: Iterable[tuple[str, str]]) -> list[Group]:
    """Groups by the reason, which comes first in what is ``found``, the name second."""
    groups: dict[str, list[str]] = {}
    for why, name in found:
        groups.setdefault(why, []).append(name)
    return [
        Group(title=f"{len(names)} {one if len(names) == 1 else many}", items=names[:NAMED], total=len(names), why=why)
        for why, names in groups.items()
    ]


def _unmapped(one: Unmapped) -> str:
    times = f" ({one.left.count} times)" if one.left.count > 1 else ""
    return f"{one.path}:{one.left.line}: {one.left.id} left{times}: {one.left.why}"
