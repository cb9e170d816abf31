"""Exports an account's assistants and agents, with their stores and files, into one bundle.

The order on disk is the order of trust: definitions first, contents as they arrive, then the records about them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Container, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, nullcontext, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from holdall.bundle.layout import Capture, Source
from holdall.bundle.totals import BundleTotals, minimum_of, record_hash
from holdall.bundle.writer import BundleWriter, Finished
from holdall.errors import UsageFault
from holdall.exporter.earlier import Parent, open_parent
from holdall.exporter.fallbacks import Fallbacks, open_fetcher
from holdall.exporter.fetch import Fetch
from holdall.exporter.file_index import FileIndex
from holdall.exporter.ledger import LedgerWriter, Losses, losses_of
from holdall.exporter.report import (
    Absent,
    Changed,
    ContentLoss,
    ExportReport,
    Finding,
    Incomplete,
    LeftOut,
    Policy,
    UnfinishedList,
    unreadable,
)
from holdall.exporter.roots import Roots, gather, refuse_nothing
from holdall.graph import users_of
from holdall.kinds import DEFINITIONS, KINDS, Platform
from holdall.model import Fidelity, Kind, Record, SourceId
from holdall.progress import Progress
from holdall.remote.client import Account, may_be_there, probe, require_any_endpoint
from holdall.remote.containers import Containers
from holdall.remote.survey import Definitions, Surveyor
from holdall.untrusted import readable
from holdall.version import __version__

if TYPE_CHECKING:
    from holdall.dumps import Dump

_SUNSET = (
    "this project has no Assistants API (OpenAI shut it down on 2026-08-26): exporting everything else. If you have "
    "saved definitions of assistants, add --from-dump FILE"
)


class ExportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What to export, and how.

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


async def export(
    account: Account | None,
    target: Callable[[Capture], Path],
    options: ExportOptions,
    *,
    clock: Callable[[], float],
    parent: Callable[[Path, Capture], Path | None],
    force: bool,
    progress: Progress,
) -> ExportReport:
    """Pack what ``options.start`` chooses into one bundle, complete or absent.

    ``account`` is None without a key: then only definitions out of a dump can be packed, and only such as refer to
    nothing. ``target`` chooses the file once it is known what is captured (the project's id comes with the first
    answer), ``parent`` an earlier bundle out of which contents are taken; it is called on another thread. An unfinished
    bundle of the same capture at the target is continued: contents that are whole in it are not fetched again.
    ``clock`` gives Unix seconds. On return the bundle stands durably under its name. Raises RemoteError and
    BundleError; UsageFault where the selection fits nothing, and then no file is made.
    """
    run = _Export(account, options, progress)
    started = int(clock())
    await run.survey()
    # Only now: the project's id comes with an answer, and the bundle is named after it.
    capture = run.capture()
    place = target(capture)
    with await asyncio.to_thread(BundleWriter, place, capture, started=started, force=force) as writer:
        async with open_parent(await asyncio.to_thread(parent, place, capture), progress) as earlier:
            report = await run.fill(writer, earlier, capture)
        if report.unchanged_since is not None:
            await asyncio.to_thread(writer.discard)
            return report
        progress.stage(f"Finishing {place.name}")
        finished = await _to_its_end(asyncio.to_thread(writer.finish, ended=int(clock())))
    return replace(_about(report, finished), sha256=finished.sha256)


class Preview(msgspec.Struct, frozen=True, kw_only=True):
    """What an export would begin with. ``files`` are those that are wanted, whatever the stores hold. ``surveyor`` is
    None without an account."""

    definitions: Definitions
    surveyor: Surveyor | None
    files: set[str]
    start: Roots
    losses: Losses

    def conclude(self, gone: Iterable[str]) -> Losses:
        """The losses that are certain, once ``files`` has those of the stores too; ``gone`` are those of them that the
        server hasn't. To be called once."""
        definitions, losses = self.definitions, self.losses
        users = users_of(definitions.views).files
        for id in map(SourceId, sorted(gone)):
            used_by, why = [*users.get(id, ())], "not found on the server"
            # Of one that is in a store, its text may be there all the same.
            is_lost = id in users or id in definitions.files
            is_held = id in definitions.file_records
            absent = Absent(kind=Kind.FILE, id=id, used_by=used_by, message=why, held=is_held)
            losses.add(absent, in_ledger=is_lost)
            if is_lost:
                lost = Fidelity.UNAVAILABLE
                losses.add(
                    ContentLoss(id=id, filename=None, fidelity=lost, expected=None, used_by=used_by, message=why)
                )
        taken = {(record.kind, record.id) for record in definitions.all()}
        left_out = _left_out(self.start, definitions, taken, self.files.__contains__)
        others = (_losses_of(self.start.dump), losses_of(definitions), left_out, _doubts(self.surveyor))
        for loss in chain.from_iterable(others):
            losses.add(loss)
        return self.losses


