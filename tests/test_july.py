"""From definitions saved in July to a project that answers: the three commands of README.md, run as they stand."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdall.sandbox.behaviour import Behaviour
from holdall.sandbox.profiles import PROFILES
from holdall.sandbox.server import Running
from tests.cli.terminal import Terminal
from tests.project import Hand

ROOT = Path(__file__).parent.parent
SOURCE, DESTINATION = "sk-source-0001", "sk-destination-0001"
RETURNS = b"Returns\n\nTea can be sent back within 30 days, unopened. We pay for the parcel.\n"
# What is another one in every run: ids, sizes, digests, times; and what the README leaves out.
MOVING = re.compile(r"(?:file|vs|org|proj)[-_]\w{6,}|\b[0-9a-f]{64}\b|\d{8}T\d{6}Z-\w+|\d+(?:\.\d+)? k?B\b|…")


def saved_in_july(box: Running) -> Any:
    """What GET /assistants answered while there was one."""
    with Hand(box.url, SOURCE) as hand:
        file = hand.file("returns.md", RETURNS)
        hand.assistant("Support", stores=[hand.store("Policies", [file])], instructions="Answer out of the policies.")
        answer = hand.get("/assistants")
    answer["data"][0]["id"] = "asst_9kWJv4tqEnBx"
    return answer


@pytest.fixture
def today(tmp_path: Path) -> Iterator[Running]:
    """OpenAI as it is, with the store that was made before it ended the Assistants API."""
    with Running(tmp_path / "box", behaviour=Behaviour()) as box:
        (tmp_path / "july.json").write_text(json.dumps(saved_in_july(box), indent=2))
        box.behave(**msgspec.structs.asdict(PROFILES["openai-today"]))
        yield box


def shown() -> list[tuple[str, str]]:
    """The commands of README.md, each with what it is shown to print."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## From saved definitions to an answer")[2].partition("\n## ")[0]
    blocks = "\n".join(re.findall(r"^    (.*)$", section, re.M))
    parts = re.split(r"^\$ ", blocks, flags=re.M)[1:]
    return [(part.partition("\n")[0], part.partition("\n")[2].strip()) for part in parts]


def like(said: str) -> re.Pattern[str]:
    """``said`` with whatever moves in it open."""
    return re.compile(".*".join(re.escape(part) for part in MOVING.split(said)))


def test_three_commands(today: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "responses.md").read_text("utf-8"), re.M | re.S)
    (tmp_path / "run.py").write_text(code, encoding="utf-8")
    holdall = Terminal(
        monkeypatch,
        {
            **{f"OPENAI_{side}_BASE_URL": today.url for side in ("SRC", "DST")},
            "OPENAI_SRC_API_KEY": SOURCE,
            "OPENAI_DST_API_KEY": DESTINATION,
        },
    )
    ours = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    ours |= {"OPENAI_API_KEY": DESTINATION, "OPENAI_BASE_URL": today.url}
    commands = shown()
    assert [" ".join(command.split()[:2]) for command, _ in commands][:2] == ["holdall export", "holdall import"]
    for command, expected in commands:
        program, *arguments = shlex.split(command.removeprefix("OPENAI_API_KEY=$OPENAI_DST_API_KEY "))
        if program == "holdall":
            done = holdall(*arguments, "--env-file", "none")
            assert done.code == 0, done.err
            printed = done.err + done.out
        else:
            run = subprocess.run([sys.executable, *arguments], env=ours, capture_output=True, text=True, check=True)
            printed = run.stdout
        lines = printed.splitlines()
        for line in expected.splitlines():
            assert any(like(line).fullmatch(each) for each in lines), f"{command}: {line}\n{printed}"
