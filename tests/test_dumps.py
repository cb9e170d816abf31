"""Old dumps in every shape that people have them in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdall.dumps import Dump, read_dumps
from holdall.errors import UsageFault
from holdall.model import AssistantView, SourceId

ONE: dict[str, Any] = {
    "id": "asst_1", "object": "assistant", "created_at": 1700000000, "name": "Ünï 中", "description": None,
    "model": "gpt-4o", "instructions": "i", "tools": [], "metadata": {}, "temperature": 1.0, "unknown": [1, {"a": 3.0}],
}  # fmt: skip
TWO = {**ONE, "id": "asst_2", "name": None}
LIST = {"object": "list", "data": [ONE, TWO], "first_id": "asst_1", "last_id": "asst_2", "has_more": False}


def read(*contents: bytes | str) -> Dump:
    named = [(f"dump{n}.json", c.encode() if isinstance(c, str) else c) for n, c in enumerate(contents)]
    return read_dumps(named)


def pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


SHAPES = {
    "list object": pretty(LIST),
    "list object, compact": json.dumps(LIST),
    "bare array": pretty([ONE, TWO]),
    "JSON lines": json.dumps(ONE) + "\n" + json.dumps(TWO) + "\n",
    "JSON lines, CRLF": json.dumps(ONE) + "\r\n" + json.dumps(TWO),
    "pretty objects one after another": pretty(ONE) + pretty(TWO),
    "pretty lists one after another": pretty({**LIST, "data": [ONE]}) + "\n" + pretty({**LIST, "data": [TWO]}),
    "with commas between": pretty(ONE) + ",\n" + pretty(TWO) + ",\n",
    "BOM": b"\xef\xbb\xbf" + pretty(LIST).encode(),
    "UTF-16 LE with BOM": pretty(LIST).encode("utf-16"),
    "UTF-16 BE with BOM": b"\xfe\xff" + pretty(LIST).encode("utf-16-be"),
    "UTF-16 LE without BOM": pretty(LIST).encode("utf-16-le"),
    "UTF-16 BE without BOM": pretty(LIST).encode("utf-16-be"),
    "nested in another tool's file": pretty({"version": 3, "items": {"a": {"assistant": ONE}, "b": [{"raw": TWO}]}}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_assistants(shape: str) -> None:
    content = SHAPES[shape]
    dump = read(content)
    assert [json.loads(record.raw) for record in dump.assistants] == [ONE, TWO]
    assert [record.id for record in dump.assistants] == ["asst_1", "asst_2"]
    assert dump.truncated == {}
    assert dump.notes == []


def test_records_are_the_dumps_own_bytes() -> None:
    raw = '{ "object":"assistant", "id":"asst_1",\n "model":"m", "n": 3.0, "big": 123456789012345678901234567890 }'
    assert read(f"[ {raw} ]").assistants[0].raw.decode() == raw


def test_one_object_is_enough_also_without_its_type() -> None:
    bare = {key: value for key, value in ONE.items() if key != "object"}
    assert json.loads(read(json.dumps(bare)).assistants[0].raw) == bare


def test_a_page_that_says_there_are_more_is_told() -> None:
    assert read(pretty({**LIST, "has_more": True})).truncated.keys() == {"dump0.json"}
    pages = pretty({"wrapped": {**LIST, "has_more": True}})
    assert read(pages).truncated.keys() == {"dump0.json"}


def test_pages_up_to_the_last_are_a_whole_list() -> None:
    first, last = pretty({**LIST, "data": [ONE], "has_more": True}), pretty({**LIST, "data": [TWO]})
    for dumps in ([first, last], [last, first], [first + last]):
        dump = read(*dumps)
        assert (len(dump.assistants), dump.truncated, len(dump.notes)) == (2, {}, 1)
        assert "check that no page in between is missing" in dump.notes[0]
    # The last page of another list says nothing of this one.
    stores = pretty({"object": "list", "data": [{"id": "vs_1", "object": "vector_store"}], "has_more": False})
    assert read(first, stores).truncated.keys() == {"dump0.json"}


def test_a_dump_of_nothing_but_stores_goes_with_one_of_assistants() -> None:
    stores = pretty({"object": "list", "data": [{"id": "vs_1", "object": "vector_store"}]})
    dump = read(pretty(LIST), stores)
    assert (len(dump.assistants), len(dump.stores)) == (2, 1)
    with pytest.raises(UsageFault, match="can't use the dumps: no assistant found"):
        read(stores)


def test_what_is_no_assistant_is_left_and_other_records_are_kept() -> None:
    store = {"id": "vs_1", "object": "vector_store", "name": "s"}
    member = {"id": "file-1", "object": "vector_store.file", "vector_store_id": "vs_1", "status": "completed"}
    file = {"id": "file-1", "object": "file", "filename": "a.txt", "bytes": 3}
    run = {"id": "run_1", "object": "thread.run", "model": "m", "instructions": "no assistant", "tools": []}
    dump = read(pretty({"assistants": [ONE], "stores": [store], "members": [member], "files": [file], "runs": [run]}))
    assert [r.id for r in dump.assistants] == ["asst_1"]
    assert [r.id for r in dump.stores] == ["vs_1"]
    assert [r.id for r in dump.files] == ["file-1"]
    assert [r.id for r in dump.memberships[SourceId("vs_1")]] == ["file-1"]


def test_the_same_object_twice_counts_once_and_a_contradiction_is_told() -> None:
    assert read(pretty(ONE), json.dumps(ONE)).notes == []
    dump = read(pretty(ONE), pretty({**ONE, "name": "later"}))
    assert json.loads(dump.assistants[0].raw)["name"] == "later"
    assert "in different versions" in dump.notes[0]


def test_an_assistant_without_id_gets_one_that_stays_the_same() -> None:
    bare = {key: value for key, value in ONE.items() if key != "id"}
    first, second = read(json.dumps(bare)), read(pretty(bare))
    assert first.assistants[0].id == second.assistants[0].id
    assert json.loads(first.assistants[0].raw)["id"] == first.assistants[0].id
    assert "has no id" in first.notes[0]


V1 = {
    "id": "asst_v1",
    "object": "assistant",
    "created_at": 1690000000,
    "name": "Old",
    "model": "gpt-4",
    "file_ids": ["file-a", "file-b"],
}


def view(dump: Dump) -> AssistantView:
    import msgspec

    return msgspec.json.decode(dump.assistants[0].raw, type=AssistantView)


def test_v1_with_retrieval_becomes_a_store_and_file_search() -> None:
    dump = read(json.dumps({**V1, "tools": [{"type": "retrieval"}]}))
    lifted = view(dump)
    assert [tool.type for tool in lifted.tools or ()] == ["file_search"]
    assert lifted.store_ids == [dump.stores[0].id]
    assert lifted.file_ids == []
    assert [r.id for r in dump.memberships[dump.stores[0].id]] == ["file-a", "file-b"]
    assert "file_ids" not in json.loads(dump.assistants[0].raw)
    assert "converted from v1" in dump.notes[-1]


def test_v1_with_both_tools_gives_the_files_to_both() -> None:
    dump = read(json.dumps({**V1, "tools": [{"type": "code_interpreter"}, {"type": "retrieval"}]}))
    assert view(dump).file_ids == ["file-a", "file-b"]
    assert len(dump.memberships[dump.stores[0].id]) == 2


def test_v1_without_files_just_loses_the_empty_list() -> None:
    dump = read(json.dumps({**V1, "file_ids": [], "tools": [{"type": "code_interpreter"}]}))
    assert "file_ids" not in json.loads(dump.assistants[0].raw)
    assert dump.stores == []
    assert dump.notes == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no assistant"),
        (b"[]", "no assistant"),
        (b'{"error": {"message": "Not found"}}', "no assistant"),
        (b"<html>", "invalid JSON in the value that starts in line 1"),
        (pretty(ONE)[:90].encode(), "ends in the middle of the value that starts in line 1"),
        (b"\xff\xfe\xff", "not text"),
        (b"\x80abc", "not text"),
        (b"[" * 100_000, "invalid JSON"),
    ],
)
def test_what_cannot_be_a_dump_is_refused_with_its_name(content: bytes, why: str) -> None:
    with pytest.raises(UsageFault, match=why) as caught:
        read(content)
    assert "dump0.json" in caught.value.message
