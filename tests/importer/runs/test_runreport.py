"""mapping.json and report.md: the documented fields and sections, exactly."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from holdall.dialects.loss import Loss, Why
from holdall.importer.runs.runreport import Party, Report, ReportDestination, Result, Status, mapping, markdown
from holdall.model import Kind, SourceId, TargetId

LOSS = Loss(why=Why.LEFT_OUT, kind=Kind.FILE, id=SourceId("f1"), name="a.pdf", text="left out: gone")
REPORT = Report(
    run="r1",
    started="2026-11-22T21:00:00Z",
    ended="2026-11-22T21:05:00Z",
    source=Party(org_id="org_xxx", project_id="proj_xxx"),
    destination=ReportDestination(org_id="org_yyy", project_id="proj_yyy", base_url="https://a.invalid/v1"),
    bundle={"name": "b"},
    options={"prefix": ""},
    by_kind={
        Kind.ASSISTANT: [
            Result(
                source=SourceId("asst_1"), target=TargetId("asst_9"), name="Customer Support", status=Status.SUCCESS
            ),
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
        ]
    },
    stores={SourceId("vs_1"): TargetId("vs_9")},
    files={SourceId("f2"): TargetId("f9")},
    requests={},
)


def test_the_mapping_has_the_documented_fields() -> None:
    found = msgspec.to_builtins(mapping(REPORT))
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


def of(name: str, error: str | None = None) -> Report:
    """A report of one assistant, whose id in the source is its name too."""
    status = Status.PARTIAL if error else Status.SUCCESS
    one = Result(source=SourceId(name), target=TargetId("b"), name=name, status=status, error=error)
    parties = {"source": Party(), "destination": ReportDestination()}
    lists: dict[str, Any] = {"by_kind": {Kind.ASSISTANT: [one]}, "stores": {}, "files": {}, "requests": {}}
    return Report(run="r", started="", ended="", bundle={}, options={}, **parties, **lists)


def shown(text: str) -> tuple[set[str], str]:
    """The tokens of which a viewer that knows all of GitHub's Markdown makes a page, and the words of its last line."""
    viewer = MarkdownIt("gfm-like", {"linkify": True, "html": True})
    inlines = [token for token in viewer.parse(text) if token.type == "inline"]
    parts = [part for token in inlines for part in token.children or ()]
    types = {token.type for token in viewer.parse(text)} | {part.type for part in parts}
    return types, "".join(part.content for part in inlines[-1].children or ())


PLAIN = {"heading_open", "heading_close", "bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"}
PLAIN |= {"paragraph_open", "paragraph_close", "inline", "text", "code_inline"}

NASTY = [
    "<b>`x`\n# y\u202e", "_x_", "a _x_ b", "~~x~~", "**x**", "@name", "see #1", "www.example.com", "https://x.example/",
    "a@b.example", "mailto:a@b.example", "&lt;b&gt;", "&amp; co", "R&D", "[x](y)", "![x](y)", "<!-- x", "a|b", "|a|b|",
    "1. x", "1) x", "- x", "+ x", "# x", "===", "---", "> x", "```x", "``", "`", " ` ", "   ", "\\", "a\\", "x\\*",
    ":smile:", "$x$", "[ ] x", "http://", "report.md", "::1", "x.", "\t x", "ftp://a.example", "http:\u00a0//x", "*",
    "_", "__init__", "a.pdf", "x.com", "a.com.pdf", "www.pdf", "a.Org", "1.2.3.4", "x.de", "a.b.c", "a.html/x",
]  # fmt: skip


@pytest.mark.parametrize("name", NASTY)
def test_a_name_can_not_become_markup(name: str) -> None:
    said = " ".join("".join(char if char.isprintable() else " " for char in name).split())
    types, line = shown(markdown(of(name, error=name)))
    assert types <= PLAIN
    assert line.split() == f"{said} → b ({said}), partial: {said}".split()


SIGNS = sorted({char for name in NASTY for char in name if char.isprintable()} | set("wexampl.@:/ "))


@given(st.lists(st.one_of(st.sampled_from(NASTY), st.text(st.sampled_from(SIGNS)), st.text()), max_size=4).map("".join))
def test_nor_can_any_other(name: str) -> None:
    types, _ = shown(markdown(of(name, error=f"no: {name}")))
    assert types <= PLAIN


@pytest.mark.parametrize("name", ["asst_abc", "Support Bot (new), v2", "vector store x: it's gone; look", "Größe 10 %"])
def test_what_can_mean_nothing_stays_as_it_is(name: str) -> None:
    assert f"- {name} → b ({name})" in markdown(of(name)).splitlines()


def test_many_losses_are_counted_not_listed() -> None:
    losses = [Loss(why=Why.AS_TEXT, kind=Kind.FILE, id=SourceId(f"f{n}"), text="as text") for n in range(50)]
    one = Result(source=SourceId("a"), target=TargetId("b"), status=Status.SUCCESS, losses=losses)
    report = Report(
        run="r",
        started="",
        ended="",
        source=Party(),
        destination=ReportDestination(),
        bundle={},
        options={},
        by_kind={Kind.ASSISTANT: [one, one]},
        stores={},
        files={},
        requests={},
    )
    assert "  - and 30 more, all of them in audit.jsonl" in markdown(report).splitlines()
    assert len(report.losses()) == 50
    assert report.whole
