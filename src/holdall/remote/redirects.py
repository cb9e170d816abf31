"""The transport below the SDK: each request through its proxy or past it, and no further than it may be redirected.

Within one origin (scheme, host and port) redirects are followed as long as they leave the method alone. To another
origin only the GET of a file's content goes, with no header but those that say which bytes are wanted, over https, or
over http where the base URL is http too; and never from outside into this machine or a private network.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket

import httpx2

from holdall.endpoint import is_loopback
from holdall.errors import UsageFault
from holdall.remote.proxies import proxy_for

__all__ = ["BadRedirect", "Transport", "other_origin"]

_MOST = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_SAME_METHOD = (307, 308)
# An id has no / in it: those that did are escaped.
_CONTENT = re.compile(rb"(?:/containers/[^/?]+)?/files/[^/?]+/content")
# What says which bytes, and in which form.
_HEADERS = ("accept", "accept-encoding", "range", "if-range", "user-agent")


class BadRedirect(httpx2.RequestError):
    """A redirect that isn't followed. ``moved_to`` is the origin of another server that it leads to; ``status`` that of
    the answer, which the transport sets."""

    status, moved_to = 0, ""

    def __init__(self, why: str, *, moved_to: str = "") -> None:
        super().__init__(f"it is redirected {why}")
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

    Making one raises UsageFault where the environment names a proxy or certificates that can't be used.
    """

    def __init__(self, base_url: str, limits: httpx2.Limits) -> None:
        self._base, self._limits = httpx2.URL(base_url), limits
        self._pools: dict[str | None, httpx2.AsyncHTTPTransport] = {}
        self._own = self._pool(self._base)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        first, is_elsewhere = request, False
        for _ in range(_MOST + 1):
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
        raise httpx2.TooManyRedirects("it is redirected without end", request=first)

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await pool.aclose()

    def _pool(self, url: httpx2.URL) -> httpx2.AsyncHTTPTransport:
        proxy = proxy_for(str(url))
        way = proxy.url.reveal() if proxy else None
        if way not in self._pools:
            self._pools[way] = httpx2.AsyncHTTPTransport(proxy=way, limits=self._limits)
        return self._pools[way]

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        try:
            pool = self._own if _origin(request.url) == _origin(self._base) else self._pool(request.url)
        except UsageFault as fault:  # of another origin; the account's own proxy was looked at before
            raise httpx2.ProxyError(fault.message) from None
        return await pool.handle_async_request(request)

    async def _to_other_origin(self, first: httpx2.Request, target: httpx2.URL) -> httpx2.Request:
        """The request for a file's content to another origin."""
        name, path = _origin(target), first.url.raw_path.removeprefix(self._base.raw_path.rstrip(b"/"))
        if first.method != "GET" or not _CONTENT.fullmatch(path.partition(b"?")[0]):
            raise BadRedirect(f"to {name}, another server", moved_to=name)
        stays = is_loopback(target.host) or not is_loopback(first.url.host)
        if target.scheme == "http" and not (first.url.scheme == "http" and stays):
            raise BadRedirect(f"to {name}, which is unencrypted")
        await _require_outside(first.url, target, await _networks(target))
        headers = {key: first.headers[key] for key in _HEADERS if key in first.headers}
        return httpx2.Request("GET", target, headers=headers, extensions=first.extensions)

    async def _check_peer(self, first: httpx2.Request, request: httpx2.Request, response: httpx2.Response) -> None:
        """A name may have led to another address than when it was looked up; its cookies are not for the account."""
        response.headers.pop("set-cookie", None)
        response.extensions["other_origin"] = _origin(request.url)
        stream = response.extensions.get("network_stream")
        peer = stream.get_extra_info("server_addr") if stream and not proxy_for(str(request.url)) else None
        if peer:
            await _require_outside(first.url, request.url, {_network(str(peer[0]))})


async def _require_outside(asked: httpx2.URL, target: httpx2.URL, networks: set[str]) -> None:
    """Raise BadRedirect where ``target`` is in networks that what was asked isn't in, but for the internet."""
    inside = networks - {""}
    if inside and (inside := inside - await _networks(asked)):
        raise BadRedirect(f"to {_origin(target)}, which is {inside.pop()}")


def _same_request(request: httpx2.Request, target: httpx2.URL, status: int) -> httpx2.Request:
    """The same request to another path of its origin."""
    if request.method != "GET" and status not in _SAME_METHOD:
        raise BadRedirect(f"with {status}, which would make a GET of a {request.method}")
    return httpx2.Request(
        request.method, target, headers=request.headers, stream=request.stream, extensions=request.extensions
    )


def _target(request: httpx2.Request, location: str) -> httpx2.URL:
    try:
        target = request.url.join(location) if location.strip() else httpx2.URL()
    except (httpx2.InvalidURL, ValueError):
        target = httpx2.URL()
    if target.scheme not in ("http", "https") or not target.host:
        raise BadRedirect("to what is no web address")
    if target.userinfo:
        raise BadRedirect(f"to {_origin(target)} with a user name or password")
    return target


def _origin(url: httpx2.URL) -> str:
    return f"{url.scheme}://{url.netloc.decode('ascii')}"


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
    return "" if address.is_global and not address.is_multicast else "in a private network"
