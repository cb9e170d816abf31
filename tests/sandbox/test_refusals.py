"""What the sandbox refuses, and in which words: each limit of the API by its own error."""

from __future__ import annotations

from typing import Any

import pytest

from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.sandbox.wire import ask, form, upload

MODEL = {"model": "gpt-4o"}
FUNCTION = {"type": "function", "function": {"name": "f"}}
STATIC = {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 51}

# Body of POST /assistants -> status, code, param.
ASSISTANTS: list[tuple[dict[str, Any], int, str | None, str | None]] = [
    ({}, 400, "missing_required_parameter", "model"),
    ({"model": "gpt-99"}, 404, "model_not_found", None),
    ({"model": "text-embedding-3-small"}, 400, "unsupported_model", "model"),
    ({"model": 4}, 400, "invalid_type", "model"),
    (MODEL | {"id": "asst_x"}, 400, "unknown_parameter", "id"),
    (MODEL | {"name": "x" * 257}, 400, "string_above_max_length", "name"),
    (MODEL | {"description": "x" * 513}, 400, "string_above_max_length", "description"),
    (MODEL | {"instructions": "x" * 256_001}, 400, "string_above_max_length", "instructions"),
    (MODEL | {"tools": [FUNCTION] * 129}, 400, "array_above_max_length", "tools"),
    (MODEL | {"tools": [FUNCTION] * 2}, 400, "invalid_value", "tools"),
    (MODEL | {"tools": [{"type": "retrieval"}]}, 400, "invalid_value", "tools[0].type"),
    (MODEL | {"tools": [{"type": "function"}]}, 400, "missing_required_parameter", "tools[0].function"),
    (
        MODEL | {"tools": [{"type": "function", "function": {"name": "no spaces"}}]},
        400,
        "invalid_value",
        "tools[0].function.name",
    ),
    (MODEL | {"metadata": {str(n): "" for n in range(17)}}, 400, "object_above_max_properties", "metadata"),
    (MODEL | {"metadata": {"k" * 65: ""}}, 400, "property_name_above_max_length", "metadata"),
    (MODEL | {"metadata": {"k": "x" * 513}}, 400, "string_above_max_length", "metadata.k"),
    (MODEL | {"metadata": {"k": 1}}, 400, "invalid_type", "metadata.k"),
    (MODEL | {"temperature": 2.1}, 400, "decimal_above_max_value", "temperature"),
    (MODEL | {"top_p": -0.1}, 400, "decimal_below_min_value", "top_p"),
    (MODEL | {"reasoning_effort": "high"}, 400, "unsupported_parameter", "reasoning_effort"),
    ({"model": "o3", "temperature": 1}, 400, "unsupported_parameter", "temperature"),
    ({"model": "gpt-5-mini", "top_p": 1}, 400, "unsupported_parameter", "top_p"),
    (MODEL | {"response_format": "json"}, 400, "invalid_value", "response_format"),
    (
        MODEL | {"tool_resources": {"code_interpreter": {"file_ids": ["file-x"] * 21}}},
        400,
        "array_above_max_length",
        "tool_resources.code_interpreter.file_ids",
    ),
    (
        MODEL | {"tool_resources": {"code_interpreter": {"file_ids": ["file-x"]}}},
        404,
        None,
        "tool_resources.code_interpreter.file_ids",
    ),
    (
        MODEL | {"tool_resources": {"file_search": {"vector_store_ids": ["vs_x"]}}},
        404,
        None,
        "tool_resources.file_search.vector_store_ids",
    ),
    (
        MODEL | {"tool_resources": {"file_search": {"vector_store_ids": ["vs_x", "vs_y"]}}},
        400,
        "array_above_max_length",
        "tool_resources.file_search.vector_store_ids",
    ),
    (
        MODEL | {"tool_resources": {"file_search": {"vector_store_ids": [], "vector_stores": []}}},
        400,
        None,
        "tool_resources.file_search",
    ),
]

# Body of POST /vector_stores -> status, code, param.
STORES: list[tuple[dict[str, Any], int, str | None, str | None]] = [
    ({"nmae": "x"}, 400, "unknown_parameter", "nmae"),
    ({"file_ids": ["file-x"] * 501}, 400, "array_above_max_length", "file_ids"),
    ({"file_ids": ["file-x"]}, 404, None, "file_ids"),
    (
        {"expires_after": {"anchor": "last_active_at", "days": 366}},
        400,
        "integer_above_max_value",
        "expires_after.days",
    ),
    ({"expires_after": {"anchor": "created_at", "days": 1}}, 400, "invalid_value", "expires_after.anchor"),
    ({"expires_after": {"days": 1}}, 400, "missing_required_parameter", "expires_after.anchor"),
    ({"chunking_strategy": {"type": "other"}}, 400, "invalid_value", "chunking_strategy.type"),
    (
        {"chunking_strategy": {"type": "static", "static": STATIC}},
        400,
        "invalid_value",
        "chunking_strategy.static.chunk_overlap_tokens",
    ),
    (
        {"chunking_strategy": {"type": "static", "static": STATIC | {"max_chunk_size_tokens": 99}}},
        400,
        "integer_below_min_value",
        "chunking_strategy.static.max_chunk_size_tokens",
    ),
]


