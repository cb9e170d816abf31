"""How a plan is shown: before an import, by ``plan``, and under ``--json``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from holdall.bundle.missing import MissingFromBundle
from holdall.bundle.reader import BundleReader
from holdall.cli.console import Console, counted, human_size
from holdall.cli.lossview import show as show_losses
from holdall.cli.lossview import told
from holdall.cli.missingview import as_json, show
from holdall.dialects.tables import Form
from holdall.errors import UsageFault, pasteable
from holdall.importer.verbs.plan_import import FOLDER, Difference, Estimate, Prepared, steps
from holdall.kinds import KINDS, WHOLE, noun
from holdall.model import Kind
from holdall.verdict import Verdict

__all__ = ["line", "require_consent", "result_of", "show_conflicts", "show_plan", "tell"]

# How many losses, or differences of one thing, the terminal shows; report.md, audit.jsonl and --json have them all.
_SHOWN = 20
# How many files to supply --json lists; `inspect --all` lists all.
_LISTED = 1000


def tell(
    console: Console, prepared: Prepared, reader: BundleReader, output: Path, *, kept: bool = True
) -> dict[str, Any]:
    """What would be done, and what the bundle itself could not take in; of that the values for ``--json``.

    ``output`` is OUTPUT_DIR. ``kept``: the bundle outlives the command, so that another one can be named that shows
    more.
    """
    console.close_progress()
    _announce(console, prepared, output)
    with MissingFromBundle(reader) as shortfall:
        show(console.warn, shortfall, more=f"holdall inspect {pasteable(reader.path)} --all" if kept else "")
        return as_json(shortfall, limit=_LISTED) if console.json else {}


def _announce(console: Console, prepared: Prepared, output: Path) -> None:
    """Which destination, in what form, how much, and what is lost: before anything is created. ``output`` is
    OUTPUT_DIR."""
    there, planned = prepared.destination, prepared.plan
    whose = ", ".join(
        f"{title} {value}"
        for title, value in (("organisation", there.party["organization"]), ("project", there.party["project"]))
        if value
    )
    if prepared.existing.origin:
        console.say(f"this is where the bundle came from{f': {whose}' if whose else ''}")
    elif whose:
        console.say(f"destination: {whose}")
    console.say(_form(prepared, output))
    total = planned.totals()
    part = "" if planned.chosen == planned.of else f" ({planned.chosen} of {planned.of} selected)"
    written = planned.form is Form.RESPONSES
    later = [KINDS[kind] for kind in WHOLE if KINDS[kind].since]
    more = "".join(f", {counted(count, row.noun)}" for row in later if (count := getattr(total, row.count)))
    made = counted(total.requests, "request") if written else counted(total.assistants, "assistant")
    console.say(
        f"to create: {made}{more}{part}, {counted(total.stores, 'vector store')}, "
        f"{counted(total.files, 'file')} ({human_size(total.bytes)})"
    )
    for text in _else(total):
        console.say(text)
    for step in planned.steps():
        if isinstance(step, steps.WriteRequest) and step.beside:
            why = "is not as holdall left it, or of another destination, and stays"
            console.warn(line(f"{step.path} {why}; the new one goes to {step.beside}"))
    for warning in prepared.warnings:
        console.warn(f"warning: {line(warning)}")
    show_losses(console, list(planned.losses()))


def _form(prepared: Prepared, output: Path) -> str:
    if prepared.plan.form is Form.ASSISTANTS:
        return "assistants become assistants there"
    why = ": the destination has no Assistants API" if prepared.destination.endpoints["/assistants"] == "absent" else ""
    return f"assistants become requests for the Responses API, written to {output / FOLDER}{why}"


def _else(total: steps.PlanTotals) -> Iterator[str]:
    """What would be done besides creating."""
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


def show_plan(console: Console, prepared: Prepared, verdict: Verdict) -> None:
    """Every step, a line each, then what it will cost, then the verdict; on stdout."""
    for unit in prepared.plan.units:
        for text in _unit_lines(unit):
            console.result(text)
    for text in _cost(prepared.estimate):
        console.result(text)
    plan = prepared.plan
    console.result(
        f"{'as it is' if plan.conflicts() else 'once done' if plan.pending() else 'nothing to do'}: {verdict}"
    )


def show_conflicts(console: Console, prepared: Prepared) -> None:
    """What differs, value by value, where that keeps an import from being carried out."""
    for step in prepared.plan.conflicts():
        for text in _step_lines(step):
            console.warn(line(text))


def result_of(prepared: Prepared) -> dict[str, Any]:
    """A plan for ``--json``."""
    there = prepared.destination
    return {
        "as": prepared.plan.form.value,
        "pending": prepared.plan.pending(),
        "origin": prepared.existing.origin,
        "destination": {
            **there.party,
            "endpoints": dict(there.endpoints),
            "models": None if there.catalog.models is None else len(there.catalog.models),
        },
        "totals": msgspec.to_builtins(prepared.plan.totals()),
        "estimate": msgspec.to_builtins(prepared.estimate),
        "warnings": prepared.warnings,
        "units": [
            {
                "kind": unit.kind.value,
                "id": unit.id,
                "name": unit.name,
                "steps": [text.strip() for text in _unit_lines(unit)[1:]],
            }
            for unit in prepared.plan.units
        ],
    }


def require_consent(console: Console, prepared: Prepared, *, yes: bool) -> None:
    """Ask before anything that is there is changed. Raises UsageFault where nobody can be asked, or says no."""
    if yes or not prepared.plan.updates():
        return
    for unit in prepared.plan.units:
        for step in unit.steps:
            if hasattr(step, "target") and type(step).__name__.startswith(("Update", "Detach")):
                for text in _step_lines(step):
                    console.warn(line(text))
    if console.json or not sys.stdin.isatty():
        raise UsageFault(
            "nothing was written: this changes things that are there, and there is nobody to ask",
            hint="--yes does it all the same; or look first: holdall plan BUNDLE -o FILE, then import --plan FILE",
        )
    if not click.confirm("Change what is there?", default=False, err=True):
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
    lines: list[str] = []
    there = [step for step in unit.steps if isinstance(step, steps.Adopt) and step.kind is Kind.FILE]
    for step in unit.steps:
        if isinstance(step, steps.Adopt) and step.kind is Kind.FILE:
            if step is there[0]:
                by = ", ".join(dict.fromkeys(each.by for each in there))
                lines.append(f"  adopt {counted(len(there), 'file')} by {by}")
        else:
            lines += _step_lines(step)
    return [line(text) for text in (f"{unit.name or unit.id}:", *lines)]


def _step_lines(step: steps.Step) -> list[str]:
    match step:
        case steps.UploadFile(content=content, purpose=purpose):
            size = human_size(content.size if content.size is not None else content.stored)
            return [f"  upload file {content.filename or content.id}, {size}, {content.fidelity}, purpose {purpose}"]
        case steps.CreateStore(id=id, name=name):
            return [f"  create vector store {name or 'without a name'} ({id})"]
        case steps.AttachFiles(store=id, count=count):
            return [f"  attach {counted(count, 'file')} to {id}"]
        case steps.CreateDefinition(kind=kind, id=id, name=name, model=model, losses=losses):
            with_model = f", model {model}" if KINDS[kind].has_model else ""
            return [f"  create {_who(kind, name, id)}{with_model}", *told(losses)]
        case steps.WriteRequest(id=id, name=name, model=model, path=path, beside=beside, losses=losses):
            where = f"{beside}, for {path} is not as holdall left it, or of another destination" if beside else path
            return [f"  write assistant {name or 'without a name'} ({id}), model {model}, to {where}", *told(losses)]
        case steps.Adopt(kind=kind, id=id, target=target, name=name, by=by):
            return [f"  adopt {_who(kind, name, id)} as {target}, by {by}"]
        case steps.Skip(kind=kind, id=id, target=target, name=name, differences=found):
            return [f"  skip {_who(kind, name, id)}, there as {target}:", *_differences(found)]
        case steps.Differs(kind=kind, id=id, target=target, name=name, differences=found, changed=changed):
            since = f"; changed since the last run: {', '.join(changed)}" if changed else ""
            return [f"  differs: {_who(kind, name, id)}, there as {target}{since}:", *_differences(found)]
        case steps.UpdateDefinition() | steps.UpdateStore():
            kind = step.kind if isinstance(step, steps.UpdateDefinition) else Kind.STORE
            who = _who(kind, step.name, step.id)
            return [f"  update {who}, there as {step.target}:", *_differences(step.differences)]
        case steps.UpdateMembership(store=store, file=file, name=name):
            return [f"  set the attributes of {name or file} in {store}"]
        case steps.DetachFile(store=store, target=target, name=name, why=why):
            return [f"  take {name or target} out of {store}: {why}"]
        case steps.LeaveOut(loss=loss):
            return [f"  {loss}"]
        case steps.Cannot(id=id, reason=reason):
            return [f"  can't create {id}: {reason}"]


def _differences(found: list[Difference]) -> list[str]:
    lines = [f"    {difference.told()}" for difference in found[:_SHOWN]]
    return [*lines, f"    … and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else lines


def _who(kind: Kind, name: str | None, id: str) -> str:
    return f"{noun(kind)} {name or 'without a name'} ({id})"


def line(value: object) -> str:
    """On one line, whatever the names in it hold."""
    return " ".join(str(value).splitlines())
