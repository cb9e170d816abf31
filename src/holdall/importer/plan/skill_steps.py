"""The step of a skill: it is created with its versions, completed, adopted or left. Pure.

Copies are matched by the contents of their versions: skills have no metadata, and servers renumber versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from holdall.dialects.loss import Loss, Why
from holdall.dialects.templates import skill_references
from holdall.importer.plan.bundle_summary import SkillVersion
from holdall.importer.plan.difference import PRESENT, By, Difference, FoundSkill, VersionThere
from holdall.importer.plan.steps import Adopt, Cannot, CreateSkill, LeaveOut, Step, UpdateSkill
from holdall.kinds import KINDS
from holdall.model import Kind, Record, SourceId, TargetId, View
from holdall.selection import Root


def paired(versions: Sequence[SkillVersion], there: Sequence[VersionThere]) -> dict[SourceId, str]:
    """Which version there is which of the bundle's, by what is in them; of equal ones the first is the first."""
    free: dict[str, list[str]] = {}
    for one in there:
        free.setdefault(one.digest, []).append(one.number)
    found: dict[SourceId, str] = {}
    for version in versions:
        if version.digest and (numbers := free.get(version.digest)):
            found[version.id] = numbers.pop(0)
    return found


def compare_skill(
    record: Record,
    versions: Sequence[SkillVersion],
    there: Sequence[VersionThere],
    *,
    target: TargetId,
    by: By,
    default: str | None,
    is_left: bool = True,
) -> FoundSkill:
    """Compares a skill with a copy, whose versions are ``there`` and whose ``default`` number is this. ``is_left``:
    it is still the one with which an earlier run left it, as far as is known."""
    name, own_default = skill_name(record), default_of(record, versions)
    numbers = paired(versions, there)
    about = partial(Difference, target=target, name=name)
    found = [
        Difference(
            target=target,
            name=f"{name or record.id} version {version.number}",
            kind=Kind.SKILL_VERSION,
            source=version.id,
            inside=record.id,
            field=Kind.SKILL_VERSION.value,
            bundle=PRESENT,
            destination="missing",
        )
        for version in versions
        if version.digest and version.id not in numbers
    ]
    changed = []
    if own_default is not None and numbers.get(own_default.id) != default:
        wanted = numbers.get(own_default.id, f"(new) {own_default.number}")
        found.append(
            about(kind=Kind.SKILL, source=record.id, field="default_version", bundle=wanted, destination=default)
        )
        if not is_left:
            changed.append("default_version")
    others = [one.number for one in there if one.number not in numbers.values()]
    return FoundSkill(target=target, by=by, differences=found, changed=changed, numbers=numbers, others=others)


def skill_name(record: Record) -> str | None:
    view: Any = KINDS[record.kind].view.of(record)
    name: str | None = view.name
    return name


def default_of(record: Record, versions: Sequence[SkillVersion]) -> SkillVersion | None:
    """The version that is to be the default one: the source's, or the newest where that can't be sent."""
    view: Any = KINDS[record.kind].view.of(record)
    whole = [version for version in versions if version.digest]
    return next((one for one in whole if one.number == view.default_version), whole[-1] if whole else None)


def skill_step(root: Root, record: Record, versions: Sequence[SkillVersion], found: FoundSkill | None) -> Step:
    """The step of a skill that may be created or changed."""
    whole = [version for version in versions if version.digest]
    default = default_of(record, versions)
    if found is not None and not found.differences:
        return Adopt(
            kind=root.kind, id=root.id, target=found.target, name=root.name, by=found.by, versions=found.numbers
        )
    if default is None:
        reasons = dict.fromkeys(version.reason for version in versions)
        why = f"none of its versions can be sent: {'; '.join(reasons)}" if reasons else "it has no version"
        return Cannot(id=root.id, name=root.name, reason=why)
    losses = list(_losses(root, record, versions, found))
    step: dict[str, Any] = {"id": root.id, "name": root.name, "model": None, "losses": losses, "default": default.id}
    if found is None:
        return CreateSkill(**step, versions=[version.id for version in whole])
    fields = [one.field for one in found.differences if one.kind is Kind.SKILL]
    missing = [version.id for version in whole if version.id not in found.numbers]
    return UpdateSkill(
        **step,
        target=found.target,
        fields=fields,
        differences=found.differences,
        there=found.numbers,
        versions=missing,
    )


def lacking(root: Root, versions: Sequence[SkillVersion], found: FoundSkill | None) -> Iterator[LeaveOut]:
    """The versions that the copy will not have."""
    for version in versions:
        if not version.digest and not (found and version.id in found.numbers):
            yield LeaveOut(
                loss=Loss(
                    why=Why.LEFT_OUT,
                    kind=Kind.SKILL_VERSION,
                    id=version.id,
                    name=root.name,
                    inside=root.id,
                    text=f"version {version.number or '?'} left out: {version.reason}",
                    recorded=version.recorded,
                )
            )


def _losses(root: Root, record: Record, versions: Sequence[SkillVersion], found: FoundSkill | None) -> Iterator[Loss]:
    """What the copy's numbers can't say as the source's do."""
    loss = partial(Loss, kind=root.kind, id=root.id, name=root.name)
    view: Any = KINDS[record.kind].view.of(record)
    default = default_of(record, versions)
    if default is not None and view.default_version not in (None, default.number):
        text = f"version {view.default_version} can't be sent; the default is version {default.number}"
        yield loss(why=Why.VALUE_CHANGED, field="default_version", text=text)
    if found is None:
        return
    added = [version for version in versions if version.digest and version.id not in found.numbers]
    whole = [version for version in versions if version.digest]
    newest = added[-1].id if added else None
    if found.others:
        text = f"versions {', '.join(found.others)} are not in the bundle; kept"
        yield loss(why=Why.KEPT, field="versions", text=text)
    if newest is not None and newest != whole[-1].id:
        text = f"latest is a copy of version {added[-1].number}, which is added after the newer ones"
        yield loss(why=Why.VALUE_CHANGED, field="latest_version", text=text)


class SkillReferences(msgspec.Struct, frozen=True, kw_only=True):
    """The skills that a template's copy refers to, with the version of each pinned reference by skill and number, and
    why others are left out, by skill and number (None: any)."""

    skills: list[SourceId]
    versions: dict[tuple[SourceId, str], SourceId]
    left_out: dict[tuple[SourceId, str | None], str]


NO_SKILLS = SkillReferences(skills=[], versions={}, left_out={})


def referred(view: View, versions: Mapping[SourceId, Sequence[SkillVersion]]) -> SkillReferences:
    """What becomes of the references of a template, where a bundle has these ``versions``."""
    found = SkillReferences(skills=[], versions={}, left_out={})
    for skill, number in skill_references(view):
        whole = {version.number: version for version in versions.get(skill, ()) if version.digest}
        if skill not in versions:
            found.left_out[skill, number] = "not in the bundle"
        elif not whole:
            found.left_out[skill, number] = "none of its versions can be sent"
        elif number is not None and number not in whole:
            its = next((one for one in versions[skill] if one.number == number), None)
            found.left_out[skill, number] = f"version {number}: {its.reason if its else 'not in the bundle'}"
        else:
            found.skills.append(skill)
            if number is not None:
                found.versions[skill, number] = whole[number].id
    return msgspec.structs.replace(found, skills=list(dict.fromkeys(found.skills)))
