"""Text out of pdf, docx, pptx and html, each in time and memory that grow with the file and not faster.

Runs in the process of ``extractor``, which is ended where that does not hold: pdf is read by a library that promises
nothing of the kind.
"""

from __future__ import annotations

import html
import logging
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from xml.parsers import expat

from holdall.sandbox.service.documents import MAX_CHARACTERS, TooLarge, decoded

# Bytes of markup, unpacked, that are read of one document.
_MAX_MARKUP = 64 << 20

# What a package may unpack to: so much in any case, and so many times its own size. Text deflates to a tenth.
_ALWAYS_UNPACKED = 1 << 20
_MAX_RATIO = 200


def extracted(path: Path, kind: str) -> str:
    """The text of a document of that kind; raises TooLarge, or whatever else its reader raises."""
    text = _READERS[kind](path)
    if len(text) > MAX_CHARACTERS:
        raise TooLarge
    return text


def _pdf(path: Path) -> str:
    import pypdf

    # It tells of every oddity it forgives; only what it can't read is of interest here.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    pages, length = [], 0
    # An open file is read where it is needed, a path whole.
    with path.open("rb") as source, pypdf.PdfReader(source) as document:
        for page in document.pages:
            pages.append(page.extract_text())
            length += len(pages[-1])
            if length > MAX_CHARACTERS:
                raise TooLarge
    return "\n\n".join(pages)


_BODY = re.compile(r"word/document\d*\.xml")
_SLIDE = re.compile(r"ppt/slides/slide[^/]*\.xml")


def _package(path: Path, part: re.Pattern[str]) -> str:
    """The lines of all parts of that name, in the order of their numbers."""
    left = min(_MAX_MARKUP, _ALWAYS_UNPACKED + _MAX_RATIO * path.stat().st_size)
    lines: list[str] = []
    with zipfile.ZipFile(path) as package:
        names = sorted(filter(part.fullmatch, package.namelist()), key=lambda name: (len(name), name))
        if not names:
            raise ValueError("it has nothing to read")
        for name in names:
            with package.open(name) as member:
                markup = bytearray()
                # In pieces: read at once, a member is unpacked whole, whatever size it declares.
                while piece := member.read(1 << 16):
                    markup += piece
                    if len(markup) > left:
                        raise TooLarge
            left -= len(markup)
            lines += _lines(bytes(markup))
    return "\n".join(lines)


def _no_declarations(*_: object) -> NoReturn:
    raise ValueError("it declares a document type, which no office document does; entities grow without bound")


def _lines(markup: bytes) -> list[str]:
    """The text of WordprocessingML or DrawingML: a line for each paragraph, and one for each row of a table."""
    reader = _Office()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _no_declarations
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.say
    parser.Parse(markup, True)
    return reader.lines


# By local name, for both languages call these alike. What floats is not in the line where it is anchored.
_FLOATING = frozenset({"AlternateContent", "drawing", "object", "pict"})
_CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


class _Office:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self._line: list[str] = []
        self._cell: list[str] = []
        self._row: list[str] = []
        self._tables = self._floating = self._runs = self._texts = 0

    def start(self, name: str, _: dict[str, Any]) -> None:
        name = name.rpartition(" ")[2]
        if name in _FLOATING:
            self._floating += 1
        elif name == "tbl":
            self._tables += 1
        elif name == "r":
            self._runs += 1
        elif name == "t":
            self._texts += 1
        elif self._runs and name in _CHARACTERS and not self._floating:
            self._line.append(_CHARACTERS[name])

    def say(self, text: str) -> None:
        if self._texts and not self._floating:
            self._line.append(text)

    def end(self, name: str) -> None:
        name = name.rpartition(" ")[2]
        if name in _FLOATING:
            self._floating -= 1
        elif name == "r":
            self._runs -= 1
        elif name == "t":
            self._texts -= 1
        elif name == "tbl":
            self._tables -= 1
        elif name == "p" and not self._floating:
            (self._cell if self._tables else self.lines).append("".join(self._line))
            self._line.clear()
        elif name == "tc" and self._tables == 1:
            self._row.append("\n".join(self._cell))
            self._cell.clear()
        elif name == "tr" and self._tables == 1:
            self.lines.append("\t".join(self._row))
            self._row.clear()


# A tag up to its end; a quoted value may hold one. An unclosed quote is passed over, and is the last of its kind.
_TAG = re.compile(r"""<(/?)([a-zA-Z][^\s/>]*+)(?:[^>=]++|=\s*+(?:"[^"]*+"|'[^']*+')?+)*+>""")
_BLOCKS = frozenset(
    {"address", "article", "br", "div", "dd", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "li", "p", "pre"}
    | {"section", "table", "td", "th", "title", "tr"}
)
_UNPARSED = {name: re.compile(rf"</{name}(?=[\s/>])", re.IGNORECASE) for name in ("script", "style")}


def _html(path: Path) -> str:
    """The text that a reader would see: no scripts and styles, blocks on lines of their own."""
    if path.stat().st_size > _MAX_MARKUP:
        raise TooLarge
    lines = (" ".join(line.split()) for line in "".join(_shown(decoded(path.read_bytes()))).splitlines())
    return "\n".join(line for line in lines if line)


def _shown(page: str) -> Iterator[str]:
    # The standard library's parser takes time that grows with the square of what is left open. One loop with a branch
    # for each kind of markup: taken apart, its place and its open templates would go through every part.
    place, templates = 0, 0
    while place < len(page):
        start = page.find("<", place)
        start = len(page) if start < 0 else start
        if not templates:
            yield html.unescape(page[place:start])
        if page.startswith("<!--", start):
            place = _after(page, "-->", start + 4)
        elif page.startswith(("<!", "<?"), start):
            place = _after(page, ">", start)
        elif tag := _TAG.match(page, start):
            place, name = tag.end(), tag[2].lower()
            if name == "template":
                templates = max(0, templates - 1 if tag[1] else templates + 1)
            elif name in _UNPARSED and not tag[1]:
                end = _UNPARSED[name].search(page, place)
                place = end.start() if end else len(page)
            elif name in _BLOCKS and not templates:
                yield "\n"
        elif page[start + 1 : start + 2] == "/" or page[start + 1 : start + 2].isalpha():
            place = _after(page, ">", start)
        else:
            if not templates:
                yield page[start : start + 1]
            place = start + 1


def _after(page: str, end: str, start: int) -> int:
    """The place after the next ``end``; the end of the page where there is none."""
    found = page.find(end, start)
    return len(page) if found < 0 else found + len(end)


_READERS: dict[str, Callable[[Path], str]] = {
    "pdf": _pdf,
    "docx": lambda path: _package(path, _BODY),
    "pptx": lambda path: _package(path, _SLIDE),
    "html": _html,
}
