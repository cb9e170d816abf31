"""What compresses without end, all the way: out of a project, proved, and into another."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand

SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"


@pytest.mark.thorough
def test_a_large_file_of_zeros_and_many_files_that_are_alike(
    box: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    box.behave(serve_assistants_files=True)
    with Hand(box.url, SOURCE) as hand:
        zeros = hand.file("zeros.csv", bytes(20 << 20))
        alike = [hand.file("note.txt", b"the same words") for _ in range(60)]
        hand.assistant("A", stores=[hand.store("s", alike)], files=[zeros])
    holdall = Terminal(
        monkeypatch,
        {
            "OPENAI_SRC_API_KEY": SOURCE,
            "OPENAI_SRC_BASE_URL": box.url,
            "OPENAI_DST_API_KEY": DESTINATION,
            "OPENAI_DST_BASE_URL": box.url,
        },
    )
    for words in (["export", "-o", "b.tar.zst"], ["verify", "b.tar.zst"], ["import", "b.tar.zst", "--yes"]):
        done = holdall(*words)
        assert done.code == 0, done.err
    assert Path("b.tar.zst").stat().st_size < 1 << 20
    with Hand(box.url, DESTINATION) as copy:
        sizes = [file["bytes"] for file in copy.everything("/files")]
    assert sorted(sizes) == [14] * 60 + [20 << 20]
