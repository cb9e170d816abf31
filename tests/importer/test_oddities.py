"""What an import into each odd server comes to: the whole, or named differences; nothing twice, and an end."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdall.importer.apply import attempts, indexing, readback
from holdall.remote import limits
from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.project import Hand

SOURCE = "sk-source-0001"
PAGE = Path(__file__).parents[2] / "docs" / "sandbox.md"
SERVED = Behaviour(serve_assistants_files=True, max_batch_files=3)


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an import ends. ``says`` has to be in what it prints, ``page`` is what docs/sandbox.md says of it.

    ``later`` is how the same import ends the next time, where it refuses to begin. ``behaviour`` are switches without
    which the oddity would not show, ``also`` other oddities. ``chosen`` are the arguments that choose what is imported.
    """

    page: str = "whole"
    code: int = 0
    later: int | None = None
    says: tuple[str, ...] = ()
    behaviour: dict[str, Any] = {}
    also: frozenset[Oddity] = frozenset()
    chosen: tuple[str, ...] = ("--exclude", "Blob")


def dropped(what: str, *says: str) -> Outcome:
    """A server that accepts something and doesn't keep it."""
    return Outcome(page=f"{what} named as not kept", code=3, says=(*says, "the destination does not keep it"))


WHOLE = Outcome()
SHORT = Outcome(also=frozenset({Oddity.LIST_SHORT_PAGES}))
# The batch limit and a parameter that a model refuses are told from these words.
WORDS = Outcome(page="whole; refusals are read by their words")

OUTCOMES: dict[Oddity, Outcome] = dict.fromkeys(Oddity, WHOLE) | {
    Oddity.LIST_NO_HAS_MORE: SHORT,
    Oddity.LIST_NO_OBJECT: SHORT,
    Oddity.LIST_ALWAYS_MORE: SHORT,
    Oddity.LIST_REPEATS_PAGE: SHORT,
    Oddity.LIST_DESC_SKIPS: SHORT,
    Oddity.BATCH_IGNORES_FILES: Outcome(page="whole: files are attached one by one"),
    Oddity.EXPIRES_AFTER_IGNORED: dropped("expires_after", "vector store books", "expires_after"),
    Oddity.METADATA_IGNORED: dropped("metadata", "does not keep metadata", "assistant Reader"),
    Oddity.DESCRIPTION_IGNORED: dropped("description", "assistant Reader", "description"),
    Oddity.REASONING_EFFORT_IGNORED: dropped("reasoning_effort", "reasoning_effort"),
    Oddity.ATTRIBUTES_IGNORED: dropped("attributes", "file Prüfung 0.txt", "attributes"),
    Oddity.SAME_BYTES_SAME_ID: Outcome(
        page="one file there for two; what the second had of its own named as not kept",
        code=3,
        says=("file again.txt", "attributes: the destination does not keep it"),
    ),
    Oddity.ONE_UPLOAD_A_SECOND: Outcome(page="whole: one upload at a time"),
    Oddity.REFUSED_UPLOAD_BREAKS_LIST: Outcome(
        page="the refused file named; the rest whole",
        code=3,
        later=26,
        says=("file blob.xyz", "not uploaded"),
        chosen=("--only", "Blob"),
    ),
    Oddity.FAILURES_COUNT_AS_COMPLETED: Outcome(
        page="the failed file named",
        code=3,
        later=33,
        says=("file again.txt", "attached but not searchable: failed"),
        behaviour={"index_failures": ("again*",)},
    ),
    Oddity.METADATA_OWN_KEYS: Outcome(page="whole; the server's keys are no difference"),
    Oddity.METADATA_MANY_KEYS: Outcome(page="whole; the server's keys are no difference"),
    Oddity.STRINGS_CUT: dropped("what was cut", "assistant Reader", "instructions"),
    Oddity.SCHEMA_RENAMED: dropped("response_format", "assistant Reader", "response_format"),
    Oddity.EXTRA_KEYS: Outcome(page="whole; the server's keys are no difference"),
    Oddity.BYTES_WRONG: Outcome(page="whole; both sizes are in the report"),
    Oddity.FILENAMES_ASCII: Outcome(page="whole; both names are in the report"),
    Oddity.TEXT_501: Outcome(page="whole; texts can't be compared"),
    Oddity.TEXT_404: Outcome(page="whole; texts can't be compared"),
    Oddity.TEXT_TOKEN_STUCK: Outcome(page="whole; texts can't be compared"),
    Oddity.TEXT_MORE_WITHOUT_TOKEN: Outcome(page="whole; texts can't be compared"),
    Oddity.MISSING_400: Outcome(behaviour={"visible_after": 20.0}),
    Oddity.MISSING_NULL: Outcome(behaviour={"visible_after": 20.0}),
    Oddity.ERROR_DETAIL: WORDS,
    Oddity.ERROR_TEXT: WORDS,
    Oddity.ERROR_FLAT: WORDS,
    Oddity.ERROR_PLAIN: WORDS,
    Oddity.ERROR_HTML: WORDS,
    Oddity.ERROR_EMPTY: Outcome(page="whole: what is refused without a word is found by trying"),
}

