"""``verify --against dst`` and ``import --verify``: no false alarm on servers that are otherwise than OpenAI's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    box.behave(serve_assistants_files=True)
    environ = {f"OPENAI_{side}_BASE_URL": box.url for side in ("SRC", "DST")}
    return Terminal(
        monkeypatch,
        environ | {"OPENAI_SRC_API_KEY": SOURCE, "OPENAI_DST_API_KEY": DESTINATION, "HOLDALL_SETTLE": "0.2"},
    )


def exported(holdall: Terminal, *argv: str) -> str:
    done = holdall("export", "-o", "b.tar.zst", *argv, "--env-file", "none")
    assert done.code == 0, done.err
    return "b.tar.zst"


def test_what_a_dump_leaves_out_is_at_its_default(
    holdall: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    function = {"name": "tide", "parameters": {"type": "object", "properties": {"place": {"type": "string"}}}}
    dump = {
        "id": "asst_desk", "object": "assistant", "created_at": 1718000000, "name": "Desk", "model": "gpt-4o",
        "tools": [{"type": "function", "function": function}, {"type": "file_search"}],
    }  # fmt: skip
    (tmp_path / "dump.json").write_text(json.dumps(dump))
    with Running(tmp_path / "today", behaviour=PROFILES["openai-today"]) as today:
        monkeypatch.setenv("OPENAI_SRC_BASE_URL", today.url)
        bundle = exported(holdall, "--from-dump", "dump.json", "--only", "Desk")
    done = holdall("import", bundle, "--verify", "--env-file", "none")
    assert (done.code, done.out.splitlines()[-1]) == (0, "COMPLETE"), done.out + done.err
    # Nor does a second import find anything to change.
    assert holdall("plan", bundle, "--env-file", "none").code == 0


def test_a_server_of_assistants_alone(holdall: Terminal, box: Running) -> None:
    with Hand(box.url, SOURCE) as hand:
        hand.assistant("Lone", instructions="i")
    box.behave(absent=("vector_stores", "files", "models", "responses", "containers"))
    bundle = exported(holdall)
    assert holdall("import", bundle, "--env-file", "none").code == 0
    for place in ("out", "elsewhere"):  # by the mapping, and by the marks
        done = holdall("verify", bundle, "--against", "dst", "--output-dir", place, "--env-file", "none")
        assert (done.code, done.out, ": 1 assistant, " in done.err) == (0, "COMPLETE\n", True), done.out + done.err
    with Hand(box.url, DESTINATION) as hand:
        hand.post(f"/assistants/{hand.everything('/assistants')[0]['id']}", instructions="j")
    done = holdall("verify", bundle, "--against", "dst", "--env-file", "none")
    assert (done.code, 'instructions: bundle "i", destination "j"' in done.out) == (3, True), done.out + done.err
    (run,) = Path("out/runs").iterdir()
    assert holdall("undo", run.name, "--yes", "--even-if-changed", "--env-file", "none").code == 0


@pytest.mark.parametrize(
    ("oddity", "searches", "unsearched"), [(Oddity.SEARCH_OWN_IDS, 2, []), (Oddity.SEARCH_BARE, None, [2])]
)
def test_a_search_whose_hits_have_ids_of_their_own(
    holdall: Terminal, box: Running, oddity: Oddity, searches: int | None, unsearched: list[int]
) -> None:
    with Hand(box.url, SOURCE) as hand:
        files = [hand.file(f"{n}.txt", f"The text of number {n} says what no other says.".encode()) for n in range(2)]
        hand.assistant("Reader", stores=[hand.store("books", files)])
    bundle = exported(holdall)
    assert holdall("import", bundle, "--env-file", "none").code == 0
    box.behave(oddities=frozenset({oddity}))
    done = holdall("verify", bundle, "--against", "dst", "--search", "--json", "--env-file", "none")
    against = done.document["result"]["against"]
    assert (done.code, against["differences"]) == (0, [])
    assert against["compared"].get("searches") == searches
    assert list(against["search_not_compared"].values()) == unsearched


def test_what_a_dump_leaves_open_is_set_back_to_its_default(holdall: Terminal, box: Running, tmp_path: Path) -> None:
    dump = {"id": "asst_desk", "object": "assistant", "name": "Desk", "model": "gpt-4o", "instructions": "i"}
    (tmp_path / "dump.json").write_text(json.dumps(dump))
    bundle = exported(holdall, "--from-dump", "dump.json", "--only", "Desk")
    assert holdall("import", bundle, "--env-file", "none").code == 0
    with Hand(box.url, DESTINATION) as hand:
        (copy,) = hand.everything("/assistants")
        changed = {
            "temperature": 0.25,
            "response_format": {"type": "json_object"},
            "tools": [{"type": "code_interpreter"}],
            "tool_resources": {"code_interpreter": {"file_ids": [hand.file("a.txt", b"a")]}},
        }
        hand.post(f"/assistants/{copy['id']}", **changed)
        done = holdall("verify", bundle, "--against", "dst", "--json", "--env-file", "none")
        found = [one["field"] for one in done.document["result"]["against"]["differences"]]
        assert (done.code, sorted(found)) == (3, sorted(changed))
        done = holdall(
            "import", bundle, "--on-conflict", "update", "--even-if-changed", "--yes", "--verify", "--env-file", "none"
        )
        assert (done.code, done.out.splitlines()[-1]) == (0, "COMPLETE"), done.out + done.err
        now = hand.get(f"/assistants/{copy['id']}")
        assert {field: now[field] for field in changed if field != "tool_resources"} == {
            field: copy[field] for field in changed if field != "tool_resources"
        }
