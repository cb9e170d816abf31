"""What an import into each odd server comes to: the whole, or named differences; nothing twice, and an end.

Whatever the table says: where it exits with 0, the copy is true by an independent look at the server, once that is odd
no longer; where with 3 or 4, everything that this look finds missing or different is named in ``--json``; where it
refuses, nothing was written.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdall.errors import EXIT_INCOMPLETE, EXIT_LOOK
from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.clock import Clock
from tests.importer.truth import Lack, Project, lacking, unnamed
from tests.project import Hand
from tests.sweep import sweep

SOURCE = "sk-source-0001"
PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"
SERVED = Behaviour(serve_assistants_files=True, max_batch_files=3)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an import ends. ``says`` has to be in what it prints, ``page`` is what docs/sandbox.md says of it.

    ``later`` is how the same import ends the next time, where it refuses to begin. ``behaviour`` are switches without
    which the oddity would not show, ``also`` other oddities. ``chosen`` are the arguments that choose what is imported.
    """

    page: str = "complete"
    code: int = 0
    later: int | None = None
    says: tuple[str, ...] = ()
    behaviour: dict[str, Any] = {}
    also: frozenset[Oddity] = frozenset()
    chosen: tuple[str, ...] = ("--exclude", "Blob")


def dropped(what: str, *says: str) -> Outcome:
    """A server that accepts something and doesn't keep it."""
    return Outcome(page=f"{what} reported as not kept", code=EXIT_LOOK, says=(*says, "changed by the destination"))


FULL = Outcome()
SHORT = Outcome(also=frozenset({Oddity.LIST_SHORT_PAGES}))
# The batch limit and a parameter that a model refuses are told from these words.
WORDS = Outcome(page="complete; errors are recognised by their wording")

LOWER = Outcome(page="complete, with a lower-case extension", says=("uploaded as NOTES.txt",))

NO_MATTER = (
    Oddity.LIST_CURSOR_EMPTY,
    Oddity.LIST_CURSOR_FIRST_PAGE,
    Oddity.LIST_CURSOR_REFUSED,
    Oddity.LIST_SHORT_PAGES,
    Oddity.LIST_EVERYTHING,
    Oddity.STORE_IGNORES_FILES,
    Oddity.INLINE_STORES_IGNORED,
    Oddity.UNKNOWN_FILE_ACCEPTED,
    Oddity.STORE_STAYS_IN_PROGRESS,
    Oddity.COUNTS_CONTRADICT,
    Oddity.NUMBERS_AS_FLOATS,
    Oddity.TOOLS_NULL,
    Oddity.RESOURCES_NULL,
    Oddity.ID_UNDERSCORE,
    Oddity.ID_HEX,
    Oddity.ID_UUID,
    Oddity.ID_ASSISTANT,
    Oddity.CREATED_IN_MILLISECONDS,
    Oddity.CREATED_AS_FLOAT,
    Oddity.TEXT_OVERLAPS,
    Oddity.TEXT_CUT_BY_BYTES,
    Oddity.TEXT_OTHER_SHAPE,
    Oddity.MISSING_500,
    Oddity.DELETES_ANYTHING,
    Oddity.STATUS_201,
    Oddity.FILES_NAN,
    Oddity.PADDED,
    Oddity.DROPS_AFTER_ERROR,
    Oddity.UNKNOWN_405,
    Oddity.UNKNOWN_500,
    Oddity.UNKNOWN_501,
    Oddity.UNKNOWN_PAGE,
    Oddity.DELETE_NO_TYPE,
    Oddity.BETA_MISPLACED,
    Oddity.COUNTS_LEFT_OUT,
    Oddity.COUNTS_ZERO,
    Oddity.DEFAULTS_LEFT_OUT,
    Oddity.LIST_UNPAGED,
    Oddity.SEARCH_BARE,
    Oddity.SEARCH_OWN_IDS,
    Oddity.DELETE_404,
    Oddity.DELETE_204,
    Oddity.DELETE_IGNORED,
    Oddity.DELETE_FALSE,
)

