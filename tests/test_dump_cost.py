"""What a dump may cost: time in proportion to its length, whatever is in it."""

from __future__ import annotations

from contextlib import suppress

import pytest

from holdall.dumps import read_dumps
from holdall.dumps.text import looks_like
from holdall.errors import UsageFault
from tests.growth import assert_linear
from tests.sweep import sweep

SHAPES = {
    "a dotted name": "{}A.",
    "wrappers that never end": "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[{}[1],",
    "strings that begin values": "{}['",
    "half objects": "{}[{{a:1}} b",
    "printed objects that never end": "{}A(a=[1],",
    "comments that never end": "{}{{/*",
    "blank lines": "---{}\n",
    "blank lines and no more": "{}\n",
    "blanks in a key": "---\nmodel: x\na{} ",
    "blanks before no comment": "---\nmodel: x\na: b{} ",
    "tools with stores": '{{"object":"assistant","tools":[{}{{"type":"file_search","vector_store_ids":["v"]}},',
}
ENDS = {
    "blanks in a key": "b\n---\n",
    "blanks before no comment": "b\n---\n",
    "tools with stores": '{}],"id":"asst_1"}',
}


def _read(text: str) -> None:
    with suppress(UsageFault):
        read_dumps([("d", text.encode())])
    looks_like(text)


@sweep("what", SHAPES)
def test_a_dump_costs_in_proportion_to_its_length(what: str) -> None:
    head, _, unit = SHAPES[what].partition("{}")
    unit = unit.replace("{{", "{").replace("}}", "}")
    head = head.replace("{{", "{")
    assert_linear(_read, lambda n: head + unit * (n // len(unit)) + ENDS.get(what, ""), 25_000)


@pytest.mark.parametrize(
    "text",
    [
        "---\nmodel: x\na: " + "1" * 5000 + "\n---\n",
        "{'object': 'assistant', 'id': 'asst_1', 'created_at': " + "1" * 5000 + "}",
        "[<ref *1> ",
        '{"object":"assistant","id":"asst_1","name":"\\ud800"}',
        '{"object":"assistant","id":"asst_1","created_at":1e999}',
        "id,model,instructions,created_at\nasst_1,m,i," + "1" * 5000 + "\n",
    ],
)
def test_what_no_number_or_text_can_be_is_told(text: str) -> None:
    _read(text)


def test_values_behind_one_that_never_ends_are_found() -> None:
    assistant = '{{"object": "assistant", "id": "asst_{}", "model": "m"}}'
    text = '{"data": {"all": [' + ",".join(assistant.format(n) for n in range(50)) + ', "'
    found = read_dumps([("d", text.encode())])
    assert [record.id for record in found.assistants] == [f"asst_{n}" for n in range(50)]
    assert found.truncated
