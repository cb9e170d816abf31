"""``holdall verify --against dst``: what was imported, compared with the bundle."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from holdall.cli.console import Console
from holdall.settings import DestinationSettings

if TYPE_CHECKING:
    from holdall.importer.proof import Proof

__all__ = ["compare"]


def compare(console: Console, settings: DestinationSettings, bundle: Path) -> dict[str, Any]:
    """Compare and print; the result for ``--json``, whose ``differences`` are empty for a true copy.

    Which copy is meant, the mapping in OUTPUT_DIR says, or where there is none the copies' own marks.
    """
    proof = asyncio.run(_compare(console, settings, bundle))
    console.close_progress()
    for difference in proof.differences:
        console.result(" ".join(str(difference).splitlines()))
    compared = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in proof.compared.items())
    verdict = f"{len(proof.differences)} differences" if proof.differences else "no differences"
    console.result(f"{settings.endpoint.title}: {verdict} ({compared} compared, by {proof.origin})")
    return {
        "destination": settings.endpoint.base_url,
        "by": proof.origin,
        "compared": proof.compared,
        "differences": msgspec.to_builtins(proof.differences),
    }


async def _compare(console: Console, settings: DestinationSettings, bundle: Path) -> Proof:
    from holdall.bundle.reader import open_bundle
    from holdall.importer.catalogue import catalogue
    from holdall.importer.placement import by_mapping, by_marks
    from holdall.importer.proof import prove
    from holdall.remote.client import Account

    progress = console.progress()
    with open_bundle(bundle) as reader:
        async with Account(
            settings.endpoint, side="destination", concurrency=settings.concurrency, progress=progress
        ) as account:
            found = await account.require_assistants()
            digests = msgspec.to_builtins(reader.info.digests)
            placement = by_mapping(settings.output_dir, digests, project=found.project)
            if placement is None:
                console.say(f"no mapping of this bundle and destination in {settings.output_dir}: looking for marks")
                placement = await by_marks(account)
            return await prove(catalogue(reader), reader, account, placement, progress=progress, prefix=settings.prefix)
