"""Packs bundles for the tests of everything that reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
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
    foundry_agents: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    skills: Mapping[str, Sequence[bytes | None]] | None = None,
    templates: Mapping[str, Mapping[str, Any]] | None = None,
    default_version: str = "1",
) -> None:
    """Everything an export would add: each file is a member of each store, each store used by each assistant.

    ``foundry_agents`` have the definitions of their versions, the latest last; one alone is in no file of versions.
    ``skills`` have the zips of theirs, None for one that can't be had.
    """
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
    _add_later_kinds(writer, foundry_agents or {}, skills or {}, templates or {}, default_version)
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


def _add_later_kinds(
    writer: BundleWriter,
    agents: Mapping[str, Sequence[Mapping[str, Any]]],
    skills: Mapping[str, Sequence[bytes | None]],
    templates: Mapping[str, Mapping[str, Any]],
    default_version: str,
) -> None:
    def add(kind: Kind, id: str, **fields: Any) -> None:
        writer.add_record(Record(kind=kind, id=SourceId(id), raw=json.dumps({"id": id, **fields}).encode()))

    for name, definitions in agents.items():
        about = {"object": "agent.version", "name": name, "metadata": {}}
        versions = [
            {"id": f"{name}:{number}", "version": str(number), "created_at": STARTED - 9, **about, "definition": one}
            for number, one in enumerate(definitions, 1)
        ]
        add(Kind.FOUNDRY_AGENT, name, object="agent", name=name, versions={"latest": versions[-1]})
        if len(versions) > 1:
            with writer.open_members(Kind.FOUNDRY_AGENT, name) as lines:
                lines.write(b"".join(json.dumps(one).encode() + b"\n" for one in versions))
                lines.commit()
    for id, zips in skills.items():
        last, name = str(len(zips)), id.removeprefix("skill_")
        add(Kind.SKILL, id, object="skill", name=name, default_version=default_version, latest_version=last)
        with writer.open_members(Kind.SKILL, id) as lines:
            for number, data in enumerate(zips, 1):
                file = File(id=f"skillver_{name}_{number}", filename=f"{name}-{number}.zip", data=data)
                version = {"id": file.id, "object": "skill.version", "skill_id": id, "version": str(number)}
                lines.write(json.dumps({**version, "name": name}).encode() + b"\n")
                route = f"/skills/{id}/versions/{number}/content"
                _add_content(writer, file, ledger_line(file, route=route, expected=None), None)
            lines.commit()
    for id, fields in templates.items():
        add(Kind.TEMPLATE, id, object="agent.environment.template", **fields)


def _add_file(writer: BundleWriter, file: File, store_id: str) -> None:
    if writer.content(file.id) is not None:
        writer.keep(file.id)
    else:
        _add_content(writer, file, ledger_line(file), store_id if file.text else None)


def _add_content(writer: BundleWriter, file: File, line: LedgerLine, store: str | None) -> None:
    if file.data is None:
        writer.add_ledger(line)
        return
    with writer.open_content(text=file.text) as sink:
        view = memoryview(file.data)
        for start in range(0, len(view), 100_000):
            sink.write(view[start : start + 100_000])
        sink.commit()
    writer.add_content(sink, line, created_at=STARTED - 7, store=store)


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
