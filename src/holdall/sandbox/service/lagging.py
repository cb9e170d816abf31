"""Lists and objects that lag behind what was created, by the sandbox's clock."""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdall.sandbox.service.api_errors import not_found
from holdall.sandbox.service.service import Service

_JSON = b"application/json"
_OBJECTS = ("/v1/files", "/v1/vector_stores", "/v1/assistants", "/v1/agents", "/v1/skills")


class Lagging:
    """ASGI: an application whose objects show only after ``Switches.visible_after`` seconds."""

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


def _created(record: dict[str, Any]) -> float:
    """When something was created; a Foundry agent says it of its versions only."""
    if record.get("object") == "agent" and "versions" in record:
        latest = record["versions"]["latest"]
        # The first version makes the agent.
        record = latest if latest["version"] == "1" else {}
    created: float = record.get("created_at", 0)
    return created


def _behind(status: int, body: bytes, *, since: float) -> tuple[int, bytes]:
    """An answer without what was created after ``since``."""
    found: Any = msgspec.json.decode(body)
    if status != 200 or not isinstance(found, dict):
        return status, body
    if isinstance(found.get("data"), list):
        data = [each for each in found["data"] if _created(each) <= since]
        if len(data) < len(found["data"]):
            # Pages of Foundry's agents go by names.
            ids = [each["name"] if "versions" in each else each["id"] for each in data]
            ends = {"first_id": ids[0] if ids else None, "last_id": ids[-1] if ids else None}
            # What is hidden is the newest, which in ascending order is all that would follow.
            found |= {"data": data, **ends, "has_more": found["has_more"] and bool(ids)}
    elif _created(found) > since:
        missing = not_found(f"No object found with id '{found.get('id')}'.")
        return missing.status, missing.body()
    return status, msgspec.json.encode(found)
