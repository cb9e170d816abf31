"""State of a run, read off its lines: each line counts once, in whatever process it was written."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from holdall.errors import ImportFailed
from holdall.importer.runs.runjournal import (
    VERSION,
    Attach,
    Closed,
    Done,
    Failed,
    Intent,
    Learned,
    Line,
    Opened,
    decode,
)
from holdall.importer.runs.runstate import RunState, read_state
from holdall.model import Kind, SourceId, TargetId

F, VS, A = SourceId("f"), SourceId("vs"), SourceId("a")


def intent(op: str, action: str, kind: Kind, source: SourceId, **more: object) -> Intent:
    """As a journal of version 1 has it: one struct for all intents."""
    line = {"line": "intent", "op": op, "action": action, "kind": kind, "source": source, **more}
    found = decode(msgspec.json.encode(line))
    assert isinstance(found, Intent)
    return found


def done(op: str, target: str = "T", **more: object) -> Done:
    return msgspec.convert({"op": op, "target": target, **more}, type=Done)


def state(*lines: Line) -> RunState:
    found = RunState()
    for line in lines:
        found.take(line)
    return found


def test_what_was_created_stands_under_its_source() -> None:
    found = state(
        intent("1", "create", Kind.FILE, F, name="f.md", size=3), done("1", "F1", name="other.md"),
        intent("2", "create", Kind.STORE, VS), done("2", "V1"),
        intent("3", "create", Kind.ASSISTANT, A, without=["top_p"]), done("3", "A1"),
    )  # fmt: skip
    assert found.files == {F: "F1"}
    assert found.names == {F: "f.md"}
    assert {source: (said.name, said.size) for source, said in found.said.items()} == {F: ("other.md", None)}
    assert found.target(Kind.STORE, VS) == "V1"
    assert found.without == {A: ["top_p"]}
    assert found.open == {}


def test_an_intent_is_open_until_its_outcome_is_known() -> None:
    found = state(intent("1", "create", Kind.STORE, VS), Failed(op="1", error="x", ambiguous=True))
    assert [one.op for one in found.creations(source=VS)] == ["1"]
    assert found.creations(Kind.FILE) == []
    assert found.unknown(Attach) == []
    found.take(done("1", "V1"))
    assert found.creations() == []
    assert found.target(Kind.STORE, VS) == "V1"


def test_a_refusal_is_an_outcome_and_leaves_nothing() -> None:
    found = state(intent("1", "create", Kind.FILE, F), Failed(op="1", error="x", status=400))
    assert (found.open, found.missed, found.files) == ({}, [], {})


def test_what_was_looked_for_in_vain_is_remembered() -> None:
    one = intent("1", "create", Kind.FILE, F)
    found = state(one, Failed(op="1", error="x", ambiguous=True), Failed(op="1", error="x", looked=True))
    assert found.missed == [one]
    batch = intent("2", "attach", Kind.STORE, VS, target="V1", files=dict.fromkeys("fg", ""))
    assert state(batch, Failed(op="2", error="x", looked=True)).missed == []


def test_files_in_a_store_are_counted() -> None:
    found = state(
        intent("1", "attach", Kind.STORE, VS, target="V1", files=dict.fromkeys("abcde", "")), done("1", "B1"),
        intent("2", "attach", Kind.STORE, VS, target="V1", files=dict.fromkeys("fg", "")),
        intent("3", "detach", Kind.MEMBERSHIP, F, target="F1", store="V1"), done("3"),
    )  # fmt: skip
    assert found.attached[TargetId("V1")] == 4


def test_a_second_upload_takes_the_place_of_the_first_once_that_is_deleted() -> None:
    found = state(
        intent("1", "create", Kind.FILE, F, name="f.xml"), done("1", "F1"),
        intent("2", "copy", Kind.FILE, F, name="f.xml.txt"), done("2", "F2"),
    )  # fmt: skip
    assert (found.files, found.copies) == ({F: "F1"}, {F: "F2"})
    assert set(found.claimed(Kind.FILE)) == {"F1", "F2"}
    found.take(intent("3", "delete", Kind.FILE, F, target="F1"))
    found.take(done("3", "F1"))
    assert (found.files, found.copies, found.names) == ({F: "F2"}, {}, {F: "f.xml.txt"})


def test_updates_what_was_learned_and_the_end() -> None:
    found = state(
        intent("1", "update", Kind.STORE, VS, target="V1"), done("1"),
        intent("2", "update", Kind.MEMBERSHIP, F, target="F1", store="V1"), done("2"),
        Learned(what="batch_files", value=500), Learned(what="batch_files", value=100),
    )  # fmt: skip
    assert found.updated == {(Kind.STORE, None, VS), (Kind.MEMBERSHIP, "V1", F)}
    assert found.learned == {"batch_files": 100}
    assert not found.closed
    found.take(Closed(ended="now"))
    assert found.closed


def test_an_outcome_without_an_intent_changes_nothing() -> None:
    assert state(done("9"), Failed(op="8", error="x")).files == {}


def test_a_journal_of_a_later_version_is_not_guessed_at(tmp_path: Path) -> None:
    later = Opened(version=VERSION + 1, run="r", tool="t", started="", bundle={}, destination={}, options={})
    (tmp_path / "j").write_bytes(msgspec.json.encode(later) + b"\n")
    with pytest.raises(ImportFailed, match="newer version"):
        read_state(tmp_path / "j")


def test_an_intent_is_written_with_the_fields_of_its_action_and_read_as_it_was() -> None:
    old = [
        intent("1", "create", Kind.STORE, VS, name="n", without=["a"]),
        intent("2", "copy", Kind.FILE, F, name="n", size=3, sha256="00"),
        intent("3", "attach", Kind.STORE, VS, target="V1", first=0, count=1, files={"F1": "x"}),
        intent("4", "detach", Kind.MEMBERSHIP, F, target="F1", store="V1", before={"attributes": {}}),
        intent("5", "update", Kind.ASSISTANT, A, target="A1", before={"name": None}, after={"name": "x"}),
        intent("6", "delete", Kind.FILE, F, target="F1"),
        intent("7", "describe", Kind.ASSISTANT, A, target="p.about", sha256="00", size=1, before={"text": "t"}),
        intent("8", "write", Kind.ASSISTANT, A, target="p", sha256="00", size=1),
    ]
    assert [decode(msgspec.json.encode(one)) for one in old] == old
    assert [one.action for one in old] == [
        "create",
        "copy",
        "attach",
        "detach",
        "update",
        "delete",
        "describe",
        "write",
    ]
    assert b"null" not in b"".join(msgspec.json.encode(one) for one in old[:4])
    for damaged in (
        b'{"line":"attach","op":"1","source":"s"}',
        b'{"line":"intent","op":"1","action":"burn","kind":"file","source":"s"}',
    ):
        with pytest.raises(msgspec.DecodeError):
            decode(damaged)
