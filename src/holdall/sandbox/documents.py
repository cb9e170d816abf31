"""Text out of documents: what can be read, and how reading fails.

Run once, when a file is uploaded, on a worker thread. Text files are read from their own bytes whenever they are
needed; what had to be parsed out of pdf, docx, pptx and html is kept beside the blob.
"""

from __future__ import annotations

import codecs
import logging
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import msgspec

from holdall.sandbox.blobs import Blobs

__all__ = [
    "CHARS_PER_TOKEN",
    "RETRIEVABLE",
    "UPLOADABLE",
    "Examined",
    "examine",
    "extension",
    "text_of",
    "written_extension",
]

CHARS_PER_TOKEN = 4
_MAX_TOKENS = 5_000_000

_PARSED = frozenset({"pdf", "docx", "pptx", "html"})

RETRIEVABLE = frozenset(
    {"c", "cpp", "cs", "css", "csv", "doc", "docx", "go", "html", "java", "js", "json", "md", "pdf", "php", "pptx"}
    | {"py", "rb", "sh", "tex", "ts", "txt"}
)
"""Extensions that a vector store takes."""

UPLOADABLE = RETRIEVABLE | frozenset(["gif", "jpeg", "jpg", "pkl", "png", "tar", "webp", "xlsx", "xml", "zip"])
"""Extensions that an upload of purpose ``assistants`` takes: those and what the code interpreter reads."""


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What reading a file came to: the UTF-8 length of its text, or an error's code and message."""

    text_bytes: int = 0
    code: str | None = None
    message: str | None = None


_TOO_LARGE = Examined(code="invalid_file", message="The file could not be parsed because it is too large.")
_EMPTY = Examined(code="invalid_file", message="The file could not be parsed because it is empty.")
_BROKEN = Examined(code="invalid_file", message="The file could not be parsed because it is corrupted.")
_UNSUPPORTED = Examined(code="unsupported_file", message="The file type is not supported.")


def extension(filename: str) -> str:
    """What stands after the last dot, in lower case; empty if there is none."""
    return written_extension(filename).lower()


def written_extension(filename: str) -> str:
    """The same as it is written."""
    return filename.rpartition(".")[2] if "." in filename else ""


def examine(blobs: Blobs, name: str, filename: str) -> Examined:
    """Read a blob as the document that its filename says it is. Keeps parsed text beside the blob."""
    kind = extension(filename)
    if kind not in RETRIEVABLE:
        return Examined()
    path = blobs.path(name)
    size = path.stat().st_size
    if size == 0:
        return _EMPTY
    if kind == "doc":
        return _UNSUPPORTED
    # No encoding spends more than four bytes on a character, so anything above this has too many tokens.
    if kind not in _PARSED and size > 4 * CHARS_PER_TOKEN * _MAX_TOKENS:
        return _TOO_LARGE
    try:
        text = _parsed(path, kind) if kind in _PARSED else _decoded(path.read_bytes())
    except UnicodeDecodeError:
        return _UNSUPPORTED
    except Exception:  # parsers of strangers' documents raise whatever they like; each such file is a broken one
        return _BROKEN
    if not text.strip():
        return _EMPTY
    if len(text) > CHARS_PER_TOKEN * _MAX_TOKENS:
        return _TOO_LARGE
    if kind in _PARSED:
        blobs.keep_text(name, text)
    return Examined(text_bytes=len(text.encode()))


def text_of(blobs: Blobs, name: str, filename: str) -> str:
    """The text of a blob that was examined without an error."""
    if extension(filename) in _PARSED:
        return blobs.text_path(name).read_bytes().decode()
    return _decoded(blobs.path(name).read_bytes())


def _decoded(data: bytes) -> str:
    """Text in UTF-8 or, with a byte order mark, UTF-16: the encodings that the service takes."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    text = data.decode("utf-8-sig")
    if "\0" in text:
        raise UnicodeDecodeError("utf-8", data[:16], 0, 1, "a NUL is no text")
    return text


def _parsed(path: Path, kind: str) -> str:
    match kind:
        case "pdf":
            return _pdf(path)
        case "docx":
            return "\n".join(_docx(path))
        case "pptx":
            return "\n".join(_pptx(path))
        case _:
            reader = _Html()
            reader.feed(_decoded(path.read_bytes()))
            reader.close()
            return reader.text()


def _pdf(path: Path) -> str:
    import pypdf

    # It tells of every oddity it forgives; only what it can't read is of interest here.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    with pypdf.PdfReader(path) as document:
        return "\n\n".join(page.extract_text() for page in document.pages)


def _docx(path: Path) -> Iterator[str]:
    import docx
    from docx.table import Table

    for block in docx.Document(str(path)).iter_inner_content():
        if isinstance(block, Table):
            for row in block.rows:
                yield "\t".join(cell.text for cell in row.cells)
        else:
            yield block.text


_DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/main}"


def _pptx(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as package:
        slides = [name for name in package.namelist() if name.startswith("ppt/slides/slide")]
        for slide in sorted(slides, key=lambda name: (len(name), name)):
            for paragraph in ElementTree.fromstring(package.read(slide)).iter(f"{_DRAWING}p"):
                yield "".join(run.text or "" for run in paragraph.iter(f"{_DRAWING}t"))


class _Html(HTMLParser):
    """The text that a reader would see: no scripts and styles, blocks on lines of their own."""

    _BLOCKS = frozenset(
        {"address", "article", "br", "div", "dd", "dt", "h1", "h2", "h3", "h4", "h5", "h6", "li", "p", "pre"}
        | {"section", "table", "td", "th", "title", "tr"}
    )
    _HIDDEN = frozenset({"script", "style", "template"})

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self._HIDDEN:
            self._hidden += 1
        elif tag in self._BLOCKS:
            self._parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._HIDDEN:
            self._hidden = max(0, self._hidden - 1)
        elif tag in self._BLOCKS:
            self._parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._parts.append(data)

    def text(self) -> str:
        lines = (" ".join(line.split()) for line in "".join(self._parts).splitlines())
        return "\n".join(line for line in lines if line)
