"""What becomes of one agent: created, made equal, or used as it is. Pure.

Agents refer to no store and no file, so nothing goes before them.
"""

from __future__ import annotations

from holdall.dialects import agents
from holdall.importer.plan.choices import Choices
from holdall.importer.plan.copies import mapped
from holdall.importer.plan.difference import top_fields
from holdall.importer.plan.presence import Found, Presence
from holdall.importer.plan.steps import Adopt, Cannot, CreateAgent, Step, UpdateAgent
from holdall.model import AgentView, Kind, Record
from holdall.selection import Root

__all__ = ["AgentCopies"]


class AgentCopies:
    """The steps of one planning."""

    def __init__(self, prefix: str, choices: Choices, presence: Presence) -> None:
        self._prefix, self._choices, self._presence = prefix, choices, presence

    def step(self, root: Root, record: Record) -> Step:
        """What is to be done about the agent."""
        view = AgentView.of(record)
        found = self._presence.agents.get(root.id)
        if found and not found.differences:
            return Adopt(kind=Kind.AGENT, id=root.id, target=found.target, name=root.name, by=found.by)
        fields = top_fields(found.differences) if found else []
        if (found is None or "model" in fields) and view.model is not None and view.model in self._choices.missing:
            reason = f"its model {self._choices.missing[view.model]}"
            return Cannot(id=root.id, name=root.name, reason=reason)
        return self._make(root, record, view, found, fields)

    def _make(self, root: Root, record: Record, view: AgentView, found: Found | None, fields: list[str]) -> Step:
        new = self._choices.models.rule(view.model)
        request = agents.agent(record, prefix=self._prefix, operation="", model=new)
        losses = [*request.losses, *mapped(root, view.model, new)]
        model = new or view.model
        if found is None:
            return CreateAgent(id=root.id, name=root.name, model=model, losses=losses)
        return UpdateAgent(
            id=root.id,
            target=found.target,
            name=root.name,
            model=model,
            fields=fields,
            differences=found.differences,
            losses=losses,
        )
