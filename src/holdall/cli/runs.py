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
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.cli.block import NAMED, SHOWN, Block, Group, again, onward
from holdall.cli.console import Console, Outcome, counted, flat, on_signal
from holdall.cli.parameters import at_destination
from holdall.cli.planview import holding, require_consent, show_intent, show_plan, show_summary
from holdall.cli.views import loss_lines, losses_as_json, opened_folder, show_first, verdict_as_json, weighed_groups
from holdall.errors import DamagedBundle, Interrupted, pasteable
from holdall.importer.verbs import run_import as verb
from holdall.importer.verbs.plan_import import TemplateSupply, read_supply
from holdall.kinds import DEFINITIONS, KINDS
from holdall.model import Kind
from holdall.settings import DestinationSettings
from holdall.verification import verified

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
            self.console.warn("stopping: finishing requests in flight; press Ctrl-C again to stop now")
            ask()

        def press(number: int, frame: object) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            # This runs between any two instructions, so what there is to do is left to the loop.
            loop.call_soon_threadsafe(stop)

        with on_signal(signal.SIGINT, press):
            yield


@dataclass
class TerminalObserver(QuietObserver):
    """Prints the plan, and asks unless ``yes``. ``output`` is OUTPUT_DIR.

    With ``result`` the command only plans: all of the plan is printed, with ``commands`` to type next, and ``outcome``
    is the command's; its result begins with these values.
    """

    reader: BundleReader
    output: Path
    yes: bool = False
    result: dict[str, Any] | None = None
    commands: list[str] = field(default_factory=list)
    outcome: Outcome = field(default_factory=Outcome)

    def planned(self, prepared: verb.Prepared) -> None:
        missing = show_summary(self.console, prepared, self.reader, self.output)
        if self.result is None:
            show_intent(self.console, prepared)
            return
        # Shown here, as a plan that can't be carried out is refused next.
        self.outcome = show_plan(self.console, prepared, self.result, missing, self.commands)

    def consent(self, prepared: verb.Prepared) -> None:
        require_consent(self.console, prepared, yes=self.yes)


@contextmanager
def open_verified(console: Console, bundle: Path, *, action: str = "import") -> Iterator[BundleReader]:
    """Verify the bundle, or a folder packed as one, and keep it open; only verified bytes are read from it. Raises
    DamagedBundle: can't ``action`` it."""
    with (
        opened_folder(console, bundle) as file,
        verified(bundle, progress=console.progress(), file=file) as (verdict, reader),
    ):
        console.close_progress()
        if reader is None:
            lines = (flat(f"{finding.code}: {finding.message}") for finding in verdict.findings)
            show_first(console.say, lines, verdict.findings.total, limit=None if console.verbose else SHOWN)
            found = counted(verdict.findings.total, "finding")
            hint = f"holdall verify {pasteable(bundle)} lists all findings"
            if file is None:
                hint += f"; holdall extract {pasteable(bundle)} --salvage --to FOLDER recovers intact files"
            raise DamagedBundle(
                f"can't {action} {bundle}: it is damaged ({found}); nothing was created",
                hint=hint,
                entry=verdict.findings[0].entry,
            )
        yield reader


def supply_of(given: Mapping[str, Any]) -> TemplateSupply | None:
    """What ``--supply-template`` gives. Raises CannotRead, and UsageFault for what isn't such a file."""
    path = given["supply_template"]
    return read_supply(path) if path else None


def run_import(
    console: Console,
    settings: DestinationSettings,
    bundle: Path,
    asked: verb.Asked,
    given: Mapping[str, Any],
    *,
    document: verb.PlanDocument | None = None,
    compared: bool = False,
) -> Outcome:
    """Import, and print plan and report. Raises what stopped the run after its report is printed.

    ``given`` are the parameters of ``how_to_import``. With a ``document`` nothing but the plan in it is carried out.
    ``compared``: at the end the destination is compared with the bundle.
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
        supply=supply_of(given),
    )

    # Whoever gives a plan has seen what it changes.
    yes = given["yes"] or document is not None
    planned = {"dry_run": True} if settings.dry_run else None
    carry_out = [again(console, without={"--dry-run"})] if "--dry-run" in console.typed else []
    with open_verified(console, bundle) as reader:
        observer = TerminalObserver(console, reader, settings.output_dir, yes=yes, result=planned, commands=carry_out)
        try:
            imported = at_destination(console, settings, verb.run_import, reader, wanted, observer, THIS_MACHINE)
        except KeyboardInterrupt:
            stopped = f"interrupted: stopped immediately; what was done is recorded in {settings.output_dir}"
            raise Interrupted(stopped, hint="run the same command again to resume") from None
        console.close_progress()
        if imported.report is None:
            return observer.outcome
        outcome = _show_report(console, settings, bundle, imported, imported.report, compared=compared)
        if not compared:
            return outcome
        from holdall.cli.compare import compare

        against, verdict = compare(console, settings, reader, search=False, accept_known=accept_known)
    worse = {} if verdict.complete else verdict_as_json(verdict)
    result = {**outcome.result, **worse, "against": against}
    return Outcome(exit_code=max(outcome.exit_code, verdict.exit_code), result=result, losses=outcome.losses)


def _show_report(
    console: Console,
    settings: DestinationSettings,
    bundle: Path,
    imported: verb.Imported,
    report: verb.Report,
    *,
    compared: bool,
) -> Outcome:
    """Print the report. The exit code is the verdict's. Raises what stopped the run."""
    foreseen = list(imported.prepared.plan.losses()) if imported.prepared else []
    losses = list(dict.fromkeys([*report.losses(), *foreseen]))
    output, verdict = settings.output_dir, imported.verdict()
    groups, minor = weighed_groups(losses)
    verify = onward(console, "verify", bundle, "--against", "dst")
    Block(
        verdict="INCOMPLETE: stopped before the end" if report.stopped else verdict,
        exit_code=report.stopped.exit_code if report.stopped else verdict.exit_code,
        facts=["; ".join([_facts(imported, report), *minor]), *([verb.keeping(report)] if report.duplicates else [])],
        groups=[*_leftovers(report), *_unfinished(report), *groups],
        details=chain(_results(report), loss_lines(losses), _leftover_lines(report)),
        places=[f"Report: {output / 'report.md'}; run {report.run}"],
        commands=[again(console)] if report.stopped else [] if compared else [verify],
    ).show(console)
    if report.stopped:
        raise report.stopped
    console.path(str(output / "mapping.json"))
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


