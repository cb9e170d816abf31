"""What a request to /responses must look like, and what of it reads back in the answer.

The names are those of the SDK's ``ResponseCreateParams``. What the sandbox can't do (stream, run in the background,
keep a conversation, tools that reach outside) is refused, not ignored.
"""

from __future__ import annotations

import re
from typing import Any

from holdall.sandbox.service import search, serve_models
from holdall.sandbox.service.api_errors import invalid
from holdall.sandbox.service.body_shapes import (
    METADATA,
    Shape,
    anything,
    array,
    boolean,
    choice,
    integer,
    nullable,
    number,
    one_of,
    open_object,
    record,
    tagged,
    text,
)
from holdall.sandbox.service.json_schemas import check_format, check_function

# The longest string of an input. Source: the service's own refusals.
_LONGEST = 10_485_760
_TYPE = text()
_NAME = text(64, minimum=1, pattern="[a-zA-Z0-9_-]+")
_STATUS = choice("in_progress", "completed", "incomplete")

_CONTAINER = record(
    {
        "type": choice("auto"),
        "file_ids": array(text(), 50),
        "memory_limit": nullable(choice("1g", "4g", "16g", "64g")),
        "network_policy": open_object,
    },
    required=("type",),
)


def _tools(stores: int | None) -> dict[str, Shape]:
    """The tools by type; ``stores`` is the most that one search takes."""
    return {
        "function": record(
            {
                "type": _TYPE,
                "name": _NAME,
                "description": nullable(text()),
                "parameters": nullable(open_object),
                "strict": nullable(boolean),
            },
            required=("name", "parameters", "strict"),
        ),
        "file_search": record(
            {
                "type": _TYPE,
                "vector_store_ids": array(text(), stores, minimum=1),
                "max_num_results": integer(1, 50),
                "filters": nullable(search.FILTER),
                "ranking_options": record(
                    {
                        "ranker": choice("auto", "default-2024-11-15"),
                        "score_threshold": number(0, 1),
                        "hybrid_search": record(
                            {"embedding_weight": number(0), "text_weight": number(0)},
                            required=("embedding_weight", "text_weight"),
                        ),
                    }
                ),
            },
            required=("vector_store_ids",),
        ),
        "code_interpreter": record(
            {"type": _TYPE, "container": one_of("a string or an object", {str: text(), dict: _CONTAINER})},
            required=("container",),
        ),
    }


_FORMATS: dict[str, Shape] = {
    "text": record({"type": _TYPE}),
    "json_object": record({"type": _TYPE}),
    "json_schema": record(
        {
            "type": _TYPE,
            "name": _NAME,
            "schema": open_object,
            "description": text(),
            "strict": nullable(boolean),
        },
        required=("name", "schema"),
    ),
}

_PARTS: dict[str, Shape] = {
    "input_text": record({"type": _TYPE, "text": text(_LONGEST)}, required=("text",)),
    "output_text": record(
        {"type": _TYPE, "text": text(_LONGEST), "annotations": array(open_object), "logprobs": anything},
        required=("text",),
    ),
    "refusal": record({"type": _TYPE, "refusal": text()}, required=("refusal",)),
}
_MESSAGE = record(
    {
        "type": _TYPE,
        "role": choice("user", "assistant", "system", "developer"),
        "content": one_of("a string or an array", {str: text(_LONGEST), list: array(tagged("type", _PARTS))}),
        "id": text(),
        "status": nullable(_STATUS),
        "phase": nullable(text()),
    },
    required=("role", "content"),
)
_ITEMS: dict[str, Shape] = {
    "message": _MESSAGE,
    "function_call": record(
        {
            "type": _TYPE,
            "id": nullable(text()),
            "call_id": text(64, minimum=1),
            "name": _NAME,
            "arguments": text(_LONGEST),
            "status": nullable(_STATUS),
        },
        required=("call_id", "name", "arguments"),
    ),
    "function_call_output": record(
        {
            "type": _TYPE,
            "id": nullable(text()),
            "call_id": text(64, minimum=1),
            "output": one_of("a string or an array", {str: text(_LONGEST), list: array(tagged("type", _PARTS))}),
            "status": nullable(_STATUS),
        },
        required=("call_id", "output"),
    ),
    "file_search_call": record(
        {
            "type": _TYPE,
            "id": text(),
            "queries": array(text()),
            "status": text(),
            "results": nullable(array(open_object)),
        },
        required=("id", "queries"),
    ),
}


def _item(value: Any, name: str) -> dict[str, Any]:
    # Only a message may leave out what it is.
    is_message = isinstance(value, dict) and "type" not in value
    checked: dict[str, Any] = (_MESSAGE if is_message else tagged("type", _ITEMS))(value, name)
    return checked


_TOOL_CHOICE = one_of(
    "a string or an object",
    {
        str: choice("none", "auto", "required"),
        dict: tagged(
            "type",
            {
                "function": record({"type": _TYPE, "name": _NAME}, required=("name",)),
                "file_search": record({"type": _TYPE}),
                "code_interpreter": record({"type": _TYPE}),
            },
        ),
    },
)

