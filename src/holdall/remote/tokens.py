"""Bearer tokens that a command prints, for accounts whose keys last an hour: run again before the token ends.

The command's output is a token alone, or the JSON that cloud command lines print (``accessToken``, ``access_token`` or
``token``, with ``expires_on``, ``expiresOn`` or ``expires_in``). When a token ends is read from that JSON or from the
token itself where it is a JWT; where neither tells, it is taken for old after five minutes.
"""

from __future__ import annotations

import asyncio
import base64
import subprocess
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from holdall.errors import AuthenticationFailed, exhausted
from holdall.remote import faults

__all__ = ["TokenCommand", "ends_at", "run"]

EARLY = 120.0
"""Seconds before its end from which a token isn't used any more."""

UNKNOWN = 300.0
"""Seconds for which a token is used where nothing tells when it ends."""

_PATIENCE = 60.0


class TokenCommand:
    """The token of an account, as its command prints it. ``clock`` gives Unix seconds."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        clock: Callable[[], float],
        run: Callable[[Sequence[str]], str],
    ) -> None:
        self._argv, self._clock, self._run = list(argv), clock, run
        self._lock = asyncio.Lock()
        self._token = ""
        self._until = 0.0

    @property
    def token(self) -> str:
        """The newest token, for taking it out of messages; empty before the first use."""
        return self._token

    async def get(self) -> str:
        """A token that is good for a while. Raises AuthenticationFailed where the command gives none."""
        async with self._lock:
            if self._clock() >= self._until:
                printed = await asyncio.to_thread(self._run, self._argv)
                self._token, ends = _read(printed, self._argv[0], self._clock())
                self._until = ends - EARLY if ends is not None else self._clock() + UNKNOWN
            return self._token

    def forget(self, token: str) -> None:
        """The server refused ``token``: the next ``get`` runs the command again."""
        if token == self._token:
            self._until = 0.0


def run(argv: Sequence[str]) -> str:
    """What the command prints. No shell is between; its own prompts go to the terminal."""
    name = argv[0]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    except FileNotFoundError:
        raise _failed(name, "there is no such program") from None
    except subprocess.TimeoutExpired:
        raise _failed(name, f"it printed no token within {_PATIENCE:.0f} s") from None
    except OSError as error:
        raise exhausted(error) or _failed(name, error.strerror or str(error)) from None
    if done.returncode:
        said = faults.redacted(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "")
        raise _failed(name, f"it ended with {done.returncode}{f' ({said[:200]})' if said else ''}")
    return done.stdout


def _failed(name: str, why: str) -> AuthenticationFailed:
    return AuthenticationFailed(
        f"can't get a token from the command {name}: {why}", hint="run the command by hand: it has to print a token"
    )


def _read(printed: str, name: str, now: float) -> tuple[str, float | None]:
    text = printed.strip()
    ends: float | None = None
    if text.startswith("{"):
        try:
            fields: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.DecodeError:
            raise _failed(name, "it printed something that is neither a token nor JSON") from None
        text = str(next((fields[key] for key in ("accessToken", "access_token", "token") if fields.get(key)), ""))
        ends = _told(fields, now)
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise _failed(name, "what it printed is no token")
    return text, ends if ends is not None else ends_at(text)


def _told(fields: dict[str, Any], now: float) -> float | None:
    try:
        if fields.get("expires_on"):
            return float(fields["expires_on"])
        if fields.get("expires_in"):
            return now + float(fields["expires_in"])
        if fields.get("expiresOn"):
            return datetime.fromisoformat(str(fields["expiresOn"])).timestamp()
    except ValueError:
        pass
    return None


def ends_at(token: str) -> float | None:
    """When a JWT says that it ends (its ``exp``), in Unix seconds; None for any other token."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (ValueError, TypeError, KeyError, msgspec.DecodeError):
        return None
