"""The sandbox as one ASGI application: the service, behind its door, and the bad days between the two."""

from __future__ import annotations

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from holdall.sandbox.connections import Connections
from holdall.sandbox.faults import control
from holdall.sandbox.faults.fault_rules import Faults
from holdall.sandbox.faults.faulty import Faulty
from holdall.sandbox.oddities.layer import Odd
from holdall.sandbox.service.api_errors import ApiError
from holdall.sandbox.service.door import Door
from holdall.sandbox.service.foundry import Foundry
from holdall.sandbox.service.guard import Guard
from holdall.sandbox.service.lagging import Lagging
from holdall.sandbox.service.routes import api, unrouted
from holdall.sandbox.service.service import Service


def application(service: Service, faults: Faults, connections: Connections, *, controlled: bool) -> ASGIApp:
    """Everything that the sandbox answers. ``controlled`` opens the control endpoint."""
    outside = Starlette(
        routes=control.routes(service, faults) if controlled else [],
        exception_handlers={
            HTTPException: unrouted,
            msgspec.DecodeError: control.refused,
            ApiError: control.refused,
        },
    )
    odd = Odd(Lagging(api(service), service), service, connections)
    return Guard(Foundry(Door(Faulty(odd, faults, service, connections), outside, service), service), service)
