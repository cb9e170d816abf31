"""Text out of documents: what can be read, and how reading fails.

Run once, when a file is uploaded, on a worker thread. Text files are read from their own bytes whenever they are
needed; what had to be extracted from pdf, docx, pptx and html, in another process, is kept beside the blob.
"""

from __future__ import annotations

import codecs
import enum
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from holdall.sandbox.service.blobs import Blobs

if TYPE_CHECKING:
    from holdall.sandbox.service.extractor import Extractor

__all__ = [
    "CHARS_PER_TOKEN",
    "EXTRACTED",
    "MAX_CHARACTERS",
    "RETRIEVABLE",
    "UPLOADABLE",
    "Examined",
    "Outcome",
    "TooLarge",
    "decoded",
    "examine",
    "extension",
    "text_of",
    "written_extension",
]

CHARS_PER_TOKEN = 4

MAX_CHARACTERS = 5_000_000 * CHARS_PER_TOKEN
"""Of a file's text: five million tokens."""

EXTRACTED = frozenset({"pdf", "docx", "pptx", "html"})
"""Extensions of the documents that aren't their own text."""

# Bytes that are decoded at once.
_PIECE = 1 << 20

RETRIEVABLE = frozenset(
    {"c", "cpp", "cs", "css", "csv", "doc", "docx", "go", "html", "java", "js", "json", "md", "pdf", "php", "pptx"}
    | {"py", "rb", "sh", "tex", "ts", "txt"}
)
"""Extensions that a vector store takes."""

UPLOADABLE = RETRIEVABLE | frozenset(["gif", "jpeg", "jpg", "pkl", "png", "tar", "webp", "xlsx", "xml", "zip"])
"""Extensions that an upload of purpose ``assistants`` takes: those and what the code interpreter reads."""


class TooLarge(Exception):
    """A document that has, or takes, more than a document may."""


class Outcome(enum.StrEnum):
    """How reading a document ends."""

    READ = "read"
    TOO_LARGE = "it is too large"
    EMPTY = "it is empty"
    BROKEN = "it is corrupted"
    UNSUPPORTED = "its type is not supported"


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """What reading a file came to: the UTF-8 length of its text, or an error's code and message."""

    text_bytes: int = 0
    code: str | None = None
    message: str | None = None


def extension(filename: str) -> str:
    """What stands after the last dot, in lower case; empty if there is none."""
    return written_extension(filename).lower()


def written_extension(filename: str) -> str:
    """The same as it is written."""
    return filename.rpartition(".")[2] if "." in filename else ""


def examine(blobs: Blobs, name: str, filename: str, extractor: Extractor) -> Examined:
    """Read a blob as the document that its filename says it is. Keeps extracted text beside the blob."""
    kind = extension(filename)
    if kind not in RETRIEVABLE:
        return Examined()
    path = blobs.path(name)
    size = path.stat().st_size
    if size == 0:
        outcome = Outcome.EMPTY
    elif kind == "doc":
        outcome = Outcome.UNSUPPORTED
    elif kind in EXTRACTED:
        passing = blobs.incoming().path
        answered = extractor.extract(path, kind, passing)
        outcome, size = answered.outcome, answered.text_bytes
        if outcome is Outcome.READ:
            blobs.keep_text(name, passing)
    else:
        try:
            outcome, size = _measured(path)
        except UnicodeDecodeError:
            outcome = Outcome.UNSUPPORTED
    match outcome:
        case Outcome.READ:
            return Examined(text_bytes=size)
        case Outcome.UNSUPPORTED:
            return Examined(code="unsupported_file", message="The file type is not supported.")
        case _:
            return Examined(code="invalid_file", message=f"The file could not be parsed because {outcome}.")


def text_of(blobs: Blobs, name: str, filename: str) -> str:
    """The text of a blob that was examined without an error."""
    if extension(filename) in EXTRACTED:
        return blobs.text_path(name).read_bytes().decode()
    return decoded(blobs.path(name).read_bytes())


def decoded(data: bytes) -> str:
    """Text in UTF-8 or, with a byte order mark, UTF-16: the encodings that the service takes."""
    return _without_nul(data.decode(_encoding(data)))


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise UnicodeDecodeError("utf-8", b"\0", 0, 1, "a NUL is no text")
    return text


def _encoding(data: bytes) -> str:
    return "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _measured(path: Path) -> tuple[Outcome, int]:
    """(READ, the UTF-8 length of a text file), or what is wrong with it, read in pieces and no further than it counts.

    Raises UnicodeDecodeError for what is no text.
    """
    characters = size = 0
    is_blank = True
    for text in _pieces(path):
        characters += len(text)
        if characters > MAX_CHARACTERS:
            return Outcome.TOO_LARGE, 0
        size += len(text.encode())
        is_blank = is_blank and not text.strip()
    return (Outcome.EMPTY, 0) if is_blank else (Outcome.READ, size)


def _pieces(path: Path) -> Iterator[str]:
    with path.open("rb") as source:
        piece = source.read(_PIECE)
        decoder = codecs.getincrementaldecoder(_encoding(piece))()
        while piece:
            yield _without_nul(decoder.decode(piece))
            piece = source.read(_PIECE)
        yield decoder.decode(b"", final=True)
