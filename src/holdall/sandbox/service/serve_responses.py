"""/responses: a request is checked as the service checks it, answered by ``replies``, and kept."""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from holdall.sandbox.service import replies, serve_files, serve_models, stores
from holdall.sandbox.service.api_errors import invalid, not_found
from holdall.sandbox.service.body_shapes import decoded
from holdall.sandbox.service.documents import CHARS_PER_TOKEN
from holdall.sandbox.service.foundry_ids import check_file_ids, not_owned
from holdall.sandbox.service.foundry_responses import by_agent
from holdall.sandbox.service.response_requests import REQUEST, check, shown_text, shown_tool
from holdall.sandbox.service.service import ApiSurface, Call


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    asked: dict[str, Any]
    items: list[dict[str, Any]]
    """All that a model would see."""
    agent: dict[str, Any] | None
    """The reference to the version of a Foundry agent that serves it."""


def _asked(connection: sqlite3.Connection, call: Call) -> _Request:
    """The request, checked."""
    body, agent = decoded(call.body), None
    if call.surface is ApiSurface.CURRENT and isinstance(body, dict):
        body, agent = by_agent(connection, call, body)
    asked: dict[str, Any] = REQUEST[call.surface is ApiSurface.CURRENT](body, "")
    serve_models.response_model(call.service.behaviour, call.project, asked["model"])
    check(asked)
    for place, tool in enumerate(asked.get("tools", [])):
        _check_tool(connection, call, tool, f"tools[{place}]")
    given = asked.get("input", [])
    new = [{"role": "user", "content": given}] if isinstance(given, str) else given
    items = [*_earlier(connection, call, asked), *({"type": "message", **item} for item in new)]
    _check_calls(items)
    return _Request(asked=asked, items=items, agent=agent)


def _check_tool(connection: sqlite3.Connection, call: Call, tool: dict[str, Any], where: str) -> None:
    if tool["type"] == "file_search":
        for store in tool["vector_store_ids"]:
            row = stores.find(connection, call, store)
            if row is None:
                raise not_found(f"Vector store with id ['{store}'] not found.", f"{where}.vector_store_ids")
            stores.check_living(row, call.now)
    if tool["type"] == "code_interpreter":
        container = tool["container"]
        if isinstance(container, str):
            row = connection.execute(
                "SELECT 1 FROM containers WHERE id = ? AND project = ?", (container, call.project)
            ).fetchone()
            if row is None:
                raise not_found(f"Container with id '{container}' not found.", f"{where}.container")
            return
        check_file_ids(call, container.get("file_ids", []), f"{where}.container.file_ids")
        for file in container.get("file_ids", []):
            if serve_files.living(connection, call, file) is None:
                if call.surface is ApiSurface.CURRENT:
                    raise not_owned([file])
                raise not_found(f"No such File object: {file}", f"{where}.container.file_ids")


def _earlier(connection: sqlite3.Connection, call: Call, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """What the response before this one saw and said."""
    previous = asked.get("previous_response_id")
    if not previous:
        return []
    row = connection.execute(
        "SELECT items FROM responses WHERE id = ? AND project = ?", (previous, call.project)
    ).fetchone()
    if row is None:
        raise invalid(
            f"Previous response with id '{previous}' not found.", "previous_response_id", "previous_response_not_found"
        )
    items: list[dict[str, Any]] = msgspec.json.decode(row["items"])
    return items


def _check_calls(items: list[dict[str, Any]]) -> None:
    """Every call of a function has its output, and every output its call."""
    calls = dict.fromkeys(item["call_id"] for item in items if item["type"] == "function_call")
    outputs = dict.fromkeys(item["call_id"] for item in items if item["type"] == "function_call_output")
    for call_id in outputs:
        if call_id not in calls:
            raise invalid(f"No tool call found for function call output with call_id {call_id}.", "input")
    for call_id in calls:
        if call_id not in outputs:
            raise invalid(f"No tool output found for function call {call_id}.", "input")


def searches(call: Call) -> list[str]:
    """The stores that the request wants searched, once it has been found good; raises the refusal."""
    with call.service.database.read() as connection:
        tools = _asked(connection, call).asked.get("tools", [])
    return [store for tool in tools if tool["type"] == "file_search" for store in tool["vector_store_ids"]]


def create(call: Call) -> dict[str, Any]:
    """Answer a request. What it searches must have been indexed."""
    with call.service.database.write() as connection:
        request = _asked(connection, call)
        asked, items = request.asked, request.items
        output = replies.reply(connection, call, asked, items)
        made = _shown(call, asked, items, output)
        if request.agent is not None:
            made["agent_reference"] = request.agent
        if asked.get("store") is not False:
            connection.execute(
                "INSERT INTO responses (project, id, body, items) VALUES (?, ?, ?, ?)",
                (call.project, made["id"], msgspec.json.encode(made), msgspec.json.encode([*items, *output])),
            )
    return made


def _shown(
    call: Call, asked: dict[str, Any], items: list[dict[str, Any]], output: list[dict[str, Any]]
) -> dict[str, Any]:
    def told(name: str, default: Any) -> Any:
        value = asked.get(name)
        return default if value is None else value

    reasoning = {"effort": "medium" if serve_models.is_reasoning(asked["model"]) else None, "summary": None}
    return {
        "id": call.service.ids.response(),
        "object": "response",
        "created_at": int(call.now),
        "status": "completed",
        "background": False,
        "completed_at": int(call.now),
        "error": None,
        "incomplete_details": None,
        "instructions": asked.get("instructions"),
        "max_output_tokens": asked.get("max_output_tokens"),
        "max_tool_calls": asked.get("max_tool_calls"),
        "model": asked["model"],
        "output": output,
        "parallel_tool_calls": told("parallel_tool_calls", True),
        "previous_response_id": asked.get("previous_response_id"),
        "prompt_cache_key": asked.get("prompt_cache_key"),
        "reasoning": {**reasoning, **told("reasoning", {})},
        "safety_identifier": asked.get("safety_identifier"),
        "service_tier": "default",
        "store": told("store", True),
        "temperature": told("temperature", 1.0),
        "text": shown_text(asked),
        "tool_choice": told("tool_choice", "auto"),
        "tools": [shown_tool(tool) for tool in asked.get("tools", [])],
        "top_logprobs": 0,
        "top_p": told("top_p", 1.0),
        "truncation": told("truncation", "disabled"),
        "usage": _usage([asked.get("instructions"), asked.get("tools"), items], output),
        "user": asked.get("user"),
        "metadata": told("metadata", {}),
    }


def _usage(read: object, written: object) -> dict[str, Any]:
    came, went = (len(msgspec.json.encode(each)) // CHARS_PER_TOKEN for each in (read, written))
    return {
        "input_tokens": came,
        "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
        "output_tokens": went,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": came + went,
    }


def _find(connection: sqlite3.Connection, call: Call) -> sqlite3.Row:
    wanted = call.path["response"]
    row: sqlite3.Row | None = connection.execute(
        "SELECT * FROM responses WHERE id = ? AND project = ?", (wanted, call.project)
    ).fetchone()
    if row is None:
        raise not_found(f"Response with id '{wanted}' not found.")
    return row


def retrieve(call: Call) -> msgspec.Raw:
    with call.service.database.read() as connection:
        return msgspec.Raw(_find(connection, call)["body"])


def delete(call: Call) -> dict[str, Any]:
    with call.service.database.write() as connection:
        row = _find(connection, call)
        connection.execute("DELETE FROM responses WHERE seq = ?", (row["seq"],))
    return {"id": row["id"], "object": "response", "deleted": True}
