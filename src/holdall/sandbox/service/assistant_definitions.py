"""An assistant's definition: the shape that a request must have, what its model allows, and how it reads back."""

from __future__ import annotations

from typing import Any

from holdall.sandbox.service import serve_models, stores
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
from holdall.sandbox.service.switches import Switches

_TYPE = text()
_FUNCTION_NAME = text(64, minimum=1, pattern="[a-zA-Z0-9_-]+")

_TOOLS: dict[str, Shape] = {
    "code_interpreter": record({"type": _TYPE}),
    "file_search": record(
        {
            "type": _TYPE,
            "file_search": record(
                {
                    "max_num_results": integer(1, 50),
                    "ranking_options": record(
                        {"ranker": choice("auto", "default_2024_08_21"), "score_threshold": number(0, 1)},
                        required=("score_threshold",),
                    ),
                }
            ),
        }
    ),
    "function": record(
        {
            "type": _TYPE,
            "function": record(
                {
                    "name": _FUNCTION_NAME,
                    "description": text(1024),
                    "parameters": open_object,
                    "strict": nullable(boolean),
                },
                required=("name",),
            ),
        },
        required=("function",),
    ),
}
# Tools that only Azure AI Foundry has, kept as they were sent.
_FOREIGN_TOOLS = (
    "azure_ai_search",
    "azure_function",
    "bing_custom_search",
    "bing_grounding",
    "browser_automation",
    "connected_agent",
    "deep_research",
    "fabric_dataagent",
    "mcp",
    "openapi",
    "sharepoint_grounding",
)


_FORMAT_OBJECT = tagged(
    "type",
    {
        "text": record({"type": _TYPE}),
        "json_object": record({"type": _TYPE}),
        "json_schema": record(
            {
                "type": _TYPE,
                "json_schema": record(
                    {
                        "name": _FUNCTION_NAME,
                        "description": text(),
                        "schema": open_object,
                        "strict": nullable(boolean),
                    },
                    required=("name",),
                ),
            },
            required=("json_schema",),
        ),
    },
)
_RESPONSE_FORMAT = nullable(one_of("a string or an object", {str: choice("auto"), dict: _FORMAT_OBJECT}))

_STORES_INLINE = array(
    record(
        {
            "file_ids": array(text()),
            "chunking_strategy": stores.CHUNKING,
            "metadata": METADATA,
        }
    ),
    1,
)


def _resources(*, inline: bool, foreign: bool) -> Shape:
    search: dict[str, Shape] = {"vector_store_ids": array(text(), 1)}
    if inline:
        search["vector_stores"] = _STORES_INLINE
    fields: dict[str, Shape] = {
        "code_interpreter": record({"file_ids": array(text(), 20)}),
        "file_search": record(search),
    }
    return nullable(record(fields | (dict.fromkeys(_FOREIGN_TOOLS, anything) if foreign else {})))


_FIELDS: dict[str, Shape] = {
    "model": text(minimum=1),
    "name": nullable(text(256)),
    "description": nullable(text(512)),
    "instructions": nullable(text(256_000)),
    "reasoning_effort": nullable(choice("none", "minimal", "low", "medium", "high", "xhigh", "max")),
    "metadata": METADATA,
    "temperature": nullable(number(0, 2)),
    "top_p": nullable(number(0, 1)),
    "response_format": _RESPONSE_FORMAT,
}


def _definition(*, inline: bool, foreign: bool, required: tuple[str, ...] = ()) -> Shape:
    tool = tagged("type", _TOOLS | (dict.fromkeys(_FOREIGN_TOOLS, open_object) if foreign else {}))
    resources = _resources(inline=inline, foreign=foreign)
    return record({**_FIELDS, "tools": array(tool, 128), "tool_resources": resources}, required=required)


_CREATE = [_definition(inline=True, foreign=foreign, required=("model",)) for foreign in (False, True)]
_UPDATE = [_definition(inline=False, foreign=foreign) for foreign in (False, True)]


