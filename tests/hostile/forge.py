"""A small writer of bundles that may lie, in one place at a time, with everything else right.

It imports nothing of holdall: it is a second writer, made from docs/format.md alone. ``forge`` goes through the stages
of a bundle, from records to bytes; each stage is worked out honestly from the one before and then handed to the lie of
that stage, if there is one. So a lie in the index is covered by the manifests, the seal and the seek table, and only
what looks for the lie itself can find it.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import zstandard

__all__ = [
    "Frame",
    "Member",
    "canonical",
    "content",
    "digest",
    "file_object",
    "forge",
    "header",
    "joined",
    "jsonl",
    "ledger_line",
    "pax",
    "record",
    "record_hash",
    "sha256",
]

BAG = "bag"
TIME = 1_700_000_000
BLOCK = 512
BAGIT = b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
_VOLATILE = {
    "assistant": (),
    "agent": ("updated_at",),
    "foundry_agent": ("state",),
    "agent_version": (),
    "skill": (),
    "skill_version": (),
    "environment_template": ("updated_at",),
    "vector_store": ("last_active_at", "usage_bytes", "expires_at", "status", "file_counts"),
    "membership": ("usage_bytes", "status"),
    "file": ("expires_at", "status", "status_details"),
}

LATER = {
    "agents": ("agent", "1.1"),
    "foundry_agents": ("foundry_agent", "1.2"),
    "skills": ("skill", "1.2"),
    "environment_templates": ("environment_template", "1.2"),
}
"""The folders of kinds that came after 1.0: which they are, and the version that had them first."""
VERSIONS = {"foundry_agents": "agent_version", "skills": "skill_version"}
"""The kinds of the lines beside records, by folder; the digests of later kinds are called as their plural."""

Lies = dict[str, Callable[[Any], Any]]


@dataclass(frozen=True)
class Member:
    """One member of the tar. ``raw`` stands for its header where that isn't the one that the format asks for."""

    path: str
    data: bytes = b""
    about: dict[str, Any] = field(default_factory=dict)
    raw: bytes | None = None
    filling: bytes | None = None

    def encoded(self) -> bytes:
        head = header(f"{BAG}/{self.path}", len(self.data)) if self.raw is None else self.raw
        filling = bytes(-len(self.data) % BLOCK) if self.filling is None else self.filling
        return head + self.data + filling


@dataclass(frozen=True)
class Frame:
    """One frame, and what the seek table lists for it."""

    raw: bytes
    size: int
    length: int

    @classmethod
    def of(cls, data: bytes, **parameters: Any) -> Frame:
        raw = zstandard.ZstdCompressor(level=1, write_checksum=True, **parameters).compress(data)
        return cls(raw=raw, size=len(data), length=len(raw))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def jsonl(lines: list[Any]) -> bytes:
    """Lines of JSON; what is bytes already is taken as it is."""
    return b"".join((line if isinstance(line, bytes) else canonical(line)) + b"\n" for line in lines)


# -- the tar -------------------------------------------------------------------------------------------------


def header(path: str, size: int, *, kind: bytes = b"0", link: bytes = b"", mode: bytes = b"0000600") -> bytes:
    """A header, of a regular file unless ``kind`` says another; with pax records where the format asks for them."""
    raw = path.encode("utf-8", "surrogatepass")
    name, prefix, records = raw, b"", b""
    if not path.isascii() or len(raw) > 100:
        cut = raw.rfind(b"/", 0, 156) if path.isascii() else -1
        if cut > 0 and len(raw) - cut - 1 <= 100:
            name, prefix = raw[cut + 1 :], raw[:cut]
        else:
            records = pax(b"path", raw)
            name = path.encode("ascii", "replace").replace(b"?", b"_")[-100:].lstrip(b"/")
    if size >= 8**11:
        records += pax(b"size", b"%d" % size)
        size = 0
    block = _block(name, prefix, size, kind, link, mode)
    return (pax_header(records) if records else b"") + block


def pax_header(records: bytes) -> bytes:
    """A pax header block and its records."""
    return (
        _block(b"PaxHeaders/holdall", b"", len(records), b"x", b"", b"0000600") + records + bytes(-len(records) % BLOCK)
    )


