"""No command says complete, or exits with 0, while something that the source had is missing at the place it speaks of;
and none names a difference between an object and its true copy.

Random projects, random losses at every stage. What is missing is found out by this file alone: it compares names and
bytes over the wire and reads the bundle's tar.
"""

from __future__ import annotations

import json
import random
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Behaviour, Running
from holdall.verdict import COMPLETE, Count, Reason
from tests.cli.terminal import Done, Terminal
from tests.clock import Clock
from tests.oracle import entries
from tests.project import Hand
from tests.sweep import sweep

SOURCE_SIDE = (None, None, Oddity.TEXT_404, Oddity.TEXT_MORE_WITHOUT_TOKEN, Oddity.MISSING_400)
DESTINATION_SIDE = (
    None,
    None,
    None,
    Oddity.METADATA_IGNORED,
    Oddity.DESCRIPTION_IGNORED,
    Oddity.ATTRIBUTES_IGNORED,
    Oddity.STORE_STAYS_IN_PROGRESS,
)
SEEDS = range(8)
MORE_SEEDS = range(100, 160)

Place = tuple[str, str, str]
"""An assistant's name, what of it (``store NAME`` or ``tool``), and a file's name; a store without files has ''."""


class World:
    """One source and one destination project of a seed's own, and what was done to them."""

    def __init__(self, box: Running, seed: int) -> None:
        self.chance = random.Random(seed)
        self.box = box
        self.source = Hand(box.url, f"sk-source-{seed:04}")
        self.copy = Hand(box.url, f"sk-copied-{seed:04}")
        self.had: set[Place] = set()
        self.told: list[str] = []

    def close(self) -> None:
        self.source.close()
        self.copy.close()

    def fill(self) -> None:
        chance, hand = self.chance, self.source
        files = {}
        for number in range(chance.randint(3, 7)):
            name = f"{chance.choice(['notes', 'Prüfung', 'a b'])} {number}.{chance.choice(['txt', 'md', 'csv'])}"
            files[hand.file(name, f"{name}: the words of it, number {number}\n".encode() * chance.randint(1, 40))] = (
                name
            )
        stores = {}
        for number in range(chance.randint(1, 3)):
            inside = chance.sample(sorted(files), chance.randint(0, len(files)))
            described = {file: {"attributes": {"n": 1}} for file in inside if chance.random() < 0.3}
            stores[hand.store(f"Store {number}", inside, described)] = (f"Store {number}", inside)
        for number in range(chance.randint(1, 4)):
            mine = chance.sample(sorted(stores), chance.choice([0, 1, 1]))
            tool = chance.sample(sorted(files), chance.randint(0, 2))
            name = f"Assistant {number}"
            optional = {
                "instructions": f"Do as {number} says.",
                "description": "d" * number,
                "metadata": {"team": "red"},
                "temperature": 0.5,
                "response_format": "auto",
            }
            chosen = {key: value for key, value in optional.items() if chance.random() < 0.5}
            hand.assistant(name, stores=mine, files=tool, **chosen)
            self.had |= {(name, "", "")}
            self.had |= {(name, "tool", files[file]) for file in tool}
            self.had |= {(name, f"store {stores[s][0]}", files[file]) for s in mine for file in stores[s][1]}
            self.had |= {(name, f"store {stores[s][0]}", "") for s in mine}
        self.lose_at_source(files, sorted(stores))

    def lose_at_source(self, files: dict[str, str], stores: list[str]) -> None:
        """What is deleted behind the back of the assistants that refer to it. A file's deletion takes it out of its
        stores, so that these don't have it any more."""
        if self.chance.random() < 0.3:
            gone = self.chance.choice(sorted(files))
            self.source.delete(f"/files/{gone}")
            self.had = {place for place in self.had if place[1] == "tool" or place[2] != files[gone]}
            self.told.append(f"file {gone} deleted at the source")
        if self.chance.random() < 0.25:
            gone = self.chance.choice(stores)
            self.source.delete(f"/vector_stores/{gone}")
            self.told.append(f"store {gone} deleted at the source")

    def behave(self, side: str, oddity: Oddity | None, *, serve: bool) -> None:
        self.told.append(f"{side}: {oddity or 'nothing odd'}, files {'served' if serve else 'refused'}")
        self.box.behave(oddities=frozenset([oddity] if oddity else []), serve_assistants_files=serve)

    def even(self) -> None:
        self.box.behave(oddities=frozenset(), serve_assistants_files=True)

    def lose_at_destination(self) -> None:
        kind = self.chance.choice(["/assistants", "/vector_stores", "/files", "member", "rename", "", ""])
        if kind in ("/assistants", "/vector_stores", "/files"):
            there = self.copy.everything(kind)
            if there:
                gone = self.chance.choice(there)
                self.copy.delete(f"{kind}/{gone['id']}")
                self.told.append(f"{kind} {gone['id']} deleted at the destination")
        elif kind == "member":
            there = [
                (store["id"], member["id"])
                for store in self.copy.everything("/vector_stores")
                for member in self.copy.everything(f"/vector_stores/{store['id']}/files")
            ]
            if there:
                store, member = self.chance.choice(there)
                self.copy.delete(f"/vector_stores/{store}/files/{member}")
                self.told.append(f"{member} taken out of {store} at the destination")
        elif kind == "rename":
            for one in self.copy.everything("/assistants")[:1]:
                self.copy.post(f"/assistants/{one['id']}", instructions="others wrote this")
                self.told.append("instructions changed at the destination")

    def missing_in(self, hand: Hand) -> set[Place]:
        """What the source had and ``hand``'s project hasn't. A text may have got ``.txt`` behind its name."""
        has: set[Place] = set()
        names = {file["id"]: file["filename"] for file in hand.everything("/files")}
        stores = {store["id"]: store for store in hand.everything("/vector_stores")}
        for one in hand.everything("/assistants"):
            name, resources = one["name"], one["tool_resources"] or {}
            has.add((name, "", ""))
            for file in (resources.get("code_interpreter") or {}).get("file_ids") or []:
                if file in names:
                    has.add((name, "tool", names[file]))
            for id in (resources.get("file_search") or {}).get("vector_store_ids") or []:
                if id not in stores:
                    continue
                has.add((name, f"store {stores[id]['name']}", ""))
                for member in hand.everything(f"/vector_stores/{id}/files"):
                    if member["status"] == "completed" and member["id"] in names:
                        has.add((name, f"store {stores[id]['name']}", names[member["id"]].removesuffix(".txt")))
        return {(who, what, file.removesuffix(".txt") if what != "tool" else file) for who, what, file in self.had} - {
            (who, what, file.removesuffix(".txt") if what != "tool" else file) for who, what, file in has
        }

    def equal(self) -> bool:
        """Whether the copy is a true one: every field of every object, but for ids, times and our own marks."""
        return _plain(self.source) == _plain(self.copy)


