"""What the sandbox answers to a request to /responses, where a model would: no thoughts, but every item in its place.

With a file search the answer is the passages that the search finds in the stores; a function is called where the input
names it or the request asks for it, and its output is told; where a format is asked for, the words come in it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from holdall.sandbox.service import search
from holdall.sandbox.service.service import Call
from holdall.sandbox.service.specimens import specimen

# Passages that an answer is made of, and the letters that are shown of each; the letters of a question that are read.
_PASSAGES = 3
_LONGEST = 600
_READ = 100_000


def reply(
    connection: sqlite3.Connection, call: Call, asked: dict[str, Any], items: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The output items. ``items`` is all that the model would see: earlier responses and the input, oldest first."""
    ids = call.service.ids
    if items and items[-1]["type"] == "function_call_output":
        return [_message(call, asked, _told(items), [])]
    question = _question(items)
    called = _called(asked, question)
    if called:
        return [
            {
                "id": ids.item("fc"),
                "type": "function_call",
                "status": "completed",
                "arguments": msgspec.json.encode(_arguments(tool, question)).decode(),
                "call_id": ids.call(),
                "name": tool["name"],
            }
            for tool in called
        ]
    tools = [tool for tool in asked.get("tools", []) if tool["type"] == "file_search"]
    if not tools or asked.get("tool_choice") == "none":
        return [_message(call, asked, f"The sandbox runs no model. It was asked: {question}", [])]
    found = _found(connection, call, tools[0], question)
    with_results = "file_search_call.results" in (asked.get("include") or [])
    searched = {
        "id": ids.item("fs"),
        "type": "file_search_call",
        "status": "completed",
        "queries": [question],
        "results": [_result(each) for each in found] if with_results else None,
    }
    return [searched, _message(call, asked, *_answer(found))]


def words_of(content: Any) -> str:
    """The text of a message's or an output's content."""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text") or part.get("refusal") or "" for part in content)


def _question(items: Sequence[dict[str, Any]]) -> str:
    asking = [item for item in items if item["type"] == "message" and item["role"] == "user"]
    return words_of(asking[-1]["content"])[:_READ] if asking else ""


def _told(items: Sequence[dict[str, Any]]) -> str:
    """The outputs of the last calls, each with the name of its function."""
    names = {item["call_id"]: item["name"] for item in items if item["type"] == "function_call"}
    told: list[str] = []
    for item in reversed(items):
        if item["type"] != "function_call_output":
            break
        told.append(f"{names[item['call_id']]} says: {words_of(item['output'])}")
    return "\n".join(reversed(told))


def _called(asked: dict[str, Any], question: str) -> list[dict[str, Any]]:
    """The functions that the request wants called, or that the question names."""
    functions = [tool for tool in asked.get("tools", []) if tool["type"] == "function"]
    wanted = asked.get("tool_choice", "auto")
    if isinstance(wanted, dict):
        return [tool for tool in functions if (tool["type"], tool["name"]) == (wanted["type"], wanted.get("name"))]
    named = [tool for tool in functions if re.search(rf"(?<![\w-]){re.escape(tool['name'])}(?![\w-])", question)]
    if wanted == "none":
        return []
    if wanted == "required" and not named and len(functions) == len(asked["tools"]):
        named = functions
    return named if asked.get("parallel_tool_calls") is not False else named[:1]


def _arguments(tool: dict[str, Any], question: str) -> Any:
    quoted = re.search(r"[\"'“«„]([^\"'”»“«„]+)[\"'”»“]", question)
    made = specimen(tool["parameters"] or {}, quoted[1] if quoted else question)
    return made if isinstance(made, dict) else {}


def _found(connection: sqlite3.Connection, call: Call, tool: dict[str, Any], question: str) -> list[dict[str, Any]]:
    if not re.search(r"\w", question):
        return []
    most = tool.get("max_num_results", 20)
    found = [
        each
        for store in dict.fromkeys(tool["vector_store_ids"])
        for each in search.found(
            connection,
            call,
            store,
            [question],
            most=most,
            filters=tool.get("filters"),
            threshold=tool.get("ranking_options", {}).get("score_threshold", 0),
        )
    ]
    return sorted(found, key=lambda each: each["score"], reverse=True)[:most]


def _result(found: dict[str, Any]) -> dict[str, Any]:
    kept = {key: found[key] for key in ("file_id", "filename", "score", "attributes")}
    return {**kept, "text": found["content"][0]["text"]}


def _answer(found: Sequence[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """The best passages one below the other, and where each is from."""
    if not found:
        return "Nothing in the files is about that.", []
    text = ""
    cited: list[dict[str, Any]] = []
    for each in found[:_PASSAGES]:
        passage: str = each["content"][0]["text"].strip()
        text += ("\n\n" if text else "") + (passage if len(passage) <= _LONGEST else passage[:_LONGEST] + "…")
        cited.append(
            {"type": "file_citation", "index": len(text), "file_id": each["file_id"], "filename": each["filename"]}
        )
    return text, cited


def _message(call: Call, asked: dict[str, Any], text: str, cited: list[dict[str, Any]]) -> dict[str, Any]:
    wanted = asked.get("text", {}).get("format", {"type": "text"})
    if wanted["type"] == "json_schema":
        text, cited = msgspec.json.encode(specimen(wanted["schema"], text)).decode(), []
    elif wanted["type"] == "json_object":
        text, cited = msgspec.json.encode({"answer": text}).decode(), []
    return {
        "id": call.service.ids.item("msg"),
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "annotations": cited, "logprobs": [], "text": text}],
    }
