"""The address and credentials of an account. Values only: nothing is sent from here.

An address may be Azure's: of a Foundry project, or of the account that the project is in, in the form in which people
have it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, urlsplit, urlunsplit

import msgspec

from holdall.errors import Mistakes, UsageFault

DEFAULT_BASE_URL = "https://api.openai.com/v1"

# What a parameter of a URL is called that holds a key: api-key, access_token, sig, code …
_KEY_PARAMETER = re.compile(r"key|token|secret|sig|code|pass|auth", re.I)


class Secret:
    """A string that never prints itself: not in a repr, a log, an error or a bundle."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """What the parts of an endpoint are called where they came from, for messages."""

    key: str = "the API key"
    base_url: str = "the base URL"
    organization: str = "the organisation id"
    project: str = "the project id"
    insecure_http: str = "insecure_http=True"


_DEFAULT_NAMES = Names()


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One account: base URL without its query string, the query that goes on every request, key and scope.

    With a ``token_command`` the key is not used: the command's output is. ``names`` is where its parts come from. Of a
    Foundry project the base URL is the project's, whichever part of it was given, and ``remote.wire`` says which
    path takes the query.
    """

    base_url: str
    key: Secret
    token_command: tuple[str, ...] = ()
    organization: str | None = None
    project: str | None = None
    query: dict[str, str] = {}
    names: Names = _DEFAULT_NAMES

    def is_same(self, other: Endpoint) -> bool:
        """Whether the two are one account by what is known without asking: the same key for the same address, or the
        same Foundry project."""

        if self.is_foundry:  # a project has no other keys than tokens, which change
            return self.base_url == other.base_url

        # A Secret compares by identity, and where the parts came from makes no other account.
        def known(each: Endpoint) -> tuple[object, ...]:
            return each.base_url, each.query, each.key.reveal(), each.token_command, each.organization, each.project

        return known(self) == known(other)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets in it: the key, and a key in the query."""
        return self.key.reveal(), *(value for name, value in self.query.items() if _KEY_PARAMETER.search(name))

    @property
    def is_foundry(self) -> bool:
        """Whether it is a project of Azure AI Foundry."""
        return is_project(self.base_url)

    def require_project(self) -> None:
        """Raise UsageFault, with the address that is wanted, where it is no project of Azure AI Foundry."""
        if not self.is_foundry:
            raise UsageFault(
                f"can't use {self.names.base_url}: {self.base_url} is not the address of a Foundry project",
                hint=f"it has the form {_example_address(urlsplit(self.base_url).hostname or '')}",
            )

    @property
    def host(self) -> str:
        """With the port where the URL names one: two servers on one machine differ in nothing else."""
        parts = urlsplit(self.base_url)
        return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or self.base_url

    @property
    def is_in_clear(self) -> bool:
        """Whether the key and all content go to another machine unencrypted."""
        return _is_in_clear(urlsplit(self.base_url))

    @property
    def title(self) -> str:
        """For people: host, and the project if one was named."""
        name = self.project or project_name(self.base_url)
        return f"{self.host} ({name})" if name else self.host


def endpoint(
    key: str,
    base_url: str = DEFAULT_BASE_URL,
    *,
    organization: str | None = None,
    project: str | None = None,
    token_command: tuple[str, ...] = (),
    insecure_http: bool = False,
    names: Names = _DEFAULT_NAMES,
) -> Endpoint:
    """An Endpoint from what a user writes. A query string in ``base_url`` (Azure needs one) goes on every request.

    Raises UsageFault, by ``names``, for a URL that isn't http(s), holds a password or a fragment, or would send the key
    to another machine unencrypted without ``insecure_http``, and for a key or id that can't stand in a header; for all
    of them together.
    """
    mistakes = Mistakes()
    with mistakes.noted():
        parts = _checked_url(base_url, names, insecure_http)
    with mistakes.noted():
        secret = Secret("" if token_command else _header_value(key, names.key))
    with mistakes.noted():
        organization = _header_value(organization, names.organization) if organization else None
    with mistakes.noted():
        project = _header_value(project, names.project) if project else None
    mistakes.raise_all()
    return Endpoint(
        # Paths begin with a slash, and two of them are another path to most servers.
        base_url=canonical_url(urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))),
        key=secret,
        token_command=token_command,
        organization=organization,
        project=project,
        query=_query(parts),
        names=names,
    )


def _query(parts: SplitResult) -> dict[str, str]:
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    version = next((name for name in given if name.lower() == API_VERSION), None)
    if version and _takes_no_version(parts.hostname or "", parts.path):
        del given[version]
    elif version is None and project_path(parts.path):
        given[API_VERSION] = FOUNDRY_VERSION
    return given


def _checked_url(base_url: str, names: Names, insecure_http: bool) -> SplitResult:
    try:
        parts = urlsplit(base_url.strip())
        fit = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that are no address, a port that is no number
        fit = False
    if not fit:
        raise UsageFault(
            f"can't use {names.base_url}: it must be https:// or http:// and a host",
            hint=f"the default is {DEFAULT_BASE_URL}",
        )
    if "@" in parts.netloc:
        raise UsageFault(f"can't use {names.base_url}: it contains a user name or password, which is never sent")
    if parts.fragment:
        raise UsageFault(f"can't use {names.base_url}: it contains a fragment (#…), which is never sent")
    if _is_in_clear(parts) and not insecure_http:
        raise UsageFault(
            f"can't use {names.base_url}: http:// sends the key and all content to {parts.hostname} unencrypted",
            hint=f"use https://, or {names.insecure_http} on a network that you trust",
        )
    if hint := _azure_hint(parts.hostname or "", parts.path):
        raise UsageFault(f"can't use {names.base_url}: no API is at this address of Azure", hint=hint)
    return parts


def _is_in_clear(parts: SplitResult) -> bool:
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine by its name alone; a name that happens to resolve to it is not.

    >>> [is_loopback(host) for host in ("localhost", "127.1.2.3", "::1", "::ffff:127.0.0.1", "127.evil.com")]
    [True, True, True, True, False]
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _header_value(text: str, name: str) -> str:
    """``text`` for use in a header. Raises UsageFault, without showing it: it may be a secret."""
    # A line break would end the header, and let the rest of the text be headers of its own.
    word = text.strip()
    if not word or not word.isascii() or not word.isprintable() or " " in word:
        raise UsageFault(f"can't use {name}: it contains a space, a line break or a non-ASCII character")
    return word


def same_account(one: Mapping[str, str | None], other: Mapping[str, str | None]) -> bool:
    """Whether two accounts are one, each given by ``base_url``, ``organization`` and ``project``, as far as known.

    A project's id decides where both have one, by whatever name its server is reached; else base URL and organisation.
    """
    theirs, ours = one.get("project"), other.get("project")
    if theirs and ours:
        return theirs == ours
    urls = (canonical_url(each.get("base_url") or "") for each in (one, other))
    pairs = [tuple(urls), (one.get("organization"), other.get("organization"))]
    return all(not (first and second) or first == second for first, second in pairs)


def title(account: Mapping[str, str | None]) -> str:
    """For people: the project of an account as ``same_account`` takes it, or else its server."""
    return f"project {account['project']}" if account.get("project") else str(account.get("base_url") or "a server")


# -- Azure's addresses ---------------------------------------------------------------------------------

API_VERSION = "api-version"
FOUNDRY_VERSION = "v1"
"""The default API version of Foundry's own paths."""
OPENAI_PART = "/openai/v1"
"""Below a project, or at an account: OpenAI's API, which takes no version in the query."""

