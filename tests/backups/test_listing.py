"""The summaries of many bundles: their order, what each says, and that nothing in a folder stops the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from holdall.backups.listing import BundleState, summaries, summarize
from holdall.bundle.layout import Source, source_identity, source_title
from tests.bundle.packing import STARTED, File, pack


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles that don't carry their specification."""
    monkeypatch.setattr("holdall.bundle.layout.specification", lambda: b"the specification\n")


@pytest.mark.usefixtures("small")
def test_a_summary_says_what_the_bundle_says(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.zst"
    pack(path, [File(id="file-1"), File(id="file-2", data=None)])
    found = summarize(path)
    assert (found.path, found.size, found.state, found.problem) == (path, path.stat().st_size, BundleState.WHOLE, "")
    assert (found.taken_at, found.source_identity, found.source_title) == (STARTED, "project proj_1", "proj_1")
    assert (found.counts["assistants"], found.counts["files"], found.fidelities["original"].files) == (1, 2, 1)
    assert str(found.verdict) == "INCOMPLETE: 1 file missing"
    seal = path.read_bytes().rpartition(b"\x50\x2a\x4d\x18\x20\x00\x00\x00")[2][:32]
    assert found.seal == seal.hex()
    assert (found.verified_at, found.verified_ok) == (None, None)


@pytest.mark.usefixtures("small")
def test_what_is_no_bundle_is_in_the_list_too(tmp_path: Path) -> None:
    pack(tmp_path / "whole.tar.zst")
    whole = (tmp_path / "whole.tar.zst").read_bytes()
    (tmp_path / "cut.tar.zst").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "other.tar.zst").write_bytes(b"PK\x03\x04")
    (tmp_path / "no link.tar.zst").symlink_to("nowhere")
    (tmp_path / "notes.txt").write_text("not looked at")
    (tmp_path / "folder.tar.zst").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.tar.zst")
    found = {one.path.name: one for one in summaries([tmp_path])}
    assert {name: one.state.value for name, one in found.items()} == {
        "whole.tar.zst": "whole",
        "cut.tar.zst": "damaged",
        "other.tar.zst": "foreign",
        "no link.tar.zst": "unreadable",
        "folder.tar.zst": "unreadable",
        **({"pipe.tar.zst": "unreadable"} if hasattr(os, "mkfifo") else {}),
    }
    assert next(iter(found)) == "whole.tar.zst"
    assert all(one.problem for name, one in found.items() if name != "whole.tar.zst")


def test_the_identity_of_a_source_is_its_label_else_its_project_else_its_server() -> None:
    server = Source(base_url="https://one.example/v1", organization="org-1")
    labelled = Source(base_url="https://two.example/v1", project="proj_1", label="acme")
    project = Source(base_url="https://two.example/v1", project="acme")
    assert [source_identity(one) for one in (server, labelled, project)] == [
        "server https://one.example/v1 org-1",
        "label acme",
        "project acme",
    ]
    assert [source_title(one) for one in (server, labelled, project)] == ["one.example", "acme", "acme"]
    assert source_title(Source(base_url="https://[broken")) == "https://[broken"
