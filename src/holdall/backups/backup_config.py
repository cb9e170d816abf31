"""The config file of `holdall backup`: which projects are backed up, where to, and by what policy.

The file is TOML. Keys at the top are the defaults of all sources; a ``[[source]]`` may have its own. Everything wrong
in it is reported at once, by the place where it stands. No key is ever in it: a source names the variable that holds
its key, or a command that prints a token.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec

from holdall.backups.retention import Duration, RetentionPolicy, parse_count
from holdall.credentials import looks_like, refuse_key
from holdall.endpoint import DEFAULT_BASE_URL, Names, endpoint
from holdall.errors import Mistakes, UsageFault
from holdall.quoting import command_words
from holdall.selection import pattern

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_EVERY = re.compile(r"(\d{1,5})([hdw])")
_SECONDS = {"h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = 'must be a number and h, d or w, such as "12h" or "7d"'
_LARGEST = 1 << 20


class SourcePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How a source is backed up. Each field may stand at the top of the file, too, for all sources.

    ``max_shrink`` is the percentage of the newest good backup's objects that may disappear, or of its files that may
    lose fidelity. ``verify`` and ``rehearse`` say how often one bundle of the source is verified, or restored into a
    sandbox ("7d"); "" for never. ``form``: bundles, an unpacked folder instead, or both. ``keep``: which of its bundles
    stay; None: all. Of a source in the form of a folder only the newest stays.
    """

    base_url: str = DEFAULT_BASE_URL
    organization: str | None = None
    insecure_http: bool = False
    only: list[str] = []
    exclude: list[str] = []
    assistants: bool = True
    unused: bool = False
    versions: Literal["latest", "all"] = "latest"
    file_search: bool = True
    code_interpreter: bool = True
    from_dump: list[str] = []
    originals: str | None = None
    via_container: bool = False
    min_fidelity: Literal["original", "container", "text", "any"] = "text"
    allow_missing: list[str] = []
    skip_if_unchanged: bool = False
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=256)] = 3
    max_shrink: Annotated[int, msgspec.Meta(ge=0, le=100)] = 20
    verify: str = ""
    rehearse: str = ""
    form: Literal["bundle", "folder", "both"] = "bundle"
    keep: RetentionPolicy | None = None


class BackupSource(SourcePolicy, frozen=True, kw_only=True):
    """One project. ``name`` is the label of its bundles; ``key_env`` the variable that holds its key, ``key_command`` a
    command that prints a token: one of the two."""

    name: str
    key_env: str = ""
    key_command: str = ""
    project: str | None = None

    @property
    def where(self) -> str:
        return f"source {self.name}"

    @property
    def token_command(self) -> tuple[str, ...]:
        return tuple(command_words(self.key_command))

    def names(self) -> Names:
        """What the parts of its endpoint are called in messages."""
        return Names(
            key=f"the key of {self.where} from {self.key_env}",
            base_url=f"base_url of {self.where}",
            organization=f"organization of {self.where}",
            project=f"project of {self.where}",
            insecure_http="insecure_http = true",
        )


class BackupConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A config file. ``folder`` is where the bundles go, ``metrics`` the Prometheus textfile, ``on_failure`` the words
    of the command that is run for each source that ends in another exit code than 0."""

    folder: Path
    sources: list[BackupSource]
    metrics: Path | None = None
    on_failure: tuple[str, ...] = ()


class _Top(SourcePolicy, frozen=True, kw_only=True):
    folder: str
    metrics: str | None = None
    on_failure: str = ""
    source: list[Any]


def read_config(data: bytes, path: Path, keys: Collection[str] = ()) -> BackupConfig:
    """The config in ``data``, the bytes of the file at ``path``; relative paths in it start from the file's folder.

    ``keys`` are values that must not be in it, besides all that look like keys. Raises UsageFault, for all that is
    wrong together.
    """
    mistakes = Mistakes()
    text = _text(data, path)
    for number, line in enumerate(text.splitlines(), start=1):
        _refuse_key(mistakes, line, f"line {number} of {path}", keys)
    mistakes.raise_all()
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageFault(f"can't use {path}: not valid TOML: {error}") from None
    for value in _strings(table):  # an escape may hide a key from the look at the lines
        _refuse_key(mistakes, value, str(path), keys)
    mistakes.raise_all()
    found = _Reading(path, mistakes).config(table)
    mistakes.raise_all()
    assert found
    return found


def every(text: str) -> int | None:
    """Seconds of "12h", "7d" or "2w"; None for "". Raises ValueError."""
    if not text:
        return None
    found = _EVERY.fullmatch(text)
    if not found:
        raise ValueError(_DURATION)
    return int(found[1]) * _SECONDS[found[2]]


class _Reading:
    """Turns the tables of one file into values; what is wrong is noted in ``mistakes``."""

    def __init__(self, path: Path, mistakes: Mistakes) -> None:
        self._path, self._mistakes = path, mistakes

    def config(self, table: dict[str, Any]) -> BackupConfig | None:
        top = self._table(table, _Top, "")
        tables = top.get("source", [])
        if "source" in table and not tables:
            self._wrong("source", "must be one or more [[source]] tables")
        defaults = {name: top[name] for name in SourcePolicy.__struct_fields__ if name in top}
        sources = [self._source(one, f"source[{number}]", defaults) for number, one in enumerate(tables, start=1)]
        self._check_names(sources)
        words = self._words(top.get("on_failure", ""), "on_failure")
        if self._mistakes:
            return None
        return BackupConfig(
            folder=self._path.parent / top["folder"],
            metrics=self._path.parent / top["metrics"] if top.get("metrics") else None,
            on_failure=tuple(words),
            sources=[one for one in sources if one],
        )

    def _source(self, table: Any, where: str, defaults: Mapping[str, Any]) -> BackupSource | None:
        if not isinstance(table, dict):
            self._wrong(where, "must be a [[source]] table")
            return None
        if isinstance(table.get("name"), str):
            where = f"source {table['name']!r}"
        fields = self._table(table, BackupSource, f"{where}: ")
        if not fields.keys() >= {"name"}:
            return None
        own = BackupSource(**{**defaults, **fields})
        if "keep" in fields and own.form == "folder":
            self._wrong(f"{where}keep", 'can\'t be combined with form = "folder", which keeps the newest bundle only')
        self._check(own, f"{where}: ")
        base = self._path.parent
        return msgspec.structs.replace(
            own,
            originals=str(base / own.originals) if own.originals else None,
            from_dump=[str(base / one) for one in own.from_dump],
        )

    def _check(self, source: BackupSource, where: str) -> None:
        """What the types don't say."""
        if not _NAME.fullmatch(source.name):
            self._wrong(f"{where}name", "must be up to 60 letters, digits, dots, dashes and underscores")
        if bool(source.key_env) == bool(source.key_command):
            self._wrong(f"{where}key_env", "name either a variable (key_env) or a command (key_command)")
        if source.key_env and not _VARIABLE.fullmatch(source.key_env):
            self._wrong(f"{where}key_env", "must be the name of an environment variable")
        self._words(source.key_command, f"{where}key_command")
        for name in ("verify", "rehearse"):
            try:
                every(getattr(source, name))
            except ValueError as error:
                self._wrong(f"{where}{name}", str(error))
        with self._mistakes.noted():
            endpoint(
                "(none)",
                source.base_url,
                organization=source.organization,
                project=source.project,
                insecure_http=source.insecure_http,
                names=source.names(),
            )
        for text in (*source.only, *source.exclude):
            with self._mistakes.noted():
                pattern(text)
        if source.from_dump and not source.assistants:
            self._wrong(f"{where}from_dump", "can't be combined with assistants = false")

    def _check_names(self, sources: list[BackupSource | None]) -> None:
        seen: set[str] = set()
        for name in (one.name for one in sources if one):
            # A file system may take capital and small letters for the same.
            if name.lower() in seen:
                self._wrong(f"source {name!r}: name", "is there twice")
            seen.add(name.lower())

    def _words(self, line: str, where: str) -> list[str]:
        try:
            words = command_words(line)
        except ValueError as error:
            self._wrong(where, f"can't be taken apart into words: {error}")
            return []
        if line and not words:
            self._wrong(where, "is empty")
        return words

    def _table(self, table: Mapping[str, Any], of: type[msgspec.Struct], where: str) -> dict[str, Any]:
        """The fields of ``of`` that the table has and that are of their types; all that is wrong is noted."""
        types, found = get_type_hints(of, include_extras=True), {}
        for name, value in table.items():
            if name not in types:
                self._unknown(name, of, where)
            elif name == "keep":
                found[name] = self._keep(value, f"{where}keep")
            else:
                try:
                    found[name] = msgspec.convert(value, types[name])
                except msgspec.ValidationError as error:
                    self._wrong(f"{where}{name}", _plain(error))
        for field in msgspec.structs.fields(of):
            if field.required and field.name not in table:
                self._wrong(f"{where}{field.name}", "is missing")
        return found

    def _keep(self, table: Any, where: str) -> RetentionPolicy | None:
        if not isinstance(table, dict) or not table:
            self._wrong(where, "must be a table such as {daily = 7, monthly = 12}")
            return None
        fields: dict[str, Any] = {}
        for name, value in table.items():
            if name not in RetentionPolicy.__struct_fields__:
                self._unknown(name, RetentionPolicy, f"{where}.")
                continue
            try:
                fields[name] = Duration.parse(str(value)) if name.startswith("within") else parse_count(str(value))
            except ValueError as error:
                self._wrong(f"{where}.{name}", str(error))
        policy = RetentionPolicy(**fields)
        if fields and not policy:
            self._wrong(where, "keeps nothing")
        return policy

    def _unknown(self, name: str, of: type[msgspec.Struct], where: str) -> None:
        near = difflib.get_close_matches(name, of.__struct_fields__, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else ""
        if not near and of is not _Top and name in _Top.__struct_fields__:
            hint = f"{name} belongs at the top of the file, above the first [table]"
        if not near and of is _Top and name in BackupSource.__struct_fields__:
            hint = f"{name} belongs into a [[source]]"
        self._wrong(f"{where}{name}", "unknown setting", hint)

    def _wrong(self, where: str, why: str, hint: str = "") -> None:
        self._mistakes.usage(f"can't use {self._path}: {where}: {why}", hint=hint)


def _plain(error: msgspec.ValidationError) -> str:
    """msgspec's words, which are fit for a user but for the place, said by ours."""
    said = str(error).partition(" - at ")[0]
    return said[:1].lower() + said[1:]


def _text(data: bytes, path: Path) -> str:
    if len(data) > _LARGEST:
        raise UsageFault(f"can't use {path}: larger than 1 MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageFault(f"can't use {path}: it isn't UTF-8") from None


def _refuse_key(mistakes: Mistakes, text: str, where: str, keys: Collection[str]) -> None:
    try:
        refuse_key(text, "it", keys)
    except UsageFault:
        looks = looks_like(text)
        mistakes.usage(
            f"can't use {where}: it contains {f'what looks like {looks}' if looks else 'a key'}",
            hint="name a variable (key_env) or a command (key_command) instead; replace a key that others may have "
            "seen",
        )


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for key, inner in value.items():
                yield key
                yield from _strings(inner)
        case list():
            for inner in value:
                yield from _strings(inner)
