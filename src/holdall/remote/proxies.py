"""Which proxy a request goes through: read from the environment, else from the system's settings.

Requests to this machine never go through one. What is named here is what is used: the transport asks here too.
"""

from __future__ import annotations

import ipaddress
import os
from importlib.util import find_spec
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec

from holdall.endpoint import Secret, is_loopback
from holdall.errors import UsageFault


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy. ``url`` may hold a password; ``host``, with its port, and the ``setting`` that names it don't."""

    url: Secret
    host: str
    setting: str

    def __str__(self) -> str:
        return f"{self.host} ({self.setting})"


def proxy_for(url: str) -> Proxy | None:
    """The proxy for requests to ``url``. Raises UsageFault, which doesn't show it, for one that can't be used."""
    parts, found = urlsplit(url), getproxies()
    host, value = parts.hostname or "", found.get(parts.scheme) or found.get("all")
    if not value or is_loopback(host) or _is_exempt(host, parts.port, found.get("no", "")):
        return None
    return _read(value.strip(), _setting(parts.scheme if found.get(parts.scheme) else "all"))


def _is_exempt(host: str, port: int | None, listed: str) -> bool:
    """Whether NO_PROXY, or what the system has in its place, lists the host, its domain, or its network."""
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


def _setting(kind: str) -> str:
    names = (f"{kind}_proxy", f"{kind}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), "the system's settings")


def _read(value: str, setting: str) -> Proxy:
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
