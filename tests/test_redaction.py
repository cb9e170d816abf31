"""Keys are found in every encoding, in linear time, and nothing else is taken for one."""

from __future__ import annotations

import json
import urllib.parse
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.redaction import Redactor, redactor
from tests.growth import assert_linear

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


# All that is taken for a key: of a few letters, so that texts and numbers have parts of it by chance, also escapes.
KEYS = st.one_of(
    st.text("01", min_size=8, max_size=20),
    st.text('\\"/nu%&#;,:{}[]0aAxX1', min_size=8, max_size=24),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60),
    st.sampled_from(
        [KEY, JWT, "0" * 16, "1234567890123456", '","a":"12345678', "\\u12345678", "%1234567", "true,null,0"]
    ),
).filter(lambda key: len(key) >= 16 or any(map(str.isdigit, key)))


def having(key: str) -> st.SearchStrategy[object]:
    """JSON that has a key in its numbers, names and texts: in all encodings, and plain behind what begins an escape."""
    forms = [f"; {way} ;" for _, way in written(key, json_too=False)]
    openings = ["\\", "%", "&#", "&#1;", "\\u12", "\ud800", "\u00e9", ""]
    said = st.builds(
        "".join, st.lists(st.sampled_from([*forms, *(f"{each}{key}" for each in openings)]) | st.text(max_size=5))
    )
    digits = "".join(filter(str.isdigit, key)).lstrip("0") or "0"
    number = st.sampled_from([int(digits), -int(digits), float(f"0.{digits}"), 1e16, 10**15]) | st.floats(
        allow_nan=False
    )
    return st.recursive(
        said | number | st.none() | st.booleans(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(said, inner, max_size=4),
    )


def shape(value: object) -> object:
    """JSON, read with the fields of an object as pairs, with nothing of its texts."""
    if isinstance(value, list):
        return [shape(each) for each in value]
    if isinstance(value, tuple):
        return ("", shape(value[1]))
    return "" if isinstance(value, str) else value


def texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from texts(each)


def pairs(raw: bytes) -> object:
    return json.loads(raw, object_pairs_hook=list)


@given(st.data())
def test_json_stays_json_of_the_same_shape_and_has_no_key_in_its_texts(data: st.DataObject) -> None:
    key = data.draw(KEYS)
    value = data.draw(having(key))
    for ascii_only in (True, False):
        raw = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "backslashreplace")
        clean = pairs(Redactor((key,)).raw(raw))
        assert shape(clean) == shape(pairs(raw))
        forms = [
            key,
            b64encode(key.encode()).decode().rstrip("=")[:-1],
            urllib.parse.quote(key, safe=""),
            key.encode().hex(),
        ]
        for text in texts(clean):
            for form in forms:
                assert form.lower() not in text.lower()


@pytest.mark.parametrize(
    ("key", "raw"),
    [
        ("0000000000000000", b'{"a": 1.0000000000000000, "b": "[key]"}'),
        ("1234567890123456", b'{"a": [1234567890123456, -12345678901234567e3], "b": "[key]"}'),
        ('","a":"12345678', b'{"b": "","a":"12345678", "c": "[key]"}'),
        ("true,null,0", b'[true,null,0, "[key]"]'),
    ],
)
def test_a_key_that_could_be_a_number_is_taken_out_of_texts_alone(key: str, raw: bytes) -> None:
    assert Redactor((key,)).raw(raw.replace(b"[key]", json.dumps(key)[1:-1].encode())) == raw


@pytest.mark.parametrize(
    "said", [r"\u12345678", r"\\u12345678", "%12345678", r"\n12345678", "&#12345678;", "&#x1;2345678"]
)
def test_a_key_that_looks_like_an_escape_is_found(said: str) -> None:
    key = said.lstrip("\\%&#;x")[-8:]
    for text in (said, f"a {said} b", said * 3):
        assert key not in Redactor((key,)).text(text)
        assert key not in json.loads(Redactor((key,)).raw(json.dumps(text).encode()))


@pytest.mark.parametrize("way", [str.lower, str.upper, str.title])
def test_a_key_is_found_in_capitals_and_small_letters(way: Callable[[str], str]) -> None:
    for said in (KEY, KEY[5:18], KEY[-20:], KEY.encode().hex()):
        assert Redactor((KEY,)).text(f"https://{way(said)}/") == "https://[key]/"


def test_the_cost_grows_with_the_text_alone() -> None:
    keep = Redactor((KEY,))
    for unit in (KEY[:11], KEY + '","', "%41" * 40, "\\u0041\\", "&#", "&#x" + "0" * 30, " " * 50 + KEY[:5] + '"'):
        text = unit * (300_000 // len(unit))
        assert KEY not in keep.text(text)  # what isn't linear doesn't come to an end here


@pytest.mark.parametrize("unit", ['\\"', "\\", '"', '","', "\\u0022", KEY[:11], KEY + '","', "&#", '\\" '])
def test_the_cost_of_json_grows_with_its_length_alone(unit: str) -> None:
    def answer(n: int) -> bytes:
        return f'["{KEY}","{unit * n}'.encode()

    keep = Redactor((KEY,))
    assert_linear(keep.raw, answer, 20_000 // len(unit))


@pytest.mark.parametrize("text", [f'["a","{KEY}', f'{{"a":"b {KEY} c\\', f'"\\"{KEY}\\'])
def test_a_key_goes_out_of_a_text_that_does_not_end(text: str) -> None:
    clean = Redactor((KEY,)).raw(text.encode())
    assert KEY.encode() not in clean
    assert b"[key]" in clean
