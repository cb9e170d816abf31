"""Agents (classic) and today's agents in one Foundry project: two doors, and what is lent from one to the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from holdall.sandbox.service.service import ApiSurface
from tests.sandbox.foundry_project import NOW, FoundryProject, refusal


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], FoundryProject]]:
    numbers = count()
    behaviour = PROFILES["foundry-both"]
    with Running(tmp_path_factory.mktemp("both"), behaviour=behaviour, clock=lambda: NOW) as box:
        yield lambda: FoundryProject(box=box, name=f"p{next(numbers)}")


@pytest.fixture
def project(fresh: Callable[[], FoundryProject]) -> FoundryProject:
    return fresh()


def classic(project: FoundryProject) -> tuple[str, str]:
    """The ids of a file and a store of agents (classic), used by one."""
    file = project.upload("a.txt", b"Sencha is steamed.", classic=True)
    store: str = project.own("POST", "/vector_stores", {"name": "s", "file_ids": [file]}).json()["id"]
    resources = {"file_search": {"vector_store_ids": [store]}}
    made = project.own("POST", "/assistants", {"model": "gpt-4o", "tool_resources": resources})
    assert made.json()["id"].startswith("asst_")
    return file, store


def ids(project: FoundryProject, path: str) -> list[str]:
    return [each["id"] for each in project.openai("GET", path).json()["data"]]


def test_each_door_has_its_own(project: FoundryProject) -> None:
    file, store = classic(project)
    project.version("a")
    assert len(project.own("GET", "/assistants").json()["data"]) == 1
    assert len(project.own("GET", "/agents").json()["data"]) == 1
    assert [project.openai("GET", path).status for path in (f"/files/{file}", f"/vector_stores/{store}")] == [404, 404]
    assert (ids(project, "/files"), ids(project, "/vector_stores")) == ([], [])
    new = project.upload("b.txt", b"text")
    assert project.own("GET", f"/files/{new}").status == 404
    assert project.own("GET", f"/files/{file}").status == 200
    assert project.box.requests()[-1].surface is ApiSurface.CLASSIC
    assert refusal(project.version("a", definition={"tools": [{"type": "file_search", "vector_store_ids": [store]}]}))


def test_classic_needs_an_api_version_and_says_little_of_errors(project: FoundryProject) -> None:
    assert project.ask("GET", "/assistants").status == 400
    answer = project.own("GET", "/assistants/asst_x")
    assert (answer.status, set(answer.json()["error"])) == (404, {"code", "message"})
    assert project.openai("GET", "/assistants").status == 404


def test_what_is_lent_answers_by_its_id_and_in_lists_where_a_switch_says_so(project: FoundryProject) -> None:
    file, store = classic(project)
    project.upload("b.txt", b"text")
    with project.behaving(lends_classic=True):
        assert project.openai("GET", f"/files/{file}").json()["filename"] == "a.txt"
        assert ids(project, f"/vector_stores/{store}/files") == [file]
        assert (len(ids(project, "/files")), ids(project, "/vector_stores")) == (1, [])
        tools = [{"type": "file_search", "vector_store_ids": [store]}]
        assert project.version("a", definition={"tools": tools}).status == 200
        asked = {"input": "Is sencha steamed?", "agent_reference": {"type": "agent_reference", "name": "a"}}
        answer = project.openai("POST", "/responses", asked).json()
        assert "steamed" in answer["output"][-1]["content"][0]["text"]
        made = project.openai("POST", "/vector_stores", {"file_ids": [file]}).json()
        assert made["file_counts"]["completed"] == 1
        with project.behaving(lists_classic=True):
            assert len(ids(project, "/files")) == 2
            assert set(ids(project, "/vector_stores")) == {store, made["id"]}
            first = project.openai("GET", "/files", query="limit=1&order=asc").json()
            assert (first["data"][0]["id"], first["has_more"]) == (file, True)
            assert project.openai("GET", "/files", query=f"after={file}&order=asc").json()["has_more"] is False
    assert project.openai("GET", f"/files/{file}").status == 404


def test_nothing_is_lent_to_another_project(project: FoundryProject, fresh: Callable[[], FoundryProject]) -> None:
    file, store = classic(project)
    other = fresh()
    with project.behaving(lends_classic=True, lists_classic=True):
        assert [other.openai("GET", path).status for path in (f"/files/{file}", f"/vector_stores/{store}")] == [404] * 2
        assert (ids(other, "/files"), ids(other, "/vector_stores")) == ([], [])
