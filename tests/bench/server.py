"""A server that costs next to nothing: what an export and an import of one store with many files ask for, no more.

The sandbox would be what such rows measure. This one answers out of memory, takes uploads without keeping them, and
lets each answer wait for as long as a request takes over a network. A process of its own:

    python -m tests.bench.server --files 2000 --size 20000 --latency 0.05

Prints its port, and when its stdin ends the number of requests by route.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.bench.inputs import Pool

_PIECE = 256 << 10
_STORE = {
    "id": "vs_0",
    "object": "vector_store",
    "created_at": 1_700_000_000,
    "name": "store",
    "status": "completed",
    "metadata": {},
    "expires_after": None,
    "usage_bytes": 1,
}
_ASSISTANT = {
    "id": "asst_0",
    "object": "assistant",
    "created_at": 1_700_000_000,
    "name": "assistant",
    "description": None,
    "model": "gpt-4o",
    "instructions": "Answer.",
    "tools": [{"type": "file_search"}],
    "tool_resources": {"file_search": {"vector_store_ids": ["vs_0"]}},
    "metadata": {},
    "temperature": 1.0,
    "top_p": 1.0,
    "response_format": "auto",
}


class Project:
    """The state: assistants, their store, and its files, which have ``size`` bytes of one pool each."""

    def __init__(self, files: int, size: int, *, pool: bytes, assistants: int = 1) -> None:
        self.pool = pool
        self.files: list[bytes] = []
        self.members: list[bytes] = []
        self.places: dict[str, int] = {}
        self.size = size
        self.stores: list[dict[str, object]] = []
        self.assistants: list[dict[str, object]] = []
        for _ in range(files):
            self.add(f"a file with a usual name {len(self.files)}.txt", size)
        if files:
            self.attach(range(files))
            self.stores.append(_STORE)
            self.assistants += [{**_ASSISTANT, "id": f"asst_{number}"} for number in range(assistants)]

    def add(self, name: str, size: int) -> bytes:
        file = {
            "id": f"file-{len(self.files):022d}",
            "object": "file",
            "bytes": size,
            "created_at": 1_700_000_000,
            "filename": name,
            "purpose": "user_data",
            "status": "processed",
            "status_details": None,
            "expires_at": None,
        }
        self.files.append(json.dumps(file).encode())
        return self.files[-1]

    def attach(self, numbers: range, attributes: list[object] | None = None) -> None:
        for place, number in enumerate(numbers):
            id = f"file-{number:022d}"
            self.places[id] = len(self.members)
            member = {
                "id": id,
                "object": "vector_store.file",
                "created_at": 1_700_000_001,
                "vector_store_id": "vs_0",
                "usage_bytes": 1,
                "status": "completed",
                "last_error": None,
                "attributes": attributes[place] if attributes else {},
                "chunking_strategy": {
                    "type": "static",
                    "static": {"max_chunk_size_tokens": 800, "chunk_overlap_tokens": 400},
                },
            }
            self.members.append(json.dumps(member).encode())

    def content(self, number: int) -> Iterator[memoryview]:
        view, left, place = memoryview(self.pool), self.size, number * 7919
        while left:
            length = min(left, _PIECE)
            place = (place + 1_300_021) % (len(view) - length)
            yield view[place : place + length]
            left -= length


class Connection(asyncio.Protocol):
    """One kept-alive connection; one request at a time, as HTTP/1.1 clients do it."""

    def __init__(self, project: Project, latency: float, counts: Counter[str]) -> None:
        self._project, self._latency, self._counts = project, latency, counts
        self._buffer = bytearray()
        self._head: tuple[str, str] | None = None
        self._length = self._received = 0
        self._room = asyncio.Event()
        self._room.set()
        self._streaming: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()

    def data_received(self, data: bytes) -> None:
        if self._head is None:
            self._buffer += data
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = bytes(self._buffer[:end]).decode("latin-1")
            del self._buffer[: end + 4]
            method, target, _ = head.split("\r\n", 1)[0].split(" ", 2)
            length = re.search(r"^content-length: *(\d+)", head, re.I | re.M)
            assert length or method != "POST", "a body without a length"
            self._head, self._length, self._received = (method, target), int(length[1]) if length else 0, 0
            data = bytes(self._buffer)
            self._buffer.clear()
        self._received += len(data)
        if len(self._buffer) < 1 << 20:
            self._buffer += data
        if self._received >= self._length:
            (method, target), body = self._head, bytes(self._buffer)
            self._head = None
            self._buffer.clear()
            asyncio.get_running_loop().call_later(self._latency, self._answer, method, target, body)

    def _answer(self, method: str, target: str, body: bytes) -> None:
        url = urlsplit(target)
        parts = url.path.strip("/").split("/")[1:]
        self._counts[" ".join([method, *("*" if place % 2 else part for place, part in enumerate(parts))])] += 1
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if method == "GET" and parts[0] == "files" and parts[-1] == "content":
            self._stream(_number(parts[1]))
            return
        found = self._find(method, parts, query, body)
        status = "200 OK" if found is not None else "404 Not Found"
        text = (
            found if found is not None else b'{"error": {"message": "no such thing", "type": "invalid_request_error"}}'
        )
        self._transport.write(
            f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(text)}\r\n\r\n".encode()
            + text
        )

    def _stream(self, number: int) -> None:
        size = self._project.size
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {size}\r\n\r\n".encode()
        if size <= _PIECE:
            self._transport.write(head + b"".join(self._project.content(number)))
        else:
            self._transport.write(head)
            self._streaming = asyncio.get_running_loop().create_task(self._stream_on(number))

    async def _stream_on(self, number: int) -> None:
        for piece in self._project.content(number):
            await self._room.wait()
            self._transport.write(piece)

    def _find(self, method: str, parts: list[str], query: dict[str, str], body: bytes) -> bytes | None:
        project = self._project
        match method, *parts:
            case "GET", "assistants":
                return _page(list(map(_json, project.assistants)), query)
            case "GET", "assistants", _:
                return _json(project.assistants[-1])
            case "GET", "vector_stores":
                return _page([_json(self._store())] if project.stores else [], query)
            case "GET", "vector_stores", _:
                return _json(self._store())
            case "GET", "vector_stores", _, "files":
                return _page(project.members, query, project.places[query["after"]] + 1 if "after" in query else 0)
            case "GET", "vector_stores", _, "file_batches", _:
                return _json(self._batch(len(project.members)))
            case "GET", "models":
                return _json({"object": "list", "data": [{"id": "gpt-4o", "object": "model", "created": 1}]})
            case "GET", "files":
                return _page(project.files, query, _number(query["after"]) + 1 if "after" in query else 0)
            case "GET", "files", file:
                return project.files[_number(file)] if _number(file) < len(project.files) else None
            case "POST", "files":
                return self._upload(body)
            case "PUT", "files", _:
                return _json({})
            case "POST", "vector_stores":
                project.stores.append({**_STORE, **json.loads(body)})
                return _json(self._store())
            case "POST", "vector_stores", _, "file_batches":
                files = json.loads(body)["files"]
                for file in files:
                    number = _number(file["file_id"])
                    project.attach(range(number, number + 1), [file.get("attributes") or {}])
                return _json(self._batch(len(files)))
            case "POST", "assistants":
                project.assistants.append({**_ASSISTANT, **json.loads(body)})
                return _json(project.assistants[-1])
        return None

    def _store(self) -> dict[str, object]:
        count = len(self._project.members)
        counts = {"in_progress": 0, "completed": count, "failed": 0, "cancelled": 0, "total": count}
        return {**self._project.stores[-1], "id": "vs_0", "file_counts": counts}

    def _batch(self, count: int) -> dict[str, object]:
        counts = {"in_progress": 0, "completed": count, "failed": 0, "cancelled": 0, "total": count}
        batch = {"object": "vector_store.file_batch", "created_at": 1_700_000_001, "vector_store_id": "vs_0"}
        return {"id": "vsfb_0", "status": "completed", "file_counts": counts, **batch}

    def _upload(self, body: bytes) -> bytes:
        name = re.search(rb'name="file"; filename="([^"]*)"', body)
        assert name, "no file in the form"
        start = body.index(b"\r\n\r\n", name.start()) + 4
        boundary = body[: body.index(b"\r\n")]
        size = self._received - start - len(boundary) - len(b"\r\n--\r\n")
        return self._project.add(name[1].decode(), size)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _number(file: str) -> int:
    return int(file[-22:])


def _page(items: list[bytes], query: dict[str, str], start: int = 0) -> bytes:
    end = start + int(query.get("limit", "20"))
    more = b"true" if end < len(items) else b"false"
    return b'{"object": "list", "data": [%b], "has_more": %b}' % (b", ".join(items[start:end]), more)


async def _serve(project: Project, latency: float, port: int) -> None:
    counts: Counter[str] = Counter()
    loop = asyncio.get_running_loop()
    make: Callable[[], Connection] = lambda: Connection(project, latency, counts)  # noqa: E731
    server = await loop.create_server(make, "127.0.0.1", port, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    print(json.dumps(dict(sorted(counts.items()))), flush=True)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--files", type=int, default=0)
    options.add_argument("--size", type=int, default=0)
    options.add_argument("--latency", type=float, default=0.0)
    options.add_argument("--assistants", type=int, default=1)
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--noise", action="store_true")
    options.add_argument("--pool", type=Path, help="the folder of a pool (Pool.keep); made anew without it")
    chosen = options.parse_args()
    data = b""
    if chosen.files:
        pool = Pool.kept(chosen.pool) if chosen.pool else Pool(1)
        data = pool.noise if chosen.noise else pool.text
    project = Project(chosen.files, chosen.size, pool=data, assistants=chosen.assistants)
    asyncio.run(_serve(project, chosen.latency, chosen.port))


if __name__ == "__main__":
    main()
