"""Containers: what goes in comes out, until they expire or are deleted."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.server import Running
from tests.sandbox.wire import KEY, Answer, ask, form, upload

OTHER = "sk-destination-0001"
CONTENT = bytes(range(256)) * 9


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("containers"), clock=clock) as running:
        yield running


@pytest.fixture
def box(shared: Running) -> Running:
    shared.behave(**{name: getattr(Behaviour(), name) for name in Behaviour.__struct_fields__})
    return shared


def made(box: Running, **body: Any) -> str:
    answer = ask(box.url, "POST", "/containers", {"name": "c", **body})
    assert answer.status == 200, answer.body
    return f"/containers/{answer.json()['id']}"


def copied(box: Running, container: str, file: str) -> Answer:
    return ask(box.url, "POST", f"{container}/files", {"file_id": file})


def test_a_file_whose_download_is_refused_comes_out_of_a_container(box: Running) -> None:
    file = upload(box.url, "a b.pdf", CONTENT).json()["id"]
    assert ask(box.url, "GET", f"/files/{file}/content").status == 400
    container = made(box)
    copy = copied(box, container, file).json()
    assert copy["bytes"] == len(CONTENT)
    assert copy["path"].startswith("/mnt/data/")
    assert copy["path"].endswith("-a b.pdf")
    assert len(copy["path"]) == len("/mnt/data/-a b.pdf") + 32
    content = ask(box.url, "GET", f"{container}/files/{copy['id']}/content")
    assert content.body == CONTENT
    assert int(content.headers["content-length"]) == len(CONTENT)
    assert ask(box.url, "DELETE", f"/files/{file}").status == 200
    assert ask(box.url, "GET", f"{container}/files/{copy['id']}/content").body == CONTENT


def test_the_sdk_reads_every_answer(box: Running) -> None:
    file = upload(box.url, "a.txt", b"text").json()["id"]
    with openai.OpenAI(base_url=box.url, api_key=KEY, _strict_response_validation=True) as sdk:
        container = sdk.containers.create(name="mine", file_ids=[file], memory_limit="4g")
        assert (container.status, container.memory_limit) == ("running", "4g")
        assert sdk.containers.retrieve(container.id).name == "mine"
        assert [each.id for each in sdk.containers.list(name="mine")] == [container.id]
        own = sdk.containers.files.create(container.id, file=("own.bin", b"\0\1"))
        copy = sdk.containers.files.create(container.id, file_id=file)
        listed = [each.id for each in sdk.containers.files.list(container.id, order="asc")]
        assert listed[1:] == [own.id, copy.id]
        assert sdk.containers.files.retrieve(own.id, container_id=container.id).source == "user"
        assert sdk.containers.files.content.retrieve(own.id, container_id=container.id).content == b"\0\1"
        sdk.containers.files.delete(own.id, container_id=container.id)
        with pytest.raises(openai.NotFoundError):
            sdk.containers.files.retrieve(own.id, container_id=container.id)
        sdk.containers.delete(container.id)
        assert list(sdk.containers.list(name="mine")) == []


def test_one_that_is_deleted_is_gone_with_its_blobs(box: Running) -> None:
    container = made(box, file_ids=[upload(box.url, "a.txt", hashlib.sha256(b"x").digest()).json()["id"]])
    blobs = sum(1 for path in (box.data / "blobs").rglob("*") if path.is_file())
    assert ask(box.url, "DELETE", container).json()["object"] == "container.deleted"
    assert sum(1 for path in (box.data / "blobs").rglob("*") if path.is_file()) == blobs - 1
    for method, path in (("GET", container), ("DELETE", container), ("GET", f"{container}/files")):
        assert ask(box.url, method, path).status == 404


def test_twenty_idle_minutes_end_it_and_any_operation_keeps_it_alive(box: Running, clock: Clock) -> None:
    file = upload(box.url, "a.txt", b"text").json()["id"]
    container = made(box)
    copy = copied(box, container, file).json()["id"]
    for _ in range(3):
        clock.now += 19 * 60
        assert ask(box.url, "GET", container).json()["status"] == "running"
    clock.now += 20 * 60
    for path in (f"{container}/files", f"{container}/files/{copy}", f"{container}/files/{copy}/content"):
        answer = ask(box.url, "GET", path)
        assert (answer.status, answer.error["message"]) == (400, "Container is expired.")
    assert copied(box, container, file).status == 400
    assert ask(box.url, "GET", container).json()["status"] == "expired"
    assert ask(box.url, "DELETE", container).status == 200


def test_a_shorter_life_of_its_own(box: Running, clock: Clock) -> None:
    container = made(box, expires_after={"anchor": "last_active_at", "minutes": 2})
    clock.now += 120
    assert ask(box.url, "GET", f"{container}/files").status == 400


def test_switches(box: Running) -> None:
    file = upload(box.url, "a.txt", b"text").json()["id"]
    box.behave(container_alters_files=True)
    container = made(box)
    assert copied(box, container, file).json()["bytes"] == 5
    box.behave(container_operations=2)
    assert copied(box, container, file).status == 200
    assert copied(box, container, file).error["message"] == "Container is expired."
    box.behave(container_operations=None, max_containers=1)
    refused = ask(box.url, "POST", "/containers", {"name": "c"})
    assert (refused.status, refused.error["code"]) == (400, "container_limit_exceeded")
    assert ask(box.url, "POST", "/containers", {"name": "c"}, key=OTHER).status == 200
    box.behave(containers=False)
    for method, path in (("POST", "/containers"), ("GET", "/containers"), ("GET", f"{container}/files")):
        refused = ask(box.url, method, path, {"name": "c"} if method == "POST" else None)
        assert (refused.status, refused.error["code"]) == (403, "missing_scope")
        assert "api.containers.write" in refused.error["message"]


def test_what_is_refused(box: Running) -> None:
    container = made(box)
    file = upload(box.url, "a.txt", b"text").json()["id"]
    assert ask(box.url, "POST", "/containers", {}).error["param"] == "name"
    assert ask(box.url, "POST", "/containers", {"name": "c", "memory_limit": "2g"}).status == 400
    assert ask(box.url, "POST", "/containers", {"name": "c", "file_ids": ["file-x"]}).status == 404
    assert copied(box, container, "file-x").status == 404
    assert copied(box, "/containers/cntr_x", file).status == 404
    assert ask(box.url, "POST", f"{container}/files", {}).error["param"] == "file_id"
    assert ask(box.url, "GET", f"{container}/files/cfile_x").status == 404
    assert ask(box.url, "GET", container, key=OTHER).status == 404
    body, headers = form("a.txt", b"data")
    assert ask(box.url, "POST", "/containers/cntr_x/files", body, headers=headers).status == 404
    nameless = body.replace(b'; filename="a.txt"', b"")
    assert ask(box.url, "POST", f"{container}/files", nameless, headers=headers).error["param"] == "file"


def test_they_survive_a_restart(tmp_path: Path) -> None:
    with Running(tmp_path) as box:
        container = made(box, file_ids=[upload(box.url, "a.txt", b"text").json()["id"]])
    with Running(tmp_path) as box:
        assert len(ask(box.url, "GET", f"{container}/files").json()["data"]) == 1