def test_assistants(box: Running) -> None:
    for body, status, code, param in ASSISTANTS:
        answer = ask(box.url, "POST", "/assistants", body)
        assert (answer.status, answer.error["code"], answer.error["param"]) == (status, code, param), body
    assert ask(box.url, "GET", "/assistants").json()["data"] == []


def test_vector_stores(box: Running) -> None:
    for body, status, code, param in STORES:
        answer = ask(box.url, "POST", "/vector_stores", body)
        assert (answer.status, answer.error["code"], answer.error["param"]) == (status, code, param), body
    # A store that was refused for its files was not made without them.
    assert ask(box.url, "GET", "/vector_stores").json()["data"] == []


def test_models_that_are_not_for_everyone(box: Running) -> None:
    box.behave(disabled_models=("gpt-4.1",), extra_models=("ft:gpt-4o:acme::1",))
    assert ask(box.url, "POST", "/assistants", {"model": "gpt-4.1"}).status == 403
    assert ask(box.url, "POST", "/assistants", {"model": "ft:gpt-4o:acme::1"}).status == 200
    assert ask(box.url, "GET", "/models/ft:gpt-4o:acme::1").status == 200
    assert ask(box.url, "GET", "/models/gpt-4.1").error["code"] == "model_not_found"


def test_assistants_need_the_beta_header(box: Running) -> None:
    answer = ask(box.url, "GET", "/assistants", headers={"OpenAI-Beta": "assistants=v1"})
    assert (answer.status, answer.error["code"]) == (400, "invalid_beta")
    assert ask(box.url, "GET", "/vector_stores", headers={"OpenAI-Beta": ""}).status == 200


def test_openai_as_it_is_today(box: Running) -> None:
    today = PROFILES["openai-today"]
    box.behave(assistants_api=today.assistants_api, models_as_of=today.models_as_of)
    for method, path in [("GET", "/assistants"), ("POST", "/assistants"), ("GET", "/assistants/asst_x")]:
        answer = ask(box.url, method, path, {} if method == "POST" else None)
        assert answer.status == 404
        assert answer.error["message"] == f"Invalid URL ({method} /v1{path})"
    models = {model["id"] for model in ask(box.url, "GET", "/models").json()["data"]}
    assert "gpt-4" not in models
    assert "gpt-4o" in models
    assert ask(box.url, "GET", "/vector_stores").status == 200


@pytest.mark.parametrize(
    ("fields", "filename", "status", "message"),
    [
        ({"purpose": "assistants"}, "program.exe", 400, "Invalid extension exe. Supported formats: "),
        ({"purpose": "assistants"}, "noextension", 400, "Invalid extension . Supported formats: "),
        ({"purpose": "assistants_output"}, "a.txt", 400, "'assistants_output' is not one of ['fine-tune', "),
        ({"purpose": "batch"}, "a.txt", 400, "Invalid file format for Batch API. Must be .jsonl"),
        ({"purpose": "user_data", "colour": "red"}, "a.txt", 400, "Unknown parameter: 'colour'."),
        (
            {"purpose": "user_data", "expires_after[anchor]": "created_at", "expires_after[seconds]": "59"},
            "a.txt",
            400,
            "Invalid 'expires_after.seconds'",
        ),
    ],
)
def test_uploads(box: Running, fields: dict[str, str], filename: str, status: int, message: str) -> None:
    body, headers = form(filename, b"data", **fields)
    answer = ask(box.url, "POST", "/files", body, headers=headers)
    assert answer.status == status
    assert answer.error["message"].startswith(message)
    assert ask(box.url, "GET", "/files").json()["data"] == []


def test_an_upload_without_purpose_or_file(box: Running) -> None:
    body, headers = form("a.txt", b"data")
    assert ask(box.url, "POST", "/files", body, headers=headers).error["param"] == "purpose"
    body = body.replace(b'; filename="a.txt"', b"").replace(b'"file"', b'"purpose"')
    assert ask(box.url, "POST", "/files", body, headers=headers).error["param"] == "file"
    assert ask(box.url, "POST", "/files", {}).error["param"] == "file"
    assert ask(box.url, "POST", "/files", body[:40], headers=headers).status == 400


