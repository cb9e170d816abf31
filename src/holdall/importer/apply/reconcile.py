"""What came of a write, and of other imports into the same destination.

The answer to a write is read; where it was lost, what was sent is looked for. A lost request may be carried out late,
and lists may lag, so the lists are polled through the settle window until it is found or counts as not carried out.
Stores and assistants are known by the attempt in their metadata. Files have no metadata, nor have stores and assistants
on servers that drop it. Of those one is taken for ours only if it alone has the name (and size) that was sent, was not
there before the run, and is not claimed by anything else that the run did.

Imports that have an OUTPUT_DIR each can't see each other before their first write. So an import looks for young copies
of the same sources before it writes, and for duplicates after its last create: at least the one that looks last sees
the other's objects. Stores, assistants and agents are known by their marks; without room for marks, by the name and the
16 keys; and where the destination keeps no metadata, by the name alone. Files have no marks, only name and size. What
earlier imports may have left behind is looked for, too.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import AsyncIterator, Collection, Container, Iterable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
from msgspec.structs import replace

from holdall.dialects.registry import shown
from holdall.dialects.rules import OPERATION, UNMARKED, Form
from holdall.errors import ImportUnderWay, NotFound, RemoteError, UnexpectedAnswer
from holdall.importer.apply.context import FRESH, PATIENCE, Context
from holdall.importer.destination.files_and_skills import digest_there, version_numbers
from holdall.importer.destination.objects import Objects
from holdall.importer.plan import steps
from holdall.importer.plan.bundle_summary import BundleSummary
from holdall.importer.plan.difference import fingerprints, template_looks
from holdall.importer.plan.steps import Plan
from holdall.importer.runs.effects import agent_of, is_later, number_of, version_target
from holdall.importer.runs.runfolder import (
    PLACES,
    RECENT,
    AuditLine,
    Listed,
    Stamp,
    listed,
    made_in,
    past_states,
    place,
    read_listed,
    stamps,
)
from holdall.importer.runs.runjournal import ALONE, Create, Creation, Done, Failed, Intent, Learned, Opened, Update
from holdall.importer.runs.runreport import Duplicate, Orphan
from holdall.importer.runs.runstate import RunState
from holdall.kinds import ASSISTANT_KINDS, KINDS, noun
from holdall.model import (
    AssistantView,
    Fidelity,
    FileView,
    Kind,
    MembershipView,
    SourceId,
    StoreView,
    TargetId,
    credible,
)
from holdall.remote.client import Account, path, viewed
from holdall.remote.lists import Doubt
from holdall.remote.wire import Answer


def attempt_name(run: str, operation: str) -> str:
    """The name of one attempt of a run. It is in the object's metadata, so that another import can name the run."""
    return f"{run}-{operation}"


_ATTEMPT = re.compile(r"([0-9]{8}T[0-9]{6}\.[0-9]{3}Z-[0-9a-z]{0,16})-[0-9a-z]{1,32}")


def _run_of(operation: str | None) -> str | None:
    """The run that an attempt's mark names; None for what another version, or somebody else, wrote there."""
    found = _ATTEMPT.fullmatch(operation or "")
    return found[1] if found else None


# -- the answer to a write -----------------------------------------------------------------------------


def identity(intent: Intent, request: str, answer: Answer) -> TargetId:
    """The id of what was made. Raises UnexpectedAnswer, ambiguous, where there is none."""
    try:
        if intent.kind is Kind.FOUNDRY_AGENT:
            return agent_of(_version_of(intent.name or "", answer))
        if intent.kind is Kind.AGENT_VERSION:
            return _version_of(intent.name or "", answer)
        if isinstance(intent, Create) and intent.into is not None:
            return _version_of(intent.into, answer)
        return msgspec.json.decode(answer.raw, type=_MadeObject).id
    except msgspec.DecodeError:
        # Ambiguous, for it was answered with success: something may have been made.
        raise UnexpectedAnswer(
            f"can't read the answer to {request}: no id in it",
            status=answer.status,
            request_id=answer.request_id,
            ambiguous=True,
        ) from None


