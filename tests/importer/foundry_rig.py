"""A Foundry project of a sandbox as a destination, and a bundle to import into it; commands run as in a terminal."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from holdall.sandbox.entra import token
from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.project import Hand
from tests.sandbox.foundry_project import FoundryProject

SOURCE = "sk-source-0001"
TOKEN = token(time.time() + 36000)
FULL = {f"key{n:02}": f"value {n}" for n in range(16)}


class Project:
    """A Foundry project as its own API shows it."""

    def __init__(self, box: Running, name: str = "sandbox") -> None:
        self.box = box
        root = box.url.partition("?")[0]
        self.url = f"{root.rpartition('/')[0]}/{name}"
        self._http = httpx2.Client(headers={"Authorization": f"Bearer {TOKEN}"})

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        query = "" if path.startswith("/openai/v1") else ("&" if "?" in path else "?") + "api-version=v1"
        answer = self._http.request(method, f"{self.url}{path}{query}", json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def everything(self, path: str) -> list[Any]:
        """A whole list, oldest first."""
        found: list[Any] = []
        after = ""
        while True:
            page = self.call("GET", f"{path}?limit=100&order=asc{after}")
            found += page["data"]
            if not page["has_more"]:
                return found
            after = f"&after={page['last_id']}"

    def agents(self) -> dict[str, dict[str, Any]]:
        """The latest version of each agent, by its name."""
        return {one["name"]: one["versions"]["latest"] for one in self.everything("/agents")}

    def versions(self, name: str) -> list[str]:
        return [one["version"] for one in self.everything(f"/agents/{name}/versions")]

    def agent(self, name: str, *, metadata: Mapping[str, str] | None = None, **definition: Any) -> dict[str, Any]:
        """A new version of an agent, which is made with its first one."""
        body = {"definition": {"kind": "prompt", "model": "gpt-4o", **definition}, "metadata": metadata}
        made: dict[str, Any] = self.call("POST", f"/agents/{name}/versions", body)
        return made

    def store(self, name: str, contents: Mapping[str, bytes]) -> str:
        """A vector store with files of these names."""
        files = []
        for filename, content in contents.items():
            form = {"data": {"purpose": "assistants"}, "files": {"file": (filename, content)}}
            files.append(self._http.post(f"{self.url}/openai/v1/files", **form).json()["id"])
        made: str = self.call("POST", "/openai/v1/vector_stores", {"name": name, "file_ids": files})["id"]
        return made

    def pin(self, name: str, version: str) -> None:
        rule = {"type": "FixedRatio", "agent_version": version, "traffic_percentage": 100}
        selector = {"version_selector": {"version_selection_rules": [rule]}}
        merge = {"content-type": "application/merge-patch+json"}
        self.call("PATCH", f"/agents/{name}", {"agent_endpoint": selector}, headers=merge)

    def served(self, name: str) -> str:
        """The version that answers."""
        body = {"input": "hello", "agent_reference": {"type": "agent_reference", "name": name}}
        answer = self.call("POST", "/openai/v1/responses", body)
        return str(answer["agent_reference"]["version"])

    def ids(self, path: str) -> list[str]:
        return [one["id"] for one in self.everything(path)]

    def state(self) -> dict[str, Any]:
        """All that it has."""
        return {
            "agents": self.agents(),
            "versions": {name: self.versions(name) for name in self.agents()},
            "stores": self.ids("/openai/v1/vector_stores"),
            "files": self.ids("/openai/v1/files"),
        }

    @contextmanager
    def behaving(self, **changes: Any) -> Iterator[None]:
        """Other switches for a while."""
        with FoundryProject(box=self.box, name="").behaving(**changes):
            yield

    def terminal(self, patch: pytest.MonkeyPatch, folder: Path) -> Terminal:
        """Commands in ``folder`` whose destination is this project."""
        patch.chdir(folder)
        return Terminal(patch, {"OPENAI_DST_API_KEY": TOKEN, "OPENAI_DST_BASE_URL": self.url})


@contextmanager
def assistants(folder: Path) -> Iterator[Hand]:
    """A project of a new sandbox of the old API to be filled; a second passes with each request."""
    seconds = itertools.count(1_700_000_000)
    with Running(folder / "old", clock=lambda: float(next(seconds))) as box:
        box.behave(serve_assistants_files=True)
        with Hand(box.url, SOURCE) as hand:
            yield hand


def bundled(hand: Hand, folder: Path) -> Path:
    """A bundle of all that the project of ``hand`` has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        terminal = Terminal(patch, {"OPENAI_SRC_API_KEY": SOURCE, "OPENAI_SRC_BASE_URL": hand.url})
        good(terminal("export", "-o", "b.tar.zst"))
    return folder / "b.tar.zst"


def help_desks(hand: Hand) -> None:
    """Two assistants whose names are one name in Foundry; the first has a store, a file and a function."""
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


def mapped(folder: Path = Path("out")) -> dict[str, str]:
    """The agents of the latest mapping, by their sources."""
    found: dict[str, str] = json.loads((folder / "mapping.json").read_bytes())["foundry_agents"]
    return found


def good(done: Done, code: int = 0) -> Done:
    assert done.code == code, done.err + done.out
    return done
