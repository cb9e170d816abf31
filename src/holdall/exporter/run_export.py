"""Export: one account's assistants and agents, what they know and their files, into one bundle.

The order on disk is the order of trust: definitions first, contents as they arrive, then the records about them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, nullcontext, suppress
from pathlib import Path
from typing import TypeVar

import msgspec

from holdall.bundle.digest import record_hash
from holdall.bundle.layout import Capture, Digests, Source
from holdall.bundle.totals import Totals, minimum_of
from holdall.bundle.writer import BundleWriter
from holdall.dumps import Dump
from holdall.errors import UsageFault
from holdall.exporter.fallbacks import Fallbacks, Tally, open_fetcher
from holdall.exporter.fetch import Fetch
from holdall.exporter.file_index import FileIndex
from holdall.exporter.ledger import LedgerWriter
from holdall.exporter.losses import Losses
from holdall.exporter.parent import Parent, open_parent, same_work
from holdall.exporter.policy import Policy
from holdall.exporter.report import Changed, ExportReport, Finding, Incomplete, LeftOut, UnfinishedList, unreadable
from holdall.exporter.roots import Roots, gather, refuse_nothing
from holdall.graph import users_of
from holdall.kinds import DEFINITIONS, KINDS
from holdall.lenient import readable
from holdall.model import Fidelity, Kind, Record, SourceId
from holdall.progress import Progress, Silent
from holdall.remote.client import Account
from holdall.remote.probing import may_be_there, probe, require_any_endpoint
from holdall.remote.survey import Definitions, Surveyor
from holdall.version import __version__

__all__ = ["ExportOptions", "export", "no_parent"]

T = TypeVar("T")

_SUNSET = (
    "this project has no Assistants API (OpenAI ended it on 2026-08-26): its vector stores and files are exported; "
    "definitions can come out of a dump with --from-dump FILE"
)


class ExportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to export, and what follows from it.

    ``policy`` says which losses change the exit code; with ``accept_known_losses`` not those that the parent had, if
    this policy is no stricter than the parent's. ``skip_if_unchanged``: where the
    bundle would have the digests of its parent, none is written. ``fallbacks`` are the ways to a content that are only
    taken on request.
    """

    start: Roots = Roots()
    label: str | None = None
    fallbacks: Fallbacks = Fallbacks()
    policy: Policy = Policy()
    accept_known_losses: bool = False
    skip_if_unchanged: bool = False


class _Filled(msgspec.Struct, frozen=True, kw_only=True):
    """What came of reading the account. ``taken`` counts contents out of the parent."""

    fidelities: dict[Fidelity, int]
    containers: Tally
    findings: list[Finding]
    taken: int
    unchanged: bool


def no_parent(target: Path, capture: Capture) -> Path | None:
    """Nothing is taken from anywhere."""
    return None


