"""The earlier versions of the Foundry agents of a bundle, as far as a plan has to know them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec
from msgspec.structs import replace

from holdall.agent_views import AgentVersions, FoundryAgentView
from holdall.bundle.reader import BundleReader
from holdall.model import Kind, Record, SourceId

_LONGEST = 20  # digits of a number

Earlier = Mapping[SourceId, FoundryAgentView]
"""By their ids the versions before the latest one, oldest first: the agent as it would be if that were its latest,
without instructions."""


def earlier_versions(reader: BundleReader, agents: Iterable[Record]) -> dict[SourceId, Earlier]:
    """Those of each agent that has any in the bundle. Raises DamagedBundle."""
    found: dict[SourceId, Earlier] = {}
    for agent in agents:
        latest = _number(FoundryAgentView.of(agent))
        views = {}
        for line in reader.versions(Kind.FOUNDRY_AGENT, agent.id):
            view = FoundryAgentView.of(as_latest(agent.id, line))
            if 0 < _number(view) < latest:
                views[line.id] = _without_instructions(view)
        if views:
            found[agent.id] = dict(sorted(views.items(), key=lambda one: _number(one[1])))
    return found


def as_latest(agent: SourceId, version: Record) -> Record:
    """The record of an agent of which ``version`` is the latest."""
    raw = msgspec.json.encode({"id": agent, "name": agent, "versions": {"latest": msgspec.Raw(version.raw)}})
    return Record(kind=Kind.FOUNDRY_AGENT, id=agent, raw=raw)


def _number(view: FoundryAgentView) -> int:
    number = view.versions.latest.version or ""
    return int(number) if number.isdecimal() and len(number) < _LONGEST else 0


def _without_instructions(view: FoundryAgentView) -> FoundryAgentView:
    latest = view.versions.latest
    bare = replace(latest, definition=replace(latest.definition, instructions=None), metadata=None, description=None)
    return FoundryAgentView(id=view.id, name=view.name, versions=AgentVersions(latest=bare))
