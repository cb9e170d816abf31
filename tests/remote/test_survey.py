"""Whether there are agents, told by servers that don't say 404 of what they have not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from holdall.errors import NotFound, PermissionDenied, RemoteError, RequestRefused, ServerFailed, UnexpectedAnswer
from holdall.kinds import Platform
from holdall.model import AssistantView, Kind, SourceId
from holdall.remote.client import Account, viewed
from holdall.remote.survey import Missing, Surveyor
from holdall.remote.wire import Answer


class Server:
    """An account whose list of agents fails in one way, and a path that can't be there in another, or not at all."""

    platform = Platform.OPENAI

    def __init__(self, agents: RemoteError, nowhere: RemoteError | int) -> None:
        self._agents, self._nowhere = agents, nowhere
        self.unknown_path: int | None = None

    async def pages(self, where: str, **_: Any) -> AsyncIterator[list[bytes]]:
        raise self._agents
        yield []

    async def get(self, where: str, **_: Any) -> Answer:
        if isinstance(self._nowhere, RemoteError):
            raise self._nowhere
        return Answer(raw=b"{}", status=self._nowhere, request_id=None)


def failing(cls: type[RemoteError], status: int) -> RemoteError:
    return cls("can't", status=status)


def surveyed(agents: RemoteError, nowhere: RemoteError | int) -> Surveyor:
    surveyor = Surveyor(cast(Account, Server(agents, nowhere)))
    assert asyncio.run(surveyor.definitions(Kind.AGENT)) == []
    return surveyor


@pytest.mark.parametrize(
    ("agents", "nowhere"),
    [
        (failing(NotFound, 404), failing(NotFound, 404)),
        (failing(RequestRefused, 400), failing(RequestRefused, 400)),
        (failing(PermissionDenied, 403), failing(PermissionDenied, 403)),
        (failing(RequestRefused, 405), failing(NotFound, 404)),
        (failing(ServerFailed, 501), failing(NotFound, 404)),
        (failing(UnexpectedAnswer, 200), 200),
    ],
)
def test_an_endpoint_that_fails_as_any_unknown_path_is_not_there(
    agents: RemoteError, nowhere: RemoteError | int
) -> None:
    assert surveyed(agents, nowhere).doubts == {}


def test_a_server_that_fails_at_whatever_it_does_not_know_has_no_agents() -> None:
    found = surveyed(failing(ServerFailed, 500), failing(ServerFailed, 500))
    assert (found.absent, found.doubts) == (["/agents"], {})


@pytest.mark.parametrize(
    "agents",
    [failing(PermissionDenied, 403), failing(ServerFailed, 500), failing(RequestRefused, 400)],
    ids=lambda error: str(error.status),
)
def test_an_endpoint_that_fails_in_a_way_of_its_own_is_no_empty_one(agents: RemoteError) -> None:
    with pytest.raises(type(agents)):
        surveyed(agents, failing(NotFound, 404))


def test_an_answer_about_another_file_is_none_about_this_one() -> None:
    class Odd(Server):
        async def get(self, where: str, **_: Any) -> Answer:
            return Answer(raw=b'{"id":"file-2"}', status=200, request_id=None)

    surveyor = Surveyor(cast(Account, Odd(failing(NotFound, 404), 200)))
    found = asyncio.run(surveyor.one(Kind.FILE, SourceId("file-1")))
    assert isinstance(found, Missing)
    assert "file-2" in found.message


def test_an_answer_about_another_store_is_none_about_this_one() -> None:
    class Odd(Server):
        async def get(self, where: str, **_: Any) -> Answer:
            return Answer(raw=b'{"id":"vs_2"}', status=200, request_id=None)

    found = asyncio.run(Surveyor(cast(Account, Odd(failing(NotFound, 404), 200))).one(Kind.STORE, SourceId("vs_1")))
    assert isinstance(found, Missing)
    assert "vs_2" in found.message


def test_a_record_of_an_unknown_shape_is_an_answer_that_makes_no_sense() -> None:
    with pytest.raises(UnexpectedAnswer, match=r"can't read assistant a: its record has an unexpected format"):
        viewed(b'{"id": 7, "metadata": {}}', AssistantView, "assistant a")


def test_a_field_of_another_type_and_half_a_character_are_passed_over() -> None:
    seen = viewed(
        b'{"id": "a", "metadata": "none", "name": "\\ud83d", "created_at": %b}' % (b"9" * 30), AssistantView, "a"
    )
    assert (seen.id, seen.name) == ("a", "\ufffd")


def test_stores_that_cannot_be_listed_one_after_the_other_are_doubted_unasked_in_the_end() -> None:
    asked: list[str] = []

    class Listing(Server):
        async def pages(self, where: str, **_: Any) -> AsyncIterator[list[bytes]]:
            asked.append(where)
            raise NotFound("no such list", status=404)
            yield []

    surveyor = Surveyor(cast(Account, Listing(failing(NotFound, 404), 200)))

    async def read() -> None:
        for number in range(100):
            async for _ in surveyor.memberships(SourceId(f"vs_{number}"), required=False):
                raise AssertionError("nothing is there")

    asyncio.run(read())
    assert len(asked) == 20
    assert len(surveyor.doubts) == 100
