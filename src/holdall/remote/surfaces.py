"""The two surfaces of a Foundry project: where a request goes, and which of them a read asks first.

OpenAI's paths are there twice: below ``/openai/v1`` without an API version, for the new agents, and right under the
project with one, for Agents (classic). What one of them has need not be on the other. Foundry's own paths are there
once. Any other server has one surface, its base URL.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from enum import StrEnum
from typing import TypeVar
from urllib.parse import unquote

import msgspec

from holdall.endpoint import API_VERSION, FOUNDRY_VERSION, OPENAI_PART, Endpoint
from holdall.errors import NotFound, RemoteError
from holdall.remote import refusals
from holdall.remote.lists import identity
from holdall.remote.refusals import RefusalReason

T = TypeVar("T")


class Surface(StrEnum):
    """Where a Foundry project has OpenAI's paths."""

    CURRENT = "current"
    """Below ``/openai/v1``, without an API version."""
    CLASSIC = "classic"
    """Right under the project, with one."""


_OPENAI = frozenset({
    "batches", "containers", "conversations", "evals", "files", "models", "responses", "uploads", "vector_stores",
})  # fmt: skip
"""The first parts of the paths that are OpenAI's."""
# Of which the version that was given is; Foundry's own paths have another one.
_CLASSIC = frozenset({"assistants", "threads"})
_ABSENT = (404, 405, 410)


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """A base URL and the query that goes on every request below it."""

    base_url: str
    query: tuple[tuple[str, str], ...]


def address(endpoint: Endpoint, where: str, surface: Surface) -> Address:
    """Where a path (``/files/file-1``) is sent, on a ``surface`` where it is there twice."""
    query = {name: value for name, value in endpoint.query.items() if name.lower() != API_VERSION}
    first = where.split("/")[1]
    if not endpoint.is_foundry or first in _CLASSIC or not first or (first in _OPENAI and surface is Surface.CLASSIC):
        return Address(base_url=endpoint.base_url, query=tuple(endpoint.query.items()))
    if first in _OPENAI:
        return Address(base_url=endpoint.base_url + OPENAI_PART, query=tuple(query.items()))
    return Address(base_url=endpoint.base_url, query=(*query.items(), (API_VERSION, FOUNDRY_VERSION)))


def _may_be_elsewhere(error: RemoteError) -> bool:
    """Whether a read that ends in ``error`` on one surface may succeed on another: it isn't there, or not given."""
    return isinstance(error, NotFound) or error.status in _ABSENT or refusals.is_foreign(error) or _is_withheld(error)


def _is_withheld(error: RemoteError) -> bool:
    return refusals.read(error).reason is RefusalReason.PURPOSE


def _most_telling(errors: Iterable[RemoteError]) -> RemoteError:
    """The error that stands where no surface gives something: one that it is withheld, else that it is nowhere."""
    return min(errors, key=lambda error: (not _is_withheld(error), not isinstance(error, NotFound)))


class Routes:
    """The order in which the requests of one account try the surfaces, and which of them answered for an id.

    ``order`` is that of reads; a write goes to one surface alone.
    """

    def __init__(self, endpoint: Endpoint, order: tuple[Surface, ...]) -> None:
        self._is_foundry = endpoint.is_foundry
        self.order = order
        # Only of the ids that are not where a read asks first.
        self._elsewhere: dict[str, Surface] = {}
        self._lacking: set[tuple[str, Surface]] = set()

    def to_read(self, where: str) -> tuple[Surface, ...]:
        """The surfaces that a read of a path tries, in this order."""
        _, first, *rest = where.split("/")
        if not self._is_foundry or first not in _OPENAI:
            return self.order[:1]
        known = self._elsewhere.get(unquote(rest[0])) if rest else None
        # Stable: what nothing is known of stays in order. A surface may have a thing, although it has no list of them.
        return tuple(
            sorted(self.order, key=lambda one: (one is not known, bool(rest) and (first, one) in self._lacking))
        )

    def to_write(self, where: str) -> Surface:
        """The surface that a write goes to."""
        id = unquote((*where.split("/"), "")[2])
        known = self._elsewhere.get(id, self.order[0])
        return known if known in self.order else self.order[0]

    async def first(self, where: str, ask: Callable[[Surface], Awaitable[T]]) -> T:
        """The answer of the first surface that gives what a path names."""
        refused: list[RemoteError] = []
        for surface in self.to_read(where):
            try:
                answer = await ask(surface)
            except RemoteError as error:
                if not _may_be_elsewhere(error):
                    raise
                refused.append(error)
            else:
                self._answered(where, surface)
                return answer
        raise _most_telling(refused)

    async def joined(
        self, where: str, begin: Callable[[Surface, bool], AsyncIterator[list[bytes]]], *, patient: bool
    ) -> AsyncIterator[list[bytes]]:
        """The pages of a list on all surfaces that have it, each id once; what belongs to one thing is the list of the
        first surface that has that.

        ``begin`` lists on one surface, and is told whether to be ``patient`` with its first request (see ``limits``).
        """
        surfaces = self.to_read(where)
        is_whole = where.count("/") == 1
        seen: set[str] = set()
        refused: list[RemoteError] = []
        for place, surface in enumerate(surfaces):
            has_begun = False
            try:
                # Once one has answered, another that only fails must not be taken for one without the list.
                async for page in begin(surface, patient or len(refused) < place):
                    has_begun = True
                    fresh = page if len(surfaces) == 1 else self._fresh(page, seen, surface)
                    if fresh:
                        yield fresh
            except RemoteError as error:
                if has_begun or not _may_be_elsewhere(error):
                    raise
                refused.append(error)
                if is_whole:
                    self._lacking.add((where.split("/")[1], surface))
            else:
                self._answered(where, surface)
                if not is_whole:
                    return
        if len(refused) == len(surfaces):
            raise _most_telling(refused)

    def _fresh(self, page: list[bytes], seen: set[str], surface: Surface) -> list[bytes]:
        """The items whose ids no surface gave before; ``surface`` has them."""
        found = [(item, id) for item in page if (id := identity(item)) is None or id not in seen]
        ids = [id for _, id in found if id is not None]
        seen.update(ids)
        self._found(ids, surface)
        return [item for item, _ in found]

    def _answered(self, where: str, surface: Surface) -> None:
        """Remember that ``surface`` has what a path names."""
        self._found(map(unquote, where.split("/")[2:3]), surface)

    def _found(self, ids: Iterable[str], surface: Surface) -> None:
        """Remember that ``surface`` has these ids."""
        if surface is not self.order[0]:
            self._elsewhere.update((id, surface) for id in ids)
