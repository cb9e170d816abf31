"""Finds the copies of a bundle's skills at a destination. Reads only.

By its own id, if the destination is where the bundle came from; by the journals and mappings of earlier runs; else by
name and contents. Only skills of the name are asked for what they contain.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Container, Mapping

import msgspec

from holdall.agent_views import SkillView
from holdall.errors import NotFound
from holdall.importer.destination.history import History
from holdall.importer.destination.skill_versions import version_numbers, versions_there
from holdall.importer.plan.bundle_skills import SkillVersion
from holdall.importer.plan.difference import fingerprint
from holdall.importer.plan.existing import FoundSkill, Several, VersionThere
from holdall.importer.plan.skill_steps import compare_skill, skill_name
from holdall.importer.plan.steps import By
from holdall.importer.runs.baseline import listed
from holdall.model import Kind, Record, SourceId, TargetId, epoch_seconds
from holdall.remote.client import Account, viewed


class SkillsThere(msgspec.Struct, frozen=True, kw_only=True):
    """The skills that exist, by the source's ids, and of which several may be meant."""

    found: dict[SourceId, FoundSkill]
    several: list[Several]


async def find_skills(
    account: Account,
    records: Mapping[SourceId, Record],
    versions: Mapping[SourceId, list[SkillVersion]],
    history: History,
) -> SkillsThere:
    """Which of ``records`` exist already. Raises what the account raises."""
    if not records:
        return SkillsThere(found={}, several=[])
    return await _Look(account, versions, history).run(records)


class _Look:
    def __init__(self, account: Account, versions: Mapping[SourceId, list[SkillVersion]], history: History) -> None:
        self._account, self._versions, self._history = account, versions, history
        self._there: dict[TargetId, SkillView] = {}
        self._named: dict[str | None, list[TargetId]] = {}
        self._read: dict[TargetId, list[VersionThere]] = {}

    async def run(self, records: Mapping[SourceId, Record]) -> SkillsThere:
        found: dict[SourceId, FoundSkill] = {}
        several: list[Several] = []
        wanted = {name for record in records.values() for name in self._names(record)}
        known = {target for source in records for target in self._history.made[Kind.SKILL].get(source, ())}
        async for raw in listed(self._account, Kind.SKILL):
            view = viewed(raw, SkillView, "a skill")
            # Of a list that may be long only these are kept.
            if view.id in records or view.id in known or view.name in wanted:
                self._there[TargetId(view.id)] = view
                self._named.setdefault(view.name, []).append(TargetId(view.id))
        for source, record in records.items():
            if one := await self._by_id(record):
                found[source] = one
        # What is, or was, the copy of one skill is not that of another.
        taken = {target for targets in self._history.made[Kind.SKILL].values() for target in targets}
        taken |= {one.target for one in found.values()}
        for source, record in records.items():
            if source not in found:
                alike = [one async for one in self._by_name(record, taken)]
                # Equal ones are as good as each other: nothing is changed in them.
                alike = [one for one in alike if not one.differences][:1] or alike
                if alike:
                    found[source] = alike[0]
                    taken.add(alike[0].target)
                if len(alike) > 1:
                    targets = [one.target for one in alike]
                    several.append(Several(kind=Kind.SKILL, id=source, name=skill_name(record), targets=targets))
        return SkillsThere(found=found, several=several)

    async def _by_id(self, record: Record) -> FoundSkill | None:
        own = SkillView.of(record)
        same = self._there.get(TargetId(record.id))
        if same and (epoch_seconds(same.created_at), same.name) == (epoch_seconds(own.created_at), own.name):
            return await self._origin(record, same)
        for target in reversed(self._history.made[Kind.SKILL].get(record.id, [])):
            if target in self._there:
                return await self._compared(record, target, By.EARLIER)
        return None

    async def _origin(self, record: Record, there: SkillView) -> FoundSkill:
        """The very skill: its versions are known by their numbers."""
        numbers = await version_numbers(self._account, TargetId(record.id))
        own = {version.number: version.id for version in self._versions[record.id]}
        # What the bundle lacks of a version is no matter here: each stands for itself.
        whole = [msgspec.structs.replace(one, digest=one.id) for one in self._versions[record.id]]
        versions = [VersionThere(number=number, digest=own.get(number, "")) for number in numbers]
        return compare_skill(
            record, whole, versions, target=TargetId(record.id), by=By.ORIGIN, default=there.default_version
        )

    async def _by_name(self, record: Record, taken: Container[TargetId]) -> AsyncIterator[FoundSkill]:
        for target in [target for name in self._names(record) for target in self._named.get(name, ())]:
            found = await self._compared(record, target, By.CONTENTS) if target not in taken else None
            # Without a version in common it is another skill of that name.
            if found and found.numbers:
                yield found

    async def _compared(self, record: Record, target: TargetId, by: By) -> FoundSkill | None:
        if target not in self._read:
            try:
                self._read[target] = await versions_there(self._account, target, self._history.hashes)
            except NotFound:  # deleted since it was listed
                return None
        default, left = self._there[target].default_version, self._history.fingerprints.get(target, {})
        is_left = "default_version" not in left or left["default_version"] == fingerprint(default)
        return compare_skill(
            record,
            self._versions[record.id],
            self._read[target],
            target=target,
            by=by,
            default=default,
            is_left=is_left,
        )

    def _names(self, record: Record) -> list[str]:
        """The names that a copy may show: a version may have another name than the skill."""
        names = {skill_name(record), *(version.name for version in self._versions[record.id])}
        return sorted(name for name in names if name)
