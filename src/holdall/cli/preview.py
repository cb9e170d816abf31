"""``holdall export --dry-run``: what an export would take in, as far as that is known without its contents."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import msgspec

from holdall.cli import views
from holdall.cli.console import Console, Outcome, counted, flat, human_size
from holdall.doctor.diagnosis import DownloadCheck, EndpointCheck, EndpointState, Holdings
from holdall.doctor.holdings import Look, counted_in
from holdall.errors import EXIT_DONE, EXIT_LOOK, Interrupted
from holdall.exporter.ledger import Losses
from holdall.exporter.report import ContentLoss, describe
from holdall.exporter.run_export import ExportOptions, preview
from holdall.remote.client import Account
from holdall.settings import SourceSettings

_DRY_RUN = "DRY RUN: nothing written"


@dataclass
class _Seen:
    """What was counted, by purpose whether files are given back, what is certain to be lost, and by their paths the
    lists that couldn't be counted, and why."""

    held: Holdings
    downloads: list[DownloadCheck]
    losses: Losses
    doubts: dict[str, str]


def show_preview(console: Console, settings: SourceSettings, options: ExportOptions) -> Outcome:
    """Print what the export would take in. The exit code is that of the losses that are certain; 3 where something
    could not be counted."""
    try:
        seen = asyncio.run(_preview(console, settings, options))
    except KeyboardInterrupt:
        raise Interrupted("interrupted: nothing was written") from None
    console.close_progress()
    verdict, found = seen.losses.verdict(), list(seen.losses)
    console.result(f"would export {_counts(seen.held)}")
    for one in seen.downloads:
        if one.answer is EndpointState.DENIED:
            console.result(flat(f"no originals: {_size(one)} of purpose {one.purpose or 'unknown'}: {one.message}"))
    # Of a file that is gone, that it is gone says all.
    said = [flat(describe(loss)) for loss in found if not isinstance(loss, ContentLoss)]
    views.show_first(console.result, said, len(said), indent="")
    uncounted = [flat(f"not counted: {where}: {why}") for where, why in seen.doubts.items()]
    views.show_first(console.warn, uncounted, len(uncounted), indent="")
    if verdict.counts:
        console.result(f"certain: {verdict}")
    console.result(_DRY_RUN)
    return Outcome(
        exit_code=max(verdict.exit_code, EXIT_LOOK if seen.doubts else EXIT_DONE),
        result={
            "dry_run": True,
            "counts": msgspec.to_builtins(seen.held),
            "downloads": msgspec.to_builtins(seen.downloads),
            "doubts": seen.doubts,
            **views.verdict_as_json(verdict),
        },
        losses=[msgspec.to_builtins(loss) for loss in found],
    )


async def _preview(console: Console, settings: SourceSettings, options: ExportOptions) -> _Seen:
    progress, source = console.progress(), settings.endpoint
    async with (
        Account(source, side="source", concurrency=settings.concurrency, progress=progress)
        if source
        else nullcontext() as account
    ):
        ahead = await preview(account, options, progress=progress)
        held, downloads, gone, doubts = counted_in(ahead.definitions), [], set[str](), dict[str, str]()
        if account:
            progress.stage(f"Counting files in {account.endpoint.host}")
            absent = ahead.surveyor.absent if ahead.surveyor else []
            there = [
                EndpointCheck(name=name, answer=EndpointState.YES)
                for name in ("files", "vector_stores")
                if f"/{name}" not in absent
            ]
            look = Look(account, there)
            held = await look.of(ahead.definitions, ahead.files)
            downloads, gone, doubts = await look.downloads(), look.gone, look.doubts
        return _Seen(held=held, downloads=downloads, losses=ahead.conclude(gone), doubts=doubts)


def _counts(held: Holdings) -> str:
    counts: dict[str, Any] = msgspec.to_builtins(held)
    known = views.holdings({name: number for name, number in counts.items() if number is not None})
    if held.files is None:
        return f"{known}; files and bytes not counted: too many, or a list can't be read"
    return f"{known}, {human_size(held.bytes or 0)}"


def _size(one: DownloadCheck) -> str:
    return f"{counted(one.files, 'file')}, {human_size(one.bytes)},"
