"""The graph: who uses what, and who comes along."""

from __future__ import annotations

import pytest

from holdall.graph import called, callees_first, users_of
from holdall.model import AssistantView, SourceId


def view(id: str, calls: str = "", *, stores: tuple[str, ...] = (), files: tuple[str, ...] = ()) -> AssistantView:
    tools = [{"type": "connected_agent", "connected_agent": {"id": callee}} for callee in calls]
    resources = {"file_search": {"vector_store_ids": stores}, "code_interpreter": {"file_ids": files}}
    return AssistantView.of_values({"id": id, "tools": tools, "tool_resources": resources})


def test_each_thing_has_each_user_once_in_the_order_in_which_they_are_named() -> None:
    views = [view("a", stores=("s2", "s1", "s2"), files=("f1",)), view("b", stores=("s1",))]
    users = users_of(views)
    assert users.stores == {"s2": ["a"], "s1": ["a", "b"]}
    assert list(users.stores) == ["s2", "s1"]
    assert users.files == {"f1": ["a"]}
    assert users_of(views, stores=False).stores == {}
    assert users_of(views, files=False).files == {}


@pytest.mark.parametrize(
    ("calls", "chosen", "along", "first"),
    [
        ({"a": "b", "b": "c", "c": ""}, "a", "abc", "cba"),
        ({"a": "b", "b": "a"}, "a", "ab", "ba"),
        ({"a": "x"}, "a", "a", "a"),
        ({"a": "", "b": "a"}, "ab", "ab", "ab"),
        ({"a": "a"}, "a", "a", "a"),
    ],
    ids=["a chain", "a circle", "one that isn't there", "chosen before", "itself"],
)
def test_whoever_is_called_comes_along_and_first(calls: dict[str, str], chosen: str, along: str, first: str) -> None:
    views = {SourceId(id): view(id, callees) for id, callees in calls.items()}
    ids = [SourceId(id) for id in chosen]
    assert [found.id for found in called(ids, views)] == list(along)
    assert list(callees_first(ids, views)) == list(first)
