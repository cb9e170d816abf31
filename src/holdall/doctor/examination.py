"""``examine``: one account, looked at by reads alone; ``diagnose``: what one or two of them come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import msgspec

from holdall.doctor import diagnosis, endpoints, holdings
from holdall.doctor.diagnosis import Diagnosis, EndpointState, Failure, Model, Models, Side
from holdall.doctor.findings import findings
from holdall.endpoint import Endpoint
from holdall.errors import AuthenticationFailed, NotFound, PermissionDenied, RemoteError
from holdall.progress import Progress, Silent
from holdall.remote import probing
from holdall.remote.client import Account

__all__ = ["Examined", "diagnose", "examine"]


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """One account: what was found; and where it is and ids of what it holds, to compare it with another."""

    side: Side
    endpoint: Endpoint
    ids: frozenset[str] = frozenset()


async def examine(account: Account, *, today: date, progress: Progress | None = None) -> Examined:
    """Look at one account. Raises nothing for what its server does: that is in ``side.failure``."""
    progress = progress or Silent()
    progress.stage(f"asking the {account.side} what it has")
    try:
        answers = await endpoints.ask(account)
    except RemoteError as error:
        return Examined(side=_side(account, failure=_failure(error)), endpoint=account.endpoint)
    failure = _verdict(account, answers)
    if failure:
        refused = isinstance(failure, AuthenticationFailed)
        side = _side(account, endpoints=answers, failure=_failure(failure), key_valid=False if refused else None)
        return Examined(side=side, endpoint=account.endpoint)
    progress.stage(f"counting what the {account.side} holds")
    look = holdings.Look(account, answers)
    export = await look.holdings()
    downloads = await look.downloads()
    text = await look.text()
    catalog = await _catalog(account, answers)
    side = _side(
        account,
        key_valid=True,
        endpoints=answers,
        downloads=downloads,
        text=text,
        models=None if catalog is None else _models(catalog, look.users, today),
        export=export,
        doubts=look.doubts,
    )
    return Examined(side=side, endpoint=account.endpoint, ids=frozenset(look.ids))


def diagnose(examined: Sequence[Examined]) -> Diagnosis:
    """All that is to be said of the accounts that were looked at, one or two."""
    sides = [each.side for each in examined]
    same, evidence = _compare(examined[0], examined[1]) if len(examined) == 2 else (None, "")
    return Diagnosis(sides=sides, same_project=same, evidence=evidence, findings=findings(sides, same_project=same))


def _side(account: Account, **found: object) -> Side:
    return msgspec.structs.replace(
        Side(
            side=account.side,
            base_url=account.endpoint.base_url,
            organization=account.organization,
            project=account.project,
            proxy=str(account.proxy) if account.proxy else None,
            in_clear=account.endpoint.is_in_clear,
            requests=dict(account.requests),
        ),
        **found,
    )


def _failure(error: RemoteError) -> Failure:
    return Failure(exit_code=error.exit_code, message=error.message, hint=error.hint)


def _verdict(account: Account, answers: Sequence[diagnosis.EndpointCheck]) -> RemoteError | None:
    """Why nothing can be said of this account, or None where some endpoint answers."""
    if any(each.answer is EndpointState.YES for each in answers):
        return None
    variable = f"OPENAI_{'DST' if account.side == 'destination' else 'SRC'}"
    denied = [each for each in answers if each.answer is EndpointState.DENIED]
    if denied and all(each.status in (401, None) and not each.scopes for each in denied):
        return AuthenticationFailed(
            f"can't look at the {account.side}: its key is not accepted ({denied[0].message})",
            hint=denied[0].hint
            or f"check {variable}_API_KEY, and {variable}_BASE_URL if the key is for another server",
        )
    if denied:
        return PermissionDenied(
            f"can't look at the {account.side}: its key may read nothing ({denied[0].message})",
            hint="give the key the permissions that docs/commands.md lists, or use a key that has them",
        )
    failing = [each for each in answers if each.answer is EndpointState.FAILS]
    if failing:
        return RemoteError(
            f"can't look at the {account.side} at {account.endpoint.base_url}: every endpoint fails "
            f"({failing[0].name}: {failing[0].message})",
            hint=failing[0].hint or f"is {variable}_BASE_URL an OpenAI-compatible API?",
        )
    return NotFound(
        f"can't look at the {account.side} at {account.endpoint.base_url}: no endpoint answers there",
        hint=next((each.hint for each in answers if each.hint), "the base URL usually ends in /v1"),
    )


async def _catalog(account: Account, answers: Sequence[diagnosis.EndpointCheck]) -> Mapping[str, date | None] | None:
    named = [
        each.name for each in answers if each.name in ("models", "deployments") and each.answer is EndpointState.YES
    ]
    if not named:
        return None
    try:
        return probing.read_models((await account.get(f"/{named[0]}")).raw)
    except (RemoteError, msgspec.DecodeError):
        return None


def _models(catalog: Mapping[str, date | None], users: Mapping[str, list[str]], today: date) -> Models:
    ending = [
        Model(
            id=model,
            there=True,
            shutdown=ends.isoformat(),
            days=max(0, (ends - today).days),
            used_by=users.get(model, []),
        )
        for model, ends in catalog.items()
        if ends is not None
    ]
    return Models(
        there=len(catalog),
        ending=sorted(ending, key=lambda each: (each.shutdown or "", each.id)),
        gone=[Model(id=model, there=False, used_by=users[model]) for model in sorted(users) if model not in catalog],
    )


def _compare(one: Examined, other: Examined) -> tuple[bool | None, str]:
    """Whether two accounts are one project, and what tells."""
    left, right = one.side, other.side
    if left.failure or right.failure:
        return None, "one of them could not be looked at"
    if one.endpoint.is_same(other.endpoint):
        return True, "it is the same key for the same address"
    if one.ids & other.ids:
        return True, "they list the same ids"
    if left.base_url == right.base_url and left.project and right.project:
        same = (left.organization, left.project) == (right.organization, right.project)
        return same, f"the server calls them {left.project} and {right.project}"
    if left.organization and right.organization and left.organization != right.organization:
        return False, f"they are of the organisations {left.organization} and {right.organization}"
    if not one.ids and not other.ids:
        return None, "both are empty, and no answer names a project"
    if left.doubts or right.doubts or _readable(left) != _readable(right):
        return None, "no answer names a project, and the two keys don't see the same lists whole"
    return False, "they list no id in common"


def _readable(side: Side) -> set[str]:
    return {each.name for each in side.endpoints if each.answer is EndpointState.YES}
