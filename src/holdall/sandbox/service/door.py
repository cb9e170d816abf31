"""The door that every request passes: who it is, the headers of its answer, the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdall.sandbox.service.api_errors import ApiError
from holdall.sandbox.service.identity import Project
from holdall.sandbox.service.service import ApiSurface, Logged, Service


class Noting(Protocol):
    """What logs a request: in ``scope["state"]["note"]``, for those who answer otherwise than by ``send``."""

    def __call__(self, status: int, *, executed: bool) -> None: ...


class Door:
    """ASGI: everything below ``/v1`` goes through here, the rest to ``outside``.

    Whoever comes behind it finds in ``scope["state"]`` the ``project`` and the ``note``, and leaves there in
    ``executed`` that the endpoint did not run.
    """

    def __init__(self, app: ASGIApp, outside: ASGIApp, service: Service) -> None:
        self._app = app
        self._outside = outside
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].startswith("/v1/"):
            await self._outside(scope, receive, send)
            return
        started = time.perf_counter()
        project: Project | None = None
        is_noted = False

        def note(status: int, *, executed: bool) -> None:
            nonlocal is_noted
            is_noted = True
            self._service.log.append(
                Logged(
                    method=scope["method"],
                    path=scope["path"],
                    query=scope["query_string"].decode("latin-1"),
                    status=status,
                    project=project.id if project else None,
                    executed=executed,
                    surface=scope["state"].get("surface", ApiSurface.OPENAI),
                )
            )

        async def answering(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Before the answer goes out, so that whoever has it finds it in the log.
                if not is_noted:
                    note(message["status"], executed=project is not None and scope["state"].get("executed", True))
                took = int((time.perf_counter() - started) * 1000)
                own = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(header for header in self._headers(project) if header[0] not in own),
                    (b"openai-processing-ms", str(took).encode()),
                ]
            await send(message)

        try:
            project = await self._project(scope)
        except ApiError as refusal:
            await respond(answering, refusal.status, refusal.body(), refusal.headers.items())
            return
        if self._service.behaviour.latency:
            await asyncio.sleep(self._service.behaviour.latency)
        scope["state"].update(project=project.id, note=note)
        await self._app(scope, receive, answering)

    async def _project(self, scope: Scope) -> Project:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        identity = self._service.identity
        found = identity.of(headers)
        if isinstance(found, str):
            await self._service.writing(identity.admit, found)
            found = identity.of(headers)
            assert isinstance(found, Project)
        return found

    def _headers(self, project: Project | None) -> list[tuple[bytes, bytes]]:
        headers = [
            ("x-request-id", self._service.ids.request()),
            ("openai-version", "2020-10-01"),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-reset-requests", "6ms"),
        ]
        if project is not None:
            headers.append(("openai-organization", project.organization))
            if self._service.behaviour.names_project:
                headers.append(("openai-project", project.id))
        return [(name.encode(), value.encode()) for name, value in headers]


async def respond(send: Send, status: int, body: bytes, headers: Iterable[tuple[str, str]]) -> None:
    """A whole answer of JSON, unless the headers say otherwise."""
    given = {"content-type": "application/json", **dict(headers), "content-length": str(len(body))}
    encoded = [(name.encode(), value.encode()) for name, value in given.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
