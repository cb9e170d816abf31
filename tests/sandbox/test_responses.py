"""/responses, through the official SDK wherever it lets a request through."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI

from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.sandbox.wire import ask

WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": None,
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "unit": {"enum": ["celsius", "kelvin"]},
            "days": {"type": "integer"},
        },
    },
    "strict": False,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("responses"), control=True) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[OpenAI]:
    with OpenAI(api_key="sk-source-0001", base_url=server.url, max_retries=0, _strict_response_validation=True) as made:
        yield made


@pytest.fixture(scope="module")
def store(client: OpenAI) -> str:
    made = client.vector_stores.create(name="Animals")
    for name, text in {"sea.md": b"The whale swims in the ocean.", "land.md": b"A horse runs over the meadow."}.items():
        file = client.files.create(file=(name, text), purpose="assistants")
        client.vector_stores.files.create(file_id=file.id, vector_store_id=made.id, attributes={"name": name})
    return made.id


def test_the_answer_is_what_the_files_say(client: OpenAI, store: str) -> None:
    made = client.responses.create(
        model="gpt-4o",
        instructions="Answer from the files.",
        input="Where does the whale swim?",
        temperature=0.2,
        top_p=0.9,
        metadata={"k": "v"},
        tools=[
            {
                "type": "file_search",
                "vector_store_ids": [store],
                "max_num_results": 1,
                "ranking_options": {"ranker": "auto", "score_threshold": 0.1},
            }
        ],
        include=["file_search_call.results"],
    )
    assert made.output_text == "The whale swims in the ocean."
    searched, message = made.output
    assert searched.type == "file_search_call"
    assert searched.results
    assert [(each.filename, each.attributes) for each in searched.results] == [("sea.md", {"name": "sea.md"})]
    assert message.type == "message"
    assert message.content[0].type == "output_text"
    assert [each.to_dict()["filename"] for each in message.content[0].annotations] == ["sea.md"]
    assert (made.status, made.temperature, made.metadata) == ("completed", 0.2, {"k": "v"})
    assert client.responses.retrieve(made.id) == made
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError, match="not found"):
        client.responses.retrieve(made.id)


def test_what_the_files_do_not_say(client: OpenAI, store: str) -> None:
    tools: Any = [{"type": "file_search", "vector_store_ids": [store]}]
    assert client.responses.create(model="o3", input="Zebra?", tools=tools).output_text.startswith("Nothing")
    filtered = [{**tools[0], "filters": {"type": "eq", "key": "name", "value": "land.md"}}]
    made = client.responses.create(model="o3", input="the whale, the horse", tools=filtered)
    assert made.output_text == "A horse runs over the meadow."


def test_a_function_is_called_and_its_output_told(client: OpenAI) -> None:
    asked = 'Call get_weather for "Bern", in kelvin, for 3 days.'
    made = client.responses.create(model="gpt-4o", input=asked, tools=[WEATHER])
    (call,) = made.output
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"city": "Bern", "unit": "celsius", "days": 0}
    answered: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "12 degrees"}
    histories: list[Any] = [
        {"previous_response_id": made.id, "input": [answered]},
        {"input": [{"role": "user", "content": asked}, *(item.to_dict() for item in made.output), answered]},
    ]
    for history in histories:
        told = client.responses.create(model="gpt-4o", tools=[WEATHER], **history)
        assert told.output_text == "get_weather says: 12 degrees"
    again = client.responses.create(model="gpt-4o", input="Well?", previous_response_id=told.id, tools=[WEATHER])
    assert "no model" in again.output_text


@pytest.mark.parametrize("wanted", ["required", {"type": "function", "name": "get_weather"}])
def test_a_function_that_has_to_be_called(client: OpenAI, wanted: Any) -> None:
    made = client.responses.create(model="gpt-4o", input="Well?", tools=[WEATHER], tool_choice=wanted)
    assert [item.type for item in made.output] == ["function_call"]
    none = client.responses.create(model="gpt-4o", input="get_weather!", tools=[WEATHER], tool_choice="none")
    assert [item.type for item in none.output] == ["message"]


def test_the_answer_in_a_format(client: OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"say": {"$ref": "#/$defs/words"}, "sure": {"type": ["null", "boolean"]}},
        "$defs": {"words": {"type": "array", "items": {"anyOf": [{"type": "string"}]}}},
    }
    made = client.responses.create(
        model="gpt-4o", input="Hi", text={"format": {"type": "json_schema", "name": "n", "schema": schema}}
    )
    answer = json.loads(made.output_text)
    assert set(answer) == {"say", "sure"}
    assert "Hi" in answer["say"][0]
    loose = client.responses.create(model="gpt-4o", input="As JSON", text={"format": {"type": "json_object"}})
    assert isinstance(json.loads(loose.output_text), dict)


def test_the_code_interpreter_takes_files_and_containers(client: OpenAI) -> None:
    file = client.files.create(file=("a.csv", b"a,b"), purpose="assistants").id
    container = client.containers.create(name="c").id
    for where in ({"type": "auto", "file_ids": [file]}, {"type": "auto"}, container):
        tool: Any = {"type": "code_interpreter", "container": where}
        assert client.responses.create(model="gpt-4o", input="Hi", tools=[tool]).tools[0].to_dict() == tool


def test_what_is_not_kept(client: OpenAI) -> None:
    made = client.responses.create(model="gpt-5.1", input="Hi", store=False, reasoning={"effort": "low"})
    assert made.reasoning
    assert made.reasoning.effort == "low"
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


SEARCH = {"type": "file_search", "vector_store_ids": ["vs_none"]}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": ""}
FUNCTION = {
    "type": "function",
    "name": "f",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
}
SCHEMA = {"type": "json_schema", "name": "n", "schema": {}}


def without(key: str) -> dict[str, object]:
    return {name: value for name, value in FUNCTION.items() if name != key}


@pytest.mark.parametrize(
    ("change", "status", "param", "code"),
    [
        ({"model": "gpt-none"}, 400, "model", "model_not_found"),
        ({"model": "whisper-1"}, 400, "model", "unsupported_model"),
        ({"input": None}, 400, "input", "invalid_type"),
        ({"response_format": "auto"}, 400, "response_format", "unknown_parameter"),
        ({"tool_resources": {}}, 400, "tool_resources", "unknown_parameter"),
        ({"name": "n"}, 400, "name", "unknown_parameter"),
        ({"stream": True}, 400, "stream", "unsupported_parameter"),
        ({"temperature": 3}, 400, "temperature", "decimal_above_max_value"),
        ({"model": "o3", "temperature": 1}, 400, "temperature", None),
        ({"model": "gpt-5.1", "top_p": 1}, 400, "top_p", None),
        ({"reasoning": {"effort": "low"}}, 400, "reasoning.effort", "unsupported_parameter"),
        ({"text": {"verbosity": "high"}}, 400, "text.verbosity", "unsupported_value"),
        ({"metadata": {"k" * 65: ""}}, 400, "metadata", "property_name_above_max_length"),
        ({"metadata": {"k": "v" * 513}}, 400, "metadata.k", "string_above_max_length"),
        ({"text": {"format": {"type": "json_object"}}}, 400, "input", None),
        ({"text": {"format": {**SCHEMA, "json_schema": {}}}}, 400, "text.format.json_schema", "unknown_parameter"),
        (
            {"text": {"format": {"type": "json_schema", "name": "n"}}},
            400,
            "text.format.schema",
            "missing_required_parameter",
        ),
        ({"tools": [{"type": "retrieval"}]}, 400, "tools[0].type", "invalid_value"),
        ({"tools": [{"type": "function", "function": FUNCTION}]}, 400, "tools[0].function", "unknown_parameter"),
        *(
            ({"tools": [without(key)]}, 400, f"tools[0].{key}", "missing_required_parameter")
            for key in ("name", "parameters", "strict")
        ),
        ({"tools": [{"type": "file_search"}]}, 400, "tools[0].vector_store_ids", "missing_required_parameter"),
        ({"tools": [{**SEARCH, "vector_store_ids": []}]}, 400, "tools[0].vector_store_ids", "empty_array"),
        ({"tools": [SEARCH]}, 404, "tools[0].vector_store_ids", None),
        ({"tools": [{"type": "code_interpreter"}]}, 400, "tools[0].container", "missing_required_parameter"),
        ({"tools": [{"type": "code_interpreter", "container": "cntr_none"}]}, 404, "tools[0].container", None),
        (
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["file-none"]}}]},
            404,
            "tools[0].container.file_ids",
            None,
        ),
        (
            {"tools": [{"type": "code_interpreter", "container": {"type": "auto", "file_ids": ["f"] * 51}}]},
            400,
            "tools[0].container.file_ids",
            "array_above_max_length",
        ),
        ({"tool_choice": "required"}, 400, "tool_choice", None),
        ({"tool_choice": {"type": "function", "name": "g"}, "tools": [FUNCTION]}, 400, "tool_choice", None),
        ({"previous_response_id": "resp_none"}, 400, "previous_response_id", "previous_response_not_found"),
        ({"input": [CALL]}, 400, "input", None),
        ({"input": [OUTPUT]}, 400, "input", None),
        ({"input": [{"role": "robot", "content": ""}]}, 400, "input[0].role", "invalid_value"),
        ({"input": [{"type": "thought"}]}, 400, "input[0].type", "invalid_value"),
    ],
)
def test_refusals(server: Running, change: dict[str, object], status: int, param: str, code: str | None) -> None:
    answer = ask(server.url, "POST", "/responses", {"model": "gpt-4o", "input": "Hi", **change})
    assert (answer.status, answer.error["param"], answer.error["code"]) == (status, param, code), answer.body


def test_an_input_is_needed(server: Running) -> None:
    answer = ask(server.url, "POST", "/responses", {"model": "gpt-4o"})
    assert (answer.status, answer.error["code"]) == (400, "missing_required_parameter")


def test_an_expired_store_is_not_searched(server: Running, client: OpenAI, store: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        client.vector_stores.update(store, expires_after={"anchor": "last_active_at", "days": 1})
        patch.setattr(server._service, "clock", lambda: 4e9)
        answer = ask(
            server.url,
            "POST",
            "/responses",
            {"model": "gpt-4o", "input": "Hi", "tools": [{"type": "file_search", "vector_store_ids": [store]}]},
        )
    assert (answer.status, answer.error["code"]) == (400, "vector_store_expired")
    client.vector_stores.update(store, expires_after=None)


def test_where_there_are_no_responses(box: Running) -> None:
    assert not PROFILES["foundry-classic"].responses_api
    box.behave(responses_api=False)
    answer = ask(box.url, "POST", "/responses", {"model": "gpt-4o", "input": "Hi"})
    assert (answer.status, answer.error["message"]) == (404, "Invalid URL (POST /v1/responses)")


def test_a_key_may_lack_a_permission(box: Running) -> None:
    box.behave(missing_scopes=("api.responses.read", "api.model.read"))
    for path in ("/responses/resp_none", "/models"):
        answer = ask(box.url, "GET", path)
        assert (answer.status, answer.error["code"]) == (403, "missing_scope")
    assert ask(box.url, "POST", "/responses", {"model": "gpt-4o", "input": "Hi"}).status == 200


@pytest.mark.parametrize("strict", [False, True])
def test_a_schema_that_refers_to_itself_in_every_place_is_answered(server: Running, strict: bool) -> None:
    names = [f"property{number}" for number in range(40)]
    schema = {
        "type": "object",
        "properties": {name: {"$ref": "#"} for name in names},
        "required": names,
        "additionalProperties": False,
    }
    asked = {"type": "json_schema", "name": "all", "schema": schema, "strict": strict}
    made = ask(server.url, "POST", "/responses", {"model": "gpt-4o", "input": "x" * 9000, "text": {"format": asked}})
    assert made.status == 200, made.body
    assert set(json.loads(made.json()["output"][0]["content"][0]["text"])) == set(names)


@pytest.mark.parametrize("properties", [[{}], [["a"]], 1, "a", True])
def test_properties_that_are_none(server: Running, properties: object) -> None:
    schema = {"type": "object", "properties": properties, "required": [], "additionalProperties": False}
    function = {**WEATHER, "parameters": schema, "strict": True}
    assert ask(server.url, "POST", "/responses", {"model": "gpt-4o", "input": "x", "tools": [function]}).status < 500


def test_numbers_and_quotes_of_any_length(server: Running) -> None:
    asked = {"model": "gpt-4o", "tools": [WEATHER], "tool_choice": "required"}
    for question in ("9" * 5000, "„" * 1_000_000, "-" * 1_000_000, "'a" * 500_000):
        made = ask(server.url, "POST", "/responses", {**asked, "input": question})
        assert made.status == 200, question[:10]
