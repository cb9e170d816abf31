"""Bearer tokens that a command prints, for accounts whose keys last an hour: run again before the token ends.

The command's output is a token alone, or the JSON that cloud command lines print (``accessToken``, ``access_token`` or
``token``, with ``expires_on``, ``expiresOn`` or ``expires_in``). When a token ends is read from that JSON or from the
token itself where it is a JWT; where neither tells, it is taken for old after five minutes.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import subprocess
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import IO, Any

import msgspec

from holdall.errors import AuthenticationFailed
from holdall.redaction import MARK
from holdall.remote import faults
from holdall.shortage import exhausted
from holdall.untrusted import require_plain
from holdall.variables import KEYS_OF

__all__ = ["TokenCommand", "ends_at", "run"]

EARLY = 120.0
"""Seconds before its end from which a token isn't used any more."""

UNKNOWN = 300.0
"""Seconds for which a token is used where nothing tells when it ends."""

_PATIENCE = 60.0


_ENDLESS = 1e11
"""Seconds since 1970 that are no moment at which a token ends."""

_LONGEST = 1 << 16
"""Bytes of output that may be a token. The same of what the command says on stderr is read."""

_RECENT = 3
_LINGER = 1.0

# What sentences don't have, in whatever encoding a token may be: but for the ids of requests, with their dashes.
_LETTERS = r"[A-Za-z0-9+/=_%-]"
_OPAQUE = re.compile(
    rf"(?<!{_LETTERS})(?![0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}(?!{_LETTERS}))"
    rf"(?={_LETTERS}*?[0-9])(?={_LETTERS}*?[A-Fa-f]){_LETTERS}{{24,}}+"
)


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
        self.recent: tuple[str, ...] = ()
        """The last tokens, the newest first, for taking them out of messages; none before the first use."""
        self._until = 0.0

    @property
    def token(self) -> str:
        """The newest token; empty before the first use."""
        return self.recent[0] if self.recent else ""

    async def get(self) -> str:
        """A token that is good for a while. Raises AuthenticationFailed where the command gives none."""
        async with self._lock:
            if self._clock() >= self._until:
                printed = await asyncio.to_thread(self._run, self._argv)
                token, ends = _read(printed, self._argv[0], self._clock())
                self.recent = tuple(dict.fromkeys((token, *self.recent)))[:_RECENT]
                self._until = ends - EARLY if ends is not None else self._clock() + UNKNOWN
            return self.token

    def forget(self, token: str) -> None:
        """The server refused ``token``: the next ``get`` runs the command again."""
        if token == self.token:
            self._until = 0.0


def run(argv: Sequence[str], *, side: str = "", patience: float = _PATIENCE) -> str:
    """What the command prints. No shell is between; its own prompts go to the terminal.

    It doesn't see the other side's key. What it leaves running keeps nobody waiting. Raises AuthenticationFailed where
    it can't be started, fails, prints more than 64 KiB or no UTF-8, or has not ended after ``patience`` seconds.
    """
    name = faults.redacted(argv[0])
    environment = {key: value for key, value in os.environ.items() if key not in KEYS_OF.get(_OTHER.get(side, ""), ())}
    try:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    except FileNotFoundError:
        raise _failed(name, "there is no such program") from None
    except (OSError, ValueError) as error:
        raise exhausted(error) or _failed(name, getattr(error, "strerror", None) or str(error)) from None
    heard = [_Heard(pipe, process) for pipe in (process.stdout, process.stderr) if pipe]
    try:
        code = process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise _failed(name, f"it printed no token within {patience:.0f} s") from None
    printed, said = (each.all() for each in heard)
    if len(printed) > _LONGEST:
        raise _failed(name, f"it printed more than {_LONGEST >> 10} KiB")
    if code:
        *_, last = ["", *said.decode("utf-8", "replace").strip().splitlines()]
        why = _OPAQUE.sub(MARK, faults.redacted(last[:2000], printed.decode("utf-8", "replace").strip()))[:200]
        ended = f"it ended with {code}" if code > 0 else f"it was ended by signal {-code}"
        raise _failed(name, f"{ended}{f' ({why})' if why else ''}")
    try:
        return printed.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _failed(name, "what it printed is no token") from None


_OTHER = {"source": "DST", "destination": "SRC"}


class _Heard:
    """The beginning of what a process prints, read on a thread of its own; one that prints on and on is ended."""

    def __init__(self, pipe: IO[bytes], process: subprocess.Popen[bytes]) -> None:
        self._pipe, self._process = pipe, process
        self._pieces: list[bytes] = []
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        size = 0
        with self._pipe:
            while size <= _LONGEST and (piece := os.read(self._pipe.fileno(), _LONGEST)):
                self._pieces.append(piece)
                size += len(piece)
        if size > _LONGEST:
            self._process.kill()

    def all(self) -> bytes:
        """What was printed, once the process has ended: another one that it left may hold the pipe open."""
        self._thread.join(_LINGER)
        return b"".join(self._pieces)


def _failed(name: str, why: str) -> AuthenticationFailed:
    return AuthenticationFailed(
        f"can't get a token from the command {name}: {why}", hint="run the command by hand: it has to print a token"
    )


def _read(printed: str, name: str, now: float) -> tuple[str, float | None]:
    name = faults.redacted(name)
    text: object = printed.strip()
    ends: float | None = None
    if printed.lstrip().startswith("{"):
        fields = _object(printed.encode())
        if fields is None:
            raise _failed(name, "it printed something that is neither a token nor JSON")
        text = next((fields[key] for key in ("accessToken", "access_token", "token") if fields.get(key)), "")
        ends = _told(fields, now)
    if not isinstance(text, str) or not text or not text.isascii() or not text.isprintable() or " " in text:
        raise _failed(name, "what it printed is no token")
    return text, ends if ends is not None else ends_at(text)


def _object(raw: bytes) -> dict[str, Any] | None:
    """A JSON object; None for anything else."""
    try:
        require_plain(raw)
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (ValueError, msgspec.MsgspecError):
        return None


def _told(fields: dict[str, Any], now: float) -> float | None:
    if fields.get("expires_on"):
        return _moment(fields["expires_on"])
    if fields.get("expires_in"):
        return _moment(fields["expires_in"], since=now)
    if fields.get("expiresOn"):
        try:
            return _moment(datetime.fromisoformat(str(fields["expiresOn"])).timestamp())
        except (ValueError, OverflowError, OSError):
            return None
    return None


def _moment(value: object, since: float = 0.0) -> float | None:
    """Unix seconds; None for what is no moment."""
    try:
        seconds = since + float(value)  # type: ignore[arg-type]  # TypeError, of lists and objects
    except (ValueError, TypeError, OverflowError):
        return None
    return seconds if 0 < seconds < _ENDLESS else None  # nor is NaN one


def ends_at(token: str) -> float | None:
    """When a JWT says that it ends (its ``exp``), in Unix seconds; None for any other token."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = _object(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:
        return None
    return _moment(claims["exp"]) if claims and "exp" in claims else None
