"""``report.md``: the result of an import for people, as any viewer of Markdown shows it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from holdall.dialects.loss import Loss
from holdall.importer.runs.runreport import MAPPING, Orphan, Report, Result, Status, keeping
from holdall.kinds import KINDS, noun
from holdall.legible import counted
from holdall.model import Kind

AUDIT = "audit.jsonl"

# What the report lists at most, so that a code host still shows it: reasons of one result and of all, results of a
# section, those of them that are not folded, and characters of a name or a reason.
_NAMED = 20
_REASONS = 1000
_RESULTS = 1000
_OPEN = 50
_LONG = 500

# Letters, digits and what is no ASCII; signs that Markdown knows only where they stand otherwise than here; the dot of
# a file's name that no viewer takes for a host's.
_HARMLESS = re.compile(
    r"""(?!www\.)(?:[^\W_]|[^\x00-\x7f]|(?<=[^\W_])_(?=[^\W_])|[-,()'"/=+%]|[.:;!?&](?![^)])
    |\.(?=[0-9]|[a-z]{3})(?!(?:biz|com|edu|gov|net|org|pro|web|xxx|aero|asia|coop|info|museum|name|shop)(?![a-z])))*+""",
    re.X | re.I,
)
# How a list, a heading or a rule may begin.
_LIST = re.compile(r"[-+=]|[0-9]+[.)]")

# Which results stand in each section of the report.
_SECTIONS = ({Status.SUCCESS}, {Status.PARTIAL}, {Status.FAILED, Status.NOT_ATTEMPTED})
# Words for a copy that this run has not created.
_HOW = {
    "adopted": ": already there",
    "updated": ": updated",
    "new version": ": new version",
    "left": ": skipped",
    "written": "",
}


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
        *_head(report),
        "",
        "## Summary",
        f"- Total: {total}",
        f"- Success: {len(whole)}",
        f"- Partial: {len(partial)}",
        f"- Failed: {len(failed)}",
        *_orphans(report.orphans),
        *_duplicates(report),
        "",
        "## Successful Clones",
        *_results(whole, reasons),
    ]
    if partial:
        lines += ["", "## Partial Clones", *_results(partial, reasons)]
    lines += ["", "## Failed Clones", *_results(failed, reasons)]
    return "\n".join(lines) + "\n"


def _head(report: Report) -> Iterator[str]:
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
        if said := ", ".join(_text(part) for part in parts if part):
            yield f"- {title}: {said}"


class _Reasons:
    """The reasons of results, one a line, as long as the report has room for them."""

    def __init__(self) -> None:
        self._left = _REASONS

    def of(self, result: Result, but: str | None = None) -> list[str]:
        """The reasons, major ones first, without ``but``."""
        losses = sorted(result.losses, key=lambda loss: not loss.why.weighs)
        said = [_loss(loss, result) for loss in losses] or (
            [_text(result.error) or result.status.value] if result.error else []
        )
        said = [one for one in said if one != but]
        lines = _listed(said, AUDIT, min(_NAMED, self._left))
        self._left -= min(len(said), _NAMED, self._left)
        return lines


def _loss(loss: Loss, of: Result) -> str:
    """In words; below its own assistant without the name."""
    return _text(f"{loss.field}: {loss.text}" if loss.id == of.source and loss.field else str(loss))


def _results(results: list[Result], reasons: _Reasons) -> list[str]:
    if not results:
        return ["None"]
    items = [_result(one, reasons) for one in results[:_RESULTS]]
    lines = [line for item in items[:_OPEN] for line in item]
    if folded := items[_OPEN:]:
        # A viewer takes Markdown inside of HTML for Markdown only with empty lines around it.
        lines += ["", f"<details><summary>{len(folded)} more</summary>", ""]
        lines += [line for item in folded for line in item]
        lines += ["", "</details>"]
    if len(results) > _RESULTS:
        lines += ["", f"And {len(results) - _RESULTS} more; all are in {MAPPING}"]
    return lines


def _result(result: Result, reasons: _Reasons) -> list[str]:
    if result.target is None and result.status in (Status.FAILED, Status.NOT_ATTEMPTED):
        why = _text(result.error or result.status.value)
        return [f"- {_text(result.source)}: {why}", *reasons.of(result, but=why)]
    there = f" → {_text(result.target)}" if result.target else ""
    name = f"({_name(result)})"
    return [f"- {_text(result.source)}{there} {name}{_HOW.get(result.how, '')}", *reasons.of(result)]


def _listed(lines: list[str], rest: str, most: int = _NAMED) -> list[str]:
    """Up to ``most`` lines, indented; then how many more there are, all of them in the file ``rest``."""
    shown = [f"  - {line}" for line in lines[:most]]
    if len(lines) > most:
        shown.append(f"  - and {len(lines) - most} more; all are in {rest}")
    return shown


def _orphans(orphans: list[Orphan]) -> list[str]:
    if not orphans:
        return []
    lines = []
    for orphan in orphans:
        size = f", {orphan.size} bytes" if orphan.size is not None else ""
        where = _text(orphan.id) if orphan.id else "not found yet"
        where += ", from before this run" if orphan.earlier else ", the answer to its creation was lost"
        lines.append(f"{noun(orphan.kind)} {_text(orphan.name or '(no name)')}{size}: {where}")
    return [f"- Possible orphans: {len(orphans)} (not used by anything)", *_listed(lines, MAPPING)]


def _duplicates(report: Report) -> list[str]:
    if not report.duplicates:
        return []
    why = f"another import created the same objects at the same time; {keeping(report)}"
    lines = [_text(str(one)) for one in report.duplicates]
    return [f"- Duplicates: {len(lines)} ({why})", *_listed(lines, MAPPING)]


def _name(result: Result) -> str:
    return "no name" if result.name is None else _text(result.name)


def _text(text: str) -> str:
    """One line that a Markdown viewer shows as it is: names come from servers, and could hold tags, links or mentions.

    Words that can mean nothing stay; the others are code spans, for a backslash keeps neither an address from becoming
    a link nor an ``@`` from becoming a mention.
    """
    kept = "".join(" " if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") else char for char in text)
    kept = kept if len(kept) <= _LONG else f"{kept[:_LONG]}…"
    return " ".join(_word(word, first=not place) for place, word in enumerate(kept.split()))


def _word(word: str, *, first: bool) -> str:
    if _HARMLESS.fullmatch(word) and not (first and _LIST.match(word)):
        return word
    fence = "`" * (max(map(len, re.findall("`+", word)), default=0) + 1)
    room = " " if "`" in (word[0], word[-1]) else ""
    return f"{fence}{room}{word}{room}{fence}"
