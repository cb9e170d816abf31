"""Bearer tokens from a command, for accounts with short-lived keys. The command is rerun before a token expires.

The command's output is a token alone, or the JSON that cloud command lines print (``accessToken``, ``access_token`` or
``token``, with ``expires_on``, ``expiresOn`` or ``expires_in``). The expiry is read from that JSON, or from the token
if it is a JWT; else a token is used for five minutes.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import IO, Any

from holdall.errors import AuthenticationFailed, exhausted
from holdall.redaction import MARK, redacted
from holdall.untrusted import read_as
from holdall.variables import KEYS_OF

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

    def __init__(self, argv: Sequence[str], *, clock: Callable[[], float], run: Callable[[Sequence[str]], str]) -> None:
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
        """A token that isn't about to expire. Raises AuthenticationFailed if the command gives none."""
        async with self._lock:
            if self._clock() >= self._until:
                printed = await asyncio.to_thread(self._run, self._argv)
                token, ends = _read(printed, self._argv, self._clock())
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
    code, printed, said = _ended(argv, side, patience)
    if len(printed) > _LONGEST:
        raise _failed(argv, f"it printed more than {_LONGEST >> 10} KiB")
    if code:
        *_, last = ["", *said.decode("utf-8", "replace").strip().splitlines()]
        why = _OPAQUE.sub(MARK, redacted(last[:2000], printed.decode("utf-8", "replace").strip()))[:200]
        ended = f"it exited with code {code}" if code > 0 else f"it was killed by signal {-code}"
        raise _failed(argv, f"{ended}{f' ({why})' if why else ''}")
    try:
        return printed.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _failed(argv, "its output is not a token") from None


_OTHER = {"source": "DST", "destination": "SRC"}


def _ended(argv: Sequence[str], side: str, patience: float) -> tuple[int, bytes, bytes]:
    """The command's exit code, and the beginnings of what it printed on stdout and stderr."""
    environment = {key: value for key, value in os.environ.items() if key not in KEYS_OF.get(_OTHER.get(side, ""), ())}
    try:
        process = subprocess.Popen(
            [_program(argv), *argv[1:]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
    except FileNotFoundError:
        raise _failed(argv, "no such program") from None
    except (OSError, ValueError) as error:
        raise exhausted(error) or _failed(argv, getattr(error, "strerror", None) or str(error)) from None
    assert process.stdout
    assert process.stderr
    printed, said = _Output(process.stdout, process), _Output(process.stderr, process)
    try:
        code = process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise _failed(argv, f"it printed no token within {patience:.0f} s") from None
    return code, printed.beginning(), said.beginning()


def _program(argv: Sequence[str]) -> str:
    """The file to run. Windows by itself finds only ``.exe``; of cloud command lines some are a ``.cmd``."""
    name = argv[0]
    found = shutil.which(name)
    # Windows looks into the current folder first. Whoever leaves a program there must not have it run.
    if found and sys.platform == "win32" and os.path.basename(name) == name and os.path.dirname(found) in ("", "."):
        raise _failed(argv, "Windows would run the one in the current folder; use its full path")
    return found or name


class _Output:
    """The first 64 KiB that a process prints, read on a thread of its own; a process that prints more is killed."""

    def __init__(self, pipe: IO[bytes], process: subprocess.Popen[bytes]) -> None:
        self._pipe, self._process = pipe, process
        self._pieces: list[bytes] = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        size = 0
        with self._pipe:
            while size <= _LONGEST and (piece := os.read(self._pipe.fileno(), _LONGEST)):
                self._pieces.append(piece)
                size += len(piece)
        if size > _LONGEST:
            self._process.kill()

    def beginning(self) -> bytes:
        """What was printed, once the process has ended."""
        # Not for ever: a process that it left behind may hold the pipe open.
        self._thread.join(_LINGER)
        return b"".join(self._pieces)


def _failed(argv: Sequence[str], why: str) -> AuthenticationFailed:
    return AuthenticationFailed(
        f"can't get a token from the command {redacted(argv[0])}: {why}",
        hint="run the command by hand; it must print a token",
    )


def _read(printed: str, argv: Sequence[str], now: float) -> tuple[str, float | None]:
    """A token, and the moment at which it ends where that is told."""
    text: object = printed.strip()
    ends: float | None = None
    if printed.lstrip().startswith("{"):
        try:
            fields = read_as(printed.encode(), dict[str, Any])
        except ValueError:
            raise _failed(argv, "its output is neither a token nor JSON") from None
        text = next((fields[key] for key in ("accessToken", "access_token", "token") if fields.get(key)), "")
        ends = _expiry(fields, now)
    if not isinstance(text, str) or not text or not text.isascii() or not text.isprintable() or " " in text:
        raise _failed(argv, "its output is not a token")
    return text, ends if ends is not None else ends_at(text)


def _expiry(fields: dict[str, Any], now: float) -> float | None:
    if fields.get("expires_on"):
        return _timestamp(fields["expires_on"])
    if fields.get("expires_in"):
        return _timestamp(fields["expires_in"], since=now)
    with suppress(ValueError, OverflowError, OSError):
        return _timestamp(datetime.fromisoformat(str(fields.get("expiresOn"))).timestamp())
    return None


def _timestamp(value: object, since: float = 0.0) -> float | None:
    """Unix seconds; None for anything else."""
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
    # A token of three parts need not be a JWT.
    with suppress(ValueError):
        claims = read_as(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)), dict[str, Any])
        return _timestamp(claims.get("exp"))
    return None
