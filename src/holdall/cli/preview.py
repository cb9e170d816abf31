"""``holdall export --dry-run``: what an export would take in, as far as that is known without its contents."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import msgspec

from holdall.cli import views
from holdall.cli.console import Console, Outcome, counted, human_size
from holdall.cli.views import Block, Group, again
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
    exit_code = max(verdict.exit_code, EXIT_LOOK if seen.doubts else EXIT_DONE)
    # Of a file that is gone, that it is gone says all.
    said = [describe(loss) for loss in found if not isinstance(loss, ContentLoss)]
    refused = [one for one in seen.downloads if one.answer is EndpointState.DENIED]
    console.result(f"Would export {_counts(seen.held)}")
    Block(
        verdict=f"{verdict} (certain so far)" if verdict.counts else f"{verdict} (as far as the lists say)",
        exit_code=exit_code,
        findings=said,
        findings_total=len(said),
        groups=[
            *(
                Group(title=f"No originals of purpose {one.purpose or 'unknown'}: {_size(one)}", why=one.message)
                for one in refused
            ),
            *(Group(title=f"Not counted: {where}", total=1, why=why) for where, why in seen.doubts.items()),
        ],
        commands=[again(console, without={"--dry-run"})],
    ).show(console, on_stdout=True)
    console.result(_DRY_RUN)
    return Outcome(
        exit_code=exit_code,
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
    return f"{counted(one.files, 'file')}, {human_size(one.bytes)}"
