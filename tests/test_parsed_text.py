"""Parsed text that a server cuts by tokens, also inside characters: out, in, and proved, or said to be doubtful."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.errors import EXIT_LOOK
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.oracle import entries
from tests.project import Hand

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-1"
CHANCE = random.Random(11)
TEXTS = {
    "umlauts.txt": "x" + "".join(f"{CHANCE.randrange(999)} schöne Äpfel für über {n} Öre. " for n in range(400)),
    "tea.md": "".join(f"{CHANCE.randrange(99)}緑茶の淹れ方を{n}回学ぶ。\r\n" for n in range(300)),
    "fun.txt": "".join(f"😀👍🏽 {CHANCE.randrange(9999)} " for n in range(500)),
    "short.txt": "kürzer als ein Teil",
    "table.csv": "".join(f"{n % 7};{n % 11};0,00 €\n" for n in range(900)),
}


@pytest.fixture
def hand(box: Running) -> Iterator[Hand]:
    with Hand(box.url, SOURCE) as made:
        yield made


@pytest.fixture
def there(box: Running) -> Iterator[Hand]:
    with Hand(box.url, DESTINATION) as made:
        yield made


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    box.behave(oddities=frozenset({Oddity.TEXT_CUT_BY_BYTES}))
    environment = {"SRC_API_KEY": SOURCE, "SRC_BASE_URL": box.url, "DST_API_KEY": DESTINATION, "DST_BASE_URL": box.url}
    return Terminal(monkeypatch, {f"OPENAI_{name}": value for name, value in environment.items()})


def project(hand: Hand, *, overlap: int = 100) -> dict[str, str]:
    """One assistant that searches the texts, in parts of 200 tokens; ids by filename."""
    files = {name: hand.file(name, text.encode()) for name, text in TEXTS.items()}
    strategy = {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": overlap}}
    members = {file: {"chunking_strategy": strategy} for file in files.values()}
    hand.assistant("Reader", stores=[hand.store("Texts", list(files.values()), members)])
    return files


def ledger(bundle: str = "b.tar.zst") -> dict[str, dict[str, Any]]:
    lines = map(json.loads, entries(Path(bundle))["data/ledger.jsonl"].splitlines())
    return {line["filename"]: line for line in lines}


def held(box: Running, there: Hand) -> dict[str, bytes]:
    box.behave(serve_assistants_files=True)
    files = there.everything("/files")
    return {file["filename"]: there.sdk.files.content(file["id"]).content for file in files}


def test_parts_cut_inside_characters_become_the_files_again(
    box: Running, hand: Hand, there: Hand, holdall: Terminal
) -> None:
    project(hand)
    done = holdall("export", "-o", "b.tar.zst")
    assert done.code == 0, done.err
    assert {name: line["rung"] for name, line in ledger().items()} == dict.fromkeys(TEXTS, "text")
    assert not any("doubt" in line for line in ledger().values())
    assert b"\xef\xbf\xbd" in b"".join(
        data for path, data in entries(Path("b.tar.zst")).items() if "data/text/" in path
    )
    done = holdall("import", "b.tar.zst")
    assert done.code == 0, done.err
    proof = holdall("verify", "b.tar.zst", "--against", "dst", "--json")
    assert proof.code == 0, proof.err
    assert {file["text"] for file in proof.document["result"]["against"]["files"]} == {"equal"}
    assert held(box, there) == {name: text.encode() for name, text in TEXTS.items()}


def test_of_files_that_are_there_byte_for_byte_no_text_differs(box: Running, hand: Hand, holdall: Terminal) -> None:
    project(hand)
    box.behave(serve_assistants_files=True)
    assert holdall("export", "-o", "b.tar.zst").code == 0
    assert holdall("import", "b.tar.zst").code == 0
    proof = holdall("verify", "b.tar.zst", "--against", "dst", "--json")
    assert (proof.code, proof.document["result"]["against"]["differences"]) == (0, [])


@pytest.fixture
def doubtful(hand: Hand) -> set[str]:
    """Without an overlap, a character that is cut is whole in no part."""
    project(hand, overlap=0)
    return {"umlauts.txt", "tea.md", "fun.txt", "table.csv"}


def test_a_text_joined_doubtfully_is_never_called_complete(hand: Hand, holdall: Terminal, doubtful: set[str]) -> None:
    done = holdall("export", "-o", "b.tar.zst", "--json")
    assert done.code == EXIT_LOOK
    assert {loss["filename"] for loss in done.document["losses"] if loss["loss"] == "doubtful"} == doubtful
    why = "a character is cut between two parts"
    assert {name: line.get("doubt") for name, line in ledger().items()} == {
        name: why if name in doubtful else None for name in TEXTS
    }
    assert json.loads(entries(Path("b.tar.zst"))["holdall.json"])["format"] == "1.0"
    shown = holdall("inspect", "b.tar.zst", "-v")
    assert shown.out.count("text, uncertain, ") == len(doubtful)
    assert f"text only (uncertain text: {why})" in shown.err
    assert "4 uncertain texts" in holdall("inspect", "b.tar.zst").out
    told = holdall("verify", "b.tar.zst", "-v")
    assert (told.code, told.err.count("uncertain text: ")) == (0, len(doubtful))
    assert "COMPLETE; 4 uncertain texts" in told.out


def test_a_doubtful_text_is_said_by_all_that_import_or_prove_it(holdall: Terminal, doubtful: set[str]) -> None:
    said = holdall("export", "-o", "b.tar.zst", "-v")
    assert said.err.count("uncertain text: ") == 2 * len(doubtful)
    assert "  4 uncertain texts: " in said.err
    plan = holdall("plan", "b.tar.zst", "--json")
    assert {loss["name"] for loss in plan.document["losses"] if loss["why"] == "joined_doubtfully"} == doubtful
    done = holdall("import", "b.tar.zst", "--json")
    assert done.code == EXIT_LOOK
    assert {loss["name"] for loss in done.document["losses"] if loss["why"] == "joined_doubtfully"} == doubtful
    proof = holdall("verify", "b.tar.zst", "--against", "dst", "--json")
    assert proof.code == EXIT_LOOK
    assert sum(proof.document["result"]["against"]["text_doubtful"].values()) == len(doubtful)
    rehearsal = holdall("verify", "b.tar.zst", "--rehearse")
    assert rehearsal.code == EXIT_LOOK
    assert "uncertain text" in rehearsal.out


def test_doubts_that_are_accepted_are_no_less_said(hand: Hand, holdall: Terminal, doubtful: set[str]) -> None:
    allowed = [word for name in doubtful for word in ("--allow-missing", ledger_id(hand, name))]
    done = holdall("export", "-o", "b.tar.zst", *allowed)
    assert done.code == 0, done.err
    assert "  4 uncertain texts: " in done.err


def ledger_id(hand: Hand, name: str) -> str:
    (found,) = [file["id"] for file in hand.everything("/files") if file["filename"] == name]
    return str(found)


def test_a_text_out_of_the_parent_keeps_its_doubt(box: Running, holdall: Terminal, doubtful: set[str]) -> None:
    assert holdall("export", "-o", "a.tar.zst").code == EXIT_LOOK
    done = holdall("export", "-o", "b.tar.zst", "--parent", "a.tar.zst", "--json")
    assert done.document["result"]["taken"] == len(TEXTS)
    assert {loss["filename"] for loss in done.document["losses"] if loss["loss"] == "doubtful"} == doubtful
