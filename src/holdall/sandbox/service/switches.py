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
    """Stand as Azure AI Foundry "Agents (classic)": its paths, its tokens, its tools, its error bodies."""

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

    max_containers: int = 100
    """The most containers of a project that are active at once."""
