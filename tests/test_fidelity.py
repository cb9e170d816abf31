"""Every fidelity, from the command line to the bundle, against a sandbox."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from holdall.sandbox.behaviour import NoQuota, Slow
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.oracle import entries
from tests.project import KEY, Hand
from tests.sweep import sweep
from tests.waiting import holdall as process

TEXT = "\n".join(f"Line {n} of a guide that says how {n} leaves are steeped." for n in range(200)).encode()
PDF = b"%PDF-1.4 \x00\x01\x02 no text at all" * 40


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """The owner's folder."""
    folder = tmp_path / "mine"
    folder.mkdir()
    return folder


def export(holdall: Terminal, *argv: str, name: str = "b.tar.zst") -> Done:
    return holdall("export", "-o", name, "--parent", "none", "--json", "--env-file", "none", *argv)


def ledger(bundle: str | Path = "b.tar.zst") -> dict[str, dict[str, Any]]:
    return {line["id"]: line for line in map(json.loads, entries(Path(bundle))["data/ledger.jsonl"].splitlines())}


def fidelities(bundle: str | Path = "b.tar.zst") -> dict[str, str]:
    return {line["filename"]: line["rung"] for line in ledger(bundle).values()}


def project(hand: Hand) -> dict[str, str]:
    """Two assistants on one store, with a file of each kind; ids by filename."""
    made = {
        "guide.md": hand.file("guide.md", TEXT),
        "scan.pdf": hand.file("scan.pdf", PDF),
        "table.csv": hand.file("table.csv", b"a,b\n1,2\n"),
        "photo.png": hand.file("photo.png", b"\x89PNG and so on", purpose="vision"),
    }
    store = hand.store("Knowledge", [made["guide.md"], made["scan.pdf"]])
    function = {
        "type": "function",
        "function": {"name": "get_price", "parameters": {"type": "object", "properties": {}}},
    }
    hand.assistant("Front desk", stores=[store], files=[made["table.csv"], made["photo.png"]], tools=[function])
    hand.assistant("Back office", stores=[store])
    return made


def test_openai_as_it_is_today_gives_text_a_ledger_and_a_supply_list(
    box: Running, hand: Hand, holdall: Terminal
) -> None:
    made = project(hand)
    box.behave(assistants_api=False)
    done = export(holdall)
    assert done.code == 4
    assert fidelities() == {
        "guide.md": "text",
        "scan.pdf": "unavailable",
        "table.csv": "unavailable",
        "photo.png": "original",
    }
    lines = ledger()
    assert "/vector_stores/" in lines[made["guide.md"]]["route"]
    assert lines[made["scan.pdf"]]["status"] == 400
    assert (
        "Not allowed to download files of purpose: assistants; no parsed text: " in lines[made["scan.pdf"]]["message"]
    )
    assert lines[made["table.csv"]]["message"].endswith("no parsed text: not in any vector store")
    wanted = done.document["result"]["please_supply"]
    assert [(one["number"], one["filename"], one["size"], one["fidelity"]) for one in wanted] == [
        (1, "scan.pdf", len(PDF), "unavailable"),
        (2, "table.csv", 8, "unavailable"),
        (3, "guide.md", len(TEXT), "text"),
    ]
    assert done.document["result"]["please_supply_total"] == 3
    assert holdall("verify", "b.tar.zst").code == 0


def test_the_lists_name_who_uses_what_and_are_the_same_everywhere(box: Running, hand: Hand, holdall: Terminal) -> None:
    project(hand)
    done = export(holdall)
    (table,) = [one for one in done.document["result"]["please_supply"] if one["filename"] == "table.csv"]
    (guide,) = [one for one in done.document["result"]["please_supply"] if one["filename"] == "guide.md"]
    assert [user["name"] for user in table["used_by"]] == ["Front desk"]
    assert sorted(user["name"] for user in guide["used_by"]) == ["Back office", "Front desk"]
    (function,) = done.document["result"]["outside"]
    assert (function["kind"], function["name"], function["used_by"][0]["name"]) == (
        "function",
        "get_price",
        "Front desk",
    )
    expected = [
        "1. scan.pdf, ",
        "2. table.csv, 8 B, ",
        "3. guide.md, ",
        "back end of function get_price; used by Front desk",
    ]
    importing = {"OPENAI_DST_API_KEY": "sk-destination-0001", "OPENAI_DST_BASE_URL": box.url}
    seen = [
        export(holdall, "--force", "-v").err,
        holdall("inspect", "b.tar.zst", "-v").err,
    ]
    for text in seen:
        positions = [text.find(line) for line in expected]
        assert -1 not in positions, (expected[positions.index(-1)], text)
        assert positions == sorted(positions)
    dry = holdall("import", "b.tar.zst", "--dry-run", "--json", "--env-file", "none", **importing)
    assert dry.document["result"]["please_supply"] == done.document["result"]["please_supply"]
    assert dry.document["result"]["outside"] == done.document["result"]["outside"]


