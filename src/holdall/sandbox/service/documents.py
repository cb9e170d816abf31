"""Documents by their kinds and limits, and the encodings that their text comes in."""

from __future__ import annotations

import codecs
import enum

CHARS_PER_TOKEN = 4

MAX_CHARACTERS = 5_000_000 * CHARS_PER_TOKEN
"""Of a file's text: five million tokens."""

EXTRACTED = frozenset({"pdf", "docx", "pptx", "html"})
"""Extensions of the documents that aren't their own text."""

RETRIEVABLE = frozenset(
    {"c", "cpp", "cs", "css", "csv", "doc", "docx", "go", "html", "java", "js", "json", "md", "pdf", "php", "pptx"}
    | {"py", "rb", "sh", "tex", "ts", "txt"}
)
"""Extensions that a vector store takes."""

UPLOADABLE = RETRIEVABLE | frozenset(["gif", "jpeg", "jpg", "pkl", "png", "tar", "webp", "xlsx", "xml", "zip"])
"""Extensions that an upload of purpose ``assistants`` takes: those and what the code interpreter reads."""


class TooLarge(Exception):
    """A document that has, or takes, more than a document may."""


class ReadOutcome(enum.StrEnum):
    """How reading a document ends."""

    READ = "read"
    TOO_LARGE = "it is too large"
    EMPTY = "it is empty"
    BROKEN = "it is corrupted"
    UNSUPPORTED = "its type is not supported"


def extension(filename: str) -> str:
    """What stands after the last dot, in lower case; empty if there is none."""
    return written_extension(filename).lower()


def written_extension(filename: str) -> str:
    """The same as it is written."""
    return filename.rpartition(".")[2] if "." in filename else ""


def decoded(data: bytes) -> str:
    """Text in UTF-8 or, with a byte order mark, UTF-16: the encodings that the service takes."""
    return without_nul(data.decode(encoding(data)))


def without_nul(text: str) -> str:
    """``text``; raises UnicodeDecodeError where a NUL is in it."""
    if "\0" in text:
        raise UnicodeDecodeError("utf-8", b"\0", 0, 1, "a NUL is no text")
    return text


def encoding(data: bytes) -> str:
    """The one that data begins in."""
    return "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
