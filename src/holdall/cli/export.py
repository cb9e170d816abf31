"""``holdall export``: a project into one bundle file."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options
from holdall.cli.console import Console, Outcome, counted, human_size
from holdall.cli.fidelity import fallbacks_with, how_to_get, policy_with
from holdall.cli.missingview import as_json, show, show_credentials
from holdall.cli.previous_exports import PreviousExports, again_with, how_to_repeat, parent_of, target_of
from holdall.cli.verdictview import as_result, conclude
from holdall.errors import CannotWrite, Interrupted, Mistakes, UsageFault, pasteable
from holdall.kinds import KINDS
from holdall.model import Kind
from holdall.opening import read_regular
from holdall.selection import KIND_NAMES
from holdall.settings import SourceSettings

if TYPE_CHECKING:
    from holdall.bundle.layout import Capture
    from holdall.dumps import Dump
    from holdall.exporter.fetch import Fallbacks
    from holdall.exporter.report import ExportReport, Policy
    from holdall.exporter.roots import Roots

__all__ = ["ARCHIVES", "command", "dump_of", "losses_of", "result_of", "run_export", "what_to_export", "where_to_start"]

ARCHIVES = Path("archives")
SUFFIX = ".tar.zst"

# How many losses the terminal shows; --json has a thousand of each kind, the bundle's ledger all.
_SHOWN = 20
_LISTED = 1000
# Fidelities that a person reads better in other words.
_SAID = {"text": "text only", "unavailable": "missing", "container": "through a container"}


def what_to_export(command: Any) -> Any:
    """The options that choose what goes into a bundle; ``clone`` has them too."""
    for decorate in reversed(
        (
            click.option("--all", is_flag=True, default=None, help="Every assistant (the default)."),
            click.option("--id", multiple=True, metavar="ID", help="Only this assistant; repeatable (CLONE_IDS)."),
            click.option(
                "--name", multiple=True, metavar="GLOB", help="Only names that fit; repeatable (CLONE_NAMES)."
            ),
            click.option(
                "--only",
                multiple=True,
                metavar="[KIND:]ID|GLOB",
                help=f"Only this, with all it needs; KIND is {KIND_NAMES}. Repeatable.",
            ),
            click.option("--exclude", multiple=True, metavar="[KIND:]ID|GLOB", help="Not this. Repeatable."),
            click.option(
                "--no-assistants", is_flag=True, help="All vector stores and files instead; so where there is no API."
            ),
            click.option("--unused", is_flag=True, help="Also stores and files that nothing refers to."),
            click.option(
                "--from-dump",
                multiple=True,
                metavar="FILE",
                help="Assistants out of a dump (JSON, prints, logs, CSV) instead of the API. Repeatable; - is stdin.",
            ),
            click.option(
                "--file-search/--no-file-search",
                default=None,
                help="Vector stores and their files; included by default (INCLUDE_FILE_SEARCH).",
            ),
            click.option(
                "--code-interpreter/--no-code-interpreter",
                default=None,
                help="The code interpreter's files; included by default (INCLUDE_CODE_INTERPRETER).",
            ),
            click.option(
                "--label", metavar="NAME", help="A name for the source, used in file names (OPENAI_SRC_LABEL)."
            ),
        )
    ):
        command = decorate(command)
    return command


@click.command(cls=options.Command)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    type=options.OutputFile(),
    help="The bundle to write. Default: archives/<label>-<UTC time>.tar.zst",
)
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@what_to_export
@how_to_get
@how_to_repeat
@click.option("--skip-if-unchanged", is_flag=True, help="Write no bundle where it would equal its parent.")
@click.option(
    "--accept-known-losses",
    is_flag=True,
    help="Exit with 0 where nothing is missing but what the parent lacked already.",
)
@options.account("src", alone=True)
@options.shared
@options.output
@click.pass_obj
def command(console: Console, /, output: Path | None, force: bool, **parameters: Any) -> Outcome:
    """Pack a project's assistants, agents, vector stores and files into one bundle file.

    Needs OPENAI_SRC_API_KEY. Reads only, but for --via-container. Where the project has no Assistants API, all its
    vector stores and files are packed; --from-dump adds definitions that you saved. The only line on stdout is the path
    of the bundle. Exits with 4 where something of the project is missing or below --min-fidelity, with 3 where there is
    something to look at; the bundle is valid all the same. After a stop the same command resumes.
    """
    mistakes = Mistakes()
    with mistakes.noted():
        settings = options.read_source(console, parameters, key_needed=not parameters["from_dump"])
    with mistakes.noted():
        dump = dump_of(parameters)
    mistakes.raise_all()
    start = where_to_start(settings, parameters, dump)
    report = run_export(
        console,
        settings,
        start,
        output,
        force=force,
        again=again_with(parameters),
        fallbacks=fallbacks_with(parameters),
        policy=policy_with(parameters),
    )
    console.result(str(report.bundle))
    return Outcome(
        exit_code=report.verdict.exit_code,
        result=result_of(console, report),
        losses=losses_of(report),
    )


def result_of(console: Console, report: ExportReport) -> dict[str, Any]:
    """The report without its losses as a JSON-able value; with ``--json``, also what the bundle could not take in."""
    found = {key: value for key, value in msgspec.to_builtins(report, enc_hook=str).items() if key != "losses"}
    found |= as_result(report.verdict)
    if console.json:
        from holdall.bundle.missing import MissingFromBundle
        from holdall.bundle.reader import open_bundle

        with open_bundle(report.bundle) as bundle, MissingFromBundle(bundle) as shortfall:
            found |= as_json(shortfall, limit=_LISTED)
    return found


def losses_of(report: ExportReport) -> list[Any]:
    """The report's findings as JSON-able values."""
    return [msgspec.to_builtins(loss) for loss in report.losses]


