"""What a destination's table of limits is made of: a rule for each field of a record, one class for each kind of value;
and values that several destinations share. Pure.

A destination is a module here: a ``Table``, and a function that makes the request. Both the plan's losses and the
requests come from it, so foreseeable refusals are found in advance. ``registry`` lists the destinations.

A rule says what an API accepts and repairs the rest: a value is rewritten if that means the same, cut if too long, else
left out. Every change of meaning is a loss. In the API's own objects null means the same as leaving out, and some
servers refuse it, so it is left out. Nulls stay in the owner's objects and in a record's own fields, which an update
may have to empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from holdall.dialects.loss import Loss, Why
from holdall.dialects.marks import MARKS, METADATA_KEYS
from holdall.dialects.reading import Reading, is_number
from holdall.model import Record, SourceId, TargetId
from holdall.untrusted import require_plain

ABSENT: Any = object()
"""What stands for a value that isn't sent."""

NOT_AN_OBJECT = "must be an object"

_NUMBER = re.compile(r"\s*[+-]?\d+(\.\d*)?([eE][+-]?\d+)?\s*", re.A)
_FLAGS = {"true": True, "false": False}
_TEXT, _FLAG = "must be a string", "must be true or false"

USES: Mapping[str, str] = {"code_interpreter": "file_ids", "file_search": "vector_store_ids"}
"""What a tool uses, in ``tool_resources``."""

DEFAULTS: Mapping[str, Any] = {"temperature": 1, "top_p": 1, "reasoning_effort": "medium"}
"""Parameters that some models refuse, with what they are where nobody set them."""

# As their makers name them. Of what has another name (a deployment, a look-alike's own) nothing is known.
_FAMILIES: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"(ft:)?(o\d|gpt-[5-9](?!.*chat))"), ("temperature", "top_p")),
    (re.compile(r"(ft:)?(gpt-3|gpt-4|chatgpt-4)"), ("reasoning_effort",)),
)
_NONE: Mapping[Any, Any] = MappingProxyType({})


class Rule(msgspec.Struct, frozen=True):
    """What is accepted of a value."""

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        """What is sent for ``value`` (not null) at ``where``; ABSENT for nothing. Losses go to ``reading``."""
        raise NotImplementedError


class Anything(Rule, frozen=True):
    """Whatever it is."""

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        return value


class Text(Rule, frozen=True, kw_only=True):
    """At most ``most`` characters. ``weighs``: to cut it loses a part of what the copy does."""

    most: int | None = None
    weighs: bool = False

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        text = value
        if is_number(value):
            text = msgspec.json.encode(value).decode()
            reading.lose(Why.VALUE_CHANGED, where, value, f"{_TEXT}; converted")
        if not isinstance(text, str):
            return unfit(reading, value, where, _TEXT)
        if self.most is not None and len(text) > self.most:
            why = Why.TRUNCATED if self.weighs else Why.OVER_LIMIT
            reading.lose(why, where, value, f"cut from {len(text)} to {self.most} characters")
            return text[: self.most]
        return text


class Number(Rule, frozen=True, kw_only=True):
    """From ``least`` to ``most``; a ``whole`` one has no fraction. ``scales``: units in one of the expected unit
    (86,400 for days that may be given in seconds). ``clamped``: a number out of range becomes the nearest allowed."""

    least: float
    most: float
    whole: bool = False
    scales: tuple[int, ...] = ()
    clamped: bool = False

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        said = f"must be a {'whole number' if self.whole else 'number'} from {self.least} to {self.most}"
        number = self._read(value)
        number = None if number is None else self._in_range(number)
        if number is None:
            return unfit(reading, value, where, said)
        if number != value or isinstance(value, str):
            reading.lose(Why.VALUE_CHANGED, where, value, f"{said}; changed to {number}")
        return number

    def _read(self, value: Any) -> int | float | None:
        """The number that ``value`` says; None where it says none of the rule's kind."""
        # At thousands of digits int() raises.
        if isinstance(value, str) and len(value) < 40 and _NUMBER.fullmatch(value):
            value = float(value) if "." in value or "e" in value.lower() else int(value)
        # A larger integer is none that float() takes.
        if not is_number(value) or abs(value) >= 1e300:
            return None
        if not self.whole:
            return value
        return int(value) if float(value).is_integer() else None

    def _in_range(self, number: int | float) -> int | float | None:
        """The number that is taken for ``number``; None where none is."""
        if self.least <= number <= self.most:
            return number
        for scale in self.scales:
            if number % scale == 0 and self.least <= number // scale <= self.most:
                return number // scale
        return type(number)(min(max(number, self.least), self.most)) if self.clamped else None


