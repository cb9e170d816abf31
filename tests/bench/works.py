"""The floors and works of the bench that are no command of their own; each is run as a process:

python -m tests.bench.works NAME ARGUMENT …
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

__all__ = ["NAMES"]

_STARTED = 1_700_000_000
_READERS = 3
_PIECE = 1 << 20
_BATCH = 2000


def pack(folder: str, target: str) -> None:
    """All files below ``folder`` into a bundle, three at once, as an export has them arrive."""
    import threading
    from concurrent.futures import ThreadPoolExecutor

    from holdall.bundle.layout import Capture, LedgerLine, Source
    from holdall.bundle.writer import BundleWriter
    from holdall.model import Fidelity, Kind, Record, SourceId

    capture = Capture(tool="bench", source=Source(base_url=""), selection={}, options={})
    with BundleWriter(Path(target), capture, started=_STARTED) as writer:
        writer.add_record(Record(kind=Kind.STORE, id=SourceId("vs_0"), raw=b'{"id": "vs_0"}'))
        paths = iter([os.path.join(below, name) for below, _, names in os.walk(folder) for name in names])
        with writer.open_memberships("vs_0") as members, writer.open_files() as files:
            turn = threading.Lock()  # a sink of lines takes them from one thread at a time

            def one(path: str) -> None:
                name = os.path.basename(path)
                id = f"file-{name}"
                with open(path, "rb", buffering=0) as file, writer.open_content() as sink:
                    while data := file.read(_PIECE):
                        sink.write(data)
                    sink.commit()
                known = {"route": None, "status": None, "code": None, "message": None}
                line = LedgerLine(
                    id=id,
                    filename=name,
                    fidelity=Fidelity.ORIGINAL,
                    path=None,
                    expected=sink.size,
                    size=sink.size,
                    **known,
                )
                writer.add_content(sink, line, created_at=_STARTED)
                with turn:
                    members.write(b'{"id":"%b","status":"completed"}\n' % id.encode())
                    files.write(b'{"id":"%b","filename":"%b","bytes":%d}\n' % (id.encode(), name.encode(), sink.size))

            def some() -> None:
                for path in paths:
                    one(path)

            with ThreadPoolExecutor(_READERS) as readers:
                for done in [readers.submit(some) for _ in range(_READERS)]:
                    done.result()
            members.commit()
            files.commit()
        writer.finish(ended=_STARTED)


def build(target: str, count: str, size: str) -> None:
    """A bundle with ``count`` contents of ``size`` bytes, every other one text: what is read in other rows."""
    import random

    from holdall.bundle.layout import Capture, LedgerLine, Source
    from holdall.bundle.writer import BundleWriter
    from holdall.model import Fidelity, Kind, Record, SourceId
    from tests.bench.inputs import Pool

    capture = Capture(tool="bench", source=Source(base_url=""), selection={}, options={})
    pool, chance = Pool(1), random.Random(1)
    with BundleWriter(Path(target), capture, started=_STARTED) as writer:
        search = {"file_search": {"vector_store_ids": ["vs_0"]}}
        assistant = {"id": "asst_0", "name": "assistant", "model": "gpt-4o", "tool_resources": search}
        assistant["instructions"] = "Answer."
        assistant["tools"] = [{"type": "file_search"}]
        writer.add_record(Record(kind=Kind.ASSISTANT, id=SourceId("asst_0"), raw=json.dumps(assistant).encode()))
        writer.add_record(Record(kind=Kind.STORE, id=SourceId("vs_0"), raw=b'{"id": "vs_0", "name": "store"}'))
        with writer.open_memberships("vs_0") as members, writer.open_files() as files:
            for number in range(int(count)):
                id, name = f"file-{number:022d}", f"a file with a usual name {number}.txt"
                with writer.open_content() as sink:
                    for piece in pool.pieces(int(size), chance, text=number % 2 == 1):
                        sink.write(piece)
                    sink.commit()
                known = {"route": None, "status": None, "code": None, "message": None}
                line = LedgerLine(
                    id=id,
                    filename=name,
                    fidelity=Fidelity.ORIGINAL,
                    path=None,
                    expected=sink.size,
                    size=sink.size,
                    **known,
                )
                writer.add_content(sink, line, created_at=_STARTED)
                member = {"id": id, "object": "vector_store.file", "status": "completed", "attributes": {}}
                members.write(json.dumps(member).encode() + b"\n")
                file = {"id": id, "filename": name, "bytes": sink.size, "created_at": _STARTED, "purpose": "user_data"}
                files.write(json.dumps(file).encode() + b"\n")
            members.commit()
            files.commit()
        writer.finish(ended=_STARTED)


def sdk_export(target: str, url: str) -> None:
    """The requests of an export, by nothing but the SDK; what comes is hashed, compressed and written to one file."""
    import asyncio

    with open(target, "wb") as out:
        asyncio.run(_sdk_export(out, url))


def sdk_lists(url: str) -> None:
    """The lists that an export needs to see that nothing has changed, by nothing but the SDK."""
    import asyncio

    asyncio.run(_sdk_export(None, url))


async def _sdk_export(out: BinaryIO | None, url: str) -> None:
    import asyncio
    import hashlib

    import openai
    import zstandard

    queue: asyncio.Queue[str | None] = asyncio.Queue()
    codec = zstandard.ZstdCompressor(level=3)
    async with openai.AsyncOpenAI(api_key="sk", base_url=url, max_retries=0) as sdk:

        async def content() -> None:
            while (file := await queue.get()) is not None:
                data = await (await sdk.files.content(file)).aread()
                hashlib.sha256(data).hexdigest()
                assert out is not None
                out.write(codec.compress(data))

        async def get(path: str, **query: object) -> dict[str, object]:
            found: dict[str, object] = await sdk.get(path, cast_to=object, options={"params": query})
            return found

        async def definitions() -> None:
            await get("/assistants", limit=100, order="asc")
            with suppress(openai.NotFoundError):
                await get("/agents", limit=100, order="asc")
            await get("/vector_stores/vs_0")

        await get("/assistants", limit=1)
        await definitions()
        workers = [asyncio.create_task(content()) for _ in range(32)]
        more, after, records = True, {}, None
        while more:
            page = await get("/vector_stores/vs_0/files", limit=100, order="asc", **after)
            for member in page["data"] if out else []:
                queue.put_nowait(member["id"])
            if records is None:
                query = get("/files", purpose="user_data", limit=10_000, order="asc")
                records = asyncio.create_task(query)
            more, after = page["has_more"], {"after": page["data"][-1]["id"]}
        for _ in workers:
            queue.put_nowait(None)
        await asyncio.gather(*workers, records)
        await definitions()


def sdk_import(folder: str, url: str) -> None:
    """The requests of an import of the files below ``folder``, each read and hashed, by nothing but the SDK."""
    import asyncio

    asyncio.run(_sdk_import(folder, url))


async def _sdk_import(folder: str, url: str) -> None:
    import asyncio
    import hashlib

    import openai

    async with openai.AsyncOpenAI(api_key="sk", base_url=url, max_retries=0) as sdk:

        async def get(path: str, **query: object) -> dict[str, object]:
            found: dict[str, object] = await sdk.get(path, cast_to=object, options={"params": query})
            return found

        for path in ("/assistants", "/vector_stores", "/files"):
            await get(path, limit=1)
        await get("/models")
        for path in ("/assistants", "/vector_stores", "/files", "/files", "/vector_stores", "/assistants"):
            await get(path, limit=100, order="asc")
        paths = iter([Path(below, name) for below, _, names in os.walk(folder) for name in names])
        files: list[str] = []

        async def upload() -> None:
            for path in paths:
                data = path.read_bytes()
                hashlib.sha256(data).hexdigest()
                made = await sdk.files.create(file=(path.name, io.BytesIO(data)), purpose="user_data")
                files.append(made.id)

        await asyncio.gather(*(upload() for _ in range(32)))
        await sdk.post("/vector_stores", cast_to=object, body={"name": "store"})
        for start in range(0, len(files), _BATCH):
            body = {"files": [{"file_id": file} for file in files[start : start + _BATCH]]}
            await sdk.post("/vector_stores/vs_0/file_batches", cast_to=object, body=body)
            await get("/vector_stores/vs_0/file_batches/vsfb_0")
        more, after = True, {}
        while more:
            page = await get("/vector_stores/vs_0/files", limit=100, order="asc", **after)
            more, after = page["has_more"], {"after": page["data"][-1]["id"]}
        await sdk.post("/assistants", cast_to=object, body={"model": "gpt-4o"})
        await get("/assistants/asst_0")
        await get("/vector_stores/vs_0")


NAMES: dict[str, Callable[..., None]] = {
    "pack": pack,
    "build": build,
    "sdk-export": sdk_export,
    "sdk-lists": sdk_lists,
    "sdk-import": sdk_import,
}

if __name__ == "__main__":
    NAMES[sys.argv[1]](*sys.argv[2:])
