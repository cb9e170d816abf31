"""Files that an import whose folder isn't here may have left behind: uploaded, and used by nothing.

Such a file was there before this run, has the name and size of one that this run uploads, is in no journal of this
output folder, and in no vector store and no assistant of the destination. That is no proof, so it is only told of.
"""

from __future__ import annotations

from contextlib import suppress

from holdall.errors import NotFound, RemoteError
from holdall.importer.apply.context import Context
from holdall.importer.apply.twins import made_in
from holdall.importer.runs.baseline import Lookalike, listed
from holdall.importer.runs.runreport import Orphan
from holdall.model import AssistantView, Kind, MembershipView, StoreView, TargetId
from holdall.remote.client import Account, path, viewed

__all__ = ["leftovers"]


async def leftovers(context: Context) -> list[Orphan]:
    """Those at the destination. Asks for every store's files, but only where there is something to ask about.

    Returns [] where the lists can't be had. Raises CannotWrite.
    """
    folder, progress = context.folder, context.progress
    found = {one.id: one for one in folder.baseline.lookalikes()}
    for id in folder.state.claimed(Kind.FILE):
        found.pop(id, None)
    if found:
        # Files that runs of this output folder made are in their own reports.
        for id in made_in(folder.output):
            found.pop(id, None)
    if not found:
        return []
    progress.stage("looking for what an earlier import may have left behind")
    try:
        await _without_used(context.account, found)
    except RemoteError as error:
        progress.note(f"what an earlier import may have left behind is not listed: {error.message}")
        return []
    return [
        Orphan(kind=Kind.FILE, id=one.id, source=None, name=one.name, size=one.size, earlier=True)
        for one in found.values()
    ]


async def _without_used(account: Account, found: dict[TargetId, Lookalike]) -> None:
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
