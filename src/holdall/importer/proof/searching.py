"""Does the destination's own search find a file by what is written in it? The last proof that a copy works."""

from __future__ import annotations

import re
from collections.abc import Collection, Container, Iterator, Mapping

import msgspec

from holdall.errors import NotFound, RequestRefused, ServerFailed, UnexpectedAnswer
from holdall.model import TargetId
from holdall.remote.client import Account, path

__all__ = ["Search", "Searches", "StoreFiles", "sentences"]

# Most that one search may answer.
_RESULTS = 50
# Words of a sentence that is asked for, and its characters at the most.
_SHORT, _LONG = 4, 25
_LONGEST = 300
# How much of a text is looked at for each of them.
_WINDOW = 100_000
# A text up to this length has no second sentence that says more than its best.
_BRIEF = 2000

_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")  # noqa: RUF001


class Search(msgspec.Struct, frozen=True, kw_only=True):
    """One file: ``found``, or not by ``asked``; None where it couldn't be asked or the hits say nothing, with the
    reason."""

    found: bool | None
    asked: str = ""
    why: str = ""


class _Hit(msgspec.Struct, frozen=True, kw_only=True):
    file_id: TargetId | None = None
    filename: str | None = None


class _Page(msgspec.Struct, frozen=True, kw_only=True):
    data: list[_Hit] = []


class StoreFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The files of a store, and by the names that they may have there those that are known."""

    ids: Container[str]
    by_name: Mapping[str, set[TargetId]]


class Searches:
    """Asks the stores of one destination. A server without a search is asked once."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._refused = ""

    async def find(self, store: TargetId, files: Collection[TargetId], text: str, members: StoreFiles) -> Search:
        """Ask the store for sentences of ``text``, up to three; any of ``files`` (of the same bytes) will do.

        Servers were seen whose hits have ids of their own: those are known by their filenames, and where none of
        them is one of the ``members``, nothing can be said.
        """
        asked, strange = "", False
        for asked in sentences(text):
            if self._refused:
                return Search(found=None, why=self._refused)
            try:
                answer = await self._account.post(
                    path("/vector_stores/{}/search", store), {"query": asked, "max_num_results": _RESULTS}
                )
                page = msgspec.json.decode(answer.raw, type=_Page)
            except (NotFound, ServerFailed, UnexpectedAnswer, msgspec.DecodeError) as error:
                said = getattr(error, "detail", "") or str(error)
                self._refused = f"the destination has no search that can be used ({said})"
                return Search(found=None, why=self._refused)
            except RequestRefused as error:
                return Search(found=None, asked=asked, why=error.detail or error.message)
            hits = [_meant(hit, members) for hit in page.data]
            if any(hit.intersection(files) for hit in hits):
                return Search(found=True, asked=asked)
            strange = strange or (bool(hits) and not any(hits))
        if strange:
            return Search(found=None, asked=asked, why="the hits of its search name no file of the store")
        return Search(found=False, asked=asked) if asked else Search(found=None, why="there is no sentence in it")


def _meant(hit: _Hit, members: StoreFiles) -> set[TargetId]:
    """The files that a hit may mean."""
    if hit.file_id is not None and hit.file_id in members.ids:
        return {hit.file_id}
    return members.by_name.get(hit.filename or "", set())


def sentences(text: str) -> Iterator[str]:
    """A telling sentence of the text, then others from further on: what many files begin with says little.

    >>> list(sentences("Hello.\\nThe lamp is repaired within ten days. Bye."))
    ['The lamp is repaired within ten days.']
    """
    given: set[str] = set()
    places = (0, len(text) // 3, 2 * len(text) // 3) if len(text) > _BRIEF else (0,)
    for start in places:
        pieces = _END.split(text[start : start + _WINDOW])
        # What is cut off at the beginning isn't a sentence.
        found = max(pieces[1:] if start and len(pieces) > 1 else pieces, key=_telling, default="")
        sentence = " ".join(found.split()[: 2 * _LONG])[:_LONGEST]
        if any(char.isalnum() for char in sentence) and sentence not in given:
            given.add(sentence)
            yield sentence


def _telling(piece: str) -> tuple[bool, int, int]:
    """How much a search can be expected to make of it: sentences first, by their different words, then by length."""
    words = piece.split()
    return _SHORT <= len(words) <= _LONG, min(len(set(words)), _LONG), min(len(piece), _LONGEST)
