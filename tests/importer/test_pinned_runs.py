"""Folders that real imports left behind stay readable, and what is read out of them stays the same.

``tests/data/runs/make.py`` tells how they were made; ``expected.json`` beside each has what is read out of it, which
``tests.importer.pinned`` asks for. The most important of it is written out here.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from holdall.bundle.reader import open_bundle
from holdall.errors import UsageFault
from holdall.importer.destination.destination import history
from holdall.importer.runs.effects import LOG, is_undone
from holdall.importer.verbs.undo_import import withdraw
from tests.cli.terminal import Done, Terminal
from tests.importer.pinned import BUNDLE, KEY, RUNS, Pinned, Still, View, changes, ends, expectation, merged, names
from tests.sweep import sweep

NAMES = names()


def expected(name: str) -> View:
    found: View = json.loads((RUNS / name / "expected.json").read_text(encoding="utf-8"))
    return found


def same(found: View, wanted: View, where: str) -> None:
    assert found == wanted, f"{where}: what differs from {RUNS}: {changes(wanted, found)}"


def of_source() -> dict[str, str]:
    """The ids in the bundle, by the names of what has them."""
    with open_bundle(BUNDLE) as reader:
        records = [*reader.assistants(), *reader.stores(), *reader.files()]
    return {(one := json.loads(record.raw)).get("filename") or one["name"]: one["id"] for record in records}


def of_destination(still: Still) -> dict[str, str]:
    return {
        one.get("filename") or one["name"]: one["id"]
        for where in ("/assistants", "/vector_stores", "/files")
        for one in still.lists.get(where, ())
    }


@sweep("name", NAMES)
def test_the_whole_folder_says_what_it_said(name: str, tmp_path: Path) -> None:
    wanted, found = expected(name), expectation(name, tmp_path)
    assert wanted.keys() == found.keys()
    same(found["whole"], wanted["whole"], f"{name} as a whole")
    same(found["report"], wanted["report"], f"{name}, what its report adds")


@sweep("name", NAMES)
def test_a_run_cut_off_at_any_line_or_within_it_says_what_it_said(name: str, tmp_path: Path) -> None:
    pinned, wanted = Pinned(name, tmp_path), {}
    lengths = list(ends(pinned.whole))
    patches = expected(name)["lines"]
    assert len(patches) == len(lengths)
    for number, (length, patch) in enumerate(zip(lengths, patches, strict=True)):
        wanted = merged(wanted, patch)
        # In the middle of the next line, and where only its end is missing.
        rest = lengths[number + 1] - length if number + 1 < len(lengths) else 0
        for more in sorted({0, rest // 2, max(rest - 1, 0)}):
            pinned.cut(length + more)
            same(pinned.view(), wanted, f"{name}, cut off {more} bytes behind line {number}")


@pytest.mark.parametrize("name", NAMES)
def test_a_run_is_gone_on_with_by_the_same_command_only(name: str, tmp_path: Path) -> None:
    pinned = Pinned(name, tmp_path)
    if name != "interrupted":
        assert pinned.resumed() is None
        pinned.cut(pinned.whole.rindex(b"\n", 0, -1) + 1)
    assert pinned.resumed() == pinned.run.name
    assert pinned.resumed(concurrency=7) == pinned.run.name
    assert pinned.resumed(prefix="Another ") is None
    headers = {"openai-organization": "org-another", "openai-project": "proj_another"}
    assert pinned.resumed(Still("http://127.0.0.1:1/v1", headers, {})) is None
    # By whatever name the server is reached, where it says whose project it is.
    moved = Still("http://127.0.0.1:1/v1", pinned.destination.headers, {})
    assert pinned.resumed(moved) == (pinned.run.name if moved.party["project"] else None)


def test_a_complete_import_leads_from_each_source_to_its_copy(tmp_path: Path) -> None:
    pinned, source = Pinned("complete", tmp_path), of_source()
    there = of_destination(pinned.destination)
    mapping = pinned.mapping(pinned.destination)
    assert mapping["assistants"] == {source[name]: there[name] for name in ("Support", "Sales")}
    assert mapping["stores"] == {source["Shared"]: there["Shared"]}
    assert mapping["files"] == {source[name]: there[name] for name in ("one.md", "two.md", "TABLE.TXT")}
    assert mapping["copies"] == {source["TABLE.TXT"]: there["TABLE.txt"]}
    view = pinned.view()
    assert {**view["state"]["targets"]["file"], source["TABLE.TXT"]: there["TABLE.TXT"]} == mapping["files"]
    assert "open" not in view["state"]
    assert set(view["undo"]["due"]) == set(there.values())


def test_the_undo_of_an_update_gives_back_what_others_had_made(tmp_path: Path) -> None:
    pinned, source = Pinned("update", tmp_path), of_source()
    there = of_destination(pinned.destination)
    store, copies = there["Shared"], pinned.mapping(pinned.destination)["files"]
    due = pinned.undo()["due"]
    bodies = {key: {**body} for key, (_, body) in due.items()}
    changed = {"instructions": "Changed by somebody.", "temperature": 0.5}
    assert {key: act for key, (act, _) in due.items()} == {
        there["Support"]: "restore",
        there["Sales"]: "restore",
        store: "restore",
        f"{store}/{copies[source['one.md']]}": "restore",
        f"{store}/{copies[source['two.md']]}": "detach",
        f"{store}/{there['stranger.md']}": "attach",
    }
    assert bodies[there["Support"]] == bodies[there["Sales"]] == changed
    assert bodies[store] == {"name": "Renamed", "metadata": {"theirs": "1"}}
    assert bodies[f"{store}/{copies[source['one.md']]}"] == {"attributes": {"lang": "fr"}}
    assert bodies[f"{store}/{there['stranger.md']}"]["attributes"] == {"by": "somebody"}


def test_an_undone_run_counts_for_nothing_and_one_of_which_something_was_left_for_what_it_made(tmp_path: Path) -> None:
    pinned = Pinned("undo", tmp_path)
    first, second = (pinned.out / "runs" / name for name in pinned.at(pinned.destination))
    assert [is_undone(first), is_undone(second)] == [False, True]
    made = set(json.loads((first / "mapping.json").read_text(encoding="utf-8"))["files"].values())
    history = pinned.view()["history"]
    assert {target for several in history["files"].values() for target in several} == made
    assert json.loads((pinned.out / "mapping.json").read_text(encoding="utf-8"))["run"] == first.name
    left = {act: set(its) for act, its in pinned.undo(first).items() if act in ("left", "needless")}
    there = of_destination(pinned.destination)
    assert left["left"] == set(there.values())
    assert len(left["needless"]) == 1


def test_a_log_of_an_undo_that_is_cut_off_is_not_one_of_a_whole_undo(tmp_path: Path) -> None:
    pinned = Pinned("undo", tmp_path)
    for run, whole in zip(pinned.at(pinned.destination), (False, True), strict=True):
        log = pinned.out / "runs" / run / LOG
        data = log.read_bytes()
        for end in ends(data):
            for length in (end, end + 20, end - 1):
                log.write_bytes(data[: max(length, 0)])
                # The last line counts without its end, too.
                assert is_undone(log.parent) is (whole and length >= len(data) - 1), (run, length)


def test_requests_that_the_user_changed_are_nobody_elses_and_stay(tmp_path: Path) -> None:
    pinned, source = Pinned("responses", tmp_path), of_source()
    (sales, support) = (f"responses/{name}-{source[name]}.json" for name in ("Sales", "Support"))
    view = pinned.view()
    assert view["requests"] == {
        sales: f"ours at {sales}",
        support: f"ours at {support}.new",
        f"{support}.new": f"ours at {support}.new",
    }
    assert pinned.mapping(pinned.destination)["assistants"] == {
        source["Sales"]: sales,
        source["Support"]: f"{support}.new",
    }
    assert {key: act for key, (act, _) in view["undo"]["due"].items() if key.endswith((".json", ".new"))} == {
        sales: "rewrite",
        sales.replace(".json", ".about.json"): "rewrite",
        f"{support}.new": "remove",
        f"{support}.new".replace(".json", ".about.json"): "remove",
    }
    text = json.loads(view["undo"]["due"][sales][1]["text"])
    assert (text["model"], json.loads((pinned.out / sales).read_bytes())["model"]) == ("gpt-4.1", "gpt-5")
    first = pinned.out / "runs" / pinned.at(pinned.destination)[0]
    assert support in pinned.undo(first)["left"]


def test_each_of_two_destinations_has_its_own_runs(tmp_path: Path) -> None:
    pinned = Pinned("two-destinations", tmp_path)
    named, unnamed = pinned.destinations
    assert (bool(named.party["project"]), unnamed.party["project"]) == (True, None)
    assert pinned.destination is unnamed
    first, second = pinned.at(named)
    assert pinned.at(unnamed) == [pinned.run.name]
    assert first < second < pinned.run.name
    assert pinned.mapping(named)["origin"] == f"runs/{second}/mapping.json"
    assert pinned.mapping(unnamed)["origin"] == "mapping.json"
    assert pinned.view()["state"]["learned"] == {"marks": 0}
    nowhere = Still("http://127.0.0.1:1/v1", {}, {})
    assert pinned.at(nowhere) == []
    assert pinned.mapping(nowhere) == {}
    mapping = pinned.run / "mapping.json"
    assert history(pinned.out, destination=unnamed.party, prefix="", mapping=mapping)
    with pytest.raises(UsageFault, match="mapping"):
        history(pinned.out, destination=named.party, prefix="", mapping=mapping)
    (pinned.run / LOG).write_text('{"line":"ended","at":"2026-11-26T18:00:00Z","left":0}\n', encoding="utf-8")
    withdraw(pinned.out, pinned.run.name)
    assert (pinned.out / "mapping.json").read_bytes() == (pinned.out / f"runs/{second}/mapping.json").read_bytes()


def test_what_was_in_flight_when_a_run_was_killed_may_be_its(tmp_path: Path) -> None:
    pinned, source = Pinned("interrupted", tmp_path), of_source()
    there, view = of_destination(pinned.destination), pinned.view()
    assert sorted(view["state"]["open"].values()) == sorted(
        f"create file {source[name]}" for name in ("one.md", "two.md")
    )
    assert view["state"]["targets"] == {
        "assistant": {source["Sales"]: there["Sales"]},
        "file": {source["TABLE.TXT"]: there["TABLE.TXT"]},
    }
    assert view["undo"]["waits"] is True
    assert set(view["undo"]["orphans"]) == {there["one.md"], there["two.md"]}
    assert list(view["undo"]["due"]) == [there["Sales"], there["TABLE.TXT"]]


def test_what_was_found_again_by_its_name_is_used_and_never_deleted(tmp_path: Path) -> None:
    pinned, source = Pinned("resumed", tmp_path), of_source()
    there, view = of_destination(pinned.destination), pinned.view()
    assert view["state"]["targets"]["file"] == {source[name]: there[name] for name in ("one.md", "two.md", "TABLE.TXT")}
    assert list(view["state"]["missed"].values()) == [f"create assistant {source['Support']}"]
    assert set(view["undo"]["orphans"]) == {there["one.md"], there["two.md"]}
    assert set(view["undo"]["due"]) == {there[name] for name in ("Support", "Sales", "Shared", "TABLE.TXT")}


EVERYTHING = {"file": 3, "assistant": 2, "vector_store": 1}

# The end of the import once more (--dry-run), with what it counts; and of the comparison with the bundle.
COMMANDS: dict[str, tuple[int, View, int]] = {
    "complete": (0, {"adopted": EVERYTHING}, 0),
    "update": (0, {"adopted": EVERYTHING}, 0),
    "undo": (33, {}, 4),
    "responses": (3, {"requests": 2, "adopted": {"file": 3, "vector_store": 1}}, 0),
    "two-destinations": (0, {"adopted": EVERYTHING}, 0),
    "interrupted": (
        3,
        {
            "assistants": 1,
            "stores": 1,
            "files": 2,
            "memberships": 3,
            "bytes": 12,
            "adopted": {"file": 1, "assistant": 1},
        },
        4,
    ),
    "resumed": (0, {"adopted": EVERYTHING}, 0),
}


@sweep("name", NAMES)
def test_the_commands_go_by_the_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = Pinned(name, tmp_path)
    terminal = Terminal(monkeypatch, {"OPENAI_DST_API_KEY": KEY})

    def run(*words: str) -> Done:
        return terminal(*words, "--json", "--env-file", "none", "--output-dir", str(pinned.out))

    # The first destination, which says whose it is: it may be reached at another port.
    with pinned.destinations[0].served() as url:
        monkeypatch.setenv("OPENAI_DST_BASE_URL", url)
        newest = pinned.at(pinned.destinations[0])[-1]
        form = ("--as", "responses") if name == "responses" else ()
        undone = run("undo", "latest", "--dry-run", "--settle", "0")
        planned = run("import", str(BUNDLE), "--dry-run", *form)
        compared = run("verify", str(BUNDLE), "--against", "dst")
    result = undone.document["result"]
    assert result["run"] == newest
    assert [
        f"{one['act']} {one['store']}/{one['id']}" if one["store"] else f"{one['act']} {one['id']}"
        for one in result["pending"]
    ] == expected(name)["whole"]["runs"][newest]["undo"]
    code, totals, end = COMMANDS[name]
    found: Any = (planned.document["result"] or {}).get("totals", {})
    counted = {what: count for what, count in found.items() if count}
    assert (planned.code, counted, compared.code) == (code, totals, end)


def test_nothing_of_a_machine_or_a_person_is_in_them() -> None:
    for path in RUNS.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".jsonl", ".md", ".new"):
            text = path.read_text(encoding="utf-8")
            assert set(re.findall(r"\w+://([^:/\"\s]*)", text)) <= {"127.0.0.1"}, path
            assert not re.search(r"sk-\w|(?<![\w.:/])/(?!assistants|vector_stores|files|models|v1)\w+/\w", text), path