# One line for each: an oddity without is found by the tests.
OUTCOMES: dict[Oddity, Outcome] = dict.fromkeys(NO_MATTER, FULL) | {
    Oddity.LIST_NO_HAS_MORE: SHORT,
    Oddity.LIST_NO_OBJECT: SHORT,
    Oddity.LIST_ALWAYS_MORE: SHORT,
    Oddity.LIST_REPEATS_PAGE: SHORT,
    Oddity.LIST_DESC_SKIPS: SHORT,
    Oddity.BATCH_IGNORES_FILES: Outcome(page="complete: files are attached one by one"),
    Oddity.EXPIRES_AFTER_IGNORED: dropped("expires_after", "vector store books", "expires_after"),
    Oddity.METADATA_IGNORED: dropped("metadata", "drops metadata", "assistant Reader"),
    Oddity.DESCRIPTION_IGNORED: dropped("description", "assistant Reader", "description"),
    Oddity.REASONING_EFFORT_IGNORED: dropped("reasoning_effort", "reasoning_effort"),
    Oddity.ATTRIBUTES_IGNORED: dropped("attributes", "file Prüfung 0.txt", "attributes"),
    Oddity.NULL_REFUSED: Outcome(page="complete: null values are omitted"),
    Oddity.SAME_BYTES_SAME_ID: Outcome(
        page="one file instead of two; the second one's own values reported as not kept",
        code=EXIT_LOOK,
        says=("file again.txt", "attributes: changed by the destination"),
    ),
    Oddity.ONE_UPLOAD_A_SECOND: Outcome(page="complete: one upload at a time"),
    Oddity.UPLOAD_LOWER_CASE: LOWER,
    Oddity.SEARCH_LOWER_CASE: LOWER,
    Oddity.INDEX_LOWER_CASE: LOWER,
    Oddity.BATCH_500: Outcome(page="complete: files are attached one by one"),
    Oddity.REFUSED_UPLOAD_BREAKS_LIST: Outcome(
        page="the refused file is reported; everything else complete",
        code=EXIT_INCOMPLETE,
        later=26,
        says=("file blob.xyz", "not uploaded"),
        chosen=("--only", "Blob"),
    ),
    Oddity.FAILURES_COUNT_AS_COMPLETED: Outcome(
        page="the failed file is reported",
        code=EXIT_INCOMPLETE,
        later=33,
        says=("file again.txt", "attached but not searchable: failed"),
        behaviour={"index_failures": ("again*",)},
    ),
    Oddity.METADATA_OWN_KEYS: Outcome(page="complete; the server's keys are not a difference"),
    Oddity.METADATA_RESERVED: Outcome(page="complete; the server's keys are not a difference"),
    Oddity.METADATA_MANY_KEYS: Outcome(page="complete; the server's keys are not a difference"),
    Oddity.STRINGS_CUT: dropped("what was cut", "assistant Reader", "instructions"),
    Oddity.SCHEMA_RENAMED: dropped("response_format", "assistant Reader", "response_format"),
    Oddity.ATTRIBUTES_OWN_KEYS: Outcome(page="complete; the server's keys are not a difference"),
    Oddity.EXTRA_KEYS: Outcome(page="complete; the server's keys are not a difference"),
    Oddity.ECHOES_KEY: Outcome(page="complete; the server's keys are not a difference"),
    Oddity.BYTES_WRONG: Outcome(page="complete; the report has both sizes"),
    Oddity.FILENAMES_ASCII: Outcome(page="complete; the report has both names"),
    Oddity.FILES_LATIN_1: Outcome(page="complete; the report has both names"),
    Oddity.HALF_CHARACTERS: dropped("what ends otherwise", "assistant Reader", "description"),
    Oddity.TEXT_501: Outcome(page="complete; texts can't be compared"),
    Oddity.TEXT_404: Outcome(page="complete; texts can't be compared"),
    Oddity.TEXT_TOKEN_STUCK: Outcome(page="complete; texts can't be compared"),
    Oddity.TEXT_MORE_WITHOUT_TOKEN: Outcome(page="complete; texts can't be compared"),
    Oddity.MISSING_400: Outcome(behaviour={"visible_after": 20.0}),
    Oddity.MISSING_NULL: Outcome(behaviour={"visible_after": 20.0}),
    Oddity.ERROR_DETAIL: WORDS,
    Oddity.ERROR_TEXT: WORDS,
    Oddity.ERROR_FLAT: WORDS,
    Oddity.ERROR_PLAIN: WORDS,
    Oddity.ERROR_HTML: WORDS,
    Oddity.REFUSAL_NAMES_MODEL: WORDS,
    Oddity.ERROR_EMPTY: Outcome(page="complete: the refused parameter is found by trying"),
}

# Servers that delete nothing, whatever they say.
PLACES = ("assistants", "vector_stores", "files")
KEEPING = (Oddity.DELETE_404, Oddity.DELETE_FALSE, Oddity.DELETE_IGNORED)

