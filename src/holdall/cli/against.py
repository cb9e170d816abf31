"""``holdall verify --against dst`` and ``import --verify``: what was imported, compared with the bundle."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec

from holdall.cli.console import Console, counted
from holdall.cli.verdict import as_result
from holdall.settings import DestinationSettings

if TYPE_CHECKING:
    from holdall.bundle.reader import BundleReader
    from holdall.importer.proof.proof import Proof
    from holdall.verdict import Verdict

__all__ = ["compare", "told"]

_NOUNS = {
    "vector_stores": "vector store",
    "memberships": "membership",
    "assistants": "assistant",
    "agents": "agent",
    "texts": "text",
}


def compare(
    console: Console, settings: DestinationSettings, reader: BundleReader, *, search: bool, accept_known: bool
) -> tuple[dict[str, Any], Verdict]:
    """Compare and print; the result for ``--json``, whose ``differences`` are empty for a true copy, and the verdict.

    Which copy is meant, the mapping in OUTPUT_DIR says, or where there is none the copies' own marks.
    """
    proof = asyncio.run(_compare(console, settings, reader, search=search, accept_known=accept_known))
    console.close_progress()
    found, verdict = told(console, proof, title=settings.endpoint.title, origin=f", by {proof.origin}")
    return {"destination": settings.endpoint.base_url, **found}, verdict


def told(console: Console, proof: Proof, *, title: str, origin: str = "") -> tuple[dict[str, Any], Verdict]:
    """Print a proof, the verdict last; the result for ``--json``, and the verdict."""
    for difference in proof.differences:
        console.result(" ".join(str(difference).splitlines()))
    unchecked = proof.unchecked()
    for why, count in sorted(unchecked.items()):
        console.say(f"text not compared: {counted(count, 'file')}: {why}")
    doubtful = proof.doubtful()
    for why, count in sorted(doubtful.items()):
        console.result(f"{counted(count, 'file')}: {why}")
    unsearched = proof.unsearched()
    for why, count in sorted(unsearched.items()):
        console.say(f"search can't be compared: {counted(count, 'file')}: {why}")
    compared = ", ".join(
        counted(count, _NOUNS[kind]) if kind in _NOUNS else f"{count} {kind}" for kind, count in proof.compared.items()
    )
    from holdall.verdict import Reason

    verdict = proof.verdict()
    found = counted(len(proof.differences), "difference") if proof.differences else "no differences"
    chosen = f", only what {proof.chosen} chose" if proof.chosen else ""
    console.result(f"{title}: {verdict.without(Reason.DIFFERENT)}; {found} ({compared} compared{origin}{chosen})")
    return {
        "by": proof.origin,
        "compared": proof.compared,
        "text_not_compared": unchecked,
        "text_doubtful": doubtful,
        "search_not_compared": unsearched,
        "differences": msgspec.to_builtins(proof.differences),
        "files": msgspec.to_builtins(proof.files),
        **as_result(verdict),
    }, verdict


async def _compare(
    console: Console, settings: DestinationSettings, reader: BundleReader, *, search: bool, accept_known: bool
) -> Proof:
    from holdall.importer.destination.destination import choose
    from holdall.importer.destination.placement import by_mapping, by_marks
    from holdall.importer.plan.catalogue import catalogue
    from holdall.importer.proof.proof import prove
    from holdall.remote.client import Account
    from holdall.remote.probing import require_any_endpoint

    progress = console.progress()
    async with Account(
        settings.endpoint, side="destination", concurrency=settings.concurrency, progress=progress
    ) as account:
        await require_any_endpoint(account)
        holding = catalogue(reader)
        digests = msgspec.to_builtins(reader.info.digests)
        placement = by_mapping(settings.output_dir, digests, account.party)
        form = await choose(account, placement.form if placement else None)
        if placement is None:
            console.say(f"no mapping of this bundle and destination in {settings.output_dir}: looking for marks")
            placement = await by_marks(account, form, settings.output_dir, agents=bool(holding.agents))
        return await prove(
            holding,
            reader,
            account,
            placement,
            progress=progress,
            prefix=settings.prefix,
            search=search,
            accept_known=accept_known,
        )
