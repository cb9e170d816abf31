"""An answer on its way out, and what a fault does to it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec
from starlette.types import Message, Send

from holdall.sandbox.behaviour import (
    CutBody,
    Doubled,
    Fail,
    Fault,
    Gone,
    NoQuota,
    RateLimit,
    Reset,
    Slow,
    Stall,
    WrongLength,
)
from holdall.sandbox.service.api_errors import ApiError, not_found, server_error
from holdall.sandbox.service.door import Noting, respond

_HTML = (
    b"<html>\r\n<head><title>%d</title></head>\r\n<body>\r\n<center><h1>%d</h1></center>\r\n"
    b"<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
)


class FaultyAnswer:
    """Passes an answer on; the fault is done to it on its way."""

    def __init__(self, send: Send, fault: Fault, note: Noting, cleared: threading.Event) -> None:
        self._send = send
        self._fault = fault
        self._note = note
        self._cleared = cleared
        self.is_lost = False
        """Whether the client has to find out that nothing more comes."""
        self._left = fault.after if isinstance(fault, CutBody | Stall) else 0
        self._swallowed: list[Message] = []

    async def send(self, message: Message) -> None:
        match self._fault:
            case Reset() | Fail():
                self.is_lost = True
            case CutBody() | Stall():
                await self._cut(message)
            case Slow(seconds=seconds) if message["type"] == "http.response.start":
                self._note(message["status"], executed=True)
                await self._hold(seconds)
                await self._send(message)
            case WrongLength(missing=missing):
                await self._changed(message, lambda body: body[: max(0, len(body) - missing)])
            case Doubled():
                await self._changed(message, _doubled)
            case _:
                await self._send(message)

    async def _hold(self, seconds: float) -> None:
        """Wait for so long, or until the faults are cleared."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0 and not self._cleared.is_set():
            await asyncio.sleep(min(left, 0.02))

    async def _cut(self, message: Message) -> None:
        if self.is_lost:
            return
        if message["type"] == "http.response.start":
            await self._send(message)
            return
        body: bytes = message.get("body", b"")
        if message.get("more_body") and len(body) < self._left:
            self._left -= len(body)
            await self._send(message)
            return
        # Never as the last piece: the server would notice the missing bytes itself.
        part = body[: min(self._left, max(0, len(body) - 1))]
        await self._send({"type": "http.response.body", "body": part, "more_body": True})
        self.is_lost = True

    async def _changed(self, message: Message, change: Callable[[bytes], bytes]) -> None:
        """Hold the answer until it is whole, and send another body with the length that it has."""
        self._swallowed.append(message)
        if message.get("more_body") or message["type"] == "http.response.start":
            return
        body = change(b"".join(each.get("body", b"") for each in self._swallowed))
        start = self._swallowed[0]
        headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        await self._send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
        await self._send({"type": "http.response.body", "body": body})


def _doubled(body: bytes) -> bytes:
    found: Any = msgspec.json.decode(body)
    if isinstance(found, dict) and isinstance(found.get("data"), list):
        found["data"] = [each for each in found["data"] for _ in range(2)]
    return msgspec.json.encode(found)


def refusal_of(fault: Fault, path: str) -> ApiError | None:
    """The refusal that a fault is, where it is one."""
    match fault:
        case RateLimit():
            return ApiError(
                429,
                "Rate limit reached for requests. Please try again later. Visit "
                "https://platform.openai.com/account/rate-limits to learn more.",
                kind="requests",
                code="rate_limit_exceeded",
                headers=_when(fault),
            )
        case NoQuota():
            return ApiError(
                429,
                "You exceeded your current quota, please check your plan and billing details. For more information on "
                "this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
                kind="insufficient_quota",
                code="insufficient_quota",
            )
        case Gone():
            return not_found(f"No such object: {path.rpartition('/')[2]}", "id")
    return None


def _when(fault: RateLimit) -> dict[str, str]:
    if fault.retry_after is None:
        return {}
    milliseconds = f"{fault.retry_after * 1000:.0f}"
    match fault.header:
        case "retry-after":
            return {"retry-after": f"{fault.retry_after:g}"}
        case "retry-after-ms":
            return {"retry-after-ms": milliseconds}
        case "x-ratelimit-reset":
            return {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": f"{milliseconds}ms"}


async def fail(send: Send, fault: Fail) -> None:
    if fault.html:
        await respond(send, fault.status, _HTML % (fault.status, fault.status), [("content-type", "text/html")])
    else:
        await respond(send, fault.status, server_error(fault.status).body(), ())