def outcome(intent: Intent, target: TargetId, answer: Answer) -> Done:
    """The outcome, with how the object looks that can be changed later, or what of a file isn't as it was sent."""
    looks, name, size = None, None, None
    with suppress(msgspec.DecodeError):
        if isinstance(intent, Creation) and intent.kind is Kind.FILE:
            view = msgspec.json.decode(answer.raw, type=FileView)
            name = view.filename if view.filename != intent.name else None
            size = view.size if view.size != intent.size else None
        elif isinstance(intent, Create | Update):
            found = shown(intent.kind, msgspec.json.decode(answer.raw, type=dict[str, Any]))
            looks = fingerprints(intent.kind, found)
    return Done(op=intent.op, target=target, request_id=answer.request_id, image=looks, name=name, size=size)


async def require_first(account: Account, agent: str, answer: Answer, ours: Container[str | None]) -> None:
    """Deletes the version just made, if others created an agent of that name at the same moment.

    The first POST makes the agent, the next one adds a version to it, and no error says that the agent exists. ``ours``
    are the attempts of this run. Raises UnexpectedAnswer if others were first; ambiguous, if the version could not be
    deleted.
    """
    made = TargetId("")
    with suppress(msgspec.DecodeError):
        made = _version_of(agent, answer)
    if number_of(made) < 2:
        return
    try:
        where = path(KINDS[Kind.AGENT_VERSION].endpoint, agent)
        there = [read_listed(Kind.AGENT_VERSION, raw) async for raw in account.items(where)]
        if not any(number_of(one.id) < number_of(made) and one.mark(OPERATION) not in ours for one in there):
            return
        await account.delete(place(Kind.AGENT_VERSION, made))
    except RemoteError as error:
        raise UnexpectedAnswer(error.message, status=error.status, ambiguous=True) from None
    raise UnexpectedAnswer(f"others created an agent {agent} at the same time; run the import again")


def withheld(error: RemoteError, where: str) -> RemoteError:
    """The same error without the server's words, which may repeat what was sent in confidence."""
    said = f" (status {error.status})" if error.status else ""
    message = f"can't POST {where}: not accepted{said}; its words may repeat what you supplied, so they are not shown"
    return dataclasses.replace(error, message=message, hint="", code=None, kind=None, param=None, detail="")


def _version_of(owner: str, answer: Answer) -> TargetId:
    """The version of an agent or a skill that an answer is about. Raises msgspec.DecodeError where it doesn't say."""
    return version_target(TargetId(owner), str(msgspec.json.decode(answer.raw, type=_MadeVersion).version))


class _MadeObject(msgspec.Struct, frozen=True, kw_only=True):
    id: TargetId


class _MadeVersion(msgspec.Struct, frozen=True, kw_only=True):
    version: str | int


# -- after a lost answer -------------------------------------------------------------------------------

_Key = tuple[Kind, str, int | None]
"""Kind, name and size (bytes; of files): what an object is known by that carries no mark. A template's name is followed
by how it looks."""

# Kinds of which a create makes a version of an agent.
_VERSIONED = (Kind.FOUNDRY_AGENT, Kind.AGENT_VERSION)


