"""mapping.json and report.md: the documented fields and sections, exactly."""

from __future__ import annotations

from holdall.dialects.loss import Loss, Why
from holdall.importer.journal.report import Party, Report, Result, Status, mapping, markdown
from holdall.model import Kind, SourceId, TargetId

LOSS = Loss(why=Why.LEFT_OUT, kind=Kind.FILE, id=SourceId("f1"), name="a.pdf", text="left out: gone")
REPORT = Report(
    run="r1",
    started="2026-11-22T21:00:00Z",
    ended="2026-11-22T21:05:00Z",
    source=Party(org_id="org_xxx", project_id="proj_xxx"),
    destination=Party(org_id="org_yyy", project_id="proj_yyy"),
    bundle={"name": "b"},
    options={"prefix": ""},
    assistants=[
        Result(source=SourceId("asst_1"), target=TargetId("asst_9"), name="Customer Support", status=Status.SUCCESS),
        Result(
            source=SourceId("asst_2"),
            target=TargetId("asst_8"),
            name=None,
            status=Status.PARTIAL,
            error=str(LOSS),
            losses=[LOSS],
        ),
        Result(source=SourceId("asst_3"), name="<b>`x`\n\u202e", status=Status.FAILED, error="Rate limit exceeded"),
        Result(source=SourceId("asst_4"), name="d", status=Status.NOT_ATTEMPTED, error="not attempted: no quota"),
    ],
    others=[],
    stores={SourceId("vs_1"): TargetId("vs_9")},
    files={SourceId("f2"): TargetId("f9")},
    requests={},
    base_url="https://a.invalid/v1",
)


def test_the_mapping_has_the_documented_fields() -> None:
    found = mapping(REPORT)
    assert found["cloned_at"] == "2026-11-22T21:05:00Z"
    assert found["source"] == {"org_id": "org_xxx", "project_id": "proj_xxx"}
    assert found["destination"] == {"org_id": "org_yyy", "project_id": "proj_yyy", "base_url": "https://a.invalid/v1"}
    assert found["mappings"][0] == {
        "srcId": "asst_1",
        "dstId": "asst_9",
        "name": "Customer Support",
        "status": "success",
        "error": None,
    }
    assert [m["status"] for m in found["mappings"]] == ["success", "partial", "failed", "not_attempted"]
    assert found["vector_stores"] == {"vs_1": "vs_9"}
    assert found["files"] == {"f2": "f9"}
    assert found["options"] == {"prefix": ""}


def test_the_report_has_the_documented_sections() -> None:
    lines = markdown(REPORT).splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "# Clone Report",
        "## Summary",
        "## Successful Clones",
        "## Failed Clones",
    ]
    assert lines[3:6] == ["- Total: 4 assistants", "- Success: 1", "- Failed: 3"]
    assert "- asst_1 → asst_9 (Customer Support)" in lines
    failed = lines[lines.index("## Failed Clones") :]
    assert failed[1] == "- asst_2 → asst_8 (no name), partial: file a.pdf (f1): left out: gone"
    assert failed[2] == "  - file a.pdf (f1): left out: gone"
    assert failed[3] == "- asst_3: Rate limit exceeded"
    assert failed[4] == "- asst_4: not attempted: no quota"


def test_a_name_can_not_become_markup() -> None:
    odd = markdown(
        Report(
            run="r",
            started="",
            ended="",
            source=Party(),
            destination=Party(),
            bundle={},
            options={},
            assistants=[
                Result(source=SourceId("a"), target=TargetId("b"), name="<b>`x`\n# y\u202e", status=Status.SUCCESS)
            ],
            others=[],
            stores={},
            files={},
            requests={},
        )
    )
    assert "- a → b (\\<b\\>\\`x\\` # y )" in odd.splitlines()


def test_many_losses_are_counted_not_listed() -> None:
    losses = [Loss(why=Why.AS_TEXT, kind=Kind.FILE, id=SourceId(f"f{n}"), text="as text") for n in range(50)]
    one = Result(source=SourceId("a"), target=TargetId("b"), status=Status.SUCCESS, losses=losses)
    report = Report(
        run="r",
        started="",
        ended="",
        source=Party(),
        destination=Party(),
        bundle={},
        options={},
        assistants=[one, one],
        others=[],
        stores={},
        files={},
        requests={},
    )
    assert "  - and 30 more, all of them in audit.jsonl" in markdown(report).splitlines()
    assert len(report.losses()) == 50
    assert report.whole
