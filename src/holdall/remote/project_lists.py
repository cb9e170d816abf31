"""A Foundry project's deployments and connections: names only, never what a connection logs in with."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec

from holdall.errors import UnexpectedAnswer

if TYPE_CHECKING:
    from holdall.remote.client import Account

T = TypeVar("T")

# Of a list without end: pages, and bytes of all of them.
_MOST_PAGES = 100
_MOST_BYTES = 16 << 20


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """A model under the name that its owner gave it, which is what an agent's ``model`` names."""

    name: str
    model: str | None = None
    version: str | None = None


class ProjectConnection(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the project may use. ``id`` is its ARM id, ``type`` the kind of service."""

    name: str
    id: str | None = None
    type: str | None = None


class _Deployment(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    name: str
    model_name: str | None = None
    model_version: str | None = None


class _Values(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    value: list[msgspec.Raw]
    next_link: str | None = None


async def deployments(account: Account) -> list[Deployment]:
    """All deployments of a project. Raises as ``Account.get``, and UnexpectedAnswer for what is no list."""
    found = await _values(account, "/deployments", _Deployment)
    return [Deployment(name=one.name, model=one.model_name, version=one.model_version) for one in found]


async def connections(account: Account) -> list[ProjectConnection]:
    """All connections of a project. Raises as ``deployments``."""
    return await _values(account, "/connections", ProjectConnection)


async def _values(account: Account, where: str, of: type[T]) -> list[T]:
    found: list[T] = []
    params: dict[str, str] = {}
    links: set[str] = set()
    size = 0
    while len(links) < _MOST_PAGES and size < _MOST_BYTES:
        answer = await account.get(where, params)
        size += len(answer.raw)
        try:
            page = msgspec.json.decode(answer.raw, type=_Values)
        except msgspec.DecodeError as error:
            raise account.unreadable(f"can't list {where}", answer, error) from None
        for item in page.value:
            with suppress(msgspec.DecodeError):  # without a name it can't be used
                found.append(msgspec.json.decode(item, type=of))
        if not page.next_link or page.next_link in links:
            return found
        links.add(page.next_link)
        # The same path at the same address: behind a gateway a link names the server behind it.
        params = _query(page.next_link)
    raise UnexpectedAnswer(f"can't list {where}: too long: stopped after {len(found)} items in {len(links)} pages")


def _query(link: str) -> dict[str, str]:
    with suppress(ValueError):
        return dict(parse_qsl(urlsplit(link).query, keep_blank_values=True))
    return {}
