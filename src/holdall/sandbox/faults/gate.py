"""The door that every request passes: who it is, the faults that are due, the headers of an answer, the log."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from holdall.sandbox.behaviour import Bomb, Fail, Fault, Late, Reset, Stall
from holdall.sandbox.connections import Connections
from holdall.sandbox.faults.bombs import explode
from holdall.sandbox.faults.delays import Postponed
from holdall.sandbox.faults.faulty_answers import Answer, fail, refused_unexecuted, respond
from holdall.sandbox.service.api_errors import Refusal, server_error
from holdall.sandbox.service.identity import Project
from holdall.sandbox.service.service import Logged, Service

__all__ = ["Gate"]


class Gate:
    """ASGI: everything below ``/v1`` goes through here, the rest to ``control`` if there is one."""

    def __init__(self, app: ASGIApp, control: ASGIApp, service: Service, connections: Connections) -> None:
        self._app = app
        self._control = control
        self._service = service
        self._connections = connections
        self._postponed = Postponed(app, service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not scope["path"].startswith("/v1/"):
            await self._control(scope, receive, send)
            return
        await self._postponed.run_due()
        path: str = scope["path"]
        faults, behaviour = self._service.faults, self._service.behaviour
        cleared = faults.cleared
        project: Project | None = None
        fault: Fault | None = None
        refusal: Refusal | None = None
        try:
            project = await self._project(scope)
            fault = faults.take(scope["method"], path.removeprefix("/v1"), project.id)
            refusal = refused_unexecuted(fault, path)
        except Refusal as error:
            refusal = error
        if behaviour.latency:
            await asyncio.sleep(behaviour.latency)
        executed = False

        def answering(status: int) -> None:
            # Before the answer goes out, so that whoever has it finds it in the log.
            self._service.log.append(
                Logged(
                    method=scope["method"],
                    path=path,
                    query=scope["query_string"].decode("latin-1"),
                    status=status,
                    project=project.id if project else None,
                    executed=executed,
                )
            )

        headers = self._headers(project)
        plain = Answer(send, headers, None, answering, cleared)
        answer = Answer(send, headers, fault, answering, cleared)
        if refusal is not None or project is None:
            refused = refusal or server_error()
            await respond(plain.send, refused.status, refused.body(), refused.headers.items())
            return
        scope["state"]["project"] = project.id
        if isinstance(fault, Bomb):
            await explode(receive, plain.send, fault.kind, path, scope["query_string"])
            return
        if isinstance(fault, Late):
            await self._postponed.add(scope, receive, seconds=fault.seconds)
        elif not _unexecuted(fault):
            executed = True
            await self._app(scope, receive, answer.send)
        if isinstance(fault, Fail):
            await fail(plain.send, fault)
        elif isinstance(fault, Reset | Late):
            answering(0)
            await self._connections.reset(scope, receive)
        elif answer.is_lost:
            if isinstance(fault, Stall):
                await self._connections.stay_silent(receive, fault.seconds)
            await self._connections.close(scope, receive)

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


def _unexecuted(fault: Fault | None) -> bool:
    return isinstance(fault, Fail | Reset) and not fault.executed
