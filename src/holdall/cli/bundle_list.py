"""``holdall list``: the bundles of folders, newest first, and those in which a pattern is."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome, counted, flat, human_size, on_signal
from holdall.cli.views import Block, verdict_as_json
from holdall.errors import EXIT_DONE, EXIT_LOOK, BundleError, NoSuchEntry, UsageFault, pasteable
from holdall.kinds import noun
from holdall.legible import columns, shortened, table

if TYPE_CHECKING:
    from holdall.backups.listing import ListedBundle
    from holdall.backups.search_bundle import BundleSearch, Match
    from holdall.legible import Capped


_HEAD = ["TAKEN (UTC)", "SOURCE", "ASST", "STORES", "FILES", "SIZE", "VERDICT", "VERIFIED"]
# Columns that are left of a source: with the widest other cells they make eighty.
_SOURCE = 9
# Matches of a bundle that are shown without --verbose.
_MATCHES = 3
# Processor seconds for the search in a bundle, and for each megabyte of it one more.
_SECONDS = 5.0


@click.command("list", cls=options.Command)
@click.argument("folders", metavar="[DIR]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--grep",
    metavar="PATTERN",
    help="Only bundles with a matching name, id, instruction or file name; a regular expression, case ignored.",
)
@options.output
def command(console: Console, folders: tuple[Path, ...], grep: str | None) -> Outcome:
    """List the bundles of folders, newest first: time, source, contents, size, verdict, time of the last verify.

    DIR is a folder (not what is below it) or a bundle; unpacked folders are listed too. Default: archives, or the
    current folder if there is none. Reads a few kilobytes of each new bundle, and keeps what it read in
    DIR/.holdall-list.json. To check a bundle for damage use verify.

    Exits 3 if a bundle is damaged or can't be read, 14 if --grep matches nothing.
    """
    from holdall.backups.listing import summaries
    from holdall.backups.search_bundle import BundleSearch
    from holdall.cli.parameters import ARCHIVES

    search = BundleSearch(grep) if grep is not None else None
    folders = folders or (ARCHIVES if ARCHIVES.is_dir() else Path(),)
    every = summaries(folders, unpacked=True)
    matches: dict[Path, Capped[Match]] = {}
    shown, hit = every, None
    if search:
        every = list(_searched(console, every, search, matches))
        hit = [one for one in every if matches.get(one.path)]
        shown = [one for one in every if matches.get(one.path) or _is_wrong(one)]
    _print_rows(console, shown, matches)
    block = _block(every, hit, folders)
    block.show(console)
    return Outcome(
        exit_code=block.exit_code,
        result={
            "folders": [str(folder) for folder in folders],
            "grep": grep,
            "bundles": [_as_json(one, matches.get(one.path) if search else None) for one in shown],
        },
    )


def _searched(
    console: Console, found: list[ListedBundle], search: BundleSearch, matches: dict[Path, Capped[Match]]
) -> Iterator[ListedBundle]:
    """The summaries after the search in their bundles, which may find one damaged."""
    from holdall.backups.listing import BundleState
    from holdall.bundle.reader import open_bundle

    progress = console.progress()
    progress.stage("Searching", things="bundles")
    progress.expect(files=len(found), last=True)
    for one in found:
        if one.taken_at is not None:
            try:
                with _processor_time(one, _SECONDS + one.size / 1e6):
                    if one.is_folder:
                        matches[one.path] = search.in_folder(one.path)
                    else:
                        with open_bundle(one.path) as bundle:
                            matches[one.path] = search.matches(bundle)
            except BundleError as error:
                one = msgspec.structs.replace(one, state=BundleState.DAMAGED, problem=error.message)
        progress.advance(files=1)
        yield one
    console.close_progress()


@contextmanager
def _processor_time(one: ListedBundle, seconds: float) -> Iterator[None]:
    """Stop the block after so much time of the processor. Raises UsageFault then.

    A regular expression may take forever for a short line; the pattern is the user's own, the line is anybody's."""
    if not hasattr(signal, "setitimer"):  # Windows: there Ctrl-C stops it
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise UsageFault(
            f"can't use --grep: the search in {one.path} took {seconds:.0f} s of the processor",
            hint="use a simpler pattern: no * or + inside of another",
        )

    with on_signal(signal.SIGVTALRM, stop):
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _is_wrong(one: ListedBundle) -> bool:
    """Whether it is, or may be, a bundle that can't be used."""
    return one.state not in ("whole", "foreign")