async def export(
    account: Account | None,
    target: Callable[[Capture], Path],
    options: ExportOptions,
    *,
    clock: Callable[[], float],
    parent: Callable[[Path, Capture], Path | None] = no_parent,
    force: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Pack what ``options.start`` chooses into one bundle, complete or absent.

    ``account`` is None without a key: then only definitions out of a dump can be packed, and only such as refer to
    nothing. ``target`` chooses the file once it is known what is captured (the project's id comes with the first
    answer), ``parent`` an earlier bundle out of which contents are taken; it is called on another thread. An unfinished
    bundle of the same capture at the target is continued: contents that are whole in it are not fetched again.
    ``clock`` gives Unix seconds. On return the bundle stands durably under its name. Raises RemoteError and
    BundleError; UsageFault where the selection fits nothing, and then no file is made.
    """
    progress = progress or Silent()
    started = int(clock())
    progress.stage("reading definitions")
    start, surveyor, definitions = await _survey(account, options.start, progress)
    capture = _capture(account, options)
    place = target(capture)
    with await asyncio.to_thread(BundleWriter, place, capture, started=started, force=force) as writer:
        async with open_parent(await asyncio.to_thread(parent, place, capture), progress) as earlier:
            losses = Losses(_policy(options, earlier))
            for loss in _losses_of(start.dump):
                losses.add(loss)
            compared = options.skip_if_unchanged and earlier is not None and same_work(earlier.info, capture)
            filled = await _fill(
                account,
                surveyor,
                definitions,
                start,
                options.fallbacks,
                writer,
                losses,
                progress,
                parent=earlier,
                compared=compared,
            )
            if filled.unchanged:
                await asyncio.to_thread(writer.discard)
        report = _report(account, filled, losses, earlier)
        if filled.unchanged:
            return report
        progress.stage("sealing the bundle")
        finished = await _to_its_end(asyncio.to_thread(writer.finish, ended=int(clock())))
    return msgspec.structs.replace(
        report,
        bundle=finished.path,
        size=finished.size,
        sha256=finished.sha256,
        digests=finished.info.digests,
        counts=dict(finished.info.counts),
    )


async def _survey(
    account: Account | None, start: Roots, progress: Progress
) -> tuple[Roots, Surveyor | None, Definitions]:
    """What there is to export. ``start`` comes back without assistants where the account has no API for them."""
    notes = list(start.dump.notes) if start.dump else []
    doubt = None
    if account and start.assistants and start.dump is None and (absent := await probe(account)):
        start = msgspec.structs.replace(start, assistants=False)
        doubt = may_be_there(absent)
        notes.append(_SUNSET)
    for note in notes:
        progress.note(note)
    surveyor = (
        Surveyor(account, file_search=start.file_search, code_interpreter=start.code_interpreter) if account else None
    )
    definitions = await gather(surveyor, start)
    if surveyor and account:
        await _say_absent(surveyor, account, definitions, progress)
        if doubt:
            surveyor.doubts["/assistants"] = doubt
    refuse_nothing(definitions, start)
    return start, surveyor, definitions


async def _say_absent(surveyor: Surveyor, account: Account, definitions: Definitions, progress: Progress) -> None:
    """Name the endpoints that the server hasn't, but for agents, which few have. Raises NotFound where it has none."""
    rare = {row.endpoint for row in KINDS.values() if row.rare}
    absent = [where for where in surveyor.absent if where not in rare]
    for where in absent:
        progress.note(f"the server has no {where}, so there is nothing of the kind to export")
    if absent and not (any(definitions.all()) or definitions.files):
        await require_any_endpoint(account)


async def _fill(
    account: Account | None,
    surveyor: Surveyor | None,
    definitions: Definitions,
    start: Roots,
    fallbacks: Fallbacks,
    writer: BundleWriter,
    losses: Losses,
    progress: Progress,
    *,
    parent: Parent | None,
    compared: bool,
) -> _Filled:
    """Everything into the writer; where it is ``compared`` and nothing has changed, without the parent's contents."""
    with FileIndex() as register, Totals() if compared else nullcontext() as state:
        booking = LedgerWriter(writer, register, definitions, losses, progress, state, account)
        hashes = _put_records(definitions, writer, booking)
        async with AsyncExitStack() as stack:
            fetch, fetcher, changes = None, None, []
            if account and surveyor:
                fetcher = await stack.enter_async_context(open_fetcher(account, fallbacks, progress))
                fetch = Fetch(
                    account,
                    surveyor,
                    definitions,
                    writer,
                    progress,
                    register,
                    booking,
                    fetcher.fetcher,
                    parent=parent,
                    defer=compared,
                )
                await fetch.contents()
                progress.stage("looking for changes")
                changes = await _changes(surveyor, hashes, start)
            else:
                writer.open_files().commit()
            for found in (*changes, *_left_out(start, definitions, hashes, register.wants)):
                losses.add(found)
            for listed, why in surveyor.doubts.items() if surveyor else ():
                losses.add(UnfinishedList(list=listed, message=why))
            digests = await asyncio.to_thread(booking.digests)
            await asyncio.to_thread(losses.write, writer)
            unchanged = parent is not None and digests == parent.info.digests and not changes
            if fetch and compared:
                progress.stage("files")
                await fetch.take_deferred(read=not unchanged)
        return _Filled(
            fidelities=booking.fidelities,
            containers=fetcher.tally if fetcher else Tally(),
            findings=booking.findings(),
            taken=booking.taken,
            unchanged=unchanged,
        )


def _put_records(definitions: Definitions, writer: BundleWriter, booking: LedgerWriter) -> dict[tuple[Kind, str], str]:
    """The definitions and stores into the writer, and out of memory: contents take long. Returns their hashes."""
    # A store that is asked for under two names is one.
    records = {(each.kind, each.id): each for each in definitions.all()}
    for record in records.values():
        writer.add_record(record)
        booking.record(record.kind, record.id, record.raw)
    definitions.records.clear()
    return _hashes(records.values())


def _policy(options: ExportOptions, parent: Parent | None) -> Policy:
    """The policy, with what the parent's losses excuse."""
    policy = options.policy
    if parent and options.accept_known_losses and policy.no_stricter_than(minimum_of(parent.info)):
        return msgspec.structs.replace(policy, known=parent.knew)
    return policy


def _report(account: Account | None, filled: _Filled, losses: Losses, parent: Parent | None) -> ExportReport:
    """The report as it is where no new bundle is written: then the parent is what the export ended in."""
    info = parent.info if parent else None
    return ExportReport(
        bundle=parent.path if parent else Path(),
        size=parent.size if parent else 0,
        sha256=None,
        digests=info.digests if info else Digests(definitions="", contents=""),
        counts=dict(info.counts) if info else {},
        fidelities={fidelity.value: filled.fidelities.get(fidelity, 0) for fidelity in Fidelity},
        losses=filled.findings,
        losses_found=losses.total,
        losses_counting=losses.counting,
        requests=dict(sorted(account.requests.items())) if account else {},
        parent=parent.path if parent else None,
        taken=filled.taken,
        containers_made=filled.containers.made,
        containers_left=filled.containers.left,
        unchanged_since=info.ended if info and filled.unchanged else None,
        verdict=losses.verdict(),
    )


async def _to_its_end(work: Awaitable[T]) -> T:
    """Wait for ``work`` also where somebody has lost patience: it takes seconds, and makes what they were after."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    return task.result()


def _losses_of(dump: Dump | None) -> Iterator[Finding]:
    """What dumps don't have, or have in no form that can be read."""
    for name, why in dump.truncated.items() if dump else ():
        yield Incomplete(dump=name, message=why)
    for one in dump.unread if dump else ():
        yield unreadable(Kind.ASSISTANT, one.id, one.message, one.dump)


def _left_out(
    start: Roots, definitions: Definitions, taken: Container[tuple[Kind, str]], is_there: Callable[[SourceId], bool]
) -> list[Finding]:
    """What the definitions refer to and was not asked for, and isn't here for another reason."""
    left = users_of(definitions.views, stores=not start.file_search, files=not start.code_interpreter)
    return [
        *(
            LeftOut(kind=Kind.STORE, id=id, message="left out as asked: --no-file-search")
            for id in left.stores
            if (Kind.STORE, id) not in taken
        ),
        *(
            LeftOut(kind=Kind.FILE, id=id, message="left out as asked: --no-code-interpreter")
            for id in left.files
            if not is_there(id)
        ),
    ]


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
            "originals": options.fallbacks.originals is not None,
            "via_container": options.fallbacks.containers is not None,
            "dump": options.start.dump.digest if options.start.dump else None,
        },
        min_fidelity=options.policy.min_fidelity,
    )


async def _changes(surveyor: Surveyor, old: Mapping[tuple[Kind, str], str], start: Roots) -> list[Changed]:
    """The definitions once more: what was added, removed or changed while the contents came.

    None where a list of them is doubted: what it lacks at one time and has at another has not changed for that.
    """
    if surveyor.doubts.keys() & {KINDS[kind].endpoint for kind in DEFINITIONS}:
        return []
    try:
        after = await gather(surveyor, start)
    except UsageFault:  # nothing that was selected is there any more
        after = Definitions()
    new = _hashes(after.all())
    how = {
        **dict.fromkeys(old.keys() - new.keys(), "removed"),
        **dict.fromkeys(new.keys() - old.keys(), "added"),
        **{each: "changed" for each in old.keys() & new.keys() if old[each] != new[each]},
    }
    return [
        Changed(kind=kind, id=ident, how=how[kind, ident])
        for kind, ident in sorted(how, key=lambda each: (DEFINITIONS.index(each[0]), each[1]))
    ]


def _hashes(records: Iterable[Record]) -> dict[tuple[Kind, str], str]:
    return {(record.kind, record.id): record_hash(record.kind, readable(record.raw)) for record in records}
