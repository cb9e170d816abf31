"""HTML pages: the elements of every page, and the page about a bundle with its verdict, objects and missing files.

Text goes in and HTML comes out, without scripts or requests. Text from outside is made printable first.

No destination can be asked about a bundle, so its page has the shutdown dates that OpenAI's deprecations page announced
up to November 2026. Replacements for models are left out, because the published ones contradict each other.
"""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any, TypeVar

import msgspec

from holdall.agent_views import SkillView
from holdall.bundle.layout import HoldallInfo, LedgerLine
from holdall.bundle.missing import MissingFromBundle, Wanted
from holdall.bundle.reader import BundleReader
from holdall.bundle.totals import declared_verdict
from holdall.dependencies import USERS, User
from holdall.dialects import prompt_agents
from holdall.kinds import ASSISTANT_KINDS, KINDS, read
from holdall.legible import Capped, counted, flat, human_size, printable
from holdall.model import DefinitionView, Fidelity, Kind, Record, SourceId, StoreView
from holdall.spilling import ValueSorter
from holdall.untrusted import read_json

POLICY = "default-src 'none'; style-src 'unsafe-inline'"

FIDELITIES: Mapping[Fidelity, str] = {
    Fidelity.ORIGINAL: "original",
    Fidelity.SUPPLIED: "supplied",
    Fidelity.CONTAINER: "container",
    Fidelity.TEXT: "text only",
    Fidelity.UNAVAILABLE: "missing",
}
"""How a page calls each; the style has a colour for each value."""

# Characters of a name, which may have 4 KiB, and of a sentence: a page has thousands.
_NAME = 200
_MESSAGE = 1000


def page(title: str, body: Iterable[str]) -> Iterator[str]:
    """A whole document, piece by piece; ``title`` is text, ``body`` HTML."""
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>{text(flat(title))}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n<main>\n"
    )
    yield from body
    yield "</main>\n</body>\n</html>\n"


@cache
def _style() -> str:
    return (files("holdall") / "page.css").read_text(encoding="utf-8")


def text(value: object) -> str:
    """Any text, line ends kept, as HTML shows it."""
    return html.escape(printable(str(value)))


def name(value: object, most: int = _NAME) -> str:
    """A name or an id of somebody else's, on one line of ``most`` characters. Its direction stays its own."""
    line = flat(value)
    return f"<bdi>{text(line if len(line) <= most else f'{line[:most]}…')}</bdi>"


def message(value: object) -> str:
    """A sentence with names in it."""
    return name(value, _MESSAGE)


def code(value: object) -> str:
    return f"<code>{name(value)}</code>"


def headline(verdict: str, *, good: bool) -> str:
    """The verdict: its word large, and below it what it counts."""
    word, colon, rest = verdict.partition(": ")
    below = f" <span>{message(rest)}</span>" if rest else ""
    return f'<h1 class="{"good" if good else "bad"}">{message(word)}{colon.strip()}{below}</h1>\n'


def fidelity(value: Fidelity | None, count: int | None = None, *, doubtful: bool = False, cut: bool = False) -> str:
    """The word in its colour, behind a ``count`` of files if there is one."""
    if value is None:
        return '<b class="unknown">unknown</b>'
    number = "" if count is None else f"{count} "
    word = FIDELITIES[value] + (", cut short" if cut else "") + (", uncertain" if doubtful else "")
    return f'<b class="{value.value}">{number}{word}</b>'


def size(count: int | None) -> str:
    return "-" if count is None else human_size(count)


def bar(share: float) -> str:
    """A bar of that share of its place, 0 to 1; what is there at all can be seen."""
    return f'<svg><rect width="{max(min(share, 1.0) * 100, 1):.0f}%"/></svg>'


