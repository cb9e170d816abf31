"""Reads which old id becomes which new one from a mapping, and rewrites ids in a text. Pure except for reading the
mapping.

Only whole ids are rewritten: no letter, digit, ``_`` or ``-`` right before or after. An escape (``\\n``, ``\\u0022``,
``\\x3d``, ``%2F``) counts as its character. Ids come from servers, so a new one with anything but letters, digits and a
few marks is never written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import msgspec

from holdall.errors import CannotRead, UsageFault
from holdall.kinds import DEFINITIONS, IDS, KINDS
from holdall.model import Kind
from holdall.safe_files import read_regular

MAPPING = "mapping.json"

_WRITTEN_DOWN = "imported as a Responses API request, which has no id"

# Of shorter ids nobody could say whether a word is one.
_SHORTEST = 8
_OLD = re.compile(r"[!-~]+")
_NEW = re.compile(r"[A-Za-z0-9_.:~@+=/-]+")
_WORD = re.compile(r"[A-Za-z0-9_-]+")
# Two hex digits that stand for a letter, a digit, _ or -, and those that don't.
_LETTER = r"(?:2[dD]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|5[fF])"
_OTHER = rf"(?:(?!{_LETTER})[0-9A-Fa-f]{{2}})"
# In strings of programs and JSON, in regular expressions, and in addresses, also in those inside of addresses.
_BORDER = (
    rf"(?:\\(?:[abefnrstv0]|x{_OTHER}|u00{_OTHER}|u(?!00)[0-9A-Fa-f]{{4}}|U000000{_OTHER}|U(?!000000)[0-9A-Fa-f]{{8}})"
    rf"|%(?:25)*{_OTHER})"
)
_CONTINUED = re.compile(rf"\\x{_LETTER}|\\u00{_LETTER}|\\U000000{_LETTER}|%(?:25)*{_LETTER}")
# What OpenAI and Azure give; an id of this form that the mapping doesn't have is worth a line.
_ID = re.compile(f"(?:{'|'.join(IDS)})[A-Za-z0-9]{{16,}}")


class Renaming(msgspec.Struct, frozen=True, kw_only=True):
    """What a mapping says: ``ids`` from old to new, and for the old ids that can't be rewritten the reason."""

    ids: dict[str, str]
    unusable: dict[str, str]


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """An id that was left in a text; ``line`` is where it is first, from 1."""

    id: str
    why: str
    line: int
    count: int


class Rewritten(msgspec.Struct, frozen=True, kw_only=True):
    """A text with ``count`` ids rewritten, and those that were left."""

    text: str
    count: int
    left: list[Left]


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    old: str = msgspec.field(name="srcId")
    new: str | None = msgspec.field(name="dstId", default=None)


class _Mapping(msgspec.Struct, frozen=True, kw_only=True):
    form: str = msgspec.field(name="as", default="assistants")
    mappings: list[_Row] = []


_LATER = (*(kind for kind in DEFINITIONS if kind is not Kind.ASSISTANT), Kind.FILE)
# By the old ids the new ones, of each kind whose copies aren't in ``mappings``.
_Copies = msgspec.defstruct("_Copies", [(KINDS[kind].count, dict[str, str | None], {}) for kind in _LATER])


def mapping_file(where: Path) -> Path:
    """``where``, or the mapping in the folder ``where``."""
    return where / MAPPING if where.is_dir() else where


def read_renaming(path: Path) -> Renaming:
    """The renaming that the mapping at ``path`` asks for. Raises UsageFault or CannotWrite."""
    try:
        data = read_regular(path)
        found, copies = msgspec.json.decode(data, type=_Mapping), msgspec.json.decode(data, type=_Copies)
    except OSError as error:
        raise CannotRead(f"can't read the mapping {path}: {error.strerror or error}") from None
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise UsageFault(f"can't read the mapping {path}: not a mapping ({error})") from None
    unusable = {row.old: _WRITTEN_DOWN for row in found.mappings if row.new and found.form == "responses"}
    rows = [(row.old, row.new) for row in found.mappings if row.old not in unusable]
    targets = _targets([*rows, *chain.from_iterable(copied.items() for copied in msgspec.structs.astuple(copies))])
    if not targets and not unusable:
        raise UsageFault(f"can't read the mapping {path}: it contains no ids")
    ids = {}
    for old, new in targets.items():
        if why := _unusable(old, new):
            unusable[old] = why
        elif new != {old}:
            ids[old] = next(iter(new))
    return Renaming(ids=ids, unusable=unusable)


