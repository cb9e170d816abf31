"""What the importer reads out of the folders in ``tests/data/runs``, as plain values: the doors by which it does.

All of it goes through functions that are given a folder and say something of it. A rebuilt importer may need other
calls in this file; the values stay what they are.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from holdall.bundle.reader import open_bundle
from holdall.endpoint import endpoint
from holdall.errors import NotFound
from holdall.importer.destination.destination import by_mapping, history
from holdall.importer.plan.definitions import ABOUT
from holdall.importer.runs.effects import LOG, UndoLog, is_undone
from holdall.importer.runs.runfolder import (
    BEFORE,
    JOURNAL,
    REPORT,
    Baseline,
    PastRun,
    RunFolder,
    made_in,
    past_runs,
    unfinished,
)
from holdall.importer.runs.runreport import MAPPING
from holdall.importer.runs.runstate import read_state
from holdall.importer.undo.observed import observe
from holdall.importer.undo.undoplan import undo_plan
from holdall.importer.written.requestfolder import RequestFolder, listed
from holdall.model import Kind, TargetId
from holdall.remote.client import Account
from holdall.remote.wire import Answer

__all__ = ["BUNDLE", "KEY", "RUNS", "Pinned", "Still", "View", "changes", "ends", "expectation", "merged", "names"]

RUNS = Path(__file__).parents[1] / "data" / "runs"
BUNDLE = RUNS / "bundle.tar.zst"
KEY = "sk-destination-0001"

View = dict[str, Any]


def names() -> list[str]:
    """The names of the folders."""
    return sorted(path.parent.name for path in RUNS.glob("*/there.json"))


class Still:
    """A destination that stands still, as ``there.json`` has it. ``headers`` are those of its answers."""

    def __init__(self, base_url: str, headers: dict[str, str], lists: Mapping[str, list[dict[str, Any]]]) -> None:
        self.base_url, self.headers, self.lists = base_url, headers, lists
        self.party: dict[str, str | None] = {
            "base_url": base_url,
            "organization": headers.get("openai-organization"),
            "project": headers.get("openai-project"),
        }
        self.account = _StillAccount(self)
        self._records = {f"{where}/{one['id']}": one for where, found in lists.items() for one in found}

    def get(self, where: str) -> bytes | None:
        """What it answers to a GET of that path; None for what isn't there."""
        if where in self.lists:
            return json.dumps({"object": "list", "data": self.lists[where], "has_more": False}).encode()
        return json.dumps(self._records[where]).encode() if where in self._records else None

    def ids(self) -> set[str]:
        return {one["id"] for found in self.lists.values() for one in found}

    @contextmanager
    def served(self) -> Iterator[str]:
        """Answer reads, and no writes, at a base URL of this machine."""
        still = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                raw = still.get(urlsplit(self.path).path.removeprefix("/v1"))
                body = b'{"error": {"message": "not found", "type": "invalid_request_error"}}' if raw is None else raw
                self.send_response(404 if raw is None else 200)
                for name, value in still.headers.items():
                    self.send_header(name, value)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _StillAccount(Account):
    """An account of it, without a network."""

    def __init__(self, still: Still) -> None:
        super().__init__(endpoint(KEY, still.base_url), side="destination")
        self._still = still
        self.json = self._read  # type: ignore[method-assign]

    async def _read(self, method: str, where: str, **options: Any) -> Answer:
        if (raw := self._still.get(where)) is None:
            raise NotFound(f"there is no {where}", status=404)
        return Answer(raw=raw, status=200)


