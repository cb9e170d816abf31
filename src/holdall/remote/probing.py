"""What an account has: assistants, or at least an endpoint that answers with the same key."""

from __future__ import annotations

import re

import msgspec

from holdall.errors import NoAssistantsApi, NotFound, RemoteError, RequestRefused
from holdall.remote.client import Account, path

__all__ = ["Capabilities", "is_absent", "probe", "require_any_endpoint", "require_assistants", "responses"]

_NO_RESPONSE = "resp_" + "0" * 48
_NOWHERE = "nowhere_" + "0" * 24


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What a probe found out about an account."""

    assistants: bool
    organization: str | None = None
    project: str | None = None


async def probe(account: Account) -> Capabilities:
    """Ask for one assistant, and if there is no such endpoint, whether another one answers with the same key.

    Raises AuthenticationFailed, PermissionDenied, Unreachable … as any request; NotFound where nothing at all
    answers, which means that the base URL is wrong.
    """
    assistants = True
    try:
        await account.get("/assistants", {"limit": 1})
    except NotFound:
        assistants = False
        await require_any_endpoint(account)
    return Capabilities(assistants=assistants, organization=account.organization, project=account.project)


async def require_assistants(account: Account) -> Capabilities:
    """As ``probe``, but raises NoAssistantsApi where the account has no Assistants API."""
    found = await probe(account)
    if not found.assistants:
        raise NoAssistantsApi(
            f"can't use the {account.side} at {account.endpoint.title}: it has no Assistants API "
            "(OpenAI ended it on 2026-08-26)",
            hint="files and vector stores live on there; servers that still speak Assistants v2 are named by "
            f"OPENAI_{'DST' if account.side == 'destination' else 'SRC'}_BASE_URL",
            status=404,
        )
    return found


def is_absent(error: RemoteError) -> bool:
    """Whether an error of a list says that the server has no such endpoint, and so nothing of its kind."""
    return isinstance(error, NotFound) or error.status in (405, 501)


async def require_any_endpoint(account: Account) -> None:
    """See that something answers. Raises NotFound where nothing at all does, and what any request raises."""
    for where in ("/vector_stores", "/files", "/models", "/assistants", "/agents"):
        try:
            await account.get(where, None if where == "/models" else {"limit": 1})
            return
        except RemoteError as error:
            if not is_absent(error):
                raise
    raise NotFound(
        f"can't use the {account.side} at {account.endpoint.base_url}: no endpoint answers there",
        hint="the base URL usually ends in /v1",
        status=404,
    )


async def responses(account: Account) -> tuple[bool | None, RemoteError | None]:
    """Whether there is a ``/responses``, None where that can't be told, and the error that a read of it ends in.

    Responses have no list, so one that can't be is asked for: a server that has the endpoint says that there is no such
    response, and says it otherwise than of a path that it doesn't know. A key that may not read says so by the error.
    """
    nowhere = await _error(account, f"/{_NOWHERE}")
    error = await _error(account, path("/responses/{}", _NO_RESPONSE))
    if error is None:
        return True, None
    if nowhere is not None and _same(nowhere, error):
        return (False if error.detail else None), error
    if error.status in (405, 501):
        return False, error
    # Servers were seen that say 500 for what isn't there.
    return (True if isinstance(error, (NotFound, RequestRefused)) else None), error


async def _error(account: Account, where: str) -> RemoteError | None:
    try:
        await account.get(where)
    except RemoteError as error:
        return error
    return None


def _same(one: RemoteError, other: RemoteError) -> bool:
    """Whether two answers differ in nothing but the path that was asked for."""

    def words(error: RemoteError) -> str:
        return re.sub(r"\S*(responses|resp_0+|nowhere_0+)\S*", "*", error.detail)

    return one.status == other.status and words(one) == words(other)
