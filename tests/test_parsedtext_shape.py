"""A parsed text is proved piece by piece, wherever it is cut."""

from __future__ import annotations

import json

import pytest

from holdall.parsedtext import StoredText, require_page
from holdall.untrusted import MAX_PART, MAX_PARTS

FULL = [
    b'{"pages":[],"truncated":false}',
    b' { "pages" : [{"data":[{"text":"a\\"]}{\\\\"}]},{"content":[{"text":null,"x":[1,[{}]]}]}] ,"truncated" : true } ',
    json.dumps({"pages": [{"data": [{"text": '\U0001f600 \\ " ]'}]}] * 3, "truncated": False}).encode(),
]


def read(raw: bytes, step: int) -> bool:
    text = StoredText()
    for at in range(0, len(raw), step):
        text.feed(raw[at : at + step])
    return text.end()


@pytest.mark.parametrize("raw", FULL)
def test_where_it_is_cut_makes_no_difference(raw: bytes) -> None:
    assert {read(raw, step) for step in range(1, len(raw) + 1)} == {json.loads(raw)["truncated"]}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b'{"pages":[{}{}],"truncated":false}',
        b'{"pages":[{},],"truncated":false}',
        b'{"pages":[,{}],"truncated":false}',
        b'{"pages":[{]],"truncated":false}',
        b'{"pages":[{"a":}],"truncated":false}',
        b'{"pages":[{"a":"',
        b'{"pages":[{}],"truncated":false}x',
    ],
)
def test_what_is_no_parsed_text_is_none_wherever_it_is_cut(raw: bytes) -> None:
    for step in range(1, max(len(raw), 1) + 1):
        with pytest.raises(ValueError, match=r".+"):
            read(raw, step)


def test_a_page_has_only_so_many_parts() -> None:
    assert list(require_page(b'{"data":[{},{"text":"a"}]}')) == ["", "a"]
    with pytest.raises(ValueError, match="parts"):
        require_page(b'{"data":[' + b"{}," * MAX_PARTS + b"{}]}")
    with pytest.raises(ValueError, match="bundle of this size"):
        StoredText(10).feed(b'{"pages":[{"x":[' + b"[]," * 20 + b'1]}],"truncated":false}')


@pytest.mark.parametrize(
    "raw",
    [
        b'{"data":[{"text":"' + b"x" * MAX_PART + b'"}]}',
        b'{"data":[{"text":7}]}',
        b'{"data":[{}],"content":[{"text":[]}]}',
        b'{"data":[{"text":"\xff"}]}',
        b'{"data":[{"text":"\\q"}]}',
    ],
)
def test_each_part_is_what_a_part_must_be(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        list(require_page(raw))
