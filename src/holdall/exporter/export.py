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
from holdall.exporter.report import Changed, ExportReport
from holdall.model import Kind, Record, Rung
from holdall.progress import Progress, Silent
from holdall.remote.client import Account
from holdall.remote.survey import Definitions, Surveyor

__all__ = ["ExportOptions", "export"]


class ExportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to export. No ids and no names: everything. ``names`` are globs."""

    ids: list[str] = []
    names: list[str] = []
    file_search: bool = True
    code_interpreter: bool = True
    label: str | None = None


async def export(
    account: Account,
    target: Callable[[Capture], Path],
    options: ExportOptions,
    *,
    clock: Callable[[], float],
    force: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Pack the chosen assistants of ``account`` into one bundle, complete or absent.

    ``target`` chooses the file once it is known what is captured (the project's id comes with the first answer). An
    unfinished bundle of the same capture at that place is continued: contents that are whole in it are not fetched
    again. ``clock`` gives Unix seconds. On return the bundle stands durably under its name. Raises NoAssistantsApi,
    RemoteError and BundleError; UsageFault where the selection fits nothing, and then no file is made.
    """
    progress = progress or Silent()
    started = int(clock())
    progress.stage("reading definitions")
    await account.require_assistants()
    surveyor = Surveyor(account, file_search=options.file_search, code_interpreter=options.code_interpreter)
    definitions = await surveyor.definitions(ids=options.ids, names=options.names)
    _refuse_nothing(definitions, options)
    capture = _capture(account, options)
    writer = await asyncio.to_thread(BundleWriter, target(capture), capture, started=started, force=force)
    with writer:
        run = Fetch(account, surveyor, definitions, writer, progress)
        await run.contents()
        progress.stage("looking for changes")
        changed = await _changes(surveyor, definitions, options)
        progress.stage("sealing the bundle")
        finished = await asyncio.to_thread(writer.finish, ended=int(clock()))
    return ExportReport(
        bundle=finished.path,
        size=finished.size,
        sha256=finished.sha256,
        digests=finished.digests,
        counts=dict(finished.counts),
        rungs={rung.value: run.rungs.get(rung, 0) for rung in Rung},
        losses=[*run.losses, *changed],
        requests=dict(sorted(account.requests.items())),
    )


def _refuse_nothing(definitions: Definitions, options: ExportOptions) -> None:
    found = {view.id for view in definitions.views}
    unknown = [ident for ident in options.ids if ident not in found]
    if unknown:
        raise UsageFault(
            f"nothing exported: the project has no assistant {', '.join(unknown)}",
            hint="holdall export --all exports everything",
        )
    if not definitions.assistants:
        wanted = ", ".join(map(repr, options.names))
        raise UsageFault(
            f"nothing exported: none of the project's {definitions.listed} assistants has a name like {wanted}"
            if wanted
            else "nothing exported: the project has no assistants",
            hint="is it the right key? names are matched whole, with * and ?" if wanted else "is it the right key?",
        )


def _capture(account: Account, options: ExportOptions) -> Capture:
    return Capture(
        tool=f"holdall/{__version__}",
        source=Source(
            base_url=account.endpoint.base_url,
            organization=account.organization,
            project=account.project,
            label=options.label,
        ),
        selection={"ids": options.ids, "names": options.names},
        options={"file_search": options.file_search, "code_interpreter": options.code_interpreter},
    )


async def _changes(surveyor: Surveyor, before: Definitions, options: ExportOptions) -> list[Changed]:
    """The definitions once more: what was added, removed or changed while the contents came."""
    after = await surveyor.definitions(ids=options.ids, names=options.names)
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
