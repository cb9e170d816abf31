"""``holdall doctor``: what each account is, has and allows. Reads only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import click
import msgspec

from holdall.cli import options, parameters
from holdall.cli.console import Console, Outcome, counted, flat, human_size
from holdall.cli.views import Block, Group
from holdall.errors import EXIT_DONE, EXIT_LOOK
from holdall.legible import shortened, table

if TYPE_CHECKING:
    from holdall.doctor.diagnosis import (
        Diagnosis,
        DownloadCheck,
        EndpointCheck,
        FoundryProject,
        Holdings,
        Model,
        Models,
        Side,
    )
    from holdall.settings import BothSettings


# Seconds for which a request is repeated: a server that fails is a finding, not something to wait for.
_PATIENCE = 5.0
# Models that are shown of those that end on one day and nobody uses.
_MODELS = 8
# Columns of what an endpoint says that fails.
_LONGEST = 200
_VALID = {True: "valid", False: "not accepted", None: "not known"}


@click.command(
    "doctor",
    cls=options.Command,
    epilog="Example:  OPENAI_SRC_API_KEY=… OPENAI_DST_API_KEY=… holdall doctor",
)
@options.accounts("src", "dst")
@options.output
def command(console: Console, /, **given: Any) -> Outcome:
    """Check each account that has a key: whether the key is valid, its project, endpoints and missing permissions,
    which files can be downloaded, which models shut down, and what an export would contain.

    Only reads, so it can't tell whether the key may write. Exits 3 on warnings.
    """
    from holdall.doctor.examination import diagnose

    settings = parameters.read_both(console, given)
    diagnosis = diagnose(asyncio.run(_examined(console, settings)))
    console.close_progress()
    if console.verbose:
        for side in diagnosis.sides:
            _print_side(console, side)
    else:
        _print_brief(console, diagnosis)
    block = _block(diagnosis, settings)
    block.show(console, on_stdout=True)
    return Outcome(
        exit_code=block.exit_code,
        result={
            **msgspec.to_builtins(diagnosis),
            "ignored": [{"name": name, "origin": origin} for name, origin in settings.ignored],
        },
    )


async def _examined(console: Console, settings: BothSettings) -> list[Any]:
    from holdall.doctor.examination import examine
    from holdall.remote.client import Account, day
    from holdall.remote.limits import Limits

    progress, today = console.progress(), day(time.time())
    found = []
    for name, endpoint in (("source", settings.source), ("destination", settings.destination)):
        if endpoint is not None:
            limits = Limits(settings.concurrency, patience=_PATIENCE)
            async with Account(endpoint, side=name, limits=limits, progress=progress) as account:
                found.append(await examine(account, today=today, progress=progress))
    return found


def _print_side(console: Console, side: Side) -> None:
    console.result(f"{side.side}: {side.base_url}")
    proxy = f"{side.proxy}{', which can read the key and all content' if side.in_clear else ''}" if side.proxy else None
    clear = "unencrypted: anyone on the network path can read the key and all content" if side.in_clear else None
    for title, lines in (
        ("connection", [clear]),
        ("proxy", [proxy]),
        ("key", [_VALID[side.key_valid]]),
        ("organisation", [side.organization]),
        ("project", [side.project]),
        ("endpoints", map(_endpoint, side.endpoints)),
        ("downloads", map(_download, side.downloads)),
        ("parsed text", [side.text]),
        ("foundry", _foundry_lines(side.foundry) if side.foundry else []),
        ("models", _models(side.models) if side.models else []),
        ("an export", [side.export and _export(side.export)]),
    ):
        for place, line in enumerate(filter(None, lines)):
            console.result(f"  {'' if place else title:<13} {line}")
    console.result()


def _endpoint(each: EndpointCheck) -> str:
    from holdall.doctor.diagnosis import EndpointState

    if each.answer is EndpointState.YES:
        return f"{each.name:<13} {each.answer}"
    why = ", ".join(each.scopes) or each.message
    status = f" ({each.status})" if each.status else ""
    if each.answer is EndpointState.ABSENT or not why:
        return f"{each.name:<13} {each.answer}{status}"
    return f"{each.name:<13} {each.answer}{status}: {why}"


def _download(each: DownloadCheck) -> str:
    what = f"{each.purpose or '(no purpose)'}: {counted(each.files, 'file')}, {human_size(each.bytes)}"
    return f"{what}, {each.answer}" + (f": {each.message}" if each.message else "")


def _foundry_lines(project: FoundryProject) -> Iterator[str]:
    """What the project is, in a line; then its deployments and connections."""
    kinds = [name for name, there in (("Agents (classic)", project.classic), ("new agents", project.new)) if there]
    parts = [f"project with {' and '.join(kinds)}" if kinds else "project without agents"]
    for noun, found in (("deployment", project.deployments), ("connection", project.connections)):
        parts.append(f"{noun}s not known" if found is None else counted(len(found), noun))
    yield ", ".join(parts)
    for deployment in project.deployments or ():
        model = " ".join(filter(None, (deployment.model, deployment.version)))
        yield f"deployment {deployment.name}{f': {model}' if model else ''}"
    for connection in project.connections or ():
        yield f"connection {connection.name}{f': {connection.type}' if connection.type else ''}"


def _models(models: Models) -> Iterator[str]:
    """How many there are; then those in use that end or are gone, then the others that end, by day."""
    yield f"{models.there} models, {len(models.ending)} with a shutdown date"
    for model in models.gone:
        yield f"{model.id}: not available; used by {', '.join(model.used_by)}"
    used = [model for model in models.ending if model.used_by]
    for model in used:
        yield f"{model.id}: shuts down {_when(model)}; used by {', '.join(model.used_by)}"
    others = (model for model in models.ending if not model.used_by)
    for when, together in groupby(others, key=_when):
        names = [model.id for model in together]
        more = f" and {len(names) - _MODELS} more" if len(names) > _MODELS else ""
        yield f"ending {when}: {', '.join(names[:_MODELS])}{more}"


def _when(model: Model) -> str:
    left = f"in {counted(model.days, 'day')}" if model.days else "now"
    return f"{model.shutdown}, {left}"


def _export(held: Holdings) -> str:
    numbers = {
        "assistant": held.assistants,
        "agent": held.agents,
        "Foundry agent": held.foundry_agents,
        "skill": held.skills,
        "environment template": held.environment_templates,
        "vector store": held.vector_stores,
        "membership": held.memberships,
    }
    known = [counted(number, noun) for noun, number in numbers.items() if number is not None]
    if held.files is None or held.bytes is None:
        known.append("files not counted")
    else:
        known.append(f"{counted(held.files, 'file')} ({human_size(held.bytes)})")
    return ", ".join(known)


def _print_brief(console: Console, diagnosis: Diagnosis) -> None:
    """A few lines for each account."""
    rows: list[tuple[str, str]] = []
    for side in diagnosis.sides:
        rows.append(
            (side.side.capitalize(), f"{side.base_url}{', unencrypted' if side.in_clear else ''}{_proxy(side)}")
        )
        if side.failure:
            # One answer stands for all of them.
            said = (f"{each.name} {each.answer}: {flat(each.message)}" for each in side.endpoints if each.message)
            rows += [("  endpoints", shortened(line, _LONGEST)) for line in islice(said, 1)]
            continue
        rows.append(("  key", f"{_VALID[side.key_valid]}, project {side.project or 'not known'}"))
        if side.foundry:
            rows.append(("  Foundry", next(_foundry_lines(side.foundry))))
        rows.append(("  endpoints", _endpoints(side)))
        if side.export:
            rows.append(("  holds", _export(side.export)))
    for line in table(rows) if rows else ():
        console.result(line)


def _proxy(side: Side) -> str:
    sees = ", which can read the key and all content" if side.in_clear else ""
    return f", through the proxy {side.proxy}{sees}" if side.proxy else ""


def _endpoints(side: Side) -> str:
    """How many endpoints answer, and the names of the others."""
    names: dict[str, list[str]] = {}
    for each in side.endpoints:
        names.setdefault(each.answer, []).append(each.name)
    first = f"{len(names.pop('answers', ()))} answer"
    return "; ".join([first, *(f"{answer}: {', '.join(some)}" for answer, some in names.items())])


def _block(diagnosis: Diagnosis, settings: BothSettings) -> Block:
    """The verdict, and everything that needs attention."""
    failure, findings = diagnosis.failure, diagnosis.findings
    sides = {side.side for side in diagnosis.sides}
    from holdall.settings import said_origin

    same = {True: "yes", False: "no", None: "not known"}[diagnosis.same_project]
    ready = ["holdall export"] if "source" in sides else ["holdall plan BUNDLE"]
    return Block(
        verdict=_verdict(diagnosis),
        exit_code=failure.exit_code if failure else EXIT_LOOK if findings else EXIT_DONE,
        findings=(f"{f'{finding.side}: ' if finding.side else ''}{finding.message}" for finding in findings),
        findings_total=len(findings),
        longest=600 if failure else 220,
        groups=[
            Group(
                title=f"ignored: {name} from {said_origin(origin)}",
                total=1,
                why="holdall reads OPENAI_SRC_… and OPENAI_DST_… only",
            )
            for name, origin in settings.ignored
        ],
        details=[f"same project: {same} ({diagnosis.evidence})"] if len(sides) == 2 else [],
        places=[f"hint: {failure.hint}"] if failure and failure.hint else [],
        commands=[] if failure else ready,
    )


def _verdict(diagnosis: Diagnosis) -> str:
    if failed := [side.side for side in diagnosis.sides if side.failure]:
        return f"FAILED: can't examine the {' and the '.join(failed)}"
    found = len(diagnosis.findings)
    return f"{found} WARNING{'S' if found > 1 else ''}" if found else "READY"
