"""Which run goes on, and whether another import is at work: what is asked before the first write of an import."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from holdall.dialects.tables import Form
from holdall.endpoint import same_account
from holdall.errors import ImportUnderWay
from holdall.importer.apply.context import Context
from holdall.importer.apply.uploads import upload_name
from holdall.importer.plan.steps import (
    Adopt,
    AttachFiles,
    CreateDefinition,
    CreateStore,
    Plan,
    Skip,
    UpdateDefinition,
    UpdateStore,
    UploadFile,
)
from holdall.importer.runs.baseline import PLACES, RECENT, Stamp, stamps
from holdall.importer.runs.pastruns import past_runs, past_states
from holdall.importer.runs.runfolder import RunFolder
from holdall.importer.runs.runlines import ALONE, Learned, Opened
from holdall.kinds import noun
from holdall.model import Fidelity, Kind

__all__ = ["begin", "unfinished"]

_LOOSE = frozenset({"concurrency", "settle"})
"""Options that may be others when a run goes on: they don't change what is made."""

_NAMED = 3


def unfinished(
    output: Path,
    digests: Mapping[str, str],
    destination: Mapping[str, str | None],
    options: Mapping[str, Any],
) -> str | None:
    """The id of the newest run below ``output`` with this bundle, destination and options, if it was cut off.

    Raises CannotWrite or ImportFailed where that run's journal can't be read.
    """
    for run in reversed(past_runs(output)):
        if run.opened is not None and _bound(run.opened, digests, destination, options):
            return None if run.state().closed else run.name
    return None


async def begin(context: Context, plan: Plan, opened: Opened, *, force: bool) -> None:
    """See that no other importer is at work on the same things; for a new run also keep what has to be known later.

    That is the plan, what is there before, and last the journal's first line: a journal with it can be gone on with.
    With ``force`` another importer is no reason to stop, but no file is taken for ours by its name then. Raises
    ImportUnderWay, and what the account raises for lists.
    """
    account, folder = context.account, context.folder
    is_new = folder.state.opened is None
    # Who has assistants written down need not be allowed to see those that are there.
    left_out = {Kind.ASSISTANT} if plan.form is not Form.ASSISTANTS else set()
    needed = {kind for kind, _ in _sources(plan)} - left_out
    if any(isinstance(step, (UploadFile, AttachFiles)) for step in plan.steps()):
        needed.add(Kind.FILE)
    kinds = [kind for kind in PLACES if kind in needed]
    if is_new:
        found = await folder.baseline.take(account, kinds, uploads=_uploads(plan))
    else:
        found = [stamp async for stamp in stamps(account, kinds)]
    strangers = _strangers(found, plan, folder, context.now())
    if strangers and not force:
        named = ", ".join(f"{noun(one.kind)} {one.id}" for one in strangers[:_NAMED])
        more = f" and {len(strangers) - _NAMED} more" if len(strangers) > _NAMED else ""
        raise ImportUnderWay(
            f"can't import: another import made {named}{more} out of the same sources within the last hour. It has no "
            f"run in {folder.output}: it was yours with another --output-dir, or somebody else's",
            hint="if it was yours, give the same --output-dir again; if it is somebody else's, wait for it to end; "
            "--force imports beside it",
        )
    if is_new:
        folder.keep(plan)
        await folder.write(opened)
    if strangers and ALONE not in folder.state.learned:
        await folder.write(Learned(what=ALONE, value=0))


def _strangers(found: list[Stamp], plan: Plan, folder: RunFolder, now: float) -> list[Stamp]:
    """What of ``found`` is young, made out of what the plan speaks of, and in no journal of this output folder."""
    sources = _sources(plan)
    young = [stamp for stamp in found if (stamp.kind, stamp.source) in sources and now - stamp.created < RECENT]
    if not young:
        return []
    own = {op for state in past_states(folder.output) for op in state.operations}
    return [stamp for stamp in young if stamp.op not in own]


def _uploads(plan: Plan) -> set[tuple[str, int]]:
    """Names and sizes of what is uploaded as it is; what text is joined to, only its upload tells."""
    steps = (step for step in plan.steps() if isinstance(step, UploadFile))
    contents = (step.content for step in steps if step.content.fidelity is not Fidelity.TEXT)
    return {(upload_name(content, exact=True), content.stored) for content in contents}


def _sources(plan: Plan) -> set[tuple[Kind, str]]:
    found: set[tuple[Kind, str]] = set()
    for step in plan.steps():
        match step:
            case CreateStore(id=id) | UpdateStore(id=id):
                found.add((Kind.STORE, id))
            case CreateDefinition() | UpdateDefinition() | Adopt() | Skip():
                found.add((step.kind, step.id))
            case _:
                pass
    return found


def _bound(
    opened: Opened, digests: Mapping[str, str], destination: Mapping[str, str | None], options: Mapping[str, Any]
) -> bool:
    def firm(given: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in given.items() if name not in _LOOSE}

    return (
        all(opened.bundle.get(name) == value for name, value in digests.items())
        and same_account(opened.destination, destination)
        and firm(opened.options) == firm(options)
    )
