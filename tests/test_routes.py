"""Every command against a server on which one route always fails: the truth, no traceback, and an end in time.

The routes are those that a command uses where all is well. What is true is looked up in the sandbox itself, by the
official SDK, once the route works again. Waiting takes no time: a clock that only sleeping moves says how long it was.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.errors import EXIT_DONE, exit_codes
from holdall.importer.apply import context as pace
from holdall.remote import client
from holdall.remote.limits import Limits
from holdall.sandbox.behaviour import Behaviour, Fail, Fault
from holdall.sandbox.faults.fault_rules import Faults
from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.oracle import Project, differences
from tests.project import Hand
from tests.sweep import sweep

SOURCE = "sk-source-0001"
LONGEST = 90.0
MOST = 400
KINDS = {
    "404": Fail(status=404),
    "405": Fail(status=405),
    "500": Fail(status=500),
    "501": Fail(status=501),
    "html-404": Fail(status=404, html=True),
    "html-500": Fail(status=500, html=True),
    "html-200": Fail(status=200, html=True),
}


class Time:
    """A clock that stands while a request is in flight, and else goes on to the next end of a sleep."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleeping: list[float] = []
        self._limits: list[Limits] = []

    def limits(self, concurrency: int = 3) -> Limits:
        made = Limits(concurrency, sleep=self.sleep, clock=lambda: self.now)
        self._limits.append(made)
        return made

    def pace(self, **given: Any) -> pace.Pace:
        return Pace(**{**given, "clock": lambda: self.now, "sleep": self.sleep})

    async def sleep(self, seconds: float) -> None:
        wake = self.now + seconds
        self._sleeping.append(wake)
        try:
            while self.now < wake:
                if any(limits.slots._busy for limits in self._limits):
                    await asyncio.sleep(0.001)
                    continue
                await asyncio.sleep(0)
                self.now = max(self.now, min(self._sleeping))
        finally:
            self._sleeping.remove(wake)


Pace = pace.Pace


def route_of(method: str, path: str) -> str:
    parts = path.removeprefix("/v1").strip("/").split("/")
    return f"{method} /{'/'.join('*' if place % 2 else part for place, part in enumerate(parts))}"


class OneRoute(Faults):
    """The faults of a sandbox of which one route always fails."""

    route = ""
    answer: Fault | None = None

    def take(self, method: str, path: str, project: str | None) -> Fault | None:
        if self.route and route_of(method, path) == self.route:
            return self.answer
        return super().take(method, path, project)


class Place:
    """A sandbox with a source in it, and its bundles as they are where all is well."""

    def __init__(self, box: Running, faults: OneRoute, folder: Path) -> None:
        self.box, self.faults, self.folder = box, faults, folder
        self.numbers = itertools.count()
        self.routes: dict[str, list[str]] = {}
        with Hand(box.url, SOURCE) as hand:
            fill(hand)
            counts = hand.counts()
            self.dump = folder / "dump.json"
            self.dump.write_text(json.dumps(hand.get("/assistants", limit=100)), "utf-8")
        # Without the file that nothing uses.
        self.imported = {**counts, "files": counts["files"] - 1}

    def key(self) -> str:
        return f"sk-destination-{next(self.numbers):06}"


def fill(hand: Hand) -> None:
    """Stores with attributes, a file of both tools, one that nothing uses."""
    ids = {name: hand.file(f"{name}.md", f"# {name}\nsome words of {name}\n".encode()) for name in ("one", "two")}
    ids["table"] = hand.file("table.txt", b"some words for both tools\n")
    hand.file("unused.md", b"# nobody\nuses this\n")
    store = hand.store("Shared", [ids["one"], ids["two"]], {ids["one"]: {"attributes": {"n": 1}}}, metadata={"k": "v"})
    other = hand.store("Other", [ids["two"], ids["table"]])
    hand.assistant("Support", stores=[store], instructions="Help!")
    hand.assistant("Sales", stores=[other], files=[ids["table"]])
    full = {f"k{number}": "v" for number in range(16)}
    hand.assistant("Plain", metadata=full, temperature=0.5)