def stacked(parts: Mapping[Fidelity, int], label: str) -> str:
    """One bar of several colours; ``label`` says the same in words."""
    whole, at, rects = sum(parts.values()) or 1, 0.0, []
    for fidelity, count in parts.items():
        width = 100 * count / whole
        rects.append(f'<rect class="{fidelity.value}" x="{at:.2f}%" width="{width:.2f}%"/>')
        at += width
    return f'<svg class="all" role="img" aria-label="{text(label)}">{"".join(rects)}</svg>'


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A list of terms, and for each what it is, as HTML."""
    return f"<dl>{''.join(f'<dt>{text(term)}</dt><dd>{said}</dd>' for term, said in rows)}</dl>\n"


def fold(summary: str, inner: str, *, is_open: bool = False) -> str:
    """``inner`` behind a line that opens it; on paper it is open. Both are HTML."""
    return f"<details{' open' if is_open else ''}><summary>{summary}</summary>{inner}</details>\n"


# -- the page about a bundle ---------------------------------------------------------------------------

T = TypeVar("T")

Copies = Mapping[tuple[Kind, SourceId], str]
"""What became of objects, as HTML for their cards."""

# What the page lists at most: files of one store or assistant, files in all, cards, stores, missing files and the like.
_OF_ONE = 300
_FILES = 5000
_CARDS = 1000
_STORES = 1000
_MISSING = 1000
# Characters of instructions, tools and values in all, and the least that each tool and value counts as.
_CHARACTERS = 4_000_000
_LEAST = 100
# Files that are seen without opening the fold.
_OPEN = 12


def bundle_page(bundle: BundleReader, bytes_: int) -> Iterator[str]:
    """The page, piece by piece; ``bytes_`` is the bundle's size. Raises DamagedBundle."""
    with MissingFromBundle(bundle) as missing:
        yield from page(f"{bundle.path.name} · holdall", _BundlePage(bundle).body(missing, bytes_))


def bundle_sections(bundle: BundleReader, copies: Copies) -> Iterator[str]:
    """The cards of those objects that have ``copies``. Raises DamagedBundle."""
    yield from _BundlePage(bundle, copies).cards()