class Reconciler:
    """Finds out the outcome of what is open in the journal of one run."""

    def __init__(self, context: Context) -> None:
        self._account, self._folder = context.account, context.folder
        self._pace, self._progress = context.pace, context.progress
        self._lags = False
        # Skills that hold what was sent, and so are certainly the run's.
        self._equal: set[TargetId] = set()

    async def reconcile(self, intents: Iterable[Creation], *, once: bool = False) -> None:
        """Find out what came of creates and uploads, all of them within one window, and write it down. ``once``: look
        once, and don't wait.

        Raises what the account raises for a list, and Interrupted; what wasn't found out by then stays open.
        """
        waiting = {intent.op: intent for intent in intents}
        async for nth in self._pace.looks(self._pace.settle):
            if nth == PATIENCE:
                self._progress.note(
                    "looking whether a request was carried out whose answer was lost", kind="answer lost"
                )
            for op, done in (await self._look(waiting.values())).items():
                await self._settle(waiting.pop(op), done)
                self._lags = self._lags or nth > 0
            if once or not waiting:
                break
        for intent in waiting.values():
            await self._settle(intent, None)

    async def orphans(self) -> list[Orphan]:
        """Attempts that were given up and may still exist at the destination, with the id if found.

        An object that isn't listed doesn't exist, unless the list is unavailable, incomplete or seen to lag. Objects
        with our mark are certain, so only existing ones are reported.
        """
        missed = self._folder.state.missed
        listings: dict[Kind, _Listing] = {}
        try:
            for kind in sorted({intent.kind for intent in missed} - {Kind.SKILL_VERSION}):
                wanted = [intent for intent in missed if intent.kind is kind]
                keys = {_key_of_intent(intent) for intent in wanted if self._bears_none(intent)}
                listings[kind] = await self._list(kind, wanted, keys)
        except RemoteError as error:
            self._progress.note(f"can't find the ids of possible orphans: {error.message}")
        found = [one for intent in missed for one in self._orphans(intent, listings.get(intent.kind, _Listing()))]
        # More of that name and size than were missed: which of them is ours, nobody can tell.
        last = {_key_of_intent(intent): intent for intent in missed}
        for listing in listings.values():
            found += [_orphan(last[key], id) for key, ids in listing.alike.items() for id in ids]
        return found

    def _orphans(self, intent: Creation, listing: _Listing) -> Iterator[Orphan]:
        """The object that an intent may have made. Its id is taken out of the ``listing``, so that it is named once."""
        if done := listing.marked.get(intent.op):
            yield _orphan(intent, done.target)
        elif self._bears_none(intent):
            if ids := listing.alike.get(_key_of_intent(intent)):
                yield _orphan(intent, ids.pop(0))
            elif listing.lacks or self._lags:
                yield _orphan(intent, None)

    def _bears_none(self, intent: Creation) -> bool:
        """Whether what was sent bears no mark by which it could be known."""
        is_bare = isinstance(intent, Create) and intent.unmarked
        return is_bare or intent.kind in UNMARKED or not self._folder.state.keeps_marks

    async def _with_contents(self, wanted: Iterable[Creation], listing: _Listing) -> _Listing:
        """The same, of skills that look alike only those whose first version is the one that was sent."""
        alike = {}
        for intent in wanted:
            ids = listing.alike.get(_key_of_intent(intent), [])
            firsts = {id: await _first_digest(self._account, id) for id in ids}
            self._equal.update(id for id, digest in firsts.items() if digest == intent.sha256)
            alike[_key_of_intent(intent)] = [id for id, digest in firsts.items() if digest in ("", intent.sha256)]
        return replace(listing, alike=alike)

    async def _look(self, wanted: Collection[Creation]) -> dict[str, Done]:
        found: dict[str, Done] = {}
        for kind in sorted({intent.kind for intent in wanted}):
            here = [intent for intent in wanted if intent.kind is kind]
            if kind is Kind.SKILL_VERSION:
                found |= await _versions_made(self._account, self._folder.state, here)
                continue
            listing = await self._list(kind, here, self._adoptable(here))
            if kind is Kind.SKILL:
                listing = await self._with_contents(here, listing)
            found |= listing.marked
            for intent in here:
                ids = listing.alike.get(_key_of_intent(intent), [])
                # Of two that look alike one may be somebody else's: then none is taken.
                if intent.op not in found and len(ids) == 1:
                    is_sure = kind is Kind.TEMPLATE or ids[0] in self._equal
                    found[intent.op] = Done(op=intent.op, target=ids[0], inferred=not is_sure)
        return found

    def _adoptable(self, wanted: Iterable[Creation]) -> set[_Key]:
        """The keys by which an object may be taken for ours: no attempt of another source can have made one like it."""
        state = self._folder.state
        if state.learned.get(ALONE) == 0:
            return set()
        wanted = [intent for intent in wanted if self._bears_none(intent)]
        sources: dict[_Key, set[SourceId]] = {}
        for intent in (*wanted, *state.missed):
            sources.setdefault(_key_of_intent(intent), set()).add(intent.source)
        return {_key_of_intent(intent) for intent in wanted if len(sources[_key_of_intent(intent)]) == 1}

    async def _list(self, kind: Kind, wanted: Collection[Creation], keys: set[_Key]) -> _Listing:
        """Read the list of a kind, and tell who made what is in it: by its mark, or by one of ``keys``."""
        ops = {intent.op for intent in wanted}
        claimed = set(self._folder.state.claimed(kind))
        agents = [intent.name for intent in wanted]
        # Of versions only those of the agents in question are listed.
        unseen = {id for id in claimed if kind not in _VERSIONED or (agent_of(id) or id) in agents}
        marked: dict[str, Done] = {}
        alike: dict[_Key, dict[TargetId, None]] = {}
        doubts: list[str] = []
        async for raw in self._objects(kind, wanted, doubts.append):
            seen = _read_object(kind, raw)
            unseen.discard(seen.id)
            # What carries the mark of another attempt is that one's, whatever its name is.
            if (op := seen.mark(OPERATION)) is None:
                if (key := _key_of_listed(kind, seen, raw)) in keys and seen.id not in claimed:
                    alike.setdefault(key, {})[seen.id] = None
            elif op in ops:
                looks = fingerprints(kind, shown(kind, viewed(raw, dict[str, Any], noun(kind))))
                marked[op] = Done(op=op, target=seen.id, image=looks)
        listing = _Listing(
            marked=marked, alike={key: [*ids] for key, ids in alike.items()}, lacks=bool(doubts or unseen)
        )
        return self._without_earlier(kind, wanted, listing) if alike else listing

    def _without_earlier(self, kind: Kind, wanted: Iterable[Creation], listing: _Listing) -> _Listing:
        """The same without what was there before the run."""
        before, alike = self._folder.baseline, listing.alike
        new = before.newer(kind, (id for ids in alike.values() for id in ids))
        if kind is Kind.AGENT_VERSION:
            new = {id for one in wanted for id in alike.get(_key_of_intent(one), ()) if is_later(id, one)}
        alike = {key: [id for id in ids if id in new] for key, ids in alike.items()}
        # Without the list of what was there before, any of these may be the one.
        return replace(listing, alike=alike, lacks=listing.lacks or not before.is_whole(kind))

    async def _objects(self, kind: Kind, wanted: Iterable[Creation], doubt: Doubt) -> AsyncIterator[bytes]:
        """All objects of a kind; in place of agents of Foundry, of which a list shows the latest versions only, and of
        their versions those of the agents in question."""
        if kind not in _VERSIONED:
            async for raw in listed(self._account, kind, doubt):
                yield raw
            return
        for name in dict.fromkeys(intent.name or "" for intent in wanted):
            with suppress(NotFound):
                async for raw in self._account.items(path(KINDS[Kind.AGENT_VERSION].endpoint, name), doubt=doubt):
                    yield raw

    async def _settle(self, intent: Creation, done: Done | None) -> None:
        """Record the outcome: it was found, or it counts as not carried out."""
        if done:
            await self._folder.write(done)
            detail = f"no answer; found {'by its name and size' if done.inferred else 'by its mark'}"
        else:
            detail = f"no answer; not found for certain within {self._pace.settle:g} s"
            await self._folder.write(Failed(op=intent.op, error=detail, looked=True))
        self._folder.audit(
            AuditLine(
                operation="look",
                outcome="found" if done else "not found",
                kind=intent.kind,
                source=intent.source,
                target=done.target if done else None,
                name=intent.name,
                detail=detail,
            )
        )