def _print_rows(console: Console, found: list[ListedBundle], matches: dict[Path, Capped[Match]]) -> None:
    """A line for each, or two where the path doesn't fit; then what is wrong with it, and what matches."""
    if not found:
        return
    width = console.result_columns
    paths = ["PATH", *(flat(str(one.path)) for one in found)]
    rows = [_HEAD, *map(_row, found)]
    lines = list(table([[*row, path] for row, path in zip(rows, paths, strict=True)]))
    below = width is not None and any(columns(line) > width for line in lines)
    if width is not None and below:
        lines = list(table(rows))
        if (over := max(map(columns, lines)) - width) > 0:
            room = max(max(columns(row[1]) for row in rows) - over, _SOURCE)
            for row, each in zip(rows[1:], found, strict=True):
                row[1] = _cut(row[1], room, is_id=each.source is not None and not each.source.label)
            lines = list(table(rows))
    for line, path, one in zip(lines, paths, [None, *found], strict=True):
        console.path(line)
        if one is not None:
            if below:
                console.path(f"  {path}")
            _print_below(console, one, matches.get(one.path))


def _cut(source: str, room: int, *, is_id: bool) -> str:
    """A source in so many columns. Of an id the end is left: ids begin alike, and half of one must not look whole."""
    if is_id and source.isascii() and len(source) > room:
        return f"…{source[1 - room :]}"
    return shortened(source, room)


def _print_below(console: Console, one: ListedBundle, matches: Capped[Match] | None) -> None:
    if one.problem:
        console.result(flat(f"    {one.problem}"))
    elif console.verbose and one.verdict and not one.verdict.complete:
        console.result(f"    {one.verdict}")
    if matches:
        shown = matches if console.verbose else matches[:_MATCHES]
        for match in shown:
            console.result(flat(f"    {_said(match)}"))
        if more := matches.total - len(shown):
            console.result(f"    … and {more} more{'' if console.verbose else ' (-v lists them)'}")


def _said(match: Match) -> str:
    name = match.name or match.id
    if match.field == "name":
        return f"{noun(match.kind)} {name}: {match.id}"
    return f"{noun(match.kind)} {name}: {match.field}: {match.text}"


def _row(one: ListedBundle) -> list[str]:
    if one.verdict is None:
        return ["-", "-", "-", "-", "-", human_size(one.size), one.state.upper(), _day(one.verified_at)]
    counts = (one.counts.get(name, 0) for name in ("assistants", "vector_stores", "files"))
    state = "COMPLETE" if one.verdict.complete else "INCOMPLETE"
    return [
        f"{datetime.fromtimestamp(one.taken_at or 0, UTC):%Y-%m-%d %H:%M}",
        flat(one.source_title or ""),
        *map(str, counts),
        human_size(one.size),
        state if one.state == "whole" else one.state.upper(),
        _day(one.verified_at),
    ]


def _day(seconds: float | None) -> str:
    return "-" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def _block(every: list[ListedBundle], hit: list[ListedBundle] | None, folders: tuple[Path, ...]) -> Block:
    """``hit`` are those that match, None where nothing is searched for."""
    verdict, code = _held(every, hit, folders), EXIT_DONE
    wrong = Counter(one.state for one in every if _is_wrong(one))
    if wrong:
        verdict += f": {', '.join(f'{count} {state}' for state, count in sorted(wrong.items()))}"
        code = EXIT_LOOK
    elif hit is not None and not hit:
        code = NoSuchEntry.exit_code
    return Block(verdict=verdict, exit_code=code, commands=list(_next(every, hit)))


def _held(every: list[ListedBundle], hit: list[ListedBundle] | None, folders: tuple[Path, ...]) -> str:
    """How many bundles there are, or in how many of them something is found."""
    ours = [one for one in every if one.state != "foreign"]
    if not ours:
        return f"No bundles in {', '.join(map(str, folders))}"
    bundles = counted(len(ours), "bundle")
    if hit is not None:
        return f"Found in {len(hit)} of {bundles}" if hit else f"Not found in {bundles}"
    sources = len({one.source_identity for one in ours if one.source_identity})
    return f"{bundles} of {counted(sources, 'source')}, {human_size(sum(one.size for one in ours))}"


def _next(every: list[ListedBundle], hit: list[ListedBundle] | None) -> Iterator[str]:
    """The command to type next: for the first that is wrong, else for the newest that is whole."""
    wrong = next(filter(_is_wrong, every), None)
    newest = next((one for one in (every if hit is None else hit) if one.state == "whole"), None)
    if wrong:
        yield f"holdall verify {pasteable(wrong.path)}"
    elif newest:
        # What it says of itself is proved, or is looked at.
        verb = "inspect" if newest.verified_ok or newest.is_folder or hit is not None else "verify"
        yield f"holdall {verb} {pasteable(newest.path)}"


def _as_json(one: ListedBundle, matches: Capped[Match] | None) -> dict[str, Any]:
    return {
        **msgspec.to_builtins(one, enc_hook=str),
        "modified": int(one.modified),
        **(verdict_as_json(one.verdict) if one.verdict else {"complete": None, "verdict": None}),
        **({} if matches is None else {"matches": msgspec.to_builtins(matches), "matches_total": matches.total}),
    }
