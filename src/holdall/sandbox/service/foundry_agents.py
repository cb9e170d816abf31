"""/agents of a Foundry project: each a name, and versions that nobody changes any more."""

from __future__ import annotations

import re
import sqlite3
from typing import Any

import msgspec

from holdall.sandbox.service import serve_files, serve_models, stores
from holdall.sandbox.service.api_errors import ApiError, invalid
from holdall.sandbox.service.body_shapes import choice
from holdall.sandbox.service.foundry_definitions import (
    CREATE,
    PATCH,
    UPDATE,
    VERSION,
    check_features,
    check_name,
    filled,
    read,
)
from holdall.sandbox.service.foundry_ids import check_file_ids, not_owned
from holdall.sandbox.service.foundry_records import (
    find,
    find_version,
    latest,
    latest_or_none,
    page,
    rules_of,
    shown,
)
from holdall.sandbox.service.paging import select, window
from holdall.sandbox.service.service import Call

_KINDS = choice("prompt", "hosted", "workflow", "external", "voice")
_ENABLED, _DISABLED = "enabled", "disabled"

# What is filled in at run time is neither an id nor a name before.
_TEMPLATE = "{{"


def _check_tools(connection: sqlite3.Connection, call: Call, tools: list[dict[str, Any]]) -> None:
    """Refuse files and stores that aren't there."""
    for place, tool in enumerate(tools):
        where = f"definition.tools[{place}]"
        if tool["type"] == "file_search":
            for store in tool["vector_store_ids"]:
                if _TEMPLATE not in store and stores.find(connection, call, store) is None:
                    raise invalid(f"Vector store with id ['{store}'] not found.", f"{where}.vector_store_ids")
        container = tool.get("container")
        if tool["type"] == "code_interpreter" and isinstance(container, dict):
            ids = [id_ for id_ in container.get("file_ids", []) if _TEMPLATE not in id_]
            check_file_ids(call, ids, f"{where}.container.file_ids")
            missing = [id_ for id_ in ids if serve_files.living(connection, call, id_) is None]
            if missing:
                raise not_owned(missing)


def _check(connection: sqlite3.Connection, call: Call, definition: dict[str, Any]) -> None:
    if definition["kind"] != "prompt" or not call.service.behaviour.checks_versions:
        return
    serve_models.foundry_model(call.service.behaviour, definition["model"])
    if serve_models.is_reasoning(definition["model"]):
        for name in ("temperature", "top_p"):
            if definition.get(name) is not None:
                raise invalid(f"Unsupported parameter: '{name}' is not supported with this model.", name)
    _check_tools(connection, call, definition.get("tools") or [])


def _add_agent(connection: sqlite3.Connection, call: Call, name: str, asked: dict[str, Any]) -> sqlite3.Row:
    check_name(name)
    ids = call.service.ids
    state = asked.get("state", _ENABLED)
    kept = {
        "state": state,
        "configuration_state": state,
        "state_source": "user",
        "instance_identity": {"principal_id": ids.identity(), "client_id": ids.identity()},
        "blueprint_reference": {"type": "ManagedAgentIdentityBlueprint", "blueprint_id": ids.identity()},
        "agent_endpoint": asked.get("agent_endpoint"),
        "agent_card": asked.get("agent_card"),
    }
    made = connection.execute(
        "INSERT INTO foundry_agents (project, id, kind, body) VALUES (?, ?, ?, ?)",
        (call.project, name, asked["definition"]["kind"], msgspec.json.encode(kept)),
    )
    row: sqlite3.Row = connection.execute("SELECT * FROM foundry_agents WHERE seq = ?", (made.lastrowid,)).fetchone()
    return row


def _exists(connection: sqlite3.Connection, call: Call, name: str) -> bool:
    found = connection.execute("SELECT 1 FROM foundry_agents WHERE project = ? AND id = ?", (call.project, name))
    return found.fetchone() is not None


def _is_equal(call: Call, version: dict[str, Any], asked: dict[str, Any]) -> bool:
    names = (
        ("definition", "metadata", "description") if call.service.behaviour.metadata_makes_versions else ("definition",)
    )
    return all((version.get(name) or None) == (asked.get(name) or None) for name in names)


