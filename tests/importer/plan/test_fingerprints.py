"""Images: equal for what a server may write in several ways, different for every change that somebody made."""

from __future__ import annotations

from typing import Any

import pytest

from holdall.importer.plan.difference import changed, fingerprint, fingerprints
from holdall.model import Kind

ASSISTANT: dict[str, Any] = {
    "id": "asst_1",
    "created_at": 1,
    "name": "A",
    "model": "gpt-4o",
    "instructions": "x" * 256_000,
    "tools": [{"type": "file_search"}],
    "tool_resources": {"file_search": {"vector_store_ids": ["vs_1"]}},
    "temperature": 0.5,
    "metadata": {"k": "v"},
}


@pytest.mark.parametrize(
    ("a", "b"), [(3, 3.0), ({}, None), ([], None), ("", None), ({"a": 1, "b": 2}, {"b": 2.0, "a": 1, "c": None})]
)
def test_what_says_the_same_has_the_same_fingerprint(a: Any, b: Any) -> None:
    assert fingerprint(a) == fingerprint(b)


@pytest.mark.parametrize(("a", "b"), [(1, True), (0, None), (False, None), ([1, 2], [2, 1]), ("a", "A"), ([{}], [])])
def test_what_differs_has_another(a: Any, b: Any) -> None:
    assert fingerprint(a) != fingerprint(b)


def test_every_field_that_was_changed_is_named_and_no_other() -> None:
    then = fingerprints(Kind.ASSISTANT, ASSISTANT)
    assert changed(Kind.ASSISTANT, then, {**ASSISTANT, "created_at": 2, "unheard_of": 1, "top_p": None}) == []
    new = {
        **ASSISTANT,
        "instructions": "y",
        "temperature": None,
        "top_p": 0.5,
        "tool_resources": {"file_search": {"vector_store_ids": ["vs_2"]}},
    }
    assert changed(Kind.ASSISTANT, then, new) == ["instructions", "tool_resources", "temperature", "top_p"]


def test_an_image_of_an_earlier_version_has_defaults_in_it() -> None:
    shown = {**ASSISTANT, "temperature": 1.0, "response_format": "auto"}
    then = {field: fingerprint(value) for field, value in shown.items() if field not in ("id", "created_at")}
    assert changed(Kind.ASSISTANT, then, shown) == []
    assert changed(Kind.ASSISTANT, then, {**shown, "temperature": 0.5}) == ["temperature"]


def test_an_image_is_small() -> None:
    assert len(str(fingerprints(Kind.ASSISTANT, ASSISTANT))) < 500
