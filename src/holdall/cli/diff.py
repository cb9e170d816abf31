"""``holdall diff``: what changed between two bundles, or a bundle and a live project."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec.structs import replace

from holdall.cli import options, parameters
from holdall.cli.console import Console, Outcome
from holdall.cli.views import opened_folder
from holdall.errors import Interrupted, Mistakes, UsageFault
from holdall.selection import Selection, pattern
from holdall.settings import DestinationSettings, SourceSettings

if TYPE_CHECKING:
    from holdall.bundle.reader import BundleReader
    from holdall.diff.record_source import LiveSource, RecordSource
    from holdall.exporter.roots import Roots

_Settings = SourceSettings | DestinationSettings

LIVE = {"src:": "src", "dst:": "dst"}
# What an export was asked for, as bundles and ``Roots`` name it.
_FLAGS = ("file_search", "code_interpreter", "assistants", "unused", "all_versions")


@click.command(
    "diff",
    cls=options.Command,
    epilog="Example:  holdall diff archives/monday.tar.zst archives/tuesday.tar.zst -v",
)
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option(
    "--mapping",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The mapping.json of an import. Default: all those in OUTPUT_DIR.",
)
@click.option("--output-dir", metavar="DIR", help="Folder with mappings, default ./out (OUTPUT_DIR).")
@options.accounts("src", "dst")
@options.output
def command(console: Console, /, before: str, after: str, **given: Any) -> Outcome:
    """Show what changed from A to B. Each is a bundle, its folder, or a live project: src: or dst:.

    Lists what was added, removed, changed or renamed (same content, other id), by assistant. -v also shows all values,
    and texts line by line. Copies are matched with their source by the mappings of imports, or by their metadata. Files
    of a live project are compared by name and size, not by content. Times, usage and status are ignored. Only reads.

    Exits 0 if nothing differs, 3 if something does.
    """
    from holdall.cli.diffview import show_diff
    from holdall.diff.compare_sources import Copies, compare_sources
    from holdall.importer.verbs.list_runs import known_copies

    settings = _settings(console, (before, after), given)
    output = parameters.read_output_dir(console, given)
    copies = Copies(**msgspec.structs.asdict(known_copies(output, given["mapping"])))
    with ExitStack() as stack:
        first, second = _sources(console, (before, after), settings, stack)
        console.progress().stage("Comparing")
        found = compare_sources(first, second, copies)
    return show_diff(console, found, (first.title, second.title))


def _settings(console: Console, sides: Sequence[str], given: Mapping[str, Any]) -> dict[str, _Settings]:
    """The settings of each live side. Raises UsageFault, for all that is wrong together."""
    mistakes = Mistakes()
    found: dict[str, _Settings] = {}
    for live, side in LIVE.items():
        if live in sides:
            with mistakes.noted():
                read = parameters.read_source if side == "src" else parameters.read_destination
                found[live] = read(console, given)
            continue
        for name in ("base_url", "insecure_http", "org_id", "project_id", "token_command"):
            if given.get(f"{side}_{name}") is not None:
                flag = f"--{side}-{name.replace('_', '-')}"
                mistakes.add(UsageFault(f"{flag} needs {live}", hint=f"compare with {live}, or leave out {flag}"))
    mistakes.raise_all()
    return found


def _sources(
    console: Console, sides: Sequence[str], settings: Mapping[str, _Settings], stack: ExitStack
) -> tuple[RecordSource, RecordSource]:
    """What each side has. A live project is read as the export of the bundle that it is compared with read its own."""
    from holdall.bundle.reader import open_bundle
    from holdall.diff.record_source import BundleSource

    readers = {}
    for side in sides:
        if side not in LIVE and side not in readers:
            file = stack.enter_context(opened_folder(console, Path(side)))
            readers[side] = stack.enter_context(open_bundle(side, file=file))
    found: list[RecordSource] = []
    for side, other in zip(sides, reversed(sides), strict=True):
        if side in readers:
            found.append(BundleSource(readers[side]))
            continue
        try:
            found.append(asyncio.run(_live(console, side, settings[side], readers.get(other))))
        except KeyboardInterrupt:
            raise Interrupted("interrupted: nothing was compared") from None
    return found[0], found[1]


async def _live(console: Console, side: str, settings: _Settings, other: BundleReader | None) -> LiveSource:
    """Reads a live project. Without an Assistants API its assistants are those of the bundle it is compared with."""
    from holdall.diff.record_source import read_live
    from holdall.dumps import Dump
    from holdall.exporter.roots import gather
    from holdall.kinds import Platform
    from holdall.remote.client import Account, probe
    from holdall.remote.survey import Definitions, Surveyor
    from holdall.remote.wire import Surface

    endpoint = settings.endpoint
    assert endpoint is not None  # read with the key needed
    title = "source" if side == "src:" else "destination"
    start = _roots(other, settings)
    async with Account(endpoint, side=title, concurrency=settings.concurrency, progress=console.progress()) as account:
        # What a Foundry project has may be on either.
        account.surfaces = tuple(Surface)
        account.progress.stage(f"Reading definitions from {endpoint.host}")
        # A Foundry project may have new agents only.
        if start.assistants and account.platform is Platform.OPENAI and await probe(account):
            dump = Dump(assistants=list(other.assistants())) if other else None
            kept = "those of the bundle are not compared" if dump else "comparing vector stores and files only"
            account.progress.note(f"{endpoint.title} has no Assistants API; {kept}")
            start = replace(start, dump=dump, assistants=dump is not None)
        surveyor = Surveyor(account, file_search=start.file_search, code_interpreter=start.code_interpreter)
        try:
            definitions = await gather(surveyor, start)
        except UsageFault as error:
            if not (start.selection.only or start.selection.exclude):
                definitions = Definitions()  # an empty project
            else:
                # A copy has other ids and perhaps other names.
                account.progress.note(f"{error.message}; comparing all of {endpoint.title}")
                definitions = await gather(surveyor, replace(start, selection=Selection()))
        return await read_live(account, surveyor, definitions)


def _roots(other: BundleReader | None, settings: _Settings) -> Roots:
    """What to read of a live project: what ``other`` was asked for, or what an export would take."""
    from holdall.exporter.roots import Roots

    if other is None:
        return Roots(selection=settings.selection if isinstance(settings, SourceSettings) else Selection())
    options, chosen = other.info.options, other.info.selection
    flags = {name: options[name] for name in _FLAGS if isinstance(options.get(name), bool)}
    only, exclude = (tuple(filter(_is_pattern, chosen.get(name) or ())) for name in ("only", "exclude"))
    return Roots(selection=Selection(only=only, exclude=exclude), **flags)


def _is_pattern(text: object) -> bool:
    """Whether a bundle's word for what was chosen is one."""
    try:
        return bool(pattern(text)) if isinstance(text, str) else False
    except UsageFault:
        return False
