"""Classic agents of a Foundry project become new ones of the same project: one command, one key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.sandbox.foundry_project import TOKEN, FoundryProject

CLONE = ("clone", "--as", "foundry", "--same-project", "--env-file", "none", "--settle", "0")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    seconds = count(1_700_000_000)
    behaviour = msgspec.structs.replace(PROFILES["foundry-both"], serve_assistants_files=True)
    with Running(tmp_path_factory.mktemp("both"), behaviour=behaviour, clock=lambda: float(next(seconds))) as running:
        yield running


@pytest.fixture
def project(box: Running, request: pytest.FixtureRequest) -> FoundryProject:
    """A project with a classic agent that uses a store and a file, a new agent, and a file that nothing uses."""
    project = FoundryProject(box=box, name=f"p{abs(hash(request.node.nodeid))}")
    manual = project.upload("manual.txt", b"Turn it off and on again.", classic=True)
    table = project.upload("table.csv", b"a,b\n1,2\n", classic=True)
    project.upload("unused.txt", b"Nobody reads this.", classic=True)
    store = project.own("POST", "/vector_stores", {"name": "manuals", "file_ids": [manual]}).json()["id"]
    body = {
        "name": "Help desk",
        "model": "gpt-4o",
        "instructions": "Be brief.",
        "tools": [{"type": "file_search"}, {"type": "code_interpreter"}],
        "tool_resources": {"file_search": {"vector_store_ids": [store]}, "code_interpreter": {"file_ids": [table]}},
    }
    assert project.own("POST", "/assistants", body).status == 200
    project.version("already-new")
    return project


@pytest.fixture
def holdall(project: FoundryProject, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    url = f"{project.box.url.partition('/api/projects/')[0]}/api/projects/{project.name}"
    return Terminal(monkeypatch, {"OPENAI_SRC_API_KEY": TOKEN, "OPENAI_SRC_BASE_URL": url})


def good(done: Done) -> Done:
    assert done.code == 0, done.err + done.out
    return done


def agents(project: FoundryProject) -> dict[str, Any]:
    return {one["name"]: one["versions"]["latest"] for one in project.own("GET", "/agents").json()["data"]}


def ids(project: FoundryProject, path: str) -> list[str]:
    return sorted(one["id"] for one in project.openai("GET", path).json()["data"])


def used(agent: dict[str, Any]) -> tuple[list[str], list[str]]:
    tools = {tool["type"]: tool for tool in agent["definition"]["tools"]}
    return tools["file_search"]["vector_store_ids"], tools["code_interpreter"]["container"]["file_ids"]


def test_what_answers_by_its_id_is_referred_to(holdall: Terminal, project: FoundryProject) -> None:
    # Agents (classic) give no bytes back, and none are needed.
    clone = (*CLONE, "--accept-known-losses")
    with project.behaving(lends_classic=True, serve_assistants_files=False):
        before = ids(project, "/files"), ids(project, "/vector_stores")
        plan = holdall(*clone, "--dry-run", "-v")
        assert (sorted(agents(project)), plan.code) == (["already-new"], 3)
        assert "adopt vector store manuals" in plan.out
        assert "Vector stores and files: 3 used by their ids, 0 copied" in plan.err
        assert "upload file" not in plan.out
        good(holdall(*clone))
        assert (ids(project, "/files"), ids(project, "/vector_stores")) == before
        made = agents(project)
        assert sorted(made) == ["Help-desk", "already-new"]
        assert made["already-new"]["version"] == "1"
        stores, files = used(made["Help-desk"])
        assert [project.own("GET", f"/vector_stores/{id}").json()["name"] for id in stores] == ["manuals"]
        assert [project.own("GET", f"/files/{id}").json()["filename"] for id in files] == ["table.csv"]
        again = good(holdall(*clone))
        assert "Nothing" in again.err + again.out
        assert agents(project) == made


def test_what_does_not_is_copied_and_nothing_else(holdall: Terminal, project: FoundryProject) -> None:
    plan = holdall(*CLONE, "--dry-run", "-v")
    assert "upload file manual.txt" in plan.out
    assert "unused.txt" not in plan.out
    assert "Vector stores and files: 0 used by their ids, 3 copied" in plan.err
    good(holdall(*CLONE))
    stores, files = used(agents(project)["Help-desk"])
    assert stores == ids(project, "/vector_stores")
    assert set(files) < set(ids(project, "/files"))
    assert [len(ids(project, path)) for path in ("/files", "/vector_stores")] == [2, 1]
    assert project.served("Help-desk") == "1"
    mapping = json.loads(Path("out/mapping.json").read_bytes())
    assert list(mapping["foundry_agents"].values()) == ["Help-desk"]
    same = {"OPENAI_DST_API_KEY": TOKEN, "OPENAI_DST_BASE_URL": holdall.environ["OPENAI_SRC_BASE_URL"]}
    (bundle,) = Path("archives").glob("*.zst")
    good(holdall("verify", str(bundle), "--against", "dst", "--env-file", "none", **same))
    good(holdall("undo", "latest", "--yes", "--env-file", "none", **same))
    assert sorted(agents(project)) == ["already-new"]
    assert [len(ids(project, path)) for path in ("/files", "/vector_stores")] == [0, 0]


def test_a_project_without_classic_agents_is_told(holdall: Terminal, box: Running) -> None:
    url = holdall.environ["OPENAI_SRC_BASE_URL"] + "-empty"
    done = holdall(*CLONE, OPENAI_SRC_BASE_URL=url)
    assert done.code == 2
    assert "can't select classic agents (--same-project --as foundry): the project has no assistant" in done.err


def test_another_destination_is_refused(holdall: Terminal, project: FoundryProject) -> None:
    before = len(project.box.requests())
    other = holdall.environ["OPENAI_SRC_BASE_URL"] + "x"
    done = holdall(*CLONE, OPENAI_DST_API_KEY=TOKEN, OPENAI_DST_BASE_URL=other)
    assert (done.code, other in done.err) == (2, True), done.err
    done = holdall(*CLONE, OPENAI_SRC_BASE_URL="http://127.0.0.1:1/v1")
    assert (done.code, "Foundry project" in done.err) == (2, True), done.err
    done = holdall(
        "clone", "--env-file", "none", "--as", "foundry", OPENAI_DST_API_KEY=TOKEN, OPENAI_DST_BASE_URL=other[:-1]
    )
    assert (done.code, "--same-project --as foundry" in done.err) == (2, True), done.err
    assert len(project.box.requests()) == before
