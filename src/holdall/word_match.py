"""Compares the words of a local file with a server's parsed text.

Parsed text comes in parts, which may overlap and be cut anywhere, even inside words. For plain text, each part's words
must be in the file, in order. For HTML and office documents, whose text depends on the parser, nearly all words must be
there. Other types (PDF) can't be compared.
"""

from __future__ import annotations

import codecs
import html
import re
import zipfile
import zlib
from array import array
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from holdall.safe_files import open_regular
from holdall.untrusted import normalized

# How a file of the right name and size was checked, for the ledger.
WORDS_AGREE = "name, size and words match"
NO_TEXT_FILE = "name and size match; words not compared (unreadable type)"
NO_PARSED_TEXT = "name and size match; words not compared (no parsed text)"

# Scripts that put no blanks between words are compared letter by letter.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(f"[{_UNSPACED}]|[^\\W{_UNSPACED}]+")
_CHUNK = 1 << 20
_FEW = 8

_MARKUP = frozenset({"html", "htm", "xhtml", "xml", "svg"})
_OPAQUE = frozenset({
    "7z", "bmp", "doc", "epub", "gif", "gz", "jpeg", "jpg", "mp3", "mp4", "odp", "ods", "odt", "pdf", "pkl", "png",
    "ppt", "ps", "rtf", "tar", "tiff", "webp", "xls", "zip",
})  # fmt: skip
_OFFICE = {
    "docx": re.compile(r"word/(document|footnotes|endnotes|header\d*|footer\d*|comments)\.xml"),
    "pptx": re.compile(r"ppt/(slides|notesSlides)/[^/]+\.xml"),
    "xlsx": re.compile(r"xl/(sharedStrings|worksheets/[^/]+)\.xml"),
}
_OFFICE_BREAK = re.compile(r"</(?:w|a):p>|<(?:w|a):(?:br|tab|cr)\b[^>]*>|</(?:si|v|t)>")
_TAG = re.compile(r"<[^>]*>")
# Parsers add and leave out: titles, captions, links, numbers of pages.
_LEAST_SHARE = 0.9
# Longer ones no server parses (OpenAI: 5 million tokens a file).
_LONGEST = 256 << 20


def read_matcher(path: Path) -> WordMatcher | None:
    """The words of the file at ``path``; None where its type or its encoding doesn't show them. Raises OSError."""
    ending = path.suffix.lstrip(".").casefold()
    if ending in _OPAQUE or path.stat().st_size > _LONGEST:
        return None
    try:
        if ending in _OFFICE:
            return _Loose(_office_text(path, _OFFICE[ending]))
        encoding = _encoding(path)
        if encoding is None:
            return None
        pieces = _decoded(path, encoding)
        return _Loose(map(html.unescape, pieces)) if ending in _MARKUP else _Strict(pieces)
    except (UnicodeDecodeError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError):
        return None


class _Strict:
    """Words in their order, eight bytes each: where a part stands is then a search for bytes."""

    def __init__(self, pieces: Iterable[str]) -> None:
        hashes = array("q")
        for piece in pieces:
            hashes.extend(map(hash, _words(piece)))
        self._words = hashes.tobytes()
        self.restart()

    def restart(self) -> None:
        """Start over with another parsed text of the file."""
        self._from = self._edges = 0
        self._found = self._unsure = self._missing = False

    @property
    def agrees(self) -> bool:
        """So far every part had its words in the file."""
        return not self._missing and (self._found or not self._unsure)

    @property
    def closeness(self) -> float:
        """Rank among files that agree with one text: how many words at the edges of parts, which may be cut, are whole
        in the file."""
        return self._edges

    def compare(self, parts: Iterable[str]) -> None:
        """The next parts of the parsed text, in their order."""
        for part in parts:
            sought = array("q", map(hash, _words(part)))
            if not sought or self._missing:
                continue
            if self._stands(sought):
                self._found = True
            elif len(sought) <= 2:
                self._unsure = True  # cut words and nothing between: says nothing, unless it is all there is
            else:
                self._missing = True

    def _stands(self, sought: array[int]) -> bool:
        """Without its first and last word, which may be cut; not before the part that came before it."""
        inner = sought[1:-1]
        # Of a few words the edges are much, so they are tried first.
        for words in (inner,) if len(sought) > _FEW else (sought, sought[1:], sought[:-1], inner):
            if words:
                found = self._find(words.tobytes())
                if found >= 0:
                    self._from = found
                    start, end = found - 8 * (words is inner), found + 8 * (len(words) + (words is inner))
                    self._edges += self._words[start : start + 8] == sought[:1].tobytes()
                    self._edges += self._words[end - 8 : end] == sought[-1:].tobytes()
                    return True
        return False

    def _find(self, sought: bytes) -> int:
        at = self._words.find(sought, self._from)
        while at % 8 and at >= 0:
            at = self._words.find(sought, at + 1)
        return at


class _Loose:
    """Words without their order, of which nearly all must be there."""

    def __init__(self, pieces: Iterable[str]) -> None:
        self._words = {hash(word.casefold()) for piece in pieces for word in _words(piece)}
        self.restart()

    def restart(self) -> None:
        self._seen: set[int] = set()

    def compare(self, parts: Iterable[str]) -> None:
        for part in parts:
            words = array("q", (hash(word.casefold()) for word in _words(part)))
            # The edges may be cut, where there is more than edges.
            self._seen.update(words[1:-1] or words)

    @property
    def agrees(self) -> bool:
        return len(self._seen & self._words) >= _LEAST_SHARE * len(self._seen)

    @property
    def closeness(self) -> float:
        """How many of the text's words are in the file."""
        return len(self._seen & self._words)


WordMatcher: TypeAlias = _Strict | _Loose
"""The words of one file, to be compared with a parsed text that comes in parts."""


def _words(text: str) -> Iterator[str]:
    return (found[0] for found in _WORD.finditer(normalized("NFC", text)))


def _encoding(path: Path) -> str | None:
    """By its byte order mark, else UTF-8; None where a zero byte says that this is no text."""
    with open_regular(path) as file:
        start = file.read(8192)
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    return None if b"\0" in start else "utf-8-sig"


def _decoded(path: Path, encoding: str) -> Iterator[str]:
    """The file's text in pieces that end between words. UnicodeDecodeError where it is in another encoding."""
    decoder = codecs.getincrementaldecoder(encoding)()
    rest = ""
    with open_regular(path) as file:
        while data := file.read(_CHUNK):
            text = rest + decoder.decode(data)
            # Behind the last blank; in what has none, anywhere rather than nowhere.
            cut = max(text.rfind(" "), text.rfind("\n")) + 1 or (len(text) if len(text) > 4 * _CHUNK else 0)
            yield text[:cut]
            rest = text[cut:]
    yield rest + decoder.decode(b"", final=True)


def _office_text(path: Path, wanted: re.Pattern[str]) -> Iterator[str]:
    """The text between the tags of an office document, with paragraphs and cells apart. zipfile's errors."""
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if wanted.fullmatch(member.filename) and member.file_size <= _LONGEST:
                with suppress(UnicodeDecodeError):
                    text = archive.read(member).decode("utf-8-sig")
                    yield html.unescape(_TAG.sub("", _OFFICE_BREAK.sub(" ", text)))
