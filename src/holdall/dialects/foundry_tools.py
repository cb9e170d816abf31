"""The tools of Foundry agents, as rules that make them of an assistant's, a classic agent's or an OpenAI agent's. Pure.

A classic agent's own tool stands in an object that is named after it, and what it uses may be in ``tool_resources``.
Sources: azure-ai-projects 2.10.0 and azure-ai-agents 1.2.0b6, the models of their tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.dialects.agents import AGENT_TOOLS
from holdall.dialects.assistants import NOTHING, TOOLS, Function, Tools, file_search
from holdall.dialects.foundry_bindings import connected, is_bound
from holdall.dialects.loss import Why
from holdall.dialects.rules import (
    ABSENT,
    Choice,
    Each,
    Flag,
    Free,
    Members,
    Number,
    Reading,
    Rule,
    Tagged,
    Text,
    unfit,
    without_type,
)

# Headers of a server that are named.
_FEW = 10


class Homeless(Rule, frozen=True, kw_only=True):
    """A tool that Foundry agents don't have; ``advice`` is what may do instead."""

    advice: str

    def repair(self, reading: Reading, tool: Any, where: str) -> Any:
        text = f"left out: Foundry agents have no {tool['type']}; {self.advice}"
        reading.lose(Why.UNKNOWN_TOOL, where, tool, text)
        return ABSENT


class _Renamed(Members, frozen=True, kw_only=True):
    """An object whose members have other ``names`` in an agent."""

    names: Mapping[str, str]

    def repair(self, reading: Reading, value: Any, where: str, why: Why = Why.UNFIT_VALUE) -> Any:
        made = super().repair(reading, value, where, why)
        return made if made is ABSENT else {self.names.get(key, key): item for key, item in made.items()}


class _Azure(Rule, frozen=True, kw_only=True):
    """A classic agent's own tool. ``inner`` is the object named after it (from ``tool_resources`` if the tool has
    none), ``to`` its type in an agent; ``flat``: there its members stand in the tool itself."""

    inner: Members
    to: str | None = None
    flat: bool = False

    def repair(self, reading: Reading, tool: Any, where: str) -> Any:
        kind = tool["type"]
        found, place = tool.get(kind), f"{where}.{kind}"
        if found is None:
            # Once, or each of many tools would look through all of it.
            found, place = _take_resource(reading, kind), f"tool_resources.{kind}"
        if is_bound(reading, found, where):
            return ABSENT
        made = self.inner.repair(reading, found, place) if isinstance(found, dict) else ABSENT
        if made is ABSENT or [] in made.values():
            reading.lose(Why.UNKNOWN_TOOL, where, tool, f"left out: no valid {kind}")
            return ABSENT
        reading.lose_unknown(tool, {"type", kind}, f"{where}.")
        name = self.to or kind
        made = connected(made, reading.connections)
        return {"type": name, **made} if self.flat else {"type": name, name: made}


class _First(Rule, frozen=True):
    """A list of which an agent has only one."""

    rule: Rule

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        if isinstance(value, list) and len(value) > 1:
            reading.lose(Why.LEFT_OUT, where, value, f"left out: all but the first of {len(value)}")
            value = value[:1]
        return Each(self.rule).repair(reading, value, where)


def place_mcp(reading: Reading) -> None:
    """Put what ``tool_resources`` says of a classic agent's MCP servers into its tools, by their labels. What may be
    secret is lost."""
    listed, tools = _take_resource(reading, "mcp"), reading.fields.get("tools")
    tools = tools if isinstance(tools, list) else []
    labels: dict[str, list[dict[str, Any]]] = {}
    for number, tool in enumerate(tools):
        if isinstance(tool, dict) and tool.get("type") == "mcp":
            lose_secrets(reading, tool, f"tools[{number}]")
            if isinstance(label := tool.get("server_label"), str):
                labels.setdefault(label, []).append(tool)
    for number, one in enumerate(listed if isinstance(listed, list) else ()):
        where = f"tool_resources.mcp[{number}]"
        label = one.get("server_label") if isinstance(one, dict) else None
        # Of several under one label the first counts.
        if isinstance(label, str) and (using := labels.pop(label, None)):
            lose_secrets(reading, one, where)
            for tool in using:
                tool.update(without_type(one))
        else:
            reading.lose(Why.UNUSABLE, where, None, "left out: no mcp tool uses it")


class _ClassicMcp(Rule, frozen=True):
    """An MCP server of a classic agent."""

    def repair(self, reading: Reading, tool: Any, where: str) -> Any:
        if is_bound(reading, tool, where):
            return ABSENT
        made = _MCP.repair(reading, without_type(tool), where, Why.UNKNOWN_TOOL)
        return made if made is ABSENT else {"type": "mcp", **connected(made, reading.connections)}


