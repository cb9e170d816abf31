"""The folders of runs, ``OUTPUT_DIR/runs/<id>/``, and all runs in order.

A folder has the plan, the journal, the audit log, mapping and report of its run, and the baseline: the ids at the
destination before the run. The baseline is taken before the first write; whatever isn't in it came later. It may have a
million lines, so it is written and read as a stream.
"""

from __future__ import annotations

import asyncio
import hashlib
from array import array
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from holdall.agent_views import FoundryAgentView
from holdall.bundle.reader import BundleReader
from holdall.dialects.rules import CLONED_FROM, OPERATION, UNMARKED
from holdall.endpoint import same_account
from holdall.errors import (
    REQUEST_ERRORS,
    CannotRead,
    CannotWrite,
    HoldallError,
    ImportFailed,
    NotFound,
    OutputLocked,
    RequestRefused,
)
from holdall.importer.plan.difference import Difference
from holdall.importer.plan.steps import Plan
from holdall.importer.runs.effects import has_undo, is_undone
from holdall.importer.runs.runjournal import JOURNAL, Line, Opened, RunJournal, first_line, timestamp
from holdall.importer.runs.runreport import (
    AUDIT,
    MAPPING,
    Orphan,
    Report,
    RunMapping,
    mapping,
    markdown,
    read_mapping,
    run_page,
)
from holdall.importer.runs.runstate import RunState, read_state
from holdall.kinds import ASSISTANT_KINDS, KINDS
from holdall.model import Kind, SourceId, TargetId, credible, epoch_seconds
from holdall.remote.client import Account, path, viewed
from holdall.remote.lists import Doubt
from holdall.safe_files import (
    AppendLog,
    FileLock,
    cannot_write,
    open_regular,
    read_regular,
    replace,
    sync_file,
    sync_folder,
    write_whole,
)

REPORT = "report.md"
PAGE = "report.html"
BEFORE = "before.jsonl"
_PLAN = "plan.json"
_LOCK = ".lock"

_HINT = "choose another folder with --output-dir (OUTPUT_DIR)"


class RunFolder:
    """The folder of the current run. Created at once: CannotWrite comes before anything is sent to the account.

    ``token`` makes the id unique. ``resume`` is the id of an interrupted run, whose journal gives the ``state``.
    """

    def __init__(
        self,
        output: Path,
        *,
        now: Callable[[], float],
        token: str = "",
        resume: str | None = None,
        sync: Callable[[BinaryIO], None] = sync_file,
    ) -> None:
        self._now = now
        self.output = output
        self.id = resume or new_id(output, now(), token)
        self.path = output / "runs" / self.id
        self.baseline = Baseline(self.path / BEFORE)
        self.state = RunState() if resume is None else read_state(self.path / JOURNAL)
        try:
            # Two runs in one folder would write one journal.
            self.path.mkdir(parents=True, exist_ok=resume is not None)
            new = resume is None
            self._audit = AppendLog(self.path / AUDIT, new=new, hint=_HINT)
            # A journal that is resumed is cut where the fold ended: what a crash left half is no line.
            end = None if new else self.state.end
            self.journal = RunJournal(self.path / JOURNAL, new=new, end=end, sync=sync, hint=_HINT)
            # A name that a crash takes away takes a durable journal with it.
            sync_folder(self.path)
        except OSError as error:
            raise cannot_write(self.path, error, hint=_HINT) from None

    async def write(self, line: Line) -> None:
        """Append a line to the journal; once it is durable, fold it into ``state``. Raises CannotWrite."""
        await self.journal.write(line)
        self.state.take(line)

    def keep(self, plan: Plan) -> None:
        """Save the plan: a resumed run follows it, whatever is at the destination by then."""
        write_whole(self.path / _PLAN, msgspec.json.encode(plan), hint=_HINT)

    def plan(self) -> Plan:
        """The saved plan. Raises CannotWrite."""
        try:
            return msgspec.json.decode(read_regular(self.path / _PLAN), type=Plan)
        except (OSError, msgspec.DecodeError) as error:
            raise CannotWrite(
                f"can't resume run {self.id}: can't read its plan {self.path / _PLAN} ({error})",
                hint="use `holdall undo` to undo it, or another --output-dir to start a new run",
            ) from None

    def audit(self, line: AuditLine) -> None:
        """Append one line; in the file when the process ends, durable after ``close``."""
        line = msgspec.structs.replace(line, at=timestamp(self._now(), fraction=True))
        # Nothing is decided by it: only the journal has to survive a crash.
        self._audit.append(msgspec.json.encode(line) + b"\n", sync=False)

    def publish(self, report: Report, changes: Sequence[Difference] = ()) -> None:
        """Write mapping, report and page into the run's folder and, as the latest, into OUTPUT_DIR; each whole or not.

        ``changes`` are the values that the run replaced.
        """
        document = msgspec.json.format(msgspec.json.encode(mapping(report)), indent=2) + b"\n"
        self._publish(MAPPING, document)
        # A server may send half of a surrogate pair as a name, which is no UTF-8.
        self._publish(REPORT, markdown(report).encode("utf-8", "backslashreplace"))
        self.publish_page(report, changes)

    def publish_page(self, report: Report, changes: Sequence[Difference], bundle: BundleReader | None = None) -> None:
        """Write the page alone, with a card for each object of the ``bundle`` that was imported. From any thread."""
        self._publish(PAGE, _page_of(report, changes, bundle).encode())

    def _publish(self, name: str, document: bytes) -> None:
        # The run's own first: where the disk fills up, OUTPUT_DIR keeps what the run before says.
        for folder in (self.path, self.output):
            write_whole(folder / name, document, hint=_HINT)

    async def close(self) -> None:
        try:
            await self.journal.drain()
        finally:
            self.journal.close()
            self._audit.close(sync=True)


class AuditLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One operation, or one finding about a copy. ``at`` is UTC, set when it is written; ``outcome`` is one word."""

    at: str = ""
    operation: str
    outcome: str
    kind: Kind | None = None
    source: SourceId | None = None
    target: TargetId | None = None
    name: str | None = None
    status: int | None = None
    request_id: str | None = None
    detail: str = ""


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Lock ``output`` against other imports on this machine. Raises OutputLocked, or CannotWrite."""
    busy = OutputLocked(
        f"can't import into {output}: another import is using this folder",
        hint=f"wait for it to end, or {_HINT}",
    )
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock = FileLock(output / _LOCK, busy=busy)
    except OSError as error:
        raise cannot_write(output, error, hint=_HINT) from None
    try:
        yield
    finally:
        lock.release()


def _page_of(report: Report, changes: Sequence[Difference], bundle: BundleReader | None) -> str:
    # A bundle that can't be read any more is no reason to have no page.
    with suppress(HoldallError, OSError):
        return "".join(run_page(report, changes, bundle))
    return "".join(run_page(report, changes))


# -- all runs ------------------------------------------------------------------------------------------

_CHANGEABLE = frozenset({"concurrency", "settle"})
"""Options that may be others when a run is resumed: they don't change what is made."""

# The form of a run's id, before its token; of the runs of earlier versions without the fraction.
_ID_FORMS = ("%Y%m%dT%H%M%S.%f", "%Y%m%dT%H%M%S")


