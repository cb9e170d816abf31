"""A second reader, made from docs/format.md alone: whether a bundle says what the page allows, and all of it agrees.

It imports nothing of holdall, holds everything in memory and looks at no frame, header or seal: those are honest here.
``broken`` raises nothing; it gives the first thing that is wrong.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import unicodedata
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import zstandard

from tests.hostile.forge import digest, record_hash, sha256

__all__ = ["broken"]

_FIDELITIES = ["original", "supplied", "container", "text", "unavailable"]
_OLD_KINDS = {"assistant", "agent", "vector_store", "membership", "file"}
_NEW_KINDS = {"foundry_agent", "agent_version", "skill", "skill_version", "environment_template"}
_KINDS = _OLD_KINDS | _NEW_KINDS
# By folder: the kind of its records, the kind of the lines beside them, and the version that had them first.
_FOLDERS = {
    "assistants": ("assistant", "", "1.0"),
    "vector_stores": ("vector_store", "membership", "1.0"),
    "agents": ("agent", "", "1.1"),
    "foundry_agents": ("foundry_agent", "agent_version", "1.2"),
    "skills": ("skill", "skill_version", "1.2"),
    "environment_templates": ("environment_template", "", "1.2"),
}
_LATER = ("agents", "foundry_agents", "agent_versions", "skills", "skill_versions", "environment_templates")
_MUST_LEDGER = {"id", "filename", "rung", "path", "expected", "size", "route", "status", "code", "message"}
_ROUTE = r"/(?:vector_stores/([^/ ]+)/)?files/([^/ ]+)/content(?s: -> .*)?"
_ZIP = r"/skills/([^/ ]+)/versions/([^/ ]+)/content(?s: -> .*)?"
_ABOUT = {
    "files": {"file"},
    "stores": {"vector_store"},
    "changed": {kind for kind, _, _ in _FOLDERS.values()},
    "templates": {"environment_template"},
    "variables": {"foundry_agent"},
    "records": _KINDS,
    "keys": _KINDS,
    "references": _KINDS,
}
_PLACES = [
    (rf"data/({'|'.join(_FOLDERS)})/[^/]+\.json", {"id"}, set()),
    (r"data/vector_stores/[^/]+\.files\.jsonl", {"id", "records"}, set()),
    (r"data/(skills|foundry_agents)/[^/]+\.versions\.jsonl", {"id", "records"}, set()),
    (r"data/(files|ledger|losses)\.jsonl", {"records"}, set()),
    (r"data/files/[^/]+/[^/]+", {"id", "rung"}, {"original", "supplied", "container"}),
    (r"data/text/[^/]+/[^/]+\.json", {"id", "rung"}, {"text"}),
]


class Broken(Exception):
    pass


def _is_count(number: Any) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and 0 <= number <= 1 << 62


def _total(counts: dict[str, Any]) -> Any:
    """How many files a store counts: a total, or without it all that are counted by their status."""
    others = [counts.get(name) for name in ("in_progress", "completed", "failed", "cancelled")]
    return counts["total"] if _is_count(counts.get("total")) else sum(map(int, filter(_is_count, others)))


def broken(raw: bytes) -> str | None:
    try:
        _Bundle(raw).check()
    except Broken as found:
        return str(found)
    except TypeError as error:  # a list or an object in the place of a word
        return str(error)
    return None


def must(holds: object, what: str) -> None:
    if not holds:
        raise Broken(what)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    must(len({key for key, _ in pairs}) == len(pairs), "a key twice")
    return dict(pairs)


def _json(raw: bytes, *, strict: bool = True) -> Any:
    try:
        return json.loads(raw.decode(), object_pairs_hook=_once if strict else None, parse_int=_long)
    except (ValueError, RecursionError):
        raise Broken("no JSON") from None


def _values(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(_values, value.values()))
    return len(value) + sum(map(_values, value)) if isinstance(value, list) else 0


def _number(value: Any, low: int = 0, high: int = 1 << 62) -> bool:
    return _numeric(value) and low <= value <= high and int(value) == value


def _numeric(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _long(digits: str) -> int:
    """A number of any length: thousands of digits are as good as forty."""
    return int(digits[:40])


def _text(value: Any) -> bool:
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def _word(value: Any) -> bool:
    return value is None or _text(value)


class _Bundle:
    def __init__(self, raw: bytes) -> None:
        tar = zstandard.ZstdDecompressor().stream_reader(raw, read_across_frames=True).read()
        self.files: dict[str, bytes] = {}
        self.places: dict[str, int] = {}
        with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
            for member in opened:
                path = member.name.partition("/")[2]
                self.files[path] = tar[member.offset_data : member.offset_data + member.size]
                self.places[path] = member.offset_data

    def check(self) -> None:
        self.info = _json(self.files["holdall.json"])
        must(isinstance(self.info, dict) and _values(self.info) <= 100_000, "holdall.json is no object, or too large")
        self._check_info()
        if self.info["format"] not in ("1.0", "1.1", "1.2"):
            return  # which may have more than this page knows
        self.index = self._lines("index.jsonl")
        for line in self.index:
            self._check_index_line(line)
        paths = [line["path"].encode() for line in self.index]
        must(paths == sorted(set(paths)), "the order of the index")
        folded = {_folded(path) for path in self.files}
        must(len(folded) == len(self.files), "paths that are one where case is ignored")
        folders = {path[:end] for path in folded for end, char in enumerate(path) if char == "/"}
        must(folders.isdisjoint(folded), "a file in the place of a folder")
        must({path.decode() for path in paths} == {p for p in self.files if p.startswith("data/")}, "index and tar")
        listed = "".join(f"{line['sha256']}  {line['path']}\n" for line in self.index)
        must(self.files["manifest-sha256.txt"] == listed.encode(), "index and manifest")
        self._check_records()
        self._check_ledger()
        self._check_losses()
        self._check_numbers()

    def _lines(self, path: str, *, strict: bool = True) -> list[Any]:
        raw = self.files.get(path, b"")
        must(not raw or raw.endswith(b"\n"), f"{path}: the last line has no end")
        lines = [_json(line, strict=strict) for line in raw.split(b"\n")[:-1]]
        for line in lines:
            must(isinstance(line, dict), f"{path}: a line that is no object")
            must(not strict or _values(line) <= 100, f"{path}: a line of too many values")
        return lines

    def _check_info(self) -> None:
        info = self.info
        must(re.fullmatch(r"1\.[0-9]{1,6}", str(info.get("format"))), "another format")
        must(_text(info.get("tool")), "the tool")
        source = info.get("source")
        must(isinstance(source, dict) and _text(source.get("base_url")), "the source")
        must(all(_word(source.get(name)) for name in ("organization", "project", "label")), "the source's names")
        must(isinstance(info.get("selection"), dict) and isinstance(info.get("options"), dict), "what was asked for")
        must(_number(info.get("started")) and _number(info.get("ended"), high=253402300799), "the times")
        must(info["started"] <= info["ended"], "the order of the times")
        must(info.get("min_rung", "text") in ["original", "container", "text", "unavailable"], "the minimum")
        for name in ("index", "manifest"):
            part, path = info.get(name), {"index": "index.jsonl", "manifest": "manifest-sha256.txt"}[name]
            must(isinstance(part, dict), name)
            there = self.places[path], len(self.files[path]), sha256(self.files[path])
            must((part.get("offset"), part.get("size"), part.get("sha256")) == there, f"where the {name} is")

    def _check_index_line(self, line: dict[str, Any]) -> None:
        path = line.get("path")
        must(_text(path) and path in self.files, "a line of nothing")
        data = self.files[str(path)]
        must(None not in line.values(), "a field without a value")
        must((line.get("offset"), line.get("size")) == (self.places[str(path)], len(data)), "where an entry is")
        must(not isinstance(line["size"], bool) and line.get("sha256") == sha256(data), "the sha256 of an entry")
        found = [place for place in _PLACES if re.fullmatch(place[0], str(path))]
        must(found, "an entry in no place")
        _, needs, rungs = found[-1] if "files.jsonl" in str(path) else found[0]
        for name in ("id", "rung", "records"):
            must((name in line) == (name in needs), f"{name} of {path}")
        must("rung" not in line or line["rung"] in rungs, "a fidelity in the place of another")
        must("filename" not in line or ("rung" in needs and _text(line["filename"])), "a filename")
        must("id" not in line or _text(line["id"]), "an id")
        if "records" in line:
            must(_number(line["records"]) and line["records"] == data.count(b"\n"), "the number of lines")

    def _check_records(self) -> None:
        self.digested: dict[str, list[list[Any]]] = {"definitions": [], "contents": [], **{name: [] for name in _LATER}}
        self.counts = {"assistants": 0, "vector_stores": 0, "memberships": 0, **dict.fromkeys(_LATER, 0)}
        self.versions: dict[str, tuple[str, str]] = {}
        beside: dict[str, dict[str, str]] = {"skills": {}, "foundry_agents": {}}
        owners: dict[str, dict[str, str]] = {"skills": {}, "foundry_agents": {}}
        self.members: set[str] = set()
        self.contents: dict[str, dict[str, Any]] = {}
        self.held: set[tuple[str, str]] = set()
        self.held_in: dict[str, list[str]] = {}
        self.totals: dict[str, Any] = {}
        stores, lists = {}, {}
        for line in self.index:
            folder, path = line["path"].split("/")[1], line["path"]
            if path.endswith(".files.jsonl"):
                lists[line["id"]] = path.removesuffix(".files.jsonl")
                ids = []
                for raw in self.files[path].splitlines():
                    ids.append(self._record("membership", raw, "definitions", line["id"]))
                    store = _json(raw, strict=False).get("vector_store_id")
                    must(not isinstance(store, str) or store in ("", line["id"]), "a membership of another store")
                    self.held_in.setdefault(ids[-1], []).append(line["id"])
                must(len(set(ids)) == len(ids), "a membership twice")
                self.counts["memberships"] += len(ids)
                self.members |= set(ids)
            elif path.endswith(".versions.jsonl"):
                must(line["id"] not in beside[folder], "two lists of versions")
                beside[folder][line["id"]] = path.removesuffix(".versions.jsonl")
                self._check_versions(_FOLDERS[folder][1], path, line["id"])
            elif folder in _FOLDERS:
                kind = _FOLDERS[folder][0]
                id = self._record(kind, self.files[path], folder if folder in _LATER else "definitions")
                if folder in owners:
                    owners[folder][id] = path.removesuffix(".json")
                must(id == line["id"] and (kind, id) not in self.held, "the id of a record, or it is there twice")
                self.held.add((kind, id))
                self.counts[folder] += 1
                if kind == "vector_store":
                    stores[id] = path.removesuffix(".json")
                    counted = _json(self.files[path], strict=False).get("file_counts")
                    self.totals[id] = _total(counted) if isinstance(counted, dict) else None
            elif "rung" in line:
                must(line["id"] not in self.contents, "two contents of a file")
                self.contents[line["id"]] = line
                self.digested["contents"].append(["content", line["id"], line["rung"], line["sha256"]])
        must(stores == lists, "stores and their memberships")
        must(owners["skills"] == beside["skills"], "skills and their versions")
        must(beside["foundry_agents"].items() <= owners["foundry_agents"].items(), "agents and their versions")
        self.store_of = {path.removeprefix("data/vector_stores/"): id for id, path in stores.items()}
        self.objects: dict[str, Any] = {}
        for raw in self.files.get("data/files.jsonl", b"").splitlines():
            id = self._record("file", raw, "definitions")
            must(id not in self.objects, "two file objects")
            self.objects[id] = _json(raw, strict=False)

    def _check_versions(self, kind: str, path: str, owner: str) -> None:
        numbers = []
        for raw in self.files[path].splitlines():
            id, value = self._record(kind, raw, f"{kind}s", owner), _json(raw, strict=False)
            said = value.get("version")
            numbers.append(said if isinstance(said, str) else id)
            must((kind, id) not in self.held or kind == "agent_version", "a version twice")
            self.held.add((kind, id))
            if kind == "skill_version":
                skill = value.get("skill_id")
                must(not isinstance(skill, str) or skill in ("", owner), "a version of another skill")
                self.versions[id] = owner, numbers[-1]
        must(len(set(numbers)) == len(numbers), "a number twice")
        self.counts[f"{kind}s"] += len(numbers)

    def _record(self, kind: str, raw: bytes, where: str, store: str | None = None) -> str:
        value = _json(raw, strict=False)
        must(isinstance(value, dict) and _text(value.get("id")), "a record without id")
        id = str(value["id"])
        line = [kind, id, record_hash(kind, raw)]
        self.digested[where].append(line if store is None else [kind, store, *line[1:]])
        return id

    def _check_ledger(self) -> None:
        self.ledger = self._lines("data/ledger.jsonl")
        for line in self.ledger:
            must(
                line.keys() >= _MUST_LEDGER and _text(line["id"]) and line["rung"] in _FIDELITIES,
                "a line of the ledger",
            )
            must(all(_word(line[name]) for name in ("filename", "path", "route", "code", "message")), "words")
            must(line["status"] is None or _number(line["status"], 100, 999), "a status")
            must("truncated" in line and len(line["message"] or "") <= 64 << 10, "truncated, and a short message")
            must(line.get("truncated", False) in (False, True) and not _number(line.get("truncated")), "truncated")
            must("doubt" not in line or (_text(line["doubt"]) and line["doubt"]), "a doubt")
            must(
                line["rung"] == "text" or not (line.get("truncated") or "doubt" in line), "no text, yet cut or in doubt"
            )
            content = self.contents.get(line["id"])
            if line["rung"] == "unavailable":
                must(line["path"] is None and line["size"] is None and not content, "unavailable, yet there")
            else:
                must(content, "a content that isn't there")
                assert content
                for name in ("path", "rung", "size"):
                    must(
                        line[name] == content[name] and not isinstance(line[name], bool), f"{name} by ledger and index"
                    )
                must(content.get("filename", line["filename"]) == line["filename"], "filename by ledger and index")
            self._check_route(line)
            if line["rung"] == "text":
                self._check_text(self.files[str(line["path"])], line.get("truncated", False))
            must(line["expected"] is None or _number(line["expected"]), "the expected size")
            if there := self.objects.get(line["id"]):
                name = there.get("filename")
                must(line["filename"] == (name if _text(name) else None), "filename by ledger and file object")
                declared = there.get("bytes")
                known = (
                    isinstance(declared, int | float) and not isinstance(declared, bool) and 0 <= declared <= 1 << 62
                )
                size = int(declared) if known else None
                must(line["expected"] == size or (line["expected"], size) == (None, 0), "the expected size")
        ids = [line["id"] for line in self.ledger]
        must([i.encode() for i in ids] == sorted({i.encode() for i in ids}), "the order of the ledger")
        must(
            set(ids) >= self.versions.keys() | self.members | self.objects.keys() | self.contents.keys(),
            "a file that the ledger lacks",
        )

    def _check_route(self, line: dict[str, Any]) -> None:
        """Of what was asked for, and of the store that a text is of."""
        must(line["id"] not in self.versions or line["rung"] in ("original", "supplied", "unavailable"), "no zip")
        if found := re.fullmatch(_ZIP, line["route"] or ""):
            must(
                self.versions.get(line["id"]) == (unquote(found[1]), unquote(found[2])), "the route of another version"
            )
        rung, route = line["rung"], re.fullmatch(_ROUTE, line["route"] or "")
        must(rung != "original" or not (line["code"] is not None or (line["status"] or 0) >= 400), "refused, yet there")
        store = route and route[1] and unquote(route[1])
        _, arrow, origin = (line["route"] or "").partition(" -> ")
        must(not arrow or re.fullmatch(r"https?://[^\s/?#@]+", origin), "a route that leads to no origin")
        if rung == "supplied":
            inside = line["route"] and line["route"][0] != "/" and ".." not in line["route"].split("/")
            must(inside, "an original outside of the folder")
        if route and rung != "supplied":
            must(unquote(route[2]) == line["id"], "the route of another file")
            must(
                rung not in ("original", "text") or (store is None) == (rung == "original"),
                "the route of another fidelity",
            )
        if rung == "text":
            folder = line["path"].split("/")[2]
            there = self.store_of.get(folder)
            if store is None:
                must(there in self.held_in.get(line["id"], ()), "a text of a store that doesn't hold it")
            elif there is not None or store in self.store_of.values():
                must(there == store, "a text of another store")
            else:
                safe = re.sub(r"[%\\/:*?\"<>|]", "_", store)
                must(re.fullmatch(re.escape(safe) + "(-[0-9]+)?", folder), "a text under another name")

    @staticmethod
    def _check_text(raw: bytes, truncated: bool) -> None:
        text = _json(raw, strict=False)
        must(isinstance(text, dict) and list(text) == ["pages", "truncated"], "a text of other fields")
        must(isinstance(text["truncated"], bool) and text["truncated"] == truncated, "whether a text stops short")
        must(isinstance(text["pages"], list), "pages")
        for page in text["pages"]:
            must(isinstance(page, dict), "a page")
            for parts in (page.get("data"), page.get("content")):
                must(parts is None or isinstance(parts, list), "parts")
                must(
                    all(isinstance(part, dict) and isinstance(part.get("text"), str | None) for part in parts or ()),
                    "a part",
                )

    def _check_losses(self) -> None:
        self.losses: Counter[str] = Counter()
        lines = self._lines("data/losses.jsonl")
        must(lines or "data/losses.jsonl" not in self.files, "an empty list of losses")
        raw, told = self.files.get("data/losses.jsonl", b"").splitlines(), [line["id"] for line in self.ledger]
        must(raw == sorted(raw), "the order of the losses")
        for line in lines:
            must(line.get("reason") and line.get("kind", "") is not None, "a reason, and no kind that is null")
            must(len(line.get("message", "")) <= 64 << 10, "a short message")
            must(_text(line.get("reason")) and _text(line.get("message", "")) and _word(line.get("id")), "a loss")
            must(line.get("kind") is None or line["kind"] in _OLD_KINDS, "the kind of a loss")
            reason, _, kind = line["reason"].partition(":")
            must(reason not in ("texts_cut", "below_minimum", "doubtful"), "a loss of the ledger's")
            must(reason != "files" or line.get("id") not in told, "a loss of the ledger's")
            self._check_loss(reason, kind if kind in _NEW_KINDS else line.get("kind"), line.get("id"))
            self.losses[line["reason"]] += 1
        self._check_told({(line["reason"], line.get("id")) for line in lines}, lines)
        minimum = _FIDELITIES.index(self.info.get("min_rung", "text"))
        for line in self.ledger:
            if line["rung"] == "unavailable":
                self.losses["files"] += 1
            elif line.get("truncated"):
                self.losses["texts_cut"] += 1
            elif _FIDELITIES.index(line["rung"]) > minimum:
                self.losses["below_minimum"] += 1
            self.losses["doubtful"] += "doubt" in line

    def _check_loss(self, reason: str, kind: Any, id: Any) -> None:
        if reason not in _ABOUT:
            return
        must(kind in _ABOUT[reason] and id is not None, "a loss of no such object")
        if kind == "membership":
            there = len(self.held_in.get(id, ())) >= (len(self.totals) if reason == "records" else 1)
            there = there and id in self.held_in
        else:
            there = id in self.objects if kind == "file" else (kind, id) in self.held
        if reason != "files":
            held = ("keys", "references", "changed", "templates", "variables")
            must(kind == "agent_version" or there == (reason in held), "a loss, and what is there")

    def _check_told(self, told: set[tuple[str, Any]], lines: list[dict[str, Any]]) -> None:
        """What differs is told as a loss, where losses are told."""
        if "losses" not in self.info:
            return
        for line in self.ledger:
            differs = line["rung"] in _FIDELITIES[:3] and line["expected"] not in (None, line["size"])
            must(not differs or ("counts", line["id"]) in told, "another size than was declared")
        left_out = any(line["reason"] == "records" and line.get("kind") == "membership" for line in lines)
        for id, total in self.totals.items():
            known = _is_count(total)
            count = sum(id in stores for stores in self.held_in.values())
            must(not known or int(total) <= count or left_out or ("lists", id) in told, "files that a store counts")

    def _check_numbers(self) -> None:
        info, later = self.info, [name for name in _LATER if self.counts[name]]
        counts = {**self.counts, "files": len(self.objects), "entries": len(self.index)}
        counts["bytes"] = sum(line["size"] for line in self.index)
        counts = {name: count for name, count in counts.items() if count or name not in _LATER}
        must(info.get("counts") == counts and not _has_bool(info["counts"]), "the counts")
        versions = (since for folder, (_, _, since) in _FOLDERS.items() if self.counts[folder])
        must(info["format"] == max(versions, default="1.0"), "the version")
        rungs: dict[str, dict[str, int]] = {}
        for line in self.ledger:
            rung = rungs.setdefault(line["rung"], {"files": 0, "bytes": 0})
            rung["files"] += 1
            rung["bytes"] += line["size"] or 0
        told = info.get("rungs")
        must(isinstance(told, dict) and all(isinstance(one, dict) for one in told.values()), "the fidelities")
        told = {name: {"files": 0, "bytes": 0} | _only(one, "files", "bytes") for name, one in told.items()}
        must(told == rungs and not any(map(_has_bool, told.values())), "the fidelities")
        if "losses" in info:
            must(isinstance(info["losses"], dict) and info["losses"] == dict(+self.losses), "the losses")
            must(not _has_bool(info["losses"]), "the losses")
        digests = {name: digest(lines) for name, lines in self.digested.items() if name not in _LATER or name in later}
        told = info.get("digests")
        must(isinstance(told, dict) and None not in told.values() and _only(told, *digests) == digests, "the digests")
        must(all(told.get(name) is None for name in _LATER if name not in later), "a digest of nothing")
        fields = [line.partition(": ")[::2] for line in self.files["bag-info.txt"].decode().split("\n")[:-1]]
        must(
            [value for label, value in fields if label.lower() == "payload-oxum"]
            == [f"{counts['bytes']}.{counts['entries']}"],
            "Payload-Oxum",
        )
        day = datetime.fromtimestamp(info["ended"], UTC).strftime("%Y-%m-%d")
        must(all(value == day for label, value in fields if label.lower() == "bagging-date"), "the day")


def _only(value: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value[name] for name in names if name in value}


def _has_bool(value: dict[str, Any]) -> bool:
    return any(isinstance(one, bool) for one in value.values())