# By the path alone, so that it is found behind a gateway, too.
_PROJECT_PATH = re.compile(r"(.*/api/projects/[^/]+)(?:/openai(?:/v1)?)?/*")
_AZURE_HOST = re.compile(r"([a-z0-9-]+)\.(?:services\.ai|openai|cognitiveservices)\.azure\.(com|us|cn)", re.I)


def project_path(path: str) -> str | None:
    """The path of the project that a URL's path leads to, None where it leads to none.

    >>> project_path("/api/projects/p/openai/v1/"), project_path("/v1")
    ('/api/projects/p', None)
    """
    found = _PROJECT_PATH.fullmatch(path)
    return found[1] if found else None


def is_project(base_url: str) -> bool:
    """Whether a base URL is that of a Foundry project, or of the part of one that is OpenAI's API."""
    return project_path(urlsplit(base_url).path) is not None


def project_name(base_url: str) -> str:
    """The name of a Foundry project, ``""`` where the base URL is not that of one.

    >>> project_name("https://a.services.ai.azure.com/api/projects/support")
    'support'
    """
    return (project_path(urlsplit(base_url).path) or "").rpartition("/")[2]


def canonical_url(base_url: str) -> str:
    """One base URL for each project, whichever part of it was given; any other as it is.

    >>> canonical_url("https://A.services.ai.azure.com/api/projects/p/openai/v1")
    'https://a.services.ai.azure.com/api/projects/p'
    """
    try:
        parts = urlsplit(base_url)
    except ValueError:  # a journal may have anything
        return base_url
    path = project_path(parts.path)
    return base_url if path is None else f"{parts.scheme}://{parts.netloc.lower()}{path}"


def _example_address(host: str = "") -> str:
    """The address of a project, of the account at ``host`` where that is one of Azure's."""
    found = _AZURE_HOST.fullmatch(host)
    account, end = (found[1], found[2]) if found else ("ACCOUNT", "com")
    return f"https://{account}.services.ai.azure.{end}/api/projects/PROJECT"


def _azure_hint(host: str, path: str) -> str:
    """The addresses that are meant where one at Azure is of no API; ``""`` where nothing is wrong with it."""
    if not _AZURE_HOST.fullmatch(host) or project_path(path) or (path.strip("/") and not path.startswith("/api/")):
        return ""
    models = f"https://{host}{OPENAI_PART}"
    return f"use {_example_address(host)} for a Foundry project, or {models} for the account's OpenAI models"


def _takes_no_version(host: str, path: str) -> bool:
    """Whether a URL is of an account's OpenAI API, which takes no version in the query."""
    return _AZURE_HOST.fullmatch(host) is not None and path.rstrip("/") == OPENAI_PART