class PastRun:
    """A run that has a journal, in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.name

    @cached_property
    def opened(self) -> Opened | None:
        """The journal's first line; None where the run was cut off before that, or it can't be read."""
        return first_line(self.folder / JOURNAL)

    @property
    def is_undone(self) -> bool:
        """Whether nothing is left of what it did. Raises CannotWrite."""
        return is_undone(self.folder)

    @property
    def has_undo(self) -> bool:
        """Whether an undo of it has begun."""
        return has_undo(self.folder)

    def state(self) -> RunState:
        """Reads the journal. Raises as ``read_state``."""
        return read_state(self.folder / JOURNAL)

    def is_at(self, destination: Mapping[str, str | None]) -> bool:
        """Whether it went there (see ``same_account``), or its destination is unknown."""
        return not self.opened or same_account(self.opened.destination, destination)


def past_runs(output: Path, destination: Mapping[str, str | None] | None = None) -> list[PastRun]:
    """The runs below ``output`` that went to ``destination`` (None: anywhere), in the order in which they began."""
    folders = sorted((journal.parent for journal in output.glob(f"runs/*/{JOURNAL}")), key=_place_in_order)
    return [run for run in map(PastRun, folders) if destination is None or run.is_at(destination)]


def past_states(output: Path) -> Iterator[RunState]:
    """The states of all runs below ``output``, in order, without those that can't be read."""
    for run in past_runs(output):
        with suppress(CannotWrite, ImportFailed):
            yield run.state()


def made_in(output: Path) -> Iterator[TargetId]:
    """The ids of all that the runs below ``output`` made, changed or put into a store."""
    return (target for state in past_states(output) for target in state.touched())


def mappings(output: Path, destination: Mapping[str, str | None] | None = None) -> Iterator[tuple[Path, RunMapping]]:
    """The mappings of ``destination`` (None: of any), newest first: that in OUTPUT_DIR, then those of the runs that are
    not undone. Raises CannotWrite."""
    folders = (run.folder for run in reversed(past_runs(output)) if not run.is_undone)
    for folder in (output, *folders):
        found = read_mapping(folder / MAPPING)
        if found is not None and (destination is None or found.is_at(destination, output)):
            yield folder / MAPPING, found


def unfinished(
    output: Path,
    digests: Mapping[str, str],
    destination: Mapping[str, str | None],
    options: Mapping[str, Any],
) -> str | None:
    """The id of the newest run below ``output`` with this bundle, destination and options, if it was cut off.

    Raises CannotWrite or ImportFailed where that run's journal can't be read.
    """
    for run in reversed(past_runs(output, destination)):
        its = run.opened
        if its and digests.items() <= its.bundle.items() and _fixed(its.options) == _fixed(options):
            return None if run.state().closed else run.name
    return None


def _fixed(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _CHANGEABLE}


def new_id(output: Path, now: float, token: str) -> str:
    """An id for a run that begins ``now`` (Unix seconds): it sorts after those of all runs there, whatever the clock
    says. ``token`` makes it unique beyond this folder."""
    moment = datetime.fromtimestamp(now, UTC)
    last = next((began for run in reversed(past_runs(output)) if (began := _began(run.folder))), None)
    if last is not None:
        # By a clock that was set back, a run would seem older than those that it builds upon.
        moment = max(moment, last + timedelta(milliseconds=1))
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03}Z-{token}"


def _time_in_id(run: Path) -> str:
    return run.name.partition("-")[0].removesuffix("Z")


def _began(run: Path) -> datetime | None:
    for form in _ID_FORMS:
        with suppress(ValueError):
            return datetime.strptime(_time_in_id(run), form).replace(tzinfo=UTC)
    return None


def _place_in_order(run: Path) -> tuple[str, str, int]:
    """By the id; runs of earlier versions, whose ids have whole seconds, by the time of their first audit line."""
    noted = ""
    with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError, StopIteration), open_regular(run / AUDIT) as file:
        noted = msgspec.json.decode(next(file), type=AuditLine).at
    return _time_in_id(run), noted, (run / JOURNAL).stat().st_mtime_ns


# -- what is at the destination ------------------------------------------------------------------------

PLACES: dict[Kind, str] = {kind: KINDS[kind].endpoint for kind in (Kind.FILE, Kind.STORE, Kind.SKILL, *ASSISTANT_KINDS)}
"""The lists of an account, by kind."""

# Items of a page: OpenAI lists files by 10,000; some servers refuse more than the usual 100.
_LARGE_PAGE = 10_000
_USUAL_PAGE = 100


