"""Other imports into the same destination: whether one is at work, its duplicates, its leftovers.

Imports with an OUTPUT_DIR each can't see each other before their first write. So one looks for young copies of the same
sources before it writes, and once more after its last create: the one that looks last sees the other's objects, and
both may. Stores, assistants and agents are known by their marks; where there is no room for marks by the name and the
16 keys, and where the destination keeps no metadata by the name alone. Files have no marks, only name and size.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress

from holdall.dialects.tables import UNMARKED, Form
from holdall.errors import ImportUnderWay, NotFound, RemoteError
from holdall.importer.apply.context import FRESH, Context
from holdall.importer.destination.objects import Objects
from holdall.importer.plan import steps
from holdall.importer.plan.bundle_summary import BundleSummary
from holdall.importer.plan.plan_document import Plan
from holdall.importer.runs.baseline import PLACES, RECENT, Stamp, listed, stamps
from holdall.importer.runs.runfolder import made_in, past_states
from holdall.importer.runs.runlines import ALONE, Learned, Opened
from holdall.importer.runs.runreport import Duplicate, Orphan
from holdall.importer.runs.runstate import RunState
from holdall.kinds import ASSISTANT_KINDS, noun
from holdall.model import AssistantView, Fidelity, FileView, Kind, MembershipView, SourceId, StoreView, TargetId
from holdall.remote.client import Account, path, viewed

_NAMED = 3

_RUN = re.compile(r"([0-9]{8}T[0-9]{6}\.[0-9]{3}Z-[0-9a-z]{0,16})-[0-9a-z]{1,32}")


def attempt_name(run: str, operation: str) -> str:
    """The name of one attempt of a run. It is in the object's metadata, so that another import can name the run."""
    return f"{run}-{operation}"


# -- before the first write ----------------------------------------------------------------------------


async def begin(context: Context, plan: Plan, opened: Opened, *, force: bool) -> None:
    """See that no other importer is at work on the same things; for a new run also keep what has to be known later.

    That is the plan, the baseline, and last the journal's first line, from which on the run can be resumed. With
    ``force`` another importer is no reason to stop, but no file is taken for ours by its name then. Raises
    ImportUnderWay, and what the account raises for lists.
    """
    account, folder = context.account, context.folder
    is_new = folder.state.opened is None
    kinds = _kinds(plan)
    if is_new:
        found = await folder.baseline.take(account, kinds, uploads=_uploads(plan))
    else:
        found = [stamp async for stamp in stamps(account, kinds)]
    strangers = list(_strangers(context, found, _sources(plan)))
    if strangers and not force:
        named = ", ".join(f"{noun(one.kind)} {one.id}" for one in strangers[:_NAMED])
        more = f" and {len(strangers) - _NAMED} more" if len(strangers) > _NAMED else ""
        raise ImportUnderWay(
            f"can't import: another import created {named}{more} from the same sources within the last hour, "
            f"and {folder.output} has no such run",
            hint="if it is yours, use the same --output-dir; else wait for it to end, or use --force to create "
            "more copies",
        )
    if is_new:
        # The first line last: a crash before it leaves a folder that nobody resumes, and nothing was written.
        folder.keep(plan)
        await folder.write(opened)
    if strangers and ALONE not in folder.state.learned:
        await folder.write(Learned(what=ALONE, value=0))


def _strangers(context: Context, found: Iterable[Stamp], sources: Container[tuple[Kind, str]]) -> Iterator[Stamp]:
    """Those of ``found`` that are recent, copies of ``sources``, and in no journal of this output folder."""
    now = context.now()
    young = [stamp for stamp in found if (stamp.kind, stamp.source) in sources and now - stamp.created < RECENT]
    if young:
        own = {op for state in past_states(context.folder.output) for op in state.operations}
        yield from (stamp for stamp in young if stamp.op not in own)


def _kinds(plan: Plan) -> list[Kind]:
    """The kinds that are listed before the first write."""
    needed = {kind for kind, _ in _sources(plan)}
    if plan.form is not Form.ASSISTANTS:
        # Who has assistants written down need not be allowed to see those that are there.
        needed.discard(Kind.ASSISTANT)
    if any(isinstance(step, (steps.UploadFile, steps.AttachFiles)) for step in plan.steps()):
        needed.add(Kind.FILE)
    return [kind for kind in PLACES if kind in needed]


def _uploads(plan: Plan) -> set[tuple[str, int]]:
    """Names and sizes of the files that are uploaded as they are; a joined text's size isn't known yet."""
    contents = (step.content for step in plan.steps() if isinstance(step, steps.UploadFile))
    return {(one.copy_names()[0], one.stored) for one in contents if one.fidelity is not Fidelity.TEXT}


def _sources(plan: Plan) -> set[tuple[Kind, str]]:
    """The sources of all copies in the plan, new and existing."""
    found: set[tuple[Kind, str]] = set()
    for step in plan.steps():
        if isinstance(step, (steps.CreateStore, steps.UpdateStore)):
            found.add((Kind.STORE, step.id))
        elif isinstance(step, (steps.CreateDefinition, steps.UpdateDefinition, steps.Adopt, steps.Skip)):
            found.add((step.kind, step.id))
    return found


# -- after the last create -----------------------------------------------------------------------------


