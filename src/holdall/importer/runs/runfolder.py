"""The folders of runs, ``OUTPUT_DIR/runs/<id>/`` with journal, audit log, mapping and report; and all runs in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from holdall.bundle.durable import AppendLog, cannot_write, sync_file, sync_folder, write_whole
from holdall.bundle.reader import BundleReader
from holdall.endpoint import same_account
from holdall.errors import CannotWrite, HoldallError, ImportFailed, OutputLocked
from holdall.importer.plan.difference import Difference
from holdall.importer.plan.plan_document import Plan
from holdall.importer.runs.baseline import Baseline
from holdall.importer.runs.effects import has_undo, is_undone
from holdall.importer.runs.runlines import JOURNAL, Line, Opened, RunJournal, first_line, timestamp
from holdall.importer.runs.runpages import AUDIT, markdown, run_page
from holdall.importer.runs.runreport import MAPPING, Report, RunMapping, mapping, read_mapping
from holdall.importer.runs.runstate import RunState, read_state
from holdall.model import Kind, SourceId, TargetId
from holdall.safe_open import FileLock, open_regular, read_regular

__all__ = [
    "BEFORE",
    "JOURNAL",
    "PAGE",
    "REPORT",
    "AuditLine",
    "PastRun",
    "RunFolder",
    "locked",
    "made_in",
    "mappings",
    "new_id",
    "past_runs",
    "past_states",
    "unfinished",
]

REPORT = "report.md"
PAGE = "report.html"
PLAN = "plan.json"
BEFORE = "before.jsonl"
LOCK = ".lock"

_LOOSE = frozenset({"concurrency", "settle"})
"""Options that may be others when a run goes on: they don't change what is made."""

_HINT = "choose another folder with --output-dir (OUTPUT_DIR)"

# The form of a run's id, before its token; of the runs of earlier versions without the fraction.
_FORMS = ("%Y%m%dT%H%M%S.%f", "%Y%m%dT%H%M%S")


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
        lock = FileLock(output / LOCK, busy=busy)
    except OSError as error:
        raise cannot_write(output, error, hint=_HINT) from None
    try:
        yield
    finally:
        lock.release()


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
        write_whole(self.path / PLAN, msgspec.json.encode(plan), hint=_HINT)

    def plan(self) -> Plan:
        """The saved plan. Raises CannotWrite."""
        try:
            return msgspec.json.decode(read_regular(self.path / PLAN), type=Plan)
        except (OSError, msgspec.DecodeError) as error:
            raise CannotWrite(
                f"can't resume run {self.id}: can't read its plan {self.path / PLAN} ({error})",
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
        self._publish(PAGE, _page(report, changes, bundle).encode())

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


def _page(report: Report, changes: Sequence[Difference], bundle: BundleReader | None) -> str:
    # A bundle that can't be read any more is no reason to have no page.
    with suppress(HoldallError, OSError):
        return "".join(run_page(report, changes, bundle))
    return "".join(run_page(report, changes))


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
    folders = sorted((journal.parent for journal in output.glob(f"runs/*/{JOURNAL}")), key=_order)
    return [run for run in map(PastRun, folders) if destination is None or run.is_at(destination)]


def past_states(output: Path) -> Iterator[RunState]:
    """The states of all runs below ``output``, in order, without those that can't be read."""
    for run in past_runs(output):
        with suppress(CannotWrite, ImportFailed):
            yield run.state()


def made_in(output: Path) -> Iterator[TargetId]:
    """The ids of all that the runs below ``output`` made, changed or put into a store."""
    return (target for state in past_states(output) for target in state.touched())


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
        if its and digests.items() <= its.bundle.items() and _firm(its.options) == _firm(options):
            return None if run.state().closed else run.name
    return None


def _firm(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in _LOOSE}


def mappings(output: Path, destination: Mapping[str, str | None] | None = None) -> Iterator[tuple[Path, RunMapping]]:
    """The mappings of ``destination`` (None: of any), newest first: that in OUTPUT_DIR, then those of the runs that are
    not undone. Raises CannotWrite."""
    folders = (run.folder for run in reversed(past_runs(output)) if not run.is_undone)
    for folder in (output, *folders):
        found = read_mapping(folder / MAPPING)
        if found is not None and (destination is None or found.is_at(destination, output)):
            yield folder / MAPPING, found


def new_id(output: Path, now: float, token: str) -> str:
    """An id for a run that begins ``now`` (Unix seconds): it sorts after those of all runs there, whatever the clock
    says. ``token`` makes it unique beyond this folder."""
    moment = datetime.fromtimestamp(now, UTC)
    last = next((began for run in reversed(past_runs(output)) if (began := _began(run.folder))), None)
    if last is not None:
        # By a clock that was set back, a run would seem older than those that it builds upon.
        moment = max(moment, last + timedelta(milliseconds=1))
    return f"{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03}Z-{token}"


def _stamp(run: Path) -> str:
    return run.name.partition("-")[0].removesuffix("Z")


def _began(run: Path) -> datetime | None:
    for form in _FORMS:
        with suppress(ValueError):
            return datetime.strptime(_stamp(run), form).replace(tzinfo=UTC)
    return None


def _order(run: Path) -> tuple[str, str, int]:
    """By the id; runs of earlier versions, whose ids have whole seconds, by the time of their first audit line."""
    noted = ""
    with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError, StopIteration), open_regular(run / AUDIT) as file:
        noted = msgspec.json.decode(next(file), type=AuditLine).at
    return _stamp(run), noted, (run / JOURNAL).stat().st_mtime_ns
