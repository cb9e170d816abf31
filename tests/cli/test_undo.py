"""``holdall undo``, from the command line: what it says, what it asks, and what stands afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdall.importer.runs.runjournal import RunJournal
from holdall.sandbox.behaviour import Behaviour, Reset
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.clock import Clock
from tests.project import Hand
from tests.sweep import sweep

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    Clock().rule(monkeypatch)
    box.behave(serve_assistants_files=True)
    urls = {"OPENAI_SRC_BASE_URL": box.url, "OPENAI_DST_BASE_URL": box.url, "OPENAI_DST_API_KEY": DESTINATION}
    return Terminal(monkeypatch, urls)


@pytest.fixture
def source(box: Running) -> Iterator[Hand]:
    with Hand(box.url, SOURCE) as hand:
        files = [hand.file(f"{name}.md", f"# {name}\n".encode()) for name in ("one", "two", "three")]
        cut = {"type": "static", "static": {"max_chunk_size_tokens": 200, "chunk_overlap_tokens": 20}}
        members = {files[0]: {"attributes": {"lang": "en"}}, files[1]: {"chunking_strategy": cut}}
        store = hand.store("Shared", files, members, metadata={"k": "v"})
        hand.assistant("Support", stores=[store], instructions="Help!", metadata={"team": "a"})
        hand.assistant("Sales", files=[hand.file("sales.csv", b"a,b\n")])
        yield hand


@pytest.fixture
def bundle(holdall: Terminal, source: Hand) -> str:
    done = holdall("export", "-o", "b.tar.zst", OPENAI_SRC_API_KEY=SOURCE)
    assert done.code == 0, done.err
    return "b.tar.zst"


@pytest.fixture
def copy(box: Running) -> Iterator[Hand]:
    with Hand(box.url, DESTINATION) as hand:
        yield hand


def test_it_shows_what_it_would_do_then_does_it(holdall: Terminal, bundle: str, copy: Hand) -> None:
    before = copy.snapshot()
    assert holdall("import", bundle).code == 0
    stood = copy.snapshot()
    dry = holdall("undo", "latest", "--dry-run", "-v")
    assert dry.code == 3
    lines = dry.out.splitlines()
    assert lines[0].startswith("- delete assistant ")
    assert sorted(line.split()[2] for line in lines[:-2]) == ["assistant"] * 2 + ["file"] * 4 + ["vector"]
    assert lines[-2:] == ["Undo: 7 to delete", "DRY RUN: nothing undone"]
    assert dry.err.splitlines()[-1] == "Next: holdall undo latest"
    assert copy.snapshot() == stood
    (run,) = Path("out/runs").glob("2*")
    done = holdall("undo", run.name, "--yes")
    assert done.code == 0, done.err
    assert done.out.endswith("… and 4 more (-v lists all)\nUndo: 7 to delete\nUNDONE\n")
    assert done.err.endswith(f"{run.name}: 7 deleted\n")
    assert copy.snapshot() == before
    assert not Path("out/mapping.json").exists()
    again = holdall("undo", str(run), "--yes")
    assert (again.code, again.out) == (0, f"{run.name} is already undone\n")
    # The same import again is a new one.
    assert holdall("import", bundle).code == 0
    assert len(list(Path("out/runs").glob("2*"))) == 2
    assert holdall("verify", bundle, "--against", "dst").code == 0


def test_without_a_terminal_it_takes_a_yes(holdall: Terminal, bundle: str, box: Running) -> None:
    holdall("import", bundle)
    box.forget_requests()
    done = holdall("undo", "latest")
    assert done.code == 2
    assert "--yes" in done.err
    assert holdall("undo", "latest", "--json").code == 2
    assert box.requests() == []
    document = holdall("undo", "latest", "--yes", "--json").document
    assert (document["exit_code"], document["result"]["undone"]) == (0, True)
    assert document["result"]["done"][0]["kind"] == "assistant"
    assert len(document["result"]["done"]) == 7


def test_what_can_not_be_meant_is_refused_before_anything_is_done(
    holdall: Terminal, bundle: str, box: Running, copy: Hand
) -> None:
    assert holdall("undo", "latest", "--yes").code == 2
    assert holdall("undo", "absent", "--yes").code == 2
    holdall("import", bundle)
    stood = copy.snapshot()
    done = holdall("undo", "latest", "--yes", OPENAI_DST_API_KEY="sk-another-0001")
    assert done.code == 2
    assert "it was imported into project" in done.err
    assert copy.snapshot() == stood


def test_a_run_that_found_all_of_it_there_did_nothing_to_miss(
    holdall: Terminal, bundle: str, copy: Hand, box: Running
) -> None:
    # Without a project to tell by, an undo goes by what is left of the run: of this one nothing ever was.
    box.behave(names_project=False)
    holdall("import", bundle)
    stood = copy.snapshot()
    assert holdall("import", bundle).code == 0
    _, second = (line.split()[0] for line in holdall("runs").out.splitlines())
    done = holdall("undo", second, "--yes")
    assert (done.code, done.out) == (0, "Undo: nothing to undo\nUNDONE\n"), done.err
    assert copy.snapshot() == stood


def test_latest_is_the_newest_run_that_changed_something(holdall: Terminal, bundle: str, copy: Hand) -> None:
    before = copy.snapshot()
    assert holdall("import", bundle).code == 0
    stood = copy.snapshot()
    assert holdall("import", bundle).code == 0
    assert holdall("import", bundle, "--prefix", "x ", "--on-conflict", "duplicate", "--yes").code == 0
    first, _, third = (line.split()[0] for line in holdall("runs").out.splitlines())
    assert holdall("runs").err == f"To undo: holdall undo {third}\n"
    done = holdall("undo", "latest", "--yes")
    assert (done.code, f"undoing import {third} at " in done.err, "newer imports" in done.err) == (0, True, False)
    assert copy.snapshot() == stood
    assert holdall("import", bundle).code == 0
    done = holdall("undo", "latest", "--yes")
    assert (done.code, done.out) == (0, f"{third} is already undone\n"), "asked twice, it undoes an older one"
    assert "newer imports changed nothing" in done.err
    assert copy.snapshot() == stood
    assert holdall("runs").err == f"To undo: holdall undo {first}\n"
    assert holdall("undo", first, "--yes").code == 0
    assert copy.snapshot() == before
    assert holdall("runs").err == ""


def test_what_others_changed_is_left_and_said(holdall: Terminal, bundle: str, copy: Hand) -> None:
    holdall("import", bundle)
    made = next(one for one in copy.everything("/assistants") if one["name"] == "Sales")
    copy.post(f"/assistants/{made['id']}", instructions="Mine.")
    done = holdall("undo", "latest", "--yes")
    assert done.code == 3
    assert f"= keep: delete assistant Sales ({made['id']}): others have changed it since: instructions" in done.err
    assert done.out.splitlines()[-1] == "PARTLY UNDONE: 2 objects kept"
    assert done.err.splitlines()[-1] == "Next: holdall undo latest --yes --even-if-changed"
    assert copy.counts() == {"assistants": 1, "vector_stores": 0, "files": 1}
    assert Path("out/mapping.json").exists()
    done = holdall("undo", "latest", "--yes", "--even-if-changed")
    assert done.code == 0
    assert f"- delete assistant Sales ({made['id']}), though others have changed it since: instructions" in done.out
    assert copy.counts() == {"assistants": 0, "vector_stores": 0, "files": 0}


class Crash(BaseException):
    """Stands for the end of the process: nothing of the run comes after it."""


def crash_at(patch: pytest.MonkeyPatch, line: int) -> None:
    """Let the process end at a line of the journal: before an odd one is in the file, after an even one is."""
    written, put = 0, RunJournal.append

    def crashing(self: RunJournal, data: bytes) -> None:
        nonlocal written
        written += 1
        if written == line:
            if line % 2 == 0:
                put(self, data)
            raise Crash
        put(self, data)

    patch.setattr(RunJournal, "append", crashing)


def without_times(snapshot: dict[str, Any]) -> dict[str, Any]:
    """A file that is put back into a store is a new member of it: only the API gives that its time."""
    members = {
        key: {name: value for name, value in member.items() if name != "created_at"}
        for key, member in snapshot["memberships"].items()
    }
    return {**snapshot, "memberships": members}


def test_an_update_is_undone_to_what_was_there_before_it(
    holdall: Terminal, bundle: str, source: Hand, copy: Hand
) -> None:
    assert holdall("import", bundle).code == 0
    before = copy.snapshot()
    mapping = Path("out/mapping.json").read_bytes()
    change(source)
    assert holdall("export", "-o", "c.tar.zst", OPENAI_SRC_API_KEY=SOURCE).code == 0
    done = holdall("import", "c.tar.zst", "--on-conflict", "update", "--delete", "--yes")
    assert done.code == 0, done.err
    assert holdall("verify", "c.tar.zst", "--against", "dst").code == 0
    assert copy.snapshot() != before
    done = holdall("undo", "latest", "--yes")
    assert done.code == 0, done.err
    assert without_times(copy.snapshot()) == without_times(before)
    assert Path("out/mapping.json").read_bytes() == mapping
    assert holdall("verify", bundle, "--against", "dst").code == 0


def test_values_that_the_server_takes_and_drops_are_not_put_back(
    holdall: Terminal, bundle: str, source: Hand, copy: Hand, box: Running
) -> None:
    assert holdall("import", bundle).code == 0
    change(source)
    assert holdall("export", "-o", "c.tar.zst", OPENAI_SRC_API_KEY=SOURCE).code == 0
    assert holdall("import", "c.tar.zst", "--on-conflict", "update", "--delete", "--yes").code == 0
    box.behave(oddities=frozenset({Oddity.METADATA_IGNORED}))
    done = holdall("undo", "latest", "--yes", "--json")
    assert done.code == 3
    left = {(one["kind"], one["name"]): one["left"] for one in done.document["result"]["left"]}
    assert set(left) == {("assistant", "Support"), ("vector_store", "Shared")}
    assert all(why.endswith("but nothing changed: metadata") for why in left.values())
    box.behave(oddities=frozenset())
    assert holdall("undo", "latest", "--yes").code == 0


@sweep("oddity", [Oddity.DELETE_404, Oddity.DELETE_FALSE, Oddity.DELETE_IGNORED])
def test_an_update_that_can_not_take_a_file_out_of_its_store_says_so(
    holdall: Terminal, bundle: str, source: Hand, copy: Hand, box: Running, oddity: Oddity
) -> None:
    assert holdall("import", bundle).code == 0
    change(source)
    assert holdall("export", "-o", "c.tar.zst", OPENAI_SRC_API_KEY=SOURCE).code == 0
    box.behave(oddities=frozenset({oddity}))
    done = holdall("import", "c.tar.zst", "--on-conflict", "update", "--delete", "--yes", "--settle", "0", "-v")
    assert done.code == 4
    assert "still" in done.err
    box.behave(oddities=frozenset())
    assert holdall("import", "c.tar.zst", "--on-conflict", "update", "--delete", "--yes", "--settle", "0").code == 0


def test_possible_orphans_are_counted_until_they_are_gone(
    holdall: Terminal, bundle: str, copy: Hand, box: Running
) -> None:
    """Uploads whose answers were lost, and that nobody can tell from the ones that were sent in their place."""
    box.fault(Reset(executed=True), "POST", "/files", times=2)
    assert holdall("import", bundle, "--concurrency", "1", "--settle", "0").code == 0
    done = holdall("undo", "latest", "--yes", "--settle", "0")
    left = [file["id"] for file in copy.everything("/files")]
    assert left
    orphans = f"{len(left)} possible orphan{'s' if len(left) > 1 else ''}"
    assert (done.code, done.out.splitlines()[-1]) == (3, f"PARTLY UNDONE: {orphans}")
    assert "5 deleted" in done.err
    again = holdall("undo", "latest", "--yes", "--settle", "0", "--json")
    assert again.code == 3
    assert again.document["result"]["counts"] == {"done": 0, "left": 0, "orphans": len(left)}
    assert again.document["result"]["undone"] is False
    for id in left:
        copy.delete(f"/files/{id}")
    assert holdall("undo", "latest", "--yes", "--settle", "0").code == 0
    assert "is already undone" in holdall("undo", "latest", "--yes").out


def test_two_servers_in_one_folder_each_have_their_own_latest(
    holdall: Terminal, bundle: str, copy: Hand, tmp_path: Path
) -> None:
    with Running(tmp_path / "second") as second, Hand(second.url, DESTINATION) as other:
        there = {"OPENAI_DST_BASE_URL": second.url}
        assert holdall("import", bundle).code == 0
        assert holdall("import", bundle, **there).code == 0
        stood = other.snapshot()
        for one, where in ((copy, {}), (other, there)):
            done = holdall("verify", bundle, "--against", "dst", **where)
            assert (done.code, done.out) == (0, "COMPLETE\n")
            assert one.counts()["assistants"] == 2
        assert holdall("undo", "latest", "--yes").code == 0
        assert copy.counts()["assistants"] == 0
        assert other.snapshot() == stood
        assert holdall("undo", "latest", "--yes", **there).code == 0
        assert other.counts() == {"assistants": 0, "vector_stores": 0, "files": 0}


def test_two_servers_that_name_no_project_are_told_apart_by_their_address(
    holdall: Terminal, bundle: str, copy: Hand, box: Running, tmp_path: Path
) -> None:
    box.behave(names_project=False)
    with Running(tmp_path / "second", behaviour=Behaviour(names_project=False)) as second:
        there = {"OPENAI_DST_BASE_URL": second.url}
        assert holdall("import", bundle).code == 0
        assert holdall("import", bundle, **there).code == 0
        for where in ({}, there):
            done = holdall("verify", bundle, "--against", "dst", **where)
            assert (done.code, done.out) == (0, "COMPLETE\n")
        assert holdall("undo", "latest", "--yes", "--dry-run").out.startswith("- delete assistant")
        other = Path("out/mapping.json").read_bytes()
        done = holdall("plan", bundle, "--mapping", "out/mapping.json")
        assert (done.code, "it is for " in done.err) == (2, True), done.err
        assert holdall("undo", "latest", "--yes").code == 0
        assert Path("out/mapping.json").read_bytes() == other


@pytest.mark.parametrize(
    "first", [pytest.param(3, id="some"), *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 4, 5, 6, 7))]
)
def test_an_update_that_was_cut_off_is_undone_too(
    holdall: Terminal, bundle: str, source: Hand, copy: Hand, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    lookalikes(copy)
    assert holdall("import", bundle).code == 0
    before = copy.snapshot()
    change(source)
    assert holdall("export", "-o", "c.tar.zst", OPENAI_SRC_API_KEY=SOURCE).code == 0
    update = ("import", "c.tar.zst", "--on-conflict", "update", "--delete", "--yes", "--concurrency", "1", "--force")
    crashed = 0
    for line in range(first, 60, 7):
        with monkeypatch.context() as patch:
            crash_at(patch, line)
            try:
                assert holdall(*update).code == 0
                break
            except (Crash, BaseExceptionGroup):
                crashed += 1
        done = holdall("undo", "latest", "--yes", "--json", "--settle", "0")
        assert done.code in (0, 3), done.err
        assert done.document["result"]["left"] == []
        # An upload whose answer was lost is listed, and stays: it can't be told from a stranger's.
        for orphan in done.document["result"]["orphans"]:
            copy.delete(f"/files/{orphan['id']}")
        assert without_times(copy.snapshot()) == without_times(before), line
    assert crashed >= 3


def lookalikes(copy: Hand) -> None:
    """What a user may have there already, by the same names and bytes."""
    store = copy.store("Shared", [copy.file("one.md", b"# one\n")], metadata={"cloned_from": "vs_of_another"})
    copy.assistant("Support", stores=[store], instructions="Help!", metadata={"cloned_from": "asst_of_another"})


def change(source: Hand) -> None:
    """Of everything that an import updates, something."""
    (store,) = source.everything("/vector_stores")
    one, two, three = (member["id"] for member in source.everything(f"/vector_stores/{store['id']}/files"))
    source.post(f"/vector_stores/{store['id']}", metadata={"k": "w", "l": "x"})
    source.post(f"/vector_stores/{store['id']}/files/{one}", attributes={"lang": "de", "n": 2})
    source.delete(f"/vector_stores/{store['id']}/files/{two}")
    cut = {"type": "static", "static": {"max_chunk_size_tokens": 300, "chunk_overlap_tokens": 30}}
    source.delete(f"/vector_stores/{store['id']}/files/{three}")
    source.post(f"/vector_stores/{store['id']}/files", file_id=three, chunking_strategy=cut)
    source.post(f"/vector_stores/{store['id']}/files", file_id=source.file("four.md", b"# four\n"))
    support, sales = source.everything("/assistants")
    source.post(f"/assistants/{support['id']}", instructions="Help?", temperature=0.5, metadata={"team": "b"})
    files = [*sales["tool_resources"]["code_interpreter"]["file_ids"], source.file("more.csv", b"c,d\n")]
    source.post(f"/assistants/{sales['id']}", tool_resources={"code_interpreter": {"file_ids": files}})
    source.assistant("New", stores=[store["id"]])
