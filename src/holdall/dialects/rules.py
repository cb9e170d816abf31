"""What a destination's table of limits is made of: a rule for each field of a record, one class for each kind of value;
values that several destinations share; and the metadata keys that mark a copy. Pure.

A destination is a module of this package: a ``Table``, and a function that makes the request. Both the plan's losses
and the requests come from it, so foreseeable refusals are found in advance. ``registry`` lists the destinations.

A rule says what an API accepts and repairs the rest: a value is rewritten if that means the same, cut if too long, else
left out. Every change of meaning is a loss. In the API's own objects null means the same as leaving out, and some
servers refuse it, so it is left out. Nulls stay in the owner's objects and in a record's own fields, which an update
may have to empty.

Of the marks, ``cloned_from`` is the source id. ``holdall_op`` names one attempt to create, so that an attempt whose
answer was lost can be looked up at the destination. An object holds at most 16 keys; if the source uses them all, two
are replaced at creation and restored right after. Where there is no second call, what doesn't fit is left out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Any, Protocol, TypeGuard, TypeVar

import msgspec

from holdall.dialects.loss import Loss, Why
from holdall.errors import DamagedBundle
from holdall.model import Kind, Record, SourceId, TargetId
from holdall.untrusted import read_json, require_plain, split_json, without_half_characters

T = TypeVar("T")

ABSENT: Any = object()
"""What stands for a value that isn't sent."""

NOT_AN_OBJECT = "must be an object"

METADATA_KEYS = 16
"""As many keys as the metadata of an object may have."""

USES: Mapping[str, str] = {"code_interpreter": "file_ids", "file_search": "vector_store_ids"}
"""What a tool uses, in ``tool_resources``."""

DEFAULTS: Mapping[str, Any] = {"temperature": 1, "top_p": 1, "reasoning_effort": "medium"}
"""Parameters that some models refuse, with what they are where nobody set them."""


# -- reading a record ----------------------------------------------------------------------------------

# Dots in the name of a field that stand between objects, at the most; keys may have any number.
_MOST_DOTS = 64
# So many fields are named one by one; of more, the first and their number.
_NAMED_FIELDS = 20


def read_fields(record: Record) -> dict[str, Any]:
    """The record as JSON values. Raises DamagedBundle."""
    try:
        return msgspec.convert(read_json(record.raw), dict[str, Any])
    except (ValueError, msgspec.MsgspecError) as error:
        raise DamagedBundle(f"can't read {record.kind} {record.id} in the bundle: {error}") from None


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether it is a JSON number; Python counts booleans among them."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


