"""Probes an account: whether it has assistants, or any endpoint that answers with the key, and which models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime

import msgspec

from holdall.errors import (
    REQUEST_ERRORS,
    NoAssistantsApi,
    NotFound,
    PermissionDenied,
    RemoteError,
    RequestRefused,
    ServerFailed,
    UnexpectedAnswer,
)
from holdall.kinds import ASSISTANT_KINDS, KINDS
from holdall.remote.client import Account, path
from holdall.remote.lists import read_page
from holdall.remote.project_lists import Deployment, deployments

_NO_RESPONSE = "resp_" + "0" * 48
_UNKNOWN_PATH = "nowhere_" + "0" * 24
NO_SUCH_ROUTE = (405, 501)
"""What a server says of a path that it doesn't know, besides 404."""


async def absence(account: Account, where: str) -> RemoteError | None:
    """The error that says that a list doesn't exist; None if it does. Raises what a list that exists fails with."""
    params = None if where == "/models" else {"limit": 1}
    try:
        await account.get(where, params, patient=False)
    except REQUEST_ERRORS as error:
        if await is_absent(account, error):
            return error
        if not isinstance(error, (ServerFailed, UnexpectedAnswer)):
            raise
        await account.get(where, params)  # it may pass
    return None


async def is_absent(account: Account, error: RemoteError, *, denied: bool = False) -> bool:
    """Whether a list that ends in ``error`` isn't there at all: few servers say that with a 404.

    So an error is compared with the answer to a path that can't be there: a list that alone is refused may have
    something. Where few servers have it, and ``denied`` may be a word for that, 403, 405 and 501 say so by themselves.
    A server that fails at everything is taken for one without that list; see ``may_be_there``.
    """
    if isinstance(error, NotFound) or (denied and error.status in NO_SUCH_ROUTE):
        return True
    if not isinstance(error, REQUEST_ERRORS) and not (denied and isinstance(error, PermissionDenied)):
        return False
    if account.unknown_path is None or account.unknown_path >= 500:  # which may pass
        try:
            account.unknown_path = (await account.get(f"/{_UNKNOWN_PATH}", patient=False)).status
        except RemoteError as refused:
            account.unknown_path = refused.status
    return account.unknown_path == error.status


def may_be_there(error: RemoteError) -> str | None:
    """The doubt to report where ``error`` counted as absence and may be temporary; else None."""
    if isinstance(error, ServerFailed) and error.status not in NO_SUCH_ROUTE:
        return f"the server answers every request with {error.status}"
    return None


async def probe(account: Account) -> RemoteError | None:
    """The error that says that there is no Assistants API, None where there is one.

    Raises AuthenticationFailed, PermissionDenied, Unreachable … as any request; NotFound where nothing at all
    answers with the same key, which means that the base URL is wrong.
    """
    absent = await absence(account, "/assistants")
    if absent:
        await require_any_endpoint(account)
    return absent


async def require_assistants(account: Account) -> None:
    """Raise what ``probe`` does, and NoAssistantsApi where the account has no Assistants API."""
    if await probe(account):
        raise NoAssistantsApi(
            f"can't use the {account.side} at {account.endpoint.title}: it has no Assistants API (OpenAI "
            f"shut it down on 2026-08-26)",
            hint="use --as responses to write assistants as Responses API requests, or set OPENAI_DST_BASE_URL "
            "to a server with Assistants v2"
            if account.side == "destination"
            else "its files and vector stores still exist; to read assistants, set OPENAI_SRC_BASE_URL to a "
            "server with Assistants v2",
            status=404,
        )


async def require_any_endpoint(account: Account) -> None:
    """Check that some endpoint answers. Raises NotFound if none does, and what any request raises."""
    for where in (
        "/vector_stores",
        "/files",
        "/models",
        *dict.fromkeys(KINDS[kind].endpoint for kind in ASSISTANT_KINDS),
    ):
        if not await absence(account, where):
            return
    # Where everything fails alike, that error stands.
    try:
        await account.get("/models")
        return
    except NotFound as error:
        hint = error.hint
    raise NotFound(
        f"can't use the {account.side} at {account.endpoint.base_url}: no API found there",
        hint=hint or usual_address(account),
        status=404,
    )


