"""What earlier runs left behind: read in order, of this destination only, and never a reason to fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdall.errors import UsageFault
from holdall.importer.destination.destination import DROPS_METADATA, History, history
from holdall.importer.runs.runjournal import Done, Intent, Learned, Line, Opened, Shown
from holdall.model import Kind, SourceId, TargetId
from tests.importer.runs.test_runstate import intent as one_intent

URL = "http://server.invalid/v1"


def opened(*, project: str | None = "proj_1", url: str = URL, prefix: str = "") -> Opened:
    return Opened(
        run="r",
        tool="t",
        started="",
        bundle={},
        destination={"base_url": url, "organization": None, "project": project},
        options={"prefix": prefix},
    )


def intent(op: str, kind: Kind, source: str, **more: Any) -> Intent:
    return one_intent(op, more.pop("action", "create"), kind, SourceId(source), **more)


def done(op: str, target: str, **more: Any) -> Done:
    return Done(op=op, target=TargetId(target), **more)


def run(out: Path, name: str, *lines: Line, torn: bytes = b"") -> None:
    folder = out / "runs" / name
    folder.mkdir(parents=True)
    (folder / "journal.jsonl").write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines) + torn)


def read(out: Path, *, prefix: str = "", project: str | None = "proj_1", mapping: Path | None = None) -> History:
    here = {"base_url": URL, "organization": None, "project": project}
    return history(out, destination=here, prefix=prefix, mapping=mapping)


def test_nothing_there_is_nothing_known(tmp_path: Path) -> None:
    assert not read(tmp_path)


def test_the_newest_copy_is_last_and_what_was_left_is_known(tmp_path: Path) -> None:
    run(
        tmp_path,
        "1",
        opened(),
        intent("a", Kind.FILE, "f", sha256="aa"),
        done("a", "t1"),
        intent("b", Kind.STORE, "s"),
        done("b", "u1", image={"name": "x"}),
        intent("c", Kind.STORE, "s", action="attach", target=TargetId("u1"), files={TargetId("t1"): "fp"}),
        done("c", "batch"),
        intent("lost", Kind.ASSISTANT, "a"),
    )
    run(
        tmp_path,
        "2",
        opened(),
        intent("d", Kind.FILE, "f", sha256="bb"),
        done("d", "t2"),
        intent("e", Kind.MEMBERSHIP, "f", action="update", target=TargetId("t1"), store=TargetId("u1"), before={}),
        done("e", "t1", image={"attributes": "new"}),
        intent("g", Kind.STORE, "s", action="update", target=TargetId("u1"), before={}),
        done("g", "u1", image={"name": "y"}),
        torn=b'{"line":"inte',
    )
    found = read(tmp_path)
    assert found.made[Kind.FILE] == {"f": ["t1", "t2"]}
    assert found.hashes == {"t1": "aa", "t2": "bb"}
    assert found.made[Kind.STORE] == {"s": ["u1"]}
    assert found.fingerprints == {"u1": {"name": "y"}}
    assert found.attached == {"u1": {"t1": "new"}}
    assert found.made[Kind.ASSISTANT] == {}
    assert found.notes == []


def test_other_destinations_and_other_prefixes_do_not_count(tmp_path: Path) -> None:
    made = [intent("a", Kind.ASSISTANT, "a"), intent("b", Kind.STORE, "s"), done("a", "x"), done("b", "y")]
    run(tmp_path, "1", opened(project="proj_2"), *made)
    run(tmp_path, "2", opened(project=None, url="http://other.invalid/v1"), *made)
    assert not read(tmp_path)
    run(tmp_path, "3", opened(prefix="p "), *made)
    assert (read(tmp_path).made[Kind.ASSISTANT], read(tmp_path).made[Kind.STORE]) == ({}, {"s": ["y"]})
    assert read(tmp_path, prefix="p ").made[Kind.ASSISTANT] == {"a": ["x"]}
    # One project by two names of its server is one destination; without project ids, the server's name decides.
    run(tmp_path, "4", opened(url="http://other.invalid/v1"), intent("c", Kind.STORE, "s2"), done("c", "z"))
    assert read(tmp_path).made[Kind.STORE] == {"s": ["y"], "s2": ["z"]}
    assert read(tmp_path, project=None).made[Kind.STORE] == {"s": ["y"]}


def test_a_damaged_journal_is_told_of_and_passed_over(tmp_path: Path) -> None:
    run(tmp_path, "1", opened(), torn=b"what?\n" + msgspec.json.encode(done("a", "x")) + b"\n")
    run(tmp_path, "2", opened(), intent("b", Kind.STORE, "s"), done("b", "y"))
    found = read(tmp_path)
    assert found.made[Kind.STORE] == {"s": ["y"]}
    assert len(found.notes) == 1
    assert "line 2 is damaged" in found.notes[0]


def test_that_a_server_drops_metadata_is_said_before_the_next_import(tmp_path: Path) -> None:
    run(tmp_path, "1", opened(), Learned(what="marks", value=0), Learned(what="batch_files", value=0))
    run(tmp_path, "2", opened(), Learned(what="marks", value=0))
    run(tmp_path, "3", opened(project="proj_2"), Learned(what="marks", value=0))
    assert read(tmp_path).notes == [DROPS_METADATA]
    assert read(tmp_path, project="proj_3").notes == []


def test_what_a_server_did_not_keep_is_known_to_the_next_import(tmp_path: Path) -> None:
    store = Shown(
        kind=Kind.STORE, source=SourceId("s"), target=TargetId("S"), image={"name": "1"}, unkept=["expires_after"]
    )
    labels = Shown(kind=Kind.STORE, source=SourceId("s"), target=TargetId("S"), files={TargetId("F"): "2"})
    keys = Shown(kind=Kind.ASSISTANT, source=SourceId("a"), target=TargetId("A"), image={}, added=["_node"])
    run(tmp_path, "1", opened(), store, labels, keys)
    found = read(tmp_path)
    assert (found.unkept[TargetId("S")], found.fingerprints[TargetId("S")]) == ({"expires_after"}, {"name": "1"})
    assert (found.unkept_files, found.attached) == ({"S": {"F"}}, {"S": {"F": "2"}})
    assert found.added == {"_node"}
    (said,) = found.dropped()
    assert "(vector store: expires_after, attributes)" in said
    found.try_again()
    assert not found.unkept
    assert read(tmp_path, project="proj_2").dropped() == []


def mapping(path: Path, **more: Any) -> Path:
    document = {
        "destination": {"project_id": "proj_1"},
        "mappings": [{"srcId": "a", "dstId": "x"}, {"srcId": "b", "dstId": None}],
        "vector_stores": {"s": "y"},
        "files": {"f": "z"},
        "options": {"prefix": "p "},
        "run": "elsewhere",
        **more,
    }
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps(document))
    return path


def test_a_mapping_stands_in_for_runs_whose_folders_are_not_here(tmp_path: Path) -> None:
    mapping(tmp_path / "mapping.json")
    found = read(tmp_path, prefix="p ")
    made = {kind: its for kind, its in found.made.items() if its}
    assert made == {Kind.ASSISTANT: {"a": ["x"]}, Kind.STORE: {"s": ["y"]}, Kind.FILE: {"f": ["z"]}}
    assert read(tmp_path).made[Kind.ASSISTANT] == {}
    assert not read(tmp_path, project="proj_2")


def test_a_mapping_that_is_asked_for_counts_last_and_whatever_its_prefix(tmp_path: Path) -> None:
    run(tmp_path, "1", opened(), intent("a", Kind.ASSISTANT, "a"), done("a", "w"))
    asked = mapping(tmp_path / "there" / "mapping.json")
    assert read(tmp_path, mapping=asked).made[Kind.ASSISTANT] == {"a": ["w", "x"]}
    with pytest.raises(UsageFault, match="proj_1"):
        read(tmp_path, project="proj_2", mapping=asked)
    with pytest.raises(UsageFault, match="not a mapping"):
        read(tmp_path, mapping=tmp_path / "absent")
