"""``holdall export --dry-run``: what would be exported, what is certain to be lost, and that nothing is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdall.sandbox.behaviour import Fail
from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.project import Hand

SOURCE = "sk-source-0001"


@pytest.fixture
def holdall(box: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    box.behave(serve_assistants_files=True)
    return Terminal(monkeypatch, {"OPENAI_SRC_API_KEY": SOURCE, "OPENAI_SRC_BASE_URL": box.url})


def dry(holdall: Terminal, box: Running, *more: str) -> Done:
    """A dry run, which neither writes to the server nor leaves a file."""
    before = sorted(Path().rglob("*"))
    box.forget_requests()
    done = holdall("export", "--dry-run", "--env-file", "none", *more)
    assert box.writes() == 0
    assert sorted(Path().rglob("*")) == before
    return done


def test_it_counts_what_the_export_then_takes(holdall: Terminal, box: Running) -> None:
    with Hand(box.url, SOURCE) as hand:
        store = hand.store("books", [hand.file("a.txt", b"a text"), hand.file("b.txt", b"b")])
        hand.assistant("Reader", stores=[store], files=[hand.file("c.csv", b"1,2\n")])
        hand.assistant("Other", stores=[hand.store("more", [hand.file("d.txt", b"dd")])])
        hand.file("unused.txt", b"of nobody")
    done = dry(holdall, box)
    assert done.code == 0, done.err
    assert done.out.splitlines() == [
        "Would export 2 assistants, 2 vector stores, 3 memberships, 4 files, 13 B",
        "COMPLETE (as far as the lists say)",
        "DRY RUN: nothing written",
    ]
    document = dry(holdall, box, "--json").document
    assert document["result"]["dry_run"] is True
    counts = document["result"]["counts"]
    exported = holdall("export", "-o", "b.tar.zst", "--env-file", "none", "--json").document["result"]["counts"]
    for kind in ("assistants", "vector_stores", "memberships", "files"):
        assert counts[kind] == exported[kind], kind
    assert (counts["agents"], counts["bytes"]) == (0, 13)
    one = dry(holdall, box, "--only", "Other", "--json").document["result"]["counts"]
    assert (one["assistants"], one["vector_stores"], one["files"], one["bytes"]) == (1, 1, 1, 2)
    unused = dry(holdall, box, "--unused", "--json").document["result"]["counts"]
    assert (unused["files"], unused["bytes"]) == (5, 22)


def test_files_that_the_server_refuses(holdall: Terminal, box: Running) -> None:
    box.behave(serve_assistants_files=False)
    with Hand(box.url, SOURCE) as hand:
        hand.assistant("Reader", stores=[hand.store("books", [hand.file("a.txt", b"a text")])])
    done = dry(holdall, box)
    assert "No originals of purpose assistants: 1 file, 6 B (" in done.err
    (one,) = dry(holdall, box, "--json").document["result"]["downloads"]
    assert (one["purpose"], one["files"], one["bytes"], one["answer"]) == ("assistants", 1, 6, "denied")


def test_losses_that_are_certain(holdall: Terminal, box: Running) -> None:
    with Hand(box.url, SOURCE) as hand:
        file, store = hand.file("c.csv", b"1,2\n"), hand.store("books", [hand.file("a.txt", b"a text")])
        hand.assistant("Reader", stores=[store], files=[file])
        hand.delete(f"/vector_stores/{store}")
        hand.delete(f"/files/{file}")
    done = dry(holdall, box)
    assert done.code == 4
    assert f"gone  vector_store {store}, used by asst_" in done.out
    assert f"gone  file {file}, used by asst_" in done.out
    assert "INCOMPLETE: 1 file missing, 1 vector store missing" in done.out
    found = dry(holdall, box, "--json").document
    exported = holdall("export", "-o", "b.tar.zst", "--env-file", "none", "--json").document
    assert found["result"]["verdict"]["missing"].items() <= exported["result"]["verdict"]["missing"].items()
    assert (found["exit_code"], found["result"]["complete"]) == (4, False)
    assert {loss["id"] for loss in found["losses"]} == {store, file}
    left = dry(holdall, box, "--no-file-search", "--no-code-interpreter")
    assert left.code == 0
    assert f"left out  vector_store {store}" in left.out


def test_a_list_that_the_server_refuses_is_no_proof(holdall: Terminal, box: Running) -> None:
    with Hand(box.url, SOURCE) as hand:
        hand.assistant("Reader", stores=[hand.store("books", [hand.file("a.txt", b"a text")])])
    box.fault(Fail(status=400), "GET", "/files", times=100)
    done = dry(holdall, box)
    assert done.code == 3
    assert "files and bytes not counted" in done.out
    assert "Not counted: /files (" in done.err
    assert "gone" not in done.out


def test_a_store_that_only_the_dump_has(holdall: Terminal, box: Running) -> None:
    with Hand(box.url, SOURCE) as hand:
        file = hand.file("a.txt", b"a text")
    knowledge = {"file_search": {"vector_store_ids": ["vs_gone"]}}
    dump = [
        {"id": "asst_1", "object": "assistant", "name": "A", "model": "gpt-4o", "tool_resources": knowledge},
        {"id": "vs_gone", "object": "vector_store", "name": "V", "file_counts": {"total": 1}},
        {"id": file, "object": "vector_store.file", "vector_store_id": "vs_gone", "status": "completed"},
    ]
    Path("dump.json").write_text(json.dumps(dump))
    counts = dry(holdall, box, "--from-dump", "dump.json", "--json").document["result"]["counts"]
    exported = holdall("export", "-o", "b.tar.zst", "--from-dump", "dump.json", "--env-file", "none", "--json")
    there = exported.document["result"]["counts"]
    for kind in ("assistants", "vector_stores", "memberships", "files"):
        assert counts[kind] == there[kind], kind
    assert counts["bytes"] == 6


def test_a_dump_without_a_key(holdall: Terminal, box: Running) -> None:
    dump = [{"id": "asst_1", "object": "assistant", "name": "A", "model": "gpt-4o", "instructions": "x", "tools": []}]
    Path("dump.json").write_text(json.dumps(dump))
    done = holdall("export", "--dry-run", "--from-dump", "dump.json", "--env-file", "none", OPENAI_SRC_API_KEY="")
    assert (done.code, done.out.splitlines()[0]) == (
        0,
        "Would export 1 assistant, 0 vector stores, 0 memberships, 0 files, 0 B",
    )
    assert sorted(path.name for path in Path().iterdir()) == ["dump.json"]


def test_an_empty_project_and_a_selection_that_fits_nothing(holdall: Terminal, box: Running) -> None:
    assert dry(holdall, box).code == 2
    assert dry(holdall, box, "--only", "nobody").code == 2
