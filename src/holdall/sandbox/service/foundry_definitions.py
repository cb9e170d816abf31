"""What a version of a Foundry agent may say: the shapes of its definition, by kind and by tool.

Sources: ``agents/models.tsp`` of Azure's specification, and azure-ai-projects 2.10. Of tools that reach outside only
the keys are checked that a definition of agents (classic) has by another name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from holdall.sandbox.service import search
from holdall.sandbox.service.api_errors import ApiError, invalid
from holdall.sandbox.service.body_shapes import (
    METADATA,
    Shape,
    anything,
    array,
    boolean,
    checked,
    choice,
    decoded,
    integer,
    mapping,
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

_MAX_TOOLS = 128
_TYPE = text()
_FUNCTION_NAME = text(64, minimum=1, pattern="[a-zA-Z0-9_-]+")
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")

# The names by which agents (classic) have what is a connection of the project here, or that are read-only.
_FORMER_KEYS = frozenset(["connection_id", "index_connection_id", "connections", "functions"])

_DEPRECATED: dict[str, Shape] = {
    "name": nullable(text()),
    "description": nullable(text()),
    "tool_configs": nullable(open_object),
}


def _outside(value: Any, name: str) -> dict[str, Any]:
    """A tool that reaches outside: open, but for the names of former times."""
    open_object(value, name)
    waiting: list[tuple[Any, str]] = [(value, name)]
    while waiting:
        found, where = waiting.pop()
        if isinstance(found, list):
            waiting += [(each, f"{where}[{place}]") for place, each in enumerate(found)]
        elif isinstance(found, dict):
            for key, each in found.items():
                if key in _FORMER_KEYS:
                    raise invalid(f"Unknown parameter: '{where}.{key}'.", f"{where}.{key}", "unknown_parameter")
                # A specification is its owner's, whatever its keys are called.
                if key != "spec":
                    waiting.append((each, f"{where}.{key}"))
    return {**value}


def _with(inner: str, shape: Shape = _outside) -> Shape:
    """A tool with one object in it, named like its type."""
    return record({"type": _TYPE, inner: shape, **_DEPRECATED}, required=(inner,))


_CONTAINER = record(
    {
        "type": choice("auto"),
        "file_ids": array(text(), 50),
        "memory_limit": nullable(choice("1g", "4g", "16g", "64g")),
        "network_policy": open_object,
    },
    required=("type",),
)
_INDEX = record(
    {
        "project_connection_id": text(),
        "index_name": text(),
        "query_type": text(),
        "top_k": integer(1),
        "filter": text(),
        "index_asset_id": text(),
    }
)
_OPENAPI_AUTH = tagged(
    "type",
    {
        "anonymous": record({"type": _TYPE}),
        "project_connection": record({"type": _TYPE, "security_scheme": _outside}, required=("security_scheme",)),
        "managed_identity": record({"type": _TYPE, "security_scheme": _outside}, required=("security_scheme",)),
    },
)
_OPENAPI = record(
    {
        "name": text(minimum=1),
        "description": text(),
        "spec": open_object,
        "auth": _OPENAPI_AUTH,
        "default_params": array(text()),
    },
    required=("name", "spec", "auth"),
)
_MCP = record(
    {
        "type": _TYPE,
        "server_label": text(minimum=1),
        "server_url": text(),
        "server_description": text(),
        "connector_id": text(),
        "headers": nullable(mapping(text(), keys=1000, key_length=1000)),
        "authorization": text(),
        "allowed_tools": anything,
        "require_approval": anything,
        "project_connection_id": text(),
        "defer_loading": boolean,
        **_DEPRECATED,
    },
    required=("server_label",),
)
_SCREEN = record(
    {"type": _TYPE, "display_width": integer(1), "display_height": integer(1), "environment": text(), **_DEPRECATED},
    required=("display_width", "display_height", "environment"),
)
_A2A = record(
    {
        "type": _TYPE,
        "a2a_version": text(),
        "base_url": text(),
        "agent_card_path": text(),
        "project_connection_id": text(),
        **_DEPRECATED,
    }
)
_RANKING = record(
    {
        "ranker": choice("auto", "default-2024-11-15"),
        "score_threshold": number(0, 1),
        "hybrid_search": record(
            {"embedding_weight": number(0), "text_weight": number(0)}, required=("embedding_weight", "text_weight")
        ),
    }
)
_OPEN_TOOLS = (
    "apply_patch",
    "capture_structured_outputs",
    "custom",
    "image_generation",
    "local_shell",
    "memory_search",
    "memory_search_preview",
    "programmatic_tool_calling",
    "shell",
    "tool_search",
    "web_search",
    "web_search_preview",
)
_INNER_TOOLS = (
    "azure_function",
    "bing_custom_search_preview",
    "bing_grounding",
    "browser_automation",
    "browser_automation_preview",
    "fabric_dataagent_preview",
    "sharepoint_grounding_preview",
)
_TOOLS: dict[str, Shape] = {
    "function": record(
        {
            "type": _TYPE,
            "name": _FUNCTION_NAME,
            "description": nullable(text()),
            "parameters": nullable(open_object),
            "strict": nullable(boolean),
            "async": nullable(boolean),
            "defer_loading": nullable(boolean),
            "allowed_callers": nullable(array(text())),
            "output_schema": nullable(open_object),
        },
        required=("name", "parameters", "strict"),
    ),
    "file_search": record(
        {
            "type": _TYPE,
            "vector_store_ids": array(text()),
            "max_num_results": integer(1, 50),
            "filters": nullable(search.FILTER),
            "ranking_options": _RANKING,
            **_DEPRECATED,
        },
        required=("vector_store_ids",),
    ),
    "code_interpreter": record(
        {
            "type": _TYPE,
            "container": one_of("a string or an object", {str: text(), dict: _CONTAINER}),
            **_DEPRECATED,
        }
    ),
    "azure_ai_search": _with("azure_ai_search", record({"indexes": array(_INDEX, 1)}, required=("indexes",))),
    "openapi": _with("openapi", _OPENAPI),
    "mcp": _MCP,
    "computer_use_preview": _SCREEN,
    "a2a": _A2A,
    "a2a_preview": _A2A,
    **{kind: _with(kind) for kind in _INNER_TOOLS},
    **dict.fromkeys(_OPEN_TOOLS, open_object),
}
_FORMATS: dict[str, Shape] = {
    "text": record({"type": _TYPE}),
    "json_object": record({"type": _TYPE}),
    "json_schema": record(
        {
            "type": _TYPE,
            "name": _FUNCTION_NAME,
            "schema": open_object,
            "strict": nullable(boolean),
            "description": nullable(text()),
        },
        required=("name", "schema"),
    ),
}
_INPUT = record(
    {"description": nullable(text()), "default_value": anything, "schema": open_object, "required": nullable(boolean)}
)
_PROMPT = record(
    {
        "kind": _TYPE,
        "model": text(minimum=1),
        "instructions": nullable(text()),
        "temperature": nullable(number(0, 2)),
        "top_p": nullable(number(0, 1)),
        "reasoning": nullable(
            record(
                {
                    "effort": nullable(choice("none", "minimal", "low", "medium", "high", "xhigh", "max")),
                    "summary": nullable(choice("auto", "concise", "detailed")),
                    "mode": nullable(text()),
                    "context": nullable(text()),
                    "generate_summary": nullable(choice("auto", "concise", "detailed")),
                }
            )
        ),
        "tools": nullable(array(tagged("type", _TOOLS))),
        "tool_choice": nullable(
            one_of("a string or an object", {str: choice("auto", "none", "required"), dict: open_object})
        ),
        "text": nullable(record({"format": nullable(tagged("type", _FORMATS))})),
        "structured_inputs": nullable(mapping(_INPUT, keys=1000, key_length=1000)),
        "rai_config": nullable(open_object),
        "skills": nullable(array(record({"name": text(minimum=1), "version": nullable(text())}, required=("name",)))),
        "harness": nullable(open_object),
    },
    required=("model",),
)
_DEFINITION = tagged(
    "kind",
    {
        "prompt": _PROMPT,
        "hosted": open_object,
        "workflow": record({"kind": _TYPE, "workflow": text(), "rai_config": nullable(open_object)}),
        "external": record({"kind": _TYPE, "otel_agent_id": text()}),
        "voice": open_object,
    },
)
_VERSION: dict[str, Shape] = {
    "definition": _DEFINITION,
    "metadata": METADATA,
    "description": nullable(text(512)),
    "blueprint_reference": nullable(open_object),
}
_RULE = record(
    {"type": choice("FixedRatio"), "agent_version": text(minimum=1), "traffic_percentage": integer(0, 100)},
    required=("type", "agent_version", "traffic_percentage"),
)
_ENDPOINT = record(
    {
        "version_selector": nullable(record({"version_selection_rules": nullable(array(_RULE))})),
        "protocols": anything,
        "protocol_configuration": anything,
        "authorization_schemes": anything,
    }
)
_AGENT: dict[str, Shape] = {"agent_endpoint": nullable(_ENDPOINT), "agent_card": nullable(open_object)}

VERSION = record({**_VERSION, "draft": nullable(boolean)}, required=("definition",))
"""The body of ``POST /agents/{name}/versions``."""

UPDATE = record(_VERSION, required=("definition",))
"""The body of ``POST /agents/{name}``."""

CREATE = record(
    {"name": text(), **_VERSION, "state": choice("enabled", "disabled"), **_AGENT}, required=("name", "definition")
)
"""The body of ``POST /agents``."""

PATCH = record(_AGENT)
"""The body of ``PATCH /agents/{name}``."""

# The kinds of agents that are previews, and the feature that each needs.
_PREVIEWS: Mapping[str, str] = {
    "workflow": "WorkflowAgents",
    "external": "ExternalAgents",
    "voice": "VoiceAgents",
}


def read(body: bytes, shape: Shape, behaviour: Switches) -> dict[str, Any]:
    """What a body asks for; raises the refusals of its shape and of what contradicts itself."""
    asked = checked(decoded(body), shape, drops_unknown=behaviour.drops_unknown_keys)
    definition = asked.get("definition", {})
    if definition.get("kind") == "prompt":
        _check_prompt(definition, behaviour)
    return asked


def _check_prompt(definition: dict[str, Any], behaviour: Switches) -> None:
    tools = definition.get("tools") or []
    if len(tools) > _MAX_TOOLS:
        raise invalid(
            f"An agent can have at most {_MAX_TOOLS} tools; {len(tools)} were given.",
            "definition.tools",
            "tool_limit_exceeded",
        )
    for place, tool in enumerate(tools):
        where = f"definition.tools[{place}]"
        if tool["type"] == "function":
            check_function(tool, where)
        if tool["type"] == "file_search" and behaviour.one_store_per_search and len(tool["vector_store_ids"]) > 1:
            raise invalid("An agent can have one vector store.", f"{where}.vector_store_ids", "UserError")
    wanted = (definition.get("text") or {}).get("format") or {}
    if wanted.get("type") == "json_schema":
        strict = bool(wanted.get("strict"))
        check_format(wanted["schema"], wanted["name"], "definition.text.format.schema", strict=strict)


def check_name(name: str) -> None:
    """Refuse what is no name of an agent."""
    if not _NAME.fullmatch(name):
        raise invalid(
            "Invalid agent name. Must start and end with alphanumeric characters, can contain hyphens in the middle, "
            "and must not exceed 63 characters.",
            "name",
            "invalid_parameters",
        )


def check_features(asked: dict[str, Any], features: str) -> None:
    """Refuse what is a preview, unless ``features`` names it; ``features`` is the header ``Foundry-Features``."""
    definition = asked["definition"]
    needed = {_PREVIEWS.get(definition["kind"])}
    if asked.get("draft"):
        needed.add("DraftAgents")
    if definition.get("skills"):
        needed.add("Skills")
    told = {each.strip() for each in features.split(",")}
    for name in sorted(each for each in needed if each is not None):
        if f"{name}=V1Preview" not in told:
            raise ApiError(
                403,
                f"This operation requires the following opt-in preview feature(s): {name}=V1Preview. Include the "
                f"'Foundry-Features: {name}=V1Preview' header in your request.",
                param="Foundry-Features",
                code="preview_feature_required",
            )


def filled(definition: dict[str, Any]) -> dict[str, Any]:
    """A definition as it is kept: with the versions of its skills."""
    if not definition.get("skills"):
        return definition
    return {**definition, "skills": [{**each, "version": each.get("version") or "1"} for each in definition["skills"]]}
