"""``holdall runs``: the list of past imports, and that ``undo`` takes what it prints."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from holdall.sandbox.behaviour import NoQuota
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand

SOURCE, TARGET = "sk-source-0001", "sk-target-0001"
PAST = Path(__file__).parents[1] / "data" / "runs"


@pytest.fixture
def holdall(box: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A bundle ``b.tar.zst`` of one assistant with a store in the working folder, and an empty destination."""
    monkeypatch.chdir(tmp_path)
    box.behave(serve_assistants_files=True)
    with Hand(box.url, SOURCE) as hand:
        hand.assistant("A", stores=[hand.store("S", [hand.file("a.md", b"# a\n")])])
    made = Terminal(
        monkeypatch,
        {
            "OPENAI_SRC_API_KEY": SOURCE,
            "OPENAI_SRC_BASE_URL": box.url,
            "OPENAI_DST_API_KEY": TARGET,
            "OPENAI_DST_BASE_URL": box.url,
        },
    )
    assert made("export", "-o", "b.tar.zst").code == 0
    return made


def test_every_state_of_a_run(holdall: Terminal, box: Running) -> None:
    assert holdall("import", "b.tar.zst").code == 0
    assert holdall("import", "b.tar.zst", "--prefix", "x ", "--on-conflict", "duplicate", "--yes").code == 0
    assert holdall("undo", "latest", "--yes", "--settle", "0").code == 0
    box.fault(NoQuota(), "POST", "/files", times=100)
    assert holdall("import", "b.tar.zst", "--prefix", "y ", "--on-conflict", "duplicate", "--yes").code == 21
    box.clear_faults()
    box.forget_requests()
    done = holdall("runs", "--json", OPENAI_DST_API_KEY="", OPENAI_SRC_API_KEY="")
    assert done.code == 0
    runs = done.document["result"]["runs"]
    assert [run["state"] for run in runs] == ["complete", "undone", "unfinished"]
    assert runs[0]["made"] == {"assistants": 1, "vector_stores": 1, "files": 1}
    assert (runs[0]["bundle"], runs[0]["detail"]) == ("b.tar.zst", "COMPLETE")
    assert runs[0]["destination"]["base_url"] == box.url
    assert box.requests() == []
    lines = holdall("runs").out.splitlines()
    assert [line.split()[0] for line in lines] == [run["run"] for run in runs]
    assert [line.split()[1] for line in lines] == ["complete", "undone", "unfinished"]
    assert all("b.tar.zst -> " in line and len(line) <= 80 for line in lines)


def test_what_an_incomplete_run_lacks(holdall: Terminal, box: Running) -> None:
    box.behave(serve_assistants_files=False)
    with Hand(box.url, SOURCE) as hand:
        hand.assistant("B", files=[hand.file("b.csv", b"a,b\n")])
    assert holdall("export", "-o", "c.tar.zst", "--parent", "none").code == 4
    assert holdall("import", "c.tar.zst").code == 4
    first, second = holdall("runs").out.splitlines()
    assert first.split()[1] == "incomplete"
    assert second.strip().startswith("INCOMPLETE: 1 file missing from 1 assistant")


def test_the_ids_are_those_that_undo_takes(holdall: Terminal, box: Running) -> None:
    for prefix in ("x ", "y "):
        assert holdall("import", "b.tar.zst", "--prefix", prefix, "--on-conflict", "duplicate", "--yes").code == 0
    one, two = (line.split()[0] for line in holdall("runs").out.splitlines())
    common = "".join(a for n, a in enumerate(one) if two.startswith(one[: n + 1]))
    refused = holdall("undo", common, "--yes")
    assert (refused.code, "2 run ids in" in refused.err, one in refused.err) == (2, True, True)
    assert holdall("undo", one[:3], "--yes").code == 2
    assert holdall("undo", "", "--yes").code == 2
    assert holdall("undo", one[: len(common) + 1], "--yes", "--settle", "0").code == 0
    assert holdall("undo", two, "--yes", "--settle", "0").code == 0
    assert [line.split()[1] for line in holdall("runs").out.splitlines()] == ["undone", "undone"]
    with Hand(box.url, TARGET) as hand:
        assert hand.counts() == {"assistants": 0, "vector_stores": 0, "files": 0}


def test_runs_of_earlier_versions_are_listed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, box: Running) -> None:
    monkeypatch.chdir(tmp_path)
    holdall = Terminal(monkeypatch, {})
    for folder in sorted(PAST.glob("*/out")):
        done = holdall("runs", "--output-dir", str(folder), "--json")
        states = [run["state"] for run in done.document["result"]["runs"]]
        assert done.code == 0, folder
        assert states, folder
        assert set(states) <= {"finished", "unfinished", "undone", "partly undone"}, folder


def test_no_run_and_one_that_is_damaged(holdall: Terminal) -> None:
    empty = holdall("runs", "--output-dir", "none")
    assert (empty.code, empty.out) == (0, "")
    assert "No runs in none/runs" in empty.err
    assert holdall("import", "b.tar.zst").code == 0
    (folder,) = Path("out/runs").iterdir()
    shutil.copytree(folder, Path("out/runs/29990101T000000.000Z-abcdef"))
    journal = Path("out/runs/29990101T000000.000Z-abcdef/journal.jsonl")
    journal.write_bytes(journal.read_bytes().replace(b'"line":"done"', b'"line":"', 1))
    done = holdall("runs")
    assert done.code == 3
    assert [line.split()[1] for line in done.out.splitlines()[:2]] == ["complete", "unreadable"]
    assert "is damaged" in done.out.splitlines()[2]


def test_a_file_in_place_of_the_folder_is_a_mistake(holdall: Terminal) -> None:
    done = holdall("runs", "--output-dir", "b.tar.zst")
    assert (done.code, done.out) == (2, "")
    assert "can't list the runs in b.tar.zst: not a folder" in done.err
