"""Reads a record's fields for a dialect, with a loss for each that the destination doesn't accept. Pure."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any, TypeGuard, TypeVar

import msgspec

from holdall.dialects.loss import Loss, Why
from holdall.errors import DamagedBundle
from holdall.lenient import split_json, without_half_characters
from holdall.model import Record
from holdall.untrusted import read_json

T = TypeVar("T")

# Dots in the name of a field that stand between objects, at the most; keys may have any number.
_DEEPEST = 64
# So many fields are named one by one; of more, the first and their number.
_FEW = 20


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
        """Record that ``fields`` aren't sent, for one reason: ``_FEW`` of many are losses of their own."""
        for field, value in islice(fields.items(), _FEW):
            self._note(why, field, value, text)
        if len(fields) > _FEW:
            text = f"{text}; same for {len(fields) - _FEW} more"
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
            *outer, _ = str(self._losses[number].field).split(".", _DEEPEST)
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