def _facts(imported: verb.Imported, report: verb.Report) -> str:
    """What the run did, in one line: ``8 assistants created, 4 vector stores, 47 files (529 kB)``."""
    kinds = [kind for kind in DEFINITIONS if kind is not Kind.STORE and report.of(kind)]
    said = [text for kind in kinds for text in _reached(report.of(kind), KINDS[kind].noun)]
    # Skills that were chosen have results of their own.
    needed = [] if report.of(Kind.SKILL) else [Kind.SKILL]
    made = {KINDS[kind].noun: imported.made.get(kind, 0) for kind in (*needed, Kind.STORE, Kind.FILE)}
    if rest := holding(made, imported.bytes):
        return ", ".join([*said, rest]) if said else f"Created {rest}"
    if all(result.how == "adopted" and result.target is not None for result in report.results):
        return f"Nothing created: {', '.join(said) or 'everything is already there'}"
    return ", ".join(said) or "Nothing created"


_APART = (Kind.FOUNDRY_AGENT, Kind.SKILL, Kind.TEMPLATE)
_OTHERS = tuple(kind for kind in Kind if kind not in _APART)

# How a root came to be, in words that follow how many.
_HOW = {
    "written": "written for the Responses API",
    "adopted": "already there",
    "left": "skipped",
    "new version": "given a new version",
}


def _reached(found: list[verb.Result], noun: str) -> Iterator[str]:
    """How many of the assistants, or agents, are there, and how they came to be."""
    counts = Counter(one.how if one.target else one.status.value.replace("_", " ") for one in found)
    if all(one.target for one in found):
        (first, count), *others = counts.most_common()
        yield f"{counted(count, noun)} {_HOW.get(first, first)}"
        yield from (f"{count} {_HOW.get(how, how)}" for how, count in others)
        return
    done = sum(one.target is not None for one in found)
    yield f"{done} of {counted(len(found), noun)} imported"
    failures = (verb.Status.FAILED.value, verb.Status.NOT_ATTEMPTED.value.replace("_", " "))
    yield from (f"{counts[how]} {how}" for how in failures if counts[how])


def _unfinished(report: verb.Report) -> Iterator[Group]:
    """What did not fully succeed, by how it ended."""
    for status in (verb.Status.FAILED, verb.Status.PARTIAL):
        # What is of another kind there than assistants; all others are counted as these.
        for noun, kinds in (("assistant", _OTHERS), *((KINDS[kind].noun, (kind,)) for kind in _APART)):
            if found := [result for result in report.of(*kinds) if result.status is status]:
                names = [result.name or result.source for result in found[:NAMED]]
                yield Group(title=f"{counted(len(found), noun)} {status}", items=names, total=len(found))


def _results(report: verb.Report) -> Iterator[str]:
    for result in report.results:
        target = f" -> {result.target}" if result.target else ""
        how = f" ({result.how})" if result.how != "created" else ""
        said = how if result.status is verb.Status.SUCCESS else f": {result.error}"
        yield f"{result.status}  {result.source}{target}  {result.name or 'no name'}{said}"


def _leftovers(report: verb.Report) -> Iterator[Group]:
    """Objects at the destination that were made twice, or that nothing uses."""
    if report.duplicates:
        names = [str(one) for one in report.duplicates[:NAMED]]
        why = "another import created the same at the same time"
        yield Group(
            title=counted(len(report.duplicates), "duplicate"), items=names, total=len(report.duplicates), why=why
        )
    if report.orphans:
        names = [str(one.name or one.source) for one in report.orphans[:NAMED]]
        title = counted(len(report.orphans), "possible orphan")
        yield Group(title=title, items=names, total=len(report.orphans), why="used by nothing")


def _leftover_lines(report: verb.Report) -> Iterator[str]:
    for one in report.orphans:
        yield f"possible orphan, used by nothing: {one.name or one.source} ({one.id or 'id unknown'})"
    for duplicate in report.duplicates:
        yield f"created twice, by this import and by another: {duplicate}"


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
