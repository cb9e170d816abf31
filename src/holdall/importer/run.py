"""The folder of one run: ``OUTPUT_DIR/runs/<id>/`` with its journal, audit log, mapping and report."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from holdall.bundle.durable import sync_folder
from holdall.errors import CannotWrite
from holdall.importer.journal import Journal, durable
from holdall.importer.report import Report, mapping, markdown
from holdall.model import Kind, SourceId, TargetId

__all__ = ["AuditLine", "RunFolder", "timestamp"]

MAPPING = "mapping.json"
REPORT = "report.md"
JOURNAL = "journal.jsonl"
AUDIT = "audit.jsonl"


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


def timestamp(now: float, *, fraction: bool = False) -> str:
    """``now`` (Unix seconds) as ``2026-11-22T21:00:00Z``."""
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds" if fraction else "seconds")
    return moment.replace("+00:00", "Z")


class RunFolder:
    """Made at once; raises CannotWrite before anything is sent to the account. ``token`` makes the id unique."""

    def __init__(self, output: Path, *, now: Callable[[], float], token: str) -> None:
        self._now = now
        self.output = output
        self.id = f"{datetime.fromtimestamp(now(), UTC):%Y%m%dT%H%M%SZ}-{token}"
        self.path = output / "runs" / self.id
        try:
            self.path.mkdir(parents=True)
            self._audit = (self.path / AUDIT).open("xb")
            self.journal = Journal(self.path / JOURNAL)
            sync_folder(self.path)
        except OSError as error:
            raise _unwritable(self.path, error) from None

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
        try:
            self._audit.write(msgspec.json.encode(line) + b"\n")
            self._audit.flush()
        except OSError as error:
            raise _unwritable(self.path / AUDIT, error) from None

    def publish(self, report: Report) -> None:
        """Write mapping and report into the run's folder and, as the latest, into OUTPUT_DIR; each whole or not."""
        document = msgspec.json.format(msgspec.json.encode(mapping(report)), indent=2) + b"\n"
        for folder in (self.path, self.output):
            _replace(folder / MAPPING, document)
            _replace(folder / REPORT, markdown(report).encode("utf-8", "backslashreplace"))
            with suppress(OSError):  # a file system that can't do it has done its best
                sync_folder(folder)

    async def close(self) -> None:
        await self.journal.close()
        with suppress(OSError):
            durable(self._audit)
        self._audit.close()


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(f"{path.name}.new")
    try:
        with fresh.open("wb") as file:
            file.write(data)
            durable(file)
        os.replace(fresh, path)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink()
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> CannotWrite:
    return CannotWrite(
        f"can't write {path}: {error.strerror or error}",
        hint="choose another folder with --output-dir (OUTPUT_DIR)",
    )
