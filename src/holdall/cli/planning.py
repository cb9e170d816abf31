"""What ``plan``, ``import`` and ``clone`` share: the options that a plan is made by, and how one is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli.console import Console, counted, human_size
from holdall.cli.losses import show as show_losses
from holdall.cli.losses import told
from holdall.cli.shortfall import as_json, show
from holdall.errors import DamagedBundle, Mistakes, UsageFault, pasteable

if TYPE_CHECKING:
    from holdall.bundle.reader import BundleReader
    from holdall.importer.destination.preparation import Prepared
    from holdall.importer.plan.difference import Difference
    from holdall.importer.plan.document import Asked
    from holdall.importer.plan.estimate import Estimate
    from holdall.importer.plan.steps import Step, Totals, Unit
    from holdall.verdict import Verdict

__all__ = [
    "announce",
    "asked_of",
    "how_to_plan",
    "line",
    "proved",
    "require_consent",
    "result_of",
    "show_conflicts",
    "show_plan",
    "show_shortfall",
    "what_to_import",
]

# How many losses, or differences of one thing, the terminal shows; report.md, audit.jsonl and --json have them all.
_SHOWN = 20
# How many files to supply --json lists; `inspect --all` lists all.
_LISTED = 1000


def what_to_import(command: Any) -> Any:
    """The one selector, for a bundle."""
    command = click.option("--exclude", multiple=True, metavar="[KIND:]ID|GLOB", help="Not this. Repeatable.")(command)
    return click.option(
        "--only",
        multiple=True,
        metavar="[KIND:]ID|GLOB",
        help="Only this, with all it needs; KIND is asst, agent, store or file. Repeatable.",
    )(command)


def how_to_plan(command: Any) -> Any:
    """The options that a plan depends on."""
    for decorate in reversed(
        (
            click.option(
                "--as",
                "form",
                type=click.Choice(["auto", "assistants", "responses"]),
                default="auto",
                help="What becomes of assistants: what the destination can keep (default), assistants, or requests for "
                "the Responses API, written to OUTPUT_DIR/responses.",
            ),
            click.option(
                "--max-loss",
                type=click.Choice(["none", "minor", "any"]),
                default="any",
                help="Write nothing where more than this would be lost; default any.",
            ),
            click.option(
                "--prefix", metavar="TEXT", help="Put before each assistant's and agent's name (CLONE_NAME_PREFIX)."
            ),
            click.option(
                "--map-model",
                multiple=True,
                metavar="OLD=NEW",
                help="Give assistants of model OLD (or a GLOB) the model NEW. Repeatable.",
            ),
            click.option("--skip-unmapped", is_flag=True, help="Leave out assistants whose model isn't there."),
            click.option(
                "--keep-metadata",
                multiple=True,
                metavar="KEY",
                help="Send this metadata key, though it seems to be the server's own. Repeatable.",
            ),
            click.option(
                "--drop-metadata", multiple=True, metavar="GLOB", help="Leave out these metadata keys. Repeatable."
            ),
            click.option(
                "--on-conflict",
                type=click.Choice(["stop", "skip", "update", "duplicate"]),
                default="stop",
                help="Where something is there already and differs: write nothing (default), leave it, make it equal, "
                "or make everything anew beside it.",
            ),
            click.option(
                "--mapping",
                type=click.Path(exists=True, dir_okay=False),
                metavar="FILE",
                help="A mapping.json that says what is a copy of what.",
            ),
            click.option(
                "--delete", is_flag=True, help="With update: take files out of stores that shouldn't be there."
            ),
            click.option("--even-if-changed", is_flag=True, help="With update: also what others have changed since."),
            click.option("--output-dir", metavar="DIR", help="For mapping and report, default ./out (OUTPUT_DIR)."),
        )
    ):
        command = decorate(command)
    return command


def asked_of(parameters: Mapping[str, Any]) -> Asked:
    """What the command line asks for, but for the prefix, which is a setting. Raises UsageFault, all at once."""
    from holdall.dialects.forms import Form
    from holdall.dialects.loss import MaxLoss
    from holdall.importer.plan.document import Asked
    from holdall.importer.plan.models import model_map
    from holdall.importer.plan.steps import OnConflict
    from holdall.selection import pattern

    mistakes = Mistakes()
    on_conflict = OnConflict(parameters["on_conflict"])
    for flag in ("delete", "even_if_changed"):
        if parameters[flag] and on_conflict is not OnConflict.UPDATE:
            mistakes.add(UsageFault(f"--{flag.replace('_', '-')} needs --on-conflict update"))
    with mistakes.noted():
        model_map(parameters["map_model"])
    for text in (*(parameters.get("only") or ()), *(parameters.get("exclude") or ())):
        with mistakes.noted():
            pattern(text)
    mistakes.raise_all()
    return Asked(
        form=None if parameters["form"] == "auto" else Form(parameters["form"]),
        max_loss=MaxLoss(parameters["max_loss"]),
        only=tuple(parameters.get("only") or ()),
        exclude=tuple(parameters.get("exclude") or ()),
        map_model=tuple(parameters["map_model"]),
        skip_unmapped=parameters["skip_unmapped"],
        on_conflict=on_conflict,
        delete=parameters["delete"],
        even_if_changed=parameters["even_if_changed"],
        mapping=parameters["mapping"],
        keep_metadata=tuple(parameters["keep_metadata"]),
        drop_metadata=tuple(parameters["drop_metadata"]),
    )


@contextmanager
def proved(console: Console, bundle: Path) -> Iterator[BundleReader]:
    """The bundle, open, of which nothing is read but what was proved. Raises DamagedBundle where it isn't whole."""
    from holdall.verify import verified

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


