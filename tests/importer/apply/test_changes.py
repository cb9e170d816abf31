"""What was written, read again: only what was sent counts, and an object that can't be read is no success."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest

from holdall.dialects.loss import Loss, Why
from holdall.errors import NotFound
from holdall.importer.apply.context import SETTLE, Pace
from holdall.importer.apply.writes import Changes, Writes
from holdall.importer.plan.difference import differences
from holdall.importer.runs.runjournal import Line, Shown
from holdall.model import Kind, SourceId, TargetId
from holdall.remote.wire import Answer
from tests.importer.rig import context

SENT = {
    "name": "n",
    "metadata": {"k": "v", "cloned_from": "s"},
    "expires_after": {"anchor": "last_active_at", "days": 3},
}


class Server:
    """One store, which is seen from ``since`` on; and the journal of who reads it."""

    def __init__(self, since: float = 0.0, **shown: Any) -> None:
        self.now, self.since = 0.0, since
        self.shown = {**SENT, "id": "S", **shown}
        self.written: list[Line] = []

    async def get(self, where: str) -> Answer:
        if self.now < self.since:
            raise NotFound("can't", status=404, detail="no such store")
        return Answer(raw=json.dumps(self.shown).encode(), status=200)

    async def write(self, line: Line) -> None:
        self.written.append(line)

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    def losses(self) -> list[Loss]:
        pace = Pace(clock=lambda: self.now, sleep=self.sleep)
        reading = Changes(context(self, self, pace), cast(Writes, None))
        return asyncio.run(reading.losses(Kind.STORE, SourceId("s"), TargetId("S"), "n", SENT))


def test_what_is_as_it_was_sent_is_worth_no_word() -> None:
    server = Server(expires_after={**SENT["expires_after"], "tenant": None}, status="completed")  # type: ignore[dict-item]
    assert server.losses() == []
    assert server.written == []


def test_what_is_not_kept_is_named_field_by_field_and_written_down() -> None:
    server = Server(name="m", expires_after=None, metadata={"k": "cut", "_node": "n-17"})
    losses = server.losses()
    assert [(loss.why, loss.field) for loss in losses] == [
        (Why.NOT_KEPT, "name"), (Why.NOT_KEPT, "metadata"), (Why.NOT_KEPT, "expires_after")
    ]  # fmt: skip
    assert losses[1].text.endswith(": k")
    (line,) = server.written
    assert isinstance(line, Shown)
    assert (line.unkept, line.added) == (["name", "metadata", "expires_after"], ["_node"])


@pytest.mark.parametrize(("since", "seen"), [(SETTLE - 5, True), (SETTLE + 10, False)])
def test_what_is_not_seen_yet_is_waited_for(since: float, seen: bool) -> None:
    losses = Server(since).losses()
    assert [(loss.why, loss.field) for loss in losses] == ([] if seen else [(Why.NOT_KEPT, None)])


def test_a_null_of_the_owners_is_a_value_that_can_be_kept() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"default": None}}}]
    there = [{"type": "function", "function": {"name": "f", "parameters": {"default": None}, "strict": False}}]
    its: dict[str, Any] = {"kind": Kind.ASSISTANT, "source": SourceId("a"), "target": None, "name": "n"}
    assert differences({"tools": tools}, {"tools": there}, **its) == []
    assert differences({"tools": tools}, {"tools": None}, **its) != []
