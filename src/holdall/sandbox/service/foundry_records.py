"""Foundry agents and their versions as rows: found, shown, and the one of them that is served."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from holdall.sandbox.service.api_errors import not_found
from holdall.sandbox.service.service import Call


def find(connection: sqlite3.Connection, call: Call, name: str) -> sqlite3.Row:
    """The agent of that name, whatever its case; raises 404."""
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM foundry_agents WHERE project = ? AND id = ?", (call.project, name)
    ).fetchone()
    if row is None:
        raise not_found(f"Agent '{name}' doesn't exist.")
    return row


def find_version(connection: sqlite3.Connection, agent: sqlite3.Row, number: str) -> sqlite3.Row:
    """One version of an agent; raises 404."""
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM foundry_versions WHERE agent = ? AND id = ?", (agent["seq"], f"{agent['id']}:{number}")
    ).fetchone()
    if row is None:
        raise not_found(f"Version '{number}' of agent '{agent['id']}' doesn't exist.")
    return row


def served(connection: sqlite3.Connection, agent: sqlite3.Row) -> sqlite3.Row:
    """The version that answers a caller who names none: the pinned one, else the latest."""
    pinned = _pinned(msgspec.json.decode(agent["body"]))
    return latest(connection, agent) if pinned is None else find_version(connection, agent, pinned)


def rules_of(kept: dict[str, Any]) -> list[dict[str, Any]]:
    """The rules by which an agent's own settings choose a version."""
    selector = (kept.get("agent_endpoint") or {}).get("version_selector") or {}
    rules: list[dict[str, Any]] = selector.get("version_selection_rules") or []
    return rules


def _pinned(kept: dict[str, Any]) -> str | None:
    taking = [rule["agent_version"] for rule in rules_of(kept) if rule["traffic_percentage"]]
    return taking[0] if taking else None


def latest(connection: sqlite3.Connection, agent: sqlite3.Row) -> sqlite3.Row:
    """The newest version, a draft only where there is nothing else; an agent has one as long as it is there."""
    row = latest_or_none(connection, agent)
    assert row is not None
    return row


def latest_or_none(connection: sqlite3.Connection, agent: sqlite3.Row) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM foundry_versions WHERE agent = ? ORDER BY draft, seq DESC LIMIT 1", (agent["seq"],)
    ).fetchone()
    return row


def shown(connection: sqlite3.Connection, call: Call, agent: sqlite3.Row) -> dict[str, Any]:
    """The agent object, its latest version in it."""
    version = msgspec.Raw(latest(connection, agent)["body"])
    kept: dict[str, Any] = msgspec.json.decode(agent["body"])
    ids = {"name": {"id": agent["id"]}, "own": {"id": f"agent_{agent['seq']:08}"}, "none": {}}
    own = ids[call.service.behaviour.agent_ids]
    return {"object": "agent", **own, "name": agent["id"], "versions": {"latest": version}, **kept}


def page(call: Call, objects: list[Any], ids: list[str], has_more: bool) -> dict[str, Any]:
    """A page as Foundry writes it, which is no ``list`` object."""
    ends = {"first_id": ids[0], "last_id": ids[-1]} if ids else {"first_id": None, "last_id": None}
    if not has_more and not call.service.behaviour.last_page_has_last_id:
        ends = {}
    return {"data": objects, **ends, "has_more": has_more}
