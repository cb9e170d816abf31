"""How a plan is shown: before an import, by ``plan``, and under ``--json``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from holdall.bundle.missing import MissingFromBundle
from holdall.bundle.reader import BundleReader
from holdall.cli.console import Console, Outcome, counted, flat, human_size
from holdall.cli.views import losses_as_json, missing_as_json, show_first, show_losses, show_missing, verdict_as_json
from holdall.dialects.loss import Loss
from holdall.dialects.tables import Form
from holdall.errors import EXIT_LOOK, UsageFault, pasteable
from holdall.importer.verbs.plan_import import FOLDER, Difference, Estimate, Prepared, steps
from holdall.kinds import ASSISTANT_KINDS, KINDS, noun
from holdall.model import Kind

# The steps that change what is there.
_CHANGES = (steps.UpdateDefinition, steps.UpdateStore, steps.UpdateMembership, steps.DetachFile)


def show_summary(
    console: Console, prepared: Prepared, reader: BundleReader, output: Path, *, kept: bool = True
) -> dict[str, Any]:
    """Print how much would be done, and what the bundle lacks; returns the latter for ``--json``.

    ``output`` is OUTPUT_DIR. ``kept``: the bundle outlives the command, so a hint may name it.
    """
    console.close_progress()
    for text in (*_whereto(prepared, output), *_amounts(prepared.plan)):
        console.say(text)
    for step in prepared.plan.steps():
        if isinstance(step, steps.WriteRequest) and step.beside:
            why = "is not as holdall left it, or of another destination, and stays"
            console.warn(flat(f"{step.path} {why}; the new one goes to {step.beside}"))
    for warning in prepared.warnings:
        console.warn(f"warning: {flat(warning)}")
    show_losses(console, list(prepared.plan.losses()))
    with MissingFromBundle(reader) as missing:
        show_missing(console.warn, missing, more=f"holdall inspect {pasteable(reader.path)} --all" if kept else "")
        return missing_as_json(missing) if console.json else {}


def _whereto(prepared: Prepared, output: Path) -> Iterator[str]:
    """Which destination, and in what form."""
    there, party = prepared.destination, prepared.destination.party
    known = (("organisation", party["organization"]), ("project", party["project"]))
    whose = ", ".join(f"{title} {value}" for title, value in known if value)
    if prepared.existing.origin:
        yield f"this is where the bundle came from{f': {whose}' if whose else ''}"
    elif whose:
        yield f"destination: {whose}"
    if prepared.plan.form is Form.ASSISTANTS:
        yield "assistants become assistants there"
    else:
        why = ": the destination has no Assistants API" if there.endpoints["/assistants"] == "absent" else ""
        yield f"assistants become requests for the Responses API, written to {output / FOLDER}{why}"


def _amounts(planned: steps.Plan) -> Iterator[str]:
    """What would be created, and what would be done besides."""
    total = planned.totals()
    part = "" if planned.chosen == planned.of else f" ({planned.chosen} of {planned.of} selected)"
    written = planned.form is Form.RESPONSES
    later = [KINDS[kind] for kind in ASSISTANT_KINDS if KINDS[kind].since]
    more = "".join(f", {counted(count, row.noun)}" for row in later if (count := getattr(total, row.count)))
    made = counted(total.requests, "request") if written else counted(total.assistants, "assistant")
    yield (
        f"to create: {made}{more}{part}, {counted(total.stores, 'vector store')}, "
        f"{counted(total.files, 'file')} ({human_size(total.bytes)})"
    )
    for title, counts in (
        ("already there", total.adopted),
        ("to update", total.updated),
        ("left as it is, though it differs", total.skipped),
    ):
        if counts:
            yield f"{title}: {', '.join(counted(count, kind.replace('_', ' ')) for kind, count in counts.items())}"
    if total.detached:
        yield f"to take out of vector stores: {counted(total.detached, 'file')}"
    if total.impossible:
        yield f"can't be created: {total.impossible}"


def show_plan(console: Console, prepared: Prepared, result: dict[str, Any], missing: dict[str, Any]) -> Outcome:
    """Print every step, the cost and the verdict on stdout. Returns the outcome of a command that does no more.

    Its result begins with ``result`` and ends with ``missing``.
    """
    plan, there, verdict = prepared.plan, prepared.destination, prepared.verdict()
    units = []
    for unit in plan.units:
        title, *lines = _unit_lines(unit)
        for text in (title, *lines):
            console.result(text)
        said = [text.strip() for text in lines]
        units.append({"kind": unit.kind.value, "id": unit.id, "name": unit.name, "steps": said})
    for text in _cost(prepared.estimate):
        console.result(text)
    when = "as it is" if plan.conflicts() else "once done" if plan.pending() else "nothing to do"
    console.result(f"{when}: {verdict}")
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
            "warnings": prepared.warnings,
            "units": units,
            **verdict_as_json(verdict),
            **missing,
        },
        losses=losses_as_json(plan.losses()),
    )


def show_conflicts(console: Console, prepared: Prepared) -> None:
    """What differs, value by value, where that keeps an import from being carried out."""
    _warn_of(console, prepared.plan.conflicts())


def _warn_of(console: Console, found: Iterable[steps.Step]) -> None:
    for step in found:
        for text in _step_lines(step):
            console.warn(flat(text))


def require_consent(console: Console, prepared: Prepared, *, yes: bool) -> None:
    """Ask before existing objects are changed. Raises UsageFault if there is no terminal, or the answer is no."""
    if yes or not prepared.plan.updates():
        return
    _warn_of(console, (step for step in prepared.plan.steps() if isinstance(step, _CHANGES)))
    # A question that nobody hears would hold up a job for ever.
    if console.json or not sys.stdin.isatty():
        raise UsageFault(
            "nothing was written: this changes things that are there, and there is nobody to ask",
            hint="--yes does it all the same; or look first: holdall plan BUNDLE -o FILE, then import --plan FILE",
        )
    if not console.confirm("Change what is there?"):
        raise UsageFault("nothing was written: you said no")


def _cost(cost: Estimate) -> Iterator[str]:
    if cost.requests:
        yield (
            f"at least {cost.requests} requests and {_duration(cost.seconds)} at the known limits, "
            "not counting what the bytes take and indexing"
        )
    if cost.storage:
        if cost.chargeable is None:
            above = "how much the destination holds already is not known"
        elif cost.chargeable:
            above = f"{human_size(cost.chargeable)} will be above the free gigabyte"
        else:
            above = "all of it within the free gigabyte"
        yield f"about {human_size(cost.storage)} more in vector stores (by the files' own sizes); {above}"


def _duration(seconds: int) -> str:
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _unit_lines(unit: steps.Unit) -> list[str]:
    """What would be done for one unit, a line a step; files that are there are counted."""
    adopted = [step for step in unit.steps if isinstance(step, steps.Adopt) and step.kind is Kind.FILE]
    lines = [f"{unit.name or unit.id}:"]
    for step in unit.steps:
        if not (isinstance(step, steps.Adopt) and step.kind is Kind.FILE):
            lines += _step_lines(step)
        elif step is adopted[0]:
            by = ", ".join(dict.fromkeys(each.by for each in adopted))
            lines.append(f"  adopt {counted(len(adopted), 'file')} by {by}")
    return [flat(text) for text in lines]


def _step_lines(step: steps.Step) -> list[str]:
    # One function, as it is a table: a case for each kind of step, with its words.
    match step:
        case steps.UploadFile(content=content):
            size = human_size(content.size if content.size is not None else content.stored)
            what = f"{content.filename or content.id}, {size}, {content.fidelity}"
            return [f"  upload file {what}, purpose {step.purpose}"]
        case steps.CreateStore():
            return [f"  create {_who(step)}"]
        case steps.AttachFiles():
            return [f"  attach {counted(step.count, 'file')} to {step.store}"]
        case steps.CreateDefinition():
            model = f", model {step.model}" if KINDS[step.kind].has_model else ""
            return [f"  create {_who(step)}{model}", *_lost(step.losses)]
        case steps.WriteRequest(path=path):
            why = "is not as holdall left it, or of another destination"
            where = f"{step.beside}, for {path} {why}" if step.beside else path
            return [f"  write {_who(step, Kind.ASSISTANT)}, model {step.model}, to {where}", *_lost(step.losses)]
        case steps.Adopt():
            return [f"  adopt {_who(step)} as {step.target}, by {step.by}"]
        case steps.Skip():
            return [f"  skip {_who(step)}, there as {step.target}:", *_differences(step.differences)]
        case steps.Differs():
            since = f"; changed since the last run: {', '.join(step.changed)}" if step.changed else ""
            return [f"  differs: {_who(step)}, there as {step.target}{since}:", *_differences(step.differences)]
        case steps.UpdateDefinition() | steps.UpdateStore():
            return [f"  update {_who(step)}, there as {step.target}:", *_differences(step.differences)]
        case steps.UpdateMembership():
            return [f"  set the attributes of {step.name or step.file} in {step.store}"]
        case steps.DetachFile():
            return [f"  take {step.name or step.target} out of {step.store}: {step.why}"]
        case steps.LeaveOut():
            return [f"  {step.loss}"]
        case steps.Cannot():
            return [f"  can't create {step.id}: {step.reason}"]


def _differences(found: list[Difference]) -> list[str]:
    lines: list[str] = []
    show_first(lines.append, (difference.told() for difference in found), len(found), indent="    ")
    return lines


def _lost(losses: list[Loss]) -> list[str]:
    """What an assistant loses, field by field."""
    return [f"    {loss.why.severity}: {f'{loss.field}: ' if loss.field else ''}{loss.text}" for loss in losses]


def _who(step: Any, kind: Kind = Kind.STORE) -> str:
    """What a step is about; ``kind`` where the step itself doesn't say it."""
    return f"{noun(getattr(step, 'kind', kind))} {step.name or 'without a name'} ({step.id})"
