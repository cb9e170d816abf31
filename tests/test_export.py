"""Export, from the command line to the bundle, against a sandbox."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from holdall.bundle.writer import BundleWriter
from holdall.model import Record
from holdall.remote import limits
from holdall.sandbox.behaviour import CutBody, Doubled, Fail, Gone, NoQuota, RateLimit, Reset
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.oracle import entries
from tests.project import KEY, Hand


def ledger(bundle: str | Path) -> dict[str, dict[str, object]]:
    return {line["id"]: line for line in map(json.loads, entries(Path(bundle))["data/ledger.jsonl"].splitlines())}


def downloads(box: Running) -> Counter[str]:
    """How often the bytes of each file were asked for."""
    paths = (entry.path.removeprefix("/v1") for entry in box.requests())
    return Counter(path for path in paths if path.startswith("/files/") and path.endswith("/content"))


def test_the_only_line_on_stdout_is_the_bundle_which_lies_in_archives(hand: Hand, holdall: Terminal) -> None:
    hand.assistant("One")
    done = holdall("export", "-v", "--env-file", "none", "--label", "acme ltd/é")
    assert done.code == 0, done.err
    assert done.out.count("\n") == 1
    bundle = Path(done.out.strip())
    assert bundle.parent == Path("archives")
    assert bundle.name.startswith("acme-ltd-")
    assert bundle.name.endswith("Z.tar.zst")
    assert bundle.is_file()
    assert not list(Path("archives").glob("*.partial"))
    assert f"sha256 {__import__('hashlib').sha256(bundle.read_bytes()).hexdigest()}" in done.err


def test_records_are_the_servers_own_bytes_and_everything_is_there_once(
    box: Running, hand: Hand, holdall: Terminal
) -> None:
    box.behave(serve_assistants_files=True)
    both = hand.file("both.txt", b"used by both tools")
    only = hand.file("only.md", b"# only in the store")
    store = hand.store("shared", [both, only], {only: {"attributes": {"year": 2024, "ok": True}}})
    first = hand.assistant("First", stores=[store], files=[both], metadata={"a": "b"})
    hand.assistant(None, stores=[store])
    box.forget_requests()
    done = holdall("export", "-o", "b.tar.zst")
    assert done.code == 0, done.err
    found = entries(Path("b.tar.zst"))
    assert json.loads(found[f"data/assistants/{first}.json"]) == hand.get(f"/assistants/{first}")
    assert json.loads(found[f"data/vector_stores/{store}.json"]) == hand.get(f"/vector_stores/{store}")
    members = [json.loads(line) for line in found[f"data/vector_stores/{store}.files.jsonl"].splitlines()]
    assert sorted(members, key=str) == sorted(hand.everything(f"/vector_stores/{store}/files"), key=str)
    files = {line["id"]: line for line in map(json.loads, found["data/files.jsonl"].splitlines())}
    assert files == {both: hand.get(f"/files/{both}"), only: hand.get(f"/files/{only}")}
    assert found[f"data/files/{both}/both.txt"] == b"used by both tools"
    assert {line["rung"] for line in ledger("b.tar.zst").values()} == {"original"}
    assert downloads(box) == {f"/files/{both}/content": 1, f"/files/{only}/content": 1}
    assert box.writes() == 0


def test_a_refused_purpose_is_asked_for_once_and_the_text_is_taken(box: Running, hand: Hand, holdall: Terminal) -> None:
    files = [hand.file(f"{n}.txt", f"the text number {n}".encode()) for n in range(8)]
    alone = hand.file("tool.csv", b"a,b\n1,2\n")
    picture = hand.file("p.png", b"\x89PNG fake", purpose="vision")
    store = hand.store("s", files)
    hand.assistant("A", stores=[store], files=[alone, picture])
    box.forget_requests()
    done = holdall("export", "-o", "b.tar.zst", "--concurrency", "1", "--json")
    assert done.code == 4
    lines = ledger("b.tar.zst")
    assert Counter(line["rung"] for line in lines.values()) == {"text": 8, "original": 1, "unavailable": 1}
    assert lines[picture]["rung"] == "original"
    assert lines[alone]["rung"] == "unavailable"
    assert "Not allowed to download" in str(lines[alone]["message"])
    assert lines[alone]["status"] == 400
    assert sum(downloads(box).values()) == 2
    pages = json.loads(entries(Path("b.tar.zst"))[str(lines[files[3]]["path"])])
    assert pages["truncated"] is False
    assert "".join(item["text"] for page in pages["pages"] for item in page["data"]) == "the text number 3"
    assert "10 files (1 original, 8 text only, 1 missing)" in done.err
    losses = {loss["id"]: loss for loss in done.document["losses"]}
    assert losses[alone]["fidelity"] == "unavailable"
    assert done.document["result"]["fidelities"] == {
        "original": 1,
        "supplied": 0,
        "container": 0,
        "text": 8,
        "unavailable": 1,
    }


def test_a_text_that_one_store_does_not_have_is_taken_from_another(box: Running, hand: Hand, holdall: Terminal) -> None:
    file = hand.file("a.txt", b"the text")
    failing = hand.store("failing", [file])
    good = hand.store("good", [file])
    hand.assistant("A", stores=[failing])
    hand.assistant("B", stores=[good], files=[file])
    box.fault(Fail(status=404), path=f"/vector_stores/{failing}/files/{file}/content", times=99)
    done = holdall("export", "-o", "b.tar.zst", "--concurrency", "1")
    assert done.code == 0, done.err
    assert f"data/text/{good}/" in str(ledger("b.tar.zst")[file]["path"])


def test_text_alone_is_within_the_policy(hand: Hand, holdall: Terminal) -> None:
    store = hand.store("s", [hand.file("a.txt", b"some text")])
    hand.assistant("A", stores=[store])
    done = holdall("export", "-o", "b.tar.zst")
    assert done.code == 0
    assert "1 file as text only: a.txt (" in done.err
    done = holdall("export", "-o", "c.tar.zst", "-v")
    assert "1. a.txt, 9 B" in done.err
    assert "text only; used by A (" in done.err


def test_long_texts_are_read_to_their_last_page(box: Running, hand: Hand, holdall: Terminal) -> None:
    box.behave(content_page_items=1)
    text = "\n\n".join(f"Paragraph {n} says something of its own. " * 40 for n in range(30))
    file = hand.file("long.txt", text.encode())
    hand.assistant("A", stores=[hand.store("s", [file])])
    assert holdall("export", "-o", "b.tar.zst").code == 0
    stored = json.loads(entries(Path("b.tar.zst"))[str(ledger("b.tar.zst")[file]["path"])])
    assert len(stored["pages"]) > 1
    joined = "".join(item["text"] for page in stored["pages"] for item in page["data"])
    assert "".join(joined.split()) == "".join(text.split())


def test_what_is_gone_is_listed_and_the_rest_is_there(box: Running, hand: Hand, holdall: Terminal) -> None:
    box.behave(serve_assistants_files=True)
    gone, kept = hand.file("gone.txt", b"gone"), hand.file("kept.txt", b"kept")
    store, lost = hand.store("s", [kept]), hand.store("lost")
    hand.assistant("A", stores=[store], files=[gone, kept])
    hand.assistant("B", stores=[lost])
    hand.delete(f"/files/{gone}")
    hand.delete(f"/vector_stores/{lost}")
    done = holdall("export", "-o", "b.tar.zst", "--json")
    assert done.code == 4
    kinds = Counter((loss["loss"], loss["id"]) for loss in done.document["losses"])
    assert kinds == {("absent", lost): 1, ("absent", gone): 1, ("content", gone): 1}
    assert ledger("b.tar.zst")[kept]["rung"] == "original"
    assert holdall("verify", "b.tar.zst").code == 0


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        (["--name", "Sal*"], {}, {"Sales", "Sal"}),
        ([], {"CLONE_MODE": "by_name", "CLONE_NAMES": "Support,Sal"}, {"Support", "Sal"}),
        (["--all"], {"CLONE_MODE": "by_name", "CLONE_NAMES": "Sal"}, {"Sales", "Sal", "Support"}),
    ],
)
def test_selections(
    hand: Hand, holdall: Terminal, arguments: list[str], environ: dict[str, str], expected: set[str]
) -> None:
    for name in ("Sales", "Sal", "Support"):
        hand.assistant(name)
    done = holdall("export", "-o", "b.tar.zst", *arguments, **environ)
    assert done.code == 0, done.err
    found = entries(Path("b.tar.zst"))
    assert {json.loads(found[path])["name"] for path in found if path.startswith("data/assistants/")} == expected
    if environ and not arguments:
        assert "CLONE_MODE=by_name from the environment" in done.err


@pytest.mark.parametrize("arguments", [["--name", "nobody*"], ["--id", "asst_none"], []])
def test_a_selection_that_fits_nothing_is_an_error_and_makes_no_file(
    hand: Hand, holdall: Terminal, tmp_path: Path, arguments: list[str]
) -> None:
    if arguments:
        hand.assistant("Somebody")
    done = holdall("export", "-o", "b.tar.zst", *arguments)
    assert done.code == 2
    assert ("can't select" if arguments else "nothing to export") in done.err
    _one_sentence_and_a_hint(done.err)
    assert not list(tmp_path.glob("b.tar*"))


def test_switches_leave_the_knowledge_out_and_say_who_said_so(box: Running, hand: Hand, holdall: Terminal) -> None:
    box.behave(serve_assistants_files=True)
    a, b = hand.file("a.txt", b"in the store"), hand.file("b.csv", b"x,y\n")
    hand.assistant("A", stores=[hand.store("s", [a])], files=[b])
    done = holdall("export", "-o", "b.tar.zst", "--no-file-search")
    assert done.code == 0, done.err
    assert set(ledger("b.tar.zst")) == {b}
    done = holdall("export", "-o", "c.tar.zst", INCLUDE_CODE_INTERPRETER="false")
    assert set(ledger("c.tar.zst")) == {a}
    assert "INCLUDE_CODE_INTERPRETER=false from the environment" in done.err


def test_a_change_while_the_export_runs_is_reported(
    hand: Hand, holdall: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed, removed = hand.assistant("A", instructions="before"), hand.assistant("B")
    real = BundleWriter.add_record

    def add_record(self: BundleWriter, record: Record) -> None:
        real(self, record)
        if record.id == changed:
            hand.post(f"/assistants/{changed}", instructions="after")
            hand.delete(f"/assistants/{removed}")
            hand.assistant("C")

    monkeypatch.setattr(BundleWriter, "add_record", add_record)
    done = holdall("export", "-o", "b.tar.zst", "-v")
    assert done.code == 4
    assert f"changed  assistant {changed} was changed during the export" in done.err
    assert f"changed  assistant {removed} was removed during the export" in done.err
    assert "was added during the export" in done.err


def test_failures_on_the_way_are_got_over(box: Running, hand: Hand, holdall: Terminal) -> None:
    box.behave(serve_assistants_files=True)
    content = bytes(range(256)) * 4000
    file = hand.file("a.pdf", content, purpose="vision")
    hand.assistant("A", files=[file])
    box.fault(RateLimit(retry_after=0.01), path="/assistants")
    box.fault(Fail(status=502, html=True), path=f"/files/{file}")
    box.fault(CutBody(after=300_000), path=f"/files/{file}/content")
    done = holdall("export", "-o", "b.tar.zst")
    assert done.code == 0, done.err
    assert entries(Path("b.tar.zst"))[f"data/files/{file}/a.pdf"] == content


def test_what_vanishes_between_list_and_get_is_named(box: Running, hand: Hand, holdall: Terminal) -> None:
    box.behave(serve_assistants_files=True)
    kept, gone = hand.file("kept.txt", b"kept"), hand.file("gone.txt", b"gone")
    hand.assistant("A", stores=[hand.store("s", [kept, gone])])
    box.fault(Gone(), path=f"/files/{gone}")
    box.fault(Gone(), path=f"/files/{gone}/content")
    box.fault(Doubled(), path="/vector_stores/*/files")
    done = holdall("export", "-o", "b.tar.zst")
    assert done.code == 4
    assert f"gone  file {gone}" in done.err
    assert entries(Path("b.tar.zst"))[f"data/files/{kept}/kept.txt"] == b"kept"
    assert holdall("verify", "b.tar.zst").code == 0


def test_an_outage_is_sat_out(box: Running, hand: Hand, holdall: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr(limits, "_CAP", 0.01)
    hand.assistant("A", files=[hand.file(f"{n}.png", b"x", purpose="vision") for n in range(6)])
    for fault in (Fail(status=503), Reset(), Fail(status=502, html=True)):
        box.fault(fault, path="/files/*", times=20)
    done = holdall("export", "-o", "b.tar.zst")
    assert done.code == 0, done.err
    assert [line["rung"] for line in ledger("b.tar.zst").values()] == ["original"] * 6


def test_what_stops_an_export_is_one_sentence_a_hint_and_its_code(
    box: Running, hand: Hand, holdall: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hand.assistant("A")
    cases = {
        20: {"OPENAI_SRC_API_KEY": "not-a-key-at-all"},
        22: {"OPENAI_SRC_BASE_URL": "http://127.0.0.1:9/v1"},
        24: {"OPENAI_SRC_BASE_URL": box.url.removesuffix("/v1")},
    }
    monkeypatch.setattr(limits, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr(limits, "PATIENCE", 0.0)
    for code, environ in cases.items():
        done = holdall("export", "-o", "b.tar.zst", **environ)
        assert done.code == code, done.err
        _one_sentence_and_a_hint(done.err)
    box.fault(NoQuota())
    done = holdall("export", "-o", "b.tar.zst")
    assert done.code == 21
    _one_sentence_and_a_hint(done.err)
    assert not list(tmp_path.glob("b.tar*"))


def _one_sentence_and_a_hint(err: str) -> None:
    errors = [line for line in err.splitlines() if line.startswith("Error: ")]
    hints = [line for line in err.splitlines() if line.startswith("hint: ")]
    assert len(errors) == 1, err
    assert len(hints) == 1, err
    assert "Traceback" not in err


def test_without_a_key_nothing_is_asked(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    holdall = Terminal(monkeypatch, {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_API_KEY": "sk-ambient-01"})
    done = holdall("export", "--json")
    assert done.code == 20
    assert done.document["error"]["type"] == "AuthenticationFailed"
    assert box.requests() == []


def test_the_settings_file_is_found_named_and_leaves_the_process_alone(
    box: Running, hand: Hand, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hand.assistant("A")
    (tmp_path / ".env").write_text(
        f"OPENAI_SRC_API_KEY={KEY}\nOPENAI_SRC_BASE_URL={box.url}\nCLONE_MODE=by_name\nCLONE_NAMES=A\n"
    )
    deep = tmp_path / "x" / "y"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    import os

    before = dict(os.environ)
    done = Terminal(monkeypatch, {})("export")
    assert done.code == 0, done.err
    assert f"settings from {tmp_path / '.env'}" in done.err
    assert f"CLONE_MODE=by_name from {tmp_path / '.env'}" in done.err
    assert dict(os.environ) == before
    assert Terminal(monkeypatch, {})("export", "--env-file", "none").code == 20


def test_an_unchanged_project_gives_the_same_digests_and_any_change_another(
    box: Running, hand: Hand, holdall: Terminal
) -> None:
    box.behave(serve_assistants_files=True)
    file = hand.file("a.txt", b"content")
    store = hand.store("s", [file], {file: {"attributes": {"a": 1}}}, metadata={"k": "v"})
    assistant = hand.assistant("A", stores=[store], files=[file], metadata={"x": "y"}, temperature=0.5)

    def digests() -> dict[str, str]:
        done = holdall("export", "-o", "b.tar.zst", "--force", "--json", "--parent", "none")
        assert done.code == 0, done.err
        found: dict[str, str] = done.document["result"]["digests"]
        return found

    before = digests()
    assert digests() == before
    hand.get(f"/vector_stores/{store}")
    hand.post(f"/vector_stores/{store}/search", query="content")  # moves last_active_at, which is no change
    assert digests() == before
    changes = [
        (f"/assistants/{assistant}", {"name": "B"}),
        (f"/assistants/{assistant}", {"description": "d"}),
        (f"/assistants/{assistant}", {"instructions": "i"}),
        (f"/assistants/{assistant}", {"temperature": 0.6}),
        (f"/assistants/{assistant}", {"top_p": 0.9}),
        (f"/assistants/{assistant}", {"model": "gpt-4o-mini"}),
        (f"/assistants/{assistant}", {"metadata": {"x": "z"}}),
        (f"/assistants/{assistant}", {"response_format": {"type": "json_object"}}),
        (f"/assistants/{assistant}", {"tools": [{"type": "code_interpreter"}]}),
        (f"/assistants/{assistant}", {"tools": [{"type": "code_interpreter"}, {"type": "file_search"}]}),
        (
            f"/assistants/{assistant}",
            {"tool_resources": {"code_interpreter": {"file_ids": []}, "file_search": {"vector_store_ids": [store]}}},
        ),
        (f"/vector_stores/{store}", {"name": "t"}),
        (f"/vector_stores/{store}", {"metadata": {"k": "w"}}),
        (f"/vector_stores/{store}", {"expires_after": {"anchor": "last_active_at", "days": 7}}),
        (f"/vector_stores/{store}/files/{file}", {"attributes": {"a": 2}}),
    ]
    for path, change in changes:
        hand.post(path, **change)
        after = digests()
        assert after["definitions"] != before["definitions"], (path, change)
        assert after["contents"] == before["contents"], (path, change)
        before = after
    box.behave(serve_assistants_files=False)
    assert digests()["contents"] != before["contents"]
