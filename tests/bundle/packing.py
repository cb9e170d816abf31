"""Packs bundles for the tests of everything that reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdall.bundle import layout
from holdall.bundle.layout import Capture, LedgerLine, Source
from holdall.bundle.seekable import FrameTable, compress, decompress, encode_seal, encode_table, read_table
from holdall.bundle.writer import BundleWriter, Finished
from holdall.model import Fidelity, Kind, Record, SourceId

__all__ = ["CAPTURE", "STARTED", "File", "add_all", "ledger_line", "pack", "rewritten", "shrink"]

STARTED = 1_700_000_000
CAPTURE = Capture(
    tool="holdall 0",
    source=Source(base_url="http://127.0.0.1/v1", project="proj_1"),
    selection={"mode": "all"},
    options={},
)


class File(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a packed bundle; without ``data`` it is unavailable."""

    id: str
    filename: str | None = "notes.txt"
    data: bytes | None = b"some words\n"
    fidelity: Fidelity = Fidelity.ORIGINAL
    text: bool = False
    expected: int | None = None
    """The size of the file itself; None: that of ``data``."""


def ledger_line(file: File, **more: Any) -> LedgerLine:
    size = None if file.data is None else len(file.data)
    fidelity = Fidelity.UNAVAILABLE if file.data is None else Fidelity.TEXT if file.text else file.fidelity
    route = file.filename if fidelity is Fidelity.SUPPLIED else None
    known: dict[str, Any] = {
        "route": route,
        "status": None,
        "code": None,
        "message": None,
        "expected": size if file.expected is None else file.expected,
    }
    return LedgerLine(id=file.id, filename=file.filename, fidelity=fidelity, path=None, size=size, **(known | more))


def add_all(
    writer: BundleWriter,
    files: Iterable[File],
    *,
    assistants: Mapping[str, Mapping[str, Any]] | None = None,
    stores: Mapping[str, Mapping[str, Any]] | None = None,
    agents: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Everything an export would add: each file is a member of each store, each store used by each assistant."""
    files = list(files)
    stores = {"vs_1": {"name": "Knowledge"}} if stores is None else stores
    assistants = {"asst_1": {"name": "Helper", "model": "gpt-4o"}} if assistants is None else assistants
    for id, fields in assistants.items():
        search = {"file_search": {"vector_store_ids": list(stores)}}
        raw = {"id": id, "created_at": STARTED - 9, "tool_resources": search, **fields}
        writer.add_record(Record(kind=Kind.ASSISTANT, id=SourceId(id), raw=json.dumps(raw).encode()))
    for id, fields in (agents or {}).items():
        raw = {"id": id, "object": "agent", "created_at": STARTED - 9, **fields}
        writer.add_record(Record(kind=Kind.AGENT, id=SourceId(id), raw=json.dumps(raw).encode()))
    for id, fields in stores.items():
        raw = {"id": id, "created_at": STARTED - 8, **fields}
        writer.add_record(Record(kind=Kind.STORE, id=SourceId(id), raw=json.dumps(raw).encode()))
    for file in files:
        _add_file(writer, file, next(iter(stores), "vs_none"))
    for id in stores:
        with writer.open_memberships(id) as lines:
            for file in files:
                lines.write(json.dumps({"id": file.id, "status": "completed"}).encode() + b"\n")
            lines.commit()
    with writer.open_files() as lines:
        for file in files:
            size = len(file.data or b"") if file.expected is None else file.expected
            raw = {"id": file.id, "filename": file.filename, "bytes": size}
            lines.write(json.dumps(raw).encode() + b"\n")
        lines.commit()


def _add_file(writer: BundleWriter, file: File, store_id: str) -> None:
    if writer.content(file.id) is not None:
        writer.keep(file.id)
    elif file.data is None:
        writer.add_ledger(ledger_line(file))
    else:
        with writer.open_content(text=file.text) as sink:
            view = memoryview(file.data)
            for start in range(0, len(view), 100_000):
                sink.write(view[start : start + 100_000])
            sink.commit()
        store = store_id if file.text else None
        writer.add_content(sink, ledger_line(file), created_at=STARTED - 7, store=store)


def pack(target: Path, files: Iterable[File] = (), *, ended: int = STARTED + 60, **definitions: Any) -> Finished:
    """A finished bundle of these files, one assistant and one store (or those given)."""
    with BundleWriter(target, CAPTURE, started=STARTED, threads=2) as writer:
        add_all(writer, files, **definitions)
        return writer.finish(ended=ended)


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bundles of a few kilobytes that still have every kind of frame: small frames, short pages of text."""
    monkeypatch.setattr(layout, "SHARED_FRAME", 700)
    monkeypatch.setattr(layout, "CONTENT_FRAME", 1500)
    monkeypatch.setattr(layout, "LOOKUP_FRAME", 1200)
    monkeypatch.setattr(layout, "DEFINITION_FRAME", 700)
    monkeypatch.setattr(layout, "specification", lambda: b"the specification\n")
    monkeypatch.setattr(layout, "readme", lambda: "{bag}\n")


def rewritten(path: Path, change: bytes, by: bytes) -> bytes:
    """The bundle with something in its last frame changed, all checksums of the container right again."""
    raw = path.read_bytes()
    with path.open("rb") as file:
        frames = read_table(file)
    offset, length, _, size = frames[len(frames) - 1]
    data = decompress(raw[offset : offset + length], size)
    assert change in data
    last = compress(data.replace(change, by, 1))
    table = FrameTable(frames[number][1::2] for number in range(len(frames) - 1))
    table.append(len(last), size - len(change) + len(by))
    body = raw[:offset] + last
    return body + encode_seal(hashlib.sha256(body).digest()) + encode_table(table)