# Those that an import has to do something about; that the others are no matter to it is tried on demand.
TOUCHING = [
    oddity
    for oddity in OUTCOMES
    if (OUTCOMES[oddity] is not FULL and not oddity.startswith(("list-", "text-", "error-")))
    or oddity
    in (
        Oddity.COUNTS_ZERO,
        Oddity.COUNTS_LEFT_OUT,
        Oddity.DEFAULTS_LEFT_OUT,
        Oddity.NUMBERS_AS_FLOATS,
        Oddity.ERROR_EMPTY,
        Oddity.STATUS_201,
        Oddity.FILES_NAN,
        Oddity.PADDED,
    )
]


def fill(hand: Hand) -> None:
    """Everything that some server drops, cuts or renames; two files with the same bytes; types that are refused."""
    texts = [hand.file("Prüfung 0.txt", b"the text number 0"), hand.file("1.txt", b"the text number 1")]
    texts += [hand.file("NOTES.TXT", b"the text number 2"), hand.file("again.txt", b"the text number 0")]
    chunks = {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 100}}
    members = {file: {"attributes": {"n": n}, "chunking_strategy": chunks} for n, file in enumerate(texts)}
    expiry = {"anchor": "last_active_at", "days": 30}
    books = hand.store("books", texts, members, metadata={"note": "n" * 100}, expires_after=expiry)
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}
    hand.assistant(
        "Reader",
        stores=[books],
        files=[texts[1]],
        metadata={"k": "v"},
        instructions="i" * 100,
        description="d \N{SNOWMAN}\N{GRINNING FACE}",
        response_format=schema,
    )
    hand.assistant("Thinker", model="o3", reasoning_effort="high", tools=[])
    # Shares what is in use already; has no name, or a long one.
    table = hand.file("table.csv", b"a,b\n1,2\n")
    shared = hand.store("shelf " * 12, [texts[1], hand.file("\N{SNOWMAN}.md", b"# Snow\n")])
    function = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    hand.assistant(None, stores=[books], files=[texts[1], table], tools=[function], temperature=0.2, top_p=0.5)
    hand.assistant("Librarian " * 10, stores=[shared], metadata={"\N{SNOWMAN}": "\N{SNOWMAN}" * 30})


@pytest.fixture(scope="module")
def clock() -> Clock:
    """That of the server and of what is imported into it."""
    return Clock()


