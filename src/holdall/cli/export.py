"""``holdall export``: a project into one bundle file."""

from __future__ import annotations

import asyncio
import re
import secrets
import sys
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options, parameters, views
from holdall.cli.console import Console, Outcome, human_size
from holdall.errors import CannotWrite, Interrupted, Mistakes, UsageFault, pasteable
from holdall.kinds import KINDS
from holdall.model import Kind
from holdall.safe_open import read_regular
from holdall.settings import SourceSettings

if TYPE_CHECKING:
    from holdall.bundle.layout import Capture
    from holdall.dumps import Dump
    from holdall.exporter.report import ExportReport
    from holdall.exporter.run_export import ExportOptions


_ARCHIVES = Path("archives")
_SUFFIX = ".tar.zst"
# Fidelities that a person reads better in other words.
_WORDS = {"text": "text only", "unavailable": "missing", "container": "through a container"}


@click.command(cls=options.Command)
@options.output_file("Bundle to write. Default: archives/<label>-<UTC time>.tar.zst")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@options.what_to_export
@options.how_to_export
@click.option(
    "--dry-run", is_flag=True, help="Show what would be exported and what would certainly be missing; write nothing."
)
@click.option("--skip-if-unchanged", is_flag=True, help="Write no bundle if nothing has changed since the parent.")
@click.option(
    "--accept-known-losses",
    is_flag=True,
    help="Exit 0 if nothing is missing that the parent had.",
)
@options.accounts("src")
@options.output
def command(console: Console, /, **given: Any) -> Outcome:
    """Back up a project's assistants, agents, vector stores and files into one bundle file.

    Needs OPENAI_SRC_API_KEY. Only reads from the project, except with --via-container. If the project has no Assistants
    API, exports all vector stores and files; --from-dump adds definitions that you saved. Prints only the path of the
    bundle to stdout. Exits 4 if anything is missing or below --min-fidelity, 3 on warnings; the bundle is valid in both
    cases. To resume an interrupted export, run the same command again.
    """
    mistakes = Mistakes()
    with mistakes.noted():
        settings = parameters.read_source(console, given, key_needed=not given["from_dump"])
    with mistakes.noted():
        dump = dump_of(given)
    mistakes.raise_all()
    if given["dry_run"]:
        from holdall.cli.preview import show_preview

        return show_preview(console, settings, export_options(settings, given, dump))
    return run_export(console, settings, given, dump)


def dump_of(given: Mapping[str, Any]) -> Dump | None:
    """Read the dumps that were given. Raises UsageFault and CannotWrite, for all of them together."""
    from holdall.dumps import read_dumps

    mistakes, dumps = Mistakes(), []
    if given["from_dump"] and given["no_assistants"]:
        mistakes.add(UsageFault("--from-dump can't be given together with --no-assistants"))
    for name in given["from_dump"]:
        try:
            dumps.append((name, sys.stdin.buffer.read() if name == "-" else read_regular(name)))
        except OSError as error:
            mistakes.add(CannotWrite(f"can't read {name}: {error.strerror or error}"))
    with mistakes.noted():
        found = read_dumps(dumps) if dumps else None
    mistakes.raise_all()
    return found


def run_export(
    console: Console, settings: SourceSettings, given: Mapping[str, Any], dump: Dump | None, *, kept: bool = True
) -> Outcome:
    """Export as the options ``given`` say, and print the report. The bundle's path is in the result.

    ``kept`` False: the bundle is deleted with the command, so no hint names it, and its parent is looked for in
    ``archives``. Raises Interrupted after Ctrl-C.
    """
    chosen: list[Path] = []
    try:
        report = asyncio.run(_export(console, settings, given, dump, chosen, kept=kept))
    except KeyboardInterrupt:
        raise _interrupted(chosen if kept else []) from None
    console.close_progress()
    missing = _show_report(console, report, kept=kept)
    if kept:
        console.result(str(report.bundle))
    # The losses stand beside the result.
    result = {key: value for key, value in msgspec.to_builtins(report, enc_hook=str).items() if key != "losses"}
    return Outcome(
        exit_code=report.verdict.exit_code,
        result={**result, **views.verdict_as_json(report.verdict), **missing},
        losses=[msgspec.to_builtins(loss) for loss in report.losses],
    )


def _interrupted(chosen: list[Path]) -> Interrupted:
    from holdall.bundle.journal import partial_folder, unfinished

    if not chosen or unfinished(chosen[0]) is None:
        return Interrupted("interrupted: nothing was written")
    return Interrupted(
        f"interrupted: what was fetched is kept in {partial_folder(chosen[0])}",
        hint="run the same command again to resume",
    )


async def _export(
    console: Console,
    settings: SourceSettings,
    given: Mapping[str, Any],
    dump: Dump | None,
    chosen: list[Path],
    *,
    kept: bool,
) -> ExportReport:
    """Export; ``chosen`` gets the bundle's path as soon as that is known."""
    from holdall.bundle.journal import partial_folder
    from holdall.exporter.earlier import where_to_write
    from holdall.exporter.run_export import export
    from holdall.remote.client import Account

    progress, endpoint = console.progress(), settings.endpoint
    folder = None if kept else _ARCHIVES

    def target(capture: Capture) -> Path:
        label = settings.label or (account and account.project) or (endpoint and endpoint.host) or "dump"
        fresh = _fresh(given["output"], label)
        path, resumed = where_to_write(
            fresh, capture, named=fresh == given["output"], resume=given["resume"], now=time.time()
        )
        if resumed:
            console.say(f"going on with {partial_folder(path)}, which an earlier run left unfinished")
        chosen.append(path)
        return path

    def parent(target: Path, capture: Capture) -> Path | None:
        return _parent(console, given["parent"], folder or target.parent, capture)

    if endpoint:
        console.say(f"exporting from {endpoint.title}")
    async with (
        Account(endpoint, side="source", concurrency=settings.concurrency, progress=progress)
        if endpoint
        else nullcontext() as account
    ):
        return await export(
            account,
            target,
            export_options(settings, given, dump),
            clock=time.time,
            parent=parent,
            force=given["force"],
            progress=progress,
        )