class _BundlePage:
    """One pass over a bundle. Counts down what there is still room for."""

    def __init__(self, bundle: BundleReader, copies: Copies | None = None) -> None:
        self._bundle, self._copies = bundle, copies
        self._shares = _Shares(bundle)
        shown = (id for id in self._shares.stores if self._shows(Kind.STORE, id))
        self._numbers = {id: number for number, id in enumerate(shown)}
        self._names: dict[SourceId, str | None] = {}
        self._users: dict[SourceId, list[str]] = {}
        self._files, self._characters = _FILES, _CHARACTERS

    def body(self, missing: MissingFromBundle, bytes_: int) -> Iterator[str]:
        yield from self._head(bytes_)
        yield from self._lacking(missing)
        yield from self.cards()
        yield from self._unused()
        yield from self._outside(missing)

    def cards(self) -> Iterator[str]:
        for record in islice(self._bundle.stores(), _STORES):
            self._names[record.id] = StoreView.of(record).name
        for kind in ASSISTANT_KINDS:
            yield from self._cards(kind)
        yield from self._skills()
        yield from self._knowledge()

    def _shows(self, kind: Kind, id: SourceId) -> bool:
        return self._copies is None or (kind, id) in self._copies

    def _copy(self, kind: Kind, id: SourceId) -> str:
        """The end of a card's head: the object's id, and what became of it."""
        return f"<p class=id>{code(id)}</p>\n{(self._copies or {}).get((kind, id), '')}"

    def _head(self, bytes_: int) -> Iterator[str]:
        info, verdict = self._bundle.info, declared_verdict(self._bundle.info)
        yield f"<header><p class=eyebrow>{name(self._bundle.path.name)}</p>\n"
        yield headline(str(verdict), good=verdict.complete)
        yield f"<p class=lead>{_counts(info)}</p>\n"
        parts = {each: info.fidelities[each].files for each in Fidelity if each in info.fidelities}
        if parts:
            label = ", ".join(f"{counted(count, 'file')} {each.value}" for each, count in parts.items())
            yield stacked(parts, label)
            words = (f"<li>{fidelity(each, count)}{_bytes_of(info, each)}</li>" for each, count in parts.items())
            yield f"<ul class=legend>{''.join(words)}</ul>\n"
        source = info.source
        where = [source.base_url, *filter(None, (source.organization, source.project, source.label))]
        yield facts(
            [
                ("Source", "<br>".join(map(name, where))),
                ("Exported", f"{_time(info.started)} to {_time(info.ended)}"),
                ("Bundle", f"{human_size(bytes_)}, format {text(info.format)}, written by {name(info.tool)}"),
            ]
        )
        yield "<p class=note>As recorded at export. To check the bundle, use <code>holdall verify</code>.</p>"
        yield "</header>\n"

    def _lacking(self, missing: MissingFromBundle) -> Iterator[str]:
        """The files that have no original."""
        if not missing.total:
            return
        yield f"<section><h2>No original: {counted(missing.total, 'file')}</h2>\n"
        yield "<p>If you have copies, add them with <code>holdall supply</code>.</p>\n"
        worst, texts = _Reasoned(), _Reasoned()
        for one in islice(missing.wanted(), _MISSING):
            rows = texts if one.fidelity is Fidelity.TEXT and not (one.truncated or one.doubt) else worst
            rows.add(one.message, self._wanted(one))
        yield f"<ul class=rows>\n{''.join(worst.rows)}</ul>\n"
        if texts.rows:
            inner = f"<ul class=rows>\n{''.join(texts.rows)}</ul>\n"
            yield fold(f"Text only <small>{texts.count}</small>", inner, is_open=texts.count <= _OPEN)
        yield f"{_more(missing.total - _MISSING)}</section>\n"

    @staticmethod
    def _wanted(one: Wanted) -> str:
        how = fidelity(one.fidelity, doubtful=one.doubt is not None, cut=one.truncated)
        notes = [f"used by {_users(one.used_by)}"] if one.used_by else []
        notes += ["deleted at the source"] if one.gone else []
        notes += [message(one.doubt)] if one.doubt else []
        note = f"<small>{'; '.join(notes)}</small>" if notes else ""
        named = name(one.filename or "(no name)")
        return f"<li><span>{named} {code(one.id)}</span>{how}<i>{size(one.size)}</i>{note}</li>\n"

    # -- assistants, agents, skills ------------------------------------------------------------------

    def _cards(self, kind: Kind) -> Iterator[str]:
        total, row = 0, KINDS[kind]
        for record in self._bundle.definitions(kind):
            if not self._shows(kind, record.id):
                continue
            if not total:
                yield f"<section><h2>{counted(self._number(kind), row.noun)}</h2>\n"
            total += 1
            view = read(record)
            for store in view.store_ids:
                if len(users := self._users.setdefault(store, [])) < USERS:
                    users.append(view.name or record.id)
            if total <= _CARDS:
                yield from self._card(record, view)
        if total:
            if self._characters <= 0:
                yield "<p class=note>The page is full; texts, tools or settings are left out. "
                yield f"<code>holdall extract</code> has all of {row.folder}</p>\n"
            yield f"{_more(total - _CARDS)}</section>\n"

    def _number(self, kind: Kind) -> int:
        """How many the page has of a kind."""
        if self._copies is None:
            return self._bundle.info.counts.get(KINDS[kind].count, 0)
        return sum(its is kind for its, _ in self._copies)

    def _card(self, record: Record, view: DefinitionView) -> Iterator[str]:
        fields = _fields_of(record)
        yield f"<article><h3>{name(view.name or '(no name)')}</h3>\n{self._copy(record.kind, record.id)}"
        if said := fields.get("description"):
            yield f"<p>{self._cut(said)}</p>\n"
        yield facts(self._card_facts(record.kind, fields, view))
        if instructions := fields.get("instructions"):
            summary = f"Instructions <small>{counted(len(str(instructions)), 'character')}</small>"
            yield fold(summary, f"<pre>{self._cut(instructions)}</pre>")
        yield from map(self._tool, self._fitting(_tools_of(fields)))
        for field, value in self._fitting(_parameters(fields, view, long=True)):
            yield fold(text(_title_of(field)), f"<pre>{self._cut(_indented(value))}</pre>")
        if view.file_ids:
            title = "Files" if record.kind is Kind.TEMPLATE else "Files of the code interpreter"
            yield from self._file_list(title, view.file_ids, len(view.file_ids))
        yield "</article>\n"

    def _card_facts(self, kind: Kind, fields: dict[str, Any], view: DefinitionView) -> Iterator[tuple[str, str]]:
        if KINDS[kind].has_model:
            yield "Model", _model(view.model)
        if entry := self._bundle.members_entry(kind, fields.get("id") or view.id) if KINDS[kind].lines else None:
            yield "Versions", str(entry.records or 0)
        if stores := view.store_ids:
            shown = stores[: min(_OF_ONE, self._files)]
            self._files -= len(shown)
            left = [f"and {len(stores) - len(shown)} more"] if len(stores) > len(shown) else []
            yield "Searches", "<br>".join([*map(self._store_link, shown), *left])
        found = _parameters(fields, view, long=False)
        said = [f"<span>{text(_title_of(field))} {self._value(value)}</span>" for field, value in self._fitting(found)]
        if said:
            yield "Parameters", f"<span class=values>{' '.join(said)}</span>"

    def _value(self, value: object) -> str:
        return f"<code><bdi>{self._cut(_short(value))}</bdi></code>"

    def _store_link(self, id: SourceId) -> str:
        number = self._numbers.get(id)
        if number is None and id not in self._shares.stores:
            return f"{code(id)} <b class=unavailable>not in the bundle</b>"
        said = name(self._names.get(id) or id)
        return f"<a href=#s{number}>{said}</a>" if number is not None and number < _STORES else said

    def _tool(self, tool: Any) -> str:
        kind = tool.get("type") if isinstance(tool, dict) else tool
        said = tool.get(kind) if isinstance(tool, dict) and isinstance(kind, str) else None
        title = said.get("name") if isinstance(said, dict) else None
        summary = f"Tool <b>{name(kind)}</b>{f' {code(title)}' if title else ''}"
        if not isinstance(tool, dict) or set(tool) <= {"type"}:
            return f"<p class=tool>{summary}</p>\n"
        return fold(summary, f"<pre>{self._cut(_indented(said or tool))}</pre>")

    def _fitting(self, values: Iterable[T]) -> Iterator[T]:
        """The first of ``values``, as long as the page has room."""
        for value in values:
            if self._characters <= 0:
                return
            self._characters -= _LEAST
            yield value

    def _cut(self, value: object) -> str:
        """A long text as HTML, as far as the page has room for it."""
        whole = _short(value)
        shown = whole[: max(self._characters, 0)]
        self._characters -= len(shown)
        left = len(whole) - len(shown)
        return text(shown) + (f" <em>… and {counted(left, 'character')} more: holdall extract</em>" if left else "")

    def _skills(self) -> Iterator[str]:
        """The skills, with the zips of their versions."""
        total, row = 0, KINDS[Kind.SKILL]
        for record in self._bundle.definitions(Kind.SKILL):
            if not self._shows(Kind.SKILL, record.id):
                continue
            if not total:
                yield f"<section><h2>{counted(self._number(Kind.SKILL), row.noun)}</h2>\n"
            total += 1
            if total > _CARDS:
                continue
            view = SkillView.of(record)
            yield f"<article><h3>{name(view.name or '(no name)')}</h3>\n{self._copy(record.kind, record.id)}"
            if view.description:
                yield f"<p>{self._cut(view.description)}</p>\n"
            yield facts([("Default version", name(view.default_version or "none"))])
            entry = self._bundle.members_entry(Kind.SKILL, record.id)
            versions = (version.id for version in self._bundle.versions(Kind.SKILL, record.id))
            yield from self._file_list("Versions", versions, (entry.records or 0) if entry else 0)
            yield "</article>\n"
        if total:
            yield f"{_more(total - _CARDS)}</section>\n"

    # -- stores and files ----------------------------------------------------------------------------

    def _knowledge(self) -> Iterator[str]:
        stores = {id: self._shares.stores[id] for id in self._numbers}
        if not stores:
            return
        yield f"<section><h2>Knowledge: {counted(len(stores), 'vector store')}</h2>\n"
        largest = max(share.bytes for share in stores.values()) or 1
        for id, share in islice(stores.items(), _STORES):
            yield from self._store(id, share, largest)
        yield f"{_more(len(stores) - _STORES)}</section>\n"

    def _store(self, id: SourceId, share: _Share, largest: int) -> Iterator[str]:
        yield f"<article id=s{self._numbers[id]}><h3>{name(self._names.get(id) or '(no name)')}</h3>\n"
        yield self._copy(Kind.STORE, id)
        parts = {each: share.files[each] for each in Fidelity if share.files[each]}
        words = ", ".join(fidelity(each, count) for each, count in parts.items())
        if parts:
            yield stacked(parts, ", ".join(f"{count} {each.value}" for each, count in parts.items()))
        users = self._users.get(id, [])
        yield facts(
            [
                ("Files", f"{share.members}{f': {words}' if words else ''}"),
                ("Size", f"{human_size(share.bytes)} {bar(share.bytes / largest)}"),
                (
                    "Used by",
                    ", ".join(map(name, users)) + (" and perhaps more" * (len(users) == USERS))
                    or "no assistant in this bundle",
                ),
            ]
        )
        members = (member.id for member in self._bundle.memberships(id))
        yield from self._file_list("Files", members, share.members)
        yield "</article>\n"

    def _file_list(self, title: str, ids: Iterable[str], count: int) -> Iterator[str]:
        lines = []
        for id in islice(ids, min(_OF_ONE, self._files)):
            lines.append((id, self._bundle.ledger_line(id)))
        self._files -= len(lines)
        yield from _file_rows(title, lines, count)

    def _unused(self) -> Iterator[str]:
        unused = self._shares.unused
        if unused:
            yield "<section><h2>Files that no store or assistant uses</h2>\n"
            lines = [(line.id, line) for line in unused[:_OF_ONE]]
            yield from _file_rows(counted(unused.total, "file").capitalize(), lines, unused.total)
            yield "</section>\n"

    def _outside(self, missing: MissingFromBundle) -> Iterator[str]:
        """What no bundle can hold, and the fields that seem to hold a credential."""
        outside, found = missing.outside, missing.credentials
        if outside:
            yield "<section><h2>Not included: hosted elsewhere or deleted</h2>\n<ul class=plain>\n"
            for one in outside[:_MISSING]:
                users = f"<small>used by {_users(one.used_by)}</small>" if one.used_by else ""
                yield f"<li>{message(one)} {users}</li>\n"
            yield f"</ul>\n{_more(len(outside) - _MISSING)}</section>\n"
        if found:
            yield "<section><h2>Credentials</h2>\n<p>These fields of the bundle seem to contain credentials. "
            yield "Their values are not shown here.</p>\n<ul class=plain>\n"
            yield from (f"<li>{message(one)}</li>\n" for one in found)
            yield f"</ul>\n{_more(found.total - len(found))}</section>\n"


