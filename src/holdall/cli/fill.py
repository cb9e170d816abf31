"""Creates the sample project in an account: files, then stores, then assistants."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from holdall.errors import UnexpectedAnswer
from holdall.remote.client import Account, path
from holdall.sandbox.sample.definition import Assistant, Membership, Sample, SampleDocument, Store

Sleep = Callable[[float], Awaitable[object]]

# Seconds between two looks at a batch that is being indexed.
_POLL = 0.1
_BETWEEN_POLLS_AT_MOST = 2.0


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """The ids that the account gave: of files by their names in the package, of stores by their keys, of assistants."""

    files: dict[str, str]
    stores: dict[str, str]
    assistants: list[str]


class _Made(msgspec.Struct, frozen=True, kw_only=True):
    id: str


class _Batch(_Made, frozen=True, kw_only=True):
    status: str
    file_counts: dict[str, int]


async def fill(
    account: Account,
    sample: Sample,
    *,
    deadline: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Sleep = asyncio.sleep,
) -> Filled:
    """Create ``sample`` in the account. On return every store is indexed.

    For a fresh project: nothing is looked up or resumed. ``deadline`` is in seconds, for the indexing of
    all stores together. Raises errors of the RemoteError family; UnexpectedAnswer where a document is not indexed.
    """
    ids = await asyncio.gather(*(_upload(account, document) for document in sample.documents))
    files = {document.file: id_ for document, id_ in zip(sample.documents, ids, strict=True)}
    stores = {
        store.key: await _create(account, "/vector_stores", _given(store, "name", "metadata", "expires_after"))
        for store in sample.stores
    }
    batches = [await _attach(account, store, stores[store.key], files) for store in sample.stores]
    until = clock() + deadline
    for store, batch in zip(sample.stores, batches, strict=True):
        where = path("/vector_stores/{}/file_batches/{}", stores[store.key], batch)
        await _indexed(account, f"{store.name} ({stores[store.key]})", where, lambda: clock() > until, sleep)
    assistants = [await _create_assistant(account, assistant, stores, files) for assistant in sample.assistants]
    return Filled(files=files, stores=stores, assistants=assistants)


async def _create(account: Account, where: str, body: dict[str, Any]) -> str:
    answer = await account.post(where, body)
    return msgspec.json.decode(answer.raw, type=_Made).id


async def _upload(account: Account, document: SampleDocument) -> str:
    answer = await account.upload(document.name, io.BytesIO(document.content()), purpose=document.purpose)
    return msgspec.json.decode(answer.raw, type=_Made).id


def _given(one: Store | Membership, *names: str) -> dict[str, Any]:
    """The fields that the sample sets; the server chooses the others."""
    return {name: value for name in names if (value := getattr(one, name)) is not None}


async def _attach(account: Account, store: Store, store_id: str, files: dict[str, str]) -> str:
    members = [
        {"file_id": files[member.document], **_given(member, "attributes", "chunking_strategy")}
        for member in store.files
    ]
    return await _create(account, path("/vector_stores/{}/file_batches", store_id), {"files": members})


async def _indexed(account: Account, store: str, batch: str, too_late: Callable[[], bool], sleep: Sleep) -> None:
    """Wait until nothing of the batch is in progress; raises UnexpectedAnswer unless all of it is indexed then."""
    wait = _POLL
    while True:
        answer = await account.get(batch)
        found = msgspec.json.decode(answer.raw, type=_Batch)
        if found.status != "in_progress" or too_late():
            break
        await sleep(wait)
        # A sandbox is soon done, a real server takes its time.
        wait = min(wait * 2, _BETWEEN_POLLS_AT_MOST)
    done, total = found.file_counts["completed"], found.file_counts["total"]
    if done < total:
        raise UnexpectedAnswer(
            f"can't fill the sample's store {store}: only {done} of {total} files were indexed ({found.status})",
            request_id=answer.request_id,
        )


async def _create_assistant(
    account: Account, assistant: Assistant, stores: dict[str, str], files: dict[str, str]
) -> str:
    resources: dict[str, Any] = {}
    if assistant.store is not None:
        resources["file_search"] = {"vector_store_ids": [stores[assistant.store]]}
    if assistant.files:
        resources["code_interpreter"] = {"file_ids": [files[file] for file in assistant.files]}
    body = assistant.body()
    if resources:
        body["tool_resources"] = resources
    return await _create(account, "/assistants", body)
