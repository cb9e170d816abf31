"""What OpenAI's endpoints do in a Foundry project, and which connections and deployments it lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import openai
import pytest

from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from holdall.sandbox.service.service import ApiSurface
from tests.sandbox.foundry_project import NOW, TOKEN, FoundryProject, refusal
from tests.sandbox.foundry_sample import MODELS, fill_foundry
from tests.sandbox.wire import form

NOT_OWNED = "Files [{}] were not found due to ownership verification failure"


class Clock:
    now = NOW


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], FoundryProject]]:
    numbers = count()
    behaviour = PROFILES["foundry-new"]
    with Running(tmp_path_factory.mktemp("openai"), behaviour=behaviour, clock=lambda: Clock.now) as box:
        yield lambda: FoundryProject(box=box, name=f"p{next(numbers)}")


@pytest.fixture
def project(fresh: Callable[[], FoundryProject]) -> FoundryProject:
    return fresh()


def agent_reference(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "agent_reference", "name": name, **more}


def code(files: list[str]) -> dict[str, Any]:
    return {"type": "code_interpreter", "container": {"type": "auto", "file_ids": files}}


def search(stores: list[str]) -> dict[str, Any]:
    return {"type": "file_search", "vector_store_ids": stores}


def test_the_sdk_works_below_openai_v1(project: FoundryProject) -> None:
    assert project.box.url.endswith("/api/projects/sandbox")
    base = project.box.url.replace("/sandbox", f"/{project.name}/openai/v1")
    project.version("a", definition={"instructions": "i"})
    with openai.OpenAI(base_url=base, api_key=TOKEN) as sdk:
        file = sdk.files.create(file=("a.txt", b"text"), purpose="assistants")
        store = sdk.vector_stores.create(name="s", file_ids=[file.id])
        assert [each.id for each in sdk.vector_stores.files.list(store.id)] == [file.id]
        container = sdk.containers.create(name="c", file_ids=[file.id])
        assert len(list(sdk.containers.files.list(container.id))) == 1
        made = sdk.responses.create(input="hello", extra_body={"agent_reference": agent_reference("a")})
        assert (made.model, made.instructions) == ("gpt-4o", "i")
        assert [each.id for each in sdk.models.list()] == list(project.box.behaviour.deployments)
        with pytest.raises(openai.NotFoundError):
            sdk.vector_stores.search(store.id, query="text")
        with pytest.raises(openai.NotFoundError):
            sdk.vector_stores.files.content(file.id, vector_store_id=store.id)
        with pytest.raises(openai.BadRequestError, match="Not allowed to download"):
            sdk.files.content(file.id)


def test_a_stray_api_version_is_refused_or_borne(project: FoundryProject) -> None:
    refused = project.openai("GET", "/files", query="api-version=v1")
    assert (refused.status, refused.json()["error"]["code"]) == (400, "BadRequest")
    with project.behaving(bears_api_version=True):
        assert project.openai("GET", "/files", query="api-version=v1").status == 200


def test_the_log_names_the_door(project: FoundryProject) -> None:
    project.openai("GET", "/files")
    project.own("GET", "/agents")
    assert [(each.path, each.surface) for each in project.box.requests()[-2:]] == [
        ("/v1/files", ApiSurface.CURRENT),
        ("/v1/agents", ApiSurface.CURRENT),
    ]


def test_a_file_of_another_purpose_is_taken_and_is_of_no_use(project: FoundryProject) -> None:
    file = project.upload("a.txt", b"text", purpose="user_data")
    assert file.startswith("file-")
    assert project.openai("GET", f"/files/{file}").json()["purpose"] == "user_data"
    store = project.openai("POST", "/vector_stores", {}).json()["id"]
    answers = [
        project.openai("POST", f"/vector_stores/{store}/files", {"file_id": file}),
        project.openai("POST", f"/vector_stores/{store}/file_batches", {"file_ids": [file]}),
        project.openai("POST", "/vector_stores", {"file_ids": [file]}),
        project.openai("POST", "/containers", {"name": "c", "file_ids": [file]}),
        project.version("a", definition={"tools": [code([file])]}),
    ]
    for answer in answers:
        assert refusal(answer)[0] == 400
        assert "Expected an ID that begins with 'assistant'" in answer.json()["error"]["message"]
    # Where ids begin as Azure's documents print them, nothing can be told from them.
    with project.behaving(oddities=frozenset()):
        assert project.upload("b.txt", b"text").startswith("file-")
        assert project.openai("POST", f"/vector_stores/{store}/files", {"file_id": file}).status == 200


def test_a_file_that_is_not_there_is_somebody_elses(project: FoundryProject, fresh: Any) -> None:
    store = project.openai("POST", "/vector_stores", {}).json()["id"]
    for file in ("assistant-nobodys", fresh().upload("a.txt", b"text")):
        for answer in (
            project.openai("POST", f"/vector_stores/{store}/files", {"file_id": file}),
            project.openai("POST", f"/vector_stores/{store}/file_batches", {"files": [{"file_id": file}]}),
            project.openai("POST", "/containers", {"name": "c", "file_ids": [file]}),
            project.version("a", definition={"tools": [code([file])]}),
            project.openai("POST", "/responses", {"model": "gpt-4o", "input": "x", "tools": [code([file])]}),
        ):
            assert answer.status == 400
            error = answer.json()["error"]
            assert (error["message"], error["param"]) == (NOT_OWNED.format(file), None)
        assert project.openai("GET", f"/files/{file}").status == 404
    assert project.openai("GET", f"/vector_stores/{store}/files").json()["data"] == []


def test_a_batch_has_500_files(project: FoundryProject) -> None:
    store = project.openai("POST", "/vector_stores", {}).json()["id"]
    body = {"file_ids": ["assistant-x"] * 501}
    answer = project.openai("POST", f"/vector_stores/{store}/file_batches", body)
    assert refusal(answer) == (400, "array_above_max_length")


def test_a_file_that_is_too_large(project: FoundryProject) -> None:
    with project.behaving(max_file_bytes=10):
        body, headers = form("a.txt", b"x" * 11, purpose="assistants")
        assert refusal(project.ask("POST", "/openai/v1/files", body, headers)) == (400, "file_size_exceeded")


def test_a_new_file_is_pending_for_a_while(project: FoundryProject) -> None:
    with project.behaving(file_pending=5.0):
        file = project.upload("a.txt", b"text")
        assert project.openai("GET", f"/files/{file}").json()["status"] == "pending"
        Clock.now += 5
        assert project.openai("GET", f"/files/{file}").json()["status"] == "processed"


def test_searches_downloads_and_parsed_text_can_be_had_elsewhere(project: FoundryProject) -> None:
    file = project.upload("a.txt", b"some text")
    store = project.openai("POST", "/vector_stores", {"file_ids": [file]}).json()["id"]
    with project.behaving(searches_stores=True, serve_assistants_files=True, oddities=frozenset([Oddity.ID_ASSISTANT])):
        found = project.openai("POST", f"/vector_stores/{store}/search", {"query": "text"}).json()["data"]
        assert found[0]["file_id"] == file
        assert project.openai("GET", f"/files/{file}/content").body == b"some text"
        assert project.openai("GET", f"/vector_stores/{store}/files/{file}/content").json()["data"][0]["text"]


def test_versions_are_checked_when_they_are_made_or_when_they_answer(project: FoundryProject) -> None:
    wrong: list[dict[str, Any]] = [
        {"model": "nobody-deployed"},
        {"tools": [search(["vs_nobodys"])]},
        {"tools": [code(["assistant-nobodys"])]},
        {"model": "o3", "top_p": 0.5},
    ]
    assert [project.version("a", definition=each).status for each in wrong] == [400] * 4
    with project.behaving(checks_versions=False):
        for number, definition in enumerate(wrong):
            assert project.version(f"a{number}", definition=definition).status == 200
            asked = {"input": "x", "agent_reference": agent_reference(f"a{number}")}
            answer = project.openai("POST", "/responses", asked)
            assert answer.status == (404 if number < 2 else 400), answer.body
            if number == 0:
                assert refusal(answer) == (404, "DeploymentNotFound")


def test_two_stores_are_taken_or_refused(project: FoundryProject) -> None:
    files = [project.upload(f"{word}.txt", word.encode()) for word in ("sencha", "gyokuro", "matcha")]
    stores = [project.openai("POST", "/vector_stores", {"file_ids": [file]}).json()["id"] for file in files]
    made = project.version("a", definition={"tools": [search(stores)]})
    assert made.status == 200
    asked = {"input": "matcha", "agent_reference": agent_reference("a")}
    assert "matcha" in project.openai("POST", "/responses", asked).json()["output"][-1]["content"][0]["text"]
    with project.behaving(one_store_per_search=True):
        assert refusal(project.version("a", definition={"tools": [search(stores)]})) == (400, "UserError")
        assert project.version("a", definition={"tools": [search(stores[:1])]}).status == 200


def test_stores_outlive_their_agent_or_go_with_it(project: FoundryProject) -> None:
    store = project.openai("POST", "/vector_stores", {}).json()["id"]
    statuses: list[int] = []
    for goes in (False, True):
        project.version("a", definition={"tools": [search([store, "{{another}}"])]})
        with project.behaving(deletes_stores_of_agents=goes):
            project.own("DELETE", "/agents/a")
        statuses.append(project.openai("GET", f"/vector_stores/{store}").status)
    assert statuses == [200, 404]


def test_placeholders_are_filled_in_when_it_answers(project: FoundryProject) -> None:
    file = project.upload("a.txt", b"The answer is sencha.")
    store = project.openai("POST", "/vector_stores", {"file_ids": [file]}).json()["id"]
    inputs = {"store": {"default_value": "vs_nobodys"}, "mood": {"default_value": "kind"}}
    definition = {"instructions": "Be {{mood}}, {{nobody}}.", "tools": [search(["{{store}}"])]}
    project.version("a", definition={**definition, "structured_inputs": inputs})
    asked = {"input": "sencha", "agent_reference": agent_reference("a")}
    assert project.openai("POST", "/responses", asked).status == 404
    answer = project.openai("POST", "/responses", {**asked, "structured_inputs": {"store": store}}).json()
    assert answer["instructions"] == "Be kind, {{nobody}}."
    assert "sencha" in answer["output"][-1]["content"][0]["text"]


def test_an_answer_is_made_as_the_definition_says(project: FoundryProject) -> None:
    schema = {"type": "object", "properties": {"word": {"type": "string"}}}
    function = {"type": "function", "name": "brew", "parameters": schema, "strict": False}
    project.version(
        "a",
        definition={
            "temperature": 0.5,
            "tools": [function, {"type": "web_search"}, {"type": "code_interpreter"}],
            "tool_choice": {"type": "web_search"},
            "text": {"format": {"type": "json_schema", "name": "n", "schema": schema}},
        },
    )
    asked = {"agent_reference": agent_reference("a"), "store": True}
    called = project.openai("POST", "/responses", {**asked, "input": "please brew"}).json()
    assert called["output"][0]["name"] == "brew"
    assert (called["temperature"], [tool["type"] for tool in called["tools"]]) == (
        0.5,
        ["function", "code_interpreter"],
    )
    told = project.openai("POST", "/responses", {**asked, "input": "hello"}).json()
    assert told["output"][0]["content"][0]["text"].startswith('{"word":')
    assert project.openai("GET", f"/responses/{told['id']}").json() == told


def test_references_that_lead_nowhere(project: FoundryProject) -> None:
    project.version("a")
    for reference in (agent_reference("b"), agent_reference("a", version="2")):
        asked = {"input": "x", "agent_reference": reference}
        assert refusal(project.openai("POST", "/responses", asked)) == (404, "404")
    wrong: list[dict[str, Any]] = [
        {"agent_reference": {"name": "a"}},
        {"agent_reference": {"type": "agent", "name": "a"}},
        {"agent_reference": agent_reference("a"), "model": "gpt-4o"},
        {"agent_reference": agent_reference("a"), "tools": []},
    ]
    assert [project.openai("POST", "/responses", {"input": "x", **each}).status for each in wrong] == [400] * 4
    missing = project.openai("POST", "/responses", {"input": "x", "model": "nobody-deployed"})
    assert refusal(missing) == (404, "DeploymentNotFound")


def test_deployments_and_connections_are_listed_page_by_page(project: FoundryProject) -> None:
    found = project.own("GET", "/deployments").json()
    assert set(found) == {"value"}
    models = {each["name"]: each["modelName"] for each in found["value"]}
    assert (models["o3"], models["support-production"]) == ("o3", "gpt-4.1")
    assert project.own("GET", "/deployments/o3").json() == next(each for each in found["value"] if each["name"] == "o3")
    names = [each["name"] for each in project.own("GET", "/connections").json()["value"]]
    assert names == ["search", "bing"]
    with project.behaving(project_page_items=2):
        page = project.own("GET", "/deployments").json()
        got = [each["name"] for each in page["value"]]
        while "nextLink" in page:
            _, _, path = page["nextLink"].partition(f"/api/projects/{project.name}")
            page = project.ask("GET", path).json()
            got += [each["name"] for each in page["value"]]
    assert got == list(models)
    for path in ("/deployments", "/connections", "/connections/bing", "/deployments/o3"):
        assert refusal(project.own("POST", path, {})) == (405, "method_not_allowed")
    for path in ("/connections/x", "/deployments/x"):
        assert refusal(project.own("GET", path)) == (404, "not_found")


def test_who_asks_for_credentials_is_seen(project: FoundryProject) -> None:
    plain = project.own("GET", "/connections/bing").json()
    assert (plain["type"], plain["target"]) == ("GroundingWithBingSearch", "https://api.bing.microsoft.com/")
    assert "secret" not in str(plain)
    told = project.own("POST", "/connections/bing/getConnectionWithCredentials").json()
    assert told["credentials"]["key"] == "secret-of-bing"
    assert project.box.requests()[-1].path == "/v1/connections/bing/getConnectionWithCredentials"


def test_an_agent_that_shows_late(project: FoundryProject) -> None:
    with project.behaving(visible_after=5.0):
        assert project.version("a").status == 200
        paths = ("/agents/a", "/agents/a/versions/1")
        assert [project.own("GET", path).status for path in paths] == [404, 404]
        for path in ("/agents", "/agents/a/versions"):
            assert project.own("GET", path).json()["data"] == []
        Clock.now += 5
        assert [project.own("GET", path).status for path in paths] == [200, 200]
        assert project.version("a").json()["version"] == "2"
        assert [each["id"] for each in project.own("GET", "/agents/a/versions").json()["data"]] == ["a:1"]


def test_oddities_are_of_agents_and_versions_too(project: FoundryProject) -> None:
    for name in ("a", "b", "files", "versions"):
        project.version(name, metadata={"k": "v"})

    def odd(oddity: Oddity, path: str = "/agents", query: str = "") -> Any:
        with project.behaving(oddities=frozenset([oddity])):
            return project.own("GET", path, query=query).json()

    assert odd(Oddity.LIST_SHORT_PAGES)["has_more"] is True
    assert len(odd(Oddity.LIST_EVERYTHING, query="limit=1")["data"]) == 4
    assert odd(Oddity.LIST_ALWAYS_MORE, "/agents/a/versions")["has_more"] is True
    assert "has_more" not in odd(Oddity.LIST_NO_HAS_MORE)
    assert len(odd(Oddity.LIST_CURSOR_FIRST_PAGE, query="after=a")["data"]) == 4
    assert odd(Oddity.LIST_NO_HAS_MORE, "/agents/versions")["name"] == "versions"
    keys = {"k", "_server_revision"}
    assert set(odd(Oddity.METADATA_OWN_KEYS)["data"][0]["versions"]["latest"]["metadata"]) == keys
    assert set(odd(Oddity.METADATA_OWN_KEYS, "/agents/files/versions/1")["metadata"]) == keys
    assert "x_backend" in odd(Oddity.EXTRA_KEYS, "/agents/a")["versions"]["latest"]["definition"]


def test_the_sample_project_as_prompt_agents(project: FoundryProject) -> None:
    with project.behaving(deployments=MODELS):
        made = fill_foundry(project)
        listed = project.own("GET", "/agents", query="limit=100&order=asc").json()["data"]
        assert [each["name"] for each in listed] == made.agents
        assert [project.served(name) for name in made.agents] == ["1"] * len(made.agents)
        asked = {"input": "Which tea is made of gyokuro?", "agent_reference": agent_reference(made.agents[0])}
        answer = project.openai("POST", "/responses", asked).json()
    cited = answer["output"][-1]["content"][0]["annotations"]
    assert {each["file_id"] for each in cited} <= set(made.files.values())
    assert cited
