"""Export: one account's assistants, what they know and their files, into one bundle.

The order on disk is the order of trust: definitions first, contents as they arrive, then the records about them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from holdall import __version__
from holdall.bundle.digest import record_hash
from holdall.bundle.layout import Capture, Source
from holdall.bundle.writer import BundleWriter
from holdall.errors import UsageFault
from holdall.exporter.fetch import Fetch
from holdall.exporter.report import Changed, ExportReport, Finding, Incomplete
from holdall.exporter.roots import Start, gather, refuse_nothing
from holdall.model import Kind, Record, Rung
from holdall.progress import Progress, Silent
from holdall.remote.client import Account
from holdall.remote.survey import Definitions, Surveyor

__all__ = ["ExportOptions", "export"]

_SUNSET = (
    "this project has no Assistants API (OpenAI ended it on 2026-08-26): its vector stores and files are exported; "
    "definitions can come out of a dump with --from-dump FILE"
)


class ExportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to export, and what follows from it."""

    start: Start = Start()
    label: str | None = None


async def export(
    account: Account | None,
    target: Callable[[Capture], Path],
    options: ExportOptions,
    *,
    clock: Callable[[], float],
    force: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Pack what ``options.start`` chooses into one bundle, complete or absent.

    ``account`` is None without a key: then only definitions out of a dump can be packed, and only such as refer to
    nothing. ``target`` chooses the file once it is known what is captured (the project's id comes with the first
    answer). An unfinished bundle of the same capture at that place is continued: contents that are whole in it are not
    fetched again. ``clock`` gives Unix seconds. On return the bundle stands durably under its name. Raises RemoteError
    and BundleError; UsageFault where the selection fits nothing, and then no file is made.
    """
    progress = progress or Silent()
    started = int(clock())
    progress.stage("reading definitions")
    start = options.start
    notes = list(start.dump.notes) if start.dump else []
    if account and start.assistants and start.dump is None and not (await account.probe()).assistants:
        start = msgspec.structs.replace(start, assistants=False)
        notes.append(_SUNSET)
    for note in notes:
        progress.note(note)
    surveyor = (
        Surveyor(account, file_search=start.file_search, code_interpreter=start.code_interpreter) if account else None
    )
    definitions = await gather(surveyor, start)
    refuse_nothing(definitions, start)
    capture = _capture(account, options)
    writer = await asyncio.to_thread(BundleWriter, target(capture), capture, started=started, force=force)
    with writer:
        for record in (*definitions.assistants, *definitions.stores):
            writer.add_record(record)
        losses: list[Finding] = [Incomplete(dump=name) for name in (start.dump.truncated if start.dump else ())]
        rungs: dict[Rung, int] = {}
        if account and surveyor:
            fetch = Fetch(account, surveyor, definitions, writer, progress)
            await fetch.contents()
            progress.stage("looking for changes")
            losses += [*fetch.losses, *await _changes(surveyor, definitions, start)]
            rungs = fetch.rungs
        else:
            writer.open_files().commit()
        progress.stage("sealing the bundle")
        finished = await asyncio.to_thread(writer.finish, ended=int(clock()))
    return ExportReport(
        bundle=finished.path,
        size=finished.size,
        sha256=finished.sha256,
        digests=finished.digests,
        counts=dict(finished.counts),
        rungs={rung.value: rungs.get(rung, 0) for rung in Rung},
        losses=losses,
        requests=dict(sorted(account.requests.items())) if account else {},
    )


def _capture(account: Account | None, options: ExportOptions) -> Capture:
    selection = options.start.selection
    return Capture(
        tool=f"holdall/{__version__}",
        source=Source(
            base_url=account.endpoint.base_url if account else "",
            organization=account.organization if account else None,
            project=account.project if account else None,
            label=options.label,
        ),
        selection={"only": list(selection.only), "exclude": list(selection.exclude)},
        options={
            "file_search": options.start.file_search,
            "code_interpreter": options.start.code_interpreter,
            "assistants": options.start.assistants,
            "unused": options.start.unused,
            "dump": options.start.dump.digest if options.start.dump else None,
        },
    )


async def _changes(surveyor: Surveyor, before: Definitions, start: Start) -> list[Changed]:
    """The definitions once more: what was added, removed or changed while the contents came."""
    try:
        after = await gather(surveyor, start)
    except UsageFault:  # nothing that was selected is there any more
        after = Definitions(assistants=[], stores=[], missing=[], views=[], store_views=[])
    return [
        *_compare(Kind.ASSISTANT, before.assistants, after.assistants),
        *_compare(Kind.STORE, before.stores, after.stores),
    ]


def _compare(kind: Kind, before: Iterable[Record], after: Iterable[Record]) -> list[Changed]:
    old = {record.id: record_hash(record.kind, record.raw) for record in before}
    new = {record.id: record_hash(record.kind, record.raw) for record in after}
    how = {
        **dict.fromkeys(old.keys() - new.keys(), "removed"),
        **dict.fromkeys(new.keys() - old.keys(), "added"),
        **{ident: "changed" for ident in old.keys() & new.keys() if old[ident] != new[ident]},
    }
    return [Changed(kind=kind, id=ident, how=how[ident]) for ident in sorted(how)]
