"""The result of an import, and ``mapping.json`` from source ids to ids of the copy."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from holdall.dialects.loss import Loss
from holdall.dialects.tables import Form
from holdall.endpoint import same_account
from holdall.errors import CannotRead, HoldallError
from holdall.importer.runs.runlines import JOURNAL, first_line
from holdall.kinds import DEFINITIONS, KINDS, noun
from holdall.model import Kind, SourceId, TargetId
from holdall.safe_open import read_regular

MAPPING = "mapping.json"


class Status(StrEnum):
    SUCCESS = "success"
    PARTIAL = "partial"
    FAILED = "failed"
    NOT_ATTEMPTED = "not_attempted"


class Party(msgspec.Struct, frozen=True, kw_only=True):
    """One side of a copy, as far as it is known: servers need not say either."""

    org_id: str | None = None
    project_id: str | None = None


class ReportDestination(Party, frozen=True, kw_only=True):
    base_url: str | None = None

    @property
    def account(self) -> dict[str, str | None]:
        """As journals name it, and ``same_account`` takes it."""
        return {"base_url": self.base_url, "organization": self.org_id, "project": self.project_id}


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One root: an assistant, an agent, a store that none uses, or all files that nothing refers to (without a
    ``target``).

    ``error`` is in words, None for a success. ``losses`` are all that belong to it, those of its stores and files too;
    only some of them make it partial. ``how`` it came to be: ``created``, ``adopted``, ``updated``,
    ``new version``, ``left`` or ``written``.
    """

    source: SourceId
    target: TargetId | None = None
    name: str | None = None
    status: Status
    error: str | None = None
    losses: list[Loss] = []
    how: str = "created"


class Orphan(msgspec.Struct, frozen=True, kw_only=True):
    """An object that may exist at the destination without any use, because the answer to its upload was lost.

    ``id`` is None where it has not turned up; ``source``, ``name`` and ``size`` (bytes) are those of what was sent.
    ``earlier``: it was there before this run, and looks like something that an import left behind whose folder isn't
    here.
    """

    kind: Kind
    id: TargetId | None
    source: SourceId | None
    name: str | None
    size: int | None = None
    earlier: bool = False


class Duplicate(msgspec.Struct, frozen=True, kw_only=True):
    """Something at the destination that another import made of the same ``source`` at the same time as this run.

    ``id`` is the other's, ``ours`` this run's; ``run`` is the other run, None where nothing tells which it was.
    """

    kind: Kind
    id: TargetId
    ours: TargetId
    source: SourceId
    name: str | None
    run: str | None = None

    def __str__(self) -> str:
        return f"{noun(self.kind)} {self.name or '(no name)'}: {self.ours} and {self.id}"


ROWS = tuple(kind for kind in DEFINITIONS if kind not in (Kind.ASSISTANT, Kind.STORE))
"""The kinds whose copies a mapping has under their count's name."""


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
    map_connection: tuple[str, ...] = ()
    supplied: tuple[tuple[SourceId, str], ...] = ()


class RunMapping(msgspec.Struct, frozen=True, kw_only=True):
    """``mapping.json``. Ids of the source lead to ids of the destination. What has a default, older ones may lack.

    ``form`` is what became of the assistants: the copy of one that was written down is the path of its request, below
    OUTPUT_DIR. ``copies`` are second uploads of files as text, for stores; the first ones are in use too. ``added`` are
    metadata keys that the server puts in by itself. ``complete`` and ``verdict`` are of the copy against the source, in
    words too; None and empty where the run was stopped.
    """

    ended: str = msgspec.field(name="cloned_at", default="")
    source: Party = Party()
    destination: ReportDestination = ReportDestination()
    mappings: list[MappingRow]
    agents: dict[SourceId, TargetId] = {}
    foundry_agents: dict[SourceId, TargetId] = {}
    skills: dict[SourceId, TargetId] = {}
    environment_templates: dict[SourceId, TargetId] = {}
    stores: dict[SourceId, TargetId] = msgspec.field(name="vector_stores", default_factory=dict)
    files: dict[SourceId, TargetId] = {}
    copies: dict[SourceId, TargetId] = msgspec.field(name="text_copies", default_factory=dict)
    added: Collection[str] = msgspec.field(name="server_metadata", default=())
    orphans: list[Orphan] = msgspec.field(name="possible_orphans", default_factory=list)
    duplicates: list[Duplicate] = []
    form: Form = msgspec.field(name="as", default=Form.ASSISTANTS)
    options: dict[str, Any] = {}
    bundle: dict[str, str] = {}
    run: str = ""
    complete: bool | None = None
    verdict: str = ""

    def placed(self, kind: Kind) -> dict[SourceId, TargetId]:
        """The copies of a kind of definitions."""
        if kind is Kind.ASSISTANT:
            return {row.src: row.dst for row in self.mappings if row.dst is not None}
        found: dict[SourceId, TargetId] = self.stores if kind is Kind.STORE else getattr(self, KINDS[kind].count)
        return found

    @property
    def choices(self) -> RunChoices:
        return msgspec.convert(self.options, RunChoices)

    def is_at(self, destination: Mapping[str, str | None], output: Path) -> bool:
        """Whether it is of this destination, by what it says or else by the journal of its run below ``output``."""
        # Mappings of earlier versions have no base URL, and their runs' journals have one.
        if self.destination.base_url is None and self.run and (its := first_line(output / "runs" / self.run / JOURNAL)):
            return same_account(its.destination, destination)
        return same_account(self.destination.account, destination)


