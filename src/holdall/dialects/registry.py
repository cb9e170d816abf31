"""The list of destinations, and the request builders by kind. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from holdall.dialects import assistants, prompt_agents
from holdall.dialects.agents import AGENT, agent, without_nulls
from holdall.dialects.assistants import OPENAI, OWN, STORE
from holdall.dialects.canonical import resources
from holdall.dialects.foundry_classic import FOUNDRY
from holdall.dialects.prompt_agents import FOUNDRY_AGENTS, PROMPT, flat
from holdall.dialects.responses import RESPONSES
from holdall.dialects.rules import Anything, Builder, Form, Request, Rule, Table, Targets, Text
from holdall.dialects.templates import TEMPLATE, by_reference, template
from holdall.model import Kind, Record

DESTINATIONS: tuple[Table, ...] = (RESPONSES, FOUNDRY_AGENTS, FOUNDRY, OPENAI)
"""A line each. Of those of one form the first that is at an address counts, so OPENAI, which is anywhere, is last."""

AS_IS = msgspec.structs.replace(
    OPENAI,
    fields=dict.fromkeys(OPENAI.fields, Anything()),
    stores=2**31,
    files=2**31,
    resources=frozenset().union(*(one.resources for one in DESTINATIONS)),
)
"""What an object that was never copied is compared by: it is as its own server has it."""

_NOWHERE = Targets()
# Every destination that has agents and stores takes them alike.
_RULES: Mapping[Kind, Mapping[str, Rule]] = {Kind.AGENT: AGENT, Kind.STORE: STORE, Kind.TEMPLATE: TEMPLATE}
_AGENTS = (Kind.ASSISTANT, Kind.AGENT, Kind.FOUNDRY_AGENT)
_BUILDERS: Mapping[Kind, Builder] = {
    Kind.AGENT: agent,
    Kind.FOUNDRY_AGENT: prompt_agents.build,
    Kind.TEMPLATE: template,
}


def table(form: Form, base_url: str = "", *, own: bool = False) -> Table:
    """The table of the destination at ``base_url``, for assistants that become ``form``. ``own``: they came from this
    very server."""
    found = next(one for one in DESTINATIONS if one.form is form and one.is_at(base_url))
    return OWN if own and found is OPENAI else found


def definition(
    record: Record,
    *,
    prefix: str,
    operation: str = "",
    targets: Targets = _NOWHERE,
    model: str | None = None,
    table: Table = OPENAI,
) -> Request:
    """The request that makes a copy of ``record``, with ``model`` as its model and within the limits of ``table``."""
    # All that may become an agent of Foundry becomes one kind there.
    is_agent = table.form is Form.FOUNDRY and record.kind in _AGENTS
    build = table.build if is_agent else _BUILDERS.get(record.kind, table.build)
    return build(record, prefix=prefix, operation=operation, targets=targets, model=model, table=table)


def shown(kind: Kind, decoded: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an object, as decoded, as requests and comparisons have them: flat, of an agent of Foundry."""
    return flat(decoded) if kind in (Kind.FOUNDRY_AGENT, Kind.AGENT_VERSION) else dict(decoded)


def copy_name(kind: Kind, name: str | None, prefix: str, table: Table) -> str | None:
    """A copy's name, cut to the limit. A null name stays null, without the prefix."""
    rule = _RULES.get(kind, table.fields)["name"]
    most = rule.most if isinstance(rule, Text) else None
    return None if name is None else f"{prefix}{name}"[:most]


def as_update(kind: Kind, fields: dict[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """An object's old ``fields`` as an update accepts them; ``there`` is what it has now."""
    if kind is Kind.AGENT:
        # Not all that an agent shows as null may be sent.
        return {field: without_nulls(value) for field, value in fields.items()}
    if kind is Kind.TEMPLATE:
        return {field: by_reference(field, value) for field, value in fields.items()}
    if "tool_resources" not in fields:
        return fields
    return {**fields, "tool_resources": resources(fields["tool_resources"], there.get("tool_resources"))}


def dispensable(kind: Kind, body: Mapping[str, Any]) -> dict[str, bool]:
    """The fields of ``body`` that a create call can do without, and whether nothing is lost by that."""
    # An assistant that becomes an agent is flat, too.
    if kind is Kind.FOUNDRY_AGENT or body.get("kind") == PROMPT:
        return prompt_agents.dispensable(body)
    return assistants.dispensable(body) if kind is Kind.ASSISTANT else {}
