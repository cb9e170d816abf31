"""``holdall verify --against dst`` and ``import --verify``: what was imported, compared with the bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.cli import parameters
from holdall.cli.console import Console, counted
from holdall.cli.views import Block, Group, loss_groups, loss_lines, verdict_as_json
from holdall.dialects.rules import Form
from holdall.errors import pasteable
from holdall.importer.verbs.compare_copy import CompareOptions, Proof, compare_copy
from holdall.kinds import KINDS, noun
from holdall.model import Kind
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
    block, verdict = proof_block(proof, f"{settings.endpoint.title} with the bundle, by {proof.origin}")
    if proof.differences:
        # What classic agents of the project could become otherwise.
        form = " --as foundry" if proof.form is Form.FOUNDRY else ""
        again = f"holdall import {pasteable(reader.path)}{form} --on-conflict update"
        block.commands = [f"{again} --output-dir {pasteable(settings.output_dir)}"]
    block.show(console, on_stdout=True)
    return {"destination": settings.endpoint.base_url, **proof_as_json(proof, verdict)}, verdict


def compared_objects(proof: Proof) -> str:
    """What was compared, counted."""
    # In a Foundry project there are none: they are agents.
    hidden = KINDS[Kind.ASSISTANT].count if proof.form is Form.FOUNDRY else None
    return ", ".join(
        counted(count, _NOUNS[kind]) if kind in _NOUNS else f"{count} {kind}"
        for kind, count in proof.compared.items()
        if kind != hidden
    )


def proof_block(proof: Proof, what: str) -> tuple[Block, Verdict]:
    """A comparison, and its verdict. ``what`` was compared with what."""
    verdict = proof.verdict()
    chosen = f", only what {proof.chosen} chose" if proof.chosen else ""
    failed = [Group(title=f"{counted(count, noun(kind))} not made", total=count) for kind, count in _failed(proof)]
    block = Block(
        verdict=verdict,
        exit_code=verdict.exit_code,
        findings=map(str, proof.differences),
        findings_total=len(proof.differences),
        facts=[f"Compared {what}{chosen}: {compared_objects(proof)}"],
        groups=[
            *failed,
            *loss_groups(proof.losses),
            *(
                Group(title=f"{counted(count, 'file')} {what}", total=count, why=why)
                for what, counts in (
                    ("with uncertain text", proof.doubtful()),
                    ("with text not compared", proof.unchecked()),
                    ("with search not compared", proof.unsearched()),
                )
                for why, count in sorted(counts.items())
            ),
        ],
        details=loss_lines(proof.losses),
    )
    return block, verdict


def _failed(proof: Proof) -> Iterable[tuple[Kind, int]]:
    return Counter(kind for kind, _ in proof.failed).items()


def proof_as_json(proof: Proof, verdict: Verdict) -> dict[str, Any]:
    """A comparison for ``--json``."""
    return {
        "by": proof.origin,
        "compared": proof.compared,
        "text_not_compared": proof.unchecked(),
        "text_doubtful": proof.doubtful(),
        "search_not_compared": proof.unsearched(),
        "differences": msgspec.to_builtins(proof.differences),
        "files": msgspec.to_builtins(proof.files),
        **verdict_as_json(verdict),
    }
