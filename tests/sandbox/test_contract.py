"""Every endpoint through the official SDK, which checks each answer against its own types."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from holdall.sandbox.server import Running

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")


@pytest.fixture
def client(box: Running) -> Iterator[OpenAI]:
    with OpenAI(api_key="sk-source-0001", base_url=box.url, max_retries=0, _strict_response_validation=True) as made:
        yield made


def test_files(box: Running, client: OpenAI) -> None:
    box.behave(serve_assistants_files=True)
    sent = client.files.create(
        file=("un été %20 文書.md", io.BytesIO(b"# words")),
        purpose="assistants",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert sent.filename == "un été %20 文書.md"
    assert (sent.bytes, sent.purpose, sent.status) == (7, "assistants", "processed")
    assert sent.expires_at == sent.created_at + 3600
    assert sent.id.startswith("file-")
    assert client.files.retrieve(sent.id) == sent
    assert client.files.content(sent.id).read() == b"# words"
    other = client.files.create(file=("a.bin", b"\0"), purpose="user_data")
    assert [file.id for file in client.files.list()] == [other.id, sent.id]
    assert [file.id for file in client.files.list(limit=1, order="asc")] == [sent.id, other.id]
    assert [file.id for file in client.files.list(purpose="user_data")] == [other.id]
    assert client.files.delete(sent.id).deleted
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        client.files.retrieve(sent.id)


def test_vector_stores(client: OpenAI) -> None:
    file = client.files.create(file=("a.txt", b"words"), purpose="assistants")
    made = client.vector_stores.create(
        name="Knowledge",
        description="never given back",
        metadata={"a": "b"},
        expires_after={"anchor": "last_active_at", "days": 7},
        file_ids=[file.id],
        chunking_strategy={"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 50}},
    )
    assert made.file_counts.total == made.file_counts.completed == 1
    assert made.expires_at == (made.last_active_at or 0) + 7 * 86400
    assert "description" not in made.to_dict()
    assert client.vector_stores.retrieve(made.id) == made
    inside = client.vector_stores.files.list(made.id).data[0]
    assert inside.chunking_strategy
    assert inside.chunking_strategy.to_dict() == {
        "type": "static",
        "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 50},
    }
    changed = client.vector_stores.update(made.id, name="Wisdom", metadata={"c": "d"}, expires_after=None)
    assert (changed.name, changed.metadata, changed.expires_after) == ("Wisdom", {"c": "d"}, None)
    nameless = client.vector_stores.create()
    assert (nameless.name, nameless.metadata) == ("", {})
    assert [store.id for store in client.vector_stores.list(limit=1)] == [nameless.id, made.id]
    assert client.vector_stores.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.retrieve(made.id)
    assert client.files.retrieve(file.id).id == file.id


def test_vector_store_files(client: OpenAI) -> None:
    store = client.vector_stores.create(name="s")
    files = [client.files.create(file=(f"{n}.txt", b"text of %d" % n), purpose="assistants").id for n in range(3)]
    attributes: dict[str, str | float | bool] = {"s": "x", "n": 1.5, "b": True}
    made = client.vector_stores.files.create(file_id=files[0], vector_store_id=store.id, attributes=attributes)
    assert (made.id, made.status, made.attributes) == (files[0], "completed", attributes)
    assert made.chunking_strategy
    assert made.chunking_strategy.to_dict() == {
        "type": "static",
        "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400},
    }
    for file in files[1:]:
        client.vector_stores.files.create_and_poll(file_id=file, vector_store_id=store.id)
    assert [each.id for each in client.vector_stores.files.list(store.id, limit=2, order="asc")] == files
    assert client.vector_stores.files.list(store.id, filter="failed").data == []
    changed = client.vector_stores.files.update(files[0], vector_store_id=store.id, attributes={"only": "this"})
    assert changed.attributes == {"only": "this"}
    assert client.vector_stores.files.retrieve(files[0], vector_store_id=store.id) == changed
    page = client.vector_stores.files.content(files[1], vector_store_id=store.id)
    assert [item.text for item in page.data] == ["text of 1"]
    assert client.vector_stores.files.delete(files[0], vector_store_id=store.id).deleted
    assert client.vector_stores.retrieve(store.id).file_counts.total == 2
    client.files.delete(files[1])
    assert [each.id for each in client.vector_stores.files.list(store.id)] == [files[2]]


def test_file_batches(client: OpenAI) -> None:
    store = client.vector_stores.create(name="s")
    good = client.files.create(file=("good.txt", b"text"), purpose="assistants").id
    empty = client.files.create(file=("empty.txt", b""), purpose="assistants").id
    batch = client.vector_stores.file_batches.create(
        store.id,
        files=[{"file_id": good, "attributes": {"n": 1}}, {"file_id": empty}],
    )
    assert (batch.status, batch.file_counts.to_dict()) == (
        "completed",
        {"in_progress": 0, "completed": 1, "failed": 1, "cancelled": 0, "total": 2},
    )
    assert client.vector_stores.file_batches.retrieve(batch.id, vector_store_id=store.id) == batch
    listed = list(client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id, order="asc"))
    assert [each.id for each in listed] == [good, empty]
    failed = client.vector_stores.file_batches.list_files(batch.id, vector_store_id=store.id, filter="failed").data
    assert [each.id for each in failed] == [empty]
    assert failed[0].last_error
    assert failed[0].last_error.code == "invalid_file"
    again = client.vector_stores.file_batches.create(store.id, file_ids=[good], attributes={"n": 2})
    assert client.vector_stores.file_batches.cancel(again.id, vector_store_id=store.id).status == "completed"
    assert client.vector_stores.retrieve(store.id).file_counts.total == 2
    assert client.vector_stores.files.retrieve(good, vector_store_id=store.id).attributes == {"n": 2}


def test_search(client: OpenAI) -> None:
    store = client.vector_stores.create(name="s")
    texts = {"sea.md": b"The whale swims in the ocean.", "land.md": b"A horse runs over the meadow."}
    for name, text in texts.items():
        file = client.files.create(file=(name, text), purpose="assistants")
        client.vector_stores.files.create(file_id=file.id, vector_store_id=store.id, attributes={"name": name, "n": 2})
    found = client.vector_stores.search(store.id, query="where does the whale swim").data
    assert found[0].filename == "sea.md"
    assert found[0].content[0].text == "The whale swims in the ocean."
    assert 0 <= found[-1].score <= found[0].score <= 1
    filtered = client.vector_stores.search(
        store.id,
        query=["the whale", "the horse"],
        filters={
            "type": "and",
            "filters": [{"type": "eq", "key": "name", "value": "land.md"}, {"type": "gte", "key": "n", "value": 2}],
        },
        max_num_results=1,
        ranking_options={"ranker": "auto", "score_threshold": 0.1},
        rewrite_query=True,
    ).data
    assert [each.filename for each in filtered] == ["land.md"]


def test_assistants(client: OpenAI) -> None:
    store = client.vector_stores.create(name="s")
    file = client.files.create(file=("data.csv", b"a,b\n1,2\n"), purpose="assistants")
    made = client.beta.assistants.create(
        model="gpt-4o",
        name="Everything",
        description="d",
        instructions="i",
        temperature=0.2,
        top_p=0.9,
        metadata={"k": "v"},
        tools=[
            {"type": "code_interpreter"},
            {
                "type": "file_search",
                "file_search": {"max_num_results": 7, "ranking_options": {"ranker": "auto", "score_threshold": 0.4}},
            },
            {
                "type": "function",
                "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}},
            },
        ],
        tool_resources={
            "code_interpreter": {"file_ids": [file.id]},
            "file_search": {"vector_store_ids": [store.id]},
        },
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    )
    assert made.tools[2].to_dict() == {
        "type": "function",
        "function": {
            "name": "f",
            "description": "d",
            "parameters": {"type": "object", "properties": {}},
            "strict": False,
        },
    }
    assert client.beta.assistants.retrieve(made.id) == made
    bare = client.beta.assistants.create(model="o3", tools=[{"type": "file_search"}])
    assert bare.to_dict() == {
        "id": bare.id,
        "object": "assistant",
        "created_at": bare.created_at,
        "name": None,
        "description": None,
        "model": "o3",
        "instructions": None,
        "tools": [
            {
                "type": "file_search",
                "file_search": {"ranking_options": {"ranker": "default_2024_08_21", "score_threshold": 0.0}},
            }
        ],
        "top_p": 1.0,
        "temperature": 1.0,
        "reasoning_effort": "medium",
        "tool_resources": {"file_search": {"vector_store_ids": []}},
        "metadata": {},
        "response_format": "auto",
    }
    changed = client.beta.assistants.update(
        bare.id, name="Named", model="gpt-4o", tool_resources={"file_search": {"vector_store_ids": [store.id]}}
    )
    assert changed.name == "Named"
    assert changed.tool_resources
    assert changed.tool_resources.file_search
    assert changed.tool_resources.file_search.vector_store_ids == [store.id]
    assert [each.id for each in client.beta.assistants.list(limit=1)] == [bare.id, made.id]
    assert client.beta.assistants.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError, match="No assistant found"):
        client.beta.assistants.retrieve(made.id)


def test_an_inline_store_is_made_with_its_files(client: OpenAI) -> None:
    file = client.files.create(file=("a.txt", b"words"), purpose="assistants")
    made = client.beta.assistants.create(
        model="gpt-4o",
        tools=[{"type": "file_search"}],
        tool_resources={"file_search": {"vector_stores": [{"file_ids": [file.id], "metadata": {"a": "b"}}]}},
    )
    assert made.tool_resources
    assert made.tool_resources.file_search
    ids = made.tool_resources.file_search.vector_store_ids
    assert ids
    store = client.vector_stores.retrieve(ids[0])
    assert (store.metadata, store.file_counts.completed) == ({"a": "b"}, 1)


def test_models(client: OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}
    assert client.models.retrieve("gpt-4o") == models["gpt-4o"]
    ends = {name: model.to_dict()["shutdown_date"] for name, model in models.items()}
    # OpenAI's dates, as far ahead as they were on the sandbox's day.
    assert date.fromisoformat(ends["gpt-4o"]) - date.fromisoformat(ends["gpt-5"]) == timedelta(days=34)
    assert date.fromisoformat(ends["gpt-4"]) > datetime.now(UTC).date()
    assert ends["gpt-5.5"] is None


async def _everything(url: str) -> list[str]:
    async with AsyncOpenAI(
        api_key="sk-source-0001", base_url=url, max_retries=0, _strict_response_validation=True
    ) as client:
        store = await client.vector_stores.create(name="s")
        batch = await client.vector_stores.file_batches.upload_and_poll(
            store.id, files=[(f"{number}.txt", b"text %d" % number) for number in range(5)]
        )
        assert batch.file_counts.completed == 5
        return [each.id async for each in client.vector_stores.files.list(store.id, limit=2)]


def test_the_async_client_and_its_polling_helpers(box: Running) -> None:
    import asyncio

    assert len(asyncio.run(_everything(box.url))) == 5