class Try:
    """One command in a folder of its own, towards a destination of its own."""

    def __init__(self, place: Place, holdall: Terminal) -> None:
        self.place, self.holdall = place, holdall
        self.key, self.source = place.key(), SOURCE

    def run(self, *argv: str) -> Done:
        url = self.place.box.url
        environ = {"OPENAI_SRC_BASE_URL": url, "OPENAI_DST_BASE_URL": url, "OPENAI_DST_API_KEY": self.key}
        return self.holdall(*argv, **environ, OPENAI_SRC_API_KEY=self.source)

    def well(self, *argv: str) -> Done:
        """A command while all is well."""
        route, self.place.faults.route = self.place.faults.route, ""
        try:
            return self.run(*argv)
        finally:
            self.place.faults.route = route

    def clean(self, *flags: str) -> Path:
        """The bundle of the source as it is where all is well; made once."""
        served = self.place.box.behaviour.serve_assistants_files
        name = f"clean-{served}{'-'.join(re.sub('[^a-z]', '', flag) for flag in flags)}.tar.zst"
        path = self.place.folder / name
        if not path.exists():
            done = self.well("export", "-o", str(path), "--parent", "none", *flags)
            assert done.code == EXIT_DONE, done.err
        return path

    def imported(self) -> str:
        """The source's bundle, after an import where all is well."""
        bundle = str(self.clean())
        done = self.well("import", bundle)
        assert done.code == EXIT_DONE, done.err
        return bundle

    def there(self) -> list[str]:
        """In what the destination differs from the source, by what it says itself."""
        path = Path("there.tar.zst")
        key, self.source = self.source, self.key
        done = self.well("export", "-o", str(path), "--parent", "none", "--force")
        self.source = key
        assert done.code == EXIT_DONE, done.err
        return differences(self.clean(), path)

    def hand(self) -> Hand:
        return Hand(self.place.box.url, self.key)


# What a command did that isn't true, a line each; nothing where all is.
Judge = Callable[[Done], Iterator[str]]


def export(*flags: str, served: bool = True) -> Callable[[Try], tuple[tuple[str, ...], Judge]]:
    def prepare(one: Try) -> tuple[tuple[str, ...], Judge]:
        one.place.box.behave(serve_assistants_files=served)
        given = tuple(flag.replace("DUMP", str(one.place.dump)) for flag in flags)
        clean = one.clean(*given)

        def judge(done: Done) -> Iterator[str]:
            if done.code == EXIT_DONE:
                yield from _lacking(clean, Path("b.tar.zst"))
            with Hand(one.place.box.url, SOURCE) as hand:
                left = [each["id"] for each in hand.everything("/containers") if each["status"] == "running"]
                for id in left:
                    if "container" not in done.err:
                        yield f"a container is left without a word: {id}"
                    hand.delete(f"/containers/{id}")

        return ("export", "-o", "b.tar.zst", "--parent", "none", *given), judge

    return prepare


class Definitions(Project):
    """Without the contents of files: by default text will do where the original can't be had."""

    def _file(self, record: dict[str, Any]) -> str:
        if self._contents[record["id"]][0] == "unavailable":
            return f"{record['filename']} is missing"
        self._contents[record["id"]] = ("", "")
        return super()._file(record)


def _lacking(clean: Path, got: Path) -> Iterator[str]:
    one, two = Definitions(clean), Definitions(got)
    for kind in ("assistants", "stores", "files"):
        missing = getattr(one, kind) - getattr(two, kind)
        yield from (f"{kind}: missing: {each[:200]}" for each in missing)


