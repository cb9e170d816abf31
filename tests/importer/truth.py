"""What a copy lacks of its original, by a look at both projects that shares nothing with the program's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from tests.project import Hand

__all__ = ["Lack", "Project", "lacking", "unnamed"]

# What a server says of a moment, of its own work, or of where a thing is.
PASSING = (
    "id",
    "object",
    "created_at",
    "last_active_at",
    "usage_bytes",
    "expires_at",
    "file_counts",
    "vector_store_id",
)
# Those of the program itself.
OWN_KEYS = ("cloned_from", "holdall_op")


class Lack(msgspec.Struct, frozen=True, kw_only=True):
    """A thing of the source that is missing in the copy (no ``field``), or one of its fields that differs.

    ``kind`` and ``id`` are the source's; ``inside`` is the store that a file is in, where it is about that.
    """

    kind: str
    id: str
    inside: str | None = None
    field: str | None = None
    source: Any = None
    copy: Any = None


class Project:
    """Everything in a project, and the bytes of its files, read while the server does nothing odd."""

    def __init__(self, hand: Hand) -> None:
        everything = hand.snapshot()
        self.assistants: dict[str, Any] = everything["assistants"]
        self.stores: dict[str, Any] = everything["vector_stores"]
        self.files: dict[str, Any] = everything["files"]
        self.members: dict[str, dict[str, Any]] = {store: {} for store in self.stores}
        for (store, file), member in everything["memberships"].items():
            self.members[store][file] = member
        self.contents = {id: hand.sdk.files.content(id).read() for id in self.files}

    @property
    def is_empty(self) -> bool:
        return not (self.assistants or self.stores or self.files)


def lacking(source: Project, copy: Project, mapping: Mapping[str, Any], chosen: Collection[str]) -> list[Lack]:
    """All that the copy lacks of the ``chosen`` assistants, their stores and files; ``mapping`` is mapping.json."""
    return list(_Look(source, copy, mapping).all(chosen))


class _Look:
    def __init__(self, source: Project, copy: Project, mapping: Mapping[str, Any]) -> None:
        self.source, self.copy = source, copy
        self.assistants: dict[str, str] = {row["srcId"]: row["dstId"] for row in mapping["mappings"]}
        self.stores: dict[str, str] = mapping["vector_stores"]
        self.files: dict[str, str] = mapping["files"]
        self.listed = Counter(orphan["id"] for orphan in mapping["possible_orphans"])

    def all(self, chosen: Collection[str]) -> Iterator[Lack]:
        stores: dict[str, None] = {}
        files: dict[str, None] = {}
        for id in chosen:
            resources = self.source.assistants[id]["tool_resources"]
            stores |= dict.fromkeys(resources.get("file_search", {}).get("vector_store_ids", []))
            files |= dict.fromkeys(resources.get("code_interpreter", {}).get("file_ids", []))
            yield from self._assistant(id)
        for id in stores:
            files |= dict.fromkeys(self.source.members[id])
            yield from self._store(id)
        yield from self._files(files)
        yield from self._spare(self.copy.assistants, [self.assistants.get(id) for id in chosen], "assistant")
        yield from self._spare(self.copy.stores, [self.stores.get(id) for id in stores], "vector_store")
        yield from self._spare(self.copy.files, [self.files.get(id) for id in files], "file")

    def _assistant(self, id: str) -> Iterator[Lack]:
        there = self.copy.assistants.get(self.assistants.get(id, ""))
        if there is None:
            yield Lack(kind="assistant", id=id)
            return
        wanted = self.source.assistants[id]
        yield from self._fields("assistant", id, wanted, there, without=("tool_resources",))
        resources = {
            tool: {
                name: [{**self.stores, **self.files}.get(each, each) for each in value]
                if name in _REFERENCES
                else value
                for name, value in resource.items()
            }
            for tool, resource in wanted["tool_resources"].items()
        }
        if resources != there["tool_resources"]:
            yield Lack(kind="assistant", id=id, field="tool_resources", source=resources, copy=there["tool_resources"])

    def _store(self, id: str) -> Iterator[Lack]:
        target = self.stores.get(id, "")
        there = self.copy.stores.get(target)
        if there is None:
            yield Lack(kind="vector_store", id=id)
            return
        yield from self._fields("vector_store", id, self.source.stores[id], there)
        for file, member in self.source.members[id].items():
            found = self.copy.members[target].get(self.files.get(file, ""))
            if found is None:
                yield Lack(kind="file", id=file, inside=id)
            else:
                yield from self._fields("file", file, member, found, inside=id)

    def _files(self, wanted: Collection[str]) -> Iterator[Lack]:
        targets = Counter(self.files.get(id) for id in wanted)
        first: set[str] = set()
        for id in wanted:
            there = self.copy.files.get(self.files.get(id, ""))
            if there is None:
                yield Lack(kind="file", id=id)
                continue
            yield from self._fields("file", id, self.source.files[id], there)
            if self.source.contents[id] != self.copy.contents[there["id"]]:
                yield Lack(kind="file", id=id, field="content")
            if targets[there["id"]] > 1 and there["id"] in first:
                yield Lack(kind="file", id=id, field="id", copy=there["id"])
            first.add(there["id"])

    def _fields(
        self,
        kind: str,
        id: str,
        source: Mapping[str, Any],
        copy: Mapping[str, Any],
        *,
        inside: str | None = None,
        without: Collection[str] = (),
    ) -> Iterator[Lack]:
        for field, value in source.items():
            if field in PASSING or field in without:
                continue
            there = copy.get(field)
            if field == "metadata":
                there = {key: each for key, each in (there or {}).items() if key not in OWN_KEYS}
            if value != there:
                yield Lack(kind=kind, id=id, inside=inside, field=field, source=value, copy=there)

    def _spare(self, there: Mapping[str, Any], used: Collection[str | None], kind: str) -> Iterator[Lack]:
        """What stands there and is no copy of anything, unless the run says so itself."""
        for id in there:
            if id not in used and not self.listed[id]:
                yield Lack(kind=kind, id=id, field="(nothing of the source is this)", copy=there[id])


_REFERENCES = ("vector_store_ids", "file_ids")


def unnamed(lacks: Collection[Lack], document: Mapping[str, Any]) -> list[Lack]:
    """Those that nothing in the document of ``--json`` names: no loss, and no difference of ``--verify``."""
    named = {(each["id"], each["inside"], each["field"]) for each in document["losses"]}
    for each in (document["result"].get("against") or {}).get("differences", []):
        field = each["field"].split(".")[0]
        # What is not there at all is named with all that it has.
        named.add((each["source"], each["inside"], None if field == "membership" else field))

    merged = " ".join(each["text"] for each in document["losses"] if each["field"] == "id")

    def is_named(lack: Lack) -> bool:
        # Which of two files was taken for the other is a matter of chance.
        if lack.field == "id" and lack.copy and str(lack.copy) in merged:
            return True
        # Whoever names a whole thing names all of its fields, and a whole file its places in stores.
        if any((id, field) == (lack.id, lack.field) for id, _, field in named):
            return True
        return bool({(lack.id, lack.inside, lack.field), (lack.id, lack.inside, None), (lack.id, None, None)} & named)

    return [lack for lack in lacks if not is_named(lack)]
