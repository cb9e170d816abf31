"""Compares a skill with its copy: what is in the zip of each version, and which one is the default. Reads only."""

from __future__ import annotations

from collections.abc import Sequence

from holdall.agent_views import SkillView
from holdall.importer.destination.files_and_skills import versions_there
from holdall.importer.plan.bundle_summary import SkillVersion
from holdall.importer.plan.difference import By, Difference, FoundSkill
from holdall.importer.plan.skill_steps import compare_skill, skill_name
from holdall.model import Kind, Record, TargetId
from holdall.remote.client import Account, viewed


async def prove_skill(
    account: Account, record: Record, versions: Sequence[SkillVersion], target: TargetId, raw: bytes
) -> FoundSkill:
    """What differs in the copy ``target``, which the account shows as ``raw``. Downloads each of its versions. Raises
    what the account raises."""
    there = await versions_there(account, target, {})
    default = viewed(raw, SkillView, f"skill {target}").default_version
    found = compare_skill(record, versions, there, target=target, by=By.EARLIER, default=default)
    if found.others:
        whole = sum(bool(version.digest) for version in versions)
        more = Difference(
            kind=Kind.SKILL,
            source=record.id,
            target=target,
            name=skill_name(record),
            field="versions",
            bundle=whole,
            destination=len(there),
        )
        found.differences.append(more)
    return found
