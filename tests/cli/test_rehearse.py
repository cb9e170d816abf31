"""``holdall verify --rehearse``: a restore test with no account, that leaves nothing behind."""

from __future__ import annotations

import errno
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdall.sandbox.server import Running
from holdall.sandbox.service import extractor, serve_assistants, stores
from tests.cli.terminal import Terminal
from tests.project import Hand
from tests.sweep import sweep
from tests.waiting import Child, naming, until

SOURCE = "sk-source-0001"
HOSTILE = {
    "OPENAI_DST_API_KEY": "sk-never-used",
    "OPENAI_DST_BASE_URL": "http://127.0.0.1:9/v1",
    "OPENAI_API_KEY": "sk-never-used",
    "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
    "HTTP_PROXY": "http://127.0.0.1:9",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "ALL_PROXY": "http://127.0.0.1:9",
    "DRY_RUN": "true",
    "CLONE_NAME_PREFIX": "never ",
}


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def holdall(box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, temporary: Path) -> Terminal:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    box.behave(serve_assistants_files=True, extra_models=("our-own-model",))
    return Terminal(monkeypatch, {})


@pytest.fixture
def source(box: Running) -> Iterator[Hand]:
    with Hand(box.url, SOURCE) as hand:
        store = hand.store("Shared", [hand.file("one.md", b"# One\n"), hand.file("two.txt", b"two two\n")])
        hand.assistant("Support", stores=[store], model="our-own-model")
        hand.assistant(None, files=[hand.file("sales.csv", b"a,b\n")])
        yield hand


@pytest.fixture
def bundle(holdall: Terminal, source: Hand, box: Running) -> str:
    done = holdall("export", "-o", "b.tar.zst", OPENAI_SRC_API_KEY=SOURCE, OPENAI_SRC_BASE_URL=box.url)
    assert done.code == 0, done.err
    box.forget_requests()
    return "b.tar.zst"


def test_one_line_that_says_it_can_be_restored_and_nothing_left_behind(
    holdall: Terminal, bundle: str, box: Running, temporary: Path
) -> None:
    Path(".env").write_text("".join(f"{name}={value}\n" for name, value in HOSTILE.items()))
    done = holdall("verify", bundle, "--rehearse", "--search", **HOSTILE)
    assert done.code == 0, done.err
    assert done.out == (
        "COMPLETE (b.tar.zst restored and compared: 2 assistants, 1 vector store, 2 memberships, 2 texts, 2 searches)\n"
    )
    assert ".env" not in done.err
    assert box.requests() == []
    assert list(temporary.iterdir()) == []
    assert sorted(path.name for path in Path().iterdir()) == [".env", "b.tar.zst"]


def test_what_does_not_come_back_is_named_and_ends_with_3(
    holdall: Terminal, bundle: str, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = serve_assistants.shown
    monkeypatch.setattr(serve_assistants, "shown", lambda *made: {**shown(*made), "instructions": "Other ones."})
    done = holdall("verify", bundle, "--rehearse", "--json")
    assert done.code == 3
    found = done.document["result"]["rehearsal"]
    assert {one["field"] for one in found["differences"]} == {"instructions"}
    assert list(temporary.iterdir()) == []


def test_a_damaged_bundle_is_not_rehearsed(holdall: Terminal, bundle: str) -> None:
    data = bytearray(Path(bundle).read_bytes())
    data[len(data) // 3] ^= 1
    Path(bundle).write_bytes(data)
    done = holdall("verify", bundle, "--rehearse", "--json")
    assert done.code == 10
    assert done.document["result"]["rehearsal"] is None


def test_flags_that_do_not_go_together(holdall: Terminal, bundle: str) -> None:
    assert holdall("verify", bundle, "--search").code == 2
    assert holdall("verify", bundle, "--rehearse", "--against", "dst").code == 2


# A rehearsal that stops in the middle, so that it can't come to its end before it is ended.
IN_THE_MIDDLE = """
import sys
from holdall.cli.main import main
from holdall.importer.apply.execute_plan import PlanExecution

async def middle(work):
    print("in the middle", flush=True)
    await work._context.pace._pause(3600)

PlanExecution.run = middle
sys.argv[1:] = ["verify", sys.argv[1], "--rehearse"]
main()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without asking them")
@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("can't start new thread"), OSError(errno.ENOMEM, "Cannot allocate memory")]
)
def test_a_machine_that_is_too_small_for_the_sandbox_is_told(
    holdall: Terminal, bundle: str, temporary: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fails(*args: object) -> None:
        raise error

    monkeypatch.setattr(stores, "insert", fails)
    done = holdall("verify", bundle, "--rehearse", "--json")
    assert done.code == 15, done.err
    assert done.document["error"]["type"] == "OutOfResources"
    assert "Traceback" not in done.err
    assert not list(temporary.iterdir())


def test_a_reader_of_documents_that_does_not_start_is_told(
    holdall: Terminal, source: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    source.assistant("Reader", stores=[source.store("Pages", [source.file("page.html", b"<p>some words</p>")])])
    done = holdall("export", "-o", "b.tar.zst", OPENAI_SRC_BASE_URL=source.url, OPENAI_SRC_API_KEY=SOURCE)
    assert done.code == 0, done.err
    monkeypatch.setattr(extractor, "_READY", b"another word\n")
    done = holdall("verify", "b.tar.zst", "--rehearse")
    assert done.code == 15, done.err
    assert "the process that reads documents does not start" in done.err


def test_one_that_is_ended_leaves_nothing_behind(holdall: Terminal, bundle: str, temporary: Path) -> None:
    with Child([sys.executable, "-c", IN_THE_MIDDLE, bundle], env={**os.environ, "TMPDIR": str(temporary)}) as child:
        child.says("in the middle")
        assert list(temporary.iterdir()) != []
        child.process.send_signal(signal.SIGTERM)
        assert child.end().code == 130
    assert list(temporary.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="there are no process groups to kill")
@sweep("whole_group", [False, True])
def test_one_that_is_killed_leaves_nothing_behind(
    holdall: Terminal, source: Hand, bundle: str, temporary: Path, whole_group: bool
) -> None:
    command = [sys.executable, "-c", IN_THE_MIDDLE, bundle]
    if whole_group:
        command[2] = "import os; os.setpgid(0, 0)" + IN_THE_MIDDLE
    with Child(command, env={**os.environ, "TMPDIR": str(temporary)}) as child:
        child.says("in the middle")
        assert list(temporary.iterdir()) != []
        if whole_group:
            os.killpg(child.process.pid, signal.SIGKILL)
        else:
            child.process.kill()
        until(lambda: list(temporary.iterdir()) == [])
        until(lambda: not naming(str(temporary)))
