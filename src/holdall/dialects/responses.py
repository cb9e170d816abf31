"""The Responses API: an assistant as the request that ``responses.create`` takes, and what of it has no place there.

The API keeps no assistants, so what comes out isn't sent but written down, for whoever calls it: ``input`` is all that
is missing. Field by field as the official OpenAPI description has it (CreateResponse); a value that the call would
refuse is left out and said, for nobody is there yet who could see it refused.

What does nothing in a request (name, description, id, created_at) is ``kept`` beside it, which is no loss. Nor is it
one that defaults are left out: a temperature or a top_p of 1 is what the API takes where nothing is said, and models
that reason refuse even that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.dialects.assistants import named
from holdall.dialects.loss import Loss, Why
from holdall.dialects.marks import CLONED_FROM, MARKS, METADATA_KEYS
from holdall.dialects.reading import Reading, is_number
from holdall.dialects.responses_tools import tools
from holdall.model import Record, SourceId, TargetId

__all__ = ["Draft", "assistant", "reasons"]

_KEY, _VALUE = 64, 512
"""Characters of a metadata key and of its value."""

_KEPT = ("id", "name", "description", "created_at")
_READ = frozenset(
    {
        "model",
        "instructions",
        "temperature",
        "top_p",
        "metadata",
        "reasoning_effort",
        "response_format",
        "tools",
        "tool_resources",
        "object",
        *_KEPT,
    }
)
_RANGES = {"temperature": (0, 2), "top_p": (0, 1)}
_EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_NAME = 64
# As their makers name them. Of what has another name (a deployment, a look-alike's own) nothing is known.
_REASONS = re.compile(r"(ft:)?(o\d|gpt-[5-9](?!.*chat))")
_DOES_NOT_REASON = re.compile(r"(ft:)?(gpt-3|gpt-4|chatgpt-4)")


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
    reading = Reading(record)
    fields = reading.fields
    named_model = reading.fit("model", model or fields.get("model"), str, "a model has to be named")
    instructions = reading.fit("instructions", fields.get("instructions"), str, "they have to be a text")
    request: dict[str, Any] = {
        **({} if named_model is None else {"model": named_model}),
        **({} if instructions is None else {"instructions": instructions}),
        **_sampling(reading, named_model or ""),
        **_reasoning(reading, named_model or ""),
        **_text(reading),
        **({"tools": found} if (found := tools(reading, stores, files)) else {}),
        **({"metadata": own} if (own := _metadata(reading)) else {}),
    }
    reading.lose_unknown(fields, _READ, "")
    kept = {field: fields.get(field) for field in _KEPT}
    kept["name"] = named(kept["name"], prefix)
    return Draft(request=request, kept=kept, left_out=reading.left_out, losses=reading.losses)


def reasons(model: str) -> bool | None:
    """Whether a model of this name reasons; None where its name doesn't say."""
    if _REASONS.match(model):
        return True
    return False if _DOES_NOT_REASON.match(model) else None


def _sampling(reading: Reading, model: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, (least, most) in _RANGES.items():
        value = reading.fields.get(field)
        if value is None or (is_number(value) and value == 1):
            continue
        if not is_number(value) or not least <= value <= most:
            reading.lose(Why.UNFIT_VALUE, field, value, f"it has to be a number from {least} to {most}")
        elif reasons(model):
            reading.lose(Why.MODEL_REFUSES, field, value, f"left out: {model} reasons, and such models refuse it")
        else:
            found[field] = value
    return found


def _reasoning(reading: Reading, model: str) -> dict[str, Any]:
    effort = reading.fields.get("reasoning_effort")
    if effort is None:
        return {}
    if not isinstance(effort, str) or effort not in _EFFORTS:
        reading.lose(Why.UNFIT_VALUE, "reasoning_effort", effort, "there is no such effort")
    elif reasons(model) is False:
        text = f"left out: {model} does not reason, and refuses it"
        reading.lose(Why.MODEL_REFUSES, "reasoning_effort", effort, text)
    else:
        return {"reasoning": {"effort": effort}}
    return {}


def _text(reading: Reading) -> dict[str, Any]:
    asked = reading.fields.get("response_format")
    if asked in (None, "auto"):
        return {}
    kind = asked.get("type") if isinstance(asked, dict) else None
    schema = asked.get("json_schema") if isinstance(asked, dict) else None
    if kind in ("text", "json_object") or (kind == "json_schema" and isinstance(schema, dict)):
        reading.lose_unknown(asked, {"type", "json_schema"}, "response_format.")
        found = _schema(reading, schema) if kind == "json_schema" and isinstance(schema, dict) else {"type": kind}
        return {"text": {"format": found}}
    reading.lose(Why.UNFIT_VALUE, "response_format", asked, "there is no such format")
    return {}


def _schema(reading: Reading, asked: dict[str, Any]) -> dict[str, Any]:
    """What an assistant has one level down."""
    where = "response_format.json_schema."
    name = asked.get("name")
    plain = _NOT_IN_NAMES.sub("_", name)[:_NAME] if isinstance(name, str) and name else "response"
    if plain != name:
        text = f"it is {plain} now: at most {_NAME} letters, digits, _ and - are allowed"
        reading.lose(Why.VALUE_CHANGED, f"{where}name", name, text)
    schema = reading.fit(f"{where}schema", asked.get("schema"), dict, "it has to be an object")
    found: dict[str, Any] = {"type": "json_schema", "name": plain, "schema": schema or {}}
    if (strict := reading.fit(f"{where}strict", asked.get("strict"), bool, "it has to be true or false")) is not None:
        found["strict"] = strict
    about = reading.fit(f"{where}description", asked.get("description"), str, "it has to be a text")
    if about is not None:
        found["description"] = about
    reading.lose_unknown(asked, {"name", "schema", "strict", "description"}, where)
    return found


def _metadata(reading: Reading) -> dict[str, str]:
    """The owner's own keys: whatever is here is on every answer, so our marks stay out of it."""
    found: dict[str, str] = {}
    for key, value in (
        reading.fit("metadata", reading.fields.get("metadata"), dict, "it has to be an object") or {}
    ).items():
        where = f"metadata.{key}"
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        if value is None or key in MARKS:
            if key == CLONED_FROM:
                reading.lose(Why.MARKS_REPLACED, where, value, f"was {text}; its id in the bundle is kept beside")
        elif len(key) > _KEY or len(text) > _VALUE:
            said = f"left out: a key may have {_KEY} characters and a value {_VALUE}"
            reading.lose(Why.OVER_LIMIT, where, value, said)
        elif len(found) == METADATA_KEYS:
            reading.lose(Why.OVER_LIMIT, where, value, f"left out: {METADATA_KEYS} keys are allowed")
        else:
            if text is not value:
                reading.lose(Why.VALUE_CHANGED, where, value, "it has to be a text, and is one now")
            found[key] = text
    return found