async def preview(account: Account | None, options: ExportOptions, *, progress: Progress) -> Preview:
    """Reads what an export would begin with, and writes nothing. Raises as ``export`` does before it writes."""
    run = _Export(account, options, progress)
    await run.survey()
    return run.preview()


class _Export:
    """One export: survey, then write."""

    def __init__(self, account: Account | None, options: ExportOptions, progress: Progress) -> None:
        self._account, self._options, self._progress = account, options, progress
        self._start = options.start
        self._where = account.endpoint.host if account else "the dump"
        self._definitions = Definitions()
        self._surveyor = (
            Surveyor(account, file_search=self._start.file_search, code_interpreter=self._start.code_interpreter)
            if account
            else None
        )

    async def survey(self) -> None:
        """Find out what to export; no assistants if the account has no Assistants API."""
        self._progress.stage(f"Reading definitions from {self._where}")
        account, surveyor, dump = self._account, self._surveyor, self._start.dump
        for note in dump.notes if dump else ():
            self._progress.note(note)
        # Asked only where the answer decides something: it costs a request. A Foundry project may have new agents only.
        asks = self._start.assistants and dump is None and account and account.platform is Platform.OPENAI
        if asks and account and surveyor and (absent := await probe(account)):
            self._progress.note(_SUNSET)
            self._start = replace(self._start, assistants=False)
            if doubt := may_be_there(absent):
                surveyor.doubts["/assistants"] = doubt
        self._definitions = await gather(surveyor, self._start)
        if account and surveyor:
            await self._say_absent(account, surveyor.absent)
        refuse_nothing(self._definitions, self._start)

    def preview(self) -> Preview:
        definitions, surveyor = self._definitions, self._surveyor
        used = surveyor.users(definitions.views).files if surveyor else ()
        return Preview(
            definitions=definitions,
            surveyor=surveyor,
            files={*used, *definitions.files},
            start=self._start,
            losses=Losses(self._options.policy),
        )

    async def _say_absent(self, account: Account, absent: Iterable[str]) -> None:
        """Name the endpoints that the server hasn't, but for those that few have. Raises NotFound where it has none."""
        rare = {row.endpoint for row in KINDS.values() if row.rare}
        told = [where for where in absent if where not in rare]
        is_empty = not (any(self._definitions.all()) or self._definitions.files)
        for where in told:
            if is_empty or where != KINDS[Kind.ASSISTANT].endpoint:
                self._progress.note(f"the server has no {where}; nothing to export there")
        # A server without any of these lists may be a wrong address, and its empty bundle would pass for a backup.
        if told and is_empty:
            await require_any_endpoint(account)

    def capture(self) -> Capture:
        """The capture. The account's project is known after its first answer."""
        account, options, start = self._account, self._options, self._options.start
        return Capture(
            tool=f"holdall/{__version__}",
            source=Source(
                base_url=account.endpoint.base_url if account else "",
                organization=account.organization if account else None,
                project=account.project if account else None,
                label=options.label,
            ),
            selection={"only": list(start.selection.only), "exclude": list(start.selection.exclude)},
            options={
                "file_search": start.file_search,
                "code_interpreter": start.code_interpreter,
                "assistants": start.assistants,
                "unused": start.unused,
                "originals": options.fallbacks.originals is not None,
                "via_container": options.fallbacks.containers is not None,
                "dump": start.dump.digest if start.dump else None,
                # Only where it is asked for: bundles without such agents stay as they were.
                **({"all_versions": True} if start.all_versions else {}),
            },
            min_fidelity=options.policy.min_fidelity,
        )

    async def fill(self, writer: BundleWriter, parent: Parent | None, capture: Capture) -> ExportReport:
        """Write everything. If nothing has changed since the parent and no bundle is wanted then, the parent's contents
        are not read, and the report is about the parent."""
        compared = self._is_compared(parent, capture)
        losses = Losses(_policy(self._options, parent))
        for loss in _losses_of(self._start.dump):
            losses.add(loss)
        with FileIndex() as index, BundleTotals() if compared else nullcontext() as totals:
            ledger = LedgerWriter(writer, index, self._definitions, losses, self._progress, totals, self._account)
            hashes = self._put_records(ledger)
            async with AsyncExitStack() as stack:
                fetch, containers, changes = None, None, []
                if self._account and self._surveyor:
                    opened = open_fetcher(self._account, self._options.fallbacks, self._progress)
                    fetcher, containers = await stack.enter_async_context(opened)
                    fetch = Fetch(
                        self._account, self._surveyor, self._definitions, ledger, fetcher, parent=parent, defer=compared
                    )
                    await fetch.contents()
                    self._progress.stage(f"Looking for changes at {self._where}")
                    changes = await self._changes(self._surveyor, hashes)
                else:
                    writer.open_files().commit()
                left_out = _left_out(self._start, self._definitions, hashes, index.wants)
                for found in (*changes, *left_out, *_doubts(self._surveyor)):
                    losses.add(found)
                digests = await asyncio.to_thread(ledger.digests)
                await asyncio.to_thread(losses.write, writer)
                unchanged = parent is not None and digests == parent.info.digests and not changes
                if fetch and compared:
                    if parent and not unchanged:
                        self._progress.stage(f"Copying files from {parent.path.name}")
                    await fetch.take_deferred(read=not unchanged)
            # After the containers are deleted: only then is it known which could not be.
            report = self._report(ledger, containers, parent)
        if unchanged and parent:
            return replace(_about(report, parent), unchanged_since=parent.info.ended)
        return report

    def _is_compared(self, parent: Parent | None, capture: Capture) -> bool:
        """Whether no bundle is wanted if nothing has changed since the parent, and the parent can tell."""
        if parent is None or not self._options.skip_if_unchanged:
            return False
        # A parent that was asked for something else is no measure of what has changed.
        return (parent.info.selection, parent.info.options) == (capture.selection, capture.options)

    def _put_records(self, ledger: LedgerWriter) -> dict[tuple[Kind, str], str]:
        """The definitions and stores into the writer, and out of memory: contents take long. Returns their hashes."""
        # A store that is asked for under two names is one.
        records = {(each.kind, each.id): each for each in self._definitions.all()}
        for record in records.values():
            ledger.writer.add_record(record)
            ledger.record(record.kind, record.id, record.raw)
        self._definitions.records.clear()
        return _hashes(records.values())

    async def _changes(self, surveyor: Surveyor, old: Mapping[tuple[Kind, str], str]) -> list[Finding]:
        """The definitions once more: what was added, removed or changed while the contents came."""
        # What a doubted list lacks at one time and has at another has not changed for that.
        if surveyor.doubts.keys() & {KINDS[kind].endpoint for kind in DEFINITIONS}:
            return []
        try:
            after = await gather(surveyor, self._start)
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

    def _report(self, ledger: LedgerWriter, containers: Containers | None, parent: Parent | None) -> ExportReport:
        losses = ledger.losses
        return ExportReport(
            fidelities={fidelity.value: ledger.fidelities[fidelity] for fidelity in Fidelity},
            losses=ledger.findings(),
            losses_found=losses.total,
            losses_counting=losses.counting,
            requests=dict(sorted(self._account.requests.items())) if self._account else {},
            parent=parent.path if parent else None,
            taken=ledger.taken,
            containers_made=containers.made if containers else 0,
            containers_left=containers.left if containers else [],
            verdict=losses.verdict(),
        )


