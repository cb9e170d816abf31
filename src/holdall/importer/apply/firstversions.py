"""The first version of a Foundry agent makes the agent, and another POST makes the next: nobody is told that it exists.

So a version that should have been the first one, and isn't, is taken away again.
"""

from __future__ import annotations

from collections.abc import Container
from contextlib import suppress

import msgspec

from holdall.dialects.marks import OPERATION
from holdall.errors import RemoteError, UnexpectedAnswer
from holdall.importer.runs.baseline import place, read_listed
from holdall.importer.runs.effects import number_of, version_target
from holdall.kinds import KINDS
from holdall.model import Kind, TargetId
from holdall.remote.client import Account, Answer, path


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    version: str | int


def version_of(owner: str, answer: Answer) -> TargetId:
    """The version of an agent or a skill that an answer is about. Raises msgspec.DecodeError where it doesn't say."""
    return version_target(TargetId(owner), str(msgspec.json.decode(answer.raw, type=_Made).version))


async def require_first(account: Account, agent: str, answer: Answer, ours: Container[str | None]) -> None:
    """Where others made an agent of that name at the same moment, take away what has become a version of theirs.

    ``ours`` are the attempts of this run. Raises UnexpectedAnswer then; ambiguous, where it could not be taken away.
    """
    made = TargetId("")
    with suppress(msgspec.DecodeError):
        made = version_of(agent, answer)
    if number_of(made) < 2:
        return
    try:
        where = path(KINDS[Kind.AGENT_VERSION].endpoint, agent)
        there = [read_listed(Kind.AGENT_VERSION, raw) async for raw in account.items(where)]
        if not any(number_of(one.id) < number_of(made) and one.mark(OPERATION) not in ours for one in there):
            return
        await account.delete(place(Kind.AGENT_VERSION, made))
    except RemoteError as error:
        raise UnexpectedAnswer(error.message, status=error.status, ambiguous=True) from None
    raise UnexpectedAnswer(f"others created an agent {agent} at the same time; run the import again")