def _stands(one: Try, done: Done, *, more: int = 0) -> Iterator[str]:
    """What an import says against what stands at the destination."""
    if done.code == EXIT_DONE:
        yield from one.there()
        counts = one.hand().counts()
        if {**counts, "files": counts["files"] - more} != one.place.imported:
            yield f"the destination has {counts}"
    if Path("out/mapping.json").exists():
        mapping = json.loads(Path("out/mapping.json").read_text("utf-8"))
        there = {each["name"]: each for each in one.hand().everything("/assistants")}
        for row in mapping["mappings"]:
            if row["status"] == "success" and there.get(row["name"], {}).get("id") != row["dstId"]:
                yield f"{row['name']} is called a success and isn't there"


def into_nothing(one: Try) -> tuple[tuple[str, ...], Judge]:
    return ("import", str(one.clean())), lambda done: _stands(one, done)


def into_nothing_verified(one: Try) -> tuple[tuple[str, ...], Judge]:
    return ("import", str(one.clean()), "--verify"), lambda done: _stands(one, done)


def clone(one: Try) -> tuple[tuple[str, ...], Judge]:
    one.clean()
    return ("clone",), lambda done: _stands(one, done)


def update(one: Try) -> tuple[tuple[str, ...], Judge]:
    bundle = one.imported()
    with one.hand() as hand:
        _spoil(hand)
    flags = ("--on-conflict", "update", "--even-if-changed", "--delete", "--yes", "--force")
    return ("import", bundle, *flags), lambda done: _stands(one, done, more=1)


def _spoil(hand: Hand) -> None:
    """Changes, and one file more and one less in a store."""
    shared = next(each for each in hand.everything("/vector_stores") if each["name"] == "Shared")
    first, *_ = hand.everything(f"/vector_stores/{shared['id']}/files")
    hand.delete(f"/vector_stores/{shared['id']}/files/{first['id']}")
    hand.post(f"/vector_stores/{shared['id']}/files", file_id=hand.file("more.md", b"# more\n"))
    plain = next(each for each in hand.everything("/assistants") if each["name"] == "Plain")
    hand.post(f"/assistants/{plain['id']}", temperature=1.5)


def plan(one: Try) -> tuple[tuple[str, ...], Judge]:
    def judge(done: Done) -> Iterator[str]:
        if done.code == EXIT_DONE:
            yield "nothing is there, and nothing is to do"

    return ("plan", str(one.clean())), judge


def against(*flags: str) -> Callable[[Try], tuple[tuple[str, ...], Judge]]:
    def prepare(one: Try) -> tuple[tuple[str, ...], Judge]:
        bundle = one.imported()
        with one.hand() as hand:
            _spoil(hand)

        def judge(done: Done) -> Iterator[str]:
            if done.code == EXIT_DONE:
                yield "what differs was not found"

        return ("verify", bundle, "--against", "dst", *flags), judge

    return prepare


def undo(one: Try) -> tuple[tuple[str, ...], Judge]:
    one.imported()

    def judge(done: Done) -> Iterator[str]:
        counts = one.hand().counts()
        if done.code == EXIT_DONE and any(counts.values()):
            yield f"undone, and {counts} are there"
        result = (done.document.get("result") if done.out else None) or {}
        with one.hand() as hand:
            there = {each["id"] for kind in counts for each in hand.everything(f"/{kind}")}
        if gone := [each for each in result.get("done", ()) if each["id"] in there]:
            yield f"called undone, and there: {gone}"
        if "left" in result and len(result["left"]) < len(there):
            yield f"{len(result['left'])} left, and {len(there)} there"

    return ("undo", "latest", "--yes", "--json"), judge


def doctor(one: Try) -> tuple[tuple[str, ...], Judge]:
    one.clean()
    return ("doctor",), lambda done: iter(())


