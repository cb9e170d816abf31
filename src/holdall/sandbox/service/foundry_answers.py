"""Answers as Foundry gives them: without OpenAI's headers, and errors in Azure's form."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
from starlette.types import Message, Send

from holdall.sandbox.service.service import ApiSurface

# Refusals that Azure words otherwise: code -> status and code.
_CODES = {"file_too_large": (400, "file_size_exceeded")}

# What a refusal of Foundry's own paths is called that has no code, or one of OpenAI's.
_OWN_CODES = {400: "invalid_parameters", 404: "not_found", 405: "method_not_allowed"}
_FOUNDRY_CODES = frozenset(["UserError", "conflict", "tool_limit_exceeded", "DeploymentNotFound", "invalid_payload"])


def error_body(code: str, message: str) -> dict[str, Any]:
    """The least that an error says."""
    return {"error": {"code": code, "message": message}}


async def respond(send: Send, status: int, body: Any) -> None:
    """A whole answer of JSON."""
    data = msgspec.json.encode(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data})


class FoundryAnswer:
    """Passes an answer on, its error reworded; ``is_own`` where it is of one of Foundry's own paths."""

    def __init__(self, send: Send, surface: ApiSurface, *, is_own: bool) -> None:
        self._send = send
        self._surface = surface
        self._is_own = is_own
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
        # A proxy's page, or an oddity's, stays as it is.
        with contextlib.suppress(msgspec.DecodeError, KeyError, TypeError):
            body = msgspec.json.encode(self._reworded(msgspec.json.decode(body)["error"]))
        headers = [each for each in self._headers if each[0] != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        await self._send({"type": "http.response.start", "status": self._status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})

    def _reworded(self, error: dict[str, Any]) -> dict[str, Any]:
        code, message = error["code"], error["message"]
        if self._surface is ApiSurface.CLASSIC:
            return error_body(code or str(self._status), message)
        self._status, code = _CODES.get(code, (self._status, code))
        if self._is_own and self._status in _OWN_CODES and code not in _FOUNDRY_CODES:
            code = _OWN_CODES[self._status]
        request = dict(self._headers).get(b"x-request-id", b"").decode("latin-1")
        made = error_body(code or str(self._status), message)
        made["error"] |= {
            "param": error["param"],
            "type": error["type"],
            "details": [],
            "additionalInfo": {"request_id": request},
        }
        return made
