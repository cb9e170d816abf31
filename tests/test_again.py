"""Exports that are repeated, from the command line: out of a parent bundle, skipped, resumed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from holdall.bundle.layout import LedgerLine
from holdall.bundle.partial import partial_folder
from holdall.bundle.reader import open_bundle
from holdall.bundle.sinks import Sink
from holdall.bundle.writer import BundleWriter
from holdall.errors import BundleInUse, CannotWrite
from holdall.safe_files import FileLock
from holdall.sandbox.behaviour import Fail
from holdall.sandbox.server import Running
from holdall.temporary import _Connection
from tests.cli.terminal import Done, Terminal
from tests.oracle import entries
from tests.project import Hand


def content_requests(box: Running) -> int:
    return sum(entry.path.endswith("/content") for entry in box.requests())


def fidelities(bundle: str) -> Counter[str]:
    lines = map(json.loads, entries(Path(bundle))["data/ledger.jsonl"].splitlines())
    return Counter(line["rung"] for line in lines)


def made(done: Done) -> Path:
    assert done.code == 0, done.err
    return Path(done.out.strip())


# -- a parent -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_an_unchanged_project_costs_no_content_request_and_one_file_more_costs_one(
    box: Running, hand: Hand, holdall: Terminal, number: int
) -> None:
    box.behave(serve_assistants_files=True)
    files = [hand.file(f"{n}.txt", b"file number %d" % n) for n in range(number)]
    store = hand.store("s", files)
    hand.assistant("A", stores=[store])
    box.forget_requests()
    made(holdall("export", "-o", "1.tar.zst"))
    assert content_requests(box) == number
    # 20 file objects one by one, then one page of the list.
    kinds = Counter(entry.path.removeprefix("/v1").split("/")[1] for entry in box.requests())
    assert kinds["files"] - content_requests(box) <= 25

    box.forget_requests()
    done = holdall("export", "-o", "2.tar.zst")
    made(done)
    assert content_requests(box) == 0
    assert "Reusing unchanged files from 1.tar.zst" in done.err
    with open_bundle("1.tar.zst") as one, open_bundle("2.tar.zst") as two:
        assert one.info.digests == two.info.digests
        assert one.info.fidelities == two.info.fidelities
    shutil.move("1.tar.zst", "gone")  # complete in itself
    assert holdall("verify", "2.tar.zst").code == 0

    new = hand.file("new.txt", b"new")
    hand.post(f"/vector_stores/{store}/files", file_id=new)
    box.forget_requests()
    made(holdall("export", "-o", "3.tar.zst"))
    assert content_requests(box) == 1
    assert entries(Path("3.tar.zst"))[f"data/files/{new}/new.txt"] == b"new"
    assert fidelities("3.tar.zst") == {"original": number + 1}


@pytest.mark.parametrize("more", [(), ("--skip-if-unchanged",)])
def test_what_an_unchanged_file_costs(
    box: Running, hand: Hand, holdall: Terminal, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    box.behave(serve_assistants_files=True)
    number = 150
    hand.assistant("A", stores=[hand.store("s", [hand.file(f"{n}.txt", b"file %d" % n) for n in range(number)])])
    made(holdall("export", "-o", "1.tar.zst"))
    statements: list[str] = []
    execute, executemany = _Connection.execute, _Connection.executemany
    monkeypatch.setattr(_Connection, "execute", lambda *args: (statements.append(args[1]), execute(*args))[1])
    monkeypatch.setattr(_Connection, "executemany", lambda *args: (statements.append(args[1]), executemany(*args))[1])
    box.forget_requests()
    made(holdall("export", "-o", "2.tar.zst", *more))
    # Whether it was seen, its record, what the parent has of it; the others are for many at once.
    costly = Counter(statement for statement in statements if statements.count(statement) > 50)
    assert len(costly) == 3, costly
    assert max(costly.values()) <= number + 50
    assert sum(costly.values()) <= 3 * number + 60
    # No file object by itself: that many are of one purpose is known.
    assert len([entry for entry in box.requests() if entry.path.startswith("/v1/files/")]) == 0


def test_a_text_is_taken_but_something_better_is_tried_first(box: Running, hand: Hand, holdall: Terminal) -> None:
    files = [hand.file(f"{n}.txt", b"the text of file %d" % n) for n in range(5)]
    hand.assistant("A", stores=[hand.store("s", files)])
    made(holdall("export", "-o", "1.tar.zst"))
    box.forget_requests()
    made(holdall("export", "-o", "2.tar.zst", "--concurrency", "1"))
    assert fidelities("2.tar.zst") == {"text": 5}
    assert content_requests(box) == 1  # the purpose is refused once
    with open_bundle("1.tar.zst") as one, open_bundle("2.tar.zst") as two:
        assert one.info.digests == two.info.digests
    assert holdall("verify", "2.tar.zst").code == 0
    box.behave(serve_assistants_files=True)
    made(holdall("export", "-o", "3.tar.zst"))
    assert fidelities("3.tar.zst") == {"original": 5}
    box.behave(serve_assistants_files=False)
    box.forget_requests()
    made(holdall("export", "-o", "4.tar.zst"))
    assert fidelities("4.tar.zst") == {"original": 5}
    assert content_requests(box) == 0


def test_a_text_that_was_cut_anew_is_fetched_and_goes_to_the_store_that_cut_it_so(
    box: Running, hand: Hand, holdall: Terminal
) -> None:
    def static(overlap: int) -> dict[str, object]:
        return {"type": "static", "static": {"max_chunk_size_tokens": 400, "chunk_overlap_tokens": overlap}}

    one, two = hand.file("1.txt", b"words of one"), hand.file("2.txt", b"words of two")
    store = hand.store("s", [one, two], {two: {"chunking_strategy": static(50)}})
    other = hand.store("other", [two])
    hand.assistant("A", stores=[store])
    hand.assistant("B", stores=[other])
    made(holdall("export", "-o", "1.tar.zst"))
    hand.delete(f"/vector_stores/{store}/files/{one}")
    hand.post(f"/vector_stores/{store}/files", file_id=one, chunking_strategy=static(100))
    box.forget_requests()
    made(holdall("export", "-o", "2.tar.zst", "--concurrency", "1"))
    texts = [
        entry.path
        for entry in box.requests()
        if entry.path.startswith("/v1/vector_stores/") and "content" in entry.path
    ]
    assert texts == [f"/v1/vector_stores/{store}/files/{one}/content"]
    hand.delete(f"/vector_stores/{store}/files/{two}")
    box.forget_requests()
    made(holdall("export", "-o", "3.tar.zst", "--concurrency", "1"))
    texts = [
        entry.path
        for entry in box.requests()
        if entry.path.startswith("/v1/vector_stores/") and "content" in entry.path
    ]
    assert texts == [f"/v1/vector_stores/{other}/files/{two}/content"]


def test_what_changed_under_its_id_is_fetched(box: Running, hand: Hand, holdall: Terminal, tmp_path: Path) -> None:
    import sqlite3

    file = hand.file("p.png", b"four", purpose="vision")
    hand.assistant("A", files=[file])
    made(holdall("export", "-o", "1.tar.zst"))
    database = sqlite3.connect(tmp_path / "sandbox" / "state.sqlite3")
    with database:
        database.execute("UPDATE files SET created_at = created_at + 1 WHERE id = ?", (file,))
    database.close()
    box.forget_requests()
    made(holdall("export", "-o", "2.tar.zst"))
    assert content_requests(box) == 1


def test_a_content_that_is_damaged_in_the_parent_is_fetched(box: Running, hand: Hand, holdall: Terminal) -> None:
    large, small = os.urandom(3 << 20), b"small"
    files = [hand.file("large.png", large, purpose="vision"), hand.file("small.png", small, purpose="vision")]
    hand.assistant("A", files=files)
    made(holdall("export", "-o", "1.tar.zst"))
    damaged = bytearray(Path("1.tar.zst").read_bytes())
    with open_bundle("1.tar.zst") as bundle:
        entry = bundle.content(files[0])
        assert entry is not None
        frames = bundle.frames.frames
        offset, length, _, _ = frames[frames.find(entry.offset + (1 << 20))]
    damaged[offset + length // 2] ^= 1
    Path("1.tar.zst").write_bytes(damaged)
    box.forget_requests()
    done = holdall("export", "-o", "2.tar.zst")
    made(done)
    assert content_requests(box) == 1
    assert "large.png" in done.err
    assert "fetching it instead" in done.err
    assert entries(Path("2.tar.zst"))[f"data/files/{files[0]}/large.png"] == large
    assert holdall("verify", "2.tar.zst").code == 0


def test_small_contents_that_are_damaged_are_fetched_into_their_places(
    box: Running, hand: Hand, holdall: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(1)
    files = [hand.file(f"{n}.png", chance.randbytes(90_000), purpose="vision") for n in range(40)]
    hand.assistant("A", files=files[:20])
    hand.assistant("B", files=files[20:])
    made(holdall("export", "-o", "1.tar.zst"))
    damaged = bytearray(Path("1.tar.zst").read_bytes())
    with open_bundle("1.tar.zst") as bundle:
        frames, whole = bundle.frames.frames, list(bundle.entries("data/files/"))
        shared = Counter(frames.find(entry.offset) for entry in whole).most_common()
        # One that is neither the first nor the last.
        number = next(number for number, _ in shared if 0 < number - min(shared)[0] < max(shared)[0] - min(shared)[0])
        offset, length, _, _ = frames[number]
        lost = {entry.id for entry in whole if frames.find(entry.offset) == number}
    assert len(lost) > 1
    damaged[offset + length // 2] ^= 1
    Path("1.tar.zst").write_bytes(damaged)
    box.forget_requests()
    threads: list[str] = []
    to_thread = asyncio.to_thread

    def counted(do: Callable[..., Any], *args: Any, **more: Any) -> Awaitable[Any]:
        threads.append(do.__qualname__)
        return to_thread(do, *args, **more)

    monkeypatch.setattr(asyncio, "to_thread", counted)
    done = holdall("export", "-o", "2.tar.zst")
    made(done)
    asked = Counter(entry.path.split("/")[3] for entry in box.requests() if entry.path.endswith("/content"))
    assert asked == Counter(lost)
    assert "fetching it instead" in done.err
    with open_bundle("2.tar.zst") as bundle:
        assert list(bundle.entries("data/files/")) == whole
    assert holdall("verify", "2.tar.zst").code == 0
    # Read in one go; then added: those before the damage and those behind, which the fetched ones part.
    assert threads.count("CopyRun._read") == 1
    assert threads.count("CopyRun._add") == 2
    assert threads.count("ContentSinks.add") == len(lost)


def test_a_text_that_is_damaged_is_fetched_at_once_and_missed_for_its_reason(
    box: Running, hand: Hand, holdall: Terminal
) -> None:
    files = [hand.file(f"{n}.txt", b"the text of file %d" % n) for n in range(3)]
    hand.assistant("A", stores=[hand.store("s", files)])
    made(holdall("export", "-o", "1.tar.zst"))
    damaged = bytearray(Path("1.tar.zst").read_bytes())
    with open_bundle("1.tar.zst") as bundle:
        frames = bundle.frames.frames
        (entry, *_) = bundle.entries("data/text/")
        offset, length, _, _ = frames[frames.find(entry.offset)]
    damaged[offset + length // 2] ^= 1
    Path("1.tar.zst").write_bytes(damaged)
    made(holdall("export", "-o", "2.tar.zst"))
    assert fidelities("2.tar.zst") == {"text": 3}
    box.fault(Fail(status=403), path=f"/vector_stores/*/files/{files[1]}/content", times=9)
    assert holdall("export", "-o", "3.tar.zst", "--parent", "1.tar.zst").code == 4
    assert fidelities("3.tar.zst") == {"text": 2, "unavailable": 1}


def test_the_newest_whole_bundle_of_the_same_source_is_the_parent(
    box: Running, hand: Hand, holdall: Terminal, tmp_path: Path
) -> None:
    hand.assistant("A", files=[hand.file("a.png", b"a", purpose="vision")])
    with Hand(box.url, "sk-another-0002") as other:
        other.assistant("B")
        holdall("export", "-o", "other.tar.zst", OPENAI_SRC_API_KEY="sk-another-0002")
    (tmp_path / "junk.tar.zst").write_bytes(b"not a bundle")
    one = holdall("export", "-o", "1.tar.zst")
    assert "Reusing unchanged files" not in one.err
    assert "Reusing unchanged files from 1.tar.zst" in holdall("export", "-o", "2.tar.zst").err
    with open("2.tar.zst", "r+b") as file:  # cut short, it is whole no more
        file.truncate(file.seek(0, 2) - 1)
    assert "Reusing unchanged files from 1.tar.zst" in holdall("export", "-o", "3.tar.zst").err
    assert "Reusing unchanged files" not in holdall("export", "-o", "4.tar.zst", "--parent", "none").err
    (tmp_path / "elsewhere").mkdir()
    assert "Reusing unchanged files" not in holdall("export", "-o", "elsewhere/1.tar.zst").err
    assert (
        "Reusing unchanged files from 1.tar.zst"
        in holdall("export", "-o", "elsewhere/2.tar.zst", "--parent", "1.tar.zst").err
    )


@pytest.mark.parametrize(("name", "code"), [("none-such.tar.zst", 15), ("junk.tar.zst", 12)])
def test_a_parent_that_is_named_has_to_be_a_bundle(
    hand: Hand, holdall: Terminal, tmp_path: Path, name: str, code: int
) -> None:
    hand.assistant("A")
    (tmp_path / "junk.tar.zst").write_bytes(b"not a bundle")
    assert holdall("export", "-o", "b.tar.zst", "--parent", name).code == code
    assert not Path("b.tar.zst").exists()


def test_losses_that_the_parent_had_are_accepted_only_on_request(box: Running, hand: Hand, holdall: Terminal) -> None:
    gone, lost = hand.file("gone.txt", b"gone"), hand.store("lost")
    hand.assistant("A", files=[gone])
    hand.assistant("B", stores=[lost])
    hand.delete(f"/files/{gone}")
    hand.delete(f"/vector_stores/{lost}")
    assert holdall("export", "-o", "1.tar.zst").code == 4
    assert holdall("export", "-o", "2.tar.zst").code == 4  # the same once more is not better
    done = holdall("export", "-o", "3.tar.zst", "--accept-known-losses", "--json")
    assert done.code == 0, done.err
    assert "INCOMPLETE: 1 file missing, 1 vector store missing (accepted)" in done.err
    assert (done.document["ok"], done.document["result"]["complete"]) == (True, False)
    assert done.document["result"]["verdict"]["missing"] == {"files": 1, "stores": 1}
    assert len(done.document["losses"]) == 3
    assert holdall("export", "-o", "4.tar.zst", "--accept-known-losses", "--parent", "none").code == 4
    stricter = ("--accept-known-losses", "--min-fidelity", "original")
    assert holdall("export", "-o", "5.tar.zst", *stricter).code == 4
    assert holdall("export", "-o", "6.tar.zst", *stricter).code == 0  # the parent was asked for the same
    refused = hand.file("tool.csv", b"a,b\n")
    hand.assistant("C", files=[refused])
    done = holdall("export", "-o", "7.tar.zst", "--accept-known-losses")
    assert done.code == 4
    assert "INCOMPLETE: 2 files missing, 1 vector store missing" in done.err
    assert holdall("export", "-o", "8.tar.zst", "--accept-known-losses").code == 0


# -- skipped --------------------------------------------------------------------------------------------


def test_where_nothing_has_changed_no_bundle_is_written(box: Running, hand: Hand, holdall: Terminal) -> None:
    text, picture = hand.file("a.txt", b"the text"), hand.file("p.png", b"picture", purpose="vision")
    store = hand.store("s", [text])
    assistant = hand.assistant("A", stores=[store], files=[picture])
    first = made(holdall("export", "--skip-if-unchanged"))
    before = sorted(Path("archives").iterdir())
    box.forget_requests()
    done = holdall("export", "--skip-if-unchanged", "--json")
    assert done.code == 0, done.err
    assert sorted(Path("archives").iterdir()) == before
    assert "Nothing has changed since 20" in done.err
    assert done.document["result"]["bundle"] == str(first)
    with open_bundle(first) as bundle:
        assert done.document["result"]["unchanged_since"] == bundle.info.ended
        assert done.document["result"]["counts"] == bundle.info.counts
    assert done.document["result"]["taken"] == 2
    assert content_requests(box) == 1  # whether the text can be bettered
    assert made(holdall("export", "--skip-if-unchanged")) == first

    hand.post(f"/assistants/{assistant}", instructions="other")
    assert made(holdall("export", "--skip-if-unchanged", "-o", "2.tar.zst", "--parent", str(first))).exists()
    assert holdall("verify", "2.tar.zst").code == 0
    box.behave(serve_assistants_files=True)
    assert made(holdall("export", "--skip-if-unchanged", "-o", "3.tar.zst", "--parent", "2.tar.zst")).exists()
    assert fidelities("3.tar.zst") == {"original": 2}
    other = holdall("export", "--skip-if-unchanged", "-o", "4.tar.zst", "--parent", "3.tar.zst", "--no-file-search")
    assert made(other) == Path("4.tar.zst")


def test_a_file_that_went_away_is_a_change(hand: Hand, holdall: Terminal) -> None:
    files = [hand.file(f"{n}.png", b"picture", purpose="vision") for n in range(2)]
    store = hand.store("s", [])
    assistant = hand.assistant("A", stores=[store], files=files)
    made(holdall("export", "-o", "1.tar.zst"))
    hand.post(f"/assistants/{assistant}", tool_resources={"code_interpreter": {"file_ids": files[:1]}})
    assert made(holdall("export", "-o", "2.tar.zst", "--skip-if-unchanged")) == Path("2.tar.zst")
    assert fidelities("2.tar.zst") == {"original": 1}


# -- resumed --------------------------------------------------------------------------------------------


@pytest.fixture
def stopped(box: Running, hand: Hand, holdall: Terminal) -> list[str]:
    """An export of four files that stopped at the third; the ids of the files."""
    files = [hand.file(f"{n}.png", bytes([n]) * 100, purpose="vision") for n in range(4)]
    hand.assistant("A", files=files)
    box.fault(Fail(status=401), path=f"/files/{files[2]}/content", times=1)
    done = holdall("export", "-o", "b.tar.zst", "--concurrency", "1")
    assert done.code not in (0, 3)
    assert partial_folder(Path("b.tar.zst")).is_dir()
    box.clear_faults()
    box.forget_requests()
    return files


def test_the_same_command_goes_on(box: Running, holdall: Terminal, stopped: list[str]) -> None:
    done = holdall("export", "-o", "b.tar.zst")
    made(done)
    assert "Resuming b.tar.zst.partial" in done.err
    assert content_requests(box) == 2
    assert fidelities("b.tar.zst") == {"original": 4}
    assert holdall("verify", "b.tar.zst").code == 0


def test_definitions_that_changed_meanwhile_make_a_new_stream_with_the_old_contents(
    box: Running, hand: Hand, holdall: Terminal, stopped: list[str]
) -> None:
    assistant = hand.everything("/assistants")[0]["id"]
    hand.post(f"/assistants/{assistant}", name="Renamed")
    hand.assistant("New", files=stopped[:1])
    box.forget_requests()
    made(holdall("export", "-o", "b.tar.zst"))
    assert content_requests(box) == 2
    found = entries(Path("b.tar.zst"))
    assert json.loads(found[f"data/assistants/{assistant}.json"])["name"] == "Renamed"
    assert fidelities("b.tar.zst") == {"original": 4}
    assert holdall("verify", "b.tar.zst").code == 0


def age(bundle: Path, days: float) -> None:
    """Make an unfinished bundle older."""
    journal = partial_folder(bundle) / "journal.jsonl"
    first, _, rest = journal.read_bytes().partition(b"\n")
    begin = json.loads(first)
    begin["started"] = int(time.time() - days * 86400)
    # The cuts don't count bytes of the journal, so its first line may change its length.
    journal.write_bytes(json.dumps(begin, separators=(",", ":")).encode() + b"\n" + rest)


def test_an_old_partial_waits_for_a_word(box: Running, holdall: Terminal, stopped: list[str]) -> None:
    age(Path("b.tar.zst"), 6.9)
    box.fault(Fail(status=401), path=f"/files/{stopped[2]}/content")
    assert "Resuming" in holdall("export", "-o", "b.tar.zst", "--concurrency", "1").err
    age(Path("b.tar.zst"), 7.1)
    box.clear_faults()
    box.forget_requests()
    done = holdall("export", "-o", "b.tar.zst")
    assert done.code == 13
    assert "started on 20" in done.err
    assert "--resume" in done.err
    assert "--no-resume" in done.err
    assert content_requests(box) == 0
    made(holdall("export", "-o", "b.tar.zst", "--resume"))
    assert content_requests(box) == 2


def test_a_partial_can_be_thrown_away(box: Running, holdall: Terminal, stopped: list[str]) -> None:
    done = holdall("export", "-o", "b.tar.zst", "--no-resume")
    made(done)
    assert "going on" not in done.err
    assert content_requests(box) == 4


def test_the_default_name_finds_its_partial(box: Running, hand: Hand, holdall: Terminal) -> None:
    files = [hand.file(f"{n}.png", bytes([n]) * 100, purpose="vision") for n in range(4)]
    hand.assistant("A", files=files)
    box.fault(Fail(status=401), path=f"/files/{files[2]}/content", times=1)
    holdall("export", "--concurrency", "1")
    (partial,) = Path("archives").glob("*.partial")
    box.forget_requests()
    made(holdall("export", "--name", "A"))  # another selection is another bundle
    assert content_requests(box) == 4
    box.forget_requests()
    found = made(holdall("export", "--parent", "none"))
    assert found == partial.with_suffix("")
    assert content_requests(box) == 2


def test_another_process_at_it_is_refused(box: Running, holdall: Terminal, stopped: list[str]) -> None:
    lock = FileLock(partial_folder(Path("b.tar.zst")) / "lock", busy=BundleInUse("busy"))
    try:
        for more in ([], ["--no-resume"]):
            done = holdall("export", "-o", "b.tar.zst", *more)
            assert done.code == 16
            assert "another process is writing it" in done.err
    finally:
        lock.release()
    made(holdall("export", "-o", "b.tar.zst"))


def test_ctrl_c_says_how_to_go_on(box: Running, hand: Hand, holdall: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    import signal

    files = [hand.file(f"{n}.png", bytes([n]) * 100, purpose="vision") for n in range(4)]
    hand.assistant("A", files=files)
    real, opened = BundleWriter.open_content, []

    def open_content(self: BundleWriter, size_hint: int | None = None, *, text: bool = False) -> Sink:
        opened.append(size_hint)
        if len(opened) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, size_hint, text=text)

    with monkeypatch.context() as patch:
        patch.setattr(BundleWriter, "open_content", open_content)
        done = holdall("export", "-o", "b.tar.zst", "--concurrency", "1")
    assert done.code == 130
    assert "b.tar.zst.partial" in done.err
    assert "hint: run the same command again to resume" in done.err
    box.forget_requests()
    made(holdall("export", "-o", "b.tar.zst"))
    # By file: a request that was under way at the Ctrl-C may be noted only now.
    asked = {entry.path for entry in box.requests() if entry.path.endswith("/content")}
    assert asked == {f"/v1/files/{file}/content" for file in files[2:]}


def test_a_full_disk_is_said_and_gone_on_from(
    box: Running, hand: Hand, holdall: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [hand.file(f"{n}.png", bytes([n]) * 100, purpose="vision") for n in range(3)]
    hand.assistant("A", files=files)
    real = BundleWriter.add_content

    def add_content(self: BundleWriter, sink: Sink, line: LedgerLine, **more: object) -> object:
        if line.id == files[1]:
            raise CannotWrite("can't write b.tar.zst: No space left on device")
        return real(self, sink, line, **more)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(BundleWriter, "add_content", add_content)
        assert holdall("export", "-o", "b.tar.zst", "--concurrency", "1").code == 15
    box.forget_requests()
    made(holdall("export", "-o", "b.tar.zst"))
    assert content_requests(box) == 2


def test_requests_are_counted_by_kind(hand: Hand, holdall: Terminal) -> None:
    hand.assistant("A", files=[hand.file("p.png", b"p", purpose="vision")])
    done = holdall("export", "-o", "b.tar.zst", "--json", "-v")
    requests = done.document["result"]["requests"]
    assert requests["GET /files/*/content"] == 1
    assert requests["GET /files/*"] == 1
    assert f"{sum(requests.values())} requests: " in done.err
