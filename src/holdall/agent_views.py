"""Views of what agents are made of: Foundry agents with their versions, skills, environment templates."""

from __future__ import annotations

import msgspec

from holdall.model import DefinitionView, Moment, SourceId, View, is_placeholder


class SkillReference(msgspec.Struct, frozen=True, kw_only=True):
    """A skill by its id; ``version`` is a number, ``latest``, or None for the default one."""

    skill_id: str | None = None
    version: str | None = None


def is_builtin_skill(id: str) -> bool:
    """Whether it is one of OpenAI's own skills, which everybody can refer to and nobody can export.

    >>> is_builtin_skill("openai-spreadsheets"), is_builtin_skill("skill_1")
    (True, False)
    """
    return id.startswith("openai-")


class AgentTool(msgspec.Struct, frozen=True, kw_only=True):
    """A tool of a Foundry agent, as far as it refers to anything. An id may be a template, ``{{name}}``."""

    type: str | None = None
    vector_store_ids: list[str] | None = None
    container: object = None

    @property
    def file_ids(self) -> list[str]:
        found = self.container.get("file_ids") if isinstance(self.container, dict) else None
        return [id for id in found if isinstance(id, str)] if isinstance(found, list) else []


class AgentDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """What a version of a Foundry agent does, as far as the program acts upon it."""

    kind: str | None = None
    model: str | None = None
    instructions: str | None = None
    tools: list[AgentTool] | None = None


class AgentVersion(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a Foundry agent; description and metadata belong to it, not to the agent."""

    version: str | None = None
    created_at: Moment = None
    description: str | None = None
    metadata: dict[str, object] | None = None
    definition: AgentDefinition = AgentDefinition()


class AgentVersions(msgspec.Struct, frozen=True, kw_only=True):
    latest: AgentVersion = AgentVersion()


class FoundryAgentView(DefinitionView, frozen=True, kw_only=True):
    """What the program acts upon in a Foundry agent and its latest version. Its id is its name. Source: GET /agents of
    a Foundry project."""

    id: str = ""
    versions: AgentVersions = AgentVersions()
    agent_endpoint: object = None

    def __post_init__(self) -> None:
        latest = self.versions.latest
        # Paths have the name; most servers repeat it as the id.
        lifted = {"id": self.name or self.id, "model": latest.definition.model, "metadata": latest.metadata}
        for field, value in (lifted | {"created_at": latest.created_at}).items():
            msgspec.structs.force_setattr(self, field, value)

    @property
    def store_ids(self) -> list[SourceId]:
        tools = self.versions.latest.definition.tools or ()
        return [SourceId(id) for tool in tools for id in tool.vector_store_ids or () if not is_placeholder(id)]

    @property
    def file_ids(self) -> list[SourceId]:
        tools = self.versions.latest.definition.tools or ()
        return [SourceId(id) for tool in tools for id in tool.file_ids if not is_placeholder(id)]

    @property
    def pinned(self) -> str | None:
        """The number of the version that callers are given, where the agent's settings name one; else it is the latest
        one."""
        selector = _members(self.agent_endpoint).get("version_selector")
        rules = _members(selector).get("version_selection_rules")
        taking = [
            one for one in map(_members, rules if isinstance(rules, list) else ()) if one.get("traffic_percentage")
        ]
        return str(taking[0].get("agent_version")) if taking else None


def _members(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


class VersionView(View, frozen=True, kw_only=True):
    """A version of a skill or of a Foundry agent; ``version`` is its number, a string. Source: GET …/versions."""

    id: str
    skill_id: str | None = None
    version: str | None = None
    name: str | None = None
    created_at: Moment = None


class AgentVersionView(VersionView, frozen=True, kw_only=True):
    """A version of a Foundry agent, with what it refers to."""

    definition: AgentDefinition = AgentDefinition()


class SkillView(View, frozen=True, kw_only=True):
    """What the program acts upon in a skill, which has no metadata. Source: GET /skills."""

    id: str
    created_at: Moment = None
    name: str | None = None
    description: str | None = None
    default_version: str | None = None
    latest_version: str | None = None


class TemplateFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of an environment template: by its id, or only the place and size of one whose bytes nobody returns."""

    file_id: str | None = None
    path: str | None = None


class TemplateView(DefinitionView, frozen=True, kw_only=True):
    """What the program acts upon in an environment template. Source: GET /agents/environments/templates."""

    files: list[TemplateFile] | None = None
    skills: list[SkillReference] | None = None

    @property
    def file_ids(self) -> list[SourceId]:
        return [SourceId(one.file_id) for one in self.files or () if one.file_id]

    @property
    def skill_ids(self) -> list[SourceId]:
        return [SourceId(one.skill_id) for one in self.skills or () if one.skill_id]
