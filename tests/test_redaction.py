"""Keys are found in every encoding, in linear time, and nothing else is taken for one."""

from __future__ import annotations

import json
import urllib.parse
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.redaction import Redactor, redactor

KEY = "sk-proj-Abc123Def456+Ghi789_Jkl/012Mno345Pqr"
JWT = ".".join(urlsafe_b64encode(text.encode()).decode() for text in ('{"alg":"RS256"}', '{"aud":"here"}', "z" * 40))


def written(key: str, *, json_too: bool = True) -> Iterator[tuple[str, str]]:
    """The ways in which a server may send a key back."""
    raw = key.encode()
    yield "plain", key
    for before in ("", "u", "us", "user:"):
        yield f"base64 behind {before!r}", b64encode(f"{before}{key}".encode()).decode()
        yield f"base64 for URLs behind {before!r}", urlsafe_b64encode(f"{before}{key}:x".encode()).decode().rstrip("=")
    yield "base64 in lines", "\n".join(cut(b64encode(b"user:" + raw).decode(), 10))
    yield "percent", urllib.parse.quote(key, safe="")
    yield "percent throughout", "".join(f"%{byte:02x}" for byte in raw)
    yield "percent, capitals", "".join(f"%{byte:02X}" for byte in raw)
    yield "hex", raw.hex()
    yield "hex, capitals", raw.hex().upper()
    yield "hex escapes", "".join(f"\\x{byte:02x}" for byte in raw)
    yield "entities", "".join(f"&#{byte};" for byte in raw)
    yield "hex entities", "".join(f"&#x{byte:X};" for byte in raw)
    yield "every other an entity", "".join(f"&#0{byte};" if byte % 2 else chr(byte) for byte in raw)
    yield "with spaces", " ".join(cut(key, 5))
    yield "in lines", "\r\n".join(cut(key, 7))
    if json_too:
        yield "JSON escapes", "".join(f"\\u{byte:04x}" for byte in raw)
        yield "JSON in JSON", "".join(f"\\\\u{byte:04X}" for byte in raw)
        yield "in lines of JSON", "\\n".join(cut(key, 7))
    yield "its beginning", key[:14]
    yield "its end", key[-14:]
    yield "its middle", key[12:30]


def cut(text: str, length: int) -> list[str]:
    return [text[place : place + length] for place in range(0, len(text), length)]


WAYS = dict(written(KEY))


@pytest.mark.parametrize("way", WAYS)
def test_a_key_is_found_however_it_is_written(way: str) -> None:
    text = Redactor((KEY,)).text(f"before {WAYS[way]} after")
    assert text.startswith("before ")
    assert text.endswith(" after")
    assert "[key]" in text
    # Base64 of what stood before and behind the key may be left, with a letter that is half the key's.
    assert len(text) <= len("before [key] after") + (13 if "base64" in way else 0), text


def test_two_fields_with_a_part_each_stay_two_fields() -> None:
    raw = json.dumps({"a": KEY[:20], "b": KEY[20:]}).encode()
    assert json.loads(Redactor((KEY,)).raw(raw)) == {"a": "[key]", "b": "[key]"}


@pytest.mark.parametrize("word", ["EMPTY", "x", "test", "none", "sk-1", "lm-studio", "not-needed", "dummy", ""])
def test_words_that_look_alikes_are_given_are_no_keys(word: str) -> None:
    text = f"the {word} of this test is not-needed, or none"
    assert Redactor((word,)).text(text) == text


def test_parts_that_may_be_words_stay_and_the_whole_goes() -> None:
    keep = Redactor(("local-development-key-2024",))
    assert keep.text("a local-development server") == "a local-development server"
    assert keep.text("key=local-development-key-2024;") == "key=[key];"


def test_a_short_key_is_found_whole_only() -> None:
    keep = Redactor(("hunter22",))
    assert "hunter22" not in keep.text("hunter2 hunter22")


def test_the_beginning_that_all_tokens_share_is_no_key() -> None:
    other = JWT.partition(".")[0] + ".eyJhIjoxfQ.c2lnbmF0dXJl"
    keep = Redactor((JWT,))
    assert keep.text(other) == other
    assert JWT.partition(".")[2] not in keep.text(f"Bearer {JWT}")


def test_what_has_no_key_is_the_very_object() -> None:
    raw = json.dumps({"text": "one \u00e9 < & % \\ two" * 50}).encode()
    assert redactor((KEY,)).raw(raw) is raw


@given(st.recursive(st.text() | st.sampled_from(list(WAYS.values())), lambda inner: st.lists(inner, max_size=4)))
def test_json_stays_json_and_has_no_key(value: object) -> None:
    for ascii_only in (True, False):
        raw = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "replace")
        clean = Redactor((KEY,)).raw(raw)
        msgspec.json.decode(clean, type=msgspec.Raw)
        assert KEY.encode() not in clean


def test_the_cost_grows_with_the_text_alone() -> None:
    keep = Redactor((KEY,))
    for unit in (KEY[:11], KEY + '","', "%41" * 40, "\\u0041\\", "&#", "&#x" + "0" * 30, " " * 50 + KEY[:5] + '"'):
        text = unit * (300_000 // len(unit))
        assert KEY not in keep.text(text)  # what isn't linear doesn't come to an end here
