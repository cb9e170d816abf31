"""Makes portable file names out of names that servers and users chose.

Rules: docs/format.md ("Names"). The records keep the true names; these are only paths.
"""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from functools import lru_cache

from holdall.spilling import SpillingDict

MAX_NAME = 120
"""Longest name of a file or folder, in bytes of UTF-8."""
MAX_PATH = 1000
"""Longest path in a bundle, in bytes of UTF-8."""

_FORBIDDEN = frozenset('%\\/:*?"<>|')
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_LEADING = frozenset(".~-")
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$"}
    | {f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³"}
)
_LONGEST_SUFFIX = 24
# Far longer than any name may be. Normalising takes time by the square of what combines with one letter.
_LOOKED_AT = 4096
# What most names are: nothing to change. Every reserved name begins with one of the suspect three letters.
_SUSPECT = "|".join(sorted({name[:3] for name in _RESERVED}))
_PLAIN_NAME = rf"(?!(?i:{_SUSPECT}))[A-Za-z0-9_](?:[A-Za-z0-9_ ()+,&=@#.-]{{,{MAX_NAME - 2}}}[A-Za-z0-9_()+,&=@#-])?"
_plain_name = re.compile(_PLAIN_NAME).fullmatch
_plain_path = re.compile(rf"{_PLAIN_NAME}(?:/{_PLAIN_NAME})*+").fullmatch


def on_disk(path: str) -> str:
    """``path`` for this system's functions: UTF-8, whatever the locale."""
    return os.fsdecode(path.encode("utf-8", sys.getfilesystemencodeerrors()))


def from_disk(path: str) -> str:
    """The inverse of ``on_disk``."""
    return os.fsencode(path).decode("utf-8", sys.getfilesystemencodeerrors())


def safe_name(name: str, *, suffix: str = "", limit: int = MAX_NAME, percent: bool = False) -> str:
    """``name`` as a single path component that is safe everywhere, with ``suffix`` after it, at most ``limit`` bytes.

    ``percent`` keeps the percent sign, which only BagIt manifests can't hold.
    """
    if len(name) + len(suffix) <= limit and _plain_name(name):
        return name + suffix
    if len(name) > _LOOKED_AT:
        name = name[: _LOOKED_AT - _LONGEST_SUFFIX] + name[-_LONGEST_SUFFIX:]
    text = unicodedata.normalize("NFC", name)
    if not (text.isascii() and text.isalnum()):
        kept = _FORBIDDEN - {"%"} if percent else _FORBIDDEN
        text = "".join("_" if c in kept or unicodedata.category(c) in _INVISIBLE else c for c in text)
        text = unicodedata.normalize("NFC", text)
    limit -= len(suffix.encode())
    text = _trimmed(text, limit)
    if not text or text[0] in _LEADING:
        text = _trimmed("_" + text[1:], limit)
    if text.split(".")[0].rstrip().casefold() in _RESERVED:
        text = _trimmed("_" + text, limit)
    return text + suffix


def numbered(name: str, number: int, *, suffix: str = "", limit: int = MAX_NAME) -> str:
    """The ``number``-th choice for a safe ``name`` (without ``suffix``) that is taken: ``report-2.pdf``."""
    if number == 1:
        return name + suffix
    stem, extension = _split(name)
    tail = f"-{number}{extension}"
    # A stem of blanks alone is trimmed to nothing, and no name may begin with the hyphen of its number.
    return (_trimmed(stem, limit - len((tail + suffix).encode())) or "_") + tail + suffix


def is_name_of(name: str, id: str, *, suffix: str = "") -> bool:
    """Whether ``name`` can be the safe name of ``id``, numbered or not, before ``suffix``."""
    safe = safe_name(id, suffix=suffix).removesuffix(suffix)
    number = _split(name)[0].rpartition("-")[2]
    return name == safe or (
        number.isdecimal() and len(number) < 10 and numbered(safe, int(number), suffix=suffix) == name + suffix
    )


def is_safe(path: str) -> bool:
    """Whether every component of ``path`` keeps the rules, as a bundle's paths must."""
    if not path or len(path) > MAX_PATH or len(path.encode(errors="replace")) > MAX_PATH:
        return False
    return _plain_path(path) is not None or all(map(_is_safe_name, path.split("/")))


@lru_cache(4096)
def _is_safe_name(name: str) -> bool:
    return len(name) <= MAX_NAME and safe_name(name) == name


def fold(name: str) -> str:
    """A form that is equal for names which some file system takes for the same."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


class Taken:
    """The names taken, by the hash of their folded form."""

    def __init__(self) -> None:
        self._hashes = SpillingDict[int]()
        self._next: dict[str, int] = {}

    def add(self, path: str) -> bool:
        """Take ``path``. Returns False if it is taken already."""
        return self._hashes.add(_key(path))

    def give_back(self, path: str) -> None:
        """``path`` is free again."""
        self._hashes.discard(_key(path))
        self._next.clear()

    def first_free(self, folder: str, name: str, *, suffix: str = "", limit: int = MAX_NAME) -> str:
        """Take and return the first of ``name``, ``name-2``, ``name-3`` … that is free in ``folder``."""
        number, key = 1, ""
        while not self.add(path := f"{folder}{numbered(name, number, suffix=suffix, limit=limit)}"):
            # Where thousands clash, each goes on from where the last one found its number.
            key = key or fold(folder + name + suffix)
            number = self._next[key] = max(number, self._next.get(key, 1)) + 1
        return path


def _key(path: str) -> int:
    return hash(path.lower() if path.isascii() else fold(path))


def _split(name: str) -> tuple[str, str]:
    """``name`` as stem and extension; what is too long for an extension belongs to the stem."""
    stem, dot, extension = name.rpartition(".")
    if not dot or not stem or len(extension.encode()) >= _LONGEST_SUFFIX:
        return name, ""
    return stem, dot + extension


def _trimmed(text: str, limit: int) -> str:
    """``text`` without trailing dots and blanks, cut to ``limit`` bytes in front of its extension."""
    text = _bare(text)
    if len(text.encode()) > limit:
        stem, extension = _split(text)
        room = max(limit - len(extension.encode()), 1)
        stem = stem.encode()[:room].decode(errors="ignore")
        text = _bare(_bare(stem) + extension) if extension else _bare(stem)
    return text


def _bare(text: str) -> str:
    end = len(text)
    while end and (text[end - 1] == "." or text[end - 1].isspace()):
        end -= 1
    return text[:end]
