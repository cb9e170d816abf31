"""What the owner supplies of environment templates with ``--supply-template``: what the API never returns.

The values are in memory only. They go into requests, and never into a bundle, a plan, a journal, a log or a message:
there, and in a plan's losses, are the names of fields and the paths and names that the bundle has anyway.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from holdall.dialects.loss import Loss, Why
from holdall.dialects.rules import read_fields
from holdall.dialects.templates import inline, unseen
from holdall.errors import CannotRead, Mistakes, UsageFault
from holdall.model import Record, SourceId
from holdall.safe_files import open_regular
from holdall.untrusted import require_plain

LARGEST = 256 << 20
"""Bytes of the file."""

_FLAG = "--supply-template"
_INLINE_FILE, _INLINE_ZIP = 5 << 20, 50 << 20
# As many of each as the API takes, and how long its texts may be.
_MOST = {"env": 1024, "setup_commands": 16, "files": 50, "skills": 200, "plugins": 32}
_ENV_NAME, _ENV_VALUE, _COMMAND, _CWD = 256, 1 << 20, 65_536, 4_096


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    # The values must not get into a message with the struct.
    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class _Command(_Strict, frozen=True, kw_only=True):
    command: str
    cwd: str | None = None


class _File(_Strict, frozen=True, kw_only=True):
    """``data`` is base64, as in the API."""

    path: str
    data: str


class _Zip(_Strict, frozen=True, kw_only=True):
    name: str
    data: str


class _Given(_Strict, frozen=True, kw_only=True):
    env: dict[str, str] | None = None
    setup_commands: list[_Command] | None = None
    blocked_domains: list[str] | None = None
    files: list[_File] = []
    skills: list[_Zip] = []
    plugins: list[_Zip] = []


class SuppliedTemplate:
    """What is supplied of one template. Prints nothing of it."""

    __slots__ = ("_fields", "_given")

    def __init__(self, given: _Given, fields: Mapping[str, Any]) -> None:
        self._given, self._fields = given, fields

    def __repr__(self) -> str:
        return "SuppliedTemplate(…)"

    @property
    def names(self) -> list[str]:
        """What is supplied, by the fields of the losses that it makes good."""
        given = self._given
        single = ("env", "setup_commands", "blocked_domains")
        found = [name for name in single if getattr(given, name) is not None]
        found += [f"files.{one.path}" for one in given.files]
        found += [f"{field}.{one.name}" for field in ("skills", "plugins") for one in getattr(given, field)]
        return found

    def into(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """``body`` of a request with what is supplied."""
        given, made = self._given, dict(body)
        if given.env is not None:
            made["env"] = dict(given.env)
        if given.setup_commands is not None:
            made["setup_commands"] = [
                {"command": one.command, **({} if one.cwd is None else {"cwd": one.cwd})}
                for one in given.setup_commands
            ]
        if given.blocked_domains is not None and isinstance(made.get("network"), dict):
            made["network"] = {**made["network"], "blocked_domains": list(given.blocked_domains)}
        if given.files:
            files = [{"type": "inline", "path": one.path, "data": one.data} for one in given.files]
            made["files"] = [*made.get("files", ()), *files]
        for field, zips in (("skills", given.skills), ("plugins", given.plugins)):
            if zips:
                made[field] = [*made.get(field, ()), *(self._zip(field, one) for one in zips)]
        return made

    def _zip(self, field: str, one: _Zip) -> dict[str, Any]:
        shown = next(item for item in inline(self._fields, field) if item.get("name") == one.name)
        source = {"type": "base64", "media_type": "application/zip", "data": one.data}
        return {"type": "inline", "name": one.name, "description": shown.get("description") or "", "source": source}


class TemplateSupply:
    """What is supplied, by template. Prints nothing of it."""

    __slots__ = ("_by_key", "_path")

    def __init__(self, by_key: Mapping[str, _Given], path: Path | None = None) -> None:
        self._by_key, self._path = by_key, path

    def __repr__(self) -> str:
        return "TemplateSupply(…)"

    def of(self, records: Iterable[Record]) -> dict[SourceId, SuppliedTemplate]:
        """By the templates of a bundle. Raises UsageFault where a key is none of their ids or names, or several
        templates', and where it supplies what a template doesn't lack."""
        mistakes = Mistakes()
        known = {record.id: read_fields(record) for record in records}
        found: dict[SourceId, SuppliedTemplate] = {}
        for key, given in self._by_key.items():
            ids = [SourceId(key)] if key in known else [id for id, one in known.items() if one.get("name") == key]
            if len(ids) != 1:
                why = "several templates have that name; use the id" if ids else "no template has that id or name"
                mistakes.add(self._fault(key, why))
            elif ids[0] in found:
                mistakes.add(self._fault(key, f"{ids[0]} is supplied twice"))
            else:
                found[ids[0]] = one = SuppliedTemplate(given, known[ids[0]])
                for name in sorted({*one.names}.difference(dict(unseen(known[ids[0]])))):
                    mistakes.add(self._fault(key, f"the template has no {name} to supply"))
                if len(one.names) != len({*one.names}):
                    mistakes.add(self._fault(key, "a path or name is there twice"))
        mistakes.raise_all()
        return found

    def _fault(self, key: str, why: str) -> UsageFault:
        return UsageFault(f"can't use {_FLAG} {self._path}: {key}: {why}")


def without_supplied(losses: Iterable[Loss], names: Iterable[str]) -> list[Loss]:
    """The losses of a template that are not made good by what is supplied."""
    supplied = {*names}
    return [loss for loss in losses if loss.why is not Why.NEVER_SHOWN or loss.field not in supplied]


def read_supply(path: Path) -> TemplateSupply:
    """Reads the file: an object, by the id or name of each template. Raises CannotRead, and UsageFault for another
    shape, which names no value."""
    try:
        with open_regular(path) as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise CannotRead(f"can't read {path}: {error.strerror or error}") from None
    try:
        require_plain(raw, longest=LARGEST)
        by_key = msgspec.json.decode(raw, type=dict[str, _Given])
    except (ValueError, msgspec.MsgspecError) as error:
        fields = ", ".join(_Given.__struct_fields__)
        raise UsageFault(
            f"can't use {_FLAG} {path}: {error}",
            hint=f'it must be JSON: {{"TEMPLATE": {{…}}}}, by ids or names, each with any of {fields}',
        ) from None
    mistakes = Mistakes()
    for key, given in by_key.items():
        for why in _wrong(given):
            mistakes.add(UsageFault(f"can't use {_FLAG} {path}: {key}: {why}"))
    mistakes.raise_all()
    return TemplateSupply(by_key, path)


def _wrong(given: _Given) -> Iterator[str]:
    """What of it the API wouldn't take, without the values."""
    # The API's limits one after another, field by field: more functions would hide them.
    for field, most in _MOST.items():
        if len(getattr(given, field) or ()) > most:
            yield f"{field} has more than {most} entries"
    for number, (name, value) in enumerate((given.env or {}).items(), 1):
        if not name or len(name) > _ENV_NAME or len(value.encode()) > _ENV_VALUE:
            yield f"env, entry {number}: a name of 1 to {_ENV_NAME} characters, and a value of up to 1 MiB"
    for number, one in enumerate(given.setup_commands or (), 1):
        if not one.command or len(one.command) > _COMMAND or len(one.cwd or "") > _CWD:
            yield f"setup_commands, entry {number}: a command of 1 to {_COMMAND} characters, cwd of up to {_CWD}"
    inline = [(f"files.{one.path}", one.data, _INLINE_FILE) for one in given.files]
    inline += [(f"{f}.{one.name}", one.data, _INLINE_ZIP) for f in ("skills", "plugins") for one in getattr(given, f)]
    for name, data, most in inline:
        try:
            size = len(binascii.a2b_base64(data, strict_mode=True))
        except ValueError:  # not ASCII, or no base64
            yield f"{name}: data is not base64"
        else:
            if size > most:
                yield f"{name}: more than {most >> 20} MiB"
