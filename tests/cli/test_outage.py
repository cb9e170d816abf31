"""A server that is down, from the start or for a while: what docs/retries.md says, by a clock that only waits move."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from holdall.remote import wire
from holdall.remote.limits import FIRST_PATIENCE, PATIENCE, Limits
from holdall.sandbox.behaviour import Fail, RateLimit, Reset
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand
from tests.sweep import sweep

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    defaults = Limits.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "sleep", made.sleep)
    monkeypatch.setitem(defaults, "clock", lambda: made.now)
    monkeypatch.setitem(defaults, "uniform", lambda low, high: high)
    return made


@pytest.fixture
def holdall(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Terminal:
    monkeypatch.chdir(tmp_path)
    return Terminal(monkeypatch, {"OPENAI_SRC_API_KEY": SOURCE, "OPENAI_DST_API_KEY": DESTINATION})


@pytest.fixture
def nobody() -> str:
    """An address at which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}/v1"


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "export": lambda bundle: ["export", "--env-file", "none"],
    "export --unused": lambda bundle: ["export", "--unused", "--no-assistants", "--env-file", "none"],
    "plan": lambda bundle: ["plan", str(bundle), "--env-file", "none"],
    "import": lambda bundle: ["import", str(bundle), "--env-file", "none"],
    "import --as responses": lambda bundle: ["import", str(bundle), "--as", "responses", "--env-file", "none"],
    "clone": lambda bundle: ["clone", "--env-file", "none"],
    "verify": lambda bundle: ["verify", str(bundle), "--against", "dst", "--env-file", "none"],
    "doctor": lambda bundle: ["doctor", "--env-file", "none"],
}


@pytest.mark.parametrize("command", list(COMMANDS))
def test_a_server_that_is_down_is_told_of_at_once(
    holdall: Terminal, clock: Clock, bundle: Path, nobody: str, command: str
) -> None:
    done = holdall(*COMMANDS[command](bundle), OPENAI_SRC_BASE_URL=nobody, OPENAI_DST_BASE_URL=nobody)
    assert done.code == 22, done.err
    assert ": connection refused" in done.out + done.err
    assert "is the server running" in done.out + done.err
    assert 0 < clock.now <= FIRST_PATIENCE + 0.01
    assert not list(Path().rglob("*.tar.zst*"))


@pytest.fixture
def project(box: Running) -> str:
    box.behave(serve_assistants_files=True)
    with Hand(box.url, SOURCE) as hand:
        store = hand.store("books", [hand.file(f"{n}.txt", f"text {n}".encode()) for n in range(3)])
        hand.assistant("Reader", stores=[store])
    return box.url


@sweep("down", [Fail(status=503), Fail(status=502, html=True), Reset()], ids=lambda f: type(f).__name__)
def test_an_outage_of_minutes_costs_an_export_its_time(
    holdall: Terminal, clock: Clock, box: Running, project: str, down: Fail | Reset
) -> None:
    # Nine tries and the waits between them.
    box.fault(down, "GET", "/vector_stores/*", times=9)
    done = holdall("export", "-o", "b.tar.zst", "--env-file", "none", OPENAI_SRC_BASE_URL=project)
    assert done.code == 0, done.err
    assert clock.now >= 10
    assert "waiting 8 s" in done.err


def test_waits_are_not_told_of_by_the_hundreds(holdall: Terminal, clock: Clock, box: Running, project: str) -> None:
    box.fault(RateLimit(retry_after=20), "GET", "/files/*/content", times=9)
    done = holdall("export", "-o", "b.tar.zst", "--env-file", "none", OPENAI_SRC_BASE_URL=project)
    assert done.code == 0, done.err
    told = [line for line in done.err.splitlines() if line.startswith("waiting ")]
    said = "waiting 20 s: rate limit of the source"
    assert told == [said, f"{said} (2nd time)", f"{said} (4th time)", f"{said} (8th time)"]


def test_after_a_longer_one_the_same_command_goes_on(
    holdall: Terminal, clock: Clock, box: Running, project: str
) -> None:
    box.fault(Fail(status=503), "GET", "/vector_stores/*/files", times=1000)
    export = ["export", "-o", "b.tar.zst", "--env-file", "none"]
    done = holdall(*export, OPENAI_SRC_BASE_URL=project)
    assert done.code == 26
    assert clock.now + 0.01 >= PATIENCE
    assert clock.now < 2 * PATIENCE
    box.clear_faults()
    again = holdall(*export, OPENAI_SRC_BASE_URL=project)
    assert again.code == 0
    assert "Resuming" in again.err


def test_an_outage_of_minutes_costs_an_import_its_time(
    holdall: Terminal, clock: Clock, box: Running, project: str
) -> None:
    exported = holdall("export", "-o", "b.tar.zst", "--env-file", "none", OPENAI_SRC_BASE_URL=project)
    assert exported.code == 0
    box.fault(Fail(status=503), "GET", "/vector_stores/*", times=9)
    done = holdall("import", "b.tar.zst", "--env-file", "none", "--settle", "0", OPENAI_DST_BASE_URL=project)
    assert done.code == 0, done.out + done.err
    assert clock.now >= 10


def test_silence_counts_as_an_outage_after_two_minutes_and_ten_of_an_upload() -> None:
    assert wire.SILENCE == 120
    assert wire.SILENCE * wire._THINKING == 600


def test_the_page_says_what_the_numbers_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "retries.md").read_text(encoding="utf-8")
    assert "repeated for five minutes" in page
    assert PATIENCE == 300
    assert "for ten seconds only" in page
    assert FIRST_PATIENCE == 10
    assert "15 seconds each" in page
    assert wire._CONNECTING == 15