def test_an_upload_that_is_too_large(box: Running) -> None:
    box.behave(max_file_bytes=1000)
    assert upload(box.url, "a.txt", b"x" * 1001).error["code"] == "file_too_large"
    assert upload(box.url, "a.txt", b"x" * 1000).status == 200


def test_downloads_by_purpose(box: Running) -> None:
    box.behave(serve_assistants_files=False)
    for purpose in ("assistants", "user_data"):
        file = upload(box.url, "a.txt", b"x", purpose=purpose).json()["id"]
        answer = ask(box.url, "GET", f"/files/{file}/content")
        assert answer.status == 400
        assert answer.error == {
            "message": f"Not allowed to download files of purpose: {purpose}",
            "type": "invalid_request_error",
            "param": None,
            "code": None,
        }
    file = upload(box.url, "a.png", b"x", purpose="vision").json()["id"]
    assert ask(box.url, "GET", f"/files/{file}/content").body == b"x"
    box.give_purpose(file, "assistants_output")
    assert ask(box.url, "GET", f"/files/{file}").json()["purpose"] == "assistants_output"
    assert ask(box.url, "GET", f"/files/{file}/content").status == 200


def test_an_unsupported_extension_refuses_the_whole_batch(box: Running) -> None:
    store = ask(box.url, "POST", "/vector_stores", {}).json()["id"]
    good = upload(box.url, "a.txt", b"x").json()["id"]
    bad = upload(box.url, "b.png", b"x").json()["id"]
    path = f"/vector_stores/{store}/file_batches"
    answer = ask(box.url, "POST", path, {"file_ids": [good, bad]})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "unsupported_file", "file_ids")
    assert "[.png]" in answer.error["message"]
    assert ask(box.url, "GET", f"/vector_stores/{store}").json()["file_counts"]["total"] == 0
    both = ask(box.url, "POST", path, {"file_ids": [good], "files": [{"file_id": good}]})
    assert (both.status, ask(box.url, "POST", path, {}).error["code"]) == (400, "missing_required_parameter")
    assert ask(box.url, "POST", path, {"file_ids": []}).error["code"] == "empty_array"
    many = ask(box.url, "POST", path, {"file_ids": [good] * 2001})
    assert many.error["code"] == "array_above_max_length"
    missing = ask(box.url, "POST", path, {"file_ids": [good, "file-gone"]})
    assert (missing.status, "file-gone" in missing.error["message"]) == (404, True)


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({str(number): 1 for number in range(17)}, "object_above_max_properties"),
        ({"k" * 65: 1}, "property_name_above_max_length"),
        ({"k": "x" * 513}, "string_above_max_length"),
        ({"k": None}, "invalid_type"),
        ({"k": []}, "invalid_type"),
    ],
)
def test_attributes(box: Running, attributes: dict[str, Any], code: str) -> None:
    file = upload(box.url, "a.txt", b"x").json()["id"]
    store = ask(box.url, "POST", "/vector_stores", {"file_ids": [file]}).json()["id"]
    path = f"/vector_stores/{store}/files"
    body = {"file_id": file, "attributes": attributes}
    assert ask(box.url, "POST", path, body).error["code"] == code
    assert ask(box.url, "POST", f"{path}/{file}", {"attributes": attributes}).error["code"] == code
    assert ask(box.url, "GET", f"{path}/{file}").json()["attributes"] == {}


def test_what_is_no_url_no_method_and_no_json(box: Running) -> None:
    assert ask(box.url, "GET", "/nothing").error["message"] == "Invalid URL (GET /v1/nothing)"
    assert ask(box.url, "GET", "/files/").status == 404
    wrong = ask(box.url, "PUT", "/files")
    assert (wrong.status, wrong.error["code"]) == (405, "method_not_supported")
    assert "could not parse the JSON body" in ask(box.url, "POST", "/assistants", b"{").error["message"]
    assert ask(box.url, "POST", "/assistants", [1]).error["code"] == "invalid_type"


@pytest.mark.parametrize(
    "path",
    [
        "/assistants/asst_x",
        "/files/file-x",
        "/files/file-x/content",
        "/vector_stores/vs_x",
        "/vector_stores/vs_x/files",
        "/vector_stores/{store}/files/file-x",
        "/vector_stores/{store}/files/file-x/content",
        "/vector_stores/{store}/file_batches/vsfb_x",
        "/models/gpt-99",
    ],
)
def test_what_is_not_there(box: Running, path: str) -> None:
    store = ask(box.url, "POST", "/vector_stores", {}).json()["id"]
    answer = ask(box.url, "GET", path.format(store=store))
    assert answer.status == 404
    assert answer.error["type"] == "invalid_request_error"