class Report(RunMapping, frozen=True, kw_only=True):
    """The result of one run: its mapping, and what only people and exit codes need.

    ``by_kind`` has a result for each root, ``requests`` how many there were by method and route; ``stopped`` is the
    error that kept the rest from being attempted. ``tool`` is the program with its version; ``source_url`` and
    ``label`` say, with ``source``, where the bundle is from.
    """

    mappings: list[MappingRow] = []
    started: str
    by_kind: dict[Kind, list[Result]]
    requests: dict[str, int]
    stopped: HoldallError | None = None
    tool: str = ""
    source_url: str = ""
    label: str | None = None

    @property
    def results(self) -> list[Result]:
        return self.of(*self.by_kind)

    @property
    def assistants(self) -> list[Result]:
        return self.of(Kind.ASSISTANT)

    def of(self, *kinds: Kind) -> list[Result]:
        return [result for kind in kinds for result in self.by_kind.get(kind, ())]

    @property
    def whole(self) -> bool:
        return all(result.status is Status.SUCCESS for result in self.results)

    def failed(self) -> Iterator[tuple[Kind, SourceId]]:
        """Chosen objects that have no copy."""
        for kind, results in self.by_kind.items():
            for result in results:
                if result.target is None and result.status in (Status.FAILED, Status.NOT_ATTEMPTED):
                    yield kind, result.source

    def losses(self) -> list[Loss]:
        """Every loss once, also where several assistants share it."""
        return list({msgspec.json.encode(loss): loss for result in self.results for loss in result.losses}.values())


def keeping(report: Report) -> str:
    """Which of the runs that made the same objects to keep, and how to undo the other.

    The run with the lower id is kept. Ids begin with the time, so both runs say the same.
    """
    known = sorted({report.run, *(one.run for one in report.duplicates if one.run is not None)})
    if len(known) == 1:
        return f"it is unknown which started first: keep one of them (to remove this one: holdall undo {report.run})"
    if known[0] == report.run:
        undo = " and ".join(f"holdall undo {run}" for run in known[1:])
        return f"keep this run, which started first; to remove the other, use its --output-dir: {undo}"
    return f"keep run {known[0]}, which started first; to remove this one: holdall undo {report.run}"


def mapping(report: Report) -> RunMapping:
    """The mapping of a run."""
    kept = {name: getattr(report, name) for name in RunMapping.__struct_fields__}
    kept["mappings"] = [
        MappingRow(src=one.source, dst=one.target, name=one.name, status=one.status, error=one.error)
        for one in report.assistants
    ]
    # Skills are made for templates, too.
    for kind in (kind for kind in ROWS if kind is not Kind.SKILL):
        kept[KINDS[kind].count] = {one.source: one.target for one in report.of(kind) if one.target is not None}
    kept["added"] = sorted(report.added)
    return RunMapping(**kept)


def read_mapping(path: Path) -> RunMapping | None:
    """The mapping; None where there is none, or what is there isn't one. Raises CannotWrite where it can't be read."""
    try:
        found = msgspec.json.decode(read_regular(path), type=RunMapping)
        return found if found.choices else None
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):  # another tool's, or of a run that was cut off
        return None
    except OSError as error:
        raise CannotRead(f"can't read {path}: {error.strerror or error}") from None