def dump_of(parameters: Mapping[str, Any]) -> Dump | None:
    """What is in the dumps that were given. Raises UsageFault and CannotWrite, for all that can't be read together."""
    from holdall.dumps import read_dumps

    mistakes, dumps = Mistakes(), []
    if parameters["from_dump"] and parameters["no_assistants"]:
        mistakes.add(UsageFault("--from-dump can't be given together with --no-assistants"))
    for name in parameters["from_dump"]:
        try:
            dumps.append((name, sys.stdin.buffer.read() if name == "-" else read_regular(name)))
        except OSError as error:
            mistakes.add(CannotWrite(f"can't read {name}: {error.strerror or error}"))
    with mistakes.noted():
        found = read_dumps(dumps) if dumps else None
    mistakes.raise_all()
    return found


def where_to_start(settings: SourceSettings, parameters: Mapping[str, Any], dump: Dump | None) -> Roots:
    """The roots that the user asks for."""
    from holdall.exporter.roots import Roots

    return Roots(
        selection=settings.selection,
        file_search=settings.file_search,
        code_interpreter=settings.code_interpreter,
        assistants=not parameters["no_assistants"],
        unused=parameters["unused"],
        dump=dump,
    )


def run_export(
    console: Console,
    settings: SourceSettings,
    start: Roots,
    output: Path | None,
    *,
    force: bool,
    again: PreviousExports,
    fallbacks: Fallbacks,
    policy: Policy,
    kept: bool = True,
) -> ExportReport:
    """Export with these settings and say on stderr what came of it. Raises Interrupted after Ctrl-C.

    ``kept`` says whether the bundle outlives the command.
    """
    chosen: list[Path] = []
    try:
        report = asyncio.run(_export(console, settings, start, output, force, again, fallbacks, policy, chosen))
    except KeyboardInterrupt:
        raise _interrupted(chosen if kept else []) from None
    console.close_progress()
    _tell(console, report, kept=kept)
    return report


def _interrupted(chosen: list[Path]) -> Interrupted:
    from holdall.bundle.journal import partial_folder, unfinished

    if not chosen or unfinished(chosen[0]) is None:
        return Interrupted("interrupted: nothing was written")
    return Interrupted(
        f"interrupted: what was fetched is kept in {partial_folder(chosen[0])}", hint="the same command goes on with it"
    )


