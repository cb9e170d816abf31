"""Which ids are rewritten: whole ones that lead to exactly one other, and nothing else of a text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.errors import CannotWrite, UsageFault
from holdall.remap.renaming import Matcher, Renaming, mapping_file, read_renaming
from tests.growth import assert_linear
from tests.sweep import examples

OLD, NEW = "asst_oldoldoldoldoldold01", "asst_newnewnewnewnewnew01"


def matcher(**ids: str) -> Matcher:
    return Matcher(Renaming(ids=ids or {OLD: NEW}, unusable={}))


def mapping(path: Path, rows: list[tuple[str, str | None]], **more: Any) -> Path:
    path.write_text(json.dumps({"mappings": [{"srcId": old, "dstId": new} for old, new in rows], **more}))
    return path


@pytest.mark.parametrize("around", ["{}", "'{}'", "x={}", "/v1/assistants/{}/x", "[{},", "é{}语", "{}.txt", "\n{}\r\n"])
def test_a_whole_id_is_rewritten_wherever_it_stands(around: str) -> None:
    assert matcher().rewrite(around.format(OLD)).text == around.format(NEW)


@pytest.mark.parametrize("around", ["x{}", "{}x", "_{}", "{}_", "-{}", "{}-2"])
def test_a_part_of_a_longer_word_is_left_and_said(around: str) -> None:
    found = matcher().rewrite(f"one\ntwo {around.format(OLD)}")
    assert (found.text, found.count) == (f"one\ntwo {around.format(OLD)}", 0)
    (left,) = found.left
    assert (left.id, left.line, left.count) == (around.format(OLD), 2, 1)
    assert left.why == f"contains {OLD}, but is longer"


@pytest.mark.parametrize(
    "around",
    [
        r"Desk\n{}\nanswers",
        r"\t{}\r\n{}\0",
        r"\"\u0022{}\u0022",
        r"id\u003d{}\u0026x",
        r"id\x3d{}\x26",
        r"\U0000003d{}",
        r"\u2014{}",
        r"?to=%2Fassistants%2F{}%3Ftab%3D1",
        r"%22{}%22",
        r"next=%252F{}%253F",
        r"a\\n{}\\n",
        r"(\b{}\b)",
        r"LIKE '%{}%'",
    ],
)
def test_an_escape_is_a_border_like_the_character_that_it_stands_for(around: str) -> None:
    found = matcher().rewrite(around.replace("{}", OLD))
    assert (found.text, found.left) == (around.replace("{}", NEW), [])


@pytest.mark.parametrize(
    "around",
    [
        r"backup%2D{}",
        r"MY%5F{}",
        r"\x2d{}",
        r"\u0061{}",
        r"{}%2Dold",
        r"{}\x5fold",
        r"{}\u002dold",
        r"{}%252Dold",
        r"\q{}",
    ],
)
def test_an_escape_of_a_letter_is_a_part_of_the_word(around: str) -> None:
    found = matcher().rewrite(around.replace("{}", OLD))
    assert (found.text, found.count) == (around.replace("{}", OLD), 0)
    assert [left.why for left in found.left] == [f"contains {OLD}, but is longer"]


def test_an_id_that_could_be_read_as_an_escape_is_taken_for_the_id() -> None:
    hexed, named = "0a1b2c3d4e5f6071", "nine_of_these"
    odd = matcher(**{hexed: "65f0aa11bb22cc33", named: "ten_of_them"})
    assert odd.rewrite(rf"LIKE '%{hexed}%' C:\{named}").text == r"LIKE '%65f0aa11bb22cc33%' C:\ten_of_them"


def test_ids_that_swap_are_rewritten_in_one_pass() -> None:
    one, two = "file-aaaaaaaaaaaaaaaa", "file-bbbbbbbbbbbbbbbb"
    assert Matcher(Renaming(ids={one: two, two: one}, unusable={})).rewrite(f"{one} {two}").text == f"{two} {one}"


def test_ids_with_other_marks_in_them() -> None:
    odd = Matcher(Renaming(ids={"proj:a.b/c=1": "proj:x", "proj:a.b/c=10": "proj:y"}, unusable={}))
    assert odd.rewrite("proj:a.b/c=1 proj:a.b/c=10 proj:a.b/c=100").text == "proj:x proj:y proj:a.b/c=100"


@examples(60)
@given(st.lists(st.sampled_from([OLD, NEW, "vs_other", "-", "_", " ", "\n", "\r", '"', "é", "\0"]), max_size=12))
def test_all_but_whole_ids_stays_as_it_is(pieces: list[str]) -> None:
    text = "".join(pieces)
    found = matcher().rewrite(text)
    assert found.text.replace(NEW, OLD) == text.replace(NEW, OLD)
    assert found.text.count("\n") == text.count("\n")
    # Nothing is left that could have been rewritten, so that a second run finds nothing to do.
    assert matcher().rewrite(found.text).count == 0


def test_what_the_mapping_can_not_say_and_what_it_does_not_know(tmp_path: Path) -> None:
    several, nothing, hostile = "asst_" + "s" * 20, "asst_" + "n" * 20, "asst_" + "h" * 20
    path = mapping(
        tmp_path / "m.json",
        [(OLD, NEW), (several, "asst_1"), (several, "asst_2"), (nothing, None), (hostile, '"; rm -rf /'), ("a1", "a2")],
        vector_stores={"vs_same": "vs_same", "vs_old12345": "vs_new12345"},
        files={"file-old12345": "file-new12345"},
    )
    renaming = read_renaming(path)
    assert renaming.ids == {OLD: NEW, "vs_old12345": "vs_new12345", "file-old12345": "file-new12345"}
    assert {id: why.split(":")[0] for id, why in renaming.unusable.items()} == {
        several: "several new ids",
        nothing: "no new id",
        hostile: "its new id contains unsafe characters",
        "a1": "too short or unusual to search for safely",
    }
    unknown = "vs_0123456789abcdef"
    found = Matcher(renaming).rewrite(f"{several} {nothing} {nothing} {hostile} a1 {unknown} {NEW}")
    assert found.count == 0
    assert [(left.id, left.count) for left in found.left] == [(several, 1), (nothing, 2), (hostile, 1), (unknown, 1)]
    assert found.left[-1].why == "not in the mapping"


def test_a_folder_stands_for_its_mapping_and_anything_else_is_refused(tmp_path: Path) -> None:
    mapping(tmp_path / "mapping.json", [(OLD, NEW)])
    assert mapping_file(tmp_path) == tmp_path / "mapping.json"
    with pytest.raises(CannotWrite):
        read_renaming(tmp_path / "absent")
    for text in ("[]", "{}", "no json"):
        (tmp_path / "x").write_text(text)
        with pytest.raises(UsageFault):
            read_renaming(tmp_path / "x")


def test_assistants_that_are_written_down_have_no_id_to_put_in_their_place(tmp_path: Path) -> None:
    rows = [(OLD, "responses/a.json")]
    more: dict[str, Any] = {"vector_stores": {"vs_old_old": "vs_new"}, "as": "responses"}
    found = read_renaming(mapping(tmp_path / "m.json", rows, **more))
    assert found.ids == {"vs_old_old": "vs_new"}
    assert "Responses API" in found.unusable[OLD]


def test_words_that_are_left_are_counted_in_linear_time() -> None:
    one = matcher()
    assert_linear(one.rewrite, lambda n: "\n".join(f"asst_{number:020}" for number in range(n)), 20_000)
    found = one.rewrite("\n\nasst_00000000000000000001\nx asst_00000000000000000002 asst_00000000000000000001")
    assert [(left.line, left.count) for left in found.left] == [(3, 2), (4, 1)]


@pytest.mark.parametrize(
    "data", [b"\xff", b"[" * 100_000, b'{"mappings": 7}', b'{"files": {"a": "\\ud800"}}', b"1" * 5000]
)
def test_what_is_no_mapping_is_told(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.json").write_bytes(data)
    with pytest.raises(UsageFault):
        read_renaming(tmp_path / "m.json")