class Flag(Rule, frozen=True):
    """True or false."""

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().lower() in _FLAGS:
            reading.lose(Why.VALUE_CHANGED, where, value, f"{_FLAG}; converted from a string")
            return _FLAGS[value.strip().lower()]
        return unfit(reading, value, where, _FLAG)


class Choice(Rule, frozen=True, kw_only=True):
    """One of these words; ``otherwise`` is what stands for any other, if anything does."""

    words: tuple[str, ...]
    otherwise: str | None = None

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        if isinstance(value, str) and value in self.words:
            return value
        if self.otherwise is None:
            return unfit(reading, value, where, f"must be one of {', '.join(self.words)}")
        said = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        what = where.rpartition(".")[2]
        reading.lose(Why.VALUE_CHANGED, where, value, f"unknown {what} {said}; changed to {self.otherwise}")
        return self.otherwise


class Free(Rule, frozen=True):
    """An object of the owner's own."""

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        found = value
        if isinstance(value, str):
            try:
                raw = value.encode()
                # A text of the bundle becomes JSON only here, so its depth and richness are not known yet.
                require_plain(raw)
                found = msgspec.json.decode(raw)
            except ValueError:  # which msgspec's error is, too
                found = None
            if isinstance(found, dict):
                reading.lose(Why.VALUE_CHANGED, where, value, f"{NOT_AN_OBJECT}; converted from a string")
        return found if isinstance(found, dict) else unfit(reading, value, where, NOT_AN_OBJECT)


class Pairs(Rule, frozen=True, kw_only=True):
    """The owner's own keys: how many, and how long they and their values are. ``scalars``: numbers, true and false
    stay what they are; else all values are texts."""

    keys: int = METADATA_KEYS
    key: int = 64
    value: int = 512
    scalars: bool = False

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            return unfit(reading, value, where, NOT_AN_OBJECT)
        found: dict[str, Any] = {}
        spare: dict[str, Any] = {}
        # The marks of an earlier copy take none of the room: they are replaced.
        marks = {key: item for key, item in value.items() if key in MARKS}
        for key, item in value.items():
            if key in marks or item is None:
                continue
            made = item if self._stays(item) else msgspec.json.encode(item).decode()
            inside = f"{where}.{key}"
            if len(key) > self.key or (isinstance(made, str) and len(made) > self.value):
                text = f"left out: more than {self.key} characters in the key or {self.value} in the value"
                reading.lose(Why.OVER_LIMIT, inside, item, text)
            elif len(found) == self.keys:
                spare[inside] = item
            else:
                if made is not item:
                    reading.lose(Why.VALUE_CHANGED, inside, item, f"{_TEXT}; converted")
                found[key] = made
        if spare:
            reading.lose_each(Why.OVER_LIMIT, spare, f"left out: more than {self.keys} keys")
        return {**found, **marks}

    def _stays(self, item: Any) -> bool:
        return isinstance(item, str) or (self.scalars and (isinstance(item, bool) or is_number(item)))


class Members(Rule, frozen=True, kw_only=True):
    """An object that the API defines. ``defaults`` fill required members; without one of ``needs`` it is dropped."""

    members: Mapping[str, Rule]
    defaults: Mapping[str, Any] = {}
    needs: tuple[str, ...] = ()

    def repair(self, reading: Reading, value: Any, where: str, why: Why = Why.UNFIT_VALUE) -> Any:
        if not isinstance(value, dict):
            return unfit(reading, value, where, NOT_AN_OBJECT)
        found = repair_members(reading, self.members, value, f"{where}.")
        reading.lose_unknown(value, self.members, f"{where}.")
        if lacking := [key for key in self.needs if key not in found]:
            reading.lose(why, where, value, f"left out: no valid {' or '.join(lacking)}")
            return ABSENT
        # Of an object that is empty or all wrong, defaults alone would say what nobody said.
        if not found and self.defaults:
            return ABSENT
        return completed(self.defaults, found)