COMMANDS: dict[str, Callable[[Try], tuple[tuple[str, ...], Judge]]] = {
    "export": export(),
    "export, as text": export(served=False),
    "export --via-container": export("--via-container", served=False),
    "export --unused": export("--unused"),
    "export --from-dump": export("--from-dump", "DUMP"),
    "import": into_nothing,
    "import --verify": into_nothing_verified,
    "import --on-conflict update": update,
    "clone": clone,
    "plan": plan,
    "verify --against": against(),
    "verify --against --search": against("--search"),
    "undo": undo,
    "doctor": doctor,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("routes")
    faults = OneRoute()
    with Running(folder / "box", behaviour=Behaviour(serve_assistants_files=True), faults=faults) as box:
        yield Place(box, faults, folder)


def tried(
    place: Place, patch: pytest.MonkeyPatch, folder: Path, command: str, route: str, kind: str
) -> tuple[list[str], list[str]]:
    """What is wrong with how a command ends where ``route`` fails; and the routes that it asked."""
    folder.mkdir()
    patch.chdir(folder)
    place.box.behave(serve_assistants_files=True)
    time = Time()
    patch.setattr(client, "Limits", time.limits)
    patch.setattr(pace, "Pace", time.pace)
    one = Try(place, Terminal(patch, {}))
    argv, judge = COMMANDS[command](one)
    before, _ = time.now, place.box.forget_requests()
    place.faults.route, place.faults.answer = route, KINDS.get(kind)
    try:
        done = one.run(*argv)
    finally:
        place.faults.route = ""
    requests = [(each.method, each.path) for each in place.box.requests()]
    took = time.now - before
    wrong = []
    if done.code not in exit_codes() or done.code in (1, 70) or "Traceback" in done.err:
        wrong.append(f"ended in {done.code}: {done.err[-800:]}")
    if took > LONGEST:
        wrong.append(f"took {took:.0f} s and {len(requests)} requests")
    if len(requests) > MOST:
        wrong.append(f"made {len(requests)} requests")
    # That is how a server says that it has no assistants (any longer).
    excused = route == "GET /assistants" and kind.endswith("404") and command.startswith(("export", "import", "clone"))
    if not excused:
        wrong += list(judge(done))
    heading = f"{command}, {route} {kind}, exit {done.code}"
    return [f"{heading}: {each}" for each in wrong], list(dict.fromkeys(route_of(*each) for each in requests))


def routes(place: Place, command: str, folder: Path) -> list[str]:
    """The routes of a command where all is well."""
    if command not in place.routes:
        with pytest.MonkeyPatch.context() as patch:
            wrong, place.routes[command] = tried(place, patch, folder / "clean", command, "", "")
        assert wrong == []
    return place.routes[command]


@sweep(
    ("command", "route", "kind"),
    [
        ("export", "GET /vector_stores/*", "500"),
        ("import", "POST /assistants", "500"),
        ("import", "POST /vector_stores/*/file_batches", "html-200"),
        ("import", "GET /assistants/*", "404"),
        ("import --on-conflict update", "GET /vector_stores/*/files/*", "404"),
        ("import --on-conflict update", "GET /files/*", "405"),
        ("undo", "DELETE /files/*", "404"),
        ("undo", "GET /assistants", "404"),
    ],
)
def test_routes_that_were_not_told_the_truth_of(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, route: str, kind: str
) -> None:
    assert tried(place, monkeypatch, tmp_path / "try", command, route, kind)[0] == []


@sweep(("command", "seed"), [("export", 1), ("import --on-conflict update", 2), ("undo", 3)])
def test_some_routes(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, seed: int) -> None:
    chance = random.Random(seed)
    route, kind = chance.choice(routes(place, command, tmp_path)), chance.choice(list(KINDS))
    assert tried(place, monkeypatch, tmp_path / "try", command, route, kind)[0] == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_route(place: Place, tmp_path: Path, command: str, kind: str) -> None:
    wrong = []
    for number, route in enumerate(routes(place, command, tmp_path)):
        with pytest.MonkeyPatch.context() as patch:
            wrong += tried(place, patch, tmp_path / str(number), command, route, kind)[0]
    assert wrong == [], "\n".join(wrong)
