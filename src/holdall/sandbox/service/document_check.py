"""Documents read: whether a file has a text, how long it is, and how reading fails.

Run once, when a file is uploaded, on a worker thread. Text files are read from their own bytes whenever they are
needed; what had to be extracted from pdf, docx, pptx and html, in another process, is kept beside the blob.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

import msgspec

from holdall.sandbox.service.blobs import Blobs
from holdall.sandbox.service.documents import (
    EXTRACTED,
    MAX_CHARACTERS,
    RETRIEVABLE,
    ReadOutcome,
    decoded,
    encoding,
    extension,
    without_nul,
)
from holdall.sandbox.service.extractor import Extractor

# Bytes that are decoded at once.
_PIECE = 1 << 20


class CheckedDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What reading a file came to: the UTF-8 length of its text, or an error's code and message."""

    text_bytes: int = 0
    code: str | None = None
    message: str | None = None


def examine(blobs: Blobs, name: str, filename: str, extractor: Extractor) -> CheckedDocument:
    """Read a blob as the document that its filename says it is. Keeps extracted text beside the blob."""
    kind = extension(filename)
    if kind not in RETRIEVABLE:
        return CheckedDocument()
    path = blobs.path(name)
    size = path.stat().st_size
    if size == 0:
        outcome = ReadOutcome.EMPTY
    elif kind == "doc":
        outcome = ReadOutcome.UNSUPPORTED
    elif kind in EXTRACTED:
        passing = blobs.incoming().path
        answered = extractor.extract(path, kind, passing)
        outcome, size = answered.outcome, answered.text_bytes
        if outcome is ReadOutcome.READ:
            blobs.keep_made(name, passing)
    else:
        try:
            outcome, size = _measured(path)
        except UnicodeDecodeError:
            outcome = ReadOutcome.UNSUPPORTED
    match outcome:
        case ReadOutcome.READ:
            return CheckedDocument(text_bytes=size)
        case ReadOutcome.UNSUPPORTED:
            return CheckedDocument(code="unsupported_file", message="The file type is not supported.")
        case _:
            return CheckedDocument(code="invalid_file", message=f"The file could not be parsed because {outcome}.")


def text_of(blobs: Blobs, name: str, filename: str) -> str:
    """The text of a blob that was examined without an error."""
    if extension(filename) in EXTRACTED:
        return blobs.made_path(name).read_bytes().decode()
    return decoded(blobs.path(name).read_bytes())


def _measured(path: Path) -> tuple[ReadOutcome, int]:
    """(READ, the UTF-8 length of a text file), or what is wrong with it, read in pieces and no further than it counts.

    Raises UnicodeDecodeError for what is no text.
    """
    characters = size = 0
    is_blank = True
    for text in _pieces(path):
        characters += len(text)
        if characters > MAX_CHARACTERS:
            return ReadOutcome.TOO_LARGE, 0
        size += len(text.encode())
        is_blank = is_blank and not text.strip()
    return (ReadOutcome.EMPTY, 0) if is_blank else (ReadOutcome.READ, size)


def _pieces(path: Path) -> Iterator[str]:
    with path.open("rb") as source:
        piece = source.read(_PIECE)
        decoder = codecs.getincrementaldecoder(encoding(piece))()
        while piece:
            yield without_nul(decoder.decode(piece))
            piece = source.read(_PIECE)
        yield decoder.decode(b"", final=True)
