from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall import untrusted
from holdall.untrusted import require_plain, split_json, without_half_characters, without_strings
from tests.growth import assert_linear


@pytest.mark.parametrize("unit", [rb"\"", rb'"', rb'"\\', b"[", b'["]'])
def test_how_deep_json_is_is_found_out_in_linear_time(unit: bytes) -> None:
    def looked_at(raw: bytes) -> None:
        with suppress(ValueError):
            require_plain(raw)

    assert_linear(looked_at, lambda n: b"[" * 201 + b'"' + unit * n, 50_000)


@pytest.mark.parametrize(
    "unit", [rb"\"", b'"', rb'"\\', b"[", b'["],', b",", rb"\ud83d", rb"\\ud83d", rb"\ud83d\ude00", b"\\"]
)
def test_what_not_every_decoder_reads_is_taken_apart_in_linear_time(unit: bytes) -> None:
    def taken_apart(raw: bytes) -> None:
        without_half_characters(raw)
        with suppress(ValueError):
            split_json(raw)

    assert_linear(taken_apart, lambda n: b'["' + unit * n + b'"]', 50_000)
    assert_linear(taken_apart, lambda n: b"[" + unit * n, 50_000)


@given(st.text(alphabet='[]{}"\\a,', max_size=60), st.integers(0, 600_000))
def test_strings_are_cut_out_wherever_the_pieces_end(text: str, filling: int) -> None:
    raw = ('"' + "x" * filling + '"' + text).encode()
    assert b"".join(without_strings(raw)) == re.sub(
        rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', b"", text.encode(), flags=re.DOTALL
    )


@pytest.mark.parametrize(("richest", "passes"), [(untrusted.MAX_VALUES, 1), (900, 2)])
def test_strings_are_cut_out_once_to_see_how_deep_json_is(
    monkeypatch: pytest.MonkeyPatch, richest: int, passes: int
) -> None:
    raw = b"[" + b",".join([b'{"a":"[,"}'] * 400) + b"]"
    passed = []
    cut = without_strings
    monkeypatch.setattr(untrusted, "without_strings", lambda raw: (passed.append(len(raw)), cut(raw))[1])
    require_plain(raw, richest=richest)
    assert passed == [len(raw)] * passes
