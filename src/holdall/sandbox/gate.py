"""The door that every request passes: who it is, the faults that are due, the headers of an answer, the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdall.sandbox.behaviour import CutBody, Fail, Fault, Late, NoQuota, RateLimit, Reset, WrongLength
from holdall.sandbox.connections import Connections
from holdall.sandbox.delays import Postponed
from holdall.sandbox.identity import Project
from holdall.sandbox.refusals import Refusal, server_error
from holdall.sandbox.service import Logged, Service

__all__ = ["Gate"]

_HTML = (
    b"<html>\r\n<head><title>%d</title></head>\r\n<body>\r\n<center><h1>%d</h1></center>\r\n"
    b"<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n"
)


class _Answer:
    """Passes an answer on with the gate's headers; the fault, if one is due, is done to it on its way."""

    def __init__(
        self,
        send: Send,
        headers: list[tuple[bytes, bytes]],
        fault: Fault | None,
        answering: Callable[[int], None],
    ) -> None:
        self._send = send
        self._headers = headers
        self._fault = fault
        self._answering = answering
        self._started = time.perf_counter()
        self.is_lost = False
        self._left: int | None = fault.after if isinstance(fault, CutBody) else None
        self._swallowed: list[Message] = []

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if not isinstance(self._fault, Reset | Fail):
                self._answering(message["status"])
            took = int((time.perf_counter() - self._started) * 1000)
            message["headers"] = [
                *message["headers"],
                *self._headers,
                (b"openai-processing-ms", str(took).encode()),
            ]
        match self._fault:
            case Reset() | Fail():
                self.is_lost = True
            case CutBody():
                await self._cut(message)
            case WrongLength():
                await self._shortened(message)
            case _:
                await self._send(message)

    async def _cut(self, message: Message) -> None:
        if self.is_lost:
            return
        if message["type"] == "http.response.start" or self._left is None:
            await self._send(message)
            return
        body: bytes = message.get("body", b"")
        if len(body) < self._left:
            self._left -= len(body)
            await self._send(message)
            return
        # Never as the last piece: the server would notice the missing bytes itself.
        await self._send({"type": "http.response.body", "body": body[: self._left], "more_body": True})
        self.is_lost = True

    async def _shortened(self, message: Message) -> None:
        assert isinstance(self._fault, WrongLength)
        self._swallowed.append(message)
        if message.get("more_body") or message["type"] == "http.response.start":
            return
        body = b"".join(each.get("body", b"") for each in self._swallowed)
        body = body[: max(0, len(body) - self._fault.missing)]
        start = self._swallowed[0]
        headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
        await self._send({**start, "headers": [*headers, (b"content-length", str(len(body)).encode())]})
        await self._send({"type": "http.response.body", "body": body})


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
        project: Project | None = None
        fault: Fault | None = None
        refusal: Refusal | None = None
        try:
            project = await self._project(scope)
            fault = faults.take(scope["method"], path.removeprefix("/v1"), project.id)
            refusal = _refused_unexecuted(fault)
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
        plain, answer = _Answer(send, headers, None, answering), _Answer(send, headers, fault, answering)
        if refusal is not None or project is None:
            refused = refusal or server_error()
            await _respond(plain.send, refused.status, refused.body(), refused.headers.items())
            return
        scope["state"]["project"] = project.id
        if isinstance(fault, Late):
            await self._postponed.add(scope, receive, seconds=fault.seconds)
        elif not _unexecuted(fault):
            executed = True
            await self._app(scope, receive, answer.send)
        if isinstance(fault, Fail):
            await _fail(plain.send, fault)
        elif isinstance(fault, Reset | Late):
            answering(0)
            await self._connections.reset(scope, receive)
        elif answer.is_lost:
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


def _refused_unexecuted(fault: Fault | None) -> Refusal | None:
    match fault:
        case RateLimit(retry_after=seconds):
            headers = {} if seconds is None else {"retry-after": f"{seconds:g}"}
            return Refusal(
                429,
                "Rate limit reached for requests. Please try again later. Visit "
                "https://platform.openai.com/account/rate-limits to learn more.",
                kind="requests",
                code="rate_limit_exceeded",
                headers=headers,
            )
        case NoQuota():
            return Refusal(
                429,
                "You exceeded your current quota, please check your plan and billing details. For more information on "
                "this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
                kind="insufficient_quota",
                code="insufficient_quota",
            )
    return None


async def _fail(send: Send, fault: Fail) -> None:
    if fault.html:
        await _respond(send, fault.status, _HTML % (fault.status, fault.status), [("content-type", "text/html")])
    else:
        await _respond(send, fault.status, server_error(fault.status).body(), ())


async def _respond(send: Send, status: int, body: bytes, headers: Iterable[tuple[str, str]]) -> None:
    given = {"content-type": "application/json", **dict(headers), "content-length": str(len(body))}
    encoded = [(name.encode(), value.encode()) for name, value in given.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})