def _add_version(connection: sqlite3.Connection, call: Call, agent: sqlite3.Row, asked: dict[str, Any]) -> sqlite3.Row:
    behaviour = call.service.behaviour
    there, highest = connection.execute(
        "SELECT count(*), coalesce(max(number), 0) FROM foundry_versions WHERE agent = ?", (agent["seq"],)
    ).fetchone()
    if there >= behaviour.max_versions:
        raise invalid(
            f"Agent '{agent['id']}' has {there} versions, the most that an agent can have. Delete versions that are "
            "not used.",
            None,
            "UserError",
        )
    number = (highest if behaviour.reuses_version_numbers else agent["last_number"]) + 1
    draft = bool(asked.get("draft"))
    made = {
        "object": "agent.version",
        "id": f"{agent['id']}:{number}",
        "name": agent["id"],
        "version": str(number),
        "created_at": int(call.now),
        "definition": asked["definition"],
        "metadata": asked.get("metadata"),
        **({"description": asked["description"]} if asked.get("description") is not None else {}),
        **({"draft": True} if draft else {}),
        "status": "active",
        "agent_guid": call.service.ids.identity(),
    }
    connection.execute(
        "INSERT INTO foundry_versions (agent, id, number, draft, body) VALUES (?, ?, ?, ?, ?)",
        (agent["seq"], made["id"], number, draft, msgspec.json.encode(made)),
    )
    connection.execute(
        "UPDATE foundry_agents SET last_number = max(last_number, ?) WHERE seq = ?", (number, agent["seq"])
    )
    if not draft:
        _say_kind(connection, agent, asked["definition"]["kind"])
    return find_version(connection, agent, str(number))


def _say_kind(connection: sqlite3.Connection, agent: sqlite3.Row, kind: str) -> None:
    connection.execute("UPDATE foundry_agents SET kind = ? WHERE seq = ?", (kind, agent["seq"]))


def _checked(connection: sqlite3.Connection, call: Call, asked: dict[str, Any]) -> dict[str, Any]:
    """``asked`` as it is kept, once nothing is wrong with it."""
    check_features(asked, call.headers.get("foundry-features", ""))
    _check(connection, call, asked["definition"])
    return {**asked, "definition": filled(asked["definition"])}


def create(call: Call) -> dict[str, Any]:
    """POST /agents"""
    asked = read(call.body, CREATE, call.service.behaviour)
    with call.service.database.write() as connection:
        if _exists(connection, call, asked["name"]):
            raise ApiError(409, f"Agent '{asked['name']}' already exists.", param="name", code="conflict")
        agent = _add_agent(connection, call, asked["name"], asked)
        _add_version(connection, call, agent, _checked(connection, call, asked))
        _check_rules(connection, agent, asked)
        return shown(connection, call, agent)


def update(call: Call) -> dict[str, Any]:
    """POST /agents/{name}: the version that is there where nothing has changed."""
    asked = read(call.body, UPDATE, call.service.behaviour)
    with call.service.database.write() as connection:
        agent = find(connection, call, call.path["agent"])
        asked = _checked(connection, call, asked)
        if not _is_equal(call, msgspec.json.decode(latest(connection, agent)["body"]), asked):
            _add_version(connection, call, agent, asked)
        return shown(connection, call, agent)


def create_version(call: Call) -> msgspec.Raw:
    """POST /agents/{name}/versions: the first one makes the agent."""
    behaviour, name = call.service.behaviour, call.path["agent"]
    asked = read(call.body, VERSION, behaviour)
    with call.service.database.write() as connection:
        if not _exists(connection, call, name):
            agent = _add_agent(connection, call, name, asked)
        else:
            agent = find(connection, call, name)
            newest = latest(connection, agent)
            if not behaviour.keeps_equal_versions and not asked.get("draft"):
                asked = _checked(connection, call, asked)
                if _is_equal(call, msgspec.json.decode(newest["body"]), asked):
                    return msgspec.Raw(newest["body"])
        return msgspec.Raw(_add_version(connection, call, agent, _checked(connection, call, asked))["body"])


def retrieve(call: Call) -> dict[str, Any]:
    with call.service.database.read() as connection:
        return shown(connection, call, find(connection, call, call.path["agent"]))


def retrieve_version(call: Call) -> msgspec.Raw:
    with call.service.database.read() as connection:
        agent = find(connection, call, call.path["agent"])
        return msgspec.Raw(find_version(connection, agent, call.path["version"])["body"])


def list_all(call: Call) -> dict[str, Any]:
    asked = window(call.query, order=call.service.behaviour.agents_order)
    kind = call.query.get("kind")
    narrowed = ("t.kind = ?", (_KINDS(kind, "kind"),)) if kind else ("", ())
    with call.service.database.read() as connection:
        rows, has_more = select(
            connection,
            "t.*",
            "foundry_agents AS t",
            "t.project = ?",
            (call.project,),
            asked,
            narrowed=narrowed[0],
            narrowed_args=narrowed[1],
        )
        objects = [shown(connection, call, row) for row in rows]
    return page(call, objects, [row["id"] for row in rows], has_more)


