"""Where an account is, and how we prove who we are: values only, nothing is sent from here."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit, urlunsplit

import msgspec

from holdall.errors import UsageFault

__all__ = ["DEFAULT_BASE_URL", "Endpoint", "Secret", "endpoint"]

DEFAULT_BASE_URL = "https://api.openai.com/v1"


class Secret:
    """A string that never prints itself: not in a repr, a log, an error or a bundle."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One account: base URL without its query string, the query that goes on every request, key and scope.

    With a ``token_command`` the key is not used: the command's output is.
    """

    base_url: str
    key: Secret
    token_command: tuple[str, ...] = ()
    organization: str | None = None
    project: str | None = None
    query: dict[str, str] = {}

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).hostname or self.base_url

    @property
    def title(self) -> str:
        """For people: host, and the project if one was named."""
        return f"{self.host} ({self.project})" if self.project else self.host


def endpoint(
    key: str,
    base_url: str = DEFAULT_BASE_URL,
    *,
    organization: str | None = None,
    project: str | None = None,
    token_command: tuple[str, ...] = (),
) -> Endpoint:
    """An Endpoint from what a user writes. A query string in ``base_url`` (Azure needs one) goes on every request.

    Raises UsageFault for a URL that isn't http(s), that holds a password, or a key that can't stand in a header.
    """
    parts = urlsplit(base_url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageFault(
            f"can't use base URL {base_url!r}: it must begin with https:// or http:// and name a host",
            hint=f"the default is {DEFAULT_BASE_URL}",
        )
    if parts.username or parts.password:
        raise UsageFault("can't use the base URL: it holds a user name or password, which no server here wants")
    key = key.strip()
    if token_command:
        key = ""
    elif not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UsageFault("can't use the API key: it has a space, a line break or a letter that no key has")
    return Endpoint(
        base_url=urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", "")),
        key=Secret(key),
        token_command=token_command,
        organization=organization or None,
        project=project or None,
        query=dict(parse_qsl(parts.query, keep_blank_values=True)),
    )