def show_shortfall(console: Console, reader: BundleReader, *, kept: bool = True) -> dict[str, Any]:
    """What the bundle itself could not take in, as ``export`` and ``inspect`` show it; its values under ``--json``.

    ``kept`` says whether the bundle outlives the command, so that another one can be named that shows more.
    """
    from holdall.bundle.shortfall import Shortfall

    with Shortfall(reader) as shortfall:
        show(console.warn, shortfall, more=f"holdall inspect {pasteable(reader.path)} --all" if kept else "")
        return as_json(shortfall, limit=_LISTED) if console.json else {}


def announce(console: Console, prepared: Prepared, output: Path) -> None:
    """Which destination, in what form, how much, and what is lost: before anything is created. ``output`` is
    OUTPUT_DIR."""
    from holdall.dialects.forms import Form
    from holdall.importer.plan.steps import WriteRequest

    there, planned = prepared.destination, prepared.plan
    whose = ", ".join(
        f"{title} {value}"
        for title, value in (("organisation", there.organization), ("project", there.project))
        if value
    )
    if prepared.presence.origin:
        console.say(f"this is where the bundle came from{f': {whose}' if whose else ''}")
    elif whose:
        console.say(f"destination: {whose}")
    console.say(_form(prepared, output))
    total = planned.totals()
    part = "" if planned.chosen == planned.of else f" ({planned.chosen} of {planned.of} selected)"
    written = planned.form is Form.RESPONSES
    agents = f", {counted(total.agents, 'agent')}" if total.agents else ""
    made = counted(total.requests, "request") if written else counted(total.assistants, "assistant")
    console.say(
        f"to create: {made}{agents}{part}, {counted(total.stores, 'vector store')}, "
        f"{counted(total.files, 'file')} ({human_size(total.bytes)})"
    )
    for text in _else(total):
        console.say(text)
    for step in planned.steps():
        if isinstance(step, WriteRequest) and step.beside:
            why = "is not as holdall left it, or of another destination, and stays"
            console.warn(line(f"{step.path} {why}; the new one goes to {step.beside}"))
    for warning in prepared.warnings:
        console.warn(f"warning: {line(warning)}")
    show_losses(console, list(planned.losses()))


def _form(prepared: Prepared, output: Path) -> str:
    from holdall.dialects.forms import Form
    from holdall.importer.destination.destination import Answers
    from holdall.importer.plan.requests import FOLDER

    if prepared.plan.form is Form.ASSISTANTS:
        return "assistants become assistants there"
    absent = prepared.destination.endpoints["/assistants"] is Answers.ABSENT
    why = ": the destination has no Assistants API" if absent else ""
    return f"assistants become requests for the Responses API, written to {output / FOLDER}{why}"


def _else(total: Totals) -> Iterator[str]:
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
        "origin": prepared.presence.origin,
        "destination": {
            **prepared.party(),
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


def _unit_lines(unit: Unit) -> list[str]:
    """What would be done for one unit, a line a step; files that are there are counted."""
    from holdall.importer.plan.steps import Adopt
    from holdall.model import Kind

    lines: list[str] = []
    there = [step for step in unit.steps if isinstance(step, Adopt) and step.kind is Kind.FILE]
    for step in unit.steps:
        if isinstance(step, Adopt) and step.kind is Kind.FILE:
            if step is there[0]:
                by = ", ".join(dict.fromkeys(each.by for each in there))
                lines.append(f"  adopt {counted(len(there), 'file')} by {by}")
        else:
            lines += _step_lines(step)
    return [line(text) for text in (f"{unit.name or unit.id}:", *lines)]


def _step_lines(step: Step) -> list[str]:
    from holdall.importer.plan import steps

    match step:
        case steps.UploadFile(content=content, purpose=purpose):
            size = human_size(content.size if content.size is not None else content.stored)
            return [f"  upload file {content.filename or content.id}, {size}, {content.rung}, purpose {purpose}"]
        case steps.CreateStore(id=id, name=name):
            return [f"  create vector store {name or 'without a name'} ({id})"]
        case steps.AttachFiles(store=id, count=count):
            return [f"  attach {counted(count, 'file')} to {id}"]
        case steps.CreateAssistant(id=id, name=name, model=model, losses=losses):
            return [f"  create assistant {name or 'without a name'} ({id}), model {model}", *told(losses)]
        case steps.CreateAgent(id=id, name=name, model=model, losses=losses):
            return [f"  create agent {name or 'without a name'} ({id}), model {model}", *told(losses)]
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
        case steps.UpdateAssistant(id=id, target=target, name=name, differences=found):
            return [f"  update {_who('assistant', name, id)}, there as {target}:", *_differences(found)]
        case steps.UpdateAgent(id=id, target=target, name=name, differences=found):
            return [f"  update {_who('agent', name, id)}, there as {target}:", *_differences(found)]
        case steps.UpdateStore(id=id, target=target, name=name, differences=found):
            return [f"  update {_who('vector_store', name, id)}, there as {target}:", *_differences(found)]
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


def _who(kind: str, name: str | None, id: str) -> str:
    return f"{kind.replace('_', ' ')} {name or 'without a name'} ({id})"


def line(value: object) -> str:
    """On one line, whatever the names in it hold."""
    return " ".join(str(value).splitlines())
