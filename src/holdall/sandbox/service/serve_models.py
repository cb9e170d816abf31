"""The models that the sandbox's projects have, with the dates on which they shut down."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

from holdall.sandbox.service.api_errors import ApiError, invalid, model_disabled, model_missing
from holdall.sandbox.service.service import Call
from holdall.sandbox.service.switches import Switches

_AUTUMN = "2026-10-23"
_WINTER = "2026-12-11"
_NEW_YEAR = "2027-01-14"

# Model -> (created, shutdown date or None). Dates of the shutdowns: OpenAI's deprecations page.
_MODELS: dict[str, tuple[int, str | None]] = {
    "gpt-3.5-turbo": (1677610602, _AUTUMN),
    "gpt-3.5-turbo-0125": (1706048358, _AUTUMN),
    "gpt-3.5-turbo-1106": (1698959748, _AUTUMN),
    "gpt-4": (1687882411, _AUTUMN),
    "gpt-4-0613": (1686588896, _AUTUMN),
    "gpt-4-turbo": (1712361441, _AUTUMN),
    "gpt-4-turbo-2024-04-09": (1712601677, _AUTUMN),
    "gpt-4-turbo-preview": (1706037777, _AUTUMN),
    "gpt-4.1-nano": (1744321707, _AUTUMN),
    "gpt-4.1-nano-2025-04-14": (1744321025, _AUTUMN),
    "o1": (1734375816, _AUTUMN),
    "o1-2024-12-17": (1734326976, _AUTUMN),
    "o3-mini": (1737146383, _AUTUMN),
    "o3-mini-2025-01-31": (1738010200, _AUTUMN),
    "o4-mini": (1744225351, _AUTUMN),
    "o4-mini-2025-04-16": (1744133506, _AUTUMN),
    "gpt-5": (1754425777, _WINTER),
    "gpt-5-2025-08-07": (1754075360, _WINTER),
    "gpt-5-mini": (1754425928, _WINTER),
    "gpt-5-mini-2025-08-07": (1754425867, _WINTER),
    "gpt-5-nano": (1754426384, _WINTER),
    "gpt-5-nano-2025-08-07": (1754426303, _WINTER),
    "o3": (1744225308, _WINTER),
    "o3-2025-04-16": (1744133301, _WINTER),
    "gpt-4o": (1715367049, _NEW_YEAR),
    "gpt-4o-2024-05-13": (1715368132, _NEW_YEAR),
    "gpt-4o-2024-08-06": (1722814719, _NEW_YEAR),
    "gpt-4o-2024-11-20": (1739331543, _NEW_YEAR),
    "gpt-4o-mini": (1721172741, _NEW_YEAR),
    "gpt-4o-mini-2024-07-18": (1721172717, _NEW_YEAR),
    "gpt-4.1": (1744316542, _NEW_YEAR),
    "gpt-4.1-2025-04-14": (1744315746, _NEW_YEAR),
    "gpt-4.1-mini": (1744318173, _NEW_YEAR),
    "gpt-4.1-mini-2025-04-14": (1744317547, _NEW_YEAR),
    "gpt-5.1": (1762800673, None),
    "gpt-5.1-2025-11-13": (1762800353, None),
    "gpt-5.2": (1765313051, None),
    "gpt-5.2-2025-12-11": (1765343983, None),
    "gpt-5.4": (1772498000, None),
    "gpt-5.4-mini": (1773705600, None),
    "gpt-5.4-nano": (1773705600, None),
    "gpt-5.5": (1776902400, None),
    "text-embedding-3-large": (1705953180, None),
    "text-embedding-3-small": (1705948997, None),
    "whisper-1": (1677532384, None),
}

# Also deployments that their owner named after one.
_REASONING = re.compile(r"(?:^|[:-])(o\d|gpt-5(?!.*chat))")


def is_reasoning(model: str) -> bool:
    """Whether the model reasons, and so refuses ``temperature`` and takes ``reasoning_effort``."""
    return _REASONING.search(model) is not None


def _living(behaviour: Switches) -> dict[str, tuple[int, str | None]]:
    if behaviour.deployments:
        return dict.fromkeys(behaviour.deployments, (1735689600, None))
    living = {
        model: facts
        for model, facts in _MODELS.items()
        if (facts[1] is None or facts[1] > behaviour.models_as_of) and model not in behaviour.disabled_models
    }
    return living | dict.fromkeys(behaviour.extra_models, (1735689600, None))


def _shown(call: Call, model: str, facts: tuple[int, str | None]) -> dict[str, Any]:
    """The model object. Its end is as many days ahead of the client's day as it is of the sandbox's."""
    ends = facts[1]
    if ends is not None:
        lag = datetime.fromtimestamp(call.now, UTC).date() - date.fromisoformat(call.service.behaviour.models_as_of)
        ends = (date.fromisoformat(ends) + max(lag, timedelta())).isoformat()
    return {
        "id": model,
        "object": "model",
        "created": facts[0],
        "owned_by": "openai-internal" if model.startswith("whisper") else "system",
        "shutdown_date": ends,
    }


def assistant_model(behaviour: Switches, project: str, model: str) -> str:
    """The model, if an assistant may have it; raises 404, 403 or 400 as the service does."""
    return _checked(behaviour, project, model, "Assistants", model_missing(model))


def response_model(behaviour: Switches, project: str, model: str) -> str:
    """The model, if a response may be made with it. What isn't there is 400 here, and 404 at Foundry."""
    missing = _no_such(model)
    if behaviour.foundry:
        missing = ApiError(404, "The API deployment for this resource does not exist.", code="DeploymentNotFound")
    return _checked(behaviour, project, model, "Responses", missing)


def foundry_model(behaviour: Switches, model: str) -> None:
    """Refuse a model of a Foundry agent that is no deployment."""
    if model not in _living(behaviour):
        raise invalid(f"The deployment '{model}' does not exist.", "definition.model", "invalid_parameters")


def is_known(model: str) -> bool:
    """Whether this is a model's own name, and not one that somebody gave to a deployment."""
    return model in _MODELS


def agent_model(behaviour: Switches, project: str, model: str) -> str:
    """The model, if an agent may have it."""
    return _checked(behaviour, project, model, "Agents", _no_such(model))


def _no_such(model: str) -> ApiError:
    return invalid(f"The requested model '{model}' does not exist.", "model", "model_not_found")


def _checked(behaviour: Switches, project: str, model: str, api: str, missing: ApiError) -> str:
    if model in behaviour.disabled_models:
        raise model_disabled(project, model)
    if model not in _living(behaviour):
        raise missing
    if model.startswith(("text-embedding", "whisper")):
        raise invalid(f"The requested model '{model}' cannot be used with the {api} API.", "model", "unsupported_model")
    return model


def list_models(call: Call) -> dict[str, Any]:
    models = _living(call.service.behaviour)
    return {"object": "list", "data": [_shown(call, model, facts) for model, facts in models.items()]}


def retrieve_model(call: Call) -> dict[str, Any]:
    wanted = call.path["model"]
    facts = _living(call.service.behaviour).get(wanted)
    if facts is None:
        raise ApiError(404, f"The model '{wanted}' does not exist", param="model", code="model_not_found")
    return _shown(call, wanted, facts)
