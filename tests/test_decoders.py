"""Whatever JSON a bundle or a dump has in the place of a record: each decoder gives a value or its declared error."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.bundle.texts import document
from holdall.bundle.totals import record_hash
from holdall.credentials import Scan
from holdall.dependencies import Dependencies
from holdall.dialects import assistants
from holdall.dialects.registry import definition
from holdall.dialects.rules import read_fields
from holdall.dumps import read_dumps
from holdall.errors import DamagedBundle, UsageFault
from holdall.graph import with_callees_by_id
from holdall.importer.plan.bundle_summary import keys_of, without_record_keys
from holdall.model import (
    AgentView,
    AssistantView,
    FileView,
    Kind,
    MembershipView,
    Record,
    SourceId,
    StoreView,
    TargetId,
)
from holdall.parsedtext import require_page
from holdall.untrusted import (
    MAX_DEPTH,
    first_value,
    read_as,
    read_json,
    read_members,
    readable,
    split_json,
    without_half_characters,
)
from tests.sweep import examples

# Written out only where they are used, so that an example can be read.
LONG = {
    "<digits>": "1" * 5000,
    "<lists>": "[" * 100_000 + "]" * 100_000,
    "<objects>": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "<open>": "[" * 100_000,
}
# What JSON's grammar allows and decoders differ about, and what it doesn't allow, as it stands in the text.
ODD = ["1e999", "-1e999", '"\\ud800"', '"\\udc00 x"', "-0", "1E400", "123456789012345678901234567890"]
ODD += ['"\\ud83d\\ud83d\\ude00"', '"\\\\ud83d"', '"\\\\\\ud83d"', '"a\nb"', '"\xed\xa0\xbd"', '{"a":1,"a":2}']
ODD += ['"\\u0000"', '"\\q"', "NaN", "-Infinity", '"\xff"', "tru", "", *LONG]
NAMES = [
    "id",
    "name",
    "tools",
    "type",
    "function",
    "tool_resources",
    "file_search",
    "vector_store_ids",
    "file_ids",
    "metadata",
    "created_at",
    "model",
    "attributes",
    "chunking_strategy",
    "static",
    "object",
    "text",
    "data",
    "pages",
    "connected_agent",
    "name_from_id",
    "instructions",
    "response_format",
    "temperature",
    "code_interpreter",
    "bytes",
]
LEAVES = st.sampled_from([*ODD, "null", "true", "7", '"asst_1"', '"x"', '"function"', '"assistant"', "[]", "{}"])
KEYS = st.sampled_from([f'"{name}"' for name in NAMES] + ['"\\ud800"', '"x"'])


def _objects(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.lists(st.tuples(KEYS, inner).map(":".join), max_size=5)
    return members.map(lambda found: "{" + ",".join(found) + "}") | st.lists(inner, max_size=4).map(
        lambda found: "[" + ",".join(found) + "]"
    )


TEXTS = _objects(st.recursive(LEAVES, _objects, max_leaves=12))


def record(raw: bytes, kind: Kind = Kind.ASSISTANT) -> Record:
    return Record(kind=kind, id=SourceId("x_1"), raw=raw)


def _views(raw: bytes) -> None:
    for view in (AssistantView, AgentView, FileView, MembershipView, StoreView):
        assert view.of(record(raw)).id in ("x_1", "asst_1", "x", "function", "assistant", "\0")


def _scanned(raw: bytes) -> None:
    Scan().look(record(raw + b'{"x": "sk-' + b"Zq7Rw2Kd9Xb4Nc8Lm5Tp3Vg6Hs1Jf0Ya" + b'"}'))
    Scan().look(record(raw))


def _outside(raw: bytes) -> None:
    found = Dependencies()
    for kind in (Kind.ASSISTANT, Kind.AGENT):
        found.add(record(raw, kind))
    for one in found.things():
        str(one)


def _linked(raw: bytes) -> None:
    records = with_callees_by_id([record(raw), record(b'{"id":"asst_1","name":"x"}')])
    assert len(records) == 2


def _requests(raw: bytes) -> None:
    for build in (
        lambda: definition(record(raw), prefix=""),
        lambda: assistants.store(record(raw, Kind.STORE), operation=""),
        lambda: assistants.attachment(record(raw, Kind.MEMBERSHIP), TargetId("f")),
        lambda: definition(record(raw, Kind.AGENT), prefix=""),
    ):
        with suppress(DamagedBundle):
            build()


def _metadata(raw: bytes) -> None:
    keys = keys_of(record(raw))
    without_record_keys(record(raw), keys)


DECODERS: dict[str, tuple[Callable[[bytes], object], tuple[type[Exception], ...]]] = {
    "views": (_views, ()),
    "values": (read_json, (ValueError,)),
    "values, leniently": (lambda raw: read_json(raw, lenient=True), (ValueError,)),
    "a type": (lambda raw: read_as(raw, AssistantView), (ValueError,)),
    "members": (read_members, (ValueError,)),
    "what every decoder reads": (lambda raw: json.loads(readable(raw).decode()), (ValueError,)),
    "pieces": (lambda raw: split_json(raw[: len(first_value(raw))]), (ValueError,)),
    "page of text": (require_page, (ValueError,)),
    "fields": (lambda raw: read_fields(record(raw)), (DamagedBundle,)),
    "credentials": (_scanned, ()),
    "dependencies": (_outside, ()),
    "digest": (lambda raw: record_hash(Kind.STORE, raw), ()),
    "links": (_linked, ()),
    "requests": (_requests, ()),
    "metadata": (_metadata, (DamagedBundle,)),
    "text": (lambda raw: document(raw, overlap=400, filename="a.txt", size=3), (DamagedBundle,)),
    "dumps": (lambda raw: read_dumps([("d", raw)]), (UsageFault,)),
}


@pytest.mark.parametrize("name", DECODERS)
@examples(60, derandomize=True, database=None)
@given(text=TEXTS)
def test_a_decoder_gives_a_value_or_its_error(name: str, text: str) -> None:
    decoder, declared = DECODERS[name]
    for word, written in LONG.items():
        text = text.replace(word, written)
    with suppress(*declared):
        decoder(text.encode("latin-1"))


@pytest.mark.parametrize("written", ['"\\ud800"', "1" * 5000, "1e999", "-1e999"])
def test_what_decoders_differ_about_is_read_all_the_same(written: str) -> None:
    raw = f'{{"id": "x_1", "name": {written}, "metadata": {{"k": {written}, "l": "m"}}}}'.encode()
    assert read_fields(record(raw))["metadata"]["l"] == "m"
    json.dumps(read_json(raw)).encode()
    assert AssistantView.of(record(raw)).id == "x_1"
    assert keys_of(record(raw)) == {"k", "l"}


@examples(200, derandomize=True, database=None)
@given(text=st.text(alphabet='\ud83d\ude00\udc00\\"ud8n\U0001f600a', max_size=20))
def test_halves_of_characters_are_mended_where_they_stand(text: str) -> None:
    raw = json.dumps([text]).encode()
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert len(without_half_characters(raw)) == len(raw)
    assert json.loads(without_half_characters(raw)) == json.loads(readable(raw)) == read_json(raw) == [whole]


@examples(200, derandomize=True, database=None)
@given(items=st.lists(st.sampled_from([one for one in ODD if one not in ("", *LONG)]) | TEXTS, max_size=5))
def test_a_list_is_divided_whatever_is_in_it(items: list[str]) -> None:
    written = [item.encode("latin-1") for item in items]
    for word, long in LONG.items():
        if word != "<open>":
            written = [item.replace(word.encode(), long.encode()) for item in written]
    raw = b"[" + b" ,\n".join(written) + b"]"
    assert split_json(raw + b", 7]") == (written, len(raw))


def test_nesting_has_its_limit() -> None:
    with pytest.raises(ValueError, match="nested"):
        read_json(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))