def list_versions(call: Call) -> dict[str, Any]:
    asked = window(call.query, order=call.service.behaviour.agents_order)
    with_drafts = call.query.get("include_drafts", "false") == "true"
    with call.service.database.read() as connection:
        agent = find(connection, call, call.path["agent"])
        rows, has_more = select(
            connection,
            "t.*",
            "foundry_versions AS t",
            "t.agent = ?",
            (agent["seq"],),
            asked,
            narrowed="" if with_drafts else "t.draft = 0",
        )
    return page(call, [msgspec.Raw(row["body"]) for row in rows], [row["id"] for row in rows], has_more)


def delete(call: Call) -> dict[str, Any]:
    with call.service.database.write() as connection:
        agent = find(connection, call, call.path["agent"])
        if call.service.behaviour.deletes_stores_of_agents:
            _remove_stores(connection, call, msgspec.json.decode(latest(connection, agent)["body"])["definition"])
        _remove(connection, agent)
    return {"object": "agent.deleted", "name": agent["id"], "deleted": True}


def _remove(connection: sqlite3.Connection, agent: sqlite3.Row) -> None:
    connection.execute("DELETE FROM foundry_versions WHERE agent = ?", (agent["seq"],))
    connection.execute("DELETE FROM foundry_agents WHERE seq = ?", (agent["seq"],))


def _remove_stores(connection: sqlite3.Connection, call: Call, definition: dict[str, Any]) -> None:
    for tool in definition.get("tools") or [] if definition["kind"] == "prompt" else []:
        for id_ in tool["vector_store_ids"] if tool["type"] == "file_search" else []:
            row = stores.find(connection, call, id_)
            if row is not None:
                stores.remove(connection, row)


def delete_version(call: Call) -> dict[str, Any]:
    behaviour = call.service.behaviour
    with call.service.database.write() as connection:
        agent = find(connection, call, call.path["agent"])
        row = find_version(connection, agent, call.path["version"])
        kept: dict[str, Any] = msgspec.json.decode(agent["body"])
        number = str(row["number"])
        rules = [rule for rule in rules_of(kept) if rule["agent_version"] != number]
        if len(rules) < len(rules_of(kept)):
            if not behaviour.deletes_pinned_version:
                raise invalid(f"Version '{number}' of agent '{agent['id']}' takes traffic.", None, "UserError")
            kept["agent_endpoint"]["version_selector"]["version_selection_rules"] = rules
            _keep(connection, agent, kept)
        connection.execute("DELETE FROM foundry_versions WHERE seq = ?", (row["seq"],))
        left = latest_or_none(connection, agent)
        if left is not None:
            _say_kind(connection, agent, msgspec.json.decode(left["body"])["definition"]["kind"])
        elif behaviour.deletes_last_version:
            _remove(connection, agent)
        else:
            raise invalid(f"Version '{number}' is the only one of agent '{agent['id']}'.", None, "UserError")
    return {"object": "agent.version.deleted", "name": agent["id"], "version": number, "deleted": True}


def _keep(connection: sqlite3.Connection, agent: sqlite3.Row, kept: dict[str, Any]) -> None:
    connection.execute("UPDATE foundry_agents SET body = ? WHERE seq = ?", (msgspec.json.encode(kept), agent["seq"]))


def _check_rules(connection: sqlite3.Connection, agent: sqlite3.Row, kept: dict[str, Any]) -> None:
    """Refuse a selector of a version that isn't there, or of several."""
    rules = rules_of(kept)
    for rule in rules:
        find_version(connection, agent, rule["agent_version"])
    if sum(bool(rule["traffic_percentage"]) for rule in rules) > 1:
        raise invalid("Only one version can take traffic.", "agent_endpoint.version_selector", "invalid_parameters")


def patch(call: Call) -> dict[str, Any]:
    """What of an agent can be changed in place, by RFC 7396."""
    if not re.match(r"application/merge-patch\+json\s*(;|$)", call.headers.get("content-type", "")):
        raise ApiError(415, "The content type must be application/merge-patch+json.", code="unsupported_media_type")
    asked = read(call.body, PATCH, call.service.behaviour)
    with call.service.database.write() as connection:
        agent = find(connection, call, call.path["agent"])
        kept = _merged(msgspec.json.decode(agent["body"]), asked)
        _check_rules(connection, agent, kept)
        _keep(connection, agent, kept)
        return shown(connection, call, find(connection, call, agent["id"]))


def _merged(target: Any, change: Any) -> Any:
    if not isinstance(change, dict):
        return change
    made = dict(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = _merged(made.get(key), value)
    return made


def enable(call: Call) -> None:
    _switch(call, _ENABLED)


def disable(call: Call) -> None:
    _switch(call, _DISABLED)


def _switch(call: Call, state: str) -> None:
    with call.service.database.write() as connection:
        agent = find(connection, call, call.path["agent"])
        kept: dict[str, Any] = msgspec.json.decode(agent["body"])
        _keep(connection, agent, {**kept, "state": state, "configuration_state": state})
