"""Parsed text back into one document: the parts that a vector store keeps of a file, joined.

Pure. A store cuts a file into parts that share some text at their edges (the chunk overlap, counted in tokens), and
the API hands the parts out one after another; whether they still overlap then differs from server to server. A part's
beginning that repeats the end of what came before is taken once. Where the file's size is known it decides: a reading
that has exactly that many bytes is the file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from holdall.errors import DamagedBundle

__all__ = ["DEFAULT_OVERLAP", "Document", "document", "is_text_name", "joined", "overlap_of"]

DEFAULT_OVERLAP = 400
"""Tokens that parts share where the source does not say (the API's ``auto``)."""

# A token is rarely longer than this many characters, so no overlap is longer than as many times its tokens.
_TOKEN_LENGTH = 16
# Edges equal by chance are short: of parts that do not overlap, every tenth or so shares a letter or a space.
_CHANCE = 8

# fmt: off
_TEXT_NAMES = frozenset(
    {
        "adoc", "bat", "c", "cc", "cfg", "conf", "cpp", "cs", "css", "csv", "cxx", "diff", "go",
        "h", "hpp", "htm", "html", "ini", "java", "js", "json", "jsonl", "kt", "log", "lua",
        "markdown", "md", "mjs", "org", "patch", "php", "pl", "ps1", "py", "r", "rb", "rs", "rst",
        "rtf", "scala", "sh", "sql", "srt", "svg", "swift", "tex", "toml", "ts", "tsv", "tsx",
        "txt", "vtt", "xml", "yaml", "yml",
    }
)
# fmt: on


class _Part(msgspec.Struct, frozen=True, kw_only=True):
    text: str | None = None


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page of parsed content in either documented shape."""

    data: list[_Part] | None = None
    content: list[_Part] | None = None


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    pages: list[_Page]
    truncated: bool = False


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A file's text. ``exact`` where it has as many bytes as the file had."""

    data: bytes
    exact: bool
    truncated: bool


def is_text_name(filename: str) -> bool:
    """True for names of plain-text types: what the parser reads in these is the file itself."""
    stem, dot, extension = filename.rpartition(".")
    return bool(dot and stem) and extension.lower() in _TEXT_NAMES


def overlap_of(strategy: Mapping[str, Any] | None) -> int:
    """The tokens that a file's parts share, by its chunking strategy; some servers say 400.0."""
    static = (strategy or {}).get("static")
    overlap = static.get("chunk_overlap_tokens") if isinstance(static, dict) else None
    return int(overlap) if isinstance(overlap, (int, float)) and overlap >= 0 else DEFAULT_OVERLAP


def document(stored: bytes, *, overlap: int, size: int | None) -> Document:
    """The document of a ``data/text`` entry. ``overlap`` is in tokens, ``size`` the file's bytes if known.

    Raises DamagedBundle where the entry isn't what the format says.
    """
    try:
        decoded = msgspec.json.decode(stored, type=_Stored)
    except msgspec.DecodeError as error:
        raise DamagedBundle(f"can't read a parsed text of the bundle: {error}") from None
    parts = [part.text or "" for page in decoded.pages for part in (page.data or page.content or [])]
    data = _best(parts, overlap, size)
    return Document(data=data, exact=len(data) == size, truncated=decoded.truncated)


def _best(parts: list[str], overlap: int, size: int | None) -> bytes:
    usual = None
    for reading in _readings(parts, overlap):
        data = reading.encode("utf-8", "surrogatepass")
        if size is None or len(data) == size:
            return data
        if usual is None:
            usual = data
    return usual or b""


def _readings(parts: list[str], overlap: int) -> Iterator[str]:
    """The ways to read the parts, the likeliest first."""
    yield joined(parts, overlap)
    if overlap > 0:
        yield "".join(parts)
        yield joined(parts, overlap, chance=1)


def joined(parts: list[str], overlap: int, *, chance: int = _CHANCE) -> str:
    """``parts`` with overlaps removed: at each edge the longest end of one that is the beginning of the next.

    Looked for up to ``overlap`` tokens; edges of fewer than ``chance`` characters (or tokens, if ``overlap`` is
    less) are taken for chance.
    """
    if overlap <= 0:
        return "".join(parts)
    longest = overlap * _TOKEN_LENGTH
    shortest = max(1, min(chance, overlap))
    out: list[str] = []
    tail = ""
    for part in parts:
        rest = part[_shared(tail, part, shortest) :]
        out.append(rest)
        tail = (tail + rest)[-longest:]
    return "".join(out)


def _shared(tail: str, part: str, shortest: int) -> int:
    """Length of the longest end of ``tail`` that ``part`` begins with; 0 if shorter than ``shortest``."""
    anchor = part[:shortest]
    if len(anchor) < shortest:
        return 0
    start = tail.find(anchor, max(0, len(tail) - len(part)))
    while start >= 0:
        if part.startswith(tail[start:]):
            return len(tail) - start
        start = tail.find(anchor, start + 1)
    return 0
