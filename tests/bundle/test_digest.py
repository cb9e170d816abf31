from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.bundle.totals import content_line, definition_line, digest_of, record_hash
from holdall.kinds import KINDS
from holdall.model import Fidelity, Kind
from tests.sweep import examples

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def canonical(value: Any) -> bytes:
    """The specification's canonical JSON, written without the code under test."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@examples(150)
@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=5), st.sampled_from(list(Kind)), st.booleans())
def test_the_hash_is_that_of_the_specification(record: dict[str, Any], kind: Kind, ascii_only: bool) -> None:
    kept = {key: value for key, value in record.items() if key not in KINDS[kind].volatile}
    raw = json.dumps(record, indent=3, ensure_ascii=ascii_only).encode()
    assert record_hash(kind, raw) == hashlib.sha256(canonical(kept)).hexdigest()


@pytest.mark.parametrize("kind", list(Kind))
def test_volatile_fields_do_not_count_and_every_other_does(kind: Kind) -> None:
    record = {"id": "x", "name": None, "metadata": {"status": "a"}, "status": "completed", "expires_at": 5}
    record |= {"last_active_at": 1, "usage_bytes": 2, "file_counts": {}, "status_details": None, "last_error": None}
    before = record_hash(kind, json.dumps(record).encode())
    for field in record:
        changed = record_hash(kind, json.dumps(record | {field: "other"}).encode())
        assert (changed == before) == (field in KINDS[kind].volatile), field
    assert record_hash(kind, json.dumps(record | {"metadata": {"status": "b"}}).encode()) != before


def test_numbers_keep_the_digits_that_were_sent() -> None:
    hashes = {record_hash(Kind.STORE, b'{"t":%b}' % number) for number in (b"1", b"1.0", b"1e0", b"1E400", b"1.00")}
    assert len(hashes) == 5
    big = b'{"t":123456789012345678901234567890}'
    assert record_hash(Kind.STORE, big) == hashlib.sha256(big).hexdigest()


@pytest.mark.parametrize("sign", ["", "-"])
def test_whole_numbers_of_any_length_are_their_digits(sign: str) -> None:
    digits = sign + "9" * 5000
    raw = '{ "t" : [N, -0, 1.50, 1E400], "e": "\\u00e9", "usage_bytes": N, "a": 1, "a": 2 }'.replace("N", digits)
    canonical = '{"a":2,"e":"\u00e9","t":[N,0,1.50,1E400]}'.replace("N", digits)
    assert record_hash(Kind.STORE, raw.encode()) == hashlib.sha256(canonical.encode()).hexdigest()


@pytest.mark.parametrize("raw", [b'{"a":"\\ud800"}', b"[" * 5000 + b"]" * 5000, b"not json"])
def test_what_is_not_json_for_everybody_is_hashed_as_it_stands(raw: bytes) -> None:
    assert record_hash(Kind.ASSISTANT, raw) == hashlib.sha256(raw).hexdigest()


def test_lines_and_digest() -> None:
    line = definition_line(Kind.MEMBERSHIP, 'a"\n', "f" * 64, "vs_1")
    assert json.loads(line) == ["membership", "vs_1", 'a"\n', "f" * 64]
    assert b"\n" not in line
    assert content_line("a", Fidelity.TEXT, "0") == b'["content","a","text","0"]'
    assert digest_of([b"a", b"b"]) == "h1:" + hashlib.sha256(b"a\nb\n").hexdigest()
