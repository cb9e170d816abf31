"""The table of kinds of objects: their endpoint, their place in a bundle, their names. Values only.

``dialects`` has their settable fields and request builders.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from holdall.agent_views import FoundryAgentView, SkillView, TemplateView, VersionView
from holdall.model import (
    AgentView,
    AssistantView,
    DefinitionView,
    FileView,
    Kind,
    MembershipView,
    Record,
    StoreView,
    View,
)


class Platform(StrEnum):
    """The service an account belongs to. Kinds of different services may share a path."""

    OPENAI = "openai"
    FOUNDRY = "foundry"
    """A project of Azure AI Foundry."""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What is particular about a kind."""

    endpoint: str
    """The path of its list; of memberships with the store's id to be put in."""
    view: type[View]
    noun: str
    count: str
    """The plural, as ``--json`` and a bundle's ``counts`` write it."""
    ids: tuple[str, ...] = ()
    """How its ids begin on OpenAI and Azure, and on most servers that follow them."""
    selector: str = ""
    """The prefix of an id or a GLOB that selects this kind; empty where none can be selected."""
    folder: str = ""
    """Where a bundle has it, a file for each record; empty where the records are lines."""
    volatile: tuple[str, ...] = ()
    """Fields at the top of a record that change without anybody changing the project. They are in no digest, or two
    exports of one project would never be equal."""
    since: int = 0
    """The minor version of the format that had it first; a bundle without any is of an earlier one."""
    has_model: bool = False
    needs_model: bool = False
    rare: bool = False
    """Few servers have it, so its absence is not reported."""
    platforms: tuple[Platform, ...] = tuple(Platform)
    """Where there are any."""
    is_named: bool = False
    """Its name is its id."""
    lines: str = ""
    """How the file beside a record is named, behind the record's name, that has a line for each ``member``."""
    member: Kind | None = None
    """The kind of what belongs to one record: the files of a store, the versions of an agent or a skill."""
    beta: str | None = None
    """The version of the API that its requests ask for, in ``OpenAI-Beta``."""

    @property
    def digest(self) -> str:
        """The digest that it is a part of: its own, where a reader of format 1.0 doesn't know it."""
        return self.count if self.since else "definitions"


KINDS: dict[Kind, Row] = {
    Kind.ASSISTANT: Row(
        endpoint="/assistants",
        view=AssistantView,
        noun="assistant",
        count="assistants",
        ids=("asst_", "assistant-"),
        selector="asst:",
        folder="data/assistants/",
        has_model=True,
        needs_model=True,
        beta="assistants=v2",
    ),
    Kind.AGENT: Row(
        endpoint="/agents",
        view=AgentView,
        noun="agent",
        count="agents",
        ids=("agent_",),
        selector="agent:",
        folder="data/agents/",
        has_model=True,
        volatile=("updated_at",),
        # A reader of format 1.0 takes their records for entries that it doesn't know.
        since=1,
        rare=True,
        platforms=(Platform.OPENAI,),
        beta="agents=v1",
    ),
    Kind.FOUNDRY_AGENT: Row(
        # The path of OpenAI's agents, which are something else.
        endpoint="/agents",
        view=FoundryAgentView,
        is_named=True,
        noun="Foundry agent",
        count="foundry_agents",
        selector="foundry:",
        folder="data/foundry_agents/",
        lines=".versions.jsonl",
        member=Kind.AGENT_VERSION,
        has_model=True,
        needs_model=True,
        # Whether it is running, by whoever asks.
        volatile=("state",),
        since=2,
        rare=True,
        platforms=(Platform.FOUNDRY,),
    ),
    Kind.AGENT_VERSION: Row(
        endpoint="/agents/{}/versions",
        view=VersionView,
        noun="agent version",
        count="agent_versions",
        has_model=True,
        since=2,
    ),
    Kind.SKILL: Row(
        endpoint="/skills",
        view=SkillView,
        noun="skill",
        count="skills",
        ids=("skill_",),
        selector="skill:",
        folder="data/skills/",
        lines=".versions.jsonl",
        member=Kind.SKILL_VERSION,
        since=2,
        rare=True,
        platforms=(Platform.OPENAI,),
    ),
    Kind.SKILL_VERSION: Row(
        endpoint="/skills/{}/versions", view=VersionView, noun="skill version", count="skill_versions", since=2
    ),
    Kind.TEMPLATE: Row(
        endpoint="/agents/environments/templates",
        view=TemplateView,
        noun="environment template",
        count="environment_templates",
        selector="template:",
        folder="data/environment_templates/",
        volatile=("updated_at",),
        since=2,
        rare=True,
        platforms=(Platform.OPENAI,),
        beta="agents=v1",
    ),
    Kind.STORE: Row(
        endpoint="/vector_stores",
        view=StoreView,
        noun="vector store",
        count="vector_stores",
        ids=("vs_",),
        selector="store:",
        folder="data/vector_stores/",
        lines=".files.jsonl",
        member=Kind.MEMBERSHIP,
        volatile=("last_active_at", "usage_bytes", "expires_at", "status", "file_counts"),
        beta="assistants=v2",
    ),
    Kind.MEMBERSHIP: Row(
        # No header: what is below a store is asked for with the store's.
        endpoint="/vector_stores/{}/files",
        view=MembershipView,
        noun="membership",
        count="memberships",
        volatile=("usage_bytes", "status"),
    ),
    Kind.FILE: Row(
        endpoint="/files",
        view=FileView,
        noun="file",
        count="files",
        ids=("file-",),
        selector="file:",
        volatile=("expires_at", "status", "status_details"),
    ),
}

DEFINITIONS = tuple(kind for kind, row in KINDS.items() if row.folder)
"""Those of which each object is a file of its own in a bundle."""

ASSISTANT_KINDS: tuple[Kind, ...] = tuple(kind for kind in DEFINITIONS if issubclass(KINDS[kind].view, DefinitionView))
"""Those that one request copies, once what they refer to is there."""

_NAMED = {(row.endpoint, platform) for row in KINDS.values() if row.is_named for platform in row.platforms}


def is_named(endpoint: str, platform: Platform) -> bool:
    """Whether the records of a list are known by name."""
    return (endpoint, platform) in _NAMED


IDS = tuple(start for row in KINDS.values() for start in row.ids)
"""How ids of any kind begin."""


SELECTORS = {row.selector: kind for kind, row in KINDS.items() if row.selector}
*_FIRST, _LAST = (prefix.removesuffix(":") for prefix in SELECTORS)
KIND_NAMES = f"{', '.join(_FIRST)} or {_LAST}"
"""What may be before the colon of an id or a GLOB that selects, in words."""


def read(record: Record) -> DefinitionView:
    """The view of a record of one of the ``ASSISTANT_KINDS``."""
    found = KINDS[record.kind].view.of(record)
    assert isinstance(found, DefinitionView)
    return found


def noun(kind: Kind) -> str:
    """The kind's noun.

    >>> noun(Kind.STORE)
    'vector store'
    """
    return KINDS[kind].noun


def with_article(kind: Kind) -> str:
    """The kind's noun with its article.

    >>> with_article(Kind.ASSISTANT), with_article(Kind.STORE)
    ('an assistant', 'a vector store')
    """
    name = noun(kind)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