def _plain(hand: Hand) -> Any:
    names = {file["id"]: (file["filename"], file["bytes"]) for file in hand.everything("/files")}
    stores = {}
    for store in hand.everything("/vector_stores"):
        members = [
            (names.get(member["id"]), member["status"], member["attributes"] or {}, member["chunking_strategy"])
            for member in hand.everything(f"/vector_stores/{store['id']}/files")
        ]
        stores[store["id"]] = (store["name"], _unmarked(store), store["expires_after"], sorted(members, key=str))
    found = []
    for one in hand.everything("/assistants"):
        resources = one["tool_resources"] or {}
        fields = {k: v for k, v in one.items() if k not in ("id", "created_at", "metadata", "tool_resources")}
        found.append(
            (
                json.dumps(fields, sort_keys=True),
                _unmarked(one),
                [stores.get(id) for id in (resources.get("file_search") or {}).get("vector_store_ids") or []],
                [names.get(id) for id in (resources.get("code_interpreter") or {}).get("file_ids") or []],
            )
        )
    return sorted(found, key=str)


def _unmarked(record: dict[str, Any]) -> dict[str, str]:
    return {k: v for k, v in (record["metadata"] or {}).items() if k not in ("cloned_from", "holdall_op")}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running(tmp_path_factory.mktemp("verdict"), behaviour=Behaviour(serve_assistants_files=True)) as running:
        yield running


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    Clock().rule(monkeypatch)
    return Terminal(
        monkeypatch, {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_DST_BASE_URL": box.url, "HOLDALL_SETTLE": "0"}
    )


def says_complete(done: Done) -> bool:
    """Whether a command calls something complete without more ado."""
    return re.search(r"\bCOMPLETE\b", done.out + done.err) is not None


@sweep("seed", [*SEEDS, *(pytest.param(seed, marks=pytest.mark.slow) for seed in MORE_SEEDS)], ids=str)
def test_nothing_missing_is_called_complete(box: Running, holdall: Terminal, seed: int) -> None:
    world = World(box, seed)
    try:
        _try(world, holdall)
    finally:
        world.even()
        world.close()


def _try(world: World, holdall: Terminal) -> None:
    chance, source, copy = world.chance, world.source.key, world.copy.key
    world.even()
    world.fill()

    def run(*arguments: str) -> Done:
        done = holdall(*arguments, "--env-file", "none", OPENAI_SRC_API_KEY=source, OPENAI_DST_API_KEY=copy)
        world.told.append(f"$ holdall {' '.join(arguments)}\n{done.out}{done.err}-> {done.code}")
        assert done.code in (0, 3, 4, 33), told()
        return done

    def told() -> str:
        return "\n".join(world.told)

    world.behave("source", chance.choice(SOURCE_SIDE), serve=chance.random() < 0.5)
    exported = run("export", "-o", "b.tar.zst", "--parent", "none")
    again, known = run("export", "-o", "again.tar.zst"), run("export", "-o", "known.tar.zst", "--accept-known-losses")
    world.even()
    ledger = [json.loads(line) for line in entries(Path("b.tar.zst"))["data/ledger.jsonl"].splitlines()]
    gone_at_source = world.missing_in(world.source)
    lacks = gone_at_source or any(line["rung"] == "unavailable" or line["truncated"] for line in ledger)
    verified, quick = run("verify", "b.tar.zst"), run("verify", "b.tar.zst", "--quick")
    inspected = holdall("inspect", "b.tar.zst")
    assert (verified.code, quick.code, inspected.code) == (0, 0, 0), told()
    assert run("verify", "b.tar.zst", "--complete").code == (4 if lacks else 0), told()
    if lacks:
        assert exported.code == 4, told()
        assert not says_complete(exported), told()
        for one in (verified, quick, inspected):
            assert "INCOMPLETE" in one.out, told()
        assert (again.code, known.code) == (4, 0), told()
        assert "INCOMPLETE" in known.err, told()
        rehearsed = run("verify", "b.tar.zst", "--rehearse")
        assert rehearsed.code == 4, told()
        assert not says_complete(rehearsed), told()
        accepted = run("verify", "b.tar.zst", "--rehearse", "--accept-known-losses")
        assert accepted.code == 0, told()
        assert "INCOMPLETE" in accepted.out, told()
    else:
        assert exported.code == 0, told()
        assert says_complete(exported), told()

    world.behave("destination", chance.choice(DESTINATION_SIDE), serve=True)
    imported = run("import", "b.tar.zst", "--verify")
    if chance.random() < 0.5:
        world.even()
    if missing := world.missing_in(world.copy):
        world.told.append(f"missing at the destination: {sorted(missing)}")
        assert imported.code == 4, told()
        assert not says_complete(imported), told()
        assert run("plan", "b.tar.zst").code in (3, 4, 33), told()
        assert run("verify", "b.tar.zst", "--against", "dst").code == 4, told()
    world.lose_at_destination()
    against = run("verify", "b.tar.zst", "--against", "dst")
    if missing := world.missing_in(world.copy):
        world.told.append(f"missing at the destination: {sorted(missing)}")
        assert against.code == 4, told()
        assert not says_complete(against), told()
        assert run("plan", "b.tar.zst").code in (3, 4, 33), told()
    elif world.equal():
        assert "DIFFERENCE" not in against.out, told()
        assert (against.code, says_complete(against)) == (0, True) or lacks, told()


def test_the_words() -> None:
    assert (str(COMPLETE), COMPLETE.exit_code, COMPLETE.complete) == ("COMPLETE", 0, True)
    count = Count()
    for number in range(13):
        count.add(Reason.FILES, f"file-{number}", user=f"asst_{number % 2}")
    count.add(Reason.FILES, "file-1", user="asst_1")
    verdict = count.verdict()
    assert str(verdict) == "INCOMPLETE: 13 files missing from 2 assistants"
    assert (verdict.exit_code, verdict.complete) == (4, False)
    count.add(Reason.COUNTS, "vs_1")
    assert str(count.verdict()).endswith("; 1 count mismatch")


def test_what_is_accepted_changes_the_exit_code_alone() -> None:
    count = Count()
    count.add(Reason.FILES, "file-1", accepted=True)
    assert str(count.verdict()) == "INCOMPLETE: 1 file missing (accepted)"
    assert (count.verdict().exit_code, count.verdict().complete) == (0, False)
    count.add(Reason.DIFFERENT, "asst_1")
    assert count.verdict().exit_code == 3
    count.add(Reason.FILES, "file-1")  # the same loss, for a reason that nobody accepted
    assert (str(count.verdict()), count.verdict().exit_code) == ("INCOMPLETE: 1 file missing; 1 difference", 4)


# -- what a copy lacks is said again, whoever is asked and however often ----------------------------------


@pytest.fixture
def pair(box: Running, request: pytest.FixtureRequest) -> Iterator[tuple[Hand, Hand]]:
    """A source and a destination of the test's own."""
    box.behave(oddities=frozenset(), serve_assistants_files=True)
    name = f"{zlib.crc32(request.node.name.encode()):012}"
    with Hand(box.url, f"sk-from-{name}") as source, Hand(box.url, f"sk-into-{name}") as copy:
        yield source, copy
    box.behave(oddities=frozenset(), serve_assistants_files=True)


@pytest.fixture
def run(holdall: Terminal, pair: tuple[Hand, Hand]) -> Callable[..., Done]:
    def done(*arguments: str) -> Done:
        source, copy = (hand.key for hand in pair)
        return holdall(*arguments, "--env-file", "none", OPENAI_SRC_API_KEY=source, OPENAI_DST_API_KEY=copy)

    return done


def last(done: Done) -> tuple[int, str]:
    """The exit code, and the line that has the verdict."""
    said = [line for line in (done.out + done.err).splitlines() if re.search(r"\b(IN)?COMPLETE\b|\bDIFFERENCE", line)]
    return done.code, said[-1] if said else ""


def test_a_text_that_is_cut_short_is_so_at_every_look(
    box: Running, pair: tuple[Hand, Hand], run: Callable[..., Done]
) -> None:
    source, _ = pair
    store = source.store("S", [source.file(f"{n}.txt", b"the words\n" * 9) for n in range(2)])
    source.assistant("One", stores=[store])
    source.assistant("Two", stores=[store])
    box.behave(oddities=frozenset({Oddity.TEXT_MORE_WITHOUT_TOKEN}), serve_assistants_files=False, content_page_items=1)
    assert run("export", "-o", "b.tar.zst").code == 4
    box.behave(oddities=frozenset(), serve_assistants_files=True)
    said = "INCOMPLETE: 2 texts cut short from 2 assistants"
    for _ in range(2):
        assert last(run("import", "b.tar.zst")) == (4, said)
    assert last(run("plan", "b.tar.zst")) == (4, f"nothing to do: {said}")
    against = run("verify", "b.tar.zst", "--against", "dst")
    assert against.code == 4
    assert said in against.out
    assert last(run("import", "b.tar.zst", "--accept-known-losses")) == (0, f"{said} (accepted)")


def test_what_a_destination_does_not_take_is_missing_at_every_look(
    pair: tuple[Hand, Hand], run: Callable[..., Done]
) -> None:
    tools = [{"type": "bing_grounding", "bing_grounding": {"connections": []}}]
    record = {"id": "asst_" + "a" * 24, "object": "assistant", "model": "gpt-4o", "name": "A", "tools": tools}
    Path("dump.json").write_text(json.dumps(record))
    assert run("export", "--from-dump", "dump.json", "-o", "b.tar.zst").code == 0
    for _ in range(2):
        assert last(run("import", "b.tar.zst")) == (4, "INCOMPLETE: 1 setting missing from 1 assistant")
    assert run("plan", "b.tar.zst").code == 4


def test_less_than_min_fidelity_is_less_wherever_it_goes(
    box: Running, pair: tuple[Hand, Hand], run: Callable[..., Done]
) -> None:
    source, _ = pair
    source.assistant("One", stores=[source.store("S", [source.file("a.txt", b"the words\n")])])
    source.assistant("Two")
    box.behave(serve_assistants_files=False)
    assert run("export", "-o", "b.tar.zst", "--min-fidelity", "original").code == 4
    box.behave(serve_assistants_files=True)
    assert last(run("import", "b.tar.zst")) == (4, "INCOMPLETE: 1 file below --min-fidelity from 1 assistant")
    assert run("verify", "b.tar.zst", "--against", "dst").code == 4
    assert last(run("import", "b.tar.zst", "--only", "Two")) == (0, "COMPLETE")


def test_files_that_nothing_lists_are_looked_for_too(pair: tuple[Hand, Hand], run: Callable[..., Done]) -> None:
    source, copy = pair
    source.assistant("One", files=[source.file("tool.csv", b"a,b\n")])
    source.file("lone.csv", b"c,d\n")
    assert run("export", "-o", "b.tar.zst", "--unused").code == 0
    assert "INCOMPLETE: 1 file missing, 1 assistant missing" in run("verify", "b.tar.zst", "--against", "dst").out
    assert run("import", "b.tar.zst", "--verify").code == 0
    for number, name in enumerate(("lone.csv", "tool.csv"), start=1):
        gone = next(one for one in copy.everything("/files") if one["filename"] == name)
        copy.delete(f"/files/{gone['id']}")
        against = run("verify", "b.tar.zst", "--against", "dst")
        assert against.code == 4
        assert f"INCOMPLETE: {number} file{'s' if number > 1 else ''} missing" in against.out


def test_an_assistant_without_its_tools_is_incomplete(pair: tuple[Hand, Hand], run: Callable[..., Done]) -> None:
    source, copy = pair
    source.assistant("One", stores=[source.store("S", [source.file("a.txt", b"the words\n")])])
    assert run("export", "-o", "b.tar.zst").code == 0
    assert run("import", "b.tar.zst").code == 0
    one = copy.everything("/assistants")[0]["id"]
    copy.post(f"/assistants/{one}", tools=[], tool_resources={"file_search": {"vector_store_ids": []}})
    done = run("verify", "b.tar.zst", "--against", "dst", "--json")
    assert (done.code, done.document["result"]["against"]["complete"]) == (4, False)


def test_a_file_that_is_not_indexed_is_missing_to_its_users(
    box: Running, pair: tuple[Hand, Hand], run: Callable[..., Done]
) -> None:
    source, _ = pair
    source.assistant("One", stores=[source.store("S", [source.file("a.txt", b"the words\n")])])
    assert run("export", "-o", "b.tar.zst").code == 0
    box.behave(index_failures=("a*",))
    assert last(run("import", "b.tar.zst")) == (4, "INCOMPLETE: 1 file not indexed from 1 assistant")
    box.behave(index_failures=())
    assert run("verify", "b.tar.zst", "--against", "dst").code == 4


def test_a_store_that_two_assistants_had_is_one_store(pair: tuple[Hand, Hand], run: Callable[..., Done]) -> None:
    source, _ = pair
    lost = source.store("lost")
    source.assistant("One", stores=[lost])
    source.assistant("Two", stores=[lost])
    source.delete(f"/vector_stores/{lost}")
    run("export", "-o", "b.tar.zst")
    assert last(run("import", "b.tar.zst")) == (4, "INCOMPLETE: 1 vector store missing from 2 assistants")


def test_a_clone_accepts_what_its_bundle_records(
    box: Running, pair: tuple[Hand, Hand], run: Callable[..., Done]
) -> None:
    source, _ = pair
    gone = source.file("gone.csv", b"a\n")
    source.assistant("One", files=[gone])
    source.delete(f"/files/{gone}")
    assert run("clone").code == 4
    done = run("clone", "--accept-known-losses", "--json")
    assert (done.code, done.document["result"]["complete"]) == (0, False)


def test_what_was_left_out_as_asked_is_missing_and_accepted(pair: tuple[Hand, Hand], run: Callable[..., Done]) -> None:
    source, _ = pair
    tool = source.file("tool.csv", b"a,b\n")
    source.assistant("One", stores=[source.store("S", [source.file("a.txt", b"the words\n")])], files=[tool])
    done = run("export", "-o", "b.tar.zst", "--no-file-search", "--no-code-interpreter")
    assert last(done) == (0, "INCOMPLETE: 1 file missing, 1 vector store missing (accepted)")
    assert run("verify", "b.tar.zst", "--complete").code == 4
    said = "INCOMPLETE: 1 file missing, 1 vector store missing from 1 assistant"
    assert last(run("import", "b.tar.zst")) == (4, said)
    assert last(run("import", "b.tar.zst", "--accept-known-losses")) == (0, f"{said} (accepted)")


def test_a_comparison_of_a_part_says_so(pair: tuple[Hand, Hand], run: Callable[..., Done]) -> None:
    source, _ = pair
    source.assistant("One")
    source.assistant("Two")
    assert run("export", "-o", "b.tar.zst").code == 0
    assert run("import", "b.tar.zst", "--only", "Two").code == 0
    assert ", only what --only Two chose: " in run("verify", "b.tar.zst", "--against", "dst").err
