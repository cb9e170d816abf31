"""What an export makes of each oddity: the whole, or a difference that it names, or one clear error; never a loop."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdall.redaction import redactor
from holdall.remote import limits
from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.clock import Clock
from tests.oracle import entries
from tests.project import Hand
from tests.sweep import sweep

SERVED = Behaviour(serve_assistants_files=True, index_failures=("broken*",))


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an export ends. ``says`` has to be in what it prints.

    ``project`` is whole, has nothing but texts, has gaps (a store and a file that are gone), or is filled anew while
    the oddity reigns.
    ``lacks`` is what the bundle then has less of than the project.
    """

    code: int = 0
    says: tuple[str, ...] = ()
    project: str = "whole"
    fidelity: str = "original"
    lacks: frozenset[str] = frozenset()
    arguments: tuple[str, ...] = ()
    also: frozenset[Oddity] = frozenset()


FULL = Outcome()
ANEW = Outcome(project="anew")
GAPS = Outcome(code=4, says=("gone  vector_store", "gone  file"), project="gaps")
TEXT = Outcome(project="texts", fidelity="text")
CUT_TEXT = Outcome(code=4, says=("cut short: ",), project="texts", fidelity="text")
NO_TEXT = Outcome(code=4, says=("missing: ",), project="texts", fidelity="unavailable")
CUT = Outcome(code=4, says=("list  /vector_stores/", "may be incomplete"), lacks=frozenset(["memberships"]))
NO_CURSOR = msgspec.structs.replace(CUT, also=frozenset({Oddity.LIST_SHORT_PAGES}))
SHORT = Outcome(also=frozenset({Oddity.LIST_SHORT_PAGES}))