def test_what_the_owner_has_is_supplied(box: Running, hand: Hand, holdall: Terminal, mine: Path) -> None:
    made = project(hand)
    (mine / "deep" / "er").mkdir(parents=True)
    (mine / "deep" / "er" / "guide.md").write_bytes(TEXT)
    (mine / "scan.pdf").write_bytes(PDF)
    (mine / "table.csv").write_bytes(b"a,b\n1,2\n3,4\n")
    (mine / "photo.png").write_bytes(b"\x89PNG another!!")
    done = export(holdall, "--originals", "mine")
    assert done.code == 4
    assert fidelities() == {
        "guide.md": "supplied",
        "scan.pdf": "supplied",
        "table.csv": "unavailable",
        "photo.png": "original",
    }
    lines = ledger()
    assert lines[made["guide.md"]]["route"] == "deep/er/guide.md"
    assert lines[made["guide.md"]]["message"].endswith("; name, size and words match")
    assert "words not compared" in lines[made["scan.pdf"]]["message"]
    assert "no original has the right size (8 bytes): table.csv (12 bytes)" in lines[made["table.csv"]]["message"]
    found = entries(Path("b.tar.zst"))
    assert found[lines[made["guide.md"]]["path"]] == TEXT
    assert str(mine) not in str(found)
    assert holdall("verify", "b.tar.zst").code == 0


def test_an_original_with_other_words_is_refused_and_the_text_stays(hand: Hand, holdall: Terminal, mine: Path) -> None:
    made = project(hand)
    (mine / "guide.md").write_bytes(TEXT.replace(b"7 leaves", b"7 sheets"))
    assert len(TEXT.replace(b"7 leaves", b"7 sheets")) == len(TEXT)
    export(holdall, "--originals", "mine")
    line = ledger()[made["guide.md"]]
    assert line["rung"] == "text"
    assert "original guide.md is a different file: its words don't match the parsed text" in line["message"]


def test_several_originals_are_listed_and_none_is_taken(hand: Hand, holdall: Terminal, mine: Path) -> None:
    made = project(hand)
    for folder, content in (("a", b"a,b\n1,2\n"), ("b", b"a,b\n3,4\n")):
        (mine / folder).mkdir()
        (mine / folder / "table.csv").write_bytes(content)
    done = export(holdall, "--originals", "mine", "-v")
    assert "several different originals match: a/table.csv, b/table.csv" in ledger()[made["table.csv"]]["message"]
    assert "a/table.csv, b/table.csv" in done.err


def test_through_containers_everything_comes_and_none_is_left(box: Running, hand: Hand, holdall: Terminal) -> None:
    made = project(hand)
    box.behave(assistants_api=False)
    done = export(holdall, "--via-container", "--min-fidelity", "container")
    assert done.code == 0, done.err
    assert Counter(fidelities().values()) == {"container": 3, "original": 1}
    assert entries(Path("b.tar.zst"))[ledger()[made["scan.pdf"]]["path"]] == PDF
    assert "Containers: 1 created, deleted again" in done.err
    assert done.document["result"]["containers_made"] == 1
    assert hand.everything("/containers") == []


def test_containers_that_are_not_allowed_or_alter_files_fall_to_the_next_fidelity(
    box: Running, hand: Hand, holdall: Terminal
) -> None:
    made = project(hand)
    for switch, why in (
        ("containers", "not through a container: "),
        ("container_alters_files", "not through a container: "),
    ):
        box.behave(containers=switch != "containers", container_alters_files=switch != "containers")
        assert export(holdall, "--via-container", "--force").code == 4
        assert why in ledger()[made["guide.md"]]["message"]
        assert fidelities()["guide.md"] == "text"
    assert hand.everything("/containers") == []


def test_without_being_asked_no_container_is_made(box: Running, hand: Hand, holdall: Terminal) -> None:
    project(hand)
    box.forget_requests()
    export(holdall)
    assert box.writes() == 0