@pytest.fixture(scope="module")
def box(clock: Clock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("odd")
    behaviour = Behaviour(serve_assistants_files=True)
    with Running(folder, behaviour=behaviour, clock=lambda: 1_800_000_000 + clock.now) as running:
        yield running


@pytest.fixture(scope="module")
def source(box: Running, bundle: Path) -> Project:
    with Hand(box.url, SOURCE) as hand:
        return Project(hand)


@pytest.fixture(scope="module")
def bundle(box: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "b.tar.zst"
    with Hand(box.url, SOURCE) as hand:
        fill(hand)
        blob = hand.file("blob.xyz", b"\0\1\2", purpose="user_data")
        hand.assistant("Blob", files=[blob])
    box.give_purpose(blob, "assistants_output")
    with pytest.MonkeyPatch.context() as monkeypatch:
        done = Terminal(monkeypatch, {"OPENAI_SRC_BASE_URL": box.url})(
            "export", "-o", str(path), "--env-file", "none", OPENAI_SRC_API_KEY=SOURCE
        )
    assert done.code == 0, done.err
    return path


@pytest.fixture
def holdall(box: Running, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    clock.rule(monkeypatch)
    return Terminal(monkeypatch, {"OPENAI_DST_BASE_URL": box.url})


def importing(box: Running, holdall: Terminal, bundle: Path, source: Project, oddity: Oddity, key: str) -> Done:
    """Import into an odd server, and see that it ends as it should and that what it says is true."""
    expected = OUTCOMES[oddity]
    switches = {**msgspec.structs.asdict(SERVED), **expected.behaviour, "oddities": expected.also | {oddity}}
    done = truly(box, holdall, bundle, source, key, switches, *expected.chosen)
    assert len(box.requests()) < 250
    assert done.code == expected.code, done.err + done.out
    told = done.err + lines(done.document)
    for words in expected.says:
        assert words in told
    return done


def truly(
    box: Running,
    holdall: Terminal,
    bundle: Path,
    source: Project,
    key: str,
    switches: dict[str, Any],
    *chosen: str,
) -> Done:
    """Import into a server with these switches, and see that what it says is true; the server stays so."""
    box.behave(**switches)
    box.forget_requests()
    arguments = ("import", str(bundle), *chosen, "--verify", "--json", "--env-file", "none")
    done = holdall(*arguments, OPENAI_DST_API_KEY=key)
    assert "Traceback" not in done.err
    writes = box.writes()
    box.behave(**msgspec.structs.asdict(SERVED))
    with Hand(box.url, key) as hand:
        copy = Project(hand)
    if done.code not in (0, EXIT_LOOK, EXIT_INCOMPLETE):
        assert (copy.is_empty, writes) == (True, 0), done.err
    else:
        are_chosen = [id for id, each in source.assistants.items() if ("--only" in chosen) == (each["name"] == "Blob")]
        lacks = lacking(source, copy, json.loads(Path("out/mapping.json").read_text(encoding="utf-8")), are_chosen)
        # The same bytes under a name that ends in lower case are whole; that is named all the same.
        grave = [one for one in lacks if not (one.field == "filename" and _same_but_for_case(one))]
        assert (done.code == 0) <= (grave == []), lacks
        assert unnamed(lacks, done.document) == [], done.err
    box.behave(**switches)
    return done


def _same_but_for_case(lack: Lack) -> bool:
    return str(lack.source).lower() == str(lack.copy).lower()


def lines(document: Any) -> str:
    """What a document of ``--json`` says, in the words that people read."""
    told = [
        f"{each['kind'].replace('_', ' ')} {each['name']} {each['field']}: {each['text']}"
        for each in document["losses"]
    ]
    return "\n".join([*told, *(f"{row['status']}: {row['error']}" for row in document["result"]["mappings"])])


@sweep("oddity", TOUCHING, ids=str)
def test_import(box: Running, holdall: Terminal, bundle: Path, source: Project, oddity: Oddity) -> None:
    importing(box, holdall, bundle, source, oddity, f"sk-into-{oddity}")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_two_at_once(box: Running, holdall: Terminal, bundle: Path, source: Project, seed: int) -> None:
    """Two oddities or three: there is no table of what comes of them, but what is said of it is true."""
    some = random.Random(seed).sample(list(Oddity), 2 + seed % 2)
    switches = msgspec.structs.asdict(SERVED) | {"oddities": frozenset(some)}
    done = truly(box, holdall, bundle, source, f"sk-some-{seed}", switches, *FULL.chosen)
    print(seed, *some, done.code)


@pytest.mark.slow
@pytest.mark.parametrize("oddity", list(Oddity), ids=str)
def test_import_again_and_undo(box: Running, holdall: Terminal, bundle: Path, source: Project, oddity: Oddity) -> None:
    """Nothing is made twice, what wasn't kept is no conflict, and an undo takes everything back."""
    key, expected = f"sk-again-{oddity}", OUTCOMES[oddity]
    environ = {"OPENAI_DST_API_KEY": key}
    importing(box, holdall, bundle, source, oddity, key)
    chosen = (str(bundle), *expected.chosen, "--env-file", "none")
    box.forget_requests()
    again = holdall("import", *chosen, **environ)
    assert (again.code, box.writes()) == (expected.later or expected.code, 0), again.err
    if expected.later != 26:
        updated = holdall("import", *chosen, "--on-conflict", "update", "--yes", **environ)
        assert updated.code == expected.code, updated.err
    runs = sorted(Path("out/runs").iterdir(), key=lambda run: (run / "journal.jsonl").stat().st_mtime_ns, reverse=True)
    keeps = oddity in KEEPING
    for run in runs:
        undone = holdall("undo", run.name, "--yes", "--env-file", "none", **environ)
        assert undone.code == (3 if keeps and run == runs[-1] else 0), undone.err
    box.behave(**msgspec.structs.asdict(SERVED))
    with Hand(box.url, key) as hand:
        there = {"assistants": 4, "vector_stores": 2, "files": 6} if keeps else dict.fromkeys(PLACES, 0)
        assert hand.counts() == there


def test_all_at_once(box: Running, holdall: Terminal, bundle: Path, source: Project) -> None:
    switches = msgspec.structs.asdict(SERVED) | {"oddities": frozenset(Oddity)}
    done = truly(box, holdall, bundle, source, "sk-into-all", switches, *FULL.chosen)
    assert len(box.requests()) < 2000
    assert done.code == EXIT_INCOMPLETE, done.err
    for words in ("drops metadata", "partial", "changed by the destination"):
        assert words in done.err + lines(done.document)


def test_every_oddity_has_its_line() -> None:
    assert set(OUTCOMES) == set(Oddity)


def test_the_page_has_them_all_with_their_outcomes() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| .+? \| .+? \| \d+ \| (.+?) \| (\d+) \|$", PAGE.read_text("utf-8"), re.M)
    assert rows == [(str(oddity), OUTCOMES[oddity].page, str(OUTCOMES[oddity].code)) for oddity in Oddity]
