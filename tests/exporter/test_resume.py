"""An export that goes on after it was stopped anywhere, while the project stayed as it was or changed."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdall.bundle.partial import partial_folder
from holdall.bundle.reader import open_bundle
from holdall.bundle.writer import BundleWriter
from holdall.errors import CannotWrite
from holdall.sandbox.oddities import layer
from holdall.sandbox.oddities.oddity import Oddity
from holdall.sandbox.server import Running
from tests.cli.terminal import Done, Terminal
from tests.oracle import entries
from tests.project import Hand

BUNDLE = Path("b.tar.zst")
LONG = "\n\n".join(f"Paragraph {n} says something of its own. " * 90 for n in range(9)).encode()


def export(holdall: Terminal, target: Path = BUNDLE) -> Done:
    # One at a time, so that the same file is always the first to be refused.
    return holdall("export", "-v", "-o", str(target), "--parent", "none", "--concurrency", "1")


def stop(holdall: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that is stopped when everything was fetched."""

    def finish(*args: object, **kwargs: object) -> None:
        raise CannotWrite("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(BundleWriter, "finish", finish)
        assert export(holdall).code == 15
    assert partial_folder(BUNDLE).is_dir()


def ledger(bundle: Path) -> dict[str, dict[str, Any]]:
    return {line["id"]: line for line in map(json.loads, entries(bundle)["data/ledger.jsonl"].splitlines())}


def fetched(box: Running) -> set[str]:
    """The ids of the files of which a content was asked for since the requests were forgotten."""
    return {entry.path.split("/")[-2] for entry in box.requests() if entry.path.endswith("/content")}


@pytest.fixture
def project(box: Running, hand: Hand, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """One of everything; the ids by name."""
    # Only a text of several pages leads from each of them to its first one.
    monkeypatch.delitem(layer.ANSWERS, Oddity.TEXT_TOKEN_STUCK)
    box.behave(content_page_items=1, oddities=frozenset({Oddity.TEXT_TOKEN_STUCK}))
    made = {
        "picture": hand.file("picture.png", b"picture", purpose="vision"),
        "large": hand.file("large.png", bytes(range(256)) * 9000, purpose="vision"),
        "whole": hand.file("whole.txt", b"a few words"),
        "cut": hand.file("cut.txt", LONG),
        "both": hand.file("both.txt", b"words of a file of both tools"),
        "refused": hand.file("refused.txt", b"in no store"),
        "gone": hand.file("gone.txt", b"gone"),
    }
    made["store"] = hand.store("s", [made["whole"], made["cut"], made["both"]])
    made["other"] = hand.store("other", [made["both"]])
    made["lost"] = hand.store("lost")
    files = [made[name] for name in ("picture", "both", "large", "refused", "gone")]
    made["A"] = hand.assistant("A", stores=[made["store"]], files=files)
    made["B"] = hand.assistant("B", stores=[made["other"]])
    made["C"] = hand.assistant("C", stores=[made["lost"]])
    hand.delete(f"/files/{made['gone']}")
    hand.delete(f"/vector_stores/{made['lost']}")
    return made


def same_as_undisturbed(holdall: Terminal) -> None:
    """The bundle is whole, and what an export that was never stopped makes of the project as it is now."""
    fresh = Path("fresh.tar.zst")
    export(holdall, fresh)
    verified = holdall("verify", str(BUNDLE), "--json").document
    assert verified["result"]["whole"], verified
    assert ledger(BUNDLE) == ledger(fresh)
    with open_bundle(BUNDLE) as one, open_bundle(fresh) as two:
        assert one.info.digests == two.info.digests
        assert one.info.losses == two.info.losses
        assert one.info.fidelities == two.info.fidelities


def test_stopped_at_every_line_of_the_journal(
    box: Running, holdall: Terminal, project: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def finish(*args: object, **kwargs: object) -> None:
        raise CannotWrite("stopped")

    real = BundleWriter.add_content

    def add_content(self: BundleWriter, *args: Any, **more: Any) -> object:
        stored = real(self, *args, **more)
        self.checkpoint()  # each content alone, so that the export may be stopped behind it
        return stored

    with monkeypatch.context() as patch:
        patch.setattr(BundleWriter, "add_content", add_content)
        stop(holdall, monkeypatch)
    partial, kept = partial_folder(BUNDLE), Path("kept")
    shutil.copytree(partial, kept)
    lines = (kept / "journal.jsonl").read_bytes().splitlines(keepends=True)
    contents = 0
    for count, line in enumerate(lines):
        contents += b'"line":"content"' in line[:20]
        if b'"line":"cut"' not in line[:20]:
            continue  # what stands behind the last cut doesn't count
        BUNDLE.unlink(missing_ok=True)
        Path("fresh.tar.zst").unlink(missing_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(kept, partial)
        (partial / "journal.jsonl").write_bytes(b"".join(lines[: count + 1]))
        assert export(holdall).code == 4, f"stopped behind line {count}"
        same_as_undisturbed(holdall)
    assert contents == 5
    texts = {name: ledger(BUNDLE)[project[name]] for name in ("whole", "cut", "both")}
    assert {name: line["rung"] for name, line in texts.items()} == dict.fromkeys(texts, "text")
    assert {name: line["truncated"] for name, line in texts.items()} == {"whole": False, "cut": True, "both": False}


def update(tmp_path: Path, statement: str, *values: object) -> None:
    """Change the project behind the API's back."""
    database = sqlite3.connect(tmp_path / "sandbox" / "state.sqlite3")
    with database:
        assert database.execute(statement, values).rowcount == 1
    database.close()


Change = Callable[[Hand, dict[str, str], Path], None]


def renamed(name: str) -> Change:
    return lambda hand, ids, folder: update(
        folder, "UPDATE files SET filename = 'new ' || filename WHERE id = ?", ids[name]
    )


def replaced(name: str) -> Change:
    def change(hand: Hand, ids: dict[str, str], folder: Path) -> None:
        other = hand.file("other", b"other bytes than before", purpose="vision")
        statement = "UPDATE files SET (blob, bytes) = (SELECT blob, bytes FROM files WHERE id = ?) WHERE id = ?"
        update(folder, statement, other, ids[name])

    return change


def made_anew(hand: Hand, ids: dict[str, str], folder: Path) -> None:
    update(folder, "UPDATE files SET created_at = created_at + 1 WHERE id = ?", ids["picture"])


def cut_anew(hand: Hand, ids: dict[str, str], folder: Path) -> None:
    hand.delete(f"/vector_stores/{ids['store']}/files/{ids['whole']}")
    static = {"type": "static", "static": {"max_chunk_size_tokens": 400, "chunk_overlap_tokens": 100}}
    hand.post(f"/vector_stores/{ids['store']}/files", file_id=ids["whole"], chunking_strategy=static)


def attributes(hand: Hand, ids: dict[str, str], folder: Path) -> None:
    hand.post(f"/vector_stores/{ids['store']}/files/{ids['whole']}", attributes={"new": "value"})


def store_renamed(hand: Hand, ids: dict[str, str], folder: Path) -> None:
    hand.post(f"/vector_stores/{ids['store']}", name="new name")


def store_deleted(hand: Hand, ids: dict[str, str], folder: Path) -> None:
    hand.delete(f"/vector_stores/{ids['other']}")


def store_left(hand: Hand, ids: dict[str, str], folder: Path) -> None:
    """The text of a file in two stores is no longer in the one that it was read from."""
    hand.delete(f"/vector_stores/{ids['store']}/files/{ids['both']}")


def assistant_changed(hand: Hand, ids: dict[str, str], folder: Path) -> None:
    hand.post(f"/assistants/{ids['A']}", instructions="other")


def assistant_deleted(hand: Hand, ids: dict[str, str], folder: Path) -> None:
    hand.delete(f"/assistants/{ids['A']}")


@pytest.mark.parametrize(
    ("change", "again"),
    [
        pytest.param(renamed("picture"), {"picture"}, id="picture renamed"),
        pytest.param(renamed("whole"), {"whole"}, id="text renamed"),
        pytest.param(renamed("cut"), {"cut"}, id="cut text renamed"),
        pytest.param(renamed("refused"), set(), id="refused file renamed"),
        pytest.param(replaced("picture"), {"picture"}, id="picture replaced"),
        pytest.param(replaced("large"), {"large"}, id="large replaced"),
        pytest.param(made_anew, {"picture"}, id="picture made anew"),
        pytest.param(cut_anew, {"whole"}, id="text cut anew"),
        pytest.param(attributes, set(), id="attributes"),
        pytest.param(store_renamed, set(), id="store renamed"),
        pytest.param(store_deleted, set(), id="store deleted"),
        pytest.param(store_left, {"both"}, id="store left"),
        pytest.param(assistant_changed, set(), id="assistant changed"),
        pytest.param(assistant_deleted, {"both"}, id="assistant deleted"),
    ],
)
def test_a_change_meanwhile(
    box: Running,
    hand: Hand,
    holdall: Terminal,
    project: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    change: Change,
    again: set[str],
) -> None:
    stop(holdall, monkeypatch)
    change(hand, project, tmp_path)
    always = {project["refused"], project["gone"]}
    for expected in (again, set()):
        box.forget_requests()
        stop(holdall, monkeypatch)
        assert fetched(box) - always == {project[name] for name in expected}
    assert export(holdall).code == 4
    same_as_undisturbed(holdall)


@pytest.mark.parametrize("name", ["picture", "large"])
def test_a_file_deleted_meanwhile_stays_with_what_was_fetched_and_is_named_gone(
    hand: Hand, holdall: Terminal, project: dict[str, str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stop(holdall, monkeypatch)
    hand.delete(f"/files/{project[name]}")
    done = export(holdall)
    assert done.code == 4
    assert f"gone  file {project[name]}" in done.err
    verified = holdall("verify", str(BUNDLE), "--json").document["result"]
    assert verified["whole"]
    line = ledger(BUNDLE)[project[name]]
    assert (line["rung"], line["filename"]) == ("original", f"{name}.png")
    assert project[name] not in entries(BUNDLE)["data/files.jsonl"].decode()
    assert project[name] in entries(BUNDLE)["data/losses.jsonl"].decode()


def test_a_text_whose_file_left_all_stores_meanwhile_stays(
    box: Running, hand: Hand, holdall: Terminal, project: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop(holdall, monkeypatch)
    hand.delete(f"/vector_stores/{project['store']}/files/{project['both']}")
    hand.delete(f"/vector_stores/{project['other']}/files/{project['both']}")
    assert export(holdall).code == 4
    assert holdall("verify", str(BUNDLE)).code == 0
    assert ledger(BUNDLE)[project["both"]]["rung"] == "text"


def test_what_nothing_refers_to_any_more_is_left_out(
    hand: Hand, holdall: Terminal, project: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop(holdall, monkeypatch)
    hand.delete(f"/files/{project['whole']}")  # the stores forget it too
    assert export(holdall).code == 4
    same_as_undisturbed(holdall)
    assert project["whole"] not in ledger(BUNDLE)


def test_what_another_version_began_is_refused_with_the_ways_out(
    holdall: Terminal, project: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop(holdall, monkeypatch)
    journal = partial_folder(BUNDLE) / "journal.jsonl"
    first, _, rest = journal.read_bytes().partition(b"\n")
    began = {**json.loads(first), "format": "1.1"}
    # As it was before: an entry for a content, and its line in the ledger later on.
    journal.write_bytes(json.dumps(began).encode() + b"\n" + rest.replace(b'"line":"content"', b'"line":"entry"'))
    done = export(holdall)
    assert done.code == 13
    assert "another version" in done.err
    assert "--no-resume" in done.err
    assert holdall("export", "-o", str(BUNDLE), "--parent", "none", "--no-resume").code == 4
    same_as_undisturbed(holdall)
