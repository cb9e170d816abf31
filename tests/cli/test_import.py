"""``holdall import`` and ``verify --against``, from the command line to the objects in a sandbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdall.sandbox.behaviour import NoQuota
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"
LAST = "DRY RUN: nothing written"


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    box.behave(serve_assistants_files=True)
    return Terminal(
        monkeypatch,
        {
            "OPENAI_SRC_BASE_URL": box.url,
            "OPENAI_DST_BASE_URL": box.url,
            "OPENAI_DST_API_KEY": DESTINATION,
        },
    )


@pytest.fixture
def source(box: Running) -> Iterator[Hand]:
    """Two assistants that share a store, and a third with a file of its own."""
    with Hand(box.url, SOURCE) as hand:
        one, two = hand.file("one.md", b"# One\n"), hand.file("two.txt", b"two two\n")
        store = hand.store("Shared", [one, two], {one: {"attributes": {"lang": "en"}}}, metadata={"k": "v"})
        hand.assistant("Support DE", stores=[store], instructions="Hilf!")
        hand.assistant("Support FR", stores=[store], files=[two])
        hand.assistant("Sales", files=[hand.file("sales.csv", b"a,b\n")])
        yield hand


@pytest.fixture
def bundle(holdall: Terminal, source: Hand, box: Running) -> str:
    done = holdall("export", "-o", "b.tar.zst", OPENAI_SRC_API_KEY=SOURCE)
    assert done.code == 0, done.err
    box.forget_requests()
    return "b.tar.zst"


@pytest.fixture
def copy(box: Running) -> Iterator[Hand]:
    with Hand(box.url, DESTINATION) as hand:
        yield hand


def test_import_says_where_and_how_much_first_and_what_came_of_it_last(
    holdall: Terminal, bundle: str, copy: Hand
) -> None:
    done = holdall("import", bundle)
    assert done.code == 0, done.err
    said = done.err.splitlines()
    assert said[0] == f"Verifying {bundle}"
    assert any(line.startswith("Creating 3 assistants, 1 vector store, 3 files (18 B) (project proj_") for line in said)
    assert said[-4:-2] == ["COMPLETE", "3 assistants created, 1 vector store, 3 files (18 B)"]
    assert said[-1] == f"Next: holdall verify {bundle} --against dst"
    assert done.out == "out/mapping.json\n"
    assert copy.counts() == {"assistants": 3, "vector_stores": 1, "files": 3}
    assert json.loads(Path("out/mapping.json").read_text())["mappings"][0]["status"] == "success"
    report = Path("out/report.md").read_text()
    assert report.startswith("# Clone Report\n\n- Verdict: ")
    assert "\n## Summary\n- Total: 3 assistants\n- Success: 3\n- Partial: 0\n- Failed: 0\n" in report


def test_a_dry_run_prints_what_would_be_created_and_creates_nothing(
    holdall: Terminal, bundle: str, box: Running
) -> None:
    done = holdall("import", bundle, "--dry-run", "-v")
    assert done.code == 3
    lines = done.out.splitlines()
    assert lines[-1] == LAST
    assert sum("upload file" in line for line in lines) == 3
    assert sum("create vector store Shared" in line for line in lines) == 1
    assert sum("create assistant" in line for line in lines) == 3
    assert box.writes() == 0
    assert not Path("out").exists()


def test_dry_run_from_the_environment_is_echoed_with_its_origin(holdall: Terminal, bundle: str, box: Running) -> None:
    done = holdall("import", bundle, DRY_RUN="true")
    assert "note: DRY_RUN=true from the environment" in done.err
    assert done.out.endswith(f"{LAST}\n")
    assert box.writes() == 0
    document = holdall("import", bundle, "--dry-run", "--json").document
    assert document["result"]["dry_run"] is True
    assert document["result"]["totals"]["files"] == 3


def test_only_and_exclude_with_all_that_is_needed(holdall: Terminal, bundle: str, copy: Hand) -> None:
    done = holdall("import", bundle, "--only", "Support*", "--exclude", "* FR", "--prefix", "copy of ")
    assert done.code == 0, done.err
    assert "Creating 1 assistant, 1 vector store, 2 files (14 B) (1 of 3 selected)" in done.err
    assert [made["name"] for made in copy.everything("/assistants")] == ["copy of Support DE"]
    assert copy.counts() == {"assistants": 1, "vector_stores": 1, "files": 2}
    assert holdall("verify", bundle, "--against", "dst").code == 0
    nothing = holdall("import", bundle, "--only", "Nobody")
    assert nothing.code == 2
    assert "--only Nobody" in nothing.err


def test_json_is_one_document(holdall: Terminal, bundle: str) -> None:
    done = holdall("import", bundle, "--json")
    assert done.code == 0
    document = done.document
    assert document["command"] == "import"
    assert document["ok"] is True
    assert [row["status"] for row in document["result"]["mappings"]] == ["success"] * 3
    assert document["result"]["files"] == 3
    assert document["losses"] == []


def test_less_than_whole_ends_with_4_and_says_why(holdall: Terminal, source: Hand, box: Running, copy: Hand) -> None:
    box.behave(serve_assistants_files=False)
    assert holdall("export", "-o", "t.tar.zst", OPENAI_SRC_API_KEY=SOURCE).code == 4
    done = holdall("import", "t.tar.zst")
    assert done.code == 4
    assert "2 assistants partial: " in done.err
    assert "INCOMPLETE: 2 files missing from 2 assistants" in done.err.splitlines()
    assert "sales.csv" in done.err
    report = Path("out/report.md").read_text()
    assert "- Success: 1\n- Partial: 2\n- Failed: 0\n" in report
    assert {f["filename"] for f in copy.everything("/files")} == {"one.md", "two.txt"}
    document = holdall("import", "t.tar.zst", "--json", "--on-conflict", "duplicate").document
    assert document["exit_code"] == 4
    assert {loss["why"] for loss in document["losses"]} == {"as_text", "left_out"}
    again = holdall("import", "t.tar.zst", "--json").document
    assert again["exit_code"] == 4
    assert {loss["why"] for loss in again["losses"]} == {"left_out"}


def test_a_store_that_was_deleted_in_the_source(holdall: Terminal, source: Hand, copy: Hand) -> None:
    store = source.everything("/vector_stores")[0]["id"]
    source.delete(f"/vector_stores/{store}")
    holdall("export", "-o", "d.tar.zst", OPENAI_SRC_API_KEY=SOURCE)
    done = holdall("import", "d.tar.zst", "-v")
    assert done.code == 4, done.err
    assert f"vector store {store}: tool_resources.file_search: left out" in done.err
    assert len(copy.everything("/assistants")) == 3


def test_nothing_is_created_from_a_damaged_bundle(holdall: Terminal, bundle: str, box: Running) -> None:
    data = bytearray(Path(bundle).read_bytes())
    data[len(data) // 3] ^= 1
    Path(bundle).write_bytes(data)
    done = holdall("import", bundle)
    assert done.code == 10
    assert "nothing was created" in done.err
    assert box.requests() == []
    Path("text").write_text("no bundle")
    assert holdall("import", "text").code == 12
    assert holdall("import", "absent").code == 15


def test_wherever_the_damage_is_the_destination_stays_empty(holdall: Terminal, bundle: str, box: Running) -> None:
    whole = Path(bundle).read_bytes()
    damaged = [whole[: len(whole) * n // 16] for n in range(16)] + [whole + b"\0"]
    for n in range(48):
        place = len(whole) * n // 48
        damaged.append(whole[:place] + bytes([whole[place] ^ (1 << n % 8)]) + whole[place + 1 :])
    for data in damaged:
        Path(bundle).write_bytes(data)
        done = holdall("import", bundle)
        assert 10 <= done.code <= 19, done.err
    assert box.requests() == []


def test_assistants_where_there_is_no_place_for_them_are_refused_in_one_sentence(
    holdall: Terminal, bundle: str, box: Running
) -> None:
    box.behave(assistants_api=False)
    done = holdall("import", bundle, "--as", "assistants")
    assert done.code == 28
    errors = [line for line in done.err.splitlines() if line.startswith("Error:")]
    assert len(errors) == 1
    assert "no Assistants API" in errors[0]
    assert box.writes() == 0
    assert not Path("out").exists()


def test_no_key_wrong_key_no_server(holdall: Terminal, bundle: str, box: Running, copy: Hand) -> None:
    assert holdall("import", bundle, "--env-file", "none", OPENAI_DST_API_KEY="").code == 20
    box.revoke(DESTINATION)
    assert holdall("import", bundle).code == 20
    assert box.writes() == 0


def test_a_quota_that_ends_on_the_way_shows_the_report_and_its_own_exit_code(
    holdall: Terminal, bundle: str, box: Running
) -> None:
    box.fault(NoQuota(), "POST", "/assistants", skip=1, times=9)
    done = holdall("import", bundle)
    assert done.code == 21
    assert "1 of 3 assistants imported, 1 failed, 1 not attempted" in done.err
    assert f"Next: holdall import {bundle}" in done.err.splitlines()  # resumes it
    assert "out of quota" in done.err
    rows = json.loads(Path("out/mapping.json").read_text())["mappings"]
    assert [row["status"] for row in rows] == ["success", "failed", "not_attempted"]


def test_against_the_destination_prints_every_difference(holdall: Terminal, bundle: str, copy: Hand) -> None:
    assert holdall("import", bundle).code == 0
    same = holdall("verify", bundle, "--against", "dst")
    assert same.code == 0, same.err
    assert same.out == "COMPLETE\n"
    assert ": 3 assistants, 1 vector store, 2 memberships, 2 texts" in same.err
    made = next(one for one in copy.everything("/assistants") if one["name"] == "Support DE")
    copy.post(f"/assistants/{made['id']}", instructions="Nein.")
    done = holdall("verify", bundle, "--against", "dst")
    assert done.code == 3
    assert 'instructions: bundle "Hilf!", destination "Nein."' in done.out
    (difference,) = holdall("verify", bundle, "--against", "dst", "--json").document["result"]["against"]["differences"]
    assert (difference["field"], difference["bundle"], difference["destination"]) == ("instructions", "Hilf!", "Nein.")


def test_against_without_a_mapping_goes_by_the_marks(holdall: Terminal, bundle: str) -> None:
    assert holdall("import", bundle).code == 0
    done = holdall("verify", bundle, "--against", "dst", "--output-dir", "elsewhere")
    assert done.code == 0, done.out
    assert "by metadata.cloned_from" in done.err


def test_runs_stay_beside_each_other_and_the_latest_is_on_top(holdall: Terminal, bundle: str) -> None:
    holdall("import", bundle, "--only", "Sales")
    holdall("import", bundle)
    runs = sorted(Path("out/runs").iterdir())
    assert len(runs) == 2
    assert len(json.loads(Path("out/mapping.json").read_text())["mappings"]) == 3
    assert sorted(len(json.loads((run / "mapping.json").read_text())["mappings"]) for run in runs) == [1, 3]


def test_verify_compares_at_the_end_of_the_import(holdall: Terminal, bundle: str, box: Running, copy: Hand) -> None:
    done = holdall("import", bundle, "--verify")
    assert done.code == 0, done.err
    assert done.out.splitlines() == ["out/mapping.json", "COMPLETE"]
    assert "with the bundle, by out/mapping.json: 3 assistants" in done.err
    box.behave(index_failures=("one.md",))
    done = holdall("import", bundle, "--verify", "--on-conflict", "duplicate", "--json")
    assert done.code == 4
    (difference,) = done.document["result"]["against"]["differences"]
    assert (difference["name"], difference["field"]) == ("one.md", "status")
