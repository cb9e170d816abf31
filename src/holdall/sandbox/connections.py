"""The open connections: how many there are, how long each may take over a request, and how one is broken off."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
import sys
from typing import Any

import h11
from starlette.types import Receive, Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

if sys.platform != "win32":
    import resource


# Connections at once, where the system gives twice as many open files.
_MOST = 512

# Seconds that a request may take to arrive, and the bytes that add another one.
_PATIENCE = 60.0
_RATE = 1000.0

_BUSY = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

# What clients do wrong is answered to them and nothing to print here; what goes wrong here is.
_LOGGER = logging.getLogger("holdall.sandbox.http")


def _is_ours(entry: logging.LogRecord) -> bool:
    """Whether an error is the sandbox's: not where a client broke its connection while its request was answered."""
    kind = entry.exc_info[0] if entry.exc_info else None
    return kind is None or not issubclass(kind, h11.LocalProtocolError)


_LOGGER.addFilter(_is_ours)
_LOGGER.setLevel(logging.ERROR)


class Connection(H11Protocol):
    """One connection, which is given up where a request takes too long to arrive, or an answer is not taken."""

    opened: Connections
    """Where this is registered; set by a subclass for each server."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = _LOGGER
        self._awaited: object = None
        self._age = 0.0
        self._came = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.opened.is_full:
            transport.write(_BUSY)
            transport.close()
        else:
            self.opened.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.opened.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._came += len(data)
        super().data_received(data)

    def look(self, seconds: float) -> None:
        """See what is awaited ``seconds`` after the last look, and give the connection up if it is for too long."""
        awaited = None if self.transport.is_closing() else self._waits_for()
        if awaited is None or awaited != self._awaited:
            self._awaited, self._age, self._came = awaited, 0.0, 0
            return
        self._age += seconds
        is_answered = self.conn.our_state is h11.DONE
        if self._age > _PATIENCE + (0.0 if is_answered else self._came / _RATE):
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self.transport.write(_TOO_SLOW)
                self.transport.close()
            else:
                self.transport.abort()

    def _waits_for(self) -> object:
        """What the client has to send, or to read; None where it has nothing to, or we don't read ourselves."""
        if self.flow.write_paused:
            return self.cycle, self.transport.get_write_buffer_size()
        if self.flow.read_paused:
            return None
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            return self.cycle, state
        # Between two requests a connection may rest; uvicorn ends that.
        if state is h11.IDLE and (self.cycle is None or self.conn.trailing_data[0]):
            return self.cycle, state
        return None


class Connections:
    """The open connections, also by the client's address, so that one can be reset in the middle of an answer."""

    def __init__(self) -> None:
        self._open: dict[Any, Connection] = {}
        self._spoilt: set[Connection] = set()
        self._most = _MOST
        if sys.platform != "win32":
            self._most = min(_MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)

    @property
    def is_full(self) -> bool:
        return len(self._open) >= self._most

    def add(self, connection: Connection) -> None:
        self._open[connection.client] = connection

    def discard(self, connection: Connection) -> None:
        if self._open.get(connection.client) is connection:
            del self._open[connection.client]
        self._spoilt.discard(connection)

    def look(self, seconds: float) -> None:
        """Let ``seconds`` pass for all of them. Nothing else does: what we ourselves stand still counts for nobody."""
        for connection in list(self._open.values()):
            connection.look(seconds)

    def spoil(self, scope: Scope) -> None:
        """Keep a request's connection open, but as one on which nothing will be answered any more."""
        connection = self._open.get(scope["client"])
        if connection is not None:
            self._spoilt.add(connection)

    def is_spoilt(self, scope: Scope) -> bool:
        return self._open.get(scope["client"]) in self._spoilt

    async def reset(self, scope: Scope, receive: Receive) -> None:
        """Reset the connection of a request, and wait until it is gone."""
        connection = self._open.get(scope["client"])
        if connection is not None:
            # Without lingering a close is a reset. The structure's fields are half as long on Windows.
            linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
            connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.transport.abort()
        await _gone(receive)

    async def stay_silent(self, receive: Receive, seconds: float) -> None:
        """Let a connection be for so long, or until the client gives it up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await _gone(receive)

    async def close(self, scope: Scope, receive: Receive) -> None:
        """End the connection of a request once what was written has been sent."""
        connection = self._open.get(scope["client"])
        if connection is not None:
            connection.transport.close()
        await _gone(receive)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
