"""Updates of objects at the destination, and the read-back of what was written.

Each object is read right before it is updated, so that the journal has the old values for an undo, and no field is
written that is equal already. Each is read back, because a server may accept a field and drop, cut or change it: the
answer to a create proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from holdall.agent_views import FoundryAgentView
from holdall.dialects.assistants import Request, own_metadata
from holdall.dialects.canonical import UNSET, resources
from holdall.dialects.loss import Loss, Why
from holdall.dialects.registry import dispensable, shown
from holdall.dialects.tables import MARKS, METADATA_KEYS, OPERATION, unmarked
from holdall.errors import REQUEST_ERRORS, DestinationDiffers, NotFound, RequestRefused
from holdall.importer.apply.context import FRESH, Context
from holdall.importer.apply.writes import Writes
from holdall.importer.plan.bundle_summary import keys_of, without_record_keys
from holdall.importer.plan.difference import Difference, differences, final, fingerprints, same, top_fields
from holdall.importer.plan.steps import (
    CreateDefinition,
    DetachFile,
    UpdateDefinition,
    UpdateFoundryAgent,
    UpdateMembership,
)
from holdall.importer.runs.baseline import place
from holdall.importer.runs.runlines import Create, Shown, Update
from holdall.kinds import noun
from holdall.model import Kind, Record, SourceId, TargetId
from holdall.remote import refusals
from holdall.remote.client import path, viewed
from holdall.remote.wire import route


class Changes:
    """The updates, detachments and read-backs of one run. Every method raises what the account raises."""

    def __init__(self, context: Context, writes: Writes) -> None:
        self._account, self._folder, self._pace = context.account, context.folder, context.pace
        self._writes = writes
        # Endpoints at which nothing could be read back, however long was waited: the next object isn't waited for.
        self._unseen: set[str] = set()

    async def definition(self, step: UpdateDefinition, wanted: dict[str, Any]) -> list[str]:
        """Set what the step names to what ``wanted`` says. Returns the fields that are refused, and left."""
        left_out: list[str] = []
        while True:
            fields = [field for field in step.fields if field not in left_out]
            try:
                await self.fields(step.kind, step.id, step.target, wanted, fields)
                return left_out
            except RequestRefused as error:
                # To leave out a null here would leave what stands there.
                sent = {field: wanted[field] for field in fields if wanted.get(field) is not None}
                spare = refused_fields(error, dispensable(step.kind, sent))
                if not spare:
                    raise
                left_out += spare

    async def fields(
        self, kind: Kind, source: SourceId, target: TargetId, wanted: dict[str, Any], fields: Iterable[str]
    ) -> None:
        """Set those of ``fields`` that aren't as in ``wanted``. Our marks stay in the metadata."""
        there = await self._object(kind, target)
        wanted = {**UNSET[kind], **wanted}
        still = top_fields(differences(wanted, there, kind=kind, source=source, target=target, name=None))
        # What an update has set whose answer was lost is set again: only an answer settles its intent in the journal.
        lost = self._lost(kind, source)
        due = {*still, *lost}
        body = {field: wanted[field] for field in fields if field in wanted and field in due}
        if "tool_resources" in body:
            body["tool_resources"] = resources(body["tool_resources"], there.get("tool_resources"))
        if not body:
            return
        if "metadata" in body:
            body["metadata"] = _with_marks(body["metadata"], there.get("metadata"))
        before = {field: there.get(field) for field in body} | lost
        await self._writes.update(kind, source, target, body, before=before)

    async def new_version(
        self,
        step: UpdateFoundryAgent,
        wanted: dict[str, Any],
        body: Callable[[str], dict[str, Any]],
        *,
        without: list[str],
    ) -> None:
        """Make a version of an agent that is there, unless its latest one is as ``wanted``: equal ones may be kept
        twice. ``body`` is given the attempt's name.

        Raises DestinationDiffers where it has another latest version than the plan saw.
        """
        raw = (await self._account.get(place(step.kind, step.target))).raw
        latest = viewed(raw, FoundryAgentView, f"agent {step.target}").versions.latest.version
        state = self._folder.state
        is_begun = state.target(Kind.AGENT_VERSION, step.id) or step.id in {one.source for one in state.uncertain}
        if latest != (step.latest or latest) and not is_begun:
            raise DestinationDiffers(
                f"not updated: others have made version {latest} of {step.target} meanwhile; run the import again"
            )
        there = shown(step.kind, viewed(raw, dict[str, Any], f"agent {step.target}"))
        if differences(wanted, there, kind=step.kind, source=step.id, target=step.target, name=None):
            intent = Create(
                op="",
                kind=Kind.AGENT_VERSION,
                source=step.id,
                name=step.target,
                latest=latest,
                without=without,
                unmarked=OPERATION not in (wanted.get("metadata") or {}),
            )
            await self._writes.create(intent, body, [])

    async def complete(self, kind: Kind, source: SourceId, target: TargetId, request: Request) -> None:
        """Set the metadata that had no room beside our marks at creation, unless that was done."""
        if request.update is not None and (kind, None, source) not in self._folder.state.updated:
            await self._writes.update(kind, source, target, request.update)

    async def losses(
        self, kind: Kind, source: SourceId, target: TargetId, name: str | None, sent: Mapping[str, Any]
    ) -> list[Loss]:
        """A loss for each field of ``sent`` that isn't there as it was sent.

        What is found is in the journal on return, so that later runs know it before they write. Raises Interrupted and
        what stops every request; that the object can't be read is said in a loss.
        """
        try:
            found = shown(kind, await self._shown(place(kind, target)))
        except REQUEST_ERRORS as error:
            why = error.detail or error.message
            text = f"can't be read back, so it could not be checked ({why})"
            return [Loss(why=Why.NOT_KEPT, kind=kind, id=source, name=name, text=text)]
        # Nobody else has touched the object so far: keys that were not sent are the server's own.
        added = keys_added(sent.get("metadata"), found.get("metadata"))
        lost = differences(sent, found, kind=kind, source=source, target=target, name=name, added=added)
        if lost or added:
            line = Shown(
                kind=kind,
                source=source,
                target=target,
                image=fingerprints(kind, found, added),
                unkept=top_fields(lost),
                added=added,
            )
            await self._folder.write(line)
        return [_not_kept(kind, source, name, field, lost) for field in top_fields(lost)]

    async def membership(self, step: UpdateMembership, store: TargetId) -> dict[str, Any]:
        """Set the attributes of one file. Returns those that the account shows then; raises where it can't be read."""
        there = await self._member(store, step.target)
        lost = self._lost(Kind.MEMBERSHIP, step.file)
        if lost or not same(Kind.MEMBERSHIP, "attributes", step.attributes, there.get("attributes")):
            before = {"attributes": there.get("attributes") or {}} | lost
            await self._writes.update(
                Kind.MEMBERSHIP, step.file, step.target, {"attributes": step.attributes}, store=store, before=before
            )
        there = await self._shown(path("/vector_stores/{}/files/{}", store, step.target))
        return there.get("attributes") or {}

    async def detach(self, step: DetachFile, store: TargetId) -> None:
        """Take the file out of the store, unless it is out already."""
        try:
            there = await self._member(store, step.target)
        except NotFound:
            return
        before = {key: there.get(key) for key in ("attributes", "chunking_strategy")}
        await self._writes.detach(SourceId(step.target), store, step.target, before=before)

    def _lost(self, kind: Kind, source: SourceId) -> dict[str, Any]:
        """What stood before an update whose answer was lost when the run was cut off."""
        lost = self._folder.state.unknown(Update, kind, source)
        return (lost[0].before or {}) if lost else {}

    async def _member(self, store: TargetId, file: TargetId) -> dict[str, Any]:
        """A file in a store, by its id or else from the store's list. Raises NotFound."""
        try:
            return await self._there(path("/vector_stores/{}/files/{}", store, file))
        except NotFound:
            async for raw in self._account.items(path("/vector_stores/{}/files", store)):
                found = viewed(raw, dict[str, Any], f"a file of store {store}")
                if found.get("id") == file:
                    return found
            raise

    async def _shown(self, where: str) -> dict[str, Any]:
        """The object. Polls, because a new one may be unknown for some seconds."""
        endpoint = route(where)
        patience = 0.0 if endpoint in self._unseen else max(FRESH, self._pace.settle)
        async for _ in self._pace.looks(patience):
            try:
                found = await self._there(where)
            except (NotFound, RequestRefused) as error:
                refused = error
                if error.status == 405:  # this server never shows one
                    break
            else:
                self._unseen.discard(endpoint)
                return found
        self._unseen.add(endpoint)
        raise refused

    async def _object(self, kind: Kind, target: TargetId) -> dict[str, Any]:
        return shown(kind, await self._there(place(kind, target)))

    async def _there(self, where: str) -> dict[str, Any]:
        return viewed((await self._account.get(where)).raw, dict[str, Any], where)