def place(kind: Kind, target: TargetId) -> str:
    """The path of one object. That of a version is below its agent's or its skill's.

    >>> place(Kind.STORE, TargetId("vs_1")), place(Kind.AGENT_VERSION, TargetId("help-desk:3"))
    ('/vector_stores/vs_1', '/agents/help-desk/versions/3')
    """
    if kind in (Kind.AGENT_VERSION, Kind.SKILL_VERSION):
        name, _, version = target.rpartition(":")
        return path(f"{KINDS[kind].endpoint}/{{}}", name, version)
    return path(f"{PLACES[kind]}/{{}}", target)


async def listed(account: Account, kind: Kind, doubt: Doubt | None = None) -> AsyncIterator[bytes]:
    """Every object of a kind, as the server sent it; files in large pages where the server has them.

    ``doubt`` is told where the list may lack something.
    """
    begun = False
    for limit in (_LARGE_PAGE, _USUAL_PAGE) if kind is Kind.FILE else (_USUAL_PAGE,):
        try:
            async for raw in account.items(PLACES[kind], limit=limit, doubt=doubt):
                begun = True
                yield raw
            return
        except RequestRefused:
            if begun or limit == _USUAL_PAGE:
                raise


def read_listed(kind: Kind, raw: bytes) -> Listed:
    """One object of a list. Of an agent of Foundry the latest version has the metadata. Raises UnexpectedAnswer."""
    what = f"a record of {KINDS[kind].endpoint}"
    if kind is Kind.AGENT_VERSION:
        version = viewed(raw, _ListedVersion, what)
        id = TargetId(f"{version.name}:{version.version}")
        return Listed(id=id, name=version.name, metadata=version.metadata)
    if kind is not Kind.FOUNDRY_AGENT:
        return viewed(raw, Listed, what)
    view = viewed(raw, FoundryAgentView, what)
    made = epoch_seconds(view.created_at)
    return Listed(id=TargetId(view.id), name=view.id, created_at=made, metadata=view.metadata)


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """What is read of any object in a list."""

    id: TargetId
    name: str | None = None
    filename: str | None = None
    bytes: int | float | None = None
    created_at: int | float | None = None
    metadata: dict[str, Any] | None = None

    def mark(self, key: str) -> str | None:
        """One of our marks, where it carries that."""
        found = (self.metadata or {}).get(key)
        return found if isinstance(found, str) else None


