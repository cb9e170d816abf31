"""A bundle in memory, as far as the importer reads one: so that a test can say of each file how it was got."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from holdall.bundle.layout import CONTENTS, Digests, HoldallInfo, IndexEntry, LedgerLine, Part, Source
from holdall.bundle.loss_lines import LossLine
from holdall.model import Fidelity, Kind, Record, SourceId

PART = Part(offset=0, size=0, sha256="")


class Shelf:
    """Filled by the methods of the first half, read through those of the second, which are BundleReader's."""

    def __init__(self) -> None:
        self.path = Path("shelf.tar.zst")
        self.info = HoldallInfo(
            format="1.0",
            tool="test",
            source=Source(base_url="http://source.invalid/v1", organization="org_src", project="proj_src"),
            selection={},
            options={},
            started=0,
            ended=0,
            counts={},
            fidelities={},
            digests=Digests(definitions="h1:d", contents="h1:c"),
            index=PART,
            manifest=PART,
        )
        self._assistants: list[Record] = []
        self._agents: list[Record] = []
        self._foundry_agents: list[Record] = []
        self._stores: list[Record] = []
        self._files: list[Record] = []
        self._members: dict[str, list[Record]] = {}
        self._ledger: list[LedgerLine] = []
        self._contents: dict[str, bytes] = {}

    def losses(self) -> Iterator[LossLine]:
        return iter(())

    def assistant(
        self, id: str, *, stores: list[str] | None = None, files: list[str] | None = None, **fields: Any
    ) -> None:
        resources: dict[str, Any] = {}
        tools = list(fields.pop("tools", []))
        if stores is not None:
            resources["file_search"] = {"vector_store_ids": stores}
            tools.append({"type": "file_search"})
        if files is not None:
            resources["code_interpreter"] = {"file_ids": files}
            tools.append({"type": "code_interpreter"})
        body = {"id": id, "object": "assistant", "created_at": 1, "name": id.upper(), "model": "gpt-4o"}
        record = {**body, "tools": tools, "tool_resources": resources, "metadata": {}, **fields}
        self._assistants.append(_record(Kind.ASSISTANT, record))

    def foundry_agent(self, name: str, definition: dict[str, Any], **version: Any) -> None:
        """An agent of a Foundry project, with its latest version; the owner's words are taken as they are."""
        latest = {"version": "1", "created_at": 1, "definition": {"kind": "prompt", "model": "gpt-4o", **definition}}
        record = {"object": "agent", "id": name, "name": name, "versions": {"latest": {**latest, **version}}}
        self._foundry_agents.append(_record(Kind.FOUNDRY_AGENT, record))

    def agent(self, id: str, **fields: Any) -> None:
        """An agent of OpenAI's."""
        body = {"id": id, "object": "agent", "created_at": 1, "name": id.upper(), "model": "gpt-4o", "metadata": {}}
        self._agents.append(_record(Kind.AGENT, {**body, **fields}))

    def store(self, id: str, members: list[str | dict[str, Any]] = [], **fields: Any) -> None:  # noqa: B006
        self._stores.append(_record(Kind.STORE, {"id": id, "name": id, "metadata": {}, **fields}))
        rows = [{"id": member} if isinstance(member, str) else member for member in members]
        self._members[id] = [_record(Kind.MEMBERSHIP, {"status": "completed", **row}) for row in rows]

    def file(
        self,
        id: str,
        name: str | None,
        content: bytes = b"some words in a file\n",
        *,
        fidelity: Fidelity = Fidelity.ORIGINAL,
        purpose: str = "assistants",
        size: int | None = None,
        inside: str = "vs",
        **ledger: Any,
    ) -> None:
        self._files.append(_record(Kind.FILE, {"id": id, "filename": name, "purpose": purpose}))
        stored = content if fidelity is not Fidelity.UNAVAILABLE else None
        path = (
            None
            if stored is None
            else f"data/text/{inside}/{id}.json"
            if fidelity is Fidelity.TEXT
            else f"data/files/{id}/x"
        )
        line = {
            "route": None, "status": None, "code": None, "message": None,
            "expected": len(content) if size is None else size, **ledger,
        }  # fmt: skip
        self._ledger.append(
            LedgerLine(
                id=id, filename=name, fidelity=fidelity, path=path, size=None if stored is None else len(stored), **line
            )
        )
        if stored is not None:
            self._contents[id] = stored

    def text(self, id: str, name: str | None, parts: list[str], **more: Any) -> None:
        pages = [{"data": [{"type": "text", "text": part}]} for part in parts]
        self.file(id, name, json.dumps({"pages": pages, "truncated": False}).encode(), fidelity=Fidelity.TEXT, **more)

    # -- as a BundleReader -----------------------------------------------------------------------------

    def definitions(self, kind: Kind) -> Iterator[Record]:
        found = {Kind.ASSISTANT: self._assistants, Kind.AGENT: self._agents, Kind.STORE: self._stores}
        yield from {**found, Kind.FOUNDRY_AGENT: self._foundry_agents}.get(kind, ())

    def versions(self, kind: Kind, id: str) -> Iterator[Record]:
        return iter(())

    def members_entry(self, kind: Kind, id: str) -> None:
        return None

    def stores(self) -> Iterator[Record]:
        yield from self._stores

    def whole(self) -> Iterator[Record]:
        yield from self._assistants

    def ledger_line(self, file_id: str) -> LedgerLine | None:
        return next((line for line in self._ledger if line.id == file_id), None)

    def files(self) -> Iterator[Record]:
        yield from self._files

    def memberships(self, store_id: str) -> Iterator[Record]:
        yield from self._members[store_id]

    def ledger(self) -> Iterator[LedgerLine]:
        yield from self._ledger

    def content(self, file_id: str) -> IndexEntry | None:
        data = self._contents.get(file_id)
        if data is None:
            return None
        return IndexEntry(path=file_id, offset=0, size=len(data), sha256=hashlib.sha256(data).hexdigest(), id=file_id)

    def entries(self, folder: str = "data/") -> Iterator[IndexEntry]:
        if folder == CONTENTS:
            yield from filter(None, map(self.content, self._contents))

    def open(self, entry: IndexEntry) -> BinaryIO:
        return io.BytesIO(self._contents[entry.path])

    def read(self, entry: IndexEntry, limit: int = 1 << 30) -> bytes:
        assert entry.size <= limit
        return self._contents[entry.path]


def _record(kind: Kind, fields: dict[str, Any]) -> Record:
    return Record(kind=kind, id=SourceId(fields["id"]), raw=json.dumps(fields).encode())