class _AgentMcp(Rule, frozen=True):
    """An MCP server of an OpenAI agent."""

    def repair(self, reading: Reading, tool: Any, where: str) -> Any:
        rule = AGENT_TOOLS["mcp"]
        assert isinstance(rule, Members)
        made = rule.repair(reading, without_type(tool), where, Why.UNKNOWN_TOOL)
        if made is ABSENT:
            return ABSENT
        transport = made["transport"]
        if transport["type"] != "http":
            text = "left out: Foundry agents start no MCP server of their own (stdio), they reach one by its URL"
            reading.lose(Why.UNKNOWN_TOOL, where, tool, text)
            return ABSENT
        found = {**transport, "credential": made.get("credential_id")}
        lose_secrets(reading, found, where)
        lost = {"request_metadata": made.get("request_metadata"), "required": made.get("required") or None}
        if made.get("connection_origin") == "environment":
            lost["connection_origin"] = "environment"
        reading.lose_unknown(lost, (), f"{where}.")
        kept = {key: made[key] for key in ("server_label", "allowed_tools") if key in made}
        return {"type": "mcp", **kept, "server_url": found["server_url"]}


class _WebSearch(Rule, frozen=True):
    """An OpenAI agent's search of the web."""

    def repair(self, reading: Reading, tool: Any, where: str) -> Any:
        rule = AGENT_TOOLS["web_search"]
        assert isinstance(rule, Members)
        found = rule.repair(reading, without_type(tool), where, Why.UNKNOWN_TOOL)
        if found.get("mode") == "disabled":
            return ABSENT
        made: dict[str, Any] = {"type": "web_search"}
        if domains := found.get("allowed_domains"):
            made["filters"] = {"allowed_domains": domains}
        if "context_size" in found:
            made["search_context_size"] = found["context_size"]
        if location := found.get("location"):
            made["user_location"] = {"type": "approximate", **location}
        if found.get("mode") == "cached":
            made["external_web_access"] = False
        return made


class _Set(Flag, frozen=True):
    """What is on; off is the default."""

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        made = super().repair(reading, value, where)
        return made if made is True else ABSENT


class _Programmatic(Rule, frozen=True):
    """Calls of tools by code, which an OpenAI agent can have and not use."""

    def repair(self, reading: Reading, tool: Any, where: str) -> Any:
        return ABSENT if tool.get("enabled") is False else {"type": tool["type"]}


def lose_secrets(reading: Reading, found: dict[str, Any], where: str) -> None:
    """Remove from an MCP server what lets one in. Only the names of headers are told."""
    for key in ("headers", "authorization", "credential"):
        value = found.pop(key, None)
        if value:
            names = f" {', '.join(list(value)[:_FEW])}" if isinstance(value, dict) else ""
            text = f"left out: {key}{names} may be secret; set it at the destination, best by a connection"
            reading.lose(Why.SECRET, f"{where}.{key}", None, text)


def _take_resource(reading: Reading, kind: str) -> Any:
    resources = reading.fields.get("tool_resources")
    return resources.pop(kind, None) if isinstance(resources, dict) else None


_TO_PROJECT = {
    "connection_id": "project_connection_id",
    "index_connection_id": "project_connection_id",
    "id": "project_connection_id",
    "connections": "project_connections",
}
_COUNT = Number(least=1, most=2**31, whole=True)
_SEARCH: Mapping[str, Rule] = {
    "connection_id": Text(),
    "market": Text(),
    "set_lang": Text(),
    "count": _COUNT,
    "freshness": Text(),
}


_CONFIGURATIONS = "search_configurations"


class _Searches(Members, frozen=True, kw_only=True):
    """The searches of a tool, which the first versions of Agents (classic) called its connections."""

    def repair(self, reading: Reading, value: Any, where: str, why: Why = Why.UNFIT_VALUE) -> Any:
        if isinstance(value, dict) and _CONFIGURATIONS not in value and "connections" in value:
            value = {(_CONFIGURATIONS if key == "connections" else key): item for key, item in value.items()}
        return super().repair(reading, value, where, why)


def _searches(more: Mapping[str, Rule]) -> Members:
    needs = ("connection_id", *more)
    one = _Renamed(members={**_SEARCH, **more}, needs=needs, names=_TO_PROJECT)
    return _Searches(members={_CONFIGURATIONS: Each(one)}, needs=(_CONFIGURATIONS,))


_INDEX = _Renamed(
    members={
        "index_connection_id": Text(),
        "index_name": Text(),
        "index_asset_id": Text(),
        "query_type": Text(),
        "top_k": _COUNT,
        "filter": Text(),
    },
    names=_TO_PROJECT,
)
_CONNECTED = _Renamed(
    members={
        "connections": Each(_Renamed(members={"connection_id": Text()}, needs=("connection_id",), names=_TO_PROJECT))
    },
    needs=("connections",),
    names=_TO_PROJECT,
)
_SCHEME = _Renamed(members={"connection_id": Text()}, needs=("connection_id",), names=_TO_PROJECT)


class _Auth(Tagged, frozen=True, kw_only=True):
    """How an OpenAPI tool says who it is."""

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        made = super().repair(reading, value, where)
        is_connection = made is not ABSENT and made["type"] == "connection"
        return {**made, "type": "project_connection"} if is_connection else made