async def _export(
    console: Console,
    settings: SourceSettings,
    start: Roots,
    output: Path | None,
    force: bool,
    again: PreviousExports,
    fallbacks: Fallbacks,
    policy: Policy,
    targets: list[Path],
) -> ExportReport:
    from holdall.exporter.run_export import ExportOptions, export
    from holdall.remote.client import Account

    progress = console.progress()
    endpoint = settings.endpoint

    async def work(account: Account | None) -> ExportReport:
        def target(capture: Capture) -> Path:
            label = settings.label or (account and account.project) or (endpoint and endpoint.host) or "dump"
            fresh = _target(output, label, datetime.now(UTC))
            targets.append(target_of(console, again, capture, fresh, named=fresh == output, now=time.time()))
            return targets[0]

        return await export(
            account,
            target,
            ExportOptions(
                start=start,
                label=settings.label,
                fallbacks=fallbacks,
                policy=policy,
                accept_known_losses=again.accept_known_losses,
                skip_if_unchanged=again.skip_if_unchanged,
            ),
            clock=time.time,
            parent=lambda target, capture: parent_of(console, again, target, capture),
            force=force,
            progress=progress,
        )

    if endpoint is None:
        return await work(None)
    console.say(f"exporting from {endpoint.title}")
    async with Account(endpoint, side="source", concurrency=settings.concurrency, progress=progress) as account:
        return await work(account)


def _target(output: Path | None, label: str, now: datetime) -> Path:
    """Where the bundle goes. The folder ``archives`` is made; a folder that the user names must exist."""
    name = f"{_slug(label)}-{now:%Y%m%dT%H%M%SZ}{SUFFIX}"
    if output is None:
        ARCHIVES.mkdir(exist_ok=True)
        return ARCHIVES / name
    if output.is_dir():
        return output / name
    if not output.parent.is_dir():
        raise UsageFault(
            f"can't write {output}: there is no folder {output.parent}", hint=f"mkdir -p {pasteable(output.parent)}"
        )
    return output


def _slug(label: str) -> str:
    """The label as part of a file name on any system: letters, digits, ``.``, ``_`` and ``-``, at most 60."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", label).strip("-.")[:60] or "project"


def _tell(console: Console, report: ExportReport, *, kept: bool) -> None:
    if report.unchanged_since is not None:
        when = datetime.fromtimestamp(report.unchanged_since, UTC)
        console.say(
            f"nothing has changed since {when:%Y-%m-%d %H:%M} UTC: no new bundle, {report.bundle} is the newest"
        )
    held = ", ".join(
        counted(report.counts.get(row.count, 0), row.noun)
        for kind, row in KINDS.items()
        if kind is not Kind.MEMBERSHIP and (not row.since or report.counts.get(row.count))
    )
    console.say(f"{held} -> {human_size(report.size)}")
    console.say(
        "files: "
        + ", ".join(f"{n} {_SAID.get(each, each)}" for each, n in report.fidelities.items() if n or each == "original")
    )
    _tell_losses(console, report, kept=kept)
    if report.parent and report.taken:
        console.say(f"{report.taken} contents are unchanged since {report.parent}: not downloaded again")
    if report.requests:
        kinds = sorted(report.requests.items(), key=lambda kind: -kind[1])
        console.say(f"{sum(report.requests.values())} requests: " + ", ".join(f"{kind} {n}" for kind, n in kinds))
    if not kept:
        return
    if report.sha256:
        console.say(f"sha256 {report.sha256}")
    console.say(f"prove it:  holdall verify {pasteable(report.bundle)}")
    conclude(console, report.verdict)


def _tell_losses(console: Console, report: ExportReport, *, kept: bool) -> None:
    """What contradicts, changed or is gone; then the numbered list of files to supply and what no bundle holds."""
    from holdall.bundle.missing import MissingFromBundle
    from holdall.bundle.reader import open_bundle
    from holdall.exporter.report import ContentLoss, describe

    said = [loss for loss in report.losses if not isinstance(loss, ContentLoss)]
    for loss in said[:_SHOWN]:
        console.warn(f"  {describe(loss)}")
    if len(said) > _SHOWN:
        console.warn(f"  … and {len(said) - _SHOWN} more")
    if report.containers_made:
        left = f"; not deleted: {', '.join(report.containers_left)}" if report.containers_left else " and deleted"
        console.say(f"containers: {report.containers_made} made{left}")
    with open_bundle(report.bundle) as bundle, MissingFromBundle(bundle) as shortfall:
        show(console.warn, shortfall, more=f"holdall inspect {pasteable(report.bundle)} --all" if kept else "")
        show_credentials(console.warn, shortfall.credentials)
        if shortfall.total and kept:
            console.say(f"put originals in later:  holdall supply {pasteable(report.bundle)} --originals DIR")
