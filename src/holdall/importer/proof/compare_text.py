"""Compares the destination's parsed text of a file with the bundle's content.

For text types the bundle has the text itself, or the text uploaded instead: the destination's parts, with or without
overlap, must give exactly that, apart from blanks and cut characters. A joined text must also contain the bundle's
parts, or it was joined wrongly. Servers parse HTML and office documents differently, so nearly all of the destination's
words must be in the file. Types without a parser here (PDF) are reported as unchecked.
"""

from __future__ import annotations

import asyncio
import codecs
import shutil
import tempfile
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path

import msgspec

from holdall.bundle.layout import IndexEntry
from holdall.bundle.reader import BundleReader
from holdall.bundle.texts import document
from holdall.errors import REQUEST_ERRORS
from holdall.importer.plan.bundle_summary import Content
from holdall.join_parts import joined
from holdall.model import Fidelity, TargetId, is_text_name
from holdall.remote.client import Account, path
from holdall.remote.parsed import read_parsed
from holdall.untrusted import normalized
from holdall.word_match import read_matcher

# Bytes of what is compared. Each letter may take four in memory, and the text is there six times.
_LARGEST = 8 << 20
_PIECE = 64 << 10
# After so many refusals in a row the destination isn't asked for text any more: not every server hands it out.
_REFUSALS = 3
_CUT = "\ufffd"
# No character comes apart into more.
_DECOMPOSED = 4
# Words that are shown around a difference.
_AROUND = 8
# Types whose text depends on who reads them.
_LOOSE = frozenset({"html", "htm", "xhtml", "xml", "svg", "docx", "pptx", "xlsx", "rtf"})


class TextMatch(StrEnum):
    """What came of comparing a file's text."""

    EQUAL = "equal"
    DIFFERS = "differs"
    DOUBTFUL = "doubtful"
    """Equal to what was joined, and it can't be told whether that was joined rightly."""
    NOT_CHECKED = "not checked"


class TextComparison(msgspec.Struct, frozen=True, kw_only=True):
    """One file's text. ``here`` and ``there`` show where the two begin to differ; ``text`` is what is known of it."""

    verdict: TextMatch
    why: str = ""
    here: str = ""
    there: str = ""
    text: str = ""


class _Nowhere:
    """A sink for what is only looked at."""

    def write(self, data: bytes) -> None:
        pass

    def commit(self) -> object:
        return None

    def commit_in_memory(self) -> bool:
        return True

    def abort(self) -> None:
        pass


class TextComparer:
    """Compares texts, of several files at once; the bundle is read, and words are compared, one file at a time."""

    def __init__(self, account: Account, reader: BundleReader) -> None:
        self._account, self._reader = account, reader
        # One text is in memory six times; several at once would be too much.
        self._one = asyncio.Lock()
        self._refusals = 0
        self._refused = ""

    async def compare(self, store: TargetId, file: TargetId, content: Content, *, overlap: int) -> TextComparison:
        """One file that the store has indexed; ``overlap``, in tokens, is that of its parts there.

        An unavailable text is in the result. Raises what stops every request, and DamagedBundle.
        """
        parts: list[str] = []
        if self._refusals >= _REFUSALS:
            return _unchecked(self._refused)
        try:
            where = path("/vector_stores/{}/files/{}/content", store, file)
            parsed = await read_parsed(
                self._account, where, _Nowhere(), parts.extend, file_size=content.size, most=_LARGEST
            )
        except REQUEST_ERRORS as error:
            self._refusals += 1
            self._refused = f"the destination does not return its text ({error.detail or error.message})"
            return _unchecked(self._refused)
        self._refusals = 0
        async with self._one:
            if parsed.truncated:
                return _unchecked("the destination returned only part of its text", "".join(parts))
            return await asyncio.to_thread(self._compared, content, parts, overlap)

    def _compared(self, content: Content, parts: list[str], overlap: int) -> TextComparison:
        there = joined(parts, overlap)
        as_text, kind = content.fidelity is Fidelity.TEXT, _type(content)
        entry = self._reader.content(content.id)
        if entry is None:
            return _unchecked("not in the bundle", there)
        if kind in _LOOSE and not as_text:
            return self._loosely(entry, kind, parts, there)
        if entry.size > _LARGEST:
            return _unchecked("too large to compare", there)
        if not as_text and not is_text_name(content.filename or ""):
            return _unchecked(f"text of this type ({kind or 'none'}) can't be read here", there)
        stored = self._reader.read(entry, limit=_LARGEST)
        if as_text:
            return _as_joined(content, stored, parts, there)
        encoding = "utf-16" if stored.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
        try:
            return _strictly(stored.decode(encoding), parts, there)
        except UnicodeDecodeError:
            return _unchecked("unknown encoding", there)

    def _loosely(self, entry: IndexEntry, kind: str, parts: list[str], there: str) -> TextComparison:
        """Whether the destination's words are in the file."""
        with tempfile.TemporaryDirectory(prefix="holdall-") as folder:
            copy = Path(folder, f"content.{kind}")
            with copy.open("wb") as out, self._reader.open(entry) as stream:
                shutil.copyfileobj(stream, out, 1 << 20)
            matcher = read_matcher(copy)
            if matcher is None:
                return _unchecked(f"text of this type ({kind}) can't be read here", there)
            matcher.compare(parts)
        if matcher.agrees:
            return TextComparison(verdict=TextMatch.EQUAL, text=there)
        return TextComparison(verdict=TextMatch.DIFFERS, here="different words", there=there[:200], text=there)


