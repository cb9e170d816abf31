"""The result of an import and its documents: ``report.md`` for people, and ``mapping.json`` from source ids to ids of
the copy."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from holdall.dialects.loss import Loss
from holdall.dialects.tables import Form
from holdall.endpoint import same_account
from holdall.errors import CannotWrite, HoldallError
from holdall.importer.runs.runlines import JOURNAL, first_line
from holdall.kinds import ASSISTANT_KINDS, KINDS, noun
from holdall.model import Kind, SourceId, TargetId
from holdall.safe_open import read_regular

MAPPING = "mapping.json"

# A reason in the report names so many things and counts the rest; audit.jsonl has them all.
_NAMED = 20

# Letters, digits and what is no ASCII; signs that Markdown knows only where they stand otherwise than here; the dot of
# a file's name that no viewer takes for a host's.
_HARMLESS = re.compile(
    r"""(?!www\.)(?:[^\W_]|[^\x00-\x7f]|(?<=[^\W_])_(?=[^\W_])|[-,()'"/=+%]|[.:;!?&](?![^)])
    |\.(?=[0-9]|[a-z]{3})(?!(?:biz|com|edu|gov|net|org|pro|web|xxx|aero|asia|coop|info|museum|name|shop)(?![a-z])))*+""",
    re.X | re.I,
)
# How a list, a heading or a rule may begin.
_LIST = re.compile(r"[-+=]|[0-9]+[.)]")


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
    only some of them make it partial. ``how`` it came to be: ``created``, ``adopted``, ``updated``, ``left``
    or ``written``.
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
        return f"{noun(self.kind)} {self.name or '(unnamed)'}: {self.ours} and {self.id}"


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
        assistants = {row.src: row.dst for row in self.mappings if row.dst is not None}
        return {Kind.ASSISTANT: assistants, Kind.AGENT: self.agents, Kind.STORE: self.stores}[kind]

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
    error that kept the rest from being attempted.
    """

    mappings: list[MappingRow] = []
    started: str
    by_kind: dict[Kind, list[Result]]
    requests: dict[str, int]
    stopped: HoldallError | None = None

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


def markdown(report: Report) -> str:
    """The report for people. Everything that is not whole stands under Failed Clones with its reason."""
    clones = report.of(*ASSISTANT_KINDS)
    whole = [result for result in clones if result.status is Status.SUCCESS]
    shown = (kind for kind in ASSISTANT_KINDS if report.of(kind) or not KINDS[kind].since)
    total = ", ".join(f"{len(report.of(kind))} {KINDS[kind].count}" for kind in shown)
    rest = [result for result in report.results if result.status is not Status.SUCCESS]
    lines = [
        "# Clone Report",
        "",
        "## Summary",
        f"- Total: {total}",
        f"- Success: {len(whole)}",
        f"- Failed: {len(clones) - len(whole)}",
        *_orphans(report.orphans),
        *_duplicates(report),
        "",
        "## Successful Clones",
    ]
    for result in whole:
        lines.append(f"- {_text(result.source)} → {_text(result.target or '')} ({_name(result)})")
        lines += _losses(result)
    lines += ["", "## Failed Clones"]
    for result in rest:
        there = f" → {_text(result.target)} ({_name(result)}), {result.status}" if result.target else ""
        lines.append(f"- {_text(result.source)}{there}: {_text(result.error or result.status.value)}")
        lines += _losses(result)
    return "\n".join(lines) + "\n"


def _listed(lines: list[str], rest: str) -> list[str]:
    """Up to ``_NAMED`` lines, indented; then how many more there are, all of them in the file ``rest``."""
    shown = [f"  - {line}" for line in lines[:_NAMED]]
    if len(lines) > _NAMED:
        shown.append(f"  - and {len(lines) - _NAMED} more, all of them in {rest}")
    return shown


def _orphans(orphans: list[Orphan]) -> list[str]:
    if not orphans:
        return []
    lines = []
    for orphan in orphans:
        size = f", {orphan.size} bytes" if orphan.size is not None else ""
        where = _text(orphan.id) if orphan.id else "not found yet"
        where += ", from before this run" if orphan.earlier else ", no answer to its creation"
        lines.append(f"{noun(orphan.kind)} {_text(orphan.name or '(unnamed)')}{size}: {where}")
    return [f"- Possible orphans: {len(orphans)} (not used by anything)", *_listed(lines, MAPPING)]


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


def _duplicates(report: Report) -> list[str]:
    if not report.duplicates:
        return []
    why = f"another import created the same objects at the same time; {keeping(report)}"
    lines = [_text(str(one)) for one in report.duplicates]
    return [f"- Duplicates: {len(lines)} ({why})", *_listed(lines, MAPPING)]


def _losses(result: Result) -> list[str]:
    return _listed([_text(str(loss)) for loss in result.losses], "audit.jsonl")


def _name(result: Result) -> str:
    return "no name" if result.name is None else _text(result.name)


def _text(text: str) -> str:
    """One line that a Markdown viewer shows as it is: names come from servers, and could hold tags, links or mentions.

    Words that can mean nothing stay; the others are code spans, for a backslash keeps neither an address from becoming
    a link nor an ``@`` from becoming a mention.
    """
    kept = "".join(" " if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char for char in text)
    return " ".join(_word(word, first=not place) for place, word in enumerate(kept.split()))


def _word(word: str, *, first: bool) -> str:
    if _HARMLESS.fullmatch(word) and not (first and _LIST.match(word)):
        return word
    fence = "`" * (max(map(len, re.findall("`+", word)), default=0) + 1)
    room = " " if "`" in (word[0], word[-1]) else ""
    return f"{fence}{room}{word}{room}{fence}"


def mapping(report: Report) -> RunMapping:
    """The mapping of a run."""
    kept = {name: getattr(report, name) for name in RunMapping.__struct_fields__}
    kept["mappings"] = [
        MappingRow(src=one.source, dst=one.target, name=one.name, status=one.status, error=one.error)
        for one in report.assistants
    ]
    kept["agents"] = {one.source: one.target for one in report.of(Kind.AGENT) if one.target is not None}
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
        raise CannotWrite(f"can't read {path}: {error.strerror or error}") from None
