"""Assistants and agents out of a project, and into one of Foundry as agents; all by the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.importer.foundry_rig import Project, assistants, bundled, good, help_desks, mapped


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    with assistants(folder) as hand:
        help_desks(hand)
        return bundled(hand, folder)


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("new"), behaviour=PROFILES["foundry-new"]) as running:
        yield running


@pytest.fixture
def project(box: Running, request: pytest.FixtureRequest) -> Iterator[Project]:
    made = Project(box, f"p{abs(hash(request.node.nodeid))}")
    yield made
    made.close()


@pytest.fixture
def holdall(project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    return project.terminal(monkeypatch, tmp_path)


def test_out_and_in_and_again_and_undone(holdall: Terminal, project: Project, bundle: Path) -> None:
    assert urlsplit(project.url).path.startswith("/api/projects/")
    before = project.state()
    good(holdall("import", str(bundle), "--as", "foundry"))
    made = project.agents()
    assert sorted(made) == ["Help-desk", "help-desk-2"]
    one = made["Help-desk"]
    assert one["version"] == "1"
    assert one["metadata"]["holdall_name"] == "Help desk"
    definition = one["definition"]
    assert {field: definition[field] for field in ("kind", "model", "instructions", "temperature")} == {
        "kind": "prompt",
        "model": "gpt-4o",
        "instructions": "Be brief.",
        "temperature": 0.5,
    }
    tools = {tool["type"]: tool for tool in definition["tools"]}
    assert tools["file_search"]["vector_store_ids"] == project.ids("/openai/v1/vector_stores")
    assert tools["code_interpreter"]["container"]["file_ids"][0] in project.ids("/openai/v1/files")
    assert project.served("Help-desk") == "1"
    assert sorted(mapped().values()) == ["Help-desk", "help-desk-2"]
    state = project.state()
    again = good(holdall("import", str(bundle), "--as", "foundry"))
    assert "Nothing" in again.err + again.out
    assert project.state() == state
    good(holdall("verify", str(bundle), "--against", "dst"))
    good(holdall("undo", "latest", "--yes"))
    assert project.state() == before


def test_an_agent_that_is_there_is_given_no_version_unasked(holdall: Terminal, project: Project, bundle: Path) -> None:
    project.agent("help-DESK", instructions="Ours.")
    state = project.state()
    refused = holdall("import", str(bundle), "--as", "foundry")
    assert refused.code != 0
    assert project.state() == state
    assert project.served("help-DESK") == "1"
    good(holdall("import", str(bundle), "--as", "foundry", "--on-conflict", "update", "--yes"))
    assert project.served("help-DESK") == "2"
    assert project.agents()["help-DESK"]["definition"]["instructions"] == "Be brief."
    good(holdall("undo", "latest", "--yes"))
    assert project.state() == state
    assert project.served("help-DESK") == "1"
