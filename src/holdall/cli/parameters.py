"""What a command's parameters mean: its settings, the account that it works on, and what an import is asked for."""

from __future__ import annotations

import io
import logging
import os
from collections.abc import Callable, Container, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click
import msgspec

from holdall.cli.console import Console
from holdall.cli.options import typed_flags
from holdall.endpoint import Endpoint
from holdall.errors import HoldallError, Mistakes, UsageFault, pasteable
from holdall.safe_files import read_regular
from holdall.settings import (
    BothSettings,
    DestinationSettings,
    Lookup,
    SourceSettings,
    both_settings,
    destination_settings,
    output_folder,
    source_settings,
)

if TYPE_CHECKING:
    from holdall.importer.verbs.import_bundle import Asked
    from holdall.remote.client import Account


ARCHIVES = Path("archives")
"""Where bundles are written and listed, if nobody says where."""

P = ParamSpec("P")
T = TypeVar("T")


def read_source(console: Console, given: Mapping[str, Any], *, key_needed: bool = True) -> SourceSettings:
    """Settings of the source side from what a command was ``given``; notices and the .env path go to stderr."""
    settings = source_settings(_lookup(console, given), key_needed=key_needed)
    _show_notices(console, settings.log_level, settings.notices, settings.endpoint)
    return settings


def read_destination(console: Console, given: Mapping[str, Any]) -> DestinationSettings:
    """As ``read_source``, for the destination side, which ``--same-project`` says to be the source's."""
    settings = destination_settings(_lookup(console, given), is_source=given.get("same_project", False))
    _show_notices(console, settings.log_level, settings.notices, settings.endpoint)
    return settings


def read_both(console: Console, given: Mapping[str, Any]) -> BothSettings:
    """As ``read_source``, for each side that has a key."""
    settings = both_settings(_lookup(console, given))
    _show_notices(console, settings.log_level, [], settings.source, settings.destination)
    return settings


def read_output_dir(console: Console, given: Mapping[str, Any]) -> Path:
    """OUTPUT_DIR, for a command that needs no account."""
    lookup = _lookup(console, given)
    lookup.mistakes.raise_all()
    return output_folder(lookup)


def read_import(console: Console, given: Mapping[str, Any]) -> tuple[DestinationSettings, Asked]:
    """The settings of an import, and what it is asked for. Raises UsageFault, for all that is wrong together."""
    mistakes = Mistakes()
    with mistakes.noted():
        settings = read_destination(console, given)
    with mistakes.noted():
        asked = _asked_of(given)
    mistakes.raise_all()
    # The prefix is a setting too: CLONE_NAME_PREFIX.
    return settings, msgspec.structs.replace(asked, prefix=settings.prefix)


def _asked_of(given: Mapping[str, Any]) -> Asked:
    from holdall.importer.verbs.import_bundle import Asked, connection_map, model_map
    from holdall.selection import pattern

    mistakes = Mistakes()
    for flag in ("delete", "even_if_changed"):
        if given[flag] and given["on_conflict"] != "update":
            mistakes.add(UsageFault(f"--{flag.replace('_', '-')} needs --on-conflict update"))
    with mistakes.noted():
        model_map(given["map_model"])
    with mistakes.noted():
        connection_map(given["map_connection"])
    for text in (*given["only"], *given["exclude"]):
        with mistakes.noted():
            pattern(text)
    mistakes.raise_all()
    # The options have the names of the fields.
    asked = {name: given[name] for name in Asked.__struct_fields__ if given.get(name) is not None}
    form = asked.pop("form")
    return msgspec.convert(asked if form == "auto" else {**asked, "as": form}, Asked)


def faults(console: Console, given: Mapping[str, Any], names: Container[str | None]) -> list[HoldallError]:
    """Mistakes in the settings of a command with the options ``names``, whose command line has mistakes already.

    A key that isn't set is not among them: whether it is needed may depend on the others.
    """
    if "env_file" not in names or ("against" in names and not given.get("against")):
        return []
    mistakes = Mistakes()
    with mistakes.noted():
        if "src_base_url" in names:
            source_settings(_lookup(console, given))
    with mistakes.noted():
        if "dst_base_url" in names:
            destination_settings(_lookup(console, given), is_source=given.get("same_project") or False)
    return [error for error in mistakes if isinstance(error, UsageFault)]