OUTCOMES: dict[Oddity, Outcome] = {
    Oddity.LIST_NO_HAS_MORE: SHORT,
    Oddity.LIST_NO_OBJECT: SHORT,
    Oddity.LIST_ALWAYS_MORE: SHORT,
    Oddity.LIST_CURSOR_EMPTY: NO_CURSOR,
    Oddity.LIST_CURSOR_FIRST_PAGE: NO_CURSOR,
    Oddity.LIST_CURSOR_REFUSED: NO_CURSOR,
    Oddity.LIST_REPEATS_PAGE: SHORT,
    Oddity.LIST_DESC_SKIPS: SHORT,
    Oddity.LIST_SHORT_PAGES: SHORT,
    Oddity.LIST_EVERYTHING: FULL,
    Oddity.LIST_UNPAGED: FULL,
    Oddity.BATCH_IGNORES_FILES: ANEW,
    Oddity.STORE_IGNORES_FILES: ANEW,
    Oddity.INLINE_STORES_IGNORED: ANEW,
    Oddity.EXPIRES_AFTER_IGNORED: ANEW,
    Oddity.METADATA_IGNORED: ANEW,
    Oddity.DESCRIPTION_IGNORED: ANEW,
    Oddity.REASONING_EFFORT_IGNORED: ANEW,
    Oddity.ATTRIBUTES_IGNORED: ANEW,
    Oddity.NULL_REFUSED: FULL,
    Oddity.UNKNOWN_FILE_ACCEPTED: Outcome(code=4, says=("gone  file file-nowhere",), project="anew"),
    Oddity.SAME_BYTES_SAME_ID: ANEW,
    Oddity.ONE_UPLOAD_A_SECOND: FULL,
    Oddity.UPLOAD_LOWER_CASE: FULL,
    Oddity.SEARCH_LOWER_CASE: FULL,
    Oddity.INDEX_LOWER_CASE: FULL,
    Oddity.BATCH_500: FULL,
    Oddity.REFUSED_UPLOAD_BREAKS_LIST: Outcome(code=26, says=("can't GET /files",), arguments=("--unused",)),
    Oddity.FAILURES_COUNT_AS_COMPLETED: FULL,
    Oddity.STORE_STAYS_IN_PROGRESS: ANEW,
    Oddity.COUNTS_CONTRADICT: Outcome(code=4, says=("the server says 10, found 8",)),
    Oddity.COUNTS_ZERO: FULL,
    Oddity.COUNTS_LEFT_OUT: FULL,
    Oddity.METADATA_OWN_KEYS: FULL,
    Oddity.METADATA_RESERVED: FULL,
    Oddity.METADATA_MANY_KEYS: FULL,
    Oddity.ATTRIBUTES_OWN_KEYS: FULL,
    Oddity.DEFAULTS_LEFT_OUT: FULL,
    Oddity.NUMBERS_AS_FLOATS: FULL,
    Oddity.STRINGS_CUT: FULL,
    Oddity.SCHEMA_RENAMED: FULL,
    Oddity.TOOLS_NULL: FULL,
    Oddity.RESOURCES_NULL: FULL,
    Oddity.EXTRA_KEYS: FULL,
    Oddity.ECHOES_KEY: Outcome(code=4, says=("records with your key removed", "replaced by [key]")),
    Oddity.ID_UNDERSCORE: ANEW,
    Oddity.ID_HEX: ANEW,
    Oddity.ID_UUID: ANEW,
    Oddity.ID_ASSISTANT: ANEW,
    Oddity.CREATED_IN_MILLISECONDS: FULL,
    Oddity.CREATED_AS_FLOAT: FULL,
    Oddity.BYTES_WRONG: Outcome(code=3, says=("bytes of a file: the server says",)),
    Oddity.FILENAMES_ASCII: FULL,
    Oddity.TEXT_OVERLAPS: TEXT,
    Oddity.TEXT_CUT_BY_BYTES: TEXT,
    Oddity.TEXT_OTHER_SHAPE: TEXT,
    Oddity.TEXT_501: NO_TEXT,
    Oddity.TEXT_404: NO_TEXT,
    Oddity.TEXT_TOKEN_STUCK: CUT_TEXT,
    Oddity.TEXT_MORE_WITHOUT_TOKEN: CUT_TEXT,
    Oddity.SEARCH_OWN_IDS: FULL,
    Oddity.SEARCH_BARE: FULL,
    Oddity.MISSING_400: GAPS,
    Oddity.MISSING_500: GAPS,
    Oddity.MISSING_NULL: GAPS,
    Oddity.DELETES_ANYTHING: FULL,
    Oddity.DELETE_404: FULL,
    Oddity.DELETE_FALSE: FULL,
    Oddity.DELETE_IGNORED: FULL,
    Oddity.DELETE_204: FULL,
    Oddity.ERROR_DETAIL: GAPS,
    Oddity.ERROR_TEXT: GAPS,
    Oddity.ERROR_FLAT: GAPS,
    Oddity.ERROR_PLAIN: GAPS,
    Oddity.ERROR_HTML: GAPS,
    Oddity.ERROR_EMPTY: GAPS,
    Oddity.UNKNOWN_405: FULL,
    Oddity.UNKNOWN_500: FULL,
    Oddity.UNKNOWN_501: FULL,
    Oddity.UNKNOWN_PAGE: FULL,
    Oddity.DELETE_NO_TYPE: FULL,
    Oddity.BETA_MISPLACED: FULL,
    Oddity.REFUSAL_NAMES_MODEL: ANEW,
    Oddity.STATUS_201: ANEW,
    Oddity.HALF_CHARACTERS: FULL,
    Oddity.FILES_NAN: Outcome(code=4, says=("NaN is not JSON",)),
    Oddity.FILES_LATIN_1: Outcome(code=4, says=("not UTF-8",)),
    Oddity.PADDED: FULL,
    Oddity.DROPS_AFTER_ERROR: GAPS,
}


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """What a project holds, read while nothing is odd: ids, and by file id the bytes."""

    assistants: frozenset[str]
    stores: frozenset[str]
    memberships: frozenset[tuple[str, str]]
    files: dict[str, bytes]


