"""Attaches files to a vector store, in batches as large as the destination allows, each file once.

A store's files are a set. So a batch whose answer was lost needs no name: once it has settled, the store's own list
says which of its files are there, and only those that are missing are sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from holdall.dialects.assistants import attachment
from holdall.dialects.canonical import canonical_form
from holdall.errors import NotFound, RemoteError, RequestRefused, ServerFailed
from holdall.importer.apply.context import Context
from holdall.importer.apply.writes import TRIES, Writes
from holdall.importer.plan.difference import Difference, fingerprint
from holdall.importer.runs.runjournal import Attach, Done, Failed, Learned
from holdall.model import Kind, MembershipView, Record, SourceId, TargetId
from holdall.remote import refusals
from holdall.remote.client import NO_SUCH_ROUTE, path, viewed
from holdall.remote.refusals import Refusal, RefusalReason

BATCH_LIMIT = "batch_files"
"""Learned of an account: the most files that it takes in one batch."""

BATCHES = "batches"
"""Learned of an account: 0 where it knows no batches of files with settings of their own, or attaches none of them."""

Renamed = Callable[[SourceId, TargetId], Awaitable[TargetId | None]]
"""Makes another upload of a file, under another name than the one whose type was refused, and returns its id; None
where no name is left."""

Body = dict[str, Any]

# Files of one store that are refused one after the other, and none taken, until it is the store that is refused.
_HOPELESS = 20


class Unsearchable(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the store that isn't searchable in the copy. ``refused``: it isn't even attached; ``missing``: though
    it was accepted.

    ``status`` and ``code`` are the server's, where it has the file.
    """

    file: SourceId
    refused: bool
    reason: str
    missing: bool = False
    failed_before: bool = False
    status: str = ""
    code: str | None = None


class Filling:
    """One store while it is being filled with those of its ``memberships`` whose ``files`` were uploaded."""

    def __init__(
        self,
        source: SourceId,
        store: TargetId,
        memberships: Callable[[], Iterable[Record]],
        files: Mapping[SourceId, TargetId],
        names: Mapping[SourceId, str],
    ) -> None:
        self.source, self.store = source, store
        self.files, self.names = files, names
        self._memberships = memberships
        self.sources: dict[TargetId, SourceId] = {}
        """The files by the ids of their copies."""
        self.refused: dict[SourceId, tuple[str, Body]] = {}
        """What the store doesn't take, with the reason and the body that was sent."""
        self.unsupported: set[SourceId] = set()
        """Those refused for their type, as far as their names go."""
        self.renamed: dict[SourceId, None] = {}
        """Those that were sent again under another name, in that order; some of them were ``refused`` again."""
        self.merged: set[SourceId] = set()
        """Files whose copy is that of one of the ``sources``; ``shared`` are these copies."""
        self.shared: set[TargetId] = set()
        self.failed_before: set[SourceId] = set()
        self.batches: list[TargetId] = []
        self.ignored = False
        """A batch was accepted and nothing came of it."""
        self.differing: dict[TargetId, tuple[Any, Any]] = {}
        """Attributes and chunking as the store shows them, where they aren't as they were sent."""
        self._sent: dict[TargetId, tuple[str, str]] = {}
        self.recut = 0
        """Files whose chunking the source doesn't tell."""
        self.troubles: list[Unsearchable] = []
        self.unkept: list[Difference] = []
        """What isn't kept as it was sent; ``added`` are attributes that the server put in by itself."""
        self.added: dict[str, None] = {}

    def records(self, wanted: Container[SourceId]) -> Iterator[Record]:
        """The memberships of the files ``wanted``, each file once; read out of the bundle, so not on the event loop."""
        seen: set[SourceId] = set()
        for record in self._memberships():
            if record.id in wanted and record.id not in seen:
                seen.add(record.id)
                yield record

    async def bodies(self, wanted: Container[SourceId]) -> list[Body]:
        """The request bodies of those of the files ``wanted`` that were sent before."""
        copies = {file: target for target, file in self.sources.items() if file in wanted}
        return await asyncio.to_thread(
            lambda: [attachment(record, copies[record.id]).body for record in self.records(copies)]
        )

    def take(self, file: SourceId, body: Body) -> bool:
        """Record what is sent of a file. Returns False if another file has the same copy, which is sent already."""
        target = TargetId(body["file_id"])
        if self.sources.setdefault(target, file) != file:
            self.merged.add(file)
            self.shared.add(target)
            return False
        self._sent[target] = _looks(body.get("attributes"), body.get("chunking_strategy"))
        return True

    def file(self, body: Body) -> SourceId:
        """The file that is sent with ``body``."""
        return self.sources[body["file_id"]]

    def refuse(self, body: Body, refusal: RequestRefused) -> None:
        """Record that the store refuses a file, and why."""
        file = self.file(body)
        self.refused[file] = refusal.detail or refusal.message, body
        name, reason = self.names.get(file, ""), refusals.read(refusal).reason
        ending = _ending(name)
        # A server that doesn't say that it is about the type may name the file all the same.
        is_named = bool(ending) and (name in refusal.detail or f".{ending}" in refusal.detail)
        if is_named or reason in (RefusalReason.TYPE, RefusalReason.UNTOLD):
            self.unsupported.add(file)

    def culprits(self, bodies: list[Body], refusal: Refusal) -> list[Body]:
        """The files whose type a batch was refused for, as far as the server names it."""
        if refusal.reason is not RefusalReason.TYPE:
            return []
        endings = [(body, _ending(self.names.get(self.file(body), ""))) for body in bodies]
        accused = {word.lower() for word in refusal.endings()}
        found = [(body, ending) for body, ending in endings if ending.lower() in accused]
        upper = [(body, ending) for body, ending in found if ending != ending.lower()]
        if 0 < len(upper) < len(found):
            # It may be their upper case alone; if it isn't, the others are refused next.
            found = upper
        return [body for body, _ in found] or (bodies if len(bodies) == 1 else [])

    def compare(self, view: MembershipView) -> None:
        """Record what the store shows of a file."""
        target = TargetId(view.id)
        sent, shown = self._sent.get(target), _looks(view.attributes, view.chunking_strategy)
        if sent and (target in self.shared or sent[0] != shown[0] or (sent[1] and sent[1] != shown[1])):
            self.differing[target] = view.attributes, view.chunking_strategy
        else:
            self.differing.pop(target, None)


