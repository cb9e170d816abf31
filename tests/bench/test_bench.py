"""The bench runs: every row in small. What it measures there means nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench.rows import ROWS


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "wait4") or not shutil.which("zstd"), reason="no wait4, or no zstd")
def test_every_row_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--scale", "0.002", "--rounds", "1", "--folder", str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert "failed:" not in done.stdout
    assert len(done.stdout.splitlines()) == 2 + len(ROWS)
    assert list(tmp_path.iterdir()) == []
