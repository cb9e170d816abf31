"""report.html: what became of each, from which id to which, and what was there before."""

from __future__ import annotations

from pathlib import Path

import msgspec

from holdall.bundle.reader import open_bundle
from holdall.dialects.loss import Loss, Why
from holdall.importer.plan.difference import Difference
from holdall.importer.runs.runreport import Orphan, run_page
from holdall.model import Kind, SourceId, TargetId
from tests.bundle.packing import File, pack
from tests.importer.runs.test_runreport import LOSS, REPORT
from tests.pages.reading import Reading


def read(report: object = REPORT, *changes: Difference, **more: object) -> Reading:
    return Reading("".join(run_page(msgspec.structs.replace(REPORT, **more), changes)))


def test_the_verdict_comes_first_and_what_failed_before_what_did_not() -> None:
    text = read(complete=False, verdict="INCOMPLETE: 2 assistants missing").text
    assert "Import of b INCOMPLETE: 2 assistants missing 1 copied1 partial1 failed1 not attempted" in text
    assert text.index("Rate limit exceeded") < text.index("Customer Support")
    assert "Customer Support asst_1→ asst_9copied" in text
    assert "left out: gone" in text
    assert "<b>`x`" in text
    assert "\\u202e" in text


def test_with_the_bundle_each_assistant_and_store_of_the_run_has_a_card(tmp_path: Path) -> None:
    assistants = {
        "asst_1": {"name": "Support", "model": "gpt-5-mini", "instructions": "<be kind>"},
        "asst_2": {"name": "Sales", "tool_resources": {"file_search": {"vector_store_ids": ["vs_1", "vs_2"]}}},
        "asst_5": {"name": "Not chosen"},
    }
    path = tmp_path / "b.tar.zst"
    files = [File(id="f1", filename="a.pdf"), File(id="f2")]
    pack(path, files, assistants=assistants, stores={"vs_1": {"name": "Papers"}, "vs_2": {"name": "Left"}})
    with open_bundle(path) as bundle:
        read = Reading("".join(run_page(REPORT, [], bundle)))
    text = read.text
    assert "Incomplete: 3 of 4 results" in text
    assert text.index("left out: gone") < text.index("Support asst_1 → asst_9 copied Modelgpt-5-mini")
    assert "<be kind>" in text
    assert "Sales asst_2 → asst_8 partial" in text
    assert "Not chosen" not in text
    assert "Knowledge: 1 vector store Papers vs_1 → vs_9" in text
    assert "a.pdf f1original" in text
    assert "SearchesPapersLeft" in text
    assert read.links == {"#s0"}


def test_losses_that_share_a_reason_are_one_line() -> None:
    own = Loss(why=Why.UNFIT_VALUE, kind=Kind.ASSISTANT, id=SourceId("asst_2"), name="n", field="top_p", text="no")
    more = [msgspec.structs.replace(LOSS, name=name) for name in ("b<.pdf", "c.pdf")]
    results = [msgspec.structs.replace(REPORT.assistants[1], losses=[own, LOSS, *more])]
    assert "left out: gone: a.pdf, b<.pdf, c.pdftop_p: no" in read(by_kind={Kind.ASSISTANT: results}).text


def test_each_old_id_leads_to_its_new_one() -> None:
    text = read().text
    assert "Assistants 2 asst_1→ asst_9 asst_2→ asst_8" in text
    assert "Vector stores 1 vs_1→ vs_9" in text
    assert "Files 1 f2→ f9" in text


def test_what_was_replaced_is_there_before_and_after() -> None:
    one = Difference(
        kind=Kind.ASSISTANT,
        source=SourceId("asst_1"),
        name="Help",
        field="instructions",
        bundle="<new>",
        destination="old",
    )
    text = read(REPORT, one).text
    assert (
        "Changed at the destination: 1 value Help assistant asst_1 Fieldinstructions BeforeoldAfter<new>"
        in text.replace("instructionsBefore", "instructions Before")
    )


def test_a_run_that_was_cut_off_is_not_called_complete() -> None:
    assert "NOT FINISHED" in read().text
    assert "holdall remap" not in read(by_kind={}, stores={}, files={}).text


def test_many_rows_end_in_a_count() -> None:
    files = {SourceId(f"f{number}"): TargetId(f"g{number}") for number in range(2001)}
    lost = Orphan(kind=Kind.FILE, id=None, source=None, name="a\u202eb")
    text = read(files=files, orphans=[lost]).text
    assert "… and 1 more in mapping.json" in text
    assert "Possible orphans: 1 Nothing uses them. file a\\u202eb not found yet" in text
