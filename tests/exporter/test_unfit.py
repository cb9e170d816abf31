"""Records that no bundle can hold: each is a loss of its own, and the rest of the export goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.bundle import finalize
from holdall.bundle.reader import open_bundle
from holdall.bundle.verification import verify
from holdall.errors import EXIT_INCOMPLETE, CannotWrite
from holdall.sandbox.oddities import layer
from holdall.sandbox.oddities.exchange import Exchange, Memory
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from tests.bundle.packing import File, pack
from tests.cli.terminal import Terminal
from tests.project import KEY, Hand
from tests.sweep import sweep


@pytest.fixture
def hand(box: Running) -> Iterator[Hand]:
    box.behave(serve_assistants_files=True)
    with Hand(box.url, KEY) as made:
        yield made


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def deep(record: dict[str, Any]) -> None:
    record["x"] = nested(250)


def large(record: dict[str, Any]) -> None:
    record["x"] = "x" * (8 << 20)


def long_name(record: dict[str, Any]) -> None:
    record["filename"] = "x" * 70_000


def tools(record: dict[str, Any]) -> None:
    record["tools"] = [{"type": "function", "function": {"name": "f"}}] * 1001


def references(record: dict[str, Any]) -> None:
    record["tool_resources"] = {"x": {"file_ids": [f"file-{number}" for number in range(10_001)]}}


def long_id(record: dict[str, Any]) -> None:
    record["id"] += "x" * 600


def serve(
    box: Running,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[dict[str, Any]], None],
    *objects: str,
) -> None:
    """Let the server's objects of these kinds be such from now on, those of the name "plain" left out."""

    def changed(exchange: Exchange, memory: Memory) -> None:
        for record in exchange.records():
            if record.get("object") in objects and not {"plain", "plain.txt"} & {
                record.get("name"),
                record.get("filename"),
            }:
                change(record)

    monkeypatch.setitem(layer.ANSWERS, Oddity.BYTES_WRONG, changed)  # type: ignore[index]
    box.behave(oddities=frozenset({Oddity.BYTES_WRONG}), serve_assistants_files=True)


def project(hand: Hand) -> None:
    file = hand.file("one.txt", b"a few words")
    store = hand.store("Store", [file, hand.file("plain.txt", b"other words")])
    hand.assistant("A", stores=[store])
    hand.assistant("plain", stores=[hand.store("plain", [file])])


def exported(holdall: Terminal, reason: str = "records") -> dict[str, Any]:
    done = holdall("--json", "export", "-o", "b.tar.zst")
    assert done.code == EXIT_INCOMPLETE, done.err
    assert verify("b.tar.zst").findings == []
    found: dict[str, Any] = json.loads(done.out)
    assert found["result"]["verdict"]["missing"][reason] > 0
    return found


@sweep("change", [deep, large, tools, references, long_id])
def test_definitions(
    box: Running, hand: Hand, holdall: Terminal, monkeypatch: pytest.MonkeyPatch, change: Callable[..., None]
) -> None:
    project(hand)
    serve(box, monkeypatch, change, "assistant")
    losses = exported(holdall)["losses"]
    assert [loss["kind"] for loss in losses if loss["loss"] == "unreadable"] == ["assistant"]
    assert "exceeds the limits of a bundle" in losses[0]["message"]
    with open_bundle("b.tar.zst") as bundle:
        assert [json.loads(record.raw)["name"] for record in bundle.assistants()] == ["plain"]
        assert [(line.reason, line.kind) for line in bundle.losses()] == [("records", "assistant")]


@sweep(
    ("kind", "change"),
    [
        *((kind, change) for kind in ("vector_store", "vector_store.file", "file") for change in (deep, large)),
        ("file", long_name),
    ],
)
def test_records_of_knowledge(
    box: Running,
    hand: Hand,
    holdall: Terminal,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    change: Callable[..., None],
) -> None:
    """What can't be kept of a record says nothing of the file that it is about: that is in the bundle."""
    project(hand)
    serve(box, monkeypatch, change, kind)
    # A store is asked for by itself, and an answer that is over the limits is none.
    reason = "stores" if kind == "vector_store" else "records"
    exported(holdall, reason)
    with open_bundle("b.tar.zst") as bundle:
        assert {line.reason for line in bundle.losses()} == {reason}
        assert {line.fidelity for line in bundle.ledger()} == {"original"}
        assert len(list(bundle.assistants())) == 2
        if kind == "file":
            assert {json.loads(record.raw)["filename"] for record in bundle.files()} == {"plain.txt"}


