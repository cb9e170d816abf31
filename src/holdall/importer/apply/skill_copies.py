"""Skills: their versions are sent in the order in which they were made, each once, and last the default is set."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack
from typing import Any, BinaryIO, cast

from holdall.bundle.names import safe_name
from holdall.bundle.reader import BundleReader
from holdall.dialects.loss import Loss, Why
from holdall.errors import DamagedBundle
from holdall.importer.apply.changes import Changes
from holdall.importer.apply.context import Context
from holdall.importer.apply.writes import Writes
from holdall.importer.destination.files_and_skills import version_numbers
from holdall.importer.plan.bundle_skills import SkillVersion
from holdall.importer.plan.bundle_summary import BundleSummary
from holdall.importer.plan.difference import fingerprints
from holdall.importer.plan.steps import CreateSkill, UpdateSkill
from holdall.importer.runs.baseline import place
from holdall.importer.runs.effects import version_number, version_target
from holdall.importer.runs.runlines import Create, Shown
from holdall.model import Kind, SourceId, TargetId
from holdall.remote.client import viewed
from holdall.skill_zip import wrap

# A zip up to this many bytes stays in memory while it is wrapped and sent.
_IN_MEMORY = 1 << 20
_LONGEST = 64  # of a skill's name


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