def _targets(pairs: Iterable[tuple[str, str | None]]) -> dict[str, set[str]]:
    """All new ids of each old id: two imports may have made two copies."""
    found: dict[str, set[str]] = {}
    for old, new in pairs:
        found.setdefault(old, set()).update([new] if new else [])
    return found


def _unusable(old: str, new: set[str]) -> str:
    if new == {old}:
        return ""  # nothing to write
    if not new:
        return "no new id: not imported"
    if len(new) > 1:
        return f"several new ids: {', '.join(sorted(new))}"
    if len(old) < _SHORTEST or not _OLD.fullmatch(old):
        return "too short or unusual to search for safely"
    if not _NEW.fullmatch(next(iter(new))):
        return "its new id contains unsafe characters"
    return ""


class Matcher:
    """Finds ids in texts. Words are looked up, so that a mapping of 100,000 ids costs no more than one of ten."""

    def __init__(self, renaming: Renaming) -> None:
        self._ids, self._unusable = renaming.ids, renaming.unusable
        self._new = set(renaming.ids.values())
        self._lengths = sorted({len(id) for id in renaming.ids}, reverse=True)
        known = [*renaming.ids, *(id for id in renaming.unusable if len(id) >= _SHORTEST)]
        shortest = min([*map(len, known), 20])
        odd = sorted((id for id in known if not _WORD.fullmatch(id)), key=len, reverse=True)
        parts = [*map(re.escape, odd), rf"[A-Za-z0-9_-]{{{shortest},}}"]
        self._pattern = re.compile(
            rf"(?P<border>(?<![A-Za-z0-9_-])|{_BORDER})(?P<word>{'|'.join(parts)})(?![A-Za-z0-9_-])"
        )

    def rewrite(self, text: str) -> Rewritten:
        """Rewrite every whole id.

        >>> found = Matcher(Renaming(ids={"asst_old1": "asst_new1"}, unusable={})).rewrite("asst_old1 asst_old1-x")
        >>> found.text, found.count, found.left[0].why
        ('asst_new1 asst_old1-x', 1, 'contains asst_old1, but is longer')
        """
        count = at = 0
        line = 1
        left: dict[str, Left] = {}

        def replaced(match: re.Match[str]) -> str:
            nonlocal count, at, line
            border, word = match.group("border", "word")
            if border and border[1:] + word in self._ids:  # the sign isn't one of an escape
                border, word = border[0], border[1:] + word
            new, why = self._ids.get(word), ""
            if new is not None and _CONTINUED.match(text, match.end()):
                new, why = None, f"contains {word}, but is longer"
            if new is not None:
                count += 1
                return border + new
            if word in left:
                left[word] = msgspec.structs.replace(left[word], count=left[word].count + 1)
            elif why := why or self._left(word):
                # Counted on from the one before: from the start for each, it would be quadratic.
                line, at = line + text.count("\n", at, match.start()), match.start()
                left[word] = Left(id=word, why=why, line=line, count=1)
            return match.group()

        return Rewritten(text=self._pattern.sub(replaced, text), count=count, left=list(left.values()))

    def _left(self, word: str) -> str:
        """Why a word that is no id to rewrite is worth a line; empty if it isn't."""
        if word in self._unusable:
            return self._unusable[word]
        if word in self._new:
            return ""
        for length in self._lengths:
            if len(word) > length:
                for part in (word[:length], word[-length:]):
                    if part in self._ids:
                        return f"contains {part}, but is longer"
        return "not in the mapping" if _ID.fullmatch(word) else ""
