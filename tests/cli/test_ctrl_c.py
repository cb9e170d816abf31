"""The screen after Ctrl-C: no bar left over, no traceback, and a last line that says what was kept and how to go on."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdall.sandbox.behaviour import Behaviour, Slow
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand

if sys.platform == "win32":
    pytest.skip("there are no pseudo-terminals", allow_module_level=True)

from tests.window import CTRL_C, Window

SOURCE, TARGET = "sk-source-0001", "sk-target-0001"
ENV_FILE = ("--env-file", "none")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path / "sandbox", behaviour=Behaviour(serve_assistants_files=True)) as running:
        yield running


@pytest.fixture
def terminal(box: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A project of one assistant with six files, at the source of the sandbox."""
    monkeypatch.chdir(tmp_path)
    with Hand(box.url, SOURCE) as hand:
        files = [hand.file(f"{n}.md", f"text {n}".encode()) for n in range(6)]
        hand.assistant("A", stores=[hand.store("A", files)])
    return Terminal(monkeypatch, environ(box))


def environ(box: Running) -> dict[str, str]:
    return {
        "OPENAI_SRC_API_KEY": SOURCE,
        "OPENAI_SRC_BASE_URL": box.url,
        "OPENAI_DST_API_KEY": TARGET,
        "OPENAI_DST_BASE_URL": box.url,
    }


@pytest.fixture
def opened(box: Running, tmp_path: Path) -> Iterator[Callable[..., Window]]:
    made: list[Window] = []

    def opened(*arguments: str, columns: int = 80) -> Window:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "HOLDALL_"))}
        made.append(Window(*arguments, columns=columns, cwd=tmp_path, env={**kept, **environ(box)}))
        return made[-1]

    yield opened
    box.clear_faults()
    for window in made:
        window.__exit__()


def ended(window: Window) -> list[str]:
    """The lines of a command that Ctrl-C has ended, but for the look of its screen, which is checked."""
    assert window.end() == 130, window.lines
    lines = window.lines
    assert window.at_fresh_line, lines
    # Behind a question it is the answer.
    said = "\n".join(line for line in lines if "[y/N]" not in line)
    for mark in ("Traceback", "^C", "█", "%|", "KeyboardInterrupt", "Exception ignored"):
        assert mark not in said
    # A bar leaves nothing behind, wherever it stood.
    assert not any(line.startswith(("Downloading", "Importing ", "Undoing ", "Comparing")) for line in lines), lines
    return lines


def says(lines: list[str], words: str) -> bool:
    """Whether the words are on the lines, wherever a narrow terminal breaks them."""
    return words.replace(" ", "") in "".join(lines).replace(" ", "")


def bar(window: Window, title: str) -> str:
    """The one bar on the screen. It is waited for: what is said above a bar comes before the bar is drawn again."""

    def drawn() -> list[str]:
        return [line for line in window.lines if line.startswith(title)]

    (line,) = window.until(drawn)
    return line


@pytest.mark.parametrize("columns", [80, pytest.param(40, marks=pytest.mark.thorough)])
def test_export(terminal: Terminal, box: Running, opened: Callable[..., Window], columns: int) -> None:
    box.fault(Slow(seconds=3600), "GET", "/files/*/content", skip=3, times=100)
    window = opened("export", "-o", "b.tar.zst", *ENV_FILE, columns=columns)
    window.shows("3/6 files")
    assert len(bar(window, "Downloading")) < columns
    window.press(CTRL_C)
    assert says(ended(window)[-2:], "hint: run the same command again to resume")


@pytest.mark.parametrize(
    ("columns", "twice"), [(80, False), (80, True), pytest.param(40, True, marks=pytest.mark.thorough)]
)
def test_import_once_and_twice(
    terminal: Terminal, box: Running, opened: Callable[..., Window], columns: int, twice: bool
) -> None:
    assert terminal("export", "-o", "b.tar.zst", *ENV_FILE).code == 0
    box.fault(Slow(seconds=3600), "POST", "/files", skip=3, times=100)
    window = opened("import", "b.tar.zst", *ENV_FILE, columns=columns)
    window.shows("3/6 files")
    window.press(CTRL_C)
    window.shows("Ctrl-C again")
    assert bar(window, "Importing ")
    if twice:
        window.press(CTRL_C)
    else:
        box.clear_faults()
    assert says(ended(window)[-2:], "hint: run the same command again to resume")


def test_verify(terminal: Terminal, box: Running, opened: Callable[..., Window]) -> None:
    assert terminal("export", "-o", "b.tar.zst", *ENV_FILE).code == 0
    assert terminal("import", "b.tar.zst", *ENV_FILE).code == 0
    box.fault(Slow(seconds=3600), "GET", "/vector_stores/*/files/*/content", times=100)
    window = opened("verify", "b.tar.zst", "--against", "dst", *ENV_FILE)
    window.shows("0/6 files")
    window.press(CTRL_C)
    assert ended(window)[-2:] == ["Error: interrupted before the end", "hint: run the same command again"]


def test_undo_while_it_asks_and_while_it_works(terminal: Terminal, box: Running, opened: Callable[..., Window]) -> None:
    assert terminal("export", "-o", "b.tar.zst", *ENV_FILE).code == 0
    assert terminal("import", "b.tar.zst", *ENV_FILE).code == 0
    window = opened("undo", "latest", *ENV_FILE)
    window.shows("[y/N]:")
    window.press(CTRL_C)
    assert ended(window)[-1] == "Error: interrupted"
    box.fault(Slow(seconds=3600), "DELETE", "/files/*", skip=2, times=100)
    window = opened("undo", "latest", *ENV_FILE)
    window.shows("[y/N]:")
    window.press("y\n")
    window.shows(" changes")
    window.press(CTRL_C)
    lines = ended(window)
    assert lines[-2].startswith("Error: interrupted: the undo of ")
    assert lines[-1] == "hint: run the same command again to resume"


def test_sandbox(tmp_path: Path, opened: Callable[..., Window]) -> None:
    window = opened("sandbox", "--port", "0", "--data", "data")
    window.shows("Ctrl-C stops it.")
    window.press(CTRL_C)
    assert window.end() == 0
    assert window.lines[-2:] == ["Ctrl-C stops it.", "The sandbox has stopped."]
    assert window.at_fresh_line


def test_demo(tmp_path: Path, opened: Callable[..., Window]) -> None:
    window = opened("demo")
    window.shows("== 1.")
    window.press(CTRL_C)
    assert ended(window)[-2:] == [
        "Error: interrupted: files created so far are in holdall-demo",
        "hint: holdall demo starts over in a new folder",
    ]