class _Reasoned:
    """Rows below the reason that they share: most files of an export have the same one."""

    def __init__(self) -> None:
        self.rows: list[str] = []
        self.count = 0
        self._said: str | None = None

    def add(self, why: str | None, row: str) -> None:
        if why and why != self._said:
            self.rows.append(f"<li class=why>{message(why)}</li>\n")
            self._said = why
        self.rows.append(row)
        self.count += 1


def _file_rows(title: str, lines: Sequence[tuple[str, LedgerLine | None]], count: int) -> Iterator[str]:
    if not count and not lines:
        return
    largest = max((line.size or 0 for _, line in lines if line), default=0) or 1
    rows = "".join(_row(id, line, largest) for id, line in lines)
    inner = f"<ul class=rows>\n{rows}</ul>{_more(count - len(lines))}"
    yield fold(f"{text(title)} <small>{count}</small>", inner, is_open=count <= _OPEN)


def _row(id: str, line: LedgerLine | None, largest: int) -> str:
    if line is None:
        return f"<li><span>{code(id)}</span>{fidelity(None)}<i>-</i></li>\n"
    how = fidelity(line.fidelity, doubtful=bool(line.doubt), cut=line.truncated)
    stored = f"<i>{bar(line.size / largest)}{size(line.size)}</i>" if line.size is not None else "<i>-</i>"
    return f"<li><span>{name(line.filename or '(no name)')} {code(id)}</span>{how}{stored}</li>\n"