def test_a_membership_of_another_store(
    box: Running, hand: Hand, holdall: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the members of a store it would be said to be in two places. The file is there all the same."""

    def elsewhere(record: dict[str, Any]) -> None:
        record["vector_store_id"] = "vs_elsewhere"

    project(hand)
    serve(box, monkeypatch, elsewhere, "vector_store.file")
    losses = exported(holdall)["losses"]
    assert all("another vector store, vs_elsewhere" in loss["message"] for loss in losses)
    with open_bundle("b.tar.zst") as bundle:
        assert {(line.reason, line.kind) for line in bundle.losses()} == {("records", "membership")}
        assert not any(list(bundle.memberships(store.id)) for store in bundle.stores())
        assert {line.fidelity for line in bundle.ledger()} == {"original"}


@sweep(
    ("status", "answer"),
    [(404, {"error": {"message": "no such list"}}), (200, {"object": "list"}), (500, {"error": {}})],
)
def test_the_list_of_one_store(
    box: Running, hand: Hand, holdall: Terminal, monkeypatch: pytest.MonkeyPatch, status: int, answer: dict[str, Any]
) -> None:
    """What a store that can't be listed has is missing; the rest of the project is in the bundle."""
    project(hand)
    store = hand.store("Bad", [hand.file("two.txt", b"more words")])
    hand.assistant("B", stores=[store])

    def changed(exchange: Exchange, memory: Memory) -> None:
        if exchange.path == f"/vector_stores/{store}/files":
            exchange.status, exchange.answer = status, answer

    monkeypatch.setitem(layer.ANSWERS, Oddity.BYTES_WRONG, changed)  # type: ignore[index]
    box.behave(oddities=frozenset({Oddity.BYTES_WRONG}), serve_assistants_files=True)
    exported(holdall, "lists")
    with open_bundle("b.tar.zst") as bundle:
        assert {(line.reason, line.id) for line in bundle.losses()} == {
            ("lists", store),
            ("lists", f"/vector_stores/{store}/files"),
        }
        assert {line.filename for line in bundle.ledger()} == {"one.txt", "plain.txt"}
        assert len(list(bundle.stores())) == 3


def test_a_file_with_an_id_that_is_too_long(
    box: Running, hand: Hand, holdall: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    project(hand)
    serve(box, monkeypatch, long_id, "vector_store.file")
    found = exported(holdall)
    assert all(len(loss["id"]) <= 512 for loss in found["losses"])
    with open_bundle("b.tar.zst") as bundle:
        assert list(bundle.ledger()) == []
        assert all(len(line.id or "") <= 512 for line in bundle.losses())


def test_a_dump(hand: Hand, holdall: Terminal) -> None:
    file = hand.file("one.txt", b"a few words")
    fit: dict[str, Any] = {"id": "asst_fit", "object": "assistant", "name": "fit", "model": "gpt-4o", "tools": []}
    others = [
        {**fit, "id": "asst_" + "x" * 600},
        {**fit, "id": "asst_deep", "metadata": {"x": nested(250)}},
        {**fit, "id": "asst_large", "instructions": "x" * (8 << 20)},
        {**fit, "id": "asst_many", "tool_resources": {"code_interpreter": {"file_ids": [file] * 10_001}}},
    ]
    Path("d.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (fit, *others)))
    done = holdall("--json", "export", "-o", "b.tar.zst", "--from-dump", "d.jsonl")
    assert done.code == EXIT_INCOMPLETE, done.err
    assert json.loads(done.out)["result"]["verdict"]["missing"]["records"] == len(others)
    assert verify("b.tar.zst").findings == []


SPOILT = {
    "no UTF-8": b'"Pr\xfcfung"',
    "a surrogate in UTF-8": b'"\xed\xa0\xbd"',
    "a control character": b'"a\tb"',
    "NaN": b"NaN",
    "Infinity": b"[-Infinity]",
    "no escape": b'"\\q"',
    "deep": b"[" * 50_000 + b"]" * 50_000,
}
KEPT = {
    "half a character": b'"\\ud83d"',
    "the other half": b'"x\\ude00"',
    "a long number": b"1" * 5000,
    "a large one": b"1e999",
    "a key twice": b'{"a":1,"a":2}',
}
KINDS = ("assistant", "vector_store", "vector_store.file", "file")


def spoil(box: Running, monkeypatch: pytest.MonkeyPatch, written: bytes, *objects: str) -> None:
    """Let the server's objects of these kinds have this in them, those of the name "plain" left out; with white space
    and a byte order mark around each answer."""
    serve(box, monkeypatch, lambda record: record.update(x="<spoilt>"), *objects)
    changed = layer.ANSWERS[Oddity.BYTES_WRONG]

    def rewritten(exchange: Exchange, memory: Memory) -> None:
        changed(exchange, memory)
        body = json.dumps(exchange.answer).encode().replace(b'"<spoilt>"', written)
        exchange.raw = b"\n \xef\xbb\xbf\n" + body + b"\n\n"

    monkeypatch.setitem(layer.ANSWERS, Oddity.BYTES_WRONG, rewritten)  # type: ignore[index]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("written", SPOILT.values(), ids=SPOILT)
def test_a_record_that_is_no_json_is_lost_by_itself(
    box: Running, hand: Hand, holdall: Terminal, monkeypatch: pytest.MonkeyPatch, kind: str, written: bytes
) -> None:
    project(hand)
    spoil(box, monkeypatch, written, kind)
    # A store is asked for by itself, and an answer that nobody can read is none.
    is_unreadable = written in (SPOILT["deep"], SPOILT["no escape"])
    reason = "stores" if kind == "vector_store" and is_unreadable else "records"
    exported(holdall, reason)
    with open_bundle("b.tar.zst") as bundle:
        assert {line.reason for line in bundle.losses()} == {reason}
        assert {line.fidelity for line in bundle.ledger()} == {"original"}
        names = [json.loads(record.raw)["name"] for record in (*bundle.assistants(), *bundle.stores())]
        lacks = {"assistant": "A", "vector_store": "Store"}.get(kind)
        # What only the lost assistant uses is no root.
        assert set(names) == {"A", "Store", "plain"} - {lacks, "Store" if lacks == "A" else None}


@pytest.mark.parametrize("written", KEPT.values(), ids=KEPT)
def test_a_record_of_json_is_kept_as_it_was_sent(
    box: Running, hand: Hand, holdall: Terminal, monkeypatch: pytest.MonkeyPatch, written: bytes
) -> None:
    project(hand)
    spoil(box, monkeypatch, written, *KINDS)
    done = holdall("export", "-o", "b.tar.zst")
    assert done.code == 0, done.err
    assert verify("b.tar.zst").findings == []
    with open_bundle("b.tar.zst") as bundle:
        stores = list(bundle.stores())
        members = [record for store in stores for record in bundle.memberships(store.id)]
        raw = [record.raw for record in (*bundle.assistants(), *stores, *bundle.files(), *members)]
        assert sum(b'"x":' + written in one.replace(b'"x": ', b'"x":') for one in raw) == len(raw) - 3


def test_half_a_character(box: Running, hand: Hand, holdall: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """As programs that cut text leave it: JSON that not every reader takes, so no reader of a bundle must."""
    dump = {"id": "asst_half", "object": "assistant", "name": "half \ud83d", "model": "gpt-4o", "tools": []}
    Path("d.jsonl").write_text(json.dumps(dump) + "\n" + json.dumps({**dump, "id": "asst_1", "name": "whole"}))
    done = holdall("--json", "export", "-o", "b.tar.zst", "--from-dump", "d.jsonl")
    assert done.code in (0, EXIT_INCOMPLETE), done.err
    assert verify("b.tar.zst").findings == []


def test_what_can_not_be_read_back_gets_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that gives other bytes than it took: the bundle is not there, and the next run makes it whole."""
    target = tmp_path / "acme.tar.zst"
    files = [File(id="file-1"), File(id="file-2")]
    original = finalize.require_readable

    def spoilt(written: Path, as_target: Path) -> None:
        raw = bytearray(written.read_bytes())
        with open_bundle(written) as bundle:
            offset, length, _, _ = bundle.frames.frames[1]
        raw[offset + length // 2] ^= 1
        written.write_bytes(raw)
        original(written, as_target)

    with monkeypatch.context() as patch:
        patch.setattr("holdall.bundle.writer.require_readable", spoilt)
        with pytest.raises(CannotWrite, match="reading it back failed"):
            pack(target, files)
    assert not target.exists()
    assert (tmp_path / "acme.tar.zst.partial" / "stream").exists()


def test_a_store_under_two_names_is_one(
    box: Running, hand: Hand, holdall: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = hand.file("one.txt", b"a few words")
    first, second = (hand.store(name, [file]) for name in ("Store", "Other"))
    for store in (first, second):
        hand.assistant(store, stores=[store])
    serve(box, monkeypatch, lambda record: record.update(id=first), "vector_store")
    done = holdall("export", "-o", "b.tar.zst")
    assert done.code < 10, done.err
    assert verify("b.tar.zst").findings == []
    with open_bundle("b.tar.zst") as bundle:
        assert [record.id for record in bundle.stores()] == [first]
