"""The page of an import, ``report.html``: what ``report.md`` and ``mapping.json`` say, to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import msgspec

from holdall.dialects.loss import Loss
from holdall.importer.plan.difference import Difference
from holdall.importer.runs.runreport import MAPPING, Report, Result, Status, keeping
from holdall.kinds import noun
from holdall.legible import counted
from holdall.model import Kind, SourceId, TargetId
from holdall.pages.markup import code, facts, fold, headline, message, name, page, text

# What a page lists at most: of one sort of rows, of one object's losses, and characters of a value.
_ROWS = 2000
_LOSSES = 50
_VALUE = 2000

_WORDS = {
    Status.SUCCESS: ("good", "copied"),
    Status.PARTIAL: ("text", "partial"),
    Status.FAILED: ("unavailable", "failed"),
    Status.NOT_ATTEMPTED: ("unavailable", "not attempted"),
}
# Where what is there was not made by this run.
_HOW = {"adopted": "there already", "updated": "updated", "left": "left as it is", "written": "written"}


def run_page(report: Report, changes: Sequence[Difference]) -> Iterator[str]:
    """The page, piece by piece; ``changes`` are the values that the run has replaced at the destination."""
    yield from page(f"Import of {report.bundle.get('name') or 'a bundle'} · holdall", _body(report, changes))


def _body(report: Report, changes: Sequence[Difference]) -> Iterator[str]:
    yield from _head(report)
    worst = sorted(report.results, key=lambda one: one.status is Status.SUCCESS)
    if worst:
        yield f"<section><h2>{counted(len(worst), 'result')}</h2>\n<ul class=rows>\n"
        yield from map(_result, islice(worst, _ROWS))
        yield f"</ul>\n{_more(len(worst))}</section>\n"
    yield from _changes(changes)
    yield from _ids(report)
    yield from _doubles(report)


def _head(report: Report) -> Iterator[str]:
    verdict = report.verdict or "NOT FINISHED"
    yield f"<header><p class=eyebrow>Import of {name(report.bundle.get('name') or 'a bundle')}</p>\n"
    yield headline(verdict, good=bool(report.complete))
    states = {status: sum(one.status is status for one in report.results) for status in Status}
    said = (
        f'<li><b class="{_WORDS[each][0]}">{count} {_WORDS[each][1]}</b></li>'
        for each, count in states.items()
        if count
    )
    yield f"<ul class=legend>{''.join(said)}</ul>\n"
    if report.stopped is not None:
        yield f"<p>Stopped: {message(report.stopped.message)}</p>\n"
    there = report.destination
    yield facts(
        [
            ("From", _party(report.source.org_id, report.source.project_id)),
            ("Into", _party(there.base_url, there.org_id, there.project_id)),
            ("As", text(report.form.value)),
            ("Started", name(report.started)),
            ("Ended", name(report.ended)),
            ("Run", code(report.run)),
        ]
    )
    yield "</header>\n"


def _party(*parts: str | None) -> str:
    return "<br>".join(name(part) for part in parts if part) or "not known"


def _result(one: Result) -> str:
    colour, word = _WORDS[one.status]
    if one.status is Status.SUCCESS:
        word = _HOW.get(one.how, word)
    ids = f"{code(one.source)}{_arrow(one.target)}"
    lost = [message(_loss(loss, one.source)) for loss in one.losses[:_LOSSES]]
    if len(one.losses) > _LOSSES:
        lost.append(f"and {len(one.losses) - _LOSSES} more in audit.jsonl")
    # The error of a partial one says its losses again.
    why = [message(one.error)] if one.error and not lost else []
    notes = "".join(f"<small>{said}</small>" for said in why + lost)
    return f'<li><span>{name(one.name or "(no name)")} {ids}</span><b class="{colour}">{word}</b><i></i>{notes}</li>\n'


def _loss(loss: Loss, of: SourceId) -> str:
    """In words; below its own assistant without the name."""
    return f"{loss.field}: {loss.text}" if loss.id == of and loss.field else str(loss)


def _arrow(target: str | None) -> str:
    return f"<code>→ {name(target)}</code>" if target else ""


def _changes(changes: Sequence[Difference]) -> Iterator[str]:
    if not changes:
        return
    yield f"<section><h2>Changed at the destination: {counted(len(changes), 'value')}</h2>\n"
    for one in changes[:_ROWS]:
        where = f" in {code(one.inside)}" if one.inside else ""
        yield f"<article><h3>{name(one.name or one.source)}</h3>\n"
        yield f"<p class=id>{noun(one.kind)} {code(one.source)}{where}</p>\n"
        yield facts([("Field", code(one.field)), ("Before", _value(one.destination)), ("After", _value(one.bundle))])
        yield "</article>\n"
    yield f"{_more(len(changes), 'plan.json')}</section>\n"


def _value(value: object) -> str:
    said = value if isinstance(value, str) else "nothing" if value is None else msgspec.json.encode(value).decode()
    return text(said if len(said) <= _VALUE else f"{said[:_VALUE]}…")


def _ids(report: Report) -> Iterator[str]:
    """From each old id to the new one."""
    assistants = {one.source: one.target for one in report.assistants if one.target is not None}
    agents = {one.source: one.target for one in report.of(Kind.AGENT) if one.target is not None}
    maps: dict[str, Mapping[SourceId, TargetId]] = {
        "Assistants": assistants,
        "Agents": agents,
        "Vector stores": report.stores,
        "Files": report.files,
        "Files, copies as text": report.copies,
    }
    if not any(maps.values()):
        return
    yield "<section><h2>Old id to new id</h2>\n"
    yield "<p><code>holdall remap</code> rewrites them in your code and settings.</p>\n"
    for title, ids in maps.items():
        if ids:
            rows = "".join(f"<li>{code(old)}{_arrow(new)}</li>\n" for old, new in islice(ids.items(), _ROWS))
            yield fold(f"{title} <small>{len(ids)}</small>", f"<ul class=ids>\n{rows}</ul>{_more(len(ids))}")
    yield "</section>\n"


def _doubles(report: Report) -> Iterator[str]:
    if report.orphans:
        yield f"<section><h2>Possible orphans: {len(report.orphans)}</h2>\n"
        yield "<p>Nothing refers to them.</p>\n<ul class=plain>\n"
        for orphan in report.orphans[:_ROWS]:
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
        yield from (f"<li>{message(one)}</li>\n" for one in report.duplicates[:_ROWS])
        yield f"</ul>\n{_more(len(report.duplicates))}</section>\n"


def _more(total: int, rest: str = MAPPING) -> str:
    return f"<p class=note>… and {total - _ROWS} more in <code>{rest}</code></p>\n" if total > _ROWS else ""
