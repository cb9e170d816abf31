"""The sandbox as Azure AI Foundry, and the other servers that it can stand as."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from holdall.cli.sandbox import _PROFILES
from holdall.sandbox.entra import claims, token
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.sandbox.wire import Answer, ask

NOW = 1_700_000_000.0
TOKEN = token(NOW + 3600)


@pytest.fixture(scope="module")
def foundry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    behaviour = PROFILES["foundry-classic"]
    with Running(tmp_path_factory.mktemp("foundry"), behaviour=behaviour, clock=lambda: NOW) as box:
        yield box


def call(
    box: Running, method: str, path: str, body: object = None, *, query: str = "api-version=v1", key: str = TOKEN
) -> Answer:
    return ask(box.url.partition("?")[0], method, f"{path}?{query}", body, key=key, headers={"OpenAI-Beta": ""})


def refusal(answer: Answer) -> tuple[int, str]:
    error = answer.json()["error"]
    assert set(error) == {"code", "message"}
    return answer.status, error["code"]


def test_the_sdk_works_with_path_query_and_token(foundry: Running) -> None:
    base, _, version = foundry.url.partition("?")
    assert urlsplit(base).path == "/api/projects/sandbox"
    query: Any = dict([version.split("=")])
    with openai.OpenAI(base_url=base, api_key=TOKEN, default_query=query) as sdk:
        file = sdk.files.create(file=("a.txt", b"text"), purpose="assistants")
        assert file.id.startswith("assistant-")
        store = sdk.vector_stores.create(name="s", file_ids=[file.id])
        resources: Any = {"file_search": {"vector_store_ids": [store.id]}}
        with pytest.warns(DeprecationWarning, match="deprecated"):
            made = sdk.beta.assistants.create(model="support-production", tool_resources=resources)
        with pytest.warns(DeprecationWarning, match="deprecated"):
            listed = list(sdk.beta.assistants.list())
        assert made.id in [each.id for each in listed]
        with pytest.raises(openai.NotFoundError):
            sdk.vector_stores.files.content(file.id, vector_store_id=store.id)


def test_tools_of_its_own_come_back_as_they_were_sent(foundry: Running) -> None:
    tools: list[dict[str, Any]] = [
        {"type": "bing_grounding", "bing_grounding": {"connections": [{"connection_id": "/subscriptions/x"}]}},
        {"type": "azure_ai_search"},
        {"type": "mcp", "server_label": "docs", "server_url": "https://example.com", "allowed_tools": []},
        {"type": "connected_agent", "connected_agent": {"id": "asst_x", "name": "n", "description": "d"}},
    ]
    resources = {"azure_ai_search": {"indexes": [{"index_connection_id": "c", "index_name": "i", "top_k": 5}]}}
    body = {"model": "gpt-4o", "tools": tools, "tool_resources": resources}
    made = call(foundry, "POST", "/assistants", body).json()
    assert (made["tools"], made["tool_resources"]) == (tools, resources)
    assert call(foundry, "GET", f"/assistants/{made['id']}").json() == made
    unknown = call(foundry, "POST", "/assistants", {"model": "gpt-4o", "tools": [{"type": "telepathy"}]})
    assert refusal(unknown) == (400, "invalid_value")


def test_models_are_deployments(foundry: Running) -> None:
    listed = call(foundry, "GET", "/deployments").json()["value"]
    assert "support-production" in [each["name"] for each in listed]
    assert refusal(call(foundry, "GET", "/models")) == (404, "404")
    assert refusal(call(foundry, "POST", "/assistants", {"model": "gpt-4"})) == (404, "model_not_found")


def test_every_name_is_a_project(foundry: Running) -> None:
    assistant = call(foundry, "POST", "/assistants", {"model": "gpt-4o"}).json()["id"]
    other = foundry.url.partition("?")[0].replace("/sandbox", "/other")
    assert ask(other, "GET", f"/assistants/{assistant}?api-version=v1", key=TOKEN).status == 404
    assert ask(other, "GET", "/assistants?api-version=v1", key=token(NOW + 1)).json()["data"] == []


def test_what_is_refused_is_refused_in_azures_words(foundry: Running) -> None:
    assert refusal(call(foundry, "GET", "/assistants", query="limit=1")) == (400, "BadRequest")
    assert refusal(call(foundry, "GET", "/assistants", query="api-version=latest")) == (400, "BadRequest")
    for key in (
        "sk-source-0001",
        token(NOW),
        token(NOW + 1, "https://management.azure.com"),
        "eyJ.eyJ.x",
        "eyJhIjoxfQ.e30.x",
    ):
        assert refusal(call(foundry, "GET", "/assistants", key=key)) == (401, "401")
    assert foundry.requests()[-1].status == 401
    assert "expired" in call(foundry, "GET", "/assistants", key=token(NOW)).json()["error"]["message"]
    for path in ("/containers", "/responses"):
        assert refusal(call(foundry, "GET", path)) == (404, "404")
    answer = call(foundry, "GET", "/assistants/asst_x")
    assert refusal(answer) == (404, "404")
    assert not [name for name in answer.headers if name.startswith("openai-")]
    host = f"http://{urlsplit(foundry.url).netloc}/v1"
    assert ask(host, "GET", "/assistants?api-version=v1", key=TOKEN).status == 404


def test_a_token_as_a_command_prints_it() -> None:
    command = [sys.executable, "-m", "holdall.sandbox.entra", "3600"]
    before = int(time.time())
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    told = claims(printed)
    assert told is not None
    assert before + 3600 <= told.exp <= time.time() + 3600


def test_the_commands_profiles_are_all_of_them() -> None:
    assert tuple(PROFILES) == _PROFILES


def test_a_look_alike_stands(tmp_path_factory: pytest.TempPathFactory) -> None:
    with Running(tmp_path_factory.mktemp("alike"), behaviour=PROFILES["look-alike"]) as box:
        assert "has_more" not in ask(box.url, "GET", "/assistants").json()
        assert "detail" in ask(box.url, "GET", "/assistants/asst_x").json()
