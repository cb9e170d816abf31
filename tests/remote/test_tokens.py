"""Tokens that a command prints: run once, used while good, run again before they end, never shown."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import Sequence

import pytest

from holdall.errors import AuthenticationFailed
from holdall.remote.tokens import EARLY, UNKNOWN, TokenCommand, ends_at, run


def jwt(exp: float) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": exp}).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJub25lIn0.{claims}.sig"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def source(clock: Clock, *printed: str) -> tuple[TokenCommand, list[Sequence[str]]]:
    calls: list[Sequence[str]] = []

    def fake(argv: Sequence[str]) -> str:
        calls.append(argv)
        return printed[min(len(calls), len(printed)) - 1]

    return TokenCommand(["az", "token"], clock=clock, run=fake), calls


@pytest.mark.parametrize(
    ("printed", "token", "lasts"),
    [
        (jwt(1000 + 3600) + "\n", jwt(1000 + 3600), 3600 - EARLY),
        ("plain-token", "plain-token", UNKNOWN),
        ('{"accessToken": "t1", "expires_on": "4600"}', "t1", 3600 - EARLY),
        ('{"access_token": "t2", "expires_in": 3600}', "t2", 3600 - EARLY),
        ('{"accessToken": "t3", "expiresOn": "1970-01-01 01:16:40.000000+00:00"}', "t3", 3600 - EARLY),
    ],
)
def test_a_token_is_used_until_shortly_before_its_end(printed: str, token: str, lasts: float) -> None:
    clock = Clock()
    tokens, calls = source(clock, printed)

    async def work() -> None:
        assert await asyncio.gather(*(tokens.get() for _ in range(5))) == [token] * 5
        assert len(calls) == 1
        clock.now += lasts - 1
        await tokens.get()
        assert len(calls) == 1
        clock.now += 2
        await tokens.get()
        assert len(calls) == 2

    asyncio.run(work())


def test_a_refused_token_is_fetched_anew_once_for_all_who_used_it() -> None:
    tokens, calls = source(Clock(), "one", "two")

    async def work() -> None:
        old = await tokens.get()
        tokens.forget(old)
        assert await tokens.get() == "two"
        tokens.forget(old)
        assert await tokens.get() == "two"
        assert len(calls) == 2

    asyncio.run(work())


@pytest.mark.parametrize("printed", ["", "two words", "{not json", "{}", '{"accessToken": ""}', "tö"])
def test_what_is_no_token_is_refused_and_not_shown(printed: str) -> None:
    tokens, _ = source(Clock(), printed)
    with pytest.raises(AuthenticationFailed, match="from the command az") as caught:
        asyncio.run(tokens.get())
    assert not printed or printed not in caught.value.message


def test_commands_that_fail_say_why_without_secrets() -> None:
    assert run([sys.executable, "-c", "print('tok')"]).strip() == "tok"
    with pytest.raises(AuthenticationFailed, match="no such program"):
        run(["no-such-program-anywhere"])
    code = "import sys; print('log in first: sk-abcdef123456', file=sys.stderr); sys.exit(3)"
    with pytest.raises(AuthenticationFailed, match=r"ended with 3 \(log in first") as caught:
        run([sys.executable, "-c", code])
    assert "abcdef" not in caught.value.message


def test_only_a_jwt_tells_its_end() -> None:
    assert ends_at(jwt(12345)) == 12345
    for other in ("abc", "a.b.c", "a.e30.c", ""):
        assert ends_at(other) is None