def repair_members(reading: Reading, rules: Mapping[str, Rule], value: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The members with ``rules`` that can be sent; nulls are left out."""
    there = {key: each for key, each in rules.items() if value.get(key) is not None}
    made = {key: each.repair(reading, value[key], f"{where}{key}") for key, each in there.items()}
    return {key: item for key, item in made.items() if item is not ABSENT}


def completed(defaults: Mapping[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    return {**found, **{key: value for key, value in defaults.items() if key not in found}}


class Each(Rule, frozen=True):
    """A list of these."""

    rule: Rule

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        if not isinstance(value, list):
            return unfit(reading, value, where, "must be a list")
        made = [self.rule.repair(reading, item, f"{where}[{n}]") for n, item in enumerate(value) if item is not None]
        return [item for item in made if item is not ABSENT]


class Tagged(Rule, frozen=True, kw_only=True):
    """An object whose ``type`` says which of the ``kinds`` it is."""

    kinds: Mapping[str, Members]

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        kind = value.get("type") if isinstance(value, dict) else None
        if not isinstance(kind, str) or kind not in self.kinds:
            return unfit(reading, value, where, f"its type must be one of {', '.join(self.kinds)}")
        made = self.kinds[kind].repair(reading, without_type(value), where)
        return made if made is ABSENT else {"type": kind, **made}


def without_type(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if key != "type"}


def fields(reading: Reading, rules: Mapping[str, Rule]) -> dict[str, Any]:
    """The record's own fields that can be sent; nulls stay null."""
    found = {}
    for field, rule in rules.items():
        if field in reading.fields:
            value = reading.fields[field]
            made = None if value is None else rule.repair(reading, value, field)
            if made is not ABSENT:
                found[field] = made
    return found


def unfit(reading: Reading, value: Any, where: str, text: str) -> Any:
    reading.lose(Why.UNFIT_VALUE, where, value, f"left out: {text}")
    return ABSENT


EFFORT = Choice(words=("none", "minimal", "low", "medium", "high", "xhigh", "max"))
SHARE = Number(least=0, most=1)
METADATA = Pairs()


class Form(StrEnum):
    """The dialects that a destination can be asked in."""

    ASSISTANTS = "assistants"
    """An assistant of the Assistants API, which the server keeps."""
    RESPONSES = "responses"
    """A request for the Responses API, which is written down: no server keeps it."""
    FOUNDRY = "foundry"
    """A prompt agent of Azure AI Foundry, which keeps each version of it."""


class Targets(msgspec.Struct, frozen=True, kw_only=True):
    """What a definition refers to, by the ids at the destination; an assistant that isn't there is None.

    ``versions`` has the numbers of skills' versions at the destination, by the skill's id and number in the source.
    ``connections`` of a Foundry project, by the source's ids or names; None where source and destination are one
    project, so that everything bound to it is there. ``names`` are those that agents are given, by the source's ids.
    """

    stores: Mapping[SourceId, TargetId] = _NONE
    files: Mapping[SourceId, TargetId] = _NONE
    assistants: Mapping[SourceId, TargetId | None] = _NONE
    skills: Mapping[SourceId, TargetId] = _NONE
    versions: Mapping[tuple[SourceId, str], str] = _NONE
    connections: Mapping[str, str] | None = _NONE
    names: Mapping[SourceId, str] = _NONE


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The request for an object: its ``body``, the ``update`` to send after its creation (or None), and the losses.

    ``create`` is the body of the create call, without nulls, which some servers refuse. For a request written to a
    file, ``kept`` has fields without a place in it, ``left_out`` the source's values of the lost fields.
    """

    body: dict[str, Any]
    update: dict[str, Any] | None = None
    losses: list[Loss] = []
    kept: dict[str, Any] = {}
    left_out: dict[str, Any] = {}

    @property
    def create(self) -> dict[str, Any]:
        return {field: value for field, value in self.body.items() if value is not None}


class Builder(Protocol):
    """Builds the request that copies a record, within ``table``; ``model`` replaces the record's own.

    References that ``targets`` doesn't map are left out; the plan, which knows why, reports them.
    """

    def __call__(
        self, record: Record, *, prefix: str, operation: str, targets: Targets, model: str | None, table: Table
    ) -> Request: ...


def _anywhere(base_url: str) -> bool:
    return True


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One destination: what becomes of an assistant there, its ``fields``, and how many ``stores`` and code interpreter
    ``files`` it may have. ``build`` makes the request, ``is_at`` says whether the server at a base URL is one.

    ``resources`` are what its tools use besides, ``batch_files`` how many files one call attaches. ``purpose`` is
    that of all uploads, where files of another can't be used.
    """

    form: Form
    build: Builder
    fields: Mapping[str, Rule]
    stores: int
    files: int
    is_at: Callable[[str], bool] = _anywhere
    resources: frozenset[str] = frozenset()
    batch_files: int = 2000
    purpose: str | None = None


def refused(model: str) -> tuple[str, ...]:
    """The parameters that a model refuses, judged by its name."""
    return next((names for family, names in _FAMILIES if family.match(model)), ())
