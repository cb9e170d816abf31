"""Reads back what was written, because a server may accept a field and drop it, cut it or keep it as something else.

A create that was answered is no proof: what counts is what the account shows afterwards. Nobody else has touched the
object yet, so metadata keys that were not sent are the server's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdall.dialects.loss import Loss, Why
from holdall.dialects.marks import MARKS
from holdall.errors import REQUEST_ERRORS, NotFound, RequestRefused
from holdall.importer.apply.context import Context
from holdall.importer.apply.exactlyonce import FRESH
from holdall.importer.plan.difference import Difference, differences, fingerprints, top_fields
from holdall.importer.runs.baseline import PLACES
from holdall.importer.runs.runlines import Shown
from holdall.model import Kind, SourceId, TargetId
from holdall.remote.client import path, viewed
from holdall.remote.wire import route

__all__ = ["ReadBack", "keys_added", "not_kept", "unkept"]


class ReadBack:
    """What the account made of the assistants, agents and stores of one run."""

    def __init__(self, context: Context) -> None:
        self._account, self._folder, self._pace = context.account, context.folder, context.pace
        # Kinds of which nothing could be read back, however long was waited.
        self._unseen: set[str] = set()

    async def losses(
        self, kind: Kind, source: SourceId, target: TargetId, name: str | None, sent: Mapping[str, Any]
    ) -> list[Loss]:
        """A loss for each field of ``sent`` that isn't there as it was sent.

        What is found is in the journal on return, so that later runs know it before they write. Raises Interrupted and
        what stops every request; that the object can't be read is said in a loss.
        """
        try:
            found = await self._get(path(f"{PLACES[kind]}/{{}}", target))
        except REQUEST_ERRORS as error:
            why = error.detail or error.message
            text = f"it can't be read back, so whether it is whole isn't known ({why})"
            return [Loss(why=Why.NOT_KEPT, kind=kind, id=source, name=name, text=text)]
        added = keys_added(sent.get("metadata"), found.get("metadata"))
        lost = unkept(kind, source, target, name, sent, found)
        if lost or added:
            shown = Shown(
                kind=kind,
                source=source,
                target=target,
                image=fingerprints(kind, found, added),
                unkept=top_fields(lost),
                added=added,
            )
            await self._folder.write(shown)
        return [not_kept(kind, source, name, field, lost) for field in top_fields(lost)]

    async def attributes(self, store: TargetId, file: TargetId) -> dict[str, Any]:
        """What the account shows of a file in a store. Raises as ``losses``, and where it can't be read."""
        found = await self._get(path("/vector_stores/{}/files/{}", store, file))
        return found.get("attributes") or {}

    async def _get(self, where: str) -> dict[str, Any]:
        """The object; one that was made a moment ago may be unknown for some seconds."""
        start, nth, kind = self._pace.clock(), 0, route(where)
        while True:
            try:
                found = viewed((await self._account.get(where)).raw, dict[str, Any], where)
                self._unseen.discard(kind)
                return found
            except (NotFound, RequestRefused) as error:
                patience = 0.0 if error.status == 405 or kind in self._unseen else max(FRESH, self._pace.settle)
                if self._pace.clock() - start >= patience:
                    self._unseen.add(kind)
                    raise
            await self._pace.pause(nth)
            nth += 1


def unkept(
    kind: Kind,
    source: SourceId,
    target: TargetId | None,
    name: str | None,
    sent: Mapping[str, Any],
    found: Mapping[str, Any],
) -> list[Difference]:
    """What of ``sent`` isn't in ``found``, and what the server put in place of what was left open."""
    added = keys_added(sent.get("metadata"), found.get("metadata"))
    return differences(sent, found, kind=kind, source=source, target=target, name=name, added=added)


def not_kept(kind: Kind, source: SourceId, name: str | None, field: str, lost: list[Difference]) -> Loss:
    """The loss of one top-level ``field``; ``lost`` has what differs in it."""
    mine = [difference for difference in lost if difference.field.partition(".")[0] == field]
    if field == "metadata":
        keys = ", ".join(difference.field.partition(".")[2] for difference in mine)
        text = f"the destination does not keep it as it was sent: {keys}"
    else:
        text = f"the destination does not keep it as it was sent: {mine[0].values()}"
    return Loss(why=Why.NOT_KEPT, kind=kind, id=source, name=name, field=field, text=text)


def keys_added(sent: object, there: object) -> list[str]:
    """The keys of metadata, or of attributes, that were not sent."""
    own = sent if isinstance(sent, Mapping) else {}
    return [key for key in there if key not in MARKS and key not in own] if isinstance(there, Mapping) else []