class ServerKeys:
    """Metadata keys that may be the server's own.

    The first object of a kind is made without them, and what the destination then puts in by itself is left out of all
    the others. What it doesn't put in is its owner's, and set right away. ``state.added`` has those that were put in.
    """

    def __init__(self, context: Context, shared: Mapping[Kind, list[str]], changes: Changes) -> None:
        self._state, self._progress = context.folder.state, context.progress
        self._shared, self._changes = shared, changes
        self._known: set[Kind] = set()

    def sent(self, record: Record) -> Record:
        """The record as it is sent: without what is, or may be, the server's."""
        shared = self._shared.get(record.kind, ())
        own = shared if record.kind not in self._known else [key for key in shared if key in self._state.added]
        return without_record_keys(record, own) if own else record

    async def settle(self, record: Record, target: TargetId, name: str | None, request: Callable[[], Request]) -> str:
        """With the first object of its kind find out which keys are the server's, and set those that are its owner's.
        ``request`` gives what was sent.

        Returns why these aren't set, if they aren't. Raises what the account raises for anything but a refusal.
        """
        kind, shared = record.kind, self._shared.get(record.kind, ())
        if kind in self._known or not shared or not keys_of(record).intersection(shared):
            return ""
        # Once the copy was updated, its keys no longer tell who put them there.
        if not self._state.unknown(Update, kind, record.id) and (kind, None, record.id) not in self._state.updated:
            await self._changes.losses(kind, record.id, target, name, final(request()))
        self._known.add(kind)
        if own := [key for key in shared if key in self._state.added]:
            self._progress.note(
                f"left out metadata that the destination adds to every {noun(kind)} itself: {', '.join(own)}"
            )
        if left := [key for key in shared if key not in own]:
            wanted = {"metadata": own_metadata(self.sent(record))}
            try:
                await self._changes.fields(kind, record.id, target, wanted, ["metadata"])
            except RequestRefused as error:
                return f"the destination refused {', '.join(left)}: {error.detail or error.message}"
        return ""


