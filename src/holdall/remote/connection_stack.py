"""Connections to the account's own server, each for one request at a time.

The pool of the HTTP client looks at all of its connections twice for each request, and asks each idle one whether the
server has closed it: with 32 of them that costs more than to send the request. Here a request takes the connection that
was used last, and asks only that one.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import httpcore2
import httpx2

# Both call the same error by the same name.
_ERRORS = {
    below: getattr(httpx2, name)
    for name, below in vars(httpcore2).items()
    if isinstance(below, type) and issubclass(below, Exception) and hasattr(httpx2, name)
}


class ConnectionStack(httpx2.AsyncBaseTransport):
    """HTTP/1.1 connections to the origin of ``url``, without a proxy. One that was idle for ``expiry`` seconds is not
    used again. ``context`` is needed for https only.

    There are as many as requests were under way at once, which whoever sends them limits.
    """

    def __init__(self, url: httpx2.URL, context: ssl.SSLContext | None, expiry: float | None) -> None:
        self._origin, self._context, self._expiry = _url(url).origin, context, expiry
        if context:
            context.set_alpn_protocols(["http/1.1"])
        self._network = httpcore2.AnyIOBackend()
        self._idle: list[_Connection] = []
        """Those that were used last are at its end."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        with _mapped():
            sent = httpcore2.Request(
                request.method,
                _url(request.url),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
            connection = await self._unused() or await self._connect(request.extensions["timeout"]["connect"])
            came = await connection.handle_async_request(sent)
        body = _Body(came, connection, self._idle)
        return httpx2.Response(came.status, headers=came.headers, stream=body, extensions=came.extensions)

    async def aclose(self) -> None:
        while self._idle:
            await self._idle.pop().aclose()

    async def _unused(self) -> _Connection | None:
        """The connection that was used last and is idle; those that can't be used any more are closed."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.has_expired():
                return connection
            await connection.aclose()
        return None

    async def _connect(self, timeout: float | None) -> _Connection:
        host = self._origin.host.decode("ascii")
        stream = await self._network.connect_tcp(host, self._origin.port, timeout=timeout)
        if self._origin.scheme == b"https":
            assert self._context
            stream = await stream.start_tls(self._context, host, timeout)
        return _Connection(self._origin, stream, self._expiry)


class _Connection(httpcore2.AsyncHTTP11Connection):
    # Reads four times as long take a quarter of the processor time off a large download.
    READ_NUM_BYTES = 256 << 10


class _Body(httpx2.AsyncByteStream):
    """The body of an answer. Its connection is idle again once it is closed, if all of it was read."""

    def __init__(self, response: httpcore2.Response, connection: _Connection, idle: list[_Connection]) -> None:
        self._response, self._connection, self._idle = response, connection, idle
        self._is_open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _mapped():
            async for piece in self._response.aiter_stream():
                yield piece

    async def aclose(self) -> None:
        if self._is_open:
            self._is_open = False
            await self._response.aclose()
            if self._connection.is_idle():
                self._idle.append(self._connection)


def _url(url: httpx2.URL) -> httpcore2.URL:
    return httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


@contextmanager
def _mapped() -> Iterator[None]:
    """Raises the errors of httpcore2 as those of httpx2."""
    try:
        yield
    except tuple(_ERRORS) as error:
        raise _ERRORS[type(error)](str(error)) from error
