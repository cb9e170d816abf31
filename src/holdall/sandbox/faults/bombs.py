"""Answers that are more than anybody can hold: what a server that means harm, or has lost its mind, may send."""

from __future__ import annotations

import asyncio
import functools
import itertools
import zlib
from collections.abc import Iterable
from urllib.parse import parse_qs

import msgspec
from starlette.types import Receive, Send

from holdall.sandbox.behaviour import BombKind

_PIECE = 1 << 16
_JSON = {"content-type": "application/json"}
_numbers = itertools.count()


async def explode(receive: Receive, send: Send, kind: BombKind, path: str, query: bytes) -> None:
    """Answer a request to ``path`` with such a bomb, until the client hangs up."""
    status, headers, pieces = _bomb(kind, path, query)
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    if kind == "long_head":
        encoded += [(b"x-filler", b"x" * _PIECE)] * 160
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    hung_up = asyncio.ensure_future(_hung_up(receive))
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0)
        if hung_up.done():
            break
    hung_up.cancel()
    await send({"type": "http.response.body", "body": b""})


async def _hung_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _bomb(kind: BombKind, path: str, query: bytes) -> tuple[int, dict[str, str], Iterable[bytes]]:
    match kind:
        case "endless_body":
            return 200, _JSON, itertools.chain([b'{"id":"'], itertools.repeat(b"x" * _PIECE, 1 << 13))
        case "packed":
            return 200, {**_JSON, "content-encoding": "gzip"}, [_packed()]
        case "page":
            return 400, {"content-type": "text/html"}, [b"<" * 300_000]
        case "deep":
            return 200, _JSON, [b'{"id":"deep","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"]
        case "endless_list":
            return 200, _JSON, [_page(path, 100)]
        case "long_pages":
            limit = parse_qs(query).get(b"limit", [b""])[0]
            return 200, _JSON, [_page(path, min(10_000, int(limit)) if limit.isdigit() else 20)]
        case "one_page":
            return 200, _JSON, [_whole()]
        case "long_content":
            return 200, {"content-type": "application/octet-stream"}, itertools.repeat(b"x" * _PIECE, 4800)
        case "long_head":
            return 200, _JSON, [b"{}"]


@functools.cache
def _packed() -> bytes:
    """256 MiB of JSON, in 256 KiB."""
    packing = zlib.compressobj(wbits=31)
    pieces = (packing.compress(piece) for piece in [b'{"id":"', *[b"x" * (1 << 20)] * 256, b'"}'])
    return b"".join(pieces) + packing.flush()


@functools.cache
def _whole() -> bytes:
    """A list of 490,000 objects in 31 MB, said to be all."""
    data = b",".join(b'{"id":"one_%050d"}' % number for number in range(490_000))
    return b'{"object":"list","data":[' + data + b'],"has_more":false}'


def _page(path: str, length: int) -> bytes:
    """So many new objects, and more to come."""
    kind = path.rstrip("/").rpartition("/")[2]
    data: list[dict[str, object]] = [
        {"id": f"{kind}_{next(_numbers)}", "object": "liar", "created_at": 1, "name": None, "metadata": {}}
        for _ in range(length)
    ]
    return msgspec.json.encode({"object": "list", "data": data, "has_more": True})
