"""A plan carried out against a sandbox: what is there afterwards, what is written down, what fails and what doesn't."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from holdall.dialects.loss import Why
from holdall.dialects.registry import definition
from holdall.dialects.rules import Request
from holdall.errors import AuthenticationFailed, CannotWrite, QuotaExhausted, Unreachable
from holdall.importer.apply import execute_plan
from holdall.importer.apply.context import SETTLE
from holdall.importer.apply.vectorstores import STALLED
from holdall.importer.runs.runreport import Status
from holdall.model import Fidelity, Kind, Record
from holdall.sandbox.behaviour import Behaviour, Fail, NoQuota, RateLimit, Reset
from holdall.sandbox.server import Running
from tests.importer.rig import KEY, Time, run
from tests.importer.shelf import Shelf
from tests.project import Hand


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def simple() -> Shelf:
    shelf = Shelf()
    shelf.file("f1", "a.md", b"# Alpha\nall about alpha\n")
    shelf.store("vs", [{"id": "f1", "attributes": {"n": 3.5, "b": True, "s": "x"}, "chunking_strategy": {
        "type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 20}}}],
        metadata={"k": "v"}, expires_after={"anchor": "last_active_at", "days": 4}, expires_at=5)  # fmt: skip
    shelf.assistant("a1", stores=["vs"], files=["f1"], temperature=0.25, instructions="Say alpha.")
    return shelf


def test_one_assistant_with_its_store_and_file_all_the_way(box: Running, hand: Hand, tmp_path: Path) -> None:
    report = run(simple(), box, tmp_path)
    assert report.whole
    assert report.losses() == []
    (made,) = hand.everything("/assistants")
    (store,) = hand.everything("/vector_stores")
    (file,) = hand.everything("/files")
    (member,) = hand.everything(f"/vector_stores/{store['id']}/files")
    assert made["tool_resources"] == {
        "file_search": {"vector_store_ids": [store["id"]]},
        "code_interpreter": {"file_ids": [file["id"]]},
    }
    assert (made["name"], made["temperature"], made["instructions"]) == ("A1", 0.25, "Say alpha.")
    assert made["metadata"]["cloned_from"] == "a1"
    assert store["metadata"]["k"] == "v"
    assert store["metadata"]["cloned_from"] == "vs"
    assert store["metadata"]["holdall_op"] != made["metadata"]["holdall_op"]
    assert store["expires_after"] == {"anchor": "last_active_at", "days": 4}
    assert file["filename"] == "a.md"
    assert member["attributes"] == {"n": 3.5, "b": True, "s": "x"}
    assert member["chunking_strategy"]["static"] == {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 20}


def test_mapping_report_journal_and_audit_are_written_and_copied(box: Running, tmp_path: Path) -> None:
    report = run(simple(), box, tmp_path)
    folder = tmp_path / "runs" / report.run
    mapping = json.loads((tmp_path / "mapping.json").read_text())
    assert mapping["mappings"][0]["dstId"] == report.assistants[0].target
    assert mapping["source"] == {"org_id": "org_src", "project_id": "proj_src"}
    assert mapping["destination"]["project_id"].startswith("proj_")
    for name in ("mapping.json", "report.md", "report.html"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    journal = lines(folder / "journal.jsonl")
    assert journal[0]["line"] == "opened"
    assert journal[0]["bundle"] == {"name": "shelf.tar.zst", "definitions": "h1:d", "contents": "h1:c"}
    assert journal[-1]["line"] == "closed"
    assert [(j["line"], j.get("kind")) for j in journal if {"op", "source"} <= j.keys()] == [
        ("create", "file"),
        ("create", "vector_store"),
        ("attach", None),
        ("create", "assistant"),
    ]
    assert [j["op"] for j in journal if {"op", "source"} <= j.keys()] == [
        j["op"] for j in journal if j["line"] == "done"
    ]
    audit = lines(folder / "audit.jsonl")
    assert [a["operation"].split("/")[0] for a in audit] == ["POST ", "POST ", "POST ", "index", "POST "]
    assert all(a["at"].endswith("Z") and a["outcome"] == "done" for a in audit)
    assert all(a["request_id"] for a in audit if a["operation"] != "index")
    assert KEY not in "".join(path.read_text() for path in folder.iterdir())


def test_what_is_shared_in_the_source_is_shared_in_the_copy(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = simple()
    shelf.store("vs2", ["f1"])
    shelf.assistant("a2", stores=["vs"], files=["f1"])
    shelf.assistant("a3", stores=["vs2"])
    assert run(shelf, box, tmp_path).whole
    assert hand.counts() == {"assistants": 3, "vector_stores": 2, "files": 1}


def test_the_next_assistant_begins_only_when_the_one_before_it_stands(box: Running, tmp_path: Path) -> None:
    shelf = simple()
    shelf.file("f2", "b.md")
    shelf.assistant("a2", files=["f2"])
    run(shelf, box, tmp_path)
    writes = [entry.path for entry in box.requests() if entry.method == "POST"]
    assert [path.rsplit("/", 1)[-1] for path in writes] == [
        "files", "vector_stores", "file_batches", "assistants", "files", "assistants",
    ]  # fmt: skip


def test_text_stands_in_for_bytes_under_a_name_that_says_so(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.text("f1", "a.md", ["exactly the file\n"], size=17)
    shelf.text("f2", "b.md", ["not the file"], size=500)
    shelf.text("f3", "c.pdf", ["one two three four ", "three four five"], size=15)
    shelf.text("f4", None, ["x"])
    shelf.store("vs", ["f1", "f2", "f3", "f4"])
    shelf.assistant("a1", stores=["vs"], files=["f1"])
    report = run(shelf, box, tmp_path)
    files = {file["filename"]: file for file in hand.everything("/files")}
    assert set(files) == {"a.md", "b.md.txt", "c.pdf.txt", "f4.txt"}
    assert files["c.pdf.txt"]["bytes"] == len("one two three four five")
    (made,) = hand.everything("/assistants")
    assert made["tool_resources"]["code_interpreter"]["file_ids"] == []
    assert report.assistants[0].status is Status.PARTIAL
    assert "code interpreter" in str(report.assistants[0].error)
    assert [loss.why for loss in report.losses()].count(Why.AS_TEXT) == 4


def test_a_file_that_is_only_text_in_a_store_leaves_the_copy_whole(box: Running, tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.text("f1", "b.pdf", ["not the file"], size=500)
    shelf.store("vs", ["f1"])
    shelf.assistant("a1", stores=["vs"])
    assert run(shelf, box, tmp_path).whole
    assert "text only (original" in (tmp_path / "report.md").read_text()


def test_a_text_of_another_size_than_its_file_is_said_though_the_bundle_says_nothing(
    box: Running, tmp_path: Path
) -> None:
    shelf = Shelf()
    shelf.text("f1", "b.md", ["not the file"], size=500)
    shelf.store("vs", ["f1"])
    shelf.assistant("a1", stores=["vs"])
    assert not run(shelf, box, tmp_path).whole
    said = "uncertain text: the joined parts have 12 bytes, the file has 500"
    assert said in (tmp_path / "report.md").read_text()


def test_overlaps_are_removed_as_far_as_the_membership_says(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = Shelf()
    words = "lorem ipsum dolor sit amet "
    shelf.text("f1", "c.pdf", ["a " + words, words + "b"], size=1)
    shelf.text("f2", "d.pdf", ["a " + words, words + "b"], size=1)
    none = {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 0}}
    shelf.store("vs", ["f1", {"id": "f2", "chunking_strategy": none}])
    shelf.assistant("a1", stores=["vs"])
    run(shelf, box, tmp_path)
    sizes = {file["filename"]: file["bytes"] for file in hand.everything("/files")}
    assert sizes == {"c.pdf.txt": len(words) + 3, "d.pdf.txt": 2 * len(words) + 3}


def test_unavailable_files_are_left_out_and_listed(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = simple()
    shelf.file("f2", "gone.pdf", fidelity=Fidelity.UNAVAILABLE, message="Not allowed")
    shelf.store("vs2", ["f1", "f2"])
    shelf.assistant("a2", stores=["vs2"])
    report = run(shelf, box, tmp_path)
    assert [result.status for result in report.assistants] == [Status.SUCCESS, Status.PARTIAL]
    text = (tmp_path / "report.md").read_text()
    assert "file gone.pdf (f2): left out: missing from the bundle (Not allowed)" in text.split("## Partial Clones")[1]
    assert len(hand.everything("/files")) == 1


def test_full_metadata_is_true_in_the_end(box: Running, hand: Hand, tmp_path: Path) -> None:
    own = {f"key{n}": "v" for n in range(16)}
    shelf = Shelf()
    shelf.store("vs", metadata=own)
    shelf.assistant("a1", stores=["vs"], metadata=own)
    report = run(shelf, box, tmp_path)
    assert report.whole
    assert hand.everything("/assistants")[0]["metadata"] == own
    assert hand.everything("/vector_stores")[0]["metadata"] == own
    assert [loss.why for loss in report.losses()] == [Why.MARKS_LEFT_OUT] * 2
    intents = [j for j in lines(tmp_path / "runs" / report.run / "journal.jsonl") if {"op", "source"} <= j.keys()]
    assert [i["line"] for i in intents] == ["create", "update", "create", "update"]


def test_purposes_that_only_the_server_gives(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.file("f1", "plot.png", b"\x89PNG", purpose="assistants_output")
    shelf.file("f2", "photo.png", b"\x89PNG", purpose="vision")
    shelf.assistant("a1", files=["f1", "f2"])
    assert run(shelf, box, tmp_path).whole
    assert {f["filename"]: f["purpose"] for f in hand.everything("/files")} == {
        "plot.png": "assistants",
        "photo.png": "vision",
    }


def test_one_failed_assistant_does_not_stop_the_others(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.assistant("a1", model="gpt-nowhere")
    shelf.assistant("a2")
    report = run(shelf, box, tmp_path, map_model=("gpt-nowhere=gpt-nowhere",))
    assert [result.status for result in report.assistants] == [Status.FAILED, Status.SUCCESS]
    assert "gpt-nowhere" in str(report.assistants[0].error)
    assert report.stopped is None
    assert len(hand.everything("/assistants")) == 1


def test_what_a_reasoning_model_refuses_is_left_out_beforehand(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.assistant("a1", model="o3", temperature=1.0, top_p=1.0, reasoning_effort="high")
    shelf.assistant("a2", model="o3", temperature=0.5)
    report = run(shelf, box, tmp_path)
    assert [result.status for result in report.assistants] == [Status.SUCCESS] * 2
    assert [(loss.why, loss.field) for loss in report.losses()] == [
        (Why.DEFAULT_LEFT_OUT, "temperature"),
        (Why.DEFAULT_LEFT_OUT, "top_p"),
        (Why.MODEL_REFUSES, "temperature"),
    ]
    assert {request.status for request in box.requests()} == {200}
    assert hand.everything("/assistants")[0]["reasoning_effort"] == "high"


def test_defaults_that_a_model_of_an_unknown_name_refuses_are_left_out(tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.assistant("a1", model="o3", temperature=1.0, top_p=1.0)
    behaviour = Behaviour(extra_models=("support-o3",))
    with Running(tmp_path / "box", behaviour=behaviour) as box:
        shelf.assistant("a2", model="support-o3", temperature=1.0, top_p=1.0)
        report = run(shelf, box, tmp_path)
    assert [result.status for result in report.assistants] == [Status.SUCCESS] * 2
    assert [(loss.why, loss.field) for loss in report.assistants[1].losses] == [
        (Why.DEFAULT_LEFT_OUT, "temperature"),
        (Why.DEFAULT_LEFT_OUT, "top_p"),
    ]


def test_the_prefix_is_part_of_the_copys_name(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = simple()
    shelf.assistant("a2", name=None)
    run(shelf, box, tmp_path, prefix="copy of ")
    assert [made["name"] for made in hand.everything("/assistants")] == ["copy of A1", None]


def test_a_quota_that_ends_stops_the_run(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = Shelf()
    for n in range(4):
        shelf.file(f"f{n}", f"{n}.md")
        shelf.assistant(f"a{n}", files=[f"f{n}"])
    box.fault(NoQuota(), "POST", "/files", skip=1, times=100)
    report = run(shelf, box, tmp_path)
    assert isinstance(report.stopped, QuotaExhausted)
    assert [result.status for result in report.assistants] == [
        Status.SUCCESS, Status.FAILED, Status.NOT_ATTEMPTED, Status.NOT_ATTEMPTED,
    ]  # fmt: skip
    assert hand.counts()["assistants"] == 1
    assert [m["status"] for m in json.loads((tmp_path / "mapping.json").read_text())["mappings"]] == [
        "success", "failed", "not_attempted", "not_attempted",
    ]  # fmt: skip


def test_a_key_that_is_not_accepted_writes_nothing(box: Running, tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.assistant("a1")
    Hand(box.url, KEY).close()
    box.revoke(KEY)
    with pytest.raises(AuthenticationFailed):
        run(shelf, box, tmp_path)


def test_a_server_that_goes_away_stops_the_run(box: Running, tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.file("f1", "a.md")
    shelf.assistant("a1", files=["f1"])
    shelf.assistant("a2")
    box.fault(Reset(), "POST", "/files")
    report = run(shelf, box, tmp_path, before_first=lambda: box.fault(Reset(), "GET", "*", times=1000))
    assert isinstance(report.stopped, Unreachable)
    assert [result.status for result in report.assistants] == [Status.FAILED, Status.NOT_ATTEMPTED]
    assert "closed" not in {line["line"] for line in lines(tmp_path / "runs" / report.run / "journal.jsonl")}


def test_a_lost_answer_is_looked_for(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = simple()
    shelf.assistant("a2")
    for path in ("/files", "/vector_stores", "/vector_stores/*/file_batches", "/assistants"):
        box.fault(Reset(executed=True), "POST", path)
    report = run(shelf, box, tmp_path)
    assert report.whole
    assert hand.counts() == {"assistants": 2, "vector_stores": 1, "files": 1}
    assert report.orphans == []
    failed = [j for j in lines(tmp_path / "runs" / report.run / "journal.jsonl") if j["line"] == "failed"]
    assert [f["ambiguous"] for f in failed] == [True] * 4


def test_what_was_not_carried_out_is_done_after_the_settle_window(box: Running, hand: Hand, tmp_path: Path) -> None:
    for path in ("/files", "/vector_stores", "/vector_stores/*/file_batches", "/assistants"):
        box.fault(Fail(status=502, html=True), "POST", path)
    moment = Time()
    report = run(simple(), box, tmp_path, moment=moment)
    assert report.whole
    assert moment.now == pytest.approx(4 * SETTLE, abs=5)
    assert hand.counts() == {"assistants": 1, "vector_stores": 1, "files": 1}
    assert report.orphans == []  # the list shows at the end that the lost one isn't there


def test_rate_limits_are_waited_out(box: Running, hand: Hand, tmp_path: Path) -> None:
    for path in ("/files", "/vector_stores", "/vector_stores/*/file_batches", "/assistants"):
        box.fault(RateLimit(retry_after=20), "POST", path, times=2)
    assert run(simple(), box, tmp_path).whole
    assert hand.counts() == {"assistants": 1, "vector_stores": 1, "files": 1}


def test_a_store_that_is_refused_fails_all_that_need_it(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.store("vs")
    box.fault(Fail(), "POST", "/vector_stores", times=20)
    shelf.assistant("a1", stores=["vs"])
    shelf.assistant("a2", stores=["vs"])
    shelf.assistant("a3")
    report = run(shelf, box, tmp_path)
    assert [result.status for result in report.assistants] == [Status.FAILED, Status.FAILED, Status.SUCCESS]
    assert "vector store vs" in str(report.assistants[1].error)
    assert len(hand.everything("/vector_stores")) == 0


def test_files_of_a_refused_type_are_reported_and_the_rest_attached(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = Shelf()
    for n in range(6):
        shelf.file(f"f{n}", f"{n}.md")
    shelf.file("pic", "pic.png", b"\x89PNG")
    shelf.store("vs", ["f0", "f1", "pic", "f2", "f3", "f4", "f5"])
    shelf.assistant("a1", stores=["vs"])
    report = run(shelf, box, tmp_path)
    assert report.assistants[0].status is Status.PARTIAL
    assert [(loss.why, loss.name) for loss in report.losses() if loss.why.weighs] == [(Why.REFUSED, "pic.png")]
    store = hand.everything("/vector_stores")[0]
    assert store["file_counts"]["completed"] == 6


@pytest.mark.parametrize(("delay", "status"), [(200.0, Status.SUCCESS), (10_000.0, Status.PARTIAL)])
def test_indexing_is_waited_for_until_nothing_moves(tmp_path: Path, delay: float, status: Status) -> None:
    moment = Time()
    with Running(tmp_path / "box", clock=lambda: 1_800_000_000 + moment.now) as box:
        box.behave(index_delay=delay)
        report = run(simple(), box, tmp_path / "out", moment=moment)
    assert report.assistants[0].status is status
    assert moment.now == pytest.approx(min(delay, STALLED), abs=20)
    if status is Status.PARTIAL:
        assert "indexing timed out" in str(report.assistants[0].error)


def test_a_file_that_can_not_be_indexed_makes_the_copy_partial_unless_it_could_not_before(
    box: Running, tmp_path: Path
) -> None:
    box.behave(index_failures=("bad*",))
    shelf = Shelf()
    shelf.file("f1", "bad1.md")
    shelf.file("f2", "bad2.md")
    shelf.store("v1", ["f1"])
    shelf.store("v2", [{"id": "f2", "status": "failed", "last_error": {"code": "server_error", "message": "x"}}])
    shelf.assistant("a1", stores=["v1"])
    shelf.assistant("a2", stores=["v2"])
    report = run(shelf, box, tmp_path)
    assert [result.status for result in report.assistants] == [Status.PARTIAL, Status.SUCCESS]
    assert [loss.why for loss in report.losses() if loss.id in ("f1", "f2")] == [Why.NOT_INDEXED, Why.FAILED_AS_BEFORE]


def test_files_that_nothing_refers_to_are_uploaded_too(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = simple()
    for n in range(5):
        shelf.file(f"lone{n}", f"lone{n}.md")
    report = run(shelf, box, tmp_path)
    assert report.whole
    assert [(result.source, result.target) for result in report.of(Kind.STORE, Kind.FILE)] == [("files", None)]
    assert len([f for f in hand.everything("/files") if f["filename"].startswith("lone")]) == 5
    assert {f"lone{n}" for n in range(5)} <= set(report.files)


def test_stores_that_no_assistant_uses_are_made_too(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = simple()
    shelf.file("f2", "b.md")
    shelf.store("lone", ["f2"])
    report = run(shelf, box, tmp_path)
    assert report.whole
    assert [result.source for result in report.of(Kind.STORE, Kind.FILE)] == ["lone"]
    assert len(hand.everything("/vector_stores")) == 2


def test_uploads_run_side_by_side_up_to_the_limit(box: Running, tmp_path: Path) -> None:
    shelf = Shelf()
    names = [f"f{n}" for n in range(30)]
    for name in names:
        shelf.file(name, f"{name}.md", name.encode())
    shelf.store("vs", list(names))
    shelf.assistant("a1", stores=["vs"])
    report = run(shelf, box, tmp_path, concurrency=8)
    assert report.whole
    journal = (tmp_path / "runs" / report.run / "journal.jsonl").read_text()
    assert journal.count('"source"') == 33
    assert report.requests["POST /files"] == 30
    assert report.requests["POST /vector_stores/*/file_batches"] == 1


def test_an_interrupted_run_leaves_mapping_report_and_an_open_journal(box: Running, hand: Hand, tmp_path: Path) -> None:
    shelf = simple()
    shelf.assistant("a2")
    shelf.assistant("a3")
    with pytest.raises(asyncio.CancelledError):
        run(shelf, box, tmp_path, interrupt_at=5)
    rows = json.loads((tmp_path / "mapping.json").read_text())["mappings"]
    assert [row["status"] for row in rows] == ["success", "not_attempted", "not_attempted"]
    (journal,) = tmp_path.glob("runs/*/journal.jsonl")
    assert "closed" not in {line["line"] for line in lines(journal)}
    assert "not finished" in (tmp_path / "report.md").read_text()


def test_an_output_folder_that_can_not_be_written_is_found_out_first(box: Running, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(CannotWrite):
        run(simple(), box, tmp_path / "out")
    assert box.writes() == 0


def test_a_request_is_made_three_times_at_most(box: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile definition may take a second each time: before it is sent, as it is sent, and to compare it."""
    made: Counter[str] = Counter()

    def counted(record: Record, **arguments: Any) -> Request:
        made[record.id] += 1
        return definition(record, **arguments)

    monkeypatch.setattr(execute_plan, "definition", counted)
    shelf = Shelf()
    for number in range(3):
        shelf.assistant(f"a{number}")
    run(shelf, box, tmp_path)
    assert set(made.values()) == {3}, made
