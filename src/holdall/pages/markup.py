"""The parts of every page. Text in, HTML out; what comes from outside is made printable before it is made HTML."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.resources import files

from holdall.legible import flat, human_size, printable
from holdall.model import Fidelity

POLICY = "default-src 'none'; style-src 'unsafe-inline'"

# Characters of a name: one may have 4 KiB, and a page has thousands.
_NAME = 200
_MESSAGE = 1000

FIDELITIES: Mapping[Fidelity, str] = {
    Fidelity.ORIGINAL: "original",
    Fidelity.SUPPLIED: "supplied",
    Fidelity.CONTAINER: "container",
    Fidelity.TEXT: "text only",
    Fidelity.UNAVAILABLE: "missing",
}
"""How a page calls each; the style has a colour for each value."""


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


def headline(verdict: str, *, good: bool) -> str:
    """The verdict: its word large, and below it what it counts."""
    word, colon, rest = verdict.partition(": ")
    below = f" <span>{message(rest)}</span>" if rest else ""
    return f'<h1 class="{"good" if good else "bad"}">{message(word)}{colon.strip()}{below}</h1>\n'


def code(value: object) -> str:
    return f"<code>{name(value)}</code>"


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


def fidelity(value: Fidelity | None, count: int | None = None, *, doubtful: bool = False, cut: bool = False) -> str:
    """The word in its colour, behind a ``count`` of files if there is one."""
    if value is None:
        return '<b class="unknown">unknown</b>'
    number = "" if count is None else f"{count} "
    word = FIDELITIES[value] + (", cut short" if cut else "") + (", uncertain" if doubtful else "")
    return f'<b class="{value.value}">{number}{word}</b>'


def size(count: int | None) -> str:
    return "-" if count is None else human_size(count)


def facts(rows: Iterable[tuple[str, str]]) -> str:
    """A list of terms, and for each what it is, as HTML."""
    return f"<dl>{''.join(f'<dt>{text(term)}</dt><dd>{said}</dd>' for term, said in rows)}</dl>\n"


def fold(summary: str, inner: str, *, is_open: bool = False) -> str:
    """``inner`` behind a line that opens it; on paper it is open. Both are HTML."""
    return f"<details{' open' if is_open else ''}><summary>{summary}</summary>{inner}</details>\n"


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
    return (files("holdall.pages") / "page.css").read_text(encoding="utf-8")
