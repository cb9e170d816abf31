"""The open connections, so that one can be reset in the middle of an answer, or instead of one."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from typing import Any

from starlette.types import Receive, Scope

__all__ = ["Connections"]


class Connections:
    """The open connections by the client's address, so that one can be reset in the middle of an answer."""

    def __init__(self) -> None:
        self._open: dict[Any, asyncio.Transport] = {}
        self._spoilt: set[asyncio.Transport] = set()

    def add(self, transport: asyncio.Transport) -> None:
        self._open[transport.get_extra_info("peername")] = transport

    def discard(self, transport: asyncio.Transport) -> None:
        self._open.pop(transport.get_extra_info("peername"), None)
        self._spoilt.discard(transport)

    def spoil(self, scope: Scope) -> None:
        """Keep a request's connection open, but as one on which nothing will be answered any more."""
        transport = self._open.get(tuple(scope["client"]))
        if transport is not None:
            self._spoilt.add(transport)

    def is_spoilt(self, scope: Scope) -> bool:
        return self._open.get(tuple(scope["client"])) in self._spoilt

    async def reset(self, scope: Scope, receive: Receive) -> None:
        """Reset the connection of a request, and wait until it is gone."""
        transport = self._open.get(tuple(scope["client"]))
        if transport is not None:
            # Without lingering a close is a reset. The structure's fields are half as long on Windows.
            linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        await _gone(receive)

    async def stay_silent(self, receive: Receive, seconds: float) -> None:
        """Let a connection be for so long, or until the client gives it up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _gone(receive)

    async def close(self, scope: Scope, receive: Receive) -> None:
        """End the connection of a request once what was written has been sent."""
        transport = self._open.get(tuple(scope["client"]))
        if transport is not None:
            transport.close()
        await _gone(receive)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
