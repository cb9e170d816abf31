"""Versions of Foundry agents, which are made in order; a new agent gets all that the bundle has, oldest first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from msgspec.structs import replace

from holdall.agent_views import FoundryAgentView
from holdall.bundle.reader import BundleReader
from holdall.dialects.loss import Loss, Why
from holdall.dialects.marks import OPERATION
from holdall.dialects.tables import Request
from holdall.errors import RequestRefused
from holdall.importer.apply.context import Context
from holdall.importer.apply.writes import Writes
from holdall.importer.plan.bundle_versions import as_latest
from holdall.importer.plan.steps import CreateFoundryAgent
from holdall.importer.runs.effects import version_number
from holdall.importer.runs.runlines import Create
from holdall.kinds import read
from holdall.model import Kind, Record, SourceId, TargetId
from holdall.remote.client import path, viewed


class EarlierVersions:
    """Makes the versions before the latest, each once, of the agents of one run."""

    def __init__(self, context: Context, reader: BundleReader, writes: Writes) -> None:
        self._account, self._state, self._reader, self._writes = context.account, context.folder.state, reader, writes

    async def make(
        self,
        step: CreateFoundryAgent,
        request: Callable[[Record, str | None, str], Request],
        fresh: list[TargetId],
        before: Callable[[], Awaitable[None]],
    ) -> list[Loss]:
        """Make those that the step names. ``request`` is given an agent as of a version, its model, and an attempt's
        name. Returns what is lost, of versions that are refused, too."""
        versions = self._reader.versions(Kind.FOUNDRY_AGENT, step.id)
        lines = {line.id: line for line in versions if line.id in step.versions}
        known = {(loss.why, loss.field, loss.text) for loss in step.losses}
        lost: list[Loss] = []
        for id, model in step.versions.items():
            asked = partial(request, as_latest(step.id, lines[id]), model)
            for loss in asked("").losses:
                if (loss.why, loss.field, loss.text) not in known:
                    lost.append(replace(loss, text=f"version {version_number(TargetId(id))}: {loss.text}"))
                    known.add((loss.why, loss.field, loss.text))
            if id in self._state.firsts or self._state.target(Kind.AGENT_VERSION, id):
                continue
            try:
                await self._one(step, id, lambda op, asked=asked: asked(op).create, fresh, before)  # type: ignore[misc]
            except RequestRefused as error:
                text = f"version {version_number(TargetId(id))} not made: {error.detail or error.message}"
                lost.append(
                    Loss(why=Why.REFUSED, kind=step.kind, id=step.id, name=step.name, field="versions", text=text)
                )
        return lost

    async def _one(
        self,
        step: CreateFoundryAgent,
        id: SourceId,
        body: Callable[[str], dict[str, Any]],
        fresh: list[TargetId],
        before: Callable[[], Awaitable[None]],
    ) -> None:
        unmarked = OPERATION not in (body("").get("metadata") or {})
        if self._state.target(step.kind, step.id):
            latest = await self._latest(step.agent)
            intent = Create(
                op="", kind=Kind.AGENT_VERSION, source=id, name=step.agent, unmarked=unmarked, latest=latest
            )
            await self._writes.create(intent, body, fresh)
        else:
            first = Create(op="", kind=step.kind, source=step.id, name=step.agent, unmarked=unmarked, first=id)
            await self._writes.create(first, body, fresh, before)

    async def onto(self, step: CreateFoundryAgent, record: Record, intent: Create) -> Create:
        """``intent`` to make the agent, as that to make its latest version where it has earlier ones."""
        if self._state.firsts.isdisjoint(step.versions):
            return intent
        latest: Any = read(record)
        source = SourceId(f"{step.id}:{latest.versions.latest.version}")
        return replace(intent, kind=Kind.AGENT_VERSION, source=source, latest=await self._latest(step.agent))

    async def _latest(self, agent: str) -> str | None:
        raw = (await self._account.get(path("/agents/{}", agent))).raw
        return viewed(raw, FoundryAgentView, f"agent {agent}").versions.latest.version
