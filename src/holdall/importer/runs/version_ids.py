"""What a version of a skill is called: nothing is asked for by its own id."""

from __future__ import annotations

from holdall.model import TargetId


def version_target(skill: TargetId, number: str) -> TargetId:
    """The version of a skill with that number, in journals."""
    return TargetId(f"{skill}:{number}")


def version_number(target: TargetId) -> str:
    """The number in what ``version_target`` gave.

    >>> version_number(TargetId("skill_1:2"))
    '2'
    """
    return target.rpartition(":")[2]
