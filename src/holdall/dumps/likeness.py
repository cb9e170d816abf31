"""How much an object in a dump is like an assistant, told from the names of its fields. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from enum import Enum, auto
from functools import cached_property

import msgspec

from holdall.dumps.normal import assistant_id, is_assistant_id, spelled

__all__ = ["Head", "Likeness"]

_MODELS = frozenset({"model", "model_name", "model_id", "deployment_name"})
_DEFINING = frozenset({"tools", "instructions", "instruction", "system_prompt", "system_instructions", "file_ids"})
# What runs, messages and requests for other APIs have.
_NO_ASSISTANT = frozenset({"thread_id", "run_id", "role", "messages", "input"})
_MOST_FIELDS = 200


class Likeness(Enum):
    ASSISTANT = auto()
    MAYBE = auto()
    NAMED = auto()
    NONE = auto()


class Head:
    """Just enough of an object to recognise it, its fields by the API's names."""

    def __init__(self, members: Mapping[str, msgspec.Raw]) -> None:
        # What has more fields is a map of something.
        self._members = {spelled(key): value for key, value in members.items()} if len(members) <= _MOST_FIELDS else {}
        self.object = self.text("object")

    def raw(self, field: str) -> bytes:
        return bytes(self._members.get(field, b""))

    def text(self, field: str) -> str | None:
        """A field that is a short string."""
        raw = self.raw(field)
        with suppress(msgspec.DecodeError):
            return msgspec.json.decode(raw, type=str) or None if len(raw) < 1000 else None
        return None

    @cached_property
    def assistant_id(self) -> str | None:
        """The id ``asst_…`` of the assistant that it defines or names."""
        found = assistant_id({field: self.text(field) for field in self._members})
        return found if is_assistant_id(found) else None

    def likeness(self, key: str | None) -> Likeness:
        """How much the object is like an assistant."""
        fields = self._members.keys()
        if self.object == "assistant":
            return Likeness.ASSISTANT
        if self.object is not None or fields & _NO_ASSISTANT:
            return Likeness.NONE
        defined = bool(fields & _DEFINING)
        if (self.assistant_id or is_assistant_id(key)) and (defined or fields & _MODELS):
            return Likeness.ASSISTANT
        if fields & _MODELS and defined:
            return Likeness.MAYBE
        if is_assistant_id(self.text("id")) and "name" in fields:
            return Likeness.NAMED
        return Likeness.NONE
