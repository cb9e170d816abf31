"""Names and contents of written requests: safe whatever a bundle says, the same for all selections, never code."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from holdall.dialects.loss import Loss, Why
from holdall.dialects.rules import Targets
from holdall.importer.plan.definitions import FOLDER, candidates, compose, paths
from holdall.model import Kind, Record, SourceId, TargetId
from holdall.safe_files import fold, is_safe
from tests.sweep import examples


def record(id: str, name: str | None, **fields: Any) -> Record:
    raw = json.dumps({"id": id, "name": name, "model": "gpt-4o", **fields}).encode()
    return Record(kind=Kind.ASSISTANT, id=SourceId(id), raw=raw)


def test_a_request_has_its_assistants_name_and_id() -> None:
    records = [record("asst_1", "Front desk"), record("asst_2", None), record("asst_3", "Übersetzungen / 翻訳")]
    assert list(paths(records, "").values()) == [
        "responses/Front desk-asst_1.json",
        "responses/asst_2.json",
        "responses/Übersetzungen _ 翻訳-asst_3.json",
    ]
    assert paths(records[:1], "new ")[SourceId("asst_1")] == "responses/new Front desk-asst_1.json"


names = st.text(max_size=300) | st.sampled_from(
    ["con", "../../etc/passwd", "a.about", "x.json", "", "\u202e", ".", "~"]
)
ids = st.text(min_size=1, max_size=80) | st.sampled_from(["asst_1", "ASST_1", "asst_1.about", "../x", "nul", "a\0b"])


@examples(100)
@given(st.lists(st.tuples(ids, names | st.none()), max_size=6, unique_by=lambda pair: pair[0]), st.text(max_size=20))
def test_whatever_they_are_called_the_files_have_safe_names_and_none_has_two(
    assistants: list[tuple[str, str | None]], prefix: str
) -> None:
    found = paths([record(id, name) for id, name in assistants], prefix)
    assert len(found) == len(assistants)
    taken = []
    for path in found.values():
        tried = candidates(path)
        for one in (*next(tried), *next(tried), *next(tried)):
            folder, _, name = one.partition("/")
            assert folder == FOLDER
            assert is_safe(name)
            taken.append(fold(name))
    assert len(set(taken)) == len(taken)


def test_beside_the_request_stands_what_has_no_place_in_it() -> None:
    tool = {"type": "bing_grounding", "bing_grounding": {"connections": []}}
    pair = compose(
        record("asst_1", "A", description="About A.", created_at=1, instructions="import os", tools=[tool]),
        "responses/A-asst_1.json",
        prefix="",
        model=None,
        targets=Targets(stores={SourceId("vs_1"): TargetId("VS")}),
        losses=[Loss(why=Why.UNKNOWN_TOOL, kind=Kind.ASSISTANT, id=SourceId("asst_1"), field="tools[0]")],
        destination={"project": "proj"},
    )
    assert json.loads(pair.request) == {"model": "gpt-4o", "instructions": "import os"}
    about = json.loads(pair.about)
    assert {key: about[key] for key in ("request", "id", "name", "description", "created_at")} == {
        "request": "A-asst_1.json",
        "id": "asst_1",
        "name": "A",
        "description": "About A.",
        "created_at": 1,
    }
    assert about["vector_stores"] == {"vs_1": "VS"}
    assert about["left_out"] == {"tools[0]": tool}
    assert [(loss["severity"], loss["field"]) for loss in about["losses"]] == [("major", "tools[0]")]