class Pinned:
    """A copy of one of the folders below ``tmp``: ``out`` is the OUTPUT_DIR, ``run`` the folder of its newest run.

    ``destinations`` are in the order in which they were first imported into; ``destination`` is that of ``run``.
    """

    def __init__(self, name: str, tmp: Path) -> None:
        self.name, self.out = name, tmp / name
        shutil.copytree(RUNS / name / "out", self.out)
        there = json.loads((RUNS / name / "there.json").read_text(encoding="utf-8"))
        self.destinations = [Still(url, one["headers"], one["lists"]) for url, one in there.items()]
        self.run = past_runs(self.out)[-1].folder
        self.journal = self.run / JOURNAL
        self.whole = self.journal.read_bytes()
        self.options: dict[str, Any] = json.loads(self.whole.splitlines()[0])["options"]
        self.destination = self.destination_of(self.run)

    def destination_of(self, run: Path) -> Still:
        """Where a run went, by its journal as it was whole."""
        journal = RUNS / self.name / "out" / "runs" / run.name / JOURNAL
        first = json.loads(journal.read_bytes().splitlines()[0])
        return next(one for one in self.destinations if one.base_url == first["destination"]["base_url"])

    def cut(self, length: int) -> None:
        """Leave the newest run as a crash would have when its journal was so many bytes long: the report is not written
        yet, and the OUTPUT_DIR has that of the run before."""
        self.journal.write_bytes(self.whole[:length])
        earlier = next(
            (run.folder for run in reversed(past_runs(self.out)[:-1]) if (run.folder / MAPPING).exists()), None
        )
        for name in (MAPPING, REPORT):
            (self.run / name).unlink(missing_ok=True)
            (self.out / name).unlink(missing_ok=True)
            if earlier is not None:
                shutil.copyfile(earlier / name, self.out / name)
        (self.run / LOG).unlink(missing_ok=True)

    def resumed(self, destination: Still | None = None, **options: Any) -> str | None:
        """The run that the same command goes on with, or with another destination, or some other ``options``."""
        party = (destination or self.destination).party
        return unfinished(self.out, digests(), party, {**self.options, **options})

    def at(self, destination: Still) -> list[str]:
        """The runs to a destination, the newest last."""
        return [run.name for run in past_runs(self.out, destination.party)]

    def view(self) -> View:
        """All that is read of the newest run, and of those before it at the same destination."""
        destination = self.destination
        found = {
            "resumed": self.resumed(),
            "undo": self.undo(),
            "requests": self._requests(),
            "mapping": self.mapping(destination),
            "history": self._history(),
            "state": self._state(),
        }
        if (first := PastRun(self.run).opened) is not None:
            found["destination"] = first.destination
        return _filled(found)

    def undo(self, run: Path | None = None) -> View:
        """What ``undo`` of a run (None: the newest) would do to each thing, by its id or STORE/FILE: act and body where
        it is due, in that order, and the act alone where it is left or needless."""
        run = run or self.run
        state, log = read_state(run / JOURNAL), UndoLog(run, now=lambda: 0.0)
        if state.opened is None:
            return {"nothing": True}
        account = self.destination_of(run).account
        observed = asyncio.run(observe(account, state, Baseline(run / BEFORE), everywhere=True, output=self.out))
        planned = undo_plan(state, observed, begun=log.begun)
        assert planned.run == run.name
        actions = {f"{one.store}/{one.target}" if one.store else one.target: one for one in planned.actions}
        return {
            "waits": bool(state.uncertain),
            "ended": state.closed,
            "due": {key: [one.act.name.lower(), one.body] for key, one in actions.items() if one.due},
            "left": {key: one.act.name.lower() for key, one in actions.items() if one.left},
            "needless": {key: one.act.name.lower() for key, one in actions.items() if one.needless},
            "orphans": {one.id: one.name for one in planned.orphans},
        }

    def mapping(self, destination: Still) -> View:
        """Which copies stand at a destination, by the newest mapping there."""
        found = by_mapping(self.out, digests(), destination.party)
        if found is None:
            return {}
        fields = ("stores", "files", "copies", "prefix", "form")
        whole = {"assistants": found.of(Kind.ASSISTANT), "agents": found.of(Kind.AGENT)}
        origin = Path(found.origin).relative_to(self.out).as_posix()
        return _filled(
            {"origin": origin, "added": sorted(found.added), **whole, **{name: getattr(found, name) for name in fields}}
        )

    def folder(self) -> View:
        """What the newest run keeps beside its journal: its plan, and what was there before it."""
        folder = self._again()
        there = {Kind.FILE: "/files", Kind.STORE: "/vector_stores", Kind.ASSISTANT: "/assistants"}
        ids = {
            kind: [TargetId(one["id"]) for one in self.destination.lists.get(where, ())]
            for kind, where in there.items()
        }
        plan = folder.plan()
        found = {
            "plan": {unit.id: [str(step.__struct_config__.tag) for step in unit.steps] for unit in plan.units},
            "form": plan.form,
            "listed whole": [kind for kind in there if folder.baseline.is_whole(kind)],
            "newer": {kind: sorted(folder.baseline.newer(kind, ids[kind])) for kind in there},
            "lookalikes": sorted(folder.baseline.lookalikes()),
        }
        return _filled(found)

    def _again(self) -> RunFolder:
        """The folder as a run that goes on has it: what a crash left half at the journal's end is cut off."""

        async def go_on() -> RunFolder:
            folder = RunFolder(self.out, now=lambda: 0.0, resume=self.run.name)
            await folder.close()
            return folder

        return asyncio.run(go_on())

    def _state(self) -> View:
        state = self._again().state
        fields = ("targets", "copies", "superseded", "attached", "learned")
        return {
            **{name: getattr(state, name) for name in fields},
            "open": {one.op: f"{one.action} {one.kind} {one.source}" for one in state.open.values()},
            "missed": {one.op: f"{one.action} {one.kind} {one.source}" for one in state.missed},
            "adopted": sorted(state.adopted),
            "updated": sorted([*filter(None, key)] for key in state.updated),
            "added": sorted(state.added),
            "ended": state.closed,
        }

    def _history(self) -> View:
        found = history(self.out, destination=self.destination.party, prefix=str(self.options.get("prefix", "")))
        return {
            "assistants": found.made[Kind.ASSISTANT],
            "agents": found.made[Kind.AGENT],
            "stores": found.made[Kind.STORE],
            "files": found.made[Kind.FILE],
            "copies": found.copies,
            "hashes": found.hashes,
            "images": found.fingerprints,
            "attached": {
                store: {file: its or "bare" for file, its in put.items()} for store, put in found.attached.items()
            },
            "unkept": {target: sorted(its) for target, its in {**found.unkept, **found.unkept_files}.items()},
            "added": sorted(found.added),
            "notes": len(found.notes),
        }

    def _requests(self) -> View:
        """Where a request would be written that should be where there is one already."""
        folder = RequestFolder(self.out, self.destination.party)
        paths = [path for path, _ in listed(self.out) if ABOUT not in path]
        places = {path: folder.place(path, None) for path in paths}
        # What is there and may be replaced is a run's own.
        ours = {
            path
            for path, place in places.items()
            if any((self.out / one).exists() for one in (place.path, place.about))
        }
        return {path: f"{'ours' if path in ours else 'nothing'} at {place.path}" for path, place in places.items()}


