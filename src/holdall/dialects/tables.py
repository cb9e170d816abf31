"""The tables of limits: what each destination takes of an assistant, an agent, a store and a store's file. Values only.

One table for each destination, by the fields of the record that a bundle has. Whatever a plan says is lost and whatever
a writer sends comes from here, so that nothing is refused for a reason that could have been known before.
Sources: the official OpenAPI description (CreateAssistantRequest, CreateVectorStoreRequest, VectorStoreFileAttributes,
CreateResponse), the official SDK for agents, Microsoft's documents for Foundry Agents (classic).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from holdall.dialects.forms import Form
from holdall.dialects.rules import (
    Anything,
    Choice,
    Each,
    Flag,
    Format,
    Free,
    Function,
    Members,
    Number,
    Pairs,
    Rule,
    Tagged,
    Text,
    Tools,
)

__all__ = [
    "AGENT",
    "AS_IS",
    "ATTACHMENT",
    "DEFAULTS",
    "FOUNDRY",
    "OPENAI",
    "RESPONSES",
    "STORE",
    "USES",
    "Table",
    "refused",
    "table",
]

USES: Mapping[str, str] = {"code_interpreter": "file_ids", "file_search": "vector_store_ids"}
"""What a tool uses, in ``tool_resources``."""

DEFAULTS: Mapping[str, Any] = {"temperature": 1, "top_p": 1, "reasoning_effort": "medium"}
"""Parameters that some models refuse, with what they are where nobody set them."""

# As their makers name them. Of what has another name (a deployment, a look-alike's own) nothing is known.
_FAMILIES: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"(ft:)?(o\d|gpt-[5-9](?!.*chat))"), ("temperature", "top_p")),
    (re.compile(r"(ft:)?(gpt-3|gpt-4|chatgpt-4)"), ("reasoning_effort",)),
)


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """One destination: the ``fields`` of an assistant, and how many ``stores`` and code interpreter ``files`` it may
    have. ``resources`` are what its tools use besides, ``batch_files`` how many files one call attaches."""

    fields: Mapping[str, Rule]
    stores: int
    files: int
    resources: frozenset[str] = frozenset()
    batch_files: int = 2000


_EFFORT = Choice(words=("none", "minimal", "low", "medium", "high", "xhigh", "max"))
_RESULTS = Number(least=1, most=50, whole=True)
_SHARE = Number(least=0, most=1)
_METADATA = Pairs()
_NOTHING = Members(members={})

_FUNCTION = Function(description=Text(most=1024))


def _search(ranker: str, defaults: Mapping[str, Any] = {}) -> Members:
    ranking: dict[str, Rule] = {
        "ranker": Choice(words=("auto", ranker), otherwise="auto"),
        "score_threshold": _SHARE,
    }
    options: dict[str, Rule] = {
        "max_num_results": _RESULTS,
        "ranking_options": Members(members=ranking, defaults=defaults),
    }
    return Members(members={"file_search": Members(members=options)})


_TOOLS = Tools(
    kinds={
        "file_search": _search("default_2024_08_21", {"score_threshold": 0}),
        "code_interpreter": _NOTHING,
        "function": _FUNCTION,
    },
    most=128,
    once=("file_search", "code_interpreter"),
)
_FIELDS: Mapping[str, Rule] = {
    "model": Text(),
    "name": Text(most=256),
    "description": Text(most=512),
    "instructions": Text(most=256_000, weighs=True),
    "reasoning_effort": _EFFORT,
    "tools": _TOOLS,
    "temperature": Number(least=0, most=2),
    "top_p": _SHARE,
    "response_format": Format(),
    "metadata": _METADATA,
}

OPENAI = Table(fields=_FIELDS, stores=1, files=20)
"""The Assistants API, version 2, which any server has that calls itself compatible."""

_FOUNDRY_TOOLS = (
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
FOUNDRY = Table(
    fields={
        **_FIELDS,
        "tools": msgspec.structs.replace(_TOOLS, kinds={**_TOOLS.kinds, **dict.fromkeys(_FOUNDRY_TOOLS, Anything())}),
    },
    stores=1,
    files=20,
    resources=frozenset(_FOUNDRY_TOOLS),
    batch_files=500,
)
"""Agents (classic) of Azure AI Foundry: the Assistants API with tools of its own."""

RESPONSES = Table(
    fields={
        **_FIELDS,
        "name": Text(),
        "description": Text(),
        "instructions": Text(most=10_485_760, weighs=True),
        "tools": msgspec.structs.replace(
            _TOOLS,
            kinds={
                "function": Function(complete=True),
                "code_interpreter": _NOTHING,
                "file_search": _search("default-2024-11-15"),
            },
        ),
    },
    stores=2,
    files=50,
)
"""The Responses API, by the fields of the assistant that becomes a request."""

STORE: Mapping[str, Rule] = {
    "name": Text(),
    "description": Text(),
    "expires_after": Members(
        members={
            "anchor": Choice(words=("last_active_at",)),
            "days": Number(least=1, most=365, whole=True, scales=(86_400, 86_400_000)),
        },
        needs=("anchor", "days"),
    ),
    "metadata": _METADATA,
}
"""A vector store, at any destination."""

ATTACHMENT: Mapping[str, Rule] = {
    "attributes": Pairs(scalars=True),
    "static": Members(
        members={
            "max_chunk_size_tokens": Number(least=100, most=4096, whole=True, clamped=True),
            "chunk_overlap_tokens": Number(least=0, most=2048, whole=True, clamped=True),
        },
        needs=("max_chunk_size_tokens", "chunk_overlap_tokens"),
    ),
}
"""A file in a store: its attributes, and how it is cut where that is known."""

_LEVEL = Choice(words=("low", "medium", "high"))
_NAMES = Each(Text())
_AGENT_TOOLS: Mapping[str, Members | Function | Anything] = {
    "function": Function(
        nested=False,
        complete=True,
        more={"defer_loading": Flag(), "async": Flag()},
        defaults={"description": ""},
    ),
    "tool_search": _NOTHING,
    "programmatic_tool_calling": Members(members={"enabled": Flag()}),
    "mcp": Members(
        members={
            "server_label": Text(),
            "transport": Tagged(
                kinds={
                    "http": Members(members={"server_url": Text(), "headers": Free()}, needs=("server_url",)),
                    "stdio": Members(
                        members={"command": Text(), "cwd": Text(), "args": _NAMES, "env_vars": _NAMES},
                        needs=("command", "cwd"),
                    ),
                }
            ),
            "allowed_tools": _NAMES,
            "connection_origin": Choice(words=("service", "environment")),
            "credential_id": Text(),
            "request_metadata": Free(),
            "required": Flag(),
        },
        needs=("server_label", "transport"),
    ),
    "web_search": Members(
        members={
            "allowed_domains": _NAMES,
            "context_size": _LEVEL,
            "location": Members(members=dict.fromkeys(("city", "country", "region", "timezone"), Text())),
            "mode": Choice(words=("disabled", "cached", "live")),
        }
    ),
    "computer_use": Members(members={"include_screenshots": Flag()}),
    "automations": _NOTHING,
}
AGENT: Mapping[str, Rule] = {
    "model": Text(),
    "name": Text(),
    "instructions": Text(),
    "tools": Tools(kinds=_AGENT_TOOLS),
    "text": Members(
        members={
            "format": Tagged(
                kinds={"text": _NOTHING, "json_schema": Members(members={"schema": Free()}, needs=("schema",))}
            ),
            "verbosity": _LEVEL,
        }
    ),
    "reasoning": Members(members={"effort": _EFFORT, "summary": Choice(words=("concise", "detailed", "auto"))}),
    "multi_agent": Members(
        members={"enabled": Flag(), "max_concurrent_subagents": Number(least=1, most=2**53, whole=True)},
        needs=("enabled",),
    ),
    "service_tier": Choice(words=("auto", "default", "flex", "priority", "fast", "ultrafast")),
    "compaction": Members(members={"async": Flag()}),
    "experimental": Members(members={"time_awareness": Flag()}),
    "metadata": _METADATA,
}
"""The Agents API (beta)."""


AS_IS = Table(fields=dict.fromkeys(_FIELDS, Anything()), stores=2**31, files=2**31, resources=frozenset(_FOUNDRY_TOOLS))
"""What an object that was never copied is compared by: it is as its own server has it."""


def table(form: Form, base_url: str = "", *, own: bool = False) -> Table:
    """The table of the destination at ``base_url``, for assistants that become ``form``. ``own``: they came from this
    very server, which takes the tools that it gave out itself."""
    if form is Form.RESPONSES:
        return RESPONSES
    parts = urlsplit(base_url)
    if (parts.hostname or "").endswith(".services.ai.azure.com") or "/api/projects/" in parts.path:
        return FOUNDRY
    if own:
        tools = msgspec.structs.replace(_TOOLS, others=True)
        return msgspec.structs.replace(OPENAI, fields={**_FIELDS, "tools": tools})
    return OPENAI


def refused(model: str) -> tuple[str, ...]:
    """The parameters that a model of this name refuses, as far as its name says."""
    return next((names for family, names in _FAMILIES if family.match(model)), ())
