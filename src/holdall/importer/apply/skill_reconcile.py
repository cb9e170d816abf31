"""What came of a version of a skill whose answer was lost: it has no mark, only its number and what is in it."""

from __future__ import annotations

from collections.abc import Iterable

from holdall.errors import NotFound
from holdall.importer.destination.files_and_skills import digest_there, version_numbers
from holdall.importer.runs.effects import version_target
from holdall.importer.runs.runlines import Create, Creation, Done
from holdall.importer.runs.runstate import RunState
from holdall.model import Kind, TargetId
from holdall.remote.client import Account


async def versions_made(account: Account, state: RunState, wanted: Iterable[Creation]) -> dict[str, Done]:
    """The outcomes, by ``op``: a version that came after the newest one that was there, that no other attempt made, and
    that holds what was sent. One that can't be read is taken for ours if it is the only one. Raises what the account
    raises."""
    found: dict[str, Done] = {}
    claimed = set(state.claimed(Kind.SKILL_VERSION))
    for intent in wanted:
        if not isinstance(intent, Create) or intent.into is None:
            continue
        try:
            numbers = await version_numbers(account, intent.into)
        except NotFound:  # the skill is gone, and its versions with it
            continue
        later = numbers[numbers.index(intent.latest) + 1 :] if intent.latest in numbers else numbers
        new = [number for number in later if version_target(intent.into, number) not in claimed]
        digests = {number: await digest_there(account, intent.into, number) for number in new}
        equal = [number for number in new if digests[number] == intent.sha256]
        unread = [number for number in new if not digests[number]]
        if equal or len(unread) == 1:
            target = version_target(intent.into, (equal or unread)[0])
            claimed.add(target)
            found[intent.op] = Done(op=intent.op, target=target)
    return found


async def first_digest(account: Account, skill: TargetId) -> str | None:
    """The digest of a skill's first version; empty where it can't be read, None where there is none."""
    try:
        numbers = await version_numbers(account, skill)
    except NotFound:
        return None
    return await digest_there(account, skill, numbers[0]) if numbers else None
