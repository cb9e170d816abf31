"""A run of an import, for ``import`` and ``clone``: shows the plan, asks before changes, prints the report.

``plan`` and ``--dry-run`` only show the plan. The first Ctrl-C stops a run once the requests in flight are finished.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, chain
from pathlib import Path
from typing import Any

import msgspec

from holdall.bundle.missing import MissingFromBundle
from holdall.bundle.reader import BundleReader
from holdall.bundle.verification import verified
from holdall.cli.console import Console, Outcome, on_signal
from holdall.cli.parameters import at_destination
from holdall.cli.stepview import SIGNS, step_lines, unit_line, unit_steps
from holdall.cli.views import (
    NAMED,
    SHOWN,
    Block,
    Group,
    again,
    loss_lines,
    losses_as_json,
    missing_as_json,
    onward,
    opened_folder,
    show_first,
    verdict_as_json,
    weighed_groups,
)
from holdall.dialects.rules import Form
from holdall.errors import EXIT_LOOK, DamagedBundle, Interrupted, UsageFault, pasteable
from holdall.importer.verbs import import_bundle
from holdall.importer.verbs.import_bundle import (
    FOLDER,
    Asked,
    By,
    Estimate,
    Imported,
    ImportOptions,
    Machine,
    Plan,
    PlanDocument,
    PlanTotals,
    Prepared,
    Report,
    Result,
    Status,
    TemplateSupply,
    keeping,
    mapping,
    read_supply,
    steps,
)
from holdall.kinds import DEFINITIONS, KINDS, noun
from holdall.legible import counted, flat, human_size, wrapped
from holdall.model import Kind
from holdall.settings import DestinationSettings

THIS_MACHINE = Machine(now=time.time, run=lambda: secrets.token_hex(3), operation=lambda: secrets.token_hex(8))


@dataclass
class QuietObserver:
    """An observer that prints nothing. Ctrl-C stops the import."""

    console: Console

    def planned(self, prepared: Prepared) -> None: ...

    def consent(self, prepared: Prepared) -> None: ...

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

    def planned(self, prepared: Prepared) -> None:
        missing = _show_summary(self.console, prepared, self.reader, self.output)
        if self.result is None:
            _show_intent(self.console, prepared)
            return
        # Shown here, as a plan that can't be carried out is refused next.
        self.outcome = _show_plan(self.console, prepared, self.result, missing, self.commands)

    def consent(self, prepared: Prepared) -> None:
        _require_consent(self.console, prepared, yes=self.yes)


def run_import(
    console: Console,
    settings: DestinationSettings,
    bundle: Path,
    asked: Asked,
    given: Mapping[str, Any],
    *,
    document: PlanDocument | None = None,
    compared: bool = False,
) -> Outcome:
    """Import, and print plan and report. Raises what stopped the run after its report is printed.

    ``given`` are the parameters of ``how_to_import``. With a ``document`` nothing but the plan in it is carried out.
    ``compared``: at the end the destination is compared with the bundle.
    """
    accept_known = given["accept_known_losses"]
    wanted = ImportOptions(
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
            imported = at_destination(
                console, settings, import_bundle.run_import, reader, wanted, observer, THIS_MACHINE
            )
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


# -- the plan ------------------------------------------------------------------------------------------

# The steps that change what is there.
_CHANGES = (steps.UpdateDefinition, steps.UpdateStore, steps.UpdateMembership, steps.DetachFile)
# Units that are shown; lines of what differs, or would be changed.
_UNITS, _DIFFERENCES = 3, 9
_WARNINGS = 3
_COLUMNS = 80
_MORE = " (-v lists all)"


def _show_summary(console: Console, prepared: Prepared, reader: BundleReader, output: Path) -> dict[str, Any]:
    """Print where it goes and what to know before; returns what the bundle lacks, for ``--json``.

    ``output`` is OUTPUT_DIR.
    """
    console.close_progress()
    for text in _whereto(prepared, output, verbose=console.verbose):
        console.say(text)
    for step in prepared.plan.steps():
        if isinstance(step, steps.WriteRequest) and step.beside:
            why = "was changed, or belongs to another destination, and is kept"
            console.warn(flat(f"{step.path} {why}; the new one goes to {step.beside}"))
    found = [*_shutdowns(prepared, verbose=console.verbose), *prepared.warnings]
    limit = None if console.verbose else _WARNINGS
    show_first(console.warn, (f"warning: {flat(one)}" for one in found), len(found), limit=limit, indent="", more=_MORE)
    if not console.json:
        return {}
    with MissingFromBundle(reader) as missing:
        return missing_as_json(missing)


def _whereto(prepared: Prepared, output: Path, *, verbose: bool) -> Iterator[str]:
    """Which destination, and in what form."""
    there, party = prepared.destination, prepared.destination.party
    if prepared.existing.origin:
        yield "This is the project that the bundle came from"
    if verbose and party["organization"]:
        yield f"Organisation {party['organization']}"
    why = " (the destination has no Assistants API)" if there.endpoints["/assistants"] == "absent" else ""
    match prepared.plan.form:
        case Form.ASSISTANTS:
            if verbose:
                yield "Mode: assistants"
        case Form.RESPONSES:
            yield f"Mode: requests for the Responses API, written to {output / FOLDER}{why}"
        case Form.FOUNDRY:
            yield f"Mode: agents of a Foundry project{why}"
            if prepared.is_own:
                yield from _reused(prepared.plan)


def _reused(plan: Plan) -> Iterator[str]:
    """How much of what classic agents use the new agents of their project can use as it is."""
    own = [step for step in plan.steps() if isinstance(step, steps.Adopt) and step.by is By.ORIGIN]
    used = sum(step.kind in (Kind.STORE, Kind.FILE) for step in own)
    copied = plan.totals().stores + plan.totals().files
    if used or copied:
        yield f"Vector stores and files: {used} used by their ids, {copied} copied"


def _shutdowns(prepared: Prepared, *, verbose: bool) -> Iterator[str]:
    """The models that shut down: a line for each day, or one for all."""
    found = prepared.shutdowns
    if verbose or len(found) < 2:
        yield from (one.text for one in found)
        return
    models = sum(len(one.models) for one in found)
    yield f"{models} models will shut down, first {', '.join(found[0].models[:2])} on {found[0].on}"


def _show_intent(console: Console, prepared: Prepared) -> None:
    """Print what an import is about to do, or what differs where that keeps it from being carried out."""
    conflicts = prepared.plan.conflicts()
    if not conflicts:
        console.say(_intent(prepared))
    _show_steps(console, conflicts, prepared.plan.prefix)


def _intent(prepared: Prepared) -> str:
    """What is about to be created, and what is done besides."""
    planned, total = prepared.plan, prepared.plan.totals()
    part = "" if planned.chosen == planned.of else f" ({planned.chosen} of {planned.of} selected)"
    kept = _summed(total.adopted, total.skipped)
    if not planned.pending():
        there = f": {said} already there" if (said := _holding(kept)) else ""
        return f"Nothing to do{there}{part}{_project(prepared)}"
    parts = [f"creating {text}" for text in [_holding(_created(total), total.bytes)] if text]
    parts += [f"updating {text}" for text in [_holding(_summed(total.updated))] if text]
    parts += [f"removing {counted(total.detached, 'file')} from vector stores"] if total.detached else []
    parts += [f"{total.impossible} can't be created"] if total.impossible else []
    said = "; ".join(parts)
    return f"{said[:1].upper()}{said[1:]}{part}{_project(prepared)}"


def _show_plan(
    console: Console, prepared: Prepared, result: dict[str, Any], missing: dict[str, Any], commands: list[str]
) -> Outcome:
    """Print the plan on stdout: a line a unit or, with --verbose, a step; then how much it is, cost and verdict.

    ``commands`` carry it out. Returns the outcome of a command that does no more, whose result begins with ``result``
    and ends with ``missing``.
    """
    plan, there, verdict = prepared.plan, prepared.destination, prepared.verdict()
    is_dry = "dry_run" in result
    units = _show_all_units(console, plan) if console.json or console.verbose else []
    if not console.verbose and not plan.conflicts():
        _show_units(console, prepared, _UNITS - is_dry)
    _show_steps(console, plan.conflicts(), plan.prefix)
    console.result(_plan_totals(prepared))
    # A plan that can't be carried out ends in the error that says so.
    if not plan.conflicts():
        _plan_block(console, prepared, commands).show(console, on_stdout=True)
    if is_dry:
        console.result("DRY RUN: nothing written")
    return Outcome(
        exit_code=EXIT_LOOK if plan.pending() else verdict.exit_code,
        result={
            **result,
            "as": plan.form.value,
            "pending": plan.pending(),
            "origin": prepared.existing.origin,
            "destination": {
                **there.party,
                "endpoints": dict(there.endpoints),
                "models": None if there.catalog.models is None else len(there.catalog.models),
            },
            "totals": msgspec.to_builtins(plan.totals()),
            "estimate": msgspec.to_builtins(prepared.estimate),
            "warnings": [*prepared.warnings, *(one.text for one in prepared.shutdowns)],
            "units": units,
            **verdict_as_json(verdict),
            **missing,
        },
        losses=losses_as_json(plan.losses()),
    )


def _show_units(console: Console, prepared: Prepared, limit: int) -> None:
    """The first units, what needs a look before the rest."""
    lines = sorted(
        (unit_line(unit, prepared.plan.prefix) for unit in prepared.plan.units), key=lambda line: SIGNS.index(line[0])
    )
    for line in lines[:limit]:
        console.change(line, result=True)
    if (left := len(lines) - limit) > 0:
        console.result(f"… and {left} more{_MORE}")


def _show_all_units(console: Console, plan: Plan) -> list[dict[str, Any]]:
    """Print each unit with its steps. Returns them for ``--json``."""
    units = []
    for unit in plan.units:
        lines = list(unit_steps(unit, plan.prefix))
        console.change(unit_line(unit, plan.prefix), result=True)
        for text in lines:
            console.change(f"    {text}", result=True)
        said = [text[2:] for text in lines]  # without the sign
        units.append({"kind": unit.kind.value, "id": unit.id, "name": unit.name, "steps": said})
    return units


def _plan_totals(prepared: Prepared) -> str:
    """How much a plan is, in one line."""
    total, conflicts = prepared.plan.totals(), len(prepared.plan.conflicts())
    counts = {
        "to create": sum(_created(total).values()),
        "to update": sum(total.updated.values()) + total.detached,
        "to keep": sum(_summed(total.adopted, total.skipped).values()),
        "cannot": total.impossible,
        "differ" if conflicts > 1 else "differs": conflicts,
    }
    said = [f"{count} {what}" for what, count in counts.items() if count]
    return f"Plan: {', '.join(said if prepared.plan.pending() else ['nothing to do', *said])}{_project(prepared)}"


def _plan_block(console: Console, prepared: Prepared, commands: list[str]) -> Block:
    """The verdict on what the plan makes, its cost and its losses."""
    plan, verdict = prepared.plan, prepared.verdict()
    groups, minor = weighed_groups(plan.losses())
    requests = "; ".join([*_requests(prepared.estimate), *minor])
    return Block(
        verdict=f"{verdict}{' (once imported)' if plan.pending() else ''}",
        exit_code=verdict.exit_code,
        facts=[text for text in (requests, *_storage(prepared.estimate, verbose=console.verbose)) if text],
        groups=groups,
        commands=commands if plan.pending() else [],
    )


def _requests(cost: Estimate) -> Iterator[str]:
    if cost.requests:
        yield f"Estimate: {cost.requests}+ requests, {_duration(cost.seconds)}+, plus upload and indexing"


def _storage(cost: Estimate, *, verbose: bool) -> Iterator[str]:
    # What costs nothing is not worth a line.
    if cost.storage and (verbose or cost.chargeable != 0):
        if cost.chargeable is None:
            above = "what the destination holds already is not known"
        elif cost.chargeable:
            above = f"{human_size(cost.chargeable)} above the free gigabyte"
        else:
            above = "within the free gigabyte"
        yield f"Storage: {human_size(cost.storage)} more in vector stores, by the files' own sizes; {above}"


def _duration(seconds: int) -> str:
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _require_consent(console: Console, prepared: Prepared, *, yes: bool) -> None:
    """Ask before existing objects are changed. Raises UsageFault if there is no terminal, or the answer is no."""
    if yes or not prepared.plan.updates():
        return
    changes = (step for step in prepared.plan.steps() if isinstance(step, _CHANGES))
    _show_steps(console, changes, prepared.plan.prefix)
    # A question that nobody hears would hold up a job for ever.
    if console.json or not sys.stdin.isatty():
        raise UsageFault(
            "nothing written: existing objects would be changed, and this is not a terminal",
            hint="pass --yes, or review first with holdall plan BUNDLE -o FILE, then import --plan FILE",
        )
    if not console.confirm("Change existing objects?"):
        raise UsageFault("nothing written: not confirmed")


def _show_steps(console: Console, found: Iterable[steps.Step], prefix: str) -> None:
    """Steps with all that they change, a line a value; unless --verbose a few lines."""
    lines = [flat(text) for step in found for text in step_lines(step, prefix)]
    ends = accumulate(len(wrapped(text, _COLUMNS)) for text in lines)
    shown = len(lines) if console.verbose else sum(end <= _DIFFERENCES for end in ends)
    for text in lines[:shown]:
        console.change(text)
    if left := len(lines) - shown:
        console.warn(f"… and {counted(left, 'more line')}{_MORE}")


def _project(prepared: Prepared) -> str:
    project = prepared.destination.party["project"]
    return f" (project {project})" if project else ""


def _created(total: PlanTotals) -> dict[str, int]:
    return {
        "request": total.requests,
        **{KINDS[kind].noun: getattr(total, KINDS[kind].count) for kind in DEFINITIONS if kind is not Kind.STORE},
        noun(Kind.STORE): total.stores,
        noun(Kind.FILE): total.files,
    }


def _summed(*several: Mapping[str, int]) -> dict[str, int]:
    """Counts by kind as counts by noun, in the order of the kinds."""
    return {row.noun: sum(counts.get(kind.value, 0) for counts in several) for kind, row in KINDS.items()}


def _holding(counts: Mapping[str, int], size: int = 0) -> str:
    """``8 assistants, 4 vector stores, 47 files (529 kB)``; ``counts`` are by noun, ``size`` is bytes."""
    return ", ".join(
        counted(count, what) + (f" ({human_size(size)})" if what == noun(Kind.FILE) and size else "")
        for what, count in counts.items()
        if count
    )


# -- the report ----------------------------------------------------------------------------------------

_APART = (Kind.FOUNDRY_AGENT, Kind.SKILL, Kind.TEMPLATE)
_OTHERS = tuple(kind for kind in Kind if kind not in _APART)

# How a root came to be, in words that follow how many.
_HOW_WORDS = {
    "written": "written for the Responses API",
    "adopted": "already there",
    "left": "skipped",
    "new version": "given a new version",
}


def _show_report(
    console: Console,
    settings: DestinationSettings,
    bundle: Path,
    imported: Imported,
    report: Report,
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
        facts=[
            "; ".join([_what_was_done(imported, report), *minor]),
            *([keeping(report)] if report.duplicates else []),
        ],
        groups=[*_leftovers(report), *_unfinished(report), *groups],
        details=chain(_result_lines(report), loss_lines(losses), _leftover_lines(report)),
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
            **_short_mapping(report),
            "requests": report.requests,
            **verdict_as_json(verdict),
        },
        losses=losses_as_json(report.losses()),
    )


def _what_was_done(imported: Imported, report: Report) -> str:
    """What the run did, in one line: ``8 assistants created, 4 vector stores, 47 files (529 kB)``."""
    kinds = [kind for kind in DEFINITIONS if kind is not Kind.STORE and report.of(kind)]
    said = [text for kind in kinds for text in _reached(report.of(kind), KINDS[kind].noun)]
    # Skills that were chosen have results of their own.
    needed = [] if report.of(Kind.SKILL) else [Kind.SKILL]
    made = {KINDS[kind].noun: imported.made.get(kind, 0) for kind in (*needed, Kind.STORE, Kind.FILE)}
    if rest := _holding(made, imported.bytes):
        return ", ".join([*said, rest]) if said else f"Created {rest}"
    if all(result.how == "adopted" and result.target is not None for result in report.results):
        return f"Nothing created: {', '.join(said) or 'everything is already there'}"
    return ", ".join(said) or "Nothing created"


def _reached(found: list[Result], noun: str) -> Iterator[str]:
    """How many of the assistants, or agents, are there, and how they came to be."""
    counts = Counter(one.how if one.target else one.status.value.replace("_", " ") for one in found)
    if all(one.target for one in found):
        (first, count), *others = counts.most_common()
        yield f"{counted(count, noun)} {_HOW_WORDS.get(first, first)}"
        yield from (f"{count} {_HOW_WORDS.get(how, how)}" for how, count in others)
        return
    done = sum(one.target is not None for one in found)
    yield f"{done} of {counted(len(found), noun)} imported"
    failures = (Status.FAILED.value, Status.NOT_ATTEMPTED.value.replace("_", " "))
    yield from (f"{counts[how]} {how}" for how in failures if counts[how])


def _leftovers(report: Report) -> Iterator[Group]:
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


def _unfinished(report: Report) -> Iterator[Group]:
    """What did not fully succeed, by how it ended."""
    for status in (Status.FAILED, Status.PARTIAL):
        # What is of another kind there than assistants; all others are counted as these.
        for word, kinds in (("assistant", _OTHERS), *((KINDS[kind].noun, (kind,)) for kind in _APART)):
            if found := [result for result in report.of(*kinds) if result.status is status]:
                names = [result.name or result.source for result in found[:NAMED]]
                yield Group(title=f"{counted(len(found), word)} {status}", items=names, total=len(found))


def _result_lines(report: Report) -> Iterator[str]:
    for result in report.results:
        target = f" -> {result.target}" if result.target else ""
        how = f" ({result.how})" if result.how != "created" else ""
        said = how if result.status is Status.SUCCESS else f": {result.error}"
        yield f"{result.status}  {result.source}{target}  {result.name or 'no name'}{said}"


def _leftover_lines(report: Report) -> Iterator[str]:
    for one in report.orphans:
        yield f"possible orphan, used by nothing: {one.name or one.source} ({one.id or 'id unknown'})"
    for duplicate in report.duplicates:
        yield f"created twice, by this import and by another: {duplicate}"


def _short_mapping(report: Report) -> dict[str, Any]:
    """The mapping as mapping.json has it, but only the number of files: there may be millions."""
    document, others = msgspec.to_builtins(mapping(report)), report.of(Kind.STORE, Kind.FILE)
    mapped = (KINDS[kind].count for kind in DEFINITIONS if kind is not Kind.ASSISTANT)  # they are in "mappings"
    return {
        **{key: document[key] for key in ("source", "destination", "mappings", *mapped, "options")},
        "others": [{"srcId": one.source, "dstId": one.target, "status": one.status.value} for one in others],
        "files": len(report.files),
        "possible_orphans": document["possible_orphans"],
        "duplicates": document["duplicates"],
    }
