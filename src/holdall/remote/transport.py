"""The HTTP transport below the SDK: connections, proxies, allowed redirects, size limits of answers, and uploads.

Within one origin (scheme, host and port) redirects are followed as long as they leave the method alone. To another
origin only the GET of a file's content goes, with no header but those that say which bytes are wanted, over https, or
over http where the base URL is http too; and never from outside into this machine or a private network.

The pool of the HTTP client looks at all of its connections twice for each request, and asks each idle one whether the
server has closed it: with 32 of them that costs more than to send the request. Here a request takes the connection that
was used last, and asks only that one.

Each request sets the size limit of its answer; a hook of the HTTP client enforces it on the decompressed body, whatever
the headers say. Another hook reads uploads in threads. The proxy is that of the environment or of the system's
settings; requests to this machine never use one.
"""

from __future__ import annotations

import asyncio
import io
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import httpcore2
import httpx2
import msgspec

from holdall.endpoint import Secret, is_loopback
from holdall.errors import UsageFault
from holdall.untrusted import MAX_JSON

# -- redirects ------------------------------------------------------------------------------------------

_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_SAME_METHOD = (307, 308)
# An id has no / in it: those that did are escaped. The base URL of a Foundry project is that of its classic surface.
_CONTENT_PATH = re.compile(rb"(?:/openai/v1)?(?:/containers/[^/?]+)?/files/[^/?]+/content")
# What says which bytes, and in which form.
_HEADERS_ELSEWHERE = ("accept", "accept-encoding", "range", "if-range", "user-agent")


class BadRedirect(httpx2.RequestError):
    """A redirect that isn't followed. ``moved_to`` is the origin of another server that it leads to; ``status`` that of
    the answer, which the transport sets."""

    status, moved_to = 0, ""

    def __init__(self, why: str, *, moved_to: str = "") -> None:
        super().__init__(f"redirected {why}")
        self.moved_to = moved_to

    @property
    def ambiguous(self) -> bool:
        """Whether the request may have been carried out, and the redirect lead to its result."""
        return self.status not in _SAME_METHOD


def other_origin(response: httpx2.Response) -> str:
    """The origin that answered, where it is another than the one that was asked; else ``""``."""
    return str(response.extensions.get("other_origin", ""))


class Transport(httpx2.AsyncBaseTransport):
    """Sends requests of one account. ``base_url`` is its own, below which the paths of files' contents are.

    Making one raises UsageFault, OSError or ValueError where the environment names a proxy, or for https certificates,
    that can't be used.
    """

    def __init__(self, base_url: str, limits: httpx2.Limits) -> None:
        self._base, self._limits = httpx2.URL(base_url), limits
        self._pools: dict[str | None, httpx2.AsyncHTTPTransport] = {}
        self._own: httpx2.AsyncBaseTransport
        if proxy_for(base_url):
            self._own = self._pool(self._base)
        else:
            if named := os.environ.get("SSL_CERT_FILE"):
                os.stat(named)  # where it is mistyped that is told at once, also over http
            context = self._context if self._base.scheme == "https" else None
            self._own = ConnectionStack(self._base, context, limits.keepalive_expiry)

    @cached_property
    def _context(self) -> ssl.SSLContext:
        # The certificates take as long to read as ten requests; over http none are needed.
        return httpx2.create_ssl_context()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        first, is_elsewhere = request, False
        for _ in range(_MOST_REDIRECTS + 1):
            response = await self._send(request)
            try:
                location = response.headers.get("location")
                if location is None or response.status_code not in _REDIRECTS:
                    if is_elsewhere:
                        await self._check_peer(first, request, response)
                    return response
                # Nobody reads its body, however long it is.
                await response.aclose()
                target = _target(request, location)
                # Once it left the origin, the key never goes along again, not even on the way back.
                is_elsewhere = is_elsewhere or _origin(target) != _origin(first.url)
                if is_elsewhere:
                    request = await self._to_other_origin(first, target)
                else:
                    request = _same_request(request, target, response.status_code)
            except BadRedirect as error:
                await response.aclose()
                error.status = response.status_code
                raise
        raise httpx2.TooManyRedirects("too many redirects", request=first)

    async def aclose(self) -> None:
        for connections in {self._own, *self._pools.values()}:
            await connections.aclose()

    def _pool(self, url: httpx2.URL) -> httpx2.AsyncHTTPTransport:
        proxy = proxy_for(str(url))
        way = proxy.url.reveal() if proxy else None
        if way not in self._pools:
            self._pools[way] = httpx2.AsyncHTTPTransport(verify=self._context, proxy=way, limits=self._limits)
        return self._pools[way]

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        try:
            pool = self._own if _origin(request.url) == _origin(self._base) else self._pool(request.url)
        except UsageFault as fault:  # of another origin; the account's own proxy was looked at before
            raise httpx2.ProxyError(fault.message) from None
        except (OSError, ValueError) as error:  # likewise its certificates
            raise httpx2.ConnectError(f"can't use SSL_CERT_FILE or SSL_CERT_DIR: {error}") from error
        return await pool.handle_async_request(request)

    async def _to_other_origin(self, first: httpx2.Request, target: httpx2.URL) -> httpx2.Request:
        """The request for a file's content to another origin."""
        name, path = _origin(target), first.url.raw_path.removeprefix(self._base.raw_path.rstrip(b"/"))
        if first.method != "GET" or not _CONTENT_PATH.fullmatch(path.partition(b"?")[0]):
            raise BadRedirect(f"to {name}, another server", moved_to=name)
        stays = is_loopback(target.host) or not is_loopback(first.url.host)
        if target.scheme == "http" and not (first.url.scheme == "http" and stays):
            raise BadRedirect(f"to {name}, which is unencrypted")
        await _require_outside(first.url, target, await _networks(target))
        headers = {key: first.headers[key] for key in _HEADERS_ELSEWHERE if key in first.headers}
        return httpx2.Request("GET", target, headers=headers, extensions=first.extensions)

    async def _check_peer(self, first: httpx2.Request, request: httpx2.Request, response: httpx2.Response) -> None:
        """A name may have led to another address than when it was looked up; its cookies are not for the account."""
        response.headers.pop("set-cookie", None)
        response.extensions["other_origin"] = _origin(request.url)
        stream = response.extensions.get("network_stream")
        peer = stream.get_extra_info("server_addr") if stream and not proxy_for(str(request.url)) else None
        if peer:
            await _require_outside(first.url, request.url, {_network(str(peer[0]))})