def _more(left: int) -> str:
    """How much is cut off, and what shows it."""
    return f"<p class=note>… and {left} more: <code>holdall inspect --all --json</code></p>\n" if left > 0 else ""


def _model(model: str | None) -> str:
    day = announced_shutdown(model or "")
    return name(model or "none") + (f" <em class=end>OpenAI shuts it down on {day}</em>" if day else "")


def _users(users: list[User]) -> str:
    said = ", ".join(name(user.name or user.id) for user in users)
    return f"{said} and perhaps more" if len(users) == USERS else said


def _counts(info: HoldallInfo) -> str:
    rows = [(info.counts.get(row.count, 0), row.noun) for row in (KINDS[kind] for kind in KINDS)]
    held = ", ".join(counted(count, noun) for count, noun in rows if count and noun != "membership")
    return f"{held or 'Nothing'}; {human_size(info.counts.get('bytes', 0))}"


def _bytes_of(info: HoldallInfo, each: Fidelity) -> str:
    return f" {human_size(info.fidelities[each].bytes)}" if info.fidelities[each].bytes else ""


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


# -- facts about a bundle ------------------------------------------------------------------------------

# Characters above which a value has a place of its own on the card.
_LONG = 100

_SHOWN_ELSEWHERE = frozenset({"id", "object", "created_at", "name", "model", "description", "instructions", "tools"})

