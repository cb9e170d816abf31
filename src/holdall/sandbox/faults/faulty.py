"""The faults that are due, done to requests and their answers from outside of the service."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from holdall.sandbox.behaviour import Bomb, CutBody, Doubled, Fail, Fault, Late, Reset, Slow, Stall, WrongLength
from holdall.sandbox.connections import Connections
from holdall.sandbox.faults.bombs import explode
from holdall.sandbox.faults.fault_rules import Faults
from holdall.sandbox.faults.faulty_answers import FaultyAnswer, fail, refusal_of
from holdall.sandbox.faults.postponed import Postponed
from holdall.sandbox.service.door import Noting, respond
from holdall.sandbox.service.service import Service


class Faulty:
    """ASGI, behind the door: an application, and the faults of its requests. Without any it is not in the way."""

    def __init__(self, app: ASGIApp, faults: Faults, service: Service, connections: Connections) -> None:
        self._app = app
        self._faults = faults
        self._connections = connections
        self._postponed = Postponed(app, service.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._postponed.run_due()
        state, path = scope["state"], scope["path"]
        cleared = self._faults.cleared
        fault = self._faults.take(scope["method"], path.removeprefix("/v1"), state["project"])
        if fault is None:
            await self._app(scope, receive, send)
            return
        state["executed"] = executed = _is_executed(fault)
        note: Noting = state["note"]
        if refusal := refusal_of(fault, path):
            await respond(send, refusal.status, refusal.body(), refusal.headers.items())
            return
        if isinstance(fault, Bomb):
            await explode(receive, send, fault.kind, path, scope["query_string"])
            return
        answer = FaultyAnswer(send, fault, note, cleared)
        if isinstance(fault, Late):
            await self._postponed.add(scope, receive, seconds=fault.seconds)
        elif executed:
            await self._app(scope, receive, answer.send)
        if isinstance(fault, Fail):
            await fail(send, fault)
        elif isinstance(fault, Reset | Late):
            note(0, executed=executed)
            await self._connections.reset(scope, receive)
        elif answer.is_lost:
            if isinstance(fault, Stall):
                await self._connections.stay_silent(receive, fault.seconds)
            await self._connections.close(scope, receive)


def _is_executed(fault: Fault) -> bool:
    """Whether the endpoint runs, before its request is answered."""
    if isinstance(fault, Fail | Reset):
        return fault.executed
    return isinstance(fault, Slow | Stall | CutBody | WrongLength | Doubled)
