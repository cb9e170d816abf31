"""Makes the folders of this directory: what real imports left behind, as later versions must be able to read it.

    .venv/bin/python -m tests.data.runs.make

Each ``NAME/out`` is an OUTPUT_DIR of ``holdall import`` into a sandbox, ``NAME/there.json`` what the destination held
afterwards, and ``NAME/expected.json`` what the code of that day read out of the folder. ``bundle.tar.zst`` is what all
of them imported. What is there already is left as it is: remove a file, and only that is made anew.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

from holdall.sandbox.behaviour import Behaviour, Reset, Slow
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.importer.pinned import BUNDLE, RUNS, expectation
from tests.project import Hand
from tests.waiting import Child, holdall

SOURCE, DESTINATION, OTHER = "sk-source-0001", "sk-destination-0001", "sk-destination-0002"
MODEL, NEWER = "gpt-4.1", "gpt-5"


class Making:
    """One OUTPUT_DIR in the making, in a temporary folder ``work``."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.out = work / "out"

    def start(self, box: Running, *words: str, key: str = DESTINATION) -> Child:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH", "SYSTEMROOT") if name in os.environ}
        env = {**kept, "OPENAI_DST_API_KEY": key, "OPENAI_DST_BASE_URL": box.url}
        return holdall(*words, "--env-file", "none", cwd=self.work, env=env)

    def run(self, box: Running, *words: str, key: str = DESTINATION) -> None:
        with self.start(box, *words, key=key) as child:
            ended = child.end()
        assert ended.code in (0, 3), ended

    def load(self, box: Running, *words: str, key: str = DESTINATION) -> None:
        self.run(box, "import", str(BUNDLE), *words, key=key)

    def newest(self) -> Path:
        return max(self.out.glob("runs/*"))


def server(
    making: Making, behaviour: Behaviour | None = None, *oddities: Oddity, names_project: bool = True
) -> Running:
    plain = behaviour or Behaviour(serve_assistants_files=True, oddities=frozenset(oddities))
    data = Path(tempfile.mkdtemp(dir=making.work))
    made = Running(data, behaviour=plain)
    made.behave(names_project=names_project)
    return made


def complete(making: Making) -> dict[str, Any]:
    """One import. The server indexes no file whose name ends in upper case, so one is there twice."""
    with server(making, None, Oddity.INDEX_LOWER_CASE) as box:
        making.load(box)
        return dumped(box)


def update(making: Making) -> dict[str, Any]:
    """An import, a change by others of all that can change, and an update that takes it back; the server puts a key of
    its own into all metadata."""
    with server(making, None, Oddity.METADATA_OWN_KEYS) as box:
        making.load(box)
        with Hand(box.url, DESTINATION) as hand:
            (store,) = hand.everything("/vector_stores")
            members = hand.everything(f"/vector_stores/{store['id']}/files")
            cut = next(one for one in members if one["chunking_strategy"]["static"]["max_chunk_size_tokens"] == 200)
            labelled = next(one for one in members if one["attributes"])
            hand.post(f"/vector_stores/{store['id']}", name="Renamed", metadata={"theirs": "1"})
            hand.post(f"/vector_stores/{store['id']}/files/{labelled['id']}", attributes={"lang": "fr"})
            hand.delete(f"/vector_stores/{store['id']}/files/{cut['id']}")
            stranger = hand.file("stranger.md", b"# Not of the bundle\n")
            hand.post(f"/vector_stores/{store['id']}/files", file_id=stranger, attributes={"by": "somebody"})
            for one in hand.everything("/assistants"):
                hand.post(f"/assistants/{one['id']}", instructions="Changed by somebody.", temperature=0.5)
        making.load(box, "--on-conflict", "update", "--delete", "--even-if-changed", "--yes")
        return dumped(box)


def undo(making: Making) -> dict[str, Any]:
    """Two imports: the second is undone whole, of the first one assistant is left that others have changed."""
    with server(making) as box:
        making.load(box)
        making.load(box, "--on-conflict", "duplicate", "--prefix", "Second ")
        second = making.newest().name
        making.run(box, "undo", second, "--yes")
        with Hand(box.url, DESTINATION) as hand:
            changed = next(one for one in hand.everything("/assistants") if one["name"] == "Support")
            hand.post(f"/assistants/{changed['id']}", instructions="Changed by somebody.")
        first = min(making.out.glob("runs/*")).name
        making.run(box, "undo", first, "--yes")
        return dumped(box)


def responses(making: Making) -> dict[str, Any]:
    """Requests for the Responses API. The user changes one; a second import writes beside it, and over the other."""
    with server(making, PROFILES["openai-today"]) as box:
        making.load(box, "--as", "responses")
        (request,) = (path for path in making.out.glob("responses/*.json") if b"Help!" in path.read_bytes())
        request.write_bytes(request.read_bytes().replace(b"Help!", b"Help them!"))
        making.load(box, "--as", "responses", "--map-model", f"{MODEL}={NEWER}", "--on-conflict", "update", "--yes")
        return dumped(box)


def two_destinations(making: Making) -> dict[str, Any]:
    """Into two servers from one folder, twice into the first. The second names no project and drops metadata."""
    with (
        server(making) as one,
        server(making, None, Oddity.METADATA_IGNORED, names_project=False) as other,
    ):
        making.load(one)
        making.load(one, "--only", "asst:Sales", "--prefix", "New ")
        making.load(other, key=OTHER)
        return {**dumped(one), **dumped(other, OTHER)}


