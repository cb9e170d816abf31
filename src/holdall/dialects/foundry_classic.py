"""Agents (classic) of Azure AI Foundry: the Assistants API with tools of its own. Source: Microsoft's documents."""

from __future__ import annotations

from urllib.parse import urlsplit

import msgspec

from holdall.dialects.assistants import OPENAI, TOOLS
from holdall.dialects.rules import Anything

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


def _is_foundry(base_url: str) -> bool:
    parts = urlsplit(base_url)
    # The path tells it behind a gateway, too.
    return (parts.hostname or "").endswith(".services.ai.azure.com") or "/api/projects/" in parts.path


FOUNDRY = msgspec.structs.replace(
    OPENAI,
    is_at=_is_foundry,
    fields={**OPENAI.fields, "tools": _TOOLS},
    resources=frozenset(_OWN_TOOLS),
    # A larger batch is refused, so it would be sent twice.
    batch_files=500,
)
