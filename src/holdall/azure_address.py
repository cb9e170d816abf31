"""Azure's addresses, as people have them: of Foundry projects, and of the accounts that these are in. Pure."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

API_VERSION = "api-version"
VERSION = "v1"
"""The default API version of Foundry's own paths."""
OPENAI_PART = "/openai/v1"
"""Below a project, or at an account: OpenAI's API, which takes no version in the query."""

# By the path alone, so that it is found behind a gateway, too.
_PROJECT = re.compile(r"(.*/api/projects/[^/]+)(?:/openai(?:/v1)?)?/*")
_ACCOUNT = re.compile(r"([a-z0-9-]+)\.(?:services\.ai|openai|cognitiveservices)\.azure\.(com|us|cn)", re.I)


def project_path(path: str) -> str | None:
    """The path of the project that a URL's path leads to, None where it leads to none.

    >>> project_path("/api/projects/p/openai/v1/"), project_path("/v1")
    ('/api/projects/p', None)
    """
    found = _PROJECT.fullmatch(path)
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


def canonical(base_url: str) -> str:
    """One base URL for each project, whichever part of it was given; any other as it is.

    >>> canonical("https://A.services.ai.azure.com/api/projects/p/openai/v1")
    'https://a.services.ai.azure.com/api/projects/p'
    """
    try:
        parts = urlsplit(base_url)
    except ValueError:  # a journal may have anything
        return base_url
    path = project_path(parts.path)
    return base_url if path is None else f"{parts.scheme}://{parts.netloc.lower()}{path}"


def example(host: str = "") -> str:
    """The address of a project, of the account at ``host`` where that is one of Azure's."""
    found = _ACCOUNT.fullmatch(host)
    account, end = (found[1], found[2]) if found else ("ACCOUNT", "com")
    return f"https://{account}.services.ai.azure.{end}/api/projects/PROJECT"


def way_out(host: str, path: str) -> str:
    """The addresses that are meant where one at Azure is of no API; ``""`` where nothing is wrong with it."""
    if not _ACCOUNT.fullmatch(host) or project_path(path) or (path.strip("/") and not path.startswith("/api/")):
        return ""
    return f"use {example(host)} for a Foundry project, or https://{host}{OPENAI_PART} for the account's OpenAI models"


def takes_no_version(host: str, path: str) -> bool:
    """Whether a URL is of an account's OpenAI API, which takes no version in the query."""
    return _ACCOUNT.fullmatch(host) is not None and path.rstrip("/") == OPENAI_PART
