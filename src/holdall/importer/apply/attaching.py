"""Files into a vector store: sent in batches as large as the destination takes, each file once.

A store's files are a set. So a batch whose answer was lost needs no name: once it has settled, the store's own list
says which of its files are there, and only those that are missing are sent again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from holdall.dialects.shapes import reduced
from holdall.errors import NotFound, RemoteError, RequestRefused, ServerFailed
from holdall.importer.apply.context import Context
from holdall.importer.apply.exactlyonce import TRIES
from holdall.importer.apply.writes import Writes
from holdall.importer.plan.difference import fingerprint
from holdall.importer.runs.runlines import Attach, Done, Failed, Learned
from holdall.model import Kind, MembershipView, SourceId, TargetId
from holdall.remote import refusals
from holdall.remote.client import path, viewed
from holdall.remote.probing import NO_SUCH_ROUTE
from holdall.remote.refusals import RefusalReason

__all__ = ["BATCHES", "BATCH_LIMIT", "Attaching", "Filling", "Renamed"]

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


class Filling:
    """One store while it is being filled. ``sources`` has the files by the ids of their copies, ``refused`` those
    that the store doesn't take, with the reason and the body that was sent. ``merged`` have the copy of one of the
    ``sources``, ``untyped`` are those ``refused`` for their type, as far as their names go. ``ignored``: a batch was
    accepted and nothing came of it. ``sent`` has the fingerprints of what each copy was given, ``unlike`` what the
    store shows of those that have something else."""

    def __init__(self, source: SourceId, store: TargetId, names: Mapping[SourceId, str]) -> None:
        self.source = source
        self.store = store
        self.names = names
        self.sources: dict[TargetId, SourceId] = {}
        self.refused: dict[SourceId, tuple[str, Body]] = {}
        self.untyped: set[SourceId] = set()
        self.merged: set[SourceId] = set()
        self.shared: set[TargetId] = set()
        self.failed_before: set[SourceId] = set()
        self.batches: list[TargetId] = []
        self.ignored = False
        self.sent: dict[TargetId, tuple[str, str]] = {}
        self.unlike: dict[TargetId, tuple[Any, Any]] = {}

    def take(self, file: SourceId, body: Body) -> bool:
        """Note what is sent of a file; False where its copy is in hand already."""
        target = TargetId(body["file_id"])
        if self.sources.setdefault(target, file) != file:
            self.merged.add(file)
            self.shared.add(target)
            return False
        self.sent[target] = looks(body.get("attributes"), body.get("chunking_strategy"))
        return True

    def show(self, view: MembershipView) -> None:
        """Note what the store shows of a file."""
        target = TargetId(view.id)
        sent, shown = self.sent.get(target), looks(view.attributes, view.chunking_strategy)
        if sent and (target in self.shared or sent[0] != shown[0] or (sent[1] and sent[1] != shown[1])):
            self.unlike[target] = view.attributes, view.chunking_strategy
        else:
            self.unlike.pop(target, None)


def looks(attributes: Any, chunking: Any) -> tuple[str, str]:
    """Two fingerprints; that of a strategy which nobody gave is empty."""
    return fingerprint(attributes), fingerprint(reduced(Kind.MEMBERSHIP, "chunking_strategy", chunking))


class Attaching:
    """Sends batches, for one run."""

    def __init__(self, context: Context, writes: Writes, *, batch_files: int) -> None:
        self._account, self._folder, self._pace = context.account, context.folder, context.pace
        self._writes, self._most = writes, batch_files
        # No batch was ever answered, and one was looked for and sent again in vain.
        self._vain = False

    @property
    def limit(self) -> int:
        """Files in one call: what the destination's table allows, or what this destination was found to take."""
        return self._folder.state.learned.get(BATCH_LIMIT, self._most)

    async def members(self, store: TargetId) -> AsyncIterator[MembershipView]:
        """What the store's own list says."""
        async for raw in self._account.items(path("/vector_stores/{}/files", store)):
            yield viewed(raw, MembershipView, f"a file of store {store}")

    async def there(self, filling: Filling) -> set[TargetId]:
        """What earlier batches put into the store: looked for until it is all there, or the settle window is over.

        Then the batches whose answers were lost are settled in the journal.
        """
        state = self._folder.state
        lost = state.unknown(Attach, source=filling.source)
        due = state.attached[filling.store] + sum(len(intent.files) for intent in lost)
        if not due:
            return set()
        awaited = {file for intent in lost for file in intent.files}
        found: set[TargetId] = set()
        start, nth = self._pace.clock(), 0
        while True:
            looked = self._pace.clock()
            found |= await self._listed(filling.store)
            whole = len(found) >= due and awaited <= found
            if whole or not await self._pace.within(start, nth, looked=looked):
                break
            nth += 1
        for intent in lost:
            if set(intent.files) <= found:
                await self._folder.write(Done(op=intent.op, target=filling.store))
            else:
                said = "the answer was lost, and not all of its files are in the store"
                await self._folder.write(Failed(op=intent.op, error=said, looked=True))
        return found

    async def send(self, filling: Filling, bodies: list[Body], *, tried: int = 0) -> None:
        """Send ``bodies``, in batches.

        Where a batch is refused for some files' type, the others are sent without them. Raises what the account raises
        for anything else, also where ``TRIES`` answers were lost and a single file fares no better.
        """
        while len(bodies) > self.limit:
            size = self.limit
            await self.send(filling, bodies[:size])
            bodies = bodies[size:]
        if not bodies:
            return
        if self._folder.state.learned.get(BATCHES) == 0:
            await self.send_singly(filling, bodies)
            return
        try:
            filling.batches.append(await self._writes.attach(filling.source, filling.store, bodies))
            return
        except RequestRefused as error:
            refusal = error
        except NotFound:
            if not await self._batchless(filling, bodies[0]):
                raise
            await self.send(filling, bodies[1:])
            return
        except RemoteError as error:
            if not error.ambiguous and error.status not in NO_SUCH_ROUTE:
                raise
            worked = ("attach", Kind.STORE) in self._folder.state.answered
            enough = tried >= (TRIES if worked else 0 if self._vain else 1)
            if enough or error.status in NO_SUCH_ROUTE:
                self._vain = not worked
                await self._singly_after_all(filling, bodies, error)
                return
            found = await self.there(filling)
            await self.send(filling, _without(bodies, found), tried=tried + 1)
            return
        if refusal.status in NO_SUCH_ROUTE and await self._batchless(filling, bodies[0]):
            await self.send(filling, bodies[1:])
            return
        if await self._learned_limit(refusal, len(bodies)):
            await self.send(filling, bodies)
        elif (reason := refusals.read(refusal).reason) is RefusalReason.TYPE:
            await self._without_culprits(filling, bodies, refusal)
        elif reason is RefusalReason.ALREADY:
            left = _without(bodies, await self._listed(filling.store))
            if len(left) == len(bodies):
                raise refusal
            await self.send(filling, left)
        else:
            await self._halved(filling, bodies, refusal)

    async def _batchless(self, filling: Filling, body: Body) -> bool:
        """Attach a file that no batch is taken with by itself. Where that goes, and no batch ever went, it is batches
        that the destination doesn't know."""
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

    async def _singly_after_all(self, filling: Filling, bodies: list[Body], error: RemoteError) -> None:
        """Attach one by one what no batch is taken with, if that goes: some servers fail over what they don't know.
        Raises ``error`` where it doesn't."""
        if not isinstance(error, ServerFailed):
            raise error
        # Whatever comes into the store later than this look is refused as being there already.
        left = _without(bodies, await self._listed(filling.store))
        if left and not await self._batchless(filling, left[0]):
            raise error
        await self.send_singly(filling, left[1:])

    async def send_singly(self, filling: Filling, bodies: list[Body]) -> None:
        """Attach files one by one: for servers without batches, or that make nothing of them. Raises as ``send``."""
        for body in bodies:
            source, store = filling.sources[body["file_id"]], filling.store
            try:
                await self._writes.attach_one(filling.source, store, body)
            except RequestRefused as error:
                self._refuse(filling, source, error, body)
            except RemoteError as error:
                if not error.ambiguous:
                    raise
                # It may be there all the same; the store's list tells in the end.

    def _refuse(self, filling: Filling, file: SourceId, refusal: RequestRefused, body: Body) -> None:
        filling.refused[file] = refusal.detail or refusal.message, body
        name, reason = filling.names.get(file, ""), refusals.read(refusal).reason
        named = [name, f".{_ending(name)}"] if _ending(name) else []
        if reason in (RefusalReason.TYPE, RefusalReason.UNTOLD) or any(word in refusal.detail for word in named):
            filling.untyped.add(file)

    async def _halved(self, filling: Filling, bodies: list[Body], refusal: RequestRefused) -> None:
        """Find the files for which a batch is refused for a reason that nobody knows, and send the others."""
        half = len(bodies) // 2
        if half == 0:
            if await self._batchless(filling, bodies[0]):
                return
            self._refuse(filling, filling.sources[bodies[0]["file_id"]], refusal, bodies[0])
            if len(filling.refused) >= _HOPELESS and not filling.batches:
                raise refusal
            return
        await self.send(filling, bodies[:half])
        await self.send(filling, bodies[half:])

    async def send_renamed(self, filling: Filling, renamed: Renamed, failed: Mapping[SourceId, Body]) -> list[SourceId]:
        """Attach the files whose type was refused by what ``renamed`` makes of them; returns which that are.

        ``failed`` are the bodies of those that are in the store, and whose indexing failed for their type: they are
        taken out. Where no name is left, a file is refused as it was, or stays as it is.
        """
        made: dict[SourceId, None] = {}
        while True:
            bodies = []
            for target, file in list(filling.sources.items()):
                if file not in filling.untyped and file not in failed:
                    continue
                filling.untyped.discard(file)
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
                made[file] = None
            if not bodies:
                return list(made)
            await self.send(filling, _without(bodies, await self.there(filling)))
            failed = {}

    async def again(self, filling: Filling, bodies: list[Body]) -> None:
        """Take files out and put them in once more: what is in a store already isn't indexed anew."""
        for body in bodies:
            target = body["file_id"]
            await self._writes.detach(filling.sources[target], filling.store, target)
        await self.send(filling, bodies)

    async def _listed(self, store: TargetId) -> set[TargetId]:
        found: set[TargetId] = set()
        with suppress(NotFound):  # a store that was made a moment ago
            async for view in self.members(store):
                found.add(TargetId(view.id))
        return found

    async def _learned_limit(self, refusal: RequestRefused, sent: int) -> bool:
        """Whether the batch was refused for its length; then what fits is known from here on."""
        read = refusals.read(refusal)
        if sent == 1 or read.reason is not RefusalReason.TOO_MUCH:
            return False
        await self._folder.write(Learned(what=BATCH_LIMIT, value=read.most(sent)))
        return True

    async def _without_culprits(self, filling: Filling, bodies: list[Body], refusal: RequestRefused) -> None:
        def ending(body: Body) -> str:
            return _ending(filling.names.get(filling.sources[body["file_id"]], ""))

        accused = {word.lower() for word in refusals.read(refusal).endings()}
        culprits = [body for body in bodies if ending(body).lower() in accused]
        upper = [body for body in culprits if ending(body) != ending(body).lower()]
        if 0 < len(upper) < len(culprits):
            # It may be their upper case alone; if it isn't, the others are refused next.
            culprits = upper
        if not culprits and len(bodies) == 1:
            culprits = bodies
        for body in culprits:
            file = filling.sources[body["file_id"]]
            filling.refused[file] = refusal.detail or refusal.message, body
            filling.untyped.add(file)
        if culprits:
            rest = [body for body in bodies if filling.sources[body["file_id"]] not in filling.refused]
            await self.send(filling, rest)
            return
        # The message names no type that is here: halve until the file is alone.
        half = len(bodies) // 2
        await self.send(filling, bodies[:half])
        await self.send(filling, bodies[half:])


def _without(bodies: list[Body], there: set[TargetId]) -> list[Body]:
    return [body for body in bodies if body["file_id"] not in there]


def _ending(name: str) -> str:
    return name.rpartition(".")[2] if "." in name else ""
