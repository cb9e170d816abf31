"""One run of an import for ``import`` and ``clone``: what it prints, what it asks, and how Ctrl-C stops it."""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.cli.compare import compare
from holdall.cli.console import Console, Outcome, counted, flat
from holdall.cli.parameters import at_destination
from holdall.cli.planview import require_consent, show_conflicts, show_plan, show_summary
from holdall.cli.subprocesses import on_signal
from holdall.cli.views import conclude, losses_as_json, show_losses, verdict_as_json
from holdall.dialects.loss import Severity
from holdall.errors import DamagedBundle, Interrupted, pasteable
from holdall.importer.verbs import run_import as verb
from holdall.kinds import DEFINITIONS, KINDS
from holdall.model import Kind
from holdall.settings import DestinationSettings
from holdall.verification import verified

# How many of one sort the terminal shows. `verify` lists all findings, mapping.json all duplicates.
_SHOWN = 20

DRY_RUN = "DRY RUN: nothing written"

THIS_MACHINE = verb.Machine(now=time.time, run=lambda: secrets.token_hex(3), operation=lambda: secrets.token_hex(8))


@dataclass
class QuietObserver:
    """An observer that prints nothing. Ctrl-C stops the import."""

    console: Console

    def planned(self, prepared: verb.Prepared) -> None: ...

    def consent(self, prepared: verb.Prepared) -> None: ...

    @contextmanager
    def halting(self, ask: Callable[[], None]) -> Iterator[None]:
        """The first Ctrl-C asks to stop; the second one raises KeyboardInterrupt."""
        loop = asyncio.get_running_loop()

        def stop() -> None:
            self.console.fresh_line()
            self.console.warn("stopping: what is in flight is finished first; Ctrl-C once more stops at once")
            ask()

        def press(number: int, frame: object) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            # This runs between any two instructions, so what there is to do is left to the loop.
            loop.call_soon_threadsafe(stop)

        with on_signal(signal.SIGINT, press):
            yield


@dataclass
class TerminalObserver(QuietObserver):
    """Prints the plan, and asks unless ``yes``. ``output`` is OUTPUT_DIR; ``kept``: the bundle outlives the command.

    With ``result`` the command only plans: all of the plan is printed, and ``outcome`` is the command's; its result
    begins with these values.
    """

    reader: BundleReader
    output: Path
    kept: bool = True
    yes: bool = False
    result: dict[str, Any] | None = None
    outcome: Outcome = field(default_factory=Outcome)

    def planned(self, prepared: verb.Prepared) -> None:
        missing = show_summary(self.console, prepared, self.reader, self.output, kept=self.kept)
        if self.result is None:
            show_conflicts(self.console, prepared)
            return
        # Shown here, as a plan that can't be carried out is refused next.
        self.outcome = show_plan(self.console, prepared, self.result, missing)
        if "dry_run" in self.result:
            self.console.result(DRY_RUN)

    def consent(self, prepared: verb.Prepared) -> None:
        require_consent(self.console, prepared, yes=self.yes)


@contextmanager
def open_verified(console: Console, bundle: Path) -> Iterator[BundleReader]:
    """Verify the bundle and keep it open; only verified bytes are read from it. Raises DamagedBundle."""
    with verified(bundle, progress=console.progress()) as (verdict, reader):
        console.close_progress()
        if reader is None:
            for finding in verdict.findings[:_SHOWN]:
                console.warn(f"  {finding.code}: {finding.message}")
            found = counted(len(verdict.findings), "finding")
            raise DamagedBundle(
                f"can't import {bundle}: it is damaged ({found}), and nothing was created",
                hint=f"holdall verify {pasteable(bundle)} lists them all; "
                f"holdall extract {pasteable(bundle)} --salvage --to FOLDER takes out what is whole",
                entry=verdict.findings[0].entry,
            )
        yield reader