def _same_request(request: httpx2.Request, target: httpx2.URL, status: int) -> httpx2.Request:
    """The same request to another path of its origin."""
    if request.method != "GET" and status not in _SAME_METHOD:
        raise BadRedirect(f"with {status}, which would turn {request.method} into GET")
    return httpx2.Request(
        request.method, target, headers=request.headers, stream=request.stream, extensions=request.extensions
    )


def _target(request: httpx2.Request, location: str) -> httpx2.URL:
    try:
        target = request.url.join(location) if location.strip() else httpx2.URL()
    except (httpx2.InvalidURL, ValueError):
        target = httpx2.URL()
    if target.scheme not in ("http", "https") or not target.host:
        raise BadRedirect("to an invalid URL")
    if target.userinfo:
        raise BadRedirect(f"to {_origin(target)} with a user name or password")
    return target


def _origin(url: httpx2.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


async def _require_outside(asked: httpx2.URL, target: httpx2.URL, networks: set[str]) -> None:
    """Raise BadRedirect where ``target`` is in networks that what was asked isn't in, but for the internet."""
    inside = networks - {""}
    if inside and (inside := inside - await _networks(asked)):
        raise BadRedirect(f"to {_origin(target)}, which is {inside.pop()}")


async def _networks(url: httpx2.URL) -> set[str]:
    """Which networks a URL's host is in, as ``_network`` names them. Empty where its name can't be looked up here."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            url.raw_host.decode("ascii"), url.port, type=socket.SOCK_STREAM
        )
    except (OSError, UnicodeError):
        return set()
    return {_network(str(address[0])) for *_, address in found}


def _network(text: str) -> str:
    """What an address is, ``""`` for one in the internet."""
    address = ipaddress.ip_address(text.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback or address.is_unspecified:
        return "this machine"
    if address.is_link_local:
        return "a link-local address"
    return "" if address.is_global and not address.is_multicast else "a private address"


# -- connections ----------------------------------------------------------------------------------------


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
        self._origin, self._context, self._expiry = _core_url(url).origin, context, expiry
        if context:
            context.set_alpn_protocols(["http/1.1"])
        self._network = httpcore2.AnyIOBackend()
        self._idle: list[_Connection] = []
        """Those that were used last are at its end."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        with _mapped_errors():
            sent = httpcore2.Request(
                request.method,
                _core_url(request.url),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
            connection = await self._unused() or await self._connect(request.extensions["timeout"]["connect"])
            came = await connection.handle_async_request(sent)
        body = _ConnectionBody(came, connection, self._idle)
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


class _ConnectionBody(httpx2.AsyncByteStream):
    """The body of an answer. Its connection is idle again once it is closed, if all of it was read."""

    def __init__(self, response: httpcore2.Response, connection: _Connection, idle: list[_Connection]) -> None:
        self._response, self._connection, self._idle = response, connection, idle
        self._is_open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _mapped_errors():
            async for piece in self._response.aiter_stream():
                yield piece

    async def aclose(self) -> None:
        if self._is_open:
            self._is_open = False
            await self._response.aclose()
            if self._connection.is_idle():
                self._idle.append(self._connection)


def _core_url(url: httpx2.URL) -> httpcore2.URL:
    return httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)


@contextmanager
def _mapped_errors() -> Iterator[None]:
    """Raises the errors of httpcore2 as those of httpx2."""
    try:
        yield
    except tuple(_ERRORS) as error:
        raise _ERRORS[type(error)](str(error)) from error


# -- answers --------------------------------------------------------------------------------------------

MAX_ERROR = 64 << 10
"""Bytes of an answer that says no, or of a web page. The rest is not read: the connection is closed."""

MAX_PAGE = 4 * MAX_JSON
"""Bytes of one page of a list, or of a parsed text."""

# So much of a packed body is unpacked at once: a thousand times as much may come out.
_UNPACKED = 64 << 10
# What a piece counts for at least: a body that comes byte by byte costs a thousand times its length.
_LEAST_PIECE = 128
# So much of a packed body may be read ahead of what comes out of it.
_AHEAD = 1 << 20
# They describe the packed body, which nobody sees.
_HEAD_OF_PACKED = (
    "content-encoding",
    "content-length",
    "content-md5",
    "content-range",
    "digest",
    "etag",
    "last-modified",
    "repr-digest",
)
_WEB_PAGE = re.compile(r"\ufeff?\s*<(!doctype\s+html|html|head|body)\b", re.I)

_longest_answer: ContextVar[int | None] = ContextVar("longest_answer", default=MAX_JSON)


class TooLong(httpx2.RequestError):
    """An answer is longer than one of its kind may be."""


@contextmanager
def at_most(size: int | None) -> Iterator[None]:
    """Limits the answers of requests that are sent in here to ``size`` bytes; with None the reader limits them."""
    token = _longest_answer.set(size)
    try:
        yield
    finally:
        _longest_answer.reset(token)


def is_web_page(headers: Mapping[str, str], text: str) -> bool:
    """Whether an answer is a web page."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in ("text/html", "application/xhtml+xml") or _WEB_PAGE.match(text) is not None


async def _limit_answer(response: httpx2.Response) -> None:
    """Limits an answer whose head has arrived. A hook of the HTTP client."""
    most, is_cut = _longest_answer.get(), False
    if response.status_code >= 300 or (most is not None and is_web_page(response.headers, "")):
        most, is_cut = MAX_ERROR, True
    packing = response.headers.get("content-encoding", "identity").strip().lower()
    if "," in packing:
        raise TooLong(f"its body is compressed more than once ({packing[:80]})")
    body = _LimitedBody(response.stream, packing, most, is_cut=is_cut)  # type: ignore[arg-type]
    if packing != "identity":
        for name in _HEAD_OF_PACKED:
            response.headers.pop(name, None)
        response.headers["accept-ranges"] = "none"
    response.stream = body
    # Not what the head names: that may be a codec that expands, as zlib does.
    response.encoding = "utf-8"


class _LimitedBody(httpx2.AsyncByteStream):
    """An unpacked body of at most ``most`` bytes. A longer one is cut there if ``is_cut``, else raises TooLong."""

    def __init__(self, stream: httpx2.AsyncByteStream, packing: str, most: int | None, *, is_cut: bool) -> None:
        self._stream, self._packing, self._most, self._is_cut = stream, packing, most, is_cut
        self._sent = self._pieces = self._size = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = aiter(self._received())
        if self._packing != "identity":
            packed = {"content-encoding": self._packing}
            pieces = httpx2.Response(200, headers=packed, content=self._in_short()).aiter_bytes()
        async for piece in pieces:
            self._size += len(piece)
            if self._most is not None and self._size > self._most:
                self._refuse()
                yield piece[: len(piece) - (self._size - self._most)]
                return
            yield piece

    async def _in_short(self) -> AsyncGenerator[bytes, None]:
        async for piece in self._received():
            for start in range(0, len(piece), _UNPACKED):
                yield piece[start : start + _UNPACKED]

    async def _received(self) -> AsyncGenerator[bytes, None]:
        async for piece in self._stream:
            self._sent += len(piece)
            self._pieces += 1
            if self._most is not None and self._pieces * _LEAST_PIECE > self._most:
                self._refuse()
                return
            yield piece
            if self._sent - self._size > _AHEAD:
                raise TooLong("its compressed body is empty")

    def _refuse(self) -> None:
        if not self._is_cut:
            raise TooLong(f"it is longer than {self._most} bytes")

    async def aclose(self) -> None:
        await self._stream.aclose()


# -- uploads --------------------------------------------------------------------------------------------

# So much of an upload is read and sent at once; the SDK's own pieces are of 64 KiB.
_UPLOAD_PIECE = 1 << 20


async def _read_in_thread(request: httpx2.Request) -> None:
    """Have what is uploaded read in a thread, where it may be decompressed; what is small and in memory goes as one
    piece. A hook of the HTTP client."""
    if isinstance(request.stream, httpx2.ByteStream):
        return
    files = [field.file for field in getattr(request.stream, "fields", ()) if hasattr(field, "file")]
    if files and all(type(file) is io.BytesIO and len(file.getbuffer()) <= _UPLOAD_PIECE for file in files):
        request.stream = httpx2.ByteStream(b"".join(request.stream))  # type: ignore[arg-type]
    else:
        request.stream = _ReadInThread(request.stream)  # type: ignore[arg-type]


class _ReadInThread(httpx2.AsyncByteStream):
    """The body of an upload, each piece read while the one before it is sent."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces
        # Without it they are only smaller.
        for field in getattr(pieces, "fields", ()):
            field.CHUNK_SIZE = _UPLOAD_PIECE

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces, loop = iter(self._pieces), asyncio.get_running_loop()
        reading: asyncio.Future[tuple[bytes, bool]] | None = loop.run_in_executor(None, _next_piece, pieces)
        try:
            while reading:
                data, is_last = await asyncio.shield(reading)
                reading = None if is_last else loop.run_in_executor(None, _next_piece, pieces)
                yield data
        finally:
            # Whoever is cancelled here may close the file, or send it again from its start.
            if reading:
                await asyncio.gather(reading, return_exceptions=True)


def _next_piece(pieces: Iterator[bytes]) -> tuple[bytes, bool]:
    """The next pieces of a body in one, and whether they are the last."""
    group, size = [], 0
    for piece in pieces:
        group.append(piece)
        size += len(piece)
        if size >= _UPLOAD_PIECE:
            return b"".join(group), False
    return b"".join(group), True


HOOKS: Mapping[str, list[Callable[..., Any]]] = {"request": [_read_in_thread], "response": [_limit_answer]}
"""What the HTTP client calls with each request and each answer."""


# -- proxies --------------------------------------------------------------------------------------------


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy. ``url`` may hold a password; ``host``, with its port, and the ``setting`` that names it don't."""

    url: Secret
    host: str
    setting: str

    def __str__(self) -> str:
        return f"{self.host} ({self.setting})"


def proxy_for(url: str) -> Proxy | None:
    """The proxy for requests to ``url``. Raises UsageFault, which doesn't show it, for one that can't be used."""
    from urllib.request import getproxies  # only here: it loads an HTTP client of its own

    parts, found = urlsplit(url), getproxies()
    host, value = parts.hostname or "", found.get(parts.scheme) or found.get("all")
    if not value or is_loopback(host) or _is_exempt(host, parts.port, found.get("no", "")):
        return None
    return _parsed_proxy(value.strip(), _proxy_setting(parts.scheme if found.get(parts.scheme) else "all"))


def _is_exempt(host: str, port: int | None, listed: str) -> bool:
    """Whether NO_PROXY, or what the system has in its place, lists the host, its domain, or its network."""
    from urllib.request import proxy_bypass

    bare = f"[{host}]" if ":" in host else host
    if proxy_bypass(f"{bare}:{port}" if port else bare):
        return True
    for entry in listed.lower().replace(",", " ").split():
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False):
                return True
        except ValueError:
            if entry.startswith("*.") and host.endswith(entry[1:]):
                return True
    return False


def _proxy_setting(kind: str) -> str:
    names = (f"{kind}_proxy", f"{kind}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), "the system's settings")


def _parsed_proxy(value: str, setting: str) -> Proxy:
    url = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(url)
        plain = url.isascii() and url.isprintable() and " " not in url and not (parts.query or parts.fragment)
        fit = plain and bool(parts.hostname) and parts.port != 0 and "@" not in parts.path
    except ValueError:  # brackets that are no address, a port that is no number
        fit = False
    if not fit or parts.scheme not in ("http", "https", "socks5", "socks5h"):
        raise UsageFault(
            f"can't use the proxy of {setting}: it must be http://HOST:PORT (or https, socks5, socks5h)",
            hint="put user and password before the host, as USER:PASSWORD@, with %40 for @, %3A for : and %23 "
            "for #; NO_PROXY lists hosts to reach directly",
        )
    if parts.scheme.startswith("socks") and find_spec("socksio") is None:
        raise UsageFault(
            f"can't use the proxy of {setting}: the package socksio is not installed",
            hint="pip install socksio",
        )
    return Proxy(url=Secret(url), host=parts.netloc.rpartition("@")[2], setting=setting)
