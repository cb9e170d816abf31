"""The control endpoint ``/_sandbox``: change the behaviour of a running sandbox and read its request log, over HTTP.

For tests and rehearsals that run the sandbox in a process of its own. It asks for no key, so it is only there when
whoever started the sandbox asked for it.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from holdall.sandbox.behaviour import Behaviour, FaultRule
from holdall.sandbox.faults.fault_rules import Faults
from holdall.sandbox.service import serve_files, serve_templates
from holdall.sandbox.service.api_errors import ApiError
from holdall.sandbox.service.body_shapes import decoded
from holdall.sandbox.service.service import Service

T = TypeVar("T")


class _Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    key: str


class _Purpose(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    file_id: str
    purpose: str


async def _body(request: Request, type_: type[T]) -> T:
    # A page can send a form anywhere, and not JSON: for that its browser asks first, and gets no permission here.
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "The control endpoint accepts JSON only: send Content-Type: application/json.")
    return msgspec.convert(decoded(await request.body()), type_)


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def routes(service: Service, rules: Faults) -> list[Route]:
    """The control endpoint's routes, for a Starlette application."""

    async def requests(request: Request) -> Response:
        if request.method == "DELETE":
            service.log.clear()
        entries = list(service.log)
        return _json({"requests": entries, "writes": sum(entry.is_write for entry in entries)})

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            rules.clear()
        else:
            rules.add(await _body(request, FaultRule))
        return _json({})

    async def behaviour(request: Request) -> Response:
        if request.method == "POST":
            changes = await _body(request, dict[str, Any])
            service.behaviour = msgspec.convert(
                {**msgspec.structs.asdict(service.behaviour), **changes}, type=Behaviour
            )
        return _json(service.behaviour)

    async def revoke(request: Request) -> Response:
        asked = await _body(request, _Key)
        await service.writing(service.identity.revoke, asked.key)
        return _json({})

    async def purpose(request: Request) -> Response:
        asked = await _body(request, _Purpose)
        done = await service.writing(serve_files.give_purpose, service, asked.file_id, asked.purpose)
        return _json({}, 200 if done else 404)

    async def template(request: Request) -> Response:
        found = await service.reading(serve_templates.stored, service, request.path_params["template"])
        return _json(found or {}, 200 if found else 404)

    return [
        Route("/_sandbox/requests", requests, methods=["GET", "DELETE"]),
        Route("/_sandbox/faults", faults, methods=["POST", "DELETE"]),
        Route("/_sandbox/behaviour", behaviour, methods=["GET", "POST"]),
        Route("/_sandbox/revoke", revoke, methods=["POST"]),
        Route("/_sandbox/purpose", purpose, methods=["POST"]),
        Route("/_sandbox/templates/{template}", template, methods=["GET"]),
    ]


async def refused(request: Request, error: Exception) -> Response:
    """What a request gets that the control endpoint can't read."""
    if isinstance(error, ApiError):
        return Response(error.body(), error.status, media_type="application/json")
    return _json({"error": str(error)}, 400)