class _ListedVersion(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    version: str | int
    metadata: dict[str, Any] | None = None


RECENT = 3600
"""Seconds for which an object that another import made is a sign that this import may still be running."""


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """An object with our marks: which attempt made it, of what, and when (Unix seconds by the server's clock)."""

    kind: Kind
    id: TargetId
    name: str | None
    source: str
    op: str
    created: int


async def stamps(account: Account, kinds: Collection[Kind] = tuple(PLACES)) -> AsyncIterator[Stamp]:
    """The stores, assistants and agents, or those of ``kinds``, that carry our marks."""
    for kind in (kind for kind in kinds if kind not in UNMARKED):
        with suppress(NotFound, RequestRefused):
            async for raw in listed(account, kind):
                if stamp := _stamp_of(kind, read_listed(kind, raw)):
                    yield stamp


def _stamp_of(kind: Kind, seen: Listed) -> Stamp | None:
    op, source = seen.mark(OPERATION), seen.mark(CLONED_FROM)
    # Files carry no marks, whatever a server shows as their metadata.
    if kind in UNMARKED or op is None or source is None:
        return None
    return Stamp(kind=kind, id=seen.id, name=seen.name, source=source, op=op, created=epoch_seconds(seen.created_at))


# -- the baseline --------------------------------------------------------------------------------------


class Baseline:
    """The baseline of one run, at ``path`` once it is whole."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: array[int] | None = None

    async def had_file(self, id: TargetId) -> bool:
        """Whether that file is in it. Holds eight bytes a file, once it was asked. Raises CannotWrite."""
        if self._files is None:
            self._files = await asyncio.to_thread(self._file_prints)
        short = _short_id(id)
        at = bisect_left(self._files, short)
        return at < len(self._files) and self._files[at] == short

    def _file_prints(self) -> array[int]:
        found = (_short_id(line.id) for line in self._lines() if line.kind is Kind.FILE and line.id is not None)
        return array("Q", sorted(found))

    async def take(
        self,
        account: Account,
        kinds: Collection[Kind] = tuple(PLACES),
        *,
        uploads: Container[tuple[str, int]] = frozenset(),
    ) -> list[Stamp]:
        """List the account's files, stores, assistants and agents, or only ``kinds``. Durable on return, and whole or
        absent.

        ``uploads`` are the names and sizes of what the run uploads. A kind that can't be listed is written down as
        that: nothing of it can be told from what was there before. Returns the objects that carry our marks. Raises
        CannotWrite and what stops every request.
        """
        marked: list[Stamp] = []
        fresh = self.path.with_name(f"{self.path.name}.new")
        try:
            with fresh.open("wb") as file:
                for kind in kinds:
                    is_whole = False
                    with suppress(*REQUEST_ERRORS, msgspec.DecodeError):
                        async for raw in listed(account, kind):
                            seen = read_listed(kind, raw)
                            file.write(_encoded(_baseline_line(kind, seen, uploads)))
                            if stamp := _stamp_of(kind, seen):
                                marked.append(stamp)
                        is_whole = True
                    file.write(_encoded(_BaselineLine(kind=kind, whole=is_whole)))
                sync_file(file)
            # Whole or absent: with half a listing, what stood there before would seem to be new.
            replace(fresh, self.path)
        except OSError as error:
            with suppress(OSError):
                fresh.unlink()
            raise cannot_write(self.path, error) from None
        return marked

    def newer(self, kind: Kind, ids: Iterable[TargetId], *, perhaps: bool = False) -> set[TargetId]:
        """Those of ``ids`` that weren't there; where that can't be said none, or with ``perhaps`` those that may not
        have been. Raises CannotWrite."""
        left, whole = set(ids), False
        if left:
            for line in self._lines():
                if line.kind is kind:
                    whole = whole or line.whole is True
                    if line.id is not None:
                        left.discard(line.id)
        return left if whole or perhaps else set()

    def is_whole(self, kind: Kind) -> bool:
        """Whether all of that kind could be listed. Raises CannotWrite."""
        return any(line.kind is kind and line.whole is True for line in self._lines())

    def lookalikes(self) -> dict[TargetId, Orphan]:
        """The files with the name and size of one that the run uploads, by their ids. Raises CannotWrite."""
        return {
            line.id: Orphan(kind=Kind.FILE, id=line.id, source=None, name=line.name, size=line.size, earlier=True)
            for line in self._lines()
            if line.id is not None and line.name is not None
        }

    def _lines(self) -> Iterator[_BaselineLine]:
        try:
            with open_regular(self.path) as file:
                for raw in file:
                    yield _line_decoder.decode(raw)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError) as error:
            raise CannotRead(f"can't read {self.path}: {getattr(error, 'strerror', None) or error}") from None


class _BaselineLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One object, with ``name`` and ``size`` where it is a lookalike; or, without an id, the word that this kind's list
    is ``whole`` or could not be fetched."""

    kind: Kind
    id: TargetId | None = None
    whole: bool | None = None
    name: str | None = None
    size: int | None = None


_line_decoder = msgspec.json.Decoder(_BaselineLine)


def _baseline_line(kind: Kind, seen: Listed, uploads: Container[tuple[str, int]]) -> _BaselineLine:
    name, size = seen.filename or "", credible(seen.bytes) or 0
    if kind is Kind.FILE and (name, size) in uploads:
        return _BaselineLine(kind=kind, id=seen.id, name=name, size=size)
    return _BaselineLine(kind=kind, id=seen.id)


def _encoded(line: _BaselineLine) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def _short_id(id: str) -> int:
    """64 bits that stand for an id: of a million of them no two are alike."""
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest())
