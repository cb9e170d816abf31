"""The versions of a skill at a destination, and what is in their zips. Reads only."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping

import msgspec

from holdall.agent_views import VersionView
from holdall.errors import REQUEST_ERRORS, NotFound, PermissionDenied, RequestRefused
from holdall.importer.plan.existing import VersionThere
from holdall.importer.runs.version_ids import version_target
from holdall.model import TargetId
from holdall.remote.client import Account, path, viewed
from holdall.skill_zip import RefusedZip, digest

# Bytes of a zip: OpenAI takes 50 MB. So many of it stay in memory.
_LARGEST, _IN_MEMORY = 64 << 20, 1 << 20


async def version_numbers(account: Account, skill: TargetId) -> list[str]:
    """The numbers of a skill's versions, ascending. Raises what the account raises."""
    found: dict[str, None] = {}
    async for raw in account.items(path("/skills/{}/versions", skill)):
        view = viewed(raw, VersionView, f"a version of skill {skill}")
        if view.version:
            found[view.version] = None
    # They are counted up by the server; what is no number comes last, as it was listed.
    return sorted(found, key=lambda number: int(number) if number.isdecimal() and len(number) < 20 else 1 << 70)


async def versions_there(account: Account, skill: TargetId, known: Mapping[TargetId, str]) -> list[VersionThere]:
    """The versions of a skill. ``known`` are the digests of what earlier runs sent: by version, and by skill that of
    its first one. Versions don't change, so only the others are downloaded."""
    found = []
    for nth, number in enumerate(await version_numbers(account, skill)):
        digest = known.get(version_target(skill, number)) or (known.get(skill) if nth == 0 else None)
        found.append(VersionThere(number=number, digest=digest or await digest_there(account, skill, number)))
    return found


async def digest_there(account: Account, skill: TargetId, number: str) -> str:
    """The digest of what is in a version's zip; empty where the server doesn't give it, or it isn't one that is
    read."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
        try:
            async with account.download(number, skill=skill, size=_LARGEST) as download:
                size = 0
                async for chunk in download.chunks:
                    size += len(chunk)
                    if size > _LARGEST:
                        return ""
                    await asyncio.to_thread(file.write, chunk)
            return await asyncio.to_thread(digest, file)  # type: ignore[arg-type]
        except (NotFound, RequestRefused, PermissionDenied, RefusedZip, msgspec.DecodeError, *REQUEST_ERRORS):
            return ""
