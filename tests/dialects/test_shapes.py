"""What of an object is the API's, and what a server has added to it."""

from __future__ import annotations

from typing import Any

import pytest

from holdall.dialects.shapes import known, narrowed

FUNCTION = {"name": "f", "parameters": {"type": "object", "x-own": {"a": 1}}}

TOOL = {"type": "function", "function": FUNCTION}
STORES = {"vector_store_ids": ["v"]}
BING = {"type": "bing", "bing": {"a": 2}}


@pytest.mark.parametrize(
    ("field", "here", "there", "expected"),
    [
        ("expires_after", None, {"days": 7, "x": 1}, {"days": 7}),
        ("expires_after", {"x": 1}, {"days": 7, "x": 1}, {"days": 7, "x": 1}),
        ("tool_resources", {}, {"file_search": {**STORES, "x": 1}}, {"file_search": STORES}),
        ("tools", [], [{**TOOL, "x": 1}], [TOOL]),
        ("tools", [{**BING, "bing": {"a": 1}}], [{**BING, "x": 1}], [BING]),
        ("metadata", {}, {"x": 1}, {"x": 1}),
        ("tools", None, None, None),
        ("response_format", "auto", "auto", "auto"),
    ],
)
def test_known(field: str, here: Any, there: Any, expected: Any) -> None:
    assert known(field, here, there) == expected


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        ({"a": 1}, {"a": 2, "b": 3}, {"a": 2}),
        ({"a": None}, {"a": 20}, {"a": None}),
        ([{"a": 1}], [{"a": 1, "b": 2}], [{"a": 1}]),
        ([{"a": 1}], [], []),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {}}),
        ("x", "xy", "xy"),
    ],
)
def test_narrowed(here: Any, there: Any, expected: Any) -> None:
    assert narrowed(here, there) == expected