def _looks(attributes: Any, chunking: Any) -> tuple[str, str]:
    """Two fingerprints; the second is empty if no strategy was given."""
    return fingerprint(attributes), fingerprint(canonical_form(Kind.MEMBERSHIP, "chunking_strategy", chunking))


class Attaching:
    """Sends batches, for one run."""

    def __init__(self, context: Context, writes: Writes, *, batch_files: int) -> None:
        self._account, self._folder, self._pace = context.account, context.folder, context.pace
        self._writes, self._most = writes, batch_files
        # No batch was ever answered, and one was looked for and sent again in vain.
        self._vain = False

    @property
    def limit(self) -> int:
        """Files in one call: what the destination's table allows, or what a refusal said."""
        return self._folder.state.learned.get(BATCH_LIMIT, self._most)

    async def members(self, store: TargetId) -> AsyncIterator[MembershipView]:
        """The store's own list of its files."""
        async for raw in self._account.items(path("/vector_stores/{}/files", store)):
            yield viewed(raw, MembershipView, f"a file of store {store}")

    async def already_there(self, filling: Filling) -> set[TargetId]:
        """The files that earlier batches put into the store. Polls until all are there or the settle window is over.

        The outcome of batches whose answers were lost is then in the journal.
        """
        state = self._folder.state
        lost = state.unknown(Attach, source=filling.source)
        awaited = {file for intent in lost for file in intent.files}
        due = state.attached[filling.store] + sum(len(intent.files) for intent in lost)
        if not due:
            return set()
        found: set[TargetId] = set()
        async for _ in self._pace.looks(self._pace.settle):
            found |= await self._listed(filling.store)
            if len(found) >= due and awaited <= found:
                break
        for intent in lost:
            if set(intent.files) <= found:
                await self._folder.write(Done(op=intent.op, target=filling.store))
            else:
                said = "no answer, and some of its files are not in the store"
                await self._folder.write(Failed(op=intent.op, error=said, looked=True))
        return found

    async def send(self, filling: Filling, bodies: list[Body], *, tried: int = 0) -> None:
        """Send ``bodies``, in batches.

        Where a batch is refused for some files' type, the others are sent without them. Raises what the account raises
        for anything else, also where ``TRIES`` answers were lost and a single file fares no better.
        """
        while len(bodies) > self.limit:
            size = self.limit  # the first part may teach a lower one
            await self.send(filling, bodies[:size])
            bodies = bodies[size:]
        if not bodies:
            return
        if self._folder.state.learned.get(BATCHES) == 0:
            await self.send_singly(filling, bodies)
            return
        try:
            filling.batches.append(await self._writes.attach(filling.source, filling.store, bodies))
        except RequestRefused as error:
            await self._refused(filling, bodies, error)
        except NotFound:
            if not await self._attach_alone(filling, bodies[0]):
                raise
            await self.send(filling, bodies[1:])
        except RemoteError as error:
            await self._unanswered(filling, bodies, error, tried)

    async def _unanswered(self, filling: Filling, bodies: list[Body], error: RemoteError, tried: int) -> None:
        """Send again what a batch whose answer was lost has not put into the store; or file by file if no batch ever
        worked, because some servers answer 500 to a route that they don't have. Raises ``error`` if that fails too."""
        has_no_route = error.status in NO_SUCH_ROUTE
        if not error.ambiguous and not has_no_route:
            raise error
        worked = ("attach", Kind.STORE) in self._folder.state.answered
        if not has_no_route and tried < (TRIES if worked else 0 if self._vain else 1):
            found = await self.already_there(filling)
            await self.send(filling, _without(bodies, found), tried=tried + 1)
            return
        self._vain = not worked
        if not isinstance(error, ServerFailed):
            raise error
        # Whatever comes into the store later than this look is refused as being there already.
        left = _without(bodies, await self._listed(filling.store))
        if left and not await self._attach_alone(filling, left[0]):
            raise error
        await self.send_singly(filling, left[1:])

    async def _refused(self, filling: Filling, bodies: list[Body], refusal: RequestRefused) -> None:
        """Send the part of a refused batch that the store takes."""
        if refusal.status in NO_SUCH_ROUTE and await self._attach_alone(filling, bodies[0]):
            await self.send(filling, bodies[1:])
            return
        read, half = refusals.read(refusal), len(bodies) // 2
        if read.reason is RefusalReason.TOO_MUCH and half:
            await self._folder.write(Learned(what=BATCH_LIMIT, value=read.most(len(bodies))))
            await self.send(filling, bodies)
        elif read.reason is RefusalReason.ALREADY:
            left = _without(bodies, await self._listed(filling.store))
            if len(left) == len(bodies):
                raise refusal
            await self.send(filling, left)
        elif culprits := filling.culprits(bodies, read):
            for body in culprits:
                filling.refuse(body, refusal)
            await self.send(filling, [body for body in bodies if filling.file(body) not in filling.refused])
        elif half:
            # Nothing says which files it is about: halve until each is alone.
            await self.send(filling, bodies[:half])
            await self.send(filling, bodies[half:])
        elif not await self._attach_alone(filling, bodies[0]):
            filling.refuse(bodies[0], refusal)
            if len(filling.refused) >= _HOPELESS and not filling.batches:
                raise refusal

    async def _attach_alone(self, filling: Filling, body: Body) -> bool:
        """Attach a file alone after its batch failed. If that works, and no batch ever did, the destination has no
        batches, which is recorded."""
        try:
            await self._writes.attach_one(filling.source, filling.store, body)
        except RequestRefused as error:
            if refusals.read(error).reason is not RefusalReason.ALREADY:
                return False
        except (NotFound, ServerFailed):
            return False
        if not filling.batches:
            await self._folder.write(Learned(what=BATCHES, value=0))
        return True

    async def send_singly(self, filling: Filling, bodies: list[Body]) -> None:
        """Attach files one by one, for servers that have no batches or ignore them. Raises as ``send``."""
        for body in bodies:
            try:
                await self._writes.attach_one(filling.source, filling.store, body)
            except RequestRefused as error:
                filling.refuse(body, error)
            except RemoteError as error:
                if not error.ambiguous:
                    raise
                # It may be there all the same; the store's list tells in the end.

    async def send_renamed(self, filling: Filling, renamed: Renamed, failed: Mapping[SourceId, Body]) -> bool:
        """Attach the files whose type was refused again, under another name. Returns whether there were any.

        ``renamed`` uploads them. ``failed`` has the bodies of files that are in the store and whose indexing failed for
        their type; these are taken out first. A file for which no name is left stays as it is.
        """
        any_sent = False
        while True:
            bodies = []
            for target, file in list(filling.sources.items()):
                if file not in filling.unsupported and file not in failed:
                    continue
                filling.unsupported.discard(file)
                copy = await renamed(file, target)
                if copy is None:
                    continue
                if file in filling.refused:
                    body = filling.refused.pop(file)[1]
                else:
                    body = failed[file]
                    await self._writes.detach(file, filling.store, target)
                del filling.sources[target]
                bodies.append({**body, "file_id": copy})
                filling.take(file, bodies[-1])
                filling.renamed[file] = None
            if not bodies:
                return any_sent
            # An earlier attempt may have put the copy into the store already.
            await self.send(filling, _without(bodies, await self.already_there(filling)))
            any_sent, failed = True, {}

    async def reattach(self, filling: Filling, bodies: list[Body]) -> None:
        """Take files out and put them in again: a file that is in a store already isn't indexed anew."""
        for body in bodies:
            await self._writes.detach(filling.file(body), filling.store, body["file_id"])
        await self.send(filling, bodies)

    async def _listed(self, store: TargetId) -> set[TargetId]:
        found: set[TargetId] = set()
        with suppress(NotFound):  # a store that was made a moment ago
            async for view in self.members(store):
                found.add(TargetId(view.id))
        return found


def _without(bodies: list[Body], there: set[TargetId]) -> list[Body]:
    return [body for body in bodies if body["file_id"] not in there]


def _ending(name: str) -> str:
    return name.rpartition(".")[2] if "." in name else ""
