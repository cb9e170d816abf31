"""``examine`` reads one account; ``diagnose`` combines the results of one or two.

First it probes which endpoints exist and are permitted, by listing one item of each; responses have no list (see
``probing.responses``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date
from typing import Any

import msgspec
from msgspec.structs import replace

from holdall.doctor import holdings
from holdall.doctor.diagnosis import (
    Diagnosis,
    EndpointCheck,
    EndpointState,
    Failure,
    FoundryProject,
    Model,
    Models,
    Side,
    findings,
    judged,
)
from holdall.endpoint import Endpoint
from holdall.errors import AuthenticationFailed, NotFound, PermissionDenied, RemoteError, Unreachable
from holdall.kinds import Platform
from holdall.progress import Progress, Silent
from holdall.remote import client
from holdall.remote.client import Account
from holdall.remote.wire import Surface

_LISTS = ("files", "vector_stores", "assistants", "agents", "containers")


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """One account: the result, and its address and ids, for comparing it with another."""

    side: Side
    endpoint: Endpoint
    ids: frozenset[str] = frozenset()


async def examine(account: Account, *, today: date, progress: Progress | None = None) -> Examined:
    """Examine one account. A failure of its server isn't raised; it is in ``side.failure``."""
    progress = progress or Silent()
    side = Side(
        side=account.side,
        base_url=account.endpoint.base_url,
        proxy=str(account.proxy) if account.proxy else None,
        in_clear=account.endpoint.is_in_clear,
    )
    ids: frozenset[str] = frozenset()
    progress.stage(f"Checking the {account.side}, {account.endpoint.host}")
    account.surfaces = tuple(Surface)
    try:
        side = replace(side, endpoints=await ask(account))
        _require_an_answer(account, side.endpoints)
    except RemoteError as error:
        failure = Failure(exit_code=error.exit_code, message=error.message, hint=error.hint)
        side = replace(side, failure=failure, key_valid=False if isinstance(error, AuthenticationFailed) else None)
    else:
        progress.stage(f"Counting objects in the {account.side}, {account.endpoint.host}")
        look = holdings.Look(account, side.endpoints)
        side = replace(side, key_valid=True, foundry=await _project(account, side))
        side = replace(
            side,
            export=await look.holdings(),
            downloads=await look.downloads(),
            text=await look.text(),
            models=await _models(account, side, look.users, today),
            doubts=look.doubts,
        )
        ids = frozenset(look.ids)
    # Answers name the account, so this is known only after the requests.
    side = replace(side, organization=account.organization, project=account.project, requests=dict(account.requests))
    return Examined(side=side, endpoint=account.endpoint, ids=ids)


def diagnose(examined: Sequence[Examined]) -> Diagnosis:
    """Combine the results of one or two accounts."""
    sides = [each.side for each in examined]
    same, evidence = _compare(examined[0], examined[1]) if len(examined) == 2 else (None, "")
    return Diagnosis(sides=sides, same_project=same, evidence=evidence, findings=findings(sides, same_project=same))


class _Listing(msgspec.Struct, frozen=True, kw_only=True):
    data: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET
    value: list[msgspec.Raw] | msgspec.UnsetType | None = msgspec.UNSET


async def ask(account: Account) -> list[EndpointCheck]:
    """Probe every endpoint that some command uses. Raises Unreachable if no connection is possible."""
    found = [await _listed(account, name, {"limit": 1}) for name in _LISTS]
    found.append(await _responses(account))
    models = await _listed(account, "models", None)
    found.append(models)
    if account.platform is Platform.FOUNDRY:
        found += [await _listed(account, name, None) for name in ("deployments", "connections")]
    elif models.answer is EndpointState.ABSENT:
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
        if found.answer is EndpointState.FAILS and await client.is_absent(account, error):
            return replace(found, answer=EndpointState.ABSENT)
        return found
    except msgspec.DecodeError:
        return EndpointCheck(name=name, answer=EndpointState.FAILS, message="the answer is not a list")
    if listing.data is msgspec.UNSET and listing.value is msgspec.UNSET:
        return EndpointCheck(
            name=name, answer=EndpointState.FAILS, status=answer.status, message="the answer contains no list"
        )
    return EndpointCheck(name=name, answer=EndpointState.YES, status=answer.status)


async def _responses(account: Account) -> EndpointCheck:
    name = "responses"
    there, error = await client.responses(account)
    if error is None:
        return EndpointCheck(name=name, answer=EndpointState.YES)
    found = judged(name, error)
    if found.answer is EndpointState.DENIED:
        return found
    answer = {True: EndpointState.YES, False: EndpointState.ABSENT, None: EndpointState.UNKNOWN}[there]
    return replace(found, answer=answer, message="" if there else found.message)


