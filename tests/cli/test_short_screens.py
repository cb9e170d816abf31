"""How many lines plan, import, runs and undo print at eighty columns: twelve, or twenty where something is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdall.cli.console import Console
from holdall.cli.views import again, onward
from holdall.legible import columns, shortened, wrapped
from holdall.sandbox.behaviour import Fail
from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.project import Hand

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    urls = {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_DST_BASE_URL": box.url}
    return Terminal(monkeypatch, {**urls, "OPENAI_SRC_API_KEY": SOURCE, "OPENAI_DST_API_KEY": DESTINATION})


@pytest.fixture
def source(box: Running) -> Iterator[Hand]:
    """Fifteen assistants, each with a store of three files and a table for the code interpreter."""
    with Hand(box.url, SOURCE) as hand:
        for n in range(15):
            files = [hand.file(f"Knowledge of the {n}th kind, part {m}.md", f"# {n} {m}\n".encode()) for m in range(3)]
            table = hand.file(f"Table with a long name, number {n}.csv", f"a,b\n1,{n}\n".encode())
            hand.assistant(f"Assistant number {n} 茶茶茶", stores=[hand.store(f"Store {n}", files)], files=[table])
        yield hand


def lines(done: Done) -> int:
    """As a terminal of eighty columns shows it; a command to type is never broken."""
    said = f"{done.err}{done.out}".splitlines()
    return sum(1 if line.startswith("Next: ") else len(wrapped(line, 80)) for line in said)


WAY = (
    (("plan", "b.tar.zst"), 3),
    (("import", "b.tar.zst", "--dry-run"), 3),
    (("import", "b.tar.zst"), 0),
    (("import", "b.tar.zst"), 0),
    (("plan", "b.tar.zst"), 0),
    (("runs",), 0),
    (("undo", "2", "--dry-run"), 3),
    (("undo", "2", "--yes"), 0),
)


@pytest.mark.parametrize("whole", [True, False], ids=["originals", "texts"])
def test_the_screens_are_short(holdall: Terminal, box: Running, source: Hand, whole: bool) -> None:
    box.behave(serve_assistants_files=whole)
    holdall("export", "-o", "b.tar.zst")
    for words, code in WAY:
        # The first of the runs: the second made nothing.
        typed = [str(sorted(Path("out/runs").iterdir())[0].name) if word == "2" else word for word in words]
        done = holdall(*typed)
        expected = 4 if not whole and code == 0 and words[0] in ("import", "plan") else code
        assert done.code == expected, done.err
        assert lines(done) <= (12 if whole else 20), f"{typed}\n{done.err}{done.out}"


def test_where_something_differs_or_stops_the_screens_are_short_too(
    holdall: Terminal, box: Running, source: Hand
) -> None:
    box.behave(serve_assistants_files=True)
    holdall("export", "-o", "b.tar.zst")
    box.fault(Fail(status=401), "POST", "/assistants", skip=5, times=99)
    stopped = holdall("import", "b.tar.zst", "--prefix", "x ")
    assert stopped.code == 20
    assert "5 of 15 assistants imported" in stopped.err
    assert "Next: holdall import b.tar.zst --prefix 'x '" in stopped.err.splitlines()
    assert lines(stopped) <= 20, stopped.err
    box.clear_faults()
    resumed = holdall("import", "b.tar.zst", "--prefix", "x ")
    assert (resumed.code, "15 assistants created" in resumed.err) == (0, True), resumed.err
    assert lines(resumed) <= 12, resumed.err
    with Hand(box.url, DESTINATION) as copy:
        for one in copy.everything("/assistants"):
            copy.post(f"/assistants/{one['id']}", instructions="Mine.", description="Mine.", temperature=0.5)
    for words in (("plan",), ("import",), ("import", "--dry-run"), ("import", "--on-conflict", "update")):
        refused = holdall(words[0], "b.tar.zst", "--prefix", "x ", *words[1:])
        assert refused.code in (2, 33), refused.err
        assert lines(refused) <= 20, refused.err
    left = holdall("plan", "b.tar.zst", "--prefix", "x ", "--on-conflict", "skip")
    assert "15 assistants skipped, though different from the bundle: " in left.err
    assert lines(left) <= 20, left.err
    changes = ("--prefix", "x ", "--on-conflict", "update", "--even-if-changed")
    asked = holdall("import", "b.tar.zst", *changes)
    assert (asked.code, lines(asked) <= 20) == (2, True), asked.err
    every = holdall("plan", "b.tar.zst", "--prefix", "x ", "-v")
    assert every.err.count('instructions: bundle null, destination "Mine."') == 15


def test_signs_have_colours_where_the_verdict_has_one(holdall: Terminal, box: Running, source: Hand) -> None:
    holdall("export", "-o", "b.tar.zst")
    assert "\x1b[32m+ Assistant number" in holdall("plan", "b.tar.zst", "--color", "always").out
    assert "\x1b" not in holdall("plan", "b.tar.zst").out


def test_names_in_a_plan_are_those_that_will_be_written(holdall: Terminal, box: Running, source: Hand) -> None:
    box.behave(serve_assistants_files=False)
    holdall("export", "-o", "b.tar.zst")
    shown = holdall("plan", "b.tar.zst", "--prefix", "Copy of ", "-v").out
    assert "create assistant Copy of Assistant number 3 茶茶茶 (asst_" in shown
    assert "create vector store Store 3 (vs_" in shown
    holdall("import", "b.tar.zst", "--prefix", "Copy of ")
    with Hand(box.url, DESTINATION) as copy:
        for file in copy.everything("/files"):
            assert f"upload file {file['filename']}, " in shown


def test_a_line_is_cut_by_columns() -> None:
    assert shortened("茶茶茶", 5) == "茶茶…"
    assert columns(shortened("茶a" * 40, 28)) <= 28
    assert shortened("fits", 4) == "fits"


def test_commands_to_type_next_keep_what_says_where() -> None:
    console = Console()
    console.command = "plan"
    console.typed = [
        "plan",
        "a b.zst",
        "-v",
        "--dst-base-url=http://x/v1",
        "--output-dir",
        "o o",
        "--dst-insecure-http",
    ]
    where = "--dst-base-url=http://x/v1 --output-dir 'o o' --dst-insecure-http"
    assert again(console, command="import") == f"holdall import 'a b.zst' {where}"
    assert onward(console, "undo", "latest") == f"holdall undo latest {where}"
    assert again(console, without={"--dst-insecure-http"}).endswith("--output-dir 'o o'")
    # What a token command is given may be a secret.
    for typed in (["--token-command", "print s3cret"], ["--dst-token-command=print s3cret"]):
        console.typed = ["plan", "b.zst", *typed]
        flag = typed[0].partition("=")[0]
        shown = f"{flag} …" if len(typed) == 2 else f"{flag}=…"
        assert again(console, command="import").replace("'", "") == f"holdall import b.zst {shown}"
        assert onward(console, "undo", "latest").replace("'", "") == f"holdall undo latest {shown}"
