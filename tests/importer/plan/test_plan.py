"""The plan: depth first, each thing once, and what can't come through said beforehand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.dialects.loss import Why
from holdall.dialects.rules import Form
from holdall.importer.plan.bundle_summary import BundleSummary, Content
from holdall.importer.plan.choices import Choices, ModelMap, OnConflict
from holdall.importer.plan.difference import By, Difference, Existing, Extra, Found, FoundFile, FoundStore
from holdall.importer.plan.planner import plan
from holdall.importer.plan.steps import (
    Adopt,
    AttachFiles,
    Cannot,
    CreateAssistant,
    CreateStore,
    DetachFile,
    Differs,
    LeaveOut,
    Skip,
    Step,
    UpdateAssistant,
    UpdateStore,
    UploadFile,
)
from holdall.model import Fidelity, Kind, Record, SourceId, TargetId
from holdall.selection import Selection
from tests.sweep import examples


def assistant(id: str, *, stores: list[str] = [], files: list[str] = [], **fields: Any) -> Record:  # noqa: B006
    resources: dict[str, Any] = {"file_search": {"vector_store_ids": stores}, "code_interpreter": {"file_ids": files}}
    body = {"id": id, "name": id.upper(), "model": "gpt-4o", "tool_resources": resources, **fields}
    return Record(kind=Kind.ASSISTANT, id=SourceId(id), raw=json.dumps(body).encode())


def store(id: str) -> Record:
    return Record(kind=Kind.STORE, id=SourceId(id), raw=json.dumps({"id": id, "name": id}).encode())


def file(id: str, fidelity: Fidelity = Fidelity.ORIGINAL, reason: str = "") -> Content:
    return Content(
        id=SourceId(id), filename=f"{id}.md", purpose="assistants", fidelity=fidelity, stored=10, size=10, reason=reason
    )


def holding(assistants: list[Record], members: dict[str, list[str]], files: list[Content]) -> BundleSummary:
    return BundleSummary(
        whole={Kind.ASSISTANT: assistants},
        stores={SourceId(id): store(id) for id in members},
        members={SourceId(id): [SourceId(m) for m in ids] for id, ids in members.items()},
        files={content.id: content for content in files},
    )


def shape(
    catalogue: BundleSummary,
    *,
    only: tuple[str, ...] = (),
    prefix: str = "",
    choices: Choices = Choices(),  # noqa: B008
) -> list[list[str]]:
    """Each unit as one word a step."""
    words = []
    for unit in plan(catalogue, Selection(only=only), prefix=prefix, choices=choices).units:
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
    catalogue = holding([assistant("a1", stores=["s1"], files=["f1"])], {"s1": ["f1"]}, [file("f1", Fidelity.TEXT)])
    assert shape(catalogue) == [["up f1", "store s1", "attach s1 1", "without f1 in a1", "assistant a1"]]
    made = plan(catalogue, Selection())
    create = made.units[0].steps[-1]
    assert isinstance(create, CreateAssistant)
    assert create.files == []
    assert [loss.why for loss in made.losses()] == [Why.AS_TEXT, Why.LEFT_OUT]


def test_unavailable_files_and_missing_stores_are_left_out_and_listed() -> None:
    gone = file("f1", Fidelity.UNAVAILABLE, reason="refused by the server")
    catalogue = holding([assistant("a1", stores=["s1", "s9"], files=["f1", "f9"])], {"s1": ["f1"]}, [gone])
    assert shape(catalogue) == [
        ["without f1 in s1", "store s1", "without s9 in a1", "without f1 in a1", "without f9 in a1", "assistant a1"]
    ]
    texts = [loss.text for loss in plan(catalogue, Selection()).losses()]
    assert texts[0] == "left out: refused by the server"
    assert texts[-1] == "left out: not in the bundle"


def test_purposes_that_only_the_server_gives_are_said() -> None:
    output = Content(id=SourceId("f1"), purpose="assistants_output", fidelity=Fidelity.ORIGINAL)
    text = Content(id=SourceId("f2"), purpose="vision", fidelity=Fidelity.TEXT)
    made = plan(holding([assistant("a1", stores=["s1"])], {"s1": ["f1", "f2"]}, [output, text]), Selection())
    assert [step.purpose for step in made.units[0].steps if isinstance(step, UploadFile)] == ["assistants"] * 2
    assert [loss.why for loss in made.losses()] == [Why.PURPOSE_CHANGED, Why.AS_TEXT, Why.PURPOSE_CHANGED]


def test_new_foundry_agents_get_files_of_the_one_purpose_that_they_can_use() -> None:
    files = [Content(id=SourceId("f1"), purpose="user_data", fidelity=Fidelity.ORIGINAL), file("f2")]
    catalogue = holding([assistant("a1", stores=["s1"])], {"s1": ["f1", "f2"]}, files)
    choices = Choices(form=Form.FOUNDRY)
    made = plan(catalogue, Selection(), choices=choices)
    assert [step.purpose for step in made.units[0].steps if isinstance(step, UploadFile)] == ["assistants"] * 2
    assert [(loss.why, loss.id) for loss in made.losses()][:1] == [(Why.PURPOSE_CHANGED, "f1")]
    kept = plan(catalogue, Selection()).units[0].steps
    assert [step.purpose for step in kept if isinstance(step, UploadFile)] == ["user_data", "assistants"]


def test_a_name_that_grows_too_long_is_cut_and_that_is_said() -> None:
    catalogue = holding([assistant("a1", name="n" * 250), assistant("a2")], {}, [])
    planned = plan(catalogue, Selection(), prefix="copy of ")
    assert [(loss.why, loss.id, loss.field) for loss in planned.losses()] == [(Why.OVER_LIMIT, "a1", "name")]


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("model", [None, ""])
def test_what_names_no_model_is_found_out_beforehand(form: Form, model: str | None) -> None:
    catalogue = holding([assistant("a1", stores=["s1"], model=model)], {"s1": ["f1"]}, [file("f1")])
    assert shape(catalogue, choices=Choices(form=form)) == [["cannot a1"]]


@pytest.mark.parametrize(("form", "stores", "files"), [(Form.ASSISTANTS, 1, 20), (Form.RESPONSES, 2, 50)])
def test_what_an_assistant_has_too_many_of_is_not_made_at_all(form: Form, stores: int, files: int) -> None:
    ids = [f"f{n}" for n in range(52)]
    members = {"s1": ["f0"], "s2": ["f0"], "s3": ["f0"]}
    catalogue = holding([assistant("a1", stores=[*members, "s1"], files=ids)], members, [file(f) for f in ids])
    planned = plan(catalogue, Selection(), choices=Choices(form=form))
    totals = planned.totals()
    assert (totals.stores, totals.files) == (stores, files)
    lost = [loss for loss in planned.losses() if loss.inside == "a1"]
    assert {loss.why for loss in lost} == {Why.LEFT_OUT}
    assert [loss.id for loss in lost] == [*list(members)[stores:], *ids[files:]]


def test_totals_count_what_would_be_created() -> None:
    catalogue = holding(
        [assistant("a1", stores=["s1"]), assistant("a2", stores=["s2"])],
        {"s1": ["f1", "f2", "f1"], "s2": ["f1"]},
        [file("f1"), file("f2")],
    )
    totals = plan(catalogue, Selection()).totals()
    assert (totals.assistants, totals.stores, totals.files, totals.memberships, totals.bytes) == (2, 2, 2, 3, 20)


@examples(50)
@given(st.data())
def test_every_reference_is_placed_before_it_is_used_and_once(data: st.DataObject) -> None:
    files = [f"f{n}" for n in range(6)]
    stores = [f"s{n}" for n in range(3)]
    members = {s: data.draw(st.lists(st.sampled_from(files), max_size=6)) for s in stores}
    fidelities = {
        f: data.draw(st.sampled_from([Fidelity.ORIGINAL, Fidelity.TEXT, Fidelity.UNAVAILABLE])) for f in files
    }
    assistants = [
        assistant(
            f"a{n}",
            stores=data.draw(st.lists(st.sampled_from(stores), max_size=2)),
            files=data.draw(st.lists(st.sampled_from(files), max_size=4)),
        )
        for n in range(4)
    ]
    made = plan(holding(assistants, members, [file(f, fidelity) for f, fidelity in fidelities.items()]), Selection())
    placed: list[str] = []
    for unit in made.units:
        for step in unit.steps:
            match step:
                case UploadFile(content=content):
                    assert content.fidelity is not Fidelity.UNAVAILABLE
                    placed.append(content.id)
                case CreateStore(id=id):
                    placed.append(id)
                case AttachFiles(store=id):
                    assert id in placed
                    assert {m for m in members[id] if fidelities[m] is not Fidelity.UNAVAILABLE} <= set(placed)
                case CreateAssistant(stores=used, files=tools):
                    assert {*used, *tools} <= set(placed)
                    assert all(fidelities[f] is Fidelity.ORIGINAL for f in tools)
    assert len(placed) == len(set(placed))


# -- what is there already ------------------------------------------------------------------------------


def difference(field: str) -> Difference:
    return Difference(kind=Kind.ASSISTANT, source=SourceId("a1"), field=field, bundle=1, destination=2)


def there(
    *, assistants: dict[str, list[str]] | None = None, stores: dict[str, FoundStore] | None = None, files: str = ""
) -> Existing:
    """``assistants`` by the fields that differ; ``files`` are ids with blanks between them."""
    return Existing(
        definitions={
            Kind.ASSISTANT: {
                SourceId(id): Found(target=TargetId(f"t-{id}"), by=By.MARK, differences=[difference(f) for f in fields])
                for id, fields in (assistants or {}).items()
            }
        },
        stores={SourceId(id): found for id, found in (stores or {}).items()},
        files={SourceId(id): FoundFile(target=TargetId(f"t-{id}"), name=id, by=By.EARLIER) for id in files.split()},
    )


def steps_of(catalogue: BundleSummary, existing: Existing, on_conflict: OnConflict, **more: Any) -> list[Step]:
    choices = Choices(on_conflict=on_conflict, **more)
    return list(plan(catalogue, Selection(), choices=choices, existing=existing).steps())


def small() -> BundleSummary:
    return holding([assistant("a1", stores=["s1"], files=["f1"])], {"s1": ["f1", "f2"]}, [file("f1"), file("f2")])


def test_what_is_equal_is_adopted_and_nothing_is_pending() -> None:
    same = there(assistants={"a1": []}, stores={"s1": FoundStore(target=TargetId("t"), by=By.MARK)}, files="f1 f2")
    made = plan(small(), Selection(), existing=same)
    assert [(s.kind, s.id) for s in made.steps() if isinstance(s, Adopt)] == [
        (Kind.FILE, "f1"),
        (Kind.FILE, "f2"),
        (Kind.STORE, "s1"),
        (Kind.ASSISTANT, "a1"),
    ]
    assert not made.pending()
    assert not made.updates()
    assert made.totals().adopted == {"file": 2, "vector_store": 1, "assistant": 1}


def test_only_what_is_missing_is_made() -> None:
    steps = steps_of(small(), there(files="f2"), OnConflict.STOP)
    assert [type(step) for step in steps] == [UploadFile, Adopt, CreateStore, AttachFiles, CreateAssistant]


@pytest.mark.parametrize(
    ("choice", "last"),
    [(OnConflict.STOP, Differs), (OnConflict.SKIP, Skip), (OnConflict.UPDATE, UpdateAssistant)],
)
def test_what_differs_is_stopped_at_left_or_made_equal(choice: OnConflict, last: type) -> None:
    existing = there(
        assistants={"a1": ["instructions", "metadata.k", "metadata.l"]},
        stores={"s1": FoundStore(target=TargetId("t"), by=By.MARK)},
        files="f1 f2",
    )
    step = steps_of(small(), existing, choice)[-1]
    assert type(step) is last
    if isinstance(step, UpdateAssistant):
        assert step.fields == ["instructions", "metadata"]


def test_nothing_is_made_for_an_assistant_that_is_left_as_it_is() -> None:
    steps = steps_of(small(), there(assistants={"a1": ["tool_resources"]}), OnConflict.SKIP)
    assert [type(step) for step in steps] == [Skip]


def test_a_store_gets_what_is_missing_before_it_loses_what_is_too_much() -> None:
    found = FoundStore(
        target=TargetId("t"),
        by=By.EARLIER,
        fields=["metadata"],
        differences=[difference("metadata.k")],
        missing=[SourceId("f1")],
        replaced={SourceId("f2"): TargetId("old")},
        extras=[Extra(target=TargetId("extra"), name="e.md")],
    )
    existing = there(stores={"s1": found})
    steps = steps_of(small(), existing, OnConflict.UPDATE, delete=True)
    assert [type(step).__name__ for step in steps] == [
        "UploadFile", "UploadFile", "UpdateStore", "AttachFiles", "DetachFile", "DetachFile", "CreateAssistant",
    ]  # fmt: skip
    assert [step.files for step in steps if isinstance(step, AttachFiles)] == [["f1", "f2"]]
    kept = steps_of(small(), existing, OnConflict.UPDATE)
    assert [step.target for step in kept if isinstance(step, DetachFile)] == ["old"]
    assert [loss.why for step in kept if isinstance(step, UpdateStore) for loss in step.losses] == [Why.KEPT]


def test_what_others_changed_or_added_stops_an_update_unless_it_is_asked_for() -> None:
    extra = Extra(target=TargetId("extra"), name="e.md")
    changed = FoundStore(target=TargetId("t"), by=By.EARLIER, differences=[difference("name")], changed=["name"])
    added = FoundStore(
        target=TargetId("t"),
        by=By.EARLIER,
        differences=[difference("files.extra")],
        added=["files.extra"],
        extras=[extra],
    )

    def stops(found: FoundStore, **more: bool) -> bool:
        return any(
            isinstance(s, Differs) for s in steps_of(small(), there(stores={"s1": found}), OnConflict.UPDATE, **more)
        )

    assert stops(changed)
    assert not stops(changed, even_if_changed=True)
    assert not stops(added)
    assert stops(added, delete=True)
    assert not stops(added, delete=True, even_if_changed=True)


def test_a_copy_made_of_text_is_no_file_for_the_code_interpreter() -> None:
    catalogue = holding([assistant("a1", files=["f1"])], {}, [file("f1", Fidelity.TEXT)])
    steps = steps_of(catalogue, there(files="f1"), OnConflict.STOP)
    assert [type(step) for step in steps] == [LeaveOut, CreateAssistant]
    itself = Existing(files={SourceId("f1"): FoundFile(target=TargetId("f1"), name="f1", by=By.ORIGIN)})
    assert [type(step) for step in steps_of(catalogue, itself, OnConflict.STOP)] == [Adopt, CreateAssistant]


def test_an_assistant_without_its_model_takes_nothing_along() -> None:
    catalogue = holding([assistant("a1", stores=["s1"]), assistant("a2")], {"s1": ["f1"]}, [file("f1")])
    choices = Choices(missing={"gpt-4o": "gpt-4o is not there"})
    made = plan(catalogue, Selection(), choices=choices)
    assert [type(step) for step in made.steps()] == [Cannot, Cannot]
    assert made.pending()
    mapped = Choices(models=ModelMap(rules=(("gpt-4o", "new"),)))
    create = [
        step for step in plan(catalogue, Selection(), choices=mapped).steps() if isinstance(step, CreateAssistant)
    ]
    assert [step.model for step in create] == ["new", "new"]
    assert {loss.why for step in create for loss in step.losses} == {Why.MODEL_MAPPED}


@examples(60)
@given(st.data())
def test_whatever_is_there_every_reference_is_placed_before_it_is_used_and_once(data: st.DataObject) -> None:
    files, stores = [f"f{n}" for n in range(5)], [f"s{n}" for n in range(3)]
    members = {s: data.draw(st.lists(st.sampled_from(files), max_size=4, unique=True)) for s in stores}
    assistants = [
        assistant(
            f"a{n}",
            stores=data.draw(st.lists(st.sampled_from(stores), max_size=2)),
            files=data.draw(st.lists(st.sampled_from(files), max_size=3)),
        )
        for n in range(3)
    ]
    living = data.draw(st.sets(st.sampled_from(files)))
    found = {
        s: FoundStore(
            target=TargetId(f"t-{s}"),
            by=By.EARLIER,
            differences=[difference("x")] if (missing := [SourceId(f) for f in members[s] if f not in living]) else [],
            missing=missing,
        )
        for s in data.draw(st.sets(st.sampled_from(stores)))
    }
    known = {f"a{n}": data.draw(st.sampled_from([[], ["instructions"]])) for n in data.draw(st.sets(st.integers(0, 2)))}
    existing = there(assistants=known, stores=found, files=" ".join(sorted(living)))
    choice = data.draw(st.sampled_from([OnConflict.UPDATE, OnConflict.SKIP]))
    catalogue = holding(assistants, members, [file(f) for f in files])
    placed: list[str] = []
    for step in plan(catalogue, Selection(), choices=Choices(on_conflict=choice), existing=existing).steps():
        match step:
            case UploadFile(content=content):
                assert content.id not in living
                placed.append(content.id)
            case Adopt(id=id, stores=used, files=needed):
                assert {*used, *needed} <= set(placed)
                placed.append(id)
            case CreateStore(id=id) | UpdateStore(id=id) | Skip(id=id):
                placed.append(id)
            case AttachFiles(store=id, files=some):
                assert {id, *(members[id] if some is None else some)} <= set(placed)
            case CreateAssistant(id=id, stores=used, files=needed) | UpdateAssistant(id=id, stores=used, files=needed):
                assert {*used, *needed} <= set(placed)
                placed.append(id)
            case LeaveOut(loss=loss):
                assert loss.text.startswith("left out: the destination allows 1 of its 2 vector stores")
            case _:
                raise AssertionError(step)
    assert len(placed) == len(set(placed))
    assert {f"a{n}" for n in range(3)} <= set(placed)
