"""Files into a vector store: sent in batches as large as the destination takes, each file once.

A store's files are a set. So a batch whose answer was lost needs no name: once it has settled, the store's own list
says which of its files are there, and only those that are missing are sent again.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from holdall.dialects import assistants as dialect
from holdall.dialects.shapes import known
from holdall.errors import NotFound, RemoteError, RequestRefused
from holdall.importer.apply.attempts import TRIES
from holdall.importer.apply.writes import Writes
from holdall.importer.journal.journal import Done, Failed, Learned
from holdall.importer.journal.pace import Pace
from holdall.importer.journal.run import RunFolder
from holdall.importer.plan.image import fingerprint
from holdall.model import Kind, MembershipView, SourceId, TargetId
from holdall.remote.client import Account, path

__all__ = ["BATCHES", "BATCH_LIMIT", "AsText", "Attaching", "Filling"]

BATCH_LIMIT = "batch_files"
"""Learned of an account: the most files that it takes in one batch."""

BATCHES = "batches"
"""Learned of an account: 0 where it knows no batches of files with settings of their own, or attaches none of them."""

AsText = Callable[[SourceId], Awaitable[TargetId | None]]
"""Makes a second upload of a file, as text, and returns its id; None where the file is no text."""

Body = dict[str, Any]

# Files of one store that are refused one after the other, and none taken, until it is the store that is refused.
_HOPELESS = 20

_TYPE = re.compile(r"extension|(?:file )?(?:type|format)s?\b.*not supported|unsupported (?:file|type|format)", re.I)
_ALREADY = re.compile(r"\balready\b", re.I)
_TOO_MANY = re.compile(
    r"too many files|at most \d+ files|maximum (?:number )?of (?:\d+ )?files|(?:array|list) too long", re.I
)


class Filling:
    """One store while it is being filled. ``sources`` has the files by the ids of their copies, ``refused`` those
    that the store doesn't take, with the reason and the body that was sent. ``merged`` have the copy of one of the
    ``sources``, ``untyped`` are those ``refused`` for their type. ``ignored``: a batch was accepted and nothing came of
    it. ``sent`` has the fingerprints of what each copy was given, ``unlike`` what the store shows of those that have
    something else."""

    def __init__(self, source: SourceId, store: TargetId, names: Mapping[SourceId, str]) -> None:
        self.source = source
        self.store = store
        self.names = names
        self.sources: dict[TargetId, SourceId] = {}
        self.refused: dict[SourceId, tuple[str, Body]] = {}
        self.untyped: set[SourceId] = set()
        self.merged: set[SourceId] = set()
        self._shared: set[TargetId] = set()
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
            self._shared.add(target)
            return False
        self.sent[target] = looks(body.get("attributes"), body.get("chunking_strategy"))
        return True

    def show(self, view: MembershipView) -> None:
        """Note what the store shows of a file."""
        target = TargetId(view.id)
        sent, shown = self.sent.get(target), looks(view.attributes, view.chunking_strategy)
        if sent and (target in self._shared or sent[0] != shown[0] or (sent[1] and sent[1] != shown[1])):
            self.unlike[target] = view.attributes, view.chunking_strategy
        else:
            self.unlike.pop(target, None)


def looks(attributes: Any, chunking: Any) -> tuple[str, str]:
    """Two fingerprints; that of a strategy which nobody gave is empty."""
    return fingerprint(attributes), fingerprint(known("chunking_strategy", None, chunking))


class Attaching:
    """Sends batches, for one run."""

    def __init__(self, account: Account, writes: Writes, folder: RunFolder, *, pace: Pace) -> None:
        self._account = account
        self._writes = writes
        self._folder = folder
        self._pace = pace
        # No batch was ever answered, and one was looked for and sent again in vain.
        self._vain = False

    @property
    def limit(self) -> int:
        """Files in one call: what the dialect allows, or what this destination was found to take."""
        return self._folder.standing.learned.get(BATCH_LIMIT, dialect.BATCH_FILES)

    async def members(self, store: TargetId) -> AsyncIterator[MembershipView]:
        """What the store's own list says."""
        async for raw in self._account.items(path("/vector_stores/{}/files", store)):
            yield msgspec.json.decode(raw, type=MembershipView)

    async def there(self, filling: Filling) -> set[TargetId]:
        """What earlier batches put into the store: looked for until it is all there, or the settle window is over.

        Then the batches whose answers were lost are settled in the journal.
        """
        standing = self._folder.standing
        lost = standing.unknown("attach", source=filling.source)
        due = standing.attached[filling.store] + sum(intent.count or 0 for intent in lost)
        if not due:
            return set()
        awaited = {file for intent in lost for file in intent.files or ()}
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
            if set(intent.files or ()) <= found:
                await self._folder.write(Done(op=intent.op, target=filling.store))
            else:
                said = "the answer was lost, and not all of its files are in the store"
                await self._folder.write(Failed(op=intent.op, error=said, looked=True))
        return found

    async def send(self, filling: Filling, bodies: list[Body], first: int = 0, *, tried: int = 0) -> None:
        """Send ``bodies``, the first of which is number ``first`` of the store's memberships.

        Where a batch is refused for some files' type, the others are sent without them. Raises what the account raises
        for anything else, also where ``TRIES`` answers were lost.
        """
        while len(bodies) > self.limit:
            size = self.limit
            await self.send(filling, bodies[:size], first)
            bodies, first = bodies[size:], first + size
        if not bodies:
            return
        if self._folder.standing.learned.get(BATCHES) == 0:
            await self.send_singly(filling, bodies)
            return
        try:
            filling.batches.append(await self._writes.attach(filling.source, filling.store, bodies, first=first))
            return
        except RequestRefused as error:
            refusal = error
        except NotFound:
            if not await self._batchless(filling, bodies[0]):
                raise
            await self.send(filling, bodies[1:], first + 1)
            return
        except RemoteError as error:
            worked = ("attach", Kind.STORE) in self._folder.standing.answered
            if not error.ambiguous or tried >= (TRIES if worked else 0 if self._vain else 1):
                self._vain = not worked
                raise
            found = await self.there(filling)
            await self.send(filling, _without(bodies, found), first, tried=tried + 1)
            return
        if await self._learned_limit(refusal, len(bodies)):
            await self.send(filling, bodies, first)
        elif _is_type(refusal):
            await self._without_culprits(filling, bodies, first, refusal.detail or refusal.message)
        elif _ALREADY.search(refusal.detail):
            left = _without(bodies, await self._listed(filling.store))
            if len(left) == len(bodies):
                raise refusal
            await self.send(filling, left, first)
        else:
            await self._halved(filling, bodies, first, refusal)

    async def _batchless(self, filling: Filling, body: Body) -> bool:
        """Attach a file that no batch is taken with by itself. Where that goes, and no batch ever went, it is batches
        that the destination doesn't know."""
        try:
            await self._writes.attach_one(filling.source, filling.store, body)
        except (NotFound, RequestRefused):
            return False
        if not filling.batches:
            await self._folder.write(Learned(what=BATCHES, value=0))
        return True

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
        if _is_type(refusal) or not refusal.detail:
            filling.untyped.add(file)

    async def _halved(self, filling: Filling, bodies: list[Body], first: int, refusal: RequestRefused) -> None:
        """Find the files for which a batch is refused for a reason that nobody knows, and send the others."""
        half = len(bodies) // 2
        if half == 0:
            if await self._batchless(filling, bodies[0]):
                return
            self._refuse(filling, filling.sources[bodies[0]["file_id"]], refusal, bodies[0])
            if len(filling.refused) >= _HOPELESS and not filling.batches:
                raise refusal
            return
        await self.send(filling, bodies[:half], first)
        await self.send(filling, bodies[half:], first + half)

    async def send_as_text(self, filling: Filling, as_text: AsText) -> list[SourceId]:
        """Attach in place of the refused files what ``as_text`` makes of them; returns which that are."""
        bodies, made = [], []
        for target, file in list(filling.sources.items()):
            if file not in filling.untyped:
                continue
            copy = await as_text(file)
            if copy is not None:
                body = {**filling.refused.pop(file)[1], "file_id": copy}
                del filling.sources[target]
                filling.untyped.discard(file)
                filling.take(file, body)
                bodies.append(body)
                made.append(file)
        if bodies:
            await self.send(filling, _without(bodies, await self.there(filling)))
        return made

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
        too_many = refusal.code == "array_above_max_length" or refusal.status == 413 or _TOO_MANY.search(refusal.detail)
        if sent == 1 or not too_many:
            return False
        named = [int(number) for number in re.findall(r"\d+", refusal.detail) if 0 < int(number) < sent]
        await self._folder.write(Learned(what=BATCH_LIMIT, value=max(named, default=sent // 2)))
        return True

    async def _without_culprits(self, filling: Filling, bodies: list[Body], first: int, reason: str) -> None:
        extensions = _extensions(reason)
        culprits = [b for b in bodies if _extension(filling.names.get(filling.sources[b["file_id"]], "")) in extensions]
        if not culprits and len(bodies) == 1:
            culprits = bodies
        for body in culprits:
            file = filling.sources[body["file_id"]]
            filling.refused[file] = reason, body
            filling.untyped.add(file)
        if culprits:
            rest = [body for body in bodies if filling.sources[body["file_id"]] not in filling.refused]
            await self.send(filling, rest, first)
            return
        # The message names no type that is here: halve until the file is alone.
        half = len(bodies) // 2
        await self.send(filling, bodies[:half], first)
        await self.send(filling, bodies[half:], first + half)


def _is_type(refusal: RequestRefused) -> bool:
    return refusal.code == "unsupported_file" or bool(_TYPE.search(refusal.detail))


def _without(bodies: list[Body], there: set[TargetId]) -> list[Body]:
    return [body for body in bodies if body["file_id"] not in there]


def _extension(name: str) -> str:
    return name.rpartition(".")[2].lower() if "." in name else ""


def _extensions(message: str) -> set[str]:
    """The extensions that a refusal names, without their dots; not those of a list of what would be accepted."""
    accused = re.split(
        r"supported (?:formats|types|files|extensions)\b", re.sub(r"https?://\S+", " ", message), flags=re.I
    )
    dotted = re.findall(r"\.([A-Za-z0-9_+-]+)", accused[0])
    return {word.lower() for word in dotted or re.findall(r"[A-Za-z0-9_+-]+", accused[0])}
