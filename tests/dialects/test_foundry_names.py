"""The names of Foundry agents: the service's rule, and no two alike whatever the case."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.dialects.prompt_agents import agent_name, agent_names
from holdall.model import Kind, Record, SourceId
from tests.sweep import examples

RULE = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")


def assistants(*names: str | None) -> list[Record]:
    return [
        Record(
            kind=Kind.ASSISTANT, id=SourceId(f"asst_{n}"), raw=json.dumps({"id": f"asst_{n}", "name": name}).encode()
        )
        for n, name in enumerate(names)
    ]


def foundry(name: str) -> Record:
    return Record(kind=Kind.FOUNDRY_AGENT, id=SourceId(name), raw=json.dumps({"id": name, "name": name}).encode())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Front desk", "Front-desk"),
        ("  _Größe & Maß_ ", "Grosse-Mass"),
        ("Ærø café (2)", "AEro-cafe-2"),
        ("a--b", "a--b"),
        ("-a-", "a"),
        ("a" * 70, "a" * 63),
        ("a" * 62 + " b", "a" * 62),
        ("客服", "asst-1"),
        ("", "asst-1"),
        (None, "asst-1"),
    ],
)
def test_a_name_becomes_one_by_the_rule(name: str | None, expected: str) -> None:
    assert agent_name(name, "asst_1") == expected


def test_where_neither_name_nor_id_can_stay_it_is_an_agent() -> None:
    assert agent_name("客服", "___") == "agent"


@given(name=st.none() | st.text(max_size=80), id=st.text(max_size=80))
@examples(100)
def test_every_name_is_by_the_rule(name: str | None, id: str) -> None:
    assert RULE.fullmatch(agent_name(name, id))


def test_of_names_that_are_alike_the_later_ones_get_numbers() -> None:
    found = agent_names(assistants("Desk", "desk!", "DESK", "desk-2", None))
    assert list(found.values()) == ["Desk", "desk-2", "DESK-3", "desk-2-2", "asst-4"]


def test_a_number_takes_its_room_from_the_name() -> None:
    first, second = agent_names(assistants("x" * 80, "x" * 80)).values()
    assert (first, second) == ("x" * 63, "x" * 61 + "-2")


def test_an_agent_keeps_its_own_name_whatever_comes_before_it() -> None:
    records = [*assistants("desk", "desk"), foundry("Desk")]
    assert list(agent_names(records).values()) == ["desk-2", "desk-3", "Desk"]
    assert list(agent_names(records, "my-").values()) == ["my-desk-2", "my-desk-3", "my-Desk"]
    assert list(agent_names([foundry("x" * 63)], "my-").values()) == ["my-" + "x" * 60]


def test_the_prefix_counts_as_part_of_the_name() -> None:
    assert list(agent_names(assistants("desk", None), "copy of ").values()) == ["copy-of-desk", "asst-1"]


@given(names=st.lists(st.text(alphabet="aA-é 2", max_size=4) | st.just("x" * 80), max_size=30))
@examples(50)
def test_all_names_of_a_bundle_are_by_the_rule_and_differ_ignoring_case(names: list[str]) -> None:
    found = agent_names(assistants(*names))
    assert len({name.casefold() for name in found.values()}) == len(names)
    assert all(map(RULE.fullmatch, found.values()))


def test_many_of_one_name_cost_no_more_each() -> None:
    same = [f"{'x' * 60}{n % 1000:03}" for n in range(3000)]
    assert len(set(agent_names(assistants(*same)).values())) == 3000
