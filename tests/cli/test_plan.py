"""``holdall plan``, and an import towards a destination that has something of the bundle already."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from holdall.sandbox.behaviour import Fail
from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.pages.reading import Reading
from tests.project import Hand

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"
LAST = "DRY RUN: nothing written\n"


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    box.behave(serve_assistants_files=True)
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
def source(box: Running) -> Iterator[Hand]:
    """Ten assistants, of which three share a store, and two files of one name and size."""
    with Hand(box.url, SOURCE) as hand:
        files = [hand.file("same.md", b"# One\n"), hand.file("same.md", b"# Two\n"), hand.file("c.txt", b"three\n")]
        members = {files[0]: {"attributes": {"n": 1}}, files[1]: {"attributes": {"n": 2}}}
        store = hand.store("Shared", files, members, metadata={"k": "v"})
        table = hand.file("table.csv", b"a,b\n1,2\n")
        for n in range(8):
            hand.assistant(f"A{n}", stores=[store] if n < 3 else [], files=[table] if n in (0, 5) else [])
        hand.assistant(None, instructions="Nobody.")
        hand.assistant("Full", metadata={f"k{n}": "v" for n in range(16)})
        yield hand


@pytest.fixture
def copy(box: Running) -> Iterator[Hand]:
    with Hand(box.url, DESTINATION) as hand:
        yield hand


@pytest.fixture
def bundle(holdall: Terminal, source: Hand, box: Running) -> str:
    return export(holdall, box, "b.tar.zst")


def export(holdall: Terminal, box: Running, name: str) -> str:
    done = holdall("export", "-o", name, "--parent", "none")
    assert done.code == 0, done.err
    box.forget_requests()
    return name


def written(box: Running) -> dict[str, int]:
    """The writes since the last look, by method and path without ids."""
    made: Counter[str] = Counter()
    for entry in box.requests():
        if entry.is_write:
            parts = entry.path.removeprefix("/v1/").split("/")
            made[f"{entry.method} /{'/'.join(parts[::2])}"] += 1
    box.forget_requests()
    return dict(made)


def made(hand: Hand, name: str | None) -> Any:
    return next(one for one in hand.everything("/assistants") if one["name"] == name)


def latest() -> Path:
    """The journal of the run that ended last; two may have begun in one second."""
    return max(Path("out/runs").glob("*/journal.jsonl"), key=lambda journal: journal.stat().st_mtime_ns)


def check(done: Done, code: int) -> Done:
    assert done.code == code, f"{done.out}\n{done.err}"
    return done


# -- plan -----------------------------------------------------------------------------------------------


def test_a_plan_shows_all_that_would_be_done_and_does_none_of_it(holdall: Terminal, bundle: str, box: Running) -> None:
    shown = check(holdall("plan", bundle, "-v"), 3)
    assert shown.out.count("+ upload file") == 4
    assert shown.out.count("+ create assistant") == 10
    assert shown.out.count("+ create vector store Shared") == 1
    assert "Plan: 15 to create (project proj_" in shown.out
    assert "COMPLETE (once imported)" in shown.out.splitlines()
    assert "Estimate: 17+ requests" in shown.err  # 4 files, a store, a batch, 10 assistants, one of them in two steps
    assert "18 B more in vector stores" in shown.err
    assert "within the free gigabyte" in shown.err
    assert "warning: model gpt-4o shuts down on" in shown.err
    short = check(holdall("plan", bundle), 3)
    assert "… and 7 more (-v lists all)" in short.out.splitlines()
    assert ": assistant, 1 vector store, " in shown.out
    assert short.err.splitlines()[-1] == f"Next: holdall import {bundle}"
    dry = check(holdall("import", bundle, "--dry-run", "-v"), 3)
    assert dry.out == shown.out + LAST
    result = check(holdall("plan", bundle, "--json"), 3).document["result"]
    assert (result["pending"], result["origin"], result["totals"]["assistants"]) == (True, False, 10)
    assert result["destination"]["endpoints"]["/files"] == "answers"
    assert written(box) == {}
    assert not Path("out").exists() or not list(Path("out").glob("runs/*/journal.jsonl"))


def test_nothing_to_do_ends_with_0(holdall: Terminal, bundle: str, box: Running) -> None:
    check(holdall("import", bundle), 0)
    box.forget_requests()
    shown = check(holdall("plan", bundle), 0)
    assert "nothing to do" in shown.out
    assert written(box) == {}


def test_a_fresh_destination_is_asked_few_questions(holdall: Terminal, bundle: str, box: Running) -> None:
    check(holdall("plan", bundle), 3)
    asked = Counter(entry.path for entry in box.requests())
    assert sum(asked.values()) <= 6, asked


# -- what is there already ------------------------------------------------------------------------------


@pytest.mark.parametrize("remembers", [True, False], ids=["by its journal", "by the marks"])
def test_three_of_ten_are_adopted_and_seven_created(
    holdall: Terminal, bundle: str, box: Running, copy: Hand, remembers: bool
) -> None:
    check(holdall("import", bundle, "--only", "A[012]"), 0)
    assert copy.counts() == {"assistants": 3, "vector_stores": 1, "files": 4}
    if not remembers:
        Path("out").rename("elsewhere")
    box.forget_requests()
    force = [] if remembers else ["--force"]  # made within the hour by a run that isn't known here
    check(holdall("import", bundle, *force), 0)
    assert written(box) == {"POST /assistants": 8}  # one of them in two steps
    assert copy.counts() == {"assistants": 10, "vector_stores": 1, "files": 4}
    check(holdall("import", bundle, *force), 0)
    assert written(box) == {}
    assert copy.counts() == {"assistants": 10, "vector_stores": 1, "files": 4}
    rows = json.loads(Path("out/mapping.json").read_text())
    assert [row["status"] for row in rows["mappings"]] == ["success"] * 10
    assert len({row["dstId"] for row in rows["mappings"]}) == 10
    assert len(rows["files"]) == 4
    assert check(holdall("verify", bundle, "--against", "dst"), 0)


@pytest.mark.parametrize("serves", [True, False], ids=["originals", "texts"])
def test_one_of_ten_restored_into_the_project_that_it_was_deleted_from(
    holdall: Terminal, source: Hand, box: Running, serves: bool
) -> None:
    box.behave(serve_assistants_files=serves)
    holdall("export", "-o", "b.tar.zst")
    source.delete(f"/assistants/{made(source, 'A0')['id']}")
    box.forget_requests()
    done = check(holdall("import", "b.tar.zst", OPENAI_DST_API_KEY=SOURCE), 0)
    assert written(box) == {"POST /assistants": 1}
    said = done.err.splitlines()
    assert said[said.index(f"Reading what {urlsplit(box.url).netloc} has") + 1].startswith(
        "This is the project that the bundle came from"
    )
    back = made(source, "A0")
    assert back["tool_resources"] == {
        "file_search": {"vector_store_ids": [source.everything("/vector_stores")[0]["id"]]},
        "code_interpreter": {"file_ids": [source.everything("/files")[3]["id"]]},
    }
    check(holdall("import", "b.tar.zst", OPENAI_DST_API_KEY=SOURCE), 0)
    assert written(box) == {}


def test_in_its_own_project_only_what_is_gone_is_uploaded(
    holdall: Terminal, source: Hand, bundle: str, box: Running
) -> None:
    gone = next(file["id"] for file in source.everything("/files") if file["filename"] == "table.csv")
    for name in ("A0", "A5"):
        source.delete(f"/assistants/{made(source, name)['id']}")
    source.delete(f"/files/{gone}")
    box.forget_requests()
    check(holdall("import", bundle, OPENAI_DST_API_KEY=SOURCE), 0)
    assert written(box) == {"POST /files": 1, "POST /assistants": 2}


def test_with_a_prefix_a_second_set_of_assistants_uses_the_living_stores(
    holdall: Terminal, source: Hand, bundle: str, box: Running
) -> None:
    check(holdall("import", bundle, "--prefix", "new ", OPENAI_DST_API_KEY=SOURCE), 0)
    assert written(box) == {"POST /assistants": 11}
    assert source.counts() == {"assistants": 20, "vector_stores": 1, "files": 4}
    check(holdall("import", bundle, "--prefix", "new ", OPENAI_DST_API_KEY=SOURCE), 0)
    assert written(box) == {}


def test_a_mapping_says_what_is_a_copy_of_what(holdall: Terminal, bundle: str, box: Running, copy: Hand) -> None:
    check(holdall("import", bundle), 0)
    Path("out").rename("elsewhere")
    full = made(copy, "Full")
    for one in copy.everything("/assistants"):
        copy.post(f"/assistants/{one['id']}", metadata=full["metadata"] if one == full else {})
    copy.post(f"/vector_stores/{copy.everything('/vector_stores')[0]['id']}", metadata={"k": "v"})
    box.forget_requests()
    check(holdall("plan", bundle), 3)
    check(holdall("import", bundle, "--mapping", "elsewhere/mapping.json"), 0)
    assert written(box) == {}
    assert "not a mapping.json" in check(holdall("plan", bundle, "--mapping", "b.tar.zst"), 2).err
    other = json.loads(Path("elsewhere/mapping.json").read_text())
    other["destination"]["project_id"] = "proj_other"
    Path("other.json").write_text(json.dumps(other))
    assert "proj_other" in check(holdall("plan", bundle, "--mapping", "other.json"), 2).err


def test_several_that_could_be_meant_are_listed_and_nothing_is_written(
    holdall: Terminal, bundle: str, box: Running, copy: Hand
) -> None:
    check(holdall("import", bundle, "--only", "A3"), 0)
    check(holdall("import", bundle, "--only", "A3", "--on-conflict", "duplicate"), 0)
    twins = [one["id"] for one in copy.everything("/assistants")]
    assert len(twins) == 2
    # Journals know the newest; without them, nobody does.
    assert "nothing to do" in check(holdall("plan", bundle, "--only", "A3"), 0).out
    Path("out").rename("elsewhere")
    box.forget_requests()
    done = check(holdall("import", bundle), 33)
    assert all(twin in done.err for twin in twins)
    assert "--mapping" in done.err
    assert written(box) == {}


# -- conflicts ------------------------------------------------------------------------------------------


@pytest.fixture
def differing(holdall: Terminal, bundle: str, source: Hand, box: Running) -> str:
    """A copy has been made; since then the source has other instructions, a file more, one less, other attributes."""
    check(holdall("import", bundle), 0)
    source.post(f"/assistants/{made(source, 'A1')['id']}", instructions="New.", metadata={"a": "b"})
    store = source.everything("/vector_stores")[0]["id"]
    one, two, three = [file["id"] for file in source.everything(f"/vector_stores/{store}/files")]
    fresh = source.file("fresh.md", b"# Fresh\n")
    source.post(f"/vector_stores/{store}/files", file_id=fresh, attributes={"n": 4})
    source.post(f"/vector_stores/{store}/files/{one}", attributes={"n": 9})
    source.delete(f"/vector_stores/{store}/files/{three}")
    source.post(f"/vector_stores/{store}", name="Shared")
    del two
    return export(holdall, box, "b2.tar.zst")


def test_where_something_differs_nothing_is_written_and_it_is_shown(
    holdall: Terminal, differing: str, box: Running
) -> None:
    done = check(holdall("import", differing), 33)
    assert 'instructions: bundle "New.", destination null' in done.err
    assert 'metadata.a: bundle "b", destination null' in done.err
    assert 'same.md: attributes: bundle {"n": 9}, destination {"n": 1}' in done.err
    assert 'fresh.md: membership: bundle "present", destination "missing"' in done.err
    assert 'destination "c.txt"' in done.err
    for choice in ("skip", "update", "duplicate"):
        assert choice in next(line for line in done.err.splitlines() if line.startswith("hint:"))
    found = check(holdall("import", differing, "--json"), 33).document["error"]["differences"]
    assert [one["kind"] for one in found] == ["vector_store", "assistant"]
    assert written(box) == {}
    shown = check(holdall("plan", differing), 33)
    assert "! differs: assistant A1" in shown.err
    assert "Plan: 12 to keep, 2 differ (project proj_" in shown.out
    every = check(holdall("plan", differing, "-v"), 33)
    (line,) = (line for line in every.out.splitlines() if line.startswith("! A1: "))
    assert "assistant differs there (instructions, metadata)" in line
    assert check(holdall("import", differing, "--dry-run"), 33).out.endswith(LAST)
    assert written(box) == {}


def test_skip_leaves_what_differs_as_it_is(holdall: Terminal, differing: str, box: Running, copy: Hand) -> None:
    done = check(holdall("import", differing, "--on-conflict", "skip", "-v"), 4)  # a file of the store is missing there
    assert written(box) == {}
    assert "kept as it is" in done.err
    rows = {row["name"]: row for row in json.loads(Path("out/mapping.json").read_text())["mappings"]}
    assert rows["A1"]["status"] == "partial"
    assert rows["A1"]["dstId"] == made(copy, "A1")["id"]
    assert rows["A4"]["status"] == "success"


def test_update_sets_what_differs_and_nothing_else(holdall: Terminal, differing: str, box: Running, copy: Hand) -> None:
    before = made(copy, "A1")
    refused = check(holdall("import", differing, "--on-conflict", "update"), 2)
    assert "--yes" in refused.err
    assert written(box) == {}
    check(holdall("import", differing, "--on-conflict", "update", "--yes"), 0)
    assert written(box) == {
        "POST /files": 1,
        "POST /vector_stores/file_batches": 1,
        "POST /vector_stores/files": 1,
        "POST /assistants": 1,
    }
    after = made(copy, "A1")
    assert (after["id"], after["instructions"], after["metadata"]["a"]) == (before["id"], "New.", "b")
    assert after["metadata"]["cloned_from"] == before["metadata"]["cloned_from"]
    assert copy.counts() == {"assistants": 10, "vector_stores": 1, "files": 5}
    store = copy.everything("/vector_stores")[0]["id"]
    assert len(copy.everything(f"/vector_stores/{store}/files")) == 4
    # One file too many is still there, until it is asked for.
    check(holdall("plan", differing), 33)
    check(holdall("import", differing, "--on-conflict", "update", "--delete", "--yes"), 0)
    assert written(box) == {"DELETE /vector_stores/files": 1}
    check(holdall("import", differing), 0)
    assert written(box) == {}
    check(holdall("verify", differing, "--against", "dst"), 0)


def test_an_update_writes_down_what_was_there(holdall: Terminal, differing: str) -> None:
    check(holdall("import", differing, "--on-conflict", "update", "--delete", "--yes"), 0)
    journal = [json.loads(line) for line in latest().read_text().splitlines()]
    before = {
        (line["line"], line.get("kind")): line.get("before") for line in journal if {"op", "source"} <= line.keys()
    }
    assert set(before[("update", "assistant")]) == {"instructions", "metadata"}
    assert before[("update", "assistant")]["instructions"] is None
    assert before[("update", "membership")] == {"attributes": {"n": 1}}
    assert before[("detach", None)]["attributes"] == {}
    assert before[("create", "file")] is None
    page = Reading(Path("out/report.html").read_text(encoding="utf-8"))
    assert "instructionsBeforenothingAfterNew." in page.text
    assert "metadata.aBeforenothingAfterb" in page.text
    assert 'attributesBefore{"n":1}After{"n":9}' in page.text


def test_what_others_changed_since_stops_an_update(holdall: Terminal, differing: str, box: Running, copy: Hand) -> None:
    copy.post(f"/assistants/{made(copy, 'A1')['id']}", instructions="Theirs.")
    copy.post(f"/assistants/{made(copy, 'A4')['id']}", description="Theirs, too.")
    box.forget_requests()
    done = check(holdall("import", differing, "--on-conflict", "update", "--yes"), 33)
    assert "changed since the last run: instructions" in done.err
    assert "! differs: assistant A4" in done.err
    assert "--even-if-changed" in done.err
    assert written(box) == {}
    check(holdall("import", differing, "--on-conflict", "update", "--even-if-changed", "--yes"), 0)
    assert made(copy, "A1")["instructions"] == "New."
    assert made(copy, "A4")["description"] is None


def test_an_update_that_was_undone_is_no_change_by_others(
    holdall: Terminal, differing: str, box: Running, copy: Hand
) -> None:
    update = ["import", differing, "--on-conflict", "update", "--yes"]
    check(holdall(*update), 0)
    check(holdall("undo", latest().parent.name, "--yes"), 0)
    assert made(copy, "A1")["instructions"] is None
    check(holdall(*update), 0)
    assert made(copy, "A1")["instructions"] == "New."


def test_a_file_that_others_put_in_is_not_taken_out_unasked(
    holdall: Terminal, bundle: str, box: Running, copy: Hand
) -> None:
    check(holdall("import", bundle), 0)
    store = copy.everything("/vector_stores")[0]["id"]
    copy.post(f"/vector_stores/{store}/files", file_id=copy.file("theirs.md", b"# Theirs\n"))
    box.forget_requests()
    done = check(holdall("import", bundle, "--on-conflict", "update", "--delete", "--yes"), 33)
    assert "theirs.md" in done.err
    kept = check(holdall("import", bundle, "--on-conflict", "update", "--yes", "-v"), 0)
    assert "theirs.md is not in the bundle; kept" in kept.err
    assert written(box) == {}


def test_bytes_that_changed_are_uploaded_anew_and_the_old_ones_taken_out(
    holdall: Terminal, source: Hand, box: Running, copy: Hand
) -> None:
    box.behave(serve_assistants_files=False)
    holdall("export", "-o", "text.tar.zst")  # as text, then with the bytes: the same file with another content
    check(holdall("import", "text.tar.zst", "--only", "A[12]"), 0)
    box.behave(serve_assistants_files=True)
    whole = export(holdall, box, "whole.tar.zst")
    check(holdall("import", whole, "--only", "A[12]"), 33)
    check(holdall("import", whole, "--only", "A[12]", "--on-conflict", "update", "--yes"), 0)
    assert written(box) == {
        "POST /files": 3,
        "POST /vector_stores/file_batches": 1,
        "DELETE /vector_stores/files": 3,
    }
    check(holdall("import", whole, "--only", "A[12]"), 0)
    assert written(box) == {}
    check(holdall("verify", whole, "--against", "dst"), 0)


def test_a_store_that_is_gone_is_made_again_and_its_users_led_to_it(
    holdall: Terminal, bundle: str, box: Running, copy: Hand
) -> None:
    check(holdall("import", bundle), 0)
    copy.delete(f"/vector_stores/{copy.everything('/vector_stores')[0]['id']}")
    box.forget_requests()
    check(holdall("import", bundle), 33)
    assert written(box) == {}
    check(holdall("import", bundle, "--on-conflict", "update", "--yes"), 0)
    assert written(box) == {"POST /vector_stores": 1, "POST /vector_stores/file_batches": 1, "POST /assistants": 3}
    (store,) = copy.everything("/vector_stores")
    assert made(copy, "A2")["tool_resources"]["file_search"] == {"vector_store_ids": [store["id"]]}
    check(holdall("verify", bundle, "--against", "dst"), 0)


def test_flags_that_mean_nothing_alone(holdall: Terminal, bundle: str) -> None:
    assert "--on-conflict update" in check(holdall("plan", bundle, "--delete"), 2).err
    assert "OLD=NEW" in check(holdall("plan", bundle, "--map-model", "gpt-4"), 2).err


# -- models ---------------------------------------------------------------------------------------------


def test_a_missing_model_stops_before_the_first_write_with_a_line_to_paste(
    holdall: Terminal, bundle: str, box: Running, copy: Hand
) -> None:
    box.behave(disabled_models=("gpt-4o",))
    done = check(holdall("import", bundle), 31)
    assert "  --map-model gpt-4o=NEW" in done.err.splitlines()
    assert "gpt-5.1" in done.err
    assert written(box) == {}
    check(holdall("import", bundle, "--map-model", "gpt-4o=NEW"), 31)
    check(holdall("import", bundle, "--map-model", "gpt-4*=gpt-5.1"), 0)
    assert {one["model"] for one in copy.everything("/assistants")} == {"gpt-5.1"}
    box.forget_requests()
    check(holdall("import", bundle, "--map-model", "gpt-4*=gpt-5.1"), 0)
    assert written(box) == {}
    check(holdall("verify", bundle, "--against", "dst"), 0)


def test_a_dead_model_of_an_assistant_that_is_there_is_no_reason_to_stop(
    holdall: Terminal, bundle: str, box: Running
) -> None:
    check(holdall("import", bundle), 0)
    box.behave(disabled_models=("gpt-4o",))
    check(holdall("import", bundle), 0)


def test_assistants_without_a_model_can_be_left_out(holdall: Terminal, source: Hand, box: Running, copy: Hand) -> None:
    box.behave(extra_models=("ft:gpt-4o:acme::x1",))
    source.assistant("Tuned", model="ft:gpt-4o:acme::x1", files=[source.file("only.csv", b"1\n")])
    bundle = export(holdall, box, "b.tar.zst")
    box.behave(extra_models=())
    assert "of another organisation or project (acme)" in check(holdall("import", bundle), 31).err
    done = check(holdall("import", bundle, "--skip-unmapped"), 4)
    assert "10 of 11 assistants imported, 1 failed" in done.err
    assert "1 assistant failed: Tuned" in done.err
    assert copy.counts() == {"assistants": 10, "vector_stores": 1, "files": 4}
    rows = {row["name"]: row for row in json.loads(Path("out/mapping.json").read_text())["mappings"]}
    assert rows["Tuned"]["status"] == "failed"


@pytest.mark.parametrize("status", [403, 404])
def test_no_list_of_models_is_a_warning(holdall: Terminal, bundle: str, box: Running, status: int) -> None:
    box.fault(Fail(status=status), "GET", "/models", times=9)
    done = check(holdall("plan", bundle), 3)
    assert "warning: can't check models" in done.err


# -- a plan on paper ------------------------------------------------------------------------------------


def test_a_plan_is_carried_out_as_it_stands(holdall: Terminal, bundle: str, box: Running, copy: Hand) -> None:
    done = check(holdall("plan", bundle, "--only", "A[0-4]", "--prefix", "p ", "-o", "p.json"), 3)
    assert "import b.tar.zst --plan p.json" in done.err
    document = json.loads(Path("p.json").read_text())
    assert document["holdall_plan"] == 1
    assert "sk-" not in Path("p.json").read_text()
    assert written(box) == {}
    check(holdall("import", bundle, "--plan", "p.json", CLONE_NAME_PREFIX="other "), 0)
    assert sorted(one["name"] for one in copy.everything("/assistants")) == [f"p A{n}" for n in range(5)]
    box.forget_requests()
    outdated = check(holdall("import", bundle, "--plan", "p.json"), 34)
    assert "create" in outdated.err
    assert written(box) == {}


def test_a_plan_is_for_one_bundle_and_one_destination(
    holdall: Terminal, bundle: str, source: Hand, box: Running, copy: Hand
) -> None:
    check(holdall("plan", bundle, "-o", "p.json"), 3)
    third = "sk-third-0001"
    assert (
        "it is for project proj_"
        in check(holdall("import", bundle, "--plan", "p.json", OPENAI_DST_API_KEY=third), 34).err
    )
    source.assistant("One more")
    other = export(holdall, box, "other.tar.zst")
    assert "another bundle" in check(holdall("import", other, "--plan", "p.json"), 34).err
    copy.assistant("A stranger")
    box.forget_requests()
    assert "--prefix" in check(holdall("import", bundle, "--plan", "p.json", "--prefix", "x"), 2).err
    Path("bad.json").write_text("{}")
    check(holdall("import", bundle, "--plan", "bad.json"), 2)
    check(holdall("import", bundle, "--plan", "absent.json"), 15)
    assert written(box) == {}
    # What has nothing to do with it may change.
    check(holdall("import", bundle, "--plan", "p.json"), 0)
