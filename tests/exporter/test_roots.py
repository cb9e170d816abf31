"""Where an export starts: the API, a dump, or, where there are no assistants, everything that is still there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.bundle.verification import verify
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.oracle import entries
from tests.project import Hand
from tests.sweep import sweep
from tests.test_dumps import SHAPES

KEY, DESTINATION = "sk-source-0001", "sk-destination-0001"


@pytest.fixture
def hand(box: Running) -> Iterator[Hand]:
    box.behave(serve_assistants_files=True)
    with Hand(box.url, KEY) as made:
        yield made


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    return Terminal(
        monkeypatch,
        {"OPENAI_SRC_API_KEY": KEY, "OPENAI_SRC_BASE_URL": box.url, "OPENAI_DST_BASE_URL": box.url},
    )


class Held:
    """What a bundle holds, by kind, as names."""

    def __init__(self, bundle: str) -> None:
        found = entries(Path(bundle))

        def of(folder: str) -> set[str]:
            records = (json.loads(v) for k, v in found.items() if k.startswith(folder) and k.endswith(".json"))
            return {record["name"] or record["id"] for record in records}

        self.assistants, self.stores = of("data/assistants/"), of("data/vector_stores/")
        self.files = {json.loads(line)["filename"] for line in found["data/files.jsonl"].splitlines()}
        self.fidelities = {
            line["filename"] or line["id"]: line["rung"]
            for line in map(json.loads, found["data/ledger.jsonl"].splitlines())
        }


def project(hand: Hand) -> dict[str, str]:
    """Two assistants and a store that nobody uses; a file in each store, one for a tool, one of each other purpose."""
    ids = {
        name: hand.file(name, name.encode(), purpose)
        for name, purpose in (
            ("shared.txt", "assistants"),
            ("lone.txt", "assistants"),
            ("tool.csv", "assistants"),
            ("unused.txt", "user_data"),
            ("batch.jsonl", "batch"),
        )
    }
    ids["store"] = hand.store("used", [ids["shared.txt"]])
    ids["other"] = hand.store("unused", [ids["lone.txt"], ids["shared.txt"]])
    ids["A"] = hand.assistant("A", stores=[ids["store"]], files=[ids["tool.csv"]])
    ids["B"] = hand.assistant("B", stores=[ids["store"]])
    return ids


def test_as_openai_is_today_stores_and_files_come_out_with_a_word_on_the_sunset(
    box: Running, hand: Hand, holdall: Terminal
) -> None:
    project(hand)
    box.behave(assistants_api=False)
    done = holdall("export", "-o", "b.tar.zst")
    assert done.code == 0, done.err
    assert "shut it down on 2026-08-26" in done.err
    assert "--from-dump" in done.err
    held = Held("b.tar.zst")
    assert held.assistants == set()
    assert held.stores == {"used", "unused"}
    assert held.files == {"shared.txt", "lone.txt", "tool.csv", "unused.txt"}
    assert holdall("verify", "b.tar.zst").code == 0


def test_stores_and_files_alone_come_to_life_in_another_project(box: Running, hand: Hand, holdall: Terminal) -> None:
    project(hand)
    assert holdall("export", "-o", "b.tar.zst", "--no-assistants").code == 0
    done = holdall("import", "b.tar.zst", "-v", OPENAI_DST_API_KEY=DESTINATION)
    assert done.code == 0, done.err + done.out
    assert "success  files  files that no assistant uses" in done.err
    assert "Created 2 vector stores, 4 files" in done.err
    with Hand(box.url, DESTINATION) as copy:
        assert copy.counts() == {"assistants": 0, "vector_stores": 2, "files": 4}
    assert holdall("verify", "b.tar.zst", "--against", "dst", OPENAI_DST_API_KEY=DESTINATION).code == 0


def test_the_same_can_be_asked_for_anywhere(hand: Hand, holdall: Terminal) -> None:
    project(hand)
    done = holdall("export", "-o", "b.tar.zst", "--no-assistants")
    assert done.code == 0, done.err
    assert "2026-08-26" not in done.err
    assert Held("b.tar.zst").assistants == set()
    assert Held("b.tar.zst").stores == {"used", "unused"}


def test_unused_adds_what_nothing_refers_to_and_nothing_else(hand: Hand, holdall: Terminal) -> None:
    ids = project(hand)
    assert holdall("export", "-o", "b.tar.zst").code == 0
    assert Held("b.tar.zst").stores == {"used"}
    assert Held("b.tar.zst").files == {"shared.txt", "tool.csv"}
    assert holdall("export", "-o", "c.tar.zst", "--unused").code == 0
    assert Held("c.tar.zst").stores == {"used", "unused"}
    assert Held("c.tar.zst").files == {"shared.txt", "lone.txt", "tool.csv", "unused.txt"}
    # With B alone, A's tool file is used by somebody, so it is neither B's nor unused.
    assert holdall("export", "-o", "d.tar.zst", "--unused", "--exclude", f"asst:{ids['A']}").code == 0
    assert Held("d.tar.zst").assistants == {"B"}
    assert Held("d.tar.zst").files == {"shared.txt", "lone.txt", "unused.txt"}


@sweep(
    ("arguments", "assistants", "stores", "files"),
    [
        (["--only", "A"], {"A"}, {"used"}, {"shared.txt", "tool.csv"}),
        (["--only", "asst:B"], {"B"}, {"used"}, {"shared.txt"}),
        (["--only", "store:unus*"], set(), {"unused"}, {"lone.txt", "shared.txt"}),
        (["--only", "file:*.jsonl"], set(), set(), {"batch.jsonl"}),
        (["--only", "asst:B", "--only", "file:tool.csv"], {"B"}, {"used"}, {"shared.txt", "tool.csv"}),
        (["--exclude", "asst:A"], {"B"}, {"used"}, {"shared.txt"}),
        (
            ["--no-assistants", "--exclude", "store:used", "--exclude", "file:*"],
            set(),
            {"unused"},
            {"lone.txt", "shared.txt"},
        ),
    ],
)
def test_the_one_selector(
    hand: Hand, holdall: Terminal, arguments: list[str], assistants: set[str], stores: set[str], files: set[str]
) -> None:
    project(hand)
    done = holdall("export", "-o", "b.tar.zst", *arguments)
    assert done.code == 0, done.err
    held = Held("b.tar.zst")
    assert (held.assistants, held.stores, held.files) == (assistants, stores, files)
    assert holdall("verify", "b.tar.zst").code == 0


@pytest.mark.parametrize(
    "arguments", [["--only", "store:nothing"], ["--only", "file:*.nothing"], ["--exclude", "asst:*"]]
)
def test_what_fits_nothing_makes_no_bundle(hand: Hand, holdall: Terminal, tmp_path: Path, arguments: list[str]) -> None:
    project(hand)
    done = holdall("export", "-o", "b.tar.zst", *arguments)
    assert done.code == 2
    assert not list(tmp_path.glob("b.tar*"))


def test_an_empty_project_without_assistants_makes_no_bundle(box: Running, hand: Hand, holdall: Terminal) -> None:
    hand.file("batch.jsonl", b"{}", "batch")
    box.behave(assistants_api=False)
    done = holdall("export", "-o", "b.tar.zst")
    assert done.code == 2
    assert "nothing to export" in done.err
    assert "2026-08-26" in done.err


def dumped(hand: Hand) -> str:
    return json.dumps(hand.get("/assistants", order="asc"))


def test_definitions_from_a_dump_and_the_rest_from_the_living_project(
    box: Running, hand: Hand, holdall: Terminal
) -> None:
    ids = project(hand)
    Path("july.json").write_text(dumped(hand))
    gone = hand.store("gone", [ids["shared.txt"]])
    late = hand.assistant("C", stores=[gone])
    Path("august.json").write_text(dumped(hand))
    hand.delete(f"/vector_stores/{gone}")
    hand.delete(f"/assistants/{late}")
    box.behave(assistants_api=False)
    done = holdall("export", "-o", "b.tar.zst", "--from-dump", "july.json")
    assert done.code == 0, done.err
    held = Held("b.tar.zst")
    assert held.assistants == {"A", "B"}
    assert held.files == {"shared.txt", "tool.csv"}
    assert set(held.fidelities.values()) == {"original"}
    done = holdall("export", "-o", "c.tar.zst", "--from-dump", "august.json", "--only", "C")
    assert done.code == 4
    assert f"gone  vector_store {gone}" in done.err


def test_a_v1_dump_gets_a_store_of_its_own_and_imports(box: Running, hand: Hand, holdall: Terminal) -> None:
    file = hand.file("old.txt", b"kept since v1")
    old: dict[str, Any] = {
        "id": "asst_old", "object": "assistant", "created_at": 1690000000, "name": "Old", "description": None,
        "model": "gpt-4o", "instructions": None, "tools": [{"type": "retrieval"}], "file_ids": [file], "metadata": {},
    }  # fmt: skip
    Path("v1.json").write_text(json.dumps([old]))
    done = holdall("export", "-o", "b.tar.zst", "--from-dump", "v1.json")
    assert done.code == 0, done.err
    assert "converted from v1" in done.err
    done = holdall("import", "b.tar.zst", OPENAI_DST_API_KEY=DESTINATION)
    assert done.code in (0, 3), done.err
    with Hand(box.url, DESTINATION) as copy:
        (assistant,) = copy.everything("/assistants")
        (store,) = assistant["tool_resources"]["file_search"]["vector_store_ids"]
        assert len(copy.everything(f"/vector_stores/{store}/files")) == 1
    assert holdall("verify", "b.tar.zst", "--against", "dst", OPENAI_DST_API_KEY=DESTINATION).code == 0


def test_page_one_of_more_is_told_and_ends_with_three(hand: Hand, holdall: Terminal) -> None:
    project(hand)
    page = json.loads(dumped(hand))
    Path("page.json").write_text(json.dumps({**page, "has_more": True}))
    done = holdall("export", "-o", "b.tar.zst", "--from-dump", "page.json")
    assert done.code == 4
    assert "page.json is not the last page" in done.err


@sweep("shape", SHAPES)
def test_every_dump_shape_needs_no_key_imports_and_verifies(box: Running, holdall: Terminal, shape: str) -> None:
    content = SHAPES[shape]
    Path("dump.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    done = holdall("export", "-o", "b.tar.zst", "--from-dump", "dump.json", OPENAI_SRC_API_KEY="")
    assert done.code == 0, done.err
    assert box.requests() == []
    done = holdall("import", "b.tar.zst", OPENAI_DST_API_KEY=DESTINATION)
    assert done.code in (0, 3), done.err
    with Hand(box.url, DESTINATION) as copy:
        assert [one["name"] for one in copy.everything("/assistants")] == ["Ünï 中", None]
    assert holdall("verify", "b.tar.zst", "--against", "dst", OPENAI_DST_API_KEY=DESTINATION).code == 0


def test_a_dump_that_refers_to_something_needs_a_key_or_the_word_to_leave_it_out(
    box: Running, hand: Hand, holdall: Terminal
) -> None:
    project(hand)
    Path("dump.json").write_text(dumped(hand))
    box.forget_requests()
    done = holdall("export", "-o", "b.tar.zst", "--from-dump", "dump.json", OPENAI_SRC_API_KEY="")
    assert done.code == 20
    assert "--no-file-search --no-code-interpreter" in done.err
    switches = ["--no-file-search", "--no-code-interpreter"]
    done = holdall("export", "-o", "b.tar.zst", "--from-dump", "dump.json", *switches, OPENAI_SRC_API_KEY="")
    assert done.code == 0, done.err
    assert box.requests() == []
    assert Held("b.tar.zst").assistants == {"A", "B"}


def test_a_file_that_a_store_brings_is_not_left_out(hand: Hand, holdall: Terminal) -> None:
    file = hand.file("both.txt", b"in the store and for the tool")
    hand.assistant("A", stores=[hand.store("Knowledge", [file])], files=[file])
    done = holdall("export", "-o", "b.tar.zst", "--no-code-interpreter")
    assert done.code == 0, done.err
    assert Held("b.tar.zst").fidelities == {"both.txt": "original"}
    assert holdall("verify", "b.tar.zst", "--complete").code == 0


def test_what_is_there_by_itself_is_not_left_out(hand: Hand, holdall: Terminal) -> None:
    """Asked for as unused, though an assistant uses it by a tool whose knowledge is left out."""
    ids = project(hand)
    done = holdall("export", "-o", "b.tar.zst", "--no-file-search", "--no-code-interpreter", "--unused")
    assert done.code == 0, done.err
    assert "left out" not in done.err
    assert {"shared.txt", "tool.csv"} <= Held("b.tar.zst").files
    assert holdall("verify", "b.tar.zst", "--complete").code == 0
    done = holdall(
        "export", "-o", "c.tar.zst", "--no-code-interpreter", "--only", "A", "--only", f"file:{ids['tool.csv']}"
    )
    assert done.code == 0, done.err
    assert holdall("verify", "c.tar.zst", "--complete").code == 0


def test_a_store_that_only_a_dump_has_may_lack_files(hand: Hand, holdall: Terminal) -> None:
    """Its record is in the bundle, so it isn't lost; which files it held nobody can tell any more."""
    file = hand.file("words.txt", b"some words")
    lent = hand.store("living", [file])
    gone = hand.store("gone", [file])
    hand.assistant("A", stores=[gone])
    dump = {
        "assistants": hand.get("/assistants")["data"],
        "stores": hand.get("/vector_stores")["data"],
        "members": hand.get(f"/vector_stores/{gone}/files")["data"],
        "files": hand.get("/files")["data"],
    }
    Path("dump.json").write_text(json.dumps(dump))
    hand.delete(f"/vector_stores/{gone}")
    hand.delete(f"/files/{file}")
    done = holdall("export", "-o", "b.tar.zst", "--from-dump", "dump.json", "--min-fidelity", "any")
    assert done.code == 4, done.err
    assert f"gone  vector_store {gone}" in done.err
    assert Held("b.tar.zst").stores == {"gone"}
    assert lent not in done.err
    losses = [json.loads(line) for line in entries(Path("b.tar.zst"))["data/losses.jsonl"].splitlines()]
    assert [(loss["reason"], loss["id"]) for loss in losses] == [("lists", gone)]
    assert verify("b.tar.zst").findings == []
