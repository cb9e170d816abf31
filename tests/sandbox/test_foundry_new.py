"""The sandbox as a Foundry project of today: agents with versions, and OpenAI's endpoints below ``/openai/v1``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.sandbox.foundry_project import NOW, FoundryProject, refusal


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], FoundryProject]]:
    """Projects of one sandbox that nobody has used before."""
    numbers = count()
    behaviour = PROFILES["foundry-new"]
    with Running(tmp_path_factory.mktemp("new"), behaviour=behaviour, clock=lambda: NOW) as box:
        yield lambda: FoundryProject(box=box, name=f"p{next(numbers)}")


@pytest.fixture
def project(fresh: Callable[[], FoundryProject]) -> FoundryProject:
    return fresh()


def test_an_agent_with_knowledge_from_its_file_to_its_answer(project: FoundryProject) -> None:
    file = project.upload("tea.txt", b"Sencha is steamed for thirty seconds.")
    assert file.startswith("assistant-")
    store = project.openai("POST", "/vector_stores", {"name": "teas"}).json()["id"]
    batch = project.openai("POST", f"/vector_stores/{store}/file_batches", {"files": [{"file_id": file}]}).json()
    assert batch["file_counts"]["completed"] == 1
    tool = {"type": "file_search", "vector_store_ids": [store]}
    made = project.version("Tea-Taster", definition={"tools": [tool]}, description="d", metadata={"a": "b"}).json()
    assert (made["object"], made["id"], made["version"]) == ("agent.version", "Tea-Taster:1", "1")
    assert (made["description"], made["metadata"], made["status"]) == ("d", {"a": "b"}, "active")
    listed = project.own("GET", "/agents").json()
    assert [each["name"] for each in listed["data"]] == ["Tea-Taster"]
    assert listed["data"][0]["versions"]["latest"] == made
    assert (listed["last_id"], listed["has_more"]) == ("Tea-Taster", False)
    assert project.own("GET", "/agents/tea-taster").json() == listed["data"][0]
    asked = {"input": "How long is sencha steamed?"}
    reference = {"type": "agent_reference", "name": "tea-taster"}
    answer = project.openai("POST", "/responses", {**asked, "agent_reference": reference}).json()
    assert answer["agent_reference"] == {**reference, "name": "Tea-Taster", "version": "1"}
    assert "thirty seconds" in answer["output"][-1]["content"][0]["text"]
    own_door = "/agents/Tea-Taster/endpoint/protocols/openai/responses"
    assert project.own("POST", own_door, asked).json()["agent_reference"]["version"] == "1"
    gone = project.own("DELETE", "/agents/Tea-Taster").json()
    assert gone == {"object": "agent.deleted", "name": "Tea-Taster", "deleted": True}
    assert refusal(project.own("GET", "/agents/Tea-Taster")) == (404, "not_found")
    assert project.openai("GET", f"/vector_stores/{store}").status == 200