_INCLUDABLE = (
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "message.input_image.image_url",
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "web_search_call.action.sources",
    "web_search_call.results",
)


def _not_here(value: Any, name: str) -> Any:
    """What the service has and the sandbox doesn't: refused unless it asks for nothing."""
    if value not in (None, False):
        raise invalid(f"Unsupported parameter: '{name}' is not served by this sandbox.", name, "unsupported_parameter")
    return value


def _request(stores: int | None) -> Shape:
    return record(
        {
            "model": text(minimum=1),
            "input": one_of("a string or an array", {str: text(_LONGEST), list: array(_item)}),
            "instructions": nullable(text(_LONGEST)),
            "metadata": METADATA,
            "temperature": nullable(number(0, 2)),
            "top_p": nullable(number(0, 1)),
            "reasoning": nullable(
                record(
                    {
                        "effort": nullable(choice("none", "minimal", "low", "medium", "high", "xhigh", "max")),
                        "summary": nullable(choice("auto", "concise", "detailed")),
                    }
                )
            ),
            "text": record(
                {"format": tagged("type", _FORMATS), "verbosity": nullable(choice("low", "medium", "high"))},
            ),
            "tools": array(tagged("type", _tools(stores)), 128),
            "tool_choice": _TOOL_CHOICE,
            "parallel_tool_calls": nullable(boolean),
            "previous_response_id": nullable(text()),
            "include": nullable(array(choice(*_INCLUDABLE))),
            "store": nullable(boolean),
            "max_output_tokens": nullable(integer(16)),
            "max_tool_calls": nullable(integer(1)),
            "service_tier": nullable(choice("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")),
            "truncation": nullable(choice("auto", "disabled")),
            "safety_identifier": nullable(text(128)),
            "prompt_cache_key": nullable(text()),
            "user": text(),
            "stream": _not_here,
            "background": _not_here,
            "conversation": _not_here,
            "prompt": _not_here,
        },
        required=("model",),
    )


REQUEST: tuple[Shape, Shape] = (_request(2), _request(None))
"""The shape of a request that makes a response: at OpenAI, and at Foundry."""


def check(asked: dict[str, Any]) -> None:
    """Refuse what the model doesn't take, and what contradicts itself."""
    if "input" not in asked and not asked.get("previous_response_id"):
        raise invalid(
            "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation_id' must be provided.",
            "input",
            "missing_required_parameter",
        )
    _check_model(asked["model"], asked)
    for place, tool in enumerate(asked.get("tools", [])):
        if tool["type"] == "function":
            check_function(tool, f"tools[{place}]")
    wanted = asked.get("text", {}).get("format", {})
    if wanted.get("type") == "json_schema":
        check_format(wanted["schema"], wanted["name"], "text.format.schema", strict=bool(wanted.get("strict")))
    _check_choice(asked.get("tool_choice"), asked.get("tools", []))
    says_json = asked.get("previous_response_id") or re.search("json", repr(asked.get("input", "")), re.IGNORECASE)
    if wanted.get("type") == "json_object" and not says_json:
        raise invalid(
            "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
            "'json_object'.",
            "input",
        )


def _check_model(model: str, asked: dict[str, Any]) -> None:
    if serve_models.is_reasoning(model):
        for name in ("temperature", "top_p"):
            if asked.get(name) is not None:
                # Without a code, unlike what other endpoints say of it.
                raise invalid(f"Unsupported parameter: '{name}' is not supported with this model.", name)
        return
    if (asked.get("reasoning") or {}).get("effort") is not None:
        raise invalid(
            "Unsupported parameter: 'reasoning.effort' is not supported with this model.",
            "reasoning.effort",
            "unsupported_parameter",
        )
    verbosity = asked.get("text", {}).get("verbosity")
    if verbosity not in (None, "medium"):
        raise invalid(
            f"Unsupported value: '{verbosity}' is not supported with the '{model}' model. Supported values are: "
            "'medium'.",
            "text.verbosity",
            "unsupported_value",
        )


def _check_choice(wanted: Any, tools: list[dict[str, Any]]) -> None:
    if wanted == "required" and not tools:
        raise invalid("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice")
    if isinstance(wanted, dict):
        there = {(tool["type"], tool.get("name")) for tool in tools}
        if (wanted["type"], wanted.get("name")) not in there:
            raise invalid(f"Tool choice '{wanted['type']}' not found in 'tools' parameter.", "tool_choice")


def shown_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as it reads back, with the service's defaults."""
    if tool["type"] == "file_search":
        ranking = {"ranker": "auto", "score_threshold": 0.0, **tool.get("ranking_options", {})}
        return {"filters": None, "max_num_results": 20, **tool, "ranking_options": ranking}
    if tool["type"] == "function":
        return {"description": None, **tool, "strict": bool(tool["strict"])}
    return tool


def shown_text(asked: dict[str, Any]) -> dict[str, Any]:
    """``text`` as it reads back."""
    given = asked.get("text", {})
    wanted = given.get("format", {"type": "text"})
    if wanted["type"] == "json_schema":
        wanted = {"description": None, **wanted, "strict": bool(wanted.get("strict"))}
    return {"format": wanted, "verbosity": given.get("verbosity") or "medium"}
