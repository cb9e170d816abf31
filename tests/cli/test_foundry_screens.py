"""What is said of an import into a Foundry project: agents, versions, deployments, connections. One story."""

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

CONNECTION = "/subscriptions/s/resourceGroups/g/providers/M.C/accounts/a/projects/p/connections/bing-dev"
MERGE = {"Content-Type": "application/merge-patch+json"}


def running(folder: Path, profile: str, **changes: Any) -> Running:
    # A second passes with each request, so that the assistants have an order.
    seconds = count(1_700_000_000)
    behaviour = msgspec.structs.replace(PROFILES[profile], **changes)
    return Running(folder, behaviour=behaviour, clock=lambda: float(next(seconds)))


def address(project: FoundryProject) -> str:
    return f"{project.box.url.partition('/api/projects/')[0]}/api/projects/{project.name}"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a classic project: an agent that uses a connection, another agent and a store, and two without anything."""
    folder = tmp_path_factory.mktemp("classic")
    models = {"deployments": ("gpt-4o", "gpt-4.1"), "serve_assistants_files": True}
    with running(folder / "box", "foundry-both", **models) as box, pytest.MonkeyPatch.context() as patch:
        project = FoundryProject(box=box, name="old")
        file = project.upload("manual.txt", b"Turn it off and on again.", classic=True)
        store = project.own("POST", "/vector_stores", {"name": "manuals", "file_ids": [file]}).json()["id"]

        def assistant(**body: Any) -> str:
            made: str = project.own("POST", "/assistants", {"model": "gpt-4o", **body}).json()["id"]
            return made

        called = {"id": assistant(name="Translator"), "name": "translator", "description": "translates"}
        bing = {"search_configurations": [{"connection_id": CONNECTION}]}
        assistant(
            name="Help desk",
            instructions="Greet {{name}}.",
            tools=[
                {"type": "file_search"},
                {"type": "bing_grounding", "bing_grounding": bing},
                {"type": "connected_agent", "connected_agent": called},
            ],
            tool_resources={"file_search": {"vector_store_ids": [store]}},
        )
        assistant(name="Plain", model="gpt-4.1")
        patch.chdir(folder)
        done = Terminal(patch, {"OPENAI_SRC_API_KEY": TOKEN, "OPENAI_SRC_BASE_URL": address(project)})(
            "export", "-o", "b.tar.zst", "--env-file", "none"
        )
        assert done.code == 0, done.err
    return folder / "b.tar.zst"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[FoundryProject]:
    with running(tmp_path / "box", "foundry-new", deployments=("gpt-4o", "production")) as box:
        yield FoundryProject(box=box, name="new")


def test_what_is_said_of_agents(
    project: FoundryProject, bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"OPENAI_DST_API_KEY": TOKEN, "OPENAI_DST_BASE_URL": address(project), "HOLDALL_SETTLE": "0"}
    holdall = Terminal(monkeypatch, environ)
    mapped = ("--map-model", "gpt-4.1=production")

    def ask(command: str, *argv: str, code: int = 0, form: bool = True) -> Done:
        words = (command, str(bundle), *(("--as", "foundry", *mapped) if form else ()), *argv, "--env-file", "none")
        done = holdall.screen(*words)
        assert done.code == code, done.out
        assert all(len(line) <= 80 for line in done.out.splitlines() if not line.startswith(("Next:", "/")))
        # As it would be without the terminal's width.
        return Done(code=code, out=" ".join(done.out.split()), err="")

    unmapped = ask("plan", "--as", "foundry", code=31, form=False).out
    assert "--map-model gpt-4.1=NEW" in unmapped
    assert "deployments at the destination: gpt-4o, production" in unmapped

    planned = ask("plan", code=3).out
    assert "Mode: agents of a Foundry project" in planned
    assert "+ Help desk: Foundry agent (as Help-desk), 1 vector store, 1 file" in planned
    assert "--map-connection bing-dev=NEW; connections at the destination: bing, search" in planned
    details = ask("plan", "-v", "--map-connection", "bing-dev=no-such", "--map-connection", "x=bing", code=3).out
    assert "has {{name}}, which Foundry may fill in" in details
    assert "connected_agent; let its own code call the other agent, or add a tool a2a" in details
    assert "connection no-such is not in the destination's list (bing, search); using it anyway" in details
    assert "--map-connection x=bing matches no connection; connections in the bundle: bing-dev" in details

    ask("import", code=4)
    tools = project.own("GET", "/agents/Help-desk").json()["versions"]["latest"]["definition"]["tools"]
    assert [tool["type"] for tool in tools] == ["file_search"]
    against = holdall("verify", str(bundle), "--against", "dst", "--search", "--env-file", "none", "--json").document
    assert against["result"]["against"]["differences"] == []
    # A store there gives no text, and can't be searched.
    assert list(against["result"]["against"]["search_not_compared"].values()) == [1]
    assert "assistants" not in ask("verify", "--against", "dst", code=4, form=False).out.partition("Compared")[2][:80]

    project.version("Plain", definition={"instructions": "Ours."})
    project.version("Help-desk", definition={"instructions": "Ours."})
    update = ("--on-conflict", "update", "--even-if-changed")
    updated = ask("plan", *update, code=3).out
    assert "~ Plain: Foundry agent (model, instructions); new version, live at once" in updated
    rule = {"type": "FixedRatio", "agent_version": "1", "traffic_percentage": 100}
    selector = {"agent_endpoint": {"version_selector": {"version_selection_rules": [rule]}}}
    assert project.own("PATCH", "/agents/Plain", selector, headers=MERGE).status == 200
    pinned = ask("plan", *update, "-o", "plan.json", code=3).out
    assert "pinned to version 1: the new version is not served" in pinned
    assert (
        "--map-connection can't be combined"
        in ask("import", "--plan", "plan.json", "--map-connection", "a=b", code=2, form=False).out
    )
    done = ask("import", "--plan", "plan.json", code=4, form=False).out
    assert "2 Foundry agents given a new version, 1 already there" in done
    assert (project.served("Plain"), project.served("Help-desk")) == ("1", "3")
    assert "(Plain): new version" in Path("out/report.md").read_text()
    page = Path("out/report.html").read_text()
    # With the card of what it is in the bundle.
    assert "Greet {{name}}." in page
    undo = holdall.screen("undo", "latest", "--dry-run", "--env-file", "none").out
    assert "- delete agent version Plain:3" in undo
    assert json.loads(Path("out/mapping.json").read_bytes())["foundry_agents"]


def test_an_agent_of_that_name_is_not_given_a_version_unasked(
    project: FoundryProject, bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    project.version("plain", definition={"instructions": "Ours."})
    environ = {"OPENAI_DST_API_KEY": TOKEN, "OPENAI_DST_BASE_URL": address(project), "HOLDALL_SETTLE": "0"}
    words = ("import", str(bundle), "--as", "foundry", "--map-model", "gpt-4.1=production", "--env-file", "none")
    done = Terminal(monkeypatch, environ)(*words)
    assert done.code == 33
    assert "update to make them equal to the bundle (a new version of an agent is live at once)" in done.err
    assert project.served("plain") == "1"