# Servers that delete nothing, whatever they say.
PLACES = ("assistants", "vector_stores", "files")
KEEPING = (Oddity.DELETE_404, Oddity.DELETE_FALSE, Oddity.DELETE_IGNORED)

# Those that an import has to do something about; that the others are no matter to it is tried on demand.
TOUCHING = [
    oddity
    for oddity in Oddity
    if (OUTCOMES[oddity] is not WHOLE and not oddity.startswith(("list-", "text-", "error-")))
    or oddity in (Oddity.NUMBERS_AS_FLOATS, Oddity.ERROR_EMPTY, Oddity.STATUS_201)
]


def fill(hand: Hand) -> None:
    """Everything that some server drops, cuts or renames; two files with the same bytes; types that are refused."""
    texts = [hand.file("Prüfung 0.txt", b"the text number 0"), hand.file("1.txt", b"the text number 1")]
    texts += [hand.file("2.txt", b"the text number 2"), hand.file("again.txt", b"the text number 0")]
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
        description="d",
        response_format=schema,
    )
    hand.assistant("Thinker", model="o3", reasoning_effort="high", tools=[])


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Its seconds pass two hundred times as fast as ours, so that nobody waits for an upload a second."""
    start = time.monotonic()
    folder = tmp_path_factory.mktemp("odd")
    behaviour = Behaviour(serve_assistants_files=True)
    with Running(
        folder, behaviour=behaviour, clock=lambda: 1_800_000_000 + (time.monotonic() - start) * 200
    ) as running:
        yield running


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
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(limits, "_FIRST_WAIT", 0.001)
    for module in (attempts, indexing, readback):
        monkeypatch.setattr(module, "FRESH", 1.0)
    return Terminal(monkeypatch, {"OPENAI_DST_BASE_URL": box.url, "HOLDALL_SETTLE": "0.2"})


def importing(box: Running, holdall: Terminal, bundle: Path, oddity: Oddity, key: str) -> Done:
    """Import into an odd server, and see that it ends as it should and that the comparison agrees."""
    expected = OUTCOMES[oddity]
    switches = {**msgspec.structs.asdict(SERVED), **expected.behaviour, "oddities": expected.also | {oddity}}
    box.behave(**switches)
    box.forget_requests()
    done = holdall("import", str(bundle), *expected.chosen, "--verify", "--env-file", "none", OPENAI_DST_API_KEY=key)
    assert len(box.requests()) < 150
    assert "Traceback" not in done.err
    assert done.code == expected.code, done.err + done.out
    for words in expected.says:
        assert words in done.err + done.out
    if done.code == 0:
        assert "no differences" in done.out
    return done


@pytest.mark.parametrize("oddity", TOUCHING, ids=str)
def test_import(box: Running, holdall: Terminal, bundle: Path, oddity: Oddity) -> None:
    importing(box, holdall, bundle, oddity, f"sk-into-{oddity}")


@pytest.mark.slow
@pytest.mark.parametrize("oddity", list(Oddity), ids=str)
def test_import_again_and_undo(box: Running, holdall: Terminal, bundle: Path, oddity: Oddity) -> None:
    """Nothing is made twice, what wasn't kept is no conflict, and an undo takes everything back."""
    key, expected = f"sk-again-{oddity}", OUTCOMES[oddity]
    environ = {"OPENAI_DST_API_KEY": key}
    importing(box, holdall, bundle, oddity, key)
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
        there = {"assistants": 2, "vector_stores": 1, "files": 4} if keeps else dict.fromkeys(PLACES, 0)
        assert hand.counts() == there


def test_all_at_once(box: Running, holdall: Terminal, bundle: Path) -> None:
    box.behave(**msgspec.structs.asdict(SERVED) | {"oddities": frozenset(Oddity)})
    box.forget_requests()
    arguments = ("import", str(bundle), *WHOLE.chosen, "--verify", "--env-file", "none")
    done = holdall(*arguments, OPENAI_DST_API_KEY="sk-into-all")
    box.behave(**msgspec.structs.asdict(SERVED))
    assert len(box.requests()) < 200
    assert "Traceback" not in done.err
    assert done.code == 3, done.err
    for words in ("does not keep metadata", "partial", "the destination does not keep it"):
        assert words in done.err + done.out
    with Hand(box.url, "sk-into-all") as hand:
        assert (hand.counts()["assistants"], hand.counts()["vector_stores"]) == (2, 1)


def test_the_page_has_them_all_with_their_outcomes() -> None:
    rows = re.findall(r"^\| `([a-z0-9-]+)` \| .+? \| .+? \| \d+ \| (.+?) \| (\d+) \|$", PAGE.read_text("utf-8"), re.M)
    assert rows == [(str(oddity), OUTCOMES[oddity].page, str(OUTCOMES[oddity].code)) for oddity in Oddity]
