"""Bundles of format 1.2: Foundry agents, skills and environment templates, with what lies beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from holdall.bundle.reader import open_bundle
from holdall.model import Kind
from holdall.verification import verify
from tests.bundle.packing import File, pack

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