class _Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One list: the outcomes of attempts whose mark is in it, by their ``op``; the ids of new, unclaimed objects that
    have one of the keys; and whether the list lacks something, by its own word, or something that this run made."""

    marked: dict[str, Done] = {}
    alike: dict[_Key, list[TargetId]] = {}
    lacks: bool = True


def _read_object(kind: Kind, raw: bytes) -> Listed:
    """An object of a list; the agent of a version where agents are looked for."""
    seen = read_listed(Kind.AGENT_VERSION if kind in _VERSIONED else kind, raw)
    return replace(seen, id=agent_of(seen.id)) if kind is Kind.FOUNDRY_AGENT else seen


def _key_of_intent(intent: Creation) -> _Key:
    # A name that is missing may come back empty.
    looks = intent.looks if isinstance(intent, Create) else None
    return intent.kind, f"{intent.name or ''}{looks or ''}", intent.size


def _key_of_listed(kind: Kind, seen: Listed, raw: bytes) -> _Key:
    if kind is Kind.TEMPLATE:
        return kind, f"{seen.name or ''}{template_looks(viewed(raw, dict[str, Any], noun(kind)))}", None
    if kind is Kind.FILE:
        return kind, seen.filename or "", credible(seen.bytes)
    return kind, seen.name or "", None


def _orphan(intent: Creation, id: TargetId | None) -> Orphan:
    return Orphan(kind=intent.kind, id=id, source=intent.source, name=intent.name, size=intent.size)


async def _versions_made(account: Account, state: RunState, wanted: Iterable[Creation]) -> dict[str, Done]:
    """The outcomes of lost uploads of versions, by ``op``.

    The version of an attempt came after the newest one that was there, no other attempt made it, and it holds what was
    sent. One that can't be read is taken for ours if it is the only one. Raises what the account raises.
    """
    found: dict[str, Done] = {}
    claimed = set(state.claimed(Kind.SKILL_VERSION))
    for intent in wanted:
        if not isinstance(intent, Create) or intent.into is None:
            continue
        try:
            target = await _version_made(account, intent, intent.into, claimed)
        except NotFound:  # the skill is gone, and its versions with it
            continue
        if target is not None:
            claimed.add(target)
            found[intent.op] = Done(op=intent.op, target=target)
    return found


async def _version_made(
    account: Account, intent: Create, skill: TargetId, claimed: Container[TargetId]
) -> TargetId | None:
    numbers = await version_numbers(account, skill)
    later = numbers[numbers.index(intent.latest) + 1 :] if intent.latest in numbers else numbers
    new = [number for number in later if version_target(skill, number) not in claimed]
    digests = {number: await digest_there(account, skill, number) for number in new}
    equal = [number for number in new if digests[number] == intent.sha256]
    unread = [number for number in new if not digests[number]]
    return version_target(skill, (equal or unread)[0]) if equal or len(unread) == 1 else None


async def _first_digest(account: Account, skill: TargetId) -> str | None:
    """The digest of a skill's first version; empty where it can't be read, None where there is none."""
    try:
        numbers = await version_numbers(account, skill)
    except NotFound:
        return None
    return await digest_there(account, skill, numbers[0]) if numbers else None


# -- other imports, before the first write -------------------------------------------------------------

# Objects that an error names; the rest is counted.
_NAMED = 3


async def begin(context: Context, plan: Plan, opened: Opened, *, force: bool) -> None:
    """See that no other importer is at work on the same things; for a new run also keep what has to be known later.

    That is the plan, the baseline, and last the journal's first line, from which on the run can be resumed. With
    ``force`` another importer is no reason to stop, but no file is taken for ours by its name then. Raises
    ImportUnderWay, and what the account raises for lists.
    """
    account, folder = context.account, context.folder
    is_new = folder.state.opened is None
    kinds = _kinds_to_list(plan)
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


def _kinds_to_list(plan: Plan) -> list[Kind]:
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


# -- other imports, after the last create --------------------------------------------------------------


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
        Duplicate(kind=kind, id=one.target, ours=made[source], source=source, name=one.name, run=_run_of(one.operation))
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
        await _drop_used(context.account, found)
    except RemoteError as error:
        progress.note(f"can't list what an earlier import may have left behind: {error.message}")
        return []
    return [*found.values()]


async def _drop_used(account: Account, found: dict[TargetId, Orphan]) -> None:
    """Take out of ``found`` the files that an assistant or a store uses."""
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
