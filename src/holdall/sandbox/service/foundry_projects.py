"""What else a Foundry project lists: the deployments of its account, and its connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdall.sandbox.service import serve_models
from holdall.sandbox.service.api_errors import invalid, not_found
from holdall.sandbox.service.service import Call

_ACCOUNT = "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg/providers/Microsoft.CognitiveServices"


def deployments(call: Call) -> dict[str, Any]:
    """GET /deployments"""
    return _page(call, "deployments", [_deployment(name) for name in call.service.behaviour.deployments])


def deployment(call: Call) -> dict[str, Any]:
    """GET /deployments/{name}"""
    wanted = call.path["deployment"]
    if wanted not in call.service.behaviour.deployments:
        raise not_found(f"Deployment '{wanted}' not found.")
    return _deployment(wanted)


def _deployment(name: str) -> dict[str, Any]:
    return {
        "type": "ModelDeployment",
        "name": name,
        # Under a name of its owner's making there is a model of today.
        "modelName": name if serve_models.is_known(name) else "gpt-4.1",
        "modelVersion": "1",
        "modelPublisher": "OpenAI",
        "capabilities": {"assistants": "true", "chat_completion": "true"},
        "sku": {"name": "GlobalStandard", "capacity": 50},
    }


def connections(call: Call) -> dict[str, Any]:
    """GET /connections: what there is, without the keys to it."""
    return _page(call, "connections", [_connection(*each) for each in call.service.behaviour.connections])


def connection(call: Call) -> dict[str, Any]:
    """GET /connections/{name}"""
    return _found(call)


def connection_with_credentials(call: Call) -> dict[str, Any]:
    """POST /connections/{name}/getConnectionWithCredentials: that somebody asked is in the log."""
    found = _found(call)
    return {**found, "credentials": {"type": "ApiKey", "key": f"secret-of-{found['name']}"}}


def _found(call: Call) -> dict[str, Any]:
    wanted = call.path["connection"]
    for each in call.service.behaviour.connections:
        if each[0] == wanted:
            return _connection(*each)
    raise not_found(f"Connection '{wanted}' can't be found in this workspace.")


def _connection(name: str, kind: str, target: str) -> dict[str, Any]:
    return {
        "name": name,
        "id": f"{_ACCOUNT}/accounts/sandbox/projects/sandbox/connections/{name}",
        "type": kind,
        "target": target,
        "isDefault": False,
        "credentials": {"type": "ApiKey"},
        "metadata": {},
    }


def _page(call: Call, name: str, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    start = call.query.get("skip", "0")
    if not start.isdecimal() or len(start) > 9:
        raise invalid("Invalid 'skip'.", "skip")
    end = int(start) + call.service.behaviour.project_page_items
    page: dict[str, Any] = {"value": items[int(start) : end]}
    if end < len(items):
        page["nextLink"] = f"{call.address}/{name}?api-version=v1&skip={end}"
    return page
