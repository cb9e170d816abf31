"""What an endpoint answers to those who only read: lists and their pages, refusals, files, stores."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.endpoints import Endpoint

SANDBOX, REFUSED, RETRIES = "docs/sandbox.md", "docs/sandbox.md, What is refused", "docs/retries.md"
LISTS = pytest.mark.parametrize("path", ["/files", "/vector_stores"])


def page(endpoint: Endpoint, path: str, query: str = "") -> list[dict[str, Any]]:
    found = endpoint.get(f"{path}{query}")["data"]
    if not found:
        pytest.skip(f"{path} is empty there")
    assert isinstance(found, list)
    return found


@LISTS
@pytest.mark.fact(SANDBOX, "a list has object, data, has_more, first_id and last_id")
def test_a_list(endpoint: Endpoint, path: str) -> None:
    answer = endpoint.get(f"{path}?limit=2")
    assert answer["object"] == "list"
    assert isinstance(answer["has_more"], bool)
    ids = [each["id"] for each in answer["data"]]
    assert len(ids) <= 2
    assert (answer["first_id"], answer["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))


@LISTS
@pytest.mark.fact(SANDBOX, "the pages that after leads to are the list, and has_more is false on the last one only")
def test_pages(endpoint: Endpoint, path: str) -> None:
    whole = endpoint.get(f"{path}?order=asc&limit=5")
    ids = [each["id"] for each in whole["data"]]
    found: list[str] = []
    while len(found) < len(ids):
        answer = endpoint.get(f"{path}?order=asc&limit=1" + (f"&after={found[-1]}" if found else ""))
        found += [each["id"] for each in answer["data"]]
        assert answer["has_more"] is (len(found) < len(ids) or whole["has_more"])
    assert found == ids


@LISTS
@pytest.mark.fact(SANDBOX, "the newest come first, and the oldest with order=asc")
def test_order(endpoint: Endpoint, path: str) -> None:
    asc, desc = ([each["created_at"] for each in page(endpoint, path, query)] for query in ("?order=asc", ""))
    assert asc == sorted(asc)
    assert desc == sorted(desc, reverse=True)


@pytest.mark.parametrize(
    ("path", "query", "param"),
    [
        ("/files", "limit=0", "limit"),
        ("/files", "limit=10001", "limit"),
        ("/files", "order=up", "order"),
        ("/vector_stores", "limit=0", "limit"),
        ("/vector_stores", "limit=101", "limit"),
        ("/vector_stores", "order=up", "order"),
    ],
)
@pytest.mark.fact(REFUSED, "limits of 1 to 100 (files: to 10,000), and order asc or desc; all else is 400")
def test_refused_windows(endpoint: Endpoint, path: str, query: str, param: str) -> None:
    answer = endpoint.ask("GET", f"{path}?{query}")
    assert (answer.status, answer.error["type"], answer.error["param"]) == (400, "invalid_request_error", param)


@pytest.mark.fact(RETRIES, "a wrong key, or none, is 401 and stops the run")
def test_keys(endpoint: Endpoint) -> None:
    wrong = endpoint.ask("GET", "/files", key="no-key-of-anybodys")
    assert (wrong.status, wrong.error["code"]) == (401, "invalid_api_key")
    assert endpoint.ask("GET", "/files", key=None).status == 401


@pytest.mark.parametrize(
    "path",
    ["/files/file-holdallnone", "/files/file-holdallnone/content", "/vector_stores/vs_holdallnone", "/none"],
)
@pytest.mark.fact(REFUSED, "what is not there is 404, with message, type, param and code in the error")
def test_what_is_not_there(endpoint: Endpoint, path: str) -> None:
    answer = endpoint.ask("GET", path)
    assert (answer.status, answer.error["type"]) == (404, "invalid_request_error")
    assert answer.headers["content-type"].startswith("application/json")


@pytest.mark.fact(SANDBOX, "a file has its name, size, purpose and status")
def test_files(endpoint: Endpoint) -> None:
    for file in page(endpoint, "/files", "?limit=20"):
        assert file["object"] == "file"
        assert [type(file[name]) for name in ("bytes", "created_at", "filename", "purpose")] == [int, int, str, str]
        assert file["status"] in ("uploaded", "processed", "error")
    assert endpoint.get(f"/files/{file['id']}") == file


@pytest.mark.parametrize("purpose", ["assistants", "user_data"])
@pytest.mark.fact(REFUSED, "files of purpose assistants and user_data are not handed out")
def test_files_that_are_not_handed_out(endpoint: Endpoint, purpose: str) -> None:
    files = page(endpoint, "/files", f"?purpose={purpose}&limit=100")
    assert {file["purpose"] for file in files} == {purpose}
    smallest = min(files, key=lambda file: int(file["bytes"]))
    answer = endpoint.ask("GET", f"/files/{smallest['id']}/content")
    assert answer.status == 400
    assert answer.error["message"].startswith(f"Not allowed to download files of purpose: {purpose}")


@pytest.mark.fact(SANDBOX, "a store counts its files by status; total is their sum, and what its list has")
def test_stores(endpoint: Endpoint) -> None:
    stores = page(endpoint, "/vector_stores", "?limit=20")
    for store in stores:
        assert store["object"] == "vector_store"
        assert store["status"] in ("expired", "in_progress", "completed")
        counts = dict(store["file_counts"])
        assert set(counts) == {"in_progress", "completed", "failed", "cancelled", "total"}
        assert counts.pop("total") == sum(counts.values())
    small = [store for store in stores if store["file_counts"]["total"] <= 100 and store["status"] == "completed"]
    for store in small[:3]:
        listed = endpoint.get(f"/vector_stores/{store['id']}/files?limit=100")
        assert (len(listed["data"]), listed["has_more"]) == (store["file_counts"]["total"], False)


@pytest.mark.fact(SANDBOX, "a store's file has the file's id, a status and a chunking strategy, and no name")
def test_files_of_a_store(endpoint: Endpoint) -> None:
    stores = [each for each in page(endpoint, "/vector_stores") if each["file_counts"]["completed"]]
    if not stores:
        pytest.skip("no store there has files")
    inside = endpoint.get(f"/vector_stores/{stores[0]['id']}/files?filter=completed")["data"]
    for each in inside:
        assert (each["object"], each["vector_store_id"]) == ("vector_store.file", stores[0]["id"])
        assert (each["status"], each["last_error"]) == ("completed", None)
        assert each["chunking_strategy"]["type"] in ("static", "other")
        assert "filename" not in each
    text = endpoint.get(f"/vector_stores/{stores[0]['id']}/files/{inside[0]['id']}/content")
    assert text["object"] == "vector_store.file_content.page"
    assert {item["type"] for item in text["data"]} == {"text"}
    assert text["has_more"] is (text["next_page"] is not None)


@pytest.mark.fact(SANDBOX, "models come with a shutdown_date")
def test_models(endpoint: Endpoint) -> None:
    models = page(endpoint, "/models")
    assert {model["object"] for model in models} == {"model"}
    assert all("shutdown_date" in model for model in models)
