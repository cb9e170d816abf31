"""Copies of what has versions, Foundry agents and skills: each version is made once, in the source's order.

A new agent gets all the versions that the bundle has, oldest first; of a skill, last the default version is set.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from typing import Any, BinaryIO, cast

from msgspec.structs import replace

from holdall.agent_views import FoundryAgentView
from holdall.bundle.reader import BundleReader
from holdall.dialects.loss import Loss, Why
from holdall.dialects.rules import OPERATION, Request
from holdall.errors import DamagedBundle, RequestRefused
from holdall.importer.apply.context import Context
from holdall.importer.apply.writes import Changes, Writes
from holdall.importer.destination.files_and_skills import version_numbers
from holdall.importer.plan.bundle_summary import BundleSummary, SkillVersion, as_latest
from holdall.importer.plan.difference import fingerprints
from holdall.importer.plan.steps import CreateFoundryAgent, CreateSkill, UpdateSkill
from holdall.importer.runs.effects import version_number, version_target
from holdall.importer.runs.runfolder import place
from holdall.importer.runs.runjournal import Create, Shown
from holdall.kinds import read
from holdall.model import Kind, Record, SourceId, TargetId
from holdall.remote.client import path, viewed
from holdall.safe_files import safe_name
from holdall.skill_zip import wrap

# A zip up to this many bytes stays in memory while it is wrapped and sent.
_IN_MEMORY = 1 << 20
_LONGEST = 64  # of a skill's name


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


class SkillCopies:
    """The skills of one run. Every method raises what the account raises."""

    def __init__(
        self, context: Context, summary: BundleSummary, reader: BundleReader, writes: Writes, changes: Changes
    ) -> None:
        self._account, self._folder, self._state = context.account, context.folder, context.folder.state
        self._reader, self._writes, self._changes = reader, writes, changes
        self._versions = {version.id: version for of_skill in summary.skill_versions.values() for version in of_skill}

    async def create(self, step: CreateSkill) -> tuple[TargetId, list[Loss]]:
        """The new skill's id, and what it hasn't kept."""
        first, *others = (self._versions[id] for id in step.versions)
        target = await self._send(first, step, None, None)
        number = (await version_numbers(self._account, target) or ["1"])[0]
        self.place(target, {first.id: number})
        await self._add(step, target, others, number)
        return target, await self._settle(step, target)

    async def update(self, step: UpdateSkill) -> list[Loss]:
        """Adds what is missing. Returns what isn't kept."""
        self._state.adopt(step.kind, step.id, step.target, step.name)
        self.place(step.target, step.there)
        numbers = await version_numbers(self._account, step.target)
        missing = [self._versions[id] for id in step.versions]
        await self._add(step, step.target, missing, numbers[-1] if numbers else "0")
        return await self._settle(step, step.target)

    def place(self, skill: TargetId, numbers: dict[SourceId, str]) -> None:
        """Use versions that are there, by their numbers."""
        here = self._state.targets[Kind.SKILL_VERSION]
        for source, number in numbers.items():
            here.setdefault(source, version_target(skill, number))

    async def _add(
        self, step: CreateSkill | UpdateSkill, skill: TargetId, versions: list[SkillVersion], latest: str
    ) -> None:
        for version in versions:
            latest = version_number(await self._send(version, step, skill, latest))

    async def _send(
        self, version: SkillVersion, step: CreateSkill | UpdateSkill, into: TargetId | None, latest: str | None
    ) -> TargetId:
        """Send the zip of a version, the first of a new skill or one that goes ``into`` a skill, ``latest`` so far."""
        name = version.name or step.name
        # The first version is known by its skill.
        kind, source = (step.kind, step.id) if into is None else (Kind.SKILL_VERSION, version.id)
        intent = Create(op="", kind=kind, source=source, name=name, sha256=version.digest, into=into, latest=latest)
        folder = safe_name(name or "skill", limit=_LONGEST)
        with ExitStack() as stack:
            stream = await asyncio.to_thread(self._open, version, folder, stack)
            return await self._writes.upload_version(intent, f"{folder}.zip", stream)

    def _open(self, version: SkillVersion, folder: str, stack: ExitStack) -> BinaryIO:
        """A version's zip as the destination takes it: as it is in the bundle, or wrapped in a folder."""
        entry = self._reader.content(version.id)
        if entry is None:
            raise DamagedBundle(f"can't upload skill version {version.id}: the bundle has no content for it")
        stream = stack.enter_context(self._reader.open(entry))
        if version.has_top:
            return stream
        spool = cast(BinaryIO, stack.enter_context(tempfile.SpooledTemporaryFile(_IN_MEMORY)))  # noqa: SIM115
        wrap(stream, folder, spool)
        return spool

    async def _settle(self, step: CreateSkill | UpdateSkill, target: TargetId) -> list[Loss]:
        """Set the default version and read it back. The journal has on return how the skill was left."""
        here = self._state.targets[Kind.SKILL_VERSION]
        wanted = version_number(here[step.default])
        await self._changes.fields(step.kind, step.id, target, {"default_version": wanted}, ["default_version"])
        found = viewed((await self._account.get(place(step.kind, target))).raw, dict[str, Any], f"skill {target}")
        # What others have added since is not how this run left it.
        ours = {version_number(one) for one in here.values() if one.startswith(f"{target}:")}
        left = {field: found.get(field) for field in ("default_version", "latest_version")}
        if left["latest_version"] not in ours and isinstance(step, CreateSkill):
            left["latest_version"] = version_number(here[step.versions[-1]])
        image = fingerprints(step.kind, left)
        if self._state.images.get(target) != image:
            await self._folder.write(Shown(kind=step.kind, source=step.id, target=target, image=image))
        if found.get("default_version") == wanted:
            return []
        text = f"changed by the destination: {found.get('default_version')} in place of {wanted}"
        why = Why.NOT_KEPT
        return [Loss(why=why, kind=step.kind, id=step.id, name=step.name, field="default_version", text=text)]
