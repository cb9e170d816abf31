"""``holdall verify --against dst`` and ``import --verify``: what was imported, compared with the bundle."""

from __future__ import annotations

from typing import Any

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.cli import parameters
from holdall.cli.console import Console, counted, flat
from holdall.cli.views import verdict_as_json
from holdall.importer.verbs.compare_copy import CompareOptions, Proof, compare_copy
from holdall.kinds import KINDS
from holdall.settings import DestinationSettings
from holdall.verdict import Reason, Verdict

_NOUNS = {**{row.count: row.noun for row in KINDS.values()}, "texts": "text"}


def compare(
    console: Console, settings: DestinationSettings, reader: BundleReader, *, search: bool, accept_known: bool
) -> tuple[dict[str, Any], Verdict]:
    """Compare and print. Returns the result for ``--json`` and the verdict.

    The mapping in OUTPUT_DIR says which copy is meant; without one, the copies' metadata does.
    """
    wanted = CompareOptions(
        output=settings.output_dir, prefix=settings.prefix, search=search, accept_known=accept_known
    )

    proof = parameters.at_destination(console, settings, compare_copy, reader, wanted)
    console.close_progress()
    found, verdict = show_proof(console, proof, title=settings.endpoint.title, origin=f", by {proof.origin}")
    return {"destination": settings.endpoint.base_url, **found}, verdict


def show_proof(console: Console, proof: Proof, *, title: str, origin: str = "") -> tuple[dict[str, Any], Verdict]:
    """Print a comparison, the verdict last. Returns the result for ``--json`` and the verdict."""
    for difference in proof.differences:
        console.result(flat(difference))
    unchecked, doubtful, unsearched = proof.unchecked(), proof.doubtful(), proof.unsearched()
    for write, head, counts in (
        (console.say, "text not compared: ", unchecked),
        (console.result, "", doubtful),
        (console.say, "search can't be compared: ", unsearched),
    ):
        for why, count in sorted(counts.items()):
            write(f"{head}{counted(count, 'file')}: {why}")
    compared = ", ".join(
        counted(count, _NOUNS[kind]) if kind in _NOUNS else f"{count} {kind}" for kind, count in proof.compared.items()
    )
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
        **verdict_as_json(verdict),
    }, verdict
