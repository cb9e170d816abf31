"""Bundles at their limits cost little memory and time in the commands that read them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.limits import LIMITS

# MiB resident, and seconds of a processor: of a bundle of a megabyte, and several times what they take.
MOST, LONGEST = 300, 30
COST = """\
import re, sys, time
from pathlib import Path
from holdall.cli.console import Console
from holdall.cli.main import run
try:
    code = run(sys.argv[1:], Console())
except SystemExit as ended:
    code = ended.code
peak = int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) >> 10
print(code or 0, peak, int(time.process_time()), file=sys.stderr)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("made", LIMITS)
def test_commands_on_a_bundle_at_its_limits_cost_little(tmp_path: Path, made: str) -> None:
    bundle, folder = tmp_path / "b.tar.zst", tmp_path / "originals"
    bundle.write_bytes(LIMITS[made]())
    folder.mkdir()
    (folder / "a.pdf").write_bytes(bytes(78))
    for command in (
        ["verify", str(bundle)],
        ["inspect", str(bundle), "--all", "--json"],
        ["supply", str(bundle), "--originals", str(folder), "-o", str(tmp_path / "new.tar.zst")],
        ["extract", str(bundle), "data/ledger.jsonl", "--to", str(tmp_path / "out")],
    ):
        done = subprocess.run([sys.executable, "-c", COST, *command], capture_output=True, text=True)
        code, memory, seconds = map(int, done.stderr.splitlines()[-1].split())
        assert code in (0, 3, 4, 10), (command, done.stderr[-2000:])
        assert memory < MOST, command
        assert seconds < LONGEST, command
