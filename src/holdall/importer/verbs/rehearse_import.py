"""The verb rehearse: a restore test into an empty server, and the comparison of the copy."""

from __future__ import annotations

from pathlib import Path

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.endpoint import Endpoint
from holdall.errors import Interrupted
from holdall.importer.plan.choices import Asked
from holdall.importer.verbs.compare_copy import CompareOptions, Proof, compare_copy
from holdall.importer.verbs.run_import import ImportOptions, Machine, Observer, run_import
from holdall.model import Kind
from holdall.progress import Progress
from holdall.remote.client import Account

_CONCURRENCY = 8


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
