"""A second reader of bundles, for comparing two of them. It imports nothing of holdall: it knows tar, zstd and JSON.

Two exports of equal projects differ in ids, times and our own metadata keys, and in nothing else. ``Project`` reads a
bundle into values that are free of those: every id is replaced by what it stands for, so a store is what it is called,
says and holds, and a file is its name, purpose and bytes. Sharing is kept: a store lists all that use it.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import zstandard

OWN_METADATA = ("cloned_from", "holdall_op")
# What a server says of a moment or of its own work, not of what the object is.
PASSING = ("id", "created_at", "last_active_at", "usage_bytes", "expires_at", "file_counts", "status_details")


def entries(bundle: Path) -> dict[str, bytes]:
    """Every file of a bundle by its path below the top folder."""
    with bundle.open("rb") as file:
        stream = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
        with tarfile.open(fileobj=io.BytesIO(stream.read())) as tar:
            found = {}
            for member in tar:
                content = tar.extractfile(member)
                if content is not None:
                    found[member.name.split("/", 1)[1]] = content.read()
            return found


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in record.items() if key not in PASSING}
    if isinstance(kept.get("metadata"), dict):
        kept["metadata"] = {key: value for key, value in kept["metadata"].items() if key not in OWN_METADATA}
    return kept


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


class Project:
    """What a bundle says of a project, free of ids: three multisets of canonical JSON."""

    def __init__(self, bundle: Path) -> None:
        found = entries(bundle)
        self._contents: dict[str, tuple[str, str]] = {}
        for line in found["data/ledger.jsonl"].splitlines():
            entry = json.loads(line)
            content = found[f"{entry['path']}"] if entry.get("path") else b""
            self._contents[entry["id"]] = (entry["rung"], hashlib.sha256(content).hexdigest())
        file_records = [json.loads(line) for line in found["data/files.jsonl"].splitlines()]
        self._files = {record["id"]: self._file(record) for record in file_records}
        stores, assistants = {}, []
        for path, content in sorted(found.items()):
            if path.startswith("data/vector_stores/") and path.endswith(".json"):
                record = json.loads(content)
                members = found[path.removesuffix(".json") + ".files.jsonl"].splitlines()
                stores[record["id"]] = self._store(record, [json.loads(line) for line in members])
            elif path.startswith("data/assistants/"):
                assistants.append(json.loads(content))
        self._stores = stores
        users: dict[str, list[str]] = {}
        for record in assistants:
            shown = self._assistant(record)
            for store_id in self._refs(record, "file_search", "vector_store_ids"):
                users.setdefault(store_id, []).append(shown)
            for file_id in self._refs(record, "code_interpreter", "file_ids"):
                users.setdefault(file_id, []).append(shown)
        self.assistants = Counter(self._assistant(record) for record in assistants)
        self.stores = Counter(f"{shown} used by {sorted(users.get(i, []))}" for i, shown in stores.items())
        self.files = Counter(f"{shown} used by {sorted(users.get(i, []))}" for i, shown in self._files.items())

    def _file(self, record: dict[str, Any]) -> str:
        return _canonical({**_plain(record), "content": self._contents[record["id"]]})

    def _store(self, record: dict[str, Any], members: list[dict[str, Any]]) -> str:
        listed = []
        for member in members:
            plain = _plain(member)
            del plain["vector_store_id"]
            listed.append(_canonical({**plain, "file": self._files[member["id"]]}))
        return _canonical({**_plain(record), "files": sorted(listed)})

    @staticmethod
    def _refs(record: dict[str, Any], tool: str, key: str) -> list[str]:
        return ((record.get("tool_resources") or {}).get(tool) or {}).get(key) or []

    def _assistant(self, record: dict[str, Any]) -> str:
        plain = _plain(record)
        resources = json.loads(json.dumps(plain.get("tool_resources") or {}))
        if "file_search" in resources:
            resources["file_search"]["vector_store_ids"] = [
                self._stores[i] for i in self._refs(record, "file_search", "vector_store_ids")
            ]
        if "code_interpreter" in resources:
            resources["code_interpreter"]["file_ids"] = [
                self._files[i] for i in self._refs(record, "code_interpreter", "file_ids")
            ]
        return _canonical({**plain, "tool_resources": resources})


def differences(left: Path, right: Path) -> list[str]:
    """What is in one bundle's project and not in the other's; empty where they are equal up to ids."""
    one, two = Project(left), Project(right)
    found = []
    for kind in ("assistants", "stores", "files"):
        a, b = getattr(one, kind), getattr(two, kind)
        found += [f"{kind}: only in {left.name}: {item}" for item in (a - b).elements()]
        found += [f"{kind}: only in {right.name}: {item}" for item in (b - a).elements()]
    return found
