"""The verbs compare and rehearse: what was imported is compared with the bundle; a restore test first imports it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.dialects.rules import Form
from holdall.dialects.templates import is_builtin
from holdall.endpoint import Endpoint
from holdall.errors import Interrupted
from holdall.importer.destination.destination import History, IdMapping, by_mapping, by_marks, choose
from holdall.importer.destination.match import find_existing
from holdall.importer.plan.bundle_summary import BundleSummary, in_form, summarize
from holdall.importer.plan.choices import Asked, Choices, table_of
from holdall.importer.plan.planner import plan
from holdall.importer.proof.proof import Proof, prove
from holdall.importer.verbs.import_bundle import ImportOptions, Machine, Observer, run_import
from holdall.kinds import DEFINITIONS, KINDS
from holdall.model import Kind, SourceId, TargetId
from holdall.progress import Progress
from holdall.remote.client import Account, absence, require_any_endpoint
from holdall.selection import Selection

__all__ = ["CompareOptions", "Proof", "RehearseOptions", "compare_copy", "rehearse_import"]

_CONCURRENCY = 8  # of a restore test

# What is known by its name and contents alone.
_BY_CONTENTS = (Kind.SKILL, Kind.TEMPLATE)


class CompareOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``output`` is OUTPUT_DIR, where the mapping is. ``prefix`` counts where no mapping says it; with ``search`` each
    store's search must find its files. ``accept_known``: what the bundle records as lost changes no exit code."""

    output: Path
    prefix: str = ""
    search: bool = False
    accept_known: bool = False


async def compare_copy(account: Account, reader: BundleReader, options: CompareOptions) -> Proof:
    """Compares every field. The mapping in OUTPUT_DIR says which copy is meant, or without one the copies' own marks.

    Raises what the account raises; CannotWrite.
    """
    await require_any_endpoint(account)
    summary = await asyncio.to_thread(summarize, reader)
    # A mapping knows files too, which carry no marks.
    mapping = by_mapping(options.output, msgspec.to_builtins(reader.info.digests), account.party)
    form = await choose(account, mapping.form if mapping else None)
    if mapping is None:
        account.progress.note(f"no mapping for this bundle and destination in {options.output}; matching by metadata")
        kinds = [kind for kind in DEFINITIONS if not KINDS[kind].rare or summary.records(kind)]
        if form is Form.FOUNDRY:
            kinds = [Kind.FOUNDRY_AGENT, Kind.STORE]
        mapping = await by_marks(account, form, options.output, kinds)
        if form is not Form.FOUNDRY:
            mapping = await _with_unmarked(mapping, account, summary, reader, options.prefix)
    return await prove(
        in_form(summary, form),
        reader,
        account,
        mapping,
        prefix=options.prefix,
        search=options.search,
        accept_known=options.accept_known,
    )


async def _with_unmarked(
    mapping: IdMapping, account: Account, summary: BundleSummary, reader: BundleReader, prefix: str
) -> IdMapping:
    """The mapping with the copies of skills and templates, which carry no marks."""
    only = [
        KINDS[kind].selector + "*"
        for kind in _BY_CONTENTS
        if any(not is_builtin(r.id) for r in summary.records(kind))
        # Where there is no such list, none was imported.
        and account.platform in KINDS[kind].platforms
        and not await absence(account, KINDS[kind].endpoint)
    ]
    if not only:
        return mapping
    choices = Choices(form=mapping.form, limits=table_of(mapping.form, account.endpoint.base_url, reader.info))
    planned = plan(summary, Selection(only=tuple(only)), prefix=prefix, choices=choices)
    there = await find_existing(account, summary, reader, planned, History(), choices=choices)
    found: dict[Kind, dict[SourceId, TargetId]] = {
        Kind.SKILL: {id: one.target for id, one in there.skills.items()},
        Kind.TEMPLATE: {id: one.target for id, one in there.whole(Kind.TEMPLATE).items()},
    }
    return msgspec.structs.replace(mapping, definitions={**mapping.definitions, **found})


class RehearseOptions(msgspec.Struct, frozen=True, kw_only=True):
    """``endpoint`` is an empty server that nobody else uses; ``output`` is for mapping and report. ``search`` and
    ``accept_known`` as in CompareOptions."""

    endpoint: Endpoint
    output: Path
    search: bool = False
    accept_known: bool = False


async def rehearse_import(
    reader: BundleReader, options: RehearseOptions, observer: Observer, machine: Machine, progress: Progress
) -> tuple[Proof, int]:
    """Imports all of the bundle, and compares. The proof leaves out files that the server's own parsers can't read,
    which says nothing about other servers; the number counts these.

    Raises what stopped the import.
    """
    into = ImportOptions(asked=Asked(), output=options.output, settle=0.0)
    async with Account(options.endpoint, side="destination", concurrency=_CONCURRENCY, progress=progress) as account:
        imported = await run_import(account, reader, into, observer, machine)
        stopped = imported.report.stopped if imported.report else None
        if isinstance(stopped, Interrupted):
            raise Interrupted("interrupted: the rehearsal was stopped and cleaned up")
        if stopped:
            raise stopped
        compared = CompareOptions(output=options.output, search=options.search, accept_known=options.accept_known)
        proof = await compare_copy(account, reader, compared)
    kept = [one for one in proof.differences if one.kind is not Kind.MEMBERSHIP or one.field != "status"]
    return msgspec.structs.replace(proof, differences=kept), len(proof.differences) - len(kept)
