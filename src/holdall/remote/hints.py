"""Hints for failed requests, by the kind of failure.

The kind comes from the chain of exceptions or the server's answer, never from a local library's message. Every hint
names the setting and its value.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from enum import StrEnum
from urllib.parse import urlsplit

import httpx2
import msgspec

from holdall.endpoint import Endpoint
from holdall.remote.refusals import scope


class Trouble(StrEnum):
    """Why there was no answer."""

    UNTRUSTED = "its certificate is not trusted"
    EXPIRED = "its certificate has expired or is not yet valid"
    OTHER_HOST = "its certificate is for another host"
    NO_TLS = "it does not support TLS"
    NO_NAME = "unknown host"
    REFUSED = "connection refused"
    NO_ROUTE = "no route to host"
    PROXY_LOGIN = "the proxy requires a user name and password"
    PROXY = "the proxy refused the connection"
    NO_CONNECTION = "connecting timed out"
    SILENT = "no answer before the timeout"
    LOST = "the connection was lost"


LASTING = frozenset({
    Trouble.UNTRUSTED, Trouble.EXPIRED, Trouble.OTHER_HOST, Trouble.NO_TLS, Trouble.PROXY_LOGIN,
})  # fmt: skip
"""Troubles that stay until a setting is changed, so that trying again is in vain."""

# https://docs.openssl.org/master/man1/openssl-verification-options/
_NOT_YET_OR_NO_MORE = (9, 10)
_OTHER_NAME = (62, 63, 64)
_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")


class RequestTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests go. ``side`` is ``source`` or ``destination``; ``proxy`` the proxy's host, ``""`` for none."""

    side: str
    endpoint: Endpoint
    proxy: str = ""

    def variable(self, name: str) -> str:
        return f"OPENAI_{'DST' if self.side == 'destination' else 'SRC'}_{name}"

    @property
    def base_url(self) -> str:
        """The setting, with its value."""
        return f"{self.variable('BASE_URL')} ({self.endpoint.base_url})"

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint.base_url).hostname or ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, its causes, and the members of groups among them."""
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


def trouble(error: Exception) -> Trouble:
    """Why there was no answer, by the error of the HTTP client."""
    if isinstance(error, httpx2.ProxyError):
        return Trouble.PROXY_LOGIN if str(error).split(" ")[0] == "407" else Trouble.PROXY
    if isinstance(error, (httpx2.ConnectTimeout, httpx2.PoolTimeout)):
        return Trouble.NO_CONNECTION
    if isinstance(error, (httpx2.TimeoutException, TimeoutError)):
        return Trouble.SILENT
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


_THROUGH = "requests go through the proxy {proxy} (HTTPS_PROXY, HTTP_PROXY or ALL_PROXY)"
_WITH_OR_WITHOUT_PROXY = {
    Trouble.UNTRUSTED: "set SSL_CERT_FILE (or SSL_CERT_DIR) to the certificates to trust, in PEM format, e.g. those of "
    "your company's proxy; they replace the system's (REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE are ignored)",
    Trouble.EXPIRED: "check this machine's date; if it is right, the server's certificate must be renewed",
    Trouble.OTHER_HOST: "check the host in {base_url}: it must match the certificate",
    Trouble.NO_TLS: "check {base_url}{or_proxy}: for a server without TLS use http://, and on another machine set "
    "{insecure_http}=true",
    Trouble.PROXY_LOGIN: "set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT (NO_PROXY lists hosts to reach directly)",
    Trouble.PROXY: f"{_THROUGH}; allow {{host}} there, or add it to NO_PROXY",
}
_THROUGH_PROXY = f"{_THROUGH}; check it, and {{base_url}}; NO_PROXY lists hosts to reach directly"
_WITHOUT_PROXY = {
    Trouble.NO_NAME: "check the host in {base_url}, and the network (DNS); behind a proxy set HTTPS_PROXY",
    Trouble.REFUSED: "is the server running? Check host and port in {base_url}",
    Trouble.NO_ROUTE: "check the network, a VPN or firewall, and {base_url}; behind a proxy set HTTPS_PROXY",
    Trouble.NO_CONNECTION: "check the network, a VPN or firewall, and {base_url}; behind a proxy set HTTPS_PROXY",
    Trouble.SILENT: "the server accepted the connection but did not answer: try again later, or check {base_url}",
    Trouble.LOST: "check the network, and {base_url}; behind a proxy set HTTPS_PROXY",
}


def for_trouble(kind: Trouble, target: RequestTarget) -> str:
    """The hint where no answer came."""
    text = _WITH_OR_WITHOUT_PROXY.get(kind) or (_THROUGH_PROXY if target.proxy else _WITHOUT_PROXY[kind])
    return text.format(
        base_url=target.base_url,
        host=target.host,
        proxy=target.proxy,
        or_proxy=f", or the proxy {target.proxy}" if target.proxy else "",
        insecure_http=target.variable("INSECURE_HTTP"),
    )


# -- answers -------------------------------------------------------------------------------------------

_REGIONAL = re.compile(r"make your requests? to ((?:[\w-]+\.)*api\.openai\.com)\b", re.I)
_API_VERSION = re.compile(r"api[- ]?version", re.I)
_PLAIN_TO_TLS = re.compile(r"plain HTTP request was sent to HTTPS|HTTP request to an HTTPS server", re.I)
_AZURE = (".azure.com", ".azure.us", ".azure.cn", ".azure-api.net", ".microsoft.com")
_FOUNDRY = {
    401: "a Foundry project takes Entra tokens for https://ai.azure.com/.default, which last an hour: set {command} to "
    "a command that prints one",
    403: "the token needs a role on the Foundry project, such as Foundry User (earlier Azure AI User)",
}


def for_refusal(status: int, code: str | None, detail: str, target: RequestTarget) -> str:
    """The hint for a refusal of a known kind, else ``""``."""
    if target.endpoint.is_foundry and status in (401, 403) and code != "preview_feature_required":
        return _FOUNDRY[status].format(command=target.variable("TOKEN_COMMAND"))
    # A Foundry project is named by its address.
    if status in (400, 401, 403, 404) and not target.endpoint.is_foundry and (what := scope(code, detail)):
        return _for_scope(what, target)
    if regional := _REGIONAL.search(detail):
        return f"set {target.variable('BASE_URL')}=https://{regional[1]}/v1"
    if status == 400 and _PLAIN_TO_TLS.search(detail):
        return f"use https:// instead of http:// in {target.base_url}"
    if status == 407:
        return for_trouble(Trouble.PROXY_LOGIN, target)
    if code == "DeploymentNotFound":
        return "a model is named by its deployment: use --map-model OLD=DEPLOYMENT; `holdall doctor -v` lists them"
    if status in (400, 404):
        return _for_azure(status, detail, target)
    return ""


def _for_scope(what: str, target: RequestTarget) -> str:
    ours = target.endpoint
    title, variable, value, named = {
        "project": ("project", "PROJECT_ID", ours.project, ours.names.project),
        "organization": ("organisation", "ORG_ID", ours.organization, ours.names.organization),
    }[what]
    variable = target.variable(variable)
    if value is None:
        return f"set {variable} to the {title} id of the key"
    return f"{named} is {value}: set {variable} to the {title} of the key, or unset it (project keys don't need it)"


def _for_azure(status: int, detail: str, target: RequestTarget) -> str:
    said = _API_VERSION.search(detail)
    query = {name.lower(): value for name, value in target.endpoint.query.items()}
    version = query.get("api-version")
    if version is not None:
        variable = target.variable("BASE_URL")
        if target.endpoint.is_foundry:
            hint = (
                f"the project is asked with api-version={version}: add ?api-version=VERSION to {variable} for another"
            )
        else:
            hint = f"{variable} ends in ?api-version={version}: use another version"
        # A 404 without a word on the version may be about the object.
        return hint if said else ""
    azure = target.host.endswith(_AZURE) and status == 404 and "resource not found" in detail.lower()
    if not (said or azure):
        return ""
    return (
        "Azure needs the API version in the base URL: "
        f"{target.variable('BASE_URL')}='{target.endpoint.base_url}?api-version=v1' "
        "(or a date such as 2024-05-01-preview; …/openai/v1 needs none)"
    )


def for_page(target: RequestTarget, moved_to: str = "") -> str:
    """The hint for a web page in place of the API's answer, or a redirect to another origin."""
    if moved_to:
        return (
            f"set {target.base_url} to {moved_to}… if that is the API; if it is a login page, log in to this "
            f"network first"
        )
    missing = "" if "/v1" in urlsplit(target.endpoint.base_url).path else " (is /v1 missing at its end?)"
    return f"this may be a login page, a proxy's block page or a wrong address: check {target.base_url}{missing}"
