"""Assistants and agents out of a project, and into one of Foundry as agents; all by the command line."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from holdall.sandbox.entra import token
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.project import Hand

SOURCE = "sk-source-0001"
TOKEN = token(time.time() + 36000)


class Project:
    """A Foundry project as its own API shows it."""

    def __init__(self, box: Running, name: str = "sandbox") -> None:
        root = box.url.partition("?")[0]
        self.url = f"{root.rpartition('/')[0]}/{name}"
        self._http = httpx2.Client(headers={"Authorization": f"Bearer {TOKEN}"})

    def close(self) -> None:
        self._http.close()

    def call(self, method: str, path: str, body: object = None, *, status: int = 200) -> Any:
        query = "" if path.startswith("/openai/v1") else ("&" if "?" in path else "?") + "api-version=v1"
        answer = self._http.request(method, f"{self.url}{path}{query}", json=body)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def agents(self) -> dict[str, dict[str, Any]]:
        return {one["name"]: one["versions"]["latest"] for one in self.call("GET", "/agents")["data"]}

    def agent(self, name: str, **definition: Any) -> dict[str, Any]:
        body = {"definition": {"kind": "prompt", "model": "gpt-4o", **definition}}
        made: dict[str, Any] = self.call("POST", f"/agents/{name}/versions", body)
        return made

    def served(self, name: str) -> str:
        """The version that answers, and what it says."""
        body = {"input": "hello", "agent_reference": {"type": "agent_reference", "name": name}}
        answer = self.call("POST", "/openai/v1/responses", body)
        return str(answer["agent_reference"]["version"])

    def ids(self, path: str) -> list[str]:
        return [one["id"] for one in self.call("GET", path)["data"]]

    def state(self) -> dict[str, Any]:
        """All that it has."""
        return {
            "agents": self.agents(),
            "stores": self.ids("/openai/v1/vector_stores"),
            "files": self.ids("/openai/v1/files"),
        }


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    # A second passes with each request, so that the assistants have an order.
    seconds = itertools.count(1_700_000_000)
    with Running(tmp_path_factory.mktemp("old"), clock=lambda: float(next(seconds))) as box:
        box.behave(serve_assistants_files=True)
        with Hand(box.url, SOURCE) as hand:
            manual = hand.file("manual.txt", b"Turn it off and on again.")
            table = hand.file("table.csv", b"a,b\n1,2\n")
            store = hand.store("manuals", [manual])
            quote = {"name": "quote", "parameters": {"type": "object", "properties": {}}}
            hand.assistant(
                "Help desk",
                stores=[store],
                files=[table],
                instructions="Be brief.",
                temperature=0.5,
                metadata={"team": "a"},
                tools=[{"type": "function", "function": quote}],
            )
            hand.assistant("help_desk", instructions="The other one.")
        yield box


@pytest.fixture(scope="module")
def bundle(old: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = Terminal(patch, {"OPENAI_SRC_API_KEY": SOURCE, "OPENAI_SRC_BASE_URL": old.url})(
            "export", "-o", "b.tar.zst"
        )
    assert done.code == 0, done.err
    return folder / "b.tar.zst"


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
    monkeypatch.chdir(tmp_path)
    return Terminal(monkeypatch, {"OPENAI_DST_API_KEY": TOKEN, "OPENAI_DST_BASE_URL": project.url})


def good(done: Done, code: int = 0) -> Done:
    assert done.code == code, done.err + done.out
    return done


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
    mapping = json.loads(Path("out/mapping.json").read_bytes())
    assert sorted(mapping["foundry_agents"].values()) == ["Help-desk", "help-desk-2"]
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
