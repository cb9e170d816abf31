"""What came of a write: its answer is read, or what was sent is looked for where the answer was lost.

A lost request may be carried out late, and lists may lag, so the lists are polled through the settle window until it is
found or counts as not carried out. Stores and assistants are known by the attempt in their metadata. Files have no
metadata, nor have stores and assistants on servers that drop it; of those one is taken for ours only if it alone has
the name (and size) that was sent, was not there before the run, and is not claimed by anything else that the run did.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Collection, Container, Iterable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
from msgspec.structs import replace

from holdall.dialects.registry import shown
from holdall.dialects.tables import OPERATION, UNMARKED
from holdall.errors import NotFound, RemoteError, UnexpectedAnswer
from holdall.importer.apply.context import PATIENCE, Context
from holdall.importer.destination.files_and_skills import digest_there, version_numbers
from holdall.importer.plan.difference import fingerprints, template_looks
from holdall.importer.runs.baseline import Listed, listed, place, read_listed
from holdall.importer.runs.effects import agent_of, is_later, number_of, version_target
from holdall.importer.runs.runfolder import AuditLine
from holdall.importer.runs.runlines import ALONE, Create, Creation, Done, Failed, Intent, Update
from holdall.importer.runs.runreport import Orphan
from holdall.importer.runs.runstate import RunState
from holdall.kinds import KINDS, noun
from holdall.model import FileView, Kind, SourceId, TargetId, credible
from holdall.remote.client import Account, Answer, path, viewed
from holdall.remote.lists import Doubt

Key = tuple[Kind, str, int | None]
"""Kind, name and size (bytes; of files): what an object is known by that carries no mark. A template's name is followed
by how it looks."""

_VERSIONED = (Kind.FOUNDRY_AGENT, Kind.AGENT_VERSION)


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    id: TargetId


def withheld(error: RemoteError, where: str) -> RemoteError:
    """The same error without the server's words, which may repeat what was sent in confidence."""
    said = f" (status {error.status})" if error.status else ""
    message = f"can't POST {where}: not accepted{said}; its words may repeat what you supplied, so they are not shown"
    return dataclasses.replace(error, message=message, hint="", code=None, kind=None, param=None, detail="")


def identity(intent: Intent, request: str, answer: Answer) -> TargetId:
    """The id of what was made. Raises UnexpectedAnswer, ambiguous, where there is none."""
    try:
        if intent.kind is Kind.FOUNDRY_AGENT:
            return agent_of(version_of(intent.name or "", answer))
        if intent.kind is Kind.AGENT_VERSION:
            return version_of(intent.name or "", answer)
        if isinstance(intent, Create) and intent.into is not None:
            return version_of(intent.into, answer)
        return msgspec.json.decode(answer.raw, type=_Made).id
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


class _MadeVersion(msgspec.Struct, frozen=True, kw_only=True):
    version: str | int


def version_of(owner: str, answer: Answer) -> TargetId:
    """The version of an agent or a skill that an answer is about. Raises msgspec.DecodeError where it doesn't say."""
    return version_target(TargetId(owner), str(msgspec.json.decode(answer.raw, type=_MadeVersion).version))


async def require_first(account: Account, agent: str, answer: Answer, ours: Container[str | None]) -> None:
    """Where others made an agent of that name at the same moment, take away what has become a version of theirs: the
    first version makes an agent, the next POST adds to it, and nobody is told that it exists.

    ``ours`` are the attempts of this run. Raises UnexpectedAnswer then; ambiguous, where it could not be taken away.
    """
    made = TargetId("")
    with suppress(msgspec.DecodeError):
        made = version_of(agent, answer)
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


async def versions_made(account: Account, state: RunState, wanted: Iterable[Creation]) -> dict[str, Done]:
    """The outcomes, by ``op``: a version that came after the newest one that was there, that no other attempt made, and
    that holds what was sent. One that can't be read is taken for ours if it is the only one. Raises what the account
    raises."""
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


async def first_digest(account: Account, skill: TargetId) -> str | None:
    """The digest of a skill's first version; empty where it can't be read, None where there is none."""
    try:
        numbers = await version_numbers(account, skill)
    except NotFound:
        return None
    return await digest_there(account, skill, numbers[0]) if numbers else None


