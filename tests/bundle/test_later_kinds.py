"""Bundles of format 1.2: Foundry agents, skills and environment templates, with what lies beside them."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdall.add_originals import supply
from holdall.backups.search_bundle import BundleSearch
from holdall.bundle.missing import MissingFromBundle
from holdall.bundle.reader import open_bundle
from holdall.bundle.verification import verify
from holdall.diff.compare_sources import Copies, compare_sources
from holdall.diff.object_changes import How, ObjectChange
from holdall.diff.record_source import BundleSource
from holdall.folder.pack_folder import pack as pack_folder
from holdall.folder.write_folder import unpack
from holdall.model import Kind
from holdall.originals import Originals
from holdall.pages import bundle_page
from holdall.progress import Silent
from holdall.untrusted import require_record
from tests.bundle.packing import File, pack
from tests.cli.terminal import Terminal
from tests.project import skill_zip

ALL: dict[str, Any] = {
    "foundry_agents": {
        "desk": [{"kind": "prompt", "model": "gpt-4.1"}, {"kind": "prompt", "model": "gpt-5"}],
        "one-version": [{"kind": "prompt", "model": "gpt-5"}],
    },
    "skills": {"skill_tea": [b"first zip", None], "skill_none": []},
    "templates": {"envtmpl_1": {"name": "Build"}},
}


def test_a_bundle_with_a_later_kind_is_one_of_1_2(tmp_path: Path) -> None:
    for name, value in {**ALL, "none": None}.items():
        path = tmp_path / f"{name}.tar.zst"
        pack(path, **({name: value} if value else {}))
        assert verify(path).findings == []
        with open_bundle(path) as bundle:
            assert bundle.info.format == ("1.2" if value else "1.0")


def test_all_of_it_is_read_back_and_proved(tmp_path: Path) -> None:
    path = tmp_path / "all.tar.zst"
    pack(path, [File(id="file-1")], **ALL)
    verdict = verify(path)
    assert verdict.findings == []
    assert [(loss.code, loss.id) for loss in verdict.losses] == [("unavailable", "skillver_tea_2")]
    with open_bundle(path) as bundle:
        counts = bundle.info.counts
        assert [counts[name] for name in ("foundry_agents", "agent_versions", "skills", "skill_versions")] == [
            2,
            2,
            2,
            2,
        ]
        models = [json.loads(one.raw)["definition"]["model"] for one in bundle.versions(Kind.FOUNDRY_AGENT, "desk")]
        assert models == ["gpt-4.1", "gpt-5"]
        assert list(bundle.versions(Kind.FOUNDRY_AGENT, "one-version")) == []
        assert [one.id for one in bundle.versions(Kind.SKILL, "skill_tea")] == ["skillver_tea_1", "skillver_tea_2"]
        entry = bundle.content("skillver_tea_1")
        assert entry
        assert (entry.path, bundle.read(entry)) == ("data/files/skillver_tea_1/tea-1.zip", b"first zip")


def test_each_kind_has_a_digest_that_is_its_own(tmp_path: Path) -> None:
    found = []
    for number, definition in enumerate([{"model": "a"}, {"model": "b"}]):
        path = tmp_path / f"{number}.tar.zst"
        pack(path, **{**ALL, "foundry_agents": {"desk": [definition]}})
        with open_bundle(path) as bundle:
            found.append(msgspec.to_builtins(bundle.info.digests))
    assert {name for name in found[0] if found[0][name] != found[1][name]} == {"foundry_agents"}
    assert found[0].keys() == {
        "definitions", "contents", "foundry_agents", "skills", "skill_versions", "environment_templates"
    }  # fmt: skip


def test_the_folder_of_such_a_bundle_is_packed_into_the_same(tmp_path: Path) -> None:
    path, folder = tmp_path / "all.tar.zst", tmp_path / "folder"
    desk = [{"kind": "prompt", "instructions": "Old."}, {"kind": "prompt", "instructions": "Be kind.\nBe brief."}]
    pack(path, [File(id="file-1")], **{**ALL, "foundry_agents": {"desk": desk}})
    with open_bundle(path) as bundle:
        unpack(bundle, folder)
        before = {entry.path: bundle.read(entry) for entry in bundle.entries()}
    assert (folder / "data/foundry_agents/desk.md").read_text("utf-8") == "Be kind.\nBe brief.\n"
    assert (folder / "data/foundry_agents/desk.versions.jsonl").read_bytes().count(b"\n") == 2
    assert (folder / "data/files/skillver_tea_1/tea-1.zip").read_bytes() == b"first zip"
    assert pack_folder(folder, tmp_path / "again.tar.zst").edits.total == 0
    with open_bundle(tmp_path / "again.tar.zst") as bundle:
        assert {entry.path: bundle.read(entry) for entry in bundle.entries()} == before
    (folder / "data/foundry_agents/desk.md").write_text("Be loud.\n", "utf-8")
    pack_folder(folder, tmp_path / "edited.tar.zst")
    with open_bundle(tmp_path / "edited.tar.zst") as bundle:
        (agent,) = bundle.definitions(Kind.FOUNDRY_AGENT)
    assert json.loads(agent.raw)["versions"]["latest"]["definition"]["instructions"] == "Be loud."


def test_the_zip_of_a_version_that_is_missing_can_be_supplied(tmp_path: Path) -> None:
    pack(tmp_path / "lacking.tar.zst", skills={"skill_tea": [b"first zip", None, None]}, templates=ALL["templates"])
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "tea-2.zip").write_bytes(skill_zip("tea"))
    (mine / "tea-3.zip").write_bytes(skill_zip("coffee"))
    with Originals(mine) as originals:
        done = supply(
            tmp_path / "lacking.tar.zst", originals, tmp_path / "more.tar.zst", force=False, progress=Silent()
        )
    assert (done.supplied, [one.reason for one in done.refusals]) == (1, ["tea-3.zip: no zip of the skill tea"])
    assert verify(tmp_path / "more.tar.zst").findings == []
    with open_bundle(tmp_path / "more.tar.zst") as bundle:
        assert [one.id for one in bundle.versions(Kind.SKILL, "skill_tea")] == [
            "skillver_tea_1",
            "skillver_tea_2",
            "skillver_tea_3",
        ]
        line = bundle.ledger_line("skillver_tea_2")
        assert line
        assert (str(line.fidelity), line.size) == ("supplied", len(skill_zip("tea")))


def test_a_search_looks_into_the_instructions_of_a_foundry_agent(tmp_path: Path) -> None:
    pack(tmp_path / "all.tar.zst", **{**ALL, "foundry_agents": {"desk": [{"instructions": "Be kind."}]}})
    with open_bundle(tmp_path / "all.tar.zst") as bundle:
        unpack(bundle, tmp_path / "folder")
        found = {
            pattern: [(str(one.kind), one.field) for one in BundleSearch(pattern).matches(bundle)]
            for pattern in ("be kind", "Build", "skill_tea", "tea-1")
        }
        assert [one.field for one in BundleSearch("be kind").in_folder(tmp_path / "folder")] == ["instructions"]
    assert found == {
        "be kind": [("foundry_agent", "instructions")],
        "Build": [("environment_template", "name")],
        "skill_tea": [("skill", "id")],
        "tea-1": [("file", "name")],
    }


BOUND: dict[str, Any] = {
    "skills": {"skill_tea": [b"first zip", None]},
    "foundry_agents": {
        "desk": [
            {"model": "old"},
            {
                "kind": "prompt",
                "model": "gpt-5",
                "tools": [
                    {"type": "file_search", "vector_store_ids": ["vs_1", "{{store}}"]},
                    {"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-1"]}},
                    {"type": "azure_ai_search", "azure_ai_search": {"indexes": [{"project_connection_id": "conn-a"}]}},
                    {"type": "mcp", "server_label": "tb", "server_url": "https://x/api/projects/p/toolboxes/box/mcp"},
                ],
                "rai_config": {"rai_policy_name": "Strict"},
                "container_configuration": {"image": "acr.example/desk:1"},
            },
        ]
    },
    "templates": {
        "envtmpl_1": {
            "name": "Build",
            "files": [{"file_id": "file-1", "path": "/workspace/a"}, {"path": "/workspace/b.bin", "size_bytes": 12}],
            "skills": [{"skill_id": "skill_tea"}, {"skill_id": "openai-pdf"}, {"name": "inline-one"}],
            "plugins": [{"name": "plug"}],
        }
    },
}


def test_what_is_bound_to_the_project_or_never_returned_is_listed_by_name(tmp_path: Path) -> None:
    pack(tmp_path / "b.tar.zst", [File(id="file-1")], **BOUND)
    with open_bundle(tmp_path / "b.tar.zst") as bundle, MissingFromBundle(bundle) as missing:
        assert [(str(one), [user.id for user in one.used_by]) for one in missing.outside] == [
            ("azure_ai_search: conn-a", ["desk"]),
            ("content filter Strict", ["desk"]),
            ("deployment gpt-5", ["desk"]),
            ("container image acr.example/desk:1", ["desk"]),
            ("inline file /workspace/b.bin, 12 bytes", ["envtmpl_1"]),
            ("inline skill inline-one", ["envtmpl_1"]),
            ("MCP server tb, https://x/api/projects/p/toolboxes/box/mcp", ["desk"]),
            ("plugin plug", ["envtmpl_1"]),
            ("skill openai-pdf", ["envtmpl_1"]),
            ("toolbox box", ["desk"]),
        ]
        (wanted,) = missing.wanted()
        assert (wanted.filename, wanted.gone) == ("tea-2.zip", False)


def test_inspect_shows_what_each_is_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(tmp_path / "b.tar.zst", [File(id="file-1")], **BOUND)
    holdall = Terminal(monkeypatch, {})
    shown = holdall("inspect", str(tmp_path / "b.tar.zst"), "-v").out
    for line in (
        "  desk  version 2  gpt-5\n    store Knowledge  vs_1: 1 file",
        "    code interpreter: 1 file\n      notes.txt  file-1  original, 11 B\n    2 versions\n",
        "  tea  skill_tea\n    2 versions, default 1\n      tea-1.zip  skillver_tea_1  original, 9 B\n",
        "  Build  envtmpl_1\n    skill skill_tea\n    skill openai-pdf\n",
    ):
        assert line in shown
    found = json.loads(holdall("inspect", str(tmp_path / "b.tar.zst"), "--json").out)["result"]
    assert (found["counts"]["skill_versions"], found["foundry_agents"][0]["version_count"]) == (2, 2)
    assert [one["fidelity"] for one in found["skills"][0]["versions"]] == ["original", "unavailable"]
    assert found["environment_templates"][0]["skills"] == ["skill_tea", "openai-pdf"]


def compared(tmp_path: Path, before: dict[str, Any], after: dict[str, Any]) -> list[ObjectChange]:
    sources = []
    with ExitStack() as stack:
        for number, definitions in enumerate((before, after)):
            path = tmp_path / f"{number}.tar.zst"
            pack(path, [File(id="file-1")], **definitions)
            sources.append(BundleSource(stack.enter_context(open_bundle(path))))
        return compare_sources(sources[0], sources[1], Copies()).changes


def test_versions_are_compared_by_number_and_zips_by_hash(tmp_path: Path) -> None:
    before, after = {"skills": {"skill_tea": [b"1", b"2", b"3"]}}, {"skills": {"skill_tea": [b"1", b"two"]}}
    skill, changed, gone = compared(tmp_path, before, after)
    assert [field.path for field in skill.fields] == ["latest_version"]
    assert (changed.how, changed.id, changed.inside, changed.name) == (
        How.CHANGED, "skillver_tea_2", "skill_tea", "version 2"
    )  # fmt: skip
    (content,) = changed.fields
    assert (content.path, content.before["size"], content.after["size"]) == ("content", 1, 3)
    assert (gone.how, gone.name) == (How.REMOVED, "version 3")


def test_instructions_of_a_foundry_agent_are_compared_by_their_lines(tmp_path: Path) -> None:
    before, after = (
        {"foundry_agents": {"desk": [{"instructions": "Old."}, {"instructions": f"Be kind.\n{last}"}]}}
        for last in ("Be brief.", "Be long.")
    )
    agent, version = compared(tmp_path, before, after)
    for change in (agent, version):
        (field,) = change.fields
        assert (field.path, field.diff) == (
            "instructions",
            ["@@ -1,2 +1,2 @@", " Be kind.", "-Be brief.", "+Be long."],
        ), change
    assert (version.kind, version.name) == (Kind.AGENT_VERSION, "version 2")
    # Of one that was exported with its latest version alone, nobody knows the others.
    alone = {"foundry_agents": {"desk": [{"instructions": "Be kind.\nBe long."}]}}
    for path in tmp_path.glob("*.zst"):
        path.unlink()
    assert [field.path for change in compared(tmp_path, after, alone) for field in change.fields] == ["version"]


def test_the_page_has_a_card_for_each(tmp_path: Path) -> None:
    desk = {
        "model": "gpt-5",
        "instructions": "Be kind.",
        "tools": [{"type": "file_search", "vector_store_ids": ["vs_1"]}],
    }
    pack(tmp_path / "b.tar.zst", [File(id="file-1")], **{**BOUND, "foundry_agents": {"desk": [{"model": "old"}, desk]}})
    with open_bundle(tmp_path / "b.tar.zst") as bundle:
        page = "".join(bundle_page(bundle, 1))
    for said in (
        "1 Foundry agent<",
        "Be kind.",
        "<h2>1 skill<",
        "tea-1.zip",
        "1 environment template<",
        "Knowledge</bdi></a>",
    ):
        assert said in page, said
    assert "Files that no store or assistant uses" not in page


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"versions": {"latest": {"definition": {"tools": [{}] * 1001}}}}, "1001 tools"),
        ({"definition": {"tools": [{"vector_store_ids": ["vs"] * 10_001}]}}, "refers to more than 10000"),
        ({"skills": [{"skill_id": "s"}] * 6_000, "files": [{"file_id": "f"}] * 6_000}, "refers to more than 10000"),
        ({"skills": [{"skill_id": "s" * 513}]}, "longer than 512 bytes"),
    ],
)
def test_tools_and_references_are_limited_wherever_a_record_has_them(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        require_record(json.dumps({"id": "a", **fields}).encode())