@sweep(
    ("fidelity", "policies"),
    [
        ("original", []),
        ("supplied", ["original"]),
        ("container", ["original"]),
        ("text", ["original", "container"]),
        ("truncated", ["original", "container", "text"]),
        ("unavailable", ["original", "container", "text"]),
    ],
)
def test_any_fidelity_below_the_policy_ends_in_4_and_the_bundle_is_whole(
    box: Running, hand: Hand, holdall: Terminal, mine: Path, fidelity: str, policies: list[str]
) -> None:
    file = hand.file("a.md", TEXT, purpose="vision" if fidelity == "original" else "assistants")
    stores = [] if fidelity == "unavailable" else [hand.store("s", [file])]
    hand.assistant("A", stores=stores, files=[file])
    if fidelity == "supplied":
        (mine / "a.md").write_bytes(TEXT)
    if fidelity == "truncated":
        box.behave(content_page_items=1, oddities=frozenset({Oddity.TEXT_TOKEN_STUCK}))
    more = {"supplied": ["--originals", "mine"], "container": ["--via-container"]}.get(fidelity, [])
    for lowest in ("original", "container", "text", "any"):
        done = export(holdall, "--min-fidelity", lowest, "--force", *more)
        assert set(fidelities().values()) == {"text" if fidelity == "truncated" else fidelity}
        assert done.code == (4 if lowest in policies else 0), (lowest, done.err)
        assert holdall("verify", "b.tar.zst").code == 0
    assert export(holdall, "--min-fidelity", "original", "--allow-missing", file, "--force", *more).code == 0


def test_an_error_in_the_middle_leaves_no_container(box: Running, hand: Hand, holdall: Terminal) -> None:
    project(hand)
    # The second look at the definitions comes when all contents are there.
    box.fault(NoQuota(), "GET", "/assistants", skip=2)
    assert export(holdall, "--via-container").code == 21
    made = [entry for entry in box.requests() if (entry.method, entry.path) == ("POST", "/v1/containers")]
    assert len(made) == 1
    assert hand.everything("/containers") == []


@pytest.mark.skipif(os.name == "nt", reason="a process of its own can't be sent Ctrl-C alone")
def test_ctrl_c_leaves_no_container(box: Running, hand: Hand, tmp_path: Path) -> None:
    project(hand)
    box.fault(Slow(seconds=3600), "GET", "/containers/*/content")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "HOLDALL_"))}
    with process(
        *("export", "-o", "b.tar.zst", "--env-file", "none", "--via-container"),
        env={**kept, "OPENAI_SRC_API_KEY": KEY, "OPENAI_SRC_BASE_URL": box.url},
        cwd=tmp_path,
    ) as child:
        child.until(lambda: any("/containers/" in each.path and "/content" in each.path for each in box.requests()))
        assert hand.everything("/containers") != []
        child.process.send_signal(signal.SIGINT)
        done = child.end()
    assert done.code == 130, done.err
    assert hand.everything("/containers") == []


@sweep(
    ("oddity", "fidelity", "truncated"),
    [
        (Oddity.TEXT_TOKEN_STUCK, "text", True),
        (Oddity.TEXT_MORE_WITHOUT_TOKEN, "text", True),
        (Oddity.TEXT_OTHER_SHAPE, "text", False),
        (Oddity.TEXT_OVERLAPS, "text", False),
        (Oddity.TEXT_404, "unavailable", False),
        (Oddity.TEXT_501, "unavailable", False),
    ],
)
def test_odd_texts_end_and_are_what_they_are_called(
    box: Running, hand: Hand, holdall: Terminal, mine: Path, oddity: Oddity, fidelity: str, truncated: bool
) -> None:
    files = [hand.file(name, TEXT) for name in ("a.md", "b.md", "c.md")]
    hand.assistant("A", stores=[hand.store("s", files)])
    box.behave(content_page_items=2, oddities=frozenset({oddity}))
    box.forget_requests()
    done = export(holdall)
    texts = [entry.path for entry in box.requests() if "/vector_stores/" in entry.path and "/content" in entry.path]
    assert len(texts) <= 3 * 5
    assert {(line["rung"], line["truncated"]) for line in ledger().values()} == {(fidelity, truncated)}
    assert done.code == (0 if (fidelity, truncated) == ("text", False) else 4)
    assert "gone" not in done.err
    # An original agrees with whatever of its text there is.
    (mine / "a.md").write_bytes(TEXT)
    export(holdall, "--originals", "mine", "--force")
    assert fidelities()["a.md"] == "supplied", ledger()[files[0]]


def test_a_text_of_the_parent_does_not_let_another_file_pass(hand: Hand, holdall: Terminal, mine: Path) -> None:
    project(hand)
    export(holdall, name="first.tar.zst")
    for words, fidelity in ((b"7 sheets", "text"), (b"7 leaves", "supplied")):
        (mine / "guide.md").write_bytes(TEXT.replace(b"7 leaves", words))
        export(holdall, "--parent", "first.tar.zst", "--originals", "mine", "--force")
        assert fidelities()["guide.md"] == fidelity
