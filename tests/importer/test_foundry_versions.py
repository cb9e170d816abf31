"""All versions of an agent, out of a Foundry project and into another: each once, in their order, the latest last."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdall.sandbox.behaviour import Reset
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.clock import Clock
from tests.importer.foundry_rig import FULL, TOKEN, Project, good
from tests.sweep import sweep

NEW = ("--as", "foundry")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("new"), behaviour=PROFILES["foundry-new"]) as running:
        yield running


@pytest.fixture(scope="module")
def bundle(box: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    with Project(box, "source") as project, project.behaving(serve_assistants_files=True):
        stores = [project.store(name, {f"{name}.txt": f"What {name} knows.".encode()}) for name in ("old", "new")]
        search = [[{"type": "file_search", "vector_store_ids": [store]}] for store in stores]
        project.agent("Desk", instructions="First.", tools=search[0])
        project.agent("Desk", instructions="Second.", metadata=FULL)
        project.agent("Desk", instructions="Withdrawn.")
        project.agent("Desk", instructions="Third.", model="gpt-4.1")
        project.call("DELETE", "/agents/Desk/versions/3")
        project.agent("Desk", instructions="Latest.", tools=search[1], metadata={"team": "a"})
        project.agent("Solo", instructions="Only one.")
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            places = {"OPENAI_SRC_API_KEY": TOKEN, "OPENAI_SRC_BASE_URL": project.url}
            good(Terminal(patch, places)("export", "--versions", "all", "-o", "b.tar.zst"))
    return folder / "b.tar.zst"


@pytest.fixture
def project(box: Running, request: pytest.FixtureRequest) -> Iterator[Project]:
    with Project(box, f"p{abs(hash(request.node.nodeid))}") as made:
        yield made


@pytest.fixture
def holdall(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    Clock().rule(monkeypatch)
    return project.terminal(monkeypatch, tmp_path)


def said(project: Project, name: str) -> dict[str, str]:
    found = project.everything(f"/agents/{name}/versions")
    return {one["version"]: one["definition"]["instructions"] for one in found}


ALL = {"1": "First.", "2": "Second.", "3": "Third.", "4": "Latest."}


def test_all_versions_come_in_their_order(holdall: Terminal, project: Project, bundle: Path) -> None:
    good(holdall("import", str(bundle), *NEW))
    assert (said(project, "Desk"), said(project, "Solo")) == (ALL, {"1": "Only one."})
    versions = project.everything("/agents/Desk/versions")
    assert versions[1]["metadata"] == FULL
    assert versions[2]["definition"]["model"] == "gpt-4.1"
    used = [one["definition"].get("tools", [{}])[0].get("vector_store_ids") for one in (versions[0], versions[3])]
    assert sorted(id for ids in used for id in ids) == sorted(project.ids("/openai/v1/vector_stores"))
    assert project.served("Desk") == "4"
    state = project.state()
    assert "Nothing" in good(holdall("import", str(bundle), *NEW)).err
    assert project.state() == state
    checked = good(holdall("verify", str(bundle), "--against", "dst"))
    assert "Desk has 4 of 4 versions" in checked.out + checked.err
    good(holdall("undo", "latest", "--yes"))
    assert project.state() == {"agents": {}, "versions": {}, "stores": [], "files": []}


def test_an_agent_that_is_there_gets_the_latest_only(holdall: Terminal, project: Project, bundle: Path) -> None:
    project.agent("desk", instructions="Theirs.")
    good(holdall("import", str(bundle), *NEW, "--on-conflict", "update", "--yes"))
    assert said(project, "desk") == {"1": "Theirs.", "2": "Latest."}
    checked = good(holdall("verify", str(bundle), "--against", "dst"))
    assert "desk has 2 of 4 versions" in checked.out + checked.err
    good(holdall("undo", "latest", "--yes"))
    assert said(project, "desk") == {"1": "Theirs."}


def test_a_version_whose_model_is_gone_is_left_out(holdall: Terminal, project: Project, bundle: Path) -> None:
    with project.behaving(deployments=("gpt-4o",)):
        refused = holdall("import", str(bundle), *NEW)
        assert "gpt-4.1" in refused.err
        assert project.agents() == {}
        good(holdall("import", str(bundle), *NEW, "--skip-unmapped"), 4)
        assert list(said(project, "Desk").values()) == ["First.", "Second.", "Latest."]


def test_equal_versions_that_are_one_there(holdall: Terminal, project: Project, bundle: Path, box: Running) -> None:
    with project.behaving(keeps_equal_versions=False, metadata_makes_versions=False, max_versions=3):
        good(holdall("import", str(bundle), *NEW, "--map-model", "gpt-4.1=gpt-4o"), 4)
        assert len(said(project, "Desk")) == 3


@sweep("lost", range(5))
def test_each_answer_is_lost_in_turn(
    lost: int, holdall: Terminal, project: Project, bundle: Path, box: Running
) -> None:
    box.fault(Reset(executed=True), "POST", "/agents/*/versions", skip=lost)
    good(holdall("import", str(bundle), *NEW))
    box.clear_faults()
    assert (said(project, "Desk"), said(project, "Solo")) == (ALL, {"1": "Only one."})
    good(holdall("import", str(bundle), *NEW))
    holdall("undo", "latest", "--yes", "--settle", "0")
    # A version without room for a mark is nobody's for certain, and its agent stays.
    assert list(project.agents()) == ["Desk"] * (lost == 1)