class _Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One list: the outcomes of attempts whose mark is in it, by their ``op``; the ids of new, unclaimed objects that
    have one of the keys; and whether the list lacks something, by its own word, or something that this run made."""

    marked: dict[str, Done] = {}
    alike: dict[Key, list[TargetId]] = {}
    lacks: bool = True


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
                keys = {_key(intent) for intent in wanted if self._bears_none(intent)}
                listings[kind] = await self._list(kind, wanted, keys)
        except RemoteError as error:
            self._progress.note(f"can't find the ids of possible orphans: {error.message}")
        found = [one for intent in missed for one in self._orphans(intent, listings.get(intent.kind, _Listing()))]
        # More of that name and size than were missed: which of them is ours, nobody can tell.
        last = {_key(intent): intent for intent in missed}
        for listing in listings.values():
            found += [_orphan(last[key], id) for key, ids in listing.alike.items() for id in ids]
        return found

    def _orphans(self, intent: Creation, listing: _Listing) -> Iterator[Orphan]:
        """The object that an intent may have made. Its id is taken out of the ``listing``, so that it is named once."""
        if done := listing.marked.get(intent.op):
            yield _orphan(intent, done.target)
        elif self._bears_none(intent):
            if ids := listing.alike.get(_key(intent)):
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
            ids = listing.alike.get(_key(intent), [])
            firsts = {id: await first_digest(self._account, id) for id in ids}
            self._equal.update(id for id, digest in firsts.items() if digest == intent.sha256)
            alike[_key(intent)] = [id for id, digest in firsts.items() if digest in ("", intent.sha256)]
        return replace(listing, alike=alike)

    async def _look(self, wanted: Collection[Creation]) -> dict[str, Done]:
        found: dict[str, Done] = {}
        for kind in sorted({intent.kind for intent in wanted}):
            here = [intent for intent in wanted if intent.kind is kind]
            if kind is Kind.SKILL_VERSION:
                found |= await versions_made(self._account, self._folder.state, here)
                continue
            listing = await self._list(kind, here, self._adoptable(here))
            if kind is Kind.SKILL:
                listing = await self._with_contents(here, listing)
            found |= listing.marked
            for intent in here:
                ids = listing.alike.get(_key(intent), [])
                # Of two that look alike one may be somebody else's: then none is taken.
                if intent.op not in found and len(ids) == 1:
                    is_sure = kind is Kind.TEMPLATE or ids[0] in self._equal
                    found[intent.op] = Done(op=intent.op, target=ids[0], inferred=not is_sure)
        return found

    def _adoptable(self, wanted: Iterable[Creation]) -> set[Key]:
        """The keys by which an object may be taken for ours: no attempt of another source can have made one like it."""
        state = self._folder.state
        if state.learned.get(ALONE) == 0:
            return set()
        wanted = [intent for intent in wanted if self._bears_none(intent)]
        sources: dict[Key, set[SourceId]] = {}
        for intent in (*wanted, *state.missed):
            sources.setdefault(_key(intent), set()).add(intent.source)
        return {_key(intent) for intent in wanted if len(sources[_key(intent)]) == 1}

    async def _list(self, kind: Kind, wanted: Collection[Creation], keys: set[Key]) -> _Listing:
        """Read the list of a kind, and tell who made what is in it: by its mark, or by one of ``keys``."""
        ops = {intent.op for intent in wanted}
        claimed = set(self._folder.state.claimed(kind))
        agents = [intent.name for intent in wanted]
        # Of versions only those of the agents in question are listed.
        unseen = {id for id in claimed if kind not in _VERSIONED or (agent_of(id) or id) in agents}
        marked: dict[str, Done] = {}
        alike: dict[Key, dict[TargetId, None]] = {}
        doubts: list[str] = []
        async for raw in self._objects(kind, wanted, doubts.append):
            seen = _read(kind, raw)
            unseen.discard(seen.id)
            # What carries the mark of another attempt is that one's, whatever its name is.
            if (op := seen.mark(OPERATION)) is None:
                if (key := _key_of(kind, seen, raw)) in keys and seen.id not in claimed:
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
            new = {id for one in wanted for id in alike.get(_key(one), ()) if is_later(id, one)}
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


def _read(kind: Kind, raw: bytes) -> Listed:
    """An object of a list; the agent of a version where agents are looked for."""
    seen = read_listed(Kind.AGENT_VERSION if kind in _VERSIONED else kind, raw)
    return replace(seen, id=agent_of(seen.id)) if kind is Kind.FOUNDRY_AGENT else seen


def _key(intent: Creation) -> Key:
    # A name that is missing may come back empty.
    looks = intent.looks if isinstance(intent, Create) else None
    return intent.kind, f"{intent.name or ''}{looks or ''}", intent.size


def _key_of(kind: Kind, seen: Listed, raw: bytes) -> Key:
    if kind is Kind.TEMPLATE:
        return kind, f"{seen.name or ''}{template_looks(viewed(raw, dict[str, Any], noun(kind)))}", None
    if kind is Kind.FILE:
        return kind, seen.filename or "", credible(seen.bytes)
    return kind, seen.name or "", None


def _orphan(intent: Creation, id: TargetId | None) -> Orphan:
    return Orphan(kind=intent.kind, id=id, source=intent.source, name=intent.name, size=intent.size)
