"""What an import does to things that are there already: set fields, take files out of stores.

Each is looked at right before it is written to, so that the journal has what it was, for an undo, and nothing is
written that is so already.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from holdall.dialects import assistants as dialect
from holdall.dialects.marks import MARKS, METADATA_KEYS, unmarked
from holdall.dialects.registry import dispensable
from holdall.dialects.shapes import UNSET, resources
from holdall.errors import NotFound, RequestRefused
from holdall.importer.apply.context import Context
from holdall.importer.apply.writes import Writes
from holdall.importer.plan.difference import differences, final, same, top_fields
from holdall.importer.plan.steps import DetachFile, UpdateDefinition, UpdateMembership, UpdateStore
from holdall.importer.runs.baseline import PLACES
from holdall.importer.runs.runlines import Update
from holdall.model import Kind, SourceId, TargetId
from holdall.remote import refusals
from holdall.remote.client import path, viewed

__all__ = ["Changes", "refused_fields"]


class Changes:
    """The updates and detachments of one run. Every method raises what the account raises."""

    def __init__(self, context: Context, writes: Writes) -> None:
        self._account, self._state, self._writes = context.account, context.folder.state, writes

    async def definition(self, step: UpdateDefinition, wanted: dict[str, Any]) -> list[str]:
        """Set what the step names to what ``wanted`` says. Returns the fields that are refused, and left."""
        left_out: list[str] = []
        while True:
            fields = [field for field in step.fields if field not in left_out]
            try:
                await self._set(step.kind, step.id, step.target, wanted, fields)
                return left_out
            except RequestRefused as error:
                # To leave out a null here would leave what stands there.
                sent = {field: wanted[field] for field in fields if wanted.get(field) is not None}
                spare = refused_fields(error, dispensable(step.kind, sent))
                if not spare:
                    raise
                left_out += spare

    async def store(self, step: UpdateStore, request: dialect.Request) -> None:
        """Set the store's own fields; its files are steps of their own."""
        if step.fields:
            await self._set(Kind.STORE, step.id, step.target, final(request), step.fields)

    async def metadata(self, kind: Kind, source: SourceId, target: TargetId, wanted: dict[str, Any]) -> None:
        """Set the metadata of something that this run made; our marks stay."""
        await self._set(kind, source, target, {"metadata": wanted}, ["metadata"])

    async def membership(self, step: UpdateMembership, store: TargetId) -> None:
        there = await self._member(store, step.target)
        is_so = same(Kind.MEMBERSHIP, "attributes", step.attributes, there.get("attributes"))
        if is_so and not self._lost(Kind.MEMBERSHIP, step.file):
            return
        before = self._before(Kind.MEMBERSHIP, step.file, {"attributes": there.get("attributes") or {}})
        await self._writes.update(
            Kind.MEMBERSHIP, step.file, step.target, {"attributes": step.attributes}, store=store, before=before
        )

    async def detach(self, step: DetachFile, store: TargetId) -> None:
        """Take the file out; one that isn't in the store any more is."""
        try:
            there = await self._member(store, step.target)
        except NotFound:
            return
        before = {key: there.get(key) for key in ("attributes", "chunking_strategy")}
        await self._writes.detach(SourceId(step.target), store, step.target, before=before)

    async def _set(
        self, kind: Kind, source: SourceId, target: TargetId, wanted: dict[str, Any], fields: Iterable[str]
    ) -> None:
        there = await self._there(path(f"{PLACES[kind]}/{{}}", target))
        wanted = {**UNSET[kind], **wanted}
        body = {field: wanted[field] for field in fields if field in wanted}
        still = top_fields(differences(wanted, there, kind=kind, source=source, target=target, name=None))
        lost = self._lost(kind, source)
        body = {field: value for field, value in body.items() if field in still or (lost and field in (lost[0] or {}))}
        if "tool_resources" in body:
            body["tool_resources"] = resources(body["tool_resources"], there.get("tool_resources"))
        if not body:
            return
        if "metadata" in body:
            body["metadata"] = _with_marks(body["metadata"], there.get("metadata"))
        before = self._before(kind, source, {field: there.get(field) for field in body})
        await self._writes.update(kind, source, target, body, before=before)

    def _lost(self, kind: Kind, source: SourceId) -> list[dict[str, Any] | None]:
        """What stood before the updates whose answers were lost when the run was cut off."""
        return [intent.before for intent in self._state.unknown(Update, kind, source)]

    def _before(self, kind: Kind, source: SourceId, there: dict[str, Any]) -> dict[str, Any] | None:
        """What stands there now, or stood there before an update whose answer was lost."""
        lost = self._lost(kind, source)
        return {**there, **(lost[0] or {})} if lost else there

    async def _member(self, store: TargetId, file: TargetId) -> dict[str, Any]:
        """A file in a store. Where it isn't there by its id, the store's list has the word. Raises NotFound."""
        try:
            return await self._there(path("/vector_stores/{}/files/{}", store, file))
        except NotFound:
            async for raw in self._account.items(path("/vector_stores/{}/files", store)):
                found = viewed(raw, dict[str, Any], f"a file of store {store}")
                if found.get("id") == file:
                    return found
            raise

    async def _there(self, where: str) -> dict[str, Any]:
        return viewed((await self._account.get(where)).raw, dict[str, Any], where)


def refused_fields(error: RequestRefused, dispensable: Mapping[str, bool]) -> list[str]:
    """Those of the ``dispensable`` fields for which a request was refused, so that it can be sent without them.

    Where the server has no word for it, all by which nothing is lost may be the reason.
    """
    refusal = refusals.read(error)
    if refusal.reason is refusals.RefusalReason.UNTOLD:
        return [field for field, lossless in dispensable.items() if lossless]
    return refusal.blames(dispensable)


def _with_marks(wanted: object, there: object) -> dict[str, Any]:
    """The bundle's keys with the marks that the object carries, where there is room for them."""
    own = unmarked(wanted)
    marks = {key: value for key, value in there.items() if key in MARKS} if isinstance(there, dict) else {}
    return {**own, **marks} if len(own) + len(marks) <= METADATA_KEYS else own
