"""The folder of one run: ``OUTPUT_DIR/runs/<id>/`` with its journal, audit log, mapping and report."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from holdall.bundle.appendlog import AppendLog
from holdall.bundle.durable import cannot_write, durable, sync_folder, write_whole
from holdall.errors import CannotWrite, OutputLocked
from holdall.importer.plan.steps import Plan
from holdall.importer.runs.baseline import Baseline
from holdall.importer.runs.pastruns import AUDIT, JOURNAL, new_id
from holdall.importer.runs.runlines import Line, RunJournal, timestamp
from holdall.importer.runs.runmapping import MAPPING, mapping
from holdall.importer.runs.runreport import Report, markdown
from holdall.importer.runs.runstate import RunState, read_state
from holdall.locks import FileLock
from holdall.model import Kind, SourceId, TargetId
from holdall.opening import read_regular

__all__ = ["JOURNAL", "AuditLine", "RunFolder", "locked"]

REPORT = "report.md"
PLAN = "plan.json"
BEFORE = "before.jsonl"
LOCK = ".lock"

_HINT = "choose another folder with --output-dir (OUTPUT_DIR)"


class AuditLine(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One operation, or one thing found out about a copy. ``at`` is UTC, ``outcome`` one word."""

    at: str
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
    """Keep other imports, of this machine, off ``output``. Raises OutputLocked, or CannotWrite."""
    busy = OutputLocked(
        f"can't import into {output}: another import is using this folder",
        hint="wait for it, or choose another folder with --output-dir (OUTPUT_DIR)",
    )
    try:
        output.mkdir(parents=True, exist_ok=True)
        lock = FileLock(output / LOCK, busy=busy)
    except OSError as error:
        raise _unwritable(output, error) from None
    try:
        yield
    finally:
        lock.release()


class RunFolder:
    """Made at once; raises CannotWrite before anything is sent to the account. ``token`` makes the id unique.

    ``again`` is the id of an interrupted run to resume; ``state`` is then folded from its journal.
    """

    def __init__(
        self,
        output: Path,
        *,
        now: Callable[[], float],
        token: str = "",
        again: str | None = None,
        sync: Callable[[BinaryIO], None] = durable,
    ) -> None:
        self._now = now
        self.output = output
        self.id = again or new_id(output, now(), token)
        self.path = output / "runs" / self.id
        self.baseline = Baseline(self.path / BEFORE)
        self.state = RunState() if again is None else read_state(self.path / JOURNAL)
        try:
            self.path.mkdir(parents=True, exist_ok=again is not None)
            new = again is None
            self._audit = AppendLog(self.path / AUDIT, new=new, hint=_HINT)
            self.journal = RunJournal(
                self.path / JOURNAL, new=new, end=None if new else self.state.end, sync=sync, hint=_HINT
            )
            sync_folder(self.path)
        except OSError as error:
            raise _unwritable(self.path, error) from None

    async def write(self, line: Line) -> None:
        """Into the journal, and once it is durable there into ``state``. Raises CannotWrite."""
        await self.journal.write(line)
        self.state.take(line)

    def keep(self, plan: Plan) -> None:
        """Keep the plan, so that the run goes on by it whatever stands at the destination by then."""
        write_whole(self.path / PLAN, msgspec.json.encode(plan), hint=_HINT)

    def plan(self) -> Plan:
        """The plan that was kept. Raises CannotWrite."""
        try:
            return msgspec.json.decode(read_regular(self.path / PLAN), type=Plan)
        except (OSError, msgspec.DecodeError) as error:
            raise CannotWrite(
                f"can't go on with run {self.id}: its plan {self.path / PLAN} can't be read ({error})",
                hint="holdall undo takes back what it did; another --output-dir begins a new run",
            ) from None

    def audit(
        self,
        operation: str,
        outcome: str,
        *,
        kind: Kind | None = None,
        source: SourceId | None = None,
        target: TargetId | None = None,
        name: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        detail: str = "",
    ) -> None:
        """Append one line; in the file when the process ends, durable after ``close``."""
        line = AuditLine(
            at=timestamp(self._now(), fraction=True),
            operation=operation,
            outcome=outcome,
            kind=kind,
            source=source,
            target=target,
            name=name,
            status=status,
            request_id=request_id,
            detail=detail,
        )
        self._audit.append(msgspec.json.encode(line) + b"\n", sync=False)

    def publish(self, report: Report) -> None:
        """Write mapping and report into the run's folder and, as the latest, into OUTPUT_DIR; each whole or not."""
        document = msgspec.json.format(msgspec.json.encode(mapping(report)), indent=2) + b"\n"
        for folder in (self.path, self.output):
            write_whole(folder / MAPPING, document, hint=_HINT)
            write_whole(folder / REPORT, markdown(report).encode("utf-8", "backslashreplace"), hint=_HINT)

    async def close(self) -> None:
        try:
            await self.journal.drain()
        finally:
            self.journal.close()
            self._audit.close(sync=True)


def _unwritable(path: Path, error: OSError) -> CannotWrite:
    return cannot_write(path, error, hint=_HINT)