def _left_out(
    start: Roots, definitions: Definitions, taken: Container[tuple[Kind, str]], is_there: Callable[[SourceId], bool]
) -> Iterator[Finding]:
    """What the definitions refer to and was not asked for, and isn't here for another reason."""
    left = users_of(definitions.views, stores=not start.file_search, files=not start.code_interpreter)
    for id in left.stores:
        if (Kind.STORE, id) not in taken:
            yield LeftOut(kind=Kind.STORE, id=id, message="left out by --no-file-search")
    for id in left.files:
        if not is_there(id):
            yield LeftOut(kind=Kind.FILE, id=id, message="left out by --no-code-interpreter")


def _doubts(surveyor: Surveyor | None) -> Iterator[Finding]:
    for listed, why in surveyor.doubts.items() if surveyor else ():
        yield UnfinishedList(list=listed, message=why)


def _about(report: ExportReport, made: Finished | Parent) -> ExportReport:
    """The report, with what is to be said of the bundle that the export ended in."""
    info = made.info
    return replace(report, bundle=made.path, size=made.size, digests=info.digests, counts=dict(info.counts))


def _policy(options: ExportOptions, parent: Parent | None) -> Policy:
    """The policy, with what the parent's losses excuse."""
    policy = options.policy
    if parent and options.accept_known_losses and policy.no_stricter_than(minimum_of(parent.info)):
        return replace(policy, known=parent.knew)
    return policy


async def _to_its_end(work: Awaitable[Finished]) -> Finished:
    """Finish ``work`` even if interrupted: it takes seconds, and completes the bundle."""
    task = asyncio.ensure_future(work)
    # Each Ctrl-C cancels what waits, so it is waited for again.
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


def _hashes(records: Iterable[Record]) -> dict[tuple[Kind, str], str]:
    return {(record.kind, record.id): record_hash(record.kind, readable(record.raw)) for record in records}
