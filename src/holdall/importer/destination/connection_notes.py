"""The connections of a Foundry project that a plan needs: which have none there, and which there are. Reads only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping

from holdall.dialects.foundry_bindings import by_name, connection_name
from holdall.dialects.loss import Why
from holdall.dialects.prompt_agents import connections as used_by
from holdall.errors import RemoteError, pasteable
from holdall.importer.plan.bundle_summary import BundleSummary
from holdall.importer.plan.steps import Plan
from holdall.kinds import ASSISTANT_KINDS
from holdall.remote.client import Account
from holdall.remote.project_lists import connections

# Names of connections in one line.
_NAMED = 20


async def connection_notes(
    account: Account, summary: BundleSummary, planned: Plan, mapped: Mapping[str, str] | None
) -> AsyncIterator[str]:
    """Lines about the connections that a plan's tools use, if one is missing or ``mapped`` (source to destination).
    One says so if the destination's list can't be read."""
    lost = {loss.id for loss in planned.losses() if loss.why is Why.NO_CONNECTION}
    if not (lost or mapped):
        return
    records = [record for kind in ASSISTANT_KINDS for record in summary.records(kind)]
    known = by_name(mapped or {})
    used = {name.casefold(): name for record in records for name in used_by(record)}
    missing = {name for record in records if record.id in lost for name in used_by(record)}
    flags = [f"--map-connection {pasteable(f'{name}=NEW')}" for name in sorted(missing) if name.casefold() not in known]
    names: list[str] | None = None
    try:
        names = [one.name for one in await connections(account)]
        there = ", ".join(_first(names)) or "none"
    except RemoteError as error:
        there = f"unknown ({error.detail or error.message})"
    if flags:
        yield f"tools without a connection are left out: {' '.join(flags)}; connections at the destination: {there}"
    for old, new in (mapped or {}).items():
        if connection_name(old).casefold() not in used:
            have = ", ".join(_first(used.values())) or "none"
            yield f"--map-connection {old}={new} matches no connection; connections in the bundle: {have}"
        elif names is not None and connection_name(new).casefold() not in {name.casefold() for name in names}:
            yield f"connection {new} is not in the destination's list ({there}); using it anyway (--map-connection)"


def _first(names: Iterable[str]) -> list[str]:
    found = sorted(names)
    return found[:_NAMED] + ([f"and {len(found) - _NAMED} more"] if len(found) > _NAMED else [])