def fill_texts(hand: Hand) -> None:
    """One assistant that searches seven texts."""
    files = [hand.file(f"{n}.txt", f"the text number {n}".encode()) for n in range(7)]
    hand.assistant("Reader", stores=[hand.store("books", files)])


def fill(hand: Hand, *, gaps: bool = False) -> None:
    """Five assistants, a store of eight files of which one can't be searched, and a file for the interpreter."""
    files = [hand.file(f"Prüfung {n}.txt", f"the text number {n}".encode()) for n in range(7)]
    files.append(hand.file("broken.txt", b"x"))
    table = hand.file("table.csv", b"a,b\n1,2\n")
    store = hand.store("books", metadata={"note": "n" * 100})
    hand.post(f"/vector_stores/{store}/file_batches", file_ids=files, attributes={"year": 1999})
    hand.post(f"/vector_stores/{store}", name="books again")
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    hand.assistant("Reader", stores=[store], metadata={"k": "v"}, instructions="i" * 100)
    hand.assistant("Both", stores=[store], files=[table, files[0]])
    hand.assistant(None)
    hand.assistant("Shaped", response_format=schema, description="d \N{GRINNING FACE}")
    hand.assistant("Thinker", model="o3", reasoning_effort="high")
    if gaps:
        gone, lost = hand.file("gone.txt", b"gone"), hand.store("lost")
        hand.assistant("Bereft", stores=[lost], files=[gone])
        hand.delete(f"/files/{gone}")
        hand.delete(f"/vector_stores/{lost}")


def truth(hand: Hand) -> Truth:
    stores = frozenset(each["id"] for each in hand.everything("/vector_stores"))
    members = {(s, each["id"]) for s in stores for each in hand.everything(f"/vector_stores/{s}/files")}
    files = {each["id"]: hand.sdk.files.content(each["id"]).content for each in hand.everything("/files")}
    assistants = frozenset(each["id"] for each in hand.everything("/assistants"))
    return Truth(assistants=assistants, stores=stores, memberships=frozenset(members), files=files)


class Projects:
    """Projects of one sandbox that only the oddities change."""

    def __init__(self, box: Running) -> None:
        self.box = box
        self.keys = {"whole": "sk-whole-0001", "gaps": "sk-gaps-00001", "texts": "sk-texts-0001"}
        for name, key in self.keys.items():
            with Hand(box.url, key) as hand:
                fill_texts(hand) if name == "texts" else fill(hand, gaps=name == "gaps")

    def anew(self, oddity: Oddity) -> str:
        """A project that is filled while the oddity reigns."""
        key = f"sk-anew-{oddity}"
        self.box.behave(oddities=frozenset({oddity}))
        with Hand(self.box.url, key) as hand:
            fill(hand)
            if oddity is Oddity.UNKNOWN_FILE_ACCEPTED:
                store = hand.store("strange")
                hand.post(f"/vector_stores/{store}/files", file_id="file-nowhere")
                hand.assistant("Stranger", stores=[store])
        return key


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Projects]:
    with Running(tmp_path_factory.mktemp("odd"), behaviour=SERVED) as box:
        yield Projects(box)


