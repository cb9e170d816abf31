"""Which endpoints an account has and may use, found out by reading alone.

Lists are asked for one item; responses have none (see ``probing.responses``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.doctor.diagnosis import EndpointCheck, EndpointState
from holdall.errors import AuthenticationFailed, NotFound, PermissionDenied, RemoteError, Unreachable
from holdall.remote import probing
from holdall.remote.client import Account
from holdall.remote.refusals import missing_scopes

__all__ = ["ask", "judged"]

_LISTS = ("files", "vector_stores", "assistants", "agents", "containers")


class _Listing(msgspec.Struct, frozen=True, kw_only=True):
    data: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    value: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET


async def ask(account: Account) -> list[EndpointCheck]:
    """Every endpoint that some command uses. Raises Unreachable where no connection comes about at all."""
    found = [await _listed(account, name, {"limit": 1}) for name in _LISTS]
    found.append(await _responses(account))
    models = await _listed(account, "models", None)
    found.append(models)
    if models.answer is EndpointState.ABSENT:
        # Azure's models are deployments, under names that their owner gave them.
        deployments = await _listed(account, "deployments", None)
        if deployments.answer is not EndpointState.ABSENT:
            found.append(deployments)
    return found


async def _listed(account: Account, name: str, params: Mapping[str, Any] | None) -> EndpointCheck:
    try:
        answer = await account.get(f"/{name}", params, patient=False)
        listing = msgspec.json.decode(answer.raw, type=_Listing)
    except RemoteError as error:
        if isinstance(error, Unreachable) and not error.ambiguous:
            raise
        found = judged(name, error)
        if found.answer is EndpointState.FAILS and await probing.is_absent(account, error):
            return msgspec.structs.replace(found, answer=EndpointState.ABSENT)
        return found
    except msgspec.DecodeError:
        return EndpointCheck(name=name, answer=EndpointState.FAILS, message="what it answers is no list")
    if listing.data is msgspec.UNSET and listing.value is msgspec.UNSET:
        return EndpointCheck(
            name=name, answer=EndpointState.FAILS, status=answer.status, message="there is no list in its answer"
        )
    return EndpointCheck(name=name, answer=EndpointState.YES, status=answer.status)


def judged(name: str, error: RemoteError) -> EndpointCheck:
    """What an error says of an endpoint that was asked for something that is there if the endpoint is."""
    scopes = missing_scopes(error)
    if scopes is not None or isinstance(error, (AuthenticationFailed, PermissionDenied)):
        answer = EndpointState.DENIED
    elif isinstance(error, NotFound) or error.status in (405, 501):
        answer = EndpointState.ABSENT
    else:
        answer = EndpointState.FAILS
    return EndpointCheck(
        name=name,
        answer=answer,
        status=error.status,
        scopes=scopes or [],
        message=error.detail or error.message,
        hint=error.hint,
    )


async def _responses(account: Account) -> EndpointCheck:
    name = "responses"
    there, error = await probing.responses(account)
    if error is None:
        return EndpointCheck(name=name, answer=EndpointState.YES)
    found = judged(name, error)
    if found.answer is EndpointState.DENIED:
        return found
    answer = {True: EndpointState.YES, False: EndpointState.ABSENT, None: EndpointState.UNKNOWN}[there]
    return msgspec.structs.replace(found, answer=answer, message="" if there else found.message)
