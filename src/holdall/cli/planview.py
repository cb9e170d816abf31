"""How a plan is shown: before an import, by ``plan``, and under ``--json``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec

from holdall.bundle.missing import MissingFromBundle
from holdall.bundle.reader import BundleReader
from holdall.cli.block import Block
from holdall.cli.console import Console, Outcome, counted, flat, human_size
from holdall.cli.stepview import SIGNS, step_lines, unit_line, unit_steps
from holdall.cli.views import losses_as_json, missing_as_json, show_first, verdict_as_json, weighed_groups
from holdall.dialects.tables import Form
from holdall.errors import EXIT_LOOK, UsageFault
from holdall.importer.verbs.plan_import import FOLDER, By, Estimate, Plan, PlanTotals, Prepared, steps
from holdall.kinds import DEFINITIONS, KINDS, noun
from holdall.legible import wrapped
from holdall.model import Kind

# The steps that change what is there.
_CHANGES = (steps.UpdateDefinition, steps.UpdateStore, steps.UpdateMembership, steps.DetachFile)
# Units that are shown; lines of what differs, or would be changed.
_UNITS, _DIFFERENCES = 3, 9
_WARNINGS = 3
_COLUMNS = 80
_MORE = " (-v lists all)"


def show_summary(console: Console, prepared: Prepared, reader: BundleReader, output: Path) -> dict[str, Any]:
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


def show_intent(console: Console, prepared: Prepared) -> None:
    """Print what an import is about to do, or what differs where that keeps it from being carried out."""
    conflicts = prepared.plan.conflicts()
    if not conflicts:
        console.say(_intent(prepared))
    _show_steps(console, conflicts, _DIFFERENCES, prepared.plan.prefix)


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
                yield from _shared(prepared.plan)


def _shared(plan: Plan) -> Iterator[str]:
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


def _project(prepared: Prepared) -> str:
    project = prepared.destination.party["project"]
    return f" (project {project})" if project else ""


def _intent(prepared: Prepared) -> str:
    """What is about to be created, and what is done besides."""
    planned, total = prepared.plan, prepared.plan.totals()
    part = "" if planned.chosen == planned.of else f" ({planned.chosen} of {planned.of} selected)"
    kept = _summed(total.adopted, total.skipped)
    if not planned.pending():
        there = f": {said} already there" if (said := holding(kept)) else ""
        return f"Nothing to do{there}{part}{_project(prepared)}"
    parts = [f"creating {text}" for text in [holding(_created(total), total.bytes)] if text]
    parts += [f"updating {text}" for text in [holding(_summed(total.updated))] if text]
    parts += [f"removing {counted(total.detached, 'file')} from vector stores"] if total.detached else []
    parts += [f"{total.impossible} can't be created"] if total.impossible else []
    said = "; ".join(parts)
    return f"{said[:1].upper()}{said[1:]}{part}{_project(prepared)}"


def holding(counts: Mapping[str, int], size: int = 0) -> str:
    """``8 assistants, 4 vector stores, 47 files (529 kB)``; ``counts`` are by noun, ``size`` is bytes."""
    return ", ".join(
        counted(count, what) + (f" ({human_size(size)})" if what == noun(Kind.FILE) and size else "")
        for what, count in counts.items()
        if count
    )


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


def show_plan(
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
    _show_steps(console, plan.conflicts(), _DIFFERENCES, plan.prefix)
    console.result(_summary(prepared))
    # A plan that can't be carried out ends in the error that says so.
    if not plan.conflicts():
        _block(console, prepared, commands).show(console, on_stdout=True)
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


def _block(console: Console, prepared: Prepared, commands: list[str]) -> Block:
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


def _show_units(console: Console, prepared: Prepared, limit: int) -> None:
    """The first units, what needs a look before the rest."""
    lines = sorted(
        (unit_line(unit, prepared.plan.prefix) for unit in prepared.plan.units), key=lambda line: SIGNS.index(line[0])
    )
    for line in lines[:limit]:
        console.change(line, result=True)
    if (left := len(lines) - limit) > 0:
        console.result(f"… and {left} more{_MORE}")


def _summary(prepared: Prepared) -> str:
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


def _show_steps(console: Console, found: Iterable[steps.Step], most: int, prefix: str) -> None:
    """Steps with all that they change, a line a value; unless --verbose what ``most`` lines of a terminal take."""
    lines = [flat(text) for step in found for text in step_lines(step, prefix)]
    ends = accumulate(len(wrapped(text, _COLUMNS)) for text in lines)
    shown = len(lines) if console.verbose else sum(end <= most for end in ends)
    for text in lines[:shown]:
        console.change(text)
    if left := len(lines) - shown:
        console.warn(f"… and {counted(left, 'more line')}{_MORE}")


def require_consent(console: Console, prepared: Prepared, *, yes: bool) -> None:
    """Ask before existing objects are changed. Raises UsageFault if there is no terminal, or the answer is no."""
    if yes or not prepared.plan.updates():
        return
    changes = (step for step in prepared.plan.steps() if isinstance(step, _CHANGES))
    _show_steps(console, changes, _DIFFERENCES, prepared.plan.prefix)
    # A question that nobody hears would hold up a job for ever.
    if console.json or not sys.stdin.isatty():
        raise UsageFault(
            "nothing written: existing objects would be changed, and this is not a terminal",
            hint="pass --yes, or review first with holdall plan BUNDLE -o FILE, then import --plan FILE",
        )
    if not console.confirm("Change existing objects?"):
        raise UsageFault("nothing written: not confirmed")


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
