"""Agents (classic) of Azure AI Foundry: the Assistants API with tools of its own. Source: Microsoft's documents."""

from __future__ import annotations

import msgspec

from holdall.dialects.assistants import OPENAI, TOOLS
from holdall.dialects.rules import Anything
from holdall.endpoint import is_project

_OWN_TOOLS = (
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
_TOOLS = msgspec.structs.replace(TOOLS, kinds={**TOOLS.kinds, **dict.fromkeys(_OWN_TOOLS, Anything())})

FOUNDRY = msgspec.structs.replace(
    OPENAI,
    is_at=is_project,
    fields={**OPENAI.fields, "tools": _TOOLS},
    resources=frozenset(_OWN_TOOLS),
    # A larger batch is refused, so it would be sent twice.
    batch_files=500,
)
