"""What is drawn on a terminal, and what is printed where there is none."""

from __future__ import annotations

import io
import os
from collections.abc import Callable

import pyte
import pytest

from holdall.cli.console import Console
from holdall.progress import Progress

HOST = "api.openai.com"


class Screen(io.StringIO):
    """A terminal of so many columns, and what can be seen on it."""

    def __init__(self, columns: int = 80, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding
        self.columns = columns
        self._seen = pyte.Screen(columns, 24)
        self._stream = pyte.Stream(self._seen)
        self.cursor = self._seen.cursor

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        # A terminal takes a line end for both, as its driver does.
        self._stream.feed(text.replace("\n", "\r\n"))
        return len(text)

    @property
    def lines(self) -> list[str]:
        """The lines with something on them, from the first one on."""
        lines = [line.rstrip() for line in self._seen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines


class Clock:
    """A clock that each look moves on."""

    def __init__(self, step: float) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


Open = Callable[..., tuple[Screen, Console, Progress]]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Open:
    """Opens a terminal of so many columns, on which each change is drawn."""
    monkeypatch.setenv("TERM", "xterm")

    def opened(columns: int = 80, *, step: float = 1.0, encoding: str = "utf-8") -> tuple[Screen, Console, Progress]:
        screen = Screen(columns, encoding)
        size = os.terminal_size((columns, 24))
        monkeypatch.setattr("holdall.cli.progress_bar.os.get_terminal_size", lambda number: size)
        monkeypatch.setattr(screen, "fileno", lambda: 2)
        console = Console(stdout=io.StringIO(), stderr=screen, clock=Clock(step))
        return screen, console, console.progress()

    return opened


def test_the_bar_of_an_engine_comes_back_after_its_command_has_printed(terminal: Open) -> None:
    screen, console, progress = terminal()
    progress.stage("Reading what api.openai.com has")
    assert screen.lines == ["Reading what api.openai.com has"]
    console.close_progress()
    console.say("to create: 1 file")
    assert screen.lines == ["to create: 1 file"]
    progress.stage("Importing b.tar.zst")
    progress.expect(files=2, bytes=10, last=True)
    progress.advance(files=1, bytes=5)
    assert screen.lines[1].startswith("Importing b.tar.zst  ")
    assert screen.lines[1].endswith("  50%  1/2 files  5/10 B")
    console.say("a note")
    assert screen.lines[1] == "a note"
    assert screen.lines[2].startswith("Importing b.tar.zst  ")
    console.close_progress()
    progress.advance(files=1)  # what comes late draws nothing
    console.say("done")
    assert screen.lines == ["to create: 1 file", "a note", "done"]


@pytest.mark.parametrize(
    ("columns", "line"),
    [
        (100, "Downloading files from api.openai.com  ██████▊                      25%  250/1000 files  1.2/5.0 GB"),
        (80, "Downloading files from api.openai.com  25%  250/1000 files  1.2/5.0 GB"),
        (60, "Downloading files from ap…  25%  250/1000 files  1.2/5.0 GB"),
        (40, "Downloading files…  25%  250/1000 files"),
        (20, "Downloading f…  25%"),
    ],
)
def test_the_bar_is_one_line_at_any_width(terminal: Open, columns: int, line: str) -> None:
    screen, console, progress = terminal(columns, step=0.2)
    progress.stage(f"Downloading files from {HOST}")
    progress.expect(files=1000, bytes=5_000_000_000, last=True)
    progress.advance(files=250, bytes=1_250_000_000)
    assert screen.lines == [line]
    assert screen.cursor.x == 0  # where ^C is drawn over
    console.close_progress()
    assert screen.lines == []


def test_a_title_is_as_wide_as_it_is_drawn_and_holds_no_control_character(terminal: Open) -> None:
    screen, console, progress = terminal(40)
    progress.stage("Verifying 契約書契約書契約書契約書契約書.tar.zst")
    assert len(screen.lines) == 1
    assert screen.lines[0].startswith("Verifying 契")
    progress.stage("Verifying \x1b[2J\u202ex.tar.zst")
    assert screen.lines == ["Verifying \\x1b[2J\\u202ex.tar.zst"]
    console.close_progress()
    assert screen.lines == []


def test_a_terminal_without_unicode_gets_letters(terminal: Open) -> None:
    screen, _, progress = terminal(80, encoding="ascii")
    progress.stage("Verifying ä.tar.zst")
    progress.expect(bytes=10, last=True)
    progress.advance(bytes=5)
    assert screen.lines[0].isascii()
    assert screen.lines[0].startswith("Verifying \\xe4.tar.zst  ####")


def test_nothing_that_is_shown_runs_backwards(terminal: Open) -> None:
    screen, _, progress = terminal(100)
    progress.stage("Downloading")
    progress.expect(files=2, bytes=100)
    progress.advance(bytes=60)
    assert screen.lines[0].endswith("  0/2 files  60/100 B")  # more may be found: no share yet
    progress.advance(bytes=-60)  # the attempt failed
    assert screen.lines[0].endswith("  0/2 files  60/100 B")
    progress.advance(files=1, bytes=50)
    assert screen.lines[0].endswith("  1/2 files  60/100 B")
    progress.expect(last=True)
    assert "  50%  1/2 files  60/100 B" in screen.lines[0]
    progress.expect(files=2, bytes=200)  # found all the same
    assert "  50%  1/4 files  60/300 B" in screen.lines[0]
    progress.advance(files=3, bytes=1000)  # more than the server said
    assert "  99%  4/4 files  1.1/1.1 kB" in screen.lines[0]


def test_a_stage_that_begins_when_all_is_done_counts_anew(terminal: Open) -> None:
    screen, _, progress = terminal()
    progress.stage("Downloading")
    progress.expect(files=2)
    progress.advance(files=1)
    progress.stage("Looking elsewhere")
    assert screen.lines == ["Looking elsewhere  1/2 files"]
    progress.advance(files=1)
    progress.stage("Undoing 12ab at api.openai.com", things="changes")
    assert screen.lines == ["Undoing 12ab at api.openai.com"]
    progress.expect(files=3, last=True)
    progress.advance(files=1)
    assert screen.lines[0].endswith("  33%  1/3 changes")


def test_how_long_it_takes_is_said_once_the_speed_is_known(terminal: Open) -> None:
    screen, console, progress = terminal(step=0.0)
    clock = console._clock
    assert isinstance(clock, Clock)
    progress.stage("Importing")
    progress.expect(files=100, last=True)
    for n in range(10):
        clock.now += 1
        progress.advance(files=1)
        assert ("left" in screen.lines[0]) is (n >= 4), n
    assert screen.lines[0].endswith("  10%  10/100 files  01:30 left")


def test_notes_of_a_kind_are_not_repeated_by_the_hundreds(terminal: Open) -> None:
    screen, _, progress = terminal(columns=60)
    progress.stage("Downloading")
    for n in range(200):
        progress.note(f"waiting {n} s", kind="rate limit")
    progress.note("something else")
    assert screen.lines == [
        "waiting 0 s",
        "waiting 1 s (2nd time)",
        "waiting 3 s (4th time)",
        "waiting 7 s (8th time)",
        "waiting 15 s (16th time)",
        "waiting 31 s (32nd time)",
        "waiting 63 s (64th time)",
        "waiting 127 s (128th time)",
        "something else",
        "Downloading",
    ]


def test_a_terminal_that_cannot_move_its_cursor_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    screen = Screen()
    progress = Console(stdout=io.StringIO(), stderr=screen).progress()
    progress.stage("Importing")
    progress.expect(files=2)
    progress.advance(files=1)
    assert screen.lines == ["Importing"]


def test_without_a_terminal_a_line_comes_every_ten_seconds_at_most() -> None:
    err, clock = io.StringIO(), Clock(0.0)
    progress = Console(stdout=io.StringIO(), stderr=err, clock=clock).progress()
    progress.stage("Downloading")
    progress.stage("Downloading")
    progress.expect(files=100, bytes=1000)
    for n in range(100):
        clock.now += 0.25
        progress.advance(files=1, bytes=10)
        if n == 59:
            progress.expect(last=True)
    assert err.getvalue().splitlines() == [
        "Downloading",
        "Downloading: 40 of 100 files, 400 B of 1.0 kB",
        "Downloading: 80 of 100 files, 800 B of 1.0 kB, 80%",
    ]
