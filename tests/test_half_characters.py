"""Half a surrogate pair in what a server sends, from the export to the last look at the copy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdall.bundle.reader import open_bundle
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"
HALF = b"\\ud83d"


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    return Terminal(
        monkeypatch,
        {
            "OPENAI_SRC_BASE_URL": box.url,
            "OPENAI_DST_BASE_URL": box.url,
            "OPENAI_SRC_API_KEY": SOURCE,
            "OPENAI_DST_API_KEY": DESTINATION,
        },
    )


@pytest.fixture
def bundle(box: Running, holdall: Terminal) -> Path:
    """Of which every record and the parsed text have half a character."""
    with Hand(box.url, SOURCE) as hand:
        face = "\N{GRINNING FACE}"
        file = hand.file(f"notes{face}.txt", f"the words of a text {face}".encode())
        store = hand.store("books", [file], metadata={"k": "v" + face})
        hand.assistant("Reader", stores=[store], description="d" + face, metadata={"k": "v" + face})
    box.behave(oddities=frozenset({Oddity.HALF_CHARACTERS}))
    done = holdall("export", "-o", "b.tar.zst", "--min-fidelity", "text")
    assert done.code == 0, done.err
    box.behave(oddities=frozenset(), serve_assistants_files=True)
    return Path("b.tar.zst")


def test_it_is_in_the_bundle_as_it_was_sent(holdall: Terminal, bundle: Path) -> None:
    with open_bundle(bundle) as opened:
        records = [*opened.assistants(), *opened.stores(), *opened.files()]
        assert len(records) == 3
        assert all(HALF in record.raw for record in records)
        assert [line.filename for line in opened.ledger()] == ["notes\ufffd.txt"]
    for command, *arguments in (["verify"], ["inspect"], ["extract", "--to", "out-of-it"]):
        done = holdall(command, str(bundle), *arguments)
        assert done.code == 0, done.err
    (text,) = Path("out-of-it").rglob("*.text.json")
    assert HALF in text.read_bytes()


def test_two_exports_are_equal(box: Running, holdall: Terminal, bundle: Path) -> None:
    box.behave(oddities=frozenset({Oddity.HALF_CHARACTERS}), serve_assistants_files=False)
    done = holdall("--json", "export", "-o", "c.tar.zst", "--min-fidelity", "text")
    assert done.code == 0, done.err
    digests = [json.loads(done.out)["result"]["digests"]]
    with open_bundle(bundle) as opened:
        assert digests == [{"definitions": opened.info.digests.definitions, "contents": opened.info.digests.contents}]


def test_the_copy_has_a_whole_one_in_its_place_and_stays_as_it_is(
    box: Running, holdall: Terminal, bundle: Path
) -> None:
    done = holdall("--json", "import", str(bundle), "--verify")
    assert done.code == 0, done.err
    named = {(loss["kind"], loss["field"]) for loss in json.loads(done.out)["losses"] if loss["why"] == "value_changed"}
    assert named == {("assistant", "description"), ("assistant", "metadata"), ("vector_store", "metadata")}
    with Hand(box.url, DESTINATION) as hand:
        (assistant,) = hand.everything("/assistants")
        assert assistant["description"] == "d\ufffd"
    for arguments in ([], ["--on-conflict", "update", "--yes"]):
        box.forget_requests()
        again = holdall("import", str(bundle), *arguments)
        assert (again.code, box.writes()) == (0, 0), again.err


def test_a_copy_that_reads_back_so_is_undone(box: Running, holdall: Terminal, bundle: Path) -> None:
    box.behave(oddities=frozenset({Oddity.HALF_CHARACTERS}))
    assert holdall("import", str(bundle)).code in (0, 3)
    undone = holdall("undo", next(Path("out/runs").iterdir()).name, "--yes")
    assert undone.code == 0, undone.err
    with Hand(box.url, DESTINATION) as hand:
        assert not any(hand.counts().values())
