"""Metadata keys that may be the server's own: the first object of a kind is made without them, and what the destination
then puts in by itself is left out of all the others. What it doesn't put in is its owner's, and set right away.
"""

from __future__ import annotations

from holdall.dialects.assistants import own_metadata
from holdall.errors import RequestRefused
from holdall.importer.apply.changes import Changes
from holdall.importer.apply.context import Context
from holdall.importer.plan.bundle_summary import keys_of, without_record_keys
from holdall.importer.plan.steps import Plan
from holdall.importer.runs.runlines import Update
from holdall.kinds import noun
from holdall.model import Kind, Record, TargetId

__all__ = ["ServerKeys"]


class ServerKeys:
    """What one run finds out; ``state.added`` has the keys that were put in by the server."""

    def __init__(self, context: Context, plan: Plan, changes: Changes) -> None:
        self._shared, self._changes = plan.shared_keys, changes
        self._state, self._progress = context.folder.state, context.progress
        self._known: set[Kind] = set()

    def is_open(self, record: Record) -> bool:
        """Whether this is the first object of its kind, and something is to be found out with it."""
        return record.kind not in self._known and any(
            key in keys_of(record) for key in self._shared.get(record.kind, ())
        )

    def is_untouched(self, record: Record) -> bool:
        """Whether the copy is as it was created: afterwards, its keys no longer tell who put them there."""
        updates = self._state.unknown(Update, record.kind, record.id)
        return not updates and (record.kind, None, record.id) not in self._state.updated

    def sent(self, record: Record) -> Record:
        """The record as it is sent: without what is, or may be, the server's."""
        shared = self._shared.get(record.kind, ())
        own = shared if record.kind not in self._known else [key for key in shared if key in self._state.added]
        return without_record_keys(record, own)

    async def settle(self, record: Record, target: TargetId) -> str:
        """Once the first object was read back: set what is its owner's. Returns why that isn't there, if it isn't.

        Raises what the account raises for anything but a refusal.
        """
        self._known.add(record.kind)
        shared = self._shared.get(record.kind, ())
        if own := [key for key in shared if key in self._state.added]:
            kind = noun(record.kind)
            self._progress.note(
                f"metadata that the destination puts into each {kind} by itself is left out: {', '.join(own)}"
            )
        left = [key for key in shared if key not in own]
        if left:
            wanted = own_metadata(self.sent(record))
            try:
                await self._changes.metadata(record.kind, record.id, target, wanted)
            except RequestRefused as error:
                return f"the destination refuses {', '.join(left)}: {error.detail or error.message}"
        return ""
