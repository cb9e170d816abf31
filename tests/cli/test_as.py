"""``import --as``: the sample project into OpenAI as it is today, and what a user meets on the way."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall import open_bundle
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.sample.definition import sample
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.dialects.sdk import accept
from tests.project import Hand
from tests.sweep import sweep

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"
TODAY = PROFILES["openai-today"]
DOCUMENT = Path(__file__).parents[2] / "docs" / "responses.md"
SAMPLE = Path(__file__).parents[2] / "archives" / "sample.tar.zst"
CHOICE = "Mode: requests for the Responses API, written to out/responses"


def terminal(monkeypatch: pytest.MonkeyPatch, box: Running) -> Terminal:
    keys = {"OPENAI_SRC_API_KEY": SOURCE, "OPENAI_DST_API_KEY": DESTINATION}
    return Terminal(monkeypatch, {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_DST_BASE_URL": box.url, **keys})


@pytest.fixture
def today(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path / "sandbox", behaviour=TODAY) as box:
        yield box


@pytest.fixture
def holdall(today: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    return terminal(monkeypatch, today)


def requests(*, about: bool = False) -> dict[str, dict[str, Any]]:
    found = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in Path("out/responses").glob("*.json")}
    return {name: one for name, one in found.items() if name.endswith(".about.json") is about}


def test_the_sample_becomes_requests_that_are_taken_and_loses_what_is_documented(
    holdall: Terminal, today: Running, bundle: Path
) -> None:
    done = holdall("import", str(bundle), "-v")
    assert done.code == 0, done.err
    said = done.err.splitlines()
    (creating,) = (number for number, line in enumerate(said) if line.startswith("Creating "))
    assert said.index(f"{CHOICE} (the destination has no Assistants API)") < creating
    assert not [each for each in today.requests() if "/assistants" in each.path and each.method != "GET"]

    found = requests()
    assert len(found) == len(sample().assistants)
    with Hand(today.url, DESTINATION) as hand:
        for request in found.values():
            accept(request)
            assert hand.sdk.responses.create(**request, input="Hello, in JSON.").status == "completed"
        there = {store["id"] for store in hand.everything("/vector_stores")}
        files = {file["id"] for file in hand.everything("/files")}
    tools = [tool for request in found.values() for tool in request.get("tools", ())]
    assert {id for tool in tools for id in tool.get("vector_store_ids", ())} == there
    assert {id for tool in tools for id in tool.get("container", {}).get("file_ids", ())} <= files

    lost = {
        (about["name"], loss["severity"], loss["field"])
        for about in requests(about=True).values()
        for loss in about["losses"]
    }
    assert lost == expected(bundle)
    for name, _, field in lost:
        assert any(f"minor: {field}" in line or (str(name) in line and str(field) in line) for line in said)
    assert {about["id"] for about in requests(about=True).values()} == {
        row["srcId"] for row in json.loads(Path("out/mapping.json").read_text())["mappings"]
    }

    assert holdall("verify", str(bundle), "--against", "dst").code == 0
    again = holdall("plan", str(bundle))
    assert (again.code, again.out.splitlines()[-1]) == (0, "COMPLETE")
    assert "Plan: nothing to do" in again.out


def expected(bundle: Path) -> set[tuple[str | None, str, str]]:
    """What the table of losses says of the sample, read out of the definitions."""
    found = set()
    with open_bundle(bundle) as reader:
        for record in reader.assistants():
            fields = json.loads(record.raw)
            stores = ((fields["tool_resources"] or {}).get("file_search") or {}).get("vector_store_ids")
            for number, tool in enumerate(fields["tools"]):
                settings = (tool.get("file_search") or {}).get("ranking_options") or {}
                if tool["type"] == "file_search" and not stores:
                    found.add((fields["name"], "minor", f"tools[{number}]"))
                elif settings.get("ranker") == "default_2024_08_21":
                    found.add((fields["name"], "minor", f"tools[{number}].file_search.ranking_options.ranker"))
    return found


def test_the_documented_code_runs_a_request_and_answers_its_functions(
    holdall: Terminal, today: Running, tmp_path: Path
) -> None:
    assert holdall("import", str(SAMPLE), "--only", "Corn Street*").code == 0
    (name,) = requests()
    (code,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.M | re.S)
    (tmp_path / "run.py").write_text(code, encoding="utf-8")

    ours = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    done = subprocess.run(
        [sys.executable, "run.py", f"out/responses/{name}", "Use find_order: where is W-104233?"],
        env={**ours, "OPENAI_API_KEY": DESTINATION, "OPENAI_BASE_URL": today.url},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "on its way" in done.stdout


def test_a_request_that_the_user_has_changed_stays(holdall: Terminal) -> None:
    only = ("--only", "Corn Street*")
    assert holdall("import", str(SAMPLE), *only).code == 0
    (name,) = requests()
    mine = Path("out/responses", name)
    mine.write_text(mine.read_text().replace("gpt-4o", "gpt-5.1"))
    assert "model" in holdall("verify", str(SAMPLE), "--against", "dst").out
    plan = holdall("plan", str(SAMPLE), *only, "-v")
    assert f"to responses/{name}.new, for responses/{name} was changed, or belongs to another" in plan.out
    done = holdall("import", str(SAMPLE), *only)
    assert done.code == 0
    assert "was changed, or belongs to another destination, and is kept" in done.err
    assert json.loads(mine.read_text())["model"] == "gpt-5.1"
    assert json.loads(Path("out/responses", f"{name}.new").read_text())["model"] == "gpt-4o"
    assert holdall("plan", str(SAMPLE), *only).code == 0

    assert holdall("undo", "latest", "--yes").code == 0
    assert not Path("out/responses", f"{name}.new").exists()
    last = max(Path("out/runs").iterdir()).name
    assert holdall("undo", last, "--yes").out == f"{last} is already undone\n"


def test_undo_takes_back_what_is_unchanged_and_leaves_what_a_changed_request_needs(
    holdall: Terminal, today: Running
) -> None:
    assert holdall("import", str(SAMPLE), "--only", "Corn Street*", "--only", "Wholesale*").code == 0
    changed = next(Path("out/responses").glob("Corn*.json"))
    changed = changed if not changed.name.endswith(".about.json") else Path(str(changed).replace(".about", ""))
    changed.write_text(changed.read_text() + "\n")
    done = holdall("undo", "latest", "--yes")
    assert done.code == 3
    assert "you have changed it since" in done.err
    assert [path.name for path in Path("out/responses").iterdir()] == [changed.name]
    with Hand(today.url, DESTINATION) as hand:
        (store,) = hand.everything("/vector_stores")
    assert store["id"] in changed.read_text()
    assert holdall("undo", "latest", "--yes", "--even-if-changed").code == 0
    assert not Path("out/responses").exists()
    with Hand(today.url, DESTINATION) as hand:
        assert not hand.everything("/vector_stores")


def test_a_later_import_replaces_what_it_wrote_and_undo_puts_it_back(holdall: Terminal) -> None:
    only = ("--only", "Wholesale*")
    assert holdall("import", str(SAMPLE), *only).code == 0
    before = requests()
    assert holdall("import", str(SAMPLE), *only, "--map-model", "gpt-4o*=gpt-4.1").code == 0
    (request,) = requests().values()
    assert request["model"] == "gpt-4.1"
    (about,) = requests(about=True).values()
    assert [(loss["severity"], loss["why"]) for loss in about["losses"]] == [("note", "model_mapped")]
    assert holdall("verify", str(SAMPLE), "--against", "dst").code == 0
    assert holdall("undo", "latest", "--yes").code == 0
    assert requests() == before


@sweep(("most", "code"), [("none", 36), ("minor", 0), ("any", 0)])
def test_nothing_is_written_where_more_would_be_lost_than_is_allowed(
    holdall: Terminal, today: Running, most: str, code: int
) -> None:
    today.behave(assistants_api=False)
    done = holdall("import", str(SAMPLE), "--only", "Corn Street*", "--max-loss", most, "--json")
    assert done.code == code
    if code:
        assert done.document["error"]["losses"][0]["severity"] == "minor"
        assert not [each for each in today.requests() if each.method != "GET"]
        assert not list(Path("out").glob("r*"))
    else:
        assert done.document["losses"][0]["severity"] == "minor"


def test_files_that_are_missing_are_more_than_a_minor_loss(holdall: Terminal) -> None:
    assert holdall("import", str(SAMPLE), "--only", "Numbers", "--max-loss", "minor").code == 36
    assert holdall("plan", str(SAMPLE), "--only", "Numbers", "--max-loss", "minor").code == 36


def test_a_key_that_may_not_see_assistants_says_nothing_about_what_is_there(holdall: Terminal, today: Running) -> None:
    today.behave(assistants_api=True, missing_scopes=("api.assistants.read",))
    done = holdall("import", str(SAMPLE), "--only", "Corn Street*")
    assert done.code == 23
    assert "api.assistants.read" in done.err
    assert not [each for each in today.requests() if each.method != "GET"]
    done = holdall("import", str(SAMPLE), "--only", "Corn Street*", "--as", "responses")
    assert done.code == 0, done.err
    assert f"{CHOICE}\n" in done.err


@sweep(
    ("switches", "said"),
    [
        ({"missing_scopes": ("api.responses.read",)}, "the key can't use /responses"),
        ({"responses_api": False}, "the destination has no Responses API; the requests"),
        ({}, ""),
    ],
)
def test_requests_that_could_not_be_sent_there_are_warned_of(
    holdall: Terminal, today: Running, switches: dict[str, Any], said: str
) -> None:
    today.behave(**switches)
    done = holdall("import", str(SAMPLE), "--only", "Corn Street*", "--as", "responses")
    assert done.code == 0
    warned = [line for line in done.err.splitlines() if "esponses" in line and line.startswith("warning: ")]
    assert [said in line for line in warned] == ([True] if said else [])
    assert not warned or done.err.index(warned[0]) < done.err.index("\nCreating ")


def test_a_wrong_key_is_no_word_about_what_is_there_either(holdall: Terminal) -> None:
    for form in ("auto", "assistants", "responses"):
        assert holdall("import", str(SAMPLE), "--as", form, OPENAI_DST_API_KEY="nonsense").code == 20


def test_the_form_is_ones_own_to_choose(holdall: Terminal, today: Running) -> None:
    assert holdall("import", str(SAMPLE), "--as", "assistants").code == 28
    today.behave(assistants_api=True)
    done = holdall("import", str(SAMPLE), "--only", "Corn Street*", "--as", "auto", "-v")
    assert "Mode: assistants" in done.err.splitlines()
    assert not Path("out/responses").exists()
    assert holdall("import", str(SAMPLE), "--only", "Corn Street*", "--as", "responses").code == 0
    assert len(requests()) == 1


def test_what_a_plan_says_is_what_is_written(holdall: Terminal) -> None:
    only = ("--only", "Wholesale*")
    assert holdall("plan", str(SAMPLE), *only, "-o", "p.json").code == 3
    assert holdall("import", str(SAMPLE), "--plan", "p.json", "--as", "responses").code == 2
    assert holdall("import", str(SAMPLE), "--plan", "p.json").code == 0
    assert len(requests()) == 1


def test_without_a_mapping_requests_are_known_by_what_is_beside_them(holdall: Terminal) -> None:
    assert holdall("import", str(SAMPLE), "--only", "Wholesale*").code == 0
    for path in (Path("out/mapping.json"), *Path("out/runs").glob("*/mapping.json")):
        path.unlink()
    done = holdall("verify", str(SAMPLE), "--against", "dst", "--json")
    differing = [each["name"] for each in done.document["result"]["against"]["differences"]]
    assert "Wholesale desk" not in differing
    assert "Numbers" in differing


def test_the_owners_word_for_a_model_counts_for_requests_that_are_only_written(
    holdall: Terminal, tmp_path: Path
) -> None:
    dump = tmp_path / "dump.json"
    dump.write_text(json.dumps({"id": "asst_1", "object": "assistant", "name": "A", "model": "own-model", "tools": []}))
    assert holdall("export", "-o", "own.tar.zst", "--from-dump", str(dump)).code == 0
    assert holdall("import", "own.tar.zst", "--as", "responses").code == 31
    done = holdall("import", "own.tar.zst", "--as", "responses", "--map-model", "own-model=own-model")
    assert done.code == 0, done.err
    assert "using it anyway" in done.err
    assert [request["model"] for request in requests().values()] == ["own-model"]
