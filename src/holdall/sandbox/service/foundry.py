"""The sandbox as Azure AI Foundry "Agents (classic)": another address, another key, other words; the rest is the same.

Every request names its project in the path and an API version in the query, and carries an Entra token. Behind this
door it is a request like any other, made with a key that stands for the project.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdall.sandbox.entra import expiry
from holdall.sandbox.service.service import Logged, Service

_PATH = re.compile(r"/api/projects/(?P<project>[^/]+)(?P<rest>/(assistants|files|vector_stores|deployments)(/.*)?)")
_VERSION = re.compile(r"v1|\d{4}-\d{2}-\d{2}(-preview)?")


class _Wrong(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class Foundry:
    """ASGI: where the sandbox stands as Foundry, the only way in; where it doesn't, not in the way."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._service.behaviour.foundry or scope["path"].startswith("/_sandbox"):
            await self._app(scope, receive, send)
            return
        try:
            project, rest = self._checked(scope)
        except _Wrong as wrong:
            self._log(scope, wrong.status)
            await _respond(send, wrong.status, _error(wrong.code, wrong.message))
            return
        if rest == "/deployments":
            self._log(scope, 200)
            await _respond(send, 200, {"value": [_deployment(name) for name in self._service.behaviour.deployments]})
            return
        key = hashlib.sha256(project.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        hidden = (b"authorization", b"openai-organization", b"openai-project", b"openai-beta")
        headers = [(name, value) for name, value in scope["headers"] if name not in hidden]
        headers += [(b"authorization", f"Bearer sk-foundry-{key}".encode()), (b"openai-beta", b"assistants=v2")]
        answer = _Answer(send)
        await self._app({**scope, "path": f"/v1{rest}", "headers": headers}, receive, answer.send)

    def _log(self, scope: Scope, status: int) -> None:
        """What is answered here is seen by no other log."""
        query = scope["query_string"].decode("latin-1")
        self._service.log.append(
            Logged(
                method=scope["method"],
                path=scope["path"],
                query=query,
                status=status,
                project=None,
                executed=False,
            )
        )

    def _checked(self, scope: Scope) -> tuple[str, str]:
        """(project, the path in it); raises what is wrong with the request."""
        headers = dict(scope["headers"])
        scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        ends = expiry(token.strip()) if scheme.lower() == "bearer" else None
        if ends is None:
            raise _Wrong(401, "401", "Access token is missing or invalid.")
        if ends <= self._service.clock():
            raise _Wrong(401, "401", "Access token has expired.")
        found = _PATH.fullmatch(scope["path"])
        if found is None:
            raise _Wrong(404, "404", "Resource not found")
        version = parse_qs(scope["query_string"].decode("latin-1")).get("api-version")
        if not version:
            raise _Wrong(400, "BadRequest", "Missing required query parameter: api-version")
        if not _VERSION.fullmatch(version[0]):
            raise _Wrong(400, "BadRequest", "API version not supported")
        return found["project"], found["rest"]


def _deployment(name: str) -> dict[str, Any]:
    return {
        "type": "ModelDeployment",
        "name": name,
        "modelName": name,
        "modelVersion": "1",
        "modelPublisher": "OpenAI",
        "capabilities": {"assistants": "true", "chat_completion": "true"},
        "sku": {"name": "GlobalStandard", "capacity": 50},
    }


def _error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


async def _respond(send: Send, status: int, body: Any) -> None:
    data = msgspec.json.encode(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


class _Answer:
    """Passes an answer on without OpenAI's headers, and an error in Azure's form."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._error = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = [each for each in message["headers"] if not each[0].startswith(b"openai-")]
            if self._status < 400:
                await self._send({**message, "headers": self._headers})
        elif self._status < 400:
            await self._send(message)
        else:
            self._error += message.get("body", b"")
            if not message.get("more_body"):
                await self._send_error()

    async def _send_error(self) -> None:
        body = self._error
        try:
            error = msgspec.json.decode(body)["error"]
            body = msgspec.json.encode(_error(error["code"] or str(self._status), error["message"]))
        except (msgspec.DecodeError, KeyError, TypeError):
            pass  # a proxy's page, or an oddity's: as it is
        headers = [each for each in self._headers if each[0] != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await self._send({"type": "http.response.start", "status": self._status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})
