"""What a bundle costs is bounded, whatever it says: memory, processor time, exit code, and what is printed.

Each command runs in a process of its own. The normal suite tries the commands that need no destination on some kinds;
all kinds, with a destination, and how the cost grows, are tried on demand.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from holdall.sandbox.server import Running
from tests.hostile.bombs import BOMBS
from tests.hostile.cost import ALONE, WITH
from tests.hostile.limits import WORST
from tests.sweep import sweep

MB, SECONDS = 300, 10
"""The most that a bundle of less than 1 MiB may take, of memory and of processor time."""
OFTEN = [
    "an id of 200 kB",
    "file objects without end",
    "one store named without end",
    "what looks like a token",
    "a text that is deep",
    "a text of many parts",
    "texts of many parts",
    "a record of long numbers",
]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the memory of a child is counted in kB there")


def costs(folder: Path, raw: bytes, *commands: str, url: str | None = None) -> list[dict[str, Any]]:
    folder.mkdir()
    (folder / "bundle.tar.zst").write_bytes(raw)
    keys = {"OPENAI_DST_API_KEY": "sk-cost-0001", "OPENAI_DST_BASE_URL": url} if url else {}
    done = subprocess.run(
        [sys.executable, "-m", "tests.hostile.cost", str(folder), *commands],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **keys},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def judge(one: dict[str, Any], *, broken: bool) -> None:
    said = json.dumps(one, indent=1)
    assert one["code"] in {0, 3, 4, *range(10, 20), *range(30, 40)}, said
    assert one["mb"] < MB, said
    assert one["cpu"] < SECONDS, said
    assert one["length"] < 20_000, said
    if broken and one["command"].startswith("verify"):
        assert one["code"] >= 10, said


@sweep("name", OFTEN)
def test_a_bundle_costs_little_to_refuse_or_to_read(name: str, tmp_path: Path) -> None:
    bomb = BOMBS[name]
    for one in costs(tmp_path / "bomb", bomb.raw(), *ALONE):
        judge(one, broken=bomb.broken)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_no_command_costs_much(name: str, box: Running, tmp_path: Path) -> None:
    """With a destination, which must take what verify calls whole. Many objects are many requests: planned only."""
    bomb = BOMBS[name]
    raw = bomb.raw()
    assert len(raw) < 1 << 20
    commands = [*ALONE, "plan"] if bomb.objects else [*ALONE, *WITH]
    found = costs(tmp_path / "bomb", raw, *commands, url=box.url)
    for one in found:
        judge(one, broken=bomb.broken)
    whole = found[0]["code"] < 10
    refused = [one for one in found if one["command"] in ("inspect", "supply", "plan", "import") and one["code"] < 20]
    assert not whole or all(one["code"] < 10 for one in refused), f"whole, and yet refused: {refused}"


@pytest.mark.slow
@pytest.mark.parametrize("name", WORST)
def test_nor_does_one_at_its_limits(name: str, box: Running, tmp_path: Path) -> None:
    raw = WORST[name]()
    assert len(raw) < 1_100_000, "the test's own measure"
    for one in costs(tmp_path / "bomb", raw, *ALONE, "plan", url=box.url):
        judge(one, broken=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, bomb in BOMBS.items() if bomb.grows and not bomb.broken])
def test_the_cost_grows_as_the_bundle(name: str, box: Running, tmp_path: Path) -> None:
    """Four times as much takes no more than four times as long, give or take a half and what each command costs."""
    bomb = BOMBS[name]
    sizes = [bomb.most // 4, bomb.most // 2, bomb.most]
    commands = [*ALONE, "plan"]
    rows = [costs(tmp_path / str(n), bomb.raw(n), *commands, url=box.url) for n in sizes]
    for small, middle, large in zip(*rows, strict=True):
        print(f"{name}: {large['command']}: {small['cpu']} {middle['cpu']} {large['cpu']}")
        assert large["cpu"] < 6 * small["cpu"] + 1, (small, middle, large)
