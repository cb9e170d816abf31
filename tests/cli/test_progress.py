"""What the commands report of their progress: what is read or written where, and that it comes to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from holdall.cli import console
from holdall.cli.progress_meter import ProgressLines
from holdall.sandbox.behaviour import Behaviour, CutBody, Gone, RateLimit
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand

SOURCE, TARGET = "sk-source-0001", "sk-target-0001"


class Counted(ProgressLines):
    """Keeps the titles of the stages, and how the counts stood at the end of each: files, bytes, and what was due."""

    made: list[Counted]

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float]) -> None:
        super().__init__(say, clock)
        self.stages: list[str] = []
        self.ends: list[tuple[tuple[int, int], tuple[int, int]]] = []
        self.made.append(self)

    def stage(self, title: str, *, things: str = "files") -> None:
        self.end()
        super().stage(title, things=things)
        self.stages.append(title)

    def advance(self, *, files: int = 0, bytes: int = 0) -> None:
        before = (self.files, self.bytes, self.share or 0.0)
        super().advance(files=files, bytes=bytes)
        after = (self.files, self.bytes, self.share or 0.0)
        assert all(new >= old for new, old in zip(after, before, strict=True)), (before, after)

    def end(self) -> None:
        self.ends.append(((self._files, self._bytes), (self.files_due, self.bytes_due)))


@pytest.fixture
def last(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The stages of the last command; what was expected in its last count must have been done."""
    Counted.made = []
    monkeypatch.setattr(console, "ProgressLines", Counted)

    def stages() -> list[str]:
        made, Counted.made = Counted.made, []
        for progress in made:
            progress.end()
            done, due = progress.ends[-1]
            assert done == due
        return [title for progress in made for title in progress.stages]

    return stages


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Running]:
    with Running(tmp_path / "sandbox", behaviour=Behaviour(serve_assistants_files=True)) as running:
        yield running


@pytest.fixture
def terminal(box: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A project of two assistants, with files of several sizes."""
    monkeypatch.chdir(tmp_path)
    with Hand(box.url, SOURCE) as hand:
        for name in ("A", "B"):
            files = [hand.file(f"{name}{n}.md", f"{name} {n} ".encode() * 50_000 * n) for n in range(1, 4)]
            hand.assistant(name, stores=[hand.store(name, files)])
    return Terminal(
        monkeypatch,
        {
            "OPENAI_SRC_API_KEY": SOURCE,
            "OPENAI_SRC_BASE_URL": box.url,
            "OPENAI_DST_API_KEY": TARGET,
            "OPENAI_DST_BASE_URL": box.url,
        },
    )


def test_every_stage_says_what_is_read_or_written_where(
    terminal: Terminal, box: Running, last: Callable[[], list[str]]
) -> None:
    host, end = urlsplit(box.url).netloc, ("--env-file", "none")
    assert terminal("export", "-o", "b.tar.zst", *end).code == 0
    assert last() == [
        f"Reading definitions from {host}",
        f"Downloading files from {host}",
        f"Downloading files from {host}",
        f"Looking for changes at {host}",
        "Finishing b.tar.zst",
    ]
    assert terminal("import", "b.tar.zst", *end).code == 0
    assert last() == [
        "Verifying b.tar.zst",
        f"Reading what {host} has",
        f"Importing b.tar.zst into {host}",
    ]
    assert terminal("verify", "b.tar.zst", "--against", "dst", *end).code == 0
    assert last() == ["Verifying b.tar.zst", f"Comparing {host} with b.tar.zst"]
    assert terminal("undo", "latest", "--yes", *end).code == 0
    (look, undoing) = last()
    assert look == f"Reading what {host} has"
    assert undoing.startswith("Undoing ")
    assert undoing.endswith(f" at {host}")
    assert terminal("extract", "b.tar.zst", "--to", "out-of-it").code == 0
    assert last() == ["Extracting b.tar.zst to out-of-it"]


@pytest.mark.parametrize("serves", [True, False], ids=["originals", "texts"])
def test_what_fails_and_what_is_missing_comes_to_its_end_too(
    terminal: Terminal, box: Running, last: Callable[[], list[str]], serves: bool
) -> None:
    box.behave(serve_assistants_files=serves)
    box.fault(CutBody(after=100_000), "GET", "/files/*/content", times=2)
    box.fault(Gone(), "GET", "/files/*/content", skip=4, times=1)
    box.fault(Gone(), "GET", "/vector_stores/*/files/*/content", times=2)
    assert terminal("export", "-o", "b.tar.zst", "--env-file", "none").code in (0, 4)
    last()
    # What is in the parent is neither downloaded nor waited for.
    assert terminal("export", "-o", "c.tar.zst", "--env-file", "none", "--parent", "b.tar.zst").code in (0, 4)
    last()
    box.clear_faults()
    box.fault(RateLimit(), "POST", "/files", times=2)
    box.fault(CutBody(), "POST", "/files", skip=3, times=1)
    assert terminal("import", "b.tar.zst", "--env-file", "none", "--settle", "0").code in (0, 3, 4)
    last()
