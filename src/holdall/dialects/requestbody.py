"""Assistants and agents alike: by kind, how a request is made of a record. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from holdall.dialects import agents, assistants
from holdall.dialects.assistants import Request
from holdall.dialects.rules import Rule
from holdall.dialects.tables import AGENT, OPENAI, STORE, Table
from holdall.model import Kind, Record, SourceId, TargetId

__all__ = ["NAMES", "Targets", "definition", "dispensable"]

_NONE: Mapping[Any, Any] = MappingProxyType({})


class Targets(msgspec.Struct, frozen=True, kw_only=True):
    """What a definition refers to, by the ids at the destination; an assistant that isn't there is None."""

    stores: Mapping[SourceId, TargetId] = _NONE
    files: Mapping[SourceId, TargetId] = _NONE
    assistants: Mapping[SourceId, TargetId | None] = _NONE


NOTHING = Targets()

NAMES: Mapping[Kind, Mapping[str, Rule]] = {
    Kind.ASSISTANT: OPENAI.fields,
    Kind.AGENT: AGENT,
    Kind.STORE: STORE,
}
"""The rules that a copy's name has to keep, by kind."""


def definition(
    record: Record,
    *,
    prefix: str,
    operation: str = "",
    targets: Targets = NOTHING,
    model: str | None = None,
    table: Table = OPENAI,
) -> Request:
    """The request that makes a copy of ``record``, with ``model`` as its model and within the limits of ``table``."""
    return _REQUESTS[record.kind](record, prefix, operation, targets, model, table)


def dispensable(kind: Kind, body: Mapping[str, Any]) -> dict[str, bool]:
    """The fields of ``body`` that a create call can do without, and whether nothing is lost by that."""
    return assistants.dispensable(body) if kind is Kind.ASSISTANT else {}


def _assistant(
    record: Record, prefix: str, operation: str, targets: Targets, model: str | None, table: Table
) -> Request:
    return assistants.assistant(
        record,
        prefix=prefix,
        operation=operation,
        stores=targets.stores,
        files=targets.files,
        assistants=targets.assistants,
        model=model,
        table=table,
    )


def _agent(record: Record, prefix: str, operation: str, targets: Targets, model: str | None, table: Table) -> Request:
    return agents.agent(record, prefix=prefix, operation=operation, model=model)


_REQUESTS: Mapping[Kind, Callable[[Record, str, str, Targets, str | None, Table], Request]] = {
    Kind.ASSISTANT: _assistant,
    Kind.AGENT: _agent,
}