class Reading:
    """One record being translated: its losses, and in ``left_out`` the lost values."""

    def __init__(
        self,
        record: Record,
        *,
        prefix: str = "",
        model: str | None = None,
        connections: Mapping[str, str] | None = None,
    ) -> None:
        """``prefix`` is put before the name, ``model`` replaces the record's; ``connections`` as in ``Targets``."""
        self.record = record
        self.connections = connections
        self.fields = read_fields(record)
        if model is not None:
            self.fields["model"] = model
        name = self.fields.get("name")
        self.name = name if isinstance(name, str) else None
        if self.name is not None:
            self.fields["name"] = prefix + self.name
        self.left_out: dict[str, Any] = {}
        self._losses: dict[int, Loss] = {}
        self._noted = self._looked_at = 0
        self._parts: dict[str, list[int]] = {}
        if without_half_characters(record.raw) is not record.raw:
            self._lose_halves()

    @property
    def losses(self) -> list[Loss]:
        return [*self._losses.values()]

    def fit(self, field: str, value: object, kind: type[T], text: str) -> T | None:
        """``value`` if it is of ``kind``, None for null. Another kind is lost; ``text`` says what it should be."""
        if value is None or isinstance(value, kind):
            return value
        self.lose(Why.UNFIT_VALUE, field, value, f"left out: {text}")
        return None

    def lose(self, why: Why, field: str, value: object, text: str) -> None:
        """Record that ``field`` isn't sent as it was; ``value`` is the source's. Replaces the losses of its parts."""
        for number in self._parts_of(field):
            if (part := self._losses.pop(number, None)) is not None:
                self.left_out.pop(str(part.field), None)
        self._note(why, field, value, text)

    def _note(self, why: Why, field: str, value: object, text: str) -> None:
        self.left_out[field] = value
        record = self.record
        loss = Loss(why=why, kind=record.kind, id=record.id, name=self.name, field=field, text=text)
        self._losses[self._noted] = loss
        self._noted += 1

    def lose_each(self, why: Why, fields: Mapping[str, object], text: str) -> None:
        """Record that ``fields`` aren't sent, for one reason: ``_NAMED_FIELDS`` of many are losses of their own."""
        for field, value in islice(fields.items(), _NAMED_FIELDS):
            self._note(why, field, value, text)
        if len(fields) > _NAMED_FIELDS:
            text = f"{text}; same for {len(fields) - _NAMED_FIELDS} more"
            last = self._noted - 1
            self._losses[last] = msgspec.structs.replace(self._losses[last], text=text)
            self.left_out.update(fields)

    def _lose_halves(self) -> None:
        """Replace unpaired surrogates, which some tools write as escapes and no encoding can hold."""
        pieces, _ = split_json(self.record.raw.strip())
        for field, value in zip(pieces[::2], pieces[1::2], strict=False):
            if without_half_characters(value) is not value:
                self.lose(
                    Why.VALUE_CHANGED,
                    str(read_json(field)),
                    read_json(value),
                    "unpaired surrogate replaced by U+FFFD",
                )

    def _parts_of(self, field: str) -> list[int]:
        """The losses of parts of ``field``; saves each loss a search through all earlier ones."""
        for number in range(self._looked_at, self._noted):
            *outer, _ = str(self._losses[number].field).split(".", _MOST_DOTS)
            for count in range(1, len(outer) + 1):
                self._parts.setdefault(".".join(outer[:count]), []).append(number)
        self._looked_at = self._noted
        return self._parts.pop(field, [])

    def lose_unknown(self, fields: Mapping[str, Any], known: Collection[str], where: str) -> None:
        """All of ``fields`` that are neither ``known`` nor empty are lost; ``where`` is what they are inside of, with a
        dot."""
        for field, value in fields.items():
            if field not in known and value not in (None, [], {}):
                self._note(Why.UNKNOWN_FIELD, where + field, value, "left out: not in the destination's API")


# -- rules ---------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"\s*[+-]?\d+(\.\d*)?([eE][+-]?\d+)?\s*", re.A)
_FLAGS = {"true": True, "false": False}
_NOT_A_STRING, _NOT_A_FLAG = "must be a string", "must be true or false"


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
            reading.lose(Why.VALUE_CHANGED, where, value, f"{_NOT_A_STRING}; converted")
        if not isinstance(text, str):
            return unfit(reading, value, where, _NOT_A_STRING)
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
            reading.lose(Why.VALUE_CHANGED, where, value, f"{_NOT_A_FLAG}; converted from a string")
            return _FLAGS[value.strip().lower()]
        return unfit(reading, value, where, _NOT_A_FLAG)


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
                    reading.lose(Why.VALUE_CHANGED, inside, item, f"{_NOT_A_STRING}; converted")
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


