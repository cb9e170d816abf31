"""What kind of server the service is: its switches, which may change while it runs."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

import msgspec


class Variation(StrEnum):
    """Ways in which compatible servers differ that can't be put around a service from outside: in what it keeps."""

    UPLOAD_LOWER_CASE = "upload-lower-case"
    SEARCH_LOWER_CASE = "search-lower-case"
    INDEX_LOWER_CASE = "index-lower-case"
    SAME_BYTES_SAME_ID = "same-bytes-same-id"
    UNKNOWN_FILE_ACCEPTED = "unknown-file-accepted"
    BATCH_IGNORES_FILES = "batch-ignores-files"
    TEXT_OVERLAPS = "text-overlaps"
    TEXT_CUT_BY_BYTES = "text-cut-by-bytes"
    ID_UNDERSCORE = "id-underscore"
    ID_HEX = "id-hex"
    ID_UUID = "id-uuid"
    ID_ASSISTANT = "id-assistant"


class Switches(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The switches of a sandbox. The defaults are OpenAI as it was the day before it ended the Assistants API."""

    index_delay: float = 0.0
    """Seconds from attaching a file until its indexing has ended; ``in_progress`` is seen until then."""

    latency: float = 0.0
    """Seconds by which every answer is held back."""

    serve_assistants_files: bool = False
    """Hand out the content of files of purpose ``assistants`` and ``user_data``, which OpenAI refuses."""

    serve_ranges: bool = True
    """Give a part of a file's content to who asks for one."""

    assistants_api: bool = True
    """Whether there is an ``/assistants``; without it every call below answers 404, as OpenAI does today."""

    responses_api: bool = True
    """Whether there is a ``/responses``."""

    agents_api: bool = False
    """Whether there is an ``/agents``, which OpenAI has only had since the Assistants API ended."""

    skill_zips_repacked: bool = False
    """Whether the zip of a skill's version comes back packed anew, and not byte for byte as it was sent."""

    skill_named_by: Literal["default", "latest"] = "default"
    """Of which of its versions a skill shows the name and description."""

    new_skill_version_is_default: bool = False
    """Whether a new version becomes its skill's default where the request doesn't say."""

    unique_names: bool = False
    """Whether a skill or template of a name that is there already is refused (400)."""

    openai_skills_listed: bool = False
    """Whether lists show OpenAI's own skills, ``openai-spreadsheets`` for example. By id they are always there."""

    template_network: Literal["enabled", "disabled"] = "enabled"
    """What an environment template gets that says nothing of its network."""

    absent: tuple[str, ...] = ()
    """First parts of the paths for which this server has nothing at all (404): ``vector_stores``, ``files``, …"""

    missing_scopes: tuple[str, ...] = ()
    """What no key may do (403): ``api.files.read``, ``api.assistants.write``, and so on for every first part of a
    path; models are ``api.model.read``."""

    models_as_of: str = "2026-08-25"
    """An ISO date, the sandbox's day: models that have shut down by then are gone, and the ends of the others are shown
    as far ahead of the clock as they are of that day."""

    extra_models: tuple[str, ...] = ()
    """More models that the projects have, fine-tuned ones for example."""

    disabled_models: tuple[str, ...] = ()
    """Models that exist but that no project may use (403 ``model_not_found``)."""

    content_page_items: int = 20
    """Items in one page of parsed content."""

    max_file_bytes: int = 512 * 1024 * 1024
    """The largest upload."""

    max_batch_files: int = 2000
    """The most files in one file batch; older and compatible servers allow 500 or 100."""

    rate_limits: bool = False
    """Keep the service's limits on writing to vector stores: 300 writes a store and 2,000 files a minute."""

    index_failures: tuple[str, ...] = ()
    """Globs of filenames whose indexing fails with ``server_error``."""

    foundry: bool = False
    """Stand as a project of Azure AI Foundry: its paths, its tokens, its tools, its error bodies. With
    ``assistants_api`` it has agents (classic) with their files and stores, with ``agents_api`` today's agents with
    their versions and ``/openai/v1``."""

    lends_classic: bool = False
    """Whether files and stores of agents (classic) answer under ``/openai/v1`` too, by their ids."""

    lists_classic: bool = False
    """Whether those that answer there are in its lists too."""

    bears_api_version: bool = False
    """Whether ``/openai/v1`` takes a stray ``api-version``, which it has no use for; else 400."""

    project_page_items: int = 100
    """Items in one page of a Foundry project's deployments and connections."""

    connections: tuple[tuple[str, str, str], ...] = ()
    """A Foundry project's connections: name, type and target of each."""

    checks_versions: bool = True
    """Whether a new version of a Foundry agent is refused for a model that is no deployment, sampling that its model
    doesn't take, and files and stores that aren't there; else only responses are."""

    keeps_equal_versions: bool = True
    """Whether ``POST /agents/{name}/versions`` makes a new version where nothing has changed; else it answers with the
    latest, as ``POST /agents/{name}`` always does."""

    metadata_makes_versions: bool = True
    """Whether another description, or other metadata alone, make another version of a Foundry agent."""

    drops_unknown_keys: bool = False
    """Whether keys that a Foundry agent doesn't have are left out of it; else refused (400)."""

    one_store_per_search: bool = False
    """Whether a ``file_search`` tool of a Foundry agent that names two stores is refused (400)."""

    max_versions: int = 1000
    """The most versions that a Foundry agent may have at once."""

    reuses_version_numbers: bool = False
    """Whether a Foundry agent's next version gets the number of one that was deleted, if that was the last."""

    deletes_last_version: bool = True
    """Whether the only version of a Foundry agent may be deleted, and the agent goes with it; else 400."""

    deletes_stores_of_agents: bool = False
    """Whether the stores of a Foundry agent's latest version go when the agent is deleted."""

    deletes_pinned_version: bool = True
    """Whether the version that a Foundry agent's ``version_selector`` names may be deleted; the rule goes with it, and
    the latest is served. Else 400."""

    agents_order: Literal["asc", "desc"] = "desc"
    """The order of lists of Foundry agents and versions, where none is asked for."""

    agent_ids: Literal["name", "own", "none"] = "name"
    """What stands as the id of a Foundry agent: its name, an id of its own, or nothing."""

    last_page_has_last_id: bool = True
    """Whether the last page of a list of Foundry agents or versions has a ``last_id``; else it has neither end."""

    deployments: tuple[str, ...] = ()
    """Where there are any, they are the projects' models, by the names that their owner gave them."""

    oddities: frozenset[str] = frozenset()
    """What this server does as only servers do that call themselves compatible; of these the service itself knows those
    of ``Variation``."""

    containers: bool = True
    """Whether the projects may use containers; without it every call to them is refused for a missing scope (403)."""

    container_alters_files: bool = False
    """Whether a copy in a container is a byte longer than the file that it was made of."""

    container_operations: int | None = None
    """A container expires early, after so many operations on it."""

    names_project: bool = True
    """Whether answers name the key's project in ``openai-project``, which nobody promises."""

    visible_after: float = 0.0
    """Seconds for which what was created is neither in lists nor found by its id."""

    searches_stores: bool = True
    """Whether ``POST /vector_stores/{id}/search`` answers; else 404."""

    file_pending: float = 0.0
    """Seconds for which the status of a new file is ``pending``."""

    max_containers: int = 100
    """The most containers of a project that are active at once."""