def refused_fields(error: RequestRefused, dispensable: Mapping[str, bool]) -> list[str]:
    """Those of the ``dispensable`` fields that a request was refused for, so that it can be sent without them.

    If the server names none, all fields whose removal loses nothing.
    """
    refusal = refusals.read(error)
    if refusal.reason is refusals.RefusalReason.UNTOLD:
        return [field for field, lossless in dispensable.items() if lossless]
    return refusal.blames(dispensable)


def refused_losses(
    step: CreateDefinition | UpdateDefinition, wanted: Mapping[str, Any], fields: Collection[str], what: str
) -> Iterator[Loss]:
    """Of the ``fields`` that the destination refuses, those that say something."""
    at_default = dispensable(step.kind, wanted)
    for field in sorted(field for field in fields if wanted[field] is not None):
        value = msgspec.json.encode(wanted[field]).decode()
        why, said = Why.REFUSED, f"value in the bundle: {value}"
        if at_default[field]:
            why, said = Why.DEFAULT_LEFT_OUT, f"it had the default value, {value}"
        text = f"{what}: {step.model} does not accept it ({said})"
        yield Loss(why=why, kind=step.kind, id=step.id, name=step.name, field=field, text=text)


def _with_marks(wanted: object, there: object) -> dict[str, Any]:
    """The bundle's keys with the marks that the object carries, where there is room for them."""
    own = unmarked(wanted)
    marks = {key: value for key, value in there.items() if key in MARKS} if isinstance(there, dict) else {}
    return {**own, **marks} if len(own) + len(marks) <= METADATA_KEYS else own


def _not_kept(kind: Kind, source: SourceId, name: str | None, field: str, lost: list[Difference]) -> Loss:
    """The loss of one top-level ``field``; ``lost`` has what differs in it."""
    mine = [difference for difference in lost if difference.field.partition(".")[0] == field]
    if field == "metadata":
        keys = ", ".join(difference.field.partition(".")[2] for difference in mine)
        text = f"changed by the destination: {keys}"
    else:
        text = f"changed by the destination: {mine[0].values()}"
    return Loss(why=Why.NOT_KEPT, kind=kind, id=source, name=name, field=field, text=text)


def keys_added(sent: object, there: object) -> list[str]:
    """The keys of metadata, or of attributes, that were not sent."""
    own = sent if isinstance(sent, Mapping) else {}
    return [key for key in there if key not in MARKS and key not in own] if isinstance(there, Mapping) else []
