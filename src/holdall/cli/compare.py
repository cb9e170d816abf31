"""``holdall verify --against dst`` and ``import --verify``: what was imported, compared with the bundle."""

from __future__ import annotations

from typing import Any

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.cli import parameters
from holdall.cli.block import Block, Group
from holdall.cli.console import Console, counted
from holdall.cli.views import verdict_as_json
from holdall.importer.verbs.compare_copy import CompareOptions, Proof, compare_copy
from holdall.kinds import KINDS
from holdall.settings import DestinationSettings
from holdall.verdict import Verdict

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
    """Print a comparison. Returns the result for ``--json`` and the verdict."""
    unchecked, doubtful, unsearched = proof.unchecked(), proof.doubtful(), proof.unsearched()
    compared = ", ".join(
        counted(count, _NOUNS[kind]) if kind in _NOUNS else f"{count} {kind}" for kind, count in proof.compared.items()
    )
    verdict = proof.verdict()
    chosen = f", only what {proof.chosen} chose" if proof.chosen else ""
    Block(
        verdict=verdict,
        exit_code=verdict.exit_code,
        findings=map(str, proof.differences),
        findings_total=len(proof.differences),
        facts=[f"Compared {title} with the bundle{origin}{chosen}: {compared}"],
        groups=[
            Group(title=f"{counted(count, 'file')} {what}", total=count, why=why)
            for what, counts in (
                ("with text joined doubtfully", doubtful),
                ("with text not compared", unchecked),
                ("with search not compared", unsearched),
            )
            for why, count in sorted(counts.items())
        ],
    ).show(console, on_stdout=True)
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