def _require_an_answer(account: Account, answers: Sequence[EndpointCheck]) -> None:
    """Raise the reason if no endpoint answers."""
    states = {each.answer for each in answers}
    if EndpointState.YES in states:
        return
    if EndpointState.DENIED in states:
        raise _denial(account, [each for each in answers if each.answer is EndpointState.DENIED])
    look = f"can't check the {account.side} at {account.endpoint.base_url}"
    if EndpointState.FAILS in states:
        first = next(each for each in answers if each.answer is EndpointState.FAILS)
        raise RemoteError(
            f"{look}: all endpoints fail ({first.name}: {first.message})",
            hint=first.hint or f"is {_variable(account)}_BASE_URL an OpenAI-compatible API?",
        )
    raise NotFound(
        f"{look}: no API found there",
        hint=next((each.hint for each in answers if each.hint), client.usual_address(account)),
    )


def _denial(account: Account, denied: Sequence[EndpointCheck]) -> RemoteError:
    look, variable, first = f"can't check the {account.side}", _variable(account), denied[0]
    # A key that is known, and lacks permissions, is told 403, or 401 with the scopes that it lacks.
    if all(each.status in (401, None) and not each.scopes for each in denied):
        return AuthenticationFailed(
            f"{look}: the key is not accepted ({first.message})",
            hint=first.hint or f"check {variable}_API_KEY; if the key is for another server, set {variable}_BASE_URL",
        )
    return PermissionDenied(
        f"{look}: the key has no read permission ({first.message})",
        hint="add the permissions listed in docs/settings.md to the key, or use another key",
    )


def _variable(account: Account) -> str:
    return "OPENAI_DST" if account.side == "destination" else "OPENAI_SRC"


async def _project(account: Account, side: Side) -> FoundryProject | None:
    """What a Foundry project has besides; None for any other server."""
    if account.platform is not Platform.FOUNDRY:
        return None
    there = (EndpointState.YES, EndpointState.DENIED)
    found = FoundryProject(classic=side.answer("assistants") in there, new=side.answer("agents") in there)
    with suppress(RemoteError):
        found = replace(found, deployments=await client.deployments(account))
    with suppress(RemoteError):
        found = replace(found, connections=await client.connections(account))
    return found


async def _models(account: Account, side: Side, users: Mapping[str, list[str]], today: date) -> Models | None:
    """The models; None if they can't be listed."""
    name = next((name for name in ("models", "deployments") if side.answer(name) is EndpointState.YES), None)
    if name is None:
        return None
    try:
        if side.foundry:
            catalog = await client.models(account)
        else:
            catalog = client.read_models((await account.get(f"/{name}")).raw)
    except (RemoteError, msgspec.DecodeError):
        return None
    ending = sorted((ends, model) for model, ends in catalog.items() if ends is not None)
    return Models(
        there=len(catalog),
        ending=[
            Model(
                id=model,
                there=True,
                shutdown=ends.isoformat(),
                days=max(0, (ends - today).days),
                used_by=users.get(model, []),
            )
            for ends, model in ending
        ],
        gone=[Model(id=model, there=False, used_by=users[model]) for model in sorted(users) if model not in catalog],
    )


def _compare(one: Examined, other: Examined) -> tuple[bool | None, str]:
    """Whether two accounts are one project, and what tells."""
    # One function, because the order is the rule: from what is sure to what only suggests it; the first one decides.
    left, right = one.side, other.side
    if left.failure or right.failure:
        return None, "one of them could not be checked"
    if one.endpoint.is_same(other.endpoint):
        return True, "same address" if one.endpoint.is_foundry else "same key and address"
    if one.ids & other.ids:
        return True, "both list the same ids"
    if left.base_url == right.base_url and left.project and right.project:
        same = (left.organization, left.project) == (right.organization, right.project)
        return same, f"the projects are {left.project} and {right.project}"
    if left.organization and right.organization and left.organization != right.organization:
        return False, f"the organisations are {left.organization} and {right.organization}"
    if not one.ids and not other.ids:
        return None, "both are empty, and the server does not name its projects"
    if left.doubts or right.doubts or _readable(left) != _readable(right):
        return None, "the server does not name its projects, and the two keys can read different lists"
    return False, "no common ids"


def _readable(side: Side) -> set[str]:
    return {each.name for each in side.endpoints if each.answer is EndpointState.YES}
