"""The structs of a destination's table of limits, and values that several destinations share.

A destination is a module here: a ``Table`` with a rule for each field of a record, and a function that makes the
request. Both the plan's losses and the requests come from it, so foreseeable refusals are found in advance.
``registry`` lists the destinations.
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
