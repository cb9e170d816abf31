"""What a value says, however a server writes it; and what of an object is the API's, and what a server has added."""

from __future__ import annotations

from typing import Any

import pytest

from holdall.dialects.canonical import canonical_form, equal
from holdall.model import Kind

FUNCTION = {"name": "f", "parameters": {"type": "object", "x-own": {"a": None}}}

TOOL = {"type": "function", "function": FUNCTION}
STORES = {"vector_store_ids": ["v"]}
BING = {"type": "bing", "bing": {"a": 2}}


@pytest.mark.parametrize(
    ("kind", "field", "here", "there", "expected"),
    [
        (Kind.STORE, "expires_after", None, {"days": 7, "x": 1}, {"days": 7}),
        (Kind.STORE, "expires_after", {"x": 1}, {"days": 7, "x": 1}, {"days": 7, "x": 1}),
        (Kind.ASSISTANT, "tool_resources", {}, {"file_search": {**STORES, "x": 1}}, {"file_search": STORES}),
        (Kind.ASSISTANT, "tools", [], [{**TOOL, "x": 1}], [TOOL]),
        (Kind.ASSISTANT, "tools", [{**BING, "bing": {"a": 1}}], [{**BING, "x": 1}], [BING]),
        (Kind.ASSISTANT, "metadata", {}, {"x": 1}, {"x": 1}),
        (Kind.ASSISTANT, "tools", None, None, None),
        (Kind.ASSISTANT, "response_format", "auto", "auto", None),
        (Kind.AGENT, "reasoning", None, {"effort": None, "x": 1}, {"x": 1}),
        (Kind.AGENT, "text", None, {"format": {"type": "text"}, "verbosity": "medium"}, None),
    ],
)
def test_reduced(kind: Kind, field: str, here: Any, there: Any, expected: Any) -> None:
    assert canonical_form(kind, field, there, beside=here) == expected


def test_a_default_that_depends_on_the_model() -> None:
    tools = [{"type": "file_search", "file_search": {"max_num_results": 5}}]
    assert canonical_form(Kind.ASSISTANT, "tools", tools, model="gpt-3.5-turbo") == [{"type": "file_search"}]
    assert canonical_form(Kind.ASSISTANT, "tools", tools, model="gpt-4o") == tools


def test_json_equality() -> None:
    assert equal({"a": [3, None, "x"]}, {"a": [3.0, None, "x"]})
    assert not equal(1, True)
    assert not equal({"a": 1}, {})
    assert not equal([1], [1, 2])
