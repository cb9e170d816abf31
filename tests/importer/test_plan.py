"""The plan: depth first, each thing once, and what can't come through said beforehand."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from holdall.dialects.loss import Why
from holdall.importer.plan import plan
from holdall.importer.steps import (
    AttachFiles,
    Cannot,
    Catalogue,
    Content,
    CreateAssistant,
    CreateStore,
    LeaveOut,
    UploadFile,
)
from holdall.model import Kind, Record, Rung, SourceId
from holdall.selection import Selection


def assistant(id: str, *, stores: list[str] = [], files: list[str] = [], **fields: Any) -> Record:  # noqa: B006
    resources: dict[str, Any] = {"file_search": {"vector_store_ids": stores}, "code_interpreter": {"file_ids": files}}
    body = {"id": id, "name": id.upper(), "model": "gpt-4o", "tool_resources": resources, **fields}
    return Record(kind=Kind.ASSISTANT, id=SourceId(id), raw=json.dumps(body).encode())


def store(id: str) -> Record:
    return Record(kind=Kind.STORE, id=SourceId(id), raw=json.dumps({"id": id, "name": id}).encode())


def file(id: str, rung: Rung = Rung.ORIGINAL, reason: str = "") -> Content:
    return Content(
        id=SourceId(id), filename=f"{id}.md", purpose="assistants", rung=rung, stored=10, size=10, reason=reason
    )


def holding(assistants: list[Record], members: dict[str, list[str]], files: list[Content]) -> Catalogue:
    return Catalogue(
        assistants=assistants,
        stores={SourceId(id): store(id) for id in members},
        members={SourceId(id): [SourceId(m) for m in ids] for id, ids in members.items()},
        files={content.id: content for content in files},
    )


def shape(catalogue: Catalogue, *, only: tuple[str, ...] = (), prefix: str = "") -> list[list[str]]:
    """Each unit as one word a step."""
    words = []
    for unit in plan(catalogue, Selection(only=only), prefix=prefix).units:
        steps = []
        for step in unit.steps:
            match step:
                case UploadFile(content=content):
                    steps.append(f"up {content.id}")
                case CreateStore(id=id):
                    steps.append(f"store {id}")
                case AttachFiles(store=id, count=count):
                    steps.append(f"attach {id} {count}")
                case CreateAssistant(id=id):
                    steps.append(f"assistant {id}")
                case LeaveOut(loss=loss):
                    steps.append(f"without {loss.id} in {loss.inside}")
                case Cannot(id=id):
                    steps.append(f"cannot {id}")
        words.append(steps)
    return words


def test_depth_first_and_what_is_shared_once() -> None:
    catalogue = holding(
        [
            assistant("a1", stores=["s1"], files=["f2"]),
            assistant("a2", stores=["s1"]),
            assistant("a3", files=["f2", "f3"]),
        ],
        {"s1": ["f1", "f2"]},
        [file("f1"), file("f2"), file("f3")],
    )
    assert shape(catalogue) == [
        ["up f1", "up f2", "store s1", "attach s1 2", "assistant a1"],
        ["assistant a2"],
        ["up f3", "assistant a3"],
    ]


def test_a_selection_takes_along_what_its_assistants_need() -> None:
    catalogue = holding(
        [assistant("a1", stores=["s1"]), assistant("a2", stores=["s1"])],
        {"s1": ["f1"], "s2": ["f2"]},
        [file("f1"), file("f2")],
    )
    assert shape(catalogue, only=("A2",)) == [["up f1", "store s1", "attach s1 1", "assistant a2"]]
    assert shape(catalogue, only=("s2",)) == [["up f2", "store s2", "attach s2 1"]]


def test_stores_that_nobody_uses_come_last() -> None:
    catalogue = holding([assistant("a1", stores=["s2"])], {"s1": ["f1"], "s2": []}, [file("f1")])
    assert shape(catalogue) == [["store s2", "assistant a1"], ["up f1", "store s1", "attach s1 1"]]


def test_text_goes_into_stores_and_never_into_the_code_interpreter() -> None:
    catalogue = holding([assistant("a1", stores=["s1"], files=["f1"])], {"s1": ["f1"]}, [file("f1", Rung.TEXT)])
    assert shape(catalogue) == [["up f1", "store s1", "attach s1 1", "without f1 in a1", "assistant a1"]]
    made = plan(catalogue, Selection())
    create = made.units[0].steps[-1]
    assert isinstance(create, CreateAssistant)
    assert create.files == []
    assert [loss.why for loss in made.losses()] == [Why.AS_TEXT, Why.LEFT_OUT]


def test_unavailable_files_and_missing_stores_are_left_out_and_listed() -> None:
    gone = file("f1", Rung.UNAVAILABLE, reason="refused by the server")
    catalogue = holding([assistant("a1", stores=["s1", "s9"], files=["f1", "f9"])], {"s1": ["f1"]}, [gone])
    assert shape(catalogue) == [
        ["without f1 in s1", "store s1", "without s9 in a1", "without f1 in a1", "without f9 in a1", "assistant a1"]
    ]
    texts = [loss.text for loss in plan(catalogue, Selection()).losses()]
    assert texts[0] == "left out: refused by the server"
    assert texts[-1] == "left out: it is not in the bundle"


def test_purposes_that_only_the_server_gives_are_said() -> None:
    output = Content(id=SourceId("f1"), purpose="assistants_output", rung=Rung.ORIGINAL)
    text = Content(id=SourceId("f2"), purpose="vision", rung=Rung.TEXT)
    made = plan(holding([assistant("a1", stores=["s1"])], {"s1": ["f1", "f2"]}, [output, text]), Selection())
    assert [step.purpose for step in made.units[0].steps if isinstance(step, UploadFile)] == ["assistants"] * 2
    assert [loss.why for loss in made.losses()] == [Why.PURPOSE_CHANGED, Why.AS_TEXT, Why.PURPOSE_CHANGED]


def test_a_name_that_grows_too_long_is_found_out_beforehand() -> None:
    catalogue = holding([assistant("a1", stores=["s1"], name="n" * 250), assistant("a2")], {"s1": ["f1"]}, [file("f1")])
    assert shape(catalogue, prefix="copy of ") == [["cannot a1"], ["assistant a2"]]


def test_totals_count_what_would_be_created() -> None:
    catalogue = holding(
        [assistant("a1", stores=["s1"]), assistant("a2", stores=["s1", "s2"])],
        {"s1": ["f1", "f2", "f1"], "s2": ["f1"]},
        [file("f1"), file("f2")],
    )
    totals = plan(catalogue, Selection()).totals()
    assert (totals.assistants, totals.stores, totals.files, totals.memberships, totals.bytes) == (2, 2, 2, 3, 20)


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_every_reference_is_placed_before_it_is_used_and_once(data: st.DataObject) -> None:
    files = [f"f{n}" for n in range(6)]
    stores = [f"s{n}" for n in range(3)]
    members = {s: data.draw(st.lists(st.sampled_from(files), max_size=6)) for s in stores}
    rungs = {f: data.draw(st.sampled_from([Rung.ORIGINAL, Rung.TEXT, Rung.UNAVAILABLE])) for f in files}
    assistants = [
        assistant(
            f"a{n}",
            stores=data.draw(st.lists(st.sampled_from(stores), max_size=2)),
            files=data.draw(st.lists(st.sampled_from(files), max_size=4)),
        )
        for n in range(4)
    ]
    made = plan(holding(assistants, members, [file(f, rung) for f, rung in rungs.items()]), Selection())
    placed: list[str] = []
    for unit in made.units:
        for step in unit.steps:
            match step:
                case UploadFile(content=content):
                    assert content.rung is not Rung.UNAVAILABLE
                    placed.append(content.id)
                case CreateStore(id=id):
                    placed.append(id)
                case AttachFiles(store=id):
                    assert id in placed
                    assert {m for m in members[id] if rungs[m] is not Rung.UNAVAILABLE} <= set(placed)
                case CreateAssistant(stores=used, files=tools):
                    assert {*used, *tools} <= set(placed)
                    assert all(rungs[f] is Rung.ORIGINAL for f in tools)
    assert len(placed) == len(set(placed))