def interrupted(making: Making) -> dict[str, Any]:
    """Killed while two uploads were in flight, which the server carried out."""
    with server(making) as box:
        kill(making, box)
        return dumped(box)


def resumed(making: Making) -> dict[str, Any]:
    """The same, gone on with to its end: the two uploads are found again by name and size, a store whose answer was
    lost by its mark, and an assistant that never came is made a second time."""
    with server(making) as box:
        kill(making, box)
        box.fault(Reset(executed=True), "POST", "/vector_stores")
        box.fault(Reset(), "POST", "/assistants")
        making.load(box, "--settle", "1")
        return dumped(box)


def kill(making: Making, box: Running) -> None:
    box.fault(Slow(seconds=3600), "POST", "/files", skip=1, times=2)
    with making.start(box, "import", str(BUNDLE)) as child:

        def in_flight() -> bool:
            return [(one.method, one.path) for one in box.requests()].count(("POST", "/v1/files")) == 3

        child.until(in_flight)
        child.stop()
    box.clear_faults()


MADE: dict[str, Callable[[Making], dict[str, Any]]] = {
    "complete": complete,
    "update": update,
    "undo": undo,
    "responses": responses,
    "two-destinations": two_destinations,
    "interrupted": interrupted,
    "resumed": resumed,
}


def dumped(box: Running, key: str = DESTINATION) -> dict[str, Any]:
    """All that the project holds, by its base URL: the lists as the server gives them, and the headers of its answers
    that say whose they are."""
    with Hand(box.url, key) as hand:
        lists: dict[str, list[Any]] = {}
        for path in ("/assistants", "/vector_stores", "/files"):
            if box.behaviour.assistants_api or path != "/assistants":
                lists[path] = hand.everything(path)
        for store in lists["/vector_stores"]:
            inside = f"/vector_stores/{store['id']}/files"
            lists[inside] = hand.everything(inside)
        # Without the days on which they end: the tests outlive them.
        lists["/models"] = [{"id": id, "object": "model", "created": 0, "owned_by": "system"} for id in (MODEL, NEWER)]
    answer = httpx2.get(f"{box.url}/models", headers={"authorization": f"Bearer {key}"})
    said = {name: answer.headers[name] for name in ("openai-organization", "openai-project") if name in answer.headers}
    return {box.url: {"headers": said, "lists": lists}}


def make_bundle(work: Path) -> None:
    """Two assistants, a store with all three files, one of which the code interpreter has too."""
    with Running(work / "source", behaviour=Behaviour(serve_assistants_files=True)) as box:
        with Hand(box.url, SOURCE) as hand:
            texts = {"one.md": b"# One\n", "two.md": b"# Two\n", "TABLE.TXT": b"a b\n1 2\n"}
            one, two, table = (hand.file(name, text) for name, text in texts.items())
            cut = {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 20}}
            members = {one: {"attributes": {"lang": "en"}}, two: {"chunking_strategy": cut}}
            store = hand.store("Shared", [one, two, table], members, metadata={"team": "a"})
            hand.assistant("Support", stores=[store], model=MODEL, instructions="Help!", metadata={"team": "a"})
            hand.assistant("Sales", files=[table], model=MODEL)
        env = {**os.environ, "OPENAI_SRC_API_KEY": SOURCE, "OPENAI_SRC_BASE_URL": box.url}
        words = ("export", "-o", str(BUNDLE), "--parent", "none", "--env-file", "none")
        with holdall(*words, cwd=work, env=env) as child:
            ended = child.end()
        assert ended.code == 0, ended


def main() -> None:
    with tempfile.TemporaryDirectory() as work:
        if not BUNDLE.exists():
            make_bundle(Path(work))
    for name, made in MADE.items():
        folder = RUNS / name
        with tempfile.TemporaryDirectory() as work:
            if not folder.exists():
                making = Making(Path(work))
                there = made(making)
                shutil.copytree(making.out, folder / "out", ignore=shutil.ignore_patterns(".lock"))
                (folder / "there.json").write_text(_in_lines(there) + "\n", encoding="utf-8")
        with tempfile.TemporaryDirectory() as work:
            if not (folder / "expected.json").exists():
                found = expectation(name, Path(work))
                (folder / "expected.json").write_text(_in_lines(found) + "\n", encoding="utf-8")


def _in_lines(value: Any, depth: int = 0) -> str:
    """JSON with a line for each thing that somebody may want to read by itself."""
    text = json.dumps(value, ensure_ascii=False)
    if len(text) + depth < 200 or not isinstance(value, (dict, list)):
        return text
    room = "\n" + " " * (depth + 1)
    if isinstance(value, dict):
        items = [f"{json.dumps(key)}: {_in_lines(one, depth + 1)}" for key, one in value.items()]
    else:
        items = [_in_lines(one, depth + 1) for one in value]
    inside = f",{room}".join(items)
    first, last = "{}" if isinstance(value, dict) else "[]"
    return f"{first}{room}{inside}\n{' ' * depth}{last}"


if __name__ == "__main__":
    main()
