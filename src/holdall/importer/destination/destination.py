"""What a destination is: which endpoints answer there, which models and which connections it has. Reads only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Container, Iterable, Iterator, Mapping
from enum import StrEnum
from functools import partial

import msgspec

from holdall.dialects.foundry_bindings import by_name, connection_name
from holdall.dialects.loss import Why
from holdall.dialects.prompt_agents import connections as used_by
from holdall.dialects.tables import Form
from holdall.errors import (
    REQUEST_ERRORS,
    AuthenticationFailed,
    DestinationUnfit,
    NotFound,
    PermissionDenied,
    RemoteError,
    RequestRefused,
    pasteable,
)
from holdall.importer.plan.bundle_summary import BundleSummary
from holdall.importer.plan.choices import ModelCatalog
from holdall.importer.plan.plan_document import Plan, Unit
from holdall.importer.plan.steps import Cannot
from holdall.kinds import ASSISTANT_KINDS, DEFINITIONS, KINDS, Platform
from holdall.model import Kind, Record, SourceId
from holdall.remote import probing
from holdall.remote.client import Account
from holdall.remote.project_lists import connections
from holdall.remote.surfaces import Surface

# Names of connections in one line.
_NAMED = 20


class Answers(StrEnum):
    """How an endpoint answers."""

    YES = "answers"
    ABSENT = "absent"
    DENIED = "denied"
    UNKNOWN = "unknown"
    NOT_ASKED = "not asked"


class Destination(msgspec.Struct, frozen=True, kw_only=True):
    """One destination. ``party`` is the account, as journals name it; ``endpoints`` are those that an import needs, by
    path."""

    party: dict[str, str | None]
    endpoints: dict[str, Answers]
    catalog: ModelCatalog
    warnings: list[str] = []


async def choose(account: Account, asked: Form | None) -> Form:
    """What assistants become: ``asked``, or if nothing is, what the destination can keep.

    The Assistants API is absent if its list answers 404 and another endpoint doesn't, with the same key. Raises
    NoAssistantsApi if it is absent though asked for; PermissionDenied, which doesn't tell whether it is there.
    """
    if asked is Form.FOUNDRY:
        account.endpoint.require_project()
    form = asked or await _kept(account)
    # The new agents can't use what classic ones have, unless the project says otherwise by showing it here.
    account.surfaces = (Surface.CURRENT,) if form is Form.FOUNDRY else (Surface.CLASSIC,)
    if asked is not None:
        require = probing.require_assistants if asked is Form.ASSISTANTS else probing.require_any_endpoint
        await require(account)
    return form


async def _kept(account: Account) -> Form:
    """What a destination can keep of an assistant."""
    if not await probing.probe(account):
        return Form.ASSISTANTS
    return Form.FOUNDRY if account.platform is Platform.FOUNDRY else Form.RESPONSES


async def probe(account: Account, planned: Plan, *, asked: Form | None) -> Destination:
    """Probes the endpoints that ``planned`` needs; ``choose`` has probed that of assistants.

    Raises PermissionDenied or DestinationUnfit if a needed endpoint doesn't answer. A missing list of models is no
    error: look-alikes have none, and a restricted key may not see it.
    """
    total = planned.totals()
    places = {kind: KINDS[kind].endpoint for kind in (*DEFINITIONS, Kind.FILE)}
    endpoints = dict.fromkeys((*places.values(), "/models"), Answers.NOT_ASKED)
    if planned.form is Form.ASSISTANTS:
        endpoints["/assistants"] = Answers.YES
    elif asked is None:
        endpoints["/assistants"] = Answers.ABSENT
    needed = {unit.kind for unit in planned.units if _is_made(unit)} & {*ASSISTANT_KINDS, Kind.SKILL}
    needed -= {Kind.ASSISTANT}
    needed |= {kind for kind, count in ((Kind.STORE, total.stores), (Kind.FILE, total.files)) if count}
    for where in (where for kind, where in places.items() if kind in needed):
        if not _can_have(account, where, needed) or await probing.absence(account, where):
            raise DestinationUnfit(
                f"can't import into {account.endpoint.title}: it has no {where}, which this bundle needs",
                hint="leave out what needs it with --only or --exclude",
            )
        endpoints[where] = Answers.YES
    warnings: list[str] = []
    if total.requests:
        endpoints["/responses"], warnings = await _responses(account)
    # Last, because nothing depends on it: without a list of models they are taken to be there.
    catalog, endpoints["/models"] = await _catalog(account)
    return Destination(party=account.party, endpoints=endpoints, catalog=catalog, warnings=warnings)


def _is_made(unit: Unit) -> bool:
    return not any(isinstance(step, Cannot) for step in unit.steps)


def _can_have(account: Account, where: str, needed: Collection[Kind]) -> bool:
    """Whether the account's platform has what is at a path; OpenAI's agents and Foundry's share one."""
    kinds = [kind for kind in needed if KINDS[kind].endpoint == where]
    return all(account.platform in KINDS[kind].platforms for kind in kinds)