def to_create(behaviour: Switches) -> Shape:
    """The shape of a request that makes an assistant."""
    return _CREATE[behaviour.foundry]


def to_update(behaviour: Switches) -> Shape:
    """The shape of a request that changes one."""
    return _UPDATE[behaviour.foundry]


def shown_tool(tool: dict[str, Any]) -> dict[str, Any]:
    """A tool as it reads back: with the ranking that the service fills in, and ``strict`` said."""
    if tool["type"] == "file_search":
        ranking = {"ranker": "default_2024_08_21", "score_threshold": 0.0}
        return {"type": "file_search", "file_search": {"ranking_options": ranking, **tool.get("file_search", {})}}
    if tool["type"] == "function":
        function = {key: value for key, value in tool["function"].items() if value is not None}
        return {"type": "function", "function": {**function, "strict": function.get("strict", False)}}
    return tool


def check_parameters(model: str, asked: dict[str, Any]) -> None:
    """Refuse what the model doesn't take: sampling where it reasons, an effort where it doesn't."""
    if serve_models.is_reasoning(model):
        for name in ("temperature", "top_p"):
            if asked.get(name) is not None:
                raise invalid(
                    f"Unsupported parameter: '{name}' is not supported with this model.",
                    name,
                    "unsupported_parameter",
                )
    elif asked.get("reasoning_effort") is not None:
        raise invalid(
            "Unsupported parameter: 'reasoning_effort' is not supported with this model.",
            "reasoning_effort",
            "unsupported_parameter",
        )


def check_tools(tools: list[dict[str, Any]]) -> None:
    """Refuse a second search, a second interpreter, two functions of one name, and parameters that are none."""
    for kind in ("code_interpreter", "file_search"):
        if sum(tool["type"] == kind for tool in tools) > 1:
            raise invalid(f"Invalid 'tools': only one tool of type '{kind}' is allowed.", "tools", "invalid_value")
    for place, tool in enumerate(tools):
        if tool["type"] == "function":
            check_function(tool["function"], f"tools[{place}].function")
    names = [tool["function"]["name"] for tool in tools if tool["type"] == "function"]
    for name in names:
        if names.count(name) > 1:
            raise invalid(f"Invalid 'tools': duplicate function name '{name}'.", "tools", "invalid_value")


def check_response_format(wanted: Any) -> None:
    """Refuse a schema that is to be kept to strictly and can't be."""
    if isinstance(wanted, dict) and wanted["type"] == "json_schema":
        asked = wanted["json_schema"]
        where = "response_format.json_schema.schema"
        check_format(asked.get("schema"), asked["name"], where, strict=bool(asked.get("strict")))


def shown(id_: str, created_at: int, settings: dict[str, Any]) -> dict[str, Any]:
    """The assistant object: settings with the service's defaults in place of what is missing or null."""
    kinds = {tool["type"] for tool in settings.get("tools", [])}
    resources = dict(settings.get("tool_resources") or {})
    if "code_interpreter" in kinds:
        resources.setdefault("code_interpreter", {"file_ids": []})
    if "file_search" in kinds:
        resources.setdefault("file_search", {"vector_store_ids": []})
    reasoning = serve_models.is_reasoning(settings["model"])

    def told(name: str, default: Any) -> Any:
        value = settings.get(name)
        return default if value is None else value

    return {
        "id": id_,
        "object": "assistant",
        "created_at": created_at,
        "name": settings.get("name"),
        "description": settings.get("description"),
        "model": settings["model"],
        "instructions": settings.get("instructions"),
        "tools": settings.get("tools", []),
        "top_p": told("top_p", 1.0),
        "temperature": told("temperature", 1.0),
        "reasoning_effort": told("reasoning_effort", "medium") if reasoning else None,
        "tool_resources": resources,
        "metadata": told("metadata", {}),
        "response_format": told("response_format", "auto"),
    }
