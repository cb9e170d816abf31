"""Tokens that a command prints: run once, used while good, run again before they end, never shown."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

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
    with pytest.raises(AuthenticationFailed, match=r"exited with code 3 \(log in first") as caught:
        run([sys.executable, "-c", code])
    assert "abcdef" not in caught.value.message


def test_only_a_jwt_tells_its_end() -> None:
    assert ends_at(jwt(12345)) == 12345
    for other in ("abc", "a.b.c", "a.e30.c", ""):
        assert ends_at(other) is None


@pytest.mark.parametrize(
    "claims",
    [
        b'{"exp": 1e400}',
        b'{"exp": ' + b"9" * 400 + b"}",
        b'{"exp": -1}',
        b'{"exp": "nan"}',
        b'{"exp": "1e999"}',
        b'{"exp": {"a": 1}}',
        b'{"exp": null}',
        b"{}",
        b"[1]",
        b"7",
        b'{"exp": \xff}',
        b'{"exp":' + b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
)
def test_an_end_that_cannot_be_is_not_believed(claims: bytes) -> None:
    token = f"eyJhbGciOiJub25lIn0.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.sig"
    assert ends_at(token) is None
    clock = Clock()
    tokens, calls = source(clock, token)

    async def work() -> None:
        for passed in (0.0, UNKNOWN - 1, 2.0):
            clock.now += passed
            assert await tokens.get() == token
        assert len(calls) == 2

    asyncio.run(work())


@pytest.mark.parametrize("field", ["expires_on", "expires_in", "expiresOn"])
@pytest.mark.parametrize("value", [1e308, -5, "nan", "1e999", "0001-01-01", "9999-12-31T23:59:59", [1], {"a": 1}, True])
def test_nor_one_in_json(field: str, value: object) -> None:
    tokens, _ = source(Clock(), json.dumps({"token": "t1", field: value}))
    assert asyncio.run(tokens.get()) == "t1"


@pytest.mark.parametrize(
    "printed", ['{"token": ["t"]}', '{"token": 5}', '{"a":' * 100_000, "t\x00t", "t\nt", "{" + "[" * 999]
)
def test_what_is_no_text_is_no_token(printed: str) -> None:
    tokens, _ = source(Clock(), printed)
    with pytest.raises(AuthenticationFailed, match=r"not a token|neither a token nor JSON"):
        asyncio.run(tokens.get())


def python(code: str) -> list[str]:
    return [sys.executable, "-c", f"import base64, os, signal, sys, time\n{code}"]


TOKEN = "ya29.Opaque" + "aB3" * 20


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("sys.stdout.buffer.write(b'\\xff\\xfe\\x00')", "not a token"),
        ("[sys.stdout.write('x' * 65536) for _ in iter(int, 1)]", "more than 64 KiB"),
        ("os.kill(os.getpid(), signal.SIGTERM)", "killed by signal 15"),
        ("time.sleep(3600)", "no token within"),
        (f"sys.exit(base64.b64encode(b'{TOKEN}').decode())", r"exited with code 1 \(\[key\]\)"),
        (f"sys.exit('no: ' + b'{TOKEN}'.hex())", r"exited with code 1 \(no: \[key\]\)"),
        (f"print('{TOKEN}'); sys.exit('got {TOKEN[:20]}')", r"exited with code 1 \(got \[key\]\)"),
        ("sys.exit('AADSTS700082, trace 5f0b1c3e-1234-4abc-9def-0123456789ab')", "trace 5f0b1c3e-1234-4abc-9def"),
    ],
)
def test_commands_that_go_wrong_end_in_an_error_that_says_how(code: str, why: str) -> None:
    with pytest.raises(AuthenticationFailed, match=why) as caught:
        print(run(python(code), patience=2.0 if "sleep" in code else 600.0))
    assert TOKEN[:12] not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="fork")
def test_a_process_that_a_command_leaves_running_keeps_nobody_waiting() -> None:
    code = "print('token', os.fork() or time.sleep(3600) or '', flush=True)"
    token, child = run(python(code)).split()
    os.kill(int(child), signal.SIGKILL)
    assert token == "token"


def test_programs_that_cannot_be_run_are_named(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for argv in (["/nowhere/to/be/found"], [str(tmp_path / "text")], [str(tmp_path)], ["a\0b"]):
        with pytest.raises(AuthenticationFailed, match="can't get a token from the command"):
            run(argv)


def test_a_command_does_not_see_the_other_sides_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_SRC_API_KEY", "OPENAI_DST_API_KEY", "DST_PROJECT_API_KEY"):
        monkeypatch.setenv(name, "sk-0001")
    code = "print(*(name for name in os.environ if name.endswith('_API_KEY')))"
    assert run(python(code), side="source").split() == ["OPENAI_SRC_API_KEY"]
    assert set(run(python(code), side="destination").split()) == {"OPENAI_DST_API_KEY", "DST_PROJECT_API_KEY"}
