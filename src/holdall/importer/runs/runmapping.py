"""``mapping.json``, as it is written and read: which thing of a bundle went where, at which destination."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from holdall.dialects.tables import Form
from holdall.endpoint import same_account
from holdall.errors import CannotWrite
from holdall.importer.runs.pastruns import PastRun, past_runs
from holdall.importer.runs.runreport import Duplicate, Orphan, Party, Report, ReportDestination, Status
from holdall.model import Kind, SourceId, TargetId
from holdall.opening import read_regular

__all__ = ["MAPPING", "RunMapping", "mapping", "mappings", "read_mapping"]

MAPPING = "mapping.json"


class MappingRow(msgspec.Struct, frozen=True, kw_only=True):
    """An assistant and its copy. Where it was written down as a request, ``dst`` is that file's path, below
    OUTPUT_DIR."""

    src: SourceId = msgspec.field(name="srcId")
    dst: TargetId | None = msgspec.field(name="dstId", default=None)
    name: str | None = None
    status: Status = Status.SUCCESS
    error: str | None = None


class RunChoices(msgspec.Struct, frozen=True, kw_only=True):
    """Of the options of a run, those that say what was copied, and as what."""

    prefix: str = ""
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    map_model: tuple[str, ...] = ()


class RunMapping(msgspec.Struct, frozen=True, kw_only=True):
    """``mapping.json``. Ids of the source lead to ids of the destination. What has a default, older ones may lack."""

    cloned_at: str = ""
    source: Party = Party()
    destination: ReportDestination = ReportDestination()
    mappings: list[MappingRow]
    agents: dict[SourceId, TargetId] = {}
    vector_stores: dict[SourceId, TargetId] = {}
    files: dict[SourceId, TargetId] = {}
    text_copies: dict[SourceId, TargetId] = {}
    server_metadata: list[str] = []
    possible_orphans: list[Orphan] = []
    duplicates: list[Duplicate] = []
    form: Form = msgspec.field(name="as", default=Form.ASSISTANTS)
    options: dict[str, Any] = {}
    bundle: dict[str, str] = {}
    run: str = ""

    @property
    def assistants(self) -> dict[SourceId, TargetId]:
        return {row.src: row.dst for row in self.mappings if row.dst is not None}

    def of(self, kind: Kind) -> dict[SourceId, TargetId]:
        """The copies of a kind of definitions."""
        return {Kind.ASSISTANT: self.assistants, Kind.AGENT: self.agents, Kind.STORE: self.vector_stores}[kind]

    @property
    def choices(self) -> RunChoices:
        return msgspec.convert(self.options, RunChoices)

    def is_at(self, destination: Mapping[str, str | None], output: Path) -> bool:
        """Whether it is of this destination, by what it says or else by the journal of its run below ``output``."""
        # Mappings of earlier versions have no base URL.
        if self.destination.base_url is None and self.run and (its := PastRun(output / "runs" / self.run).opened):
            return same_account(its.destination, destination)
        return same_account(self.destination.account, destination)


def mapping(report: Report) -> RunMapping:
    """The mapping of a run."""
    return RunMapping(
        cloned_at=report.ended,
        source=report.source,
        destination=report.destination,
        mappings=[
            MappingRow(src=one.source, dst=one.target, name=one.name, status=one.status, error=one.error)
            for one in report.assistants
        ],
        agents={one.source: one.target for one in report.of(Kind.AGENT) if one.target is not None},
        vector_stores=report.stores,
        files=report.files,
        text_copies=report.copies,
        server_metadata=sorted(report.added),
        possible_orphans=report.orphans,
        duplicates=report.duplicates,
        form=report.form,
        options=report.options,
        bundle=report.bundle,
        run=report.run,
    )


def read_mapping(path: Path) -> RunMapping | None:
    """The mapping; None where there is none, or what is there isn't one. Raises CannotWrite where it can't be read."""
    try:
        found = msgspec.json.decode(read_regular(path), type=RunMapping)
        return found if found.choices else None
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):  # another tool's, or of a run that was cut off
        return None
    except OSError as error:
        raise CannotWrite(f"can't read {path}: {error.strerror or error}") from None


def mappings(output: Path, destination: Mapping[str, str | None] | None = None) -> Iterator[tuple[Path, RunMapping]]:
    """The mappings there are of ``destination`` (None: of any), the newest first: that in OUTPUT_DIR, then those of the
    runs, but of runs that are undone. Raises CannotWrite."""
    folders = (run.folder for run in reversed(past_runs(output)) if not run.is_undone)
    for folder in (output, *folders):
        found = read_mapping(folder / MAPPING)
        if found is not None and (destination is None or found.is_at(destination, output)):
            yield folder / MAPPING, found
