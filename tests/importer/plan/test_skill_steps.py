"""What becomes of a skill: its versions are told apart by what is in them, whatever numbers a server gives."""

from __future__ import annotations

import msgspec
import pytest

from holdall.agent_views import TemplateView
from holdall.dialects.loss import Why
from holdall.importer.plan.bundle_summary import SkillVersion
from holdall.importer.plan.difference import By, FoundSkill, VersionThere
from holdall.importer.plan.skill_steps import compare_skill, lacking, paired, referred, skill_step
from holdall.importer.plan.steps import Adopt, Cannot, CreateSkill, UpdateSkill
from holdall.model import Kind, Record, SourceId, TargetId
from holdall.selection import Root

ROOT = Root(kind=Kind.SKILL, id=SourceId("s"), name="tea")


def record(default: object = "1") -> Record:
    raw = {"id": "s", "name": "tea", "default_version": default, "latest_version": "9"}
    return Record(kind=Kind.SKILL, id=SourceId("s"), raw=msgspec.json.encode(raw))


def versions(digests: str) -> list[SkillVersion]:
    """One for each letter, numbered from 1; of ``-`` nothing can be sent."""
    return [
        SkillVersion(id=SourceId(f"v{n}"), number=f"{n}", digest=one.strip("-"), reason="gone" if one == "-" else "")
        for n, one in enumerate(digests, 1)
    ]


def there(digests: str, first: int = 1) -> list[VersionThere]:
    return [VersionThere(number=f"{n}", digest=one.strip("-")) for n, one in enumerate(digests, first)]


def compared(ours: str, theirs: str, *, default: str = "1", own: str = "1") -> FoundSkill:
    return compare_skill(
        record(own), versions(ours), there(theirs), target=TargetId("t"), by=By.CONTENTS, default=default
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "pairs"),
    [
        ("ab", "ab", {"v1": "1", "v2": "2"}),
        ("ab", "ba", {"v1": "2", "v2": "1"}),
        ("aba", "aab", {"v1": "1", "v2": "3", "v3": "2"}),
        ("a-c", "xc", {"v3": "2"}),
        ("aa", "a", {"v1": "1"}),
        ("--", "--", {}),
    ],
)
def test_versions_are_paired_by_what_is_in_them_each_with_one(ours: str, theirs: str, pairs: dict[str, str]) -> None:
    assert paired(versions(ours), there(theirs)) == pairs


def test_equal_versions_and_default_are_adopted_whatever_their_numbers() -> None:
    found = compare_skill(record("2"), versions("ab"), there("ab", 4), target=TargetId("t"), by=By.EARLIER, default="5")
    assert (found.differences, found.others) == ([], [])
    step = skill_step(ROOT, record("2"), versions("ab"), found)
    assert isinstance(step, Adopt)
    assert step.versions == {"v1": "4", "v2": "5"}


def test_what_is_missing_is_added_and_the_default_is_set() -> None:
    found = compared("abc", "ax", own="3")
    assert [one.field for one in found.differences] == ["skill_version", "skill_version", "default_version"]
    step = skill_step(ROOT, record("3"), versions("abc"), found)
    assert isinstance(step, UpdateSkill)
    assert (step.there, step.versions, step.default, step.fields) == (
        {"v1": "1"},
        ["v2", "v3"],
        "v3",
        ["default_version"],
    )
    assert [loss.why for loss in step.losses] == [Why.KEPT]


def test_a_version_that_comes_after_newer_ones_is_the_latest_which_is_said() -> None:
    step = skill_step(ROOT, record(), versions("abc"), compared("abc", "ac"))
    assert isinstance(step, UpdateSkill)
    assert [loss.field for loss in step.losses] == ["latest_version"]


def test_a_default_that_cannot_be_sent_gives_way_to_the_newest_and_without_any_there_is_no_skill() -> None:
    step = skill_step(ROOT, record("1"), versions("-bc"), None)
    assert isinstance(step, CreateSkill)
    assert (step.versions, step.default, [loss.field for loss in step.losses]) == (
        ["v2", "v3"],
        "v3",
        ["default_version"],
    )
    assert isinstance(skill_step(ROOT, record(), versions("--"), None), Cannot)
    assert isinstance(skill_step(ROOT, record(None), [], None), Cannot)
    assert [one.loss.id for one in lacking(ROOT, versions("-b-"), None)] == ["v1", "v3"]


def test_a_reference_is_kept_as_far_as_its_version_is_there() -> None:
    view = TemplateView.of_values(
        {
            "id": "t",
            "skills": [
                {"skill_id": "s", "version": "2"},
                {"skill_id": "s", "version": "1"},
                {"skill_id": "s", "version": "7"},
                {"skill_id": "s"},
                {"skill_id": "empty", "version": "latest"},
                {"skill_id": "other"},
                {"skill_id": "openai-x", "version": "3"},
            ],
        }
    )
    found = referred(view, {SourceId("s"): versions("-b"), SourceId("empty"): versions("-")})
    assert (found.skills, found.versions) == (["s"], {("s", "2"): "v2"})
    assert found.left_out == {
        ("s", "1"): "version 1: gone",
        ("s", "7"): "version 7: not in the bundle",
        ("empty", None): "none of its versions can be sent",
        ("other", None): "not in the bundle",
    }
