"""What is something to look at, and what is only said."""

from __future__ import annotations

import pytest

from holdall.doctor.diagnosis import (
    SOON,
    DownloadCheck,
    EndpointCheck,
    EndpointState,
    Failure,
    Holdings,
    Model,
    Models,
    Side,
    findings,
)

HELD = Holdings(assistants=1)


def answering(**answers: EndpointState) -> list[EndpointCheck]:
    names = ("assistants", "files", "vector_stores", "models", "responses", "containers", "agents")
    return [EndpointCheck(name=name, answer=answers.get(name, EndpointState.YES), message="why") for name in names]


def messages(side: Side) -> list[tuple[str, str]]:
    return [(finding.code, finding.message) for finding in findings([side], same_project=None)]


def test_nothing_to_look_at() -> None:
    fine = Side(side="source", base_url="u", endpoints=answering(containers=EndpointState.DENIED), export=HELD)
    assert findings([fine, Side(side="destination", base_url="u", endpoints=answering())], same_project=False) == []


def test_the_same_project_is_something_to_look_at() -> None:
    (found,) = findings([Side(side="source", base_url="u", endpoints=answering(), export=HELD)], same_project=True)
    assert (found.side, found.code) == (None, "same_project")


def test_an_account_that_could_not_be_looked_at() -> None:
    failure = Failure(exit_code=22, message="down")
    assert messages(Side(side="source", base_url="u", failure=failure)) == [("failure", "down")]


@pytest.mark.parametrize(
    ("answers", "codes"),
    [
        ({}, []),
        ({"assistants": EndpointState.ABSENT}, []),
        ({"assistants": EndpointState.ABSENT, "responses": EndpointState.ABSENT}, ["no_assistants"]),
        ({"assistants": EndpointState.ABSENT, "responses": EndpointState.UNKNOWN}, ["no_assistants"]),
        (
            dict.fromkeys(("assistants", "responses", "files", "vector_stores", "agents"), EndpointState.ABSENT),
            ["no_way_in"],
        ),
        ({"assistants": EndpointState.DENIED, "responses": EndpointState.ABSENT}, ["permission"]),
        ({"files": EndpointState.FAILS}, ["endpoint"]),
        ({"models": EndpointState.ABSENT}, []),
    ],
)
def test_destinations(answers: dict[str, EndpointState], codes: list[str]) -> None:
    side = Side(side="destination", base_url="u", endpoints=answering(**answers))
    assert [code for code, _ in messages(side)] == codes


def test_a_destination_without_assistants_says_what_it_takes() -> None:
    absent = dict.fromkeys(("assistants", "responses", "agents"), EndpointState.ABSENT)
    ((_, message),) = messages(Side(side="destination", base_url="u", endpoints=answering(**absent)))
    assert "files and vector stores can be imported. " in message
    assert "nothing" not in message


def test_sources() -> None:
    side = Side(
        side="source",
        base_url="u",
        endpoints=answering(assistants=EndpointState.ABSENT),
        downloads=[
            DownloadCheck(purpose="assistants", files=2, bytes=9, answer=EndpointState.DENIED, message="Not allowed"),
            DownloadCheck(purpose="user_data", files=1, bytes=9, answer=EndpointState.UNKNOWN),
            DownloadCheck(purpose="vision", files=1, bytes=9, answer=EndpointState.YES),
            DownloadCheck(purpose="batch", files=1, bytes=9, answer=EndpointState.DENIED),
        ],
        text=EndpointState.YES,
        export=Holdings(vector_stores=1),
        doubts={"/files": "cut"},
    )
    found = messages(side)
    assert [code for code, _ in found] == ["list", "no_assistants", "download", "download"]
    assert found[2][1].startswith(
        "2 files of purpose assistants can't be downloaded: Not allowed. Those in a vector store are exported as text."
    )
    assert [
        code for code, _ in messages(Side(side="source", base_url="u", endpoints=answering(), export=Holdings()))
    ] == ["empty"]


def test_models_that_somebody_uses() -> None:
    models = Models(
        there=3,
        ending=[
            Model(id="ends", there=True, shutdown="2026-12-11", days=SOON, used_by=["A", "B", "C", "D"]),
            Model(id="ended", there=True, shutdown="2026-10-23", days=0, used_by=["A"]),
            Model(id="unused", there=True, shutdown="2026-12-11", days=1),
            Model(id="later", there=True, shutdown="2027-12-11", days=SOON + 1, used_by=["A"]),
        ],
        gone=[Model(id="gone", there=False, used_by=["A"])],
    )
    assert messages(Side(side="source", base_url="u", endpoints=answering(), export=HELD, models=models)) == [
        ("model", "model gone not found; used by A"),
        ("model", f"model ends shuts down on 2026-12-11, in {SOON} days; used by A, B, C and 1 more"),
        ("model", "model ended shuts down on 2026-10-23, now; used by A"),
    ]
