"""What an answer says of an endpoint, in every form in which servers say it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest

from holdall.doctor.diagnosis import EndpointState, judged
from holdall.doctor.examination import ask
from holdall.endpoint import endpoint
from holdall.errors import RemoteError, Unreachable
from holdall.kinds import Platform
from holdall.remote.account_errors import AccountErrors
from holdall.remote.client import Account
from holdall.remote.hints import RequestTarget
from holdall.remote.wire import Answer

NEEDS = "You have insufficient permissions for this operation. Missing scopes: api.files.read, api.files.write. Check"


def refusal(status: int, text: str) -> RemoteError:
    target = RequestTarget(side="source", endpoint=endpoint("sk-test-000001"))
    return AccountErrors(target, lambda: ()).refused("can't GET", status, {}, text)


@pytest.mark.parametrize(
    ("status", "text", "answer", "scopes"),
    [
        (403, NEEDS, EndpointState.DENIED, ["api.files.read", "api.files.write"]),
        (401, NEEDS, EndpointState.DENIED, ["api.files.read", "api.files.write"]),
        (401, "Incorrect API key", EndpointState.DENIED, []),
        (403, "", EndpointState.DENIED, []),
        (404, "", EndpointState.ABSENT, []),
        (405, "", EndpointState.ABSENT, []),
        (501, "", EndpointState.ABSENT, []),
        (400, "", EndpointState.FAILS, []),
        (500, "", EndpointState.FAILS, []),
        (429, "", EndpointState.FAILS, []),
    ],
)
def test_what_an_error_says(status: int, text: str, answer: EndpointState, scopes: list[str]) -> None:
    found = judged("files", refusal(status, text))
    assert (found.answer, found.scopes) == (answer, scopes)


class Answers:
    """An account that answers by path; what isn't said is not found."""

    unknown_path: int | None = None

    platform = Platform.OPENAI

    def __init__(self, answers: Mapping[str, tuple[int, str]], otherwise: tuple[int, str]) -> None:
        self._answers, self._otherwise = answers, otherwise

    async def get(self, where: str, params: Mapping[str, Any] | None = None, **_: Any) -> Answer:
        status, text = next((v for k, v in self._answers.items() if where.startswith(k)), self._otherwise)
        if status != 200:
            raise refusal(status, text.replace("PATH", where))
        return Answer(raw=text.encode(), status=status)


def asked(answers: Mapping[str, tuple[int, str]], otherwise: tuple[int, str] = (404, "")) -> dict[str, EndpointState]:
    account = cast(Account, Answers(answers, otherwise))
    return {each.name: each.answer for each in asyncio.run(ask(account))}


@pytest.mark.parametrize(
    ("there", "nowhere", "answer"),
    [
        ((404, '{"detail":"Response not found"}'), (404, '{"detail":"Not Found"}'), EndpointState.YES),
        ((404, '{"detail":"Not Found"}'), (404, '{"detail":"Not Found"}'), EndpointState.ABSENT),
        ((404, "Cannot GET PATH"), (404, "Cannot GET PATH"), EndpointState.ABSENT),
        ((404, ""), (404, ""), EndpointState.UNKNOWN),
        ((400, "no such response"), (404, "Not Found"), EndpointState.YES),
        ((500, "oops"), (404, "Not Found"), EndpointState.UNKNOWN),
        ((500, "oops"), (500, "oops"), EndpointState.ABSENT),
        ((405, "use POST"), (404, "Not Found"), EndpointState.ABSENT),
        ((501, "not yet"), (404, "Not Found"), EndpointState.ABSENT),
        ((403, NEEDS), (403, NEEDS), EndpointState.DENIED),
        ((200, "{}"), (404, ""), EndpointState.YES),
    ],
)
def test_whether_there_are_responses(there: tuple[int, str], nowhere: tuple[int, str], answer: EndpointState) -> None:
    assert asked({"/responses": there}, nowhere)["responses"] is answer


def test_answers_that_are_no_lists() -> None:
    found = asked(
        {
            "/files": (200, '{"data":[]}'),
            "/vector_stores": (200, "[1]"),
            "/assistants": (200, '{"message":"welcome"}'),
            "/deployments": (200, '{"value":[]}'),
        }
    )
    assert (found["files"], found["deployments"]) == (EndpointState.YES, EndpointState.YES)
    assert (found["vector_stores"], found["assistants"]) == (EndpointState.FAILS, EndpointState.FAILS)


def test_deployments_are_only_asked_for_where_there_are_no_models() -> None:
    assert "deployments" not in asked({"/models": (200, '{"data":[]}'), "/deployments": (200, '{"value":[]}')})
    assert "deployments" not in asked({})


def test_no_connection_ends_it() -> None:
    class Nobody:
        async def get(self, where: str, params: Mapping[str, Any] | None = None, **_: Any) -> Answer:
            raise Unreachable("down")

    with pytest.raises(Unreachable):
        asyncio.run(ask(cast(Account, Nobody())))
