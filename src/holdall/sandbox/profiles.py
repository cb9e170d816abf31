"""Whole servers to stand as, each a ``Behaviour`` to start from."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.oddities.oddity import Oddity

_DEPLOYMENTS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "o3", "support-production")
_CONNECTIONS = (
    ("search", "CognitiveSearch", "https://search.example.com/"),
    ("bing", "GroundingWithBingSearch", "https://api.bing.microsoft.com/"),
)

# Today's agents, with all that is unknown of them as strict as it may be; no parsed text, no search.
_FOUNDRY_NEW = Behaviour(
    foundry=True,
    assistants_api=False,
    agents_api=True,
    deployments=_DEPLOYMENTS,
    connections=_CONNECTIONS,
    max_batch_files=500,
    searches_stores=False,
    oddities=frozenset({Oddity.ID_ASSISTANT, Oddity.TEXT_404}),
)

PROFILES: Mapping[str, Behaviour] = {
    # The day before the Assistants API ended.
    "openai-2025": Behaviour(),
    # Since then: no /assistants but /agents, and without the models that ended in October 2026.
    "openai-today": Behaviour(assistants_api=False, agents_api=True, models_as_of="2026-11-22"),
    # Its documents know of no parsed text; files of agents can't be had back.
    "foundry-classic": Behaviour(
        foundry=True,
        responses_api=False,
        deployments=_DEPLOYMENTS,
        max_batch_files=500,
        oddities=frozenset({Oddity.ID_ASSISTANT, Oddity.TEXT_404}),
    ),
    "foundry-new": _FOUNDRY_NEW,
    # Both on one project, each with files and stores of its own.
    "foundry-both": msgspec.structs.replace(_FOUNDRY_NEW, assistants_api=True),
    # A self-hosted one: what most of them have in common.
    "look-alike": Behaviour(
        serve_assistants_files=True,
        containers=False,
        max_batch_files=100,
        oddities=frozenset(
            {
                Oddity.LIST_NO_HAS_MORE,
                Oddity.EXPIRES_AFTER_IGNORED,
                Oddity.REASONING_EFFORT_IGNORED,
                Oddity.METADATA_OWN_KEYS,
                Oddity.RESOURCES_NULL,
                Oddity.EXTRA_KEYS,
                Oddity.ID_UNDERSCORE,
                Oddity.CREATED_AS_FLOAT,
                Oddity.FILENAMES_ASCII,
                Oddity.TEXT_501,
                Oddity.ERROR_DETAIL,
            }
        ),
    ),
}
