"""Servers that are behind: requests carried out long after their connection was cut, and lists that lag.

Both go by the sandbox's clock. Nothing runs in the background: what is due is carried out when the next request comes,
before that is answered, so nobody can tell the difference.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdall.sandbox.service.api_errors import not_found
from holdall.sandbox.service.service import Logged, Service

__all__ = ["Lagging", "Postponed"]

_JSON = b"application/json"
_OBJECTS = ("/v1/files", "/v1/vector_stores", "/v1/assistants", "/v1/agents")


class Postponed:
    """Requests that are carried out later, in the order in which they fall due."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service
        self._waiting: list[tuple[float, Scope, list[Message]]] = []
        self._running = asyncio.Lock()

    async def add(self, scope: Scope, receive: Receive, *, seconds: float) -> None:
        """Take a request in whole, to be carried out in so many seconds."""
        messages: list[Message] = []
        while True:
            messages.append(await receive())
            if messages[-1]["type"] != "http.request" or not messages[-1].get("more_body"):
                break
        self._waiting.append((self._service.clock() + seconds, scope, messages))
        self._waiting.sort(key=lambda each: each[0])

    async def run_due(self) -> None:
        """Carry out what is due; every request that comes meanwhile waits for it too."""
        if not self._waiting and not self._running.locked():
            return
        async with self._running:
            while self._waiting and self._waiting[0][0] <= self._service.clock():
                _, scope, messages = self._waiting.pop(0)
                await self._run(scope, messages)

    async def _run(self, scope: Scope, messages: list[Message]) -> None:
        async def receive() -> Message:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._service.log.append(
                    Logged(
                        method=scope["method"],
                        path=scope["path"],
                        query=scope["query_string"].decode("latin-1"),
                        status=message["status"],
                        project=scope["state"]["project"],
                        executed=True,
                    )
                )

        await self._app(scope, receive, send)


class Lagging:
    """ASGI: an application whose objects show only after ``Behaviour.visible_after`` seconds."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        lag = self._service.behaviour.visible_after
        if not lag or scope["method"] != "GET" or not scope["path"].startswith(_OBJECTS):
            await self._app(scope, receive, send)
            return
        start: Message = {}
        body = b""

        async def held(message: Message) -> None:
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                if not _is_json(start):
                    await send(message)
            elif not _is_json(start):
                await send(message)
            else:
                body += message.get("body", b"")

        await self._app(scope, receive, held)
        if not _is_json(start):
            return
        status, body = _behind(start["status"], body, since=self._service.clock() - lag)
        headers = [(name, value) for name, value in start["headers"] if name != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await send({**start, "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def _is_json(start: Message) -> bool:
    return bool(dict(start["headers"]).get(b"content-type", b"").startswith(_JSON))


def _behind(status: int, body: bytes, *, since: float) -> tuple[int, bytes]:
    """An answer without what was created after ``since``."""
    found: Any = msgspec.json.decode(body)
    if status != 200 or not isinstance(found, dict):
        return status, body
    if found.get("object") == "list":
        data = [each for each in found["data"] if each.get("created_at", 0) <= since]
        if len(data) < len(found["data"]):
            ids = [each["id"] for each in data]
            ends = {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}
            # What is hidden is the newest, which in ascending order is all that would follow.
            found |= {"data": data, **ends, "has_more": found["has_more"] and bool(ids)}
    elif found.get("created_at", 0) > since:
        missing = not_found(f"No object found with id '{found.get('id')}'.")
        return missing.status, missing.body()
    return status, msgspec.json.encode(found)
