"""``holdall export``: a project into one bundle file."""

from __future__ import annotations

import asyncio
import re
import secrets
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options, parameters, views
from holdall.cli.console import Console, Outcome, counted, human_size
from holdall.cli.views import NAMED, Block, Group
from holdall.errors import CannotRead, Interrupted, Mistakes, UsageFault, pasteable
from holdall.kinds import KINDS
from holdall.model import Kind
from holdall.safe_files import read_regular
from holdall.settings import SourceSettings

if TYPE_CHECKING:
    from holdall.bundle.layout import Capture
    from holdall.bundle.missing import MissingFromBundle
    from holdall.dumps import Dump
    from holdall.exporter.report import ExportReport, Finding
    from holdall.exporter.run_export import ExportOptions


_SUFFIX = ".tar.zst"


@click.command(cls=options.Command)
@options.output_file("Bundle to write; - is stdout. Default: archives/<label>-<UTC time>.tar.zst", stdout=True)
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
    bundle to stdout, or with -o - the verified bundle itself. Exits 4 if anything is missing or below --min-fidelity, 3
    on warnings; the bundle is valid in both cases. To resume an interrupted export, run the same command again.
    """
    to_stdout = given["output"] == "-"
    mistakes = Mistakes()
    if to_stdout:
        from holdall.cli import piped

        mistakes = piped.refusals(console, given)
    with mistakes.noted():
        settings = parameters.read_source(console, given, key_needed=not given["from_dump"])
    with mistakes.noted():
        dump = dump_of(given)
    mistakes.raise_all()
    if given["dry_run"]:
        from holdall.cli.preview import show_preview

        return show_preview(console, settings, export_options(settings, given, dump))
    if to_stdout:
        return piped.run_piped(console, settings, given, dump)
    return run_export(console, settings, given, dump)


def dump_of(given: Mapping[str, Any]) -> Dump | None:
    """Read the dumps that were given. Raises UsageFault and CannotWrite, for all of them together."""
    mistakes, dumps = Mistakes(), []
    if given["from_dump"] and given["no_assistants"]:
        mistakes.add(UsageFault("--from-dump can't be combined with --no-assistants"))
    for name in given["from_dump"]:
        try:
            dumps.append((name, sys.stdin.buffer.read() if name == "-" else read_regular(name)))
        except OSError as error:
            mistakes.add(CannotRead(f"can't read {name}: {error.strerror or error}"))
    found = None
    if dumps:
        from holdall.dumps import read_dumps

        with mistakes.noted():
            found = read_dumps(dumps)
    mistakes.raise_all()
    return found


def run_export(
    console: Console,
    settings: SourceSettings,
    given: Mapping[str, Any],
    dump: Dump | None,
    *,
    kept: bool = True,
    last: bool = True,
    deliver: Callable[[ExportReport], None] | None = None,
) -> Outcome:
    """Export as the options ``given`` say, ``deliver`` the bundle if it isn't to stay where it is, and print the
    report. The bundle's path is in the result.

    ``last`` False: the command goes on, so the verdict is all that is printed of it.

    ``kept`` False: the bundle is deleted with the command, so no hint names it, and its parent is looked for in
    ``archives``. Raises Interrupted after Ctrl-C.
    """
    chosen: list[Path] = []
    try:
        report = asyncio.run(_export(console, settings, given, dump, chosen, kept=kept))
    except KeyboardInterrupt:
        raise _interrupted(chosen if kept else []) from None
    if deliver:
        deliver(report)
    console.close_progress()
    missing = _show_report(console, report, kept=kept, last=last)
    if kept:
        console.path(str(report.bundle))
    # The losses stand beside the result.
    result = {key: value for key, value in msgspec.to_builtins(report, enc_hook=str).items() if key != "losses"}
    return Outcome(
        exit_code=report.verdict.exit_code,
        result={**result, **views.verdict_as_json(report.verdict), **missing},
        losses=[msgspec.to_builtins(loss) for loss in report.losses],
    )


def _interrupted(chosen: list[Path]) -> Interrupted:
    from holdall.bundle.partial import partial_folder, unfinished

    if not chosen or unfinished(chosen[0]) is None:
        return Interrupted("interrupted: nothing was written")
    return Interrupted(
        f"interrupted: files downloaded so far are in {partial_folder(chosen[0])}",
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
    from holdall.bundle.partial import partial_folder
    from holdall.exporter.earlier import where_to_write
    from holdall.exporter.run_export import export
    from holdall.remote.client import Account

    progress, endpoint = console.progress(), settings.endpoint
    folder = None if kept else parameters.ARCHIVES

    def target(capture: Capture) -> Path:
        label = settings.label or (account and account.project) or (endpoint and endpoint.host) or "dump"
        fresh = _fresh(given["output"], label)
        path, resumed = where_to_write(
            fresh, capture, named=fresh == given["output"], resume=given["resume"], now=time.time()
        )
        if resumed:
            console.say(f"Resuming {partial_folder(path)}, left unfinished by an earlier run")
        chosen.append(path)
        return path

    def parent(target: Path, capture: Capture) -> Path | None:
        return _parent(console, given["parent"], folder or target.parent, capture)

    async with (
        Account(endpoint, side="source", concurrency=settings.concurrency, progress=progress)
        if endpoint
        else nullcontext() as account
    ):
        report = await export(
            account,
            target,
            export_options(settings, given, dump),
            clock=time.time,
            parent=parent,
            force=given["force"],
            progress=progress,
        )
    # A bundle that is nearly finished is finished in spite of Ctrl-C. Where it isn't kept, that is of no use.
    if not kept and (task := asyncio.current_task()) and task.cancelling():
        raise asyncio.CancelledError
    return report


def export_options(settings: SourceSettings, given: Mapping[str, Any], dump: Dump | None) -> ExportOptions:
    from holdall.exporter.fallbacks import Fallbacks
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
            all_versions=given["versions"] == "all",
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
    from holdall.bundle.verification import verify
    from holdall.exporter.earlier import choose_parent

    def is_whole(path: Path) -> bool:
        return verify(path, quick=True).whole

    if wanted == "none":
        return None
    if wanted == "auto":
        found = choose_parent(folder, capture.source, is_whole, console.warn)
    else:
        found = Path(wanted)
        if not is_whole(found):
            more = f"holdall verify {pasteable(found)} for details"
            console.warn(f"{found} is damaged; reusing only its intact files ({more})")
    if found:
        console.say(f"Reusing unchanged files from {found}")
    return found


def _fresh(output: Path | None, label: str) -> Path:
    """Where a new bundle goes. The folder ``archives`` is made; a folder that the user names must exist."""
    # Part of a file name on any system.
    slug = re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-.")[:60] or "project"
    name = f"{slug}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}{_SUFFIX}"
    if output is None:
        parameters.ARCHIVES.mkdir(exist_ok=True)
        return parameters.ARCHIVES / name
    if output.is_dir():
        return output / name
    parameters.require_folder(output)
    return output


def _show_report(console: Console, report: ExportReport, *, kept: bool, last: bool) -> dict[str, Any]:
    """Print the report. Returns what the bundle lacks, for ``--json``."""
    from holdall.bundle.missing import MissingFromBundle
    from holdall.bundle.reader import open_bundle

    with open_bundle(report.bundle) as bundle, MissingFromBundle(bundle) as missing:
        block = Block(
            verdict=report.verdict,
            exit_code=report.verdict.exit_code,
            facts=list(_facts(report)),
            groups=[*_loss_groups(report.losses), *views.missing_groups(missing), *views.aside_groups(missing)],
            details=chain(_details(report), views.missing_lines(missing)),
            commands=list(_commands(report, missing)) if kept and last else [],
        )
        if not last and not console.verbose:
            block.facts, block.groups, block.verdict = [], [], f"Exported: {report.verdict}"
        block.show(console)
        return views.missing_as_json(missing) if console.json else {}


def _facts(report: ExportReport) -> Iterator[str]:
    if report.unchanged_since is not None:
        when = f"{datetime.fromtimestamp(report.unchanged_since, UTC):%Y-%m-%d %H:%M} UTC"
        yield f"Nothing has changed since {when}: {report.bundle} is the newest bundle"
    numbers = views.by_fidelity(report.counts, report.fidelities)
    kinds = [kind for kind in KINDS if kind is not Kind.MEMBERSHIP]
    held = views.holdings(report.counts, kinds)
    yield f"{held}{numbers}, {human_size(report.size)}"
    if report.parent and report.taken:
        yield f"Reused {counted(report.taken, 'unchanged file')} from {report.parent}"
    if report.containers_made:
        left = f"; not deleted: {', '.join(report.containers_left)}" if report.containers_left else ", deleted again"
        yield f"Containers: {report.containers_made} created{left}"


def _loss_groups(losses: Iterable[Finding]) -> Iterator[Group]:
    """What is lost besides the contents of files, by reason; the first are the most important."""
    from holdall.exporter.report import ContentLoss, Policy, describe, reason
    from holdall.verdict import Reason

    groups: dict[Reason | None, list[Finding]] = {}
    for loss in losses:
        if not isinstance(loss, ContentLoss):
            groups.setdefault(reason(loss, Policy()), []).append(loss)
    for why, found in groups.items():
        if len(found) == 1:
            yield Group(title=describe(found[0]), total=1)
            continue
        names = [str(getattr(loss, "id", None) or getattr(loss, "list", None) or describe(loss)) for loss in found]
        title = f"{len(found)} {why.many}" if why else f"{len(found)} files only in the dump"
        yield Group(title=title, items=names[:NAMED], total=len(found))


def _details(report: ExportReport) -> Iterator[str]:
    """Every loss, and what it took."""
    from holdall.exporter.report import ContentLoss, describe

    yield from (describe(loss) for loss in report.losses if not isinstance(loss, ContentLoss))
    if report.requests:
        requests = ", ".join(f"{route} {count}" for route, count in Counter(report.requests).most_common())
        yield f"{sum(report.requests.values())} requests: {requests}"
    if report.sha256:
        yield f"sha256 {report.sha256}"


def _commands(report: ExportReport, missing: MissingFromBundle) -> Iterator[str]:
    bundle = pasteable(report.bundle)
    if missing.total:
        yield f"holdall supply {bundle} --originals DIR"
    yield f"holdall verify {bundle}"
