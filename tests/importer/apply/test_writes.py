"""Writes to the destination: intent before, outcome after, and no blind repetition."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from holdall.errors import (
    NotFound,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RemoteError,
    ServerFailed,
    UnexpectedAnswer,
    Unreachable,
)
from holdall.importer.apply.context import FRESH, SETTLE, Pace
from holdall.importer.apply.reconcile import Reconciler
from holdall.importer.apply.writes import TRIES, Writes
from holdall.importer.runs.runfolder import RunFolder
from holdall.importer.runs.runjournal import Create
from holdall.model import Kind, SourceId, TargetId
from holdall.remote.wire import Answer
from tests.importer.rig import context


class Server:
    """An account whose next answers are given; it notes how much of the journal was durable at each call."""

    organization = project = None

    def __init__(self, journal: Callable[[], bytes]) -> None:
        self.now = 0.0
        self.answers: list[Answer | RemoteError] = []
        self.seen: list[tuple[str, Mapping[str, Any], bytes]] = []
        self.gone: RemoteError | None = None
        self.listed = b""
        self.listed_from = 0.0
        self.looks = 0
        self._journal = journal

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def post(self, where: str, body: Mapping[str, Any]) -> Answer:
        self.seen.append((where, body, self._journal()))
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, RemoteError):
            raise found
        return found

    async def items(self, where: str, params: object = None, **_: Any) -> AsyncIterator[bytes]:
        self.looks += 1
        if self.listed and self.now >= self.listed_from:
            yield self.listed

    async def get(self, where: str, params: object = None, **_: object) -> Answer:
        if self.gone:
            raise self.gone
        return Answer(raw=b"{}", status=200)


def answer(id: str, op: str = "op1") -> Answer:
    raw = json.dumps({"id": id, "metadata": {"holdall_op": op}}).encode()
    return Answer(raw=raw, status=200, request_id="req_1")


def create(source: str) -> Create:
    return Create(op="", kind=Kind.ASSISTANT, source=SourceId(source), name="A")


def _body(op: str) -> dict[str, Any]:
    return {"name": "A", "metadata": {"holdall_op": op}}


def work(
    tmp_path: Path,
    answers: list[Answer | RemoteError],
    gone: RemoteError | None = None,
    listed_from: float | None = None,
    before: str = "",
) -> tuple[Any, Server]:
    """Create one assistant whose store was made a moment ago, and first another one of the source ``before``."""
    folder = RunFolder(tmp_path, now=lambda: 1.0, token="t")
    server = Server(lambda: (folder.path / "journal.jsonl").read_bytes())
    server.answers, server.gone = answers, gone
    if listed_from is not None:
        server.listed, server.listed_from = answer("asst_late").raw, listed_from
    ops = itertools.count(1)
    pace = Pace(clock=lambda: server.now, sleep=server.sleep)
    run = context(server, folder, pace, operation=lambda: f"op{next(ops)}")
    writes = Writes(run, Reconciler(run))

    async def go() -> Any:
        try:
            if before:
                with suppress(ServerFailed, UnexpectedAnswer):
                    await writes.create(create(before), _body, [])
                server.now, server.seen = 0.0, []
            return await writes.create(create("a"), _body, [TargetId("vs_new")])
        except RemoteError as error:
            return error, await run.stopping(error)
        finally:
            await folder.close()

    return asyncio.run(go()), server


def journal(tmp_path: Path) -> list[dict[str, Any]]:
    (found,) = tmp_path.glob("runs/*/journal.jsonl")
    return [json.loads(line) for line in found.read_text().splitlines()]


def test_the_intent_is_durable_when_the_call_is_made(tmp_path: Path) -> None:
    target, server = work(tmp_path, [answer("asst_9")])
    assert target == "asst_9"
    where, body, before = server.seen[0]
    assert (where, body) == ("/assistants", _body("op1"))
    assert json.loads(before)["op"] == "op1"
    done = journal(tmp_path)[1]
    assert (done["line"], done["op"], done["target"], done["request_id"]) == ("done", "op1", "asst_9", "req_1")


def test_a_fresh_id_that_is_not_known_yet_is_waited_for_with_a_new_attempt(tmp_path: Path) -> None:
    unknown = NotFound("x", status=404, detail="No vector store found with id 'vs_new'.")
    target, server = work(tmp_path, [unknown, unknown, answer("asst_9", "op3")])
    assert target == "asst_9"
    assert [body["metadata"]["holdall_op"] for _, body, _ in server.seen] == ["op1", "op2", "op3"]
    assert [line["line"] for line in journal(tmp_path)] == ["create", "failed"] * 2 + ["create", "done"]


def test_but_not_for_ever(tmp_path: Path) -> None:
    (error, stopping), server = work(tmp_path, [NotFound("x", status=404, detail="vs_new not found")])
    assert isinstance(error, NotFound)
    assert stopping is None
    assert FRESH <= server.now < 2 * FRESH


@pytest.mark.parametrize(
    "error",
    [
        NotFound("x", status=404, code="model_not_found", detail="The model `m` does not exist"),
        RateLimited("x", status=429),
    ],
)
def test_a_plain_refusal_is_not_repeated(tmp_path: Path, error: RemoteError) -> None:
    (found, stopping), server = work(tmp_path, [error])
    assert found is error
    assert stopping is None
    assert len(server.seen) == 1
    assert server.looks == 0
    assert "ambiguous" not in journal(tmp_path)[1]


@pytest.mark.parametrize(
    "error", [ServerFailed("x", status=500, ambiguous=True), UnexpectedAnswer("x", ambiguous=True)]
)
def test_a_lost_answer_is_looked_for_before_each_new_attempt_and_given_up_in_the_end(
    tmp_path: Path, error: RemoteError
) -> None:
    (found, stopping), server = work(tmp_path, [answer("asst_0"), error], before="b")
    assert found is error
    assert stopping is None
    assert len(server.seen) == TRIES
    assert server.now == pytest.approx(TRIES * SETTLE)
    assert [line["line"] for line in journal(tmp_path)[2:]] == ["create", "failed", "failed"] * TRIES


@pytest.mark.parametrize(
    "error", [ServerFailed("x", status=500, ambiguous=True), UnexpectedAnswer("x", ambiguous=True)]
)
def test_where_no_create_was_ever_answered_one_window_is_enough_for_all(tmp_path: Path, error: RemoteError) -> None:
    (found, _), server = work(tmp_path / "first", [error])
    assert found is error
    assert (len(server.seen), server.now) == (2, pytest.approx(SETTLE))
    # Each is looked for all the same, and told of as what may be there.
    assert [line["line"] for line in journal(tmp_path / "first")] == ["create", "failed", "failed"] * 2
    (found, _), server = work(tmp_path / "second", [error], before="b")
    assert found is error
    assert (len(server.seen), server.now) == (1, 0.0)


def test_what_turns_up_within_the_window_is_not_made_again(tmp_path: Path) -> None:
    target, server = work(tmp_path, [ServerFailed("x", status=500, ambiguous=True)], listed_from=SETTLE - 1)
    assert target == "asst_late"
    assert len(server.seen) == 1
    assert journal(tmp_path)[-1]["target"] == "asst_late"
    assert journal(tmp_path)[-1]["image"]


def test_an_answer_without_an_id_is_ambiguous(tmp_path: Path) -> None:
    (found, _), _ = work(tmp_path, [Answer(raw=b"{}", status=200)])
    assert found.ambiguous
    assert journal(tmp_path)[1]["ambiguous"] is True


def test_what_stops_a_run(tmp_path: Path) -> None:
    spent = QuotaExhausted("spent", status=429)
    assert work(tmp_path / "1", [spent])[0] == (spent, spent)
    lost, gone = Unreachable("lost", ambiguous=True), Unreachable("gone")
    assert work(tmp_path / "2", [lost], gone)[0] == (lost, gone)
    assert work(tmp_path / "3", [lost])[0] == (lost, None)
    lacking = PermissionDenied(
        "no", status=403, detail="You have insufficient permissions. Missing scopes: api.files.write."
    )
    assert work(tmp_path / "4", [lacking])[0] == (lacking, lacking)
    model = PermissionDenied("no", status=403, detail="Project `proj_x` does not have access to model `o1`")
    assert work(tmp_path / "5", [model])[0] == (model, None)