async def duplicates(
    context: Context, bundle: BundleSummary, *, prefix: str, known: Container[TargetId]
) -> list[Duplicate]:
    """What another import made beside that which this run created. ``known`` are the possible orphans, which are in
    the report already.

    Costs a list of each kind that was created, or a few if the lists lag. Returns [] if the lists cannot be fetched.
    Raises CannotWrite, Interrupted.
    """
    state = context.folder.state
    found: list[Duplicate] = []
    has_marks = False
    try:
        for kind in (kind for kind in (Kind.STORE, *ASSISTANT_KINDS) if kind not in UNMARKED):
            if made := _created(state, kind):
                has_marks = state.keeps_marks
                found += await _objects_beside(context, bundle, kind, made, prefix)
        # Files are looked for only where an object gives reason to, or where no object could.
        if found or not has_marks:
            found += await _files_beside(context)
    except RemoteError as error:
        context.progress.note(f"can't check whether another import created the same objects: {error.message}")
        return []
    found = [one for one in found if one.id not in known]
    ours = set(made_in(context.folder.output)) if found else ()
    return [one for one in found if one.id not in ours]


async def _objects_beside(
    context: Context, bundle: BundleSummary, kind: Kind, made: dict[SourceId, TargetId], prefix: str
) -> list[Duplicate]:
    """Other copies of the sources of a kind than those ``made``, that came since the run began."""
    marked = context.folder.state.keeps_marks
    records = {record.id: record for record in bundle.records(kind) if record.id in made}
    ours = set(made.values())
    async for _ in context.pace.looks(min(FRESH, context.pace.settle)):
        there = Objects(
            kind,
            records,
            {source: [id] for source, id in made.items()},
            prefix=prefix,
            by_name=not marked,
            # Of agents of Foundry, whose names are their ids.
            names=made,
        )
        await there.read(context.account)
        # A list that doesn't show this run's own may not show another's either.
        if all(map(there.has, ours)):
            break
    beside = [(source, one) for source in made for one in there.copies(source) if one.target not in ours]
    newer = context.folder.baseline.newer(kind, (one.target for _, one in beside))
    # What carries no mark is not seen before the first write either, so it may be a little older.
    return [
        Duplicate(kind=kind, id=one.target, ours=made[source], source=source, name=one.name, run=_run(one.operation))
        for source, one in beside
        if one.target in newer or (not one.operation and context.now() - one.created_at < RECENT)
    ]


async def _files_beside(context: Context) -> list[Duplicate]:
    """Files that came since the run began, with the name and size of one that it uploaded."""
    state, baseline = context.folder.state, context.folder.baseline
    made = {id: source for source, id in (*_created(state, Kind.FILE).items(), *state.copies.items())}
    if not made or not baseline.is_whole(Kind.FILE):
        return []
    async for _ in context.pace.looks(min(FRESH, context.pace.settle)):
        new: dict[TargetId, tuple[str | None, int | float | None]] = {}
        async for raw in listed(context.account, Kind.FILE):
            view = viewed(raw, FileView, "a file")
            if not await baseline.had_file(id := TargetId(view.id)):
                new[id] = (view.filename, view.bytes)
        if made.keys() <= new.keys():
            break
    ours = {looks: id for id, looks in new.items() if id in made}
    return [
        Duplicate(kind=Kind.FILE, id=id, ours=ours[looks], source=made[ours[looks]], name=looks[0])
        for id, looks in new.items()
        if looks in ours and id not in made
    ]


def _created(state: RunState, kind: Kind) -> dict[SourceId, TargetId]:
    if ("create", kind) not in state.answered:  # adopted, or written down as requests
        return {}
    return {source: id for source, id in state.targets[kind].items() if (kind, source) not in state.adopted}


def _run(operation: str | None) -> str | None:
    """The run that an attempt's mark names; None for what another version, or somebody else, wrote there."""
    found = _RUN.fullmatch(operation or "")
    return found[1] if found else None


async def leftovers(context: Context) -> list[Orphan]:
    """Files that an earlier import may have left behind: uploaded, and used by nothing.

    Such a file was there before this run, has the name and size of one that this run uploads, is in no journal of this
    output folder, and in no vector store and no assistant of the destination. That is no proof, so it is only reported.
    Asks for every store's files, but only where there is something to ask about. Returns [] if the lists cannot be
    fetched. Raises CannotWrite.
    """
    folder, progress = context.folder, context.progress
    found = folder.baseline.lookalikes()
    for id in folder.state.claimed(Kind.FILE):
        found.pop(id, None)
    if found:
        # Files that runs of this output folder made are in their own reports.
        for id in made_in(folder.output):
            found.pop(id, None)
    if not found:
        return []
    progress.stage(f"Looking for leftovers of earlier imports at {context.account.endpoint.host}")
    try:
        await _without_used(context.account, found)
    except RemoteError as error:
        progress.note(f"can't list what an earlier import may have left behind: {error.message}")
        return []
    return [*found.values()]


async def _without_used(account: Account, found: dict[TargetId, Orphan]) -> None:
    with suppress(NotFound):  # not every account has assistants, or stores
        async for raw in listed(account, Kind.ASSISTANT):
            for file in viewed(raw, AssistantView, "an assistant").file_ids:
                found.pop(TargetId(file), None)
    stores: list[str] = []
    with suppress(NotFound):
        stores += [viewed(raw, StoreView, "a vector store").id async for raw in listed(account, Kind.STORE)]
    for store in stores:
        if not found:
            return
        async for raw in account.items(path("/vector_stores/{}/files", store)):
            found.pop(TargetId(viewed(raw, MembershipView, f"a file of store {store}").id), None)