def usual_address(account: Account) -> str:
    """The hint where nothing answers at an address."""
    if account.endpoint.is_foundry:
        return "check the names of the account and of the project in the address"
    return "the base URL usually ends in /v1"


async def same_project(one: Account, other: Account) -> bool:
    """Whether two accounts surely are one project: by the answers' headers, else by an id that both list first.

    Raises what the first answer of an account is refused with.
    """
    if one.endpoint.is_same(other.endpoint):
        return True
    if one.endpoint.host != other.endpoint.host:
        return False
    await require_any_endpoint(one)
    await require_any_endpoint(other)
    if one.project and other.project:
        return (one.organization, one.project) == (other.organization, other.project)
    return bool(await _first_ids(one) & await _first_ids(other))


async def _first_ids(account: Account) -> set[str]:
    """The oldest id of each list."""
    found = set()
    for where in ("/assistants", "/vector_stores", "/files"):
        with suppress(RemoteError, ValueError):
            page = read_page((await account.get(where, {"limit": 1, "order": "asc"})).raw, where)
            found |= {id for id in (page.ids[:1] if page else ()) if id}
    return found


async def responses(account: Account) -> tuple[bool | None, RemoteError | None]:
    """Whether there is a ``/responses``, None where that can't be told, and the error that a read of it ends in.

    Responses have no list, so one that can't be is asked for: a server that has the endpoint says that there is no such
    response, and says it otherwise than of a path that it doesn't know. A key that may not read says so by the error.
    """
    nowhere = await _error(account, f"/{_UNKNOWN_PATH}")
    error = await _error(account, path("/responses/{}", _NO_RESPONSE))
    if error is None:
        return True, None
    if nowhere is not None and _same(nowhere, error):
        return (False if error.detail else None), error
    if error.status in NO_SUCH_ROUTE:
        return False, error
    # Servers were seen that say 500 for what isn't there.
    return (True if isinstance(error, (NotFound, RequestRefused)) else None), error


async def _error(account: Account, where: str) -> RemoteError | None:
    try:
        await account.get(where, patient=False)
    except RemoteError as error:
        return error
    return None


def _same(one: RemoteError, other: RemoteError) -> bool:
    """Whether two answers differ in nothing but the path that was asked for."""

    def words(error: RemoteError) -> str:
        return re.sub(r"\S*(responses|resp_0+|nowhere_0+)\S*", "*", error.detail)

    return one.status == other.status and words(one) == words(other)


# -- models --------------------------------------------------------------------------------------------


class _Model(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    shutdown_date: str | int | float | None = None


class _Models(msgspec.Struct, frozen=True, kw_only=True):
    data: list[_Model] = []
    value: list[Deployment] = []


async def models(account: Account) -> Mapping[str, date | None]:
    """The models that an assistant of the account may have, with the days on which they end. Those of a Foundry project
    are its deployments; where it has no list of those, what any other server lists.

    Raises as ``Account.get``, and msgspec.DecodeError for what can't be read.
    """
    if account.endpoint.is_foundry:
        with suppress(NotFound):
            return dict.fromkeys((one.name for one in await deployments(account)), None)
    return read_models((await account.get("/models", patient=False)).raw)


def read_models(raw: bytes) -> Mapping[str, date | None]:
    """The answer of ``GET /models``, or a page of Azure's ``GET /deployments``. Raises msgspec.DecodeError."""
    found = msgspec.json.decode(raw, type=_Models)
    models = {model.id: shutdown(model.shutdown_date) for model in found.data}
    return models | {deployment.name: None for deployment in found.value}


def day(now: float) -> date:
    """The day, UTC, of a time in Unix seconds."""
    return datetime.fromtimestamp(now, UTC).date()


def shutdown(value: object) -> date | None:
    """A model's ``shutdown_date``: a date, a time or Unix seconds; None for none, and for what can't be read."""
    with suppress(ValueError, OverflowError, OSError):
        if isinstance(value, str):
            return date.fromisoformat(value[:10])
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return day(value)
    return None