@pytest.fixture
def holdall(projects: Projects, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    Clock().rule(monkeypatch)
    monkeypatch.setattr(limits, "PATIENCE", 0.0)
    return Terminal(monkeypatch, {"OPENAI_SRC_BASE_URL": projects.box.url})


def found(bundle: Path) -> Truth:
    """What a bundle holds, read by somebody else."""
    inside = entries(bundle)

    def ids(folder: str) -> frozenset[str]:
        records = (data for path, data in inside.items() if path.startswith(folder) and path.endswith(".json"))
        return frozenset(json.loads(data)["id"] for data in records)

    lines = [json.loads(line) for line in inside["data/ledger.jsonl"].splitlines()]
    members = [(path, data) for path, data in inside.items() if path.endswith(".files.jsonl")]
    return Truth(
        assistants=ids("data/assistants/"),
        stores=ids("data/vector_stores/"),
        memberships=frozenset(
            (each["vector_store_id"], each["id"]) for _, data in members for each in map(json.loads, data.splitlines())
        ),
        files={line["id"]: inside[line["path"]] for line in lines if line["path"] and line["rung"] == "original"},
    )


def fidelities(bundle: Path) -> dict[str, Any]:
    return {line["id"]: line for line in map(json.loads, entries(bundle)["data/ledger.jsonl"].splitlines())}


@sweep("oddity", list(Oddity), ids=str)
def test_export(projects: Projects, holdall: Terminal, tmp_path: Path, oddity: Oddity) -> None:
    expected = OUTCOMES[oddity]
    box = projects.box
    box.behave(**msgspec.structs.asdict(SERVED))
    key = projects.anew(oddity) if expected.project == "anew" else projects.keys[expected.project]
    box.behave(oddities=frozenset())
    with Hand(box.url, key) as hand:
        holds = truth(hand)
    box.behave(oddities=expected.also | {oddity}, serve_assistants_files=expected.fidelity == "original")
    if oddity is Oddity.REFUSED_UPLOAD_BREAKS_LIST:
        with Hand(box.url, key) as hand, pytest.raises(Exception, match="is not one of"):
            hand.file("a.txt", b"x", purpose="assistants_output")
    box.forget_requests()
    done = holdall("export", "-v", "-o", "b.tar.zst", *expected.arguments, OPENAI_SRC_API_KEY=key)
    assert len(box.requests()) < 150
    assert done.code == expected.code, done.err
    assert "Traceback" not in done.err
    for words in expected.says:
        assert words in done.err
    if done.code not in (0, 3, 4):
        _is_one_clear_error(done)
        assert not list(tmp_path.glob("b.tar*"))
        return
    with Hand(box.url, key) as hand:
        inside = entries(Path("b.tar.zst"))
        for id_ in holds.assistants:
            sent = redactor((key,)).text(json.dumps(hand.get(f"/assistants/{id_}")))
            assert json.loads(inside[f"data/assistants/{id_}.json"]) == json.loads(sent)
    box.behave(oddities=frozenset(), serve_assistants_files=True)
    assert holdall("verify", "b.tar.zst").code == 0
    _is_whole(Path("b.tar.zst"), holds, expected)


def _is_one_clear_error(done: Done) -> None:
    assert len([line for line in done.err.splitlines() if line.startswith("Error: ")]) == 1


def _is_whole(bundle: Path, holds: Truth, expected: Outcome) -> None:
    has = found(bundle)
    assert has.assistants == holds.assistants
    assert has.stores == holds.stores
    if "memberships" in expected.lacks:
        assert has.memberships < holds.memberships
        return
    assert has.memberships == holds.memberships
    lines = fidelities(bundle)
    used = {member for _, member in holds.memberships} | set(holds.files)
    if expected.fidelity == "original":
        assert has.files == {id_: holds.files[id_] for id_ in used & set(holds.files)}
        assert set(lines) >= used & set(holds.files)
    else:
        assert {id_: line["rung"] for id_, line in lines.items()} == dict.fromkeys(used, expected.fidelity)
        assert {line["truncated"] for line in lines.values()} == {expected is CUT_TEXT}


def test_the_page_has_them_all_with_their_outcomes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "sandbox.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z0-9-]+)` \| (.+?) \| .+? \| (\d+) \| .+ \|$", page, re.M)
    assert listed == [(str(oddity), oddity.says, str(OUTCOMES[oddity].code)) for oddity in Oddity]


def test_all_at_once(projects: Projects, holdall: Terminal) -> None:
    box = projects.box
    box.behave(**msgspec.structs.asdict(SERVED) | {"oddities": frozenset(Oddity)})
    box.forget_requests()
    done = holdall("export", "-o", "b.tar.zst", OPENAI_SRC_API_KEY=projects.keys["gaps"])
    assert len(box.requests()) < 150
    assert done.code == 4
    assert "Traceback" not in done.err
    box.behave(oddities=frozenset())
    assert holdall("verify", "b.tar.zst").code == 0
