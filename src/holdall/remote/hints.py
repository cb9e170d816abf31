"""What a person can do about a failure, by its kind: the one place for the hints of requests. Pure.

A kind is read from the chain of exceptions below the SDK's, or from what a server answered, and never from the words
of this machine's libraries. Every hint names the setting that it is about, and what it is set to.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from enum import StrEnum
from urllib.parse import urlsplit

import msgspec

from holdall.endpoint import Endpoint
from holdall.remote.refusals import scope

__all__ = ["RequestTarget", "Trouble", "for_page", "for_refusal", "for_trouble", "trouble"]


class Trouble(StrEnum):
    """Why there was no answer."""

    UNTRUSTED = "its certificate is not trusted"
    EXPIRED = "its certificate has expired, or is not valid yet"
    OTHER_HOST = "its certificate is for another host"
    NO_TLS = "it doesn't speak TLS"
    NO_NAME = "there is no such host"
    REFUSED = "nothing listens there"
    NO_ROUTE = "there is no way to it"
    PROXY_LOGIN = "the proxy wants a user name and password"
    PROXY = "the proxy refuses"
    NO_CONNECTION = "no connection in time"
    SILENT = "no answer in time"
    LOST = "the connection was lost"

    @property
    def lasts(self) -> bool:
        """Whether it stays until a setting is changed, so that trying again is in vain."""
        return self in _LASTING


_LASTING = frozenset({
    Trouble.UNTRUSTED, Trouble.EXPIRED, Trouble.OTHER_HOST, Trouble.NO_TLS, Trouble.PROXY_LOGIN,
})  # fmt: skip
# https://docs.openssl.org/master/man1/openssl-verification-options/
_NOT_YET_OR_NO_MORE = (9, 10)
_OTHER_NAME = (62, 63, 64)
_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")
_CERTIFICATES = (
    "set SSL_CERT_FILE to a PEM file with the certificates to trust (or SSL_CERT_DIR), behind a company's proxy those "
    "of the company; they replace the system's (REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE are not read)"
)


class RequestTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests go. ``side`` is ``source`` or ``destination``; ``proxy`` the proxy's host, ``""`` for none."""

    side: str
    endpoint: Endpoint | None = None
    proxy: str = ""

    def variable(self, name: str) -> str:
        return f"OPENAI_{'DST' if self.side == 'destination' else 'SRC'}_{name}"

    @property
    def base_url(self) -> str:
        """The setting, with its value where there is one."""
        return f"{self.variable('BASE_URL')} ({self.endpoint.base_url})" if self.endpoint else self.variable("BASE_URL")

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint.base_url).hostname or "" if self.endpoint else ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what it was raised from, and all that is in groups on the way."""
    stack, seen = [error], set()
    while stack:
        each = stack.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        stack.extend(below for below in (each.__cause__, each.__context__) if below is not None)
        if isinstance(each, BaseExceptionGroup):
            stack.extend(each.exceptions)


def trouble(error: BaseException, *, proxy_status: int | None, timed_out: bool, unsent: bool) -> Trouble:
    """The kind of a failure without an answer.

    ``proxy_status`` is what a proxy refused with, 0 where it gave no number, None where none refused.
    """
    if proxy_status is not None:
        return Trouble.PROXY_LOGIN if proxy_status == 407 else Trouble.PROXY
    if timed_out:
        return Trouble.NO_CONNECTION if unsent else Trouble.SILENT
    for each in _chain(error):
        match each:
            case ssl.SSLCertVerificationError(verify_code=code):
                if code in _NOT_YET_OR_NO_MORE:
                    return Trouble.EXPIRED
                return Trouble.OTHER_HOST if code in _OTHER_NAME else Trouble.UNTRUSTED
            case ssl.SSLError(reason=str(reason)) if reason in _NO_TLS:
                return Trouble.NO_TLS
            case socket.gaierror():
                return Trouble.NO_NAME
            case ConnectionRefusedError():
                return Trouble.REFUSED
            case OSError(errno=number) if number in _NO_ROUTE:
                return Trouble.NO_ROUTE
    return Trouble.LOST


def for_trouble(kind: Trouble, place: RequestTarget) -> str:
    """The way out where there was no answer."""
    through = f"requests go through the proxy {place.proxy} (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY)"
    match kind:
        case Trouble.UNTRUSTED:
            return _CERTIFICATES
        case Trouble.EXPIRED:
            return "look at this machine's date; if that is right, the server's owner has to renew the certificate"
        case Trouble.OTHER_HOST:
            return f"check the host in {place.base_url}: it must be the one that the certificate names"
        case Trouble.NO_TLS:
            other = f", or the proxy {place.proxy}" if place.proxy else ""
            insists = f", and {place.variable('INSECURE_HTTP')}=true on another machine"
            return f"check {place.base_url}{other}: a server without TLS needs http:// in place of https://{insists}"
        case Trouble.PROXY_LOGIN:
            return (
                "write them into HTTPS_PROXY: http://USER:PASSWORD@HOST:PORT (NO_PROXY lists hosts that need no proxy)"
            )
        case Trouble.PROXY:
            return f"{through}; it has to let {place.host} pass, or NO_PROXY to name it"
    if place.proxy:
        return f"{through}; check it, and {place.base_url}; NO_PROXY lists hosts that need no proxy"
    match kind:
        case Trouble.NO_NAME:
            return f"check the host in {place.base_url}, and the network (DNS); behind a proxy set HTTPS_PROXY"
        case Trouble.REFUSED:
            return f"is the server running? Check host and port in {place.base_url}"
        case Trouble.NO_ROUTE | Trouble.NO_CONNECTION:
            return f"check the network, a VPN or firewall, and {place.base_url}; behind a proxy set HTTPS_PROXY"
        case Trouble.SILENT:
            return f"the server took the request and said nothing: try again later, or check {place.base_url}"
    return f"check the network, and {place.base_url}; behind a proxy set HTTPS_PROXY"


# -- answers -------------------------------------------------------------------------------------------

_REGIONAL = re.compile(r"make your requests? to ((?:[\w-]+\.)*api\.openai\.com)\b", re.I)
_API_VERSION = re.compile(r"api[- ]?version", re.I)
_PLAIN_TO_TLS = re.compile(r"plain HTTP request was sent to HTTPS|HTTP request to an HTTPS server", re.I)
_AZURE = (".azure.com", ".azure.us", ".azure.cn", ".azure-api.net", ".microsoft.com")


def for_refusal(status: int, code: str | None, detail: str, place: RequestTarget) -> str:
    """The way out of a refusal whose kind is known, else ``""``."""
    if status in (400, 401, 403, 404) and (what := scope(code, detail)):
        return _for_scope(what, place)
    if regional := _REGIONAL.search(detail):
        return f"set {place.variable('BASE_URL')}=https://{regional[1]}/v1"
    if status == 400 and _PLAIN_TO_TLS.search(detail):
        return f"write https:// in place of http:// into {place.base_url}"
    if status == 407:
        return for_trouble(Trouble.PROXY_LOGIN, place)
    if status in (400, 404) and (hint := _for_azure(status, detail, place)):
        return hint
    return ""


def _for_scope(what: str, place: RequestTarget) -> str:
    variable = place.variable("PROJECT_ID" if what == "project" else "ORG_ID")
    title = "project" if what == "project" else "organisation"
    ours = place.endpoint
    value = (ours.project if what == "project" else ours.organization) if ours else None
    if value is None or ours is None:
        return f"set {variable} to the id of the key's {title}"
    named = ours.names.project if what == "project" else ours.names.organization
    return f"{named} says {value}: set {variable} to the key's own {title}, or unset it (project keys need none)"


def _for_azure(status: int, detail: str, place: RequestTarget) -> str:
    said = _API_VERSION.search(detail)
    query = {name.lower(): value for name, value in place.endpoint.query.items()} if place.endpoint else {}
    version = query.get("api-version")
    if version is not None:
        # What isn't there is also not found with the right version.
        return f"{place.variable('BASE_URL')} ends in ?api-version={version}: set another one" if said else ""
    azure = place.host.endswith(_AZURE) and status == 404 and "resource not found" in detail.lower()
    if not (said or azure):
        return ""
    url = place.endpoint.base_url if place.endpoint else "https://…"
    return (
        f"Azure wants its API version in the base URL: {place.variable('BASE_URL')}='{url}?api-version=v1' "
        "(v1 for Foundry projects, a date as 2024-05-01-preview for …/openai; …/openai/v1 needs none)"
    )


def for_page(place: RequestTarget, target: str = "") -> str:
    """The way out where a web page came in place of the API's answer, or a redirect to the origin ``target``."""
    path = urlsplit(place.endpoint.base_url).path if place.endpoint else ""
    missing = "" if "/v1" in path else " (is /v1 missing at its end?)"
    wrong = f"the wrong address: {place.base_url}{missing}"
    if target:
        return f"set {place.base_url} to {target}… if the API is there; log in to this network if that is a login page"
    return f"a login page, a block page of a proxy, or {wrong}"
