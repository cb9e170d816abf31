"""Options that several commands share, declared once, and the way from a command's parameters to its settings."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from dotenv import dotenv_values, find_dotenv

from holdall.cli.common_options import Command, OutputFile, output
from holdall.cli.console import Console
from holdall.endpoint import Endpoint
from holdall.errors import HoldallError, Mistakes, UsageFault
from holdall.opening import read_regular
from holdall.remote.proxies import proxy_for
from holdall.settings import (
    BothSettings,
    DestinationSettings,
    Lookup,
    SourceSettings,
    both_settings,
    destination_settings,
    source_settings,
)

if TYPE_CHECKING:
    from holdall.remote.client import Account

__all__ = [
    "Command",
    "OutputFile",
    "account",
    "destination",
    "faults",
    "output",
    "read_both",
    "read_destination",
    "read_source",
    "shared",
]

F = TypeVar("F", bound=Callable[..., Any])


def account(side: str, *, alone: bool = False) -> Callable[[F], F]:
    """Where the account of one side (``src`` or ``dst``) is. Its key has no flag.

    ``alone`` says that the command knows one side only, so that a flag may do without the side's name.
    """
    title = "Source" if side == "src" else "Destination"

    def decorate(command: F) -> F:
        if side == "src":
            short = ("--token-command",) if alone else ()
            command = click.option(
                "--src-token-command",
                *short,
                "src_token_command",
                metavar="CMD",
                help="A command that prints a bearer token, run again before it ends (OPENAI_SRC_TOKEN_COMMAND).",
            )(command)
        command = click.option(
            f"--{side}-insecure-http",
            is_flag=True,
            default=None,
            help=f"Allow http:// to another machine, which sees no encryption (OPENAI_{side.upper()}_INSECURE_HTTP).",
        )(command)
        for name, variable, metavar, text in (
            ("project-id", "PROJECT_ID", "ID", "project, for user keys"),
            ("org-id", "ORG_ID", "ID", "organisation, for user keys"),
            ("base-url", "BASE_URL", "URL", "server, if it isn't OpenAI"),
        ):
            command = click.option(
                f"--{side}-{name}", metavar=metavar, help=f"{title} {text} (OPENAI_{side.upper()}_{variable})."
            )(command)
        return command

    return decorate


def shared(command: F) -> F:
    """Options of every command that speaks with an account."""
    command = click.option(
        "--env-file", metavar="FILE|none", help="Read this .env instead of looking for one; none reads none."
    )(command)
    command = click.option("--log-level", metavar="LEVEL", help="debug | info | warning | error (LOG_LEVEL).")(command)
    return click.option("--concurrency", metavar="N", help="Requests at once, 1 to 256, default 3 (MAX_CONCURRENCY).")(
        command
    )


def read_source(console: Console, parameters: Mapping[str, Any], *, key_needed: bool = True) -> SourceSettings:
    """Settings of the source side from a command's click parameters; notices and the .env path go to stderr."""
    settings = source_settings(_lookup(console, parameters), key_needed=key_needed)
    _announce(console, settings.log_level, settings.notices, settings.endpoint)
    return settings


def read_destination(console: Console, parameters: Mapping[str, Any]) -> DestinationSettings:
    """As ``read_source``, for the destination side."""
    settings = destination_settings(_lookup(console, parameters))
    _announce(console, settings.log_level, settings.notices, settings.endpoint)
    return settings


def read_both(console: Console, parameters: Mapping[str, Any]) -> BothSettings:
    """As ``read_source``, for each side that has a key."""
    settings = both_settings(_lookup(console, parameters))
    _announce(console, settings.log_level, [], settings.source, settings.destination)
    return settings


def faults(console: Console, parameters: Mapping[str, Any], names: Container[str | None]) -> list[HoldallError]:
    """What else is wrong in the settings of a command with the options ``names``, some of which can't be read.

    A key that isn't set is not among them: whether it is needed may depend on the others.
    """
    if "env_file" not in names or ("against" in names and not parameters.get("against")):
        return []
    mistakes = Mistakes()
    reads: list[tuple[str, Callable[[Lookup], object]]] = [
        ("src_base_url", source_settings),
        ("dst_base_url", destination_settings),
    ]
    for name, read in reads:
        with mistakes.noted():
            if name in names:
                read(_lookup(console, parameters))
    return [error for error in mistakes if isinstance(error, UsageFault)]


def destination(console: Console, settings: DestinationSettings) -> Account:
    """The account that an import, or a comparison, is about."""
    from holdall.remote.client import Account

    return Account(settings.endpoint, side="destination", concurrency=settings.concurrency, progress=console.progress())


def _lookup(console: Console, parameters: Mapping[str, Any]) -> Lookup:
    """The settings' layers; what is set and was meant for holdall, but isn't read, is warned of."""
    flags = {f"--{name.rstrip('_').replace('_', '-')}": value for name, value in parameters.items()}
    lookup = Lookup(flags, os.environ, *_dotenv(console, parameters.get("env_file")))
    for line in lookup.near_misses():
        console.warn_once(f"warning: {line}")
    return lookup


def _dotenv(console: Console, chosen: str | None) -> tuple[Mapping[str, str | None], str]:
    """The values of the ``.env`` file and its path, which is said."""
    if chosen == "none":
        return {}, ""
    if chosen and not Path(chosen).exists():
        raise UsageFault(f"can't read --env-file {chosen}: no such file", hint="--env-file none reads none")
    found = chosen or find_dotenv(usecwd=True)
    if not found:
        return {}, ""
    if console.env_file != found:
        console.env_file = found
        console.say(f"settings from {found}")
    try:
        text = read_regular(found).decode("utf-8-sig")
        return dotenv_values(stream=io.StringIO(text), interpolate=False), found
    except OSError as error:
        raise UsageFault(f"can't read {found}: {error.strerror or error}", hint="--env-file none reads none") from None
    except UnicodeDecodeError:
        raise UsageFault(f"can't read {found}: it isn't UTF-8", hint="save it as UTF-8, or --env-file none") from None


def _announce(console: Console, log_level: str, notices: list[str], *accounts: Endpoint | None) -> None:
    """Say what the settings narrow, and which way keys and files go. Raises UsageFault for a proxy of no use."""
    if log_level in ("warning", "error"):
        console.quiet = True
    if log_level == "debug":
        logger = logging.getLogger("holdall")
        if not logger.handlers:
            handler = logging.StreamHandler(console.stderr)
            handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
            logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    for notice in [*notices, *(line for account in accounts if account for line in _ways(account))]:
        console.warn_once(f"note: {notice}")


def _ways(account: Endpoint) -> Iterator[str]:
    if account.is_in_clear:
        yield f"the key and all content go to {account.host} unencrypted"
    if proxy := proxy_for(account.base_url):
        yield f"requests to {account.host} go through the proxy {proxy}"