def _unchecked(why: str, text: str = "") -> TextComparison:
    return TextComparison(verdict=TextMatch.NOT_CHECKED, why=why, text=text)


def _strictly(here: str, parts: Iterable[str], there: str) -> TextComparison:
    """Whether the destination's ``parts``, which ``there`` has as one text, are all of the text ``here``."""
    if covered(here, parts):
        return TextComparison(verdict=TextMatch.EQUAL, text=here)
    ours, theirs = _apart(here, there)
    return TextComparison(verdict=TextMatch.DIFFERS, here=ours, there=theirs, text=here)


def _as_joined(content: Content, stored: bytes, parts: list[str], there: str) -> TextComparison:
    """What the destination reads in the joined text, against that and against the parts that it was joined of."""
    found = document(stored, overlap=content.overlap, filename=content.filename, size=content.size)
    compared = _strictly(found.data.decode("utf-8", "surrogatepass"), parts, there)
    if compared.verdict is TextMatch.DIFFERS:
        return compared
    if not covered(compared.text, found.parts):
        here, there = "the parts from the source", "different text: joined wrongly"
        return TextComparison(verdict=TextMatch.DIFFERS, here=here, there=there, text=compared.text)
    if found.doubt:
        why = f"uncertain text: {found.doubt}"
        return TextComparison(verdict=TextMatch.DOUBTFUL, why=why, text=compared.text)
    return compared


def covered(text: str, parts: Iterable[str]) -> bool:
    """Whether ``parts`` are all of ``text``: each begins in what came before it, or right behind, and none is missing.

    Blanks don't count, because servers trim them where they cut; nor does a character that is cut, of which U+FFFD is
    left at the edge of a part. Of several places where a part may stand the furthest is taken: where any way to lay
    them reaches the end, this one does.

    >>> covered("a b c b c d", ["a b c", "b c b", "cd"]), covered("a b c", ["a b"]), covered("a b c", ["a", "c"])
    (True, False, False)
    >>> covered("Käse", ["K\ufffd", "\ufffdse"]), covered("Kxse", ["K\ufffd", "\ufffdse"])
    (True, False)
    """
    whole = _solid(text)
    end = pieces = before = 0
    for part in filter(None, map(_solid, parts)):
        core = part.strip(_CUT)
        if not core:
            pieces += len(part)
            continue
        pieces += len(part) - len(part.lstrip(_CUT))
        reach = _behind(whole, end, pieces)
        # No further back than the part before it: a search of all that came before would be one of all for each part.
        start = whole.rfind(core, max(0, end - before - len(core)), reach + len(core))
        if start < 0:
            return False
        end, before, pieces = max(end, start + len(core)), len(core), len(part) - len(part.rstrip(_CUT))
    return _behind(whole, end, pieces) == len(whole)


def _behind(whole: str, end: int, pieces: int) -> int:
    """The furthest place behind ``end`` with nothing between but characters that so many U+FFFD may be pieces of."""
    furthest = end
    for place in range(end + 1, min(end + _DECOMPOSED * pieces, len(whole)) + 1 if pieces else 0):
        between = normalized("NFC", whole[end:place])
        if len(between) <= pieces and not any(char.isascii() for char in between):
            furthest = place
    return furthest


def _solid(text: str) -> str:
    # Decomposed, so that a cut between a letter and its accent changes nothing.
    whole = normalized("NFD", text).removeprefix("\ufeff")
    # In pieces: a list of all words takes ten times the text.
    return "".join("".join(whole[at : at + _PIECE].split()) for at in range(0, len(whole), _PIECE))


def _type(content: Content) -> str:
    return (content.filename or "").rpartition(".")[2].lower() if "." in (content.filename or "") else ""


def _apart(here: str, there: str) -> tuple[str, str]:
    """The words around the first that isn't the same in both."""
    ours, theirs = here.split(), there.split()
    same = next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    start = max(0, same - _AROUND)

    def shown(words: list[str]) -> str:
        some = " ".join(words[start : same + _AROUND])
        return f"{'… ' if start else ''}{some}{' …' if len(words) > same + _AROUND else ''} ({len(words)} words)"

    return shown(ours), shown(theirs)
