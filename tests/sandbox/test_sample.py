"""The sample project: what it promises to hold, and that an account takes all of it."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from collections import Counter
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import pytest

from holdall.cli.fill import Filled, fill
from holdall.endpoint import endpoint
from holdall.errors import UnexpectedAnswer
from holdall.remote.client import Account
from holdall.sandbox.sample.definition import sample
from holdall.sandbox.server import Running
from holdall.sandbox.service.blobs import Blobs
from holdall.sandbox.service.document_check import examine, text_of
from holdall.sandbox.service.documents import RETRIEVABLE, extension
from holdall.sandbox.service.extractor import Extractor

SAMPLE = sample()
NAMES = [document.name for document in SAMPLE.documents]
REQUESTS = [assistant.request for assistant in SAMPLE.assistants]
TOOLS = [tool for request in REQUESTS for tool in request["tools"]]


def account(box: Running) -> Account:
    return Account(endpoint("sk-source-0001", box.url))


async def _filled(box: Running, **options: Any) -> Filled:
    async with account(box) as source:
        return await fill(source, SAMPLE, **options)


async def _listed(box: Running, *where: str) -> list[list[dict[str, Any]]]:
    async with account(box) as source:
        return [[json.loads(item) async for item in source.items(path)] for path in where]


def test_documents_are_of_every_kind_and_have_awkward_names() -> None:
    assert len(NAMES) >= 30
    assert {extension(name) for name in NAMES} >= {"md", "txt", "pdf", "docx", "csv", "json", "py", "png", "html"}
    assert any(len(name) == 200 for name in NAMES)
    assert any(" " in name for name in NAMES)
    assert any("%20" in name and "%25" in name for name in NAMES)
    assert any("\u4e00" <= letter <= "\u9fff" for name in NAMES for letter in name)
    assert any("é" in name for name in NAMES)
    assert [name for name in NAMES if not unicodedata.is_normalized("NFC", name)]
    for name, times in Counter(NAMES).items():
        contents = {document.content() for document in SAMPLE.documents if document.name == name}
        assert len(contents) == times, f"{name}: the same bytes twice"
    assert Counter(NAMES).most_common(1)[0][1] == 2


def test_documents_are_safe_to_unpack_anywhere_and_small() -> None:
    files = [document.file for document in SAMPLE.documents]
    assert len({file.lower() for file in files}) == len(files)
    for file in files:
        assert file.isascii()
        assert PurePosixPath(file).name == file
        assert not set(file) & set('% \\:*?"<>|')
        assert len(file) <= 60
    sizes = [len(document.content()) for document in SAMPLE.documents]
    assert min(sizes) > 500
    assert sum(size >= 20_000 for size in sizes) >= 5
    assert sum(sizes) < 3_000_000


def test_everything_that_is_named_exists_and_everything_that_exists_is_used() -> None:
    files = {document.file for document in SAMPLE.documents}
    in_stores = {member.document for store in SAMPLE.stores for member in store.files}
    in_interpreters = {file for assistant in SAMPLE.assistants for file in assistant.files}
    assert in_stores | in_interpreters == files
    assert in_stores & in_interpreters, "no file is used by both tools"
    users = Counter(assistant.store for assistant in SAMPLE.assistants if assistant.store)
    assert set(users) == {store.key for store in SAMPLE.stores}
    assert max(users.values()) == 2, "no store is shared"


def test_assistants_use_every_field() -> None:
    assert len(REQUESTS) >= 5
    # From the create request of the Assistants API; tool_resources comes from ``store`` and ``files``.
    fields = {"model", "name", "description", "reasoning_effort", "tools", "metadata", "temperature", "top_p"}
    assert set().union(*REQUESTS) - {"instructions"} == fields | {"response_format"}
    assert any(request["name"] is None for request in REQUESTS)
    assert len({request["model"] for request in REQUESTS}) >= 5
    assert max(len(assistant.body().get("instructions") or "") for assistant in SAMPLE.assistants) > 5_000
    assert max(len(request.get("metadata", {})) for request in REQUESTS) == 16
    formats = [request.get("response_format") for request in REQUESTS]
    assert "auto" in formats
    assert {form["type"] for form in formats if isinstance(form, dict)} == {"text", "json_object", "json_schema"}


def test_assistants_use_every_tool_with_every_setting() -> None:
    assert {tool["type"] for tool in TOOLS} == {"file_search", "code_interpreter", "function"}
    searches = [tool["file_search"] for tool in TOOLS if "file_search" in tool]
    assert any("max_num_results" in search for search in searches)
    assert {search["ranking_options"].get("ranker") for search in searches if "ranking_options" in search} == {
        "auto",
        "default_2024_08_21",
        None,
    }
    functions = [tool["function"] for tool in TOOLS if tool["type"] == "function"]
    assert {function.get("strict") for function in functions} == {True, False, None}
    assert any("parameters" not in function for function in functions)
    assert any("description" not in function for function in functions)


def test_stores_use_every_field() -> None:
    members = [member for store in SAMPLE.stores for member in store.files]
    assert any(store.metadata for store in SAMPLE.stores)
    assert any(store.expires_after for store in SAMPLE.stores)
    kinds = {type(value) for member in members for value in (member.attributes or {}).values()}
    assert kinds == {str, int, float, bool}
    assert {(member.chunking_strategy or {}).get("type") for member in members} == {"static", "auto", None}
    for member in members:
        name = next(document.name for document in SAMPLE.documents if document.file == member.document)
        assert extension(name) in RETRIEVABLE - {"csv"}


def test_an_account_takes_all_of_it(box: Running) -> None:
    box.behave(index_delay=0.2)
    made = asyncio.run(_filled(box, clock=lambda: 0.0))
    assistants, stores, files = asyncio.run(_listed(box, "/assistants", "/vector_stores", "/files"))
    assert [assistant["id"] for assistant in assistants] == made.assistants
    assert [assistant["name"] for assistant in assistants] == [request["name"] for request in REQUESTS]
    by_id = {file["id"]: file for file in files}
    assert len(by_id) == len(SAMPLE.documents)
    for document in SAMPLE.documents:
        file = by_id[made.files[document.file]]
        assert (file["filename"], file["purpose"]) == (document.name, document.purpose)
        assert file["bytes"] == len(document.content())
    counts = {store["name"]: store["file_counts"] for store in stores}
    for store in SAMPLE.stores:
        assert counts[store.name]["completed"] == counts[store.name]["total"] == len(store.files)
    assert all(assistant["instructions"] for assistant in assistants[:-1])
    assert assistants[0]["tool_resources"] == {"file_search": {"vector_store_ids": [made.stores["product"]]}}


def test_every_document_of_a_store_has_words(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    used = {member.document for store in SAMPLE.stores for member in store.files}
    with closing(Extractor()) as extractor:
        for document in SAMPLE.documents:
            if document.file in used:
                incoming = blobs.incoming()
                incoming.write(document.content())
                blob = blobs.keep(incoming)
                assert examine(blobs, blob, document.name, extractor).code is None, document.name
                assert len(text_of(blobs, blob, document.name)) > 400, document.name


def test_a_document_that_is_not_indexed_is_an_error(box: Running) -> None:
    box.behave(index_failures=("*.docx",))
    with pytest.raises(UnexpectedAnswer, match="can't fill the sample's store Product knowledge"):
        asyncio.run(_filled(box))


def test_indexing_has_a_deadline(box: Running) -> None:
    box.behave(index_delay=3600.0)
    now = [0.0]

    async def sleep(seconds: float) -> None:
        now[0] += seconds

    with pytest.raises(UnexpectedAnswer, match="in_progress"):
        asyncio.run(_filled(box, deadline=30.0, clock=lambda: now[0], sleep=sleep))
    assert 30 < now[0] < 40


def test_the_definition_refuses_what_it_does_not_know() -> None:
    known = msgspec.json.encode(SAMPLE)
    broken = known.replace(b'"documents":', b'"dokuments":', 1)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(broken, type=type(SAMPLE))