class _Ignored(Rule, frozen=True):
    """What only the server sets."""

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        return ABSENT


class _Approval(Rule, frozen=True):
    """Which of a server's tools may run without being asked for: all, none, or by name."""

    def repair(self, reading: Reading, value: Any, where: str) -> Any:
        if isinstance(value, dict):
            return _APPROVALS.repair(reading, value, where)
        return value if value in ("always", "never") else unfit(reading, value, where, "must be always or never")


_APPROVALS = Members(members=dict.fromkeys(("always", "never"), Members(members={"tool_names": Each(Text())})))
_MCP = Members(
    members={
        "server_label": Text(),
        "server_url": Text(),
        "allowed_tools": Each(Text()),
        "require_approval": _Approval(),
    },
    needs=("server_label", "server_url"),
)
_IDENTITY = Members(members={"audience": Text()}, needs=("audience",))
_OPENAPI = Members(
    members={
        "name": Text(),
        "description": Text(),
        "spec": Free(),
        "auth": _Auth(
            kinds={
                "anonymous": NOTHING,
                "connection": Members(members={"security_scheme": _SCHEME}, needs=("security_scheme",)),
                "managed_identity": Members(members={"security_scheme": _IDENTITY}, needs=("security_scheme",)),
            }
        ),
        "default_params": Each(Text()),
        "functions": _Ignored(),
    },
    needs=("name", "spec", "auth"),
)
_BROWSER = Members(
    members={"connection": _Renamed(members={"id": Text()}, needs=("id",), names=_TO_PROJECT)}, needs=("connection",)
)
_SCREEN = Members(
    members={
        "display_width": _COUNT,
        "display_height": _COUNT,
        "environment": Choice(words=("windows", "mac", "linux", "ubuntu", "browser")),
    },
    needs=("display_width", "display_height", "environment"),
)
_QUEUE_PLACE = ("queue_service_endpoint", "queue_name")
_QUEUE = Members(members=dict.fromkeys(_QUEUE_PLACE, Text()), needs=_QUEUE_PLACE)
_BINDING = Members(members={"type": Text(), "storage_queue": _QUEUE}, needs=("type", "storage_queue"))
_SIGNATURE = Members(
    members={"name": Text(), "description": Text(), "parameters": Free()}, needs=("name", "parameters")
)
_FUNCTION = Members(
    members={"function": _SIGNATURE, "input_binding": _BINDING, "output_binding": _BINDING},
    needs=("function", "input_binding", "output_binding"),
)
_ASK = "let its own code call the other agent, or add a tool a2a with the agent's address"
_CLASSIC: Mapping[str, Rule] = {
    "azure_ai_search": _Azure(inner=Members(members={"indexes": _First(_INDEX)}, needs=("indexes",))),
    "azure_function": _Azure(inner=_FUNCTION),
    "bing_custom_search": _Azure(inner=_searches({"instance_name": Text()}), to="bing_custom_search_preview"),
    "bing_grounding": _Azure(inner=_searches({})),
    "browser_automation": _Azure(inner=_BROWSER),
    "computer_use_preview": _Azure(inner=_SCREEN, flat=True),
    "connected_agent": Homeless(advice=_ASK),
    "deep_research": Homeless(advice="use a model for deep research with the tool web_search"),
    "event_binding": Homeless(advice="its own code has to receive the events"),
    "fabric_dataagent": _Azure(inner=_CONNECTED, to="fabric_dataagent_preview"),
    "mcp": _ClassicMcp(),
    "openapi": _Azure(inner=_OPENAPI),
    "output_binding": Homeless(advice="the tool capture_structured_outputs may do instead"),
    "sharepoint_grounding": _Azure(inner=_CONNECTED, to="sharepoint_grounding_preview"),
}
RESOURCES = frozenset({"azure_ai_search", "mcp"})
"""What classic agents' own tools have in ``tool_resources``."""

ASSISTANT_TOOLS = msgspec.structs.replace(
    TOOLS,
    kinds={
        **_CLASSIC,
        "function": Function(complete=True),
        "code_interpreter": NOTHING,
        "file_search": file_search("default-2024-11-15"),
    },
)
"""An assistant's tools. Those that OpenAI has too are as in an assistant; classic agents' own are what they become."""

OPENAI_AGENT_TOOLS = Tools(
    kinds={
        "function": Function(
            nested=False, complete=True, more={"defer_loading": _Set(), "async": _Set()}, defaults={"strict": False}
        ),
        "tool_search": NOTHING,
        "programmatic_tool_calling": _Programmatic(),
        "mcp": _AgentMcp(),
        "web_search": _WebSearch(),
        "computer_use": Homeless(advice="computer_use_preview may do instead, with a display of your own"),
        "automations": Homeless(advice="its own code has to start it"),
    },
    most=TOOLS.most,
)
"""An OpenAI agent's tools, as what they become."""
