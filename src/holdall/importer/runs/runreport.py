"""The result of an import: ``mapping.json``, ``report.md`` and ``report.html``.

The mapping is for programs: it leads from ids of the source to ids of the copy. The two reports are for people.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from holdall.bundle.reader import BundleReader
from holdall.dialects.loss import Loss
from holdall.dialects.rules import Form
from holdall.endpoint import same_account
from holdall.errors import CannotRead, HoldallError
from holdall.importer.plan.bundle_summary import AGENTS
from holdall.importer.plan.difference import Difference
from holdall.importer.runs.runjournal import JOURNAL, first_line
from holdall.kinds import DEFINITIONS, KINDS, noun
from holdall.legible import counted
from holdall.model import Kind, SourceId, TargetId
from holdall.pages import Copies, bundle_sections, code, facts, fold, headline, message, name, page, text
from holdall.safe_files import read_regular

MAPPING = "mapping.json"
AUDIT = "audit.jsonl"


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


_MAPPED_KINDS = tuple(kind for kind in DEFINITIONS if kind not in (Kind.ASSISTANT, Kind.STORE))
"""The kinds whose copies a mapping has under the name of their count."""


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


def mapping(report: Report) -> RunMapping:
    """The mapping of a run."""
    kept = {name: getattr(report, name) for name in RunMapping.__struct_fields__}
    kept["mappings"] = [
        MappingRow(src=one.source, dst=one.target, name=one.name, status=one.status, error=one.error)
        for one in report.assistants
    ]
    # Skills are made for templates, too.
    for kind in (kind for kind in _MAPPED_KINDS if kind is not Kind.SKILL):
        kept[KINDS[kind].count] = {one.source: one.target for one in report.of(kind) if one.target is not None}
    kept["added"] = sorted(report.added)
    return RunMapping(**kept)


def read_mapping(path: Path) -> RunMapping | None:
    """The mapping; None where there is none, or what is there isn't one. Raises CannotRead where it can't be read."""
    try:
        found = msgspec.json.decode(read_regular(path), type=RunMapping)
        return found if found.choices else None
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):  # another tool's, or of a run that was cut off
        return None
    except OSError as error:
        raise CannotRead(f"can't read {path}: {error.strerror or error}") from None


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


def _majors_first(result: Result) -> list[Loss]:
    """Its losses, major ones first."""
    return sorted(result.losses, key=lambda loss: not loss.why.weighs)


# How the copy came to be, where it was not made by this run.
_HOW_WORDS = {
    "adopted": "already there",
    "updated": "updated",
    "new version": "new version",
    "left": "skipped",
    "written": "written",
}


# -- report.md -----------------------------------------------------------------------------------------

# What the report lists at most, so that a code host still shows it: reasons of one result and of all, results of a
# section, those of them that are not folded, and characters of a name or a reason.
_REASONS_OF_ONE = 20
_REASONS = 1000
_RESULTS = 1000
_UNFOLDED = 50
_LONGEST = 500

# Which results stand in each section of the report.
_SECTIONS = ({Status.SUCCESS}, {Status.PARTIAL}, {Status.FAILED, Status.NOT_ATTEMPTED})

# Letters, digits and what is no ASCII; signs that Markdown knows only where they stand otherwise than here; the dot of
# a file's name that no viewer takes for a host's.
_HARMLESS = re.compile(
    r"""(?!www\.)(?:[^\W_]|[^\x00-\x7f]|(?<=[^\W_])_(?=[^\W_])|[-,()'"/=+%]|[.:;!?&](?![^)])
    |\.(?=[0-9]|[a-z]{3})(?!(?:biz|com|edu|gov|net|org|pro|web|xxx|aero|asia|coop|info|museum|name|shop)(?![a-z])))*+""",
    re.X | re.I,
)
# How a list, a heading or a rule may begin.
_LIST_START = re.compile(r"[-+=]|[0-9]+[.)]")


def markdown(report: Report) -> str:
    """The report for people: what came to what, in the sections that the guide has, and why something did not.

    A code host shows it whole: of many results most are folded and the rest counted, and so are their reasons.
    """
    shown = [kind for kind in report.by_kind if report.of(kind)] or [Kind.ASSISTANT]
    total = ", ".join(counted(len(report.of(kind)), KINDS[kind].noun) for kind in shown)
    whole, partial, failed = ([one for one in report.results if one.status in states] for states in _SECTIONS)
    reasons = _Reasons()
    lines = [
        "# Clone Report",
        "",
        *_lines_about(report),
        "",
        "## Summary",
        f"- Total: {total}",
        f"- Success: {len(whole)}",
        f"- Partial: {len(partial)}",
        f"- Failed: {len(failed)}",
        *_orphan_lines(report.orphans),
        *_duplicate_lines(report),
        "",
        "## Successful Clones",
        *_section(whole, reasons),
    ]
    if partial:
        lines += ["", "## Partial Clones", *_section(partial, reasons)]
    lines += ["", "## Failed Clones", *_section(failed, reasons)]
    return "\n".join(lines) + "\n"


def _lines_about(report: Report) -> Iterator[str]:
    there, source = report.destination, report.source
    rows: dict[str, list[str | None]] = {
        "Verdict": [report.verdict or "NOT FINISHED"],
        "Stopped": [report.stopped.message if report.stopped else None],
        "When": [f"{report.started} to {report.ended}"],
        "Bundle": [report.bundle.get("name")],
        "Source": [report.source_url, source.org_id, source.project_id, report.label],
        "Destination": [there.base_url, there.org_id, there.project_id],
        "Run": [report.run, report.tool],
    }
    for title, parts in rows.items():
        if said := ", ".join(_inline(part) for part in parts if part):
            yield f"- {title}: {said}"


def _orphan_lines(orphans: list[Orphan]) -> list[str]:
    if not orphans:
        return []
    lines = []
    for orphan in orphans:
        size = f", {orphan.size} bytes" if orphan.size is not None else ""
        where = _inline(orphan.id) if orphan.id else "not found yet"
        where += ", from before this run" if orphan.earlier else ", the answer to its creation was lost"
        lines.append(f"{noun(orphan.kind)} {_inline(orphan.name or '(no name)')}{size}: {where}")
    return [f"- Possible orphans: {len(orphans)} (not used by anything)", *_listed(lines, MAPPING)]


def _duplicate_lines(report: Report) -> list[str]:
    if not report.duplicates:
        return []
    why = f"another import created the same objects at the same time; {keeping(report)}"
    lines = [_inline(str(one)) for one in report.duplicates]
    return [f"- Duplicates: {len(lines)} ({why})", *_listed(lines, MAPPING)]


def _section(results: list[Result], reasons: _Reasons) -> list[str]:
    if not results:
        return ["None"]
    items = [_item(one, reasons) for one in results[:_RESULTS]]
    lines = [line for item in items[:_UNFOLDED] for line in item]
    if folded := items[_UNFOLDED:]:
        # A viewer takes Markdown inside of HTML for Markdown only with empty lines around it.
        lines += ["", f"<details><summary>{len(folded)} more</summary>", ""]
        lines += [line for item in folded for line in item]
        lines += ["", "</details>"]
    if len(results) > _RESULTS:
        lines += ["", f"And {len(results) - _RESULTS} more; all are in {MAPPING}"]
    return lines


def _item(result: Result, reasons: _Reasons) -> list[str]:
    if result.target is None and result.status in (Status.FAILED, Status.NOT_ATTEMPTED):
        why = _inline(result.error or result.status.value)
        return [f"- {_inline(result.source)}: {why}", *reasons.of(result, but=why)]
    there = f" → {_inline(result.target)}" if result.target else ""
    how = f": {_HOW_WORDS[result.how]}" if result.how in _HOW_WORDS and result.how != "written" else ""
    return [f"- {_inline(result.source)}{there} ({_name_of(result)}){how}", *reasons.of(result)]


class _Reasons:
    """The reasons of results, one a line, as long as the report has room for them."""

    def __init__(self) -> None:
        self._left = _REASONS

    def of(self, result: Result, but: str | None = None) -> list[str]:
        """The reasons, major ones first, without ``but``."""
        losses = _majors_first(result)
        said = [_reason(loss, result) for loss in losses] or (
            [_inline(result.error) or result.status.value] if result.error else []
        )
        said = [one for one in said if one != but]
        lines = _listed(said, AUDIT, min(_REASONS_OF_ONE, self._left))
        self._left -= min(len(said), _REASONS_OF_ONE, self._left)
        return lines


def _reason(loss: Loss, of: Result) -> str:
    """In words; below its own assistant without the name."""
    return _inline(f"{loss.field}: {loss.text}" if loss.id == of.source and loss.field else str(loss))


def _listed(lines: list[str], rest: str, most: int = _REASONS_OF_ONE) -> list[str]:
    """Up to ``most`` lines, indented; then how many more there are, all of them in the file ``rest``."""
    shown = [f"  - {line}" for line in lines[:most]]
    if len(lines) > most:
        shown.append(f"  - and {len(lines) - most} more; all are in {rest}")
    return shown


def _name_of(result: Result) -> str:
    return "no name" if result.name is None else _inline(result.name)


def _inline(text: str) -> str:
    """One line that a Markdown viewer shows as it is: names come from servers, and could hold tags, links or mentions.

    Words that can mean nothing stay; the others are code spans, for a backslash keeps neither an address from becoming
    a link nor an ``@`` from becoming a mention.
    """
    kept = "".join(" " if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char for char in text)
    kept = kept if len(kept) <= _LONGEST else f"{kept[:_LONGEST]}…"
    return " ".join(_word(word, first=not place) for place, word in enumerate(kept.split()))


def _word(word: str, *, first: bool) -> str:
    if _HARMLESS.fullmatch(word) and not (first and _LIST_START.match(word)):
        return word
    fence = "`" * (max(map(len, re.findall("`+", word)), default=0) + 1)
    room = " " if "`" in (word[0], word[-1]) else ""
    return f"{fence}{room}{word}{room}{fence}"


# -- report.html ---------------------------------------------------------------------------------------

# What the page lists at most: of one sort of rows, losses of one object and of all, and characters of a value.
_MOST_ROWS = 2000
_LOSSES_OF_ONE = 100
_LOSSES = 5000
_LONGEST_VALUE = 2000

# The class of the style, and the word.
_STATUS_WORDS = {
    Status.SUCCESS: ("good", "copied"),
    Status.PARTIAL: ("text", "partial"),
    Status.FAILED: ("unavailable", "failed"),
    Status.NOT_ATTEMPTED: ("unavailable", "not attempted"),
}


def run_page(report: Report, changes: Sequence[Difference], bundle: BundleReader | None = None) -> Iterator[str]:
    """The page, piece by piece; ``changes`` are the values that the run has replaced at the destination.

    With the ``bundle`` each assistant and store has a card. Raises DamagedBundle.
    """
    yield from page(
        f"Import of {report.bundle.get('name') or 'a bundle'} · holdall", _page_body(report, changes, bundle)
    )


def _page_body(report: Report, changes: Sequence[Difference], bundle: BundleReader | None) -> Iterator[str]:
    yield from _page_head(report)
    lost = _lost_lines(report)
    worst = sorted(report.results, key=lambda one: one.status is Status.SUCCESS)
    title = counted(len(worst), "result")
    if bundle is not None:
        # What is whole has a card.
        worst = [one for one in worst if one.status is not Status.SUCCESS]
        title = f"Incomplete: {len(worst)} of {title}"
    if worst:
        yield f"<section><h2>{title}</h2>\n<ul class=rows>\n"
        yield from (_result_row(one, lost[one.source]) for one in worst[:_MOST_ROWS])
        yield f"</ul>\n{_more(len(worst))}</section>\n"
    yield from _changes(changes)
    if bundle is not None:
        yield from bundle_sections(bundle, _copies_for_cards(report, lost, bundle))
    yield from _ids(report)
    yield from _leftovers(report)


def _page_head(report: Report) -> Iterator[str]:
    verdict = report.verdict or "NOT FINISHED"
    yield f"<header><p class=eyebrow>Import of {name(report.bundle.get('name') or 'a bundle')}</p>\n"
    yield headline(verdict, good=bool(report.complete))
    states = {status: sum(one.status is status for one in report.results) for status in Status}
    said = (
        f'<li><b class="{_STATUS_WORDS[each][0]}">{count} {_STATUS_WORDS[each][1]}</b></li>'
        for each, count in states.items()
        if count
    )
    yield f"<ul class=legend>{''.join(said)}</ul>\n"
    if report.stopped is not None:
        yield f"<p>Stopped: {message(report.stopped.message)}</p>\n"
    there = report.destination
    yield facts(
        [
            ("From", _party(report.source_url, report.source.org_id, report.source.project_id, report.label)),
            ("Into", _party(there.base_url, there.org_id, there.project_id)),
            ("Mode", text(report.form.value)),
            ("When", f"{name(report.started)} to {name(report.ended)}"),
            ("Run", f"{code(report.run)} {name(report.tool)}"),
        ]
    )
    yield "</header>\n"


def _party(*parts: str | None) -> str:
    return "<br>".join(name(part) for part in parts if part) or "not known"


def _copies_for_cards(report: Report, losses: Mapping[SourceId, list[str]], bundle: BundleReader) -> Copies:
    """For the card of each object: its new id, and what became of it. What was lost of a partial one stands above."""
    found: dict[tuple[Kind, SourceId], str] = {
        (Kind.STORE, old): f"<p class=copy>{_arrow(new)}</p>\n" for old, new in report.stores.items()
    }
    # What has become an agent of Foundry has the card of what it is in the bundle.
    became = AGENTS if report.of(Kind.FOUNDRY_AGENT) else ()
    kinds = {record.id: kind for kind in became for record in bundle.definitions(kind)}
    for placed, results in report.by_kind.items():
        for one in results:
            kind = kinds.get(one.source, placed) if placed is Kind.FOUNDRY_AGENT else placed
            lost = losses[one.source] if one.status is Status.SUCCESS else []
            notes = "".join(f"<p class=note>{said}</p>\n" for said in lost)
            found[kind, one.source] = f"<p class=copy>{_arrow(one.target)} {_status(one)}</p>\n{notes}"
    return found


def _status(one: Result) -> str:
    colour, word = _STATUS_WORDS[one.status]
    if one.status is Status.SUCCESS:
        word = _HOW_WORDS.get(one.how, word)
    return f'<b class="{colour}">{word}</b>'


def _lost_lines(report: Report) -> dict[SourceId, list[str]]:
    """For each result the lines of what was lost; all together have as many names as the page has room for."""
    left, found = _LOSSES, {}
    for one in sorted(report.results, key=lambda one: one.status is Status.SUCCESS):
        most = min(_LOSSES_OF_ONE, left)
        left -= min(len(one.losses), most)
        found[one.source] = _lost_lines_of(one, most)
    return found


def _lost_lines_of(one: Result, most: int) -> list[str]:
    """A line for each reason with the names of what it happened to, those that weigh first."""
    found: dict[tuple[bool, str], list[str]] = {}
    for loss in _majors_first(one)[:most]:
        reason = f"{loss.field}: {loss.text}" if loss.field else loss.text
        names = found.setdefault((loss.id == one.source, reason), [])
        names.append(name(loss.name or loss.id))
    lines = [message(why) + ("" if own else f": {', '.join(names)}") for (own, why), names in found.items()]
    if len(one.losses) > most:
        lines.append(f"and {len(one.losses) - most} more in {AUDIT}")
    return lines


def _result_row(one: Result, lost: Sequence[str]) -> str:
    ids = f"{code(one.source)}{_arrow(one.target)}"
    # The error of a partial one says its losses again.
    why = [message(one.error)] if one.error and not lost else []
    notes = "".join(f"<small>{said}</small>" for said in (*why, *lost))
    return f"<li><span>{name(one.name or '(no name)')} {ids}</span>{_status(one)}<i></i>{notes}</li>\n"


def _arrow(target: str | None) -> str:
    return f"<code>→ {name(target)}</code>" if target else ""


def _changes(changes: Sequence[Difference]) -> Iterator[str]:
    if not changes:
        return
    yield f"<section><h2>Changed at the destination: {counted(len(changes), 'value')}</h2>\n"
    for one in changes[:_MOST_ROWS]:
        where = f" in {code(one.inside)}" if one.inside else ""
        yield f"<article><h3>{name(one.name or one.source)}</h3>\n"
        yield f"<p class=id>{noun(one.kind)} {code(one.source)}{where}</p>\n"
        yield facts([("Field", code(one.field)), ("Before", _value(one.destination)), ("After", _value(one.bundle))])
        yield "</article>\n"
    yield f"{_more(len(changes), 'plan.json')}</section>\n"


def _value(value: object) -> str:
    said = value if isinstance(value, str) else "nothing" if value is None else msgspec.json.encode(value).decode()
    return text(said if len(said) <= _LONGEST_VALUE else f"{said[:_LONGEST_VALUE]}…")


def _ids(report: Report) -> Iterator[str]:
    """From each old id to the new one."""
    assistants = {one.source: one.target for one in report.assistants if one.target is not None}
    others = {
        f"{noun(kind)}s".capitalize(): {one.source: one.target for one in report.of(kind) if one.target is not None}
        for kind in _MAPPED_KINDS
    } | {"Skills": report.skills}
    maps: dict[str, Mapping[SourceId, TargetId]] = {
        "Assistants": assistants,
        **others,
        "Vector stores": report.stores,
        "Files": report.files,
        "Files, copies as text": report.copies,
    }
    if not any(maps.values()):
        return
    yield "<section><h2>Old and new ids</h2>\n"
    yield "<p><code>holdall remap</code> rewrites them in your code and settings.</p>\n"
    for title, ids in maps.items():
        if ids:
            rows = "".join(f"<li>{code(old)}{_arrow(new)}</li>\n" for old, new in islice(ids.items(), _MOST_ROWS))
            yield fold(f"{title} <small>{len(ids)}</small>", f"<ul class=ids>\n{rows}</ul>{_more(len(ids))}")
    yield "</section>\n"


def _leftovers(report: Report) -> Iterator[str]:
    if report.orphans:
        yield f"<section><h2>Possible orphans: {len(report.orphans)}</h2>\n"
        yield "<p>Nothing uses them.</p>\n<ul class=plain>\n"
        for orphan in report.orphans[:_MOST_ROWS]:
            where = code(orphan.id) if orphan.id else "not found yet"
            why = "from before this run" if orphan.earlier else "no answer to its creation"
            yield f"<li>{noun(orphan.kind)} {name(orphan.name or '(no name)')} {where}<small>{why}</small></li>\n"
        yield f"</ul>\n{_more(len(report.orphans))}</section>\n"
    if report.duplicates:
        yield f"<section><h2>Duplicates: {len(report.duplicates)}</h2>\n"
        yield (
            f"<p>Another import created the same objects at the same time; {text(keeping(report))}</p>\n<ul "
            f"class=plain>\n"
        )
        yield from (f"<li>{message(one)}</li>\n" for one in report.duplicates[:_MOST_ROWS])
        yield f"</ul>\n{_more(len(report.duplicates))}</section>\n"


def _more(total: int, rest: str = MAPPING) -> str:
    return f"<p class=note>… and {total - _MOST_ROWS} more in <code>{rest}</code></p>\n" if total > _MOST_ROWS else ""
