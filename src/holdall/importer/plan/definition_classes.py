"""The steps that create or update a definition: a class for each kind, for its tag, with what is particular to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from holdall.dialects.loss import Loss
from holdall.importer.plan.difference import Difference
from holdall.model import Kind, SourceId, TargetId


class CreateDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """Create an object of a kind that one request copies; each kind has a class, for its tag."""

    kind: ClassVar[Kind]
    id: SourceId
    name: str | None
    model: str | None
    losses: list[Loss] = []


class CreateAssistant(CreateDefinition, frozen=True, kw_only=True, tag="create_assistant"):
    """``stores`` and ``files`` are the references that will be kept."""

    kind = Kind.ASSISTANT
    stores: list[SourceId] = []
    files: list[SourceId] = []


class CreateAgent(CreateDefinition, frozen=True, kw_only=True, tag="create_agent"):
    kind = Kind.AGENT


class CreateTemplate(CreateDefinition, frozen=True, kw_only=True, tag="create_environment_template"):
    """``skills`` are the references that will be kept, ``supplied`` the fields whose values the owner supplies."""

    kind = Kind.TEMPLATE
    files: list[SourceId] = []
    skills: list[SourceId] = []
    supplied: list[str] = []


class CreateSkill(CreateDefinition, frozen=True, kw_only=True, tag="create_skill"):
    """Create the skill with the first of its ``versions``, add the others, and set the ``default`` one."""

    kind = Kind.SKILL
    versions: list[SourceId]
    default: SourceId


class CreateFoundryAgent(CreateDefinition, frozen=True, kw_only=True, tag="create_foundry_agent"):
    """``agent`` is the name that it gets, which is its id; ``versions`` are the source's earlier ones, oldest first,
    that are made before the latest, each with its model there."""

    kind = Kind.FOUNDRY_AGENT
    agent: str
    versions: dict[SourceId, str | None] = {}
    stores: list[SourceId] = []
    files: list[SourceId] = []


class UpdateDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """Set ``fields`` of ``target`` to what the bundle says. The rest is as in CreateDefinition."""

    kind: ClassVar[Kind]
    id: SourceId
    target: TargetId
    name: str | None
    model: str | None
    fields: list[str]
    differences: list[Difference]
    losses: list[Loss] = []


class UpdateAssistant(UpdateDefinition, frozen=True, kw_only=True, tag="update_assistant"):
    kind = Kind.ASSISTANT
    stores: list[SourceId] = []
    files: list[SourceId] = []


class UpdateAgent(UpdateDefinition, frozen=True, kw_only=True, tag="update_agent"):
    kind = Kind.AGENT


class UpdateTemplate(UpdateDefinition, frozen=True, kw_only=True, tag="update_environment_template"):
    kind = Kind.TEMPLATE
    files: list[SourceId] = []
    skills: list[SourceId] = []
    supplied: list[str] = []


class UpdateSkill(UpdateDefinition, frozen=True, kw_only=True, tag="update_skill"):
    """Add ``versions`` to those that are ``there`` already, by their numbers there, and set the ``default`` one."""

    kind = Kind.SKILL
    there: dict[SourceId, str]
    versions: list[SourceId]
    default: SourceId


class UpdateFoundryAgent(UpdateDefinition, frozen=True, kw_only=True, tag="update_foundry_agent"):
    """Make a version after the ``latest``, which is served at once, unless another is ``pinned`` by the agent's
    settings."""

    kind = Kind.FOUNDRY_AGENT
    latest: str | None = None
    pinned: str | None = None
    stores: list[SourceId] = []
    files: list[SourceId] = []


# The tags stand in the plans of unfinished runs, so a kind keeps the class that it has.
CREATE: Mapping[Kind, type[CreateAssistant | CreateAgent | CreateFoundryAgent | CreateTemplate]] = {
    one.kind: one for one in (CreateAssistant, CreateAgent, CreateFoundryAgent, CreateTemplate)
}
UPDATE: Mapping[Kind, type[UpdateAssistant | UpdateAgent | UpdateFoundryAgent | UpdateTemplate]] = {
    one.kind: one for one in (UpdateAssistant, UpdateAgent, UpdateFoundryAgent, UpdateTemplate)
}