def pax(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    total = length + len(str(length))
    total = length + len(str(total))
    return b"%d %b=%b\n" % (total, key, value)


def _block(name: bytes, prefix: bytes, size: int, kind: bytes, link: bytes, mode: bytes) -> bytes:
    def fields(checksum: bytes) -> bytes:
        return (
            name[:100].ljust(100, b"\0")
            + mode
            + b"\0"
            + b"0000000\0" * 2
            + b"%011o\0%011o\0" % (size, TIME)
            + checksum
            + kind
            + link.ljust(100, b"\0")
            + b"ustar\x0000"
            + bytes(64)
            + b"0000000\0" * 2
            + prefix.ljust(167, b"\0")
        )

    return fields(b"%06o\0 " % sum(fields(b" " * 8)))


# -- the records ---------------------------------------------------------------------------------------------


def record(folder: str, id: str, **fields: Any) -> Member:
    return Member(path=f"data/{folder}/{id}.json", data=canonical({"id": id, **fields}), about={"id": id})


def content(
    id: str, data: bytes, *, name: str = "notes.txt", rung: str = "original", path: str | None = None
) -> Member:
    about = {"id": id, "filename": name, "rung": rung}
    return Member(path=path or f"data/files/{id}/{name}", data=data, about=about)


def ledger_line(id: str, stored: Member | None, **fields: Any) -> dict[str, Any]:
    line = {
        "id": id,
        "filename": stored.about.get("filename") if stored else "gone.pdf",
        "rung": stored.about.get("rung") if stored else "unavailable",
        "path": stored.path if stored else None,
        "expected": len(stored.data) if stored else 7,
        "size": len(stored.data) if stored else None,
        "route": None,
        "status": None,
        "code": None,
        "message": None,
        "truncated": False,
    }
    return line | fields


def file_object(line: dict[str, Any]) -> dict[str, Any]:
    """The file object of which the ledger has that line."""
    return {"id": line["id"], "filename": line["filename"], "bytes": line["expected"], "purpose": "assistants"}


def _world() -> dict[str, Any]:
    """What an honest bundle has: an assistant that uses a store with three files, one of which can't be had."""
    first = content("file-1", b"some words\n")
    second = content("file-2", bytes(range(256)) * 9, name="bytes.bin")
    text = canonical({"pages": [{"data": [{"type": "text", "text": "parsed words"}]}], "truncated": False})
    third = content("file-3", text, name="a.pdf", rung="text", path="data/text/vs_1/file-3.json")
    ids = ["file-1", "file-2", "file-3", "file-4"]
    ledger = [ledger_line(stored.about["id"], stored) for stored in (first, second, third)]
    ledger.append(ledger_line("file-4", None, status=404))
    return {
        "definitions": [
            record(
                "assistants",
                "asst_1",
                created_at=TIME,
                object="assistant",
                name="Helper",
                model="gpt-4o",
                instructions="Help.",
                tools=[{"type": "file_search"}, {"type": "code_interpreter"}],
                tool_resources={
                    "file_search": {"vector_store_ids": ["vs_1"]},
                    "code_interpreter": {"file_ids": ["file-1"]},
                },
                metadata={},
            ),
            record("vector_stores", "vs_1", created_at=TIME, name="Knowledge", metadata={}),
        ],
        "contents": [first, second, third],
        "versions": [],
        "memberships": [{"id": id, "vector_store_id": "vs_1", "status": "completed", "attributes": {}} for id in ids],
        "files": [file_object(line) for line in ledger],
        "ledger": ledger,
    }


# -- stage by stage ------------------------------------------------------------------------------------------


def forge(**lies: Callable[[Any], Any]) -> bytes:
    """A bundle; each keyword is a stage and the lie told there.

    ``definitions``, ``contents`` and ``versions`` (files of lines) are lists of Members, ``memberships``, ``files`` and
    ``ledger`` lists of lines; ``payload`` all members below data/; ``index`` the lines of the index; ``manifest``
    bytes; ``tail`` the tag files that end with the index; ``info`` what holdall.json says, ``info_raw`` its bytes;
    ``members`` the whole tar;
    ``tar`` and ``last`` its bytes before and in the last frame; ``frames`` the Frames; ``seal`` and ``table`` bytes;
    ``file`` all of it.
    """
    told = set()

    def say(stage: str, honest: Any) -> Any:
        told.add(stage)
        return lies[stage](honest) if stage in lies else honest

    world = {stage: say(stage, honest) for stage, honest in _world().items()}
    payload = say("payload", _payload(world))
    opening = [Member("bagit.txt", BAGIT), Member("README.txt", b"readme\n"), Member("FORMAT.md", b"format\n")]
    honest, offset = [], len(b"".join(member.encoded() for member in opening))
    for member in payload:
        start = (
            offset
            + len(member.encoded())
            - len(member.data)
            - len(bytes(-len(member.data) % BLOCK) if member.filling is None else member.filling)
        )
        offset += len(member.encoded())
        about = {"path": member.path, "offset": start, "size": len(member.data), "sha256": sha256(member.data)}
        honest.append(about | member.about)
    honest.sort(key=lambda line: line["path"].encode("utf-8", "surrogatepass"))
    entries = say("index", honest)
    index = jsonl(entries)
    known = [line for line in entries if isinstance(line, dict)]
    manifest = say(
        "manifest", b"".join(f"{line.get('sha256')}  {line.get('path')}\n".encode("utf-8", "replace") for line in known)
    )
    sizes = [line["size"] for line in known if isinstance(line.get("size"), int)]
    oxum = f"Payload-Oxum: {sum(sizes)}.{len(sizes)}\n".encode()
    tail = [Member("bag-info.txt", oxum), Member("manifest-sha256.txt", manifest), Member("index.jsonl", index)]
    tail = say("tail", tail)
    places, position = {}, offset
    for member in tail:
        encoded = member.encoded()
        places[member.path] = {"offset": position + BLOCK, "size": len(member.data), "sha256": sha256(member.data)}
        position += len(encoded)
    info = say("info", _info(world, payload, entries, places))
    info_raw = say("info_raw", json.dumps(info, indent=2).encode() if not isinstance(info, bytes) else info)
    closing = [Member("holdall.json", info_raw)]
    tags = {member.path: member.data for member in (*opening, *tail, *closing)}
    listed = "".join(f"{sha256(data)}  {path}\n" for path, data in sorted(tags.items()))
    closing.append(Member("tagmanifest-sha256.txt", listed.encode()))
    groups = say("members", [[*opening], [*payload], [*tail], [*closing]])
    tar = [member.encoded() for group in groups[:-1] for member in group]
    last = say("last", b"".join(member.encoded() for member in groups[-1]) + bytes(2 * BLOCK))
    pieces = say("tar", [piece for piece in tar if piece])
    frames = say("frames", [Frame.of(piece) for piece in (*pieces, last)])
    body = b"".join(frame.raw for frame in frames)
    seal = say("seal", b"\x50\x2a\x4d\x18" + struct.pack("<I", 32) + hashlib.sha256(body).digest())
    table = say("table", seek_table([(frame.length, frame.size) for frame in frames]))
    whole = say("file", body + seal + table)
    assert not lies.keys() - told, lies.keys() - told
    return bytes(whole)


def joined(size: int = 1 << 20) -> Lies:
    """Frames that hold many members each, of about ``size`` bytes; forge gives each member one of its own."""

    def lie(pieces: list[bytes]) -> list[bytes]:
        found, run = [], bytearray()
        for piece in pieces:
            run += piece
            if len(run) >= size:
                found.append(bytes(run))
                run = bytearray()
        return [*found, bytes(run)] if run else found

    return {"tar": lie}


def seek_table(sizes: list[tuple[int, int]]) -> bytes:
    listed = b"".join(struct.pack("<II", *pair) for pair in [*sizes, (40, 0)])
    rest = listed + struct.pack("<IB", len(sizes) + 1, 0) + b"\xb1\xea\x92\x8f"
    return b"\x5e\x2a\x4d\x18" + struct.pack("<I", len(rest)) + rest


def _payload(world: dict[str, Any]) -> list[Member]:
    lines = [
        ("data/vector_stores/vs_1.files.jsonl", "memberships", {"id": "vs_1"}),
        ("data/files.jsonl", "files", {}),
        ("data/ledger.jsonl", "ledger", {}),
    ]
    return [
        *world["definitions"],
        *world["contents"],
        *world["versions"],
        *(Member(path, jsonl(world[name]), about | {"records": len(world[name])}) for path, name, about in lines),
    ]


def _info(world: dict[str, Any], payload: list[Member], entries: list[Any], places: dict[str, Any]) -> dict[str, Any]:
    lines = [line for line in entries if isinstance(line, dict)]
    sizes = [line.get("size") for line in lines]
    counts = {
        "assistants": sum(member.path.startswith("data/assistants/") for member in payload),
        "vector_stores": sum(
            member.path.startswith("data/vector_stores/") and member.path.endswith(".json") for member in payload
        ),
        "memberships": len(world["memberships"]),
        "files": len(world["files"]),
        "entries": len(lines),
        "bytes": sum(size for size in sizes if isinstance(size, int)),
    }
    version = "1.0"
    for folder, (_, since) in LATER.items():
        if count := sum(one.path.startswith(f"data/{folder}/") and one.path.endswith(".json") for one in payload):
            counts[folder], version = count, max(version, since)
    for folder, kind in VERSIONS.items():
        if count := sum(one.data.count(b"\n") for one in world["versions"] if one.path.startswith(f"data/{folder}/")):
            counts[f"{kind}s"] = count
    rungs: dict[str, dict[str, int]] = {}
    for line in world["ledger"]:
        if isinstance(line, dict):
            rung = rungs.setdefault(str(line.get("rung")), {"files": 0, "bytes": 0})
            rung["files"] += 1
            rung["bytes"] += line["size"] if isinstance(line.get("size"), int) else 0
    return {
        "format": version,
        "tool": "forge 1",
        "source": {"base_url": "http://127.0.0.1/v1", "organization": None, "project": None, "label": None},
        "selection": {"mode": "all"},
        "options": {},
        "started": TIME,
        "ended": TIME + 60,
        "counts": counts,
        "rungs": rungs,
        "digests": _digests(world, payload, lines),
        "index": places["index.jsonl"],
        "manifest": places["manifest-sha256.txt"],
    }


def _digests(world: dict[str, Any], payload: list[Member], entries: list[dict[str, Any]]) -> dict[str, str]:
    definitions: list[list[Any]] = []
    later: dict[str, list[list[Any]]] = {}
    kinds = {
        "assistants": "assistant",
        "vector_stores": "vector_store",
        **{name: kind for name, (kind, _) in LATER.items()},
    }
    for member in payload:
        for folder, kind in kinds.items():
            if member.path.startswith(f"data/{folder}/") and member.path.endswith(".json"):
                line = [kind, member.about.get("id"), record_hash(kind, member.data)]
                (later.setdefault(folder, []) if folder in LATER else definitions).append(line)
    for member in world["versions"]:
        kind = VERSIONS[member.path.split("/")[1]]
        for raw in member.data.splitlines():
            line = [kind, member.about.get("id"), _id(json.loads(raw)), record_hash(kind, raw)]
            later.setdefault(f"{kind}s", []).append(line)
    definitions += [["membership", "vs_1", _id(line), record_hash("membership", line)] for line in world["memberships"]]
    definitions += [["file", _id(line), record_hash("file", line)] for line in world["files"]]
    contents = [["content", one.get("id"), one["rung"], one.get("sha256")] for one in entries if "rung" in one]
    found = {"definitions": digest(definitions), "contents": digest(contents)}
    return found | {name: digest(lines) for name, lines in later.items()}


def digest(lines: list[list[Any]]) -> str:
    return "h1:" + sha256(b"".join(line + b"\n" for line in sorted(map(canonical, lines))))


def _id(line: Any) -> Any:
    return line.get("id") if isinstance(line, dict) else None


def record_hash(kind: str, raw: Any) -> str:
    data = raw if isinstance(raw, bytes) else canonical(raw)
    if len(data) > 8 << 20:
        return sha256(data)  # a bomb, which no reader hashes
    try:
        # Numbers are kept as they are written, also those that Python has none for.
        value = json.loads(
            data, parse_int=lambda digits: f"\0{digits if digits != '-0' else 0}\0", parse_float="\0{}\0".format
        )
        if isinstance(value, dict):
            value = {key: item for key, item in value.items() if key not in _VOLATILE[kind]}
        return sha256(re.sub(rb'"\\u0000([^"\\]*)\\u0000"', rb"\1", canonical(value)))
    except (ValueError, RecursionError):
        return sha256(data)


def changed(members: list[Member], path: str, **fields: Any) -> list[Member]:
    """``members``, one of which is replaced in part."""
    assert any(member.path == path for member in members), path
    return [replace(member, **fields) if member.path == path else member for member in members]
