"""Settings: flags over environment over ``.env``, one frozen struct a side, each value with its origin.

Nothing here reads the process: flags, environment and the ``.env`` file's values come in as mappings. Keys have no
flag, because a command line is visible to every process of a machine.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from holdall.credentials import refuse_key
from holdall.endpoint import DEFAULT_BASE_URL, Endpoint, Names, endpoint
from holdall.errors import AuthenticationFailed, Mistakes, UsageFault
from holdall.quoting import command_words
from holdall.selection import Selection, pattern
from holdall.variables import KEY_VARIABLES, KEYS_OF, VARIABLES, meant

T = TypeVar("T")

_BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
_COMMANDS = ("_TOKEN_COMMAND", "-token-command")
_LISTS = {"by_id": "CLONE_IDS", "by_name": "CLONE_NAMES"}
_LOG_LEVELS = ("debug", "info", "warning", "error")


def said_origin(origin: str) -> str:
    """An origin as messages say it; ``--json`` has the word itself."""
    return "the environment" if origin == "environment" else origin


class Value(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A setting and where it comes from: a flag, ``environment``, the path of a ``.env`` file, or ``default``.

    ``name`` is the flag or variable that said it, or ``""`` for a default.
    """

    value: T
    origin: str = "default"
    name: str = ""

    @property
    def is_flag(self) -> bool:
        return self.name.startswith("--")

    def __str__(self) -> str:
        return self.name if self.is_flag else f"{self.name} from {said_origin(self.origin)}"


class SourceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an export needs. ``notices`` are lines that say what narrows the work, and which setting did.

    ``endpoint`` is None where no key is set; only an export that fetches nothing can do without.
    """

    endpoint: Endpoint | None
    label: str | None
    selection: Selection
    file_search: bool
    code_interpreter: bool
    concurrency: int
    log_level: str
    notices: list[str]


class DestinationSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What an import, or a comparison with a destination, needs. ``settle`` is in seconds."""

    endpoint: Endpoint
    prefix: str
    dry_run: bool
    output_dir: Path
    settle: float
    concurrency: int
    log_level: str
    notices: list[str]


class BothSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a look at the accounts needs. An endpoint is None where no key of its side is set, but never both.

    ``ignored`` are the variables that look as if they were for holdall and aren't read, each with its origin.
    """

    source: Endpoint | None
    destination: Endpoint | None
    concurrency: int
    log_level: str
    ignored: list[tuple[str, str]]


class Lookup:
    """Finds a setting by its flag, then by its variables in the environment, then in the ``.env`` file.

    ``flags`` maps a flag (``--label``) to its value, None or an empty tuple where it wasn't given; ``typed`` has the
    other names under which flags were given. An empty variable counts as not set. What can't be used is noted in
    ``mistakes``, with the variable's name and what is allowed.
    """

    def __init__(
        self,
        flags: Mapping[str, Any],
        environ: Mapping[str, str],
        dotenv: Mapping[str, str | None],
        dotenv_name: str = "",
        *,
        typed: Mapping[str, str] | None = None,
    ) -> None:
        self.mistakes = Mistakes()
        layers = (("environment", environ), (dotenv_name or ".env", dotenv))
        keys = {said for _, layer in layers for name in KEY_VARIABLES if (said := layer.get(name))}
        self._typed = typed or {}
        given = {name: value for name, value in flags.items() if value not in (None, ())}
        self._flags = {name: value for name, value in given.items() if self._is_keyless(value, name, keys)}
        self._layers = tuple(
            (origin, {name: said for name, said in layer.items() if self._is_keyless(said, name, keys, origin)})
            for origin, layer in layers
        )

    def _is_keyless(self, value: Any, name: str, keys: Collection[str], origin: str = "") -> bool:
        """Whether a setting holds no key, or is one for keys; else that is noted."""
        # A command may have to be given a key, and what isn't read is shown nowhere.
        if name in KEY_VARIABLES or name.endswith(_COMMANDS) or (origin and name not in VARIABLES):
            return True
        try:
            for each in value if isinstance(value, list | tuple) else [value]:
                refuse_key(str(each or ""), name, keys, f" from {said_origin(origin)}" if origin else "")
        except UsageFault as error:
            self.mistakes.add(error)
            return False
        return True

    def flag(self, flag: str) -> Any:
        """The flag's value, or None where it wasn't given."""
        return self._flags.get(flag)

    def find(self, flag: str | None, *names: str) -> Value[str] | None:
        """The first of flag, environment and ``.env`` that says something."""
        given = self.flag(flag) if flag else None
        if given is not None:
            name = self._typed.get(str(flag), str(flag))
            return Value(value=str(given), origin=name, name=name)
        for origin, layer in self._layers:
            for name in names:
                if said := layer.get(name):
                    return Value(value=said, origin=origin, name=name)
        return None

    def _all(self) -> Iterator[tuple[str, str]]:
        """Each variable that is set, with its origin."""
        for origin, layer in self._layers:
            yield from ((name, origin) for name in sorted(layer) if layer[name])

    def ignored(self) -> list[tuple[str, str]]:
        """The ``OPENAI_*`` variables that are set and that nothing here reads, each with its origin."""
        return [each for each in self._all() if each[0].startswith("OPENAI_") and each[0] not in VARIABLES]

    def near_misses(self) -> list[str]:
        """A line for each variable that is set, isn't read, and was surely meant for holdall."""
        return [
            f"{name} from {said_origin(origin)} is ignored{f': did you mean {ours}?' if ours else ''}"
            for name, origin in self._all()
            if (ours := meant(name)) is not None
        ]

    def text(self, flag: str, name: str, default: T) -> Value[str] | Value[T]:
        return self.find(flag, name) or Value(value=default)

    def parsed(
        self, flag: str | None, name: str, default: T, parse: Callable[[str], T | None], allowed: str
    ) -> Value[T]:
        """A setting that ``parse`` understands, in small letters; it returns None for what isn't ``allowed``."""
        found = self.find(flag, name)
        if found is None:
            return Value(value=default)
        value = parse(found.value.strip().lower())
        if value is not None:
            return Value(value=value, origin=found.origin, name=found.name)
        where = "" if found.is_flag else f" from {said_origin(found.origin)}"
        self.mistakes.usage(f"can't use {found.name}={found.value!r}{where}: must be {allowed}")
        return Value(value=default)

    def boolean(self, flag: str, name: str, default: bool) -> Value[bool]:
        return self.parsed(flag, name, default, _BOOLEANS.get, "true or false")

    def choice(self, flag: str | None, name: str, allowed: tuple[str, ...], default: str) -> Value[str]:
        return self.parsed(flag, name, default, {one: one for one in allowed}.get, " | ".join(allowed))