def run_import(
    console: Console,
    settings: DestinationSettings,
    bundle: Path,
    asked: verb.Asked,
    given: Mapping[str, Any],
    *,
    document: verb.PlanDocument | None = None,
    kept: bool = True,
    compared: bool = False,
) -> Outcome:
    """Import, and print plan and report. Raises what stopped the run after its report is printed.

    ``given`` are the parameters of ``how_to_import``. With a ``document`` nothing but the plan in it is carried out.
    ``kept``: the bundle outlives the command. ``compared``: at the end the destination is compared with the bundle.
    """
    accept_known = given["accept_known_losses"]
    wanted = verb.ImportOptions(
        asked=asked,
        output=settings.output_dir,
        accept_known=accept_known,
        document=document,
        dry_run=settings.dry_run,
        force=given["force"],
        settle=settings.settle,
    )

    # Whoever gives a plan has seen what it changes.
    yes = given["yes"] or document is not None
    planned = {"dry_run": True} if settings.dry_run else None
    console.say(f"importing {bundle.name} into {settings.endpoint.title}")
    with open_verified(console, bundle) as reader:
        observer = TerminalObserver(console, reader, settings.output_dir, kept=kept, yes=yes, result=planned)
        try:
            imported = at_destination(console, settings, verb.run_import, reader, wanted, observer, THIS_MACHINE)
        except KeyboardInterrupt:
            stopped = f"interrupted: stopped at once; what was done is recorded in {settings.output_dir}"
            raise Interrupted(stopped, hint="run the same command again to resume") from None
        console.close_progress()
        if imported.report is None:
            return observer.outcome
        outcome = _show_report(console, settings, imported, imported.report)
        if not compared:
            return outcome
        against, verdict = compare(console, settings, reader, search=False, accept_known=accept_known)
    worse = {} if verdict.complete else verdict_as_json(verdict)
    result = {**outcome.result, **worse, "against": against}
    return Outcome(exit_code=max(outcome.exit_code, verdict.exit_code), result=result, losses=outcome.losses)


def _show_report(
    console: Console, settings: DestinationSettings, imported: verb.Imported, report: verb.Report
) -> Outcome:
    """Print the report, without the losses that the plan had already. The exit code is the verdict's."""
    for text in _results(report):
        console.result(flat(text))
    foreseen = set(imported.prepared.plan.losses()) if imported.prepared else ()
    minor = [loss for loss in report.losses() if loss.why.severity is Severity.MINOR]
    show_losses(console, [loss for loss in dict.fromkeys(minor) if loss not in foreseen])
    counts = Counter(result.status for result in report.results)
    said = ", ".join(f"{counts[status]} {status}" for status in verb.Status if counts[status])
    console.say(said or "nothing to import")
    _warn_of_leftovers(console, report)
    console.say(f"mapping and report in {settings.output_dir}, this run in {settings.output_dir / 'runs' / report.run}")
    if report.stopped:
        raise report.stopped
    verdict = imported.verdict()
    conclude(console, verdict)
    return Outcome(
        exit_code=verdict.exit_code,
        result={
            "dry_run": False,
            "run": report.run,
            "output_dir": str(settings.output_dir),
            **_mapping(report),
            "requests": report.requests,
            **verdict_as_json(verdict),
        },
        losses=losses_as_json(report.losses()),
    )


def _results(report: verb.Report) -> Iterator[str]:
    for result in report.results:
        target = f" -> {result.target}" if result.target else ""
        how = f" ({result.how})" if result.how != "created" else ""
        said = how if result.status is verb.Status.SUCCESS else f": {result.error}"
        yield f"{result.status}  {result.source}{target}  {result.name or 'no name'}{said}"


def _warn_of_leftovers(console: Console, report: verb.Report) -> None:
    """Objects at the destination that nothing uses, or that were made twice."""
    for orphan in report.orphans[:_SHOWN]:
        where = orphan.id or "not seen so far"
        console.warn(flat(f"possible orphan, used by nothing: {orphan.name or orphan.source} ({where})"))
    for one in report.duplicates[:_SHOWN]:
        console.warn(flat(f"made twice, by this import and by another: {one}"))
    if report.duplicates:
        more = f" ({len(report.duplicates)} in all, in mapping.json)" if len(report.duplicates) > _SHOWN else ""
        console.warn(f"another import made the same things at the same time{more}: {verb.keeping(report)}")


def _mapping(report: verb.Report) -> dict[str, Any]:
    """The mapping as mapping.json has it, but only the number of files: there may be millions."""
    document, others = msgspec.to_builtins(verb.mapping(report)), report.of(Kind.STORE, Kind.FILE)
    mapped = (KINDS[kind].count for kind in DEFINITIONS if kind is not Kind.ASSISTANT)  # they are in "mappings"
    return {
        **{key: document[key] for key in ("source", "destination", "mappings", *mapped, "options")},
        "others": [{"srcId": one.source, "dstId": one.target, "status": one.status.value} for one in others],
        "files": len(report.files),
        "possible_orphans": document["possible_orphans"],
        "duplicates": document["duplicates"],
    }