def require_folder(target: Path) -> None:
    """Raises UsageFault where the folder of ``target`` doesn't exist."""
    if not target.parent.is_dir():
        raise UsageFault(
            f"can't write {target}: no such folder: {target.parent}", hint=f"mkdir -p {pasteable(target.parent)}"
        )


def at_destination(
    console: Console,
    settings: DestinationSettings,
    verb: Callable[Concatenate[Account, P], Coroutine[Any, Any, T]],
    *arguments: P.args,
    **named: P.kwargs,
) -> T:
    """Run one of the importer's verbs with the destination's account."""
    import asyncio

    from holdall.remote.client import Account

    async def run() -> T:
        progress, concurrency = console.progress(), settings.concurrency
        async with Account(
            settings.endpoint, side="destination", concurrency=concurrency, progress=progress
        ) as account:
            return await verb(account, *arguments, **named)

    return asyncio.run(run())


def _lookup(console: Console, given: Mapping[str, Any]) -> Lookup:
    """The layers of settings. Warns of variables that were meant for holdall and aren't read."""
    flags = {f"--{name.replace('_', '-')}": value for name, value in given.items()}
    typed = typed_flags(click.get_current_context(silent=True))
    lookup = Lookup(flags, os.environ, *_dotenv(console, given.get("env_file")), typed=typed)
    for line in lookup.near_misses():
        console.warn_once(f"warning: {line}")
    return lookup


def _dotenv(console: Console, chosen: str | None) -> tuple[Mapping[str, str | None], str]:
    """The values of the ``.env`` file, and its path."""
    if chosen == "none":
        return {}, ""
    if chosen and not Path(chosen).exists():
        raise UsageFault(f"can't read --env-file {chosen}: no such file", hint="use --env-file none to read no file")
    # Imported here: many commands need no settings, and this takes longer than verifying a small bundle.
    from dotenv import dotenv_values, find_dotenv

    found = chosen or find_dotenv(usecwd=True)
    if not found:
        return {}, ""
    if not console.quiet:
        console.warn_once(f"settings from {found}")
    try:
        # Editors on Windows begin a file with a byte order mark; a key may have a $ in it.
        text = read_regular(found).decode("utf-8-sig")
        if "\0" in text:
            raise UsageFault(f"can't read {found}: it isn't a text file", hint="use --env-file none to read no file")
        return dotenv_values(stream=io.StringIO(text), interpolate=False), found
    except OSError as error:
        raise UsageFault(
            f"can't read {found}: {error.strerror or error}", hint="use --env-file none to read no file"
        ) from None
    except UnicodeDecodeError:
        raise UsageFault(
            f"can't read {found}: it isn't UTF-8", hint="save it as UTF-8, or use --env-file none"
        ) from None


def _show_notices(console: Console, log_level: str, notices: list[str], *accounts: Endpoint | None) -> None:
    """Print what the settings narrow, and how keys and files travel. Raises UsageFault for an unusable proxy."""
    # The levels below are what --quiet leaves out.
    if log_level in ("warning", "error"):
        console.quiet = True
    if log_level == "debug":
        logger = logging.getLogger("holdall")
        if not logger.handlers:
            handler = logging.StreamHandler(console.stderr)
            handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
            logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    for notice in [*notices, *(line for account in accounts if account for line in _warnings_of(account))]:
        console.warn_once(f"note: {notice}")


def _warnings_of(account: Endpoint) -> Iterator[str]:
    from holdall.remote.transport import proxy_for

    if account.is_in_clear:
        yield f"the key and all content go to {account.host} unencrypted"
    if proxy := proxy_for(account.base_url):
        yield f"requests to {account.host} go through the proxy {proxy}"