def digests() -> dict[str, str]:
    """Those of the bundle that all runs imported."""
    with open_bundle(BUNDLE) as reader:
        found: dict[str, str] = msgspec.to_builtins(reader.info.digests)
    return found


def ends(data: bytes) -> Iterator[int]:
    """The length of ``data`` before its first line and after each."""
    yield (end := 0)
    for line in data.splitlines(keepends=True):
        yield (end := end + len(line))


def expectation(name: str, tmp: Path) -> View:
    """What is said of one of the folders: of the newest run what each line of its journal changes, and then its report,
    each as a JSON merge patch (RFC 7386); and of each run what is true of it as a whole."""
    pinned = Pinned(name, tmp)
    whole = {
        "folder": pinned.folder(),
        "runs": {
            run.name: {
                "at": [one.base_url for one in pinned.destinations if run.name in pinned.at(one)],
                "undone": is_undone(run),
                "undo": [f"{act} {key}" for key, (act, _) in pinned.undo(run).get("due", {}).items()],
            }
            for run in (one.folder for one in past_runs(pinned.out))
        },
        "made": {one.base_url: sorted(one.ids().intersection(made_in(pinned.out))) for one in pinned.destinations},
        "mappings": {one.base_url: pinned.mapping(one) for one in pinned.destinations},
    }
    complete = pinned.view()
    lines, last = [], {}
    for length in ends(pinned.whole):
        pinned.cut(length)
        lines.append(changes(last, fresh := pinned.view()))
        last = fresh
    return {"whole": whole, "lines": lines, "report": changes(last, complete)}


def changes(old: View, new: View) -> View:
    """The merge patch that makes ``new`` of ``old``; neither has a null or an empty value."""
    patch: View = {key: None for key in old if key not in new}
    for key, value in new.items():
        its = old.get(key)
        if isinstance(value, dict) and isinstance(its, dict):
            value = changes(its, value)
            if value:
                patch[key] = value
        elif value != its:
            patch[key] = value
    return patch


def merged(old: View, patch: View) -> View:
    """``old`` with a merge patch applied."""
    fresh = {key: value for key, value in old.items() if patch.get(key, True) is not None}
    for key, value in patch.items():
        if value is not None:
            its = old.get(key)
            fresh[key] = merged(its if isinstance(its, dict) else {}, value) if isinstance(value, dict) else value
    return fresh


def _filled(value: View) -> View:
    """Without what is null, false or empty; lists stay as they are."""
    plain: View = msgspec.to_builtins(value)
    filled = {key: _filled(one) if isinstance(one, dict) else one for key, one in plain.items()}
    return {key: one for key, one in filled.items() if one or type(one) is int}
