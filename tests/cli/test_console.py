"""What is drawn on a terminal, and what is printed where there is none."""

from __future__ import annotations

import io

import pytest

from holdall.cli.console import Console


class Screen(io.StringIO):
    """A terminal that keeps what was written to it since it was last asked."""

    def isatty(self) -> bool:
        return True

    def take(self) -> str:
        text = self.getvalue()
        self.seek(0)
        self.truncate()
        return text


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("TERM", "xterm")
    return Screen()


def test_the_bars_of_an_engine_come_back_after_its_command_has_printed(screen: Screen) -> None:
    console = Console(stdout=io.StringIO(), stderr=screen)
    progress = console.progress()
    progress.stage("looking")
    assert screen.take().strip() == "looking"
    console.close_progress()
    console.say("to create: 1 file")
    progress.stage("importing")
    progress.expect(files=2, bytes=10)
    progress.advance(files=1, bytes=5)
    drawn = screen.take()
    assert "importing" in drawn
    assert "| 0/2" in drawn
    assert "bytes" in drawn
    console.say("a note")
    assert "importing" in screen.take().partition("a note")[2]
    console.close_progress()
    screen.take()
    console.say("done")
    assert screen.take() == "done\n"


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    progress = Console(stdout=io.StringIO(), stderr=screen).progress()
    progress.stage("importing")
    progress.expect(files=2)
    progress.advance(files=1)
    assert screen.take() == "importing\n"
