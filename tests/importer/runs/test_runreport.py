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
    tool="holdall 9.9",
    source_url="https://b.invalid/v1",
    label="blue",
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


def test_the_report_has_the_sections_of_the_guide_and_one_for_what_is_partial() -> None:
    assert section(markdown(REPORT)) == {
        "# Clone Report": [
            "- Verdict: NOT FINISHED",
            "- When: `2026-11-22T21:00:00Z` to `2026-11-22T21:05:00Z`",
            "- Bundle: b",
            "- Source: `https://b.invalid/v1`, org_xxx, proj_xxx, blue",
            "- Destination: `https://a.invalid/v1`, org_yyy, proj_yyy",
            "- Run: r1, holdall 9.9",
        ],
        "## Summary": ["- Total: 4 assistants", "- Success: 1", "- Partial: 1", "- Failed: 2"],
        "## Successful Clones": ["- asst_1 → asst_9 (Customer Support)"],
        "## Partial Clones": ["- asst_2 → asst_8 (no name)", "  - file a.pdf (f1): left out: gone"],
        "## Failed Clones": ["- asst_3: Rate limit exceeded", "- asst_4: not attempted: no quota"],
    }


def test_what_is_whole_has_no_section_for_what_is_partial_and_none_that_failed() -> None:
    found = section(markdown(of("asst_1")))
    assert "## Partial Clones" not in found
    assert found["## Successful Clones"] == ["- asst_1 → b (asst_1)"]
    assert found["## Failed Clones"] == ["None"]
    assert found["## Summary"] == ["- Total: 1 assistant", "- Success: 1", "- Partial: 0", "- Failed: 0"]


def test_stores_that_no_assistant_uses_are_counted_where_they_are_listed() -> None:
    store = Result(source=SourceId("vs_1"), status=Status.FAILED, error="no", name="Old")
    found = section(markdown(msgspec.structs.replace(of("a"), by_kind={**of("a").by_kind, Kind.STORE: [store]})))
    assert found["## Summary"] == [
        "- Total: 1 assistant, 1 vector store",
        "- Success: 1",
        "- Partial: 0",
        "- Failed: 1",
    ]
    assert found["## Failed Clones"] == ["- vs_1: no"]


def section(text: str) -> dict[str, list[str]]:
    """The lines below each heading."""
    found: dict[str, list[str]] = {}
    for line in filter(None, text.splitlines()):
        if line.startswith("#"):
            lines = found.setdefault(line, [])
        else:
            lines.append(line)
    return found


def of(name: str, error: str | None = None) -> Report:
    """A report of one assistant, whose id in the source is its name too."""
    status = Status.PARTIAL if error else Status.SUCCESS
    one = Result(source=SourceId(name), target=TargetId("b"), name=name, status=status, error=error)
    parties = {"source": Party(), "destination": ReportDestination()}
    lists: dict[str, Any] = {"by_kind": {Kind.ASSISTANT: [one]}, "stores": {}, "files": {}, "requests": {}}
    return Report(run="r", started="", ended="", bundle={}, options={}, **parties, **lists)


def shown(text: str) -> tuple[set[str], list[str]]:
    """The tokens of which a viewer that knows all of GitHub's Markdown makes a page, and the words of its lines."""
    viewer = MarkdownIt("gfm-like", {"linkify": True, "html": True})
    inlines = [token for token in viewer.parse(text) if token.type == "inline"]
    parts = [part for token in inlines for part in token.children or ()]
    types = {token.type for token in viewer.parse(text)} | {part.type for part in parts}
    return types, ["".join(part.content for part in inline.children or ()) for inline in inlines]


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
    types, lines = shown(markdown(of(name, error=name)))
    assert types <= PLAIN
    assert [line.split() for line in lines[-4:-2]] == [f"{said} → b ({said})".split(), said.split() or ["partial"]]


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
    report = msgspec.structs.replace(REPORT, by_kind={Kind.ASSISTANT: [one, one]})
    assert "  - and 30 more; all are in audit.jsonl" in markdown(report).splitlines()
    assert len(report.losses()) == 50
    assert report.whole


@pytest.mark.thorough
def test_thousands_are_folded_and_counted_so_that_a_code_host_shows_the_report() -> None:
    losses = [Loss(why=Why.LEFT_OUT, kind=Kind.FILE, id=SourceId(f"f{n}"), name="n" * 4000) for n in range(50)]
    one = Result(source=SourceId("a" * 100), target=TargetId("b" * 100), status=Status.PARTIAL, losses=losses)
    report = msgspec.structs.replace(REPORT, by_kind={Kind.ASSISTANT: [one] * 5000})
    text = markdown(report)
    lines = section(text)["## Partial Clones"]
    assert "<details><summary>950 more</summary>" in lines
    assert lines[-2:] == ["</details>", "And 4000 more; all are in mapping.json"]
    assert lines.count("  - and 50 more; all are in audit.jsonl") == 950
    assert len(text.encode()) < 1_000_000
    types, _ = shown(text)
    assert types == PLAIN | {"html_block"}