def repair_members(reading: Reading, rules: Mapping[str, Rule], value: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The members with ``rules`` that can be sent; nulls are left out."""
    there = {key: each for key, each in rules.items() if value.get(key) is not None}
    made = {key: each.repair(reading, value[key], f"{where}{key}") for key, each in there.items()}
    return {key: item for key, item in made.items() if item is not ABSENT}


def completed(defaults: Mapping[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    return {**found, **{key: value for key, value in defaults.items() if key not in found}}


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


# -- tables and requests -------------------------------------------------------------------------------

# Models as their makers name them, and the parameters that these refuse. Of one that has another name (a deployment, a
# look-alike's own) nothing is known.
_FAMILIES: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"(ft:)?(o\d|gpt-[5-9](?!.*chat))"), ("temperature", "top_p")),
    (re.compile(r"(ft:)?(gpt-3|gpt-4|chatgpt-4)"), ("reasoning_effort",)),
)
_EMPTY: Mapping[Any, Any] = MappingProxyType({})


class Form(StrEnum):
    """The dialects that a destination can be asked in."""

    ASSISTANTS = "assistants"
    """An assistant of the Assistants API, which the server keeps."""
    RESPONSES = "responses"
    """A request for the Responses API, which is written down: no server keeps it."""
    FOUNDRY = "foundry"
    """A prompt agent of Azure AI Foundry, which keeps each version of it."""


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


class Targets(msgspec.Struct, frozen=True, kw_only=True):
    """What a definition refers to, by the ids at the destination; an assistant that isn't there is None.

    ``versions`` has the numbers of skills' versions at the destination, by the skill's id and number in the source.
    ``connections`` of a Foundry project, by the source's ids or names; None where source and destination are one
    project, so that everything bound to it is there. ``names`` are those that agents are given, by the source's ids.
    """

    stores: Mapping[SourceId, TargetId] = _EMPTY
    files: Mapping[SourceId, TargetId] = _EMPTY
    assistants: Mapping[SourceId, TargetId | None] = _EMPTY
    skills: Mapping[SourceId, TargetId] = _EMPTY
    versions: Mapping[tuple[SourceId, str], str] = _EMPTY
    connections: Mapping[str, str] | None = _EMPTY
    names: Mapping[SourceId, str] = _EMPTY


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


def refused(model: str) -> tuple[str, ...]:
    """The parameters that a model refuses, judged by its name."""
    return next((names for family, names in _FAMILIES if family.match(model)), ())


# -- marks ---------------------------------------------------------------------------------------------

CLONED_FROM = "cloned_from"
OPERATION = "holdall_op"
TRUE_NAME = "holdall_name"
MARKS = frozenset({CLONED_FROM, OPERATION, TRUE_NAME})

UNMARKED = frozenset({Kind.FILE, Kind.SKILL, Kind.SKILL_VERSION, Kind.TEMPLATE})
"""The kinds whose objects have no metadata, and so no marks."""

_LONGEST_VALUE = 512


class Marked(msgspec.Struct, frozen=True, kw_only=True):
    """Metadata to create with; ``final`` is what to set it to right after, or None where it can stay."""

    create: dict[str, Any]
    final: dict[str, Any] | None = None


def unmarked(metadata: object) -> dict[str, Any]:
    """The owner's own keys: ``metadata`` without our marks. Anything that isn't an object counts as empty."""
    return {k: v for k, v in metadata.items() if k not in MARKS} if isinstance(metadata, Mapping) else {}


def marked(
    metadata: object, *, kind: Kind, source: SourceId, name: str | None, operation: str
) -> tuple[Marked, list[Loss]]:
    """The source's metadata (within the key limit) with our marks; and the losses."""
    own = unmarked(metadata)
    said = partial(Loss, kind=kind, id=source, name=name)
    losses = _origin_replaced(metadata, said)
    marks = {CLONED_FROM: str(source), OPERATION: operation}
    room = METADATA_KEYS - len(marks)
    if len(own) <= room:
        return Marked(create={**own, **marks}), losses
    # Any two may give way: they are back with the next call.
    kept = dict(list(own.items())[:room])
    final = dict(own)
    left_out = [OPERATION]
    # Where one of the two fits, it is the origin: the attempt is of interest only until its answer is known.
    if len(own) < METADATA_KEYS:
        final[CLONED_FROM] = str(source)
    else:
        left_out.insert(0, CLONED_FROM)
    verb = "is" if len(left_out) == 1 else "are"
    text = f"full ({len(own)} keys), so {' and '.join(left_out)} {verb} removed after creation"
    losses.append(said(why=Why.MARKS_LEFT_OUT, field="metadata", text=text))
    return Marked(create={**kept, **marks}, final=final), losses


def marked_once(
    metadata: object, *, kind: Kind, source: SourceId, name: str | None, operation: str, real: str | None = None
) -> tuple[dict[str, Any], list[Loss]]:
    """The same for an object that no later call can change: marks that don't fit are left out. ``real`` is the name of
    one that is called otherwise at the destination."""
    own = unmarked(metadata)
    said = partial(Loss, kind=kind, id=source, name=name)
    losses = _origin_replaced(metadata, said)
    marks = {CLONED_FROM: str(source), OPERATION: operation, **({TRUE_NAME: real[:_LONGEST_VALUE]} if real else {})}
    fitting = list(marks)[: max(0, METADATA_KEYS - len(own))]
    if left_out := [key for key in marks if key not in fitting]:
        text = f"full ({len(own)} keys), so {' and '.join(left_out)} can't be added"
        losses.append(said(why=Why.MARKS_LEFT_OUT, field="metadata", text=text))
    return {**own, **{key: marks[key] for key in fitting}}, losses


def _origin_replaced(metadata: object, said: Callable[..., Loss]) -> list[Loss]:
    """The loss of a source that is itself a copy."""
    inherited = metadata.get(CLONED_FROM) if isinstance(metadata, Mapping) else None
    if inherited is None:
        return []
    text = f"was {inherited}; set to the id in the bundle"
    return [said(why=Why.MARKS_REPLACED, field=f"metadata.{CLONED_FROM}", text=text)]