_SHUTDOWNS = {
    date(2026, 10, 23): (
        "gpt-3.5-turbo gpt-3.5-turbo-0125 gpt-4 gpt-4-0613 gpt-4-turbo gpt-4-turbo-2024-04-09 gpt-4o-2024-05-13 "
        "gpt-4.1-nano gpt-4.1-nano-2025-04-14 o1 o1-2024-12-17 o3-mini o3-mini-2025-01-31 o4-mini o4-mini-2025-04-16"
    ),
    date(2026, 12, 11): (
        "gpt-5 gpt-5-2025-08-07 gpt-5-mini gpt-5-mini-2025-08-07 gpt-5-nano gpt-5-nano-2025-08-07 o3 o3-2025-04-16"
    ),
    date(2027, 1, 14): (
        "gpt-4o gpt-4o-2024-08-06 gpt-4o-2024-11-20 gpt-4o-mini gpt-4o-mini-2024-07-18 gpt-4.1 gpt-4.1-2025-04-14 "
        "gpt-4.1-mini gpt-4.1-mini-2025-04-14"
    ),
}
_SHUTDOWN_OF = {model: day for day, models in _SHUTDOWNS.items() for model in models.split()}
_FINE_TUNED = re.compile(r"ft:([^:]+):")


def announced_shutdown(model: str) -> date | None:
    """The day on which OpenAI shuts ``model`` down; None if none was known when this version was made.

    A fine-tuned model ends with the one that it was made of.

    >>> announced_shutdown("ft:gpt-4o-mini-2024-07-18:acme::abc")
    datetime.date(2027, 1, 14)
    """
    tuned = _FINE_TUNED.match(model)
    return _SHUTDOWN_OF.get(tuned[1] if tuned else model)


def _fields_of(record: Record) -> dict[str, Any]:
    try:
        found = read_json(record.raw)
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    # The latest version of a Foundry agent, as an assistant has it all.
    return {"id": record.id, **prompt_agents.flat(found)} if record.kind is Kind.FOUNDRY_AGENT else found


def _tools_of(fields: dict[str, Any]) -> list[Any]:
    tools = fields.get("tools")
    return tools if isinstance(tools, list) else [] if tools is None else [tools]


def _parameters(fields: dict[str, Any], view: DefinitionView, *, long: bool) -> Iterator[tuple[str, Any]]:
    """What else a definition sets; the ``long`` values by themselves."""
    refers = bool(view.store_ids or view.file_ids)
    for field, value in fields.items():
        if field in _SHOWN_ELSEWHERE or value in (None, "", [], {}) or (field == "tool_resources" and refers):
            continue
        if long == (len(_short(value)) > _LONG):
            yield field, value


def _title_of(field: str) -> str:
    words = field.replace("_", " ")[:_LONG]
    return words[:1].upper() + words[1:]


def _indented(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def _short(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class _Share(msgspec.Struct):
    """Of one store: how many of its files were got in each way, and their size in bytes."""

    files: Counter[Fidelity] = msgspec.field(default_factory=Counter)
    bytes: int = 0
    members: int = 0


class _Trace(msgspec.Struct, frozen=True, omit_defaults=True):
    """A mention of a file: in a store, by an assistant, or its line in the ledger."""

    store: int | None = None
    line: LedgerLine | None = None


class _Shares:
    """How the files of a bundle are spread over its stores.

    ``stores`` has a share for each store in the bundle; ``unused`` are the files that no store or assistant has.

    Memory grows with the stores, not with their files. Raises DamagedBundle.
    """

    def __init__(self, bundle: BundleReader) -> None:
        self.stores: dict[SourceId, _Share] = {}
        self.unused: Capped[LedgerLine] = Capped()
        traces = ValueSorter(_Trace)
        for record in bundle.stores():
            number = len(self.stores)
            if record.id not in self.stores:
                self.stores[record.id] = _Share()
                for member in bundle.memberships(record.id):
                    traces.add(member.id, _Trace(store=number))
        for record in bundle.whole():
            for file in read(record).file_ids:
                traces.add(file, _Trace())
        for skill in bundle.definitions(Kind.SKILL):
            for version in bundle.versions(Kind.SKILL, skill.id):
                traces.add(version.id, _Trace())
        for line in bundle.ledger():
            traces.add(line.id, _Trace(line=line))
        shares = list(self.stores.values())
        for _, group in traces.by_text():
            self._take(list(group), shares)
        traces.close()

    def _take(self, mentions: list[_Trace], shares: list[_Share]) -> None:
        line = next((one.line for one in mentions if one.line is not None), None)
        users = [one for one in mentions if one.line is None]
        if line is not None and not users:
            self.unused.append(line)
        for number in {one.store for one in users if one.store is not None}:
            shares[number].members += 1
            if line is not None:
                shares[number].files[line.fidelity] += 1
                shares[number].bytes += line.size or 0