def export_options(settings: SourceSettings, given: Mapping[str, Any], dump: Dump | None) -> ExportOptions:
    from holdall.exporter.fetch import Fallbacks
    from holdall.exporter.report import Policy
    from holdall.exporter.roots import Roots
    from holdall.exporter.run_export import ExportOptions
    from holdall.model import Fidelity

    lowest = Fidelity.UNAVAILABLE if given["min_fidelity"] == "any" else Fidelity(given["min_fidelity"])
    return ExportOptions(
        start=Roots(
            selection=settings.selection,
            file_search=settings.file_search,
            code_interpreter=settings.code_interpreter,
            assistants=not given["no_assistants"],
            unused=given["unused"],
            dump=dump,
        ),
        label=settings.label,
        fallbacks=Fallbacks(
            originals=given["originals"],
            # Unlike any other's, so that nothing is deleted at the end but what this export made.
            containers=f"holdall-export-{secrets.token_hex(8)}" if given["via_container"] else None,
        ),
        policy=Policy(min_fidelity=lowest, allow_missing=frozenset(given["allow_missing"])),
        accept_known_losses=given["accept_known_losses"],
        skip_if_unchanged=given.get("skip_if_unchanged", False),
    )


def _parent(console: Console, wanted: str, folder: Path, capture: Capture) -> Path | None:
    """The bundle to take contents from, quickly verified. ``wanted``: auto, none or a bundle's path."""
    from holdall.exporter.earlier import choose_parent
    from holdall.verification import verify

    def is_whole(path: Path) -> bool:
        return verify(path, quick=True).whole

    if wanted == "none":
        return None
    if wanted == "auto":
        found = choose_parent(folder, capture.source, is_whole, console.warn)
    else:
        found = Path(wanted)
        if not is_whole(found):
            more = f"holdall verify {pasteable(found)} says more"
            console.warn(f"{found} is damaged: what is whole of it is taken; {more}")
    if found:
        console.say(f"what has not changed since is taken from {found}")
    return found


def _fresh(output: Path | None, label: str) -> Path:
    """Where a new bundle goes. The folder ``archives`` is made; a folder that the user names must exist."""
    # Part of a file name on any system.
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-.")[:60] or "project"
    name = f"{slug}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}{_SUFFIX}"
    if output is None:
        _ARCHIVES.mkdir(exist_ok=True)
        return _ARCHIVES / name
    if output.is_dir():
        return output / name
    parameters.require_folder(output)
    return output


def _show_report(console: Console, report: ExportReport, *, kept: bool) -> dict[str, Any]:
    """Print the report. Returns what the bundle lacks, for ``--json``."""
    if report.unchanged_since is not None:
        when = f"{datetime.fromtimestamp(report.unchanged_since, UTC):%Y-%m-%d %H:%M} UTC"
        console.say(f"nothing has changed since {when}: no new bundle, {report.bundle} is the newest")
    kinds = [kind for kind in KINDS if kind is not Kind.MEMBERSHIP]
    console.say(f"{views.holdings(report.counts, kinds)} -> {human_size(report.size)}")
    numbers = (f"{n} {_WORDS.get(each, each)}" for each, n in report.fidelities.items() if n or each == "original")
    console.say(f"files: {', '.join(numbers)}")
    missing = _show_losses(console, report, kept=kept)
    if report.parent and report.taken:
        console.say(f"{report.taken} contents are unchanged since {report.parent}: not downloaded again")
    if report.requests:
        requests = ", ".join(f"{route} {count}" for route, count in Counter(report.requests).most_common())
        console.say(f"{sum(report.requests.values())} requests: {requests}")
    if kept:
        if report.sha256:
            console.say(f"sha256 {report.sha256}")
        console.say(f"prove it:  holdall verify {pasteable(report.bundle)}")
        views.conclude(console, report.verdict)
    return missing


def _show_losses(console: Console, report: ExportReport, *, kept: bool) -> dict[str, Any]:
    """Print the findings, then the numbered list of files to supply and what no bundle holds."""
    from holdall.bundle.missing import MissingFromBundle
    from holdall.bundle.reader import open_bundle
    from holdall.exporter.report import ContentLoss, describe

    said = [loss for loss in report.losses if not isinstance(loss, ContentLoss)]
    views.show_first(console.warn, map(describe, said), len(said))
    if report.containers_made:
        left = f"; not deleted: {', '.join(report.containers_left)}" if report.containers_left else " and deleted"
        console.say(f"containers: {report.containers_made} made{left}")
    with open_bundle(report.bundle) as bundle, MissingFromBundle(bundle) as missing:
        more = f"holdall inspect {pasteable(report.bundle)} --all" if kept else ""
        views.show_missing(console.warn, missing, more=more)
        views.show_credentials(console.warn, missing.credentials)
        if missing.total and kept:
            console.say(f"put originals in later:  holdall supply {pasteable(report.bundle)} --originals DIR")
        return views.missing_as_json(missing) if console.json else {}