async def _responses(account: Account) -> tuple[Answers, list[str]]:
    """Whether the written requests could be sent there. Writing them needs no endpoint."""
    there, error = await probing.responses(account)
    written = "the requests are written anyway"
    if isinstance(error, (AuthenticationFailed, PermissionDenied)):
        return Answers.DENIED, [f"the key can't use /responses ({error.detail or error.message}); {written}"]
    if there is False:
        return Answers.ABSENT, [f"the destination has no Responses API; {written}"]
    return (Answers.YES if there else Answers.UNKNOWN), []


async def _catalog(account: Account) -> tuple[ModelCatalog, Answers]:
    # What an agent of Foundry names as its model is a deployment.
    noun = "deployments" if account.endpoint.is_foundry else "models"
    catalog = partial(ModelCatalog, noun=noun)
    try:
        models = await probing.models(account)
    except PermissionDenied:
        return catalog(reason=f"the key can't list {noun}"), Answers.DENIED
    except (NotFound, RequestRefused):
        return catalog(reason=f"the destination has no list of {noun}"), Answers.ABSENT
    except (msgspec.DecodeError, *REQUEST_ERRORS):
        return catalog(reason=f"the destination's list of {noun} can't be read"), Answers.ABSENT
    if not models:
        return catalog(reason=f"the destination's list of {noun} is empty"), Answers.YES
    return catalog(models=models), Answers.YES


async def connection_notes(
    account: Account, summary: BundleSummary, planned: Plan, mapped: Mapping[str, str] | None
) -> AsyncIterator[str]:
    """Lines about the connections that a plan's tools use, if one is missing or ``mapped`` (source to destination).
    One says so if the destination's list can't be read."""
    mapped = mapped or {}
    lost = {loss.id for loss in planned.losses() if loss.why is Why.NO_CONNECTION}
    if not (lost or mapped):
        return
    records = [record for kind in ASSISTANT_KINDS for record in summary.records(kind)]
    names: list[str] | None = None
    try:
        names = [one.name for one in await connections(account)]
        there = _first(names)
    except RemoteError as error:
        there = f"unknown ({error.detail or error.message})"
    if flags := _flags(records, lost, mapped):
        yield f"tools without a connection are left out: {' '.join(flags)}; connections at the destination: {there}"
    used = {name.casefold(): name for record in records for name in used_by(record)}
    for line in _odd_rules(mapped, used, names, there):
        yield line


def _flags(records: Iterable[Record], lost: Container[SourceId], mapped: Mapping[str, str]) -> list[str]:
    """The flags that would give the ``lost`` ones of ``records`` their connections."""
    known = by_name(mapped)
    missing = {name for record in records if record.id in lost for name in used_by(record)}
    return [f"--map-connection {pasteable(f'{name}=NEW')}" for name in sorted(missing) if name.casefold() not in known]


def _odd_rules(
    mapped: Mapping[str, str], used: Mapping[str, str], names: list[str] | None, there: str
) -> Iterator[str]:
    """Lines about what is ``mapped`` without effect, or to what the destination doesn't list."""
    for old, new in mapped.items():
        if connection_name(old).casefold() not in used:
            have = _first(used.values())
            yield f"--map-connection {old}={new} matches no connection; connections in the bundle: {have}"
        elif names is not None and connection_name(new).casefold() not in {name.casefold() for name in names}:
            yield f"connection {new} is not in the destination's list ({there}); using it anyway (--map-connection)"


def _first(names: Iterable[str]) -> str:
    found = sorted(names)
    more = [f"and {len(found) - _NAMED} more"] if len(found) > _NAMED else []
    return ", ".join([*found[:_NAMED], *more]) or "none"