def _concurrency(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and 1 <= int(text) <= 256 else None


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds <= 3600 else None


def _has_key(lookup: Lookup, side: str) -> bool:
    return bool(lookup.find(None, *KEYS_OF[side]) or _token_command(lookup, side))


def _token_command(lookup: Lookup, side: str) -> tuple[str, ...]:
    """The words of the command that prints a token."""
    found = lookup.find(f"--{side.lower()}-token-command", f"OPENAI_{side}_TOKEN_COMMAND")
    # A .env can't name one: whoever leaves that file in a folder above would have it run.
    if found is None or not (found.is_flag or found.origin == "environment"):
        return ()
    try:
        words = command_words(found.value)
    except ValueError as error:
        raise UsageFault(f"can't use {found.name}: {error}") from None
    if not words:
        raise UsageFault(f"can't use {found.name}: it is empty")
    return tuple(words)


def _no_key(lookup: Lookup, side: str) -> AuthenticationFailed:
    title = "source" if side == "SRC" else "destination"
    unread = lookup.find(None, f"OPENAI_{side}_TOKEN_COMMAND")
    return AuthenticationFailed(
        f"no key for the {title} project: OPENAI_{side}_API_KEY is not set",
        hint=f"{unread} is ignored because commands are never run from a .env file: set it in the environment"
        if unread
        else f"export OPENAI_{side}_API_KEY=sk-… or put it into a .env file (OPENAI_API_KEY is ignored, so "
        f"that no key is used for the wrong project)",
    )


def _endpoint(lookup: Lookup, side: str) -> Endpoint:
    """The account of one side, ``SRC`` or ``DST``. Raises AuthenticationFailed where no key is set, UsageFault."""
    mistakes = Mistakes()
    key = lookup.find(None, *KEYS_OF[side])
    command: tuple[str, ...] = ()
    with mistakes.noted():
        command = _token_command(lookup, side)
        if key is None and not command:
            raise _no_key(lookup, side)
    low = side.lower()
    base_url = lookup.text(f"--{low}-base-url", f"OPENAI_{side}_BASE_URL", DEFAULT_BASE_URL)
    organization = lookup.text(f"--{low}-org-id", f"OPENAI_{side}_ORG_ID", None)
    project = lookup.text(f"--{low}-project-id", f"OPENAI_{side}_PROJECT_ID", None)
    insecure_http = lookup.boolean(f"--{low}-insecure-http", f"OPENAI_{side}_INSECURE_HTTP", False)
    with mistakes.noted():
        found = endpoint(
            key.value if key else "(none)",
            base_url.value,
            organization=organization.value,
            project=project.value,
            token_command=command,
            insecure_http=insecure_http.value,
            names=Names(
                key=str(key),
                base_url=str(base_url) if base_url.name else f"OPENAI_{side}_BASE_URL",
                organization=str(organization),
                project=str(project),
                insecure_http=f"--{low}-insecure-http or OPENAI_{side}_INSECURE_HTTP=true",
            ),
        )
    mistakes.raise_all()
    return found


def _selection(lookup: Lookup) -> tuple[Selection, list[str]]:
    """Flags replace the variables as a whole: ``--id`` on the command line makes CLONE_MODE and its lists mute.

    ``--id X`` and ``--name GLOB``, the guide's words, are ``--only asst:X``.
    """
    said = {f"asst:{text}": f"{flag} {text}" for flag in ("--id", "--name") for text in lookup.flag(flag) or ()}
    patterns = (*said, *(lookup.flag("--only") or ()))
    exclude = tuple(lookup.flag("--exclude") or ())
    for text in (*patterns, *exclude):
        with lookup.mistakes.noted():
            pattern(text, said.get(text, ""))
    if lookup.flag("--all") and patterns:
        lookup.mistakes.usage("--all can't be combined with --only, --id or --name")
    if lookup.flag("--all") or patterns:
        return Selection(only=patterns, exclude=exclude, said=said), []
    said, notices = _by_mode(lookup)
    return Selection(only=tuple(said), exclude=exclude, said=said), notices


def _by_mode(lookup: Lookup) -> tuple[dict[str, str], list[str]]:
    """The patterns that CLONE_MODE and its lists ask for, as they are said there, and what to say of that."""
    mode = lookup.choice(None, "CLONE_MODE", ("all", *_LISTS), "all")
    for needed, other in _LISTS.items():
        muted = lookup.find(None, other)
        if muted and mode.value != needed:
            said = f"CLONE_MODE is {mode.value} ({mode.origin})" if mode.name else "CLONE_MODE is not set"
            lookup.mistakes.usage(
                f"can't use {other} from {said_origin(muted.origin)}: {said}, so it would be ignored",
                hint=f"set CLONE_MODE={needed}, or unset {other}; --all exports everything",
            )
    if mode.value == "all":
        return {}, []
    variable = _LISTS[mode.value]
    chosen = lookup.find(None, variable)
    listed = [part.strip() for part in chosen.value.split(",") if part.strip()] if chosen else []
    if not chosen or not listed:
        lookup.mistakes.usage(
            f"can't use CLONE_MODE={mode.value} from {said_origin(mode.origin)}: {variable} is not set",
            hint=f"set {variable} to a comma-separated list; --all exports everything",
        )
        return {}, []
    said = f"{variable}={','.join(listed)} from {said_origin(chosen.origin)}"
    notice = f"CLONE_MODE={mode.value} from {said_origin(mode.origin)}, {said}"
    return {f"asst:{text}": f"{variable}={text}" for text in listed}, [notice]


def source_settings(lookup: Lookup, *, key_needed: bool = True) -> SourceSettings:
    """The settings of an export. Raises UsageFault, or AuthenticationFailed where a key is needed and not set; all
    that is wrong together."""
    selection, notices = _selection(lookup)
    file_search = lookup.boolean("--file-search", "INCLUDE_FILE_SEARCH", True)
    code_interpreter = lookup.boolean("--code-interpreter", "INCLUDE_CODE_INTERPRETER", True)
    narrowed = (each for each in (file_search, code_interpreter) if not each.value and not each.is_flag)
    notices += [f"{each.name}=false from {said_origin(each.origin)}" for each in narrowed]
    account, (concurrency, log_level) = None, _shared(lookup)
    with lookup.mistakes.noted():
        account = _endpoint(lookup, "SRC") if key_needed or _has_key(lookup, "SRC") else None
    lookup.mistakes.raise_all()
    return SourceSettings(
        endpoint=account,
        label=lookup.text("--label", "OPENAI_SRC_LABEL", None).value,
        selection=selection,
        file_search=file_search.value,
        code_interpreter=code_interpreter.value,
        concurrency=concurrency,
        log_level=log_level,
        notices=notices,
    )


def destination_settings(lookup: Lookup, *, is_source: bool = False) -> DestinationSettings:
    """As ``source_settings``, of an import. Where it ``is_source``, it needs no key of its own: it has the source's."""
    notices = []
    dry_run = lookup.boolean("--dry-run", "DRY_RUN", False)
    prefix = lookup.text("--prefix", "CLONE_NAME_PREFIX", "")
    if dry_run.value and not dry_run.is_flag:
        notices.append(f"{dry_run.name}=true from {said_origin(dry_run.origin)}")
    if prefix.value and not prefix.is_flag:
        notices.append(f"{prefix.name}={prefix.value!r} from {said_origin(prefix.origin)}")
    settle = lookup.parsed("--settle", "HOLDALL_SETTLE", 60.0, _seconds, "seconds from 0 to 3600")
    concurrency, log_level = _shared(lookup)
    with lookup.mistakes.noted():
        account = _endpoint(lookup, "SRC" if is_source and not _has_key(lookup, "DST") else "DST")
    lookup.mistakes.raise_all()
    return DestinationSettings(
        endpoint=account,
        prefix=prefix.value,
        dry_run=dry_run.value,
        output_dir=output_folder(lookup),
        settle=settle.value,
        concurrency=concurrency,
        log_level=log_level,
        notices=notices,
    )


def output_folder(lookup: Lookup) -> Path:
    """OUTPUT_DIR."""
    return Path(lookup.text("--output-dir", "OUTPUT_DIR", "./out").value)


def both_settings(lookup: Lookup) -> BothSettings:
    """The settings of a look at the accounts. Raises UsageFault, or AuthenticationFailed where no key is set at all."""
    found: dict[str, Endpoint] = {}
    for side in ("SRC", "DST"):
        with lookup.mistakes.noted():
            if _has_key(lookup, side):
                found[side] = _endpoint(lookup, side)
    concurrency, log_level = _shared(lookup)
    lookup.mistakes.raise_all()
    if not found:
        raise AuthenticationFailed(
            "no key for any project: neither OPENAI_SRC_API_KEY nor OPENAI_DST_API_KEY is set",
            hint="export OPENAI_SRC_API_KEY=sk-… or put it into a .env file; doctor checks each project that has a key",
        )
    return BothSettings(
        source=found.get("SRC"),
        destination=found.get("DST"),
        concurrency=concurrency,
        log_level=log_level,
        ignored=lookup.ignored(),
    )


def _shared(lookup: Lookup) -> tuple[int, str]:
    """What all commands take: how many requests at once, and how much is logged."""
    concurrency = lookup.parsed("--concurrency", "MAX_CONCURRENCY", 3, _concurrency, "a whole number from 1 to 256")
    return concurrency.value, lookup.choice("--log-level", "LOG_LEVEL", _LOG_LEVELS, "info").value
