"""Which endpoints an account has and may use, found out by reading alone.

Lists are asked for one item. Responses have no list, so one that can't be is asked for: a server that has the endpoint
says that there is no such response, and says it otherwise than of a path that it doesn't know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.doctor.diagnosis import Answer, Endpoint
from holdall.errors import (
    AuthenticationFailed,
    NotFound,
    PermissionDenied,
    RemoteError,
    RequestRefused,
    ServerFailed,
    Unreachable,
)
from holdall.remote.client import Account, path

__all__ = ["ask", "judged"]

_LISTS = ("files", "vector_stores", "assistants", "agents", "containers")
_NO_RESPONSE = "resp_" + "0" * 48
_NOWHERE = "doctor_" + "0" * 24
_SCOPES = re.compile(r"missing scopes?:\s*([\w.:*-]+(?:\s*,\s*[\w.:*-]+)*)", re.IGNORECASE)


class _Listing(msgspec.Struct, frozen=True, kw_only=True):
    data: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    value: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET


async def ask(account: Account) -> list[Endpoint]:
    """Every endpoint that some command uses. Raises Unreachable where no connection comes about at all."""
    found = []
    for name in _LISTS:
        found.append(await _listed(account, name, {"limit": 1}))
    found.append(await _responses(account))
    models = await _listed(account, "models", None)
    found.append(models)
    if models.answer is Answer.ABSENT:
        # Azure's models are deployments, under names that their owner gave them.
        deployments = await _listed(account, "deployments", None)
        if deployments.answer is not Answer.ABSENT:
            found.append(deployments)
    return found


async def _listed(account: Account, name: str, params: Mapping[str, Any] | None) -> Endpoint:
    try:
        answer = await account.get(f"/{name}", params)
        listing = msgspec.json.decode(answer.raw, type=_Listing)
    except RemoteError as error:
        if isinstance(error, Unreachable) and not error.ambiguous:
            raise
        return judged(name, error)
    except msgspec.DecodeError:
        return Endpoint(name=name, answer=Answer.FAILS, message="what it answers is no list")
    if listing.data is msgspec.UNSET and listing.value is msgspec.UNSET:
        return Endpoint(name=name, answer=Answer.FAILS, status=answer.status, message="there is no list in its answer")
    return Endpoint(name=name, answer=Answer.YES, status=answer.status)


def judged(name: str, error: RemoteError) -> Endpoint:
    """What an error says of an endpoint that was asked for something that is there if the endpoint is."""
    scopes = _SCOPES.search(error.detail)
    if scopes or isinstance(error, (AuthenticationFailed, PermissionDenied)):
        answer = Answer.DENIED
    elif isinstance(error, NotFound) or error.status in (405, 501):
        answer = Answer.ABSENT
    else:
        answer = Answer.FAILS
    return Endpoint(
        name=name,
        answer=answer,
        status=error.status,
        scopes=re.split(r"\s*,\s*", scopes[1].rstrip(".")) if scopes else [],
        message=error.detail or error.message,
    )


async def _responses(account: Account) -> Endpoint:
    name = "responses"
    nowhere = await _error(account, f"/{_NOWHERE}")
    error = await _error(account, path("/responses/{}", _NO_RESPONSE))
    if error is None:
        return Endpoint(name=name, answer=Answer.YES)
    found = judged(name, error)
    if found.answer is Answer.DENIED:
        return found
    if nowhere is not None and _same(nowhere, error):
        answer = Answer.ABSENT if error.detail else Answer.UNKNOWN
    elif isinstance(error, (NotFound, RequestRefused)):
        answer = Answer.ABSENT if error.status == 405 else Answer.YES
    elif isinstance(error, ServerFailed) and error.status == 501:
        answer = Answer.ABSENT
    else:
        # Servers were seen that say 500 for what isn't there.
        answer = Answer.UNKNOWN
    message = "" if answer is Answer.YES else found.message
    return msgspec.structs.replace(found, answer=answer, message=message)


async def _error(account: Account, where: str) -> RemoteError | None:
    try:
        await account.get(where)
    except RemoteError as error:
        return error
    return None


def _same(one: RemoteError, other: RemoteError) -> bool:
    """Whether two answers differ in nothing but the path that was asked for."""

    def words(error: RemoteError) -> str:
        return re.sub(r"\S*(responses|resp_0+|doctor_0+)\S*", "*", error.detail)

    return one.status == other.status and words(one) == words(other)
