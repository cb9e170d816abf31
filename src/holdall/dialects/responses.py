"""The Responses API: an assistant as the request that ``responses.create`` takes, and what of it has no place there.

The API keeps no assistants, so what comes out isn't sent but written down, for whoever calls it: ``input`` is all that
is missing. What the call would refuse is mended or left out by the destination's table, and said, for nobody is there
yet who could see it refused; here it only finds its place.

What does nothing in a request (name, description, id, created_at) is ``kept`` beside it, which is no loss. Nor is it
one that defaults are left out: a temperature or a top_p of 1 is what the API takes where nothing is said, and models
that reason refuse even that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.dialects.assistants import named, refusing
from holdall.dialects.loss import Loss, Why
from holdall.dialects.marks import CLONED_FROM, unmarked
from holdall.dialects.mending import fields
from holdall.dialects.reading import Reading
from holdall.dialects.responses_tools import lose_unused, placed
from holdall.dialects.tables import DEFAULTS, RESPONSES
from holdall.model import Record, SourceId, TargetId

__all__ = ["Draft", "assistant"]

_KEPT = ("id", "name", "description", "created_at")
_ASIDE = frozenset({"object", "tool_resources", *_KEPT})
_RULES = {field: rule for field, rule in RESPONSES.fields.items() if field not in _KEPT}


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """``request`` is what ``responses.create(**request, input=…)`` takes; ``kept`` what has no place there and needs
    none; ``left_out`` the values that a loss speaks of, by the same fields, as the source had them."""

    request: dict[str, Any]
    kept: dict[str, Any]
    left_out: dict[str, Any]
    losses: list[Loss]


def assistant(
    record: Record,
    *,
    prefix: str,
    stores: Mapping[SourceId, TargetId],
    files: Mapping[SourceId, TargetId],
    model: str | None = None,
) -> Draft:
    """The request for one assistant, with ``model`` in place of its own. References that ``stores`` and ``files``
    don't map are left out of it; that they are is said by the plan, which knows why."""
    reading = Reading(record, model)
    found = {field: value for field, value in fields(reading, _RULES).items() if value is not None}
    refusing(reading, found)
    request: dict[str, Any] = {field: found[field] for field in ("model", "instructions") if field in found}
    request.update(
        {f: found[f] for f in ("temperature", "top_p") if found.get(f, DEFAULTS[f]) != DEFAULTS[f]},
    )
    if "reasoning_effort" in found:
        request["reasoning"] = {"effort": found["reasoning_effort"]}
    if found.get("response_format", "auto") != "auto":
        request["text"] = {"format": _flat(found["response_format"])}
    if tools := placed(reading, found.get("tools", []), stores, files):
        request["tools"] = tools
    lose_unused(reading, {tool["type"] for tool in found.get("tools", [])})
    if own := _unmarked(reading, found.get("metadata", {})):
        request["metadata"] = own
    reading.lose_unknown(reading.fields, {*RESPONSES.fields, *_ASIDE}, "")
    kept = {field: reading.fields.get(field) for field in _KEPT}
    kept["name"] = named(kept["name"], prefix, RESPONSES.fields)
    return Draft(request=request, kept=kept, left_out=reading.left_out, losses=reading.losses)


def _flat(asked: dict[str, Any]) -> dict[str, Any]:
    """What an assistant has one level down."""
    if asked["type"] != "json_schema":
        return asked
    return {"type": "json_schema", "schema": {}, **asked["json_schema"]}


def _unmarked(reading: Reading, metadata: dict[str, Any]) -> dict[str, Any]:
    """The owner's own keys: whatever is here is on every answer, so our marks stay out of it."""
    if (was := metadata.get(CLONED_FROM)) is not None:
        text = f"was {was}; its id in the bundle is kept beside"
        reading.lose(Why.MARKS_REPLACED, f"metadata.{CLONED_FROM}", was, text)
    return unmarked(metadata)
