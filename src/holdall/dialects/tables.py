"""What a table of limits is, and what several destinations have in common. Values only.

A destination is a module of this room: a ``Table`` by the fields of the record that a bundle has, and a function that
makes the request. Whatever a plan says is lost and whatever a writer sends comes from there, so that nothing is refused
for a reason that could have been known before. ``registry`` lists the destinations.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Protocol

import msgspec

from holdall.dialects.loss import Loss
from holdall.dialects.rules import Choice, Number, Pairs, Rule
from holdall.model import Record, SourceId, TargetId

USES: Mapping[str, str] = {"code_interpreter": "file_ids", "file_search": "vector_store_ids"}
"""What a tool uses, in ``tool_resources``."""

DEFAULTS: Mapping[str, Any] = {"temperature": 1, "top_p": 1, "reasoning_effort": "medium"}
"""Parameters that some models refuse, with what they are where nobody set them."""

# As their makers name them. Of what has another name (a deployment, a look-alike's own) nothing is known.
_FAMILIES: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"(ft:)?(o\d|gpt-[5-9](?!.*chat))"), ("temperature", "top_p")),
    (re.compile(r"(ft:)?(gpt-3|gpt-4|chatgpt-4)"), ("reasoning_effort",)),
)

EFFORT = Choice(words=("none", "minimal", "low", "medium", "high", "xhigh", "max"))
SHARE = Number(least=0, most=1)
METADATA = Pairs()

_NONE: Mapping[Any, Any] = MappingProxyType({})


class Form(StrEnum):
    """The dialects that a destination can be asked in."""

    ASSISTANTS = "assistants"
    """An assistant of the Assistants API, which the server keeps."""
    RESPONSES = "responses"
    """A request for the Responses API, which is written down: no server keeps it."""


class Targets(msgspec.Struct, frozen=True, kw_only=True):
    """What a definition refers to, by the ids at the destination; an assistant that isn't there is None."""

    stores: Mapping[SourceId, TargetId] = _NONE
    files: Mapping[SourceId, TargetId] = _NONE
    assistants: Mapping[SourceId, TargetId | None] = _NONE


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What an object is to be: its ``body``, the ``update`` that must follow its creation (or None), and what is lost.

    ``create`` is what is sent to make it: a null there says what leaving it out says, and not every server takes it.
    Of a request that is written down, ``kept`` is what has no place in it and needs none, ``left_out`` the values that
    a loss speaks of, by the same fields, as the source had them.
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
    """Makes the request for a copy of a record, with ``model`` in place of its own, as ``table`` allows.

    References that ``targets`` doesn't map are left out of it; that they are is said by the plan, which knows why.
    """

    def __call__(
        self, record: Record, *, prefix: str, operation: str, targets: Targets, model: str | None, table: Table
    ) -> Request: ...


def _anywhere(base_url: str) -> bool:
    return True


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One destination: what becomes of an assistant there, its ``fields``, and how many ``stores`` and code interpreter
    ``files`` it may have. ``build`` makes the request, ``is_at`` says whether the server at a base URL is one.

    ``resources`` are what its tools use besides, ``batch_files`` how many files one call attaches.
    """

    form: Form
    build: Builder
    fields: Mapping[str, Rule]
    stores: int
    files: int
    is_at: Callable[[str], bool] = _anywhere
    resources: frozenset[str] = frozenset()
    batch_files: int = 2000


def refused(model: str) -> tuple[str, ...]:
    """The parameters that a model of this name refuses, as far as its name says."""
    return next((names for family, names in _FAMILIES if family.match(model)), ())
