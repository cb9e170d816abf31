"""Which endpoints an account has and may use, found out by reading alone.

Lists are asked for one item; responses have none (see ``probing.responses``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.doctor.diagnosis import Answer, Endpoint
from holdall.errors import AuthenticationFailed, PermissionDenied, RemoteError, Unreachable
from holdall.remote import probing
from holdall.remote.client import Account

__all__ = ["ask", "judged"]

_LISTS = ("files", "vector_stores", "assistants", "agents", "containers")
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
    elif probing.is_absent(error):
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
    there, error = await probing.responses(account)
    if error is None:
        return Endpoint(name=name, answer=Answer.YES)
    found = judged(name, error)
    if found.answer is Answer.DENIED:
        return found
    answer = {True: Answer.YES, False: Answer.ABSENT, None: Answer.UNKNOWN}[there]
    return msgspec.structs.replace(found, answer=answer, message="" if there else found.message)
