"""Every write to the destination, carried out exactly once, and the read-back of what was written.

An intent is in the journal before its call is sent, the outcome before anything builds upon it, both under the name of
the attempt. A create with an unknown outcome is reconciled before it is repeated. Updates and deletes, which may happen
twice, are simply repeated, and so are calls refused because a new object isn't visible yet.

Each object is read right before it is updated, so that the journal has the old values for an undo, and no field is
written that is equal already. Each is read back, because a server may accept a field and drop, cut or change it: the
answer to a create proves nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

import msgspec

from holdall.agent_views import FoundryAgentView
from holdall.dialects.assistants import own_metadata
from holdall.dialects.canonical import UNSET, resources
from holdall.dialects.loss import Loss, Why
from holdall.dialects.prompt_agents import version_body
from holdall.dialects.registry import dispensable, shown
from holdall.dialects.rules import MARKS, METADATA_KEYS, OPERATION, UNMARKED, Request, unmarked
from holdall.errors import REQUEST_ERRORS, DestinationDiffers, NotFound, RemoteError, RequestRefused, ServerFailed
from holdall.importer.apply.context import FRESH, Context
from holdall.importer.apply.reconcile import Reconciler, identity, outcome, require_first, withheld
from holdall.importer.plan.bundle_summary import keys_of, without_record_keys
from holdall.importer.plan.difference import Difference, differences, final, fingerprint, fingerprints, same, top_fields
from holdall.importer.plan.steps import (
    CreateDefinition,
    DetachFile,
    UpdateDefinition,
    UpdateFoundryAgent,
    UpdateMembership,
)
from holdall.importer.runs import runjournal
from holdall.importer.runs.runfolder import PLACES, AuditLine, place
from holdall.kinds import KINDS, noun
from holdall.model import Kind, Record, SourceId, TargetId
from holdall.remote import refusals
from holdall.remote.client import path, viewed
from holdall.remote.refusals import is_unknown
from holdall.remote.wire import Answer, route

TRIES = 3
"""Attempts whose answers are lost before a thing is given up; each is looked for before the next is made."""


class Writes:
    """The writes of one run.

    What the run has done already is not done again: its id is returned. A write whose answer is lost is looked for,
    and tried again only if it isn't found; a method raises an error with ``ambiguous`` set where that has failed
    ``TRIES`` times. All other errors are those of the account, and Interrupted where the run is to stop.
    """

    def __init__(self, context: Context, reconciler: Reconciler) -> None:
        self._account, self._folder, self._pace = context.account, context.folder, context.pace
        self._context, self._reconciler = context, reconciler
        self._given_up: set[tuple[str, Kind]] = set()
        self._kept_marks = False

    # -- what is written -------------------------------------------------------------------------------

    async def upload(self, intent: runjournal.Creation, filename: str, stream: BinaryIO, *, purpose: str) -> TargetId:
        """POST /files. Two uploads of equal name and size must not be under way at once."""
        call = _Call(
            intent=intent,
            request="POST /files",
            send=lambda _: self._account.upload(filename, stream, purpose=purpose),
        )
        return await self._surely(call, [])

    async def create(
        self,
        intent: runjournal.Create,
        body: Callable[[str], dict[str, Any]],
        fresh: list[TargetId],
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> TargetId:
        """POST a store, an assistant, an agent, or a version of one. ``body`` is given the attempt's name, for
        ``metadata.holdall_op``.

        ``fresh`` are the ids in it, which the server may not know yet. ``before`` is awaited before each attempt, once
        what became of those before it is known.
        """
        is_version = intent.kind in (Kind.FOUNDRY_AGENT, Kind.AGENT_VERSION)
        # Of a Foundry project: its first version makes an agent.
        where = path(KINDS[Kind.AGENT_VERSION].endpoint, intent.name or "") if is_version else PLACES[intent.kind]

        async def send(op: str) -> Answer:
            sent = version_body(body(op)) if is_version else body(op)
            answer = await self._confidential(intent, where, sent)
            if intent.kind is Kind.FOUNDRY_AGENT:
                await require_first(self._account, intent.name or "", answer, self._folder.state.operations)
            return answer

        return await self._surely(_Call(intent=intent, request=f"POST {where}", send=send, before=before), fresh)

    async def upload_version(self, intent: runjournal.Create, filename: str, stream: BinaryIO) -> TargetId:
        """POST the zip of a skill's first version, or of a further one ``into`` the intent's skill."""
        where = PLACES[Kind.SKILL] if intent.into is None else path("/skills/{}/versions", intent.into)
        call = _Call(
            intent=intent,
            request=f"POST {where}",
            send=lambda _: self._account.upload_zip(where, filename, stream),
        )
        return await self._surely(call, [] if intent.into is None else [intent.into])

    async def update(
        self,
        kind: Kind,
        source: SourceId,
        target: TargetId,
        body: dict[str, Any],
        *,
        store: TargetId | None = None,
        before: dict[str, Any] | None = None,
        supplied: list[str] | None = None,
    ) -> None:
        """Set fields of a definition or a store, or the attributes of a membership of ``store``.

        ``before`` has what they were, where this run did not create it. To set the same again changes nothing, so an
        update whose answer is lost is simply sent once more.
        """
        where = place(kind, target) if store is None else _member_path(store, target)
        after = dict.fromkeys(body, "") | fingerprints(kind, body)
        intent = runjournal.Update(
            op="",
            kind=kind,
            source=source,
            target=target,
            store=store,
            before=before,
            after=after,
            supplied=supplied or [],
        )
        await self._repeated(self._post(intent, where, body), target)

    async def delete(self, source: SourceId, file: TargetId) -> None:
        """DELETE a file that this run uploaded and that nothing refers to any more."""
        await self._delete(runjournal.Delete(op="", source=source, target=file), path("/files/{}", file))

    async def detach(
        self, source: SourceId, store: TargetId, file: TargetId, *, before: dict[str, Any] | None = None
    ) -> None:
        """Take ``file`` out of ``store``; the file itself stays. ``before`` as in ``update``."""
        intent = runjournal.Detach(op="", source=source, target=file, store=store, before=before)
        await self._delete(intent, _member_path(store, file))

    async def attach(self, source: SourceId, store: TargetId, files: list[dict[str, Any]]) -> TargetId:
        """One file batch into ``store``. Returns the batch's id; indexing has only begun then.

        The one write that isn't looked for here: the store's list tells file by file what came of it.
        """
        return await self._attach(source, store, files, "/vector_stores/{}/file_batches", {"files": files})

    async def attach_one(self, source: SourceId, store: TargetId, body: dict[str, Any]) -> TargetId:
        """One file into ``store``. Not looked for either: it does no harm to carry this out twice."""
        return await self._attach(source, store, [body], "/vector_stores/{}/files", body)

    # -- how it happens once ---------------------------------------------------------------------------

    def _post(self, intent: runjournal.Intent, where: str, body: dict[str, Any]) -> _Call:
        return _Call(intent=intent, request=f"POST {where}", send=lambda _: self._confidential(intent, where, body))

    async def _confidential(self, intent: runjournal.Intent, where: str, body: dict[str, Any]) -> Answer:
        """POST; what the server says of values that were supplied goes no further."""
        try:
            return await self._account.post(where, body)
        except RemoteError as error:
            is_secret = isinstance(intent, runjournal.Create | runjournal.Update) and intent.supplied
            raise (withheld(error, where) if is_secret else error) from None

    async def _attach(
        self, source: SourceId, store: TargetId, files: list[dict[str, Any]], where: str, body: dict[str, Any]
    ) -> TargetId:
        prints = {TargetId(file["file_id"]): fingerprint(file.get("attributes")) for file in files}
        intent = runjournal.Attach(op="", source=source, target=store, files=prints)
        return await self._while_fresh(self._post(intent, path(where, store), body), [store, *prints])

    async def _delete(self, intent: runjournal.Delete | runjournal.Detach, where: str) -> None:
        """DELETE, and see that what the account says is deleted is gone, or goes within the settle window.

        Raises RequestRefused where it doesn't.
        """
        call = _Call(intent=intent, request=f"DELETE {where}", send=lambda _: self._account.delete(where))
        with suppress(NotFound):
            await self._repeated(call, intent.target)
            async for _ in self._pace.looks(self._pace.settle):
                try:
                    await self._account.get(where)
                # So some servers say that it isn't there, and others that they never show one.
                except (RequestRefused, ServerFailed):
                    return
            raise RequestRefused(f"can't DELETE {where}: the server confirmed it, but the object still exists")

    def _tries(self, intent: runjournal.Intent) -> int:
        """How many attempts may be lost. Few where no such write was ever answered: that endpoint may always fail."""
        if _action(intent) in self._folder.state.answered:
            return TRIES
        return 1 if _action(intent) in self._given_up else 2

    async def _surely(self, call: _Call, fresh: list[TargetId]) -> TargetId:
        """Make attempts until one is known to have been carried out; before each, what is unknown is looked for."""
        intent = call.intent
        lost: RemoteError | None = None
        assert isinstance(intent, runjournal.Creation)
        for tried in range(TRIES + 1):
            tries = self._tries(intent)
            if attempts := self._unknown(intent):
                # Where no such write was ever answered, the settle window would be spent on each of thousands.
                once = lost is not None and tries < TRIES and tried >= tries
                await self._reconciler.reconcile(attempts, once=once)
            if target := self._made(intent):
                return target
            if lost and tried >= tries:
                self._given_up.add(_action(intent))
                raise lost
            if call.before:
                await call.before()
            try:
                return await self._while_fresh(call, fresh)
            except RemoteError as error:
                if not error.ambiguous:
                    raise
                lost = error
        raise AssertionError("unreachable")

    def _made(self, intent: runjournal.Creation) -> TargetId | None:
        """What an earlier attempt has made."""
        state = self._folder.state
        if not isinstance(intent, runjournal.Copy):
            return state.target(intent.kind, intent.source)
        # A second upload counts under its own name only.
        return state.copies.get(intent.source) if state.names.get(intent.source) == intent.name else None

    def _unknown(self, intent: runjournal.Creation) -> list[runjournal.Creation]:
        """The attempts with an unknown outcome."""
        state = self._folder.state
        if intent.kind is not Kind.FILE:
            return state.creations(intent.kind, intent.source)
        # Of two uploads that look alike neither can be told from the other, so both have to be known.
        looks = intent.name, intent.size
        return [
            one for one in state.creations(Kind.FILE) if intent.source == one.source or looks == (one.name, one.size)
        ]

    async def _repeated(self, call: _Call, target: TargetId) -> None:
        """Make attempts until one is answered; it does no harm to carry this out twice."""
        intent = call.intent
        lost: RemoteError | None = None
        async for _ in self._pace.looks(self._pace.settle):
            try:
                await self._attempt(call)
                lost = None
                break
            except RemoteError as error:
                lost = error
                if not error.ambiguous or self._tries(intent) == 1:
                    break
        if lost:
            self._given_up.add(_action(intent))
            raise lost
        # The last attempt did what those before it were sent for: nothing is left to be looked for.
        same = (intent.action, intent.kind, intent.source, target)
        for other in list(self._folder.state.open.values()):
            if (other.action, other.kind, other.source, other.target) == same:
                await self._folder.write(runjournal.Done(op=other.op, target=target))

    async def _while_fresh(self, call: _Call, fresh: list[TargetId]) -> TargetId:
        """Make attempts while they are refused over one of the ids in ``fresh``, which were given moments ago.

        Not every server says which id it doesn't know: where it says only that something isn't there, it may be one
        of these.
        """
        async for _ in self._pace.looks(FRESH):
            try:
                return await self._attempt(call)
            except (NotFound, RequestRefused) as error:
                if not is_unknown(error, fresh):
                    raise
                refused = error
        raise refused

    async def _attempt(self, call: _Call) -> TargetId:
        """Intent, call, outcome: each is durable before the next. Returns the id that the account gave."""
        intent = msgspec.structs.replace(call.intent, op=self._context.operation())
        self._pace.require_no_stop()
        await self._folder.write(intent)
        try:
            answer = await call.send(intent.op)
            if isinstance(intent, (runjournal.Delete, runjournal.Detach)):
                target = intent.target  # the answer to a DELETE need not name it
            else:
                target = identity(call.intent, call.request, answer)
        except RemoteError as error:
            failed = runjournal.Failed(
                op=intent.op,
                error=error.detail or error.message,
                status=error.status,
                code=error.code,
                ambiguous=error.ambiguous,
                request_id=error.request_id,
            )
            await self._folder.write(failed)
            self._audit(call, "unknown" if error.ambiguous else "refused", error, intent.target, failed.error)
            raise
        done = outcome(intent, target, answer)
        # A server may give the id of a file with the same bytes that stood there before: that one is not the run's.
        if intent.kind is Kind.FILE and isinstance(intent, runjournal.Creation):
            done = msgspec.structs.replace(done, there=await self._folder.baseline.had_file(target))
        # A server may take a version that changes nothing for the newest that it has.
        elif isinstance(intent, runjournal.Create) and intent.latest is not None:
            done = msgspec.structs.replace(done, there=target == f"{intent.name}:{intent.latest}")
        await self._folder.write(done)
        self._audit(call, "done", answer, target)
        is_marked = intent.kind not in UNMARKED and not done.there
        if isinstance(intent, runjournal.Create) and is_marked and not intent.unmarked:
            await self._probe_marks(intent, target, answer)
        return target

    def _audit(
        self, call: _Call, outcome: str, came: Answer | RemoteError, target: TargetId | None, detail: str = ""
    ) -> None:
        self._folder.audit(
            AuditLine(
                operation=call.request,
                outcome=outcome,
                kind=call.intent.kind,
                source=call.intent.source,
                target=target,
                name=call.intent.name,
                status=came.status,
                request_id=came.request_id,
                detail=detail,
            )
        )

    async def _probe_marks(self, intent: runjournal.Create, target: TargetId, answer: Answer) -> None:
        """See once, on the first object that is made, whether the account keeps metadata."""
        if self._kept_marks or runjournal.MARKS in self._folder.state.learned:
            return
        with suppress(msgspec.DecodeError, RemoteError):
            found = msgspec.json.decode(answer.raw, type=_WithMetadata).metadata or {}
            # Some servers leave metadata out of the answer to a create, and keep it.
            if found.get(OPERATION) != intent.op:
                again = await self._account.get(place(intent.kind, target))
                found = shown(intent.kind, msgspec.json.decode(again.raw, type=dict[str, Any])).get("metadata") or {}
            self._kept_marks = found.get(OPERATION) == intent.op
            if not self._kept_marks:
                await self._folder.write(runjournal.Learned(what=runjournal.MARKS, value=0))
                self._context.progress.note(
                    "the destination drops metadata, so retried requests may create duplicates; the report lists them"
                )


class _Call(msgspec.Struct, frozen=True, kw_only=True):
    """A write: what the journal says of it, its request for the audit log, and how it is sent under the name of an
    attempt. ``before`` is awaited before an attempt, and may forbid it. The ``op`` of the intent is set with each
    attempt."""

    intent: runjournal.Intent
    request: str
    send: Callable[[str], Awaitable[Answer]]
    before: Callable[[], Awaitable[None]] | None = None


class _WithMetadata(msgspec.Struct, frozen=True, kw_only=True):
    metadata: dict[str, Any] | None = None


def _member_path(store: TargetId, file: TargetId) -> str:
    return path("/vector_stores/{}/files/{}", store, file)


def _action(intent: runjournal.Intent) -> tuple[str, Kind]:
    """What is counted as tried, answered or given up: a second upload of a file is an upload."""
    return "create" if isinstance(intent, runjournal.Creation) else intent.action, intent.kind


# -- updates and read-backs ----------------------------------------------------------------------------


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
        lost = self._before_lost_update(kind, source)
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
            intent = runjournal.Create(
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

        What is found is in the journal on return, so that later runs know it before they write. An object that can't be
        read is a loss. Raises Interrupted, and what stops every request.
        """
        try:
            found = shown(kind, await self._read_back(place(kind, target)))
        except REQUEST_ERRORS as error:
            why = error.detail or error.message
            text = f"can't be read back, so it could not be checked ({why})"
            return [Loss(why=Why.NOT_KEPT, kind=kind, id=source, name=name, text=text)]
        # Nobody else has touched the object so far: keys that were not sent are the server's own.
        added = keys_added(sent.get("metadata"), found.get("metadata"))
        lost = differences(sent, found, kind=kind, source=source, target=target, name=name, added=added)
        if lost or added:
            line = runjournal.Shown(
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
        lost = self._before_lost_update(Kind.MEMBERSHIP, step.file)
        if lost or not same(Kind.MEMBERSHIP, "attributes", step.attributes, there.get("attributes")):
            before = {"attributes": there.get("attributes") or {}} | lost
            await self._writes.update(
                Kind.MEMBERSHIP, step.file, step.target, {"attributes": step.attributes}, store=store, before=before
            )
        there = await self._read_back(_member_path(store, step.target))
        return there.get("attributes") or {}

    async def detach(self, step: DetachFile, store: TargetId) -> None:
        """Take the file out of the store, unless it is out already."""
        try:
            there = await self._member(store, step.target)
        except NotFound:
            return
        before = {key: there.get(key) for key in ("attributes", "chunking_strategy")}
        await self._writes.detach(SourceId(step.target), store, step.target, before=before)

    def _before_lost_update(self, kind: Kind, source: SourceId) -> dict[str, Any]:
        """What stood before an update whose answer was lost when the run was cut off."""
        lost = self._folder.state.unknown(runjournal.Update, kind, source)
        return (lost[0].before or {}) if lost else {}

    async def _member(self, store: TargetId, file: TargetId) -> dict[str, Any]:
        """A file in a store, by its id or else from the store's list. Raises NotFound."""
        try:
            return await self._get(_member_path(store, file))
        except NotFound:
            async for raw in self._account.items(path("/vector_stores/{}/files", store)):
                found = viewed(raw, dict[str, Any], f"a file of store {store}")
                if found.get("id") == file:
                    return found
            raise

    async def _read_back(self, where: str) -> dict[str, Any]:
        """The object. Polls, because a new one may be unknown for some seconds."""
        endpoint = route(where)
        patience = 0.0 if endpoint in self._unseen else max(FRESH, self._pace.settle)
        async for _ in self._pace.looks(patience):
            try:
                found = await self._get(where)
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
        return shown(kind, await self._get(place(kind, target)))

    async def _get(self, where: str) -> dict[str, Any]:
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
        if (
            not self._state.unknown(runjournal.Update, kind, record.id)
            and (kind, None, record.id) not in self._state.updated
        ):
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


def keys_added(sent: object, there: object) -> list[str]:
    """The keys of metadata, or of attributes, that were not sent."""
    own = sent if isinstance(sent, Mapping) else {}
    return [key for key in there if key not in MARKS and key not in own] if isinstance(there, Mapping) else []


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
